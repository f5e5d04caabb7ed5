/* Live traffic beside the queue: places, one budget, health. */
#include "sched/testing.h"

static bool take(struct world *w, const char *name)
{
	return sched_live_take(w->s, str_of(name), w->now) == LIVE_GRANTED;
}

static unsigned take_all(struct world *w, const char *name)
{
	unsigned n = 0;

	while (n < 1000 && take(w, name))
		n++;
	return n;
}

static void leave(struct world *w, const char *name, enum sched_attempt attempt, bool delivered)
{
	struct sched_report r = { .attempt = attempt,
				  .text = STR("as it was"),
				  .latency = w->latency,
				  .delivered = delivered };

	r.destination = str_of(primary_of(w, name)->key);
	sched_live_leave(w->s, str_of(name), &r, 1000, w->now);
}

static void twenty_places_at_first_and_no_more(void **state)
{
	WORLD(1);
	domain(&w, 1);
	assert_int_equal(take_all(&w, "d1"), 20);
	assert_int_equal(sched_live_take(w.s, STR("d1"), w.now), LIVE_FULL);
	leave(&w, "d1", TRIED_NONE, false);
	assert_true(take(&w, "d1"));
	assert_int_equal(sched_live_take(w.s, STR("d9"), w.now), LIVE_UNKNOWN_DOMAIN);
	sched_stop(w.s, true);
	assert_int_equal(sched_live_take(w.s, STR("d1"), w.now), LIVE_STOPPED);
	world_done(&w);
}

static void successes_widen_it_up_to_the_budget(void **state)
{
	WORLD(2);
	domain(&w, 1);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(take(&w, "d1"));
		leave(&w, "d1", TRIED_ANSWERED, true);
	}
	assert_int_equal(take_all(&w, "d1"), 32);
	world_done(&w);
}

static void what_the_primary_refuses_a_client_is_not_held_against_it(void **state)
{
	WORLD(3);
	domain(&w, 1);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(take(&w, "d1"));
		leave(&w, "d1", TRIED_ANSWERED, false);
	}
	assert_int_equal(take_all(&w, "d1"), 32);
	assert_null(domain(&w, 1)->destination->text);
	world_done(&w);
}

/* What the window allows queue and live traffic together is never exceeded by more than what live
 * traffic may have alone. */
static void the_budget_is_one_and_live_traffic_goes_first(void **state)
{
	static struct mail mail[4000];
	unsigned refused = 0;
	const struct sched_destination *d;

	WORLD(4);
	for (size_t i = 0; i < 4000; i++)
		send(&w, 1, &mail[i]);
	run(&w, 10 * w.latency);
	d = domain(&w, 1)->destination;
	assert_int_equal(d->in_flight, 32);
	for (unsigned i = 0; i < 12; i++)
		refused += !take(&w, "d1");
	assert_int_equal(refused, 12); /* there is no room at this moment ... */
	run(&w, w.latency);
	for (unsigned i = 0; i < 12; i++) {
		assert_true(take(&w, "d1")); /* ... but the queue steps back */
		run(&w, NSEC_MS);
		assert_true(d->in_flight + d->live <= 32);
	}
	assert_int_equal(d->live, 12);
	run(&w, NSEC_S);
	assert_in_range(d->in_flight, 1, 20);
	for (unsigned i = 0; i < 12; i++)
		leave(&w, "d1", TRIED_ANSWERED, true);
	run(&w, NSEC_MINUTE);
	assert_int_equal(done_count(mail, 4000), 4000);
	world_done(&w);
}

static void one_delivery_goes_beside_the_busiest_live_traffic(void **state)
{
	static struct mail mail[50];

	WORLD(5);
	domain(&w, 1);
	assert_int_equal(take_all(&w, "d1"), 20);
	for (size_t i = 0; i < 50; i++)
		send(&w, 1, &mail[i]);
	run(&w, 12 * w.latency);
	assert_int_equal(w.primary[1].in_flight_most, 1);
	assert_true(done_count(mail, 50) >= 10);
	world_done(&w);
}

