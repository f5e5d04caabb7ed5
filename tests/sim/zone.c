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

#include "dns/testing.h"
#include "proc/netd/resolver.h"

#include <stdio.h>
#include <stdlib.h>

#define RESOLVER_TIME_OUT (12 * NSEC_S) /* when libunbound gives up and says SERVFAIL */
#define RCODE_NXDOMAIN 3

static const struct plan *plan;
static enum dns_mood moods[DOMAINS_MAX];
static uint32_t mx_of[DOMAINS_MAX]; /* the number in the name that its MX says */
static uint32_t address_of[PRIMARIES_MAX];

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
	memcpy(mx_of, p->primary_of, sizeof(mx_of));
	for (uint32_t i = 0; i < PRIMARIES_MAX; i++)
		address_of[i] = i;
}

void zone_move(enum move what, uint32_t of, uint32_t primary)
{
	sim_trace("%s %u moves to primary %u", what == MOVE_MX ? "domain" : "name of primary", of,
		  primary);
	*(what == MOVE_MX ? &mx_of[of] : &address_of[of]) = primary;
}

void zone_mood(uint32_t domain, enum dns_mood mood)
{
	sim_trace("names of d%u: mood %d", domain, (int)mood);
	moods[domain] = mood;
}

/* --- records --- */

static unsigned ttl(void)
{
	return 1 + (unsigned)sim_below(DICE_DNS, ZONE_TTL_MAX);
}

static void put_a(struct dns_writer *w, const char *owner, const struct addr *a)
{
	dns_put_a(w, owner, ttl(), a->ip);
}

static void put_mx(struct dns_writer *w, const char *owner, unsigned preference, const char *host)
{
	dns_put_mx(w, owner, ttl(), preference, host);
}

static void put_target(struct dns_writer *w, const char *owner, unsigned type, const char *target)
{
	dns_put_target(w, owner, type, ttl(), target);
}

/* --- the zone --- */

/* "PREFIXnSUFFIX" with n below the bound. */
static bool name_number(const char *text, const char *prefix, const char *suffix, uint64_t bound,
			uint32_t *ret)
{
	size_t p = strlen(prefix), s = strlen(suffix);
	str name = str_of(text);
	uint64_t n;

	if (name.n <= p + s || !str_starts(name, str_of(prefix)) ||
	    !str_case_ends(name, str_of(suffix)) ||
	    str_u64(str_mem(name.p + p, name.n - p - s), bound - 1, &n) < 0)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static void answer_mx(struct dns_writer *w, const char *name, uint32_t d)
{
	enum dns_mood mood = plan->set.by_name[d] ? DNS_HONEST : moods[d];
	char host[64];

	if (mood == DNS_EMPTY)
		return;
	if (mood == DNS_NULL_MX) {
		put_mx(w, name, 0, ".");
		return;
	}
	for (uint32_t n = plan->nodes; n-- > 0;) {
		snprintf(host, sizeof(host), "mx%u.backup.test", n);
		put_mx(w, name, mood == DNS_WE_ARE_BEST ? 5 : 20 + 10 * n, host);
	}
	if (mood == DNS_WRONG_ADDRESS)
		snprintf(host, sizeof(host), "lost.primary.test");
	else
		snprintf(host, sizeof(host), "%s%u.primary.test",
			 mood == DNS_ALIAS ? "alias-" : "p", mx_of[d]);
	put_mx(w, name, 10, host);
}

/* A primary that the configuration names shares the mood of that domain. */
static enum dns_mood mood_of_host(uint32_t p)
{
	for (uint32_t d = 0; d < plan->domains; d++)
		if (plan->set.by_name[d] && plan->primary_of[d] == p && moods[d] != DNS_HONEST)
			return moods[d];
	return DNS_HONEST;
}

static void answer_primary(struct dns_writer *w, const char *name, uint32_t p, enum dns_mood mood)
{
	struct addr a = primary_addr(mood == DNS_WRONG_ADDRESS ? 200 : address_of[p]);
	char target[64];

	if (mood == DNS_ALIAS) {
		snprintf(target, sizeof(target), "canonical-%u.primary.test", p);
		put_target(w, name, DNS_TYPE_CNAME, target);
		put_a(w, target, &a);
	} else if (mood != DNS_EMPTY) {
		put_a(w, name, &a);
	}
}

static void answer_alias(struct dns_writer *w, const char *name, uint32_t p)
{
	struct addr a = primary_addr(address_of[p]);
	char target[64];

	snprintf(target, sizeof(target), "p%u.primary.test", p);
	put_target(w, name, DNS_TYPE_CNAME, target);
	put_a(w, target, &a);
}

/* Every fifth client has no name, every seventh one that is not its own. */
static void answer_client(struct dns_writer *w, const char *name, uint32_t x, unsigned type)
{
	struct addr a = address("198.51.100", x % 7 ? x : 255, 0);
	char target[64];

	if (x % 5 == 0) {
		dns_set_rcode(w, RCODE_NXDOMAIN);
	} else if (type == DNS_PTR) {
		snprintf(target, sizeof(target), "c%u.client.test", x);
		put_target(w, name, DNS_PTR, target);
	} else if (type == DNS_A) {
		put_a(w, name, &a);
	}
}

static enum dns_mood mood_of_question(const char *name, enum dns_type type)
{
	uint32_t i;

	if (type == DNS_MX && name_number(name, "d", ".test", plan->domains, &i))
		return plan->set.by_name[i] ? DNS_HONEST : moods[i];
	if (name_number(name, "p", ".primary.test", plan->primaries, &i))
		return mood_of_host(i);
	return DNS_HONEST;
}

static void answer(struct dns_writer *w, const char *name, enum dns_type type)
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
	} else if (strcmp(name, "lost.primary.test") == 0) {
		a = primary_addr(200);
		if (type == DNS_A)
			put_a(w, name, &a);
	} else if (name_number(name, "", ".100.51.198.in-addr.arpa", 256, &i) ||
		   name_number(name, "c", ".client.test", 256, &i)) {
		answer_client(w, name, i, type);
	} else {
		dns_set_rcode(w, RCODE_NXDOMAIN);
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
	struct dns_writer wire; /* empty: no answer */
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

int resolver_ask(struct task *tk, struct resolver *r, str absolute, enum dns_type type,
		 struct question **ret)
{
	struct question *q = calloc(1, sizeof(*q));
	char name[DNS_NAME_SIZE];
	enum dns_mood mood;
	nsec after = latency();

	(void)r;
	if (!q)
		return -ENOMEM;
	if (absolute.n > 0 && absolute.p[absolute.n - 1] == '.')
		absolute.n--;
	must(str_copy(absolute, name, sizeof(name)));
	mood = mood_of_question(name, type);
	dns_start(&q->wire, 0, name, type);
	if (mood == DNS_SILENT)
		after = RESOLVER_TIME_OUT;
	if (mood == DNS_SILENT || mood == DNS_SERVFAIL)
		buf_reset(&q->wire.b);
	else if (mood == DNS_NXDOMAIN)
		dns_set_rcode(&q->wire, RCODE_NXDOMAIN);
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
	return q && q->answered ? buf_str(&q->wire.b) : STR_NONE;
}

/* Its names know nothing of DNSSEC. */
bool question_secure(const struct question *q)
{
	(void)q;
	return false;
}

void question_free(struct question *q)
{
	if (!q)
		return;
	must(!q->waiter);
	timer_clear(&q->timer);
	dns_writer_done(&q->wire);
	free(q);
}

void question_freep(struct question **q)
{
	question_free(*q);
}
