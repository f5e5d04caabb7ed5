#include "proc/spoold/testing.h"

#include "spool/inside.h"

#include <malloc.h>
#include <sys/wait.h>

/* --- taking --- */

struct look {
	msg_id id;
	bool seen;
};

static int look_for(void *arg, enum spool_event event, msg_id id, nsec written_wall, str payload)
{
	struct look *look = arg;

	(void)written_wall;
	(void)payload;
	look->seen = look->seen || (event == SPOOL_MESSAGE && id_eq(id, look->id));
	return 0;
}

static void no_damage(void *arg, const char *file, uint64_t offset, const char *what)
{
	(void)arg;
	fail_msg("%s:%lu %s", file, (unsigned long)offset, what);
}

/* What another process would find if this one died now. */
static bool is_on_disk(struct world *w, unsigned n)
{
	struct spool_options options = { 1 << 20, 1 << 20, 1 };
	struct look look = { .id = number_id(n) };
	struct spool *copy;
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s.copy && cp -r %s %s.copy", w->dir, w->dir,
		 w->dir);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "%s.copy", w->dir);
	assert_int_equal(spool_open(command, &options, &copy), 0);
	assert_int_equal(spool_replay(copy, look_for, no_damage, &look), 0);
	spool_close(copy);
	return look.seen;
}

WORLD_TEST(an_answer_means_that_it_is_on_disk)
{
	append_one(w, 1);
	assert_true(is_on_disk(w, 1));
	assert_int_equal(spool_batch_bytes(w->sp->spool), 0);
	assert_int_equal(entry(w, 1, 0)->place, PLACE_READY);
}

static void wrong_id(struct envelope *x)
{
	x->e.id.len = 15;
}

static void no_recipients(struct envelope *x)
{
	x->e.n_recipients = 0;
}

static void longer_than_said(struct envelope *x)
{
	x->e.body_bytes--;
}

static void shorter_than_said(struct envelope *x)
{
	x->e.body_bytes++;
}

static void empty_address(struct envelope *x)
{
	x->r[0].address.len = 0;
}

static void strange_domain(struct envelope *x)
{
	x->r[0].domain = (char *)"not.ours.example";
}

static void nothing_wrong(struct envelope *x)
{
	(void)x;
}

static const struct {
	const char *requirement;
	void (*spoil)(struct envelope *x);
	bool unsealed, no_body;
	Locum__AppendResult result;
} wrongs[] = {
	{ "an id of 15 bytes", wrong_id, .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "no recipients", no_recipients, .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "a body longer than it says", longer_than_said,
	  .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "a body shorter than it says", shorter_than_said,
	  .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "an empty address", empty_address, .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "a domain not ours", strange_domain, .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "a body that may still change", nothing_wrong, .unsealed = true,
	  .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "no body", nothing_wrong, .no_body = true,
	  .result = LOCUM__APPEND_RESULT__APPEND_FAILED },
	{ "nothing", nothing_wrong, .result = LOCUM__APPEND_RESULT__APPENDED },
	{ "an id that is here already", nothing_wrong,
	  .result = LOCUM__APPEND_RESULT__APPEND_DUPLICATE },
};

WORLD_TEST(what_smtpin_gets_wrong_is_not_taken)
{
	for (size_t i = 0; i < ELEMENTS(wrongs); i++) {
		int fd = wrongs[i].no_body ? -1 : body_file(number_id(1), 100);
		struct envelope x;
		int result;

		if (!wrongs[i].unsealed && fd >= 0)
			assert_int_equal(sys_memfd_seal(fd), 0);
		envelope_make(&x, 1, to_a, 1, 100);
		wrongs[i].spoil(&x);
		result = append_envelope(w->tk, w, &x, fd);
		if (result != (int)wrongs[i].result)
			fail_msg("%s: %d", wrongs[i].requirement, result);
	}
	assert_int_equal(w->sp->messages.count, 1);
}

