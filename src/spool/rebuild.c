/* A new spool of what can be read in another. */
#include "spool/inspect.h"

#include "base/cleanup.h"
#include "spool/inside.h"
#include "task/sys.h"
#include <fcntl.h>

#define SYNC_BYTES ((size_t)8 << 20) /* a batch lies in one segment: it must not become too long */

static int take_big(struct spool *s, const struct entry *e, struct spool *to)
{
	_cleanup_(closep) int fd = -1;
	struct record_header h = { 0 };
	uint32_t crc = 0;
	int r;

	r = read_header(s, e->message, e->id, &h);
	if (r == 0)
		r = big_open(s, e->id, h.body_bytes, &fd);
	if (r == 0)
		r = big_write(NULL, to, e->id, fd, h.body_bytes, &crc);
	if (r < 0 || crc == h.body_crc32c)
		return r;
	big_discard(to, e->id);
	return -EBADMSG;
}

static int take_message(struct spool *s, const struct entry *e, struct spool *to)
{
	struct spool_logfile *l = &to->log[segment_find(s, e->message.serial)->log];
	struct place place;
	struct entry *taken = NULL;
	int r = e->big ? take_big(s, e, to) : 0;

	if (r == 0)
		r = copy_record(s, e->message, e->id, to, l, &place);
	if (r == 0)
		r = index_add(to, e->id, &taken);
	if (r < 0)
		return r;
	must(taken);
	taken->big = e->big;
	entry_message(to, taken, l->open, place);
	if (!e->mark.serial)
		return 0;
	r = copy_record(s, e->mark, e->id, to, l, &place);
	if (r == 0)
		entry_mark(to, taken, l->open, place, false);
	return r;
}

/* One that the old spool can be blamed for. */
static bool is_damage(const struct spool *to, int r)
{
	return !to->failed && (r == -EBADMSG || r == -EIO || r == -ENOENT);
}

static int take_all(struct spool *s, struct spool *to, inspect_skipped_fn *skipped, void *arg,
		    uint64_t *ret_taken)
{
	_cleanup_(freep) msg_id *ids = NULL;
	size_t count;
	int r = inspect_ids(s, &ids, &count);

	*ret_taken = 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		r = take_message(s, index_find(s, ids[i]), to);
		if (r == 0)
			(*ret_taken)++;
		if (is_damage(to, r)) {
			skipped(arg, ids[i], r);
			r = 0;
		}
		if (r == 0 && spool_batch_bytes(to) >= SYNC_BYTES)
			r = spool_sync(to);
		segment_trim_fds(s);
	}
	return r == 0 ? spool_sync(to) : r;
}

static int stop_at_any(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return 1;
}

/* The new directory's own name must last, too. */
static int sync_parent(const char *dir)
{
	_cleanup_(freep) char *parent = strdup(dir);
	_cleanup_(closep) int fd = -1;
	size_t n;

	if (!parent)
		return -ENOMEM;
	for (n = strlen(parent); n > 1 && parent[n - 1] == '/'; n--)
		;
	while (n > 0 && parent[n - 1] != '/')
		n--;
	parent[n] = '\0';
	fd = sys_open_dir(n ? parent : ".");
	return fd < 0 ? fd : sys_sync(fd);
}

int inspect_rebuild(struct spool *s, const char *dir, inspect_skipped_fn *skipped, void *arg,
		    uint64_t *ret_taken)
{
	_cleanup_(spool_closep) struct spool *to = NULL;
	_cleanup_(closep) int fd = sys_open_dir(dir);
	int r;

	if (fd >= 0 && sys_list_dir(fd, stop_at_any, NULL) != 0)
		return -EEXIST;
	if (fd < 0 && fd != -ENOENT)
		return fd;
	r = spool_open(dir, NULL, &to);
	if (r == 0)
		r = spool_replay(to, NULL, NULL, NULL);
	if (r == 0)
		r = take_all(s, to, skipped, arg, ret_taken);
	return r == 0 ? sync_parent(dir) : r;
}