static void a_421_beside_others_leaves_as_many_places(void **state)
{
	struct sched_destination *d;

	WORLD(6);
	d = domain(&w, 1)->destination;
	assert_true(take(&w, "d1"));
	leave(&w, "d1", TRIED_ANSWERED, true);
	for (unsigned i = 0; i < 6; i++)
		assert_true(take(&w, "d1"));
	leave(&w, "d1", TRIED_REFUSING, false);
	assert_int_equal(d->health, HEALTH_UP);
	assert_int_equal(d->live_window, 5);
	leave(&w, "d1", TRIED_REFUSING, false);
	assert_int_equal(d->live_window, 4);
	assert_int_equal(take_all(&w, "d1"), 0);
	for (unsigned i = 0; i < 4; i++)
		leave(&w, "d1", TRIED_ANSWERED, true);
	assert_int_equal(take_all(&w, "d1"), 4);
	/* One more, when it is time, and not again when that failed. */
	w.now += NSEC_S;
	leave(&w, "d1", TRIED_ANSWERED, true);
	assert_int_equal(take_all(&w, "d1"), 2);
	leave(&w, "d1", TRIED_REFUSING, false);
	w.now += NSEC_S;
	leave(&w, "d1", TRIED_ANSWERED, true);
	assert_int_equal(take_all(&w, "d1"), 1);
	assert_int_equal(d->limit, 4);
	world_done(&w);
}

/* A primary that filters looks at one message longer than at another. */
static void answers_that_take_their_time_now_and_then_take_no_places(void **state)
{
	struct sched_destination *d;

	WORLD(14);
	d = domain(&w, 1)->destination;
	for (unsigned i = 0; i < 3; i++)
		assert_true(take(&w, "d1"));
	for (unsigned i = 0; i < 300; i++) {
		w.latency = i % 3 ? 20 * NSEC_MS : 400 * NSEC_MS;
		w.now += w.latency;
		leave(&w, "d1", TRIED_ANSWERED, true);
		assert_true(take(&w, "d1"));
	}
	assert_true(d->live_window >= 20);
	world_done(&w);
}

static void slow_answers_alone_leave_five_places(void **state)
{
	struct sched_destination *d;

	WORLD(15);
	d = domain(&w, 1)->destination;
	for (unsigned i = 0; i < 20; i++)
		assert_true(take(&w, "d1"));
	for (unsigned i = 0; i < 1000; i++) {
		w.latency = i < 20 ? 20 * NSEC_MS : NSEC_S;
		w.now += 50 * NSEC_MS;
		leave(&w, "d1", TRIED_ANSWERED, true);
		take(&w, "d1");
	}
	assert_in_range(d->live_window, 5, 8);
	world_done(&w);
}

static void a_421_alone_is_an_outage(void **state)
{
	WORLD(7);
	domain(&w, 1);
	assert_true(take(&w, "d1"));
	leave(&w, "d1", TRIED_ANSWERED, true);
	assert_true(take(&w, "d1"));
	leave(&w, "d1", TRIED_REFUSING, false);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_REFUSING);
	assert_int_equal(sched_live_take(w.s, STR("d1"), w.now), LIVE_DOWN);
	assert_int_equal(w.down, 1);
	world_done(&w);
}

static void a_connection_lost_live_has_it_looked_at(void **state)
{
	WORLD(8);
	sched_domain_watch(w.s, domain(&w, 1), true, w.now);
	assert_true(take(&w, "d1"));
	leave(&w, "d1", TRIED_ANSWERED, true);
	assert_true(take(&w, "d1"));
	leave(&w, "d1", TRIED_LOST, false);
	assert_int_equal(sched_live_take(w.s, STR("d1"), w.now), LIVE_DOWN);
	run(&w, NSEC_S);
	assert_int_equal(w.primary[1].probes, 1);
	assert_true(take(&w, "d1"));
	world_done(&w);
}

/* Nobody else would notice that it is back. */
static void while_down_it_is_probed_with_nothing_queued(void **state)
{
	WORLD(9);
	for (unsigned n = 1; n <= 2; n++) {
		domain(&w, n);
		w.primary[n].mode = UNREACHABLE;
	}
	sched_domain_watch(w.s, domain(&w, 1), true, w.now);
	for (unsigned n = 1; n <= 2; n++) {
		const char *name = domain(&w, n)->name;

		assert_true(take(&w, name));
		leave(&w, name, TRIED_UNREACHABLE, false);
	}
	run(&w, NSEC_DAY);
	assert_in_range(w.primary[1].probes, 1440, 3000);
	assert_int_equal(w.primary[2].probes, 0); /* is not watched */
	w.primary[1].mode = UP;
	run(&w, 62 * NSEC_S);
	assert_int_equal(domain(&w, 1)->destination->health, HEALTH_UP);
	assert_int_equal(w.up, 1);
	/* It has just come back: not all at once. */
	assert_int_equal(take_all(&w, "d1"), 5);
	w.primary[1].probes = 0;
	run(&w, NSEC_DAY);
	assert_int_equal(w.primary[1].probes, 0);
	world_done(&w);
}

