#include "proc/smtpout/introduce.h"

#include "proc/smtpout/fake_server.h"

#include <stdlib.h>

/*
 * One connection, on which clients are introduced one behind the other: a letter each for who it is.
 * Where the message may follow, MAIL is said, which the script expects in its place.
 */
struct introduce_case {
	const char *requirement;
	const char *script[48];
	struct {
		char who;
		enum introduced how;
		bool reset; /* a transaction is open before */
	} say[3];
	const char *why;  /* a part of c->why at the end */
	bool not_again;   /* XCLIENT is remembered to be refused */
	bool not_forward; /* XFORWARD is */
	bool pooled;      /* the connection comes from the pool */
};

#define OURS "<EHLO locum.example"
#define HELLO(offers) ">220 mx", OURS, ">250-mx", ">250 " offers
#define AGAIN(name, offers) ">220 mx again", "<EHLO " name, ">250-mx", ">250 " offers
#define MAIL "<MAIL FROM:<>", ">250 ok"
#define ALL "XCLIENT NAME ADDR PORT PROTO HELO LOGIN"
#define TELL_A                                                                                     \
	"<XCLIENT NAME=a.example PORT=4711 PROTO=ESMTP HELO=helo.a LOGIN=[UNAVAILABLE] ADDR=192."  \
	"0.2.7"
#define TELL_B                                                                                     \
	"<XCLIENT NAME=[UNAVAILABLE] PORT=25 PROTO=SMTP HELO=two+20words LOGIN=b+2Bb ADDR=IPV6:"   \
	"2001:db8::b"
#define TELL_C                                                                                     \
	"<XCLIENT NAME=[TEMPUNAVAIL] PORT=[UNAVAILABLE] PROTO=SMTP HELO=[UNAVAILABLE] "            \
	"LOGIN=[UNAVAILABLE] ADDR=[UNAVAILABLE]"
#define TEN "xxxxxxxxx."
#define LONG TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define FORWARD_A                                                                                  \
	"<XFORWARD NAME=a.example PORT=4711 PROTO=ESMTP HELO=helo.a SOURCE=REMOTE "                \
	"IDENT=00000000000000000000000000 ADDR=192.0.2.7"
#define FORWARD_OFFERED "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"

