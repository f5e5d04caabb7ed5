/*
 * Bodies too large for a segment: big/ID, written and synced as ID.N.tmp and then renamed, before the
 * record that names it is in the batch. A file without a live record is an orphan: its append was never
 * acknowledged, or its message is done.
 */
#include "spool/inside.h"

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "task/sys.h"
#include <fcntl.h>

#define BIG_STEP_BYTES ((size_t)1 << 20)
#define BIG_SYNC_BYTES ((uint64_t)4 << 20) /* a sync of this much is the longest stall */

void big_name(msg_id id, char ret_name[static BIG_NAME_SIZE])
{
	id_text(id, ret_name);
}

static int big_copy(struct task *tk, int to, int from, uint64_t bytes, uint32_t *ret_crc)
{
	_cleanup_(freep) char *step = malloc(MIN(BIG_STEP_BYTES, bytes));
	uint64_t unsynced = 0;
	int r;

	if (!step)
		return -ENOMEM;
	*ret_crc = 0;
	for (uint64_t at = 0; at < bytes;) {
		size_t want = MIN(BIG_STEP_BYTES, bytes - at);
		ssize_t got = sys_read_at(from, step, want, at);

		if (got < 0)
			return (int)got;
		if ((size_t)got != want)
			return -EINVAL;
		*ret_crc = crc32c(*ret_crc, str_mem(step, want));
		r = sys_write_at(to, str_mem(step, want), at);
		if (r < 0)
			return r;
		at += want;
		unsynced += want;
		if (unsynced >= BIG_SYNC_BYTES || at == bytes) {
			r = sys_sync_data(to);
			if (r < 0)
				return r;
			unsynced = 0;
		}
		r = spool_pause(tk);
		if (r < 0)
			return r;
	}
	return 0;
}

