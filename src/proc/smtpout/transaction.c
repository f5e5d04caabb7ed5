#include "proc/smtpout/transaction.h"

#include "base/crc32c.h"
#include "base/wrong.h"
#include "proc/smtpout/needs.h"
#include "smtp/dot_out.h"
#include "task/sys.h"

#include <stdlib.h>

/* Recipients go out in batches that fit any socket buffer, so that neither side waits for the other
 * to read (RFC 2920 §3.1). */
#define BATCH_BYTES (8 * 1024)
/* For the reply of a host that hung up on us in mid-message. */
#define LAST_WORDS_WAIT (2 * NSEC_S)
#define ADDRESS_MAX 1024
#define PARAMETER_MAX 1024

enum step { STEP_RSET, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_BODY, STEP_FINAL };

static const char *const step_names[] = {
	[STEP_RSET] = "RSET", [STEP_MAIL] = "MAIL",        [STEP_RCPT] = "RCPT",
	[STEP_DATA] = "DATA", [STEP_BODY] = "the message", [STEP_FINAL] = "the final dot",
};

static const char *const note_texts[] = {
	"8-bit body to a host without 8BITMIME",
	"DSN parameters dropped: the host does not offer DSN",
	"ORCPT dropped: it is not ASCII and the message went without SMTPUTF8",
	"went without SMTPUTF8, which the host does not offer: only domains were not ASCII",
	"a CRLF was added behind the last line: the host does not offer CHUNKING",
};

_Static_assert(ELEMENTS(note_texts) == HANDOVER_NOTES, "a text for each note");

struct transaction {
	struct conn *c;
	struct handover *h;
	nsec started, ends;
	enum step step;   /* whose reply comes next */
	bool pipelining;  /* several commands a write */
	bool reset_asked; /* RSET was sent and its reply is to come */
	bool answered;    /* the host said anything at all in this transaction */
	bool mail_failed;
	bool chunked;   /* BDAT instead of DATA */
	size_t asked;   /* recipients whose RCPT was sent */
	size_t replied; /* of those, whose reply came */
	size_t accepted;
	/* the body */
	uint64_t body_at; /* bytes read so far */
	size_t chunk_bytes;
	uint32_t crc;
	struct dot_out dots;
};

static const char *step_name(const struct transaction *t)
{
	return t->chunked && t->step == STEP_FINAL ? "the last chunk" : step_names[t->step];
}

static nsec limit(struct task *tk, const struct transaction *t, nsec duration)
{
	return MIN(task_in(tk, duration), t->ends);
}

/* --- how it ends --- */

static str words(struct transaction *t)
{
	char line[1024];

	return arena_str(t->h->arena, reply_one_line(&t->c->reply, line,
						     MIN(sizeof(line), t->h->reply_bytes_max)));
}

/* For every recipient that RCPT let through, or for all where it never came to that. */
static void settle(struct transaction *t, Locum__Outcome outcome, str reply)
{
	struct handover *h = t->h;

	for (size_t i = 0; i < h->recipient_count; i++) {
		struct handover_recipient *to = &h->recipients[i];

		if (to->outcome == LOCUM__OUTCOME__OUTCOME_NONE &&
		    (to->accepted || t->mail_failed)) {
			to->outcome = outcome;
			to->reply = reply;
		}
	}
}

static void explain(struct transaction *t, Locum__Attempt attempt)
{
	t->h->attempt = attempt;
	str_copy(str_of(t->c->why), t->h->text, sizeof(t->h->text));
}

static bool was_stale(struct transaction *t)
{
	t->h->stale = t->c->reused && !t->answered;
	return t->h->stale;
}

