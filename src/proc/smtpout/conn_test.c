#include "proc/smtpout/conn.h"

#include "proc/smtpout/fake_server.h"

static const struct conn_limits patient = { .greeting = 5 * NSEC_S,
					    .command = 5 * NSEC_S,
					    .tls = 5 * NSEC_S,
					    .data = 5 * NSEC_S,
					    .block = 5 * NSEC_S,
					    .final = 5 * NSEC_S };
static const struct conn_limits hasty = { .greeting = 100 * NSEC_MS,
					  .command = 100 * NSEC_MS,
					  .tls = 100 * NSEC_MS };

struct open_case {
	const char *requirement;
	const char *script[16];
	enum conn_result result;
	unsigned offers;
	bool with_tls; /* we can STARTTLS */
	bool encrypted;
	bool impatient;
	const char *why; /* a part of it */
};

#define EHLO "<EHLO locum.example"

static const struct open_case cases[] = {
	{ "a greeting and EHLO are enough",
	  { ">220 mx ESMTP", EHLO, ">250-mx", ">250-SIZE 1000", ">250 PIPELINING" },
	  CONN_READY,
	  EHLO_SIZE | EHLO_PIPELINING,
	  .why = "mx.example[192.0.2.1:25] said to EHLO: 250 mx" },
	{ "a greeting of several lines is one",
	  { ">220-mx", ">220 no spam", EHLO, ">250 mx" },
	  CONN_READY },
	{ "a host that refuses EHLO gets HELO",
	  { ">220 mx", EHLO, ">502 what", "<HELO locum.example", ">250 mx" },
	  CONN_READY },
	{ "a host that refuses both refuses us",
	  { ">220 mx", EHLO, ">550 no", "<HELO locum.example", ">550 go away" },
	  CONN_REFUSED,
	  .why = "550 go away" },
	{ "a 4xx to EHLO is no reason for HELO",
	  { ">220 mx", EHLO, ">421 busy" },
	  CONN_REFUSED,
	  .why = "said to EHLO: 421 busy" },
	{ "a 554 greeting refuses us",
	  { ">554 no SMTP service here", "close" },
	  CONN_REFUSED,
	  .why = "said to the connection: 554 no SMTP service here" },
	{ "a 421 greeting refuses us", { ">421 busy" }, CONN_REFUSED, .why = "421 busy" },
	{ "a host that hangs up is silent",
	  { "close" },
	  CONN_SILENT,
	  .why = "mx.example[192.0.2.1:25]: connection lost at greeting" },
	{ "a host that hangs up on EHLO is silent",
	  { ">220 mx", EHLO, "close" },
	  CONN_SILENT,
	  .why = "connection lost at EHLO" },
	{ "a host that speaks something else is silent",
	  { ">SSH-2.0-OpenSSH_9.2", "close" },
	  CONN_SILENT,
	  .why = "what it said is not SMTP" },
	{ "a greeting is waited for no longer than the limit",
	  { "mute" },
	  CONN_SILENT,
	  .impatient = true,
	  .why = "no answer in time at greeting" },
	{ "EHLO is waited for no longer than the limit",
	  { ">220 mx", EHLO, "mute" },
	  CONN_SILENT,
	  .impatient = true,
	  .why = "no answer in time at EHLO" },
	{ "half a greeting is waited for no longer than the limit",
	  { ">220-mx", "mute" },
	  CONN_SILENT,
	  .impatient = true,
	  .why = "no answer in time at greeting" },
	{ "STARTTLS is used where it is offered, and EHLO said again",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS", "<STARTTLS", ">220 go", "tls", EHLO,
	    ">250-mx", ">250 PIPELINING" },
	  CONN_READY,
	  EHLO_PIPELINING,
	  .with_tls = true,
	  .encrypted = true },
	{ "without a context of ours STARTTLS is left alone",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS" },
	  CONN_READY,
	  EHLO_STARTTLS },
	{ "a host that then refuses STARTTLS gets the mail in plain text",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS", "<STARTTLS", ">454 not now" },
	  CONN_READY,
	  EHLO_STARTTLS,
	  .with_tls = true },
	{ "421 to STARTTLS refuses us",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS", "<STARTTLS", ">421 not now" },
	  CONN_REFUSED,
	  EHLO_STARTTLS,
	  .with_tls = true,
	  .why = "said to STARTTLS: 421" },
	{ "a handshake that fails is told apart",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS", "<STARTTLS", ">220 go", ">no TLS here",
	    "close" },
	  CONN_TLS_FAILED,
	  EHLO_STARTTLS,
	  .with_tls = true,
	  .why = "TLS handshake" },
	{ "a handshake that the host breaks off is told apart",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS", "<STARTTLS", ">220 go", "close" },
	  CONN_TLS_FAILED,
	  EHLO_STARTTLS,
	  .with_tls = true },
	{ "a host that hangs up right after the handshake has broken TLS",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS", "<STARTTLS", ">220 go", "tls", "close" },
	  CONN_TLS_FAILED,
	  0,
	  .with_tls = true },
	{ "plain text sent along with the go-ahead is not read as if it were encrypted",
	  { ">220 mx", EHLO, ">250-mx", ">250 STARTTLS", "<STARTTLS",
	    ">220 go\r\n250-mx\r\n250 PIPELINING", "tls", EHLO, ">250 mx" },
	  CONN_READY,
	  0,
	  .with_tls = true,
	  .encrypted = true },
};