static const struct introduce_case cases[] = {
	{ "a host that offers neither is told nothing", { HELLO("SIZE"), MAIL }, { { 'a' } } },
	{ "XCLIENT, and the session starts anew with the client's own name",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL },
	  { { 'a' } } },
	{ "only what the host offers to hear is told",
	  { HELLO("XCLIENT ADDR HELO"), "<XCLIENT HELO=helo.a ADDR=192.0.2.7",
	    AGAIN("helo.a", "XCLIENT ADDR HELO"), MAIL },
	  { { 'a' } } },
	{ "a host that offers XCLIENT with nothing to hear is told nothing",
	  { HELLO("XCLIENT"), MAIL },
	  { { 'a' } } },
	{ "IPv6, what is not known, and values in xtext; a name that cannot be said stays ours",
	  { HELLO(ALL), TELL_B, AGAIN("locum.example", ALL), MAIL },
	  { { 'b' } } },
	{ "what nobody asked DNS about is not known now",
	  { HELLO(ALL), TELL_C, AGAIN("locum.example", ALL), MAIL },
	  { { 'c' } } },
	{ "the next message of the same client needs nothing more",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL, MAIL },
	  { { 'a' }, { 'a' } } },
	{ "another client is introduced anew, whole",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL, TELL_C, AGAIN("locum.example", ALL),
	    MAIL },
	  { { 'a' }, { 'c' } } },
	{ "an open transaction is ended first",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL, "<RSET", ">250 ok", TELL_C,
	    AGAIN("locum.example", ALL), MAIL },
	  { { 'a' }, { 'c', .reset = true } } },
	{ "but not for the same client: MAIL does that",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL, MAIL },
	  { { 'a' }, { 'a', .reset = true } } },
	{ "a host that does not offer it again needs a fresh connection for another client",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", "SIZE"), MAIL },
	  { { 'a' }, { 'c', INTRODUCE_ELSEWHERE } } },
	{ "but not for the same one",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", "SIZE"), MAIL, MAIL },
	  { { 'a' }, { 'a' } } },
	{ "who may not be told does not go as another",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL },
	  { { 'a' }, { 0, INTRODUCE_ELSEWHERE } } },
	{ "nor who may be told by XFORWARD only",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL },
	  { { 'a' }, { 'f', INTRODUCE_ELSEWHERE } } },
	{ "lines of at most 512 octets; the address comes in the last",
	  { HELLO("XCLIENT NAME ADDR HELO LOGIN"),
	    "<XCLIENT NAME=" LONG "example HELO=" LONG "example", AGAIN("locum.example", ALL),
	    "<XCLIENT LOGIN=" LONG "example ADDR=192.0.2.7", AGAIN(LONG "example", ALL), MAIL },
	  { { 'l' } } },

	{ "a host that refuses the command gets the message without, and is not asked again",
	  { HELLO(ALL), TELL_A, ">550 5.7.0 insufficient authorization", OURS, ">250-mx",
	    ">250 " ALL, MAIL, MAIL },
	  { { 'a' }, { 'c' } },
	  .not_again = true },
	{ "also with 4xx",
	  { HELLO(ALL), TELL_A, ">451 not now", OURS, ">250-mx", ">250 " ALL, MAIL },
	  { { 'a' } },
	  .not_again = true },
	{ "and XFORWARD is tried then",
	  { HELLO(ALL), TELL_A, ">502 what", OURS, ">250-mx", ">250 XFORWARD ADDR",
	    "<XFORWARD ADDR=192.0.2.7", ">250 ok", MAIL },
	  { { 'a' } },
	  .not_again = true },
	{ "one that refuses the second is not used half introduced",
	  { HELLO("XCLIENT NAME ADDR HELO LOGIN"), "<*XCLIENT NAME=", AGAIN("locum.example", ALL),
	    "<*XCLIENT LOGIN=", ">550 no", OURS, ">250 mx" },
	  { { 'l', INTRODUCE_ELSEWHERE } },
	  .not_again = true },
	{ "one that refuses another client is not used for him as the one before",
	  { HELLO(ALL), TELL_A, AGAIN("helo.a", ALL), MAIL, TELL_C, ">550 no", OURS, ">250 mx" },
	  { { 'a' }, { 'c', INTRODUCE_ELSEWHERE } },
	  .not_again = true },

	{ "a greeting that turns the client away is about the message",
	  { HELLO(ALL), TELL_A, ">554 5.7.1 a.example is not welcome", OURS,
	    ">503 5.7.0 access denied" },
	  { { 'a', INTRODUCE_JUDGED } },
	  "said to XCLIENT: 554 5.7.1 a.example is not welcome" },
	{ "also when the host hangs up behind it",
	  { HELLO(ALL), TELL_A, ">521 5.7.1 never", "close" },
	  { { 'a', INTRODUCE_JUDGED } },
	  "521 5.7.1 never" },
	{ "a name that is refused is about the message",
	  { HELLO(ALL), TELL_A, ">220 mx", "<EHLO helo.a", ">550 5.7.1 that is us" },
	  { { 'a', INTRODUCE_JUDGED } },
	  "said to EHLO: 550 5.7.1 that is us" },
	{ "421 to XCLIENT too: too many connections of that client, perhaps",
	  { HELLO(ALL), TELL_A, ">421 4.7.0 too many", "close" },
	  { { 'a', INTRODUCE_JUDGED } },
	  "421 4.7.0 too many" },
	{ "a host that hangs up on XCLIENT may mean the client",
	  { HELLO(ALL), TELL_A, "close" },
	  { { 'a', INTRODUCE_HUNG_UP } },
	  "connection lost at XCLIENT" },
	{ "nonsense is no greeting",
	  { HELLO(ALL), TELL_A, ">354 go on" },
	  { { 'a', INTRODUCE_LOST } },
	  "not SMTP at XCLIENT" },
	{ "a connection that died in the pool says nothing about the client",
	  { HELLO(ALL), "close" },
	  { { 'a', INTRODUCE_ELSEWHERE } },
	  .pooled = true },
	{ "nor does one that was closed there with 421",
	  { HELLO(ALL), ">421 idle", "close" },
	  { { 'a', INTRODUCE_ELSEWHERE } },
	  .pooled = true },
	{ "one that dies after the client was taken is about the client",
	  { HELLO(ALL), TELL_A, ">220 mx", "<EHLO helo.a", "close" },
	  { { 'a', INTRODUCE_HUNG_UP } },
	  "connection lost at EHLO",
	  .pooled = true },

	{ "XFORWARD where there is no XCLIENT, for every message",
	  { HELLO(FORWARD_OFFERED), FORWARD_A, ">250 ok", MAIL, FORWARD_A, ">250 ok", MAIL },
	  { { 'a' }, { 'a' } } },
	{ "behind a RSET, which would take it back",
	  { HELLO(FORWARD_OFFERED), FORWARD_A, ">250 ok", MAIL, "<RSET", ">250 ok", FORWARD_A,
	    ">250 ok", MAIL },
	  { { 'a' }, { 'a', .reset = true } } },
	{ "XCLIENT goes before it",
	  { ">220 mx", OURS, ">250-mx", ">250-XFORWARD ADDR", ">250 XCLIENT ADDR",
	    "<XCLIENT ADDR=192.0.2.7", AGAIN("helo.a", "XFORWARD ADDR"), MAIL },
	  { { 'a' } } },
	{ "unless only XFORWARD may be said",
	  { ">220 mx", OURS, ">250-mx", ">250-XFORWARD ADDR", ">250 XCLIENT ADDR",
	    "<XFORWARD ADDR=192.0.2.7", ">250 ok", MAIL },
	  { { 'f' } } },
	{ "or only XCLIENT", { HELLO(FORWARD_OFFERED), MAIL }, { { 'x' } } },
	{ "what a trusted server told us goes on",
	  { HELLO("XFORWARD NAME ADDR SOURCE"),
	    "<XFORWARD NAME=far.example SOURCE=LOCAL ADDR=192.0.2.7", ">250 ok", MAIL },
	  { { 't' } } },
	{ "two lines go with MAIL where there is PIPELINING",
	  { ">220 mx", OURS, ">250-mx", ">250-PIPELINING", ">250 " FORWARD_OFFERED,
	    "<*XFORWARD NAME=", "=2", "<XFORWARD ADDR=192.0.2.7", "=1", "<MAIL FROM:<>", ">250 ok",
	    ">250 ok", ">250 ok" },
	  { { 'l' } } },
	{ "but behind a RSET alone",
	  { ">220 mx", OURS, ">250-mx", ">250-PIPELINING", ">250 XFORWARD ADDR", "<RSET", ">250 ok",
	    "<XFORWARD ADDR=192.0.2.7", "=0", ">250 ok", MAIL },
	  { { 'a', .reset = true } } },
	{ "and one after the other without",
	  { HELLO(FORWARD_OFFERED), "<*XFORWARD NAME=", "=0", ">250 ok", "<XFORWARD ADDR=192.0.2.7",
	    ">250 ok", MAIL },
	  { { 'l' } } },
	{ "a host that refuses it gets the message without, and is not asked again",
	  { HELLO(FORWARD_OFFERED), FORWARD_A, ">550 no", MAIL, MAIL },
	  { { 'a' }, { 'a' } },
	  .not_forward = true },
	{ "421 to it is about the host",
	  { HELLO(FORWARD_OFFERED), FORWARD_A, ">421 busy" },
	  { { 'a', INTRODUCE_CLOSING } },
	  "said to XFORWARD: 421 busy" },
	{ "as is hanging up",
	  { HELLO(FORWARD_OFFERED), FORWARD_A, "close" },
	  { { 'a', INTRODUCE_LOST } },
	  "connection lost at XFORWARD" },
};

