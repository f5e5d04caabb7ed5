#include "proc/state/directory.h"

#include "base/cleanup.h"
#include "proc/state/store.h"
#include "smtp/meaning.h"
#include "smtp/path.h"
#include "task/sys.h"

#include <fcntl.h>

#define LOCK_NAME "lock"
#define CONDEMNED_NAME "condemned"
#define DAMAGED_NAME "damaged"

/* What is removed beside each thing that is learned: more than one, so that the old disappears. */
#define TIDY_STEPS 2

const struct directory_limits directory_limits = {
	.file_bytes = (uint64_t)2 << 30,
	.entries = 1000000,
	.known = 200000,
	.refused = 20000,
};

/* --- the file --- */

/* Is the file of no use? Whoever finds out writes an octet; so does whoever begins to look, until he has seen all of it. */
static bool is_condemned(const struct directory *d)
{
	uint64_t bytes = 0;

	return sys_size(d->condemned, &bytes) < 0 || bytes > 0;
}

void directory_condemn(struct directory *d)
{
	(void)sys_write_at(d->condemned, STR("!"), 0);
}

static int acquit(struct directory *d)
{
	return sys_truncate(d->condemned, 0);
}

static int move_aside(struct directory *d)
{
	int r = sys_rename_at(d->dir, STORE_NAME, DAMAGED_NAME);

	if (r < 0 && r != -ENOENT)
		r = sys_unlink_at(d->dir, STORE_NAME);
	return r == -ENOENT ? 0 : r;
}

static int begin_anew(struct directory *d, const char *path)
{
	int r;

	store_close(d);
	r = move_aside(d);
	return r < 0 ? r : store_open(d, path);
}

static int open_files(struct directory *d, const char *path)
{
	d->dir = sys_open_dir(path);
	if (d->dir < 0)
		return d->dir;
	d->lock = sys_open_at(d->dir, LOCK_NAME, O_RDWR | O_CREAT, 0600);
	if (d->lock < 0)
		return d->lock;
	d->condemned = sys_open_at(d->dir, CONDEMNED_NAME, O_RDWR | O_CREAT, 0600);
	if (d->condemned < 0)
		return d->condemned;
	return sys_lock(d->lock);
}

static int open_or_begin(struct directory *d, const char *path, const char **ret_begun)
{
	int r = -EBADMSG;

	*ret_begun = "it could not be read to its end before";
	if (!is_condemned(d)) {
		/* Reading may end us by a signal: then the next one does not read it. */
		directory_condemn(d);
		*ret_begun = "it is damaged";
		r = store_open(d, path);
	}
	if (r == -EBADMSG)
		r = begin_anew(d, path);
	else
		*ret_begun = NULL;
	return r == 0 ? acquit(d) : r;
}

int directory_open(const char *path, const struct directory_limits *limits,
		   struct directory **ret_directory, const char **ret_begun)
{
	_cleanup_(directory_closep) struct directory *d = calloc(1, sizeof(*d));
	int r;

	*ret_begun = NULL;
	if (!d)
		return -ENOMEM;
	*d = (struct directory){ .limits = *limits, .dir = -1, .lock = -1, .condemned = -1 };
	map_init(&d->by_name);
	r = open_files(d, path);
	if (r == 0)
		r = open_or_begin(d, path, ret_begun);
	if (r == 0)
		r = directory_commit(d); /* the tables */
	if (r < 0)
		return r;
	*ret_directory = TAKE(d);
	return 0;
}

void directory_close(struct directory *d)
{
	if (!d)
		return;
	if (d->txn && d->dirty)
		(void)directory_commit(d);
	store_close(d);
	map_done(&d->by_name);
	closep(&d->condemned);
	closep(&d->lock);
	closep(&d->dir);
	free(d);
}

void directory_closep(struct directory **d)
{
	directory_close(*d);
}

bool directory_dirty(const struct directory *d)
{
	return d->dirty;
}

/* --- addresses --- */

/* The local part in the form to compare by, in `text`; empty when there is none that is kept. */
static str local_of(str address, char text[static SMTP_PLAIN_SIZE])
{
	struct smtp_path path;
	str plain;
	ssize_t at;

	if (smtp_mailbox_parse(address, &path) < 0)
		return STR_NONE;
	plain = smtp_path_plain(&path, text);
	at = str_last_index(plain, '@');
	if (at <= 0 || at > DIRECTORY_LOCAL_MAX || memchr(plain.p, '\0', (size_t)at))
		return STR_NONE;
	return str_first(plain, (size_t)at);
}

