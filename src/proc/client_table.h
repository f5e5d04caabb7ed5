/*
 * client_table: how many sessions each client and each network has open, and how many there are, over all smtpin
 * processes together. A client is an IPv4 address or an IPv6 /64, a network an IPv4 /24 or an IPv6 /48. locumd
 * makes the table, a memory file of sealed size, and hands it to every smtpin (shared_table.h).
 *
 * Each process has a region of its own, which it alone writes and all read: no locks. Whoever enters counts
 * first and looks at the sum then, so of several that do so at once the last sees all of them: never
 * more than the limit get in, and never are all turned away for each other's sake. The region of a dead
 * process is emptied by locumd.
 *
 * Bounds: a region has eight rows for every session that is allowed at all, in buckets of 16, and a row without
 * sessions is free: it never fills up, and nothing needs to age. In the one bucket in a million that
 * overflows nevertheless, a client or network is counted in the sum of all only.
 *
 * Nothing here parks or logs. Whoever breaks into one smtpin can lie about counts, and has no more of it.
 */
#pragma once

#include "base/addr.h"

struct client_table;

/* A session's place in the table: rows of its process's region. */
#define CLIENT_UNCOUNTED UINT32_MAX /* in the sum only */
typedef struct {
	uint32_t client, network;
} client_place;

/* How many sessions there may be; UINT32_MAX: any number. */
struct client_limits {
	uint32_t sessions; /* of all clients */
	uint32_t per_client, per_network;
};

/* An empty table for so many processes, all of their sessions together at most sessions_max: a memory
 * file, the caller's. 0 or a negative errno. */
int client_table_make(unsigned processes, uint32_t sessions_max, int *ret_fd);
/* The table in fd, which stays the caller's, as process number `index` sees it. -EPROTO: this is no
 * such table, or it has no such process. */
int client_table_open(int fd, unsigned index, struct client_table **ret_table);
void client_table_close(struct client_table *t);
void client_table_closep(struct client_table **t);
/* That process is dead: its sessions are gone. By locumd, before it starts the next one. */
void client_table_forget(struct client_table *t, unsigned index);

/* Counts one more session of this client. -ENFILE: there are enough of all clients; -EUSERS: of this one;
 * -EDQUOT: of its network. Nothing is counted then. */
int client_table_enter(struct client_table *t, const struct addr *client,
		       const struct client_limits *limits, client_place *ret_place);
/* For every enter that returned 0. */
void client_table_leave(struct client_table *t, client_place place);
/* Of all processes, at this moment. */
uint64_t client_table_sessions(const struct client_table *t);
uint64_t client_table_sessions_of(const struct client_table *t, const struct addr *client);
uint64_t client_table_sessions_of_network(const struct client_table *t, const struct addr *client);
