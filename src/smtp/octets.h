/*
 * octets: what kinds of octets a text holds: letters, digits, controls, well-formed UTF-8 or not (RFC 3629 §4: no overlong
 * forms, no surrogates, nothing above U+10FFFF). Pure.
 */
#pragma once

#include "base/str.h"

static inline bool octet_is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Of a hexadecimal digit of either case; -1: it is none. */
static inline int octet_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Any control of ASCII, DEL included? */
bool octets_any_control(str text);

static inline bool octets_has(str text, char c)
{
	return text.n && memchr(text.p, c, text.n);
}
/* Length of the well-formed UTF-8 character at the start of text, 1..4 octets, with its code point; 0: there is none. */
size_t utf8_character(str text, uint32_t *ret_code_point);
/* Well-formed throughout, and without the controls above 127 (U+0080 to U+009F), which terminals obey. */
bool utf8_valid(str text);
/* Appends to `to`, which has room for 4 octets; returns their number. The code point is a valid one. */
size_t utf8_put(uint32_t code_point, char *to);
