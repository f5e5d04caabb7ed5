/*
 * client_memory: what all smtpin together remember of a client, an IPv4 address or an IPv6 /64: how much it did in
 * the last hour, and when it last brought a message that was accepted. locumd makes it, a memory file of
 * sealed size, and hands it to every smtpin.
 *
 * As with client_table each process has a region of its own, which it alone writes and all read: no locks. Sums are over
 * all regions. A process that dies leaves its region to its successor: nothing is forgotten. What it was writing
 * at that moment is.
 *
 * A count fades exponentially: after an hour 1/e of it is left, so who does n an hour for long has a count of n,
 * and so has who does n at once. That a sum of such counts fades like each of them is why every process can keep its
 * own.
 *
 * Bounds: 40 bytes a client and region, in buckets of 16. In a full bucket the client that was heard of least
 * recently is forgotten; one that is known as good only when more than half of the bucket is, so that a
 * flood of strangers does not make us forget our friends. Keys come from the network, so the hash is seeded.
 *
 * Times are wall-clock times, for this outlives processes. A clock that jumps makes us forget: whatever is far
 * from now, before or after, counts for nothing.
 *
 * Nothing here parks or logs. m may be NULL: nothing is remembered, nobody is known as good.
 */
#pragma once

#include "base/addr.h"

struct client_memory;

enum client_count {
	CLIENT_MESSAGES,           /* accepted */
	CLIENT_RECIPIENTS,         /* accepted */
	CLIENT_UNKNOWN_RECIPIENTS, /* refused: no such user or domain, or routed on */
	CLIENT_ERRORS,             /* commands refused */
	CLIENT_COUNTS,
};

/* A client is known as good for so long after the last message of its that was accepted. */
#define CLIENT_GOOD_TIME (30 * NSEC_DAY)
/* Clients that one process remembers, a power of two. */
#define CLIENT_MEMORY_ROWS 65536

/* An empty one for so many processes and so many clients of each (a power of two, 16 or more): a memory file,
 * the caller's. 0 or a negative errno. */
int client_memory_make(unsigned processes, uint32_t rows, int *ret_fd);
/* The memory in fd, which stays the caller's, as process number `index` sees it. Of one index there is one process at
 * a time. -EPROTO: this is no such memory, or it has no such process. */
int client_memory_open(int fd, unsigned index, struct client_memory **ret_memory);
void client_memory_close(struct client_memory *m);
void client_memory_closep(struct client_memory **m);

/* The client did n more of it. */
void client_memory_add(struct client_memory *m, const struct addr *client, enum client_count what,
		       unsigned n, nsec now_wall);
/* How many it does an hour, by all processes. */
double client_memory_rate(const struct client_memory *m, const struct addr *client,
			  enum client_count what, nsec now_wall);
/* All of them at once, for the price of one. */
void client_memory_rates(const struct client_memory *m, const struct addr *client, nsec now_wall,
			 double ret_rates[static CLIENT_COUNTS]);
/* A message of this client's was accepted. */
void client_memory_good(struct client_memory *m, const struct addr *client, nsec now_wall);
bool client_memory_is_good(const struct client_memory *m, const struct addr *client, nsec now_wall);
