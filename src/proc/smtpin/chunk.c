/*
 * A message by BDAT (RFC 3030 §2): chunks of announced size, one a command. Whatever the answer to a BDAT will
 * be, its octets follow it and are read first: they are never commands. Where they cannot be counted,
 * or are too many to be read for nothing, the session ends.
 */
#include "proc/smtpin/intake.h"

static void take_pending(struct intake *in)
{
	str pending = stream_pending(&in->s->stream);
	str rest = pending, run;

	while (chunk_next(&in->chunk, &rest, &run))
		intake_add(in, run);
	in->pace.bytes += pending.n - rest.n;
	stream_consume(&in->s->stream, pending.n - rest.n);
}

/* The chunk into the message. */
static int take_octets(struct task *tk, struct intake *in, uint64_t bytes, bool last)
{
	struct chunk *c = &in->chunk;
	ssize_t got;

	if (intake_is_endless(in, bytes))
		return -EFBIG;
	chunk_begin(c, bytes, last);
	for (take_pending(in); !chunk_done(c); take_pending(in)) {
		got = session_fill(tk, in->s, pace_deadline(tk, &in->pace));
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
	/* A CR may still find its LF in the next chunk. */
	in->bare = c->bare_cr || c->bare_lf || (last && c->after_cr);
	in->any_8bit = c->any_8bit;
	return 0;
}

int session_skip_chunk(struct task *tk, struct session *s, uint64_t bytes)
{
	struct pace pace = { .started = task_now(tk) };

	if (bytes / 2 > s->settings->conf->limits.message_bytes)
		return -EFBIG;
	for (;;) {
		size_t n = MIN(bytes - pace.bytes, stream_pending(&s->stream).n);
		ssize_t got;

		stream_consume(&s->stream, n);
		pace.bytes += n;
		if (pace.bytes == bytes)
			return 0;
		got = session_fill(tk, s, pace_deadline(tk, &pace));
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
}

/* Not the last one. A message that is not wanted is refused now: the client need not send the rest. */
static int answer_chunk(struct task *tk, struct session *s, bool *ret_over)
{
	enum answer a = intake_objection(s->intake);

	*ret_over = a != ANSWER_OK;
	if (!*ret_over)
		return session_answer(tk, s, ANSWER_CHUNK_TAKEN);
	intake_refuse(s->intake, a);
	s->mail_refused = true;
	return session_answer(tk, s, a);
}

int session_take_chunk(struct task *tk, struct session *s, uint64_t bytes, bool last,
		       bool *ret_over, enum answer *ret_last_words)
{
	int r = 0;

	*ret_over = true;
	if (!s->intake)
		r = intake_begin(tk, s);
	if (r < 0) {
		*ret_last_words = ANSWER_BUSY;
		return r;
	}
	r = take_octets(tk, s->intake, bytes, last);
	if (r < 0) {
		*ret_last_words = intake_give_up(s->intake, r);
		return r;
	}
	if (!last)
		return answer_chunk(tk, s, ret_over);
	return intake_conclude(tk, s->intake);
}
