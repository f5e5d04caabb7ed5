/*
 * str: a read-only slice by value, not NUL-terminated, bytes of any kind. It owns nothing: whoever
 * outlives the bytes copies them (arena_str). Functions are pure; ASCII case only.
 */
#pragma once

#include "base/util.h"
#include <string.h>

typedef struct str {
	const char *p;
	size_t n;
} str;

#define STR(literal) ((str){ "" literal, sizeof(literal) - 1 })
#define STR_NONE ((str){ NULL, 0 })
/* printf: "%.*s", STR_ARG(s) */
#define STR_ARG(s) (int)(s).n, (s).p

static inline str str_of(const char *z)
{
	return (str){ z, z ? strlen(z) : 0 };
}

static inline str str_mem(const void *p, size_t n)
{
	return (str){ p, n };
}

/* From byte `from` on; empty when the slice is shorter. */
static inline str str_from(str s, size_t from)
{
	if (from < s.n)
		return (str){ s.p + from, s.n - from };
	return (str){ s.n ? s.p + s.n : s.p, 0 }; /* NULL + 0 is undefined in C17 */
}

/* At most the first `n` bytes. */
static inline str str_first(str s, size_t n)
{
	return (str){ s.p, n < s.n ? n : s.n };
}

bool str_eq(str a, str b);
/* No octet above 127. Eight at a time: bodies pass by here. */
bool str_is_ascii(str s);
bool str_case_eq(str a, str b);
/* Byte order, then length: <0, 0, >0. */
int str_cmp(str a, str b);
bool str_starts(str s, str prefix);
bool str_case_starts(str s, str prefix);
bool str_case_ends(str s, str suffix);
/* Index of the first c, or -1. */
ssize_t str_index(str s, char c);
/* Index of the last c, or -1. */
ssize_t str_last_index(str s, char c);
/* Index of the first occurrence of needle, or -1. */
ssize_t str_find(str s, str needle);
/* Splits at the first c: *ret_head before it, *ret_tail behind it. False and head = s when absent. */
bool str_cut(str s, char c, str *ret_head, str *ret_tail);
/* Without spaces and tabs (and CR, LF) at both ends. */
str str_trim(str s);
/* A whole decimal number 0..max, digits only. 0 or -EINVAL, -ERANGE. */
int str_u64(str s, uint64_t max, uint64_t *ret);
/* Copies into a fixed array, NUL-terminated, cut when too long. Returns false when cut. */
bool str_copy(str s, char *to, size_t size);
/* A stable non-cryptographic hash keyed by seed (SipHash-1-3), ASCII case folded if asked. */
uint64_t str_hash(str s, const uint64_t seed[2], bool fold_case);
