#include "smtp/xtext.h"

#include "smtp/octets.h"

static bool stands_for_itself(char c)
{
	return c > ' ' && c <= '~' && c != '+' && c != '=';
}

/* The octet at the start of *text, which then starts behind it; -1: none. */
static int take_octet(str *text)
{
	int octet, high, low;

	if (stands_for_itself(text->p[0])) {
		octet = (unsigned char)text->p[0];
		*text = str_from(*text, 1);
		return octet;
	}
	if (text->p[0] != '+' || text->n < 3)
		return -1;
	/* RFC 3461 wants upper case; Postfix and others read both. */
	high = octet_hex_value(text->p[1]);
	low = octet_hex_value(text->p[2]);
	if (high < 0 || low < 0)
		return -1;
	*text = str_from(*text, 3);
	return high * 16 + low;
}

bool xtext_valid(str text)
{
	while (text.n)
		if (take_octet(&text) < 0)
			return false;
	return true;
}

int xtext_decode(str text, char *to, size_t size, str *ret)
{
	size_t n = 0;

	while (text.n) {
		int octet = take_octet(&text);

		if (octet < 0)
			return -EINVAL;
		if (n == size)
			return -EMSGSIZE;
		to[n++] = (char)octet;
	}
	*ret = str_mem(to, n);
	return 0;
}

int xtext_encode(str text, struct buf *to)
{
	size_t before = to->n;
	int r = 0;

	for (size_t i = 0; i < text.n && r >= 0; i++)
		r = stands_for_itself(text.p[i]) ? buf_add_byte(to, text.p[i])
						 : buf_addf(to, "+%02X", (unsigned char)text.p[i]);
	if (r < 0)
		to->n = before;
	return MIN(r, 0);
}
