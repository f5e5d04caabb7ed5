/* The batch: what is put in between two syncs lies contiguous in memory and goes out in one write. */
#include "spool/inside.h"

#include "task/sys.h"

#define SPACE_CHECK_EVERY (100 * NSEC_MS)
#define SPACE_CHECK_BYTES ((uint64_t)1 << 20)
#define PAGE_BYTES ((uint64_t)4096)

/* --- space --- */

static uint64_t allocated_unused(const struct spool *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SPOOL_LOGS; i++) {
		const struct segment *seg = s->log[i].open;

		if (seg && !s->cannot_allocate)
			n += seg->allocated - seg->end;
	}
	return n;
}

int space_available(struct spool *s, uint64_t *ret_bytes)
{
	nsec now = sys_now();
	int r;

	if (s->free_checked_at == 0 || now - s->free_checked_at >= SPACE_CHECK_EVERY ||
	    s->taken_since_check >= SPACE_CHECK_BYTES) {
		r = sys_free_bytes(s->dir, &s->free_bytes);
		if (r < 0)
			return r;
		s->free_checked_at = now;
		s->taken_since_check = 0;
	}
	*ret_bytes = s->free_bytes + allocated_unused(s);
	return 0;
}

int space_for_message(struct spool *s, uint64_t bytes)
{
	uint64_t available;
	int r = space_available(s, &available);

	if (r < 0)
		return r;
	if (available < bytes || available - bytes < s->options.reserve_bytes)
		return -ENOSPC;
	s->taken_since_check += bytes;
	return 0;
}

/* --- which segment --- */

static bool log_is_full(const struct spool *s, const struct spool_logfile *l, uint64_t bytes)
{
	const struct segment *seg = l->open;

	if (seg->end == FORMAT_RECORDS_AT)
		return false;
	if (l->kind == SPOOL_HELD && seg->day != day_of(sys_now_wall()))
		return true;
	return seg->end + bytes > s->options.segment_bytes;
}

static int log_turn(struct spool *s, struct spool_logfile *l, uint64_t bytes, enum space space)
{
	struct segment *fresh, *full = l->open;
	struct spool_logfile before = *l;
	int r;

	if (full) {
		l->last_serial = full->serial;
		l->last_end = l->last_torn = full->end;
	}
	r = segment_create(s, l, bytes, &fresh);
	if (r < 0) {
		*l = before;
		/* The disk is full: marks may still fit into what the old segment has. */
		return full && space == SPACE_MARK && !s->failed ? 0 : r;
	}
	l->open = fresh;
	if (full)
		segment_shrink(s, full, full->end);
	return 0;
}

/* A segment that has allocated space for the record. A batch lies in one segment: what a header says
 * about the end of the segment before is then true. */
static int log_segment(struct spool *s, struct spool_logfile *l, uint64_t bytes, enum space space)
{
	uint64_t headroom =
		space == SPACE_MESSAGE ? MIN(MARK_HEADROOM, s->options.segment_bytes / 4) : 0;
	int r = 0;

	if (!l->open || (l->open->end == l->open->synced && log_is_full(s, l, bytes)))
		r = log_turn(s, l, bytes + headroom, space);
	if (r < 0)
		return r;
	if (l->open->end + bytes > FORMAT_SEGMENT_MAX)
		return -EFBIG;
	return segment_allocate(s, l->open, l->open->end + bytes + headroom);
}

/* --- the buffer --- */

int log_flush(struct spool *s, struct spool_logfile *l)
{
	int r;

	if (l->batch_n == 0)
		return 0;
	r = sys_write_at(l->open->fd, str_mem(l->batch, l->batch_n), l->open->written);
	if (r < 0) {
		s->failed = r;
		return r;
	}
	l->open->written += l->batch_n;
	l->batch_n = 0;
	return 0;
}

static uint64_t page_of(uint64_t at)
{
	return at / PAGE_BYTES * PAGE_BYTES;
}

/* The disk writes this piece of a large batch while the next one is put together. The page that is not
 * full yet stays behind: it would be written twice. */
static int log_flush_piece(struct spool *s, struct spool_logfile *l)
{
	uint64_t from = page_of(l->open->written), to;
	int r = log_flush(s, l);

	if (r < 0)
		return r;
	to = page_of(l->open->written);
	r = sys_write_out(l->open->fd, from, to - from);
	if (r < 0)
		s->failed = r;
	return r;
}

static int batch_reserve(struct spool_logfile *l, uint64_t bytes)
{
	size_t wanted = MAX(l->batch_cap, (size_t)64 << 10);
	char *grown;

	while (wanted < l->batch_n + bytes)
		wanted *= 2;
	if (wanted == l->batch_cap)
		return 0;
	grown = realloc(l->batch, wanted);
	if (!grown)
		return -ENOMEM;
	l->batch = grown;
	l->batch_cap = wanted;
	return 0;
}

int log_room(struct spool *s, struct spool_logfile *l, uint64_t bytes, enum space space,
	     char **ret_at)
{
	int r;

	if (s->failed)
		return s->failed;
	if (space == SPACE_MESSAGE) {
		r = space_for_message(s, bytes);
		if (r < 0)
			return r;
	}
	r = log_segment(s, l, bytes, space);
	if (r < 0)
		return r;
	if (l->batch_n > 0 && l->batch_n + bytes > BATCH_PIECE_BYTES) {
		r = log_flush_piece(s, l);
		if (r < 0)
			return r;
	}
	r = batch_reserve(l, bytes);
	if (r == 0)
		r = segment_reserve_refs(l->open);
	if (r < 0)
		return r;
	*ret_at = l->batch + l->batch_n;
	return 0;
}

void log_commit(struct spool *s, struct spool_logfile *l, char *at, struct record_header *h,
		struct place *ret_place)
{
	struct segment *seg = l->open;
	uint64_t bytes = record_bytes(h);
	uint64_t used = sizeof(*h) + h->payload_bytes + record_inline_bytes(h);

	must(at == l->batch + l->batch_n && l->batch_n + bytes <= l->batch_cap);
	must(seg->written + l->batch_n == seg->end);
	h->salt = seg->salt;
	h->sequence = s->sequence++;
	h->batch_at8 = (uint32_t)(seg->synced / FORMAT_ALIGN);
	record_header_close(h);
	memcpy(at, h, sizeof(*h));
	memset(at + used, 0, bytes - used);
	*ret_place = place_make(seg, seg->end, bytes);
	l->batch_n += bytes;
	seg->end += bytes;
}

int log_sync(struct spool *s, struct spool_logfile *l)
{
	struct segment *seg = l->open;
	int r;

	if (!seg || seg->end == seg->synced)
		return 0;
	r = log_flush(s, l);
	if (r == 0)
		r = sys_sync_data(seg->fd);
	if (r < 0) {
		s->failed = r;
		return r;
	}
	seg->synced = seg->end;
	return 0;
}