struct open_run {
	const struct open_case *c;
	struct ssl_ctx_st *server_tls, *client_tls;
};

static void open_task(struct task *tk, void *arg)
{
	const struct open_run *run = arg;
	const struct open_case *k = run->c;
	struct conn_peer peer = { STR("mx.example:25"), STR("mx.example"), STR("192.0.2.1:25") };
	struct fake_server server;
	struct conn *c;
	int fd = fake_server_start(task_loop(tk), &server, k->script, run->server_tls);
	enum conn_result result;

	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	result = conn_open(tk, c, "locum.example", k->impatient ? &hasty : &patient,
			   k->with_tls ? &(struct conn_tls){ run->client_tls } : NULL);
	if (result != k->result || server.wrong[0])
		fail_msg("%s: %d, %s; %s", k->requirement, (int)result, c->why, server.wrong);
	if (c->ehlo.offers != k->offers)
		fail_msg("%s: offers %x", k->requirement, c->ehlo.offers);
	if (result == CONN_READY && k->encrypted != (stream_tls_version(&c->stream) != NULL))
		fail_msg("%s: TLS %d", k->requirement, !k->encrypted);
	if (k->why && !strstr(c->why, k->why))
		fail_msg("%s: %s", k->requirement, c->why);
	if (result == CONN_READY) {
		conn_quit(tk, c);
		assert_true(server.got_quit);
	} else {
		conn_free(c);
	}
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&server);
}

static void opening(void **state)
{
	struct open_run run = { .server_tls = fake_tls() };

	(void)state;
	assert_int_equal(tls_client_new(STR_NONE, &run.client_tls), 0);
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		run.c = &cases[i];
		fake_run(open_task, &run);
	}
	tls_context_freep(&run.server_tls);
	tls_context_freep(&run.client_tls);
}

static void quit_waits_briefly_task(struct task *tk, void *arg)
{
	static const char *const script[] = { "mute", NULL };
	struct conn_peer peer = { STR("d"), STR("h"), STR("a") };
	struct fake_server server;
	struct conn *c;
	nsec before = sys_now();
	int fd = fake_server_start(task_loop(tk), &server, script, NULL);

	(void)arg;
	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	conn_quit(tk, c);
	assert_true(sys_now() - before < 5 * NSEC_S);
}

static void quit_to_a_mute_host_waits_briefly(void **state)
{
	(void)state;
	fake_run(quit_waits_briefly_task, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening),
		cmocka_unit_test(quit_to_a_mute_host_waits_briefly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
