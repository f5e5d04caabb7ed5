#include "proc/smtpout/introduce.h"

#include "base/cleanup.h"
#include "base/id.h"
#include "smtp/octets.h"

/* All attributes as long as they may be, with their verbs. */
#define COMMANDS_MAX 8192

struct introducing {
	struct conn *c;
	str our_name;
	const struct introduction *who;
	struct introduce_refusals *refusals;
	bool answered; /* the host said anything at all since we began */
	bool told;     /* an XCLIENT was taken: the connection is not what it was */
};

/* --- what is told --- */

static void give(struct smtp_attributes *a, enum smtp_attribute attribute, str value)
{
	a->of[attribute].state = value.n ? ATTRIBUTE_GIVEN : ATTRIBUTE_UNAVAILABLE;
	a->of[attribute].value = value;
}

static bool has_symbol(const Locum__Envelope *e, const char *name)
{
	for (size_t i = 0; i < e->n_symbols; i++) {
		if (str_eq(str_of(e->symbols[i]->name), str_of(name)))
			return true;
	}
	return false;
}

/* Without a name it is known that there is none only where DNS said so, which left a symbol. */
static void give_name(const Locum__Envelope *e, const Locum__Client *client,
		      struct smtp_attributes *a)
{
	give(a, ATTRIBUTE_NAME, str_of(client->name));
	if (!*client->name && !has_symbol(e, "no-reverse-name") &&
	    !has_symbol(e, "reverse-unconfirmed"))
		a->of[ATTRIBUTE_NAME].state = ATTRIBUTE_TEMPUNAVAIL;
}

static int give_client(const Locum__Envelope *e, const Locum__Client *client, struct arena *arena,
		       struct smtp_attributes *a)
{
	char *address = arena_alloc(arena, ATTRIBUTE_ADDR_SIZE);
	char *port = arena_sprintf(arena, "%u", client->port);
	struct addr ip;

	if (!address || !port)
		return -ENOMEM;
	give_name(e, client, a);
	give(a, ATTRIBUTE_ADDR,
	     addr_parse_ip(str_of(client->address), 0, &ip) == 0 ? attribute_addr_text(&ip, address)
								 : STR_NONE);
	give(a, ATTRIBUTE_PORT, client->port ? str_of(port) : STR_NONE);
	give(a, ATTRIBUTE_PROTO, client->esmtp ? STR("ESMTP") : STR("SMTP"));
	give(a, ATTRIBUTE_HELO, str_mem(client->helo.data, client->helo.len));
	return 0;
}

/* What a trusted server told us with XFORWARD is nearer to the origin than itself. */
static void give_forwarded(const Locum__Envelope *e, struct smtp_attributes *a)
{
	for (size_t i = 0; i < e->n_forwarded; i++) {
		str name, value;
		int attribute;

		if (!str_cut(str_of(e->forwarded[i]), '=', &name, &value))
			continue;
		attribute = attribute_find(name, SMTP_XFORWARD);
		if (attribute >= 0)
			give(a, (enum smtp_attribute)attribute, value);
	}
}

int introduction_make(const Locum__Envelope *e, struct arena *arena, struct introduction *ret_who)
{
	char *id = arena_alloc(arena, ID_TEXT_LENGTH + 1);
	msg_id bytes;
	int r;

	*ret_who = (struct introduction){ 0 };
	if (!e->client)
		return 0; /* nothing to tell */
	if (!id)
		return -ENOMEM;
	*id = '\0';
	r = give_client(e, e->client, arena, &ret_who->client);
	if (r < 0)
		return r;
	/* It has none yet while its client is still there. */
	if (e->id.len == sizeof(bytes.byte)) {
		memcpy(bytes.byte, e->id.data, sizeof(bytes.byte));
		id_text(bytes, id);
	}
	ret_who->forwarded = ret_who->client;
	give(&ret_who->client, ATTRIBUTE_LOGIN, str_of(e->client->login));
	give(&ret_who->forwarded, ATTRIBUTE_SOURCE, STR("REMOTE"));
	give(&ret_who->forwarded, ATTRIBUTE_IDENT, str_of(id));
	give_forwarded(e, &ret_who->forwarded);
	ret_who->xclient = ret_who->xforward = true;
	return 0;
}

