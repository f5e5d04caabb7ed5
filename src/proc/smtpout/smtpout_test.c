#include "proc/smtpout/smtpout.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "proc/smtpout/fake_server.h"

/* The process without its worker: real channels, with a spoold and a netd of the test's at their
 * other ends. */
struct world {
	struct smtpout so;
	struct conf conf;
	struct worker worker;
	struct channel *spoold_here, *spoold_there;
	struct channel *netd_here, *netd_there;
	struct fake_server server;
	const char *const *script; /* of the host that netd connects to; NULL: none can be */
	unsigned dials, tls_sessions;
	bool smtputf8;             /* the envelope's */
	struct ipc_message answer; /* what the test's spoold got */
	int call_result;
	bool answered;
};

#define HELLO ">220 mx", "<EHLO locum.example", ">250-mx", ">250 PIPELINING"
/* One message for one recipient, up to its data. */
#define TO_DATA                                                                                    \
	HELLO, "<MAIL FROM:<s@x>", "<RCPT TO:<a@y>", "<DATA", ">250 ok", ">250 ok", ">354 go"

static void closed(struct channel *ch, int r, void *arg)
{
	(void)ch;
	(void)r;
	(void)arg;
}

static void netd_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct world *w = arg;
	Locum__Dialed dialed = LOCUM__DIALED__INIT;
	IPC_PACKET(packet, DIALED, dialed, &dialed);
	int fd = -1;

	assert_int_equal(m->packet->body_case, LOCUM__PACKET__BODY_DIAL);
	assert_string_equal(m->packet->dial->domain, "y.example");
	w->dials++;
	dialed.attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
	dialed.text = (char *)"192.0.2.1:25: connection refused";
	if (w->script) {
		fd = fake_server_start(task_loop(tk), &w->server, w->script, NULL);
		dialed.attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
		dialed.text = (char *)"";
		dialed.destination = (char *)"mx.y.example:25";
		dialed.host = (char *)"mx.y.example";
		dialed.address = (char *)"192.0.2.1:25";
		dialed.count = 1;
		dialed.route = 1;
	}
	assert_int_equal(ipc_reply(tk, ch, m->packet->call, &packet, fd, NEVER), 0);
	if (fd >= 0)
		sys_close(fd);
}

static void spoold_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct world *w = arg;
	const Locum__TlsSession *s = m->packet->tls_session;

	(void)tk;
	(void)ch;
	if (m->packet->body_case != LOCUM__PACKET__BODY_TLS_SESSION)
		fail_msg("spoold was asked something");
	/* No script offers STARTTLS. */
	assert_int_equal(s->result, TLSRPT_NO_STARTTLS);
	assert_int_equal(s->policy_type, TLSRPT_NO_POLICY);
	assert_string_equal(s->domain, "y.example");
	assert_string_equal(s->policy_domain, "y.example");
	assert_true(str_eq(str_mem(s->host.data, s->host.len), STR("mx.y.example")));
	assert_string_equal(s->address, "192.0.2.1");
	w->tls_sessions++;
}

static void connect_peer(struct world *w, struct task *tk, Locum__Process peer,
			 ipc_handler *handler, struct channel **ret_here,
			 struct channel **ret_there)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(channel_new(w->so.loop, fd[0], LOCUM__PROCESS__SMTPOUT, peer, 0,
				     smtpout_hooks.message, closed, &w->worker, ret_here),
			 0);
	assert_int_equal(channel_new(w->so.loop, fd[1], peer, LOCUM__PROCESS__SMTPOUT, 0, handler,
				     closed, w, ret_there),
			 0);
	smtpout_hooks.peer(tk, &w->worker, *ret_here);
}

static struct world *set_up(struct task *tk, const char *const *script)
{
	struct world *w = calloc(1, sizeof(*w));

	*w = (struct world){ .script = script };
	w->conf.hostname = STR("locum.example");
	w->worker = (struct worker){ .loop = task_loop(tk), .conf = &w->conf, .arg = &w->so };
	assert_int_equal(smtpout_hooks.acquire(tk, &w->worker, NULL), 0);
	assert_int_equal(smtpout_hooks.serve(tk, &w->worker), 0);
	connect_peer(w, tk, LOCUM__PROCESS__SPOOLD, spoold_message, &w->spoold_here,
		     &w->spoold_there);
	connect_peer(w, tk, LOCUM__PROCESS__NETD, netd_message, &w->netd_here, &w->netd_there);
	return w;
}

