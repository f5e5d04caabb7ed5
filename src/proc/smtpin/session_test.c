/*
 * Dialogues with a spoold that answers as told. Those with a primary are in live_test.c; what needs real sockets, TLS or
 * other processes is in tests/golden.
 */
#include "proc/smtpin/testing.h"

static const struct {
	const char *name, *input, *codes, *says; /* a piece of a reply, or NULL */
	unsigned appended;
} cases[] = {
	{ "a message is taken", HELLO ENVELOPE "DATA\r\n" MESSAGE ".\r\nQUIT\r\n",
	  "220 250 250 250 354 250 221", "250 2.0.0 Ok: queued as 0", 1 },
	{ "several in one session", HELLO ENVELOPE "DATA\r\n.\r\n" ENVELOPE "DATA\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 250 250 250 354 250 221", NULL, 2 },
	{ "HELO will do", "HELO c\r\n" ENVELOPE "DATA\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 250 221", "250 mx2.example.net", 1 },
	{ "EHLO offers no STARTTLS without a certificate", HELLO "STARTTLS\r\nQUIT\r\n",
	  "220 250 502 221", "250-SIZE 65536\n250-8BITMIME\n250-CHUNKING\n", 0 },
	{ "MAIL before EHLO is refused", "MAIL FROM:<>\r\nQUIT\r\n", "220 503 221", "503 5.5.1",
	  0 },
	{ "RCPT before MAIL is refused", HELLO "RCPT TO:<a@ours.example>\r\nQUIT\r\n",
	  "220 250 503 221", "503 5.5.1", 0 },
	{ "DATA before MAIL is refused", HELLO "DATA\r\nQUIT\r\n", "220 250 503 221", NULL, 0 },
	{ "DATA before RCPT is refused", HELLO "MAIL FROM:<>\r\nDATA\r\nQUIT\r\n",
	  "220 250 250 554 221", "554 5.5.1 No valid", 0 },
	{ "MAIL in a transaction is refused", HELLO "MAIL FROM:<>\r\nMAIL FROM:<>\r\nQUIT\r\n",
	  "220 250 250 503 221", NULL, 0 },
	{ "RSET ends the transaction", HELLO ENVELOPE "RSET\r\nDATA\r\nQUIT\r\n",
	  "220 250 250 250 250 503 221", NULL, 0 },
	{ "EHLO ends the transaction", HELLO ENVELOPE HELLO "DATA\r\nQUIT\r\n",
	  "220 250 250 250 250 503 221", NULL, 0 },
	{ "the end of data ends the transaction", HELLO ENVELOPE "DATA\r\n.\r\nDATA\r\nQUIT\r\n",
	  "220 250 250 250 354 250 503 221", NULL, 1 },
	{ "a refused recipient does not spoil the others",
	  HELLO ENVELOPE "RCPT TO:<x@other.example>\r\nDATA\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 550 354 250 221", "550 5.7.1", 1 },
	{ "recipients past the limit are deferred",
	  HELLO "MAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nRCPT TO:<b@ours.example>\r\n"
		"RCPT TO:<c@ours.example>\r\nRCPT TO:<d@ours.example>\r\nDATA\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 250 250 452 354 250 221", "452 4.5.3", 1 },
	{ "a message announced too large is refused", HELLO "MAIL FROM:<> SIZE=65537\r\nQUIT\r\n",
	  "220 250 552 221", "552 5.3.4", 0 },
	{ "what is pipelined behind a refused MAIL is refused",
	  HELLO "MAIL FROM:<> SIZE=65537\r\nRCPT TO:<a@ours.example>\r\nDATA\r\nQUIT\r\n",
	  "220 250 552 503 503 221", "503 5.5.1 MAIL was refused", 0 },
	{ "a bare LF in the body is refused at its end",
	  HELLO ENVELOPE "DATA\r\na\nb\r\n.\r\nQUIT\r\n", "220 250 250 250 354 550 221",
	  "550 5.6.0", 0 },
	{ "a smuggled command is body",
	  HELLO ENVELOPE "DATA\r\na\n.\nMAIL FROM:<>\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 550 221", "550 5.6.0", 0 },
	{ "so many hops are a loop",
	  HELLO ENVELOPE "DATA\r\nReceived: 1\r\nReceived: 2\r\nReceived: 3\r\nReceived: 4\r\n"
			 "Received: 5\r\nReceived: 6\r\n\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 554 221", "554 5.4.6 Too many hops", 0 },
	{ "a message that was here for this recipient is a loop",
	  HELLO ENVELOPE "DATA\r\n" LOOP("for <A@Ours.example>") "\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 554 221", "554 5.4.6 Loop", 0 },
	{ "one that was here for another is not",
	  HELLO ENVELOPE "DATA\r\n" LOOP("for <z@ours.example>") "\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 250 221", NULL, 1 },
	{ "one that was here for this domain is",
	  HELLO ENVELOPE "DATA\r\n" LOOP("(for ours.example)") "\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 554 221", NULL, 0 },
	{ "one that was here for another domain is not",
	  HELLO ENVELOPE "DATA\r\n" LOOP("(for b.example)") "\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 354 250 221", NULL, 1 },
	{ "a message comes in chunks, a dot is a dot",
	  HELLO ENVELOPE "BDAT 7\r\n.\r\nab\r\nBDAT 0\r\nBDAT 3 LAST\r\n.\r\nQUIT\r\n",
	  "220 250 250 250 250 250 250 221", "250 2.0.0 Ok: queued as 0", 1 },
	{ "an empty last chunk ends a message", HELLO ENVELOPE "BDAT 0 LAST\r\nQUIT\r\n",
	  "220 250 250 250 250 221", "queued", 1 },
	{ "octets of a chunk are no commands, whatever becomes of it",
	  HELLO "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<>\r\nBDAT "
		"6\r\nQUIT\r\nNOOP\r\nQUIT\r\n",
	  "220 250 503 503 250 554 250 221", "554 5.5.1 No valid", 0 },
	{ "a chunk whose size is nonsense is the end", HELLO ENVELOPE "BDAT 6x\r\nQUIT\r\n",
	  "220 250 250 250 501", "501 5.5.4 The size", 0 },
	{ "one far too large as well", HELLO ENVELOPE "BDAT 131074\r\nQUIT\r\n",
	  "220 250 250 250 552", NULL, 0 },
	{ "RSET ends a message between two chunks",
	  HELLO ENVELOPE "BDAT 3\r\na\r\nRSET\r\nBDAT 3 LAST\r\nb\r\n" ENVELOPE
			 "BDAT 3 LAST\r\nc\r\nQUIT\r\n",
	  "220 250 250 250 250 250 503 250 250 250 221", NULL, 1 },
	{ "DATA and RCPT have no place between two chunks",
	  HELLO ENVELOPE
	  "BDAT 3\r\na\r\nDATA\r\nRCPT TO:<b@ours.example>\r\nBDAT 0 LAST\r\nQUIT\r\n",
	  "220 250 250 250 250 503 503 250 221", "503 5.5.1 BDAT has begun", 1 },
	{ "a bare LF is refused in its chunk, the rest is thrown away",
	  HELLO ENVELOPE "BDAT 3\r\na\nbBDAT 6 LAST\r\nQUIT\r\nNOOP\r\nQUIT\r\n",
	  "220 250 250 250 550 503 250 221", "550 5.6.0", 0 },
	{ "a CRLF may be cut by two chunks",
	  HELLO ENVELOPE "BDAT 2\r\na\rBDAT 3 LAST\r\n\nb.QUIT\r\n", "220 250 250 250 250 250 221",
	  "queued", 1 },
	{ "a CR at the very end is bare", HELLO ENVELOPE "BDAT 2 LAST\r\na\rQUIT\r\n",
	  "220 250 250 250 550 221", "550 5.6.0", 0 },
	{ "a loop is found in chunks as well",
	  HELLO ENVELOPE "BDAT 13\r\nReceived: 1\r\nBDAT 67 LAST\r\nReceived: 2\r\n"
			 "Received: 3\r\nReceived: 4\r\nReceived: 5\r\nReceived: 6\r\n\r\nQUIT\r\n",
	  "220 250 250 250 250 554 221", "554 5.4.6 Too many hops", 0 },
	{ "every simple command has its reply",
	  HELLO "NOOP\r\nVRFY a\r\nHELP\r\nEXPN a\r\nXYZZY\r\nNOOP a\nb\r\nQUIT\r\n",
	  "220 250 250 252 214 502 500 500 221", NULL, 0 },
};

