#include "proc/smtpout/outbound.h"

#include "base/crc32c.h"
#include "proc/smtpout/fake_server.h"

/*
 * A route is a list of hosts, each with a script for every time it is dialled; NULL: it cannot be
 * connected. Deliveries follow one another; what they dialled is written down as letters: "AB" =
 * first host A, then host B.
 */
#define HOSTS_MAX 3
#define TIMES_MAX 3

struct outbound_case {
	const char *requirement;
	const char *script[HOSTS_MAX][TIMES_MAX][32];
	uint32_t hosts;
	unsigned deliveries; /* one after the other; a probe before them if probe */
	unsigned recipients; /* a@y, b@y …; 0: one */
	bool probe, tls, route_changes;
	Locum__Attempt attempt; /* of the last one */
	Locum__Outcome outcome; /* of the last recipient */
	const char *dialled;
	const char *text;
	const char *starts; /* from where netd was asked to dial, a digit each */
	bool encrypted;
	bool must_encrypt;      /* the domain's option */
	Locum__Attempt no_dial; /* what the dialer says instead of dialling */
};

#define HELLO ">220 mx", "<*EHLO", ">250-mx", ">250 PIPELINING"
#define HELLO_TLS ">220 mx", "<*EHLO", ">250-mx", ">250-STARTTLS", ">250 PIPELINING"
#define HELLO_AGAIN "<*EHLO", ">250-mx", ">250 PIPELINING"
#define MESSAGE                                                                                    \
	"<MAIL FROM:<s@x>", "<RCPT TO:<a@y>", "<DATA", ">250 ok", ">250 ok", ">354 go", "dot",     \
		">250 taken"
#define DELIVERED LOCUM__OUTCOME__OUTCOME_DELIVERED
#define UNTRIED LOCUM__OUTCOME__OUTCOME_NONE

