#include "proc/state/store.h"

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "task/sys.h"

#include <fcntl.h>
#include <stdio.h>

#define TABLES 3

static const uint64_t seed[2] = { 0x7374617465000000, 1 }; /* names come from the configuration */

int store_result(int mdb)
{
	switch (mdb) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return -ENOSPC;
	default:
		/* LMDB's own are below zero, and all of the rest say that the file is not as it was left. */
		return mdb < 0 ? -EBADMSG : -mdb;
	}
}

/* --- keys --- */

static void key_add(struct store_key *k, str s)
{
	must(k->n + s.n <= sizeof(k->byte));
	if (s.n > 0)
		memcpy(k->byte + k->n, s.p, s.n);
	k->n += s.n;
}

static MDB_val key_value(const struct store_key *k)
{
	return store_value(k->byte, k->n);
}

static void entry_key(struct store_key *k, const struct domain *dom, str local)
{
	k->n = 0;
	key_add(k, str_of(dom->name));
	key_add(k, STR("\0"));
	key_add(k, local);
}

static void age_prefix(struct store_key *k, const struct domain *dom, enum directory_word word)
{
	k->n = 0;
	key_add(k, str_of(dom->name));
	key_add(k, STR("\0"));
	key_add(k, word == WORD_KNOWN ? STR("k") : STR("r"));
}

static void age_key(struct store_key *k, const struct domain *dom, enum directory_word word,
		    int64_t seen, str local)
{
	uint8_t big[8];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)((uint64_t)seen >> (56 - 8 * i));
	age_prefix(k, dom, word);
	key_add(k, str_mem(big, sizeof(big)));
	key_add(k, local);
}

/* --- domains --- */

struct domain *store_domain(const struct directory *d, str name)
{
	MAP_FIND (&d->by_name, str_hash(name, seed, false), struct domain, link, dom)
		if (str_eq(str_of(dom->name), name))
			return dom;
	return NULL;
}

int store_domain_make(struct directory *d, str name, struct domain **ret_domain)
{
	struct domain *dom = store_domain(d, name);
	int r;

	if (!dom) {
		if (name.n == 0 || name.n > STORE_DOMAIN_MAX || memchr(name.p, '\0', name.n))
			return -EINVAL;
		dom = calloc(1, sizeof(*dom) + name.n + 1);
		if (!dom)
			return -ENOMEM;
		memcpy(dom->name, name.p, name.n);
		r = map_insert(&d->by_name, &dom->link, str_hash(name, seed, false));
		if (r < 0) {
			free(dom);
			return r;
		}
	}
	*ret_domain = dom;
	return 0;
}

static void forget_domains(struct directory *d)
{
	struct map_link *link;

	while ((link = map_walk(&d->by_name, NULL))) {
		map_remove(&d->by_name, link);
		free(CONTAINER(link, struct domain, link));
	}
	d->total = 0;
}

static uint32_t domain_crc(const MDB_val *key, const struct store_domain *s)
{
	uint32_t crc = crc32c(0, str_mem(key->mv_data, key->mv_size));

	return crc32c(crc, str_mem((const char *)s + sizeof(s->crc), sizeof(*s) - sizeof(s->crc)));
}

static int read_domain(struct directory *d, const MDB_val *key, const MDB_val *value)
{
	struct store_domain s;
	struct domain *dom;
	int r;

	if (value->mv_size != sizeof(s))
		return -EBADMSG;
	memcpy(&s, value->mv_data, sizeof(s));
	if (s.version != STORE_VERSION || s.crc != domain_crc(key, &s))
		return -EBADMSG;
	r = store_domain_make(d, str_mem(key->mv_data, key->mv_size), &dom);
	if (r == 0)
		dom->belief = s.belief;
	return r == -EINVAL ? -EBADMSG : r;
}

static int write_domain(struct directory *d, const struct domain *dom)
{
	MDB_val key = store_value(dom->name, strlen(dom->name));
	struct store_domain s;
	MDB_val value = store_value(&s, sizeof(s));

	memset(&s, 0, sizeof(s)); /* padding too */
	s.version = STORE_VERSION;
	s.belief = dom->belief;
	s.crc = domain_crc(&key, &s);
	return store_result(mdb_put(d->txn, d->domains, &key, &value, 0));
}

/* --- entries --- */