static void check_case(size_t i)
{
	char got[600];

	codes(got, sizeof(got));
	if (strcmp(got, cases[i].codes))
		fail_msg("%s (%zu): %s", cases[i].name, world.chunk, got);
	if (cases[i].says && str_find(buf_str(&world.replies), str_of(cases[i].says)) < 0)
		fail_msg("%s: %.*s", cases[i].name, STR_ARG(buf_str(&world.replies)));
	if (world.appended != cases[i].appended)
		fail_msg("%s: %u appended", cases[i].name, world.appended);
	if (world.srv.counters.deferred_total != deferrals(got))
		fail_msg("%s: %ju deferred", cases[i].name,
			 (uintmax_t)world.srv.counters.deferred_total);
}

static void test_dialogues_in_any_pieces(void **state)
{
	static const size_t chunks[] = { 0, 1, 7 };

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		for (size_t c = 0; c < ELEMENTS(chunks); c++) {
			converse_with(cases[i].input, chunks[c]);
			check_case(i);
			forget();
		}
}

static void test_the_envelope_is_the_evidence(void **state)
{
	Locum__Envelope *e;

	(void)state;
	converse_with("EHLO [192.0.2.1]\r\nMAIL FROM:<s@c.example>\r\nRCPT TO:<A@Ours.Example>\r\n"
		      "RCPT TO:<postmaster>\r\nDATA\r\n..dots\r\n\xe9\r\n.\r\nQUIT\r\n",
		      0);
	assert_true(str_eq(buf_str(&world.body), STR(".dots\r\n\xe9\r\n")));
	e = locum__envelope__unpack(NULL, world.envelope.n, (uint8_t *)world.envelope.p);
	assert_non_null(e);
	assert_int_equal(e->id.len, 16);
	assert_true(str_eq(str_mem(e->reverse_path.data, e->reverse_path.len), STR("s@c.example")));
	assert_int_equal(e->n_recipients, 2);
	assert_true(str_eq(str_mem(e->recipients[0]->address.data, e->recipients[0]->address.len),
			   STR("A@Ours.Example")));
	assert_string_equal(e->recipients[0]->domain, "ours.example");
	assert_true(str_eq(str_mem(e->recipients[1]->address.data, e->recipients[1]->address.len),
			   STR("postmaster@ours.example")));
	assert_string_equal(e->client->address, "192.0.2.1");
	assert_int_equal(e->client->port, 4321);
	assert_true(str_eq(str_mem(e->client->helo.data, e->client->helo.len), STR("[192.0.2.1]")));
	assert_true(e->client->esmtp && e->body_8bitmime);
	assert_string_equal(e->client->listener, "mx");
	assert_string_equal(e->client->tls_version, "");
	assert_string_equal(e->hostname, "mx2.example.net");
	assert_true(e->arrived_wall > 0 && e->body_bytes == 10);
	locum__envelope__free_unpacked(e, NULL);
	forget();
}

