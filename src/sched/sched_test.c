/* A small world in virtual time: primaries with a mode and a latency, messages, and what came of them. */
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
	SLOW_WHEN_BUSY
};

#define PRIMARIES_MAX 10000
#define PENDING_MAX 20000

struct primary {
	enum mode mode;
	const char *key;
	uint64_t attempts, probes, delivered;
	uint32_t in_flight, in_flight_most;
	nsec first_delivery;
};

struct mail {
	struct sched_entry entry;
	bool done;
	nsec done_at;
	unsigned attempts;
};

struct pending {
	nsec at;
	struct mail *mail; /* NULL: a probe */
	uint64_t probe;
	enum mode mode;
	char domain[32];
};

struct world {
	struct sched *s;
	nsec now, latency;
	struct primary *primary; /* by the number in the domain's name "dN" */
	struct pending *pending;
	size_t pending_count;
	uint64_t wakes, actions, parked;
	unsigned up, down, drains;
	struct mail *last_started, *last_parked;
};

static void notice(void *arg, enum sched_notice n, const struct sched_destination *d, int64_t value)
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
	case NOTICE_DRAIN_STARTED:
	case NOTICE_DRAIN_BROKEN:
		break;
	}
}

static void world_init(struct world *w, uint64_t seed)
{
	struct sched_options o = { .seed = { seed, 2 },
				   .window_max = 32,
				   .in_flight_max = 1000,
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

static void world_done(struct world *w)
{
	sched_free(w->s);
	free(w->primary);
	free(w->pending);
}

static struct sched_domain *domain(struct world *w, unsigned number)
{
	char name[32];
	struct sched_domain *d;

	snprintf(name, sizeof(name), "d%u", number);
	assert_int_equal(sched_domain_get(w->s, str_of(name), w->now, &d), 0);
	if (!d->configured)
		sched_domain_configure(w->s, d, true, 30 * NSEC_DAY, w->now);
	return d;
}

static struct primary *primary_of(struct world *w, const char *name)
{
	return &w->primary[strtoul(name + 1, NULL, 10)];
}

static void send(struct world *w, unsigned number, struct mail *mail)
{
	*mail = (struct mail){ 0 };
	assert_int_equal(sched_add(w->s, domain(w, number), &mail->entry, PLACE_READY, w->now, 1000,
				   w->now),
			 0);
}

static void pend(struct world *w, const struct sched_action *a, struct primary *p)
{
	struct pending *x = &w->pending[w->pending_count++];

	assert_true(w->pending_count < PENDING_MAX);
	*x = (struct pending){ .mail = (struct mail *)a->entry,
			       .probe = a->probe,
			       .mode = p->mode,
			       .at = w->now + w->latency };
	snprintf(x->domain, sizeof(x->domain), "%s", a->domain->name);
	if (p->mode == HANGS)
		x->at = w->now + 10 * NSEC_MINUTE;
	if (p->mode == SLOW_WHEN_BUSY && a->entry)
		x->at = w->now + w->latency * (p->in_flight + 1);
}

static void act(struct world *w, const struct sched_action *a)
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
		w->last_started->attempts++;
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
};

static void finish(struct world *w, const struct pending *x)
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
	report.attempt = outcomes[x->mode].attempt;
	report.delivered = fate == FATE_DONE;
	if (x->mode == SLOW_WHEN_BUSY)
		report.latency = w->latency * p->in_flight;
	p->in_flight--;
	if (fate == FATE_DONE) {
		x->mail->done = true;
		x->mail->done_at = w->now;
		if (!p->delivered++)
			p->first_delivery = w->now;
	}
	sched_attempted(w->s, &x->mail->entry, fate, &report, w->now);
}

static void act_all(struct world *w)
{
	struct sched_action a;

	w->wakes++;
	for (sched_next(w->s, w->now, &a); a.what != SCHED_NONE; sched_next(w->s, w->now, &a))
		act(w, &a);
}

static size_t first_pending(const struct world *w)
{
	size_t first = 0;

	for (size_t i = 1; i < w->pending_count; i++)
		if (w->pending[i].at < w->pending[first].at)
			first = i;
	return first;
}

static void run(struct world *w, nsec duration)
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

static size_t done_count(const struct mail *mail, size_t n)
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

