#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BLOCK_BYTES 1024
#define ARENA_ALIGN 16

struct arena_block {
	struct arena_block *older;
	size_t used, size;
	_Alignas(ARENA_ALIGN) char bytes[];
};

void arena_init(struct arena *a, size_t bytes_max)
{
	*a = (struct arena){ .max = bytes_max };
}

void arena_done(struct arena *a)
{
	while (a->block) {
		struct arena_block *older = a->block->older;

		free(a->block);
		a->block = older;
	}
	a->used = 0;
}

void arena_reset(struct arena *a)
{
	while (a->block && a->block->older) {
		struct arena_block *older = a->block->older;

		free(a->block);
		a->block = older;
	}
	if (a->block)
		a->block->used = 0;
	a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->block;
	void *p;

	if (n > a->max || a->used > a->max - n)
		return NULL;
	n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (!b || b->size - b->used < n) {
		size_t size =
			MAX(n, b ? MIN(b->size * 2, (size_t)65536) : (size_t)ARENA_BLOCK_BYTES);

		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		*b = (struct arena_block){ .older = a->block, .size = size };
		a->block = b;
	}
	p = b->bytes + b->used;
	b->used += n;
	a->used += n;
	memset(p, 0, n);
	return p;
}

str arena_str(struct arena *a, str s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (!p)
		return STR_NONE;
	if (s.n)
		memcpy(p, s.p, s.n);
	return (str){ p, s.n };
}

char *arena_sprintf(struct arena *a, const char *format, ...)
{
	va_list args;
	char *p;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	must(n >= 0);
	p = arena_alloc(a, (size_t)n + 1);
	if (!p)
		return NULL;
	va_start(args, format);
	vsnprintf(p, (size_t)n + 1, format, args);
	va_end(args);
	return p;
}
