/* The data of a message: from 354 to the reply behind the final dot. */
#include "proc/smtpin/session.h"

#include "base/log.h"
#include "smtp/dot_in.h"
#include "smtp/path.h"
#include "smtp/trace.h"

#define BLOCK_TIME (3 * NSEC_MINUTE) /* RFC 5321 §4.5.3.2.5 */
/* However the blocks come: so long, and a second for every KiB. */
#define DATA_TIME (10 * NSEC_MINUTE)
#define DATA_BYTES_A_SECOND 1024

/* What is known about a message while it comes in. */
struct intake {
	struct session *s;
	struct dot_in dots;
	struct trace trace;
	struct trace_hooks hooks;
	struct body body;
	nsec started;
	uint64_t bytes_seen; /* of the peer's, framing included */
	uint64_t bytes_max;
	bool looped;
};

static bool intake_is_our_name(void *arg, str name)
{
	struct intake *in = arg;

	return conf_is_our_name(in->s->settings->conf, name);
}

static bool same_mailbox(str a, str b)
{
	char text_a[SMTP_PLAIN_SIZE], text_b[SMTP_PLAIN_SIZE];
	struct smtp_path path_a, path_b;

	if (smtp_mailbox_parse(a, &path_a) < 0 || smtp_mailbox_parse(b, &path_b) < 0)
		return false;
	return str_eq(smtp_path_plain(&path_a, text_a), smtp_path_plain(&path_b, text_b));
}

/* We passed this message on before: a loop, if it was for one of the same recipients (or, where we did not
 * say for which, for the same domain). */
static void intake_found(void *arg, const struct trace_own *own)
{
	struct intake *in = arg;
	const struct transaction *t = in->s->transaction;

	for (size_t i = 0; i < transaction_recipient_count(t) && !in->looped; i++) {
		const Locum__Recipient *r = transaction_recipient(t, i);
		str address = str_mem(r->address.data, r->address.len);

		if (own->recipient.n)
			in->looped = same_mailbox(own->recipient, address);
		else
			in->looped = own->domain.n && str_case_eq(own->domain, str_of(r->domain));
	}
}

static void intake_freep(struct intake **in)
{
	if (*in)
		body_done(&(*in)->body);
}

/* In the transaction's arena. 0 or -ENOMEM and the like. */
static int intake_new(struct task *tk, struct session *s, struct intake **ret_intake)
{
	struct intake *in = ARENA_NEW(transaction_arena(s->transaction), struct intake);
	int r;

	if (!in)
		return -ENOMEM;
	in->s = s;
	in->started = task_now(tk);
	in->bytes_max = s->settings->conf->limits.message_bytes;
	in->hooks = (struct trace_hooks){ intake_is_our_name, intake_found, in };
	dot_in_init(&in->dots);
	trace_init(&in->trace, &in->hooks);
	r = body_init(&in->body, &s->srv->budget, in->bytes_max);
	/* A body that cannot be kept is still read to its end, and then deferred. */
	if (r < 0)
		in->body.error = r;
	*ret_intake = in;
	return 0;
}

static nsec intake_deadline(struct task *tk, const struct intake *in)
{
	nsec by_rate =
		in->started + DATA_TIME + (nsec)(in->bytes_seen / DATA_BYTES_A_SECOND) * NSEC_S;

	return MIN(task_in(tk, BLOCK_TIME), by_rate);
}

static void take_pending(struct intake *in)
{
	str pending = stream_pending(&in->s->stream);
	str rest = pending, run;

	while (dot_in_next(&in->dots, &rest, &run)) {
		if (!in->trace.done)
			trace_feed(&in->trace, run);
		body_add(&in->body, run);
	}
	in->bytes_seen += pending.n - rest.n;
	stream_consume(&in->s->stream, pending.n - rest.n);
}

