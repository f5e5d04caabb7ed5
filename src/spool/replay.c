/* Replay: reads both logs as one, by ascending sequence number, and builds the index from them. */
#include "spool/inside.h"

#include "base/cleanup.h"
#include "spool/scan.h"
#include "task/sys.h"
#include <fcntl.h>

#define HOLES_MAX                                                                                  \
	256 /* of one segment, remembered one by one; further ones are added to the last */

struct replay {
	struct spool *s;
	spool_replay_fn *each;
	spool_damage_fn *damage;
	void *arg;
	struct buf state; /* a state that was read before its message */
};

/* One log, being read. */
struct reader {
	struct replay *replay;
	enum spool_log log;
	size_t next_segment; /* index in the table */
	struct segment *seg; /* being scanned; NULL: take the next */
	struct scan scan;
	struct scan_hole *holes;
	size_t hole_count, hole_cap;
	bool have; /* `record` waits to be taken */
	struct scan_record record;
};

static void damage_say(const struct replay *p, enum spool_log log, const char *name, uint64_t at,
		       const char *what)
{
	char path[SEGMENT_NAME_SIZE + 64];

	if (!p->damage)
		return;
	snprintf(path, sizeof(path), "%s/%s", log_name(log), name);
	p->damage(p->arg, path, at, what);
}

static void hole_say(const struct reader *r, const struct scan_hole *h, const char *nature)
{
	char name[SEGMENT_NAME_SIZE], id[ID_TEXT_LENGTH + 1] = "", what[160];

	if (h->named)
		id_text(h->id, id);
	segment_name(r->log, r->seg->day, r->seg->serial, name);
	snprintf(what, sizeof(what), "%s%s%s, %llu bytes%s", h->what, *id ? " of " : "", id,
		 (unsigned long long)(h->to - h->from), nature);
	damage_say(r->replay, r->log, name, h->from, what);
}

/* --- one segment --- */

static int reader_hole(void *arg, const struct scan_hole *h)
{
	struct reader *r = arg;

	if (h->harmless) {
		hole_say(r, h, "");
		return 0;
	}
	if (r->hole_count == HOLES_MAX) {
		r->holes[HOLES_MAX - 1].to = h->to;
		return 0;
	}
	if (ARRAY_RESERVE(r->holes, r->hole_cap, r->hole_count + 1) < 0)
		return -ENOMEM;
	r->holes[r->hole_count++] = *h;
	return 0;
}

static int reader_begin(struct reader *r)
{
	struct spool *s = r->replay->s;
	struct segment *seg = r->seg;
	uint64_t limit = MIN(seg->allocated, FORMAT_SEGMENT_MAX);
	int fd = segment_fd(s, seg);

	if (fd < 0)
		return fd;
	if (seg->sealed)
		limit = MIN(limit, seg->seal_end);
	seg->written = seg->allocated; /* readable while this goes on */
	scan_init(&r->scan, fd, seg->salt, limit, !seg->sealed);
	r->scan.hole = reader_hole;
	r->scan.arg = r;
	r->hole_count = 0;
	return 0;
}

/* Damage, or the trace of a crash? What was not synced yet when the machine stopped lies in the last
 * batch: whatever is broken before that batch was whole once. */
static void reader_judge(struct reader *r, uint64_t torn_from, uint64_t *ret_torn)
{
	struct segment *seg = r->seg;
	bool last = !seg->sealed;

	*ret_torn = r->scan.end;
	for (size_t i = 0; i < r->hole_count; i++) {
		const struct scan_hole *h = &r->holes[i];

		if (h->from < torn_from) {
			hole_say(r, h, "; the segment is kept");
			seg->pinned = r->replay->s->damaged = true;
			continue;
		}
		if (h->zero && h->to >= r->scan.limit)
			continue; /* allocated, never written */
		*ret_torn = MIN(*ret_torn, h->from);
		seg->torn = true;
		if (last)
			hole_say(r, h, "; torn end of the log, normal after a crash");
	}
}

