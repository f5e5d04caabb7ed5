#include "proc/smtpout/pool.h"

#include "task/sys.h"

#include <stdlib.h>

struct route {
	struct map_link link;
	nsec known_until;
	char *destination;
	char domain[];
};

static void route_free(struct route *r)
{
	free(r->destination);
	free(r);
}

static struct route *find_route(struct pool *p, str domain)
{
	MAP_FIND (&p->routes, str_hash(domain, p->seed, true), struct route, link, r)
		if (str_case_eq(str_of(r->domain), domain))
			return r;
	return NULL;
}

static void forget_routes(struct pool *p)
{
	struct map_link *link = map_walk(&p->routes, NULL);

	while (link) {
		struct map_link *next = map_walk(&p->routes, link);

		map_remove(&p->routes, link);
		route_free(CONTAINER(link, struct route, link));
		link = next;
	}
}

void pool_note_route(struct pool *p, str domain, str destination)
{
	struct route *r = find_route(p, domain);
	char *copy;

	if (!r) {
		if (p->routes.count >= POOL_ROUTES_MAX)
			forget_routes(p);
		r = calloc(1, sizeof(*r) + domain.n + 1);
		if (!r)
			return;
		memcpy(r->domain, domain.p, domain.n);
		if (map_insert(&p->routes, &r->link, str_hash(domain, p->seed, true)) < 0) {
			free(r);
			return;
		}
	}
	if (!r->destination || !str_eq(str_of(r->destination), destination)) {
		copy = destination.n ? strndup(destination.p, destination.n) : NULL;
		if (!copy) {
			map_remove(&p->routes, &r->link);
			route_free(r);
			return;
		}
		free(r->destination);
		r->destination = copy;
	}
	r->known_until = loop_now(p->loop) + p->route_time;
}

/* --- idle connections --- */

static void take_out(struct pool *p, struct conn *c)
{
	list_remove(&c->idle);
	map_remove(&p->by_destination, &c->by_destination);
	p->idle_count--;
}

static void quit_task(struct task *tk, void *arg)
{
	conn_quit(tk, arg);
}

void pool_quit(struct pool *p, struct conn *c)
{
	if (c->broken || task_start(p->loop, &p->tasks, "quit", quit_task, c) < 0)
		conn_free(c);
}

/* NULL: not known any more. */
static struct route *current_route(struct pool *p, str domain)
{
	struct route *route = find_route(p, domain);

	return route && route->known_until > loop_now(p->loop) ? route : NULL;
}

bool pool_leads_to(struct pool *p, str domain, str destination)
{
	const struct route *route = current_route(p, domain);

	return route && str_eq(str_of(route->destination), destination);
}

struct conn *pool_take(struct pool *p, str domain)
{
	struct route *route = current_route(p, domain);
	str key;

	if (!route)
		return NULL;
	key = str_of(route->destination);
	MAP_FIND (&p->by_destination, str_hash(key, p->seed, false), struct conn, by_destination,
		  c) {
		if (!str_eq(str_of(c->destination), key))
			continue;
		take_out(p, c);
		c->reused = true;
		return c;
	}
	return NULL;
}

void pool_give(struct pool *p, struct conn *c)
{
	bool was_empty = list_empty(&p->idle);

	if (c->broken || p->closing || c->transactions >= POOL_TRANSACTIONS_MAX ||
	    map_insert(&p->by_destination, &c->by_destination,
		       str_hash(str_of(c->destination), p->seed, false)) < 0) {
		pool_quit(p, c);
		return;
	}
	c->idle_until = loop_now(p->loop) + p->idle_time;
	list_append(&p->idle, &c->idle);
	p->idle_count++;
	if (p->idle_count > POOL_IDLE_MAX) {
		struct conn *oldest = LIST_FIRST(&p->idle, struct conn, idle);

		take_out(p, oldest);
		pool_quit(p, oldest);
	}
	/* All wait equally long, so the janitor sleeps until the first one's time, whichever it is
	 * then. */
	if (was_empty)
		signal_raise(&p->changed);
}

void pool_empty(struct pool *p)
{
	struct conn *c;

	while ((c = LIST_FIRST(&p->idle, struct conn, idle))) {
		take_out(p, c);
		pool_quit(p, c);
	}
	forget_routes(p);
}

static void janitor(struct task *tk, void *arg)
{
	struct pool *p = arg;

	while (!p->closing) {
		struct conn *first = LIST_FIRST(&p->idle, struct conn, idle);
		int r;

		if (first && first->idle_until <= task_now(tk)) {
			take_out(p, first);
			pool_quit(p, first);
			continue;
		}
		r = signal_wait(tk, &p->changed, first ? first->idle_until : NEVER);
		if (r == -ECANCELED)
			return;
	}
}

int pool_init(struct pool *p, struct loop *loop)
{
	*p = (struct pool){ .loop = loop,
			    .idle_time = POOL_IDLE_TIME,
			    .route_time = POOL_ROUTE_TIME };
	group_init(&p->tasks, loop);
	signal_init(&p->changed);
	list_init(&p->idle);
	map_init(&p->by_destination);
	map_init(&p->routes);
	sys_random(p->seed, sizeof(p->seed));
	return task_start(loop, &p->tasks, "pool janitor", janitor, p);
}

void pool_close(struct task *tk, struct pool *p, nsec deadline)
{
	p->closing = true;
	signal_raise(&p->changed);
	pool_empty(p);
	if (group_wait(tk, &p->tasks, deadline) < 0) {
		group_cancel(&p->tasks);
		group_wait(tk, &p->tasks, NEVER);
	}
}

void pool_done(struct pool *p)
{
	must(list_empty(&p->idle));
	forget_routes(p);
	map_done(&p->by_destination);
	map_done(&p->routes);
}