static void lose_peer(struct world *w, struct channel **here, struct channel **there)
{
	if (*here) {
		smtpout_hooks.peer_gone(&w->worker, *here);
		channel_free(*here);
		channel_free(*there);
	}
	*here = *there = NULL;
}

static void tear_down(struct task *tk, struct world *w)
{
	smtpout_hooks.shutdown(tk, &w->worker);
	lose_peer(w, &w->spoold_here, &w->spoold_there);
	lose_peer(w, &w->netd_here, &w->netd_there);
	while (w->dials > 0 && w->script && !w->server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&w->server);
	ipc_message_done(&w->answer);
	free(w);
}

/* A Deliver of a message to two recipients, of which it names those in `indexes`. */
static void ask_deliver(struct task *tk, struct world *w, uint32_t *indexes, size_t count,
			bool damaged)
{
	str body = STR("Subject: x\r\n\r\nx\r\n");
	Locum__Recipient to[2] = { LOCUM__RECIPIENT__INIT, LOCUM__RECIPIENT__INIT };
	Locum__Recipient *recipients[2] = { &to[0], &to[1] };
	Locum__Client client = LOCUM__CLIENT__INIT;
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Deliver deliver = LOCUM__DELIVER__INIT;
	IPC_PACKET(packet, DELIVER, deliver, &deliver);
	uint8_t packed[1000], id[16] = { 1 };
	int fd = sys_memfd("body");

	assert_int_equal(sys_write(fd, body), 0);
	to[0].address = (ProtobufCBinaryData){ 3, (uint8_t *)"a@y" };
	to[1].address = (ProtobufCBinaryData){ 3, (uint8_t *)"b@y" };
	client.address = (char *)"198.51.100.7";
	client.helo = (ProtobufCBinaryData){ 6, (uint8_t *)"client" };
	client.esmtp = true;
	e.id = (ProtobufCBinaryData){ sizeof(id), id };
	e.reverse_path = (ProtobufCBinaryData){ 3, (uint8_t *)"s@x" };
	e.n_recipients = 2;
	e.recipients = recipients;
	e.client = &client;
	e.smtputf8 = w->smtputf8;
	e.hostname = (char *)"backup.example";
	deliver.envelope = (ProtobufCBinaryData){ locum__envelope__pack(&e, packed), packed };
	if (damaged)
		deliver.envelope.len--;
	deliver.domain = (char *)"y.example";
	deliver.n_recipients = count;
	deliver.recipients = indexes;
	deliver.body_bytes = body.n;
	deliver.body_crc32c = crc32c(0, body);
	w->call_result =
		ipc_call(tk, w->spoold_there, &packet, fd, &w->answer, task_in(tk, 20 * NSEC_S));
	w->answered = true;
	sys_close(fd);
}

