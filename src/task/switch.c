/* The fortified longjmp takes a jump to another stack for corruption; this file is the place where
 * it is meant. */
#undef _FORTIFY_SOURCE

#include "task/switch.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) 0
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

#define PAGE_BYTES 4096

/* What a fresh stack must know when it wakes up for the first time. */
static struct {
	void (*body)(void *);
	void *arg;
} starting;

#ifdef WITH_ASAN
static struct side *left; /* whose stack we come from */
#endif

static void leave(struct side *from, struct side *to, void **ret_fake_stack)
{
#ifdef WITH_ASAN
	left = from;
	__sanitizer_start_switch_fiber(ret_fake_stack, to->asan_bottom, to->asan_bytes);
#else
	(void)from;
	(void)to;
	(void)ret_fake_stack;
#endif
}

/* The bounds of a stack are learnt when somebody comes from it. */
static void arrive(void *fake_stack)
{
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(fake_stack, &left->asan_bottom, &left->asan_bytes);
#else
	(void)fake_stack;
#endif
}

static void first_call(void)
{
	void (*body)(void *) = starting.body;
	void *arg = starting.arg;

	arrive(NULL);
	body(arg);
	abort();
}

void switch_start(struct side *from, struct side *to, void *bottom, void *top, void (*body)(void *),
		  void *arg)
{
	ucontext_t context;
	void *fake_stack = NULL;

	to->asan_bottom = bottom;
	to->asan_bytes = (size_t)((char *)top - (char *)bottom);
	(void)VALGRIND_STACK_REGISTER(bottom, top);
	must(getcontext(&context) == 0);
	context.uc_stack.ss_sp = bottom;
	context.uc_stack.ss_size = to->asan_bytes;
	context.uc_link = NULL;
	makecontext(&context, first_call, 0);
	starting.body = body;
	starting.arg = arg;
	if (_setjmp(from->at) == 0) {
		leave(from, to, &fake_stack);
		setcontext(&context);
		abort();
	}
	arrive(fake_stack);
}

void switch_to(struct side *from, struct side *to)
{
	void *fake_stack = NULL;

	if (_setjmp(from->at) == 0) {
		leave(from, to, &fake_stack);
		_longjmp(to->at, 1);
	}
	arrive(fake_stack);
}

void *stack_slab_new(size_t count)
{
	size_t bytes = count * STACK_BYTES;
	char *slab;

	slab = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slab == MAP_FAILED)
		return NULL;
	/* A huge page would make every reserved stack a resident one. */
	madvise(slab, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < count; i++) {
		char *guard = slab + i * STACK_BYTES;

		/* The old way costs a mapping a stack, of which a process has 65,530. */
		if (madvise(guard, PAGE_BYTES, MADV_GUARD_INSTALL) != 0 &&
		    mprotect(guard, PAGE_BYTES, PROT_NONE) != 0) {
			munmap(slab, bytes);
			return NULL;
		}
	}
#ifdef WITH_ASAN
	for (size_t i = 0; i < count; i++)
		__lsan_register_root_region(slab + i * STACK_BYTES + PAGE_BYTES,
					    STACK_BYTES - PAGE_BYTES);
#endif
	return slab;
}

void stack_trim(void *bottom)
{
	madvise((char *)bottom + PAGE_BYTES, STACK_BYTES - 2 * PAGE_BYTES, MADV_DONTNEED);
}
