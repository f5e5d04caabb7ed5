#include "base/map.h"

#include <stdlib.h>

#define MAP_FIRST_BUCKETS 16

void map_init(struct map *m)
{
	*m = (struct map){ 0 };
}

void map_done(struct map *m)
{
	free(m->bucket);
	*m = (struct map){ 0 };
}

static struct map_link **map_bucket(const struct map *m, uint64_t hash)
{
	return &m->bucket[hash & (m->buckets - 1)];
}

static int map_grow(struct map *m)
{
	struct map grown = { .buckets = m->buckets ? m->buckets * 2 : MAP_FIRST_BUCKETS,
			     .count = m->count };

	grown.bucket = calloc(grown.buckets, sizeof(*grown.bucket));
	if (!grown.bucket)
		return -ENOMEM;
	for (size_t i = 0; i < m->buckets; i++) {
		while (m->bucket[i]) {
			struct map_link *link = m->bucket[i];
			struct map_link **to = map_bucket(&grown, link->hash);

			m->bucket[i] = link->next;
			link->next = *to;
			*to = link;
		}
	}
	free(m->bucket);
	*m = grown;
	return 0;
}

int map_insert(struct map *m, struct map_link *link, uint64_t hash)
{
	struct map_link **to;
	int r;

	if (m->count >= m->buckets) {
		r = map_grow(m);
		/* A full table still works, only slower. */
		if (r < 0 && m->buckets == 0)
			return r;
	}
	to = map_bucket(m, hash);
	link->hash = hash;
	link->next = *to;
	*to = link;
	m->count++;
	return 0;
}

void map_remove(struct map *m, struct map_link *link)
{
	struct map_link **at = map_bucket(m, link->hash);

	while (*at != link) {
		must(*at);
		at = &(*at)->next;
	}
	*at = link->next;
	link->next = NULL;
	m->count--;
}

static struct map_link *same_hash(struct map_link *link, uint64_t hash)
{
	while (link && link->hash != hash)
		link = link->next;
	return link;
}

struct map_link *map_first(const struct map *m, uint64_t hash)
{
	return m->buckets ? same_hash(*map_bucket(m, hash), hash) : NULL;
}

struct map_link *map_next(const struct map_link *link)
{
	return same_hash(link->next, link->hash);
}

struct map_link *map_walk(const struct map *m, const struct map_link *at)
{
	size_t i = 0;

	if (at) {
		if (at->next)
			return at->next;
		i = (at->hash & (m->buckets - 1)) + 1;
	}
	for (; i < m->buckets; i++)
		if (m->bucket[i])
			return m->bucket[i];
	return NULL;
}