static void the_first_mail_is_tried_at_once_and_alone(void **state)
{
	static struct mail mail[100];

	WORLD(1);
	for (size_t i = 0; i < 100; i++)
		send(&w, 1, &mail[i]);
	act_all(&w);
	assert_int_equal(w.primary[1].attempts, 1);
	assert_int_equal(w.primary[1].probes, 0);
	world_done(&w);
}

static void the_window_doubles_every_round_up_to_its_cap(void **state)
{
	static const uint32_t at_once[] = { 1, 2, 4, 8, 16, 32, 32 };
	static struct mail mail[500];

	WORLD(2);
	for (size_t i = 0; i < 500; i++)
		send(&w, 1, &mail[i]);
	act_all(&w);
	for (size_t i = 0; i < ELEMENTS(at_once); i++) {
		assert_int_equal(w.primary[1].in_flight, at_once[i]);
		run(&w, w.latency);
	}
	run(&w, NSEC_S);
	assert_int_equal(done_count(mail, 500), 500);
	assert_int_equal(sched_in_flight(w.s), 0);
	world_done(&w);
}

static void while_it_is_down_nothing_is_tried_but_one_probe(void **state)
{
	static struct mail mail[1000];

	WORLD(3);
	w.primary[1].mode = UNREACHABLE;
	for (size_t i = 0; i < 1000; i++)
		send(&w, 1, &mail[i]);
	run(&w, NSEC_HOUR);
	assert_int_equal(w.primary[1].attempts, 1);
	assert_in_range(w.primary[1].probes, 250, 600);
	assert_int_equal(w.down, 1);
	w.primary[1].probes = 0;
	run(&w, 5 * NSEC_DAY);
	assert_in_range(w.primary[1].probes, 5 * 1440, 5 * 1440 * 3 / 2);
	assert_true(w.wakes < 4 * w.actions + 10);
	world_done(&w);
}

static void mail_flows_ten_seconds_after_the_primary_returns(void **state)
{
	static const nsec outages[] = { NSEC_S,          10 * NSEC_S,      NSEC_MINUTE,
					5 * NSEC_MINUTE, 10 * NSEC_MINUTE, 29 * NSEC_MINUTE };
	static const enum mode modes[] = { UNREACHABLE, REFUSING };
	static struct mail mail[200];

	for (uint64_t seed = 0; seed < 20; seed++) {
		enum mode mode = modes[seed % ELEMENTS(modes)];

		for (size_t i = 0; i < ELEMENTS(outages); i++) {
			nsec back;

			WORLD(seed);
			w.primary[1].mode = mode;
			for (size_t j = 0; j < 200; j++)
				send(&w, 1, &mail[j]);
			run(&w, outages[i]);
			w.primary[1].mode = UP;
			back = w.now;
			run(&w, 12 * NSEC_S);
			assert_int_equal(done_count(mail, 200), 200);
			assert_true(w.primary[1].first_delivery - back <=
				    8 * NSEC_S + 2 * w.latency);
			assert_int_equal(w.primary[1].attempts, 201);
			assert_int_equal(w.up, 1);
			assert_int_equal(w.drains, 1);
			world_done(&w);
		}
	}
}

static void a_canary_goes_first_and_a_refused_one_stops_the_rest(void **state)
{
	static struct mail mail[100];

	WORLD(4);
	w.primary[1].mode = UNREACHABLE;
	for (size_t i = 0; i < 100; i++)
		send(&w, 1, &mail[i]);
	run(&w, NSEC_MINUTE);
	w.primary[1].mode = REFUSING_MAIL; /* probes succeed, transactions get 421 */
	w.primary[1].attempts = 0;
	w.primary[1].in_flight_most = 0;
	run(&w, 10 * NSEC_MINUTE);
	assert_int_equal(w.primary[1].in_flight_most, 1);
	assert_in_range(w.primary[1].attempts, 60, 200);
	assert_int_equal(w.up, 0);
	w.primary[1].mode = UP;
	run(&w, 20 * NSEC_S);
	assert_int_equal(done_count(mail, 100), 100);
	assert_int_equal(w.up, 1);
	world_done(&w);
}

static void a_421_among_successes_halves_the_window_once_a_round(void **state)
{
	static struct mail mail[2000];
	struct sched_destination *d;

	WORLD(5);
	for (size_t i = 0; i < 2000; i++)
		send(&w, 1, &mail[i]);
	run(&w, 6 * w.latency);
	d = domain(&w, 1)->destination;
	assert_int_equal(d->window, 32);
	for (size_t i = 0; i < 10; i++)
		w.pending[i].mode = REFUSING;
	run(&w, w.latency);
	assert_in_range(d->window, 16, 18);
	assert_int_equal(d->health, HEALTH_UP);
	run(&w, NSEC_MINUTE);
	assert_int_equal(done_count(mail, 2000), 2000);
	world_done(&w);
}