static void delivered_task(struct task *tk, void *arg)
{
	static const char *const script[] = { HELLO,
					      "<MAIL FROM:<s@x>",
					      "<RCPT TO:<b@y>",
					      "<RCPT TO:<a@y>",
					      "<DATA",
					      ">250 ok",
					      ">550 5.1.1 no b",
					      ">250 ok",
					      ">354 go",
					      "dot",
					      ">250 2.0.0 queued as 1",
					      NULL };
	struct world *w = set_up(tk, script);
	const Locum__Delivered *d;
	str body;

	(void)arg;
	ask_deliver(tk, w, (uint32_t[]){ 1, 0 }, 2, false);
	assert_int_equal(w->call_result, 0);
	assert_string_equal(w->server.wrong, "");
	d = w->answer.packet->delivered;
	assert_int_equal(d->attempt, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	assert_int_equal(d->n_outcomes, 2);
	assert_int_equal(d->outcomes[0]->recipient, 1);
	assert_int_equal(d->outcomes[0]->outcome, LOCUM__OUTCOME__OUTCOME_REFUSED);
	assert_string_equal(d->outcomes[0]->reply, "550 5.1.1 no b");
	assert_int_equal(d->outcomes[1]->recipient, 0);
	assert_int_equal(d->outcomes[1]->outcome, LOCUM__OUTCOME__OUTCOME_DELIVERED);
	assert_string_equal(d->outcomes[1]->reply, "250 2.0.0 queued as 1");
	assert_string_equal(d->host->destination, "mx.y.example:25");
	assert_string_equal(d->host->name, "mx.y.example");
	assert_string_equal(d->host->address, "192.0.2.1:25");
	assert_string_equal(d->host->tls_version, "");
	body = buf_str(&w->server.body);
	assert_true(str_starts(body, STR("Received: from client (")));
	assert_true(str_find(body, STR("[198.51.100.7]")) > 0);
	assert_true(str_find(body, STR("by backup.example (Locum) with ESMTP id ")) > 0);
	/* Two recipients: neither may read the other's address. */
	assert_true(str_find(body, STR("@y")) < 0);
	assert_true(str_find(body, STR("\r\nSubject: x\r\n\r\nx\r\n")) > 0);
	tear_down(tk, w);
}

/* RFC 6531 §3.7.3: it is said how the message came, also to a host that has to get it without SMTPUTF8. */
static void smtputf8_task(struct task *tk, void *arg)
{
	static const char *const script[] = { TO_DATA, "dot", ">250 2.0.0 queued as 1", NULL };
	struct world *w = set_up(tk, script);
	str body;

	(void)arg;
	w->smtputf8 = true;
	ask_deliver(tk, w, (uint32_t[]){ 0 }, 1, false);
	assert_int_equal(w->call_result, 0);
	assert_string_equal(w->server.wrong, "");
	body = buf_str(&w->server.body);
	assert_true(str_find(body, STR("by backup.example (Locum) with UTF8SMTP id ")) > 0);
	assert_true(str_find(body, STR("\r\n\tfor <a@y>; ")) > 0);
	tear_down(tk, w);
}

/* All of RFC 5321 §4.5.3.2, a thousandth of a minute for a minute. */
static const struct conn_limits hasty = {
	.greeting = 300 * NSEC_MS,
	.command = 300 * NSEC_MS,
	.tls = 60 * NSEC_MS,
	.data = 120 * NSEC_MS,
	.block = 180 * NSEC_MS,
	.final = 600 * NSEC_MS,
};

/* Where a primary freezes, and how long the delivery may last then. */
static const struct freeze {
	const char *script[12];
	nsec limit;
	Locum__Outcome outcome;
	const char *text;
	bool talked; /* it had said EHLO's reply: it is there */
} freezes[] = {
	{ { "mute" },
	  300 * NSEC_MS,
	  LOCUM__OUTCOME__OUTCOME_NONE,
	  "no answer in time at greeting" },
	{ { ">220 mx", "mute" },
	  300 * NSEC_MS,
	  LOCUM__OUTCOME__OUTCOME_NONE,
	  "no answer in time at EHLO" },
	{ { HELLO, "mute" },
	  300 * NSEC_MS,
	  LOCUM__OUTCOME__OUTCOME_NONE,
	  "no answer in time at MAIL",
	  .talked = true },
	{ { HELLO, "<MAIL FROM:<s@x>", "<RCPT TO:<a@y>", "<DATA", ">250 ok", ">250 ok", "mute" },
	  120 * NSEC_MS,
	  LOCUM__OUTCOME__OUTCOME_NONE,
	  "no answer in time at DATA",
	  .talked = true },
	{ { TO_DATA, "mute" },
	  600 * NSEC_MS,
	  LOCUM__OUTCOME__OUTCOME_AMBIGUOUS,
	  "no answer in time at the final dot",
	  .talked = true },
};

static void frozen_task(struct task *tk, void *arg)
{
	static const char *const thawed[] = { TO_DATA, "dot", ">250 2.0.0 taken", NULL };
	const struct freeze *k = arg;
	struct world *w = set_up(tk, k->script);
	nsec began = task_now(tk);
	const Locum__Delivered *d;

	w->so.outbound.limits = &hasty;
	ask_deliver(tk, w, (uint32_t[]){ 0 }, 1, false);
	assert_int_equal(w->call_result, 0);
	d = w->answer.packet->delivered;
	assert_true(task_now(tk) - began >= k->limit);
	assert_true(task_now(tk) - began < k->limit + 2 * NSEC_S);
	assert_int_equal(d->attempt, k->talked ? LOCUM__ATTEMPT__ATTEMPT_LOST
					       : LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE);
	assert_int_equal(d->outcomes[0]->outcome, k->outcome);
	if (str_find(str_of(d->text), str_of(k->text)) < 0)
		fail_msg("%s: %s", k->text, d->text);
	ipc_message_done(&w->answer);
	/* Nothing of the frozen connection is used again. */
	while (!w->server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&w->server);
	w->script = thawed;
	ask_deliver(tk, w, (uint32_t[]){ 0 }, 1, false);
	assert_int_equal(w->dials, 2);
	assert_int_equal(w->answer.packet->delivered->outcomes[0]->outcome,
			 LOCUM__OUTCOME__OUTCOME_DELIVERED);
	tear_down(tk, w);
}

static void no_host_task(struct task *tk, void *arg)
{
	struct world *w = set_up(tk, NULL);
	const Locum__Delivered *d;

	(void)arg;
	ask_deliver(tk, w, (uint32_t[]){ 0 }, 1, false);
	d = w->answer.packet->delivered;
	assert_int_equal(d->attempt, LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE);
	assert_string_equal(d->text, "192.0.2.1:25: connection refused");
	assert_int_equal(d->n_outcomes, 1);
	assert_int_equal(d->outcomes[0]->outcome, LOCUM__OUTCOME__OUTCOME_NONE);
	ipc_message_done(&w->answer);

	lose_peer(w, &w->netd_here, &w->netd_there);
	w->so.netd_wait = 50 * NSEC_MS;
	ask_deliver(tk, w, (uint32_t[]){ 0 }, 1, false);
	d = w->answer.packet->delivered;
	assert_int_equal(d->attempt, LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE);
	assert_string_equal(d->text, "netd is not running");
	tear_down(tk, w);
}

static void damaged_task(struct task *tk, void *arg)
{
	static const char *const script[] = { NULL };
	struct world *w = set_up(tk, script);
	const Locum__Delivered *d;

	(void)arg;
	for (int i = 0; i < 2; i++) {
		/* a torn envelope; a recipient that it does not have */
		ask_deliver(tk, w, (uint32_t[]){ 1, i ? 2 : 0 }, 2, i == 0);
		d = w->answer.packet->delivered;
		assert_int_equal(d->n_outcomes, 2);
		assert_int_equal(d->outcomes[0]->outcome, LOCUM__OUTCOME__OUTCOME_CORRUPT);
		assert_int_equal(d->outcomes[1]->outcome, LOCUM__OUTCOME__OUTCOME_CORRUPT);
		ipc_message_done(&w->answer);
	}
	assert_int_equal(w->dials, 0);
	tear_down(tk, w);
}

static void probe_task(struct task *tk, void *arg)
{
	static const char *const script[] = { ">220 mx", "<EHLO locum.example", ">250 mx", NULL };
	static const char *const refusing[] = { ">421 busy", NULL };
	struct world *w = set_up(tk, arg ? refusing : script);
	Locum__Probe probe = LOCUM__PROBE__INIT;
	IPC_PACKET(packet, PROBE, probe, &probe);

	probe.domain = (char *)"y.example";
	assert_int_equal(
		ipc_call(tk, w->spoold_there, &packet, -1, &w->answer, task_in(tk, NSEC_S)), 0);
	assert_int_equal(w->answer.packet->body_case, LOCUM__PACKET__BODY_PROBED);
	assert_int_equal(w->answer.packet->probed->attempt,
			 arg ? LOCUM__ATTEMPT__ATTEMPT_REFUSING : LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	assert_string_equal(w->answer.packet->probed->host->name, "mx.y.example");
	assert_string_equal(w->answer.packet->probed->text,
			    arg ? "mx.y.example[192.0.2.1:25] said to the connection: 421 busy"
				: "mx.y.example[192.0.2.1:25] said to EHLO: 250 mx");
	assert_int_equal(w->tls_sessions, arg ? 0 : 1); /* said before the answer */
	tear_down(tk, w);
}

static void ask_later(struct task *tk, void *arg)
{
	ask_deliver(tk, arg, (uint32_t[]){ 0 }, 1, false);
}

#define SLOW_MESSAGE TO_DATA, "dot", "stall", ">250 ok"

static void lonely_task(struct task *tk, void *arg)
{
	static const char *const script[] = { SLOW_MESSAGE, NULL };
	struct world *w = set_up(tk, script);

	(void)arg;
	assert_int_equal(task_start(w->so.loop, NULL, "ask", ask_later, w), 0);
	task_sleep(tk, 100 * NSEC_MS);
	lose_peer(w, &w->spoold_here, &w->spoold_there);
	/* A new one comes; the answer to the old one's question must not reach it. */
	connect_peer(w, tk, LOCUM__PROCESS__SPOOLD, spoold_message, &w->spoold_here,
		     &w->spoold_there);
	while (!w->answered || group_count(&w->so.jobs) > 0)
		task_sleep(tk, NSEC_MS);
	assert_int_equal(w->call_result, -EPIPE);
	assert_string_equal(w->server.wrong, "");
	tear_down(tk, w);
}

static void restart_task(struct task *tk, void *arg)
{
	struct world *w = set_up(tk, NULL);

	(void)arg;
	lose_peer(w, &w->netd_here, &w->netd_there);
	assert_int_equal(task_start(w->so.loop, NULL, "ask", ask_later, w), 0);
	task_sleep(tk, 50 * NSEC_MS);
	assert_false(w->answered);
	connect_peer(w, tk, LOCUM__PROCESS__NETD, netd_message, &w->netd_here, &w->netd_there);
	while (!w->answered)
		task_sleep(tk, NSEC_MS);
	assert_int_equal(w->answer.packet->delivered->attempt, LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE);
	assert_int_equal(w->dials, 1);
	tear_down(tk, w);
}

static void shutdown_task(struct task *tk, void *arg)
{
	static const char *const script[] = { SLOW_MESSAGE, NULL };
	struct world *w = set_up(tk, script);
	nsec before = sys_now();

	(void)arg;
	assert_int_equal(task_start(w->so.loop, NULL, "ask", ask_later, w), 0);
	task_sleep(tk, 100 * NSEC_MS);
	assert_false(w->answered);
	smtpout_hooks.shutdown(tk, &w->worker);
	while (!w->answered)
		task_sleep(tk, NSEC_MS);
	assert_int_equal(w->answer.packet->delivered->outcomes[0]->outcome,
			 LOCUM__OUTCOME__OUTCOME_DELIVERED);
	assert_true(w->server.got_quit);
	assert_true(sys_now() - before < 3 * NSEC_S);
	ipc_message_done(&w->answer);
	/* From then on nothing is begun. */
	ask_deliver(tk, w, (uint32_t[]){ 0 }, 1, false);
	assert_int_equal(w->answer.packet->delivered->attempt, LOCUM__ATTEMPT__ATTEMPT_NONE);
	assert_int_equal(w->dials, 1);
	lose_peer(w, &w->spoold_here, &w->spoold_there);
	lose_peer(w, &w->netd_here, &w->netd_there);
	fake_server_done(&w->server);
	ipc_message_done(&w->answer);
	free(w);
}

static void a_deliver_becomes_a_transaction_and_a_delivered(void **state)
{
	(void)state;
	fake_run(delivered_task, NULL);
}

static void the_trace_says_that_the_message_came_with_smtputf8(void **state)
{
	(void)state;
	fake_run(smtputf8_task, NULL);
}

static void a_frozen_primary_ends_the_delivery_in_its_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(freezes); i++)
		fake_run(frozen_task, (void *)&freezes[i]);
}