WORLD_TEST(an_arrival_that_cannot_be_true_does_not_park_the_message)
{
	int fd = body_file(number_id(1), 100);
	struct envelope x;

	assert_int_equal(sys_memfd_seal(fd), 0);
	envelope_make(&x, 1, to_a, 1, 100);
	x.e.arrived_wall = 1;
	assert_int_equal(append_envelope(w->tk, w, &x, fd), LOCUM__APPEND_RESULT__APPENDED);
	task_sleep(w->tk, 5 * NSEC_MS);
	assert_int_equal(entry(w, 1, 0)->place, PLACE_READY);
}

WORLD_TEST(smtpin_is_told_whether_the_spool_takes_messages)
{
	UNTIL(w, w->states_told > 0);
	assert_true(w->accepting);
	conf_unref(w->conf);
	w->conf = conf_of(usual_domains, ELEMENTS(usual_domains), UINT64_MAX / 4);
	world_restart(w);
	UNTIL(w, w->states_told > 1 && !w->accepting);
	assert_int_equal(append(w, 1, to_a, 1, 100), LOCUM__APPEND_RESULT__APPEND_NO_SPACE);
	assert_int_equal(w->sp->messages.count, 0);
}

WORLD_TEST(smtpin_is_told_at_once_when_the_disk_is_full_and_when_it_is_not)
{
	UNTIL(w, w->accepting);
	w->sp->spool->options.reserve_bytes = UINT64_MAX / 4;
	assert_int_equal(append(w, 1, to_a, 1, 100), LOCUM__APPEND_RESULT__APPEND_NO_SPACE);
	assert_false(w->sp->accepting);
	UNTIL(w, !w->accepting);
	w->sp->spool->options.reserve_bytes = 1;
	UNTIL(w, w->accepting);
	append_one(w, 1);
}

static void reconfigure_reserve(struct world *w, uint64_t bytes)
{
	struct conf *conf = conf_of(usual_domains, ELEMENTS(usual_domains), bytes);

	spoold_reconfigure(w->sp, conf);
	conf_unref(conf);
}

WORLD_TEST(a_reload_changes_the_reserve_of_the_open_spool)
{
	UNTIL(w, w->accepting);
	reconfigure_reserve(w, UINT64_MAX / 4);
	UNTIL(w, !w->accepting);
	assert_int_equal(append(w, 1, to_a, 1, 100), LOCUM__APPEND_RESULT__APPEND_NO_SPACE);
	reconfigure_reserve(w, 1);
	UNTIL(w, w->accepting);
	append_one(w, 1);
}

