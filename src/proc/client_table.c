#include "proc/client_table.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <stdatomic.h>
#include <stdlib.h>

#define IPV6_CLIENT_BYTES 8
#define BUCKET_ROWS 16
#define ROWS_A_SESSION 4
#define ROWS_MIN 1024
#define PROCESSES_MAX 128
#define SESSIONS_MAX 1000000
/* Of processes that enter at the same instant; each further round needs another coincidence. */
#define ROUNDS_MAX 1000

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
	       "what several processes share must not hide a lock");

/* Free while it has no sessions; the key of a free row means nothing. */
struct row {
	_Atomic uint64_t key;
	_Atomic uint32_t sessions;
	uint32_t unused;
};

struct region {
	_Atomic uint32_t sessions; /* of all clients */
	uint32_t unused[15];       /* a cache line of its own */
	struct row row[];
};

/* What the file starts with; written once, before anybody else has it. */
struct header {
	uint64_t seed[2];
	uint32_t processes;
	uint32_t rows; /* a region, a power of two */
	uint32_t unused[10];
};

_Static_assert(sizeof(struct row) == 16 && sizeof(struct region) == 64 &&
		       sizeof(struct header) == 64,
	       "the same in every process");

struct client_table {
	void *memory;
	uint64_t bytes;
	unsigned processes, index;
	uint32_t rows;
	uint64_t seed[2];
};

static uint64_t region_bytes(uint32_t rows)
{
	return sizeof(struct region) + (uint64_t)rows * sizeof(struct row);
}

static uint64_t table_bytes(unsigned processes, uint32_t rows)
{
	return sizeof(struct header) + processes * region_bytes(rows);
}

static struct region *region(const struct client_table *t, unsigned index)
{
	return (void *)((char *)t->memory + sizeof(struct header) + index * region_bytes(t->rows));
}

/* --- making and opening --- */

int client_table_make(unsigned processes, uint32_t sessions_max, int *ret_fd)
{
	struct header h = { .processes = processes, .rows = ROWS_MIN };
	_cleanup_(closep) int fd = -1;
	int r;

	must(processes > 0 && processes <= PROCESSES_MAX && sessions_max <= SESSIONS_MAX);
	while (h.rows < ROWS_A_SESSION * sessions_max)
		h.rows *= 2;
	sys_random(h.seed, sizeof(h.seed));
	fd = sys_memfd("locum-clients");
	if (fd < 0)
		return fd;
	r = sys_truncate(fd, table_bytes(processes, h.rows));
	if (r < 0)
		return r;
	r = sys_write_at(fd, str_mem(&h, sizeof(h)), 0);
	if (r < 0)
		return r;
	/* A file that another process can shorten would be a trap for whoever reads it. */
	r = sys_memfd_seal_size(fd);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static bool plausible(const struct header *h, uint64_t bytes, unsigned index)
{
	return h->processes > 0 && h->processes <= PROCESSES_MAX && index < h->processes &&
	       h->rows >= BUCKET_ROWS && (h->rows & (h->rows - 1)) == 0 &&
	       bytes == table_bytes(h->processes, h->rows);
}

int client_table_open(int fd, unsigned index, struct client_table **ret_table)
{
	_cleanup_(client_table_closep) struct client_table *t = calloc(1, sizeof(*t));
	struct header h;
	int r;

	if (!t)
		return -ENOMEM;
	if (sys_read_at(fd, &h, sizeof(h), 0) != sizeof(h) || sys_size(fd, &t->bytes) < 0 ||
	    !plausible(&h, t->bytes, index))
		return -EPROTO;
	t->processes = h.processes;
	t->rows = h.rows;
	t->index = index;
	memcpy(t->seed, h.seed, sizeof(t->seed));
	r = sys_map_shared(fd, t->bytes, &t->memory);
	if (r < 0)
		return r;
	*ret_table = TAKE(t);
	return 0;
}

void client_table_close(struct client_table *t)
{
	if (!t)
		return;
	if (t->memory)
		sys_unmap(t->memory, t->bytes);
	free(t);
}

void client_table_closep(struct client_table **t)
{
	client_table_close(*t);
}

void client_table_forget(struct client_table *t, unsigned index)
{
	struct region *dead = region(t, index);

	must(index < t->processes);
	for (uint32_t i = 0; i < t->rows; i++)
		if (dead->row[i].sessions) /* what was never written stays no memory at all */
			dead->row[i].sessions = 0;
	dead->sessions = 0;
}

/* --- counting --- */

/* An IPv6 client is the first half of its address. IPv4 clients, and ::/64, have keys in 0:1::/32 and
 * 0:2::/32, where nobody lives. */
static uint64_t client_key(const struct addr *client)
{
	unsigned bytes = client->family == AF_INET6 ? IPV6_CLIENT_BYTES : 4;
	uint64_t key = 0;

	for (unsigned i = 0; i < bytes; i++)
		key = key << 8 | client->ip[i];
	if (client->family != AF_INET6)
		return key | (uint64_t)1 << 32;
	return key ? key : (uint64_t)2 << 32;
}

static uint32_t bucket_of(const struct client_table *t, uint64_t key)
{
	uint64_t hash = str_hash(str_mem(&key, sizeof(key)), t->seed, false);

	return (uint32_t)hash & (t->rows - 1) & ~(uint32_t)(BUCKET_ROWS - 1);
}

/* Whom a sum is about. */
struct who {
	uint64_t key;
	uint32_t bucket;
	bool everybody;
};

static uint64_t sessions_in(const struct region *g, const struct who *who)
{
	uint64_t sum = 0;

	if (who->everybody)
		return g->sessions;
	for (const struct row *r = g->row + who->bucket; r < g->row + who->bucket + BUCKET_ROWS;
	     r++) {
		uint32_t sessions;

		if (r->key != who->key)
			continue;
		sessions = r->sessions;
		/* Unless its owner gave it to somebody else meanwhile. */
		if (r->key == who->key)
			sum += sessions;
	}
	return sum;
}

static uint64_t sessions_of(const struct client_table *t, const struct who *who)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < t->processes; i++)
		sum += sessions_in(region(t, i), who);
	return sum;
}