/* The connection broke or ran out of time, or the host talks nonsense. Returns the error. */
static int lost(struct transaction *t, int error)
{
	t->c->broken = true;
	if (error != -ETIMEDOUT && error != -ECANCELED && was_stale(t))
		return error;
	conn_explain_error(t->c, error, step_name(t));
	explain(t, LOCUM__ATTEMPT__ATTEMPT_LOST);
	switch (t->step) {
	case STEP_RSET:
	case STEP_MAIL:
	case STEP_RCPT:
	case STEP_DATA:
		break;
	case STEP_BODY:
		if (error != -ECANCELED)
			settle(t, LOCUM__OUTCOME__OUTCOME_DEFERRED,
			       arena_str(t->h->arena, str_of(t->c->why)));
		break;
	case STEP_FINAL:
		settle(t, LOCUM__OUTCOME__OUTCOME_AMBIGUOUS,
		       arena_str(t->h->arena, str_of(t->c->why)));
		break;
	}
	return error;
}

/* 421 (the host closes the connection, RFC 5321 §3.8) and what is as good as that. */
static int closing(struct transaction *t)
{
	t->c->broken = true;
	if (was_stale(t))
		return -ECONNRESET;
	conn_explain_reply(t->c, step_name(t));
	explain(t, LOCUM__ATTEMPT__ATTEMPT_REFUSING);
	switch (t->step) {
	case STEP_RSET:
	case STEP_MAIL:
		break;
	case STEP_RCPT:
		if (t->mail_failed)
			break;
		t->h->recipients[t->replied].outcome = LOCUM__OUTCOME__OUTCOME_DEFERRED;
		t->h->recipients[t->replied].reply = words(t);
		break;
	case STEP_DATA:
	case STEP_BODY:
	case STEP_FINAL:
		settle(t, LOCUM__OUTCOME__OUTCOME_DEFERRED, words(t));
		break;
	}
	return -ECONNRESET;
}

/* What the spool gave is not what it stored: the final dot must not leave. */
static int corrupt(struct transaction *t, const char *what)
{
	struct handover *h = t->h;
	str reply = arena_str(h->arena, str_of(what));

	t->c->broken = true;
	h->attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
	str_copy(str_of(what), h->text, sizeof(h->text));
	for (size_t i = 0; i < h->recipient_count; i++) {
		h->recipients[i].outcome = LOCUM__OUTCOME__OUTCOME_CORRUPT;
		h->recipients[i].reply = reply;
	}
	return -EBADMSG;
}

static Locum__Outcome verdict(const struct reply *r)
{
	switch (reply_class(r)) {
	case 2:
		return LOCUM__OUTCOME__OUTCOME_DELIVERED;
	case 4:
		return LOCUM__OUTCOME__OUTCOME_DEFERRED;
	default:
		return LOCUM__OUTCOME__OUTCOME_REFUSED;
	}
}

/* The next reply is in c->reply; 421 and failures end the transaction. */
static int next_reply(struct task *tk, struct transaction *t, nsec duration)
{
	int r = conn_reply(tk, t->c, limit(tk, t, duration));

	if (r < 0)
		return lost(t, r);
	if (t->c->reply.code == 421)
		return closing(t);
	t->answered = true;
	return 0;
}

/* --- the body --- */

/* Fills the chunk with the next bytes of the body and checks them. Never parks. */
static int read_chunk(struct transaction *t)
{
	struct handover *h = t->h;
	size_t want = (size_t)MIN(h->body_bytes - t->body_at, (uint64_t)CONN_CHUNK_BYTES);
	ssize_t got;

	if (!t->c->chunk)
		t->c->chunk = malloc(CONN_CHUNK_BYTES);
	if (!t->c->chunk)
		return lost(t, -ENOMEM);
	got = want ? sys_read_at(h->body_fd, t->c->chunk, want, h->body_offset + t->body_at) : 0;
	if (got < 0)
		return corrupt(t, "the spool cannot read the message");
	if ((size_t)got < want)
		return corrupt(t, "the message in the spool is shorter than it was");
	t->chunk_bytes = want;
	t->body_at += want;
	t->crc = crc32c(t->crc, (str){ t->c->chunk, want });
	if (t->body_at == h->body_bytes && t->crc != h->body_crc32c)
		return corrupt(t, "the message in the spool does not match its checksum");
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
					    limit(tk, t, t->c->limits->block));
	}
	while ((r = dot_out_next(&t->dots, &in, &piece)) == 1) {
		r = stream_write(tk, &t->c->stream, piece, limit(tk, t, t->c->limits->block));
		if (r < 0)
			return r;
	}
	return r;
}

