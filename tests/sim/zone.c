/*
 * The names. This file stands in libunbound's place (proc/netd/resolver.h): a question is answered from the plan
 * and the mood of its domain, as a raw message, after a while. Nothing is cached here: netd keeps routes for
 * a minute at most, and what libunbound would keep longer is of no concern to it.
 *
 *	dD.test                 MX 10 its primary, 20 30 40 the nodes; no address
 *	pP.primary.test         A
 *	mxN.backup.test         A
 *	lost.primary.test       A, where nobody listens
 *	alias-P.primary.test    CNAME of pP
 *	X.100.51.198.in-addr.arpa, cX.client.test: most clients have a name, some of them a wrong one
 */
#include "sim/world.h"

#include "dns/name.h"
#include "proc/netd/resolver.h"

#include <stdio.h>
#include <stdlib.h>

#define RESOLVER_TIME_OUT (12 * NSEC_S) /* when libunbound gives up and says SERVFAIL */
#define TTL_MAX 300
#define TYPE_CNAME 5
#define RCODE_SERVFAIL 2
#define RCODE_NXDOMAIN 3
#define WIRE_BYTES 1024

static const struct plan *plan;
static enum dns_mood moods[DOMAINS_MAX];

/* --- who is who --- */

void domain_name(uint32_t d, char ret_text[static 64])
{
	snprintf(ret_text, 64, "d%u.test", d);
}

static struct addr address(const char *network, uint32_t host, uint16_t port)
{
	char text[64];
	struct addr a;

	snprintf(text, sizeof(text), "%s.%u", network, host);
	must(addr_parse_ip(str_of(text), port, &a) == 0);
	return a;
}

struct addr node_addr(uint32_t n)
{
	return address("192.0.2", 10 + n, 25);
}

struct addr primary_addr(uint32_t p)
{
	return address("203.0.113", 10 + p, 25);
}

void zone_init(const struct plan *p)
{
	plan = p;
	memset(moods, 0, sizeof(moods));
}

void zone_mood(uint32_t domain, enum dns_mood mood)
{
	sim_trace("names of d%u: mood %d", domain, (int)mood);
	moods[domain] = mood;
}

/* --- messages (RFC 1035 section 4) --- */

struct wire {
	uint8_t byte[WIRE_BYTES];
	size_t n;
};

static void put(struct wire *w, const void *bytes, size_t n)
{
	must(w->n + n <= sizeof(w->byte));
	memcpy(w->byte + w->n, bytes, n);
	w->n += n;
}

