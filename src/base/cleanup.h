/*
 * Freeing by scope. A variable marked _cleanup_(f) is passed by address to f when its scope ends;
 * TAKE() moves a value out and leaves its empty form behind, so that ownership is handed over on
 * success only.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Moves a pointer out of a _cleanup_ variable. */
#define TAKE(p)                                                                                    \
	({                                                                                         \
		__typeof__(p) *take_from_ = &(p);                                                  \
		__typeof__(p) take_value_ = *take_from_;                                           \
		*take_from_ = NULL;                                                                \
		take_value_;                                                                       \
	})

/* Moves a file descriptor out of a _cleanup_(closep) variable. */
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *take_from_ = &(fd);                                                           \
		int take_value_ = *take_from_;                                                     \
		*take_from_ = -1;                                                                  \
		take_value_;                                                                       \
	})

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
