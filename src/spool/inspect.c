#include "spool/inspect.h"

#include "base/cleanup.h"
#include "spool/inside.h"
#include "task/sys.h"
#include <fcntl.h>

#define FAULTS_MAX ((size_t)1000000)
#define TRIES 3

/* --- reading it all --- */

static int fault_keep(void *arg, const struct fault *f)
{
	struct spool *s = arg;

	if (s->fault_count == FAULTS_MAX)
		return 0;
	if (ARRAY_RESERVE(s->fault, s->fault_cap, s->fault_count + 1) < 0)
		return -ENOMEM;
	s->fault[s->fault_count++] = *f;
	return 0;
}

static int fault_add(struct spool *s, const char *file, enum fault_kind kind)
{
	struct fault f = { .kind = kind, .nature = FAULT_DAMAGE };

	str_copy(str_of(file), f.file, sizeof(f.file));
	return fault_keep(s, &f);
}

static int open_part(struct spool *s, const char *name, int *ret_fd)
{
	int fd = sys_open_at(s->dir, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd == -ENOENT)
		return fault_add(s, name, FAULT_DIRECTORY);
	if (fd >= 0)
		*ret_fd = fd;
	return MIN(fd, 0);
}

/* 1: s->id is known, 0: it is not. */
static int open_identity(struct spool *s, bool lock)
{
	int fd = sys_open_at(s->dir, "lock", O_RDONLY, 0), r;

	if (fd == -ENOENT)
		return fault_add(s, "lock", FAULT_LOCK);
	if (fd < 0)
		return fd;
	s->lock = fd;
	r = lock ? sys_lock(fd) : 0;
	if (r == 0)
		r = identity_read(s);
	return r == 0 ? fault_add(s, "lock", FAULT_LOCK) : r;
}

static int open_parts(struct spool *s, const char *dir, bool lock)
{
	int named, r;

	s->dir = sys_open_dir(dir);
	if (s->dir < 0)
		return s->dir;
	named = open_identity(s, lock);
	if (named == -EPROTONOSUPPORT)
		return fault_add(s, "lock", FAULT_VERSION);
	if (named < 0)
		return named;
	r = open_part(s, "big", &s->big_dir);
	for (size_t i = 0; i < SPOOL_LOGS && r == 0; i++)
		r = open_part(s, log_name(s->log[i].kind), &s->log[i].dir);
	if (r < 0)
		return r;
	/* Some folder, but no spool. */
	if (s->lock < 0 && s->log[SPOOL_QUEUE].dir < 0 && s->log[SPOOL_HELD].dir < 0)
		return -ENOENT;
	return list_segments(s, named);
}

/* --- what a fault costs --- */

static bool done_after(const struct spool *s, msg_id id, uint64_t sequence)
{
	for (size_t i = 0; i < s->lone_done_count; i++)
		if (id_eq(s->lone_done[i].id, id) && s->lone_done[i].sequence > sequence)
			return true;
	return false;
}

/* Sequence of the record at a place; 0: there is none. */
static uint64_t sequence_at(struct spool *s, struct place at, msg_id id)
{
	struct record_header h;

	return at.serial && read_header(s, at, id, &h) == 0 ? h.sequence : 0;
}

static enum fault_loss record_loss(struct spool *s, const struct fault *f)
{
	struct entry *e = index_find(s, f->id);
	bool alive = e && !e->dead;

	switch ((enum record_type)f->type) {
	case RECORD_MESSAGE:
		if (e || done_after(s, f->id, f->sequence))
			return LOSS_NOTHING;
		return f->kind == FAULT_BODY ? LOSS_BODY : LOSS_MESSAGE;
	case RECORD_STATE:
		return alive && sequence_at(s, e->mark, f->id) < f->sequence ? LOSS_STATE
									     : LOSS_NOTHING;
	case RECORD_DONE:
		return alive && sequence_at(s, e->message, f->id) < f->sequence ? LOSS_DONE
										: LOSS_NOTHING;
	}
	return LOSS_UNKNOWN;
}

