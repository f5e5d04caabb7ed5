/* What a message needs of the host, and how it goes out where the host has it and where not. */
#include "proc/smtpout/needs.h"

#include "base/crc32c.h"
#include "proc/smtpout/fake_server.h"

static const struct conn_limits patient = { .greeting = 5 * NSEC_S,
					    .command = 5 * NSEC_S,
					    .tls = 5 * NSEC_S,
					    .data = 5 * NSEC_S,
					    .block = 5 * NSEC_S,
					    .final = 5 * NSEC_S };

#define RECEIVED "Received: from x by y\r\n"
#define BODY "Subject: hi\r\n\r\ntext\r\n"
#define UTF8_BODY "Subject: h\xc3\xa4\r\n\r\ntext\r\n"
#define UTF8_TEXT "Subject: hi\r\n\r\nt\xc3\xa4xt\r\n"
#define NO_END "Subject: hi\r\n\r\n.\r\nno end"
#define BINARY "Subject: hi\r\n\r\n\n.\n\r\0\r\n.\r\nbin"

#define HOST ">220 mx", "<*EHLO", ">250-mx"
#define OVER_TLS                                                                                   \
	">220 mx", "<*EHLO", ">250-mx", ">250 STARTTLS", "<STARTTLS", ">220 go", "tls", "<*EHLO",  \
		">250-mx"
#define OK ">250 ok"
#define GO ">354 go"
#define MAIL "<MAIL FROM:<s@x>"
#define RCPT "<RCPT TO:<a@y>"

#define U "\xc3\xbc" /* ü */

struct needs_case {
	const char *requirement;
	const char *script[24];
	const char *from;    /* NULL: s@x */
	const char *to[3];   /* NULL: a@y alone */
	const char *outcome; /* a letter each: None Delivered deFerred Refused Ambiguous Corrupt */
	str body;            /* empty: BODY */
	const char *ret, *envid, *notify, *orcpt;
	const char *reply; /* of the last recipient, a part of it */
	unsigned notes;
	bool smtputf8, binary, requiretls, tls, verified, secure_name;
	bool nothing_said;
	bool open;
	str got; /* empty: what was sent */
};

#define ONE .outcome = "D"
#define HELD .outcome = "R", .nothing_said = true