static void when_all_are_refused_at_once_it_is_down(void **state)
{
	static struct mail mail[500];

	WORLD(5);
	for (size_t i = 0; i < 500; i++)
		send(&w, 1, &mail[i]);
	run(&w, 6 * w.latency);
	w.primary[1].attempts = 0;
	w.primary[1].mode = REFUSING;
	for (size_t i = 0; i < w.pending_count; i++)
		w.pending[i].mode = REFUSING;
	run(&w, NSEC_MINUTE);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_REFUSING);
	assert_int_equal(w.primary[1].attempts, 0);
	world_done(&w);
}

static void a_broken_connection_is_probed_before_anything_else_starts(void **state)
{
	static struct mail mail[50];

	WORLD(6);
	w.primary[1].mode = LOSES;
	for (size_t i = 0; i < 50; i++)
		send(&w, 1, &mail[i]);
	run(&w, w.latency);
	assert_int_equal(w.primary[1].attempts, 1);
	assert_int_equal(w.primary[1].probes, 1);
	assert_int_equal(mail[0].entry.place, PLACE_WAITING);
	run(&w, NSEC_MINUTE);
	/* A primary that breaks every connection costs few duplicates. */
	assert_in_range(w.primary[1].attempts, 3, 12);
	w.primary[1].mode = UP;
	run(&w, 10 * NSEC_MINUTE);
	assert_int_equal(done_count(mail, 50), 50);
	world_done(&w);
}

static void a_broken_connection_to_a_dead_primary_takes_it_down(void **state)
{
	static struct mail mail[3];

	WORLD(7);
	for (size_t i = 0; i < 3; i++)
		send(&w, 1, &mail[i]);
	act_all(&w);
	w.pending[0].mode = LOSES;
	w.primary[1].mode = UNREACHABLE;
	run(&w, NSEC_S);
	assert_int_equal(w.primary[1].attempts, 1);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_UNREACHABLE);
	world_done(&w);
}

static void a_deferred_message_waits_alone(void **state)
{
	static struct mail mail[20];

	WORLD(8);
	for (size_t i = 0; i < 20; i++)
		send(&w, 1, &mail[i]);
	act_all(&w);
	w.pending[0].mode = DEFERS;
	run(&w, NSEC_S);
	assert_int_equal(done_count(mail, 20), 19);
	assert_int_equal(w.primary[1].probes, 0);
	assert_in_range(mail[0].entry.node.at - w.now, 22 * NSEC_S, 30 * NSEC_S);
	run(&w, NSEC_MINUTE);
	assert_int_equal(done_count(mail, 20), 20);
	world_done(&w);
}

static void a_message_always_deferred_is_tried_every_fifteen_minutes(void **state)
{
	struct mail mail;

	WORLD(9);
	w.primary[1].mode = DEFERS;
	send(&w, 1, &mail);
	run(&w, NSEC_DAY);
	assert_in_range(mail.attempts, 96, 130);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_UP);
	world_done(&w);
}

static void domains_of_one_primary_share_probe_and_window_fairly(void **state)
{
	static struct mail mail[3][400];

	WORLD(10);
	for (unsigned n = 0; n < 3; n++) {
		w.primary[n].mode = UNREACHABLE;
		w.primary[n].key = "mx.example:25";
		for (size_t i = 0; i < 400; i++)
			send(&w, n, &mail[n][i]);
	}
	run(&w, NSEC_MINUTE);
	assert_int_equal(domain(&w, 0)->destination, domain(&w, 2)->destination);
	assert_in_range(w.primary[0].probes + w.primary[1].probes + w.primary[2].probes, 14, 40);
	for (unsigned n = 0; n < 3; n++)
		w.primary[n].mode = UP;
	while (!w.primary[0].delivered)
		run(&w, w.latency);
	run(&w, 12 * w.latency);
	for (unsigned n = 0; n < 3; n++) {
		assert_true(w.primary[n].in_flight <= 11);
		assert_in_range(w.primary[n].delivered, w.primary[0].delivered - 1,
				w.primary[0].delivered + 1);
	}
	assert_int_equal(sched_in_flight(w.s), 32);
	run(&w, 30 * NSEC_S);
	world_done(&w);
}

