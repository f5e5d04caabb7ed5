#include "sched/testing.h"

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

static void a_421_among_successes_leaves_as_many_as_work(void **state)
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
	assert_int_equal(d->window, 22);
	assert_int_equal(d->health, HEALTH_UP);
	run(&w, NSEC_MINUTE);
	assert_int_equal(done_count(mail, 2000), 2000);
	world_done(&w);
}

static void a_limit_of_connections_is_learned_and_kept(void **state)
{
	static const nsec latencies[] = { 2 * NSEC_MS, 50 * NSEC_MS, 700 * NSEC_MS };
	static struct mail mail[20000];

	for (size_t i = 0; i < ELEMENTS(latencies); i++) {
		size_t capacity;

		WORLD(25);
		w.latency = latencies[i];
		capacity = MIN((size_t)(5 * NSEC_MINUTE / w.latency), (size_t)20000);
		w.primary[1].takes = 5;
		for (size_t j = 0; j < capacity; j++)
			send(&w, 1, &mail[j]);
		run(&w, (nsec)capacity / 5 * w.latency);
		/* Slow start, then a trial after 1, 2, 4 … 64 s. */
		assert_true(done_count(mail, capacity) >= capacity * 95 / 100);
		assert_true(w.primary[1].turned_away <= 3 + 7);
		assert_int_equal(w.down, 0);
		for (size_t j = 0; j < capacity; j++)
			assert_true(mail[j].attempts <= 2);
		world_done(&w);
	}
}

static void a_limit_that_rose_or_was_none_is_left_behind(void **state)
{
	static struct mail mail[15000];
	struct sched_destination *d;

	WORLD(26);
	w.primary[1].takes = 5;
	for (size_t i = 0; i < 15000; i++)
		send(&w, 1, &mail[i]);
	run(&w, 10 * NSEC_S);
	d = domain(&w, 1)->destination;
	assert_int_equal(d->limit, 5);
	w.primary[1].takes = 9;
	run(&w, 25 * NSEC_S);
	assert_int_equal(d->limit, 9);
	/* Turned away for a moment only. */
	w.primary[1].takes = 3;
	run(&w, 2 * w.latency);
	assert_in_range(d->window, 3, 8);
	w.primary[1].takes = 9;
	run(&w, 8 * NSEC_S);
	assert_int_equal(d->limit, 9);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_mail_is_tried_at_once_and_alone),
		cmocka_unit_test(the_window_doubles_every_round_up_to_its_cap),
		cmocka_unit_test(while_it_is_down_nothing_is_tried_but_one_probe),
		cmocka_unit_test(mail_flows_ten_seconds_after_the_primary_returns),
		cmocka_unit_test(a_canary_goes_first_and_a_refused_one_stops_the_rest),
		cmocka_unit_test(a_421_among_successes_leaves_as_many_as_work),
		cmocka_unit_test(a_limit_of_connections_is_learned_and_kept),
		cmocka_unit_test(a_limit_that_rose_or_was_none_is_left_behind),
		cmocka_unit_test(when_all_are_refused_at_once_it_is_down),
		cmocka_unit_test(a_broken_connection_is_probed_before_anything_else_starts),
		cmocka_unit_test(a_broken_connection_to_a_dead_primary_takes_it_down),
		cmocka_unit_test(a_domain_without_a_route_does_not_stop_its_neighbours),
		cmocka_unit_test(
			a_route_lost_during_an_outage_does_not_prolong_it_for_the_neighbours),
		cmocka_unit_test(
			a_primary_that_died_silently_is_noticed_and_its_zombies_do_not_count),
		cmocka_unit_test(a_primary_restarted_under_our_connections_gets_mail_again),
		cmocka_unit_test(rising_latency_keeps_the_window_small),
		cmocka_unit_test(a_primary_that_moved_is_found_by_its_domains_without_delay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