static enum fault_loss loss_of(struct spool *s, const struct fault *f)
{
	if (f->nature != FAULT_DAMAGE)
		return LOSS_NOTHING;
	switch (f->kind) {
	case FAULT_RECORD_SHORT:
	case FAULT_PAYLOAD:
	case FAULT_BODY:
		return record_loss(s, f);
	case FAULT_BIG_MISSING:
	case FAULT_BIG_SIZE:
	case FAULT_BIG_BODY:
		return LOSS_BODY;
	case FAULT_VERSION:
	case FAULT_DIRECTORY:
	case FAULT_FOREIGN_SPOOL:
	case FAULT_WRONG_NAME:
	case FAULT_HEADER_LOST:
	case FAULT_CUT_SHORT:
	case FAULT_RECORD_HEADER:
		return LOSS_UNKNOWN;
	case FAULT_LOCK:
	case FAULT_FOREIGN_FILE:
	case FAULT_DUPLICATE:
	case FAULT_HEADER_BLOCK:
	case FAULT_HEADER_BOTH:
	case FAULT_EMPTY_SEGMENT:
	case FAULT_PADDING:
	case FAULT_STATE_ALONE:
	case FAULT_BIG_ORPHAN:
		break;
	}
	return LOSS_NOTHING;
}

static bool is_damaged(const struct spool *s)
{
	for (size_t i = 0; i < s->fault_count; i++)
		if (s->fault[i].nature == FAULT_DAMAGE)
			return true;
	return false;
}

static int inspect_once(const char *dir, bool lock, struct spool **ret_spool)
{
	_cleanup_(spool_closep) struct spool *s = spool_new(NULL);
	int r;

	if (!s)
		return -ENOMEM;
	s->read_only = true;
	r = open_parts(s, dir, lock);
	if (r == 0)
		r = replay_spool(s, NULL, fault_keep, NULL, s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->fault_count; i++)
		s->fault[i].loss = loss_of(s, &s->fault[i]);
	*ret_spool = TAKE(s);
	return 0;
}

int inspect_open(const char *dir, bool lock, struct spool **ret_spool)
{
	_cleanup_(spool_closep) struct spool *s = NULL;

	for (int tried = 1;; tried++) {
		int r = inspect_once(dir, lock, &s);

		if (r < 0)
			return r;
		if (tried == TRIES || lock || !(s->vanished || is_damaged(s)))
			break;
		spool_close(TAKE(s));
	}
	*ret_spool = TAKE(s);
	return 0;
}

const struct fault *inspect_faults(const struct spool *s, size_t *ret_count)
{
	*ret_count = s->fault_count;
	return s->fault;
}

/* --- messages --- */

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(msg_id));
}

int inspect_ids(const struct spool *s, msg_id **ret_ids, size_t *ret_count)
{
	msg_id *ids = calloc(s->index.count + 1, sizeof(*ids));
	size_t n = 0;

	if (!ids)
		return -ENOMEM;
	for (struct map_link *at = map_walk(&s->index, NULL); at; at = map_walk(&s->index, at)) {
		const struct entry *e = CONTAINER(at, struct entry, link);

		if (!e->dead)
			ids[n++] = e->id;
	}
	qsort(ids, n, sizeof(*ids), by_id);
	*ret_ids = ids;
	*ret_count = n;
	return 0;
}

int inspect_message(struct spool *s, msg_id id, struct inspect_message *ret_message,
		    struct buf *envelope)
{
	struct entry *e = index_find(s, id);
	struct record_header h;
	int r;

	if (!e || e->dead)
		return -ENOENT;
	segment_trim_fds(s);
	r = read_payload(s, e->message, id, envelope, &h);
	if (r < 0)
		return r;
	*ret_message = (struct inspect_message){
		.log = segment_find(s, e->message.serial)->log,
		.written_wall = h.written_wall,
		.body_bytes = h.body_bytes,
		.body_crc32c = h.body_crc32c,
		.big = e->big,
	};
	return 0;
}