static void a_domain_without_a_route_does_not_stop_its_neighbours(void **state)
{
	static struct mail mail[2][50];

	WORLD(11);
	for (unsigned n = 0; n < 2; n++) {
		w.primary[n].key = "mx.example:25";
		send(&w, n, &mail[n][0]);
	}
	run(&w, NSEC_S);
	w.primary[0].mode = NO_ROUTE;
	for (unsigned n = 0; n < 2; n++)
		for (size_t i = 1; i < 50; i++)
			send(&w, n, &mail[n][i]);
	run(&w, 10 * NSEC_S);
	assert_int_equal(done_count(mail[1], 50), 50);
	assert_int_equal(domain(&w, 0)->destination->health, HEALTH_NO_ROUTE);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_UP);
	assert_string_equal(domain(&w, 0)->destination->key, "d0");
	assert_string_equal(domain(&w, 0)->destination->text, "as it was");
	w.primary[0].probes = 0;
	run(&w, 10 * NSEC_MINUTE);
	assert_in_range(w.primary[0].probes, 80, 115);
	w.primary[0].mode = UP;
	run(&w, NSEC_MINUTE);
	assert_int_equal(done_count(mail[0], 50), 50);
	assert_string_equal(domain(&w, 0)->destination->key, "mx.example:25");
	world_done(&w);
}

static void a_route_lost_during_an_outage_does_not_prolong_it_for_the_neighbours(void **state)
{
	static struct mail mail[2];

	WORLD(24);
	for (unsigned n = 0; n < 2; n++) {
		w.primary[n].mode = UNREACHABLE;
		w.primary[n].key = "mx.example:25";
		send(&w, n, &mail[n]);
	}
	run(&w, NSEC_MINUTE);
	w.primary[0].mode = NO_ROUTE;
	run(&w, 20 * NSEC_S);
	assert_int_equal(domain(&w, 0)->destination->health, HEALTH_NO_ROUTE);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_UNREACHABLE);
	w.primary[1].mode = UP;
	run(&w, 10 * NSEC_S);
	assert_true(mail[1].done);
	world_done(&w);
}

static void the_oldest_goes_first_even_after_its_own_wait(void **state)
{
	static struct mail mail[3];

	WORLD(12);
	send(&w, 1, &mail[0]);
	act_all(&w);
	w.pending[0].mode = DEFERS;
	run(&w, NSEC_S);
	w.primary[1].mode = UNREACHABLE;
	send(&w, 1, &mail[1]);
	send(&w, 1, &mail[2]);
	run(&w, NSEC_MINUTE);
	w.primary[1].mode = UP;
	w.last_started = NULL;
	while (!w.last_started)
		run(&w, w.latency / 2);
	assert_ptr_equal(w.last_started, &mail[0]);
	run(&w, NSEC_MINUTE);
	assert_true(mail[1].done_at <= mail[2].done_at);
	world_done(&w);
}

static void what_is_older_than_the_hold_time_is_parked(void **state)
{
	static struct mail mail[2];
	struct sched_domain *d;

	WORLD(13);
	w.primary[1].mode = UNREACHABLE;
	d = domain(&w, 1);
	sched_domain_configure(w.s, d, true, NSEC_DAY, w.now);
	send(&w, 1, &mail[0]);
	run(&w, NSEC_HOUR);
	send(&w, 1, &mail[1]);
	run(&w, 23 * NSEC_HOUR - NSEC_S);
	assert_int_equal(w.parked, 0);
	run(&w, 2 * NSEC_S);
	assert_int_equal(w.parked, 1);
	assert_ptr_equal(w.last_parked, &mail[0]);
	assert_int_equal(d->held, 1);
	sched_domain_configure(w.s, d, true, 3 * NSEC_DAY, w.now);
	run(&w, 10 * NSEC_HOUR);
	assert_int_equal(w.parked, 1);
	sched_release(w.s, &mail[0].entry, w.now);
	run(&w, 20 * NSEC_HOUR);
	assert_int_equal(w.parked, 1); /* its age counts anew */
	sched_domain_configure(w.s, d, true, NSEC_HOUR, w.now);
	run(&w, NSEC_S);
	assert_int_equal(w.parked, 3);
	sched_release(w.s, &mail[0].entry, w.now);
	w.primary[1].mode = UP;
	run(&w, 2 * NSEC_MINUTE);
	assert_true(mail[0].done);
	assert_false(mail[1].done);
	world_done(&w);
}