/* Counts one more in *own, when there are less than max. Who sees too many takes his own back and looks
 * again: if it was others doing the same, the last of them finds a place. */
static bool take(const struct client_table *t, _Atomic uint32_t *own, const struct who *who,
		 uint32_t max)
{
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		++*own;
		if (sessions_of(t, who) <= max)
			return true;
		--*own;
		if (sessions_of(t, who) >= max)
			return false;
	}
	return false;
}

/* Our row of this client, or a free one made his; NULL: the bucket is full. */
static struct row *own_row(const struct client_table *t, const struct who *who)
{
	struct row *row = region(t, t->index)->row + who->bucket, *free_row = NULL;

	for (unsigned i = 0; i < BUCKET_ROWS; i++) {
		if (row[i].sessions && row[i].key == who->key)
			return &row[i];
		if (!row[i].sessions && !free_row)
			free_row = &row[i];
	}
	if (free_row)
		free_row->key = who->key;
	return free_row;
}

static struct who who_is(const struct client_table *t, const struct addr *client)
{
	uint64_t key = client_key(client);

	return (struct who){ .key = key, .bucket = bucket_of(t, key) };
}

int client_table_enter(struct client_table *t, const struct addr *client, uint32_t sessions_max,
		       uint32_t per_client_max, client_place *ret_place)
{
	const struct who everybody = { .everybody = true }, who = who_is(t, client);
	struct region *own = region(t, t->index);
	struct row *row;

	if (!take(t, &own->sessions, &everybody, sessions_max))
		return -ENFILE;
	row = own_row(t, &who);
	if (row && !take(t, &row->sessions, &who, per_client_max)) {
		own->sessions--;
		return -EUSERS;
	}
	*ret_place = row ? (client_place)(row - own->row) : CLIENT_UNCOUNTED;
	return 0;
}

void client_table_leave(struct client_table *t, client_place place)
{
	struct region *own = region(t, t->index);

	must(own->sessions > 0);
	own->sessions--;
	if (place == CLIENT_UNCOUNTED)
		return;
	must(place < t->rows && own->row[place].sessions > 0);
	own->row[place].sessions--;
}

uint64_t client_table_sessions(const struct client_table *t)
{
	const struct who everybody = { .everybody = true };

	return sessions_of(t, &everybody);
}

uint64_t client_table_sessions_of(const struct client_table *t, const struct addr *client)
{
	const struct who who = who_is(t, client);

	return sessions_of(t, &who);
}