/* The host hung up in mid-message: it may have said why before. */
static int last_words(struct task *tk, struct transaction *t, int error)
{
	if (error == -ETIMEDOUT || error == -ECANCELED)
		return lost(t, error);
	if (conn_reply(tk, t->c, limit(tk, t, LAST_WORDS_WAIT)) < 0 ||
	    reply_class(&t->c->reply) < 4)
		return lost(t, error);
	if (t->c->reply.code == 421)
		return closing(t);
	t->c->broken = true;
	conn_explain_reply(t->c, step_names[STEP_BODY]);
	explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	settle(t, verdict(&t->c->reply), words(t));
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
	r = stream_write(tk, &t->c->stream, h->received, limit(tk, t, block));
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
		return corrupt(t, "the message in the spool has a bare CR or LF");
	if (r >= 0)
		r = stream_write(tk, &t->c->stream, end, limit(tk, t, block));
	if (r >= 0)
		r = stream_flush(tk, &t->c->stream, limit(tk, t, block));
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
	r = WRONG(DONE_BEFORE_REPLY) ? pretend_accepted(t) : next_reply(tk, t, t->c->limits->final);
	if (r < 0)
		return r;
	if (reply_class(&t->c->reply) == 3)
		return lost(t, -EPROTO);
	conn_explain_reply(t->c, step_name(t));
	explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	settle(t, verdict(&t->c->reply), words(t));
	/* RFC 3030 §2: a BDAT that failed leaves the transaction open. */
	t->c->reset_first = t->chunked && reply_class(&t->c->reply) != 2;
	return 0;
}

/* 354 although no recipient was taken: nothing is what we send (RFC 2920 §3.1), and whatever they
 * say to it means nothing. */
static int send_lone_dot(struct task *tk, struct transaction *t)
{
	nsec deadline = limit(tk, t, t->c->limits->command);
	int r = stream_write(tk, &t->c->stream, STR(".\r\n"), deadline);

	if (r >= 0)
		r = stream_flush(tk, &t->c->stream, deadline);
	if (r >= 0)
		r = conn_reply(tk, t->c, deadline);
	t->c->broken = r < 0 || t->c->reply.code == 421;
	t->c->reset_first = false;
	return r;
}

/* --- the envelope --- */

static int put(struct task *tk, struct transaction *t, const str *parts, size_t count)
{
	nsec deadline = limit(tk, t, t->c->limits->command);

	for (size_t i = 0; i < count; i++) {
		int r = stream_write(tk, &t->c->stream, parts[i], deadline);

		if (r < 0)
			return lost(t, r);
	}
	return 0;
}

#define PUT(tk, t, ...)                                                                            \
	put(tk, t, (const str[]){ __VA_ARGS__ }, sizeof((const str[]){ __VA_ARGS__ }) / sizeof(str))

static int flush(struct task *tk, struct transaction *t)
{
	int r = stream_flush(tk, &t->c->stream, limit(tk, t, t->c->limits->command));

	if (r == -EPIPE || r == -ECONNRESET) {
		/* A host that closed may have said why before: reading tells. */
		t->ends = limit(tk, t, LAST_WORDS_WAIT);
		return 0;
	}
	return r < 0 ? lost(t, r) : 0;
}