static void a_domain_no_longer_configured_keeps_its_mail(void **state)
{
	static struct mail mail[2];
	struct sched_domain *d;

	WORLD(14);
	w.primary[1].mode = DEFERS;
	send(&w, 1, &mail[0]);
	run(&w, NSEC_S);
	w.primary[1].mode = UNREACHABLE;
	send(&w, 1, &mail[1]);
	run(&w, 31 * NSEC_S);
	d = sched_domain_find(w.s, STR("D1"));
	sched_domain_configure(w.s, d, false, NEVER, w.now);
	w.primary[1].mode = UP;
	w.actions = 0;
	run(&w, 60 * NSEC_DAY);
	assert_true(w.actions <= 1);
	assert_int_equal(d->queued, 2);
	sched_domain_configure(w.s, d, true, 90 * NSEC_DAY, w.now);
	run(&w, 2 * NSEC_MINUTE);
	assert_int_equal(done_count(mail, 2), 2);
	sched_domain_configure(w.s, d, false, NEVER, w.now);
	assert_null(sched_domain_find(w.s, STR("d1")));
	assert_null(sched_destination_walk(w.s, NULL));
	world_done(&w);
}

static void a_flush_probes_at_once_and_ends_every_wait(void **state)
{
	static struct mail mail[2];

	WORLD(15);
	w.primary[1].mode = DEFERS;
	send(&w, 1, &mail[0]);
	run(&w, NSEC_S);
	w.primary[1].mode = UNREACHABLE;
	send(&w, 1, &mail[1]);
	run(&w, 8 * NSEC_HOUR);
	w.primary[1].mode = UP;
	assert_int_equal(sched_flush(w.s, NULL, w.now), 2);
	run(&w, 5 * w.latency);
	assert_int_equal(done_count(mail, 2), 2);
	world_done(&w);
}

static void a_flush_during_an_attempt_counts_for_it_too(void **state)
{
	static struct mail mail;

	WORLD(16);
	w.primary[1].mode = DEFERS;
	send(&w, 1, &mail);
	act_all(&w);
	sched_flush(w.s, domain(&w, 1), w.now);
	w.primary[1].mode = UP;
	run(&w, 3 * w.latency);
	assert_true(mail.done);
	world_done(&w);
}

static void a_primary_that_died_silently_is_noticed_and_its_zombies_do_not_count(void **state)
{
	static struct mail mail[300];

	WORLD(17);
	w.primary[1].mode = UP;
	for (size_t i = 0; i < 300; i++)
		send(&w, 1, &mail[i]);
	run(&w, 6 * w.latency);
	assert_int_equal(w.primary[1].in_flight, 32);
	for (size_t i = 0; i < w.pending_count;
	     i++) { /* every connection hangs in mid-transaction */
		w.pending[i].at += 10 * NSEC_MINUTE;
		w.pending[i].mode = LOSES;
	}
	w.primary[1].mode = UNREACHABLE;
	run(&w, 2 * NSEC_MINUTE);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_UNREACHABLE);
	w.primary[1].mode = UP;
	run(&w, 15 * NSEC_S);
	assert_int_equal(done_count(mail, 300), 300 - 32);
	run(&w, NSEC_HOUR);
	assert_int_equal(done_count(mail, 300), 300);
	assert_int_equal(domain(&w, 1)->destination->stale, 0);
	world_done(&w);
}

static void a_primary_restarted_under_our_connections_gets_mail_again(void **state)
{
	static struct mail mail[300];

	WORLD(18);
	for (size_t i = 0; i < 300; i++)
		send(&w, 1, &mail[i]);
	run(&w, 6 * w.latency);
	for (size_t i = 0; i < w.pending_count; i++)
		w.pending[i].at += 10 * NSEC_MINUTE;
	run(&w, 35 * NSEC_S);
	assert_int_equal(done_count(mail, 300), 300 - 32);
	run(&w, NSEC_HOUR);
	assert_int_equal(done_count(mail, 300), 300);
	world_done(&w);
}

