/*
 * switch: stacks, and the jump between them. Private to src/task. A stack runs one function after
 * another (a task, then the next that reuses the stack): makecontext starts it once, from then on
 * _setjmp/_longjmp switch without a system call.
 */
#pragma once

#include "base/util.h"
#include <setjmp.h>

#define STACK_BYTES (64 * 1024)

/* One side of a switch: where it left off, and what ASan must know about its stack. */
struct side {
	jmp_buf at;
	const void *asan_bottom;
	size_t asan_bytes;
};

/* Calls the body on the stack that ends below `top` (room for the caller's own struct above it); the
 * body never returns. Returns when something switches back to `from`. */
void switch_start(struct side *from, struct side *to, void *bottom, void *top, void (*body)(void *),
		  void *arg);
/* Leaves `from`, goes on in `to`; returns when something switches to `from` again. */
void switch_to(struct side *from, struct side *to);

/* A slab of `count` stacks with a guard page below each. NULL when the kernel has no memory or, on
 * kernels without MADV_GUARD_INSTALL, no mappings left. */
void *stack_slab_new(size_t count);
/* Gives back the pages of a stack below its top page. */
void stack_trim(void *bottom);
