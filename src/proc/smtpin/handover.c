#include "proc/smtpin/handover.h"

#include "base/log.h"
#include "proc/smtpin/screen.h"
#include "proc/smtpin/told.h"

/* A client waits 10 minutes for the reply to its final dot (RFC 5321 §4.5.3.2.6). */
#define APPEND_TIME (2 * NSEC_MINUTE)
#define SPOOLD_AWAY_TIME (10 * NSEC_S)
#define SPOOLD_AGAIN_TIME (20 * NSEC_MS)

static void fill_client(const struct session *s, struct handover *h)
{
	const char *tls = stream_tls_version(&s->stream);
	const char *helo = session_helo(s);
	const char *proto = told_value(s, ATTRIBUTE_PROTO, NULL);
	Locum__Client *c = &h->client;

	locum__client__init(c);
	c->address = (char *)addr_ip_text(&s->client, h->address);
	c->port = s->client.port;
	c->name = (char *)told_value(s, ATTRIBUTE_NAME, facts_name(s->facts));
	c->helo = (ProtobufCBinaryData){ strlen(helo), (uint8_t *)helo };
	c->esmtp = proto ? !strcmp(proto, "ESMTP") : s->hello == HELLO_EHLO;
	c->trusted = s->trusted;
	if (tls) {
		c->tls_version = (char *)tls;
		c->tls_cipher = (char *)stream_tls_cipher(&s->stream);
	}
	c->listener = (char *)session_listener(s);
}

static void fill_envelope(const struct session *s, struct handover *h)
{
	uint8_t random[10];
	Locum__Envelope *e = &h->envelope;

	locum__envelope__init(e);
	transaction_fill_envelope(s->transaction, e);
	e->arrived_wall = sys_now_wall();
	server_random(s->srv, random);
	h->id = id_make(e->arrived_wall, random);
	e->id = (ProtobufCBinaryData){ sizeof(h->id.byte), h->id.byte };
	e->client = &h->client;
	e->hostname = (char *)s->settings->conf->hostname.p;
}

/* What more is known of the client, where there is more. 0 or -ENOMEM. */
static int fill_evidence(const struct session *s, struct handover *h)
{
	struct arena *arena = transaction_arena(s->transaction);
	str helo = str_mem(h->client.helo.data, h->client.helo.len);
	int r = told_fill(s, arena, &h->client, &h->envelope);

	if (r < 0 || s->trusted)
		return r;
	return screen_fill(s->settings->conf, session_symbols(s), helo, s->facts, arena,
			   &h->envelope);
}

static enum answer answer_to(const struct ipc_message *reply)
{
	const Locum__Packet *p = reply->packet;

	must(p);
	if (p->body_case != LOCUM__PACKET__BODY_APPENDED)
		return ANSWER_NOT_STORED;
	switch (p->appended->result) {
	case LOCUM__APPEND_RESULT__APPENDED:
		return ANSWER_QUEUED;
	case LOCUM__APPEND_RESULT__APPEND_NO_SPACE:
		return ANSWER_NO_SPACE;
	default:
		/* APPEND_FAILED, APPEND_DUPLICATE, and whatever a newer spoold may say: not stored. */
		return ANSWER_NOT_STORED;
	}
}

/* One that is being replaced, or was killed, is back in a moment. */
static int wait_for_spoold(struct task *tk, struct server *srv, nsec deadline)
{
	int r = 0;

	while (!srv->spoold && r == 0)
		r = signal_wait(tk, &srv->spoold_came, deadline);
	return r;
}

static int append_once(struct task *tk, struct server *srv, struct handover *h, int body,
		       struct ipc_message *ret_reply)
{
	int r = wait_for_spoold(tk, srv, task_in(tk, SPOOLD_AWAY_TIME));

	return r < 0 ? r
		     : ipc_call(tk, srv->spoold, &h->packet, body, ret_reply,
				task_in(tk, APPEND_TIME));
}

/* To the spoold that is there, and to its successor when it goes without an answer. One that ends in order has
 * answered for all that it stored. What one that was killed left under this id may not be on stable storage:
 * the successor says APPEND_DUPLICATE, and the client comes again. */
static int append(struct task *tk, struct server *srv, struct handover *h, int body,
		  struct ipc_message *ret_reply)
{
	nsec until = 0;

	for (;;) {
		int r = append_once(tk, srv, h, body, ret_reply);

		if (r != -EPIPE)
			return r;
		if (until == 0)
			until = task_in(tk, SPOOLD_AWAY_TIME);
		/* That it is gone may not have been heard yet. */
		if (task_now(tk) >= until || task_sleep(tk, SPOOLD_AGAIN_TIME) < 0)
			return r;
	}
}

struct handover *handover_new(struct session *s)
{
	struct handover *h = ARENA_NEW(transaction_arena(s->transaction), struct handover);

	if (!h)
		return NULL;
	fill_client(s, h);
	fill_envelope(s, h);
	return fill_evidence(s, h) < 0 ? NULL : h;
}

void handover_has_body(struct handover *h, uint64_t bytes, bool any_8bit)
{
	Locum__Envelope *e = &h->envelope;

	/* Clients forget to say BODY=8BITMIME; the next hop must know what it gets. */
	e->body_8bitmime = e->body_8bitmime || (any_8bit && !e->body_binarymime);
	e->body_bytes = bytes;
}

enum answer handover_to_spool(struct task *tk, struct session *s, struct handover *h, int body,
			      bool ambiguous)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	int r;

	locum__append__init(&h->append);
	h->append.envelope = &h->envelope;
	h->append.ambiguous = ambiguous;
	locum__packet__init(&h->packet);
	h->packet.body_case = LOCUM__PACKET__BODY_APPEND;
	h->packet.append = &h->append;
	/* Replies to what was pipelined before must not wait for the disk. */
	r = stream_flush(tk, &s->stream, task_in(tk, APPEND_TIME));
	if (r == 0)
		r = append(tk, s->srv, h, body, &reply);
	if (r < 0) {
		log_warn("spool.unreachable", K_ID("id", h->id), K_ERR(r));
		return ANSWER_NOT_STORED;
	}
	return answer_to(&reply);
}
