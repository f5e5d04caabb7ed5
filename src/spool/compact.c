/*
 * Housekeeping: deletes segments that nobody needs, empties those that few need, moves messages between
 * the logs. README.md says why a crash at any point loses and revives nothing.
 */
#include "spool/inside.h"

#include "base/wrong.h"
#include "task/sys.h"

#define DELETE_STEP 8 /* segments deleted in one step */
#define MOSTLY_DEAD_PERCENT 25

/* Bytes of a segment that would have to be copied if it were to go. */
static uint64_t segment_needed(const struct segment *seg)
{
	return seg->live_bytes + seg->tombstone_bytes;
}

/* May this segment ever go? Not while records are put into it, not when it holds damage that somebody may
 * want to look at, and not while it alone says that damage in an earlier one is just a torn end. */
static bool segment_may_go(struct spool *s, const struct segment *seg)
{
	const struct segment *told;

	if (segment_is_open(s, seg) || seg->pinned)
		return false;
	told = segment_lookup(s, seg->seals);
	return !(told && told->torn);
}

/* --- deleting --- */

static int delete_batch(struct spool *s, struct segment **gone, size_t count)
{
	char name[SEGMENT_NAME_SIZE];
	bool touched[SPOOL_LOGS] = { false };
	size_t deleted = 0;
	int r = 0;

	for (; deleted < count; deleted++) {
		struct segment *seg = gone[deleted];

		segment_name(seg->log, seg->day, seg->serial, name);
		r = sys_unlink_at(s->log[seg->log].dir, name);
		if (r < 0 && r != -ENOENT)
			break;
		r = 0;
		touched[seg->log] = true;
	}
	for (size_t i = 0; i < SPOOL_LOGS; i++) {
		int synced = touched[i] ? sys_sync(s->log[i].dir) : 0;

		if (synced < 0) {
			s->failed = synced;
			return synced;
		}
	}
	s->free_checked_at = 0; /* ask again how much is free */
	/* Only now, when the files cannot come back, may the tombstones of their messages go. */
	for (size_t i = 0; i < deleted; i++)
		segment_forget(s, gone[i]);
	return r;
}

/* Deletes what is not needed. The number of segments deleted, or a negative errno. */
static int delete_step(struct spool *s)
{
	struct segment *gone[DELETE_STEP];
	size_t count = 0;
	int r;

	for (size_t i = 0; i < s->segment_count && count < DELETE_STEP; i++)
		if (segment_needed(s->segment[i]) == 0 && segment_may_go(s, s->segment[i]))
			gone[count++] = s->segment[i];
	if (count == 0)
		return 0;
	/* What made them needless may be in the batch still. */
	r = WRONG(INDEX_BEFORE_RECORD) ? 0 : spool_sync(s);
	if (r < 0)
		return r;
	r = delete_batch(s, gone, count);
	return r < 0 ? r : (int)count;
}

/* --- copying --- */

static int copy_message(struct spool *s, struct entry *e, struct spool_logfile *to)
{
	struct place place;
	int r;

	r = copy_record(s, e->message, e->id, s, to, &place);
	if (r < 0)
		return r;
	entry_message(s, e, to->open, place);
	return 0;
}

static int copy_state(struct spool *s, struct entry *e, struct spool_logfile *to)
{
	struct place place;
	int r;

	r = copy_record(s, e->mark, e->id, s, to, &place);
	if (r < 0)
		return r;
	entry_mark(s, e, to->open, place, false);
	return 0;
}

/* A tombstone needs no contents: nothing is read, so that damage cannot hinder it. */
static int copy_tombstone(struct spool *s, struct entry *e, struct spool_logfile *to)
{
	struct record_header h = { .id = e->id,
				   .written_wall = sys_now_wall(),
				   .type = RECORD_DONE };
	struct place place;
	char *at;
	int r;

	r = log_room(s, to, sizeof(h), SPACE_MARK, &at);
	if (r < 0)
		return r;
	log_commit(s, to, at, &h, &place);
	entry_mark(s, e, to->open, place, true);
	return 0;
}

