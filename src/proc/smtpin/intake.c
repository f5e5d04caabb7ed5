#include "proc/smtpin/intake.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "proc/smtpin/live.h"
#include "smtp/path.h"

#define BLOCK_TIME (3 * NSEC_MINUTE) /* RFC 5321 §4.5.3.2.5 */
/* However the blocks come: so long, and a second for every KiB. */
#define MESSAGE_TIME (10 * NSEC_MINUTE)
#define BYTES_A_SECOND 1024

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

int intake_begin(struct task *tk, struct session *s)
{
	struct intake *in = ARENA_NEW(transaction_arena(s->transaction), struct intake);
	int r;

	must(!s->intake);
	if (!in)
		return -ENOMEM;
	in->s = s;
	in->pace.started = task_now(tk);
	in->bytes_max = MIN(s->settings->conf->limits.message_bytes,
			    transaction_size_limit(s->transaction));
	in->hooks = (struct trace_hooks){ intake_is_our_name, intake_found, in };
	trace_init(&in->trace, &in->hooks);
	chunk_init(&in->chunk);
	r = body_init(&in->body, &s->srv->budget, in->bytes_max);
	/* A body that cannot be kept is still read to its end, and then deferred. */
	if (r < 0)
		in->body.error = r;
	s->intake = in;
	return 0;
}

void intake_end(struct session *s)
{
	if (s->intake)
		body_done(&s->intake->body);
	s->intake = NULL;
}

void intake_add(struct intake *in, str run)
{
	if (!in->trace.done)
		trace_feed(&in->trace, run);
	hidden_dot_feed(&in->dot, run);
	in->crc32c = crc32c(in->crc32c, run);
	body_add(&in->body, run);
}

bool intake_is_endless(const struct intake *in, uint64_t more_bytes)
{
	uint64_t most = 2 * in->s->settings->conf->limits.message_bytes + 1;

	return in->pace.bytes > most || more_bytes > most;
}

nsec pace_ends_at(const struct pace *p)
{
	return p->started + MESSAGE_TIME + (nsec)(p->bytes / BYTES_A_SECOND) * NSEC_S;
}

nsec pace_deadline(struct task *tk, const struct pace *p)
{
	return MIN(task_in(tk, BLOCK_TIME), pace_ends_at(p));
}

enum answer intake_objection(const struct intake *in)
{
	bool binary = transaction_body(in->s->transaction) == SMTP_BODY_BINARYMIME;
	int error = in->body.error;

	if (error == -EMSGSIZE)
		return ANSWER_TOO_LARGE;
	if (in->bare && !binary)
		return ANSWER_BARE_NEWLINE;
	if (in->dot.found && !binary)
		return ANSWER_HIDDEN_DOT;
	if (in->looped)
		return ANSWER_LOOP;
	if (in->trace.hops > in->s->settings->conf->limits.hops)
		return ANSWER_TOO_MANY_HOPS;
	if (error == -EDQUOT)
		return ANSWER_BUSY;
	return error < 0 ? ANSWER_NO_SPACE : ANSWER_OK;
}

/* What became of the message. */
struct verdict {
	enum answer answer; /* ANSWER_QUEUED, ANSWER_PASSED, or a refusal of our own */
	msg_id id;
	/* ANSWER_PASSED: what the primary said to it */
	struct ipc_message reply;
	const Locum__LiveAnswer *said;
};

static bool is_taken(const struct verdict *v)
{
	return v->answer == ANSWER_QUEUED || (v->answer == ANSWER_PASSED && words_are_yes(v->said));
}

static bool is_later(const struct verdict *v)
{
	return v->answer == ANSWER_PASSED ? words_are_later(v->said)
					  : answer_is_deferral(v->answer);
}

static const char *event_of(const struct verdict *v)
{
	if (is_taken(v))
		return v->answer == ANSWER_PASSED ? "message.passed" : "message.accepted";
	return is_later(v) ? "message.deferred" : "message.refused";
}

/* The fields that say what became of it; those that are none are LOG_END. */
struct result {
	struct log_field field[3];
};

static struct result result_of(const struct verdict *v, char words[static WORDS_LOG_SIZE])
{
	if (v->answer == ANSWER_QUEUED)
		return (struct result){ { K_ID("id", v->id) } };
	if (v->answer != ANSWER_PASSED)
		return (struct result){ { K("reply", answer_line(v->answer)) } };
	return (struct result){ {
		K_ID("id", v->id),
		K_Z("host", v->said->host ? v->said->host->name : ""),
		K("reply", words_for_log(v->said, words)),
	} };
}

