#include "proc/smtpout/learn.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#include <stdio.h>
#include <stdlib.h>

#define LEARN_TIME (200 * NSEC_MS) /* state reads at once, or is away */
#define ASK_TIME (20 * NSEC_S)
/* In one message: the envelope's bound for recipients keeps it below a packet. */
#define REPLIES_MAX 1000
#define ADDRESS_BYTES_MAX 320
#define WORDS_BYTES_MAX 200

static void send_learn(struct task *tk, struct smtpout *so, Locum__Learn *learn)
{
	IPC_PACKET(packet, LEARN, learn, learn);

	if (so->state && learn->n_replies > 0)
		ipc_send(tk, so->state, &packet, -1, task_in(tk, LEARN_TIME));
}

/* Replies end in NUL: they are copied, for a packet wants strings. */
static Locum__LearnedReply *make_reply(struct arena *arena, str address, str reply)
{
	Locum__LearnedReply *l = ARENA_NEW(arena, Locum__LearnedReply);
	str text = arena_str(arena, str_first(reply, WORDS_BYTES_MAX));

	if (!l || !text.p)
		return NULL;
	locum__learned_reply__init(l);
	l->address = (ProtobufCBinaryData){ address.n, (uint8_t *)address.p };
	l->reply = (char *)text.p;
	return l;
}

void learn_from_handover(struct task *tk, struct smtpout *so, const char *domain,
			 const struct handover *h)
{
	Locum__LearnedReply **replies = ARENA_ARRAY(h->arena, Locum__LearnedReply *, REPLIES_MAX);
	Locum__Learn learn = LOCUM__LEARN__INIT;
	size_t bytes = 0;

	if (!so->state || !replies)
		return;
	learn.domain = (char *)domain;
	learn.replies = replies;
	for (size_t i = 0; i < h->recipient_count && learn.n_replies < REPLIES_MAX; i++) {
		const struct handover_recipient *to = &h->recipients[i];
		Locum__LearnedReply *l;

		if (!to->rcpt_reply.p || to->address.n > ADDRESS_BYTES_MAX)
			continue;
		l = make_reply(h->arena, to->address, to->rcpt_reply);
		bytes += to->address.n + WORDS_BYTES_MAX + 16;
		if (!l || bytes > IPC_PACKET_MAX)
			break;
		replies[learn.n_replies++] = l;
	}
	send_learn(tk, so, &learn);
}

static void tell(struct task *tk, struct smtpout *so, const char *domain, str address, str reply,
		 bool absent)
{
	_cleanup_(arena_done) struct arena arena;
	Locum__Learn learn = LOCUM__LEARN__INIT;
	Locum__LearnedReply *l;

	arena_init(&arena, 4096);
	l = address.n > ADDRESS_BYTES_MAX ? NULL : make_reply(&arena, address, reply);
	if (!l)
		return;
	learn.domain = (char *)domain;
	learn.replies = &l;
	learn.n_replies = 1;
	learn.absent = absent;
	send_learn(tk, so, &learn);
}

void learn_reply(struct task *tk, struct smtpout *so, const char *domain, str address, str reply)
{
	tell(tk, so, domain, address, reply, false);
}

/* --- one that cannot exist --- */

struct question {
	struct smtpout *so;
	char domain[CONN_HOST_MAX];
	char address[CONN_HOST_MAX + 32];
};

/* The class of the reply, or a negative errno. */
static int say(struct task *tk, struct conn *c, str before, str argument, str after)
{
	const str parts[] = { before, argument, after };
	int r = 0;

	for (size_t i = 0; i < ELEMENTS(parts) && r == 0; i++)
		r = stream_write(tk, &c->stream, parts[i], c->ends);
	if (r == 0)
		r = stream_flush(tk, &c->stream, c->ends);
	if (r == 0)
		r = conn_reply(tk, c, c->ends);
	/* 421: it is about to close. */
	c->broken = r < 0 || c->reply.code == 421;
	return c->broken ? -EPIPE : reply_class(&c->reply);
}

/* What it said is in c->reply. */
static int ask(struct task *tk, struct conn *c, const char *address)
{
	int r = 2;

	c->ends = task_in(tk, ASK_TIME);
	if (c->reset_first)
		r = say(tk, c, STR("RSET\r\n"), STR_NONE, STR_NONE);
	c->reset_first = true;
	if (r == 2)
		r = say(tk, c, STR("MAIL FROM:<>\r\n"), STR_NONE, STR_NONE);
	if (r != 2)
		return r < 0 ? r : -EPROTO;
	r = say(tk, c, STR("RCPT TO:<"), str_of(address), STR(">\r\n"));
	return r < 0 ? r : 0;
}

static void ask_on(struct task *tk, struct conn *c, const struct question *q)
{
	char line[WORDS_BYTES_MAX];
	int r = ask(tk, c, q->address);

	if (r == 0) {
		reply_one_line(&c->reply, line, sizeof(line));
		log_debug("recipient.absent_asked", K_Z("domain", q->domain), K_Z("host", c->host),
			  K_Z("reply", line));
		if (say(tk, c, STR("RSET\r\n"), STR_NONE, STR_NONE) == 2)
			c->reset_first = false;
		tell(tk, q->so, q->domain, str_of(q->address), str_of(line), true);
	}
}

static void ask_task(struct task *tk, void *arg)
{
	_cleanup_(freep) struct question *q = arg;
	struct conn *c = pool_take(&q->so->outbound.pool, str_of(q->domain));

	if (!c)
		return;
	ask_on(tk, c, q);
	pool_give(&q->so->outbound.pool, c);
}

void learn_ask_absent(struct smtpout *so, str domain)
{
	_cleanup_(freep) struct question *q = calloc(1, sizeof(*q));
	uint64_t number;

	if (so->stopping || !q || !str_copy(domain, q->domain, sizeof(q->domain)))
		return;
	sys_random(&number, sizeof(number));
	snprintf(q->address, sizeof(q->address), "locum-%016llx@%s", (unsigned long long)number,
		 q->domain);
	q->so = so;
	if (task_start(so->loop, &so->jobs, "ask absent", ask_task, q) == 0)
		(void)TAKE(q);
}