WORLD_TEST(a_failed_sync_ends_the_process_unanswered)
{
	int answered[2], status = 0;
	pid_t child;
	char byte;

	assert_int_equal(pipe(answered), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		log_open("spoold", LOG_ERROR, LOG_TEXT);
		/* Put in, but what the disk said at the sync was no. */
		append_one(w, 1);
		w->sp->spool->log[SPOOL_QUEUE].open->fd = -1;
		append(w, 2, to_a, 1, 1000);
		_exit(write(answered[1], "x", 1) == 1 ? 7 : 8);
	}
	close(answered[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(read(answered[0], &byte, 1), 0);
	close(answered[0]);
}

/* --- delivering --- */

WORLD_TEST(a_message_is_delivered_whole_and_done)
{
	connect_smtpout(w);
	append_one(w, 1);
	UNTIL(w, is_done(w, 1));
	assert_int_equal(w->deliveries, 1);
	assert_int_equal(w->probes, 0);
	assert_true(w->body_ok);
	assert_string_equal(w->domain, "a.example");
	assert_false(w->ambiguous);
	assert_false(spool_has(w->sp->spool, number_id(1)));
	assert_int_equal(w->sp->delivered_total, 1);
}

WORLD_TEST(a_big_body_is_delivered_whole)
{
	connect_smtpout(w);
	assert_int_equal(append(w, 1, to_a, 1, 3 << 20), LOCUM__APPEND_RESULT__APPENDED);
	UNTIL(w, is_done(w, 1));
	assert_true(w->body_ok);
}

struct one_append {
	struct world *w;
	unsigned n;
};

static void append_task(struct task *tk, void *arg)
{
	struct one_append *a = arg;
	struct envelope x;
	int fd = body_file(number_id(a->n), 500);

	assert_int_equal(sys_memfd_seal(fd), 0);
	envelope_make(&x, a->n, to_a, 1, 500);
	assert_int_equal(append_envelope(tk, a->w, &x, fd), LOCUM__APPEND_RESULT__APPENDED);
}

static void append_many(struct world *w, unsigned from, unsigned count)
{
	static struct one_append a[500];
	struct group g;

	assert_true(count <= ELEMENTS(a));
	group_init(&g, w->loop);
	for (unsigned i = 0; i < count; i++) {
		a[i] = (struct one_append){ w, from + i };
		assert_int_equal(task_start(w->loop, &g, "append", append_task, &a[i]), 0);
	}
	assert_int_equal(group_wait(w->tk, &g, task_in(w->tk, WAIT)), 0);
}

WORLD_TEST(many_at_once_share_a_sync_and_all_arrive)
{
	append_many(w, 0, 300);
	assert_int_equal(w->sp->messages.count, 300);
	connect_smtpout(w);
	UNTIL(w, w->sp->messages.count == 0);
	assert_int_equal(w->deliveries, 300);
	assert_int_equal(w->sp->finished.count, 300);
}

WORLD_TEST(each_recipient_has_its_own_outcome)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	Locum__StoredState *s;

	connect_smtpout(w);
	w->by_recipient[1] = LOCUM__OUTCOME__OUTCOME_DEFERRED;
	w->by_recipient[2] = LOCUM__OUTCOME__OUTCOME_REFUSED;
	assert_int_equal(append(w, 1, to_a, 3, 100), LOCUM__APPEND_RESULT__APPENDED);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_WAITING);
	s = stored(w, 1, &l);
	assert_int_equal(s->recipients[0]->state, LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED);
	assert_int_equal(s->recipients[1]->state, LOCUM__MESSAGE_STATE__MESSAGE_QUEUED);
	assert_int_equal(s->recipients[2]->state, LOCUM__MESSAGE_STATE__MESSAGE_HELD);
	assert_string_equal(s->recipients[2]->reply, "250 2.0.0 taken");
	w->by_recipient[1] = LOCUM__OUTCOME__OUTCOME_DELIVERED;
	sched_flush(w->sp->sched, NULL, sys_now());
	signal_raise(&w->sp->work);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_HELD);
	assert_int_equal(w->deliveries, 2);
	assert_int_equal(w->asked_count, 1);
	assert_int_equal(w->asked[0], 1);
}

WORLD_TEST(each_domain_is_delivered_apart_and_done_when_both_are)
{
	connect_smtpout(w);
	w->by_recipient[1] = LOCUM__OUTCOME__OUTCOME_DEFERRED;
	assert_int_equal(append(w, 1, to_a_and_b, 3, 100), LOCUM__APPEND_RESULT__APPENDED);
	UNTIL(w, w->deliveries == 2 && entry(w, 1, 1)->place == PLACE_WAITING);
	assert_null(entry(w, 1, 0)->domain);
	assert_int_equal(w->asked_in_all, 3);
	w->by_recipient[1] = LOCUM__OUTCOME__OUTCOME_DELIVERED;
	sched_flush(w->sp->sched, NULL, sys_now());
	signal_raise(&w->sp->work);
	UNTIL(w, is_done(w, 1));
	assert_string_equal(w->domain, "b.example");
	assert_int_equal(w->deliveries, 3);
}

WORLD_TEST(while_it_is_down_one_is_tried_and_all_arrive_when_it_is_back)
{
	connect_smtpout(w);
	w->script = it_is_down;
	for (unsigned i = 0; i < 20; i++)
		append_one(w, i);
	UNTIL(w, w->deliveries > 0);
	task_sleep(w->tk, 100 * NSEC_MS);
	assert_int_equal(w->deliveries, 1);
	w->script = it_works;
	UNTIL(w, w->sp->messages.count == 0); /* by itself: the probe finds out */
	assert_true(w->probes > 0);
	assert_int_equal(w->deliveries, 21);
}

