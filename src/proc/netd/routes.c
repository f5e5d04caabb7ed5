#include "proc/netd/routes.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/netd/lookup.h"
#include "task/sys.h"

#define GENERATION_MASK (((uint64_t)1 << 48) - 1)

struct entry {
	struct map_link link;
	struct routes *routes;
	char domain[DNS_NAME_SIZE];
	struct known_route *known; /* NULL: never looked up */
	nsec expires;
	bool looking_up;
	bool outdated;    /* the configuration changed during the lookup */
	int result;       /* of the last lookup */
	uint64_t lookups; /* ended */
	unsigned waiters;
	struct signal done;
};

void known_route_unref(struct known_route *k)
{
	if (!k || --k->refs > 0)
		return;
	route_free(k->route);
	free(k);
}

void known_route_unrefp(struct known_route **k)
{
	known_route_unref(*k);
}

void routes_init(struct routes *rs, struct loop *loop, struct conf *const *conf,
		 struct resolver *const *resolver, struct group *group)
{
	*rs = (struct routes){ .loop = loop, .conf = conf, .resolver = resolver, .group = group };
	map_init(&rs->by_domain);
	sys_random(rs->hash_seed, sizeof(rs->hash_seed));
	/* From a random one on, so that a dial cannot continue a route of an earlier life of this
	 * process. */
	sys_random(&rs->generation, sizeof(rs->generation));
	rs->generation &= GENERATION_MASK;
}

static void entry_free(struct entry *e)
{
	map_remove(&e->routes->by_domain, &e->link);
	known_route_unref(e->known);
	free(e);
}

void routes_done(struct routes *rs)
{
	struct map_link *at = map_walk(&rs->by_domain, NULL), *next;

	for (; at; at = next) {
		next = map_walk(&rs->by_domain, at);
		entry_free(CONTAINER(at, struct entry, link));
	}
	map_done(&rs->by_domain);
}

void routes_expire(struct routes *rs)
{
	struct map_link *at = map_walk(&rs->by_domain, NULL), *next;

	for (; at; at = next) {
		struct entry *e = CONTAINER(at, struct entry, link);

		next = map_walk(&rs->by_domain, at);
		e->expires = 0;
		e->outdated = e->looking_up;
		if (!e->looking_up && e->waiters == 0 && !conf_domain(*rs->conf, str_of(e->domain)))
			entry_free(e);
	}
}

static struct entry *find(struct routes *rs, str domain)
{
	uint64_t hash = str_hash(domain, rs->hash_seed, true);
	struct entry *new;

	MAP_FIND (&rs->by_domain, hash, struct entry, link, e)
		if (str_case_eq(str_of(e->domain), domain))
			return e;
	new = calloc(1, sizeof(*new));
	if (!new || map_insert(&rs->by_domain, &new->link, hash) < 0) {
		free(new);
		return NULL;
	}
	new->routes = rs;
	signal_init(&new->done);
	str_copy(domain, new->domain, sizeof(new->domain));
	return new;
}

/* --- what was found --- */

/* Such a host is not used (RFC 7672 §2.1.2), while others of the route are. */
static void log_tlsa_trouble(const struct entry *e, const struct route *r)
{
	for (size_t i = 0; i < r->hop_count; i++)
		if (r->hop[i].dane == DANE_TROUBLE)
			log_warn("route.tlsa_trouble", K_Z("domain", e->domain),
				 K_Z("host", r->hop[i].host));
}

static void log_change(const struct entry *e, const struct route *r)
{
	char why[512];

	log_tlsa_trouble(e, r);
	if (r->reason == ROUTE_OK) {
		log_info("route.changed", K_Z("domain", e->domain), K_Z("hops", r->key),
			 K_INT("addresses", r->address_count),
			 K_Z("listed", !r->mx             ? "explicit"
				       : r->we_are_listed ? "yes"
							  : "no"));
		return;
	}
	route_explain(r, str_of(e->domain), why, sizeof(why));
	log_warn("route.none", K_Z("domain", e->domain),
		 K_Z("reason", route_reason_name(r->reason)), K_Z("text", why));
}

static nsec age_max(const struct route *r)
{
	if (r->reason != ROUTE_OK || r->partial)
		return ROUTE_FAILURE_AGE_MAX;
	/* A TTL of 0 is for this dial only, yet one dial is not answered by two lookups. */
	return MIN(MAX(r->ttl, 1) * NSEC_S, ROUTE_AGE_MAX);
}

static int keep(struct entry *e, struct route **route, nsec now)
{
	struct route *r = *route;
	struct known_route *k;

	e->expires = now + age_max(r);
	/* The same again: keep the old one, whose order dials may be in the middle of. */
	if (e->known && route_same(e->known->route, r))
		return 0;
	/* Without an answer, the destination is still what it was. */
	if (r->reason == ROUTE_TROUBLE && !r->key[0] && e->known)
		str_copy(str_of(e->known->route->key), r->key, sizeof(r->key));
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	*k = (struct known_route){ .refs = 1, .route = TAKE(*route) };
	e->routes->generation = (e->routes->generation + 1) & GENERATION_MASK;
	k->generation = e->routes->generation;
	known_route_unref(e->known);
	e->known = k;
	log_change(e, r);
	return 0;
}

static void look_up(struct task *tk, void *arg)
{
	struct entry *e = arg;
	struct routes *rs = e->routes;
	_cleanup_(route_freep) struct route *route = NULL;
	_cleanup_(conf_unrefp) struct conf *conf = conf_ref(*rs->conf);
	const struct conf_domain *domain = conf_domain(conf, str_of(e->domain));
	int r = -ENOENT;

	if (domain)
		r = lookup_route(tk, *rs->resolver, conf, domain, &route);
	if (r == 0)
		r = keep(e, &route, task_now(tk));
	if (e->outdated)
		e->expires = 0;
	e->result = r;
	e->looking_up = false;
	e->outdated = false;
	e->lookups++;
	signal_raise(&e->done);
}

/* Until one lookup that began no earlier than now has ended. */
static int await_lookup(struct task *tk, struct entry *e, nsec deadline)
{
	uint64_t lookups = e->lookups;
	int r = 0;

	if (!e->looking_up) {
		r = task_start(e->routes->loop, e->routes->group, "route", look_up, e);
		if (r < 0)
			return r;
		e->looking_up = true;
		e->routes->lookups++;
	}
	e->waiters++;
	while (r == 0 && e->lookups == lookups)
		r = signal_wait(tk, &e->done, deadline);
	e->waiters--;
	return r < 0 ? r : e->result;
}

int routes_get(struct task *tk, struct routes *rs, str domain, nsec deadline,
	       struct known_route **ret)
{
	struct entry *e;
	int r;

	if (!conf_domain(*rs->conf, domain))
		return -ENOENT;
	e = find(rs, domain);
	if (!e)
		return -ENOMEM;
	if (!e->known || e->expires <= task_now(tk)) {
		r = await_lookup(tk, e, deadline);
		if (r < 0)
			return r;
	}
	*ret = e->known;
	e->known->refs++;
	return 0;
}
