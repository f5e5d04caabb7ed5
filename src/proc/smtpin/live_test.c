/* Transactions that the primary answers itself, with an smtpout that says what it is told to. */
#include "proc/smtpin/testing.h"

#include "proc/smtpin/live.h"

#define UP LOCUM__PRIMARY_STATE__PRIMARY_UP
#define DOWN LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE
#define REPLY LOCUM__LIVE_WAY__LIVE_REPLY
#define AWAY LOCUM__LIVE_WAY__LIVE_AWAY
#define AMBIGUOUS LOCUM__LIVE_WAY__LIVE_AMBIGUOUS
#define END_OF_SAID                                                                                \
	{                                                                                          \
		0                                                                                  \
	}
#define A "a@ours.example"
#define B "b@ours.example"
#define C "c@b.example"
#define RCPT(to) "RCPT TO:<" to ">\r\n"
#define FROM "MAIL FROM:<s@c.example>\r\n"
#define SEND "DATA\r\n" MESSAGE ".\r\n"
#define QUIT "QUIT\r\n"

/* The primary takes everybody and everything, unless told otherwise. */
#define TAKES(to)                                                                                  \
	{                                                                                          \
		to, REPLY, 250,                                                                    \
		{                                                                                  \
			"2.1.5 <" to "> is here"                                                   \
		}                                                                                  \
	}
#define TAKES_MESSAGE                                                                              \
	{                                                                                          \
		NULL, REPLY, 250,                                                                  \
		{                                                                                  \
			"2.0.0 Ok: queued as 4XYZ"                                                 \
		}                                                                                  \
	}

