#include "proc/smtpin/client_table.h"

#define IPV6_CLIENT_BYTES 8

struct client {
	struct map_link link;
	struct addr key;
	uint32_t sessions;
};

static struct addr client_key(const struct addr *client)
{
	struct addr key = *client;

	key.port = 0;
	if (key.family == AF_INET6)
		memset(key.ip + IPV6_CLIENT_BYTES, 0, sizeof(key.ip) - IPV6_CLIENT_BYTES);
	return key;
}

static uint64_t key_hash(const struct client_table *t, const struct addr *key)
{
	return str_hash(str_mem(key->ip, sizeof(key->ip)), t->seed, false);
}

static struct client *find(const struct client_table *t, const struct addr *key, uint64_t hash)
{
	MAP_FIND (&t->clients, hash, struct client, link, c)
		if (addr_same_ip(&c->key, key))
			return c;
	return NULL;
}

void client_table_init(struct client_table *t, const uint64_t seed[2])
{
	map_init(&t->clients);
	t->seed[0] = seed[0];
	t->seed[1] = seed[1];
}

void client_table_done(struct client_table *t)
{
	must(t->clients.count == 0);
	map_done(&t->clients);
}

int client_table_enter(struct client_table *t, const struct addr *client, uint32_t sessions_max)
{
	struct addr key = client_key(client);
	uint64_t hash = key_hash(t, &key);
	struct client *c = find(t, &key, hash);
	int r;

	if (c) {
		if (c->sessions >= sessions_max)
			return -EUSERS;
		c->sessions++;
		return 0;
	}
	if (sessions_max == 0)
		return -EUSERS;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->key = key;
	c->sessions = 1;
	r = map_insert(&t->clients, &c->link, hash);
	if (r < 0)
		free(c);
	return r;
}

void client_table_leave(struct client_table *t, const struct addr *client)
{
	struct addr key = client_key(client);
	struct client *c = find(t, &key, key_hash(t, &key));

	must(c && c->sessions > 0);
	if (--c->sessions > 0)
		return;
	map_remove(&t->clients, &c->link);
	free(c);
}

uint32_t client_table_sessions(const struct client_table *t, const struct addr *client)
{
	struct addr key = client_key(client);
	struct client *c = find(t, &key, key_hash(t, &key));

	return c ? c->sessions : 0;
}
