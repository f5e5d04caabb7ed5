/*
 * path: UTF-8 in mailboxes, domains and original recipients. A mailbox in its A-label form is the same mailbox; a domain goes
 * from either form to the other and back; an ORCPT says what it was made of.
 */
#include "smtp/path.h"

#include "smtp/idna.h"
#include "smtp/octets.h"
#include "smtp/orcpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_utf8(str text)
{
	bool valid = true, control = false;
	str rest = text;

	while (rest.n && valid) {
		char again[4];
		uint32_t code = 0;
		size_t n = utf8_character(rest, &code);

		valid = n > 0;
		must(n <= 4 && n <= rest.n && code <= 0x10ffff);
		control = control || (code >= 0x80 && code < 0xa0);
		must(!n || str_eq(str_mem(again, utf8_put(code, again)), str_first(rest, n)));
		rest = str_from(rest, n);
	}
	must(utf8_valid(text) == (valid && !control));
}

static void check_domain(str domain)
{
	char ascii_text[IDNA_SIZE], utf8_text[IDNA_SIZE], again_text[IDNA_SIZE];
	str ascii, utf8, again;
	int r = idna_to_ascii(domain, ascii_text, &ascii);

	must(r == 0 || r == -EINVAL || r == -EMSGSIZE);
	if (r < 0) {
		must(!smtp_domain_valid(domain));
		must(idna_to_utf8(domain, utf8_text, &utf8) == r);
		return;
	}
	must(ascii.n <= SMTP_DOMAIN_MAX && ascii_text[ascii.n] == '\0' && smtp_domain_valid(ascii));
	must(idna_to_ascii(ascii, again_text, &again) == 0 && str_eq(again, ascii));
	r = idna_to_utf8(domain, utf8_text, &utf8);
	must(r == 0 || r == -EINVAL || r == -EMSGSIZE);
	if (r < 0)
		return;
	must(utf8.n <= SMTP_DOMAIN_MAX && utf8_text[utf8.n] == '\0' && utf8_valid(utf8));
	/* An "xn--" of the input may say something that IDNA would not say so; then there is no way back. */
	if (!str_is_ascii(utf8) && !str_is_ascii(domain))
		must(idna_to_ascii(utf8, again_text, &again) == 0 && str_eq(again, ascii));
}

static void check_mailbox(str text)
{
	char plain_text[SMTP_PLAIN_SIZE], mailbox_text[SMTP_PLAIN_SIZE], ascii_text[IDNA_SIZE],
		again_text[SMTP_PLAIN_SIZE];
	struct smtp_path path, again;
	str ascii, plain;
	size_t n;
	int r = smtp_mailbox_parse(text, &path);

	must(r == 0 || r == -EINVAL || r == -EMSGSIZE || r == -EILSEQ);
	if (r < 0)
		return;
	must(path.utf8 == !str_is_ascii(text) && utf8_valid(text));
	plain = smtp_path_plain(&path, plain_text);
	must(plain.n && plain.n < SMTP_PLAIN_SIZE);
	if (path.literal)
		return;
	must(idna_to_ascii(path.domain, ascii_text, &ascii) == 0);
	n = path.local.n;
	memcpy(mailbox_text, path.local.p, n);
	mailbox_text[n++] = '@';
	memcpy(mailbox_text + n, ascii.p, ascii.n);
	n += ascii.n;
	r = smtp_mailbox_parse(str_mem(mailbox_text, n), &again);
	must(r == 0 || (r == -EMSGSIZE && n > SMTP_PATH_MAX - 2));
	if (r == 0)
		must(str_eq(smtp_path_plain(&again, again_text), plain));
}

static void check_orcpt(str text)
{
	char address_text[SMTP_ORCPT_MAX], again_text[SMTP_ORCPT_MAX];
	struct buf encoded;
	str type, address, again;
	int r;

	if (orcpt_decode(text, true, address_text, &type, &address) < 0) {
		must(!orcpt_valid(text, true) && !orcpt_valid(text, false));
		return;
	}
	must(orcpt_valid(text, true) && address.n && address.n <= text.n);
	must(orcpt_valid(text, false) == str_is_ascii(text));
	buf_init(&encoded, 8 * SMTP_ORCPT_MAX);
	r = orcpt_encode(address, &encoded);
	must(r == 0 || r == -EMSGSIZE || (r == -EINVAL && !utf8_valid(address)));
	if (r == 0) {
		must(str_is_ascii(buf_str(&encoded)));
		must(orcpt_decode(buf_str(&encoded), false, again_text, &type, &again) == 0);
		must(str_eq(again, address));
	}
	buf_done(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	str text = str_mem(data, size);

	check_utf8(text);
	check_domain(text);
	check_mailbox(text);
	check_orcpt(text);
	return 0;
}
