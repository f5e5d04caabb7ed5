#include "proc/state/belief.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define START ((nsec)1800000000 * NSEC_S)

/* Answers every `step` for `time`. */
static nsec answer_for(struct belief *b, nsec now, nsec time, nsec step)
{
	nsec end = now + time;

	for (; now <= end; now += step)
		belief_answered(b, now);
	return end;
}

static void known_for_31_days_of_answers(void **state)
{
	struct belief b = { 0 };
	nsec seen, now = START;

	(void)state;
	belief_answered(&b, now);
	seen = b.clock;
	now = answer_for(&b, now, 31 * NSEC_DAY, NSEC_HOUR);
	assert_true(belief_is_known(&b, seen));
	answer_for(&b, now, NSEC_DAY, NSEC_HOUR);
	assert_false(belief_is_known(&b, seen));
}

static void an_outage_makes_nobody_older(void **state)
{
	struct belief b = { 0 };
	nsec seen, now = START;

	(void)state;
	belief_answered(&b, now);
	seen = b.clock;
	now = answer_for(&b, now, 20 * NSEC_DAY, NSEC_HOUR);
	now += 31 * NSEC_DAY; /* away */
	assert_true(belief_is_known(&b, seen));
	/* And its first day back counts as one day, not as 32. */
	now = answer_for(&b, now, 8 * NSEC_DAY, NSEC_HOUR);
	assert_true(belief_is_known(&b, seen));
	answer_for(&b, now, 4 * NSEC_DAY, NSEC_HOUR);
	assert_false(belief_is_known(&b, seen));
}

static void a_refusal_counts_for_four_hours_of_wall_time(void **state)
{
	(void)state;
	assert_true(belief_is_refused(START, START));
	assert_true(belief_is_refused(START, START + 4 * NSEC_HOUR));
	assert_false(belief_is_refused(START, START + 4 * NSEC_HOUR + 1));
	/* The clock was set back: nobody knows how old it is. */
	assert_false(belief_is_refused(START, START - 1));
}

static void the_clock_does_not_run_backwards(void **state)
{
	struct belief b = { 0 };

	(void)state;
	belief_answered(&b, START);
	belief_answered(&b, START + NSEC_HOUR);
	belief_answered(&b, START - 100 * NSEC_DAY);
	assert_int_equal(b.clock, NSEC_HOUR);
	belief_answered(&b, START - 100 * NSEC_DAY + NSEC_MINUTE);
	assert_int_equal(b.clock, NSEC_HOUR + NSEC_MINUTE);
}

static void accept(struct belief *b, unsigned known, unsigned fresh)
{
	for (; known > 0; known--)
		belief_accepted(b, true);
	for (; fresh > 0; fresh--)
		belief_accepted(b, false);
}

static void coverage_is_the_share_that_was_known(void **state)
{
	struct belief b = { 0 };
	uint32_t accepted;

	(void)state;
	assert_int_equal(belief_coverage(&b, &accepted), 0);
	assert_int_equal(accepted, 0);
	assert_false(belief_covers(&b));
	accept(&b, 28, 1);
	assert_int_equal(belief_coverage(&b, &accepted), 96);
	assert_int_equal(accepted, 29);
	assert_false(belief_covers(&b)); /* too few to say */
	accept(&b, 1, 0);
	assert_true(belief_covers(&b));
	accept(&b, 0, 1);
	assert_false(belief_covers(&b)); /* 29 of 31 */
}

static void the_first_days_of_learning_leave_the_coverage_after_a_month(void **state)
{
	struct belief b = { 0 };
	uint32_t accepted;
	nsec now = START;

	(void)state;
	belief_answered(&b, now);
	accept(&b, 0, 100); /* nobody was known on the first day */
	for (int day = 0; day < 31; day++) {
		assert_int_equal(belief_covers(&b), day * 10 * 5 >= 100 * 95);
		now += NSEC_DAY;
		belief_answered(&b, now);
		accept(&b, 10, 0);
	}
	assert_int_equal(belief_coverage(&b, &accepted), 100);
	assert_int_equal(accepted, 310);
	assert_true(belief_covers(&b));
}

static void an_outage_leaves_the_coverage_as_it_is(void **state)
{
	struct belief b = { 0 };
	uint32_t accepted;

	(void)state;
	belief_answered(&b, START);
	accept(&b, 40, 0);
	belief_answered(&b, START + 60 * NSEC_DAY);
	assert_int_equal(belief_coverage(&b, &accepted), 100);
	assert_int_equal(accepted, 40);
}

static void an_import_of_all_covers(void **state)
{
	struct belief b = { .whole = true };

	(void)state;
	assert_true(belief_covers(&b));
}

static void who_takes_a_recipient_that_cannot_exist_takes_all(void **state)
{
	struct belief b = { 0 };

	(void)state;
	belief_absent(&b, ABSENT_TAKEN, START);
	assert_true(belief_takes_all(&b));
	belief_absent(&b, ABSENT_UNKNOWN, START + NSEC_DAY); /* greylisted: says nothing */
	assert_true(belief_takes_all(&b));
	belief_absent(&b, ABSENT_REFUSED, START + 2 * NSEC_DAY);
	assert_false(belief_takes_all(&b));
}

static void who_never_refused_anybody_seems_to_take_all(void **state)
{
	struct belief b = { 0 };

	(void)state;
	accept(&b, 1000, BELIEF_NEVER_REFUSED - 1);
	assert_false(belief_takes_all(&b));
	accept(&b, 0, 1);
	assert_true(belief_takes_all(&b));
	/* What was asked on purpose weighs more. */
	belief_absent(&b, ABSENT_REFUSED, START);
	assert_false(belief_takes_all(&b));
	b.absent = ABSENT_UNKNOWN;
	belief_refused(&b);
	assert_false(belief_takes_all(&b));
	accept(&b, 0, BELIEF_NEVER_REFUSED);
	assert_false(belief_takes_all(&b));
}

static void asked_about_the_absent_once_a_day(void **state)
{
	struct belief b = { 0 };

	(void)state;
	assert_true(belief_wants_absent(&b, START));
	assert_false(belief_wants_absent(&b, START + NSEC_MINUTE));
	/* No answer: again after an hour. */
	assert_true(belief_wants_absent(&b, START + NSEC_HOUR));
	belief_absent(&b, ABSENT_REFUSED, START + NSEC_HOUR);
	assert_false(belief_wants_absent(&b, START + 3 * NSEC_HOUR));
	assert_true(belief_wants_absent(&b, START + 25 * NSEC_HOUR));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_for_31_days_of_answers),
		cmocka_unit_test(an_outage_makes_nobody_older),
		cmocka_unit_test(a_refusal_counts_for_four_hours_of_wall_time),
		cmocka_unit_test(the_clock_does_not_run_backwards),
		cmocka_unit_test(coverage_is_the_share_that_was_known),
		cmocka_unit_test(the_first_days_of_learning_leave_the_coverage_after_a_month),
		cmocka_unit_test(an_outage_leaves_the_coverage_as_it_is),
		cmocka_unit_test(an_import_of_all_covers),
		cmocka_unit_test(who_takes_a_recipient_that_cannot_exist_takes_all),
		cmocka_unit_test(who_never_refused_anybody_seems_to_take_all),
		cmocka_unit_test(asked_about_the_absent_once_a_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