/* --- how it ends --- */

/* A connection that died in the pool says nothing about anybody. */
static bool is_stale(const struct introducing *in)
{
	return in->c->reused && !in->answered;
}

static enum introduced lost(struct introducing *in, int error, const char *step)
{
	in->c->broken = true;
	if (error != -ETIMEDOUT && error != -ECANCELED && is_stale(in))
		return INTRODUCE_ELSEWHERE;
	conn_explain_error(in->c, error, step);
	return INTRODUCE_LOST;
}

static enum introduced hung_up(struct introducing *in, int error, const char *step)
{
	enum introduced how = lost(in, error, step);

	return how == INTRODUCE_LOST && error != -ECANCELED ? INTRODUCE_HUNG_UP : how;
}

static enum introduced judged(struct introducing *in, const char *step)
{
	in->c->broken = true;
	if (in->c->reply.code == 421 && is_stale(in))
		return INTRODUCE_ELSEWHERE;
	conn_explain_reply(in->c, step);
	return INTRODUCE_JUDGED;
}

/* 421 to what is not about the client. */
static enum introduced closing(struct introducing *in, const char *step)
{
	in->c->broken = true;
	if (is_stale(in))
		return INTRODUCE_ELSEWHERE;
	conn_explain_reply(in->c, step);
	return INTRODUCE_CLOSING;
}

/* --- the dialogue --- */

/* RSET of its own: the one in front of MAIL would take back XFORWARD, and XCLIENT may not stand in a
 * transaction. */
static enum introduced reset(struct task *tk, struct introducing *in)
{
	int r;

	if (!in->c->reset_first)
		return INTRODUCED;
	r = conn_exchange(tk, in->c, STR("RSET"));
	if (r < 0)
		return lost(in, r, "RSET");
	if (in->c->reply.code == 421)
		return closing(in, "RSET");
	if (reply_class(&in->c->reply) != 2)
		return lost(in, -EPROTO, "RSET");
	in->answered = true;
	in->c->reset_first = false;
	return INTRODUCED;
}

/* The client's name where it can be said, else ours. */
static str hello_name(const struct introducing *in)
{
	str helo = in->who->client.of[ATTRIBUTE_HELO].value;

	for (size_t i = 0; i < helo.n; i++) {
		if (helo.p[i] <= ' ' || helo.p[i] > '~')
			return in->our_name;
	}
	return helo.n > 0 && helo.n < CONN_HOST_MAX ? helo : in->our_name;
}

static int say_hello(struct task *tk, struct introducing *in, str name)
{
	char line[CONN_HOST_MAX + 8];
	int r;

	snprintf(line, sizeof(line), "EHLO %.*s", STR_ARG(name));
	r = conn_exchange(tk, in->c, str_of(line));
	if (r >= 0 && reply_class(&in->c->reply) == 2)
		ehlo_parse(&in->c->reply, &in->c->ehlo);
	return r;
}

/* XCLIENT was not answered with a greeting: was the command refused, or the client? A server that turns
 * a client away refuses whatever else it says (RFC 5321 §3.1), EHLO too. */
static enum introduced refused(struct task *tk, struct introducing *in)
{
	struct conn *c = in->c;
	char why[CONN_TEXT_MAX];
	struct reply word = c->reply;
	int r;

	in->answered = true;
	conn_explain_reply(c, "XCLIENT");
	memcpy(why, c->why, sizeof(why));
	reply_init(&c->reply);
	r = say_hello(tk, in, in->our_name);
	if (r >= 0 && reply_class(&c->reply) == 2) {
		reply_done(&word);
		plain_remember_until(&in->refusals->xclient, str_of(c->address),
				     task_in(tk, INTRODUCE_REFUSED_TIME));
		c->reused = false;
		return in->told || c->introduced ? INTRODUCE_ELSEWHERE : INTRODUCED;
	}
	reply_done(&c->reply);
	c->reply = word;
	c->broken = true;
	memcpy(c->why, why, sizeof(why));
	return INTRODUCE_JUDGED;
}