static str body_parameter(const struct transaction *t)
{
	if (t->h->body_binarymime)
		return STR(" BODY=BINARYMIME");
	if (t->h->body_8bitmime && ehlo_offers(&t->c->ehlo, EHLO_8BITMIME))
		return STR(" BODY=8BITMIME");
	return STR_NONE;
}

static bool with_smtputf8(const struct transaction *t)
{
	return t->h->smtputf8 && ehlo_offers(&t->c->ehlo, EHLO_SMTPUTF8);
}

/* " NAME" where there is a value to follow it and the host offers DSN. */
static str dsn_name(const struct transaction *t, const char *name, str value)
{
	return value.n && ehlo_offers(&t->c->ehlo, EHLO_DSN) ? str_of(name) : STR_NONE;
}

static str dsn_value(const struct transaction *t, str value)
{
	return ehlo_offers(&t->c->ehlo, EHLO_DSN) ? value : STR_NONE;
}

static int ask_mail(struct task *tk, struct transaction *t)
{
	const struct handover *h = t->h;
	const struct ehlo *e = &t->c->ehlo;
	char size[40] = "";

	if (ehlo_offers(e, EHLO_SIZE))
		snprintf(size, sizeof(size), " SIZE=%ju",
			 (uintmax_t)(h->body_bytes + h->received.n));
	return PUT(tk, t, STR("MAIL FROM:<"), h->reverse_form, STR(">"), str_of(size),
		   body_parameter(t), with_smtputf8(t) ? STR(" SMTPUTF8") : STR_NONE,
		   h->requiretls ? STR(" REQUIRETLS") : STR_NONE, dsn_name(t, " RET=", h->dsn_ret),
		   dsn_value(t, h->dsn_ret), dsn_name(t, " ENVID=", h->dsn_envid),
		   dsn_value(t, h->dsn_envid), STR("\r\n"));
}

static int ask_recipient(struct task *tk, struct transaction *t)
{
	const struct handover_recipient *to = &t->h->recipients[t->asked];
	str orcpt = to->orcpt;

	if (!str_is_ascii(orcpt) && !with_smtputf8(t)) {
		orcpt = STR_NONE;
		if (ehlo_offers(&t->c->ehlo, EHLO_DSN))
			t->h->notes |= NOTE_ORCPT_DROPPED;
	}
	return PUT(tk, t, STR("RCPT TO:<"), to->form, STR(">"), dsn_name(t, " NOTIFY=", to->notify),
		   dsn_value(t, to->notify), dsn_name(t, " ORCPT=", orcpt), dsn_value(t, orcpt),
		   STR("\r\n"));
}

static int take_reset_reply(struct task *tk, struct transaction *t)
{
	int r;

	if (!t->reset_asked)
		return 0;
	t->step = STEP_RSET;
	t->reset_asked = false;
	r = next_reply(tk, t, t->c->limits->command);
	if (r < 0)
		return r;
	/* Only a reply to MAIL says that the connection is of use. */
	t->answered = false;
	return reply_class(&t->c->reply) == 2 ? 0 : lost(t, -EPROTO);
}

/* Ends what an earlier transaction left open; alone where the host does not offer PIPELINING. */
static int ask_reset(struct task *tk, struct transaction *t)
{
	int r;

	if (!t->reset_asked)
		return 0;
	r = PUT(tk, t, STR("RSET\r\n"));
	if (r < 0 || t->pipelining)
		return r;
	r = flush(tk, t);
	return r < 0 ? r : take_reset_reply(tk, t);
}

static int take_mail_reply(struct task *tk, struct transaction *t)
{
	const struct reply *reply = &t->c->reply;
	int r = take_reset_reply(tk, t);

	if (r < 0)
		return r;
	t->step = STEP_MAIL;
	r = next_reply(tk, t, t->c->limits->command);
	if (r < 0)
		return r;
	if (reply_class(reply) == 3)
		return lost(t, -EPROTO);
	/* 530: TLS or a password first (RFC 3207, 4954). That is about us and them, never about
	 * this message: the operator must see it, and no message be held for it. */
	if (reply->code == 530)
		return closing(t);
	t->step = STEP_RCPT;
	if (reply_class(reply) == 2) {
		t->c->reset_first = true;
		return 0;
	}
	t->mail_failed = true;
	conn_explain_reply(t->c, step_names[STEP_MAIL]);
	explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	settle(t, verdict(reply), words(t));
	return 0;
}

