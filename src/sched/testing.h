/*
 * testing: a small world in virtual time, for the tests of this folder: primaries with a mode and a
 * latency, messages, and what came of them. Tests only.
 */
#pragma once

#include "sched/sched.h"
#include "sched/timing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum mode {
	UP,
	UNREACHABLE,
	REFUSING,
	REFUSING_MAIL,
	NO_ROUTE,
	DEFERS,
	LOSES,
	HANGS,
	SLOW_WHEN_BUSY,
	GREYLISTS, /* takes what it was first given so long ago */
	BLOCKS     /* each message is held */
};

#define GREYLIST_WAIT (5 * NSEC_MINUTE)

#define PRIMARIES_MAX 10000
#define PENDING_MAX 20000

struct primary {
	enum mode mode;
	const char *key;
	uint64_t attempts, probes, delivered, turned_away;
	uint32_t in_flight, in_flight_most;
	uint32_t takes, taken; /* deliveries at once, by a quick 421 to the others; 0: any number */
	nsec first_delivery;
};

struct mail {
	struct sched_entry entry;
	bool done;
	nsec done_at, first_try;
	unsigned attempts;
};

struct pending {
	nsec at;
	struct mail *mail; /* NULL: a probe */
	uint64_t probe;
	enum mode mode;
	bool taken;
	char domain[32];
};

struct world {
	struct sched *s;
	nsec now, latency;
	struct primary *primary; /* by the number in the domain's name "dN" */
	struct pending *pending;
	size_t pending_count;
	uint64_t wakes, actions, parked;
	unsigned up, down, drains, said, said_no_more;
	struct mail *last_started, *last_parked;
};

static inline void notice(void *arg, enum sched_notice n, const struct sched_destination *d,
			  int64_t value)
{
	struct world *w = arg;

	(void)d;
	assert_true(value >= 0);
	switch (n) {
	case NOTICE_UP:
		w->up++;
		break;
	case NOTICE_DOWN:
		w->down++;
		break;
	case NOTICE_DRAIN_FINISHED:
		w->drains++;
		break;
	case NOTICE_SAID:
		w->said++;
		break;
	case NOTICE_SAID_NO_MORE:
		w->said_no_more++;
		break;
	case NOTICE_DRAIN_STARTED:
	case NOTICE_DRAIN_BROKEN:
		break;
	}
}

static inline void world_init(struct world *w, uint64_t seed)
{
	struct sched_options o = { .seed = { seed, 2 },
				   .window_max = 32,
				   .in_flight_max = 1000,
				   .live_max = 1000,
				   .probes_max = 1000,
				   .notice = notice,
				   .notice_arg = w };

	*w = (struct world){ .now = NSEC_DAY, .latency = 20 * NSEC_MS };
	w->primary = calloc(PRIMARIES_MAX, sizeof(*w->primary));
	w->pending = calloc(PENDING_MAX, sizeof(*w->pending));
	assert_non_null(w->primary);
	assert_non_null(w->pending);
	assert_int_equal(sched_new(&o, &w->s), 0);
}

static inline void world_done(struct world *w)
{
	sched_free(w->s);
	free(w->primary);
	free(w->pending);
}

static inline struct sched_domain *domain(struct world *w, unsigned number)
{
	char name[32];
	struct sched_domain *d;

	snprintf(name, sizeof(name), "d%u", number);
	assert_int_equal(sched_domain_get(w->s, str_of(name), w->now, &d), 0);
	if (!d->configured)
		sched_domain_configure(w->s, d, true, 30 * NSEC_DAY, w->now);
	return d;
}

static inline struct primary *primary_of(struct world *w, const char *name)
{
	return &w->primary[strtoul(name + 1, NULL, 10)];
}

static inline void send_bytes(struct world *w, unsigned number, struct mail *mail, uint64_t bytes)
{
	*mail = (struct mail){ 0 };
	assert_int_equal(sched_add(w->s, domain(w, number), &mail->entry, PLACE_READY, w->now,
				   bytes, w->now),
			 0);
}

static inline void send(struct world *w, unsigned number, struct mail *mail)
{
	send_bytes(w, number, mail, 1000);
}

static inline void pend(struct world *w, const struct sched_action *a, struct primary *p)
{
	struct pending *x = &w->pending[w->pending_count++];

	assert_true(w->pending_count < PENDING_MAX);
	*x = (struct pending){ .mail = (struct mail *)a->entry,
			       .probe = a->probe,
			       .mode = p->mode,
			       .at = w->now + w->latency };
	snprintf(x->domain, sizeof(x->domain), "%s", a->domain->name);
	if (a->entry && a->entry->bytes > 1000)
		x->at = w->now + w->latency * (nsec)(a->entry->bytes / 1000);
	if (p->mode == HANGS)
		x->at = w->now + 10 * NSEC_MINUTE;
	if (p->mode == SLOW_WHEN_BUSY && a->entry)
		x->at = w->now + w->latency * (p->in_flight + 1);
	if (!p->takes || !a->entry)
		return;
	x->taken = p->taken < p->takes;
	p->taken += x->taken;
	if (!x->taken) {
		p->turned_away++;
		x->mode = REFUSING;
		x->at = w->now + w->latency / 10;
	}
}