/* One XCLIENT, the greeting that answers it, and EHLO. */
static enum introduced say_one(struct task *tk, struct introducing *in, str line, bool last)
{
	struct conn *c = in->c;
	int r = conn_exchange(tk, c, line);

	if (r < 0)
		return hung_up(in, r, "XCLIENT");
	if (c->reply.code == 421)
		return judged(in, "XCLIENT");
	if (reply_class(&c->reply) == 3)
		return lost(in, -EPROTO, "XCLIENT");
	if (reply_class(&c->reply) != 2)
		return refused(tk, in);
	in->answered = in->told = true;
	r = say_hello(tk, in, last ? hello_name(in) : in->our_name);
	if (r < 0)
		return hung_up(in, r, "EHLO");
	return reply_class(&c->reply) == 2 ? INTRODUCED : judged(in, "EHLO");
}

static enum introduced say_xclient(struct task *tk, struct introducing *in, str commands,
				   unsigned offered)
{
	struct conn *c = in->c;
	enum introduced how = INTRODUCED;
	char *said = strndup(commands.p, commands.n);
	str line, rest = commands;

	if (!said) {
		conn_explain_error(c, -ENOMEM, "XCLIENT");
		return INTRODUCE_LOST;
	}
	how = reset(tk, in);
	while (how == INTRODUCED && str_cut(rest, '\n', &line, &rest)) {
		how = say_one(tk, in, str_trim(line), rest.n == 0);
		if (how == INTRODUCED && !in->told)
			break; /* refused: it goes without */
	}
	free(c->introduced);
	c->introduced = NULL;
	if (how == INTRODUCED && in->told) {
		c->introduced = TAKE(said);
		c->introduced_with = offered;
		c->reused = false;
	}
	free(said);
	return how;
}

static void forget_forward(struct task *tk, struct introducing *in)
{
	in->c->forward_refused = false;
	plain_remember_until(&in->refusals->xforward, str_of(in->c->address),
			     task_in(tk, INTRODUCE_REFUSED_TIME));
}

/* The replies to XFORWARD. A host that does not take it gets the message without. */
static enum introduced take_replies(struct task *tk, struct introducing *in, int commands)
{
	struct conn *c = in->c;

	for (; commands > 0; commands--) {
		int r = conn_reply(tk, c, MIN(task_in(tk, c->limits->command), c->ends));

		if (r < 0)
			return lost(in, r, "XFORWARD");
		if (c->reply.code == 421)
			return closing(in, "XFORWARD");
		in->answered = true;
		if (reply_class(&c->reply) != 2)
			forget_forward(tk, in);
	}
	c->reused = false;
	return INTRODUCED;
}

static enum introduced say_xforward(struct task *tk, struct introducing *in, str commands)
{
	struct conn *c = in->c;
	bool pipelining = ehlo_offers(&c->ehlo, EHLO_PIPELINING);
	bool with_mail = pipelining && !c->reset_first;
	enum introduced how = reset(tk, in);
	str line, rest = commands;
	int unanswered = 0;

	while (how == INTRODUCED && str_cut(rest, '\n', &line, &rest)) {
		nsec deadline = MIN(task_in(tk, c->limits->command), c->ends);
		int r = stream_write(tk, &c->stream, str_mem(line.p, line.n + 1), deadline);

		unanswered++;
		if (r >= 0 && pipelining && (rest.n > 0 || with_mail))
			continue;
		if (r >= 0)
			r = stream_flush(tk, &c->stream, deadline);
		if (r < 0 && r != -EPIPE && r != -ECONNRESET)
			return lost(in, r, "XFORWARD");
		how = take_replies(tk, in, unanswered);
		unanswered = 0;
	}
	c->forwards = (unsigned)unanswered;
	return how;
}

/* --- which of them --- */

static bool may_say(struct task *tk, const struct conn *c, enum ehlo_extension verb,
		    const struct plain_hosts *refused)
{
	return ehlo_offers(&c->ehlo, verb) &&
	       !plain_known(refused, str_of(c->address), task_now(tk));
}

static enum introduced by_xclient(struct task *tk, struct introducing *in, struct buf *commands)
{
	struct conn *c = in->c;
	unsigned offered = c->introduced ? c->introduced_with : c->ehlo.xclient;