int big_write(struct task *tk, struct spool *s, msg_id id, int body_fd, uint64_t body_bytes,
	      uint32_t *ret_crc)
{
	char name[BIG_NAME_SIZE], temporary[BIG_NAME_SIZE + 16];
	_cleanup_(closep) int fd = -1;
	int r;

	big_name(id, name);
	snprintf(temporary, sizeof(temporary), "%s.%u.tmp", name, s->big_counter++);
	fd = sys_open_at(s->big_dir, temporary, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	r = s->cannot_allocate || body_bytes == 0 ? 0 : sys_allocate(fd, 0, body_bytes);
	if (r == -EOPNOTSUPP || r == -ENOSYS)
		r = 0;
	if (r == 0)
		r = big_copy(tk, fd, body_fd, body_bytes, ret_crc);
	if (r == 0 && index_find(s, id))
		r = -EEXIST; /* another append of the same id came to its end first */
	if (r == 0)
		r = sys_rename_at(s->big_dir, temporary, name);
	if (r < 0) {
		sys_unlink_at(s->big_dir, temporary);
		return r == -EDQUOT ? -ENOSPC : r;
	}
	s->big_dirty = true;
	s->big_bytes += body_bytes;
	s->taken_since_check += body_bytes;
	s->free_bytes -= MIN(s->free_bytes, body_bytes);
	return 0;
}

int big_open(struct spool *s, msg_id id, uint64_t body_bytes, int *ret_fd)
{
	char name[BIG_NAME_SIZE];
	_cleanup_(closep) int fd = -1;
	uint64_t bytes;
	int r;

	if (s->big_dir < 0)
		return -EBADMSG; /* inspected, and the directory is missing */
	big_name(id, name);
	fd = sys_open_at(s->big_dir, name, O_RDONLY, 0);
	if (fd < 0)
		return fd == -ENOENT ? -EBADMSG : fd;
	r = sys_size(fd, &bytes);
	if (r < 0)
		return r;
	if (bytes != body_bytes)
		return -EBADMSG;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void big_discard(struct spool *s, msg_id id)
{
	char name[BIG_NAME_SIZE];
	uint64_t bytes;
	int fd;

	big_name(id, name);
	fd = sys_open_at(s->big_dir, name, O_RDONLY, 0);
	if (fd < 0)
		return;
	if (sys_size(fd, &bytes) == 0)
		s->big_bytes -= MIN(s->big_bytes, bytes);
	sys_close(fd);
	/* When it cannot be removed now, it is an orphan at the next start. */
	sys_unlink_at(s->big_dir, name);
	s->free_checked_at = 0;
}

int big_unlink_later_reserve(struct spool *s)
{
	return ARRAY_RESERVE(s->big_unlink, s->big_unlink_cap, s->big_unlink_n + 1);
}

void big_unlink_later(struct spool *s, msg_id id)
{
	s->big_unlink[s->big_unlink_n++] = id;
}

void big_unlink_now(struct spool *s)
{
	while (s->big_unlink_n > 0)
		big_discard(s, s->big_unlink[--s->big_unlink_n]);
}

/* --- after replay --- */

struct settle {
	struct spool *s;
	fault_fn *fault;
	void *arg;
};

static int settle_say(const struct settle *c, const char *name, msg_id id, enum fault_kind kind,
		      enum fault_nature nature)
{
	struct fault f = { .kind = kind, .nature = nature, .named = true, .id = id };

	f.named = kind != FAULT_FOREIGN_FILE;
	snprintf(f.file, sizeof(f.file), "big/%s", name);
	return c->fault(c->arg, &f);
}

static int settle_file(void *arg, const char *name)
{
	const struct settle *c = arg;
	struct entry *e;
	msg_id id = { 0 };

	if (id_parse(str_of(name), &id) == 0) {
		e = index_find(c->s, id);
		if (e && e->big && !e->dead)
			return 0;
	} else if (strlen(name) <= ID_TEXT_LENGTH || name[ID_TEXT_LENGTH] != '.' ||
		   id_parse(str_first(str_of(name), ID_TEXT_LENGTH), &id) < 0) {
		return settle_say(c, name, id, FAULT_FOREIGN_FILE, FAULT_NOTE);
	}
	if (c->s->damaged || c->s->read_only)
		return settle_say(c, name, id, FAULT_BIG_ORPHAN, FAULT_NOTE);
	sys_unlink_at(c->s->big_dir, name);
	return 0;
}

/* The body of a record: 0, or what is wrong with its file. Its bytes are read by inspection only. */
static int big_check(struct spool *s, const struct record_header *h, enum fault_kind *ret_kind)
{
	_cleanup_(freep) char *step = malloc(MIN(BIG_STEP_BYTES, h->body_bytes));
	_cleanup_(closep) int fd = -1;
	char name[BIG_NAME_SIZE];
	uint32_t crc = 0;
	uint64_t bytes;

	if (!step)
		return -ENOMEM;
	big_name(h->id, name);
	*ret_kind = FAULT_BIG_MISSING;
	fd = sys_open_at(s->big_dir, name, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	*ret_kind = FAULT_BIG_SIZE;
	if (sys_size(fd, &bytes) < 0 || bytes != h->body_bytes)
		return -EBADMSG;
	*ret_kind = FAULT_BIG_BODY;
	for (uint64_t at = 0; s->read_only && at < bytes; at += BIG_STEP_BYTES) {
		size_t want = MIN(BIG_STEP_BYTES, bytes - at);

		if (sys_read_at(fd, step, want, at) != (ssize_t)want)
			return -EBADMSG;
		crc = crc32c(crc, str_mem(step, want));
	}
	return !s->read_only || crc == h->body_crc32c ? 0 : -EBADMSG;
}

int big_settle(struct spool *s, fault_fn *fault, void *arg)
{
	struct settle c = { s, fault, arg };
	struct record_header h;
	char name[BIG_NAME_SIZE];
	enum fault_kind kind;
	int r;

	for (struct map_link *at = map_walk(&s->index, NULL); at; at = map_walk(&s->index, at)) {
		struct entry *e = CONTAINER(at, struct entry, link);

		if (!e->big || e->dead)
			continue;
		big_name(e->id, name);
		kind = FAULT_BIG_MISSING;
		if (read_header(s, e->message, e->id, &h) < 0 || big_check(s, &h, &kind) < 0) {
			r = settle_say(&c, name, e->id, kind, FAULT_DAMAGE);
			if (r != 0)
				return r;
			continue;
		}
		s->big_bytes += h.body_bytes;
	}
	return s->big_dir < 0 ? 0 : sys_list_dir(s->big_dir, settle_file, &c);
}