/* Promise 1: no 250 unless spoold said that it is durable. */
static void test_250_only_when_it_is_stored(void **state)
{
	static const struct {
		const char *name;
		bool no_spoold;
		Locum__AppendResult result;
		const char *says;
	} spools[] = {
		{ "stored", false, LOCUM__APPEND_RESULT__APPENDED, "250 2.0.0 Ok: queued as" },
		{ "no space", false, LOCUM__APPEND_RESULT__APPEND_NO_SPACE, "452 4.3.1" },
		{ "failed", false, LOCUM__APPEND_RESULT__APPEND_FAILED, "451 4.3.0" },
		{ "known id", false, LOCUM__APPEND_RESULT__APPEND_DUPLICATE, "451 4.3.0" },
		{ "an answer that we do not know", false, 77, "451 4.3.0" },
		{ "spoold away", true, 0, "451 4.3.0" },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(spools); i++) {
		bool queued;

		world.no_spoold = spools[i].no_spoold;
		world.result = spools[i].result;
		converse_with(HELLO ENVELOPE "DATA\r\n" MESSAGE ".\r\nQUIT\r\n", 0);
		queued = str_find(buf_str(&world.replies), STR("queued")) >= 0;
		if (str_find(buf_str(&world.replies), str_of(spools[i].says)) < 0 ||
		    queued != (i == 0))
			fail_msg("%s: %.*s", spools[i].name, STR_ARG(buf_str(&world.replies)));
		assert_int_equal(world.srv.counters.deferred_total, i != 0);
		forget();
	}
}

