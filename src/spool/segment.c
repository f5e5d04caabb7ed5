#include "spool/inside.h"

#include "base/cleanup.h"
#include "base/wrong.h"
#include "task/sys.h"
#include <fcntl.h>

const char *log_name(enum spool_log log)
{
	switch (log) {
	case SPOOL_QUEUE:
		return "queue";
	case SPOOL_HELD:
		return "held";
	}
	return "";
}

/* --- the table --- */

/* Index of the first segment with that serial or a larger one. */
static size_t segment_slot(const struct spool *s, uint32_t serial)
{
	size_t low = 0, high = s->segment_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->segment[middle]->serial < serial)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct segment *segment_lookup(struct spool *s, uint32_t serial)
{
	size_t slot;

	if (s->segment_last_found && s->segment_last_found->serial == serial)
		return s->segment_last_found;
	slot = segment_slot(s, serial);
	if (slot == s->segment_count || s->segment[slot]->serial != serial)
		return NULL;
	s->segment_last_found = s->segment[slot];
	return s->segment_last_found;
}

struct segment *segment_find(struct spool *s, uint32_t serial)
{
	struct segment *seg = segment_lookup(s, serial);

	must(seg);
	return seg;
}

int segment_insert(struct spool *s, struct segment *seg)
{
	size_t slot = segment_slot(s, seg->serial);
	int r;

	if (slot < s->segment_count && s->segment[slot]->serial == seg->serial)
		return -EEXIST;
	r = ARRAY_RESERVE(s->segment, s->segment_cap, s->segment_count + 1);
	if (r < 0)
		return r;
	memmove(&s->segment[slot + 1], &s->segment[slot],
		(s->segment_count - slot) * sizeof(struct segment *));
	s->segment[slot] = seg;
	s->segment_count++;
	return 0;
}

struct segment *segment_alloc(enum spool_log log, uint32_t day, uint32_t serial)
{
	struct segment *seg = calloc(1, sizeof(*seg));

	if (seg)
		*seg = (struct segment){ .serial = serial, .day = day, .log = log, .fd = -1 };
	return seg;
}

void segment_freep(struct segment **at)
{
	struct segment *seg = *at;

	if (!seg)
		return;
	if (seg->fd >= 0)
		sys_close(seg->fd);
	free(seg->messages.index);
	free(seg->marks.index);
	free(seg);
}

bool segment_is_open(const struct spool *s, const struct segment *seg)
{
	return s->log[seg->log].open == seg;
}

void segment_forget(struct spool *s, struct segment *seg)
{
	size_t slot = segment_slot(s, seg->serial);

	for (size_t i = 0; i < seg->messages.n; i++)
		entry_lose_copy(s, index_at(s, seg->messages.index[i]));
	must(slot < s->segment_count && s->segment[slot] == seg);
	s->segment_count--;
	memmove(&s->segment[slot], &s->segment[slot + 1],
		(s->segment_count - slot) * sizeof(struct segment *));
	s->segment_last_found = NULL;
	segment_freep(&seg);
}

/* --- descriptors --- */

int segment_fd(struct spool *s, struct segment *seg)
{
	char name[SEGMENT_NAME_SIZE];

	seg->used = ++s->uses;
	if (seg->fd >= 0)
		return seg->fd;
	segment_name(seg->log, seg->day, seg->serial, name);
	seg->fd = sys_open_at(s->log[seg->log].dir, name, s->read_only ? O_RDONLY : O_RDWR, 0);
	if (seg->fd < 0) {
		int r = seg->fd;

		seg->fd = -1;
		return r;
	}
	s->open_fds++;
	return seg->fd;
}

void segment_close_fd(struct spool *s, struct segment *seg)
{
	if (seg->fd < 0)
		return;
	sys_close(seg->fd);
	seg->fd = -1;
	s->open_fds--;
}

void segment_trim_fds(struct spool *s)
{
	while (s->read_fd_n > 0)
		sys_close(s->read_fd[--s->read_fd_n]);
	while (s->open_fds > OPEN_SEGMENTS_MAX) {
		struct segment *oldest = NULL;

		for (size_t i = 0; i < s->segment_count; i++) {
			struct segment *seg = s->segment[i];

			if (seg->fd >= 0 && !segment_is_open(s, seg) &&
			    (!oldest || seg->used < oldest->used))
				oldest = seg;
		}
		if (!oldest)
			return;
		segment_close_fd(s, oldest);
	}
}