static const struct needs_case cases[] = {
	/* --- SMTPUTF8 --- */
	{ "SMTPUTF8 is said where it is offered, and everything goes as it is",
	  { HOST, ">250 SMTPUTF8", "<MAIL FROM:<" U "@" U ".x> SMTPUTF8", OK,
	    "<RCPT TO:<a" U "@" U ".y>", OK, "<DATA", GO, "dot", OK },
	  .from = U "@" U ".x",
	  .to = { "a" U "@" U ".y" },
	  .body = { UTF8_BODY, sizeof(UTF8_BODY) - 1 },
	  .smtputf8 = true,
	  ONE },
	{ "a message that did not say SMTPUTF8 does not say it to the primary either",
	  { HOST, ">250 SMTPUTF8", MAIL, OK, RCPT, OK, "<DATA", GO, "dot", OK },
	  ONE },
	{ "domains alone go as A-labels to a host without SMTPUTF8",
	  { HOST, ">250 8BITMIME", "<MAIL FROM:<s@xn--tda.x>", OK, "<RCPT TO:<a@xn--tda.y>", OK,
	    "<DATA", GO, "dot", OK },
	  .from = "s@" U ".x",
	  .to = { "a@" U ".y" },
	  .smtputf8 = true,
	  .body = { UTF8_TEXT, sizeof(UTF8_TEXT) - 1 },
	  .notes = NOTE_WITHOUT_SMTPUTF8,
	  ONE },
	{ "a message that needs nothing of SMTPUTF8 goes without it",
	  { HOST, ">250 8BITMIME", MAIL, OK, RCPT, OK, "<DATA", GO, "dot", OK },
	  .smtputf8 = true,
	  .notes = NOTE_WITHOUT_SMTPUTF8,
	  ONE },
	{ "headers in UTF-8 are held for a host without SMTPUTF8",
	  { HOST, ">250 8BITMIME" },
	  .body = { UTF8_BODY, sizeof(UTF8_BODY) - 1 },
	  .smtputf8 = true,
	  .reply =
		  "the primary does not offer SMTPUTF8: the message's headers are not ASCII; held, "
		  "not changed",
	  HELD },
	{ "a sender's local part in UTF-8 is held for a host without SMTPUTF8",
	  { HOST, ">250 8BITMIME" },
	  .from = U "@x",
	  .smtputf8 = true,
	  .reply = "the sender's address is not ASCII",
	  HELD },
	{ "a recipient's local part in UTF-8 is held, the others get theirs",
	  { HOST, ">250 8BITMIME", MAIL, OK, RCPT, OK, "<RCPT TO:<b@y>", OK, "<DATA", GO, "dot",
	    OK },
	  .to = { "a@y", "b@y", U "@y" },
	  .smtputf8 = true,
	  .outcome = "DDR",
	  .notes = NOTE_WITHOUT_SMTPUTF8,
	  .reply = "the address is not ASCII" },
	{ "the same with PIPELINING, and the first one held",
	  { HOST, ">250 PIPELINING", MAIL, "=3", RCPT, "<RCPT TO:<b@y>", "<DATA", OK, OK,
	    ">550 not b", GO, "dot", OK },
	  .to = { U "@y", "a@y", "b@y" },
	  .smtputf8 = true,
	  .outcome = "RDR",
	  .notes = NOTE_WITHOUT_SMTPUTF8,
	  .reply = "550 not b" },

	/* --- DSN --- */
	{ "DSN parameters are passed on where they are offered",
	  { HOST, ">250 DSN", "<MAIL FROM:<s@x> RET=HDRS ENVID=q+3Dw", OK,
	    "<RCPT TO:<a@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Bx@z", OK, "<DATA", GO, "dot",
	    OK },
	  .ret = "HDRS",
	  .envid = "q+3Dw",
	  .notify = "SUCCESS,DELAY",
	  .orcpt = "rfc822;o+2Bx@z",
	  ONE },
	{ "and dropped where they are not, which is noted",
	  { HOST, ">250 8BITMIME", MAIL, OK, RCPT, OK, "<DATA", GO, "dot", OK },
	  .ret = "HDRS",
	  .notify = "NEVER",
	  .notes = NOTE_DSN_DROPPED,
	  ONE },
	{ "an ORCPT in UTF-8 goes with SMTPUTF8",
	  { HOST, ">250-SMTPUTF8", ">250 DSN", "<MAIL FROM:<s@x> SMTPUTF8", OK,
	    "<RCPT TO:<a@y> ORCPT=utf-8;" U "@y", OK, "<DATA", GO, "dot", OK },
	  .orcpt = "utf-8;" U "@y",
	  .smtputf8 = true,
	  ONE },
	{ "and is dropped without it",
	  { HOST, ">250 DSN", MAIL, OK, "<RCPT TO:<a@y> NOTIFY=DELAY", OK, "<DATA", GO, "dot", OK },
	  .orcpt = "utf-8;" U "@y",
	  .notify = "DELAY",
	  .smtputf8 = true,
	  .notes = NOTE_WITHOUT_SMTPUTF8 | NOTE_ORCPT_DROPPED,
	  ONE },

	/* --- REQUIRETLS --- */
	{ "REQUIRETLS is said over TLS to a host that offers it",
	  { OVER_TLS, ">250 REQUIRETLS", "<MAIL FROM:<s@x> REQUIRETLS", OK, RCPT, OK, "<DATA", GO,
	    "dot", OK },
	  .requiretls = true,
	  .tls = true,
	  .verified = true,
	  .secure_name = true,
	  ONE },
	{ "a host whose certificate is not verified does not get the message",
	  { OVER_TLS, ">250 REQUIRETLS" },
	  .requiretls = true,
	  .tls = true,
	  .secure_name = true,
	  .reply = "the primary has a certificate that could not be verified: the sender requires "
		   "it (REQUIRETLS); held",
	  HELD },
	{ "nor does one that DNS may have made up",
	  { OVER_TLS, ">250 REQUIRETLS" },
	  .requiretls = true,
	  .tls = true,
	  .verified = true,
	  .reply = "the primary was found by DNS without DNSSEC or MTA-STS: the sender requires "
		   "the right one (REQUIRETLS); held",
	  HELD },
	{ "a host that does not offer REQUIRETLS does not get the message",
	  { OVER_TLS, ">250 8BITMIME" },
	  .requiretls = true,
	  .tls = true,
	  .reply = "the primary does not offer REQUIRETLS: the sender requires it; held",
	  HELD },
	{ "nor does one without TLS",
	  { HOST, ">250 REQUIRETLS" },
	  .requiretls = true,
	  .reply = "the primary was reached without TLS: the sender requires it (REQUIRETLS); held",
	  HELD },

	/* --- BDAT --- */
	{ "a binary body goes as it is, by BDAT",
	  { HOST, ">250-CHUNKING", ">250 BINARYMIME", "<MAIL FROM:<s@x> BODY=BINARYMIME", OK, RCPT,
	    OK, "bdat", OK },
	  .binary = true,
	  .body = { BINARY, sizeof(BINARY) - 1 },
	  ONE },
	{ "with PIPELINING the chunk follows once somebody gets it",
	  { HOST, ">250-PIPELINING", ">250-CHUNKING", ">250 BINARYMIME",
	    "<MAIL FROM:<s@x> BODY=BINARYMIME", "=1", RCPT, "=0", OK, OK, "bdat", OK },
	  .binary = true,
	  .body = { BINARY, sizeof(BINARY) - 1 },
	  ONE },
	{ "no chunk for nobody",
	  { HOST, ">250-PIPELINING", ">250-CHUNKING", ">250 BINARYMIME",
	    "<MAIL FROM:<s@x> BODY=BINARYMIME", RCPT, "=0", OK, ">550 no" },
	  .binary = true,
	  .outcome = "R",
	  .reply = "550 no",
	  .open = true },
	{ "a binary body is held for a host without CHUNKING",
	  { HOST, ">250 BINARYMIME" },
	  .binary = true,
	  .body = { BINARY, sizeof(BINARY) - 1 },
	  .reply =
		  "the primary does not offer BINARYMIME and CHUNKING: the message is binary; held",
	  HELD },
	{ "and for one without BINARYMIME",
	  { HOST, ">250 CHUNKING" },
	  .binary = true,
	  .body = { BINARY, sizeof(BINARY) - 1 },
	  .reply = "the message is binary",
	  HELD },
	{ "a chunk refused for now defers, and the transaction is still open",
	  { HOST, ">250-CHUNKING", ">250 BINARYMIME", "<*MAIL", OK, RCPT, OK, "bdat",
	    ">452 4.3.1 full" },
	  .binary = true,
	  .outcome = "F",
	  .reply = "452 4.3.1 full",
	  .open = true },
	{ "what need not go by BDAT goes by DATA",
	  { HOST, ">250-CHUNKING", ">250 BINARYMIME", MAIL, OK, RCPT, OK, "<DATA", GO, "dot", OK },
	  ONE },
	{ "a last line without CRLF goes by BDAT as it is",
	  { HOST, ">250 CHUNKING", MAIL, OK, RCPT, OK, "bdat", OK },
	  .body = { NO_END, sizeof(NO_END) - 1 },
	  ONE },
	{ "a host without CHUNKING gets a CRLF behind it, which is noted",
	  { HOST, ">250 8BITMIME", MAIL, OK, RCPT, OK, "<DATA", GO, "dot", OK },
	  .body = { NO_END, sizeof(NO_END) - 1 },
	  .got = { RECEIVED NO_END "\r\n", sizeof(RECEIVED NO_END "\r\n") - 1 },
	  .notes = NOTE_LINE_ENDED,
	  ONE },
	{ "a lone dot as the last line is no end of anything",
	  { HOST, ">250 8BITMIME", MAIL, OK, RCPT, OK, "<DATA", GO, "dot", OK },
	  .body = { "a: b\r\n\r\n.", 9 },
	  .got = { RECEIVED "a: b\r\n\r\n.\r\n", sizeof(RECEIVED "a: b\r\n\r\n.\r\n") - 1 },
	  .notes = NOTE_LINE_ENDED,
	  ONE },
	{ "one octet is a body",
	  { HOST, ">250 CHUNKING", MAIL, OK, RCPT, OK, "bdat", OK },
	  .body = { ".", 1 },
	  ONE },

	/* --- what the spool should never give --- */
	{ "a parameter with a space in it is never sent",
	  { HOST, ">250 DSN" },
	  .envid = "a SIZE=0",
	  .outcome = "C" },
	{ "nor one with a line end",
	  { HOST, ">250 DSN" },
	  .orcpt = "rfc822;a\r\nDATA",
	  .outcome = "C" },
};

