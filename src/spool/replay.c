/* Replay: reads both logs as one, by ascending sequence number, and builds the index from them. */
#include "spool/inside.h"

#include "base/cleanup.h"
#include "spool/scan.h"
#include "task/sys.h"
#include <fcntl.h>

/* Of one segment, remembered one by one; further ones are added to the last. */
#define HOLES_MAX 256
#define HOLES_INSPECTED_MAX 65536

struct replay {
	struct spool *s;
	spool_replay_fn *each;
	fault_fn *fault;
	void *arg, *fault_arg;
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

static int fault_say(const struct replay *p, enum spool_log log, const char *name, struct fault *f)
{
	snprintf(f->file, sizeof(f->file), "%s/%s", log_name(log), name);
	return p->fault(p->fault_arg, f);
}

static int hole_say(const struct reader *r, const struct scan_hole *h, enum fault_nature nature)
{
	struct fault f = { .kind = h->kind,
			   .nature = nature,
			   .offset = h->from,
			   .bytes = h->to - h->from,
			   .named = h->named,
			   .id = h->id,
			   .type = h->type,
			   .sequence = h->sequence };
	char name[SEGMENT_NAME_SIZE];

	segment_name(r->log, r->seg->day, r->seg->serial, name);
	return fault_say(r->replay, r->log, name, &f);
}

/* --- one segment --- */

static int reader_hole(void *arg, const struct scan_hole *h)
{
	struct reader *r = arg;
	size_t max = r->replay->s->read_only ? HOLES_INSPECTED_MAX : HOLES_MAX;

	if (h->kind == FAULT_PADDING)
		return hole_say(r, h, FAULT_HARMLESS);
	if (r->hole_count == max) {
		r->holes[max - 1].to = h->to;
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
	scan_init(&r->scan, fd, seg->salt, limit, !seg->sealed || s->read_only);
	r->scan.hole = reader_hole;
	r->scan.arg = r;
	r->hole_count = 0;
	return 0;
}

/* Might the segment that sealed this one be among those whose header is lost? */
static bool seal_may_be_lost(const struct spool *s, const struct segment *seg)
{
	for (size_t i = 0; i < s->segment_count; i++) {
		const struct segment *later = s->segment[i];

		if (later->log == seg->log && later->serial > seg->serial && later->headless)
			return true;
	}
	for (size_t i = 0; i < s->oddity_count; i++)
		if (s->oddity[i].log == seg->log && s->oddity[i].kind == FAULT_HEADER_LOST)
			return true;
	return false;
}

static struct segment *newest_segment(const struct spool *s, enum spool_log log)
{
	for (size_t i = s->segment_count; i-- > 0;)
		if (s->segment[i]->log == log)
			return s->segment[i];
	return NULL;
}

/* Damage, or the trace of a crash? What was not synced yet when the machine stopped lies in the last
 * batch: whatever is broken before that batch was whole once. A start that finds a torn end seals it, and
 * the segment that has the seal stays: a hole without a seal, before other segments, is no crash's. */
static uint64_t torn_from(const struct reader *r)
{
	const struct spool *s = r->replay->s;
	const struct segment *seg = r->seg;

	if (seg->sealed)
		return seg->seal_torn;
	return seg == newest_segment(s, seg->log) || seal_may_be_lost(s, seg) ? r->scan.batch_at
									      : UINT64_MAX;
}

static int reader_judge(struct reader *r, uint64_t *ret_torn)
{
	struct segment *seg = r->seg;
	uint64_t from = torn_from(r);
	int result = 0;

	*ret_torn = r->scan.end;
	for (size_t i = 0; i < r->hole_count && result == 0; i++) {
		const struct scan_hole *h = &r->holes[i];

		if (h->zero && h->to >= r->scan.limit && (!seg->sealed || h->from >= from))
			continue; /* allocated, never written */
		if (h->from < from) {
			result = hole_say(r, h, FAULT_DAMAGE);
			seg->pinned = r->replay->s->damaged = true;
			continue;
		}
		*ret_torn = MIN(*ret_torn, h->from);
		seg->torn = true;
		if (!seg->sealed)
			result = hole_say(r, h, FAULT_CRASH);
	}
	return result;
}

static int reader_check_length(struct reader *r)
{
	struct segment *seg = r->seg;
	struct scan_hole missing = { .from = seg->allocated,
				     .to = seg->seal_end,
				     .kind = FAULT_CUT_SHORT };

	if (!seg->sealed || MAX(seg->allocated, FORMAT_RECORDS_AT) >= seg->seal_end)
		return 0;
	seg->pinned = r->replay->s->damaged = true;
	return hole_say(r, &missing, FAULT_DAMAGE);
}

static int reader_finish(struct reader *r)
{
	struct spool *s = r->replay->s;
	struct spool_logfile *l = &s->log[r->log];
	struct segment *seg = r->seg;
	const struct scan *c = &r->scan;
	uint64_t torn;
	int result = reader_judge(r, &torn);

	if (result == 0)
		result = reader_check_length(r);
	seg->end = seg->sealed ? MAX(seg->seal_end, c->end) : c->end;
	seg->written = seg->synced = MAX(seg->end, FORMAT_RECORDS_AT);
	/* Only zeros are given back; the trace of a crash stays for whoever wants to look. */
	if (!seg->sealed && !s->read_only)
		segment_shrink(s, seg, MAX(c->nonzero_end, FORMAT_RECORDS_AT));
	l->last_serial = seg->serial;
	l->last_end = seg->end;
	l->last_torn = torn;
	scan_done(&r->scan);
	segment_close_fd(s, seg);
	r->seg = NULL;
	return result;
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
			if (n == -ENOENT && s->read_only) {
				s->vanished = true;
				r->seg = NULL;
				continue;
			}
			if (n < 0)
				return n;
		}
		n = scan_next(&r->scan, &r->record);
		if (n < 0)
			return n;
		if (n > 0) {
			r->have = true;
			break;
		}
		n = reader_finish(r);
		if (n != 0)
			return n;
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

/* A record's entry, made for the first of its id (*e is NULL), and a place among its segment's references. */
static int make_room(struct replay *p, struct segment *seg, const struct scan_record *record,
		     struct entry **e)
{
	int r = *e ? 0 : index_add(p->s, record->header.id, e);

	return r < 0 ? r : segment_reserve_refs(seg);
}

static int replay_message(struct replay *p, struct segment *seg, const struct scan_record *record)
{
	struct entry *e = index_find(p->s, record->header.id);
	bool known = e && e->message.serial && !e->dead;
	int r = make_room(p, seg, record, &e);

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
	r = make_room(p, seg, record, &e);
	if (r < 0)
		return r;
	entry_mark(p->s, e, seg, place_make(seg, record->at, record->bytes), false);
	if (!e->message.serial)
		return 0;
	return tell(p, SPOOL_STATE, &record->header, record->payload);
}

/* For inspection: it tells that a damaged message record costs nothing. */
static int remember_done(struct spool *s, const struct record_header *h)
{
	if (!s->read_only)
		return 0;
	if (ARRAY_RESERVE(s->lone_done, s->lone_done_cap, s->lone_done_count + 1) < 0)
		return -ENOMEM;
	s->lone_done[s->lone_done_count++] =
		(struct lone_done){ .id = h->id, .sequence = h->sequence };
	return 0;
}

static int replay_done(struct replay *p, struct segment *seg, const struct scan_record *record)
{
	struct entry *e = index_find(p->s, record->header.id);
	bool known;
	int r;

	if (!e)
		return remember_done(p->s, &record->header); /* nothing of it is left */
	if (!e->message.serial) {
		index_remove(p->s, e);
		return remember_done(p->s, &record->header);
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

/* A state whose message is gone: nothing unusual, unless a message is missed. */
static int drop_orphans(struct replay *p)
{
	struct spool *s = p->s;
	struct map_link *at = map_walk(&s->index, NULL);

	while (at) {
		struct entry *e = CONTAINER(at, struct entry, link);
		struct fault f = { .kind = FAULT_STATE_ALONE, .named = true, .id = e->id };
		struct segment *seg;
		char name[SEGMENT_NAME_SIZE];
		int r = 0;

		at = map_walk(&s->index, at);
		if (e->message.serial)
			continue;
		seg = segment_find(s, e->mark.serial);
		f.offset = place_at(e->mark);
		segment_name(seg->log, seg->day, seg->serial, name);
		if (s->read_only && s->damaged)
			r = fault_say(p, seg->log, name, &f);
		index_remove(s, e);
		if (r != 0)
			return r;
	}
	return 0;
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

static int oddity_say(struct replay *p, const struct oddity *o)
{
	struct spool *s = p->s;
	struct fault f = { .kind = o->kind, .nature = FAULT_DAMAGE };

	if (o->kind == FAULT_FOREIGN_FILE)
		f.nature = FAULT_NOTE;
	if (o->kind == FAULT_HEADER_BLOCK)
		f.nature = FAULT_HARMLESS;
	if (o->kind == FAULT_HEADER_LOST && segment_never_was(&s->log[o->log], o->name)) {
		f.kind = FAULT_EMPTY_SEGMENT;
		f.nature = FAULT_CRASH;
		if (!s->read_only)
			sys_unlink_at(s->log[o->log].dir, o->name);
	}
	s->damaged |= f.kind == FAULT_HEADER_LOST;
	memcpy(f.other, o->other, sizeof(f.other));
	return fault_say(p, o->log, o->name, &f);
}

static int replay_oddities(struct replay *p)
{
	int r = 0;

	for (size_t i = 0; i < p->s->oddity_count && r == 0; i++)
		r = oddity_say(p, &p->s->oddity[i]);
	return r;
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

int replay_spool(struct spool *s, spool_replay_fn *each, fault_fn *fault, void *each_arg,
		 void *fault_arg)
{
	_cleanup_(replay_done_p) struct replay p = {
		.s = s, .each = each, .fault = fault, .arg = each_arg, .fault_arg = fault_arg
	};
	_cleanup_(readers_done) struct reader readers[SPOOL_LOGS] = { 0 };
	int r;

	buf_init(&p.state, FORMAT_PAYLOAD_MAX);
	r = replay_oddities(&p);
	for (size_t i = 0; i < SPOOL_LOGS; i++) {
		readers[i].replay = &p;
		readers[i].log = (enum spool_log)i;
	}
	if (r == 0)
		r = replay_logs(&p, readers);
	if (r == 0)
		r = drop_orphans(&p);
	return r == 0 ? big_settle(s, fault, fault_arg) : r;
}

struct telling {
	spool_damage_fn *damage;
	void *arg;
};

static int tell_fault(void *arg, const struct fault *f)
{
	const struct telling *t = arg;
	char text[FAULT_TEXT_SIZE];

	if (t->damage)
		t->damage(t->arg, f->file, f->offset, fault_text(f, text));
	return 0;
}

/* Whoever wrote here last may have died before its sync, or because of it. What the kernel's cache shows
 * us of the newest segment is then on no disk, and whatever we would delete because of it would be lost
 * with the next power cut. So: sync, and read it from the device, since a sync that failed once may claim
 * success the next time. Earlier segments were left only when all of them was durable. */
static int believe_the_disk(struct spool *s)
{
	int r = sys_sync(s->big_dir);

	for (size_t i = 0; r == 0 && i < SPOOL_LOGS; i++) {
		struct segment *newest = newest_segment(s, s->log[i].kind);

		r = sys_sync(s->log[i].dir);
		if (r < 0 || !newest)
			continue;
		r = segment_fd(s, newest);
		if (r >= 0)
			r = sys_sync_data(newest->fd);
		if (r == 0)
			sys_forget_cache(newest->fd);
	}
	return r;
}

int spool_replay(struct spool *s, spool_replay_fn *each, spool_damage_fn *damage, void *arg)
{
	struct telling t = { damage, arg };
	int r;

	must(!s->replayed && !s->read_only);
	r = believe_the_disk(s);
	if (r < 0)
		return r;
	r = replay_spool(s, each, tell_fault, arg, &t);
	if (r != 0)
		return r;
	segment_trim_fds(s);
	/* Numbers of an unreadable record are never used again: the next start counts from higher up. Nor those of
	 * an unreadable segment: every start that wrote made one. */
	s->start = MAX(s->start + 1, s->next_serial);
	s->sequence = s->start << 32;
	s->replayed = true;
	return 0;
}