/* "user" of "user+tag". */
static str without_tag(str local)
{
	ssize_t plus = str_index(local, '+');

	return plus > 0 ? str_first(local, (size_t)plus) : local;
}

static void changed(struct directory *d, struct domain *dom)
{
	dom->changed = true;
	d->dirty = true;
}

/* --- bounds --- */

static int remove_oldest(struct directory *d, struct domain *dom, enum directory_word word)
{
	struct store_key local;
	int64_t seen;
	int r = store_oldest(d, dom, word, &local, &seen);

	return r < 0 ? r : store_remove(d, dom, str_mem(local.byte, local.n));
}

static struct domain *largest(const struct directory *d)
{
	struct domain *most = NULL;
	uint32_t count = 0;

	for (struct map_link *l = map_walk(&d->by_name, NULL); l; l = map_walk(&d->by_name, l)) {
		struct domain *dom = CONTAINER(l, struct domain, link);
		uint32_t mortal = dom->known + dom->refused - dom->imported;

		if (mortal > count) {
			count = mortal;
			most = dom;
		}
	}
	return most;
}

static int keep_bounds(struct directory *d, struct domain *dom)
{
	int r = 0;

	while (r == 0 && dom->known > d->limits.known)
		r = remove_oldest(d, dom, WORD_KNOWN);
	while (r == 0 && dom->refused > d->limits.refused)
		r = remove_oldest(d, dom, WORD_REFUSED);
	while (r == 0 && d->total > d->limits.entries) {
		struct domain *most = largest(d);

		if (!most)
			break;
		r = remove_oldest(d, most, WORD_REFUSED);
		if (r == -ENOENT)
			r = remove_oldest(d, most, WORD_KNOWN);
	}
	return r == -ENOENT ? 0 : r;
}

/* Some of what counts no more. */
static int tidy(struct directory *d, struct domain *dom, enum directory_word word, nsec now_wall)
{
	struct store_key local;
	int64_t seen;
	int r = 0;

	for (int i = 0; i < TIDY_STEPS && r == 0; i++) {
		r = store_oldest(d, dom, word, &local, &seen);
		if (r < 0 || (word == WORD_KNOWN ? belief_is_known(&dom->belief, seen)
						 : belief_is_refused(seen, now_wall)))
			break;
		r = store_remove(d, dom, str_mem(local.byte, local.n));
	}
	return r == -ENOENT ? 0 : r;
}

/* --- learning --- */

static bool still_counts(const struct domain *dom, const struct store_record *record, nsec now_wall,
			 enum directory_word *ret_word)
{
	bool refused = record->word == WORD_REFUSED;

	*ret_word = record->word;
	if (refused && belief_is_refused(record->seen, now_wall))
		return true;
	*ret_word = WORD_KNOWN;
	return record->imported || (!refused && belief_is_known(&dom->belief, record->seen));
}

/* What is kept of exactly this local part; -ENOENT: nothing that counts. */
static int word_of(struct directory *d, const struct domain *dom, str local, nsec now_wall,
		   struct store_record *ret_record, enum directory_word *ret_word, str *ret_reply)
{
	int r = store_get(d, dom, local, ret_record, ret_reply);

	if (r < 0)
		return r;
	return still_counts(dom, ret_record, now_wall, ret_word) ? 0 : -ENOENT;
}

static int learn_known(struct directory *d, struct domain *dom, str local, nsec now_wall)
{
	struct store_record record = { 0 };
	enum directory_word word;
	bool imported, was_known;
	str reply;
	int r = word_of(d, dom, local, now_wall, &record, &word, &reply);

	if (r < 0 && r != -ENOENT)
		return r;
	was_known = r == 0 && word == WORD_KNOWN;
	/* Once a day is enough, for the record and for the coverage. */
	if (was_known && record.word == WORD_KNOWN &&
	    belief_day(record.seen) == belief_day(dom->belief.clock))
		return 0;
	imported = record.imported;
	belief_accepted(&dom->belief, was_known);
	record = (struct store_record){ .word = WORD_KNOWN,
					.imported = imported,
					.mark = record.mark,
					.seen = dom->belief.clock };
	return store_put(d, dom, local, &record, STR_NONE);
}