static int body_file(str body)
{
	int fd = sys_memfd("body");

	assert_true(fd >= 0);
	assert_int_equal(sys_write(fd, body), 0);
	return fd;
}

static void set_body(struct handover *h, str body)
{
	h->body_fd = body_file(body);
	h->body_bytes = body.n;
	h->body_crc32c = crc32c(0, body);
}

static void set_up(const struct needs_case *k, struct handover *h, struct arena *arena)
{
	*h = (struct handover){
		.reverse_path = str_of(k->from ? k->from : "s@x"),
		.body_binarymime = k->binary,
		.smtputf8 = k->smtputf8,
		.requiretls = k->requiretls,
		.dsn_ret = str_of(k->ret ? k->ret : ""),
		.dsn_envid = str_of(k->envid ? k->envid : ""),
		.received = STR(RECEIVED),
		.arena = arena,
		.reply_bytes_max = 200,
	};
	set_body(h, k->body.n ? k->body : STR(BODY));
	h->recipients = ARENA_ARRAY(arena, struct handover_recipient, ELEMENTS(k->to));
	h->recipient_count = 1;
	h->recipients[0].address = STR("a@y");
	for (size_t i = 0; i < ELEMENTS(k->to) && k->to[i]; i++) {
		h->recipients[i].address = str_of(k->to[i]);
		h->recipient_count = i + 1;
	}
	h->recipients[0].notify = str_of(k->notify ? k->notify : "");
	h->recipients[0].orcpt = str_of(k->orcpt ? k->orcpt : "");
}

