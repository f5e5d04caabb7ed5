#include "smtp/octets.h"

bool octets_any_control(str text)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
			return true;
	return false;
}

/* Octets of a character by its first one; 0: none starts so. */
static size_t length_by_first(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

size_t utf8_character(str text, uint32_t *ret_code_point)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = text.n ? (unsigned char)text.p[0] : 0xff;
	size_t n = length_by_first(first);
	uint32_t code;

	if (!n || n > text.n)
		return 0;
	code = n == 1 ? first : first & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if ((c & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (c & 0x3f);
	}
	if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	*ret_code_point = code;
	return n;
}

bool utf8_valid(str text)
{
	while (text.n) {
		uint32_t code;
		size_t n = utf8_character(text, &code);

		if (!n || (code >= 0x80 && code < 0xa0))
			return false;
		text = str_from(text, n);
	}
	return true;
}

size_t utf8_put(uint32_t code, char *to)
{
	size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	if (n == 1) {
		to[0] = (char)code;
		return 1;
	}
	for (size_t i = n - 1; i > 0; i--) {
		to[i] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	to[0] = (char)((0xf00u >> n & 0xffu) | code);
	return n;
}
