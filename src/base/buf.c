#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_BYTES 64

void buf_init(struct buf *b, size_t bytes_max)
{
	*b = (struct buf){ .max = bytes_max };
}

void buf_done(struct buf *b)
{
	free(b->p);
	b->p = NULL;
	b->n = b->cap = 0;
}

int buf_reserve(struct buf *b, size_t n)
{
	size_t cap;
	char *p;

	if (n > b->max - b->n)
		return -ENOBUFS;
	if (n <= b->cap - b->n)
		return 0;
	cap = MAX(b->cap * 2, (size_t)BUF_FIRST_BYTES);
	cap = MIN(MAX(cap, b->n + n), b->max);
	p = realloc(b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

int buf_add(struct buf *b, str s)
{
	int r;

	if (s.n == 0)
		return 0;
	r = buf_reserve(b, s.n);
	if (r < 0)
		return r;
	memcpy(b->p + b->n, s.p, s.n);
	b->n += s.n;
	return 0;
}

int buf_add_byte(struct buf *b, char c)
{
	return buf_add(b, (str){ &c, 1 });
}

int buf_addf(struct buf *b, const char *format, ...)
{
	va_list args;
	int n, r;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	must(n >= 0);
	/* vsnprintf writes a NUL behind the text, for which the maximum makes no room: text first. */
	if ((size_t)n > b->max - b->n)
		return -ENOBUFS;
	if ((size_t)n + 1 <= b->max - b->n) {
		r = buf_reserve(b, (size_t)n + 1);
		if (r < 0)
			return r;
		va_start(args, format);
		vsnprintf(b->p + b->n, (size_t)n + 1, format, args);
		va_end(args);
		b->n += (size_t)n;
		return 0;
	}
	char *text = NULL;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return -ENOMEM;
	r = buf_add(b, str_mem(text, (size_t)n));
	free(text);
	return r;
}

void buf_consume(struct buf *b, size_t n)
{
	must(n <= b->n);
	if (n && b->n > n)
		memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}
