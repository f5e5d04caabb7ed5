/* Which way a recipient goes, as a table (docs/decisions/0009). */
#include "proc/smtpin/way.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UP LOCUM__PRIMARY_STATE__PRIMARY_UP
#define UNKNOWN LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN
#define REFUSING LOCUM__PRIMARY_STATE__PRIMARY_REFUSING
#define UNREACHABLE LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE
#define NO_ROUTE LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE

/* The transaction is open, or goes live to a.example's primary (destination 1), or to the spool: by itself, or
 * because that primary failed. */
enum past { OPEN, LIVE, SPOOL, FAILED };

static const struct {
	const char *name;
	enum past past;
	bool bound;
	char domain; /* a, b … */
	enum conf_acceptance acceptance;
	Locum__PrimaryState state;
	uint64_t destination;
	enum way_step step;
} cases[] = {
	{ "a primary that is up is asked", OPEN, false, 'a', ACCEPT_LIVE, UP, 1, STEP_LIVE },
	{ "one that was never seen too", OPEN, false, 'a', ACCEPT_LIVE, UNKNOWN, 0, STEP_LIVE },
	{ "one that is away is not", OPEN, false, 'a', ACCEPT_LIVE, UNREACHABLE, 1, STEP_SPOOL },
	{ "nor one that refuses", OPEN, false, 'a', ACCEPT_LIVE, REFUSING, 1, STEP_SPOOL },
	{ "nor one that DNS does not lead to", OPEN, false, 'a', ACCEPT_LIVE, NO_ROUTE, 1,
	  STEP_SPOOL },
	{ "queue is always the spool", OPEN, false, 'a', ACCEPT_QUEUE, UP, 1, STEP_SPOOL },
	{ "defer, waited for a primary that is up", OPEN, false, 'a', ACCEPT_DEFER, UP, 1,
	  STEP_LIVE },
	{ "defer, and it is not up", OPEN, false, 'a', ACCEPT_DEFER, UNKNOWN, 1, STEP_SPOOL },

	{ "a second recipient of the domain", LIVE, true, 'a', ACCEPT_LIVE, UP, 1, STEP_LIVE },
	{ "one of another domain of that primary", LIVE, true, 'b', ACCEPT_LIVE, UP, 1, STEP_LIVE },
	{ "one of another primary", LIVE, true, 'b', ACCEPT_LIVE, UP, 2, STEP_ELSEWHERE },
	{ "two primaries that are not known are not one", LIVE, true, 'b', ACCEPT_LIVE, UNKNOWN, 0,
	  STEP_ELSEWHERE },
	{ "one of a domain that is spooled", LIVE, true, 'b', ACCEPT_QUEUE, UP, 2, STEP_ELSEWHERE },
	{ "even by the same primary", LIVE, true, 'b', ACCEPT_QUEUE, UP, 1, STEP_ELSEWHERE },
	{ "one whose primary is away", LIVE, true, 'b', ACCEPT_LIVE, UNREACHABLE, 2,
	  STEP_ELSEWHERE },
	{ "the same primary is asked although it is said to be away now", LIVE, true, 'a',
	  ACCEPT_LIVE, UNREACHABLE, 1, STEP_LIVE },
	{ "nothing was taken: another primary will do", LIVE, false, 'b', ACCEPT_LIVE, UP, 2,
	  STEP_LIVE },
	{ "nothing was taken: the spool will do", LIVE, false, 'b', ACCEPT_QUEUE, UP, 2,
	  STEP_SPOOL },

	{ "what is spooled mixes", SPOOL, true, 'b', ACCEPT_QUEUE, UP, 2, STEP_SPOOL },
	{ "with one whose primary is away", SPOOL, true, 'b', ACCEPT_LIVE, UNREACHABLE, 2,
	  STEP_SPOOL },
	{ "not with one that would be asked", SPOOL, true, 'b', ACCEPT_LIVE, UP, 2,
	  STEP_ELSEWHERE },
	{ "a primary that failed is not asked again", FAILED, true, 'a', ACCEPT_LIVE, UP, 1,
	  STEP_SPOOL },
	{ "not for another domain of its either", FAILED, true, 'b', ACCEPT_LIVE, UP, 1,
	  STEP_SPOOL },
	{ "nor when nothing was taken", FAILED, false, 'a', ACCEPT_LIVE, UP, 1, STEP_SPOOL },
	{ "another one still is", FAILED, true, 'b', ACCEPT_LIVE, UP, 2, STEP_ELSEWHERE },
};

static void test_every_recipient_has_its_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		const struct conf_domain a = { .name = STR("a.example"),
					       .acceptance = cases[i].acceptance };
		const struct conf_domain b = { .name = STR("b.example"),
					       .acceptance = cases[i].acceptance };
		const struct offer first = { .state = UP, .destination = 1 };
		const struct offer offer = { .state = cases[i].state,
					     .destination = cases[i].destination };
		struct way w = { 0 };

		if (cases[i].past == LIVE || cases[i].past == FAILED)
			way_to_primary(&w, &a, &first);
		if (cases[i].past == SPOOL || cases[i].past == FAILED)
			way_to_spool(&w);
		if (way_next(&w, cases[i].bound, cases[i].domain == 'a' ? &a : &b, &offer) !=
		    cases[i].step)
			fail_msg("%s", cases[i].name);
	}
}

static void test_only_who_may_answer_is_asked(void **state)
{
	(void)state;
	assert_true(way_is_open(UP) && way_is_open(UNKNOWN));
	assert_false(way_is_open(REFUSING) || way_is_open(UNREACHABLE) || way_is_open(NO_ROUTE));
	assert_false(way_is_open((Locum__PrimaryState)99)); /* of a newer spoold */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_recipient_has_its_way),
		cmocka_unit_test(test_only_who_may_answer_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
