#include "smtp/idna.h"

#include "base/cleanup.h"
#include "smtp/octets.h"

#include <idn2.h>

static void idn2_freep(char **p)
{
	idn2_free(*p);
}

static int error_of(int idn2_error)
{
	switch (idn2_error) {
	case IDN2_OK:
		return 0;
	case IDN2_MALLOC:
		return -ENOMEM;
	case IDN2_TOO_BIG_DOMAIN:
	case IDN2_TOO_BIG_LABEL:
	case IDN2_PUNYCODE_BIG_OUTPUT:
		return -EMSGSIZE;
	default:
		return -EINVAL;
	}
}

static size_t count_dots(str s)
{
	size_t dots = 0;

	for (size_t i = 0; i < s.n; i++)
		dots += s.p[i] == '.';
	return dots;
}

static str lower_case(str s, char text[static IDNA_SIZE])
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		text[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
	}
	text[s.n] = '\0';
	return str_mem(text, s.n);
}

/* NUL-terminated in `text`: what libidn2 wants. */
static int take_name(str domain, char text[static IDNA_SIZE])
{
	if (domain.n > SMTP_DOMAIN_MAX)
		return -EMSGSIZE;
	if (!domain.n || octets_has(domain, '\0') || !utf8_valid(domain))
		return -EINVAL;
	lower_case(domain, text);
	return 0;
}

int idna_to_ascii(str domain, char text[static IDNA_SIZE], str *ret_ascii)
{
	_cleanup_(idn2_freep) char *ascii = NULL;
	uint8_t *found = NULL;
	str name;
	int r;

	r = take_name(domain, text);
	if (r < 0)
		return r;
	if (!str_is_ascii(domain)) {
		/* An "xn--" label of the client's is checked too: it must be one that decodes and encodes alike. */
		r = error_of(idn2_lookup_u8((const uint8_t *)text, &found,
					    IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL));
		if (r < 0)
			return r;
		ascii = (char *)found;
		name = str_of(ascii);
		if (name.n > SMTP_DOMAIN_MAX)
			return -EMSGSIZE;
		if (count_dots(name) != count_dots(domain))
			return -EINVAL;
		memcpy(text, name.p, name.n + 1);
	}
	name = str_of(text);
	if (!smtp_domain_valid(name))
		return -EINVAL;
	*ret_ascii = name;
	return 0;
}

int idna_to_utf8(str domain, char text[static IDNA_SIZE], str *ret_utf8)
{
	_cleanup_(idn2_freep) char *found = NULL;
	str ascii, name;
	int r;

	r = idna_to_ascii(domain, text, &ascii);
	if (r < 0)
		return r;
	r = error_of(idn2_to_unicode_8z8z(text, &found, IDN2_NONTRANSITIONAL));
	if (r < 0)
		return r;
	name = str_of(found);
	if (name.n > SMTP_DOMAIN_MAX)
		return -EMSGSIZE;
	if (!utf8_valid(name) || count_dots(name) != count_dots(ascii))
		return -EINVAL;
	memcpy(text, name.p, name.n + 1);
	*ret_utf8 = str_mem(text, name.n);
	return 0;
}
