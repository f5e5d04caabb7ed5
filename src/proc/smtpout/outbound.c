#include "proc/smtpout/outbound.h"

#include "base/cleanup.h"
#include "proc/smtpout/tls_policy.h"
#include "proc/smtpout/tls_report.h"
#include "task/sys.h"

/* Of a policy and what it came to: sixteen TLSA records, or as much as MTA-STS allows. */
#define REPORT_BYTES_MAX ((size_t)64 * 1024)

/* One try to get a connection that can be used. */
struct search {
	struct outbound *o;
	str domain;
	const struct conn_limits *limits;
	struct arena *arena;
	nsec ends, address_wait;
	struct gate *gate; /* NULL: none */
	struct tls_needs needs;
	struct contact best; /* the best explanation so far */
	uint32_t start;
	uint32_t at; /* the one that was dialled last */
	uint64_t route;
	bool more; /* the route has addresses from `start` on */
	int dials;
};

int outbound_init(struct outbound *o, struct loop *loop, struct dialer *dialer,
		  struct ssl_ctx_st *tls, str our_name)
{
	*o = (struct outbound){
		.loop = loop,
		.dialer = dialer,
		.tls = tls,
		.limits = &conn_limits_delivery,
		.live_limits = &conn_limits_live,
	};
	str_copy(our_name, o->our_name, sizeof(o->our_name));
	return pool_init(&o->pool, loop);
}

void outbound_close(struct task *tk, struct outbound *o, nsec deadline)
{
	pool_close(tk, &o->pool, deadline);
}

void outbound_done(struct outbound *o)
{
	pool_done(&o->pool);
}

/* Which of several explanations of the same failure tells the operator the most. */
static int weight(Locum__Attempt attempt)
{
	switch (attempt) {
	case LOCUM__ATTEMPT__ATTEMPT_NONE:
		return 0;
	case LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE:
		return 1;
	case LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE:
		return 2;
	case LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE:
		return 3;
	case LOCUM__ATTEMPT__ATTEMPT_LOST:
		return 4;
	case LOCUM__ATTEMPT__ATTEMPT_REFUSING:
		return 5;
	case LOCUM__ATTEMPT__ATTEMPT_ANSWERED:
		return 6;
	case _LOCUM__ATTEMPT_IS_INT_SIZE:
		break;
	}
	return 0;
}

static const char *verified_name(const struct conn *c)
{
	static const char *const names[] = {
		[TLS_VERIFIED_NOT] = "no",
		[TLS_VERIFIED_PKIX] = "pkix",
		[TLS_VERIFIED_DANE] = "dane",
	};

	return stream_tls_version(&c->stream) ? names[c->verdict.verified] : NULL;
}

static void describe(const struct conn *c, struct arena *arena, Locum__Attempt attempt,
		     struct contact *ret_contact)
{
	*ret_contact = (struct contact){
		.attempt = attempt,
		.text = arena_str(arena, str_of(c->why)),
		.destination = arena_str(arena, str_of(c->destination)),
		.host = arena_str(arena, str_of(c->host)),
		.address = arena_str(arena, str_of(c->address)),
		.tls_version = str_of(stream_tls_version(&c->stream)),
		.tls_cipher = str_of(stream_tls_cipher(&c->stream)),
		.tls_verified = verified_name(c),
		.tls_policy = c->policy,
		.greeted = c->greeted,
		.offers = c->first_ehlo.offers,
		.size_bytes = c->first_ehlo.size_bytes,
	};
	if (ret_contact->tls_version.n > 0)
		ret_contact->offers |= EHLO_STARTTLS; /* which is not offered once it is used */
	/* OpenSSL's names are static, but say so nowhere. */
	if (ret_contact->tls_version.n > 0)
		ret_contact->tls_version = arena_str(arena, ret_contact->tls_version);
	if (ret_contact->tls_cipher.n > 0)
		ret_contact->tls_cipher = arena_str(arena, ret_contact->tls_cipher);
}

static void consider(struct search *s, const struct contact *contact)
{
	if (weight(contact->attempt) > weight(s->best.attempt))
		s->best = *contact;
}

static void ask_needs(struct task *tk, struct search *s)
{
	s->needs = (struct tls_needs){ 0 };
	if (s->o->needs)
		s->o->needs(tk, s->o, s->domain, s->ends, s->arena, &s->needs);
}

/* RFC 8461 §5: as if it did not exist. */
static void pass_over(struct search *s, const struct dialled *d)
{
	struct contact contact = {
		.attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
		.destination = d->destination,
		.host = d->host,
		.address = d->address,
		.tls_policy = tls_source_name(TLS_BY_STS),
	};

	contact.text = str_of(
		arena_sprintf(s->arena, "%.*s[%.*s]: the domain's MTA-STS policy does not name it",
			      STR_ARG(d->host), STR_ARG(d->address)));
	consider(s, &contact);
	s->start = d->index + 1;
	s->more = s->start < d->count;
}