WORLD_TEST(without_smtpout_nothing_is_lost)
{
	append_one(w, 1);
	task_sleep(w->tk, 20 * NSEC_MS);
	assert_int_equal(entry(w, 1, 0)->place, PLACE_READY);
	connect_smtpout(w);
	UNTIL(w, is_done(w, 1));
}

WORLD_TEST(when_smtpout_dies_in_mid_delivery_the_next_attempt_is_marked_ambiguous)
{
	connect_smtpout(w);
	w->silent = true;
	append_one(w, 1);
	UNTIL(w, w->deliveries == 1);
	kill_smtpout(w);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_WAITING);
	w->silent = false;
	connect_smtpout(w);
	sched_flush(w->sp->sched, NULL, sys_now());
	signal_raise(&w->sp->work);
	UNTIL(w, is_done(w, 1));
	assert_true(w->ambiguous);
	assert_int_equal(w->deliveries, 2);
}

WORLD_TEST(what_does_not_match_its_checksum_is_held)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };

	connect_smtpout(w);
	w->script = it_reads_garbage;
	append_one(w, 1);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_HELD);
	assert_int_equal(w->sp->corrupt_count, 1);
	assert_int_equal(stored(w, 1, &l)->recipients[0]->state,
			 LOCUM__MESSAGE_STATE__MESSAGE_HELD);
}

WORLD_TEST(what_the_disk_damaged_is_held_and_the_rest_delivered)
{
	struct spool_body body;
	struct buf envelope;
	int fd;
	char path[64];

	append_one(w, 1);
	append_one(w, 2);
	buf_init(&envelope, 4096);
	assert_int_equal(spool_read(w->sp->spool, number_id(1), &envelope, &body), 0);
	buf_done(&envelope);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", body.fd);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)body.offset - 4), 1); /* in the envelope */
	close(fd);
	connect_smtpout(w);
	UNTIL(w, is_done(w, 2));
	UNTIL(w, entry(w, 1, 0)->place == PLACE_HELD);
	assert_int_equal(w->sp->corrupt_count, 1);
	assert_true(spool_has(w->sp->spool, number_id(1)));
}

/* --- time, restarts, configuration --- */

WORLD_TEST(a_restart_finds_everything_as_it_was)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };

	connect_smtpout(w);
	append_one(w, 1);
	UNTIL(w, is_done(w, 1));
	w->script = it_refuses;
	append_one(w, 2);
	UNTIL(w, entry(w, 2, 0)->place == PLACE_HELD);
	w->script = it_defers;
	append_one(w, 3);
	UNTIL(w, entry(w, 3, 0)->place == PLACE_WAITING);
	world_restart(w);
	assert_int_equal(w->sp->messages.count, 2);
	assert_true(is_done(w, 1));
	assert_int_equal(entry(w, 2, 0)->place, PLACE_HELD);
	assert_int_equal(entry(w, 3, 0)->place, PLACE_READY);
	assert_int_equal(stored(w, 3, &l)->recipients[0]->attempts, 1);
	assert_string_equal(l.state->recipients[0]->reply, "451 4.7.1 later");
	w->script = it_works;
	connect_smtpout(w);
	UNTIL(w, is_done(w, 3));
	assert_int_equal(entry(w, 2, 0)->place, PLACE_HELD);
}

WORLD_TEST(what_is_older_than_its_hold_time_is_parked_for_good)
{
	static const struct domain_given brief[] = { { "a.example", 50 * NSEC_MS } };
	_cleanup_(loaded_done) struct loaded l = { 0 };

	append_one(w, 1);
	conf_unref(w->conf);
	w->conf = conf_of(brief, 1, 1);
	spoold_reconfigure(w->sp, w->conf);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_PARKED);
	assert_int_equal(stored(w, 1, &l)->recipients[0]->state,
			 LOCUM__MESSAGE_STATE__MESSAGE_PARKED);
	world_restart(w);
	connect_smtpout(w);
	task_sleep(w->tk, 50 * NSEC_MS);
	assert_int_equal(entry(w, 1, 0)->place, PLACE_PARKED);
	assert_int_equal(w->deliveries, 0);
}

