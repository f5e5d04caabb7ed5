/*
 * The file below directory.c: three tables of LMDB in one write transaction that is always open.
 *	entries  domain NUL local            → struct store_record, reply
 *	ages     domain NUL class seen local → nothing; what may grow old, oldest first
 *	domains  domain                      → struct store_domain
 * Records carry a checksum: LMDB's pages have none.
 */
#pragma once

#include "base/map.h"
#include "proc/state/directory.h"

#include <lmdb.h>

#define STORE_NAME "data.mdb"
#define STORE_VERSION 1
#define STORE_DOMAIN_MAX 255
#define STORE_KEY_MAX (STORE_DOMAIN_MAX + 1 + 1 + 8 + DIRECTORY_LOCAL_MAX)

struct store_record {
	uint32_t crc; /* of the key and of all that follows */
	uint8_t version, word, imported, mark;
	int64_t seen;
	/* the reply follows */
};

_Static_assert(sizeof(struct store_record) == 16, "as it is on disk");

struct store_domain {
	uint32_t crc;
	uint32_t version;
	struct belief belief;
};

_Static_assert(sizeof(struct store_domain) == 8 + 4 * 8 + 4 * 4 + BELIEF_DAYS * 12 + 4,
	       "as it is on disk");

/* In memory, of every domain that has ever been learned of. */
struct domain {
	struct map_link link;
	struct belief belief;
	uint32_t known, refused, imported;
	uint8_t mark; /* of the newest import */
	bool changed; /* the belief, since the last commit */
	char name[];
};

struct directory {
	struct directory_limits limits;
	int dir, lock, condemned;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi entries, ages, domains;
	struct map by_name;
	uint64_t total;
	bool dirty;
};

struct store_key {
	char byte[STORE_KEY_MAX];
	size_t n;
};

/* LMDB's results as ours. */
int store_result(int mdb);
static inline MDB_val store_value(const void *p, size_t n)
{
	return (MDB_val){ .mv_size = n, .mv_data = (void *)p };
}

struct domain *store_domain(const struct directory *d, str name);
/* Made where there is none. */
int store_domain_make(struct directory *d, str name, struct domain **ret_domain);

/* False: the key or the record is no such thing. */
bool store_record_read(const MDB_val *key, const MDB_val *value, struct store_record *ret,
		       str *ret_reply);
/* 0 or -ENOENT. *ret_reply is valid until the next write. */
int store_get(struct directory *d, const struct domain *dom, str local, struct store_record *ret,
	      str *ret_reply);
int store_put(struct directory *d, struct domain *dom, str local, struct store_record *record,
	      str reply);
int store_remove(struct directory *d, struct domain *dom, str local);
/* 1: the first behind `after` (empty: the first); 0: no more. */
int store_next(struct directory *d, const struct domain *dom, str after,
	       struct store_key *ret_local, struct store_record *ret_record, str *ret_reply);
/* The oldest of the domain and word: a copy. 0 or -ENOENT. */
int store_oldest(struct directory *d, const struct domain *dom, enum directory_word word,
		 struct store_key *ret_local, int64_t *ret_seen);
/* Counts everything anew; -EBADMSG: something is not what it should be. */
int store_count(struct directory *d);
/* Opens or begins; a file that cannot be used: -EBADMSG. */
int store_open(struct directory *d, const char *dir);
void store_close(struct directory *d);
int store_begin(struct directory *d);
/* After a failed write: what was not committed is lost. */
int store_give_up(struct directory *d);
