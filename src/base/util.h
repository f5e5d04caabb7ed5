/*
 * The small words every file uses: time as a value type, array sizes, assertions that stay on.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A duration or a point in time in nanoseconds. Points are either monotonic (awaits, scheduling) or
 * wall clock since 1970 (what is stored or shown); names of wall-clock values end in _wall. */
typedef int64_t nsec;

#define NSEC_US ((nsec)1000)
#define NSEC_MS ((nsec)1000000)
#define NSEC_S ((nsec)1000000000)
#define NSEC_MINUTE (60 * NSEC_S)
#define NSEC_HOUR (3600 * NSEC_S)
#define NSEC_DAY (86400 * NSEC_S)
#define NEVER INT64_MAX

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* A bug of ours: prints where and aborts; the supervisor starts us again. Stays on in every build. */
#define must(condition)                                                                            \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0))                                             \
			must_failed(#condition, __FILE__, __LINE__);                               \
	} while (0)

_Noreturn void must_failed(const char *condition, const char *file, int line);