static int learn_refused(struct directory *d, struct domain *dom, str local, str words,
			 nsec now_wall)
{
	struct store_record record = { 0 };
	str reply;
	int r = store_get(d, dom, local, &record, &reply);

	if (r < 0 && r != -ENOENT)
		return r;
	belief_refused(&dom->belief);
	record.word = WORD_REFUSED;
	record.seen = now_wall;
	return store_put(d, dom, local, &record, words);
}

static int learn(struct directory *d, struct domain *dom, str address, str reply, nsec now_wall)
{
	char text[SMTP_PLAIN_SIZE];
	str local = local_of(address, text);
	enum meaning m = meaning_of(reply);
	int r = 0;

	if (local.n == 0 || m == MEANING_NONE)
		return 0;
	belief_answered(&dom->belief, now_wall);
	changed(d, dom);
	if (meaning_says_known(m)) {
		r = learn_known(d, dom, without_tag(local), now_wall);
		if (r == 0)
			r = tidy(d, dom, WORD_KNOWN, now_wall);
	} else if (m == MEANING_NO_USER) {
		r = learn_refused(d, dom, local, reply, now_wall);
	}
	if (r == 0)
		r = tidy(d, dom, WORD_REFUSED, now_wall);
	return r == 0 ? keep_bounds(d, dom) : r;
}

/* A failed write leaves the transaction unusable. */
static int after_write(struct directory *d, int r)
{
	int again;

	if (r >= 0 || r == -EBADMSG)
		return r;
	again = store_give_up(d);
	return again < 0 ? again : r;
}

int directory_learn(struct directory *d, str domain, str address, str reply, nsec now_wall)
{
	struct domain *dom;
	int r = store_domain_make(d, domain, &dom);

	return r < 0 ? r : after_write(d, learn(d, dom, address, reply, now_wall));
}

int directory_learn_absent(struct directory *d, str domain, str reply, nsec now_wall)
{
	struct domain *dom;
	enum meaning m = meaning_of(reply);
	int r = store_domain_make(d, domain, &dom);

	if (r < 0)
		return r;
	belief_absent(&dom->belief,
		      m == MEANING_TAKEN     ? ABSENT_TAKEN
		      : m == MEANING_NO_USER ? ABSENT_REFUSED
					     : ABSENT_UNKNOWN,
		      now_wall);
	changed(d, dom);
	return 0;
}

bool directory_wants_absent(struct directory *d, str domain, nsec now_wall)
{
	struct domain *dom = store_domain(d, domain);

	return dom && belief_wants_absent(&dom->belief, now_wall);
}

/* --- asking --- */

int directory_ask(struct directory *d, str domain, str address, nsec now_wall,
		  struct directory_facts *ret_facts)
{
	const struct domain *dom = store_domain(d, domain);
	struct directory_facts *f = ret_facts;
	char text[SMTP_PLAIN_SIZE];
	struct store_record record;
	str local, reply;
	int r;

	*f = (struct directory_facts){ 0 };
	if (!dom)
		return 0;
	f->covered = belief_covers(&dom->belief);
	f->takes_all = belief_takes_all(&dom->belief);
	local = local_of(address, text);
	r = word_of(d, dom, local, now_wall, &record, &f->word, &reply);
	if (r == -ENOENT)
		r = word_of(d, dom, without_tag(local), now_wall, &record, &f->word, &reply);
	if (r < 0) {
		f->word = WORD_NONE;
		return r == -ENOENT ? 0 : r;
	}
	if (f->word == WORD_REFUSED)
		str_copy(reply, f->reply, sizeof(f->reply));
	return 0;
}

/* --- what the operator does --- */

int directory_summary(struct directory *d, str domain, struct directory_summary *ret)
{
	const struct domain *dom = store_domain(d, domain);

	if (!dom)
		return -ENOENT;
	*ret = (struct directory_summary){ dom->known, dom->refused, dom->imported, dom->belief };
	return 0;
}

