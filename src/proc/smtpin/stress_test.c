#include "proc/smtpin/stress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T (1000 * NSEC_S)

static bool update(struct stress_gauge *g, uint64_t sessions, uint64_t body_bytes, nsec now)
{
	const struct stress_load load = { sessions, 1000, body_bytes, 1000 };

	return stress_update(g, &load, now);
}

static void it_rises_at_once(void **state)
{
	struct stress_gauge g = { 0 };

	(void)state;
	assert_false(update(&g, 799, 0, T));
	assert_true(update(&g, 800, 0, T));
	assert_int_equal(g.state, STRESS_BUSY);
	assert_false(update(&g, 949, 0, T));
	assert_true(update(&g, 950, 0, T));
	assert_int_equal(g.state, STRESS_FULL);
	assert_false(update(&g, 1000, 0, T));
}

static void it_may_rise_two_steps(void **state)
{
	struct stress_gauge g = { 0 };

	(void)state;
	assert_true(update(&g, 1000, 0, T));
	assert_int_equal(g.state, STRESS_FULL);
}

static void memory_for_bodies_counts_as_sessions_do(void **state)
{
	struct stress_gauge g = { 0 };

	(void)state;
	assert_true(update(&g, 0, 800, T));
	assert_int_equal(g.state, STRESS_BUSY);
	assert_true(update(&g, 0, 950, T));
	assert_int_equal(g.state, STRESS_FULL);
}

static void it_falls_a_step_at_a_time_when_the_load_was_low_for_a_while(void **state)
{
	struct stress_gauge g = { 0 };

	(void)state;
	update(&g, 950, 0, T);
	/* Just below what made it full is not below what ends it. */
	assert_false(update(&g, 900, 0, T + 60 * NSEC_S));
	assert_false(update(&g, 849, 0, T + 100 * NSEC_S));
	assert_false(update(&g, 849, 0, T + 109 * NSEC_S));
	/* A short rise, and the wait begins again. */
	assert_false(update(&g, 850, 0, T + 109 * NSEC_S));
	assert_false(update(&g, 0, 0, T + 111 * NSEC_S));
	assert_false(update(&g, 0, 0, T + 120 * NSEC_S));
	assert_true(update(&g, 0, 0, T + 121 * NSEC_S));
	assert_int_equal(g.state, STRESS_BUSY);
	assert_false(update(&g, 0, 0, T + 130 * NSEC_S));
	assert_true(update(&g, 0, 0, T + 131 * NSEC_S));
	assert_int_equal(g.state, STRESS_NONE);
	assert_false(update(&g, 0, 0, T + 500 * NSEC_S));
}

static void it_does_not_flicker_between_the_two_thresholds(void **state)
{
	struct stress_gauge g = { 0 };
	unsigned changes = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		changes += update(&g, i % 2 ? 810 : 700, 0, T + i * 7 * NSEC_S);
	assert_int_equal(changes, 1);
}

static void nothing_to_be_short_of_is_no_stress(void **state)
{
	const struct stress_load load = { 0 };
	struct stress_gauge g = { 0 };

	(void)state;
	assert_false(stress_update(&g, &load, T));
	assert_int_equal(g.state, STRESS_NONE);
}

static void commands_must_come_faster_and_of_the_favoured_less_so(void **state)
{
	(void)state;
	assert_int_equal(stress_command_time(STRESS_NONE, false), 5 * NSEC_MINUTE);
	assert_int_equal(stress_command_time(STRESS_BUSY, false), NSEC_MINUTE);
	assert_int_equal(stress_command_time(STRESS_FULL, false), 10 * NSEC_S);
	assert_int_equal(stress_command_time(STRESS_NONE, true), 5 * NSEC_MINUTE);
	assert_int_equal(stress_command_time(STRESS_BUSY, true), 5 * NSEC_MINUTE);
	assert_int_equal(stress_command_time(STRESS_FULL, true), NSEC_MINUTE);
}

static void strangers_wait_first(void **state)
{
	(void)state;
	assert_int_equal(stress_share(STRESS_NONE, false, 50), 50);
	assert_int_equal(stress_share(STRESS_BUSY, false, 50), 10);
	assert_int_equal(stress_share(STRESS_BUSY, false, 3), 1);
	assert_int_equal(stress_share(STRESS_FULL, false, 50), 0);
	for (enum stress s = STRESS_NONE; s <= STRESS_FULL; s++)
		assert_int_equal(stress_share(s, true, 50), 50);
	assert_string_equal(stress_name(STRESS_NONE), "none");
	assert_string_equal(stress_name(STRESS_FULL), "full");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_rises_at_once),
		cmocka_unit_test(it_may_rise_two_steps),
		cmocka_unit_test(memory_for_bodies_counts_as_sessions_do),
		cmocka_unit_test(it_falls_a_step_at_a_time_when_the_load_was_low_for_a_while),
		cmocka_unit_test(it_does_not_flicker_between_the_two_thresholds),
		cmocka_unit_test(nothing_to_be_short_of_is_no_stress),
		cmocka_unit_test(commands_must_come_faster_and_of_the_favoured_less_so),
		cmocka_unit_test(strangers_wait_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
