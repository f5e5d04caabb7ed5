#include "proc/client_memory.h"

#include "base/cleanup.h"
#include "proc/shared_table.h"

#include <stdatomic.h>
#include <stdlib.h>

#define HOUR_S 3600
/* Of a count so old nothing is left, however large it was: e^-40. */
#define FADED_S (40 * HOUR_S)
/* e^(-1/3600): what is left of 1 after a second. */
#define LEFT_AFTER_A_SECOND 0.99972226080183
#define COUNT_MAX 1e9
#define GOOD_S ((uint32_t)(CLIENT_GOOD_TIME / NSEC_S))
/* How often a reader looks at a row that is being written. */
#define LOOKS_MAX 64

/* While its version is odd it is being written; for ever, when the writer died of it. Times are wall-clock seconds. */
struct row {
	_Atomic uint32_t version;
	_Atomic uint32_t used; /* when it was written last; 0: never, the row is free */
	_Atomic uint64_t key;
	_Atomic uint32_t good;              /* 0: never */
	_Atomic float count[CLIENT_COUNTS]; /* at the time `used` */
	uint32_t unused;
};

struct region {
	_Atomic uint32_t
		written; /* 0: nothing is in it; its rows are not even memory until they are read */
	uint32_t unused[15]; /* a cache line of its own */
};

_Static_assert(sizeof(struct row) == 40 && sizeof(_Atomic float) == 4 &&
		       sizeof(struct region) == 64,
	       "the same in every process");

/* A row as it was at one moment, or as it will be. */
struct record {
	uint64_t key;
	uint32_t used, good;
	float count[CLIENT_COUNTS];
};

static const struct shared_shape shape = { "locum-client-memory", sizeof(struct region),
					   sizeof(struct row) };

struct client_memory {
	struct shared_table shared;
};

/* --- making and opening --- */

int client_memory_make(unsigned processes, uint32_t rows, int *ret_fd)
{
	return shared_table_make(&shape, processes, rows, ret_fd);
}

int client_memory_open(int fd, unsigned index, struct client_memory **ret_memory)
{
	_cleanup_(client_memory_closep) struct client_memory *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	r = shared_table_open(&shape, fd, index, &m->shared);
	if (r < 0)
		return r;
	*ret_memory = TAKE(m);
	return 0;
}

void client_memory_close(struct client_memory *m)
{
	if (m)
		shared_table_done(&m->shared);
	free(m);
}

void client_memory_closep(struct client_memory **m)
{
	client_memory_close(*m);
}

/* --- time --- */

static uint32_t seconds(nsec wall)
{
	return wall < NSEC_S ? 1 : (uint32_t)MIN(wall / NSEC_S, (nsec)UINT32_MAX);
}

/* Either way: what lies in the future was written before the clock was set back, who knows how long ago. */
static uint32_t distance(uint32_t a, uint32_t b)
{
	return a > b ? a - b : b - a;
}

/* What is left of 1 after so many seconds. */
static double left_after(uint32_t s)
{
	double left = 1, base = LEFT_AFTER_A_SECOND;

	if (s >= FADED_S)
		return 0;
	for (; s; s >>= 1, base *= base)
		if (s & 1)
			left *= base;
	return left;
}

static bool good_at(uint32_t good, uint32_t now)
{
	return good && distance(good, now) <= GOOD_S;
}

/* --- one row --- */

static uint32_t get(const _Atomic uint32_t *from)
{
	return atomic_load_explicit(from, memory_order_relaxed);
}

static void read_fields(const struct row *row, struct record *ret)
{
	ret->key = atomic_load_explicit(&row->key, memory_order_relaxed);
	ret->used = get(&row->used);
	ret->good = get(&row->good);
	for (int i = 0; i < CLIENT_COUNTS; i++)
		ret->count[i] = atomic_load_explicit(&row->count[i], memory_order_relaxed);
}

/* Another process may be writing: only what had the same even version before and after is one record. False: it is
 * being written for longer than we look. */
static bool read_row(const struct row *row, struct record *ret)
{
	for (unsigned i = 0; i < LOOKS_MAX; i++) {
		uint32_t version = atomic_load_explicit(&row->version, memory_order_acquire);

		if (version & 1)
			continue;
		read_fields(row, ret);
		atomic_thread_fence(memory_order_acquire);
		if (get(&row->version) == version)
			return true;
	}
	return false;
}

static void write_row(const struct client_memory *m, struct row *row, const struct record *record)
{
	struct region *own = shared_table_region(&m->shared, m->shared.index);
	/* The predecessor's odd one, if it died of this row. */
	uint32_t version = get(&row->version) | 1;

	atomic_store_explicit(&row->version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&row->key, record->key, memory_order_relaxed);
	atomic_store_explicit(&row->used, record->used, memory_order_relaxed);
	atomic_store_explicit(&row->good, record->good, memory_order_relaxed);
	for (int i = 0; i < CLIENT_COUNTS; i++)
		atomic_store_explicit(&row->count[i], record->count[i], memory_order_relaxed);
	atomic_store_explicit(&row->version, version + 1, memory_order_release);
	if (!get(&own->written))
		atomic_store_explicit(&own->written, 1, memory_order_release);
}