static void places_from_before_an_outage_do_not_count_after_it(void **state)
{
	struct sched_destination *d;

	WORLD(10);
	d = domain(&w, 1)->destination;
	sched_domain_watch(w.s, domain(&w, 1), true, w.now);
	assert_int_equal(take_all(&w, "d1"), 20);
	leave(&w, "d1", TRIED_UNREACHABLE, false);
	run(&w, NSEC_MINUTE);
	assert_int_equal(d->health, HEALTH_UP);
	assert_int_equal(take_all(&w, "d1"), 5);
	for (unsigned i = 0; i < 19; i++) /* they end at last, and say nothing about now */
		leave(&w, "d1", TRIED_REFUSING, false);
	assert_int_equal(d->live, 5);
	assert_int_equal(d->live_stale, 0);
	assert_int_equal(d->health, HEALTH_UP);
	assert_int_equal(d->live_window, 5);
	world_done(&w);
}

static void places_follow_their_domain_to_its_destination(void **state)
{
	struct sched_destination *d;

	WORLD(11);
	for (unsigned n = 1; n <= 2; n++) {
		domain(&w, n);
		w.primary[n].key = "mx.example:25";
	}
	for (unsigned i = 0; i < 10; i++) {
		assert_true(take(&w, "d1"));
		assert_true(take(&w, "d2"));
	}
	leave(&w, "d1", TRIED_ANSWERED, true);
	leave(&w, "d2", TRIED_ANSWERED, true);
	d = domain(&w, 1)->destination;
	assert_ptr_equal(d, domain(&w, 2)->destination);
	assert_int_equal(d->live, 18);
	sched_domain_configure(w.s, domain(&w, 2), false, NEVER, w.now); /* and is gone */
	assert_int_equal(d->live, 9);
	leave(&w, "d2", TRIED_ANSWERED, true);
	assert_int_equal(d->live, 9);
	for (unsigned i = 0; i < 9; i++)
		leave(&w, "d1", TRIED_ANSWERED, true);
	assert_int_equal(d->live, 0);
	leave(&w, "d1", TRIED_ANSWERED, true); /* one too many */
	assert_int_equal(d->live, 0);
	world_done(&w);
}

/* --- who is told of a change --- */

static unsigned told;

static void count_told(void *arg, const struct sched_domain *d)
{
	(void)arg;
	(void)d;
	told++;
}

static void each_domain_is_told_of_each_change_and_of_nothing_else(void **state)
{
	struct sched_options o = { .window_max = 32,
				   .in_flight_max = 1000,
				   .live_max = 1000,
				   .probes_max = 1000,
				   .changed = count_told };

	WORLD(12);
	sched_free(w.s);
	assert_int_equal(sched_new(&o, &w.s), 0);
	for (unsigned n = 1; n <= 3; n++) {
		domain(&w, n);
		w.primary[n].key = "mx.example:25";
	}
	told = 0;
	assert_true(take(&w, "d1"));
	leave(&w, "d1", TRIED_ANSWERED, true);
	assert_int_equal(told, 2); /* moved, then up */
	for (unsigned n = 2; n <= 3; n++)
		sched_domain_hint(w.s, domain(&w, n), STR("mx.example:25"), w.now);
	assert_int_equal(told, 4);
	assert_true(take(&w, "d2"));
	leave(&w, "d2", TRIED_ANSWERED, true);
	assert_int_equal(told, 4);
	assert_true(take(&w, "d2"));
	leave(&w, "d2", TRIED_UNREACHABLE, false);
	assert_int_equal(told, 7);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(twenty_places_at_first_and_no_more),
		cmocka_unit_test(successes_widen_it_up_to_the_budget),
		cmocka_unit_test(what_the_primary_refuses_a_client_is_not_held_against_it),
		cmocka_unit_test(the_budget_is_one_and_live_traffic_goes_first),
		cmocka_unit_test(one_delivery_goes_beside_the_busiest_live_traffic),
		cmocka_unit_test(a_421_beside_others_leaves_as_many_places),
		cmocka_unit_test(answers_that_take_their_time_now_and_then_take_no_places),
		cmocka_unit_test(slow_answers_alone_leave_five_places),
		cmocka_unit_test(a_421_alone_is_an_outage),
		cmocka_unit_test(a_connection_lost_live_has_it_looked_at),
		cmocka_unit_test(while_down_it_is_probed_with_nothing_queued),
		cmocka_unit_test(places_from_before_an_outage_do_not_count_after_it),
		cmocka_unit_test(places_follow_their_domain_to_its_destination),
		cmocka_unit_test(each_domain_is_told_of_each_change_and_of_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
