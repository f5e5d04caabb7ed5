/* A primary that greylists, throttles or blocks: how hard it is pressed, and what is told. */
#include "sched/testing.h"

#define MANY 10000

static struct mail mail[MANY];

static void send_many(struct world *w)
{
	for (size_t i = 0; i < MANY; i++)
		send(w, 1, &mail[i]);
}

/* It knows nobody: each message waits for five minutes of its own. */
static void a_greylist_is_not_hammered_and_everything_gets_through(void **state)
{
	WORLD(1);
	w.primary[1].mode = GREYLISTS;
	send_many(&w);
	run(&w, 5 * NSEC_MINUTE);
	assert_in_range(w.primary[1].attempts, 100, 200); /* one every two seconds */
	assert_int_equal(w.primary[1].delivered, 0);
	assert_int_equal(w.said, 1);
	assert_int_equal(sched_said(domain(&w, 1)->destination, w.now), SAID_GREYLISTED);
	/* Once some get through, others are tried beside them. */
	run(&w, NSEC_HOUR);
	assert_int_equal(done_count(mail, MANY), MANY);
	/* To be seen, and after its wait. */
	assert_true(w.primary[1].attempts < MANY * 5 / 2);
	world_done(&w);
}

/* It takes nothing at all for a day. */
static void one_that_puts_everything_off_is_asked_a_few_times_a_minute(void **state)
{
	WORLD(2);
	w.primary[1].mode = DEFERS;
	send_many(&w);
	run(&w, NSEC_HOUR);
	assert_in_range(w.primary[1].attempts, 600, 1200);
	w.primary[1].attempts = 0;
	run(&w, 23 * NSEC_HOUR);
	assert_in_range(w.primary[1].attempts, 23 * 600, 23 * 1100);
	assert_int_equal(w.primary[1].in_flight_most, 1);
	w.primary[1].mode = UP;
	run(&w, 16 * NSEC_MINUTE); /* its own back-off is over for each */
	assert_int_equal(done_count(mail, MANY), MANY);
	world_done(&w);
}

/* A refusal for good costs the message: it is held. */
static void one_that_blocks_us_does_not_have_the_whole_queue_held(void **state)
{
	WORLD(3);
	w.primary[1].mode = BLOCKS;
	send_many(&w);
	run(&w, NSEC_HOUR);
	assert_in_range(w.primary[1].attempts, 240, 400);
	assert_int_equal(w.said, 1);
	assert_int_equal(sched_said(domain(&w, 1)->destination, w.now), SAID_BLOCKED);
	w.primary[1].mode = UP;
	run(&w, NSEC_MINUTE);
	assert_in_range(done_count(mail, MANY), MANY - 400, MANY - 240);
	assert_int_equal(w.said_no_more, 1);
	assert_int_equal(sched_said(domain(&w, 1)->destination, w.now), SAID_NOTHING);
	world_done(&w);
}

static void a_few_that_are_put_off_delay_nobody_else(void **state)
{
	static struct mail few[40];

	WORLD(4);
	for (size_t i = 0; i < 40; i++)
		send(&w, 1, &few[i]);
	act_all(&w);
	w.pending[0].mode = DEFERS;
	run(&w, 2 * NSEC_S);
	assert_int_equal(done_count(few, 40), 39);
	assert_int_equal(w.said, 0);
	world_done(&w);
}

/* --- recognising --- */

static void say(struct world *w, enum sched_said said, bool delivered)
{
	struct sched_report r = { .attempt = TRIED_ANSWERED, .delivered = delivered, .said = said };

	assert_int_equal(sched_live_take(w->s, STR("d1"), w->now), LIVE_GRANTED);
	sched_live_leave(w->s, STR("d1"), &r, 1000, w->now);
}

static void said_begins_with_the_third_reply_and_ends_with_twenty_deliveries(void **state)
{
	const struct sched_destination *d;

	WORLD(5);
	d = domain(&w, 1)->destination;
	say(&w, SAID_THROTTLED, false);
	say(&w, SAID_THROTTLED, false);
	say(&w, SAID_NOTHING, true); /* chance */
	say(&w, SAID_THROTTLED, false);
	say(&w, SAID_THROTTLED, false);
	assert_int_equal(w.said, 0);
	say(&w, SAID_RECIPIENT, false); /* says nothing */
	say(&w, SAID_THROTTLED, false);
	assert_int_equal(w.said, 1);
	assert_int_equal(sched_said(d, w.now), SAID_THROTTLED);
	for (unsigned i = 0; i < 19; i++)
		say(&w, SAID_NOTHING, true);
	say(&w, SAID_THROTTLED, false);
	for (unsigned i = 0; i < 19; i++)
		say(&w, SAID_NOTHING, true);
	assert_int_equal(w.said_no_more, 0);
	say(&w, SAID_NOTHING, true);
	assert_int_equal(w.said, 1);
	assert_int_equal(w.said_no_more, 1);
	assert_int_equal(sched_said(d, w.now), SAID_NOTHING);
	world_done(&w);
}

static void said_lapses_after_an_hour_of_silence(void **state)
{
	const struct sched_destination *d;

	WORLD(6);
	d = domain(&w, 1)->destination;
	for (unsigned i = 0; i < 3; i++)
		say(&w, SAID_GREYLISTED, false);
	w.now += NSEC_HOUR - 1;
	assert_int_equal(sched_said(d, w.now), SAID_GREYLISTED);
	w.now++;
	assert_int_equal(sched_said(d, w.now), SAID_NOTHING);
	say(&w, SAID_GREYLISTED, false);
	assert_int_equal(w.said, 1);
	assert_int_equal(w.said_no_more, 1);
	world_done(&w);
}

static void another_word_ends_the_one_before(void **state)
{
	WORLD(7);
	domain(&w, 1);
	for (unsigned i = 0; i < 3; i++)
		say(&w, SAID_GREYLISTED, false);
	for (unsigned i = 0; i < 5; i++)
		say(&w, SAID_BLOCKED, false);
	assert_int_equal(w.said, 2);
	assert_int_equal(w.said_no_more, 1);
	assert_int_equal(sched_said(domain(&w, 1)->destination, w.now), SAID_BLOCKED);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_greylist_is_not_hammered_and_everything_gets_through),
		cmocka_unit_test(one_that_puts_everything_off_is_asked_a_few_times_a_minute),
		cmocka_unit_test(one_that_blocks_us_does_not_have_the_whole_queue_held),
		cmocka_unit_test(a_few_that_are_put_off_delay_nobody_else),
		cmocka_unit_test(said_begins_with_the_third_reply_and_ends_with_twenty_deliveries),
		cmocka_unit_test(said_lapses_after_an_hour_of_silence),
		cmocka_unit_test(another_word_ends_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