/* --- who they are --- */

static void fill_client(char who, Locum__Client *c)
{
	locum__client__init(c);
	switch (who) {
	case 'b':
		c->address = (char *)"2001:db8::b";
		c->port = 25;
		c->helo = (ProtobufCBinaryData){ 9, (uint8_t *)"two words" };
		c->login = (char *)"b+b";
		return;
	case 'c':
		return;
	default:
		c->address = (char *)"192.0.2.7";
		c->port = 4711;
		c->name = (char *)(who == 'l' ? LONG "example" : "a.example");
		c->helo = who == 'l' ? (ProtobufCBinaryData){ strlen(LONG "example"),
							      (uint8_t *)LONG "example" }
				     : (ProtobufCBinaryData){ 6, (uint8_t *)"helo.a" };
		c->login = (char *)(who == 'l' ? LONG "example" : "");
		c->esmtp = true;
	}
}

static const struct introduction *make_who(char who, struct arena *arena,
					   struct introduction *ret_who)
{
	static uint8_t id[16];
	static char *told[] = { (char *)"NAME=far.example", (char *)"SOURCE=LOCAL" };
	Locum__Envelope *e = ARENA_NEW(arena, Locum__Envelope);
	Locum__Client *c = ARENA_NEW(arena, Locum__Client);
	Locum__Symbol *s = ARENA_NEW(arena, Locum__Symbol);
	Locum__Symbol **symbols = ARENA_NEW(arena, Locum__Symbol *);