static void test_a_spoold_that_is_being_replaced_is_waited_for(void **state)
{
	(void)state;
	world.spoold_late = true;
	converse_with(HELLO ENVELOPE "DATA\r\n" MESSAGE ".\r\nQUIT\r\n", 0);
	assert_true(str_find(buf_str(&world.replies), STR("queued")) >= 0);
	assert_int_equal(world.appended, 1);
	forget();
	world.spoold_goes = true;
	converse_with(HELLO ENVELOPE "DATA\r\n" MESSAGE ".\r\nQUIT\r\n", 0);
	assert_true(str_find(buf_str(&world.replies), STR("queued")) >= 0);
	assert_true(world.spoold_went);
	assert_int_equal(world.appended, 1);
	forget();
}

#define ALL (EHLO_SMTPUTF8 | EHLO_DSN | EHLO_REQUIRETLS | EHLO_BINARYMIME | EHLO_CHUNKING)
#define UTF8 "MAIL FROM:<\xc3\xbc@c.example> SMTPUTF8\r\n"
#define TO "RCPT TO:<a@ours.example>\r\n"

/* Capability parity: what the primaries take is offered, and nothing else. */
static const struct {
	const char *name;
	unsigned offers;
	uint64_t size;
	const char *input, *codes, *says;
} parities[] = {
	{ "what all primaries take is offered", ALL, 0, HELLO "QUIT\r\n", "220 250 221",
	  "250-BINARYMIME\n250-SMTPUTF8\n250-DSN\n250-LIMITS" },
	{ "REQUIRETLS in the clear is refused with a reason", ALL, 0,
	  HELLO "MAIL FROM:<> REQUIRETLS\r\nQUIT\r\n", "220 250 530 221", "530 5.7.10" },
	{ "nothing of it after HELO", ALL, 0, "HELO c\r\nMAIL FROM:<> SMTPUTF8\r\nQUIT\r\n",
	  "220 250 555 221", NULL },
	{ "an internationalised sender is taken with SMTPUTF8", EHLO_SMTPUTF8, 0,
	  HELLO UTF8 TO "RCPT TO:<\xc3\xbc@ours.example>\r\nBDAT 0 LAST\r\nQUIT\r\n",
	  "220 250 250 250 250 250 221", NULL },
	{ "and refused without", EHLO_SMTPUTF8, 0,
	  HELLO "MAIL FROM:<\xc3\xbc@c.example>\r\nQUIT\r\n", "220 250 553 221", "553 5.6.7" },
	{ "in RCPT too", EHLO_SMTPUTF8, 0,
	  HELLO "MAIL FROM:<>\r\nRCPT TO:<\xc3\xbc@ours.example>\r\nQUIT\r\n",
	  "220 250 250 553 221", NULL },
	{ "BINARYMIME brings what it is", ALL, 0,
	  HELLO "MAIL FROM:<> BODY=BINARYMIME\r\n" TO "DATA\r\nBDAT 4 LAST\r\na\nb\rQUIT\r\n",
	  "220 250 250 250 503 250 221", "503 5.5.1 BODY=BINARYMIME" },
	{ "DSN parameters are taken", ALL, 0,
	  HELLO "MAIL FROM:<> RET=HDRS ENVID=QQ1\r\nRCPT TO:<a@ours.example> NOTIFY=SUCCESS,DELAY "
		"ORCPT=rfc822;x@y.example\r\nBDAT 0 LAST\r\nQUIT\r\n",
	  "220 250 250 250 250 221", NULL },
	{ "a message that its recipient's primary does not take is refused to it", EHLO_SIZE, 1000,
	  HELLO "MAIL FROM:<> SIZE=2000\r\n" TO "RCPT TO:<b@b.example>\r\nQUIT\r\n",
	  "220 250 250 552 250 221", "250-SIZE 65536" },
	{ "unless announced: then at its end", EHLO_SIZE, 10,
	  HELLO "MAIL FROM:<>\r\n" TO "BDAT 11 LAST\r\n0123456789aQUIT\r\n",
	  "220 250 250 250 552 221", NULL },
};

