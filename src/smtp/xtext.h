/*
 * xtext: RFC 3461 §4: printable ASCII without `+` and `=` as it is, every other octet as `+` and two upper
 * case hexadecimal digits. Pure.
 */
#pragma once

#include "base/buf.h"

/* Nothing but xtext, all of text; the empty text is. */
bool xtext_valid(str text);
/* Decodes into `to`; *ret is a view of it. Digits of either case are understood. -EINVAL: no xtext, -EMSGSIZE:
 * more than size octets. */
int xtext_decode(str text, char *to, size_t size, str *ret);
/* Appends text of any octets, encoded. 0 or the buffer's error. */
int xtext_encode(str text, struct buf *to);