/* Copies what is needed of a segment, about COPY_STEP_BYTES at once. 1: all of it is copied. */
static int vacate_step(struct spool *s, struct segment *seg)
{
	struct spool_logfile *to = &s->log[seg->log];
	uint64_t copied = 0;
	int r = 0;

	while (s->compact.next_message < seg->messages.n && copied < COPY_STEP_BYTES) {
		struct entry *e = index_at(s, seg->messages.index[s->compact.next_message]);

		if (!e->dead && e->message.serial == seg->serial) {
			copied += place_bytes(e->message);
			r = copy_message(s, e, to);
		}
		if (r < 0)
			return r;
		s->compact.next_message++;
	}
	while (s->compact.next_mark < seg->marks.n && copied < COPY_STEP_BYTES) {
		struct entry *e = index_at(s, seg->marks.index[s->compact.next_mark]);

		if (e->mark.serial == seg->serial && (!e->dead || tombstone_needed(e))) {
			copied += place_bytes(e->mark);
			r = e->dead ? copy_tombstone(s, e, to) : copy_state(s, e, to);
		}
		if (r < 0)
			return r;
		s->compact.next_mark++;
	}
	return copied < COPY_STEP_BYTES;
}

/* --- which one --- */

/* Fewer needed bytes for its size than the other? */
static bool segment_is_emptier(const struct segment *a, const struct segment *b)
{
	return segment_needed(a) * (b->allocated >> 10) < segment_needed(b) * (a->allocated >> 10);
}

/* The emptiest segment, if it is mostly dead or if all of them together are more than half dead: that keeps
 * the disk below twice what is alive. */
static struct segment *choose_victim(struct spool *s)
{
	uint64_t record_bytes_all = 0, needed_all = 0;
	struct segment *best = NULL;

	for (size_t i = 0; i < s->segment_count; i++) {
		struct segment *seg = s->segment[i];

		if (!segment_may_go(s, seg) || seg->allocated <= FORMAT_RECORDS_AT)
			continue;
		record_bytes_all += seg->allocated - FORMAT_RECORDS_AT;
		needed_all += segment_needed(seg);
		if (!best || segment_is_emptier(seg, best))
			best = seg;
	}
	if (!best)
		return NULL;
	if (segment_needed(best) * 100 < best->allocated * MOSTLY_DEAD_PERCENT)
		return best;
	return record_bytes_all > 2 * needed_all ? best : NULL;
}

static bool something_to_delete(struct spool *s)
{
	for (size_t i = 0; i < s->segment_count; i++)
		if (segment_needed(s->segment[i]) == 0 && segment_may_go(s, s->segment[i]))
			return true;
	return false;
}

static int compact_step(struct task *tk, struct spool *s)
{
	struct segment *victim;
	int r;

	if (s->compact.serial == 0) {
		if (something_to_delete(s)) {
			/* It needs a sync: whoever is ready to append shares it. */
			r = spool_pause(tk);
			return r < 0 ? r : delete_step(s);
		}
		victim = choose_victim(s);
		if (!victim)
			return 0;
		s->compact.serial = victim->serial;
		s->compact.next_message = s->compact.next_mark = 0;
	}
	victim = segment_find(s, s->compact.serial);
	r = vacate_step(s, victim);
	if (r == 0)
		return 1;
	s->compact.serial = 0;
	if (r > 0) {
		must(segment_needed(victim) == 0); /* the next step deletes it */
		return 1;
	}
	if (s->failed)
		return s->failed;
	if (r == -ENOSPC)
		return r;
	victim->pinned = true;
	return -EBADMSG;
}

int spool_compact(struct task *tk, struct spool *s)
{
	int r;

	must(s->replayed);
	segment_trim_fds(s);
	if (s->failed)
		return s->failed;
	if (s->compact.busy)
		return 0;
	s->compact.busy = true;
	r = compact_step(tk, s);
	s->compact.busy = false;
	return r > 0 ? 1 : r;
}

int spool_move_held(struct task *tk, struct spool *s, msg_id id, bool to_held)
{
	struct spool_logfile *to = &s->log[to_held ? SPOOL_HELD : SPOOL_QUEUE];
	struct entry *e = index_find(s, id);
	int r;

	must(s->replayed);
	segment_trim_fds(s);
	if (!e || e->dead)
		return -ENOENT;
	if (segment_find(s, e->message.serial)->log == to->kind)
		return 0;
	/* What is still in the batch cannot be read. */
	r = spool_sync(s);
	if (r < 0)
		return r;
	r = copy_message(s, e, to);
	if (r == 0 && e->mark.serial)
		r = copy_state(s, e, to);
	if (r < 0)
		return r;
	spool_pause(tk); /* for others to share the sync; cancelled or not, it is done */
	return spool_sync(s);
}
