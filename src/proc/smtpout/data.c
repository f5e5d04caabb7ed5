#include "proc/smtpout/steps.h"

#include "base/crc32c.h"
#include "base/wrong.h"
#include "task/sys.h"

#include <stdlib.h>

/* DATA ends every line: what has no end is told from outside of it. */
static bool ends_without_line_end(const struct handover *h)
{
	char last[2];

	if (h->body_bytes < sizeof(last))
		return h->body_bytes > 0;
	return sys_read_at(h->body_fd, last, sizeof(last),
			   h->body_offset + h->body_bytes - sizeof(last)) == sizeof(last) &&
	       memcmp(last, "\r\n", sizeof(last)) != 0;
}

/* Fills the chunk with the next bytes of the body and checks them. Never parks. */
static int read_chunk(struct transaction *t)
{
	struct handover *h = t->h;
	size_t want = (size_t)MIN(h->body_bytes - t->body_at, (uint64_t)CONN_CHUNK_BYTES);
	ssize_t got;

	if (!t->c->chunk)
		t->c->chunk = malloc(CONN_CHUNK_BYTES);
	if (!t->c->chunk)
		return ending_lost(t, -ENOMEM);
	got = want ? sys_read_at(h->body_fd, t->c->chunk, want, h->body_offset + t->body_at) : 0;
	if (got < 0)
		return ending_corrupt(t, "the spool cannot read the message");
	if ((size_t)got < want)
		return ending_corrupt(t, "the message in the spool is shorter than it was");
	t->chunk_bytes = want;
	t->body_at += want;
	t->crc = crc32c(t->crc, (str){ t->c->chunk, want });
	if (t->body_at == h->body_bytes && t->crc != h->body_crc32c)
		return ending_corrupt(t, "the message in the spool does not match its checksum");
	return 0;
}

/* Also by BDAT no bare CR or LF leaves unless the message was declared binary: what the host hands
 * on may take it for a line end. -EBADMSG: there is one. */
static int check_lines(struct transaction *t)
{
	str in = { t->c->chunk, t->chunk_bytes }, piece;
	int r;

	while ((r = dot_out_next(&t->dots, &in, &piece)) == 1) {
	}
	return r == 0 && t->body_at == t->h->body_bytes ? dot_out_end(&t->dots, &piece) : r;
}

static int write_chunk(struct task *tk, struct transaction *t)
{
	str in = { t->c->chunk, t->chunk_bytes }, piece;
	int r;

	if (t->chunked) {
		r = t->h->body_binarymime ? 0 : check_lines(t);
		return r < 0 ? r
			     : stream_write(tk, &t->c->stream, in,
					    ending_limit(tk, t, t->c->limits->block));
	}
	while ((r = dot_out_next(&t->dots, &in, &piece)) == 1) {
		r = stream_write(tk, &t->c->stream, piece,
				 ending_limit(tk, t, t->c->limits->block));
		if (r < 0)
			return r;
	}
	return r;
}

/* The host hung up in mid-message: it may have said why before. */
static int last_words(struct task *tk, struct transaction *t, int error)
{
	if (error == -ETIMEDOUT || error == -ECANCELED)
		return ending_lost(t, error);
	if (conn_reply(tk, t->c, ending_limit(tk, t, LAST_WORDS_WAIT)) < 0 ||
	    reply_class(&t->c->reply) < 4)
		return ending_lost(t, error);
	if (t->c->reply.code == 421)
		return ending_closing(t);
	t->c->broken = true;
	conn_explain_reply(t->c, ending_step(t));
	ending_explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	ending_settle_reply(t);
	return error;
}

/* The final dot, or nothing where the octets were counted. */
static int end_of_body(struct transaction *t, str *ret_end)
{
	*ret_end = STR_NONE;
	if (t->chunked)
		return 0;
	if (!t->dots.line_start && !t->dots.after_cr)
		t->h->notes |= NOTE_LINE_ENDED;
	return dot_out_end(&t->dots, ret_end);
}

/* Everything up to the final dot; the first chunk is there already. 0: all of it left. */
static int send_body(struct task *tk, struct transaction *t)
{
	struct handover *h = t->h;
	nsec block = t->c->limits->block;
	str end;
	int r;

	t->step = STEP_BODY;
	r = stream_write(tk, &t->c->stream, h->received, ending_limit(tk, t, block));
	while (r >= 0) {
		r = write_chunk(tk, t);
		if (r < 0 || t->body_at == h->body_bytes)
			break;
		r = read_chunk(t);
		if (r < 0)
			return r;
	}
	if (r >= 0)
		r = end_of_body(t, &end);
	if (r == -EBADMSG)
		return ending_corrupt(t, "the message in the spool has a bare CR or LF");
	if (r >= 0)
		r = stream_write(tk, &t->c->stream, end, ending_limit(tk, t, block));
	if (r >= 0)
		r = stream_flush(tk, &t->c->stream, ending_limit(tk, t, block));
	return r < 0 ? last_words(tk, t, r) : 0;
}

