#include "proc/smtpout/transaction.h"

#include "base/crc32c.h"
#include "proc/smtpout/fake_server.h"

static const struct conn_limits patient = { .greeting = 5 * NSEC_S,
					    .command = 5 * NSEC_S,
					    .tls = 5 * NSEC_S,
					    .data = 5 * NSEC_S,
					    .block = 5 * NSEC_S,
					    .final = 5 * NSEC_S };
static const struct conn_limits hasty = { .greeting = 5 * NSEC_S,
					  .command = 150 * NSEC_MS,
					  .tls = 5 * NSEC_S,
					  .data = 150 * NSEC_MS,
					  .block = 150 * NSEC_MS,
					  .final = 150 * NSEC_MS };

#define RECEIVED "Received: from x by y\r\n"
#define BODY "Subject: hi\r\n\r\n.dot\r\nend\r\n"

#define PLAIN ">220 mx", "<*EHLO", ">250 mx"
#define PIPE ">220 mx", "<*EHLO", ">250-mx", ">250 PIPELINING"
#define FULL ">220 mx", "<*EHLO", ">250-mx", ">250-PIPELINING", ">250-SIZE 100000", ">250 8BITMIME"
#define MAIL "<MAIL FROM:<s@x>"
#define RCPT(name) "<RCPT TO:<" name "@y>"
#define FORWARD "<XFORWARD ADDR=192.0.2.7"
#define OK ">250 ok"
#define GO ">354 go"
/* One recipient, up to the body. */
#define TAKEN PIPE, MAIL, RCPT("a"), "<DATA", OK, OK, GO

struct transaction_case {
	const char *requirement;
	const char *script[28];
	const char *recipients; /* a letter each: a@y, b@y … */
	const char *outcomes; /* a letter each: None Delivered deFerred Refused Ambiguous Corrupt */
	Locum__Attempt attempt;
	const char *text;  /* a part of it */
	const char *reply; /* of the last recipient, a part of it */
	const char *from;  /* NULL: s@x */
	bool forwards;     /* XFORWARD waits in the output */
	bool eightbit, reused, reset_first, wrong_crc, short_body, bare_lf, impatient;
	bool stale, broken, still_open; /* a transaction that RSET must end */
	bool nothing_read;              /* the server must have got no body */
};

#define ANSWERED LOCUM__ATTEMPT__ATTEMPT_ANSWERED
#define REFUSING LOCUM__ATTEMPT__ATTEMPT_REFUSING
#define LOST LOCUM__ATTEMPT__ATTEMPT_LOST
#define NOTHING LOCUM__ATTEMPT__ATTEMPT_NONE

/* What becomes of the one recipient, and of the attempt. */
#define ONE(outcome, attempt) "a", outcome, attempt
/* A connection that turns out to have died in the pool. */
#define STALE .reused = true, .stale = true, .broken = true
/* A host that says no more, and a client that does not wait long. */
#define MUTE .impatient = true, .broken = true