/* What it says of the destination that this host was of no use. Where other domains may use it, it is not down. */
static Locum__Attempt attempt_of(enum conn_result result, const struct tls_policy *policy)
{
	if (result == CONN_SILENT)
		return LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
	if (result == CONN_TLS_LACKING && policy->of_domain)
		return LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
	return LOCUM__ATTEMPT__ATTEMPT_REFUSING;
}

static void report(struct task *tk, struct search *s, const struct dialled *d,
		   const struct tls_policy *policy, const struct conn *c, enum conn_result result)
{
	_cleanup_(arena_done) struct arena arena;
	const struct tlsrpt_session *session;

	arena_init(&arena, REPORT_BYTES_MAX);
	if (!s->o->report)
		return;
	session = tls_report_make(s->domain, &s->needs, d, policy, c, result, &arena);
	if (session)
		s->o->report(tk, s->o, s->domain, session);
}

/* Greets the host that was dialled. The connection, or NULL; s->more: dial again, the same host or
 * the next. */
static struct conn *greet(struct task *tk, struct search *s, struct dialled *d)
{
	_cleanup_(conn_freep) struct conn *c = NULL;
	struct conn_peer peer = { d->destination, d->host, d->address };
	struct tls_policy policy;
	struct contact contact;
	bool plain;
	enum conn_result result;

	tls_policy_make(s->domain, &s->needs, d, s->arena, &policy);
	if (policy.wrong_host) {
		pass_over(s, d);
		report(tk, s, d, &policy, NULL, CONN_TLS_LACKING);
		return NULL;
	}
	if (conn_new(s->o->loop, d->fd, &peer, &c) < 0)
		return NULL;
	d->fd = -1;
	c->ends = s->ends;
	policy.tls.context = s->o->tls;
	c->policy = tls_source_name(policy.source);
	c->mx = d->mx;
	c->secure_name = d->secure || policy.source == TLS_BY_STS;
	c->named_host =
		policy.expect.name_count > 0 && str_case_eq(str_of(policy.expect.name[0]), d->host);
	plain = policy.tls.demand == TLS_MAY &&
		(!s->o->tls || plain_known(&s->o->plain, d->address, task_now(tk)));
	result = conn_open(tk, c, s->o->our_name, s->limits, plain ? NULL : &policy.tls);
	if (task_cancelled(tk))
		return NULL;
	report(tk, s, d, &policy, c, result);
	if (result == CONN_TLS_FAILED) {
		plain_remember(&s->o->plain, d->address, task_now(tk));
		s->start = d->index;
		s->more = true;
		return NULL;
	}
	s->at = d->index;
	s->start = d->index + 1;
	s->more = s->start < d->count;
	if (result == CONN_READY)
		return TAKE(c);
	describe(c, s->arena, attempt_of(result, &policy), &contact);
	consider(s, &contact);
	return NULL;
}

/* Dials once. */
static struct conn *dial(struct task *tk, struct search *s)
{
	const struct dial_request request = {
		.domain = s->domain,
		.start = s->start,
		.route = s->route,
		.deadline = s->ends,
		.address_wait = s->address_wait,
	};
	struct dialled d = { .fd = -1 };
	struct conn *c;

	s->more = false;
	s->o->dialer->dial(tk, s->o->dialer, &request, s->arena, &d);
	if (d.attempt != LOCUM__ATTEMPT__ATTEMPT_ANSWERED || d.fd < 0) {
		struct contact contact = { .attempt = d.attempt,
					   .text = d.text,
					   .destination = d.destination,
					   .host = d.host,
					   .address = d.address };

		if (contact.attempt == LOCUM__ATTEMPT__ATTEMPT_ANSWERED)
			contact.attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
		consider(s, &contact);
	} else {
		s->route = d.route;
		c = greet(tk, s, &d);
		if (c) {
			pool_note_route(&s->o->pool, s->domain, d.destination);
			return c;
		}
	}
	if (d.fd >= 0)
		sys_close(d.fd);
	return NULL;
}

/* A connection on which MAIL can be said, or NULL and s->best. */
static struct conn *find(struct task *tk, struct search *s)
{
	if (s->gate && s->gate->wait(tk, s->gate) < 0)
		return NULL;
	while (s->more && s->dials++ < OUTBOUND_DIALS_MAX && task_now(tk) < s->ends) {
		struct conn *c = dial(tk, s);

		if (c)
			return c;
	}
	if (s->best.attempt == LOCUM__ATTEMPT__ATTEMPT_NONE) {
		s->best.attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
		s->best.text = task_cancelled(tk) ? STR("stopped by our own shutdown")
						  : STR("no connection could be set up");
	}
	return NULL;
}

