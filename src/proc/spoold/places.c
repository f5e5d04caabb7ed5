/* Live traffic: who may pass one more on to a primary now, and what came of it. A place belongs to
 * the smtpout that took it, and is given back with it. */
#include "base/cleanup.h"
#include "base/log.h"
#include "proc/spoold/said.h"
#include "proc/spoold/spoold.h"

#include <stdlib.h>

#define REPLY_DEADLINE (5 * NSEC_S) /* later nobody waits for a place any more */

static const uint64_t seed[2] = { 0x706c61636573, 1 };

/* A place that one smtpout has taken, or, without a name, those of a domain. Bounded by what the
 * scheduler grants. */
struct places {
	struct map_link link;
	uint64_t name; /* 0: none */
	uint32_t count;
	char domain[];
};

void places_init(struct spoold *sp)
{
	for (size_t i = 0; i < SMTPOUTS_MAX; i++)
		map_init(&sp->places[i]);
}

static uint64_t hash(uint64_t name, str domain)
{
	return str_hash(domain, seed, true) ^ (name * 0x9e3779b97f4a7c15ULL);
}

static struct places *find(const struct map *map, uint64_t name, str domain)
{
	MAP_FIND (map, hash(name, domain), struct places, link, p)
		if (p->name == name && str_case_eq(str_of(p->domain), domain))
			return p;
	return NULL;
}

static struct places *get(struct map *map, uint64_t name, str domain)
{
	struct places *p = find(map, name, domain);

	if (p)
		return p;
	p = calloc(1, sizeof(*p) + domain.n + 1);
	if (!p)
		return NULL;
	p->name = name;
	str_copy(domain, p->domain, domain.n + 1);
	if (map_insert(map, &p->link, hash(name, domain)) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

static void forget(struct map *map, struct places *p)
{
	map_remove(map, &p->link);
	free(p);
}

static struct map *map_of(struct spoold *sp, const struct channel *ch)
{
	for (size_t i = 0; i < SMTPOUTS_MAX; i++)
		if (sp->smtpout[i] == ch)
			return &sp->places[i];
	return NULL;
}

/* --- taking --- */

static enum sched_live take(struct spoold *sp, struct map *map, const Locum__TakePlace *asked)
{
	str domain = str_of(asked->domain);
	enum sched_live live = sched_live_take(sp->sched, domain, loop_now(sp->loop));
	struct sched_report none = { 0 };
	struct places *p;

	if (live != LIVE_GRANTED)
		return live;
	p = get(map, asked->place, domain);
	if (!p) {
		sched_live_leave(sp->sched, domain, &none, 0, loop_now(sp->loop));
		return LIVE_FULL;
	}
	p->count++;
	return LIVE_GRANTED;
}

static void answer(struct task *tk, struct channel *ch, uint64_t call, enum sched_live live)
{
	static const char *const why[] = {
		[LIVE_GRANTED] = "",
		[LIVE_UNKNOWN_DOMAIN] = "the domain is not configured",
		[LIVE_DOWN] = "the primary is down",
		[LIVE_FULL] = "as much as the primary bears is under way already",
		[LIVE_STOPPED] = "this server is about to end",
	};
	Locum__Place place = LOCUM__PLACE__INIT;
	IPC_PACKET(packet, PLACE, place, &place);

	place.granted = live == LIVE_GRANTED;
	place.text = (char *)why[live];
	ipc_reply(tk, ch, call, &packet, -1, task_in(tk, REPLY_DEADLINE));
}

/* --- leaving --- */

static void leave(struct spoold *sp, struct map *map, const Locum__LeavePlace *left)
{
	struct places *p = find(map, left->place, str_of(left->domain));
	struct sched_report report = {
		.attempt = attempt_tried(left->attempt),
		.destination = attempt_destination(left->host),
		.text = str_of(left->text),
		.latency = (nsec)MIN(left->latency_us, (uint64_t)3600000000) * NSEC_US,
		.delivered = left->delivered,
		.said = left->delivered ? SAID_NOTHING : said_of(str_of(left->text), left->host),
	};

	if (!p && left->place)
		return; /* it did not wait for the answer, which was no */
	if (!p) {
		log_error("place.not_taken", K_Z("domain", left->domain));
		return;
	}
	sched_live_leave(sp->sched, str_of(left->domain), &report, left->body_bytes,
			 loop_now(sp->loop));
	known_seen(sp, str_of(left->domain), left->host);
	if (--p->count == 0)
		forget(map, p);
	signal_raise(&sp->work);
}

static void leave_all(struct spoold *sp, struct map *map)
{
	struct sched_report none = { 0 };
	struct map_link *link;

	while ((link = map_walk(map, NULL))) {
		struct places *p = CONTAINER(link, struct places, link);

		for (; p->count > 0; p->count--)
			sched_live_leave(sp->sched, str_of(p->domain), &none, 0,
					 loop_now(sp->loop));
		forget(map, p);
	}
}

void places_message(struct task *tk, struct spoold *sp, struct channel *ch, struct ipc_message *m)
{
	struct map *map = map_of(sp, ch);

	if (!map)
		return;
	if (m->packet->body_case == LOCUM__PACKET__BODY_TAKE_PLACE)
		answer(tk, ch, m->packet->call, take(sp, map, m->packet->take_place));
	else if (m->packet->body_case == LOCUM__PACKET__BODY_LEAVE_PLACE)
		leave(sp, map, m->packet->leave_place);
}

void places_gone(struct spoold *sp, size_t smtpout)
{
	leave_all(sp, &sp->places[smtpout]);
}

void places_done(struct spoold *sp)
{
	for (size_t i = 0; i < SMTPOUTS_MAX; i++) {
		struct map_link *link;

		while ((link = map_walk(&sp->places[i], NULL)))
			forget(&sp->places[i], CONTAINER(link, struct places, link));
		map_done(&sp->places[i]);
	}
}