static void check_body(const struct needs_case *k, const struct fake_server *server)
{
	str body = k->body.n ? k->body : STR(BODY), got = buf_str(&server->body);

	if (k->got.n ? str_eq(got, k->got)
		     : str_starts(got, STR(RECEIVED)) &&
			       str_eq(str_from(got, sizeof(RECEIVED) - 1), body))
		return;
	fail_msg("%s: body %.*s", k->requirement, STR_ARG(got));
}

static void check(const struct needs_case *k, const struct conn *c, const struct handover *h,
		  const struct fake_server *server)
{
	static const char letters[] = "NDFRAC";
	str reply = h->recipients[h->recipient_count - 1].reply;

	if (server->wrong[0])
		fail_msg("%s: %s", k->requirement, server->wrong);
	for (size_t i = 0; i < h->recipient_count; i++) {
		if (letters[h->recipients[i].outcome] != k->outcome[i])
			fail_msg("%s: recipient %zu %c, %s", k->requirement, i,
				 letters[h->recipients[i].outcome], h->text);
	}
	if (k->reply && str_find(reply, str_of(k->reply)) < 0)
		fail_msg("%s: reply %.*s", k->requirement, STR_ARG(reply));
	if (h->notes != k->notes)
		fail_msg("%s: notes %x", k->requirement, h->notes);
	if (h->lacking != k->nothing_said ||
	    (k->nothing_said && h->attempt != LOCUM__ATTEMPT__ATTEMPT_NONE))
		fail_msg("%s: lacking %d, attempt %d", k->requirement, h->lacking, (int)h->attempt);
	if (!strchr(k->outcome, 'C') && (c->broken || c->reset_first != k->open))
		fail_msg("%s: broken %d, open %d", k->requirement, c->broken, c->reset_first);
	if (strchr(k->outcome, 'D'))
		check_body(k, server);
}

