/*
 * client_table: how many sessions each client has open. A client is an IPv4 address or an IPv6 /64, since
 * whoever has one IPv6 address commonly has all of its /64. Keys come from the network, so the hash is
 * seeded. Nothing here parks. An entry lives as long as its client has a session.
 *
 * For now one table a process: sessions_per_client holds within each smtpin.
 */
#pragma once

#include "base/addr.h"
#include "base/map.h"

struct client_table {
	struct map clients;
	uint64_t seed[2];
};

void client_table_init(struct client_table *t, const uint64_t seed[2]);
/* All clients must have left. */
void client_table_done(struct client_table *t);
/* Counts one more session of this client. -EUSERS: it has sessions_max already (nothing is counted);
 * -ENOMEM. */
int client_table_enter(struct client_table *t, const struct addr *client, uint32_t sessions_max);
/* For every enter that returned 0. */
void client_table_leave(struct client_table *t, const struct addr *client);
uint32_t client_table_sessions(const struct client_table *t, const struct addr *client);