static void test_offered_is_what_the_primaries_take(void **state)
{
	char got[100];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(parities); i++) {
		world.offers = parities[i].offers;
		world.offers_size = parities[i].size;
		converse_with(parities[i].input, 0);
		codes(got, sizeof(got));
		if (strcmp(got, parities[i].codes) ||
		    (parities[i].says &&
		     str_find(buf_str(&world.replies), str_of(parities[i].says)) < 0))
			fail_msg("%s: %s\n%.*s", parities[i].name, got,
				 STR_ARG(buf_str(&world.replies)));
		forget();
	}
}

static void test_too_large_is_read_to_its_end_and_refused(void **state)
{
	struct buf input;
	char got[100];

	(void)state;
	for (unsigned lines = 900; lines < 2300; lines += 600) {
		buf_init(&input, 1 << 20);
		assert_int_equal(buf_add(&input, STR(HELLO ENVELOPE "DATA\r\n")), 0);
		for (unsigned i = 0; i < lines; i++)
			assert_int_equal(buf_addf(&input, "%078u\r\n", i), 0);
		assert_int_equal(buf_add(&input, STR(".\r\nQUIT\r\n\0")), 0);
		converse_with(input.p, 1000);
		codes(got, sizeof(got));
		/* 72,000 bytes are more than 64 KiB, 168,000 more than twice as much: that one is cut off. */
		assert_string_equal(got, lines < 2000 ? "220 250 250 250 354 552 221"
						      : "220 250 250 250 354 552");
		assert_int_equal(world.appended, 0);
		forget();
		buf_done(&input);
	}
}

static void test_long_lines_and_many_mistakes(void **state)
{
	static const struct {
		const char *name, *start;
		size_t fill;
		const char *end, *codes;
	} lines[] = {
		{ "a long line is refused and survived", HELLO "NOOP ", 2000,
		  "\r\nNOOP\r\nQUIT\r\n", "220 250 500 250 221" },
		{ "also one of 60,000 bytes", HELLO "NOOP ", 60000, "\r\nNOOP\r\nQUIT\r\n",
		  "220 250 500 250 221" },
		{ "one without end is the session's end", HELLO "NOOP ", 200000,
		  "\r\nNOOP\r\nQUIT\r\n", "220 250 421" },
	};
	struct buf input;
	char got[1000];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(lines); i++) {
		buf_init(&input, 1 << 20);
		assert_int_equal(buf_add(&input, str_of(lines[i].start)), 0);
		for (size_t n = 0; n < lines[i].fill; n++)
			assert_int_equal(buf_add_byte(&input, 'x'), 0);
		assert_int_equal(buf_add(&input, str_mem(lines[i].end, strlen(lines[i].end) + 1)),
				 0);
		converse_with(input.p, 3001);
		codes(got, sizeof(got));
		if (strcmp(got, lines[i].codes))
			fail_msg("%s: %s", lines[i].name, got);
		forget();
		buf_done(&input);
	}
	buf_init(&input, 1 << 20);
	for (unsigned i = 0; i < 120; i++)
		assert_int_equal(buf_addf(&input, "NONSENSE\r\n"), 0);
	assert_int_equal(buf_add(&input, STR("\0")), 0);
	world.known_good = true; /* whom nothing delays */
	converse_with(input.p, 0);
	assert_int_equal(world.lasted, LINGERS);
	codes(got, sizeof(got));
	assert_int_equal(strlen(got), 3 + 100 * 4 + 4);
	assert_string_equal(got + strlen(got) - 7, "500 421");
	forget();
	buf_done(&input);
}