/* The host turned us away before it looked at any recipient. */
static bool turned_away(const struct handover *h)
{
	for (size_t i = 0; i < h->recipient_count; i++) {
		if (h->recipients[i].outcome != LOCUM__OUTCOME__OUTCOME_NONE ||
		    h->recipients[i].accepted)
			return false;
	}
	return h->attempt == LOCUM__ATTEMPT__ATTEMPT_REFUSING;
}

/* After a transaction that was answered, only those have no outcome who were one too many for it.
 * */
static size_t count_left(const struct handover *h)
{
	size_t left = 0;

	for (size_t i = 0; h->attempt == LOCUM__ATTEMPT__ATTEMPT_ANSWERED && i < h->recipient_count;
	     i++)
		left += h->recipients[i].outcome == LOCUM__OUTCOME__OUTCOME_NONE;
	return left;
}

/* Hands over to those that are left, on the same connection. Every round takes at least one of
 * them, or leaves none. False: there is nothing more to do. */
static bool deliver_rest(struct task *tk, struct outbound *o, struct conn *c, struct handover *h)
{
	size_t left = c->broken ? 0 : count_left(h);
	struct handover rest = *h;
	size_t *place;

	if (left == 0)
		return false;
	place = ARENA_ARRAY(h->arena, size_t, left);
	rest.recipients = ARENA_ARRAY(h->arena, struct handover_recipient, left);
	rest.recipient_count = left;
	if (!place || !rest.recipients)
		return false;
	for (size_t i = 0, n = 0; i < h->recipient_count; i++) {
		if (h->recipients[i].outcome != LOCUM__OUTCOME__OUTCOME_NONE)
			continue;
		rest.recipients[n] = (struct handover_recipient){
			.address = h->recipients[i].address,
			.notify = h->recipients[i].notify,
			.orcpt = h->recipients[i].orcpt,
		};
		place[n++] = i;
	}
	c->reused = true;
	if (introduce(tk, c, str_of(o->our_name), h->who, &o->refusals) != INTRODUCED)
		return false;
	transaction_run(tk, c, &rest);
	if (rest.stale)
		return false;
	for (size_t i = 0; i < left; i++)
		h->recipients[place[i]] = rest.recipients[i];
	h->attempt = rest.attempt;
	h->notes |= rest.notes;
	memcpy(h->text, rest.text, sizeof(h->text));
	return true;
}

/* One that another domain opened may be less than this one needs. */
static struct conn *take_pooled(struct search *s)
{
	struct conn *c = pool_take(&s->o->pool, s->domain);

	if (!c || tls_policy_fits(c, s->domain, &s->needs))
		return c;
	pool_give(&s->o->pool, c);
	return NULL;
}

/* What is said on a connection once the client was introduced, or could not be (never ELSEWHERE); the
 * outputs of h say how it went. */
typedef void say_fn(struct task *tk, struct conn *c, struct handover *h, enum introduced how,
		    void *arg);

/* ELSEWHERE: this connection is given up; a fresh one goes to the same host. */
static enum introduced introduce_on(struct task *tk, struct search *s, struct conn *c,
				    struct handover *h)
{
	bool fresh = !c->reused;
	enum introduced how = introduce(tk, c, str_of(s->o->our_name), h->who, &s->o->refusals);

	if (how != INTRODUCE_ELSEWHERE)
		return how;
	pool_quit(&s->o->pool, c);
	if (fresh)
		s->start = s->at;
	s->more = true;
	return how;
}

/* Says it on a pooled connection or to every host in turn, until one has answered. The connection it
 * was said on, with *ret_contact, or NULL: the contact is the best explanation. */
static struct conn *converse(struct task *tk, struct search *s, struct handover *h, say_fn *say,
			     void *arg, struct contact *ret_contact)
{
	struct contact lacking = { 0 };
	struct conn *c;
	enum introduced how;

	ask_needs(tk, s);
	c = take_pooled(s);
	for (;; c = NULL) {
		if (!c)
			c = find(tk, s);
		if (!c) {
			/* What h says of its recipients is what the host before lacked. */
			*ret_contact = h->lacking ? lacking : s->best;
			return NULL;
		}
		c->limits = s->limits;
		c->ends = s->ends;
		how = introduce_on(tk, s, c, h);
		if (how == INTRODUCE_ELSEWHERE)
			continue;
		say(tk, c, h, how, arg);
		if (h->lacking && s->more) {
			/* RFC 8689 §4.2.1: another host may do. */
			describe(c, s->arena, h->attempt, &lacking);
			lacking.text = arena_str(s->arena, str_of(h->text));
			pool_give(&s->o->pool, c);
			continue;
		}
		/* A connection that died in the pool: its siblings are likely as dead, a fresh one
		 * decides. */
		if (!h->stale) {
			describe(c, s->arena, h->attempt, ret_contact);
			if (!turned_away(h) || !s->more)
				return c;
			consider(s, ret_contact);
		}
		conn_free(c);
	}
}