/* RFC 5321 §4.5.3.1.10: 452, or 552 from older hosts, may mean "too many recipients", unless it
 * says that it is about the mailbox (x.2.x). */
static bool may_be_too_many(const struct reply *r)
{
	return (r->code == 452 || r->code == 552) && reply_enhanced(r).subject != 2;
}

/* Those that the host cannot take were not asked. */
static void pass_lacking(struct transaction *t)
{
	while (t->replied < t->asked && t->h->recipients[t->replied].lacking)
		t->replied++;
}

static int take_rcpt_reply(struct task *tk, struct transaction *t)
{
	struct handover_recipient *to = &t->h->recipients[t->replied];
	const struct reply *reply = &t->c->reply;
	int r = next_reply(tk, t, t->c->limits->command);

	if (r < 0)
		return r;
	if (reply_class(reply) == 3)
		return lost(t, -EPROTO);
	t->replied++;
	pass_lacking(t);
	if (t->mail_failed)
		return 0;
	if (reply_class(reply) == 2) {
		to->accepted = true;
		t->accepted++;
		return 0;
	}
	to->outcome = verdict(reply);
	to->reply = words(t);
	to->over = may_be_too_many(reply);
	conn_explain_reply(t->c, step_names[STEP_RCPT]);
	explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	return 0;
}

/* The replies to everything that was sent before DATA. */
static int take_replies(struct task *tk, struct transaction *t)
{
	int r = 0;

	if (t->step < STEP_RCPT)
		r = take_mail_reply(tk, t);
	while (r >= 0 && t->replied < t->asked)
		r = take_rcpt_reply(tk, t);
	return r;
}

/* Sends RCPTs, in batches with their replies in between; the last batch leaves with what follows.
 * */
static int ask_recipients(struct task *tk, struct transaction *t)
{
	struct handover *h = t->h;
	int r = 0;

	while (t->asked < h->recipient_count && !t->mail_failed) {
		if (h->recipients[t->asked].lacking) {
			t->asked++;
			pass_lacking(t);
			continue;
		}
		r = ask_recipient(tk, t);
		if (r < 0)
			return r;
		t->asked++;
		if (t->pipelining && t->c->stream.out.n < BATCH_BYTES)
			continue;
		r = flush(tk, t);
		if (r >= 0)
			r = take_replies(tk, t);
		if (r < 0)
			return r;
	}
	return 0;
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
	r = PUT(tk, t, STR("DATA\r\n"));
	if (r >= 0)
		r = flush(tk, t);
	/* While the host thinks: it costs no time then. */
	if (r >= 0)
		r = read_chunk(t);
	if (r >= 0)
		r = take_replies(tk, t);
	if (r < 0)
		return r;
	sort_out_too_many(t);
	t->step = STEP_DATA;
	r = next_reply(tk, t, t->c->limits->data);
	if (r < 0)
		return r;
	if (reply_class(reply) == 3) {
		*ret_go = true;
		return 0;
	}
	/* 2xx: the host counts differently than we do; nothing on this connection means anything
	 * now. */
	if (reply_class(reply) == 2)
		return lost(t, -EPROTO);
	if (t->accepted > 0) {
		conn_explain_reply(t->c, step_names[STEP_DATA]);
		explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
		settle(t, verdict(reply), words(t));
	}
	return 0;
}

/* The same for BDAT, which goes out when it is known that somebody gets it. RFC 3030 §2: the host
 * reads the chunk in any case, so it follows at once. */
