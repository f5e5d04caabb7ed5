#include "proc/smtpin/patience.h"

#include <stdlib.h>

#define BUCKET 8
#define BUCKETS (PATIENCE_ENTRIES / BUCKET)
#define PARTS 3 /* of a key: client, reverse-path, recipient */

struct entry {
	uint64_t key; /* 0: free */
	uint32_t first_s, last_s;
	uint32_t tries;
};

_Static_assert(sizeof(struct entry) == 24, "as the header says");
_Static_assert((BUCKETS & (BUCKETS - 1)) == 0, "a power of two");

struct patience {
	uint64_t seed[2];
	struct entry bucket[BUCKETS][BUCKET];
};

int patience_new(const uint64_t seed[2], struct patience **ret_patience)
{
	struct patience *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	memcpy(p->seed, seed, sizeof(p->seed));
	*ret_patience = p;
	return 0;
}

void patience_free(struct patience *p)
{
	free(p);
}

static uint64_t key_of(const struct patience *p, const struct addr *client, str reverse_path,
		       str recipient)
{
	size_t n = client->family == AF_INET ? 3 : 8;
	/* Case is folded: senders that spell a recipient in two ways mean one. */
	const uint64_t part[PARTS] = {
		str_hash(str_mem(client->ip, n), p->seed, false),
		str_hash(reverse_path, p->seed, true),
		str_hash(recipient, p->seed, true),
	};
	uint64_t key = str_hash(str_mem(part, sizeof(part)), p->seed, false);

	return key ? key : 1;
}

static uint32_t seconds(nsec t)
{
	return (uint32_t)MIN(MAX(t, 0) / NSEC_S, (nsec)UINT32_MAX);
}

/* Its own, or the one that makes room: a free one, else that of which was heard least recently. */
static struct entry *find(struct patience *p, uint64_t key)
{
	struct entry *bucket = p->bucket[key & (BUCKETS - 1)], *oldest = bucket;

	for (size_t i = 0; i < BUCKET; i++) {
		if (bucket[i].key == key)
			return &bucket[i];
		if (!bucket[i].key)
			return &bucket[i];
		if (bucket[i].last_s < oldest->last_s)
			oldest = &bucket[i];
	}
	return oldest;
}

bool patience_try(struct patience *p, const struct addr *client, str reverse_path, str recipient,
		  nsec now)
{
	uint64_t key = key_of(p, client, reverse_path, recipient);
	struct entry *e = find(p, key);
	uint32_t now_s = seconds(now);

	if (e->key != key || now_s - e->last_s > PATIENCE_KEPT / NSEC_S)
		*e = (struct entry){ .key = key, .first_s = now_s };
	e->last_s = now_s;
	if (e->tries < PATIENCE_TRIES)
		e->tries++;
	return e->tries >= PATIENCE_TRIES && now_s - e->first_s >= PATIENCE_TIME / NSEC_S;
}