/* --- finding --- */

static bool find(const struct client_memory *m, unsigned index, uint64_t key, struct record *ret)
{
	const struct region *region = shared_table_region(&m->shared, index);
	const struct row *row = shared_table_bucket(&m->shared, index, key);

	if (!get(&region->written))
		return false;
	for (unsigned i = 0; i < SHARED_BUCKET_ROWS; i++)
		if (atomic_load_explicit(&row[i].key, memory_order_relaxed) == key &&
		    read_row(&row[i], ret) && ret->key == key && ret->used)
			return true;
	return false;
}

/* Nothing is in it, or what was left when its writer died. */
static bool is_free(const struct row *row)
{
	return !get(&row->used) || (get(&row->version) & 1);
}

/* Whom to forget for a new client, in a full bucket of ours. */
static struct row *least_missed(struct row *bucket, uint32_t now)
{
	struct row *oldest[2] = { NULL, NULL }; /* not known as good, known as good */
	unsigned good = 0;

	for (struct row *row = bucket; row < bucket + SHARED_BUCKET_ROWS; row++) {
		bool is_good = good_at(get(&row->good), now);
		struct row **o = &oldest[is_good];

		good += is_good;
		if (!*o || distance(get(&row->used), now) > distance(get(&(*o)->used), now))
			*o = row;
	}
	return good > SHARED_BUCKET_ROWS / 2 ? oldest[1] : oldest[0];
}

/* Our row of this client, or the one that it gets. Only we write here, so fields are read as they are. */
static struct row *own_row(struct client_memory *m, uint64_t key, uint32_t now)
{
	struct row *row = shared_table_bucket(&m->shared, m->shared.index, key), *free_row = NULL;

	for (unsigned i = 0; i < SHARED_BUCKET_ROWS; i++) {
		if (is_free(&row[i]))
			free_row = free_row ? free_row : &row[i];
		else if (atomic_load_explicit(&row[i].key, memory_order_relaxed) == key)
			return &row[i];
	}
	return free_row ? free_row : least_missed(row, now);
}

/* Our record of this client, its counts as of now. */
static void recall(const struct row *row, uint64_t key, uint32_t now, struct record *ret)
{
	double left;

	read_fields(row, ret);
	if (is_free(row) || ret->key != key)
		*ret = (struct record){ .key = key };
	left = left_after(distance(ret->used, now));
	for (int i = 0; i < CLIENT_COUNTS; i++)
		ret->count[i] = (float)(ret->count[i] * left);
	ret->used = now;
}

/* --- counting --- */

void client_memory_add(struct client_memory *m, const struct addr *client, enum client_count what,
		       unsigned n, nsec now_wall)
{
	uint32_t now = seconds(now_wall);
	struct record record;
	struct row *row;

	must(what < CLIENT_COUNTS);
	if (!m || !n)
		return;
	row = own_row(m, client_key(client), now);
	recall(row, client_key(client), now, &record);
	record.count[what] = (float)MIN((double)record.count[what] + n, COUNT_MAX);
	write_row(m, row, &record);
}

void client_memory_rates(const struct client_memory *m, const struct addr *client, nsec now_wall,
			 double ret_rates[static CLIENT_COUNTS])
{
	uint32_t now = seconds(now_wall);
	uint64_t key = client_key(client);

	for (int i = 0; i < CLIENT_COUNTS; i++)
		ret_rates[i] = 0;
	for (unsigned p = 0; m && p < m->shared.processes; p++) {
		struct record record;
		double left;

		if (!find(m, p, key, &record))
			continue;
		left = left_after(distance(record.used, now));
		for (int i = 0; i < CLIENT_COUNTS; i++)
			/* Whoever broke into one smtpin may have written anything, no number included. */
			ret_rates[i] += record.count[i] > 0 ? record.count[i] * left : 0;
	}
}

double client_memory_rate(const struct client_memory *m, const struct addr *client,
			  enum client_count what, nsec now_wall)
{
	double rates[CLIENT_COUNTS];

	must(what < CLIENT_COUNTS);
	client_memory_rates(m, client, now_wall, rates);
	return rates[what];
}

void client_memory_good(struct client_memory *m, const struct addr *client, nsec now_wall)
{
	uint32_t now = seconds(now_wall);
	struct record record;
	struct row *row;

	if (!m)
		return;
	row = own_row(m, client_key(client), now);
	recall(row, client_key(client), now, &record);
	record.good = now;
	write_row(m, row, &record);
}

bool client_memory_is_good(const struct client_memory *m, const struct addr *client, nsec now_wall)
{
	uint32_t now = seconds(now_wall);
	uint64_t key = client_key(client);
	struct record record;

	for (unsigned p = 0; m && p < m->shared.processes; p++)
		if (find(m, p, key, &record) && good_at(record.good, now))
			return true;
	return false;
}
