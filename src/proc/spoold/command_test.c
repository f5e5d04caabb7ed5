#include "proc/spoold/testing.h"

#define QUEUED LOCUM__MESSAGE_STATE__MESSAGE_QUEUED
#define HELD LOCUM__MESSAGE_STATE__MESSAGE_HELD
#define DELIVERED LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED
#define DROPPED LOCUM__MESSAGE_STATE__MESSAGE_DROPPED

static void append_both(struct world *w, unsigned n)
{
	assert_int_equal(append(w, n, to_a_and_b, 3, 1000), LOCUM__APPEND_RESULT__APPENDED);
}

WORLD_TEST(status_tells_the_whole_and_every_destination)
{
	const Locum__StatusRow *s;
	const Locum__DestinationRow *d;

	connect_smtpout(w);
	w->script = it_is_down;
	append_one(w, 1);
	UNTIL(w, entry(w, 1, 0)->domain->destination->health == HEALTH_UNREACHABLE);
	assert_string_equal(ask_verb(w, LOCUM__VERB__STATUS, "")->error, "");
	s = w->answer[0]->answer->status;
	assert_non_null(s);
	assert_string_equal(s->hostname, "mx2.example.net");
	assert_int_equal(s->messages, 1);
	assert_int_equal(s->accepted_total, 1);
	assert_true(s->bytes > 0);
	assert_int_equal(s->messages_held, 0);
	assert_true(s->accepting);
	assert_int_equal(s->n_alerts, 0);
	assert_int_equal(w->answers, 4); /* b.example is a destination of its own still */
	d = w->answer[2]->answer->destination;
	assert_string_equal(d->destination, "mail.example:25");
	assert_int_equal(d->state, LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE);
	assert_string_equal(d->text, "connection refused");
	assert_int_equal(d->queued, 1);
	assert_int_equal(d->n_domains, 1);
	assert_string_equal(d->domains[0], "a.example");
	assert_true(d->next_probe_wall > 0);
}

WORLD_TEST(status_sums_the_counters_of_smtpin)
{
	Locum__SmtpinCounters counters = LOCUM__SMTPIN_COUNTERS__INIT;
	IPC_PACKET(p, SMTPIN_COUNTERS, smtpin_counters, &counters);

	counters.sessions = 3;
	counters.refused_total = 17;
	assert_int_equal(ipc_send(w->tk, w->smtpin, &p, -1, NEVER), 0);
	task_sleep(w->tk, 5 * NSEC_MS);
	ask_verb(w, LOCUM__VERB__STATUS, "");
	assert_int_equal(w->answer[0]->answer->status->sessions, 3);
	assert_int_equal(w->answer[0]->answer->status->refused_total, 17);
}

WORLD_TEST(status_warns_of_mail_for_a_domain_given_up)
{
	struct conf *without = conf_of(&usual_domains[1], 1, 1);

	append_one(w, 1);
	spoold_reconfigure(w->sp, without);
	conf_unref(without);
	ask_verb(w, LOCUM__VERB__STATUS, "");
	assert_int_equal(w->answer[0]->answer->status->n_alerts, 1);
	assert_non_null(strstr(w->answer[0]->answer->status->alerts[0], "a.example"));
}

WORLD_TEST(queue_lists_domains_and_their_messages_oldest_first)
{
	const Locum__DomainRow *d;
	const Locum__MessageRow *m;
	Locum__Command c = LOCUM__COMMAND__INIT;

	for (unsigned i = 3; i-- > 0;)
		append_one(w, i);
	append_both(w, 3);
	assert_int_equal(ask_verb(w, LOCUM__VERB__QUEUE, "")->count, 5);
	assert_int_equal(w->answers, 3);
	d = w->answer[0]->answer->domain;
	assert_string_equal(d->domain, "a.example");
	assert_int_equal(d->queued, 4);
	assert_int_equal(d->bytes, 4000);
	assert_true(d->oldest_wall > 0);

	assert_int_equal(ask_verb(w, LOCUM__VERB__QUEUE, "a.example")->count, 4);
	assert_int_equal(w->answers, 5);
	for (unsigned i = 0; i < 4; i++)
		assert_memory_equal(w->answer[i]->answer->message->id.data, number_id(i).byte, 16);
	m = w->answer[3]->answer->message;
	assert_int_equal(m->n_recipients, 2); /* those of this domain */
	assert_memory_equal(m->recipients[1]->address.data, "u2@a.example", 12);
	assert_int_equal(m->state, QUEUED);
	assert_string_equal(m->client, "client.example.org [192.0.2.7]");

	c.verb = LOCUM__VERB__QUEUE;
	c.domain = (char *)"a.example";
	c.rows_max = 2;
	assert_int_equal(ask_spoold(w, &c)->count, 2);
	assert_int_equal(w->answers, 3);
	assert_non_null(strstr(ask_verb(w, LOCUM__VERB__QUEUE, "x.example")->error, "x.example"));
}