/* What only a build that is wrong on purpose does (base/wrong.h). */
static inline int pretend_accepted(struct transaction *t)
{
	t->c->reply.code = 250;
	t->c->broken = true;
	return 0;
}

static int deliver_body(struct task *tk, struct transaction *t)
{
	int r = send_body(tk, t);

	if (r < 0)
		return r;
	/* From here on the message may be theirs, whatever we hear. */
	t->step = STEP_FINAL;
	r = WRONG(DONE_BEFORE_REPLY) ? pretend_accepted(t)
				     : ending_next_reply(tk, t, t->c->limits->final);
	if (r < 0)
		return r;
	if (reply_class(&t->c->reply) == 3)
		return ending_lost(t, -EPROTO);
	conn_explain_reply(t->c, ending_step(t));
	ending_explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	ending_settle_reply(t);
	/* RFC 3030 §2: a BDAT that failed leaves the transaction open. */
	t->c->reset_first = t->chunked && reply_class(&t->c->reply) != 2;
	return 0;
}

/* 354 although no recipient was taken: nothing is what we send (RFC 2920 §3.1), and whatever they
 * say to it means nothing. */
static int send_lone_dot(struct task *tk, struct transaction *t)
{
	nsec deadline = ending_limit(tk, t, t->c->limits->command);
	int r = stream_write(tk, &t->c->stream, STR(".\r\n"), deadline);

	if (r >= 0)
		r = stream_flush(tk, &t->c->stream, deadline);
	if (r >= 0)
		r = conn_reply(tk, t->c, deadline);
	t->c->broken = r < 0 || t->c->reply.code == 421;
	t->c->reset_first = false;
	return r;
}

/* Those who were perhaps only too many wait for the next transaction when this one has somebody to
 * go to. */
static void sort_out_too_many(struct transaction *t)
{
	for (size_t i = 0; t->accepted > 0 && i < t->h->recipient_count; i++) {
		if (t->h->recipients[i].over)
			t->h->recipients[i].outcome = LOCUM__OUTCOME__OUTCOME_NONE;
	}
}

/* DATA and all replies that are still to come. 0 with *ret_go: the body may follow. */
static int ask_data(struct task *tk, struct transaction *t, bool *ret_go)
{
	const struct reply *reply = &t->c->reply;
	int r;

	*ret_go = false;
	if (t->mail_failed || (t->accepted == 0 && t->replied == t->h->recipient_count))
		return 0;
	r = ENVELOPE_PUT(tk, t, STR("DATA\r\n"));
	if (r >= 0)
		r = envelope_flush(tk, t);
	/* While the host thinks: it costs no time then. */
	if (r >= 0)
		r = read_chunk(t);
	if (r >= 0)
		r = envelope_take_replies(tk, t);
	if (r < 0)
		return r;
	sort_out_too_many(t);
	t->step = STEP_DATA;
	r = ending_next_reply(tk, t, t->c->limits->data);
	if (r < 0)
		return r;
	if (reply_class(reply) == 3) {
		*ret_go = true;
		return 0;
	}
	/* 2xx: the host counts differently than we do; nothing on this connection means anything
	 * now. */
	if (reply_class(reply) == 2)
		return ending_lost(t, -EPROTO);
	if (t->accepted > 0) {
		conn_explain_reply(t->c, ending_step(t));
		ending_explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
		ending_settle_reply(t);
	}
	return 0;
}

/* The same for BDAT, which goes out when it is known that somebody gets it. RFC 3030 §2: the host
 * reads the chunk in any case, so it follows at once. */
static int ask_chunk(struct task *tk, struct transaction *t, bool *ret_go)
{
	char line[40];
	int r = envelope_flush(tk, t);

	*ret_go = false;
	if (r >= 0)
		r = envelope_take_replies(tk, t);
	if (r < 0 || t->mail_failed || t->accepted == 0)
		return r;
	sort_out_too_many(t);
	r = read_chunk(t);
	if (r < 0)
		return r;
	snprintf(line, sizeof(line), "BDAT %ju LAST\r\n",
		 (uintmax_t)(t->h->received.n + t->h->body_bytes));
	t->step = STEP_BODY;
	*ret_go = true;
	return ENVELOPE_PUT(tk, t, str_of(line));
}

int data_send(struct task *tk, struct transaction *t)
{
	const struct handover *h = t->h;
	bool go = false;
	int r;

	t->chunked = h->body_binarymime || (ehlo_offers(&t->c->ehlo, EHLO_CHUNKING) &&
					    (h->in_haste || ends_without_line_end(h)));
	r = t->chunked ? ask_chunk(tk, t, &go) : ask_data(tk, t, &go);
	if (r < 0 || !go)
		return r;
	return t->accepted > 0 ? deliver_body(tk, t) : send_lone_dot(tk, t);
}
