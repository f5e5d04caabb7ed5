/*
 * attributes: whatever an XCLIENT or XFORWARD says (which: the input's first octet), what was understood is bounded and
 * clean, and says the same when it is written and read again. The same text as xtext: what decodes comes
 * back when it is encoded.
 */
#include "smtp/attributes.h"

#include "smtp/octets.h"
#include "smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_xtext(str text)
{
	char decoded_text[1024], again_text[1024];
	struct buf encoded;
	str decoded, again;
	int r = xtext_decode(text, decoded_text, sizeof decoded_text, &decoded);

	must(xtext_valid(text) == (r != -EINVAL) || r == -EMSGSIZE);
	if (r < 0)
		return;
	must(decoded.n <= text.n && decoded.n <= sizeof decoded_text);
	buf_init(&encoded, 3 * sizeof decoded_text);
	must(xtext_encode(decoded, &encoded) == 0);
	must(xtext_valid(buf_str(&encoded)));
	must(xtext_decode(buf_str(&encoded), again_text, sizeof again_text, &again) == 0);
	must(str_eq(again, decoded));
	buf_done(&encoded);
}

static void check_values(const struct smtp_attributes *a, enum smtp_verb verb)
{
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		struct addr address;
		str value = a->of[i].value;

		must((value.n > 0) == (a->of[i].state == ATTRIBUTE_GIVEN));
		must(value.n <= ATTRIBUTE_VALUE_MAX && utf8_valid(value));
		for (size_t at = 0; at < value.n; at++)
			must((unsigned char)value.p[at] >= ' ' && value.p[at] != 0x7f);
		must(a->of[i].state == ATTRIBUTE_ABSENT ||
		     attribute_find(attribute_name((enum smtp_attribute)i), verb) == i);
		if (verb == SMTP_XCLIENT && (i == ATTRIBUTE_ADDR || i == ATTRIBUTE_DESTADDR))
			must(attributes_address(a, (enum smtp_attribute)i, &address) ==
			     (a->of[i].state == ATTRIBUTE_GIVEN));
	}
}

/* What one line said fits into lines again; what they say, put together, is the same. */
static void check_writing(const struct smtp_attributes *a, enum smtp_verb verb)
{
	struct smtp_attributes together = { 0 };
	struct buf b;
	str rest, line;
	int commands = 0;

	buf_init(&b, 4096);
	must(attributes_write(a, verb, ~0u, &b) > 0);
	for (rest = buf_str(&b); rest.n; commands++) {
		char text[SMTP_LINE_MAX];
		struct smtp_attributes one;
		const struct smtp_dialect dialect = { .xclient = true };
		struct smtp_command c;

		must(str_cut(rest, '\n', &line, &rest));
		must(line.n + 1 <= SMTP_LINE_MAX && line.p[line.n - 1] == '\r');
		must(smtp_command_parse(str_first(line, line.n - 1), &dialect, &c) == SMTP_FINE);
		must(c.verb == verb && attributes_parse(c.argument, verb, text, &one) == 0);
		for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
			if (one.of[i].state == ATTRIBUTE_ABSENT)
				continue;
			must(together.of[i].state == ATTRIBUTE_ABSENT);
			together.of[i].state = one.of[i].state;
			must(one.of[i].state == a->of[i].state);
			must(str_eq(one.of[i].value, a->of[i].value));
		}
	}
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		must(together.of[i].state == a->of[i].state);
	must(commands == 1 || b.n > SMTP_LINE_MAX);
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum smtp_verb verb = size && data[0] & 1 ? SMTP_XFORWARD : SMTP_XCLIENT;
	str argument = str_from(str_mem(data, size), 1);
	char text[SMTP_LINE_MAX];
	struct smtp_attributes a;
	int r;

	check_xtext(argument);
	r = attributes_parse(argument, verb, text, &a);
	must(r == 0 || r == -EINVAL);
	if (r == 0) {
		check_values(&a, verb);
		check_writing(&a, verb);
	}
	return 0;
}
