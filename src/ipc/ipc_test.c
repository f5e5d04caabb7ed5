#include "ipc/ipc.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void run_task(task_fn *fn, void *arg)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "test", fn, arg), 0);
	assert_int_equal(loop_run(loop), 0);
}

struct ends {
	struct channel *smtpin, *spoold;
	int handled, closed, last_result;
	struct group callers;
};

static void count_closed(struct channel *ch, int r, void *arg)
{
	struct ends *e = arg;

	(void)ch;
	e->closed++;
	e->last_result = r;
}

static void no_handler(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	(void)tk;
	(void)ch;
	(void)m;
	(void)arg;
	fail_msg("nothing but replies should come here");
}

/* Answers an Append by whether the file that rode along holds what the id says. */
static void answer_append(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	Locum__Appended appended = LOCUM__APPENDED__INIT;
	struct ends *e = arg;
	_cleanup_(closep) int fd = ipc_take_fd(m, 0);
	char text[17] = { 0 };

	IPC_PACKET(p, APPENDED, appended, &appended);
	e->handled++;
	assert_int_equal(m->packet->body_case, LOCUM__PACKET__BODY_APPEND);
	assert_true(fd >= 0);
	assert_int_equal(sys_memfd_sealed(fd), 0);
	assert_int_equal(sys_read_at(fd, text, 16, 0), 16);
	appended.result = memcmp(text, m->packet->append->envelope->id.data, 16) == 0
				  ? LOCUM__APPEND_RESULT__APPENDED
				  : LOCUM__APPEND_RESULT__APPEND_FAILED;
	assert_int_equal(ipc_reply(tk, ch, m->packet->call, &p, -1, task_in(tk, NSEC_S)), 0);
}

static void connect_ends(struct task *tk, struct ends *e, ipc_handler *at_spoold)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(channel_new(task_loop(tk), pair[0], LOCUM__PROCESS__SMTPIN,
				     LOCUM__PROCESS__SPOOLD, 0, no_handler, count_closed, e,
				     &e->smtpin),
			 0);
	assert_int_equal(channel_new(task_loop(tk), pair[1], LOCUM__PROCESS__SPOOLD,
				     LOCUM__PROCESS__SMTPIN, 3, at_spoold, count_closed, e,
				     &e->spoold),
			 0);
	group_init(&e->callers, task_loop(tk));
}

static int append(struct task *tk, struct ends *e, const char *id, nsec timeout)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__Envelope envelope = LOCUM__ENVELOPE__INIT;
	Locum__Append body = LOCUM__APPEND__INIT;
	_cleanup_(closep) int fd = sys_memfd("body");
	int r;

	assert_int_equal(sys_write(fd, str_of(id)), 0);
	assert_int_equal(sys_memfd_seal(fd), 0);
	envelope.id.data = (uint8_t *)id;
	envelope.id.len = 16;
	body.envelope = &envelope;
	IPC_PACKET(p, APPEND, append, &body);
	r = ipc_call(tk, e->smtpin, &p, fd, &reply, task_in(tk, timeout));
	if (r < 0)
		return r;
	assert_int_equal(reply.packet->body_case, LOCUM__PACKET__BODY_APPENDED);
	return (int)reply.packet->appended->result;
}

static void one_caller(struct task *tk, void *arg)
{
	struct ends *e = arg;

	assert_int_equal(append(tk, e, "0123456789abcdef", 5 * NSEC_S), 0);
}

static void many_callers(struct task *tk, void *arg)
{
	struct ends *e = arg;

	connect_ends(tk, e, answer_append);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(task_start(task_loop(tk), &e->callers, "caller", one_caller, e),
				 0);
	assert_int_equal(group_wait(tk, &e->callers, task_in(tk, 10 * NSEC_S)), 0);
	assert_int_equal(e->handled, 1000);
	channel_free(e->smtpin);
	while (e->closed == 0)
		assert_int_equal(task_sleep(tk, NSEC_MS), 0);
	assert_int_equal(e->last_result, 0);
	channel_free(e->spoold);
}

static void a_thousand_calls_at_once_each_get_their_reply(void **state)
{
	struct ends e = { 0 };

	(void)state;
	run_task(many_callers, &e);
}

static void ignore(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	(void)tk;
	(void)ch;
	(void)m;
	((struct ends *)arg)->handled++;
}

static void deserted_caller(struct task *tk, void *arg)
{
	assert_int_equal(append(tk, arg, "0123456789abcdef", 5 * NSEC_S), -EPIPE);
}

static void peer_dies(struct task *tk, void *arg)
{
	struct ends *e = arg;

	connect_ends(tk, e, ignore);
	assert_int_equal(append(tk, e, "0123456789abcdef", 5 * NSEC_MS), -ETIMEDOUT);
	assert_int_equal(task_start(task_loop(tk), &e->callers, "caller", deserted_caller, e), 0);
	assert_int_equal(task_sleep(tk, 5 * NSEC_MS), 0);
	channel_free(e->spoold);
	assert_int_equal(group_wait(tk, &e->callers, task_in(tk, NSEC_S)), 0);
	channel_free(e->smtpin);
	assert_int_equal(e->handled, 2);
}