static const struct transaction_case cases[] = {
	/* --- the good way --- */
	{ "without PIPELINING every command waits for its reply",
	  { PLAIN, MAIL, "=0", OK, RCPT("a"), OK, RCPT("b"), OK, "<DATA", GO, "dot",
	    ">250 2.0.0 q" },
	  "ab",
	  "DD",
	  ANSWERED,
	  .text = "said to the final dot: 250 2.0.0 q",
	  .reply = "250 2.0.0 q" },
	{ "with PIPELINING the envelope is one write",
	  { PIPE, MAIL, "=3", RCPT("a"), RCPT("b"), "<DATA", OK, OK, OK, GO, "dot", OK },
	  "ab",
	  "DD",
	  ANSWERED },
	{ "SIZE and BODY are said where they are offered",
	  { FULL, "<MAIL FROM:<s@x> SIZE=49 BODY=8BITMIME", RCPT("a"), "<DATA", OK, OK, GO, "dot",
	    OK },
	  ONE("D", ANSWERED),
	  .eightbit = true },
	{ "BODY is not said of a body that came without it",
	  { FULL, "<MAIL FROM:<s@x> SIZE=49", RCPT("a"), "<DATA", OK, OK, GO, "dot", OK },
	  ONE("D", ANSWERED) },
	{ "an 8-bit body goes as it is to a host without 8BITMIME",
	  { TAKEN, "dot", OK },
	  ONE("D", ANSWERED),
	  .eightbit = true },
	{ "the null reverse-path is <>",
	  { PIPE, "<MAIL FROM:<>", RCPT("a"), "<DATA", OK, OK, GO, "dot", OK },
	  ONE("D", ANSWERED),
	  .from = "" },
	{ "in quotes an angle bracket ends no path",
	  { PIPE, "<MAIL FROM:<\"<a\\\">\"@x>", RCPT("a"), "<DATA", OK, OK, GO, "dot", OK },
	  ONE("D", ANSWERED),
	  .from = "\"<a\\\">\"@x" },
	{ "251 is as good as 250",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, ">251 will forward", GO, "dot", OK },
	  ONE("D", ANSWERED) },
	{ "an unfinished transaction is ended by RSET first, in the same write",
	  { PIPE, "<RSET", "=3", MAIL, RCPT("a"), "<DATA", OK, OK, OK, GO, "dot", OK },
	  ONE("D", ANSWERED),
	  .reused = true,
	  .reset_first = true },
	{ "without PIPELINING RSET goes alone",
	  { PLAIN, "<RSET", "=0", OK, MAIL, OK, RCPT("a"), OK, "<DATA", GO, "dot", OK },
	  ONE("D", ANSWERED),
	  .reused = true,
	  .reset_first = true },

	{ "what waits to be told of the client leaves with the envelope",
	  { PIPE, FORWARD, "=3", MAIL, RCPT("a"), "<DATA", OK, OK, OK, GO, "dot", OK },
	  ONE("D", ANSWERED),
	  .forwards = true },
	{ "a host that does not want to hear it gets the message",
	  { PIPE, FORWARD, MAIL, RCPT("a"), "<DATA", ">550 no", OK, OK, GO, "dot", OK },
	  ONE("D", ANSWERED),
	  .forwards = true },
	{ "421 to it is about the host",
	  { PIPE, FORWARD, MAIL, RCPT("a"), "<DATA", ">421 busy" },
	  ONE("N", REFUSING),
	  .text = "said to XFORWARD: 421 busy",
	  .forwards = true,
	  .broken = true },
	{ "a connection that died in the pool is found dead by it",
	  { PIPE, "close" },
	  ONE("N", NOTHING),
	  .forwards = true,
	  STALE },

	/* --- refusals --- */
	{ "a recipient's refusal is its own",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), RCPT("c"), "<DATA", OK, OK, ">550 5.1.1 no b",
	    ">450 4.2.0 later", GO, "dot", OK },
	  "abc",
	  "DRF",
	  ANSWERED,
	  .reply = "450 4.2.0 later" },
	{ "without PIPELINING and without a recipient there is no DATA",
	  { PLAIN, MAIL, OK, RCPT("a"), ">550 no", RCPT("b"), ">451 later" },
	  "ab",
	  "RF",
	  ANSWERED,
	  .reply = "451 later",
	  .still_open = true },
	{ "354 although every recipient was refused gets a lone dot",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, ">550 no", ">550 no b", GO, "<.",
	    ">554 no recipients" },
	  "ab",
	  "RR",
	  ANSWERED,
	  .text = "550 no b",
	  .reply = "550 no b",
	  .nothing_read = true },
	{ "even 250 to a lone dot delivers nothing",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, ">450 no", GO, "<.", OK },
	  ONE("F", ANSWERED),
	  .reply = "450 no",
	  .nothing_read = true },
	{ "a DATA refused because no recipient was taken changes nothing",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, ">550 no", ">503 no recipients" },
	  ONE("R", ANSWERED),
	  .reply = "550 no",
	  .still_open = true },
	{ "a MAIL refused for good is every recipient's refusal",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", ">550 5.7.1 not you", ">503 MAIL first",
	    ">503 MAIL first", ">503 MAIL first" },
	  "ab",
	  "RR",
	  ANSWERED,
	  .text = "said to MAIL: 550",
	  .reply = "550 5.7.1 not you" },
	{ "a MAIL refused for now defers every recipient",
	  { PLAIN, MAIL, ">451 later" },
	  "ab",
	  "FF",
	  ANSWERED,
	  .reply = "451 later" },
	{ "354 after a refused MAIL gets a lone dot",
	  { PIPE, MAIL, RCPT("a"), "<DATA", ">550 no", OK, GO, "<.", ">554 no" },
	  ONE("R", ANSWERED),
	  .reply = "550 no",
	  .nothing_read = true },
	{ "a MAIL too large is refused for good",
	  { FULL, "<*MAIL", RCPT("a"), "<DATA", ">552 5.3.4 too big", ">503 no", ">503 no" },
	  ONE("R", ANSWERED),
	  .reply = "552 5.3.4 too big" },
	{ "a DATA refused for good is the refusal of all who were left",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, ">450 later", OK, ">554 no data" },
	  "ab",
	  "FR",
	  ANSWERED,
	  .text = "said to DATA: 554",
	  .reply = "554 no data",
	  .still_open = true },
	{ "a DATA refused for now defers all who were left",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, OK, ">451 no" },
	  ONE("F", ANSWERED),
	  .reply = "451 no",
	  .still_open = true },
	{ "a 5xx to the final dot is the refusal of all who were left",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, OK, OK, GO, "dot", ">554 5.7.1 spam" },
	  "ab",
	  "RR",
	  ANSWERED,
	  .reply = "554 5.7.1 spam" },
	{ "a 4xx to the final dot defers all who were left",
	  { TAKEN, "dot", ">451 4.3.0 later" },
	  ONE("F", ANSWERED),
	  .reply = "451 4.3.0 later" },
	{ "a reply of several lines is passed on in one",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, ">550-5.1.1 no such", ">550 5.1.1 user\x1b",
	    ">503 no" },
	  ONE("R", ANSWERED),
	  .reply = "550 5.1.1 no such user?",
	  .still_open = true },

	/* --- too many recipients --- */
	{ "452 leaves the rest for a transaction of their own",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, OK, ">452 4.5.3 too many", GO, "dot",
	    OK },
	  "ab",
	  "DN",
	  ANSWERED },
	{ "552 in the old way too",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, OK, ">552 too many", GO, "dot", OK },
	  "ab",
	  "DN",
	  ANSWERED },
	{ "452 where nobody was taken defers",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, ">452 too many", ">503 no" },
	  ONE("F", ANSWERED),
	  .reply = "452 too many",
	  .still_open = true },
	{ "452 about a full mailbox defers that mailbox",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, OK, ">452 4.2.2 full", GO, "dot", OK },
	  "ab",
	  "DF",
	  ANSWERED,
	  .reply = "452 4.2.2 full" },
	{ "552 about a full mailbox is a refusal",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, OK, ">552 5.2.2 full", GO, "dot", OK },
	  "ab",
	  "DR",
	  ANSWERED,
	  .reply = "552 5.2.2 full" },

	/* --- 421 --- */
	{ "421 to MAIL says nothing of the message",
	  { PIPE, MAIL, RCPT("a"), "<DATA", ">421 4.3.2 closing" },
	  ONE("N", REFUSING),
	  .text = "said to MAIL: 421 4.3.2 closing",
	  .broken = true },
	{ "530 to MAIL says nothing of the message",
	  { PIPE, MAIL, RCPT("a"), "<DATA", ">530 5.7.0 STARTTLS first", ">503 no", ">503 no" },
	  ONE("N", REFUSING),
	  .text = "said to MAIL: 530",
	  .broken = true },
	{ "421 to a recipient defers that one, the rest were not tried",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), RCPT("c"), "<DATA", OK, ">550 no", ">421 closing" },
	  "abc",
	  "RFN",
	  REFUSING,
	  .broken = true },
	{ "421 to DATA defers who was taken",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, OK, ">421 closing" },
	  ONE("F", REFUSING),
	  .reply = "421 closing",
	  .broken = true },
	{ "421 to the final dot defers who was taken",
	  { TAKEN, "dot", ">421 closing" },
	  ONE("F", REFUSING),
	  .reply = "421 closing",
	  .broken = true },

	/* --- lost connections --- */
	{ "a connection lost at MAIL leaves the recipients untried",
	  { PIPE, MAIL, RCPT("a"), "<DATA", "close" },
	  ONE("N", LOST),
	  .text = "connection lost at MAIL",
	  .broken = true },
	{ "a connection lost among the recipients keeps what was said",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), RCPT("c"), "<DATA", OK, ">550 no", OK, "close" },
	  "abc",
	  "RNN",
	  LOST,
	  .text = "connection lost at RCPT",
	  .broken = true },
	{ "a connection lost at DATA leaves the recipients untried",
	  { PLAIN, MAIL, OK, RCPT("a"), OK, "<DATA", "close" },
	  ONE("N", LOST),
	  .text = "connection lost at DATA",
	  .broken = true },
	{ "a connection lost after the final dot is ambiguous",
	  { PIPE, MAIL, RCPT("a"), RCPT("b"), "<DATA", OK, OK, ">550 no", GO, "dot", "close" },
	  "ab",
	  "AR",
	  LOST,
	  .text = "connection lost at the final dot",
	  .broken = true },
	{ "nonsense after the final dot is ambiguous",
	  { TAKEN, "dot", ">hm" },
	  ONE("A", LOST),
	  .text = "not SMTP at the final dot",
	  .broken = true },
	{ "354 after the final dot is ambiguous",
	  { TAKEN, "dot", GO },
	  ONE("A", LOST),
	  .broken = true },
	{ "nonsense to MAIL is a broken connection",
	  { PLAIN, MAIL, "><html>" },
	  ONE("N", LOST),
	  .text = "not SMTP at MAIL",
	  .broken = true },
	{ "354 to MAIL is a broken connection",
	  { PLAIN, MAIL, GO },
	  ONE("N", LOST),
	  .broken = true },
	{ "250 to DATA is a broken connection",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, OK, OK },
	  ONE("N", LOST),
	  .broken = true },
	{ "a reply that nobody asked for breaks the connection after the message",
	  { TAKEN, "dot", ">250 ok\r\n250 again" },
	  ONE("D", ANSWERED),
	  .broken = true },

	/* --- time-outs --- */
	{ "MAIL has a limit",
	  { PIPE, MAIL, RCPT("a"), "<DATA", "mute" },
	  ONE("N", LOST),
	  .text = "no answer in time at MAIL",
	  MUTE },
	{ "RCPT has a limit",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, "mute" },
	  ONE("N", LOST),
	  .text = "no answer in time at RCPT",
	  MUTE },
	{ "DATA has a limit",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, OK, "mute" },
	  ONE("N", LOST),
	  .text = "no answer in time at DATA",
	  MUTE },
	{ "the final dot has a limit, and is ambiguous",
	  { TAKEN, "dot", "mute" },
	  ONE("A", LOST),
	  .text = "no answer in time at the final dot",
	  MUTE },
	{ "a MAIL without an answer in time on a pooled connection is no reason to send it again",
	  { PIPE, MAIL, RCPT("a"), "<DATA", "mute" },
	  ONE("N", LOST),
	  .reused = true,
	  MUTE },

	/* --- connections from the pool --- */
	{ "a pooled connection that is dead at MAIL is stale",
	  { PIPE, MAIL, RCPT("a"), "<DATA", "close" },
	  ONE("N", NOTHING),
	  STALE },
	{ "a pooled connection that was closed before is stale",
	  { PIPE, "close" },
	  ONE("N", NOTHING),
	  STALE },
	{ "a pooled connection that says 421 first is stale",
	  { PIPE, MAIL, RCPT("a"), "<DATA", ">421 idle too long" },
	  ONE("N", NOTHING),
	  STALE },
	{ "a pooled connection that dies after RSET is stale",
	  { PIPE, "<RSET", MAIL, RCPT("a"), "<DATA", OK, "close" },
	  ONE("N", NOTHING),
	  .reset_first = true,
	  STALE },
	{ "a pooled connection where RSET is refused is stale",
	  { PIPE, "<RSET", MAIL, RCPT("a"), "<DATA", ">502 what" },
	  ONE("N", NOTHING),
	  .reset_first = true,
	  STALE },
	{ "once MAIL was answered it is not stale any more",
	  { PIPE, MAIL, RCPT("a"), "<DATA", OK, "close" },
	  ONE("N", LOST),
	  .reused = true,
	  .broken = true },

	/* --- what the spool gave --- */
	{ "a body that does not match its checksum is not delivered",
	  { PIPE, MAIL, RCPT("a"), "<DATA", "mute" },
	  ONE("C", ANSWERED),
	  .wrong_crc = true,
	  .broken = true,
	  .nothing_read = true },
	{ "a body shorter than it was is not delivered",
	  { PIPE, MAIL, RCPT("a"), "<DATA", "mute" },
	  ONE("C", ANSWERED),
	  .text = "shorter than it was",
	  .short_body = true,
	  .broken = true,
	  .nothing_read = true },
	{ "a body with a bare LF never gets its final dot",
	  { TAKEN, "mute" },
	  ONE("C", ANSWERED),
	  .bare_lf = true,
	  .broken = true,
	  .nothing_read = true },
};

