#include "proc/netd/resolver.h"

#include "base/cleanup.h"
#include "proc/netd/event_base.h"

#include <unbound.h>

#define QUESTIONS_MAX 4096 /* under way at once */
#define CLASS_IN 1

struct resolver {
	unsigned refs;
	struct event_base base;
	struct ub_ctx *ub;
	struct list open; /* questions under way, abandoned ones included */
	size_t open_count;
	struct timer reaper; /* frees it, on the main stack */
};

struct question {
	struct resolver *resolver; /* NULL once answered */
	struct list link;
	struct task *waiter;
	bool answered;
	bool secure;
	bool abandoned; /* nobody wants the answer; libunbound still holds the address */
	char *message;
	size_t length;
};

/* What differs from libunbound's defaults, and why. */
static const struct {
	const char *name, *value;
} settings[] = {
	/* The operator may name a server on this host. */
	{ "do-not-query-localhost:", "no" },
	/* A few thousand domains at most are asked about, and every client's reverse name. */
	{ "msg-cache-size:", "16m" },
	{ "rrset-cache-size:", "16m" },
	{ "key-cache-size:", "4m" },
	{ "neg-cache-size:", "1m" },
	{ "infra-cache-numhosts:", "10000" },
	{ "outgoing-range:", "256" },
	{ "outgoing-num-tcp:", "16" },
	{ "num-queries-per-thread:", "1024" },
	/* A repaired zone or a moved primary is noticed soon, whatever its old TTLs said. */
	{ "cache-max-ttl:", "600" },
	{ "cache-max-negative-ttl:", "30" },
	{ "val-bogus-ttl:", "5" },
	{ "aggressive-nsec:", "no" },
	{ "serve-expired:", "no" },
	{ "prefetch:", "no" },
	/* DNS that was dead and lives again is used within seconds: five for which libunbound
	 * remembers its own SERVFAIL, and what follows. A server that reaches max-rtt is not asked, about
	 * anything, until host-ttl has passed. Waiting starts with 376 ms and doubles: only who is silent for
	 * 5.6 s, longer than a client waits (CLIENT_WAIT), reaches it. */
	{ "infra-host-ttl:", "2" },
	{ "infra-cache-max-rtt:", "6000" },
	/* Reverse zones of private networks are the operator's to answer, and so are test names. */
	{ "unblock-lan-zones:", "yes" },
	{ "insecure-lan-zones:", "yes" },
	{ "local-zone:", "test. transparent" },
	{ "local-zone:", "home.arpa. transparent" },
	/* The order within an RRset carries no meaning to us; a stable one is easier to follow. */
	{ "rrset-roundrobin:", "no" },
	{ "trust-anchor-signaling:", "no" },
};

/* Names of this host that libunbound would answer itself (RFC 6303), left to the servers that the
 * operator named. */
static const char *const loopback_zones[] = {
	"127.in-addr.arpa. transparent",
	"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa. transparent",
};

/* --- answers: on the main stack, from libunbound --- */

static void question_end(struct question *q)
{
	list_remove(&q->link);
	q->resolver->open_count--;
	q->resolver = NULL;
	q->answered = true;
	if (q->abandoned) {
		free(q->message);
		free(q);
	} else if (q->waiter) {
		task_wake(q->waiter, 0);
	}
}

static void on_answer(void *arg, int rcode, void *packet, int length, int security, char *why_bogus,
		      int was_ratelimited)
{
	struct question *q = arg;

	(void)why_bogus;
	(void)was_ratelimited;
	/* security 1 is bogus: forged or broken, in both cases no answer. */
	if (rcode == 0 && packet && length > 0 && security != 1 && !q->abandoned) {
		q->message = malloc((size_t)length);
		if (q->message) {
			memcpy(q->message, packet, (size_t)length);
			q->length = (size_t)length;
			q->secure = security == 2;
		}
	}
	question_end(q);
}

/* --- making and unmaking --- */

static void reap(struct timer *timer)
{
	struct resolver *r = CONTAINER(timer, struct resolver, reaper);

	if (r->ub)
		ub_ctx_delete(r->ub);
	/* libunbound forgot these without a word. */
	LIST_EACH (&r->open, struct question, link, q)
		question_end(q);
	free(r);
}

static int configure(struct resolver *r, const struct resolver_options *o)
{
	char text[ADDR_TEXT_SIZE], server[ADDR_TEXT_SIZE + 8];
	str rest = o->anchors, one;
	bool ok = true;

	for (size_t i = 0; i < ELEMENTS(settings); i++)
		ok = ok && ub_ctx_set_option(r->ub, settings[i].name, settings[i].value) == 0;
	ok = ok && ub_ctx_set_option(r->ub, "module-config:",
				     o->anchors.n ? "validator iterator" : "iterator") == 0;
	for (size_t i = 0; o->server_count && i < ELEMENTS(loopback_zones); i++)
		ok = ok && ub_ctx_set_option(r->ub, "local-zone:", loopback_zones[i]) == 0;
	for (size_t i = 0; i < o->server_count; i++) {
		snprintf(server, sizeof(server), "%s@%u", addr_ip_text(&o->servers[i], text),
			 o->servers[i].port);
		ok = ok && ub_ctx_set_fwd(r->ub, server) == 0;
	}
	while (rest.n) {
		str_cut(rest, '\0', &one, &rest);
		ok = ok && ub_ctx_add_ta(r->ub, one.p) == 0;
	}
	return ok ? 0 : -EINVAL;
}

