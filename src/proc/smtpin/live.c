#include "proc/smtpin/live.h"

#include "base/log.h"

#define REPLY_TIME (5 * NSEC_MINUTE)
#define END_TIME NSEC_MINUTE

/* --- the end without a message --- */

struct ending {
	struct server *srv;
	uint64_t live;
};

static void end_main(struct task *tk, void *arg)
{
	struct ending *e = arg;
	Locum__LiveEnd end = LOCUM__LIVE_END__INIT;
	IPC_PACKET(packet, LIVE_END, live_end, &end);

	end.live = e->live;
	/* One that is away has forgotten by itself. */
	if (e->srv->smtpout)
		ipc_send(tk, e->srv->smtpout, &packet, -1, task_in(tk, END_TIME));
	free(e);
}

void live_leave(struct session *s)
{
	struct way *w = transaction_way(s->transaction);
	struct ending *e;

	if (!w->live)
		return;
	e = malloc(sizeof(*e));
	if (e)
		*e = (struct ending){ s->srv, w->live };
	/* What smtpout is not told it forgets in time. */
	if (e && task_start(s->srv->loop, &s->srv->background, "live end", end_main, e) < 0)
		free(e);
	w->live = 0;
}

/* --- what is common to both questions --- */

static void log_away(const struct session *s, const char *event, const char *asked, const char *why,
		     int r)
{
	const struct way *w = transaction_way(s->transaction);
	char client[ADDR_TEXT_SIZE];

	log_info(event, K("domain", w->domain->name), K_Z("asked", asked), K_Z("reason", why),
		 K("from", transaction_reverse_path(s->transaction)),
		 K_Z("client", addr_ip_text(&s->client, client)),
		 K_Z("error", r < 0 ? strerror(-r) : ""));
}

/* The answer in a reply that came, NULL: something else. */
static const Locum__LiveAnswer *answer_in(const struct ipc_message *reply)
{
	const Locum__Packet *p = reply->packet;

	return p && p->body_case == LOCUM__PACKET__BODY_LIVE_ANSWER ? p->live_answer : NULL;
}

static bool is_reply(const Locum__LiveAnswer *a)
{
	return a && a->way == LOCUM__LIVE_WAY__LIVE_REPLY && words_are_sound(a);
}

static const char *reason(const Locum__LiveAnswer *a, int r)
{
	if (r < 0)
		return "no answer from smtpout";
	return a && a->way != LOCUM__LIVE_WAY__LIVE_REPLY ? a->text : "an answer that is none";
}

static int call(struct task *tk, struct session *s, Locum__Packet *packet, int fd,
		struct ipc_message *ret_reply, nsec time)
{
	/* Replies to what was pipelined before must not wait for the primary. */
	int r = stream_flush(tk, &s->stream, task_in(tk, REPLY_TIME));

	return r < 0 ? r : ipc_call(tk, s->srv->smtpout, packet, fd, ret_reply, task_in(tk, time));
}

/* --- a recipient --- */

/* The first question of a transaction names it and brings what MAIL needs. The primary hears of the client by its name,
 * where it has one: DNS may still be asked for it. 0 or a negative errno. */
static int introduce(struct task *tk, struct session *s, Locum__LiveAsk *ask)
{
	struct way *w = transaction_way(s->transaction);
	struct handover *h;
	int r;

	if (!s->srv->smtpout)
		return -EPIPE;
	r = stream_flush(tk, &s->stream, task_in(tk, REPLY_TIME));
	if (r == 0)
		r = facts_wait_name(tk, s->facts, task_in(tk, FACTS_WAIT));
	if (r == -ECANCELED)
		return r;
	h = handover_new(s);
	if (!h)
		return -ENOMEM;
	w->live = ++s->srv->lives;
	ask->envelope = &h->envelope;
	ask->envelope->recipients = NULL;
	ask->envelope->n_recipients = 0;
	return 0;
}

static int ask(struct task *tk, struct session *s, struct ipc_message *ret_reply)
{
	struct way *w = transaction_way(s->transaction);
	Locum__LiveAsk question = LOCUM__LIVE_ASK__INIT;
	IPC_PACKET(packet, LIVE_ASK, live_ask, &question);
	int r = w->live ? 0 : introduce(tk, s, &question);

	if (r < 0)
		return r;
	question.live = w->live;
	question.recipient = transaction_named(s->transaction);
	question.domain = question.recipient->domain;
	return call(tk, s, &packet, -1, ret_reply, LIVE_ASK_MAX);
}

Locum__LiveWay live_ask(struct task *tk, struct session *s, struct ipc_message *ret_reply,
			const Locum__LiveAnswer **ret_said)
{
	int r = ask(tk, s, ret_reply);
	const Locum__LiveAnswer *a = r == 0 ? answer_in(ret_reply) : NULL;

	*ret_said = a;
	if (is_reply(a))
		return LOCUM__LIVE_WAY__LIVE_REPLY;
	log_away(s, "live.away", "recipient", reason(a, r), r);
	live_leave(s);
	way_to_spool(transaction_way(s->transaction));
	return LOCUM__LIVE_WAY__LIVE_AWAY;
}

/* --- the message --- */

/* Without an answer: it was not sent, or who knows how far it came. */
static Locum__LiveWay way_without_answer(int r)
{
	return r == -EMSGSIZE || r == -ENOMEM ? LOCUM__LIVE_WAY__LIVE_AWAY
					      : LOCUM__LIVE_WAY__LIVE_AMBIGUOUS;
}

static Locum__LiveWay way_of(const Locum__LiveAnswer *a)
{
	if (is_reply(a))
		return LOCUM__LIVE_WAY__LIVE_REPLY;
	return a && a->way == LOCUM__LIVE_WAY__LIVE_AWAY ? LOCUM__LIVE_WAY__LIVE_AWAY
							 : LOCUM__LIVE_WAY__LIVE_AMBIGUOUS;
}

static int send_all(struct task *tk, struct session *s, struct handover *h, int body,
		    uint32_t body_crc32c, struct ipc_message *ret_reply)
{
	struct way *w = transaction_way(s->transaction);
	Locum__LiveSend send = LOCUM__LIVE_SEND__INIT;
	IPC_PACKET(packet, LIVE_SEND, live_send, &send);
	int r;

	send.live = w->live;
	send.envelope = &h->envelope;
	send.body_crc32c = body_crc32c;
	r = call(tk, s, &packet, body, ret_reply, LIVE_SEND_MAX);
	/* With an answer it has forgotten. */
	if (r < 0)
		live_leave(s);
	w->live = 0;
	return r;
}

Locum__LiveWay live_send(struct task *tk, struct session *s, struct handover *h, int body,
			 uint32_t body_crc32c, struct ipc_message *ret_reply,
			 const Locum__LiveAnswer **ret_said)
{
	Locum__LiveWay way = LOCUM__LIVE_WAY__LIVE_AWAY;
	const Locum__LiveAnswer *a = NULL;
	int r = -EPIPE;

	/* That is away already has not got it. */
	if (s->srv->smtpout) {
		r = send_all(tk, s, h, body, body_crc32c, ret_reply);
		a = r == 0 ? answer_in(ret_reply) : NULL;
		way = r < 0 ? way_without_answer(r) : way_of(a);
	}
	*ret_said = a;
	if (way == LOCUM__LIVE_WAY__LIVE_REPLY)
		return way;
	log_away(s, way == LOCUM__LIVE_WAY__LIVE_AWAY ? "live.away" : "live.ambiguous", "message",
		 reason(a, r), r);
	way_to_spool(transaction_way(s->transaction));
	return way;
}