static int body_file(str body)
{
	int fd = sys_memfd("body");

	assert_true(fd >= 0);
	assert_int_equal(sys_write(fd, STR("before")), 0);
	assert_int_equal(sys_write(fd, body), 0);
	return fd;
}

static void set_up(const struct transaction_case *k, struct handover *h, struct arena *arena)
{
	str body = k->bare_lf ? STR("a\n.\r\nb\r\n") : STR(BODY);

	*h = (struct handover){ .reverse_path = str_of(k->from ? k->from : "s@x"),
				.body_8bitmime = k->eightbit,
				.received = STR(RECEIVED),
				.body_fd = body_file(body),
				.body_offset = 6,
				.body_bytes = body.n + (k->short_body ? 1 : 0),
				.body_crc32c = crc32c(0, body) ^ (k->wrong_crc ? 1 : 0),
				.recipient_count = strlen(k->recipients),
				.arena = arena,
				.reply_bytes_max = 200 };
	h->recipients = ARENA_ARRAY(arena, struct handover_recipient, h->recipient_count);
	for (size_t i = 0; i < h->recipient_count; i++)
		h->recipients[i].address = str_of(arena_sprintf(arena, "%c@y", k->recipients[i]));
}

static void check(const struct transaction_case *k, const struct conn *c, const struct handover *h,
		  const struct fake_server *server)
{
	static const char letters[] = "NDFRAC";
	str reply = h->recipients[h->recipient_count - 1].reply;
	bool delivered = strchr(k->outcomes, 'D');

	if (server->wrong[0])
		fail_msg("%s: %s", k->requirement, server->wrong);
	if (h->attempt != k->attempt)
		fail_msg("%s: attempt %d, %s", k->requirement, (int)h->attempt, h->text);
	for (size_t i = 0; i < h->recipient_count; i++) {
		if (letters[h->recipients[i].outcome] != k->outcomes[i])
			fail_msg("%s: recipient %zu %c, %s", k->requirement, i,
				 letters[h->recipients[i].outcome], h->text);
	}
	if (k->text && !strstr(h->text, k->text))
		fail_msg("%s: text %s", k->requirement, h->text);
	if (k->reply && !str_eq(reply, str_of(k->reply)))
		fail_msg("%s: reply %.*s", k->requirement, STR_ARG(reply));
	if (h->stale != k->stale || c->broken != k->broken || c->reset_first != k->still_open)
		if (!k->broken || !c->broken || h->stale != k->stale)
			fail_msg("%s: stale %d, broken %d, open %d", k->requirement, h->stale,
				 c->broken, c->reset_first);
	if (delivered && !str_eq(buf_str(&server->body), STR(RECEIVED BODY)))
		fail_msg("%s: body %.*s", k->requirement, STR_ARG(buf_str(&server->body)));
	if (k->nothing_read && server->body.n > 0)
		fail_msg("%s: a body arrived", k->requirement);
	assert_true(!!(h->notes & NOTE_8BIT_AS_IS) ==
		    (k->eightbit && !ehlo_offers(&c->ehlo, EHLO_8BITMIME)));
}