static const struct {
	const char *name;
	struct said said[5];
	Locum__PrimaryState state[2];
	uint64_t destination[2];
	const char *input, *codes, *says, *heard;
	unsigned appended, ambiguous;
} cases[] = {
	{ "the primary's words are the client's",
	  { TAKES(A), TAKES_MESSAGE },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "250 2.1.5 <a@ours.example> is here\n354 End data with <CR><LF>.<CR><LF>\n"
	  "250 2.0.0 Ok: queued as 4XYZ\n221",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  0,
	  0 },
	{ "one that was never seen is asked",
	  { TAKES(A), TAKES_MESSAGE },
	  { 0, 0 },
	  { 0, 0 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "queued as 4XYZ",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  0,
	  0 },
	{ "one that is down is not",
	  { TAKES(A), TAKES_MESSAGE },
	  { DOWN, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "250 2.1.5 Recipient ok\n354",
	  "",
	  1,
	  0 },
	{ "a refusal of several lines reaches the client, and smtpout hears of the end",
	  { { A,
	      REPLY,
	      550,
	      { "5.1.1 <a@ours.example>: User unknown", "5.1.1 in virtual table" } } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) "DATA\r\n" QUIT,
	  "220 250 250 550 554 221",
	  "550-5.1.1 <a@ours.example>: User unknown\n550 5.1.1 in virtual table\n554",
	  "1 from s@c.example to a@ours.example\n1 ends\n",
	  0,
	  0 },
	{ "recipients share the fate of the dot",
	  { TAKES(A), { B, REPLY, 450, { "4.2.0 Greylisted" } }, TAKES(C), TAKES_MESSAGE },
	  { UP, UP },
	  { 7, 7 },
	  HELLO FROM RCPT(A) RCPT(B) RCPT(C) SEND QUIT,
	  "220 250 250 250 450 250 354 250 221",
	  "450 4.2.0 Greylisted\n250 2.1.5 <c@b.example> is here",
	  "1 from s@c.example to a@ours.example\n1 to b@ours.example\n1 to c@b.example\n"
	  "1 sends 20 bytes to 2\n",
	  0,
	  0 },
	{ "the message is refused",
	  { TAKES(A), { NULL, REPLY, 554, { "5.7.1 Spam, score 17.3" } } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 554 221",
	  "554 5.7.1 Spam, score 17.3\n",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  0,
	  0 },
	{ "or put off",
	  { TAKES(A), { NULL, REPLY, 451, { "4.3.0 Try again" } } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 451 221",
	  "451 4.3.0 Try again\n",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  0,
	  0 },
	{ "what we refuse the primary never sees",
	  { TAKES(A), TAKES_MESSAGE },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) "DATA\r\na\nb\r\n.\r\n" QUIT,
	  "220 250 250 250 354 550 221",
	  "550 5.6.0",
	  "1 from s@c.example to a@ours.example\n1 ends\n",
	  0,
	  0 },
	{ "nor whom we do not know",
	  { TAKES(A), TAKES_MESSAGE },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT("x@other.example") RCPT("x%y@ours.example") QUIT,
	  "220 250 250 550 550 221",
	  NULL,
	  "",
	  0,
	  0 },
	{ "it fails at RCPT: to the spool",
	  { { A, AWAY } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "250 2.1.5 Recipient ok\n354",
	  "1 from s@c.example to a@ours.example\n1 ends\n",
	  1,
	  0 },
	{ "it fails at the second: the first stays taken",
	  { TAKES(A), { B, AWAY } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) RCPT(B) SEND QUIT,
	  "220 250 250 250 250 354 250 221",
	  "> is here\n250 2.1.5 Recipient ok\n354",
	  "1 from s@c.example to a@ours.example\n1 to b@ours.example\n1 ends\n",
	  1,
	  0 },
	{ "and is not asked again, for another domain of its either",
	  { { A, AWAY }, TAKES(B), TAKES(C) },
	  { UP, UP },
	  { 1, 1 },
	  HELLO FROM RCPT(A) RCPT(B) RCPT(C) SEND QUIT,
	  "220 250 250 250 250 250 354 250 221",
	  NULL,
	  "1 from s@c.example to a@ours.example\n1 ends\n",
	  1,
	  0 },
	{ "it fails at the message: to the spool",
	  { TAKES(A), { NULL, AWAY } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "250 2.0.0 Ok: queued as 0",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  1,
	  0 },
	{ "nobody knows whether it has the message: to the spool, which hears of it",
	  { TAKES(A), { NULL, AMBIGUOUS } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "250 2.0.0 Ok: queued as 0",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  1,
	  1 },
	{ "smtpout dies at RCPT",
	  { { .recipient = A, .dies = true } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) RCPT(B) SEND QUIT,
	  "220 250 250 250 250 354 250 221",
	  NULL,
	  "1 from s@c.example to a@ours.example\n",
	  1,
	  0 },
	{ "smtpout dies with the message",
	  { TAKES(A), { .dies = true } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  NULL,
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  1,
	  1 },
	{ "an answer that no primary may give is none",
	  { { A, REPLY, 354, { "go on" } } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "250 2.1.5 Recipient ok\n354",
	  "1 from s@c.example to a@ours.example\n1 ends\n",
	  1,
	  0 },
	{ "and to a message it may mean anything",
	  { TAKES(A), { NULL, REPLY, 421, { "4.3.2 bye" } } },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) SEND QUIT,
	  "220 250 250 250 354 250 221",
	  "250 2.0.0 Ok: queued as 0",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  1,
	  1 },
	{ "recipients of two primaries are two transactions",
	  { TAKES(A), TAKES(C), TAKES_MESSAGE },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) RCPT(C) SEND FROM RCPT(C) SEND QUIT,
	  "220 250 250 250 452 354 250 250 250 354 250 221",
	  "452 4.5.3 Recipients of another server",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n"
	  "2 from s@c.example to c@b.example\n2 sends 20 bytes to 1\n",
	  0,
	  0 },
	{ "one live, one whose primary is down: likewise",
	  { TAKES(A), TAKES_MESSAGE },
	  { UP, DOWN },
	  { 1, 2 },
	  HELLO FROM RCPT(A) RCPT(C) SEND FROM RCPT(C) SEND QUIT,
	  "220 250 250 250 452 354 250 250 250 354 250 221",
	  "queued as 4XYZ\n250 2.1.0 Sender ok\n250 2.1.5 Recipient ok\n",
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  1,
	  0 },
	{ "and the other way round",
	  { TAKES(A), TAKES_MESSAGE },
	  { UP, DOWN },
	  { 1, 2 },
	  HELLO FROM RCPT(C) RCPT(A) SEND QUIT,
	  "220 250 250 250 452 354 250 221",
	  NULL,
	  "",
	  1,
	  0 },
	{ "while nothing is taken there is still a choice",
	  { { A, REPLY, 550, { "5.1.1 no" } }, TAKES(C), TAKES_MESSAGE },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) RCPT(C) SEND QUIT,
	  "220 250 250 550 250 354 250 221",
	  NULL,
	  "1 from s@c.example to a@ours.example\n2 from s@c.example to c@b.example\n"
	  "2 sends 20 bytes to 1\n1 ends\n",
	  0,
	  0 },
	{ "the same recipient twice is asked once",
	  { TAKES(A), TAKES_MESSAGE },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) RCPT(A) SEND QUIT,
	  "220 250 250 250 250 354 250 221",
	  NULL,
	  "1 from s@c.example to a@ours.example\n1 sends 20 bytes to 1\n",
	  0,
	  0 },
	{ "RSET, EHLO and QUIT end what is live",
	  { TAKES(A) },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) "RSET\r\n" FROM RCPT(A) HELLO FROM RCPT(A) QUIT,
	  "220 250 250 250 250 250 250 250 250 250 221",
	  NULL,
	  "1 from s@c.example to a@ours.example\n2 from s@c.example to a@ours.example\n"
	  "3 from s@c.example to a@ours.example\n1 ends\n2 ends\n3 ends\n",
	  0,
	  0 },
	{ "a message in chunks is passed on at its end",
	  { TAKES(A), TAKES_MESSAGE },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) "BDAT 3\r\na\r\nBDAT 2 LAST\r\n\r\n" QUIT,
	  "220 250 250 250 250 250 221",
	  "queued as 4XYZ",
	  "1 from s@c.example to a@ours.example\n1 sends 5 bytes to 1\n",
	  0,
	  0 },
	{ "recipients past the limit are not asked",
	  { TAKES(A), TAKES(B), TAKES("d@ours.example") },
	  { UP, UP },
	  { 1, 2 },
	  HELLO FROM RCPT(A) RCPT(B) RCPT("d@ours.example") RCPT("e@ours.example") QUIT,
	  "220 250 250 250 250 250 452 221",
	  "452 4.5.3 Too many",
	  "1 from s@c.example to a@ours.example\n1 to b@ours.example\n1 to d@ours.example\n"
	  "1 ends\n",
	  0,
	  0 },
};

static void play(size_t i, size_t chunk)
{
	world.said = cases[i].said;
	memcpy(world.state, cases[i].state, sizeof(world.state));
	memcpy(world.destination, cases[i].destination, sizeof(world.destination));
	converse_with(cases[i].input, chunk);
}

static void check(size_t i)
{
	char got[600];

	codes(got, sizeof(got));
	if (strcmp(got, cases[i].codes) ||
	    (cases[i].says && str_find(buf_str(&world.replies), str_of(cases[i].says)) < 0))
		fail_msg("%s: %s\n%.*s", cases[i].name, got, STR_ARG(buf_str(&world.replies)));
	if (!str_eq(buf_str(&world.heard), str_of(cases[i].heard)))
		fail_msg("%s: smtpout heard\n%.*s", cases[i].name, STR_ARG(buf_str(&world.heard)));
	if (world.appended != cases[i].appended || world.ambiguous != cases[i].ambiguous)
		fail_msg("%s: %u appended, ambiguous %d", cases[i].name, world.appended,
			 world.ambiguous);
	if (world.srv.counters.deferred_total != deferrals(got))
		fail_msg("%s: %ju deferred", cases[i].name,
			 (uintmax_t)world.srv.counters.deferred_total);
}

static void test_live_dialogues_in_any_pieces(void **state)
{
	static const size_t chunks[] = { 0, 1, 7 };

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		for (size_t c = 0; c < ELEMENTS(chunks); c++) {
			play(i, chunks[c]);
			check(i);
			forget();
		}
}

static void live_to(const struct said *said)
{
	world.said = said;
	world.state[0] = world.state[1] = UP;
	world.destination[0] = 1;
	world.destination[1] = 2;
}

static const struct said takes_all[] = { TAKES(A), TAKES_MESSAGE, END_OF_SAID };

/* What the primary may have and what the spool delivers later is one message. */
static void test_the_spool_gets_it_under_the_same_id(void **state)
{
	static const struct said ambiguous[] = { TAKES(A), { NULL, AMBIGUOUS }, END_OF_SAID };
	Locum__Envelope *e;

	(void)state;
	live_to(ambiguous);
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	e = locum__envelope__unpack(NULL, world.envelope.n, (uint8_t *)world.envelope.p);
	assert_non_null(e);
	assert_memory_equal(e->id.data, &world.sent_id, sizeof(world.sent_id));
	assert_int_equal(e->n_recipients, 1);
	locum__envelope__free_unpacked(e, NULL);
	assert_true(str_eq(buf_str(&world.body), STR(MESSAGE)));
	forget();
}

/* Promise 1: neither here nor there, or nobody knows. */
static void test_no_250_when_neither_has_it_for_sure(void **state)
{
	static const struct {
		Locum__LiveWay way;
		Locum__AppendResult result;
		bool no_spoold;
		const char *says;
	} ends[] = {
		{ AMBIGUOUS, LOCUM__APPEND_RESULT__APPEND_NO_SPACE, false, "\n451 4.3.0" },
		{ AMBIGUOUS, LOCUM__APPEND_RESULT__APPEND_FAILED, false, "\n451 4.3.0" },
		{ AMBIGUOUS, 0, true, "\n451 4.3.0" },
		{ AWAY, LOCUM__APPEND_RESULT__APPEND_NO_SPACE, false, "\n452 4.3.1" },
		{ AWAY, 0, true, "\n451 4.3.0" },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(ends); i++) {
		/* LIVE_AWAY, which is 0, ends the script, and is what follows from that. */
		const struct said said[] = { TAKES(A), { NULL, ends[i].way }, END_OF_SAID };

		live_to(said);
		world.result = ends[i].result;
		world.no_spoold = ends[i].no_spoold;
		converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
		if (str_find(buf_str(&world.replies), str_of(ends[i].says)) < 0 ||
		    str_find(buf_str(&world.replies), STR("queued")) >= 0)
			fail_msg("%zu: %.*s", i, STR_ARG(buf_str(&world.replies)));
		forget();
	}
}

static void test_a_deadline_leads_to_the_spool(void **state)
{
	static const struct said silent[] = { { .recipient = A, .none = true }, END_OF_SAID };
	static const struct said silent_then[] = { TAKES(A), { .none = true }, END_OF_SAID };
	static const struct said slow[] = {
		{ A, REPLY, 250, { "2.1.5 ok" }, .after = LIVE_ASK_MAX - NSEC_S },
		{ NULL, REPLY, 250, { "2.0.0 at last" }, .after = LIVE_SEND_MAX - NSEC_S },
		END_OF_SAID,
	};
	/* The client has its answer from the spool when the late one comes. */
	static const struct said late[] = {
		{ A, REPLY, 550, { "5.1.1 no" }, .after = LIVE_ASK_MAX + NSEC_S }, END_OF_SAID
	};

	(void)state;
	live_to(silent);
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	assert_true(world.lasted >= LIVE_ASK_MAX && world.lasted < LIVE_ASK_MAX + NSEC_S);
	assert_true(world.appended == 1 && !world.ambiguous);
	assert_true(str_find(buf_str(&world.heard), STR("1 ends\n")) > 0);
	forget();
	live_to(silent_then);
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	assert_true(world.lasted >= LIVE_SEND_MAX && world.lasted < LIVE_SEND_MAX + NSEC_S);
	assert_true(world.appended == 1 && world.ambiguous);
	assert_true(str_find(buf_str(&world.heard), STR("1 ends\n")) > 0);
	forget();
	live_to(slow);
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	assert_int_equal(world.appended, 0);
	assert_true(str_find(buf_str(&world.replies), STR("2.0.0 at last")) > 0);
	forget();
	live_to(late);
	converse_with(HELLO FROM RCPT(A) PAUSE SEND QUIT, 0);
	assert_int_equal(world.appended, 1);
	assert_true(str_find(buf_str(&world.replies), STR("5.1.1")) < 0);
	forget();
}

/* The codes of the clients' world come when they are ready: not behind a primary that thinks. */
static void test_what_was_answered_goes_out_before_the_primary_is_asked(void **state)
{
	static const struct said slow[] = { { A, REPLY, 250, { "2.1.5 ok" }, .after = 20 * NSEC_S },
					    END_OF_SAID };

	static const struct said second_slow[] = {
		TAKES(A), { B, REPLY, 250, { "2.1.5 ok" }, .after = 20 * NSEC_S }, END_OF_SAID
	};
	static const struct said dot_slow[] = {
		TAKES(A), { NULL, REPLY, 250, { "2.0.0 ok" }, .after = 20 * NSEC_S }, END_OF_SAID
	};

	(void)state;
	live_to(slow);
	world.note_reply = "250 2.1.0";
	converse_with(HELLO FROM RCPT(A) QUIT, 0);
	assert_true(world.noted_at < NSEC_S && world.lasted >= 20 * NSEC_S);
	forget();
	live_to(second_slow);
	world.note_reply = "250 2.1.5 <a@";
	converse_with(HELLO FROM RCPT(A) RCPT(B) QUIT, 0);
	assert_true(world.noted_at && world.noted_at < NSEC_S && world.lasted >= 20 * NSEC_S);
	forget();
	/* A message that thinks it over, behind a recipient that was pipelined with it. */
	live_to(dot_slow);
	world.note_reply = "354";
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	assert_true(world.noted_at && world.noted_at < NSEC_S && world.lasted >= 20 * NSEC_S);
	forget();
}

static void test_who_brings_mail_that_the_primary_takes_is_known_as_good(void **state)
{
	static const struct said refuses[] = { TAKES(A),
					       { NULL, REPLY, 554, { "5.7.1 Spam" } },
					       END_OF_SAID };

	(void)state;
	live_to(takes_all);
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	assert_true(world.was_good);
	assert_true(world.messages_rate > 0.5);
	forget();
	live_to(refuses);
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	assert_false(world.was_good);
	assert_true(world.messages_rate < 0.5);
	assert_int_equal(world.srv.counters.refused_total, 1);
	forget();
}

#define GUESS(name)                                                                                \
	{                                                                                          \
		name "@ours.example", REPLY, 550,                                                  \
		{                                                                                  \
			"5.1.1 User unknown"                                                       \
		}                                                                                  \
	}
#define BLOCK(name)                                                                                \
	{                                                                                          \
		name "@ours.example", REPLY, 550,                                                  \
		{                                                                                  \
			"5.7.1 You are on a blocklist"                                             \
		}                                                                                  \
	}

static void test_guesses_that_the_primary_refuses_are_guesses(void **state)
{
	static const struct said guesses[] = { GUESS("u"), GUESS("v"), GUESS("w"), GUESS("x"),
					       GUESS("y"), GUESS("z"), END_OF_SAID };
	static const struct said blocks[] = { BLOCK("u"), BLOCK("v"), BLOCK("w"), BLOCK("x"),
					      BLOCK("y"), BLOCK("z"), END_OF_SAID };
	static const char input[] =
		HELLO FROM RCPT("u@ours.example") RCPT("v@ours.example") RCPT("w@ours.example")
			RCPT("x@ours.example") RCPT("y@ours.example") RCPT("z@ours.example") QUIT;
	char got[100];

	(void)state;
	live_to(guesses);
	world.conf = CONF_PATIENT;
	converse_with(input, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 550 550 550 550 550 550 221");
	assert_int_equal(world.lasted, 250 * NSEC_MS);
	assert_true(world.unknown_rate > 5);
	forget();
	live_to(blocks);
	world.conf = CONF_PATIENT;
	converse_with(input, 0);
	assert_int_equal(world.lasted, 0);
	assert_true(world.unknown_rate < 1);
	forget();
}

#define DEFERRED "\n451 4.7.1 The server of better preference is up: please use it\n"
#define TRY FROM RCPT(A) "RSET\r\n"

static void test_defer_takes_who_keeps_coming_back(void **state)
{
	char got[200];

	(void)state;
	live_to(takes_all);
	world.conf = CONF_DEFER;
	converse_with(HELLO TRY TRY TRY PAUSE "NOOP\r\n" PAUSE TRY PAUSE FROM RCPT(A) SEND QUIT, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 451 250 250 451 250 250 451 250 250 250 451 250 "
				 "250 250 354 250 221");
	assert_true(str_find(buf_str(&world.replies), STR(DEFERRED)) > 0);
	assert_true(str_find(buf_str(&world.replies), STR("queued as 4XYZ")) > 0);
	assert_true(str_eq(buf_str(&world.heard), STR("1 from s@c.example to a@ours.example\n"
						      "1 sends 20 bytes to 1\n")));
	forget();
	/* Whom we know need not wait. */
	live_to(takes_all);
	world.conf = CONF_DEFER;
	world.known_good = true;
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 250 354 250 221");
	assert_int_equal(world.appended, 0);
	forget();
	/* Nor anybody while it is not up. */
	for (int i = 0; i < 2; i++) {
		live_to(takes_all);
		world.conf = CONF_DEFER;
		world.state[0] = i ? DOWN : 0;
		converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
		codes(got, sizeof(got));
		assert_string_equal(got, "220 250 250 250 354 250 221");
		assert_int_equal(world.appended, 1);
		assert_int_equal(world.heard.n, 0);
		forget();
	}
}

static void test_queue_asks_nobody(void **state)
{
	(void)state;
	live_to(takes_all);
	world.conf = CONF_QUEUE;
	converse_with(HELLO FROM RCPT(A) SEND QUIT, 0);
	assert_int_equal(world.appended, 1);
	assert_int_equal(world.heard.n, 0);
	forget();
}

static void test_shutdown_waits_for_the_primary(void **state)
{
	static const struct said slow[] = {
		TAKES(A), { NULL, REPLY, 250, { "2.0.0 taken" }, .after = 20 * NSEC_S }, END_OF_SAID
	};
	static const struct said too_slow[] = {
		{ A, REPLY, 250, { "2.1.5 ok" }, .after = 29 * NSEC_S },
		{ NULL, REPLY, 250, { "2.0.0 taken" }, .after = 20 * NSEC_S },
		END_OF_SAID
	};
	char got[100];

	(void)state;
	live_to(slow);
	world.shut_down = true;
	converse_with(HELLO FROM RCPT(A) SEND, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 250 354 250 421");
	assert_true(str_find(buf_str(&world.replies), STR("2.0.0 taken")) > 0);
	forget();
	/* Within a bound: then it is not taken, and the client knows. */
	live_to(too_slow);
	world.shut_down = true;
	converse_with(HELLO FROM RCPT(A) SEND, 0);
	codes(got, sizeof(got));
	assert_string_equal(got, "220 250 250 250 354 451 421");
	assert_int_equal(world.appended, 0);
	forget();
}

static int forget_all(void **state)
{
	(void)state;
	forget();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, forget_all)
		TEST(test_live_dialogues_in_any_pieces),
		TEST(test_the_spool_gets_it_under_the_same_id),
		TEST(test_no_250_when_neither_has_it_for_sure),
		TEST(test_a_deadline_leads_to_the_spool),
		TEST(test_what_was_answered_goes_out_before_the_primary_is_asked),
		TEST(test_who_brings_mail_that_the_primary_takes_is_known_as_good),
		TEST(test_guesses_that_the_primary_refuses_are_guesses),
		TEST(test_defer_takes_who_keeps_coming_back),
		TEST(test_queue_asks_nobody),
		TEST(test_shutdown_waits_for_the_primary),
	};

	log_open("test", LOG_ERROR, LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