#define MISTAKE "NONSENSE\r\n"
#define UNKNOWN "RCPT TO:<x@elsewhere.example>\r\n"
#define ROUTED "RCPT TO:<x%elsewhere.example@ours.example>\r\n"

static void test_guessing_takes_time(void **state)
{
	static const struct {
		const char *name, *input, *codes;
		bool stressed, shut_down;
		nsec lasts;
	} clients[] = {
		{ "five are free", MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE "QUIT\r\n",
		  "220 500 500 500 500 500 221", false, false, 0 },
		{ "two more take 750 ms",
		  MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE "QUIT\r\n",
		  "220 500 500 500 500 500 500 500 221", false, false, 750 * NSEC_MS },
		{ "unknown recipients are guesses as well",
		  HELLO "MAIL FROM:<>\r\n" UNKNOWN UNKNOWN MISTAKE MISTAKE MISTAKE MISTAKE
			"QUIT\r\n",
		  "220 250 250 550 550 500 500 500 500 221", false, false, 250 * NSEC_MS },
		{ "so are those that say a way on",
		  HELLO "MAIL FROM:<>\r\n" ROUTED ROUTED MISTAKE MISTAKE MISTAKE MISTAKE "QUIT\r\n",
		  "220 250 250 550 550 500 500 500 500 221", false, false, 250 * NSEC_MS },
		{ "not under stress",
		  MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE
		  "QUIT\r\n",
		  "220 500 500 500 500 500 500 500 500 500 500 221", true, false, 0 },
		{ "the end comes at once", MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE MISTAKE,
		  "220 500 500 500 500 500 421", false, true, MOMENT },
	};
	char got[200];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(clients); i++) {
		world.stressed = clients[i].stressed;
		world.shut_down = clients[i].shut_down;
		converse_with(clients[i].input, 0);
		codes(got, sizeof(got));
		if (strcmp(got, clients[i].codes) || world.lasted != clients[i].lasts)
			fail_msg("%s: %s in %lld ms", clients[i].name, got,
				 (long long)(world.lasted / NSEC_MS));
		forget();
	}
}

#define FOUR(x) x x x x
#define TWENTY(x) FOUR(x) FOUR(x) FOUR(x) FOUR(x) FOUR(x)

