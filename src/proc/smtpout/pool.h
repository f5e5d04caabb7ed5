/*
 * pool: open connections with nothing to do, for a few seconds, keyed by destination, so that the
 * next message for the same primary needs neither netd nor a handshake. Also remembers which
 * destination a domain had when it was last dialled: several domains may share one.
 *
 * Owns the connections given to it until they are taken, or too old, which says QUIT to them. Never
 * parks but in pool_close; QUITs have tasks of their own. Bounds: POOL_IDLE_MAX connections,
 * POOL_ROUTES_MAX domains.
 */
#pragma once

#include "proc/smtpout/conn.h"

#define POOL_IDLE_TIME (5 * NSEC_S)
#define POOL_IDLE_MAX 256
/* After this many messages a connection is closed, so that load balancers on their side get a
 * chance. */
#define POOL_TRANSACTIONS_MAX 100
/* A route is asked anew after this, even where connections would last longer. */
#define POOL_ROUTE_TIME (60 * NSEC_S)
#define POOL_ROUTES_MAX 10000

struct pool {
	struct loop *loop;
	struct group tasks;
	struct signal changed;
	struct list idle; /* oldest first */
	size_t idle_count;
	struct map by_destination; /* of idle connections; several may be equal */
	struct map routes;         /* domain → destination */
	uint64_t seed[2];
	nsec idle_time, route_time; /* POOL_IDLE_TIME and POOL_ROUTE_TIME, but in tests */
	bool closing;
};

/* 0, or the error of starting its task. */
int pool_init(struct pool *p, struct loop *loop);
/* Says QUIT to all and waits for that, until the deadline. */
void pool_close(struct task *tk, struct pool *p, nsec deadline);
/* After pool_close. */
void pool_done(struct pool *p);
/* Forgets routes and says QUIT to all idle connections: the configuration has changed. */
void pool_empty(struct pool *p);

/* An idle connection to where this domain's mail was last seen to go, or NULL. */
struct conn *pool_take(struct pool *p, str domain);
/* Takes c over: keeps it if it is of further use. */
void pool_give(struct pool *p, struct conn *c);
/* Takes c over, which is of no further use: says QUIT to it, in a task of its own. */
void pool_quit(struct pool *p, struct conn *c);
/* Does the domain's mail go to this destination, as far as is known? */
bool pool_leads_to(struct pool *p, str domain, str destination);
/* The domain's mail goes to this destination, as netd just said. Forgotten quietly when out of
 * memory. */
void pool_note_route(struct pool *p, str domain, str destination);