static void needs_task(struct task *tk, void *arg)
{
	const struct needs_case *k = arg;
	struct conn_peer peer = { STR("mx.example:25"), STR("mx.example"), STR("192.0.2.1:25") };
	struct ssl_ctx_st *server_tls = k->tls ? fake_tls() : NULL, *tls = NULL;
	struct fake_server server;
	struct handover h;
	struct arena arena;
	struct conn *c;
	int fd = fake_server_start(task_loop(tk), &server, k->script, server_tls);

	arena_init(&arena, 100000);
	if (k->tls)
		assert_int_equal(tls_client_new(STR_NONE, &tls), 0);
	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	if (conn_open(tk, c, "locum.example", &patient, tls ? &(struct conn_tls){ tls } : NULL) !=
	    CONN_READY)
		fail_msg("%s: %s, %s", k->requirement, c->why, server.wrong);
	assert_true(c->greeted);
	c->verdict.verified = k->verified ? TLS_VERIFIED_PKIX : TLS_VERIFIED_NOT;
	c->secure_name = k->secure_name;
	set_up(k, &h, &arena);
	transaction_run(tk, c, &h);
	check(k, c, &h, &server);
	sys_close(h.body_fd);
	conn_free(c);
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&server);
	tls_context_freep(&server_tls);
	tls_context_freep(&tls);
	arena_done(&arena);
}

static void dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		fake_run(needs_task, (void *)&cases[i]);
}

static void what_one_host_lacked_says_nothing_about_the_next(void **state)
{
	struct conn poor = { .host = "poor" }, rich = { .host = "rich" };
	struct handover_recipient to = { .address = STR(U "@y") };
	struct handover h = { .reverse_path = STR("s@x"),
			      .smtputf8 = true,
			      .recipients = &to,
			      .recipient_count = 1,
			      .reply_bytes_max = 200 };
	struct arena arena;

	(void)state;
	arena_init(&arena, 10000);
	h.arena = &arena;
	rich.ehlo.offers = EHLO_SMTPUTF8;
	set_body(&h, STR(BODY));
	assert_int_equal(needs_compare(&poor, &h), 0);
	assert_true(h.lacking && to.lacking);
	assert_int_equal(to.outcome, LOCUM__OUTCOME__OUTCOME_REFUSED);
	assert_int_equal(needs_compare(&rich, &h), 0);
	assert_false(h.lacking || to.lacking);
	assert_int_equal(to.outcome, LOCUM__OUTCOME__OUTCOME_NONE);
	sys_close(h.body_fd);
	arena_done(&arena);
}

/* Headers are looked at to their end, wherever a read cuts them, and not further. */
static void header_blocks_of_every_length(void **state)
{
	struct conn c = { .host = "mx" };
	struct handover_recipient to = { .address = STR("a@y") };
	struct arena arena;
	char text[3000];

	(void)state;
	arena_init(&arena, 1000000);
	for (size_t n = 900; n < 1200; n++) {
		for (int in_header = 0; in_header < 2; in_header++) {
			struct handover h = { .smtputf8 = true,
					      .recipients = &to,
					      .recipient_count = 1,
					      .arena = &arena,
					      .reply_bytes_max = 200 };

			memset(text, 'x', sizeof(text));
			memcpy(text + n, in_header ? "\xc3\xa4\r\n" : "\r\n\r\n", 4);
			memcpy(text + n + 4, "\xc3\xa4\r\n\r\n", 6);
			set_body(&h, str_mem(text, n + 100));
			assert_int_equal(needs_compare(&c, &h), 0);
			assert_int_equal(h.lacking, in_header);
			sys_close(h.body_fd);
		}
	}
	arena_done(&arena);
}

/* --- smuggling out: what a primary with laxer rules sees --- */

/* Ends of data that some server took for one (CVE-2023-51764 and its kin). */
static const char *const lax_ends[] = { "\n.\n",   "\n.\r\n",   "\r\n.\n",      "\r.\r",
					"\r.\r\n", "\r\n.\r",   "\r\n.\r\n",    "\n.\r",
					"\r.\n",   "\n\n.\n\n", "\r\r\n.\r\r\n" };