WORLD_TEST(mail_of_a_domain_given_up_stays_until_it_is_configured_again)
{
	struct conf *without = conf_of(&usual_domains[1], 1, 1);

	append_one(w, 1);
	spoold_reconfigure(w->sp, without);
	connect_smtpout(w);
	assert_int_equal(append(w, 2, to_a, 1, 100), LOCUM__APPEND_RESULT__APPEND_FAILED);
	task_sleep(w->tk, 30 * NSEC_MS);
	assert_int_equal(w->deliveries, 0);
	assert_int_equal(entry(w, 1, 0)->place, PLACE_READY);
	spoold_reconfigure(w->sp, w->conf);
	conf_unref(without);
	UNTIL(w, is_done(w, 1));
}

static void stop_later(struct task *tk, void *arg)
{
	struct world *w = arg;

	task_sleep(tk, 50 * NSEC_MS);
	answer_delivery(w, w->smtpout, w->held_call);
}

WORLD_TEST(a_shutdown_waits_for_the_delivery_under_way)
{
	connect_smtpout(w);
	w->silent = true;
	append_one(w, 1);
	UNTIL(w, w->deliveries == 1);
	assert_int_equal(task_start(w->loop, NULL, "later", stop_later, w), 0);
	world_restart(w);
	assert_true(is_done(w, 1));
}

#if !defined(__SANITIZE_ADDRESS__)
WORLD_TEST(a_queued_message_costs_at_most_400_bytes)
{
	const unsigned count = 4000;
	size_t before, after;

	append_many(w, 0, 500);
	malloc_trim(0);
	before = mallinfo2().uordblks;
	for (unsigned i = 0; i < count; i += 500)
		append_many(w, 500 + i, 500);
	after = mallinfo2().uordblks;
	print_message("%zu bytes a message\n", (after - before) / count);
	assert_true((after - before) / count <= 400);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_means_that_it_is_on_disk),
		cmocka_unit_test(what_smtpin_gets_wrong_is_not_taken),
		cmocka_unit_test(an_arrival_that_cannot_be_true_does_not_park_the_message),
		cmocka_unit_test(smtpin_is_told_whether_the_spool_takes_messages),
		cmocka_unit_test(a_reload_changes_the_reserve_of_the_open_spool),
		cmocka_unit_test(smtpin_is_told_at_once_when_the_disk_is_full_and_when_it_is_not),
		cmocka_unit_test(a_failed_sync_ends_the_process_unanswered),
		cmocka_unit_test(a_message_is_delivered_whole_and_done),
		cmocka_unit_test(a_big_body_is_delivered_whole),
		cmocka_unit_test(many_at_once_share_a_sync_and_all_arrive),
		cmocka_unit_test(each_recipient_has_its_own_outcome),
		cmocka_unit_test(each_domain_is_delivered_apart_and_done_when_both_are),
		cmocka_unit_test(while_it_is_down_one_is_tried_and_all_arrive_when_it_is_back),
		cmocka_unit_test(without_smtpout_nothing_is_lost),
		cmocka_unit_test(
			when_smtpout_dies_in_mid_delivery_the_next_attempt_is_marked_ambiguous),
		cmocka_unit_test(what_does_not_match_its_checksum_is_held),
		cmocka_unit_test(what_the_disk_damaged_is_held_and_the_rest_delivered),
		cmocka_unit_test(a_restart_finds_everything_as_it_was),
		cmocka_unit_test(what_is_older_than_its_hold_time_is_parked_for_good),
		cmocka_unit_test(mail_of_a_domain_given_up_stays_until_it_is_configured_again),
		cmocka_unit_test(a_shutdown_waits_for_the_delivery_under_way),
#if !defined(__SANITIZE_ADDRESS__)
		cmocka_unit_test(a_queued_message_costs_at_most_400_bytes),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
