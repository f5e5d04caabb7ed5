#include "proc/client_table.h"

#include "base/cleanup.h"
#include "proc/shared_table.h"

#include <stdlib.h>

/* Of a session's own client and network two may be in use. */
#define ROWS_A_SESSION 8
#define ROWS_MIN 1024
#define SESSIONS_MAX 1000000
/* Of processes that enter at the same instant: two that are in step need three. */
#define ROUNDS_MAX 100

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

_Static_assert(sizeof(struct row) == 16 && sizeof(struct region) == 64,
	       "the same in every process");

static const struct shared_shape shape = { "locum-clients", sizeof(struct region),
					   sizeof(struct row) };

struct client_table {
	struct shared_table shared;
};

static struct region *region(const struct client_table *t, unsigned index)
{
	return shared_table_region(&t->shared, index);
}

static struct region *own_region(const struct client_table *t)
{
	return region(t, t->shared.index);
}

/* --- making and opening --- */

int client_table_make(unsigned processes, uint32_t sessions_max, int *ret_fd)
{
	uint32_t rows = ROWS_MIN;

	must(sessions_max <= SESSIONS_MAX);
	while (rows < ROWS_A_SESSION * sessions_max)
		rows *= 2;
	return shared_table_make(&shape, processes, rows, ret_fd);
}

int client_table_open(int fd, unsigned index, struct client_table **ret_table)
{
	_cleanup_(client_table_closep) struct client_table *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	r = shared_table_open(&shape, fd, index, &t->shared);
	if (r < 0)
		return r;
	*ret_table = TAKE(t);
	return 0;
}

void client_table_close(struct client_table *t)
{
	if (t)
		shared_table_done(&t->shared);
	free(t);
}

void client_table_closep(struct client_table **t)
{
	client_table_close(*t);
}

void client_table_forget(struct client_table *t, unsigned index)
{
	struct region *dead = region(t, index);

	must(index < t->shared.processes);
	/* All of them, whatever the sum says: what a broken-into process wrote ends with it. */
	for (uint32_t i = 0; i < t->shared.rows; i++)
		dead->row[i].sessions = 0;
	dead->sessions = 0;
}

/* --- counting --- */

/* Whom a sum is about: a client, a network, or (0) everybody. */
#define EVERYBODY 0

static uint64_t sessions_in(const struct client_table *t, unsigned index, uint64_t key)
{
	const struct row *row;
	uint64_t sum = 0;

	if (key == EVERYBODY)
		return region(t, index)->sessions;
	/* Who enters counts here first. Rows of a region that nobody uses are not even memory until they are read. */
	if (!region(t, index)->sessions)
		return 0;
	row = shared_table_bucket(&t->shared, index, key);
	for (unsigned i = 0; i < SHARED_BUCKET_ROWS; i++) {
		uint32_t sessions;

		if (row[i].key != key)
			continue;
		sessions = row[i].sessions;
		/* Unless its owner gave it to somebody else meanwhile. */
		if (row[i].key == key)
			sum += sessions;
	}
	return sum;
}

static uint64_t sessions_of(const struct client_table *t, uint64_t key)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < t->shared.processes; i++)
		sum += sessions_in(t, i, key);
	return sum;
}

/* Counts one more in *own, when there are less than max. Who sees too many takes his own back and looks
 * again: if it was others doing the same, the last of them finds a place. Two in step would meet every time: from
 * round to round the one with the higher index looks for longer than the other. */
static bool take(const struct client_table *t, _Atomic uint32_t *own, uint64_t key, uint32_t max)
{
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		++*own;
		if (sessions_of(t, key) <= max)
			return true;
		--*own;
		for (unsigned look = 0; look <= i * t->shared.index; look++)
			if (sessions_of(t, key) >= max)
				return false;
	}
	return false;
}

/* Our row of this key, or a free one made its own; NULL: the bucket is full. */
static struct row *own_row(const struct client_table *t, uint64_t key)
{
	struct row *row = shared_table_bucket(&t->shared, t->shared.index, key), *free_row = NULL;

	for (unsigned i = 0; i < SHARED_BUCKET_ROWS; i++) {
		if (row[i].sessions && row[i].key == key)
			return &row[i];
		if (!row[i].sessions && !free_row)
			free_row = &row[i];
	}
	if (free_row)
		free_row->key = key;
	return free_row;
}

/* One more of this key, in a row of ours: false when there are max. */
static bool take_row(const struct client_table *t, uint64_t key, uint32_t max, uint32_t *ret_row)
{
	struct row *row = own_row(t, key);

	*ret_row = row ? (uint32_t)(row - own_region(t)->row) : CLIENT_UNCOUNTED;
	return !row || take(t, &row->sessions, key, max);
}

static void leave_row(const struct client_table *t, uint32_t row)
{
	struct region *own = own_region(t);

	if (row == CLIENT_UNCOUNTED)
		return;
	must(row < t->shared.rows && own->row[row].sessions > 0);
	own->row[row].sessions--;
}

int client_table_enter(struct client_table *t, const struct addr *client,
		       const struct client_limits *limits, client_place *ret_place)
{
	struct region *own = own_region(t);

	if (!take(t, &own->sessions, EVERYBODY, limits->sessions))
		return -ENFILE;
	if (!take_row(t, client_key(client), limits->per_client, &ret_place->client)) {
		own->sessions--;
		return -EUSERS;
	}
	if (!take_row(t, network_key(client), limits->per_network, &ret_place->network)) {
		leave_row(t, ret_place->client);
		own->sessions--;
		return -EDQUOT;
	}
	return 0;
}

void client_table_leave(struct client_table *t, client_place place)
{
	struct region *own = own_region(t);

	must(own->sessions > 0);
	own->sessions--;
	leave_row(t, place.client);
	leave_row(t, place.network);
}

uint64_t client_table_sessions(const struct client_table *t)
{
	return sessions_of(t, EVERYBODY);
}

uint64_t client_table_sessions_of(const struct client_table *t, const struct addr *client)
{
	return sessions_of(t, client_key(client));
}

uint64_t client_table_sessions_of_network(const struct client_table *t, const struct addr *client)
{
	return sessions_of(t, network_key(client));
}