static struct segment *segment_of_fault(struct spool *s, const struct fault *f)
{
	for (size_t i = 0; i < s->segment_count; i++) {
		struct segment *seg = s->segment[i];
		char name[SEGMENT_NAME_SIZE], file[FAULT_FILE_SIZE];

		segment_name(seg->log, seg->day, seg->serial, name);
		snprintf(file, sizeof(file), "%s/%s", log_name(seg->log), name);
		if (strcmp(file, f->file) == 0)
			return seg;
	}
	return NULL;
}

static int record_remains(struct spool *s, const struct fault *f, struct buf *envelope,
			  struct spool_body *ret_body)
{
	struct segment *seg = segment_of_fault(s, f);
	struct place at;
	struct record_header h;
	int r;

	if (!seg)
		return -ENOENT;
	at = place_make(seg, f->offset, f->bytes);
	seg->written = MAX(seg->written, f->offset + f->bytes);
	r = read_payload(s, at, f->id, envelope, &h);
	if (r < 0)
		return r;
	*ret_body = (struct spool_body){ .fd = segment_fd(s, seg),
					 .offset = f->offset + sizeof(h) + h.payload_bytes,
					 .bytes = h.body_bytes,
					 .crc32c = h.body_crc32c };
	return MIN(ret_body->fd, 0);
}

int inspect_remains(struct spool *s, const struct fault *f, struct buf *envelope,
		    struct spool_body *ret_body)
{
	struct inspect_message m;
	char name[BIG_NAME_SIZE];
	int fd, r;

	segment_trim_fds(s);
	if (f->kind == FAULT_BODY)
		return record_remains(s, f, envelope, ret_body);
	r = inspect_message(s, f->id, &m, envelope);
	if (r == 0)
		r = ARRAY_RESERVE(s->read_fd, s->read_fd_cap, s->read_fd_n + 1);
	if (r < 0)
		return r;
	big_name(f->id, name);
	fd = sys_open_at(s->big_dir, name, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	s->read_fd[s->read_fd_n++] = fd;
	*ret_body = (struct spool_body){ .fd = fd, .crc32c = m.body_crc32c };
	return sys_size(fd, &ret_body->bytes);
}

/* --- totals --- */

static bool is_gone(const struct spool *s, const struct segment *teller)
{
	for (size_t i = 0; i < s->segment_count; i++)
		if (s->segment[i]->serial == teller->seals)
			return false;
	return teller->seals != 0;
}

void inspect_count(const struct spool *s, struct inspect_totals *ret_totals)
{
	*ret_totals =
		(struct inspect_totals){ .segments = s->segment_count, .messages = s->messages };

	for (size_t i = 0; i < s->segment_count; i++) {
		ret_totals->records_bytes += s->segment[i]->end - FORMAT_RECORDS_AT;
		ret_totals->gone += is_gone(s, s->segment[i]);
	}
	for (struct map_link *at = map_walk(&s->index, NULL); at; at = map_walk(&s->index, at)) {
		const struct entry *e = CONTAINER(at, struct entry, link);

		if (e->dead)
			continue;
		ret_totals->held += spool_is_held(s, e->id);
		ret_totals->big_bodies += e->big;
	}
}

void inspect_gone(const struct spool *s, uint64_t n, char ret_file[static FAULT_FILE_SIZE])
{
	ret_file[0] = '\0';
	for (size_t i = 0; i < s->segment_count; i++)
		if (is_gone(s, s->segment[i]) && n-- == 0)
			snprintf(ret_file, FAULT_FILE_SIZE, "%s/%s%010u.seg",
				 log_name(s->segment[i]->log),
				 s->segment[i]->log == SPOOL_HELD ? "*-" : "",
				 s->segment[i]->seals);
}
