/*
 * The memory of each simulated process: what it allocated and has not freed, without what the simulated kernel keeps for
 * it, and what it may be. The account of a life begins with it; what a killed process leaves behind counts for nobody.
 * Without AddressSanitizer only, which wants malloc for itself.
 */
#include "sim/engine.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#define BUFFER_BYTES ((size_t)64 << 10) /* from here on it is no object */

/* --- the account --- */

#ifndef WITH_ASAN

/* Before every allocation, so that whoever frees it takes it off the right account. The size is the one that was asked for:
 * the account does not depend on the state of the heap. */
struct block {
	struct account *owner; /* NULL: nobody's */
	uint32_t bytes;
	uint32_t before; /* from what the C library gave to what we give */
};

_Static_assert(sizeof(struct block) == 16, "what malloc returns is aligned to 16 bytes");

/* The C library's own, under their other names. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void __libc_free(void *memory);

static struct block *block_of(void *memory)
{
	return (struct block *)memory - 1;
}

static void take_off(const struct block *b)
{
	if (!b->owner)
		return;
	b->owner->bytes -= b->bytes;
	if (b->bytes >= BUFFER_BYTES)
		b->owner->buffers -= b->bytes;
}

static void charge(struct block *b, size_t bytes)
{
	struct account *a = b->owner;

	b->bytes = (uint32_t)bytes;
	if (!a)
		return;
	a->bytes += bytes;
	if (bytes >= BUFFER_BYTES)
		a->buffers += bytes;
	a->peak = MAX(a->peak, a->bytes);
}

static void *block_new(char *raw, size_t before, size_t bytes)
{
	struct block *b;

	if (!raw)
		return NULL;
	b = block_of(raw + before);
	b->owner = running && !running->in_kernel ? &running->account : NULL;
	b->before = (uint32_t)before;
	charge(b, bytes);
	return raw + before;
}

static bool is_too_big(size_t bytes)
{
	if (bytes < UINT32_MAX / 2)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t bytes)
{
	if (is_too_big(bytes))
		return NULL;
	return block_new(__libc_malloc(sizeof(struct block) + bytes), sizeof(struct block), bytes);
}

void *calloc(size_t count, size_t bytes)
{
	size_t all;

	if (__builtin_mul_overflow(count, bytes, &all))
		all = SIZE_MAX;
	if (is_too_big(all))
		return NULL;
	return block_new(__libc_calloc(1, sizeof(struct block) + all), sizeof(struct block), all);
}

void free(void *memory)
{
	struct block *b;

	if (!memory)
		return;
	b = block_of(memory);
	take_off(b);
	__libc_free((char *)memory - b->before);
}

/* What grows stays with its owner. */
void *realloc(void *memory, size_t bytes)
{
	struct block *b, was;

	if (!memory)
		return malloc(bytes);
	if (is_too_big(bytes))
		return NULL;
	b = block_of(memory);
	must(b->before == sizeof(*b));
	was = *b;
	b = __libc_realloc(b, sizeof(*b) + bytes);
	if (!b)
		return NULL;
	take_off(&was);
	charge(b, bytes);
	return b + 1;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
	size_t room = sizeof(struct block) + alignment;
	char *raw;

	if (is_too_big(bytes))
		return NULL;
	raw = __libc_malloc(room + bytes);
	return block_new(raw, room - ((uintptr_t)raw + room) % alignment, bytes);
}

int posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	void *memory = aligned_alloc(alignment, bytes);

	if (!memory)
		return ENOMEM;
	*ret = memory;
	return 0;
}

#endif

/* --- what it may be --- */

#define KIB ((size_t)1 << 10)
#define SPOOLD_BUFFERS_MAX (448 * KIB) /* itself, with its tables, and two batches */
#define STACKS_MAX (8192 * KIB)        /* two slabs: 128 tasks */

/* The limits of the code, where it has some, else what was measured over twenty thousand seeds and some more. */
struct allowance {
	bool above_start; /* on top of what it had when it said Ready */
	size_t fixed;
	size_t a_connection, a_body; /* open now: streams, memory files */
	size_t a_domain;             /* of the configuration */
	size_t a_message, a_done;    /* in the spool; done in this life, of which spoold can tell */
};