static void put16(struct wire *w, unsigned value)
{
	put(w, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void put_name(struct wire *w, str name)
{
	str label;

	while (name.n > 0) {
		str_cut(name, '.', &label, &name);
		put(w, (uint8_t[]){ (uint8_t)label.n }, 1);
		put(w, label.p, label.n);
	}
	put(w, "", 1);
}

static void question(struct wire *w, str name, unsigned type)
{
	w->n = 0;
	put16(w, 0);
	put16(w, 0x8180); /* a response, recursion desired and available */
	put16(w, 1);
	put16(w, 0);
	put16(w, 0);
	put16(w, 0);
	put_name(w, name);
	put16(w, type);
	put16(w, 1);
}

static void set_rcode(struct wire *w, unsigned rcode)
{
	w->byte[3] = (uint8_t)(0x80 | rcode);
}

/* The record's head up to its data's length, which is `bytes`. */
static void record(struct wire *w, str owner, unsigned type, size_t bytes)
{
	w->byte[7]++;
	put_name(w, owner);
	put16(w, type);
	put16(w, 1);
	put16(w, 0);
	put16(w, 1 + (unsigned)sim_below(DICE_DNS, TTL_MAX));
	put16(w, (unsigned)bytes);
}

static void put_a(struct wire *w, str owner, const struct addr *a)
{
	record(w, owner, DNS_A, 4);
	put(w, a->ip, 4);
}

static void put_mx(struct wire *w, str owner, unsigned preference, str host)
{
	record(w, owner, DNS_MX, 2 + host.n + (host.n ? 2 : 1));
	put16(w, preference);
	put_name(w, host);
}

static void put_target(struct wire *w, str owner, unsigned type, str target)
{
	record(w, owner, type, target.n + 2);
	put_name(w, target);
}

/* --- the zone --- */

/* "PREFIXnSUFFIX" with n below the bound. */
static bool name_number(str name, const char *prefix, const char *suffix, uint64_t bound,
			uint32_t *ret)
{
	size_t p = strlen(prefix), s = strlen(suffix);
	uint64_t n;

	if (name.n <= p + s || !str_starts(name, str_of(prefix)) ||
	    !str_case_ends(name, str_of(suffix)) ||
	    str_u64(str_mem(name.p + p, name.n - p - s), bound - 1, &n) < 0)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static void answer_mx(struct wire *w, str name, uint32_t d)
{
	enum dns_mood mood = plan->by_name[d] ? DNS_HONEST : moods[d];
	char host[64];

	if (mood == DNS_EMPTY)
		return;
	if (mood == DNS_NULL_MX) {
		put_mx(w, name, 0, STR_NONE);
		return;
	}
	for (uint32_t n = plan->nodes; n-- > 0;) {
		snprintf(host, sizeof(host), "mx%u.backup.test", n);
		put_mx(w, name, mood == DNS_WE_ARE_BEST ? 5 : 20 + 10 * n, str_of(host));
	}
	if (mood == DNS_WRONG_ADDRESS)
		snprintf(host, sizeof(host), "lost.primary.test");
	else
		snprintf(host, sizeof(host), "%s%u.primary.test",
			 mood == DNS_ALIAS ? "alias-" : "p", plan->primary_of[d]);
	put_mx(w, name, 10, str_of(host));
}

/* A primary that the configuration names shares the mood of that domain. */
static enum dns_mood mood_of_host(uint32_t p)
{
	for (uint32_t d = 0; d < plan->domains; d++)
		if (plan->by_name[d] && plan->primary_of[d] == p && moods[d] != DNS_HONEST)
			return moods[d];
	return DNS_HONEST;
}

static void answer_primary(struct wire *w, str name, uint32_t p, enum dns_mood mood)
{
	struct addr a = primary_addr(mood == DNS_WRONG_ADDRESS ? 200 : p);
	char target[64];

	if (mood == DNS_ALIAS) {
		snprintf(target, sizeof(target), "canonical-%u.primary.test", p);
		put_target(w, name, TYPE_CNAME, str_of(target));
		put_a(w, str_of(target), &a);
	} else if (mood != DNS_EMPTY) {
		put_a(w, name, &a);
	}
}

static void answer_alias(struct wire *w, str name, uint32_t p)
{
	struct addr a = primary_addr(p);
	char target[64];

	snprintf(target, sizeof(target), "p%u.primary.test", p);
	put_target(w, name, TYPE_CNAME, str_of(target));
	put_a(w, str_of(target), &a);
}

/* Every fifth client has no name, every seventh one that is not its own. */
static void answer_client(struct wire *w, str name, uint32_t x, unsigned type)
{
	struct addr a = address("198.51.100", x % 7 ? x : 255, 0);
	char target[64];

	if (x % 5 == 0) {
		set_rcode(w, RCODE_NXDOMAIN);
	} else if (type == DNS_PTR) {
		snprintf(target, sizeof(target), "c%u.client.test", x);
		put_target(w, name, DNS_PTR, str_of(target));
	} else if (type == DNS_A) {
		put_a(w, name, &a);
	}
}

static enum dns_mood mood_of_question(str name, enum dns_type type)
{
	uint32_t i;

	if (type == DNS_MX && name_number(name, "d", ".test", plan->domains, &i))
		return plan->by_name[i] ? DNS_HONEST : moods[i];
	if (name_number(name, "p", ".primary.test", plan->primaries, &i))
		return mood_of_host(i);
	return DNS_HONEST;
}

static void answer(struct wire *w, str name, enum dns_type type)
{
	struct addr a;
	uint32_t i;

	if (name_number(name, "d", ".test", plan->domains, &i)) {
		if (type == DNS_MX)
			answer_mx(w, name, i);
	} else if (name_number(name, "p", ".primary.test", plan->primaries, &i)) {
		if (type == DNS_A)
			answer_primary(w, name, i, mood_of_host(i));
	} else if (name_number(name, "alias-", ".primary.test", plan->primaries, &i)) {
		if (type == DNS_A)
			answer_alias(w, name, i);
	} else if (name_number(name, "mx", ".backup.test", plan->nodes, &i)) {
		a = node_addr(i);
		if (type == DNS_A)
			put_a(w, name, &a);
	} else if (str_eq(name, STR("lost.primary.test"))) {
		a = primary_addr(200);
		if (type == DNS_A)
			put_a(w, name, &a);
	} else if (name_number(name, "", ".100.51.198.in-addr.arpa", 256, &i) ||
		   name_number(name, "c", ".client.test", 256, &i)) {
		answer_client(w, name, i, type);
	} else {
		set_rcode(w, RCODE_NXDOMAIN);
	}
}

/* --- resolver.h --- */

struct resolver {
	unsigned refs;
};

struct question {
	struct timer timer;
	struct task *waiter;
	bool answered;
	struct wire wire; /* n = 0: no answer */
};

int resolver_new(struct task *tk, const struct resolver_options *options, struct resolver **ret)
{
	struct resolver *r = calloc(1, sizeof(*r));

	(void)tk;
	(void)options;
	if (!r)
		return -ENOMEM;
	r->refs = 1;
	*ret = r;
	return 0;
}

struct resolver *resolver_ref(struct resolver *r)
{
	r->refs++;
	return r;
}

void resolver_unref(struct resolver *r)
{
	if (r && --r->refs == 0)
		free(r);
}

void resolver_unrefp(struct resolver **r)
{
	resolver_unref(*r);
}

static void on_timer(struct timer *timer)
{
	struct question *q = CONTAINER(timer, struct question, timer);

	q->answered = true;
	if (q->waiter)
		task_wake(q->waiter, 0);
}

static nsec latency(void)
{
	if (sim_percent(DICE_DNS, 4))
		return sim_between(DICE_DNS, NSEC_S, 4 * NSEC_S);
	return sim_between(DICE_DNS, NSEC_MS, 120 * NSEC_MS);
}

int resolver_ask(struct task *tk, struct resolver *r, str name, enum dns_type type,
		 struct question **ret)
{
	struct question *q = calloc(1, sizeof(*q));
	enum dns_mood mood;
	nsec after = latency();

	(void)r;
	if (!q)
		return -ENOMEM;
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	mood = mood_of_question(name, type);
	question(&q->wire, name, type);
	if (mood == DNS_SILENT)
		after = RESOLVER_TIME_OUT;
	if (mood == DNS_SILENT || mood == DNS_SERVFAIL)
		q->wire.n = 0;
	else if (mood == DNS_NXDOMAIN)
		set_rcode(&q->wire, RCODE_NXDOMAIN);
	else
		answer(&q->wire, name, type);
	timer_init(&q->timer, task_loop(tk), on_timer);
	must(timer_set(&q->timer, task_in(tk, after)) == 0);
	*ret = q;
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
	return q && q->answered ? str_mem(q->wire.byte, q->wire.n) : STR_NONE;
}

void question_free(struct question *q)
{
	if (!q)
		return;
	must(!q->waiter);
	timer_clear(&q->timer);
	free(q);
}

void question_freep(struct question **q)
{
	question_free(*q);
}