static void the_death_of_the_peer_ends_pending_calls(void **state)
{
	struct ends e = { 0 };

	(void)state;
	run_task(peer_dies, &e);
}

/* The first call was answered, the second was not even read. */
static void peer_answers_and_closes(struct task *tk, void *arg)
{
	Locum__Appended appended = LOCUM__APPENDED__INIT;
	struct ends *e = arg;
	uint8_t bytes[1024];
	int pair[2];

	IPC_PACKET(p, APPENDED, appended, &appended);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(channel_new(task_loop(tk), pair[0], LOCUM__PROCESS__SMTPIN,
				     LOCUM__PROCESS__SPOOLD, 0, no_handler, count_closed, e,
				     &e->smtpin),
			 0);
	group_init(&e->callers, task_loop(tk));
	assert_int_equal(task_start(task_loop(tk), &e->callers, "caller", one_caller, e), 0);
	assert_int_equal(task_sleep(tk, 5 * NSEC_MS), 0);
	assert_true(sys_recv(pair[1], bytes, sizeof(bytes)) > 0);
	assert_int_equal(task_start(task_loop(tk), &e->callers, "caller", deserted_caller, e), 0);
	assert_int_equal(task_sleep(tk, 5 * NSEC_MS), 0);
	p.call = 1;
	p.reply = true;
	assert_true(sys_send(pair[1], str_mem(bytes, locum__packet__pack(&p, bytes))) > 0);
	sys_close(pair[1]);
	assert_int_equal(group_wait(tk, &e->callers, task_in(tk, NSEC_S)), 0);
	channel_free(e->smtpin);
}

static void what_the_peer_answered_before_it_closed_counts(void **state)
{
	struct ends e = { 0 };

	(void)state;
	run_task(peer_answers_and_closes, &e);
}

static void sends_garbage(struct task *tk, void *arg)
{
	static const char garbage[] = "\xff\xff\xff\xff garbage";
	struct ends *e = arg;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(channel_new(task_loop(tk), pair[1], LOCUM__PROCESS__SPOOLD,
				     LOCUM__PROCESS__SMTPIN, 0, no_handler, count_closed, e,
				     &e->spoold),
			 0);
	assert_int_equal(sys_send(pair[0], str_mem(garbage, sizeof(garbage))), sizeof(garbage));
	while (e->closed == 0)
		assert_int_equal(task_sleep(tk, NSEC_MS), 0);
	assert_int_equal(e->last_result, -EPROTO);
	channel_free(e->spoold);
	sys_close(pair[0]);
}

static void a_malformed_datagram_closes_the_channel(void **state)
{
	struct ends e = { 0 };

	(void)state;
	run_task(sends_garbage, &e);
}

static void sends_forbidden(struct task *tk, void *arg)
{
	Locum__Shutdown shutdown = LOCUM__SHUTDOWN__INIT;
	struct ends *e = arg;

	IPC_PACKET(p, SHUTDOWN, shutdown, &shutdown);
	connect_ends(tk, e, no_handler);
	assert_int_equal(ipc_send(tk, e->smtpin, &p, -1, task_in(tk, NSEC_S)), 0);
	while (e->closed == 0)
		assert_int_equal(task_sleep(tk, NSEC_MS), 0);
	assert_int_equal(e->last_result, -EPROTO);
	channel_free(e->smtpin);
	channel_free(e->spoold);
}

static void what_the_table_does_not_allow_closes_the_channel(void **state)
{
	struct ends e = { 0 };

	(void)state;
	run_task(sends_forbidden, &e);
}

static void the_table_knows_who_may_say_what(void **state)
{
	(void)state;
	assert_true(ipc_allowed(LOCUM__PROCESS__SMTPIN, LOCUM__PROCESS__SPOOLD,
				LOCUM__PACKET__BODY_APPEND));
	assert_false(ipc_allowed(LOCUM__PROCESS__SMTPOUT, LOCUM__PROCESS__SPOOLD,
				 LOCUM__PACKET__BODY_APPEND));
	assert_false(ipc_allowed(LOCUM__PROCESS__SMTPIN, LOCUM__PROCESS__LOCUMD,
				 LOCUM__PACKET__BODY_RELOAD));
	assert_true(ipc_allowed(LOCUM__PROCESS__NETD, LOCUM__PROCESS__LOCUMD,
				LOCUM__PACKET__BODY_READY));
	assert_false(ipc_allowed(LOCUM__PROCESS__LOCUM, LOCUM__PROCESS__LOCUMD,
				 LOCUM__PACKET__BODY_READY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thousand_calls_at_once_each_get_their_reply),
		cmocka_unit_test(the_death_of_the_peer_ends_pending_calls),
		cmocka_unit_test(what_the_peer_answered_before_it_closed_counts),
		cmocka_unit_test(a_malformed_datagram_closes_the_channel),
		cmocka_unit_test(what_the_table_does_not_allow_closes_the_channel),
		cmocka_unit_test(the_table_knows_who_may_say_what),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