static void say_all(struct task *tk, struct conn *c, struct handover *h, enum introduced how,
		    void *arg)
{
	(void)arg;
	if (how == INTRODUCED)
		transaction_run(tk, c, h);
	else
		introduce_settle(c, how, h);
}

/* The hosts are there, but not as this domain needs them: its mail waits, and nobody else's. */
static void defer_all(struct handover *h, str why)
{
	for (size_t i = 0; i < h->recipient_count; i++) {
		h->recipients[i].outcome = LOCUM__OUTCOME__OUTCOME_DEFERRED;
		h->recipients[i].reply = arena_str(h->arena, str_first(why, h->reply_bytes_max));
	}
}

void outbound_deliver(struct task *tk, struct outbound *o, str domain, struct handover *h,
		      struct contact *ret_contact)
{
	struct search s = { .o = o,
			    .domain = domain,
			    .limits = o->limits,
			    .arena = h->arena,
			    .ends = task_in(tk, OUTBOUND_DELIVERY_MAX),
			    .more = true };
	struct conn *c = converse(tk, &s, h, say_all, NULL, ret_contact);

	if (!c) {
		if (ret_contact->attempt == LOCUM__ATTEMPT__ATTEMPT_ANSWERED && !h->lacking)
			defer_all(h, ret_contact->text);
		return;
	}
	while (deliver_rest(tk, o, c, h))
		describe(c, h->arena, h->attempt, ret_contact);
	ret_contact->text = arena_str(h->arena, str_of(h->text));
	pool_give(&o->pool, c);
}

struct first_words {
	struct transaction *t;
	int result;
};

/* What the host said of the client is its reply to MAIL; but 421 no client hears. */
static int say_refused(struct task *tk, struct conn *c, struct handover *h, enum introduced how,
		       struct transaction *t)
{
	int r = how == INTRODUCE_JUDGED && c->reply.code != 421 ? transaction_begin(tk, t, c, h)
								: -ECONNRESET;

	introduce_settle(c, how, h);
	if (r >= 0)
		t->mail_failed = true;
	return r;
}

static void say_envelope(struct task *tk, struct conn *c, struct handover *h, enum introduced how,
			 void *arg)
{
	struct first_words *first = arg;

	if (how != INTRODUCED) {
		first->result = say_refused(tk, c, h, how, first->t);
		return;
	}
	first->result = transaction_begin(tk, first->t, c, h);
	if (first->result >= 0)
		first->result = transaction_ask(tk, first->t);
	if (first->result < 0)
		transaction_end(tk, first->t);
}

int outbound_begin(struct task *tk, struct outbound *o, str domain, struct handover *h,
		   struct gate *gate, struct arena *arena, struct transaction *t,
		   struct contact *ret_contact)
{
	struct first_words first = { t, 0 };
	struct search s = { .o = o,
			    .domain = domain,
			    .limits = o->live_limits,
			    .gate = gate,
			    .arena = arena,
			    .ends = task_in(tk, OUTBOUND_LIVE_MAX),
			    .address_wait = OUTBOUND_LIVE_ADDRESS_MAX,
			    .more = true };
	struct conn *c = converse(tk, &s, h, say_envelope, &first, ret_contact);

	if (!c)
		return -EHOSTUNREACH;
	if (first.result >= 0)
		return 0;
	ret_contact->text = arena_str(arena, str_of(h->text));
	pool_give(&o->pool, c);
	return first.result;
}

void outbound_end(struct task *tk, struct outbound *o, struct transaction *t)
{
	transaction_end(tk, t);
	pool_give(&o->pool, t->c);
	t->c = NULL;
}

void outbound_probe(struct task *tk, struct outbound *o, str domain, struct arena *arena,
		    struct contact *ret_contact)
{
	struct search s = { .o = o,
			    .domain = domain,
			    .limits = &conn_limits_probe,
			    .arena = arena,
			    .ends = task_in(tk, OUTBOUND_PROBE_MAX),
			    .more = true };
	struct conn *c;

	ask_needs(tk, &s);
	c = find(tk, &s);
	if (!c) {
		*ret_contact = s.best;
		return;
	}
	describe(c, arena, LOCUM__ATTEMPT__ATTEMPT_ANSWERED, ret_contact);
	pool_give(&o->pool, c);
}
