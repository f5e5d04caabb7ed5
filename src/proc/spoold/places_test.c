/* Live traffic as spoold sees it: places, what it tells smtpin of primaries, and the message of
 * which nobody knows whether the primary has it. */
#include "proc/spoold/testing.h"

#include "smtp/ehlo.h"

static uint64_t named; /* the next place is called so */

static bool take(struct world *w, const char *domain, char *ret_why, size_t size)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__TakePlace question = LOCUM__TAKE_PLACE__INIT;
	IPC_PACKET(p, TAKE_PLACE, take_place, &question);

	question.domain = (char *)domain;
	question.place = named;
	assert_int_equal(ipc_call(w->tk, w->smtpout, &p, -1, &reply, task_in(w->tk, WAIT)), 0);
	snprintf(ret_why, size, "%s", reply.packet->place->text);
	return reply.packet->place->granted;
}

static bool granted(struct world *w, const char *domain)
{
	char why[128];
	bool is = take(w, domain, why, sizeof(why));

	assert_int_equal(is, *why == '\0');
	return is;
}

static void leave(struct world *w, const char *domain, Locum__Attempt attempt, uint32_t offers)
{
	Locum__LeavePlace left = LOCUM__LEAVE_PLACE__INIT;
	Locum__Host host = LOCUM__HOST__INIT;
	IPC_PACKET(p, LEAVE_PLACE, leave_place, &left);

	host.destination = (char *)"mail.example:25";
	host.greeted = attempt == LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
	host.offers = offers;
	left.domain = (char *)domain;
	left.place = named;
	left.attempt = attempt;
	left.text = (char *)"as it was";
	left.host = &host;
	assert_int_equal(ipc_send(w->tk, w->smtpout, &p, -1, task_in(w->tk, WAIT)), 0);
}

static const struct sched_destination *destination(struct world *w, const char *domain)
{
	return sched_domain_find(w->sp->sched, str_of(domain))->destination;
}

WORLD_TEST(places_are_granted_until_the_budget_is_full)
{
	char why[128];
	unsigned n = 0;

	connect_smtpout(w);
	while (n < 100 && granted(w, "a.example"))
		n++;
	assert_int_equal(n, 20);
	assert_false(take(w, "a.example", why, sizeof(why)));
	assert_non_null(strstr(why, "bears"));
	assert_true(granted(w, "b.example"));
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_NONE, 0);
	assert_true(granted(w, "a.example"));
	assert_false(take(w, "c.example", why, sizeof(why)));
	assert_non_null(strstr(why, "not configured"));
}

WORLD_TEST(places_of_an_smtpout_that_died_are_given_back)
{
	connect_smtpout(w);
	for (unsigned n = 0; n < 20; n++)
		assert_true(granted(w, "a.example"));
	assert_true(granted(w, "b.example"));
	kill_smtpout(w);
	UNTIL(w, destination(w, "a.example")->live == 0);
	assert_int_equal(destination(w, "b.example")->live, 0);
	connect_smtpout(w);
	assert_true(granted(w, "a.example"));
}

WORLD_TEST(a_place_that_was_never_taken_cannot_be_left)
{
	connect_smtpout(w);
	assert_true(granted(w, "a.example"));
	leave(w, "b.example", LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE, 0);
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_ANSWERED, 0);
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE, 0);
	assert_true(granted(w, "b.example"));
	assert_int_equal(destination(w, "a.example")->health, HEALTH_UP);
	assert_int_equal(destination(w, "a.example")->live, 0);
	assert_int_equal(destination(w, "b.example")->health, HEALTH_UNKNOWN);
}

/* Who did not wait for the answer cannot know whether there is a place to leave. */
WORLD_TEST(a_place_with_a_name_may_be_left_whether_it_was_granted_or_not)
{
	char why[128];
	unsigned n;

	connect_smtpout(w);
	for (named = 1; named <= 20; named++)
		assert_true(granted(w, "a.example"));
	assert_false(take(w, "a.example", why, sizeof(why)));
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_NONE, 0); /* 21: was refused */
	named = 3;
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_NONE, 0);
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_NONE, 0); /* and again */
	for (n = 0, named = 30; granted(w, "a.example"); named++)
		n++;
	assert_int_equal(n, 1);
	kill_smtpout(w);
	UNTIL(w, destination(w, "a.example")->live == 0);
	named = 0;
}

WORLD_TEST(live_traffic_teaches_what_the_primary_offers)
{
	connect_smtpout(w);
	assert_true(granted(w, "a.example"));
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_ANSWERED, EHLO_DSN);
	UNTIL(w, w->offers_told == 1);
	assert_int_equal(w->offers[0], EHLO_DSN);
}

WORLD_TEST(smtpin_is_told_how_each_primary_is_and_which_two_are_one)
{
	connect_smtpout(w);
	UNTIL(w, w->states_of_domains == 2);
	assert_true(granted(w, "a.example"));
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_ANSWERED, 0);
	UNTIL(w, w->state[0] == LOCUM__PRIMARY_STATE__PRIMARY_UP && w->destination[0]);
	assert_int_equal(w->state[1], LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN);
	assert_int_equal(w->destination[1], 0);
	assert_true(granted(w, "b.example"));
	leave(w, "b.example", LOCUM__ATTEMPT__ATTEMPT_ANSWERED, 0);
	UNTIL(w, w->destination[1] == w->destination[0]);
	assert_int_equal(w->state[1], LOCUM__PRIMARY_STATE__PRIMARY_UP);
	/* What is heard through the one is said of both. */
	assert_true(granted(w, "a.example"));
	w->script = it_is_down;
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE, 0);
	UNTIL(w, w->state[0] == LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE &&
			 w->state[1] == LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE);
	assert_int_equal(w->offers_begun, 1);
}