WORLD_TEST(show_gives_the_envelope_and_export_the_body)
{
	const Locum__Answer *a;
	char body[1000];

	append_both(w, 7);
	assert_int_equal(ask_id(w, LOCUM__VERB__SHOW, 7)->count, 1);
	a = w->answer[0]->answer;
	assert_int_equal(a->message->n_recipients, 3);
	assert_int_equal(a->message->bytes, 1000);
	assert_true(w->answer[1]->answer->envelope.len > 50);
	ask_id(w, LOCUM__VERB__EXPORT, 7);
	a = w->answer[0]->answer;
	assert_int_equal(a->body_bytes, 1000);
	assert_true(w->answer_fd >= 0);
	assert_int_equal(sys_read_at(w->answer_fd, body, 1000, a->body_offset), 1000);
	for (size_t i = 0; i < sizeof(body); i++)
		assert_int_equal(body[i], body_byte(number_id(7).byte, i));
	assert_string_not_equal(ask_id(w, LOCUM__VERB__SHOW, 8)->error, "");
}

WORLD_TEST(a_message_with_many_recipients_is_shown_in_several_rows)
{
	static Locum__Recipient r[2800], *rs[2800];
	static char address[2800][32];
	struct envelope x;
	int fd = body_file(number_id(1), 10);
	size_t shown = 0;

	assert_int_equal(sys_memfd_seal(fd), 0);
	envelope_make(&x, 1, to_a, 1, 10);
	x.e.recipients = rs;
	x.e.n_recipients = ELEMENTS(rs);
	for (size_t i = 0; i < ELEMENTS(rs); i++) {
		rs[i] = &r[i];
		locum__recipient__init(&r[i]);
		r[i].address.len = (size_t)snprintf(address[i], 32, "u%zu@a.example", i);
		r[i].address.data = (uint8_t *)address[i];
		r[i].domain = (char *)"a.example";
	}
	assert_int_equal(append_envelope(w->tk, w, &x, fd), LOCUM__APPEND_RESULT__APPENDED);
	assert_int_equal(ask_id(w, LOCUM__VERB__HOLD, 1)->count, 1); /* each with a reason */
	ask_id(w, LOCUM__VERB__SHOW, 1);
	assert_int_equal(w->answers, 5); /* rows, envelope, event, last */
	for (size_t i = 0; i < 2; i++)
		shown += w->answer[i]->answer->message->n_recipients;
	assert_int_equal(shown, ELEMENTS(rs));
}

WORLD_TEST(a_held_message_stays_until_it_is_released)
{
	append_one(w, 1);
	assert_int_equal(ask_id(w, LOCUM__VERB__HOLD, 1)->count, 1);
	assert_int_equal(spool_batch_bytes(w->sp->spool), 0); /* durable before the answer */
	assert_string_not_equal(ask_id(w, LOCUM__VERB__HOLD, 1)->error, "");
	world_restart(w);
	connect_smtpout(w);
	task_sleep(w->tk, 20 * NSEC_MS);
	assert_int_equal(w->deliveries, 0);
	ask_id(w, LOCUM__VERB__SHOW, 1);
	assert_int_equal(w->answer[0]->answer->message->state, HELD);
	assert_non_null(strstr(w->answer[0]->answer->message->text, "operator (uid 1000)"));
	assert_int_equal(ask_id(w, LOCUM__VERB__RELEASE, 1)->count, 1);
	UNTIL(w, is_done(w, 1));
}

WORLD_TEST(holding_and_dropping_a_domain_leaves_the_others_alone)
{
	for (unsigned i = 0; i < 100; i++)
		append_one(w, i);
	append_both(w, 100);
	assert_int_equal(ask_verb(w, LOCUM__VERB__HOLD, "a.example")->count, 101);
	assert_int_equal(sched_domain_find(w->sp->sched, STR("a.example"))->held, 101);
	connect_smtpout(w);
	UNTIL(w, w->deliveries == 1);
	assert_string_equal(w->domain, "b.example");
	assert_int_equal(ask_verb(w, LOCUM__VERB__DROP, "a.example")->count, 101);
	assert_int_equal(w->sp->messages.count, 0);
	ask_id(w, LOCUM__VERB__TRACE, 100);
	assert_int_equal(w->answer[w->answers - 2]->answer->message->state, DELIVERED);
	ask_id(w, LOCUM__VERB__TRACE, 5);
	assert_int_equal(w->answer[w->answers - 2]->answer->message->state, DROPPED);
	world_restart(w);
	assert_int_equal(w->sp->messages.count, 0);
}