/* RFC 5321 §4.5.3.2: what a delivery must allow at least; and in all, less than spoold waits. */
static void the_limits_are_those_of_rfc_5321(void **state)
{
	const struct conn_limits *l = &conn_limits_delivery;

	(void)state;
	assert_true(l->greeting >= 5 * NSEC_MINUTE && l->command >= 5 * NSEC_MINUTE);
	assert_true(l->data >= 2 * NSEC_MINUTE && l->block >= 3 * NSEC_MINUTE);
	assert_true(l->final >= 10 * NSEC_MINUTE);
	assert_true(l->greeting + l->command + l->final <= OUTBOUND_DELIVERY_MAX);
}

static void what_netd_says_reaches_spoold(void **state)
{
	(void)state;
	fake_run(no_host_task, NULL);
}

static void a_netd_that_is_restarted_is_waited_for(void **state)
{
	(void)state;
	fake_run(restart_task, NULL);
}

static void a_damaged_envelope_is_not_tried(void **state)
{
	(void)state;
	fake_run(damaged_task, NULL);
}

static void a_probe_says_whether_the_primary_answers(void **state)
{
	(void)state;
	fake_run(probe_task, NULL);
	fake_run(probe_task, (void *)"refusing");
}

static void without_spoold_a_transaction_ends_quietly(void **state)
{
	(void)state;
	fake_run(lonely_task, NULL);
}

static void a_shutdown_finishes_what_is_in_progress(void **state)
{
	(void)state;
	fake_run(shutdown_task, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_deliver_becomes_a_transaction_and_a_delivered),
		cmocka_unit_test(the_trace_says_that_the_message_came_with_smtputf8),
		cmocka_unit_test(a_frozen_primary_ends_the_delivery_in_its_time),
		cmocka_unit_test(the_limits_are_those_of_rfc_5321),
		cmocka_unit_test(what_netd_says_reaches_spoold),
		cmocka_unit_test(a_netd_that_is_restarted_is_waited_for),
		cmocka_unit_test(a_damaged_envelope_is_not_tried),
		cmocka_unit_test(a_probe_says_whether_the_primary_answers),
		cmocka_unit_test(without_spoold_a_transaction_ends_quietly),
		cmocka_unit_test(a_shutdown_finishes_what_is_in_progress),
	};

	log_open("smtpout_test", LOG_ERROR, LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