/* Reads to the final dot. -EFBIG: more than is worth reading to its end. */
static int take_all(struct task *tk, struct intake *in)
{
	for (;;) {
		ssize_t got;

		take_pending(in);
		if (dot_in_ended(&in->dots))
			break;
		if (in->bytes_seen / 2 > in->bytes_max)
			return -EFBIG;
		got = session_fill(tk, in->s, intake_deadline(tk, in));
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
	trace_end(&in->trace);
	return 0;
}

/* What is to be said about a message that came whole. ANSWER_OK: hand it over. */
static enum answer judge(struct intake *in)
{
	int r = body_finish(&in->body);

	if (r == -EMSGSIZE)
		return ANSWER_TOO_LARGE;
	if (in->dots.bare_cr || in->dots.bare_lf)
		return ANSWER_BARE_NEWLINE;
	if (in->looped)
		return ANSWER_LOOP;
	if (in->trace.hops > in->s->settings->conf->limits.hops)
		return ANSWER_TOO_MANY_HOPS;
	if (r == -EDQUOT)
		return ANSWER_BUSY;
	return r < 0 ? ANSWER_NO_SPACE : ANSWER_OK;
}

static void log_verdict(const struct intake *in, enum answer a, msg_id id)
{
	const struct session *s = in->s;
	const char *tls = stream_tls_version(&s->stream);
	size_t count = transaction_recipient_count(s->transaction);
	const Locum__Recipient *first = transaction_recipient(s->transaction, 0);
	char client[ADDR_TEXT_SIZE];
	const struct log_field common[] = {
		K("from", transaction_reverse_path(s->transaction)),
		K("recipient", str_mem(first->address.data, first->address.len)),
		K_INT("recipients", count),
		K_Z("client", addr_ip_text(&s->client, client)),
		K_Z("helo", s->helo ? s->helo : ""),
		K_Z("tls", tls ? tls : "none"),
		K_INT("bytes", in->body.bytes),
		a == ANSWER_QUEUED ? (struct log_field)K_ID("id", id)
				   : (struct log_field)K("reply", answer_line(a)),
		{ .kind = LOG_END },
	};

	if (a == ANSWER_QUEUED)
		log_event(LOG_INFO, "message.accepted", common);
	else if (answer_text(a).p[0] == '4')
		log_event(LOG_WARN, "message.deferred", common);
	else
		log_event(LOG_INFO, "message.refused", common);
}

static void count_verdict(struct session *s, enum answer a)
{
	if (a == ANSWER_QUEUED)
		s->messages++;
	else if (answer_text(a).p[0] == '4')
		s->srv->counters.deferred_total++;
	else
		s->srv->counters.refused_total++;
}

static int write_verdict(struct task *tk, struct session *s, enum answer a, msg_id id)
{
	static const char start[] = "250 2.0.0 Ok: queued as ";
	char text[sizeof(start) + ID_TEXT_LENGTH + 2];

	if (a != ANSWER_QUEUED)
		return session_answer(tk, s, a);
	memcpy(text, start, sizeof(start) - 1);
	id_text(id, text + sizeof(start) - 1);
	memcpy(text + sizeof(start) - 1 + ID_TEXT_LENGTH, "\r\n", 2);
	return session_write(tk, s, str_mem(text, sizeof(start) - 1 + ID_TEXT_LENGTH + 2));
}

/* The body came to its end. */
static int conclude(struct task *tk, struct intake *in)
{
	struct session *s = in->s;
	enum answer a = judge(in);
	msg_id id = { 0 };

	if (a == ANSWER_OK)
		a = session_hand_over(tk, s, &in->body, in->dots.any_8bit, &id);
	count_verdict(s, a);
	log_verdict(in, a, id);
	return write_verdict(tk, s, a, id);
}

/* It did not: the last words, and a line in the log. */
static enum answer give_up(struct intake *in, int r)
{
	enum answer a;

	switch (r) {
	case -EFBIG:
		a = ANSWER_TOO_LARGE;
		break;
	case -ETIMEDOUT:
		a = ANSWER_DATA_TIMED_OUT;
		break;
	case -ECANCELED:
		a = ANSWER_SHUTTING_DOWN;
		break;
	default:
		return ANSWER_NONE;
	}
	count_verdict(in->s, a);
	log_verdict(in, a, (msg_id){ 0 });
	return a;
}

int session_receive(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	_cleanup_(intake_freep) struct intake *in = NULL;
	int r;

	r = intake_new(tk, s, &in);
	if (r < 0) {
		/* 354 is out: the data that follow cannot be told from commands any more. */
		*ret_last_words = ANSWER_BUSY;
		return r;
	}
	r = take_all(tk, in);
	if (r == 0)
		return conclude(tk, in);
	*ret_last_words = give_up(in, r);
	return r;
}