static int forget_all(struct directory *d, struct domain *dom, int64_t *ret_count)
{
	struct store_key local;
	struct store_record record;
	str reply;
	int r;

	while ((r = store_next(d, dom, STR_NONE, &local, &record, &reply)) == 1) {
		r = store_remove(d, dom, str_mem(local.byte, local.n));
		if (r < 0)
			return r;
		++*ret_count;
	}
	dom->belief = (struct belief){ 0 };
	changed(d, dom);
	return r;
}

int64_t directory_forget(struct directory *d, str domain, str address)
{
	struct domain *dom = store_domain(d, domain);
	char text[SMTP_PLAIN_SIZE];
	int64_t count = 0;
	int r;

	if (!dom)
		return 0;
	if (address.n == 0) {
		r = forget_all(d, dom, &count);
	} else {
		r = store_remove(d, dom, local_of(address, text));
		count = r == 0;
	}
	r = r == -ENOENT ? 0 : after_write(d, r);
	return r < 0 ? r : count;
}

static nsec age_of(const struct domain *dom, const struct store_record *record, nsec now_wall)
{
	return record->word == WORD_KNOWN ? dom->belief.clock - record->seen
					  : now_wall - record->seen;
}

int directory_next(struct directory *d, str domain, str after, nsec now_wall,
		   struct directory_entry *ret_entry)
{
	static struct store_key local; /* one thread; the next call overwrites it */
	const struct domain *dom = store_domain(d, domain);
	struct directory_entry *e = ret_entry;
	struct store_record record;
	int r;

	if (!dom || after.n > DIRECTORY_LOCAL_MAX)
		return 0;
	*e = (struct directory_entry){ 0 };
	r = store_next(d, dom, after, &local, &record, &e->reply);
	if (r <= 0)
		return r;
	e->local = str_mem(local.byte, local.n);
	e->old = !still_counts(dom, &record, now_wall, &e->word);
	/* What is shown is what it is, even if it counts no more. */
	if (e->old)
		e->word = record.word;
	e->imported = record.imported;
	e->age = age_of(dom, &record, now_wall);
	return 1;
}

/* --- imports --- */

static int import(struct directory *d, struct domain *dom, str local)
{
	struct store_record record = { 0 };
	str reply;
	int r = store_get(d, dom, local, &record, &reply);
	bool fresh = r == -ENOENT;

	if (r < 0 && !fresh)
		return r;
	if (fresh && dom->known >= d->limits.known)
		return -EDQUOT;
	if (!fresh && record.imported && record.mark == dom->mark)
		return 0;
	record = (struct store_record){
		.word = WORD_KNOWN, .imported = true, .mark = dom->mark, .seen = dom->belief.clock
	};
	r = store_put(d, dom, local, &record, STR_NONE);
	return r < 0 ? r : fresh;
}

int directory_import(struct directory *d, str domain, str address)
{
	char text[SMTP_PLAIN_SIZE];
	struct domain *dom;
	str local = local_of(address, text);
	int r;

	if (local.n == 0 || !smtp_mailbox_is_of(address, domain))
		return -EINVAL;
	r = store_domain_make(d, domain, &dom);
	if (r < 0)
		return r;
	changed(d, dom);
	r = import(d, dom, local);
	if (r == -EDQUOT)
		return r;
	return after_write(d, r);
}

int directory_import_begin(struct directory *d, str domain)
{
	struct domain *dom;
	int r = store_domain_make(d, domain, &dom);

	if (r == 0)
		dom->mark++;
	return r;
}

static int forget_unmarked(struct directory *d, struct domain *dom, int64_t *ret_count)
{
	struct store_key at = { 0 };
	struct store_record record;
	str reply;
	int r;

	while ((r = store_next(d, dom, str_mem(at.byte, at.n), &at, &record, &reply)) == 1) {
		if (!record.imported || record.mark == dom->mark)
			continue;
		r = store_remove(d, dom, str_mem(at.byte, at.n));
		if (r < 0)
			return r;
		++*ret_count;
	}
	return r;
}

int64_t directory_import_end(struct directory *d, str domain)
{
	struct domain *dom = store_domain(d, domain);
	int64_t count = 0;
	int r;

	if (!dom)
		return 0;
	r = forget_unmarked(d, dom, &count);
	if (r == 0) {
		dom->belief.whole = true;
		changed(d, dom);
	}
	r = after_write(d, r);
	return r < 0 ? r : count;
}