/* The first place where one ends, or -1. */
static ssize_t lax_end(str wire)
{
	ssize_t first = -1;

	for (size_t i = 0; i < ELEMENTS(lax_ends); i++) {
		str end = str_of(lax_ends[i]);
		ssize_t at = str_find(wire, end);

		if (at >= 0 && (first < 0 || at + (ssize_t)end.n < first))
			first = at + (ssize_t)end.n;
	}
	return first;
}

struct smuggling {
	str body;
	bool chunking, good;
};

static void smuggling_task(struct task *tk, void *arg)
{
	static const char *const by_data[] = { HOST, ">250 8BITMIME", MAIL, OK,  RCPT, OK, "<DATA",
					       GO,   "raw",           OK,   NULL };
	static const char *const by_bdat[] = { HOST, ">250 CHUNKING", MAIL,  OK,     RCPT,
					       OK,   "<*BDAT",        "raw", "mute", NULL };
	const struct smuggling *k = arg;
	const struct needs_case base = { .requirement = "smuggling" };
	struct conn_peer peer = { STR("d"), STR("mx.example"), STR("192.0.2.1:25") };
	struct fake_server server;
	struct handover h;
	struct arena arena;
	struct conn *c;
	int fd = fake_server_start(task_loop(tk), &server, k->chunking ? by_bdat : by_data, NULL);
	str wire;

	arena_init(&arena, 100000);
	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	assert_int_equal(conn_open(tk, c, "locum.example", &patient, NULL), CONN_READY);
	set_up(&base, &h, &arena);
	sys_close(h.body_fd);
	set_body(&h, k->body);
	transaction_run(tk, c, &h);
	conn_free(c);
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	wire = buf_str(&server.body);
	assert_int_equal(h.recipients[0].outcome, k->good ? LOCUM__OUTCOME__OUTCOME_DELIVERED
							  : LOCUM__OUTCOME__OUTCOME_CORRUPT);
	/* One that ends at CR is there an octet earlier. */
	if (k->good ? lax_end(wire) < (ssize_t)wire.n - 1 : lax_end(wire) >= 0)
		fail_msg("%.*s: a lax host sees an end at %zd of %zu", STR_ARG(wire), lax_end(wire),
			 wire.n);
	sys_close(h.body_fd);
	fake_server_done(&server);
	arena_done(&arena);
}

static void run_smuggling(str body, bool chunking, bool good)
{
	struct smuggling k = { body, chunking, good };

	fake_run(smuggling_task, &k);
}

/* Every one of them in the middle of a body, each as it could be in the spool: with CRLF the dot is
 * doubled; anything else never leaves. */
static void no_host_sees_an_end_of_data_before_the_end(void **state)
{
	static const char *const behind[] = { "MAIL FROM:<evil@x>\r\n", "x\r\n", "" };

	(void)state;
	for (size_t i = 0; i < ELEMENTS(lax_ends); i++) {
		for (size_t j = 0; j < ELEMENTS(behind); j++) {
			char body[200];
			bool good = str_eq(str_of(lax_ends[i]), STR("\r\n.\r\n"));

			snprintf(body, sizeof(body), "a: b\r\n\r\ntext%s%s", lax_ends[i],
				 behind[j]);
			run_smuggling(str_of(body), false, good);
		}
	}
	run_smuggling(STR("a: b\r\n\r\n.\r\n..\r\n.\r\n\r\n.\r\n"), false, true);
	run_smuggling(STR("a: b\r\n\r\ntext\r\n."), false, true);
	run_smuggling(STR("a: b\r\n\r\ntext\r\n.\r"), false, false);
}

/* By BDAT too: what the host hands on by DATA would be cut there. */
static void a_bare_line_end_does_not_leave_by_bdat_either(void **state)
{
	(void)state;
	run_smuggling(STR("a: b\r\n\r\ntext\n.\nx"), true, false);
	run_smuggling(STR("a: b\r\n\r\ntext\r.\rx"), true, false);
	run_smuggling(STR("a: b\r\n\r\ntext\r"), true, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dialogues),
		cmocka_unit_test(what_one_host_lacked_says_nothing_about_the_next),
		cmocka_unit_test(header_blocks_of_every_length),
		cmocka_unit_test(no_host_sees_an_end_of_data_before_the_end),
		cmocka_unit_test(a_bare_line_end_does_not_leave_by_bdat_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
