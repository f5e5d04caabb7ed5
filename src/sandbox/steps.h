/*
 * The steps of sandbox_close and the rows they obey, apart from each other so that a test can prove each
 * layer alone. A step returns 0 or a negative errno; what it could not do, and need not fail for,
 * it adds to the struct missing.
 */
#pragma once

#include "sandbox/sandbox.h"

/* Groups of system calls (calls.c), by what they are for. */
enum {
	CALLS_BASE = 1 << 0,   /* memory, clock, epoll, own descriptors, signals to itself, exit */
	CALLS_TALK = 1 << 1,   /* on sockets it was given; descriptors may ride along */
	CALLS_ACCEPT = 1 << 2, /* on listeners it was given */
	CALLS_DIAL = 1 << 3, /* make IPv4 and IPv6 sockets, connect them; UDP ports for questions */
	CALLS_MEMFD = 1 << 4, /* make, fill and seal memory files */
	CALLS_READ = 1 << 5,  /* open for reading: added when the request names files */
	CALLS_STORE = 1 << 7, /* write and sync files that are open already */
	CALLS_FILES = 1 << 6, /* open, write, rename, remove; where is Landlock's matter */
};

struct sandbox_row {
	const char *name;
	unsigned calls;
	bool writes_dir;      /* request->writable_dir, and is rooted there */
	bool connects;        /* TCP, through Landlock too */
	uint64_t descriptors; /* RLIMIT_NOFILE when the request does not say */
	uint64_t file_bytes;  /* RLIMIT_FSIZE at least; memfds count */
};

#define FILE_BYTES_FREE UINT64_MAX /* no RLIMIT_FSIZE */

const struct sandbox_row *sandbox_row(enum sandbox_profile profile);

struct missing {
	char *text;
	size_t size;
};

void missing_add(struct missing *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

int limits_apply(const struct sandbox_row *row, const struct sandbox_request *request,
		 struct missing *m);

/* A ruleset made while paths can still be opened; -1 when the kernel has no Landlock. */
int landlock_prepare(const struct sandbox_row *row, const struct sandbox_request *request,
		     struct missing *m, int *ret_ruleset);
int landlock_enter(int ruleset);

int root_enter(const struct sandbox_row *row, const struct sandbox_request *request,
	       struct missing *m);
int ids_drop(const struct sandbox_request *request, struct missing *m);
int privileges_renounce(void);

int calls_allow(unsigned groups);

/* Sanitizers read /proc, start helpers and map memory at will: they and the sandbox exclude each other. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) ||                         \
	__has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