static void test_who_hammers_past_its_rate_is_sent_away(void **state)
{
	char got[400];

	(void)state;
	converse_with(HELLO "MAIL FROM:<>\r\n" FOUR(UNKNOWN) TWENTY(UNKNOWN) UNKNOWN "QUIT\r\n", 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250" FOUR(" 550") TWENTY(" 450") " 421");
	assert_true(str_find(buf_str(&world.replies), STR("421 4.7.0 Too much from")) >= 0);
	forget();
	/* A way on from our domain is as unknown. */
	converse_with(HELLO "MAIL FROM:<>\r\n" FOUR(ROUTED) TWENTY(ROUTED) ROUTED "QUIT\r\n", 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250" FOUR(" 550") TWENTY(" 450") " 421");
	forget();
	/* What it has begun it may end; then it is over. */
	converse_with(HELLO ENVELOPE FOUR(UNKNOWN) TWENTY(UNKNOWN) UNKNOWN
		      "DATA\r\n.\r\nMAIL FROM:<>\r\n" UNKNOWN "QUIT\r\n",
		      0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 250" FOUR(" 550")
					 TWENTY(" 450") " 450 354 250 250 450 421");
	assert_int_equal(world.appended, 1);
	forget();
}

static void test_shutdown_spares_transactions(void **state)
{
	char got[100];

	(void)state;
	world.shut_down = true;
	converse_with(HELLO, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 421");
	assert_int_equal(world.lasted, MOMENT);
	forget();
	/* With patience it is not ended before that is over … */
	world.shut_down = true;
	world.patience = NSEC_S;
	converse_with(HELLO, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 421");
	assert_int_equal(world.lasted, MOMENT + NSEC_S);
	forget();
	/* … and where nobody is left nothing is waited for. */
	world.shut_down = true;
	world.patience = NSEC_MINUTE;
	converse_with(HELLO ENVELOPE "DATA\r\n.\r\nQUIT\r\n", 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 250 354 250 221");
	assert_int_equal(world.lasted, MOMENT);
	forget();
	/* A message that waits for the disk gets its reply, then the session ends. */
	world.shut_down = true;
	converse_with(HELLO ENVELOPE "DATA\r\n.\r\n", 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 250 354 250 421");
	assert_int_equal(world.appended, 1);
	forget();
}

static void test_a_session_brings_mail_or_ends(void **state)
{
	static const struct {
		nsec older;
		const char *input, *codes;
	} ages[] = {
		{ 29 * NSEC_MINUTE, HELLO "NOOP\r\nQUIT\r\n", "220 250 250 221" },
		{ 30 * NSEC_MINUTE, HELLO "NOOP\r\nQUIT\r\n", "220 250 421" },
		/* Who is about to leave is let go in peace. */
		{ 30 * NSEC_MINUTE, "QUIT\r\n", "220 221" },
		{ 29 * NSEC_MINUTE, HELLO ENVELOPE "DATA\r\n.\r\nQUIT\r\n",
		  "220 250 250 250 354 250 221" },
	};
	char got[100];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(ages); i++) {
		world.older = ages[i].older;
		converse_with(ages[i].input, 0);
		codes(got, sizeof(got));
		assert_string_equal(got, ages[i].codes);
		forget();
	}
}

static void test_no_mail_without_space(void **state)
{
	static const char input[] = HELLO "MAIL FROM:<>\r\nQUIT\r\n";
	char got[100];

	(void)state;
	world.spool_full = true;
	converse_with(input, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 452 221");
	forget();
	world.bodies_full = true;
	converse_with(input, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 452 221");
	forget();
}

/* A test that failed leaves its world behind. */
static int forget_all(void **state)
{
	(void)state;
	forget();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_dialogues_in_any_pieces, forget_all),
		cmocka_unit_test_setup(test_the_envelope_is_the_evidence, forget_all),
		cmocka_unit_test_setup(test_250_only_when_it_is_stored, forget_all),
		cmocka_unit_test_setup(test_a_spoold_that_is_being_replaced_is_waited_for,
				       forget_all),
		cmocka_unit_test_setup(test_offered_is_what_the_primaries_take, forget_all),
		cmocka_unit_test_setup(test_too_large_is_read_to_its_end_and_refused, forget_all),
		cmocka_unit_test_setup(test_long_lines_and_many_mistakes, forget_all),
		cmocka_unit_test_setup(test_guessing_takes_time, forget_all),
		cmocka_unit_test_setup(test_who_hammers_past_its_rate_is_sent_away, forget_all),
		cmocka_unit_test_setup(test_shutdown_spares_transactions, forget_all),
		cmocka_unit_test_setup(test_a_session_brings_mail_or_ends, forget_all),
		cmocka_unit_test_setup(test_no_mail_without_space, forget_all),
	};

	log_open("test", LOG_ERROR, LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
