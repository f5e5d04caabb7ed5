#include "smtp/orcpt.h"

#include "smtp/octets.h"
#include "smtp/xtext.h"

/* QCHAR of RFC 6533 §3. */
static bool is_qchar(char c)
{
	return c > ' ' && c <= '~' && c != '+' && c != '=' && c != '\\';
}

/* `\x{HEX}` at the start of text: its length and the code point; 0: none. Also of
 * characters that could stand for themselves: nobody is hurt by it. */
static size_t embedded_character(str text, uint32_t *ret_code)
{
	uint32_t code = 0;
	size_t i;

	if (!str_starts(text, STR("\\x{")))
		return 0;
	for (i = 3; i < text.n && i < 9 && octet_hex_value(text.p[i]) >= 0; i++)
		code = code * 16 + (uint32_t)octet_hex_value(text.p[i]);
	if (i == 3 || i == text.n || text.p[i] != '}')
		return 0;
	if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	*ret_code = code;
	return i + 1;
}

/* The character at the start of *text, decoded to `to`, which has room for it: its octets there, 0: none. */
static size_t take_utf8(str *text, bool utf8, char *to)
{
	uint32_t code;
	size_t n = embedded_character(*text, &code);

	if (!n && utf8 && (unsigned char)text->p[0] > 127)
		n = utf8_character(*text, &code);
	if (!n && is_qchar(text->p[0])) {
		code = (unsigned char)text->p[0];
		n = 1;
	}
	*text = str_from(*text, n);
	return n ? utf8_put(code, to) : 0;
}

static int decode_utf8(str text, bool utf8, char *to, str *ret)
{
	size_t n = 0;

	while (text.n) {
		size_t more = take_utf8(&text, utf8, to + n);

		if (!more)
			return -EINVAL;
		n += more;
	}
	*ret = str_mem(to, n);
	return 0;
}

/* addr-type, an atom; those that are registered are letters, digits and hyphens. */
static bool type_valid(str type)
{
	for (size_t i = 0; i < type.n; i++)
		if (!octet_is_alnum(type.p[i]) && type.p[i] != '-')
			return false;
	return type.n;
}

int orcpt_decode(str text, bool utf8, char to[static SMTP_ORCPT_MAX], str *ret_type,
		 str *ret_address)
{
	str type, address = STR_NONE;
	bool is_utf8;
	int r;

	if (text.n > SMTP_ORCPT_MAX || !str_cut(text, ';', &type, &address) || !type_valid(type))
		return -EINVAL;
	is_utf8 = str_case_eq(type, STR("utf-8"));
	r = is_utf8 ? decode_utf8(address, utf8, to, &address)
		    : xtext_decode(address, to, SMTP_ORCPT_MAX, &address);
	if (r < 0)
		return r;
	if (!address.n || octets_any_control(address) || (is_utf8 && !utf8_valid(address)))
		return -EINVAL;
	*ret_type = type;
	*ret_address = address;
	return 0;
}

bool orcpt_valid(str text, bool utf8)
{
	char address_text[SMTP_ORCPT_MAX];
	str type, address;

	return orcpt_decode(text, utf8, address_text, &type, &address) == 0;
}

static int encode_utf8(str address, struct buf *to)
{
	/* Nor C1 controls: what nobody would read as an address is not written. */
	int r = utf8_valid(address) ? buf_add(to, STR("utf-8;")) : -EINVAL;

	while (address.n && r >= 0) {
		uint32_t code;
		size_t n = utf8_character(address, &code);

		must(n > 0);
		r = n == 1 && is_qchar(address.p[0]) ? buf_add_byte(to, address.p[0])
						     : buf_addf(to, "\\x{%02X}", code);
		address = str_from(address, n);
	}
	return r;
}

int orcpt_encode(str mailbox, struct buf *to)
{
	size_t before = to->n;
	int r;

	if (!str_is_ascii(mailbox)) {
		r = encode_utf8(mailbox, to);
	} else {
		r = buf_add(to, STR("rfc822;"));
		if (r >= 0)
			r = xtext_encode(mailbox, to);
	}
	if (r >= 0 && to->n - before > SMTP_ORCPT_MAX)
		r = -EMSGSIZE;
	if (r < 0)
		to->n = before;
	return MIN(r, 0);
}
