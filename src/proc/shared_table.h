/*
 * shared_table: what client_table and client_memory have in common. A memory file of sealed size with one region
 * for each smtpin, which it alone writes and all read; a region is a head and rows in buckets of 16, found by a
 * seeded hash, for keys come from the network. locumd makes the file and hands it to every smtpin.
 *
 * Who else is in one's bucket may be looked at and written without a lock only through atomics: what is in a row
 * is for the user of this to say. Nothing here parks or logs.
 */
#pragma once

#include "base/addr.h"

#define SHARED_BUCKET_ROWS 16

/* The same in every process; sizes are multiples of 8. */
struct shared_shape {
	const char *name; /* of the file */
	uint32_t head_bytes, row_bytes;
};

struct shared_table {
	const struct shared_shape *shape;
	void *memory;
	uint64_t bytes;
	unsigned processes, index;
	uint32_t rows; /* of a region, a power of two */
	uint64_t seed[2];
};

/* An empty one; everything in it is zero. rows: a power of two, a bucket or more. The file is the caller's. */
int shared_table_make(const struct shared_shape *shape, unsigned processes, uint32_t rows,
		      int *ret_fd);
/* The one in fd, which stays the caller's, as process number `index` sees it. -EPROTO: this is none of this shape, or
 * it has no such process. shared_table_done is right after a failure too. */
int shared_table_open(const struct shared_shape *shape, int fd, unsigned index,
		      struct shared_table *ret);
void shared_table_done(struct shared_table *t);

void *shared_table_region(const struct shared_table *t, unsigned index);
/* The first row of the key's bucket in a region. */
void *shared_table_bucket(const struct shared_table *t, unsigned index, uint64_t key);

/* A client is an IPv4 address or an IPv6 /64, since whoever has one IPv6 address commonly has all of its
 * /64; a network is an IPv4 /24 or an IPv6 /48. No two of them have the same key, and none is 0. */
uint64_t client_key(const struct addr *client);
uint64_t network_key(const struct addr *client);
