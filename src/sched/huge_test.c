/* Small before huge: what is large must not hold up what is small, nor wait for ever. */
#include "sched/testing.h"

#define HUGE ((uint64_t)4 << 20) /* 84 s at this world's pace */

static uint32_t huge_in_flight(struct world *w)
{
	return domain(w, 1)->destination->huge_in_flight;
}

static bool all_tried(const struct mail *mail, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!mail[i].attempts)
			return false;
	return true;
}

static void small_ones_overtake_older_huge_ones(void **state)
{
	static struct mail huge[100], small[1000];
	nsec begun;

	WORLD(1);
	w.primary[1].mode = UNREACHABLE;
	for (size_t i = 0; i < 100; i++)
		send_bytes(&w, 1, &huge[i], HUGE);
	run(&w, NSEC_S);
	for (size_t i = 0; i < 1000; i++)
		send(&w, 1, &small[i]);
	run(&w, NSEC_MINUTE);
	w.primary[1].mode = UP;
	while (!w.primary[1].delivered)
		run(&w, w.latency);
	begun = w.now;
	while (done_count(small, 1000) < 1000) {
		run(&w, w.latency / 4);
		if (!all_tried(small, 1000))
			assert_true(huge_in_flight(&w) <= 8);
		assert_true(w.now - begun < 3 * NSEC_S);
	}
	run(&w, 20 * NSEC_MINUTE);
	assert_int_equal(done_count(huge, 100), 100);
	assert_int_equal(huge_in_flight(&w), 0);
	world_done(&w);
}

static void a_huge_one_waits_for_sixteen_small_ones_at_most(void **state)
{
	static struct mail huge, small[400];
	size_t before = 0;

	WORLD(2);
	for (size_t i = 0; i < 40; i++)
		send(&w, 1, &small[i]);
	send_bytes(&w, 1, &huge, HUGE);
	act_all(&w);
	while (!huge.attempts) {
		run(&w, w.latency);
		assert_true(w.now < NSEC_DAY + NSEC_S);
	}
	for (size_t i = 0; i < 40; i++)
		before += small[i].attempts > 0;
	assert_in_range(before, 1, 32); /* 16, and what started in the same round */
	run(&w, 5 * NSEC_MINUTE);
	assert_true(huge.done);
	world_done(&w);
}

/* A window of 1 is a place that a huge one takes for minutes: not before small ones. */
static void the_canary_is_a_small_one(void **state)
{
	static struct mail huge, small;

	WORLD(3);
	w.primary[1].mode = UNREACHABLE;
	send_bytes(&w, 1, &huge, HUGE);
	run(&w, NSEC_S);
	send(&w, 1, &small);
	run(&w, NSEC_MINUTE);
	w.primary[1].mode = UP;
	huge.attempts = small.attempts = 0;
	while (!small.attempts)
		run(&w, NSEC_MS);
	assert_int_equal(huge.attempts, 0);
	world_done(&w);
}

static void huge_ones_alone_leave_a_quarter_of_the_window_free(void **state)
{
	static struct mail huge[200], small[8];

	WORLD(4);
	for (size_t i = 0; i < 200; i++)
		send(&w, 1, &huge[i]);
	run(&w, NSEC_S); /* the window is open */
	for (size_t i = 0; i < 200; i++)
		send_bytes(&w, 1, &huge[i], HUGE);
	run(&w, NSEC_S);
	assert_int_equal(huge_in_flight(&w), 24);
	for (size_t i = 0; i < 8; i++)
		send(&w, 1, &small[i]);
	run(&w, 2 * w.latency);
	assert_int_equal(done_count(small, 8), 8);
	world_done(&w);
}

static void one_domain_s_huge_ones_do_not_stop_another_s_small_ones(void **state)
{
	static struct mail huge[100], small[200];

	WORLD(5);
	w.primary[1].key = w.primary[2].key = "mx.example:25";
	for (size_t i = 0; i < 100; i++)
		send_bytes(&w, 1, &huge[i], HUGE);
	run(&w, 3 * NSEC_MINUTE);
	assert_true(huge_in_flight(&w) > 0);
	for (size_t i = 0; i < 200; i++)
		send(&w, 2, &small[i]);
	run(&w, 3 * NSEC_S);
	assert_int_equal(done_count(small, 200), 200);
	assert_ptr_equal(domain(&w, 1)->destination, domain(&w, 2)->destination);
	world_done(&w);
}

/* Parked by age, whatever its size. */
static void a_huge_one_grows_old_as_others_do(void **state)
{
	static struct mail huge;

	WORLD(6);
	w.primary[1].mode = UNREACHABLE;
	send_bytes(&w, 1, &huge, HUGE);
	run(&w, 31 * NSEC_DAY);
	assert_int_equal(w.parked, 1);
	assert_int_equal(huge.entry.place, PLACE_PARKED);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_ones_overtake_older_huge_ones),
		cmocka_unit_test(a_huge_one_waits_for_sixteen_small_ones_at_most),
		cmocka_unit_test(the_canary_is_a_small_one),
		cmocka_unit_test(huge_ones_alone_leave_a_quarter_of_the_window_free),
		cmocka_unit_test(one_domain_s_huge_ones_do_not_stop_another_s_small_ones),
		cmocka_unit_test(a_huge_one_grows_old_as_others_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
