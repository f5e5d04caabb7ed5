/*
 * map: an intrusive hash table. The element embeds a map_link; the caller computes the 64-bit hash
 * (str_hash with a random seed for keys a peer chooses) and compares keys itself:
 *
 *	MAP_FIND(&index, hash, struct entry, link, e)
 *		if (id_eq(e->id, id))
 *			return e;
 *
 * Grows by doubling; costs 8 bytes a bucket and 16 bytes a link.
 */
#pragma once

#include "base/util.h"

struct map_link {
	struct map_link *next;
	uint64_t hash;
};

struct map {
	struct map_link **bucket;
	size_t buckets; /* a power of two, 0 before the first insert */
	size_t count;
};

void map_init(struct map *m);
/* Frees the table, not the elements. */
void map_done(struct map *m);
/* 0 or -ENOMEM. Does not look for an equal key. */
int map_insert(struct map *m, struct map_link *link, uint64_t hash);
void map_remove(struct map *m, struct map_link *link);
/* First element of the hash's chain whose hash is equal, then the next such; NULL at the end. */
struct map_link *map_first(const struct map *m, uint64_t hash);
struct map_link *map_next(const struct map_link *link);
/* Walk over everything, in no order: start with NULL. The element returned may be removed only after
 * the following one was fetched. */
struct map_link *map_walk(const struct map *m, const struct map_link *at);

#define MAP_FIND(m, key_hash, type, member, it)                                                    \
	for (struct map_link *it##_link_ = map_first((m), (key_hash)); it##_link_;                 \
	     it##_link_ = map_next(it##_link_))                                                    \
		for (type *it = CONTAINER(it##_link_, type, member); it; it = NULL)