WORLD_TEST(what_is_dropped_while_it_is_delivered_is_done_after_the_attempt)
{
	connect_smtpout(w);
	w->silent = true;
	append_both(w, 1);
	UNTIL(w, w->deliveries == 2);
	assert_int_equal(ask_id(w, LOCUM__VERB__DROP, 1)->count, 1);
	assert_non_null(message_find(w->sp, number_id(1)));
	ask_id(w, LOCUM__VERB__SHOW, 1);
	kill_smtpout(w); /* nobody knows what became of it: it was dropped anyway */
	UNTIL(w, is_done(w, 1));
	assert_false(spool_has(w->sp->spool, number_id(1)));
}

WORLD_TEST(a_flush_tries_at_once_what_waits)
{
	connect_smtpout(w);
	w->script = it_defers;
	append_one(w, 1);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_WAITING);
	w->script = it_works;
	assert_int_equal(ask_verb(w, LOCUM__VERB__FLUSH, "a.example")->count, 1);
	UNTIL(w, is_done(w, 1));
	assert_int_equal(w->dns_forgotten, 1);
	assert_string_not_equal(ask_verb(w, LOCUM__VERB__FLUSH, "x.example")->error, "");
	assert_string_equal(ask_verb(w, LOCUM__VERB__FLUSH, "")->error, "");
}

static const char *const deferred_then_delivered[] = { "accepted", "deferred", "delivered" };

WORLD_TEST(trace_tells_the_story_of_a_message_that_is_gone)
{
	const Locum__MessageRow *m;

	connect_smtpout(w);
	w->script = it_defers;
	append_one(w, 1);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_WAITING);
	ask_id(w, LOCUM__VERB__TRACE, 1);
	assert_int_equal(w->answers, 4);
	assert_non_null(strstr(w->answer[0]->answer->event->text, "the primary was not known"));
	assert_non_null(strstr(w->answer[0]->answer->event->text, "192.0.2.7"));
	assert_non_null(strstr(w->answer[1]->answer->event->text, "451 4.7.1 later"));
	assert_string_equal(w->answer[2]->answer->message->text, "451 4.7.1 later");
	w->script = it_works;
	ask_verb(w, LOCUM__VERB__FLUSH, "");
	UNTIL(w, is_done(w, 1));
	world_restart(w); /* remembered from the spool */
	ask_id(w, LOCUM__VERB__TRACE, 1);
	assert_int_equal(w->answers, 5);
	for (size_t i = 0; i < ELEMENTS(deferred_then_delivered); i++)
		assert_string_equal(w->answer[i]->answer->event->event, deferred_then_delivered[i]);
	m = w->answer[3]->answer->message;
	assert_int_equal(m->state, DELIVERED);
	assert_memory_equal(m->recipients[0]->address.data, "u0@a.example", 12);
	assert_string_equal(m->recipients[0]->domain, "a.example");
	assert_int_equal(m->recipients[0]->attempts, 2);
}

WORLD_TEST(trace_finds_an_address_wherever_it_is)
{
	Locum__Command c = LOCUM__COMMAND__INIT;

	connect_smtpout(w);
	append_one(w, 1);
	UNTIL(w, is_done(w, 1));
	w->script = it_is_down;
	append_both(w, 2);
	c.verb = LOCUM__VERB__TRACE;
	c.address = (char *)"U0@A.example";
	assert_int_equal(ask_spoold(w, &c)->count, 2);
	c.address = (char *)"sender@example.org";
	assert_int_equal(ask_spoold(w, &c)->count, 2);
	c.address = (char *)"u1@b.example";
	assert_int_equal(ask_spoold(w, &c)->count, 1);
	c.address = (char *)"nobody@a.example";
	assert_int_equal(ask_spoold(w, &c)->count, 0);
}

static void reply_upgraded(struct task *tk, struct channel *ch, uint64_t call, bool ok)
{
	Locum__Upgraded upgraded = LOCUM__UPGRADED__INIT;
	IPC_PACKET(p, UPGRADED, upgraded, &upgraded);

	upgraded.ok = ok;
	upgraded.text = (char *)"locumd 2 runs in the place of 1";
	ipc_reply(tk, ch, call, &p, -1, NEVER);
}