	if (!who)
		return NULL;
	locum__envelope__init(e);
	locum__symbol__init(s);
	fill_client(who, c);
	e->client = c;
	e->id = (ProtobufCBinaryData){ sizeof(id), id };
	if (who == 'b') {
		s->name = (char *)"no-reverse-name";
		symbols[0] = s;
		e->symbols = symbols;
		e->n_symbols = 1;
	}
	if (who == 't') {
		e->forwarded = told;
		e->n_forwarded = ELEMENTS(told);
	}
	assert_int_equal(introduction_make(e, arena, ret_who), 0);
	ret_who->xclient = who != 'f';
	ret_who->xforward = who != 'x';
	return ret_who;
}

/* --- running them --- */

struct world {
	const struct introduce_case *k;
	struct fake_server server;
	struct introduce_refusals refusals;
};

static const struct conn_limits patient = { .greeting = 5 * NSEC_S, .command = 5 * NSEC_S };

/* What waits leaves with it. */
static bool mail_is_taken(struct task *tk, struct conn *c)
{
	nsec deadline = task_in(tk, 5 * NSEC_S);
	int r = stream_write(tk, &c->stream, STR("MAIL FROM:<>\r\n"), deadline);

	if (r == 0)
		r = stream_flush(tk, &c->stream, deadline);
	for (; c->forwards > 0 && r == 0; c->forwards--)
		r = conn_reply(tk, c, deadline);
	if (r == 0)
		r = conn_reply(tk, c, deadline);
	return r == 0 && c->reply.code == 250;
}

static void say_all(struct task *tk, struct world *w, struct conn *c, struct arena *arena)
{
	const struct introduce_case *k = w->k;

	for (size_t i = 0; i < ELEMENTS(k->say); i++) {
		struct introduction who;
		enum introduced how;

		if (i > 0 && !k->say[i].who && !k->say[i].how)
			break;
		c->reset_first = k->say[i].reset;
		how = introduce(tk, c, STR("locum.example"), make_who(k->say[i].who, arena, &who),
				&w->refusals);
		if (how != k->say[i].how)
			fail_msg("%s: client %zu: %d; %s; %s", k->requirement, i, (int)how, c->why,
				 w->server.wrong);
		if (how == INTRODUCED && !mail_is_taken(tk, c))
			fail_msg("%s: no MAIL after client %zu; %s", k->requirement, i,
				 w->server.wrong);
	}
}