struct new_call {
	const struct resolver_options *options;
	struct loop *loop;
	struct resolver *resolver;
	int result;
};

static void ignore_answer(void *arg, int rcode, void *packet, int length, int security,
			  char *why_bogus, int was_ratelimited)
{
	(void)rcode;
	(void)packet;
	(void)length;
	(void)security;
	(void)why_bogus;
	(void)was_ratelimited;
	*(bool *)arg = true;
}

static void new_on_main_stack(void *arg)
{
	struct new_call *call = arg;
	struct resolver *r = call->resolver;
	static bool answered; /* outlives the call, whatever libunbound does */

	r->ub = ub_ctx_create_ub_event(&r->base.ub);
	if (!r->ub) {
		call->result = -ENOMEM;
		return;
	}
	ub_ctx_debugout(r->ub, NULL); /* its own log would break ours */
	call->result = configure(r, call->options);
	if (call->result < 0)
		return;
	/* Answered from within: makes libunbound acquire everything now. */
	if (ub_resolve_event(r->ub, "localhost.", DNS_A, CLASS_IN, &answered, ignore_answer,
			     NULL) != 0)
		call->result = -EINVAL;
}

int resolver_new(struct task *tk, const struct resolver_options *options, struct resolver **ret)
{
	_cleanup_(resolver_unrefp) struct resolver *r = calloc(1, sizeof(*r));
	struct new_call call = { .options = options, .resolver = r };

	if (!r)
		return -ENOMEM;
	r->refs = 1;
	list_init(&r->open);
	timer_init(&r->reaper, task_loop(tk), reap);
	event_base_init(&r->base, task_loop(tk));
	task_on_main_stack(tk, new_on_main_stack, &call);
	if (call.result < 0)
		return call.result;
	*ret = TAKE(r);
	return 0;
}

struct resolver *resolver_ref(struct resolver *r)
{
	r->refs++;
	return r;
}

void resolver_unref(struct resolver *r)
{
	if (!r || --r->refs > 0)
		return;
	if (timer_set(&r->reaper, loop_now(r->reaper.loop)) < 0)
		reap(&r->reaper);
}

void resolver_unrefp(struct resolver **r)
{
	resolver_unref(*r);
}

/* --- questions --- */

struct ask_call {
	struct resolver *resolver;
	struct question *question;
	char name[DNS_NAME_SIZE + 1];
	enum dns_type type;
	int result;
};

static void ask_on_main_stack(void *arg)
{
	struct ask_call *call = arg;

	/* May answer before it returns, from the cache. */
	call->result = ub_resolve_event(call->resolver->ub, call->name, call->type, CLASS_IN,
					call->question, on_answer, NULL);
}

int resolver_ask(struct task *tk, struct resolver *r, str name, enum dns_type type,
		 struct question **ret)
{
	struct ask_call call = { .resolver = r, .type = type };
	_cleanup_(question_freep) struct question *q = NULL;

	if (r->open_count >= QUESTIONS_MAX)
		return -EAGAIN;
	if (!str_copy(name, call.name, DNS_NAME_SIZE))
		return -EINVAL;
	if (name.n && name.p[name.n - 1] != '.')
		call.name[name.n] = '.';
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->resolver = r;
	list_append(&r->open, &q->link);
	r->open_count++;
	call.question = q;
	task_on_main_stack(tk, ask_on_main_stack, &call);
	/* Not taken: it will never call back. */
	if (call.result != 0 && !q->answered)
		question_end(q);
	*ret = TAKE(q);
	return 0;
}

int question_wait(struct task *tk, struct question *q, nsec deadline)
{
	int r = 0;

	must(!q->waiter);
	while (r == 0 && !q->answered) {
		q->waiter = tk;
		r = task_park(tk, deadline);
		q->waiter = NULL;
	}
	return r;
}

str question_message(const struct question *q)
{
	return q && q->message ? str_mem(q->message, q->length) : STR_NONE;
}

bool question_secure(const struct question *q)
{
	return q && q->secure;
}

void question_free(struct question *q)
{
	if (!q)
		return;
	must(!q->waiter);
	if (!q->answered) {
		q->abandoned = true;
		return;
	}
	free(q->message);
	free(q);
}

void question_freep(struct question **q)
{
	question_free(*q);
}
