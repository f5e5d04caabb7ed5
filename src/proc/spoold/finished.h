/*
 * finished: the last messages that are gone, with their final state, so that their story can still
 * be told. Bounded in number and bytes; the oldest goes first. Refilled at start from the done
 * records in the spool.
 */
#pragma once

#include "base/id.h"
#include "base/map.h"

#define FINISHED_MAX 10000
#define FINISHED_BYTES_MAX ((size_t)16 << 20)

struct finished_item {
	struct map_link link;
	msg_id id;
	nsec at_wall;
	size_t state_bytes;
	char state[]; /* a packed StoredState */
};

struct finished {
	struct map by_id;
	struct finished_item *ring[FINISHED_MAX];
	size_t first, count;
	size_t bytes;
};

void finished_init(struct finished *f);
void finished_done(struct finished *f);
/* Out of memory, or too large: it is not remembered. */
void finished_add(struct finished *f, msg_id id, nsec at_wall, str state);
/* The newest of that id, or NULL; valid until the next finished_add. */
const struct finished_item *finished_find(const struct finished *f, msg_id id);
/* The n-th, oldest first; NULL past the end. */
const struct finished_item *finished_at(const struct finished *f, size_t n);