static inline void act(struct world *w, const struct sched_action *a)
{
	struct primary *p = primary_of(w, a->domain->name);

	w->actions++;
	switch (a->what) {
	case SCHED_NONE:
		break;
	case SCHED_PARK:
		w->parked++;
		w->last_parked = (struct mail *)a->entry;
		break;
	case SCHED_PROBE:
		p->probes++;
		pend(w, a, p);
		break;
	case SCHED_DELIVER:
		w->last_started = (struct mail *)a->entry;
		if (w->last_started->attempts++ == 0)
			w->last_started->first_try = w->now;
		p->attempts++;
		pend(w, a, p);
		p->in_flight++;
		p->in_flight_most = MAX(p->in_flight_most, p->in_flight);
		break;
	}
}

static const struct {
	enum sched_attempt probe, attempt;
	enum sched_fate fate;
} outcomes[] = {
	[UP] = { TRIED_ANSWERED, TRIED_ANSWERED, FATE_DONE },
	[UNREACHABLE] = { TRIED_UNREACHABLE, TRIED_UNREACHABLE, FATE_UNTRIED },
	[REFUSING] = { TRIED_REFUSING, TRIED_REFUSING, FATE_UNTRIED },
	[REFUSING_MAIL] = { TRIED_ANSWERED, TRIED_REFUSING, FATE_UNTRIED },
	[NO_ROUTE] = { TRIED_NO_ROUTE, TRIED_NO_ROUTE, FATE_UNTRIED },
	[DEFERS] = { TRIED_ANSWERED, TRIED_ANSWERED, FATE_DEFERRED },
	[LOSES] = { TRIED_ANSWERED, TRIED_LOST, FATE_LOST },
	[HANGS] = { TRIED_UNREACHABLE, TRIED_UNREACHABLE, FATE_UNTRIED },
	[SLOW_WHEN_BUSY] = { TRIED_ANSWERED, TRIED_ANSWERED, FATE_DONE },
	[GREYLISTS] = { TRIED_ANSWERED, TRIED_ANSWERED, FATE_DEFERRED },
	[BLOCKS] = { TRIED_ANSWERED, TRIED_ANSWERED, FATE_HELD },
};

static inline void finish(struct world *w, const struct pending *x)
{
	struct primary *p = primary_of(w, x->domain);
	struct sched_report report = { .destination = str_of(x->mode == NO_ROUTE ? NULL : p->key),
				       .text = STR("as it was"),
				       .latency = w->latency };
	enum sched_fate fate = outcomes[x->mode].fate;

	if (!x->mail) {
		report.attempt = outcomes[x->mode].probe;
		sched_probed(w->s, x->probe, str_of(x->domain), &report, w->now);
		return;
	}
	if (x->mode == GREYLISTS && w->now - x->mail->first_try >= GREYLIST_WAIT)
		fate = FATE_DONE;
	if (x->mode == GREYLISTS && fate != FATE_DONE)
		report.said = SAID_GREYLISTED;
	if (x->mode == BLOCKS)
		report.said = SAID_BLOCKED;
	report.attempt = outcomes[x->mode].attempt;
	report.delivered = fate == FATE_DONE;
	if (x->mode == SLOW_WHEN_BUSY)
		report.latency = w->latency * p->in_flight;
	p->in_flight--;
	p->taken -= x->taken;
	if (fate == FATE_DONE) {
		x->mail->done = true;
		x->mail->done_at = w->now;
		if (!p->delivered++)
			p->first_delivery = w->now;
	}
	sched_attempted(w->s, &x->mail->entry, fate, &report, w->now);
}

static inline void act_all(struct world *w)
{
	struct sched_action a;

	w->wakes++;
	for (sched_next(w->s, w->now, &a); a.what != SCHED_NONE; sched_next(w->s, w->now, &a))
		act(w, &a);
}

static inline size_t first_pending(const struct world *w)
{
	size_t first = 0;

	for (size_t i = 1; i < w->pending_count; i++)
		if (w->pending[i].at < w->pending[first].at)
			first = i;
	return first;
}

static inline void run(struct world *w, nsec duration)
{
	nsec end = w->now + duration;

	for (;;) {
		size_t first;
		nsec next;

		act_all(w);
		first = first_pending(w);
		next = sched_wake_at(w->s);
		assert_true(next > w->now); /* it said that there is nothing to do now */
		if (w->pending_count)
			next = MIN(next, w->pending[first].at);
		if (next > end)
			break;
		w->now = next;
		if (w->pending_count && w->pending[first].at <= w->now) {
			struct pending x = w->pending[first];

			w->pending[first] = w->pending[--w->pending_count];
			finish(w, &x);
		}
	}
	w->now = end;
}

static inline size_t done_count(const struct mail *mail, size_t n)
{
	size_t done = 0;

	for (size_t i = 0; i < n; i++)
		done += mail[i].done;
	return done;
}

#define WORLD(seed)                                                                                \
	struct world w;                                                                            \
	(void)state;                                                                               \
	world_init(&w, seed)
