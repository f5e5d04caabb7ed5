/*
 * routes: what is known of where each configured domain's mail goes. A route is looked up when
 * somebody dials and it is older than its TTL (a minute at most, a second after a failure);
 * everybody who dials meanwhile waits for the same lookup. Logs route.changed and route.none, once
 * a change.
 *
 * Entries live as long as their domain is configured; routes are counted references, since a dial
 * outlives its route.
 */
#pragma once

#include "conf/conf.h"
#include "dns/route.h"
#include "proc/netd/resolver.h"

#define ROUTE_AGE_MAX (60 * NSEC_S)
#define ROUTE_FAILURE_AGE_MAX NSEC_S /* the resolver has a cache of its own */

struct known_route {
	unsigned refs;
	uint64_t generation; /* 48 bits; changes with anything but order */
	struct route *route;
};

struct routes {
	struct loop *loop;
	struct conf *const *conf;         /* the newest */
	struct resolver *const *resolver; /* likewise */
	struct group *group;              /* of the lookups */
	struct map by_domain;
	uint64_t hash_seed[2];
	uint64_t generation; /* the last one given */
	uint64_t lookups;    /* begun so far */
};

void routes_init(struct routes *rs, struct loop *loop, struct conf *const *conf,
		 struct resolver *const *resolver, struct group *group);
/* The group's tasks must have ended. */
void routes_done(struct routes *rs);
/* The configuration changed: everything is looked up again when next dialled. */
void routes_expire(struct routes *rs);
/* 0 with a reference; -ENOENT: not a configured domain; -ETIMEDOUT, -ECANCELED, -ENOMEM. */
int routes_get(struct task *tk, struct routes *rs, str domain, nsec deadline,
	       struct known_route **ret);
void known_route_unref(struct known_route *k);
void known_route_unrefp(struct known_route **k);