static void log_verdict(const struct intake *in, const struct verdict *v)
{
	const struct session *s = in->s;
	const char *tls = stream_tls_version(&s->stream);
	size_t count = transaction_recipient_count(s->transaction);
	const Locum__Recipient *first = transaction_recipient(s->transaction, 0);
	char client[ADDR_TEXT_SIZE], words[WORDS_LOG_SIZE];
	const struct result result = result_of(v, words);
	const struct log_field fields[] = {
		K("from", transaction_reverse_path(s->transaction)),
		K("recipient", str_mem(first->address.data, first->address.len)),
		K_INT("recipients", count),
		K_Z("client", addr_ip_text(&s->client, client)),
		K_Z("helo", session_helo(s)),
		K_Z("tls", tls ? tls : "none"),
		K_INT("bytes", in->body.bytes),
		result.field[0],
		result.field[1],
		result.field[2],
		{ .kind = LOG_END },
	};

	log_event(!is_taken(v) && is_later(v) ? LOG_WARN : LOG_INFO, event_of(v), fields);
}

/* The client's rates, and that it brings mail that is wanted here. */
static void remember(struct session *s)
{
	server_count(s->srv, &s->client, CLIENT_MESSAGES, 1);
	server_count(s->srv, &s->client, CLIENT_RECIPIENTS,
		     (unsigned)transaction_recipient_count(s->transaction));
	server_remember_good(s->srv, &s->client);
}

static void count_verdict(struct session *s, const struct verdict *v)
{
	if (is_taken(v)) {
		s->messages++;
		remember(s);
	} else if (is_later(v))
		s->srv->counters.deferred_total++;
	else
		s->srv->counters.refused_total++;
}

static int write_verdict(struct task *tk, struct session *s, const struct verdict *v)
{
	static const char start[] = "250 2.0.0 Ok: queued as ";
	char text[sizeof(start) + ID_TEXT_LENGTH + 2];

	if (v->answer == ANSWER_PASSED)
		return session_pass_words(tk, s, v->said);
	if (v->answer != ANSWER_QUEUED)
		return session_answer(tk, s, v->answer);
	memcpy(text, start, sizeof(start) - 1);
	id_text(v->id, text + sizeof(start) - 1);
	memcpy(text + sizeof(start) - 1 + ID_TEXT_LENGTH, "\r\n", 2);
	return session_write(tk, s, str_mem(text, sizeof(start) - 1 + ID_TEXT_LENGTH + 2));
}

/* The client's name is evidence, and the primary judges by it: a quick client must not arrive without one. What was
 * answered before goes out first. 0 (also when DNS did not say in time), -ECANCELED, or the error of the stream. */
static int await_name(struct task *tk, struct session *s)
{
	int r = stream_flush(tk, &s->stream, task_in(tk, FACTS_WAIT));

	if (r == 0)
		r = facts_wait_name(tk, s->facts, task_in(tk, FACTS_WAIT));
	return r == -ETIMEDOUT ? 0 : r;
}

/* The primary's verdict, where it has one: ANSWER_PASSED; else ours, once the message is in the spool. The client is
 * asked to come again where the primary may have it and the spool has not. */
static enum answer pass_on(struct task *tk, struct intake *in, struct verdict *v)
{
	struct session *s = in->s;
	struct handover *h = NULL;
	bool ambiguous = false;
	enum answer a;

	if (await_name(tk, s) == 0)
		h = handover_new(s);
	if (!h)
		return ANSWER_NOT_STORED;
	v->id = h->id;
	handover_has_body(h, in->body.bytes, in->any_8bit);
	if (transaction_way(s->transaction)->kind == WAY_LIVE) {
		switch (live_send(tk, s, h, in->body.fd, in->crc32c, &v->reply, &v->said)) {
		case LOCUM__LIVE_WAY__LIVE_REPLY:
			return ANSWER_PASSED;
		case LOCUM__LIVE_WAY__LIVE_AMBIGUOUS:
			ambiguous = true;
			break;
		case LOCUM__LIVE_WAY__LIVE_AWAY:
		case _LOCUM__LIVE_WAY_IS_INT_SIZE:
			break;
		}
	}
	v->said = NULL;
	/* The process ends: the client comes again, and a second copy of what the primary may have helps nobody. */
	if (task_cancelled(tk))
		return ANSWER_NOT_STORED;
	a = handover_to_spool(tk, s, h, in->body.fd, ambiguous);
	return ambiguous && a != ANSWER_QUEUED ? ANSWER_NOT_STORED : a;
}

int intake_conclude(struct task *tk, struct intake *in)
{
	struct verdict v = { .answer = ANSWER_OK };
	int r;

	trace_end(&in->trace);
	hidden_dot_finish(&in->dot);
	body_finish(&in->body);
	v.answer = intake_objection(in);
	if (v.answer == ANSWER_OK)
		v.answer = pass_on(tk, in, &v);
	must((v.answer == ANSWER_PASSED) == (v.said != NULL));
	count_verdict(in->s, &v);
	log_verdict(in, &v);
	r = write_verdict(tk, in->s, &v);
	ipc_message_done(&v.reply);
	return r;
}

void intake_refuse(struct intake *in, enum answer a)
{
	const struct verdict v = { .answer = a };

	count_verdict(in->s, &v);
	log_verdict(in, &v);
}

enum answer intake_give_up(struct intake *in, int r)
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
	intake_refuse(in, a);
	return a;
}