static void reader_finish(struct reader *r)
{
	struct spool *s = r->replay->s;
	struct spool_logfile *l = &s->log[r->log];
	struct segment *seg = r->seg;
	const struct scan *c = &r->scan;
	uint64_t torn;

	reader_judge(r, seg->sealed ? seg->seal_torn : c->batch_at, &torn);
	if (seg->sealed && MAX(seg->allocated, FORMAT_RECORDS_AT) < seg->seal_end) {
		struct scan_hole missing = { .from = seg->allocated,
					     .to = seg->seal_end,
					     .what = "cut short" };

		hole_say(r, &missing, "; the segment is kept");
		seg->pinned = s->damaged = true;
	}
	seg->end = seg->sealed ? MAX(seg->seal_end, c->end) : c->end;
	seg->written = seg->synced = MAX(seg->end, FORMAT_RECORDS_AT);
	/* Only zeros are given back; the trace of a crash stays for whoever wants to look. */
	if (!seg->sealed)
		segment_shrink(s, seg, MAX(c->nonzero_end, FORMAT_RECORDS_AT));
	l->last_serial = seg->serial;
	l->last_end = seg->end;
	l->last_torn = torn;
	scan_done(&r->scan);
	segment_close_fd(s, seg);
	r->seg = NULL;
}

/* Makes r->record the next record of the log. 1, or 0 at its end, or a negative errno. */
static int reader_fill(struct reader *r)
{
	struct spool *s = r->replay->s;
	int n;

	while (!r->have) {
		if (!r->seg) {
			while (r->next_segment < s->segment_count &&
			       s->segment[r->next_segment]->log != r->log)
				r->next_segment++;
			if (r->next_segment == s->segment_count)
				return 0;
			r->seg = s->segment[r->next_segment++];
			n = reader_begin(r);
			if (n < 0)
				return n;
		}
		n = scan_next(&r->scan, &r->record);
		if (n < 0)
			return n;
		if (n > 0)
			r->have = true;
		else
			reader_finish(r);
	}
	return 1;
}

static void reader_done(struct reader *r)
{
	scan_done(&r->scan);
	free(r->holes);
}

/* --- one record --- */

static int tell(struct replay *p, enum spool_event event, const struct record_header *h,
		str payload)
{
	return p->each ? p->each(p->arg, event, h->id, h->written_wall, payload) : 0;
}

/* The state came first: its message's own record is damaged, and this is a copy of it. */
static int tell_earlier_state(struct replay *p, const struct entry *e)
{
	struct record_header h;
	int r;

	buf_reset(&p->state);
	r = read_payload(p->s, e->mark, e->id, &p->state, &h);
	return r < 0 ? r : tell(p, SPOOL_STATE, &h, buf_str(&p->state));
}

static int replay_message(struct replay *p, struct segment *seg, const struct scan_record *record)
{
	struct entry *e = index_find(p->s, record->header.id);
	bool known = e && e->message.serial && !e->dead;
	int r;

	if (!e) {
		r = index_add(p->s, record->header.id, &e);
		if (r < 0)
			return r;
	}
	r = segment_reserve_refs(seg);
	if (r < 0)
		return r;
	entry_message(p->s, e, seg, place_make(seg, record->at, record->bytes));
	e->big = record->header.flags & RECORD_BIG;
	if (known)
		return 0; /* a copy: compaction, or a move between the logs */
	r = tell(p, SPOOL_MESSAGE, &record->header, record->payload);
	if (r == 0 && e->mark.serial)
		r = tell_earlier_state(p, e);
	return r;
}

static int replay_state(struct replay *p, struct segment *seg, const struct scan_record *record)
{
	struct entry *e = index_find(p->s, record->header.id);
	int r;

	if (e && e->dead)
		return 0;
	if (!e) {
		r = index_add(p->s, record->header.id, &e);
		if (r < 0)
			return r;
	}
	r = segment_reserve_refs(seg);
	if (r < 0)
		return r;
	entry_mark(p->s, e, seg, place_make(seg, record->at, record->bytes), false);
	if (!e->message.serial)
		return 0;
	return tell(p, SPOOL_STATE, &record->header, record->payload);
}

static int replay_done(struct replay *p, struct segment *seg, const struct scan_record *record)
{
	struct entry *e = index_find(p->s, record->header.id);
	bool known;
	int r;

	if (!e)
		return 0; /* nothing of it is left */
	if (!e->message.serial) {
		index_remove(p->s, e);
		return 0;
	}
	r = segment_reserve_refs(seg);
	if (r < 0)
		return r;
	known = !e->dead;
	entry_mark(p->s, e, seg, place_make(seg, record->at, record->bytes), true);
	return known ? tell(p, SPOOL_DONE, &record->header, record->payload) : 0;
}