static void fake_locumd(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	Locum__Reloaded reloaded = LOCUM__RELOADED__INIT;
	IPC_PACKET(p, RELOADED, reloaded, &reloaded);
	bool *ok = arg;

	if (m->packet->body_case == LOCUM__PACKET__BODY_UPGRADE) {
		reply_upgraded(tk, ch, m->packet->call, *ok);
		return;
	}
	assert_int_equal(m->packet->body_case, LOCUM__PACKET__BODY_RELOAD);
	reloaded.ok = *ok;
	reloaded.text = (char *)"locum.conf:3: no such option";
	ipc_reply(tk, ch, m->packet->call, &p, -1, NEVER);
}

WORLD_TEST(reload_and_upgrade_are_asked_of_locumd_and_its_answer_passed_back)
{
	struct channel *locumd, *control;
	static bool ok;
	int pair[2];

	assert_string_not_equal(ask_verb(w, LOCUM__VERB__RELOAD, "")->error, "");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(channel_new(w->loop, pair[0], LOCUM__PROCESS__LOCUMD,
				     LOCUM__PROCESS__SPOOLD, 0, fake_locumd, test_end_closed, &ok,
				     &locumd),
			 0);
	assert_int_equal(channel_new(w->loop, pair[1], LOCUM__PROCESS__SPOOLD,
				     LOCUM__PROCESS__LOCUMD, 0, to_spoold, test_end_closed, w,
				     &control),
			 0);
	w->sp->control = control;
	assert_string_equal(ask_verb(w, LOCUM__VERB__RELOAD, "")->error,
			    "locum.conf:3: no such option");
	ok = true;
	assert_string_equal(ask_verb(w, LOCUM__VERB__RELOAD, "")->error, "");
	assert_int_equal(w->answers, 2); /* what locumd said, then the last */
	assert_string_equal(w->answer[0]->answer->event->text, "locum.conf:3: no such option");
	assert_string_equal(ask_verb(w, LOCUM__VERB__UPGRADE, "")->error, "");
	assert_string_equal(w->answer[0]->answer->event->text, "locumd 2 runs in the place of 1");
	ok = false;
	assert_string_equal(ask_verb(w, LOCUM__VERB__UPGRADE, "")->error,
			    "locumd 2 runs in the place of 1");
	channel_free(locumd);
	channel_free(control);
}

WORLD_TEST(an_asker_who_hangs_up_in_mid_answer_is_no_harm)
{
	Locum__Command c = LOCUM__COMMAND__INIT;
	IPC_PACKET(p, COMMAND, command, &c);

	for (unsigned i = 0; i < 200; i++)
		append_one(w, i);
	c.verb = LOCUM__VERB__QUEUE;
	c.domain = (char *)"a.example";
	for (int i = 0; i < 5; i++) {
		connect_locum(w);
		assert_int_equal(ipc_send_blocking(w->locum, &p), 0);
		if (i % 2)
			task_sleep(w->tk, NSEC_MS);
		close(w->locum);
		w->locum = -1;
	}
	UNTIL(w, w->sp->client_count == 0);
	assert_int_equal(ask_verb(w, LOCUM__VERB__QUEUE, "")->count, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_tells_the_whole_and_every_destination),
		cmocka_unit_test(status_sums_the_counters_of_smtpin),
		cmocka_unit_test(status_warns_of_mail_for_a_domain_given_up),
		cmocka_unit_test(queue_lists_domains_and_their_messages_oldest_first),
		cmocka_unit_test(show_gives_the_envelope_and_export_the_body),
		cmocka_unit_test(a_message_with_many_recipients_is_shown_in_several_rows),
		cmocka_unit_test(a_held_message_stays_until_it_is_released),
		cmocka_unit_test(holding_and_dropping_a_domain_leaves_the_others_alone),
		cmocka_unit_test(what_is_dropped_while_it_is_delivered_is_done_after_the_attempt),
		cmocka_unit_test(a_flush_tries_at_once_what_waits),
		cmocka_unit_test(trace_tells_the_story_of_a_message_that_is_gone),
		cmocka_unit_test(trace_finds_an_address_wherever_it_is),
		cmocka_unit_test(reload_and_upgrade_are_asked_of_locumd_and_its_answer_passed_back),
		cmocka_unit_test(an_asker_who_hangs_up_in_mid_answer_is_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
