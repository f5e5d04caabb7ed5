/* What the words of primaries mean, what the operator is told of them, and that senders are told
 * nothing: no message is ever made here. */
#include "proc/spoold/said.h"
#include "proc/spoold/testing.h"

#include "smtp/ehlo.h"

static void words_and_what_they_say(void **state)
{
	static const struct {
		const char *words;
		uint32_t offers;
		enum sched_said said;
	} rows[] = {
		{ "450 4.2.0 Greylisted, see http://postgrey.schweikert.ch/", 0, SAID_GREYLISTED },
		{ "RCPT: 450 4.2.0 greylisted", 0, SAID_GREYLISTED },
		{ "greeting: 421 4.7.0 too many connections from your IP", 0, SAID_THROTTLED },
		{ "554 5.7.1 Service unavailable; client host [192.0.2.1] blocked", 0,
		  SAID_BLOCKED },
		{ "554 5.7.1 Service unavailable; client host [192.0.2.1] blocked", EHLO_XCLIENT,
		  SAID_RECIPIENT },
		{ "554 5.7.1 relay access denied", 0, SAID_NOT_ITS_OWN },
		{ "550 5.1.1 no such user", 0, SAID_RECIPIENT },
		{ "452 4.2.2 mailbox full", 0, SAID_RECIPIENT },
		{ "451 4.3.0 something", 0, SAID_OTHER },
		{ "250 2.0.0 ok", 0, SAID_NOTHING },
		{ "connect: connection refused", 0, SAID_NOTHING },
		{ "connect to port 4500 failed", 0, SAID_NOTHING },
		{ "", 0, SAID_NOTHING },
		{ "45", 0, SAID_NOTHING },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		Locum__Host host = LOCUM__HOST__INIT;

		host.offers = rows[i].offers;
		if (said_of(str_of(rows[i].words), &host) != rows[i].said)
			fail_msg("%s", rows[i].words);
	}
	assert_int_equal(said_of(STR("450 greylisted"), NULL), SAID_GREYLISTED);
}

static bool alerted(struct world *w, const char *words)
{
	bool told = false;

	ask_verb(w, LOCUM__VERB__STATUS, "");
	for (size_t i = 0; i < w->answers; i++) {
		const Locum__StatusRow *s = w->answer[i]->answer->status;

		for (size_t j = 0; s && j < s->n_alerts; j++)
			told = told || strstr(s->alerts[j], words);
	}
	return told;
}

WORLD_TEST(a_greylist_is_an_alert_from_the_third_message_on)
{
	static const struct script it_greylists = { LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
						    LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
						    LOCUM__OUTCOME__OUTCOME_DEFERRED,
						    "450 4.2.0 Greylisted for 300 seconds" };

	connect_smtpout(w);
	w->script = it_greylists;
	append_one(w, 1);
	append_one(w, 2);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_WAITING && entry(w, 2, 0)->place == PLACE_WAITING);
	assert_false(alerted(w, "greylists"));
	append_one(w, 3);
	UNTIL(w, entry(w, 3, 0)->place == PLACE_WAITING);
	assert_true(alerted(w, "mail.example:25 greylists this server"));
}

WORLD_TEST(a_drain_shows_how_far_it_is)
{
	const Locum__DestinationRow *row = NULL;

	connect_smtpout(w);
	w->script = it_is_down;
	append_one(w, 1);
	UNTIL(w, w->state[0] == LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE);
	for (unsigned n = 2; n <= 4; n++)
		append_one(w, n);
	w->silent_after = w->deliveries + 1; /* the others hang */
	w->script = it_works;
	UNTIL(w, is_done(w, 1) && w->deliveries == w->silent_after + 2);
	ask_verb(w, LOCUM__VERB__STATUS, "");
	for (size_t i = 0; i < w->answers; i++)
		if (w->answer[i]->answer->destination &&
		    w->answer[i]->answer->destination->drain_since_wall)
			row = w->answer[i]->answer->destination;
	assert_non_null(row);
	assert_int_equal(row->drain_delivered, 1);
	assert_int_equal(row->drain_total, 4);
	assert_true(row->drain_end_wall > 0);
	kill_smtpout(w);
}

/* --- no backscatter --- */

/* Whatever becomes of a message, with everything that RFC 3461 could ask for: the only messages that
 * are ever handed over are those that came in, to the recipients they came for. */
static void nothing_but_what_came(struct world *w, unsigned n, const struct script *script)
{
	static const char *const domains[] = { "a.example" };
	struct envelope x;
	int fd = body_file(number_id(n), 1000);

	assert_int_equal(sys_memfd_seal(fd), 0);
	envelope_make(&x, n, domains, 1, 1000);
	x.r[0].notify = (char *)"SUCCESS,FAILURE,DELAY";
	x.r[0].orcpt = (char *)"rfc822;u0@a.example";
	x.e.dsn_ret = (char *)"FULL";
	x.e.dsn_envid = (char *)"envid";
	w->script = *script;
	assert_int_equal(append_envelope(w->tk, w, &x, fd), LOCUM__APPEND_RESULT__APPENDED);
	UNTIL(w, is_done(w, n) || entry(w, n, 0)->place == PLACE_HELD ||
			 entry(w, n, 0)->place == PLACE_WAITING);
	assert_string_equal(w->domain, "a.example");
	assert_true(w->body_ok); /* its own body, by its id */
}

WORLD_TEST(whatever_becomes_of_a_message_its_sender_is_sent_nothing)
{
	static const struct script scripts[] = {
		{ LOCUM__ATTEMPT__ATTEMPT_ANSWERED, LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
		  LOCUM__OUTCOME__OUTCOME_DELIVERED, "250 2.0.0 taken" },
		{ LOCUM__ATTEMPT__ATTEMPT_ANSWERED, LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
		  LOCUM__OUTCOME__OUTCOME_REFUSED, "550 5.1.1 no such user" },
		{ LOCUM__ATTEMPT__ATTEMPT_ANSWERED, LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
		  LOCUM__OUTCOME__OUTCOME_DEFERRED, "451 4.3.0 later" },
		{ LOCUM__ATTEMPT__ATTEMPT_LOST, LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
		  LOCUM__OUTCOME__OUTCOME_AMBIGUOUS, "connection lost" },
	};
	unsigned n = 0;

	connect_smtpout(w);
	for (; n < ELEMENTS(scripts); n++)
		nothing_but_what_came(w, n + 1, &scripts[n]);
	ask_id(w, LOCUM__VERB__DROP, 2);
	/* Delivered one, dropped one; what waits is what came. */
	UNTIL(w, w->sp->messages.count == 2);
	assert_non_null(message_find(w->sp, number_id(3)));
	assert_non_null(message_find(w->sp, number_id(4)));
	assert_int_equal(w->sp->accepted_total, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_what_they_say),
		cmocka_unit_test(a_greylist_is_an_alert_from_the_third_message_on),
		cmocka_unit_test(a_drain_shows_how_far_it_is),
		cmocka_unit_test(whatever_becomes_of_a_message_its_sender_is_sent_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