static void case_task(struct task *tk, void *arg)
{
	struct world *w = arg;
	struct conn_peer peer = { STR("d"), STR("mx.example"), STR("192.0.2.1:25") };
	struct arena arena;
	struct conn *c;

	arena_init(&arena, 100000);
	assert_int_equal(conn_new(task_loop(tk),
				  fake_server_start(task_loop(tk), &w->server, w->k->script, NULL),
				  &peer, &c),
			 0);
	assert_int_equal(conn_open(tk, c, "locum.example", &patient, NULL), CONN_READY);
	c->reused = w->k->pooled;
	if (w->k->pooled)
		task_sleep(tk, 5 * NSEC_MS);
	say_all(tk, w, c, &arena);
	if (w->k->why && str_find(str_of(c->why), str_of(w->k->why)) < 0)
		fail_msg("%s: %s", w->k->requirement, c->why);
	if (plain_known(&w->refusals.xclient, peer.address, task_now(tk)) != w->k->not_again ||
	    plain_known(&w->refusals.xforward, peer.address, task_now(tk)) != w->k->not_forward)
		fail_msg("%s: what is remembered", w->k->requirement);
	if (w->k->not_again)
		assert_false(plain_known(&w->refusals.xclient, peer.address,
					 task_now(tk) + INTRODUCE_REFUSED_TIME));
	conn_free(c);
	while (!w->server.ended)
		task_sleep(tk, NSEC_MS);
	if (w->server.wrong[0] || (w->server.script[w->server.steps_done] && !w->server.closed))
		fail_msg("%s: step %u: %s", w->k->requirement, w->server.steps_done,
			 w->server.wrong);
	fake_server_done(&w->server);
	arena_done(&arena);
}

static void clients_are_introduced(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct world *w = calloc(1, sizeof(*w));

		w->k = &cases[i];
		fake_run(case_task, w);
		free(w);
	}
}

/* --- what it means for the message --- */

static const struct settle_case {
	const char *requirement;
	enum introduced how;
	const char *reply;
	Locum__Attempt attempt;
	Locum__Outcome outcome;
	const char *words;
} settles[] = {
	{ "a client that is turned away for good: refused", INTRODUCE_JUDGED, "554 5.7.1 no\r\n",
	  LOCUM__ATTEMPT__ATTEMPT_ANSWERED, LOCUM__OUTCOME__OUTCOME_REFUSED, "554 5.7.1 no" },
	{ "for now: deferred", INTRODUCE_JUDGED, "450 4.7.25 who\r\n",
	  LOCUM__ATTEMPT__ATTEMPT_ANSWERED, LOCUM__OUTCOME__OUTCOME_DEFERRED, "450 4.7.25 who" },
	{ "with 421: deferred", INTRODUCE_JUDGED, "421 many\r\n", LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
	  LOCUM__OUTCOME__OUTCOME_DEFERRED, "421 many" },
	{ "a host that closes is refusing", INTRODUCE_CLOSING, "421 busy\r\n",
	  LOCUM__ATTEMPT__ATTEMPT_REFUSING, LOCUM__OUTCOME__OUTCOME_NONE, NULL },
	{ "one that is lost has said nothing", INTRODUCE_LOST, "250 ok\r\n",
	  LOCUM__ATTEMPT__ATTEMPT_LOST, LOCUM__OUTCOME__OUTCOME_NONE, NULL },
	{ "one that hung up on the client defers it", INTRODUCE_HUNG_UP, "250 ok\r\n",
	  LOCUM__ATTEMPT__ATTEMPT_LOST, LOCUM__OUTCOME__OUTCOME_DEFERRED, "why" },
};

static void it_is_the_word_about_the_message(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(settles); i++) {
		const struct settle_case *k = &settles[i];
		struct conn c = { .why = "why" };
		struct handover_recipient to[2] = {
			{ .lacking = true, .outcome = LOCUM__OUTCOME__OUTCOME_REFUSED },
		};
		struct handover *h = calloc(1, sizeof(*h));
		struct arena arena;
		size_t used;

		arena_init(&arena, 10000);
		*h = (struct handover){ .recipients = to,
					.recipient_count = 2,
					.arena = &arena,
					.reply_bytes_max = 100,
					.lacking = true };
		reply_init(&c.reply);
		assert_int_equal(reply_feed(&c.reply, str_of(k->reply), &used), 1);
		introduce_settle(&c, k->how, h);
		for (size_t n = 0; n < 2; n++)
			if (h->attempt != k->attempt || to[n].outcome != k->outcome || h->lacking ||
			    (k->words && !str_eq(to[n].reply, str_of(k->words))))
				fail_msg("%s: %d %d %.*s", k->requirement, (int)h->attempt,
					 (int)to[n].outcome, STR_ARG(to[n].reply));
		assert_string_equal(h->text, "why");
		reply_done(&c.reply);
		arena_done(&arena);
		free(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_are_introduced),
		cmocka_unit_test(it_is_the_word_about_the_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