static void transaction_task(struct task *tk, void *arg)
{
	const struct transaction_case *k = arg;
	struct conn_peer peer = { STR("mx.example:25"), STR("mx.example"), STR("192.0.2.1:25") };
	struct fake_server server;
	struct handover h;
	struct arena arena;
	struct conn *c;
	int fd = fake_server_start(task_loop(tk), &server, k->script, NULL);

	arena_init(&arena, 100000);
	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	if (conn_open(tk, c, "locum.example", &patient, NULL) != CONN_READY)
		fail_msg("%s: %s", k->requirement, c->why);
	task_sleep(tk, NSEC_MS); /* a server that closes has closed */
	c->limits = k->impatient ? &hasty : &patient;
	c->reused = k->reused;
	c->reset_first = k->reset_first;
	if (k->forwards) {
		assert_int_equal(stream_write(tk, &c->stream, STR("XFORWARD ADDR=192.0.2.7\r\n"),
					      task_in(tk, NSEC_S)),
				 0);
		c->forwards = 1;
	}
	set_up(k, &h, &arena);
	transaction_run(tk, c, &h);
	sys_close(h.body_fd);
	check(k, c, &h, &server);
	conn_free(c);
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&server);
	arena_done(&arena);
}

static void dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		fake_run(transaction_task, (void *)&cases[i]);
}