static uint32_t record_crc(const MDB_val *key, const struct store_record *r, str reply)
{
	uint32_t crc = crc32c(0, str_mem(key->mv_data, key->mv_size));

	crc = crc32c(crc, str_mem((const char *)r + sizeof(r->crc), sizeof(*r) - sizeof(r->crc)));
	return crc32c(crc, reply);
}

bool store_record_read(const MDB_val *key, const MDB_val *value, struct store_record *ret,
		       str *ret_reply)
{
	if (value->mv_size < sizeof(*ret) || value->mv_size >= sizeof(*ret) + DIRECTORY_REPLY_MAX)
		return false;
	memcpy(ret, value->mv_data, sizeof(*ret));
	*ret_reply =
		str_mem((const char *)value->mv_data + sizeof(*ret), value->mv_size - sizeof(*ret));
	return ret->version == STORE_VERSION &&
	       (ret->word == WORD_KNOWN || ret->word == WORD_REFUSED) &&
	       ret->crc == record_crc(key, ret, *ret_reply);
}

int store_get(struct directory *d, const struct domain *dom, str local, struct store_record *ret,
	      str *ret_reply)
{
	struct store_key k;
	MDB_val key, value;
	int r;

	if (local.n == 0 || local.n > DIRECTORY_LOCAL_MAX)
		return -ENOENT;
	entry_key(&k, dom, local);
	key = key_value(&k);
	r = store_result(mdb_get(d->txn, d->entries, &key, &value));
	if (r < 0)
		return r;
	return store_record_read(&key, &value, ret, ret_reply) ? 0 : -EBADMSG;
}

static void count(struct directory *d, struct domain *dom, const struct store_record *record,
		  int by)
{
	uint32_t *counter = record->word == WORD_KNOWN ? &dom->known : &dom->refused;

	*counter += (uint32_t)by;
	if (record->imported)
		dom->imported += (uint32_t)by;
	d->total += (uint64_t)(int64_t)by;
}

static int remove_record(struct directory *d, struct domain *dom, str local,
			 const struct store_record *record)
{
	struct store_key k;
	MDB_val key;
	int r;

	if (!record->imported) {
		age_key(&k, dom, record->word, record->seen, local);
		key = key_value(&k);
		r = store_result(mdb_del(d->txn, d->ages, &key, NULL));
		if (r < 0)
			return r == -ENOENT ? -EBADMSG : r;
	}
	entry_key(&k, dom, local);
	key = key_value(&k);
	r = store_result(mdb_del(d->txn, d->entries, &key, NULL));
	if (r < 0)
		return r;
	count(d, dom, record, -1);
	d->dirty = true;
	return 0;
}

int store_remove(struct directory *d, struct domain *dom, str local)
{
	struct store_record record;
	str reply;
	int r = store_get(d, dom, local, &record, &reply);

	return r < 0 ? r : remove_record(d, dom, local, &record);
}

static int insert_record(struct directory *d, const struct domain *dom, str local,
			 struct store_record *record, str reply)
{
	char bytes[sizeof(*record) + DIRECTORY_REPLY_MAX];
	struct store_key k;
	MDB_val key, value;
	int r;

	entry_key(&k, dom, local);
	key = key_value(&k);
	record->version = STORE_VERSION;
	record->crc = record_crc(&key, record, reply);
	memcpy(bytes, record, sizeof(*record));
	if (reply.n > 0)
		memcpy(bytes + sizeof(*record), reply.p, reply.n);
	value = store_value(bytes, sizeof(*record) + reply.n);
	r = store_result(mdb_put(d->txn, d->entries, &key, &value, 0));
	if (r < 0 || record->imported)
		return r;
	age_key(&k, dom, record->word, record->seen, local);
	key = key_value(&k);
	value = store_value("", 0);
	return store_result(mdb_put(d->txn, d->ages, &key, &value, 0));
}

int store_put(struct directory *d, struct domain *dom, str local, struct store_record *record,
	      str reply)
{
	int r = store_remove(d, dom, local);

	if (r < 0 && r != -ENOENT)
		return r;
	reply = str_first(reply, DIRECTORY_REPLY_MAX - 1);
	d->dirty = true;
	r = insert_record(d, dom, local, record, reply);
	if (r == 0)
		count(d, dom, record, 1);
	return r;
}