/* smtpin: a session has 68 KiB for what comes, 4 for replies, 32 to collect a body in, and its envelope. netd: a lookup of 44
 * KiB and a route a domain; requests. spoold: itself, two batches, and 1 MiB for each big body that is being copied.
 * smtpout: a connection has 64 KiB for a piece of the body, 96 for what goes out, and replies; deliveries and live transactions that wait for one; the TLS policy of
 * a domain. Each: another configuration beside
 * the one that is still read. */
static const struct allowance at_work[NODE_PARTS] = {
	[PART_SMTPIN_0] = { .above_start = true, .fixed = 24 * KIB, .a_connection = 112 * KIB },
	[PART_SMTPIN_1] = { .above_start = true, .fixed = 24 * KIB, .a_connection = 112 * KIB },
	[PART_NETD] = { .above_start = true, .fixed = 160 * KIB, .a_domain = 50 * KIB },
	[PART_SPOOLD] = { .fixed = 512 * KIB,
			  .a_body = 1024 * KIB,
			  .a_domain = KIB,
			  .a_message = 2 * KIB,
			  .a_done = 512 },
	[PART_SMTPOUT] = { .above_start = true,
			   .fixed = 96 * KIB,
			   .a_domain = KIB,
			   .a_connection = 168 * KIB },
};

/* Nobody is there any more: the routes that netd knows, what is to be reported of each domain's TLS, messages that are
 * held, and of those that are done what spoold can tell. Without buffers. */
static const struct allowance at_rest[NODE_PARTS] = {
	[PART_SMTPIN_0] = { .above_start = true, .fixed = 2 * KIB, .a_domain = 48 },
	[PART_SMTPIN_1] = { .above_start = true, .fixed = 2 * KIB, .a_domain = 48 },
	[PART_NETD] = { .above_start = true, .fixed = KIB, .a_domain = 3400 },
	[PART_SPOOLD] = { .fixed = 52 * KIB, .a_domain = 1280, .a_message = 512, .a_done = 400 },
	[PART_SMTPOUT] = { .above_start = true, .fixed = 8 * KIB },
};

static void check(const char *rule, const struct sim_process *p, const struct allowance *a,
		  size_t bytes)
{
	const struct account *has = &p->account;
	struct node_load load = node_load(p->node);
	size_t done = load.done - has->done_before;
	size_t allowed = (a->above_start ? has->start : 0) + a->fixed +
			 a->a_connection * p->most[OBJECT_STREAM] +
			 a->a_body * p->most[OBJECT_MEMORY] + a->a_domain * load.domains +
			 a->a_message * load.messages + a->a_done * done;

	if (bytes <= allowed && has->stacks <= STACKS_MAX)
		return;
	sim_fail(rule,
		 "%s has %zu bytes in its heap (%zu at its start) where %zu are allowed, and %zu "
		 "of stacks: %u connections, "
		 "%u bodies, %zu domains, %zu messages, %zu done",
		 p->name, bytes, has->start, allowed, has->stacks, p->most[OBJECT_STREAM],
		 p->most[OBJECT_MEMORY], load.domains, load.messages, done);
}

void account_life_begins(struct sim_process *p)
{
	p->account.done_before = node_load(p->node).done;
}

void account_is_ready(struct sim_process *p)
{
	p->account.start = p->account.bytes;
}

void account_turn_begins(struct sim_process *p)
{
	p->account.peak = p->account.bytes;
	memcpy(p->most, p->open, sizeof(p->most));
}

/* Before it is ready it has nobody to spend memory on. */
void account_turn_ends(struct sim_process *p)
{
	if (p->account.start > 0 && p->state != PROCESS_DEAD)
		check("memory bounded", p, &at_work[p->part], p->account.peak);
}

/* smtpout: a connection that has delivered is kept for some seconds, with the buffer of its bodies. */
static size_t buffers_at_rest(const struct sim_process *p)
{
	if (p->part == PART_SPOOLD)
		return SPOOLD_BUFFERS_MAX;
	return p->part == PART_SMTPOUT ? p->open[OBJECT_STREAM] * BUFFER_BYTES : 0;
}

void account_at_rest(struct sim_process *p)
{
	memcpy(p->most, p->open, sizeof(p->most));
	if (p->account.start > 0)
		check("memory given back", p, &at_rest[p->part],
		      p->account.bytes - p->account.buffers);
	if (p->account.buffers > buffers_at_rest(p))
		sim_fail("memory given back", "%s has %zu bytes of buffers", p->name,
			 p->account.buffers);
}