/* --- bodies larger than a chunk --- */

struct big_case {
	const char *requirement;
	const char *script[16];
	Locum__Outcome outcome;
	Locum__Attempt attempt;
	const char *text;
	bool wrong_crc, hasty;
};

static const struct big_case big_cases[] = {
	{ "a body of many chunks arrives as it is",
	  { TAKEN, "dot", OK },
	  LOCUM__OUTCOME__OUTCOME_DELIVERED,
	  ANSWERED },
	{ "a connection lost in the body defers the message",
	  { TAKEN, "cut" },
	  LOCUM__OUTCOME__OUTCOME_DEFERRED,
	  LOST,
	  "connection lost at the message" },
	{ "a host that says why before it hangs up in the body is heard",
	  { TAKEN, ">552 5.3.4 too big", "cut" },
	  LOCUM__OUTCOME__OUTCOME_REFUSED,
	  ANSWERED,
	  "552 5.3.4 too big" },
	{ "a host that says 421 and hangs up in the body is heard",
	  { TAKEN, ">421 closing", "cut" },
	  LOCUM__OUTCOME__OUTCOME_DEFERRED,
	  REFUSING,
	  "421 closing" },
	{ "a host that does not read has a limit for each block",
	  { TAKEN, "=0", "stall" },
	  LOCUM__OUTCOME__OUTCOME_DEFERRED,
	  LOST,
	  "no answer in time at the message",
	  .hasty = true },
	{ "a wrong checksum of a large body keeps the final dot back",
	  { TAKEN, "mute" },
	  LOCUM__OUTCOME__OUTCOME_CORRUPT,
	  ANSWERED,
	  "checksum",
	  .wrong_crc = true },
};

