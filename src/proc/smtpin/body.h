/*
 * body: a message's bytes on their way into a memfd that is sealed at the end. Small runs are collected
 * and large ones written straight from where they are, so that a message of ordinary size costs one
 * write. Nothing here parks.
 *
 * Every byte counts against a budget that all sessions of the process share: memfds are memory, and
 * message_size times sessions is more than any machine has.
 *
 * Failures are sticky: after the first the rest is thrown away and the memfd given up; body_finish returns it.
 * -EMSGSIZE: more than bytes_max; -EDQUOT: the budget; -ENOSPC and others: the kernel's.
 */
#pragma once

#include "base/buf.h"

struct body_budget {
	uint64_t used, max; /* bytes in all memfds of this process */
};

struct body {
	struct body_budget *budget;
	uint64_t bytes_max;
	uint64_t bytes;  /* taken, whether kept or not */
	uint64_t booked; /* in the budget */
	struct buf collected;
	int fd;
	int error;
};

/* 0 or a negative errno; then nothing has to be undone. */
int body_init(struct body *b, struct body_budget *budget, uint64_t bytes_max);
void body_done(struct body *b);
void body_add(struct body *b, str run);
/* Writes what is collected and seals. 0: the body is whole in b->fd; or the first error. */
int body_finish(struct body *b);