static int next_from(MDB_cursor *cursor, const struct store_key *from, MDB_val *key, MDB_val *value)
{
	int r;

	*key = key_value(from);
	r = store_result(mdb_cursor_get(cursor, key, value, MDB_SET_RANGE));
	if (r == 0 && key->mv_size == from->n && memcmp(key->mv_data, from->byte, from->n) == 0)
		r = store_result(mdb_cursor_get(cursor, key, value, MDB_NEXT));
	return r;
}

int store_next(struct directory *d, const struct domain *dom, str after,
	       struct store_key *ret_local, struct store_record *ret_record, str *ret_reply)
{
	size_t prefix = strlen(dom->name) + 1;
	struct store_key from;
	MDB_cursor *cursor;
	MDB_val key, value;
	int r;

	r = store_result(mdb_cursor_open(d->txn, d->entries, &cursor));
	if (r < 0)
		return r;
	entry_key(&from, dom, after);
	r = next_from(cursor, &from, &key, &value);
	mdb_cursor_close(cursor);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (key.mv_size <= prefix || memcmp(key.mv_data, from.byte, prefix) != 0)
		return 0;
	ret_local->n = 0;
	key_add(ret_local, str_from(str_mem(key.mv_data, key.mv_size), prefix));
	return store_record_read(&key, &value, ret_record, ret_reply) ? 1 : -EBADMSG;
}

int store_oldest(struct directory *d, const struct domain *dom, enum directory_word word,
		 struct store_key *ret_local, int64_t *ret_seen)
{
	struct store_key prefix;
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t seen = 0;
	int r;

	r = store_result(mdb_cursor_open(d->txn, d->ages, &cursor));
	if (r < 0)
		return r;
	age_prefix(&prefix, dom, word);
	key = key_value(&prefix);
	r = store_result(mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE));
	mdb_cursor_close(cursor);
	if (r < 0)
		return r;
	if (key.mv_size <= prefix.n + 8 || memcmp(key.mv_data, prefix.byte, prefix.n) != 0)
		return -ENOENT;
	for (size_t i = 0; i < 8; i++)
		seen = seen << 8 | ((const uint8_t *)key.mv_data)[prefix.n + i];
	*ret_seen = (int64_t)seen;
	ret_local->n = 0;
	key_add(ret_local, str_from(str_mem(key.mv_data, key.mv_size), prefix.n + 8));
	return 0;
}

/* --- counting, which looks at everything --- */

static int count_entry(struct directory *d, const MDB_val *key, const MDB_val *value)
{
	str name, local, reply;
	struct store_record record;
	struct domain *dom;
	int r;

	if (!str_cut(str_mem(key->mv_data, key->mv_size), '\0', &name, &local) || local.n == 0 ||
	    local.n > DIRECTORY_LOCAL_MAX || !store_record_read(key, value, &record, &reply))
		return -EBADMSG;
	r = store_domain_make(d, name, &dom);
	if (r < 0)
		return r == -EINVAL ? -EBADMSG : r;
	if (record.imported)
		dom->mark = MAX(dom->mark, record.mark);
	count(d, dom, &record, 1);
	return 0;
}

typedef int on_row(struct directory *d, const MDB_val *key, const MDB_val *value);

static int walk_rows(struct directory *d, MDB_cursor *cursor, on_row *f, uint64_t *ret_count)
{
	MDB_val key, value;
	int r;

	*ret_count = 0;
	for (;;) {
		r = store_result(mdb_cursor_get(cursor, &key, &value, MDB_NEXT));
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		++*ret_count;
		r = f ? f(d, &key, &value) : 0;
		if (r < 0)
			return r;
	}
}

static int walk(struct directory *d, MDB_txn *txn, MDB_dbi table, on_row *f, uint64_t *ret_count)
{
	MDB_cursor *cursor;
	int r = store_result(mdb_cursor_open(txn, table, &cursor));

	if (r < 0)
		return r;
	r = walk_rows(d, cursor, f, ret_count);
	mdb_cursor_close(cursor);
	return r;
}

/* LMDB's own table of free pages, as the last commit left it. */
static int walk_free(struct directory *d)
{
	uint64_t count;
	MDB_txn *txn;
	int r = store_result(mdb_txn_begin(d->env, NULL, MDB_RDONLY, &txn));

	if (r < 0)
		return r;
	r = walk(d, txn, 0, NULL, &count);
	mdb_txn_abort(txn);
	return r;
}