static int ask_chunk(struct task *tk, struct transaction *t, bool *ret_go)
{
	char line[40];
	int r = flush(tk, t);

	*ret_go = false;
	if (r >= 0)
		r = take_replies(tk, t);
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
	return PUT(tk, t, str_of(line));
}

static int run(struct task *tk, struct transaction *t)
{
	bool go = false;
	int r;

	r = ask_reset(tk, t);
	if (r >= 0)
		r = ask_mail(tk, t);
	if (r >= 0 && !t->pipelining) {
		r = flush(tk, t);
		if (r >= 0)
			r = take_replies(tk, t);
	}
	if (r >= 0)
		r = ask_recipients(tk, t);
	if (r >= 0)
		r = t->chunked ? ask_chunk(tk, t, &go) : ask_data(tk, t, &go);
	if (r < 0 || !go)
		return r;
	return t->accepted > 0 ? deliver_body(tk, t) : send_lone_dot(tk, t);
}

/* smtpin lets no control character into an address, and the spool's checksums none after it; but
 * here it would be a command of a stranger's, so it is looked at once more. In quotes < and > are ordinary. */
static bool address_fits(str address)
{
	bool quoted = false, escaped = false;

	for (size_t i = 0; i < address.n; i++) {
		unsigned char c = (unsigned char)address.p[i];

		if (c < ' ' || c == 0x7f || (!quoted && (c == '<' || c == '>')))
			return false;
		if (c == '"' && !escaped)
			quoted = !quoted;
		escaped = quoted && c == '\\' && !escaped;
	}
	return !quoted && address.n <= ADDRESS_MAX;
}

static bool parameter_fits(str value)
{
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c <= ' ' || c == 0x7f)
			return false;
	}
	return value.n <= PARAMETER_MAX;
}

static bool envelope_fits(const struct handover *h)
{
	for (size_t i = 0; i < h->recipient_count; i++) {
		const struct handover_recipient *to = &h->recipients[i];

		if (to->address.n == 0 || !address_fits(to->address) ||
		    !parameter_fits(to->notify) || !parameter_fits(to->orcpt))
			return false;
	}
	return address_fits(h->reverse_path) && parameter_fits(h->dsn_ret) &&
	       parameter_fits(h->dsn_envid);
}

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

/* The host lacks what every recipient needs: nothing is said. */
static void not_begun(struct transaction *t)
{
	t->h->attempt = LOCUM__ATTEMPT__ATTEMPT_NONE;
	str_copy(t->h->recipients[0].reply, t->h->text, sizeof(t->h->text));
}

const char *handover_note_text(unsigned number)
{
	return note_texts[number];
}

void transaction_run(struct task *tk, struct conn *c, struct handover *h)
{
	struct transaction t = { .c = c, .h = h, .started = task_now(tk) };

	must(h->recipient_count > 0 && h->reply_bytes_max >= 16);
	h->stale = false;
	t.ends = c->ends;
	t.step = STEP_MAIL;
	t.pipelining = ehlo_offers(&c->ehlo, EHLO_PIPELINING);
	t.reset_asked = c->reset_first;
	dot_out_init(&t.dots);
	if (!envelope_fits(h)) {
		corrupt(&t,
			"the envelope in the spool has an address or parameter that cannot be one");
		return;
	}
	if (needs_compare(c, h) < 0) {
		corrupt(&t, "the spool cannot read the message");
		return;
	}
	if (h->lacking) {
		not_begun(&t);
		return;
	}
	t.chunked = h->body_binarymime ||
		    (ehlo_offers(&c->ehlo, EHLO_CHUNKING) && ends_without_line_end(h));
	run(tk, &t);
	h->latency = task_now(tk) - t.started;
	c->transactions++;
	/* Something said that nobody asked for: from here on replies would be off by one. */
	if (stream_pending(&c->stream).n > 0)
		c->broken = true;
}