static void big_task(struct task *tk, void *arg)
{
	const struct big_case *k = arg;
	struct conn_peer peer = { STR("d"), STR("mx.example"), STR("192.0.2.1:25") };
	struct transaction_case base = { .recipients = "a" };
	struct fake_server server;
	struct handover h;
	struct arena arena;
	struct buf body;
	struct conn *c;
	int fd = fake_server_start(task_loop(tk), &server, k->script, NULL);

	arena_init(&arena, 100000);
	buf_init(&body, FAKE_BODY_MAX);
	for (int i = 0; body.n < 1000 * 1000; i++)
		assert_int_equal(buf_addf(&body, "%s%d\r\n", i % 3 ? "line " : ".", i), 0);
	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	assert_int_equal(conn_open(tk, c, "locum.example", &patient, NULL), CONN_READY);
	c->limits = k->hasty ? &hasty : &patient;
	set_up(&base, &h, &arena);
	sys_close(h.body_fd);
	h.body_fd = body_file(buf_str(&body));
	h.body_bytes = body.n;
	h.body_crc32c = crc32c(0, buf_str(&body)) ^ (k->wrong_crc ? 1 : 0);
	transaction_run(tk, c, &h);
	if (server.wrong[0] || h.recipients[0].outcome != k->outcome || h.attempt != k->attempt)
		fail_msg("%s: %d, %s; %s", k->requirement, (int)h.recipients[0].outcome, h.text,
			 server.wrong);
	if (k->text && !strstr(h.text, k->text))
		fail_msg("%s: %s", k->requirement, h.text);
	if (k->outcome == LOCUM__OUTCOME__OUTCOME_DELIVERED) {
		str got = buf_str(&server.body);

		assert_true(str_eq(str_from(got, sizeof(RECEIVED) - 1), buf_str(&body)));
	}
	sys_close(h.body_fd);
	conn_free(c);
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&server);
	buf_done(&body);
	arena_done(&arena);
}

static void big_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(big_cases); i++)
		fake_run(big_task, (void *)&big_cases[i]);
}

/* --- many recipients --- */

#define MANY 6000