	if (attributes_write(&in->who->client, SMTP_XCLIENT, offered, commands) <= 0)
		return INTRODUCED;
	if (c->introduced && str_eq(str_of(c->introduced), buf_str(commands)))
		return INTRODUCED;
	if (c->introduced && !may_say(tk, c, EHLO_XCLIENT, &in->refusals->xclient))
		return INTRODUCE_ELSEWHERE;
	return say_xclient(tk, in, buf_str(commands), offered);
}

enum introduced introduce(struct task *tk, struct conn *c, str our_name,
			  const struct introduction *who, struct introduce_refusals *refusals)
{
	struct introducing in = { .c = c, .our_name = our_name, .who = who, .refusals = refusals };
	_cleanup_(buf_done) struct buf commands;
	bool xclient = who && who->xclient &&
		       (c->introduced || may_say(tk, c, EHLO_XCLIENT, &refusals->xclient));
	enum introduced how;

	if (c->forward_refused)
		forget_forward(tk, &in);
	buf_init(&commands, COMMANDS_MAX);
	if (xclient) {
		how = by_xclient(tk, &in, &commands);
		if (how != INTRODUCED || c->introduced)
			return how;
		buf_reset(&commands);
	} else if (c->introduced) {
		return INTRODUCE_ELSEWHERE;
	}
	if (!who || !who->xforward || !may_say(tk, c, EHLO_XFORWARD, &refusals->xforward) ||
	    attributes_write(&who->forwarded, SMTP_XFORWARD, c->ehlo.xforward, &commands) <= 0)
		return INTRODUCED;
	return say_xforward(tk, &in, buf_str(&commands));
}

/* --- what it means for a message --- */

static void settle_all(struct handover *h, Locum__Outcome outcome, str reply)
{
	for (size_t i = 0; i < h->recipient_count; i++) {
		struct handover_recipient *to = &h->recipients[i];

		if (to->outcome != LOCUM__OUTCOME__OUTCOME_NONE)
			continue;
		to->outcome = outcome;
		to->reply = reply;
		to->code = 0;
		to->lines = STR_NONE;
	}
}

static void settle_by_reply(struct handover *h, const struct reply *reply)
{
	char line[1024];
	str words = arena_str(h->arena,
			      reply_one_line(reply, line, MIN(sizeof(line), h->reply_bytes_max)));
	str lines = h->keep_lines ? arena_str(h->arena, buf_str(&reply->text)) : STR_NONE;

	settle_all(h,
		   reply_class(reply) == 5 ? LOCUM__OUTCOME__OUTCOME_REFUSED
					   : LOCUM__OUTCOME__OUTCOME_DEFERRED,
		   words);
	for (size_t i = 0; lines.p && i < h->recipient_count; i++) {
		h->recipients[i].lines = lines;
		h->recipients[i].code = reply->code;
	}
}

/* What the host before lacked does not count: this one spoke. */
static void forget_lacking(struct handover *h)
{
	h->lacking = false;
	for (size_t i = 0; i < h->recipient_count; i++) {
		struct handover_recipient *to = &h->recipients[i];

		if (to->lacking)
			to->outcome = LOCUM__OUTCOME__OUTCOME_NONE;
		to->lacking = false;
	}
}

void introduce_settle(const struct conn *c, enum introduced how, struct handover *h)
{
	forget_lacking(h);
	str_copy(str_of(c->why), h->text, sizeof(h->text));
	h->stale = false;
	switch (how) {
	case INTRODUCED:
	case INTRODUCE_ELSEWHERE:
		break;
	case INTRODUCE_CLOSING:
		h->attempt = LOCUM__ATTEMPT__ATTEMPT_REFUSING;
		break;
	case INTRODUCE_LOST:
		h->attempt = LOCUM__ATTEMPT__ATTEMPT_LOST;
		break;
	case INTRODUCE_HUNG_UP:
		h->attempt = LOCUM__ATTEMPT__ATTEMPT_LOST;
		settle_all(h, LOCUM__OUTCOME__OUTCOME_DEFERRED,
			   arena_str(h->arena, str_of(c->why)));
		break;
	case INTRODUCE_JUDGED:
		h->attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
		settle_by_reply(h, &c->reply);
		break;
	}
}