static void rising_latency_keeps_the_window_small(void **state)
{
	static struct mail mail[3000];

	WORLD(19);
	w.primary[1].mode = SLOW_WHEN_BUSY; /* twice as many at once take twice as long */
	for (size_t i = 0; i < 3000; i++)
		send(&w, 1, &mail[i]);
	run(&w, 20 * NSEC_S);
	w.primary[1].in_flight_most = 0;
	run(&w, 20 * NSEC_S);
	assert_in_range(w.primary[1].in_flight_most, 2, 16);
	world_done(&w);
}

static void stopped_it_starts_nothing_but_still_parks(void **state)
{
	static struct mail mail[2];

	WORLD(20);
	sched_domain_configure(w.s, domain(&w, 1), true, NSEC_HOUR, w.now);
	send(&w, 1, &mail[0]);
	sched_stop(w.s, true);
	run(&w, 2 * NSEC_HOUR);
	assert_int_equal(w.primary[1].attempts, 0);
	assert_int_equal(w.parked, 1);
	sched_stop(w.s, false);
	w.primary[1].mode = UNREACHABLE;
	send(&w, 1, &mail[1]);
	run(&w, NSEC_S);
	sched_stop(w.s, true);
	w.primary[1].probes = 0;
	run(&w, NSEC_MINUTE);
	assert_int_equal(w.primary[1].probes, 0);
	w.primary[1].mode = UP;
	sched_stop(w.s, false);
	run(&w, 5 * NSEC_S);
	assert_true(mail[1].done);
	world_done(&w);
}

static void a_probe_whose_domain_went_away_is_no_harm(void **state)
{
	static struct mail mail[2];
	struct sched_domain *d;

	WORLD(21);
	for (unsigned n = 0; n < 2; n++) {
		w.primary[n].mode = UNREACHABLE;
		w.primary[n].key = "mx.example:25";
		send(&w, n, &mail[n]);
	}
	run(&w, NSEC_S);
	while (w.pending_count == 0) /* until a probe is under way */
		run(&w, w.latency / 2);
	d = sched_domain_find(w.s, str_of(w.pending[0].domain));
	sched_remove(w.s, &mail[d->name[1] - '0'].entry, w.now);
	sched_domain_configure(w.s, d, false, NEVER, w.now);
	w.primary[0].mode = w.primary[1].mode = UP;
	run(&w, 10 * NSEC_S);
	assert_int_equal(done_count(mail, 2), 1);
	world_done(&w);
}

static void a_primary_that_moved_is_found_by_its_domains_without_delay(void **state)
{
	static struct mail mail[50];

	WORLD(22);
	for (unsigned n = 0; n < 50; n++) {
		w.primary[n].mode = UNREACHABLE;
		w.primary[n].key = "old.example:25";
		send(&w, n, &mail[n]);
	}
	run(&w, 5 * NSEC_MINUTE);
	for (unsigned n = 0; n < 50; n++) {
		w.primary[n].mode = UP;
		w.primary[n].key = "new.example:25";
	}
	run(&w, 10 * NSEC_S);
	assert_int_equal(done_count(mail, 50), 50);
	world_done(&w);
}

static void nine_thousand_domains_down_do_not_slow_a_thousand(void **state)
{
	struct mail *mail = calloc(PRIMARIES_MAX * 3, sizeof(*mail));
	uint64_t wakes, actions;

	WORLD(23);
	assert_non_null(mail);
	for (unsigned n = 0; n < PRIMARIES_MAX; n++) {
		w.primary[n].mode = n % 10 ? UNREACHABLE : UP;
		for (unsigned i = 0; i < 3; i++)
			send(&w, n, &mail[n * 3 + i]);
	}
	run(&w, 3 * NSEC_S);
	for (unsigned n = 0; n < PRIMARIES_MAX; n += 10)
		assert_int_equal(w.primary[n].delivered, 3);
	wakes = w.wakes;
	actions = w.actions;
	run(&w, 10 * NSEC_S);
	assert_true(w.actions - actions <= 10 * 501);
	assert_true(w.wakes - wakes <= 3 * (w.actions - actions) + 10);
	world_done(&w);
	free(mail);
}

/* Every fate, every attempt, every operator's action, at random: nothing is lost, nothing hangs, the
 * counts add up, and in the end all is delivered. */