static void many_server(struct task *tk, void *arg)
{
	struct fake_server *s = arg;
	nsec deadline = task_in(tk, FAKE_WAIT);
	str line;

	stream_write(tk, &s->stream, STR("220 mx\r\n"), deadline);
	stream_flush(tk, &s->stream, deadline);
	while (stream_line(tk, &s->stream, 1000, deadline, &line) >= 0) {
		bool data = str_eq(line, STR("DATA"));

		stream_write(tk, &s->stream,
			     str_starts(line, STR("EHLO")) ? STR("250-mx\r\n250 PIPELINING\r\n")
			     : data                        ? STR("354 go\r\n")
				    : STR("250 this reply is long enough to fill"
					  " a socket if nobody reads it\r\n"),
			     deadline);
		s->steps_done++;
		stream_flush(tk, &s->stream, deadline);
		if (data) {
			assert_int_equal(fake_read_body(tk, s), 0);
			stream_write(tk, &s->stream, STR("250 ok\r\n"), deadline);
			stream_flush(tk, &s->stream, deadline);
		}
	}
	stream_done(&s->stream);
	s->ended = true;
}

static void many_task(struct task *tk, void *arg)
{
	struct conn_peer peer = { STR("d"), STR("mx.example"), STR("192.0.2.1:25") };
	struct transaction_case base = { .recipients = "a" };
	struct fake_server server = { 0 };
	struct handover h;
	struct arena arena;
	struct conn *c;
	int fd[2];

	(void)arg;
	arena_init(&arena, 4000000);
	buf_init(&server.body, 10000);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(stream_init(&server.stream, task_loop(tk), fd[1], 128 * 1024, 1024), 0);
	assert_int_equal(task_start(task_loop(tk), NULL, "many", many_server, &server), 0);
	assert_int_equal(conn_new(task_loop(tk), fd[0], &peer, &c), 0);
	assert_int_equal(conn_open(tk, c, "locum.example", &patient, NULL), CONN_READY);
	set_up(&base, &h, &arena);
	h.recipient_count = MANY;
	h.recipients = ARENA_ARRAY(&arena, struct handover_recipient, MANY);
	for (int i = 0; i < MANY; i++)
		h.recipients[i].address = str_of(arena_sprintf(&arena, "recipient%d@y.example", i));
	transaction_run(tk, c, &h);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(h.recipients[i].outcome, LOCUM__OUTCOME__OUTCOME_DELIVERED);
	assert_int_equal(server.steps_done, 1 + 1 + MANY + 1);
	sys_close(h.body_fd);
	conn_free(c);
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&server);
	arena_done(&arena);
}

static void many_recipients_are_asked_in_batches(void **state)
{
	(void)state;
	fake_run(many_task, NULL);
}

/* --- an address that would be a command --- */

static void injection_task(struct task *tk, void *arg)
{
	static const char *const script[] = { PIPE, NULL };
	static const char *const addresses[] = { "a@y>\r\nDATA", "a@y\n",   "a>b@y",
						 "a\x7f@y",      "",        "\"a@y",
						 "\"a\\\"@y",    "\"a\">@y" };
	struct conn_peer peer = { STR("d"), STR("mx.example"), STR("192.0.2.1:25") };
	struct transaction_case base = { .recipients = "ab" };
	struct fake_server server;
	struct handover h;
	struct arena arena;
	struct conn *c;
	int fd = fake_server_start(task_loop(tk), &server, script, NULL);

	(void)arg;
	arena_init(&arena, 100000);
	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	assert_int_equal(conn_open(tk, c, "locum.example", &patient, NULL), CONN_READY);
	for (size_t i = 0; i < ELEMENTS(addresses); i++) {
		set_up(&base, &h, &arena);
		h.recipients[1].address = str_of(addresses[i]);
		transaction_run(tk, c, &h);
		assert_int_equal(h.recipients[0].outcome, LOCUM__OUTCOME__OUTCOME_CORRUPT);
		sys_close(h.body_fd);
	}
	conn_free(c);
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	assert_string_equal(server.wrong, "");
	fake_server_done(&server);
	arena_done(&arena);
}

static void an_address_with_a_line_end_is_never_sent(void **state)
{
	(void)state;
	fake_run(injection_task, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dialogues),
		cmocka_unit_test(big_bodies),
		cmocka_unit_test(many_recipients_are_asked_in_batches),
		cmocka_unit_test(an_address_with_a_line_end_is_never_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
