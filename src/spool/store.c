/* What callers do all day: append, mark, sync. */
#include "spool/inside.h"

#include "base/crc32c.h"
#include "base/wrong.h"
#include "task/sys.h"

#define NO_SPACE_REST (5 * NSEC_S) /* after a refusal it is tried again this much later */

static uint64_t padded(uint64_t n)
{
	return (n + FORMAT_ALIGN - 1) / FORMAT_ALIGN * FORMAT_ALIGN;
}

/* Payload and, unless it is big, body behind the header's place in the batch buffer. */
static int append_fill(char *at, struct record_header *h, str envelope, int body_fd)
{
	char *body = at + sizeof(*h) + envelope.n;
	ssize_t got;

	if (envelope.n > 0)
		memcpy(at + sizeof(*h), envelope.p, envelope.n);
	if (h->flags & RECORD_BIG)
		return 0;
	got = sys_read_at(body_fd, body, h->body_bytes, 0);
	if (got < 0)
		return (int)got;
	if ((uint64_t)got != h->body_bytes)
		return -EINVAL;
	h->body_crc32c = crc32c(0, str_mem(body, h->body_bytes));
	return 0;
}

static int append_record(struct spool *s, struct record_header *h, str envelope, int body_fd)
{
	struct spool_logfile *l = &s->log[SPOOL_QUEUE];
	uint64_t bytes = padded(sizeof(*h) + envelope.n + record_inline_bytes(h));
	struct entry *e;
	struct place place;
	char *at;
	int r;

	r = log_room(s, l, bytes, SPACE_MESSAGE, &at);
	if (r < 0)
		return r;
	r = append_fill(at, h, envelope, body_fd);
	if (r < 0)
		return r;
	r = index_add(s, h->id, &e);
	if (r < 0)
		return r;
	log_commit(s, l, at, h, &place);
	e->big = h->flags & RECORD_BIG;
	entry_message(s, e, l->open, place);
	return 0;
}

static int append(struct task *tk, struct spool *s, msg_id id, str envelope, int body_fd,
		  uint64_t body_bytes)
{
	struct record_header h = {
		.id = id,
		.written_wall = sys_now_wall(),
		.body_bytes = body_bytes,
		.payload_bytes = (uint32_t)envelope.n,
		.payload_crc32c = crc32c(0, envelope),
		.type = RECORD_MESSAGE,
	};
	int r;

	must(s->replayed);
	segment_trim_fds(s);
	if (s->failed)
		return s->failed;
	if (envelope.n > FORMAT_PAYLOAD_MAX)
		return -EMSGSIZE;
	/* One that is done counts as well, as long as anything of it is on disk. */
	if (index_find(s, id))
		return -EEXIST;
	if (body_bytes <= s->options.big_body_bytes)
		return append_record(s, &h, envelope, body_fd);
	r = space_for_message(s, body_bytes);
	if (r < 0)
		return r;
	r = big_write(tk, s, id, body_fd, body_bytes, &h.body_crc32c);
	if (r < 0)
		return r;
	h.flags = RECORD_BIG;
	r = append_record(s, &h, envelope, -1);
	if (r < 0)
		big_discard(s, id);
	return r;
}

int spool_append(struct task *tk, struct spool *s, msg_id id, str envelope, int body_fd,
		 uint64_t body_bytes)
{
	int r = append(tk, s, id, envelope, body_fd, body_bytes);

	if (r == -ENOSPC)
		s->no_space_at = sys_now();
	else if (r == 0)
		s->no_space_at = 0;
	return r;
}

int spool_mark(struct spool *s, enum spool_event event, msg_id id, str state)
{
	struct record_header h = {
		.id = id,
		.written_wall = sys_now_wall(),
		.payload_bytes = (uint32_t)state.n,
		.payload_crc32c = crc32c(0, state),
		.type = event == SPOOL_DONE ? RECORD_DONE : RECORD_STATE,
	};
	struct entry *e = index_find(s, id);
	struct spool_logfile *l;
	struct place place;
	char *at;
	int r;

	must(s->replayed && event != SPOOL_MESSAGE);
	segment_trim_fds(s);
	if (!e || e->dead)
		return -ENOENT;
	if (state.n > FORMAT_PAYLOAD_MAX)
		return -EMSGSIZE;
	/* Beside its message: a log read alone tells the truth about its own messages. */
	l = &s->log[segment_find(s, e->message.serial)->log];
	r = log_room(s, l, padded(sizeof(h) + state.n), SPACE_MARK, &at);
	if (r < 0)
		return r;
	if (e->big && event == SPOOL_DONE) {
		r = big_unlink_later_reserve(s);
		if (r < 0)
			return r;
	}
	if (state.n > 0)
		memcpy(at + sizeof(h), state.p, state.n);
	log_commit(s, l, at, &h, &place);
	entry_mark(s, e, l->open, place, event == SPOOL_DONE);
	if (e->big && event == SPOOL_DONE)
		big_unlink_later(s, id);
	return 0;
}

int spool_sync(struct spool *s)
{
	int r = s->failed;

	segment_trim_fds(s);
	if (r == 0 && s->big_dirty && !WRONG(NO_DIRECTORY_SYNC))
		r = sys_sync(s->big_dir);
	for (size_t i = 0; r == 0 && i < SPOOL_LOGS; i++)
		r = log_sync(s, &s->log[i]);
	if (r < 0) {
		s->failed = r;
		return r;
	}
	s->big_dirty = false;
	big_unlink_now(s);
	return 0;
}

int spool_failure(const struct spool *s)
{
	return s->failed;
}

size_t spool_batch_bytes(const struct spool *s)
{
	size_t n = 0;

	for (size_t i = 0; i < SPOOL_LOGS; i++)
		if (s->log[i].open)
			n += s->log[i].open->end - s->log[i].open->synced;
	return n;
}

int spool_usage(struct spool *s, struct spool_usage *ret_usage)
{
	struct spool_usage u = {
		.messages = s->messages,
		.live_bytes = s->live_bytes + s->big_bytes,
		.disk_bytes = s->big_bytes,
		.segments = s->segment_count,
	};
	int r;

	r = space_available(s, &u.free_bytes);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->segment_count; i++)
		u.disk_bytes += s->segment[i]->allocated;
	/* The file system may say no before its own figure does; whoever was just refused is right. */
	u.below_reserve = u.free_bytes < s->options.reserve_bytes ||
			  (s->no_space_at && sys_now() - s->no_space_at < NO_SPACE_REST);
	*ret_usage = u;
	return 0;
}