static const struct outbound_case cases[] = {
	{ "one host, one message",
	  { { { HELLO, MESSAGE } } },
	  1,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "A",
	  .text = "250 taken" },
	{ "the next message takes the same connection",
	  { { { HELLO, MESSAGE, MESSAGE, MESSAGE } } },
	  1,
	  3,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "A" },
	{ "a probe's connection carries the first message",
	  { { { HELLO, MESSAGE } } },
	  1,
	  1,
	  .probe = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "A" },
	{ "where the domain demands TLS, a host without it is passed over",
	  { { { HELLO } }, { { HELLO_TLS, "<STARTTLS", ">220 go", "tls", HELLO_AGAIN, MESSAGE } } },
	  2,
	  1,
	  .tls = true,
	  .must_encrypt = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AB",
	  .encrypted = true },
	{ "with no other the message waits, and the primary is not down",
	  { { { HELLO }, { HELLO } } },
	  1,
	  2,
	  .tls = true,
	  .must_encrypt = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = LOCUM__OUTCOME__OUTCOME_DEFERRED,
	  .dialled = "AA",
	  .text = "STARTTLS is not offered, and the domain's option tls demands TLS" },
	{ "a broken handshake is not gone without there, now or next time",
	  { { { HELLO_TLS, "<STARTTLS", ">220 go", ">nonsense", "close" },
	      { HELLO_TLS, "<STARTTLS", ">220 go", ">nonsense", "close" } } },
	  1,
	  2,
	  .tls = true,
	  .must_encrypt = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = LOCUM__OUTCOME__OUTCOME_DEFERRED,
	  .dialled = "AA",
	  .text = "TLS handshake" },
	{ "a pooled connection that died is replaced silently",
	  { { { HELLO, MESSAGE, "close" }, { HELLO, MESSAGE } } },
	  1,
	  2,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AA" },
	{ "a pooled connection that says 421 is replaced silently",
	  { { { HELLO, MESSAGE, ">421 idle", "close" }, { HELLO, MESSAGE } } },
	  1,
	  2,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AA" },
	{ "a connection that lost a message is not used again",
	  { { { HELLO, "<*MAIL", "<*RCPT", "<DATA", ">250 ok", "close" }, { HELLO, MESSAGE } } },
	  1,
	  2,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AA" },
	{ "a refused recipient leaves the connection in use, after RSET",
	  { { { HELLO, "<*MAIL", "<*RCPT", "<DATA", ">250 ok", ">550 no", ">503 no", "<RSET", "=3",
		"<*MAIL", "<*RCPT", "<DATA", ">250 ok", ">250 ok", ">250 ok", ">354 go", "dot",
		">250 taken" } } },
	  1,
	  2,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "A" },
	{ "recipients too many for one transaction go in the next, at once",
	  { { { HELLO,
		"<*MAIL",
		"<RCPT TO:<a@y>",
		"<RCPT TO:<b@y>",
		"<RCPT TO:<c@y>",
		"<DATA",
		">250 ok",
		">250 ok",
		">452 too many",
		">452 too many",
		">354 go",
		"dot",
		">250 taken",
		"<*MAIL",
		"<RCPT TO:<b@y>",
		"<RCPT TO:<c@y>",
		"<DATA",
		">250 ok",
		">250 ok",
		">550 no",
		">354 go",
		"dot",
		">250 taken too" } } },
	  1,
	  1,
	  .recipients = 3,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = LOCUM__OUTCOME__OUTCOME_REFUSED,
	  .dialled = "A",
	  .text = "250 taken too" },
	{ "a connection that is lost between them leaves the rest for later",
	  { { { HELLO, "<*MAIL", "<*RCPT", "<*RCPT", "<DATA", ">250 ok", ">250 ok", ">452 too many",
		">354 go", "dot", ">250 taken", "close" } } },
	  1,
	  1,
	  .recipients = 2,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = UNTRIED,
	  .dialled = "A",
	  .text = "250 taken" },
	{ "a mailbox that is taken for one too many is deferred when it is alone",
	  { { { HELLO, "<*MAIL", "<*RCPT", "<*RCPT", "<DATA", ">250 ok", ">250 ok", ">452 full",
		">354 go", "dot", ">250 taken", "<*MAIL", "<*RCPT", "<DATA", ">250 ok", ">452 full",
		">503 no" } } },
	  1,
	  1,
	  .recipients = 2,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = LOCUM__OUTCOME__OUTCOME_DEFERRED,
	  .dialled = "A" },
	{ "a host that cannot be connected is passed over",
	  { { { NULL } }, { { HELLO, MESSAGE } } },
	  2,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "B" },
	{ "a host that greets with 5xx is passed over",
	  { { { ">554 no" } }, { { HELLO, MESSAGE } } },
	  2,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AB" },
	{ "a host that speaks no SMTP is passed over",
	  { { { ">hm" } }, { { ">421 busy" } }, { { HELLO, MESSAGE } } },
	  3,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "ABC" },
	{ "a host that closes before MAIL is answered is passed over when it says so",
	  { { { HELLO, "<*MAIL", "<*RCPT", "<DATA", ">421 busy" } }, { { HELLO, MESSAGE } } },
	  2,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AB" },
	{ "a host that refuses the recipient is not passed over",
	  { { { HELLO, "<*MAIL", "<*RCPT", "<DATA", ">250 ok", ">450 no", ">503 no" } },
	    { { HELLO } } },
	  2,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = LOCUM__OUTCOME__OUTCOME_DEFERRED,
	  .dialled = "A" },
	{ "of several failures the one that says the most is told",
	  { { { ">hm" } }, { { ">554 go away" } }, { { "close" } } },
	  3,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_REFUSING,
	  .outcome = UNTRIED,
	  .dialled = "ABC",
	  .starts = "012",
	  .text = "554 go away" },
	{ "a refusal is told even where the rest cannot be connected",
	  { { { ">421 busy" } }, { { NULL } } },
	  2,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_REFUSING,
	  .outcome = UNTRIED,
	  .dialled = "A",
	  .starts = "01",
	  .text = "421 busy" },
	{ "421 to MAIL from every host is a refusal",
	  { { { HELLO, "<*MAIL", "<*RCPT", "<DATA", ">421 busy" } },
	    { { HELLO, "<*MAIL", "<*RCPT", "<DATA", ">421 too" } } },
	  2,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_REFUSING,
	  .outcome = UNTRIED,
	  .dialled = "AB",
	  .text = "421" },
	{ "no host that speaks SMTP is unreachable",
	  { { { "close" } }, { { NULL } } },
	  2,
	  1,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE,
	  .outcome = UNTRIED,
	  .dialled = "A",
	  .text = "connection lost at greeting" },
	{ "what netd says of DNS is passed on",
	  { { { NULL } } },
	  1,
	  1,
	  .no_dial = LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE,
	  .outcome = UNTRIED,
	  .dialled = "",
	  .text = "as the test says" },
	{ "a route that changes for ever is given up",
	  { { { ">554 no" }, { ">554 no" }, { ">554 no" } } },
	  1,
	  1,
	  .route_changes = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_REFUSING,
	  .outcome = UNTRIED,
	  .dialled = NULL },
	{ "TLS is used where it works",
	  { { { HELLO_TLS, "<STARTTLS", ">220 go", "tls", "<*EHLO", ">250-mx", ">250 PIPELINING",
		MESSAGE } } },
	  1,
	  1,
	  .tls = true,
	  .encrypted = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "A" },
	{ "where TLS fails the same host is dialled again and spoken to in plain text",
	  { { { HELLO_TLS, "<STARTTLS", ">220 go", "close" }, { HELLO_TLS, MESSAGE } },
	    { { HELLO, MESSAGE } } },
	  2,
	  1,
	  .tls = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AA",
	  .starts = "00" },
	{ "and so is every later connection to it",
	  { { { HELLO_TLS, "<STARTTLS", ">220 go", "close" },
	      { HELLO_TLS, MESSAGE, "close" },
	      { HELLO_TLS, MESSAGE } } },
	  1,
	  2,
	  .tls = true,
	  .attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  .outcome = DELIVERED,
	  .dialled = "AAA" },
};

#define SERVERS_MAX (OUTBOUND_DIALS_MAX + 10)

struct world {
	struct dialer dialer;
	const struct outbound_case *k;
	struct ssl_ctx_st *server_tls, *client_tls;
	struct fake_server server[SERVERS_MAX];
	unsigned servers;
	unsigned times[HOSTS_MAX];
	char dialled[SERVERS_MAX + 1];
	char starts[SERVERS_MAX + 1];
	unsigned dials;
	uint64_t route;
};

static void dial_scripts(struct task *tk, struct dialer *d, const struct dial_request *request,
			 struct arena *arena, struct dialled *ret)
{
	uint32_t start = request->start;
	struct world *w = CONTAINER(d, struct world, dialer);

	assert_true(str_eq(request->domain, STR("y.example")));
	assert_true(request->route == 0 || request->route == w->route);
	w->starts[w->dials++] = (char)('0' + start);
	*ret = (struct dialled){ .attempt = w->k->no_dial,
				 .fd = -1,
				 .text = STR("as the test says"),
				 .destination = STR("a.example:25,b.example:25"),
				 .count = w->k->hosts };
	if (w->k->no_dial)
		return;
	if (w->k->route_changes)
		start = 0;
	for (uint32_t i = start; i < w->k->hosts; i++) {
		unsigned time = w->times[i]++;
		const char *const *script = w->k->script[i][w->k->route_changes ? 0 : time];

		assert_true(time < TIMES_MAX || w->k->route_changes);
		if (!script[0])
			continue;
		ret->fd = fake_server_start(task_loop(tk), &w->server[w->servers], script,
					    w->server_tls);
		w->dialled[w->servers++] = (char)('A' + i);
		ret->attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
		ret->index = i;
		if (w->k->route_changes) {
			ret->count = 9;
			w->route++;
		}
		ret->route = w->route;
		ret->host = str_of(arena_sprintf(arena, "mx%u.example", i));
		ret->address = str_of(arena_sprintf(arena, "192.0.2.%u:25", i));
		return;
	}
	ret->attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
}

static void deliver_one(struct task *tk, struct outbound *o, unsigned recipients,
			struct arena *arena, struct contact *ret_contact,
			Locum__Outcome *ret_outcome)
{
	str body = STR("Subject: x\r\n\r\nx\r\n");
	struct handover_recipient to[3] = { { STR("a@y") }, { STR("b@y") }, { STR("c@y") } };
	struct handover h = { .reverse_path = STR("s@x"),
			      .received = STR("Received: x\r\n"),
			      .body_fd = sys_memfd("body"),
			      .body_bytes = body.n,
			      .body_crc32c = crc32c(0, body),
			      .recipients = to,
			      .recipient_count = recipients,
			      .arena = arena,
			      .reply_bytes_max = 100 };

	assert_int_equal(sys_write(h.body_fd, body), 0);
	outbound_deliver(tk, o, STR("y.example"), &h, ret_contact);
	*ret_outcome = to[recipients - 1].outcome;
	sys_close(h.body_fd);
}

static void check(const struct world *w, const struct contact *contact, Locum__Outcome outcome)
{
	const struct outbound_case *k = w->k;

	for (unsigned i = 0; i < w->servers; i++) {
		if (w->server[i].wrong[0])
			fail_msg("%s: server %u: %s", k->requirement, i, w->server[i].wrong);
	}
	if (contact->attempt != k->attempt || outcome != k->outcome)
		fail_msg("%s: attempt %d, outcome %d, %.*s", k->requirement, (int)contact->attempt,
			 (int)outcome, STR_ARG(contact->text));
	if (k->dialled && strcmp(w->dialled, k->dialled) != 0)
		fail_msg("%s: dialled %s", k->requirement, w->dialled);
	if (k->starts && strcmp(w->starts, k->starts) != 0)
		fail_msg("%s: dialled from %s", k->requirement, w->starts);
	if (k->text && str_find(contact->text, str_of(k->text)) < 0)
		fail_msg("%s: %.*s", k->requirement, STR_ARG(contact->text));
	if (k->encrypted != (contact->tls_version.n > 0))
		fail_msg("%s: TLS %d", k->requirement, !k->encrypted);
}

static void must_encrypt(struct task *tk, struct outbound *o, str domain, nsec deadline,
			 struct arena *arena, struct tls_needs *ret)
{
	(void)tk;
	(void)o;
	(void)domain;
	(void)deadline;
	(void)arena;
	ret->least = TLS_ENCRYPT;
}

static void outbound_task(struct task *tk, void *arg)
{
	struct world *w = arg;
	struct outbound *o = calloc(1, sizeof(*o));
	struct contact contact = { 0 };
	Locum__Outcome outcome = UNTRIED;
	struct arena arena;

	arena_init(&arena, 1000000);
	assert_int_equal(outbound_init(o, task_loop(tk), &w->dialer,
				       w->k->tls ? w->client_tls : NULL, STR("locum.example")),
			 0);
	o->needs = w->k->must_encrypt ? must_encrypt : NULL;
	if (w->k->probe) {
		outbound_probe(tk, o, STR("y.example"), &arena, &contact);
		assert_int_equal(contact.attempt, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	}
	for (unsigned i = 0; i < w->k->deliveries; i++) {
		if (i > 0)
			task_sleep(tk, 2 * NSEC_MS);
		deliver_one(tk, o, MAX(w->k->recipients, 1u), &arena, &contact, &outcome);
	}
	check(w, &contact, outcome);
	outbound_close(tk, o, task_in(tk, NSEC_S));
	outbound_done(o);
	free(o);
	for (unsigned i = 0; i < w->servers; i++) {
		while (!w->server[i].ended)
			task_sleep(tk, NSEC_MS);
		fake_server_done(&w->server[i]);
	}
	arena_done(&arena);
}

static void attempts(void **state)
{
	struct ssl_ctx_st *server_tls = fake_tls(), *client_tls;

	(void)state;
	assert_int_equal(tls_client_new(STR_NONE, &client_tls), 0);
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct world *w = calloc(1, sizeof(*w));

		*w = (struct world){ .dialer = { dial_scripts },
				     .k = &cases[i],
				     .server_tls = server_tls,
				     .client_tls = client_tls,
				     .route = 7 };
		fake_run(outbound_task, w);
		free(w);
	}
	tls_context_freep(&server_tls);
	tls_context_freep(&client_tls);
}

static void plain_hosts_are_few_and_forgotten(void **state)
{
	static struct plain_hosts p;
	char address[30];

	(void)state;
	plain_remember(&p, STR("192.0.2.1:25"), 5);
	assert_true(plain_known(&p, STR("192.0.2.1:25"), 6));
	assert_false(plain_known(&p, STR("192.0.2.1:26"), 6));
	assert_false(plain_known(&p, STR("192.0.2.1:25"), 6 + PLAIN_HOST_TIME));
	for (int i = 0; i < PLAIN_HOSTS_MAX; i++) {
		snprintf(address, sizeof(address), "198.51.100.%d:25", i);
		plain_remember(&p, str_of(address), 7);
		assert_true(plain_known(&p, str_of(address), 8));
	}
	assert_false(plain_known(&p, STR("192.0.2.1:25"), 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attempts),
		cmocka_unit_test(plain_hosts_are_few_and_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