static uint64_t imported_in_all(const struct directory *d)
{
	uint64_t n = 0;

	for (struct map_link *l = map_walk(&d->by_name, NULL); l; l = map_walk(&d->by_name, l))
		n += CONTAINER(l, struct domain, link)->imported;
	return n;
}

int store_count(struct directory *d)
{
	uint64_t entries, ages, domains;
	int r;

	forget_domains(d);
	r = walk(d, d->txn, d->domains, read_domain, &domains);
	if (r == 0)
		r = walk(d, d->txn, d->entries, count_entry, &entries);
	if (r == 0)
		r = walk(d, d->txn, d->ages, NULL, &ages);
	if (r == 0)
		r = walk_free(d);
	if (r == 0 && ages != entries - imported_in_all(d))
		r = -EBADMSG;
	return r;
}

/* --- the file --- */

int store_begin(struct directory *d)
{
	return store_result(mdb_txn_begin(d->env, NULL, 0, &d->txn));
}

static int open_table(struct directory *d, const char *name, MDB_dbi *ret)
{
	return store_result(mdb_dbi_open(d->txn, name, MDB_CREATE, ret));
}

static int open_tables(struct directory *d)
{
	int r = open_table(d, "entries", &d->entries);

	if (r == 0)
		r = open_table(d, "ages", &d->ages);
	if (r == 0)
		r = open_table(d, "domains", &d->domains);
	return r;
}

/* Reading past the end of a file that was cut would end us by a signal. */
static int check_length(struct directory *d)
{
	MDB_envinfo info;
	MDB_stat stat;
	uint64_t bytes;
	int fd, r;

	mdb_env_info(d->env, &info);
	mdb_env_stat(d->env, &stat);
	r = store_result(mdb_env_get_fd(d->env, &fd));
	if (r == 0)
		r = sys_size(fd, &bytes);
	if (r == 0 && bytes > 0 && (info.me_last_pgno + 1) * stat.ms_psize > bytes &&
	    info.me_last_txnid > 0)
		r = -EBADMSG;
	return r;
}

int store_open(struct directory *d, const char *dir)
{
	char path[1024];
	int r;

	r = store_result(mdb_env_create(&d->env));
	if (r < 0)
		return r;
	/* As large as it may become: nothing has to be mapped anew later. */
	mdb_env_set_mapsize(d->env, d->limits.file_bytes);
	mdb_env_set_maxdbs(d->env, TABLES);
	snprintf(path, sizeof(path), "%s/" STORE_NAME, dir);
	/* One process (our own lock), one thread. A commit syncs once: the newest transaction may be lost in a power cut,
	 * the file stays whole. */
	r = store_result(mdb_env_open(
		d->env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOMETASYNC | MDB_NOTLS, 0600));
	if (r == 0)
		r = check_length(d);
	if (r == 0)
		r = store_begin(d);
	if (r == 0)
		r = open_tables(d);
	return r == 0 ? store_count(d) : r;
}

void store_close(struct directory *d)
{
	if (d->txn)
		mdb_txn_abort(TAKE(d->txn));
	if (d->env)
		mdb_env_close(TAKE(d->env));
	forget_domains(d);
}

static int write_domains(struct directory *d)
{
	for (struct map_link *l = map_walk(&d->by_name, NULL); l; l = map_walk(&d->by_name, l)) {
		struct domain *dom = CONTAINER(l, struct domain, link);
		int r = dom->changed ? write_domain(d, dom) : 0;

		if (r < 0)
			return r;
		dom->changed = false;
	}
	return 0;
}

int store_give_up(struct directory *d)
{
	int r;

	if (d->txn)
		mdb_txn_abort(TAKE(d->txn));
	d->dirty = false;
	r = store_begin(d);
	return r == 0 ? store_count(d) : r;
}

int directory_commit(struct directory *d)
{
	int r = write_domains(d), again;

	if (r == 0) {
		r = store_result(mdb_txn_commit(TAKE(d->txn)));
		d->dirty = false;
		again = r == 0 ? store_begin(d) : 0;
		if (again < 0)
			return again;
	}
	if (r == 0)
		return 0;
	again = store_give_up(d);
	return again < 0 ? again : r;
}
