#include "proc/smtpin/rates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct conf some = { .rates = { .recipients = 100, .unknown_recipients = 10 } };

static void within_its_rates_a_client_may_go_on(void **state)
{
	const double rates[CLIENT_COUNTS] = {
		[CLIENT_RECIPIENTS] = 99, [CLIENT_UNKNOWN_RECIPIENTS] = 9
	};

	(void)state;
	assert_int_equal(rates_check(&some, rates), RATES_NONE);
}

static void the_rate_that_is_used_up_is_named(void **state)
{
	double rates[CLIENT_COUNTS] = { [CLIENT_UNKNOWN_RECIPIENTS] = 10 };

	(void)state;
	assert_int_equal(rates_check(&some, rates), CLIENT_UNKNOWN_RECIPIENTS);
	/* What came a moment ago has faded a little already. */
	rates[CLIENT_UNKNOWN_RECIPIENTS] = 9.9;
	assert_int_equal(rates_check(&some, rates), CLIENT_UNKNOWN_RECIPIENTS);
	rates[CLIENT_RECIPIENTS] = 5000;
	assert_int_equal(rates_check(&some, rates), CLIENT_RECIPIENTS);
	assert_string_equal(rates_name(CLIENT_UNKNOWN_RECIPIENTS), "unknown_recipients");
}

static void zero_is_no_limit(void **state)
{
	const double rates[CLIENT_COUNTS] = { [CLIENT_MESSAGES] = 1e9, [CLIENT_ERRORS] = 1e9 };

	(void)state;
	assert_int_equal(rates_check(&some, rates), RATES_NONE);
}

static void the_first_handful_of_mistakes_costs_no_time(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(tarpit_delay(i, 0, false), 0);
	assert_int_equal(tarpit_delay(2, 2, false), 0);
	assert_int_equal(tarpit_delay(5, 0, false), 250 * NSEC_MS);
	assert_int_equal(tarpit_delay(2, 3, false), 250 * NSEC_MS);
}

static void every_further_one_costs_more_up_to_five_seconds(void **state)
{
	nsec before = 0;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		nsec delay = tarpit_delay(0, i, false);

		assert_true(delay >= before && delay <= 5 * NSEC_S);
		before = delay;
	}
	assert_int_equal(before, 5 * NSEC_S);
	assert_int_equal(tarpit_delay(UINT32_MAX, UINT32_MAX, false), 5 * NSEC_S);
}

static void the_favoured_never_wait(void **state)
{
	(void)state;
	assert_int_equal(tarpit_delay(1000, 1000, true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within_its_rates_a_client_may_go_on),
		cmocka_unit_test(the_rate_that_is_used_up_is_named),
		cmocka_unit_test(zero_is_no_limit),
		cmocka_unit_test(the_first_handful_of_mistakes_costs_no_time),
		cmocka_unit_test(every_further_one_costs_more_up_to_five_seconds),
		cmocka_unit_test(the_favoured_never_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
