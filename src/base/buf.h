/*
 * buf: a growing byte buffer that is born with its maximum. Adding past the maximum fails with
 * -ENOBUFS and changes nothing, so a peer can never make us hold more than the constructor said.
 * Zero-initialised plus buf_init() is an empty buffer that holds no memory.
 */
#pragma once

#include "base/str.h"

struct buf {
	char *p;
	size_t n;   /* bytes in use */
	size_t cap; /* bytes allocated */
	size_t max; /* bytes at most */
};

void buf_init(struct buf *b, size_t bytes_max);
void buf_done(struct buf *b);
/* Room for n more bytes. 0, -ENOBUFS (past the maximum) or -ENOMEM. */
int buf_reserve(struct buf *b, size_t n);
int buf_add(struct buf *b, str s);
int buf_add_byte(struct buf *b, char c);
int buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes, moves the rest to the front. */
void buf_consume(struct buf *b, size_t n);

/* Empties the buffer and keeps its memory. */
static inline void buf_reset(struct buf *b)
{
	b->n = 0;
}

static inline str buf_str(const struct buf *b)
{
	return (str){ b->p, b->n };
}
