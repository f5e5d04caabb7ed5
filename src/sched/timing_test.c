#include "sched/timing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LEAST UINT64_MAX /* the random number that shortens most */

static const struct {
	const char *requirement;
	nsec outage, at_most;
} probes[] = {
	{ "two seconds at first", 0, 2 * NSEC_S },
	{ "mail flows ten seconds after a minute's outage", NSEC_MINUTE, 8 * NSEC_S },
	{ "and after ten minutes", 10 * NSEC_MINUTE, 8 * NSEC_S },
	{ "and just before thirty", 30 * NSEC_MINUTE - 1, 8 * NSEC_S },
	{ "it stretches after an hour", NSEC_HOUR, 27 * NSEC_S },
	{ "a minute at most", 30 * NSEC_DAY, NSEC_MINUTE },
};

static void probes_stretch_with_the_outage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(probes); i++) {
		nsec most = timing_probe(probes[i].outage, 0);
		nsec least = timing_probe(probes[i].outage, LEAST);

		if (most > probes[i].at_most || least < most * 79 / 100 || least >= most)
			fail_msg("%s: %ld..%ld ns", probes[i].requirement, (long)least, (long)most);
	}
	assert_int_equal(timing_probe(30 * NSEC_DAY, 0), NSEC_MINUTE);
	for (nsec outage = 0; outage < NSEC_DAY; outage += NSEC_MINUTE)
		assert_true(timing_probe(outage, 0) <= timing_probe(outage + NSEC_MINUTE, 0));
}

static void a_mended_zone_is_noticed_within_ten_seconds_in_the_first_half_hour(void **state)
{
	(void)state;
	assert_int_equal(timing_no_route(0, 0), 5 * NSEC_S);
	assert_int_equal(timing_no_route(30 * NSEC_MINUTE - 1, 0), 8 * NSEC_S);
	assert_int_equal(timing_no_route(NSEC_DAY, 0), 60 * NSEC_S);
}

static const struct {
	unsigned failures;
	nsec deferral, lost;
} backoffs[] = {
	{ 1, 30 * NSEC_S, 5 * NSEC_S },      { 2, 60 * NSEC_S, 10 * NSEC_S },
	{ 5, 480 * NSEC_S, 80 * NSEC_S },    { 6, 900 * NSEC_S, 160 * NSEC_S },
	{ 255, 900 * NSEC_S, 900 * NSEC_S },
};

static void an_entry_backs_off_from_seconds_to_fifteen_minutes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(backoffs); i++) {
		assert_int_equal(timing_deferral(backoffs[i].failures, 0), backoffs[i].deferral);
		assert_int_equal(timing_lost(backoffs[i].failures, 0), backoffs[i].lost);
		assert_true(timing_deferral(backoffs[i].failures, LEAST) < backoffs[i].deferral);
	}
}

static void one_broken_connection_is_looked_at_at_once(void **state)
{
	(void)state;
	assert_int_equal(timing_check(1, 0), 0);
	assert_int_equal(timing_check(2, 0), 2 * NSEC_S);
	assert_int_equal(timing_check(255, 0), NSEC_MINUTE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes_stretch_with_the_outage),
		cmocka_unit_test(
			a_mended_zone_is_noticed_within_ten_seconds_in_the_first_half_hour),
		cmocka_unit_test(an_entry_backs_off_from_seconds_to_fifteen_minutes),
		cmocka_unit_test(one_broken_connection_is_looked_at_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