WORLD_TEST(a_primary_that_is_down_is_probed_though_nothing_is_queued)
{
	char why[128];

	connect_smtpout(w);
	assert_true(granted(w, "a.example"));
	w->script = it_is_down;
	leave(w, "a.example", LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE, 0);
	UNTIL(w, w->state[0] == LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE);
	assert_false(take(w, "a.example", why, sizeof(why)));
	assert_non_null(strstr(why, "down"));
	w->script = it_works;
	UNTIL(w, w->state[0] == LOCUM__PRIMARY_STATE__PRIMARY_UP);
	assert_true(granted(w, "a.example"));
}

/* --- many domains of one primary --- */

#define MANY 10000

static struct conf *many;

/* Before any task runs: reading wants a deep stack. */
static void read_many(void)
{
	_cleanup_(buf_done) struct buf text = { 0 }, error = { 0 };

	buf_init(&text, (size_t)4 << 20);
	buf_init(&error, 1024);
	assert_int_equal(buf_add(&text, STR("hostname = \"mx2.example.net\"\n"
					    "listen \"mx\" { address = \"127.0.0.1:25\" }\n")),
			 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(buf_addf(&text,
					  "domain \"%c%u.example\" { primary = "
					  "{\"mail.example:25\"} recipients = \"any\" }\n",
					  i % 2 ? 'a' : 'b', i),
				 0);
	if (conf_read_text("many", buf_str(&text), &many, &error) < 0)
		fail_msg("%.*s", STR_ARG(buf_str(&error)));
}

WORLD_TEST(a_primary_of_ten_thousand_domains_goes_down_for_all_of_them_at_once)
{
	nsec began;

	connect_smtpout(w);
	spoold_reconfigure(w->sp, many);
	UNTIL(w, w->states_of_domains >= MANY);
	assert_int_equal(w->destination[0], w->destination[1]);
	assert_true(w->destination[0]);
	w->states_of_domains = 0;
	assert_true(granted(w, "a1.example"));
	began = task_now(w->tk);
	leave(w, "a1.example", LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE, 0);
	UNTIL(w, w->states_of_domains == MANY);
	assert_true(task_now(w->tk) - began < NSEC_S); /* 80 ms, as a rule */
	assert_int_equal(w->state[0], LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE);
	assert_int_equal(w->state[1], LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE);
}

/* --- the lost last reply --- */

static void append_ambiguous(struct world *w, unsigned n)
{
	struct envelope x;
	int fd = body_file(number_id(n), 1000);

	assert_int_equal(sys_memfd_seal(fd), 0);
	envelope_make(&x, n, to_a_and_b, 2, 1000);
	assert_int_equal(append_marked(w->tk, w, &x, fd, true), LOCUM__APPEND_RESULT__APPENDED);
}

static void assert_ambiguous(struct world *w, unsigned n)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	const Locum__StoredState *state = stored(w, n, &l);

	for (size_t i = 0; i < state->n_recipients; i++)
		assert_true(state->recipients[i]->ambiguous);
	assert_int_equal(state->n_events, 1);
	assert_string_equal(state->events[0]->what, "ambiguous");
}

WORLD_TEST(a_message_that_the_primary_may_have_is_marked_from_the_start)
{
	append_ambiguous(w, 1);
	append_one(w, 2);
	assert_ambiguous(w, 1);
	world_restart(w);
	assert_ambiguous(w, 1);
	connect_smtpout(w);
	UNTIL(w, is_done(w, 1) && is_done(w, 2));
	assert_int_equal(w->deliveries, 3);
}

WORLD_TEST(its_delivery_says_so)
{
	connect_smtpout(w);
	append_ambiguous(w, 1);
	UNTIL(w, is_done(w, 1));
	assert_true(w->ambiguous);
	append_one(w, 2);
	UNTIL(w, is_done(w, 2));
	assert_false(w->ambiguous);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_granted_until_the_budget_is_full),
		cmocka_unit_test(places_of_an_smtpout_that_died_are_given_back),
		cmocka_unit_test(a_place_that_was_never_taken_cannot_be_left),
		cmocka_unit_test(a_place_with_a_name_may_be_left_whether_it_was_granted_or_not),
		cmocka_unit_test(live_traffic_teaches_what_the_primary_offers),
		cmocka_unit_test(smtpin_is_told_how_each_primary_is_and_which_two_are_one),
		cmocka_unit_test(a_primary_that_is_down_is_probed_though_nothing_is_queued),
		cmocka_unit_test(
			a_primary_of_ten_thousand_domains_goes_down_for_all_of_them_at_once),
		cmocka_unit_test(a_message_that_the_primary_may_have_is_marked_from_the_start),
		cmocka_unit_test(its_delivery_says_so),
	};
	int r;

	read_many();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	conf_unref(many);
	return r;
}
