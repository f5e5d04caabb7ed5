/*
 * arena: memory of one lifetime (a command, a transaction, a session). Allocations are freed together
 * by arena_reset() or arena_done(). Born with a maximum: past it an allocation returns NULL, which
 * the caller turns into the right reply.
 */
#pragma once

#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *block; /* newest first */
	size_t used;               /* bytes handed out, all blocks */
	size_t max;
};

void arena_init(struct arena *a, size_t bytes_max);
void arena_done(struct arena *a);
/* Frees everything, keeps one block for the next use. */
void arena_reset(struct arena *a);
/* Zeroed, aligned to 16 bytes. NULL past the maximum or out of memory. */
void *arena_alloc(struct arena *a, size_t n);
/* A copy of s, NUL-terminated behind its end. .p is NULL past the maximum. */
str arena_str(struct arena *a, str s);
char *arena_sprintf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))