static void whatever_happens_nothing_is_lost(void **state)
{
	static struct mail mail[400];

	for (uint64_t seed = 1; seed <= 30; seed++) {
		uint64_t x = seed * 0x9e3779b97f4a7c15ULL;

		WORLD(seed);
		for (size_t i = 0; i < 400; i++) {
			unsigned n = (unsigned)i % 7;
			struct mail *any = &mail[i / 2];

			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			w.primary[n].mode = (enum mode)(x % 9);
			w.primary[n].key = x >> 8 & 1 ? "a.example:25" : x >> 9 & 1 ? "b:25" : NULL;
			w.latency = (nsec)(x % 5000) * NSEC_MS;
			send(&w, n, &mail[i]);
			if (x >> 10 & 1)
				run(&w, (nsec)(x >> 11 & 0x3f) * NSEC_S);
			if ((x >> 20 & 7) == 0 && any->entry.place != PLACE_NONE &&
			    any->entry.place != PLACE_IN_FLIGHT)
				sched_hold(w.s, &any->entry, PLACE_HELD, w.now);
			if ((x >> 23 & 3) == 0)
				sched_release(w.s, &any->entry, w.now);
			if ((x >> 25 & 15) == 0)
				sched_flush(w.s, x >> 30 & 1 ? domain(&w, n) : NULL, w.now);
		}
		for (unsigned n = 0; n < 7; n++)
			w.primary[n].mode = UP;
		w.latency = 10 * NSEC_MS;
		run(&w, 2 * NSEC_HOUR);
		for (size_t i = 0; i < 400; i++)
			sched_release(w.s, &mail[i].entry, w.now);
		run(&w, NSEC_HOUR);
		assert_int_equal(done_count(mail, 400), 400);
		assert_int_equal(sched_in_flight(w.s), 0);
		for (struct sched_destination *d = sched_destination_walk(w.s, NULL); d;
		     d = sched_destination_walk(w.s, d)) {
			assert_int_equal(d->queued, 0);
			assert_int_equal(d->waiting, 0);
			assert_int_equal(d->in_flight, 0);
			assert_int_equal(d->stale, 0);
		}
		world_done(&w);
	}
}

static void an_entry_is_small(void **state)
{
	(void)state;
	assert_true(sizeof(struct sched_entry) <= 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_mail_is_tried_at_once_and_alone),
		cmocka_unit_test(the_window_doubles_every_round_up_to_its_cap),
		cmocka_unit_test(while_it_is_down_nothing_is_tried_but_one_probe),
		cmocka_unit_test(mail_flows_ten_seconds_after_the_primary_returns),
		cmocka_unit_test(a_canary_goes_first_and_a_refused_one_stops_the_rest),
		cmocka_unit_test(a_421_among_successes_halves_the_window_once_a_round),
		cmocka_unit_test(when_all_are_refused_at_once_it_is_down),
		cmocka_unit_test(a_broken_connection_is_probed_before_anything_else_starts),
		cmocka_unit_test(a_broken_connection_to_a_dead_primary_takes_it_down),
		cmocka_unit_test(a_deferred_message_waits_alone),
		cmocka_unit_test(a_message_always_deferred_is_tried_every_fifteen_minutes),
		cmocka_unit_test(domains_of_one_primary_share_probe_and_window_fairly),
		cmocka_unit_test(a_domain_without_a_route_does_not_stop_its_neighbours),
		cmocka_unit_test(
			a_route_lost_during_an_outage_does_not_prolong_it_for_the_neighbours),
		cmocka_unit_test(the_oldest_goes_first_even_after_its_own_wait),
		cmocka_unit_test(what_is_older_than_the_hold_time_is_parked),
		cmocka_unit_test(a_domain_no_longer_configured_keeps_its_mail),
		cmocka_unit_test(a_flush_probes_at_once_and_ends_every_wait),
		cmocka_unit_test(a_flush_during_an_attempt_counts_for_it_too),
		cmocka_unit_test(
			a_primary_that_died_silently_is_noticed_and_its_zombies_do_not_count),
		cmocka_unit_test(a_primary_restarted_under_our_connections_gets_mail_again),
		cmocka_unit_test(rising_latency_keeps_the_window_small),
		cmocka_unit_test(stopped_it_starts_nothing_but_still_parks),
		cmocka_unit_test(a_probe_whose_domain_went_away_is_no_harm),
		cmocka_unit_test(a_primary_that_moved_is_found_by_its_domains_without_delay),
		cmocka_unit_test(nine_thousand_domains_down_do_not_slow_a_thousand),
		cmocka_unit_test(whatever_happens_nothing_is_lost),
		cmocka_unit_test(an_entry_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