/* --- files --- */

int segment_allocate(struct spool *s, struct segment *seg, uint64_t need)
{
	uint64_t want = MAX(need, seg->allocated + MIN(ALLOCATE_STEP, s->options.segment_bytes));
	int r = 0;

	if (need <= seg->allocated)
		return 0;
	if (!s->cannot_allocate) {
		r = sys_allocate(seg->fd, seg->allocated, want - seg->allocated);
		if (r == -ENOSPC || r == -EDQUOT) {
			want = need;
			r = sys_allocate(seg->fd, seg->allocated, want - seg->allocated);
		}
	}
	if (r == -EOPNOTSUPP || r == -ENOSYS)
		s->cannot_allocate = true;
	else if (r < 0)
		return r == -EDQUOT ? -ENOSPC : r;
	s->free_bytes -= MIN(s->free_bytes, want - seg->allocated);
	seg->allocated = want;
	return 0;
}

void segment_shrink(struct spool *s, struct segment *seg, uint64_t end)
{
	if (seg->allocated <= end || segment_fd(s, seg) < 0)
		return;
	/* It only costs space when this fails. */
	if (sys_truncate(seg->fd, end) == 0) {
		seg->allocated = end;
		s->free_checked_at = 0;
	}
}

static int segment_write_header(struct spool *s, const struct spool_logfile *l, struct segment *seg,
				nsec now_wall)
{
	struct segment_header *h = s->block;

	memset(h, 0, FORMAT_RECORDS_AT);
	h->log = l->kind + 1;
	h->serial = seg->serial;
	h->created_wall = now_wall;
	memcpy(h->spool_id, s->id, sizeof(h->spool_id));
	h->salt = seg->salt;
	h->start = s->start;
	h->previous_serial = l->last_serial;
	h->previous_end = l->last_end;
	h->previous_torn = l->last_torn;
	segment_header_close(h);
	memcpy(h + 1, h, sizeof(*h));
	return sys_write_at(seg->fd, str_mem(h, FORMAT_RECORDS_AT), 0);
}

/* Its header, once the power is back, would say where the segment before ends. We may go on with that one only when
 * the name cannot come back; what the disk refused but for want of space is not asked of it again. */
static int segment_discard(struct spool *s, struct spool_logfile *l, const char *name, int error)
{
	int r = sys_unlink_at(l->dir, name);

	if (error != -ENOSPC && error != -EDQUOT)
		r = error;
	else if (r == 0)
		r = sys_sync(l->dir);
	if (r < 0)
		s->failed = r;
	return error;
}

int segment_create(struct spool *s, struct spool_logfile *l, uint64_t bytes,
		   struct segment **ret_segment)
{
	nsec now_wall = sys_now_wall();
	uint32_t day = l->kind == SPOOL_HELD ? day_of(now_wall) : 0;
	_cleanup_(segment_freep) struct segment *seg = segment_alloc(l->kind, day, s->next_serial);
	char name[SEGMENT_NAME_SIZE];
	int r;

	if (!seg)
		return -ENOMEM;
	if (s->next_serial == UINT32_MAX)
		return -EOVERFLOW;
	sys_random(&seg->salt, sizeof(seg->salt));
	segment_name(l->kind, day, seg->serial, name);
	/* Exclusively: a segment file is never used twice. */
	r = sys_open_at(l->dir, name, O_RDWR | O_CREAT | (WRONG(SEGMENT_REUSED) ? 0 : O_EXCL),
			0600);
	if (r < 0)
		return r;
	seg->fd = r;
	s->next_serial++;
	seg->seals = l->last_serial;
	r = segment_allocate(s, seg, FORMAT_RECORDS_AT + bytes);
	if (r < 0) {
		sys_unlink_at(l->dir, name); /* empty: it says nothing */
		return r;
	}
	r = segment_write_header(s, l, seg, now_wall);
	/* Durable before the first record: records without a header are damage, never a crash. */
	if (r == 0)
		r = sys_sync_data(seg->fd);
	if (r == 0)
		r = sys_sync(l->dir);
	if (r == 0)
		r = segment_insert(s, seg);
	if (r < 0)
		return segment_discard(s, l, name, r);
	seg->end = seg->written = seg->synced = FORMAT_RECORDS_AT;
	seg->used = ++s->uses;
	s->open_fds++;
	*ret_segment = TAKE(seg);
	return 0;
}
