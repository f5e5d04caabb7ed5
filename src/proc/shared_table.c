#include "proc/shared_table.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <stdatomic.h>

#define PROCESSES_MAX 512
#define MAGIC 0x314c4254756d636cULL

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
	       "what several processes share must not hide a lock");

/* What the file starts with; written once, before anybody else has it. */
struct header {
	uint64_t magic;
	uint64_t seed[2];
	uint32_t processes;
	uint32_t rows;
	uint32_t head_bytes, row_bytes;
	uint32_t unused[6];
};

_Static_assert(sizeof(struct header) == 64, "the same in every process");

static uint64_t region_bytes(const struct shared_shape *shape, uint32_t rows)
{
	return shape->head_bytes + (uint64_t)rows * shape->row_bytes;
}

static uint64_t table_bytes(const struct shared_shape *shape, unsigned processes, uint32_t rows)
{
	return sizeof(struct header) + processes * region_bytes(shape, rows);
}

/* --- making and opening --- */

int shared_table_make(const struct shared_shape *shape, unsigned processes, uint32_t rows,
		      int *ret_fd)
{
	struct header h = { .magic = MAGIC,
			    .processes = processes,
			    .rows = rows,
			    .head_bytes = shape->head_bytes,
			    .row_bytes = shape->row_bytes };
	_cleanup_(closep) int fd = -1;
	int r;

	must(processes > 0 && processes <= PROCESSES_MAX);
	must(rows >= SHARED_BUCKET_ROWS && (rows & (rows - 1)) == 0);
	sys_random(h.seed, sizeof(h.seed));
	fd = sys_memfd(shape->name);
	if (fd < 0)
		return fd;
	r = sys_truncate(fd, table_bytes(shape, processes, rows));
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

static bool plausible(const struct header *h, const struct shared_shape *shape, uint64_t bytes,
		      unsigned index)
{
	return h->magic == MAGIC && h->head_bytes == shape->head_bytes &&
	       h->row_bytes == shape->row_bytes && h->processes > 0 &&
	       h->processes <= PROCESSES_MAX && index < h->processes &&
	       h->rows >= SHARED_BUCKET_ROWS && (h->rows & (h->rows - 1)) == 0 &&
	       bytes == table_bytes(shape, h->processes, h->rows);
}

int shared_table_open(const struct shared_shape *shape, int fd, unsigned index,
		      struct shared_table *ret)
{
	struct header h;

	*ret = (struct shared_table){ .shape = shape, .index = index };
	if (sys_read_at(fd, &h, sizeof(h), 0) != sizeof(h) || sys_size(fd, &ret->bytes) < 0 ||
	    !plausible(&h, shape, ret->bytes, index))
		return -EPROTO;
	ret->processes = h.processes;
	ret->rows = h.rows;
	memcpy(ret->seed, h.seed, sizeof(ret->seed));
	return sys_map_shared(fd, ret->bytes, &ret->memory);
}

void shared_table_done(struct shared_table *t)
{
	if (t->memory)
		sys_unmap(t->memory, t->bytes);
	t->memory = NULL;
}

/* --- where things are --- */

void *shared_table_region(const struct shared_table *t, unsigned index)
{
	return (char *)t->memory + sizeof(struct header) + index * region_bytes(t->shape, t->rows);
}

void *shared_table_bucket(const struct shared_table *t, unsigned index, uint64_t key)
{
	uint64_t hash = str_hash(str_mem(&key, sizeof(key)), t->seed, false);
	uint32_t first = (uint32_t)hash & (t->rows - 1) & ~(uint32_t)(SHARED_BUCKET_ROWS - 1);

	return (char *)shared_table_region(t, index) + t->shape->head_bytes +
	       (uint64_t)first * t->shape->row_bytes;
}

/* --- keys --- */

static uint64_t first_bytes(const struct addr *a, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes = bytes << 8 | a->ip[i];
	return bytes;
}

/* The key of an IPv6 client is its prefix. All others are put where nobody lives: IPv4 clients in 0:1::/32, ::/64 in
 * 0:2::/32, IPv4 networks in 0:3::/32, those of IPv6 in 3::/16. */
uint64_t client_key(const struct addr *client)
{
	uint64_t key;

	if (client->family != AF_INET6)
		return (uint64_t)1 << 32 | first_bytes(client, 4);
	key = first_bytes(client, 8);
	return key ? key : (uint64_t)2 << 32;
}

uint64_t network_key(const struct addr *client)
{
	if (client->family != AF_INET6)
		return (uint64_t)3 << 32 | first_bytes(client, 3);
	return (uint64_t)3 << 48 | first_bytes(client, 6);
}
