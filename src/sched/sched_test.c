#include "sched/testing.h"

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

/* Every fate, every attempt, every operator's action, at random: nothing is lost, nothing hangs,
 * the counts add up, and in the end all is delivered. */
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

/* Counted by the places that change in the heaps: a time would depend on the machine. */
static void a_turn_moves_few_entries_however_many_are_queued(void **state)
{
	static const size_t queued[] = { 1000, 100000 };
	static const struct sched_report report = { .attempt = TRIED_ANSWERED, .delivered = true };

	for (size_t i = 0; i < ELEMENTS(queued); i++) {
		struct mail *mail = calloc(queued[i], sizeof(*mail));
		size_t *place = calloc(queued[i], sizeof(*place)), moved = 0;
		struct sched_action a;
		WORLD(29);

		assert_true(mail && place);
		for (size_t n = 0; n < queued[i]; n++, w.now++)
			send(&w, (unsigned)(n % 10), &mail[n]);
		for (size_t n = 0; n < queued[i]; n++)
			place[n] = mail[n].entry.node.place;
		sched_next(w.s, w.now, &a);
		assert_int_equal(a.what, SCHED_DELIVER);
		sched_attempted(w.s, a.entry, FATE_DONE, &report, w.now);
		for (size_t n = 0; n < queued[i]; n++)
			moved += place[n] != mail[n].entry.node.place;
		assert_in_range(moved, 1, 20);
		world_done(&w);
		free(place);
		free(mail);
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
		cmocka_unit_test(a_deferred_message_waits_alone),
		cmocka_unit_test(a_message_always_deferred_is_tried_every_fifteen_minutes),
		cmocka_unit_test(domains_of_one_primary_share_probe_and_window_fairly),
		cmocka_unit_test(the_oldest_goes_first_even_after_its_own_wait),
		cmocka_unit_test(what_is_older_than_the_hold_time_is_parked),
		cmocka_unit_test(a_domain_no_longer_configured_keeps_its_mail),
		cmocka_unit_test(a_flush_probes_at_once_and_ends_every_wait),
		cmocka_unit_test(a_flush_during_an_attempt_counts_for_it_too),
		cmocka_unit_test(stopped_it_starts_nothing_but_still_parks),
		cmocka_unit_test(a_probe_whose_domain_went_away_is_no_harm),
		cmocka_unit_test(nine_thousand_domains_down_do_not_slow_a_thousand),
		cmocka_unit_test(whatever_happens_nothing_is_lost),
		cmocka_unit_test(a_turn_moves_few_entries_however_many_are_queued),
		cmocka_unit_test(an_entry_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