static int replay_record(struct replay *p, struct segment *seg, const struct scan_record *record)
{
	p->s->start = MAX(p->s->start, record->header.sequence >> 32);
	switch ((enum record_type)record->header.type) {
	case RECORD_MESSAGE:
		return replay_message(p, seg, record);
	case RECORD_STATE:
		return replay_state(p, seg, record);
	case RECORD_DONE:
		return replay_done(p, seg, record);
	}
	return 0;
}

/* --- both logs --- */

static int replay_logs(struct replay *p, struct reader readers[static SPOOL_LOGS])
{
	for (;;) {
		struct reader *next = NULL;
		int r;

		for (size_t i = 0; i < SPOOL_LOGS; i++) {
			struct reader *reader = &readers[i];

			r = reader_fill(reader);
			if (r < 0)
				return r;
			if (r > 0 && (!next || reader->record.header.sequence <
						       next->record.header.sequence))
				next = reader;
		}
		if (!next)
			return 0;
		must(next->seg);
		r = replay_record(p, next->seg, &next->record);
		if (r != 0)
			return r;
		next->have = false;
	}
}

static void drop_orphans(struct spool *s)
{
	struct map_link *at = map_walk(&s->index, NULL);

	while (at) {
		struct entry *e = CONTAINER(at, struct entry, link);

		at = map_walk(&s->index, at);
		if (!e->message.serial)
			index_remove(s, e); /* a state whose message is gone */
	}
}

/* A segment file whose creation a crash cut short: no header, and nothing behind it. */
static bool segment_never_was(const struct spool_logfile *l, const char *name)
{
	_cleanup_(closep) int fd = sys_open_at(l->dir, name, O_RDONLY, 0);
	_cleanup_(freep) char *chunk = malloc(SCAN_CHUNK);
	uint64_t at = FORMAT_RECORDS_AT;
	ssize_t n;

	if (fd < 0 || !chunk)
		return false;
	while ((n = sys_read_at(fd, chunk, SCAN_CHUNK, at)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (chunk[i])
				return false;
		at += (uint64_t)n;
	}
	return n == 0;
}

static void replay_oddities(struct replay *p)
{
	struct spool *s = p->s;

	for (size_t i = 0; i < s->oddity_count; i++) {
		const struct oddity *o = &s->oddity[i];

		if (o->headless && segment_never_was(&s->log[o->log], o->name)) {
			sys_unlink_at(s->log[o->log].dir, o->name);
			damage_say(p, o->log, o->name, 0,
				   "empty segment removed, normal after a crash");
			continue;
		}
		damage_say(p, o->log, o->name, 0, o->what);
		if (o->headless)
			s->damaged = true;
	}
}

static void replay_done_p(struct replay *p)
{
	buf_done(&p->state);
}

static void readers_done(struct reader (*readers)[SPOOL_LOGS])
{
	for (size_t i = 0; i < SPOOL_LOGS; i++)
		reader_done(&(*readers)[i]);
}

int spool_replay(struct spool *s, spool_replay_fn *each, spool_damage_fn *damage, void *arg)
{
	_cleanup_(replay_done_p) struct replay p = {
		.s = s, .each = each, .damage = damage, .arg = arg
	};
	_cleanup_(readers_done) struct reader readers[SPOOL_LOGS] = { 0 };
	int r;

	must(!s->replayed);
	buf_init(&p.state, FORMAT_PAYLOAD_MAX);
	replay_oddities(&p);
	for (size_t i = 0; i < SPOOL_LOGS; i++) {
		readers[i].replay = &p;
		readers[i].log = (enum spool_log)i;
	}
	r = replay_logs(&p, readers);
	if (r != 0)
		return r;
	drop_orphans(s);
	r = big_settle(s, damage, arg);
	if (r != 0)
		return r;
	segment_trim_fds(s);
	/* Numbers of an unreadable record are never used again: the next start counts from higher up. */
	s->start++;
	s->sequence = s->start << 32;
	s->replayed = true;
	return 0;
}
