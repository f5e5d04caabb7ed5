#include "proc/smtpout/live.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "proc/smtpout/fake_server.h"
#include "proc/smtpout/smtpout.h"

/*
 * smtpout with an smtpin, a spoold and a netd of the test's around it, and a primary that follows a script
 * for every time it is dialled. A case is a dialogue: what smtpin says, and what it hears.
 *
 *	"a"       asks for a@y.example          "reply 250 2.1.5 ok"   way, code, lines joined by |
 *	"send"    hands the message over        "away: …"              begins so
 *	"end"     LiveEnd                       ""                     no answer is due
 *	"idle"    waits longer than a connection is kept
 *	"route"   netd said of late that z.example, whose recipients are in capitals, has the same hosts
 *	"full"    from now on spoold has no place; "room": it has again
 *	"away"    spoold goes away
 *	"gone"    smtpin goes away
 *	"silent"  from now on spoold answers nothing
 *	"later X" says X and does not wait for the answer, "then" does
 */
#define DIALS_MAX 3
#define BODY "Subject: hi\r\n\r\nhello\r\n"

struct live_case {
	const char *requirement;
	const char *script[DIALS_MAX][28];
	struct {
		const char *say, *hear;
	} step[12];
	/* What spoold was told of the places it gave, a letter each: Answered, Delivered, Refusing, Unreachable,
	 * Lost, None. */
	const char *left;
	const char *dials; /* how often, a digit; NULL: as many as there are scripts */
	bool binary, smtputf8, wrong_crc, open_body, other_recipient, null_sender;
	bool headers_not_ascii, big_body, no_line_end, hasty;
};

#define PLAIN ">220 mx", "<*EHLO", ">250 mx"
#define PIPE ">220 mx", "<*EHLO", ">250-mx", ">250 PIPELINING"
#define MAIL "<MAIL FROM:<s@x>"
#define RCPT(name) "<RCPT TO:<" name "@y.example>"
#define OK ">250 2.1.0 ok"
#define TAKEN "reply 250 2.1.5 yes"
#define YES ">250 2.1.5 yes"
#define GO ">354 go"
/* One recipient is taken. */
#define TO_RCPT PIPE, MAIL, RCPT("a"), OK, YES
#define AGAIN "<RSET", MAIL, RCPT("a"), ">250 ok", OK, YES
#define ASK_A                                                                                      \
	{                                                                                          \
		"a", TAKEN                                                                         \
	}

static const struct live_case cases[] = {
	/* --- the good way --- */
	{ "MAIL and RCPT leave together where that is offered, and replies come back as they are",
	  { { PIPE, MAIL, "=1", RCPT("a"), OK, YES, "<DATA", GO, "dot", ">250-2.0.0 one",
	      ">250 2.0.0 queued as 7" } },
	  { ASK_A, { "send", "reply 250 2.0.0 one|2.0.0 queued as 7" } },
	  "D" },
	{ "without PIPELINING every command waits for its reply",
	  { { PLAIN, MAIL, "=0", OK, RCPT("a"), YES, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "D" },
	{ "each recipient has a reply of its own, on one connection",
	  { { TO_RCPT, RCPT("b"), ">550-5.1.1 no such user", ">550 5.1.1 here", RCPT("c"), YES,
	      "<DATA", GO, "dot", OK } },
	  { ASK_A,
	    { "b", "reply 550 5.1.1 no such user|5.1.1 here" },
	    { "c", TAKEN },
	    { "send", "reply 250 2.1.0 ok" } },
	  "D" },
	{ "the next transaction takes the same connection",
	  { { TO_RCPT, "<DATA", GO, "dot", OK, MAIL, RCPT("a"), OK, YES, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "send", "reply 250 2.1.0 ok" }, ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "DD" },
	{ "a pooled connection that died is replaced",
	  { { TO_RCPT, "<DATA", GO, "dot", OK, "close" }, { TO_RCPT, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "send", "reply 250 2.1.0 ok" }, ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "DD" },
	{ "another domain's recipient goes with it where its mail goes to the same hosts",
	  { { TO_RCPT, RCPT("B"), YES, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "route", "" }, { "B", TAKEN }, { "send", "reply 250 2.1.0 ok" } },
	  "D" },
	{ "but not on a connection that was given back, which may lead elsewhere next time",
	  { { TO_RCPT, RCPT("B"), YES } },
	  { ASK_A,
	    { "route", "" },
	    { "B", TAKEN },
	    { "idle", "" },
	    { "send", "away: its recipients are" } },
	  "A" },
	{ "another domain's recipient is not asked where that is not known",
	  { { TO_RCPT, "<DATA", GO, "dot", OK } },
	  { ASK_A,
	    { "B",
	      "reply 452 4.5.3 Recipients of another server: send them in another transaction" },
	    { "send", "reply 250 2.1.0 ok" } },
	  "D" },
	{ "the null reverse-path is <>",
	  { { PIPE, "<MAIL FROM:<>", RCPT("a"), OK, YES, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "D",
	  .null_sender = true },

	/* --- what the primary refuses, in its words --- */
	{ "a refused recipient",
	  { { PIPE, MAIL, RCPT("a"), OK, ">550 5.1.1 <a@y.example>: no" } },
	  { { "a", "reply 550 5.1.1 <a@y.example>: no" }, { "end", "" } },
	  "A" },
	{ "a recipient refused for now",
	  { { PIPE, MAIL, RCPT("a"), OK, ">450 4.2.0 Greylisted, come back" } },
	  { { "a", "reply 450 4.2.0 Greylisted, come back" }, { "end", "" } },
	  "A" },
	{ "a recipient behind a refused one",
	  { { PIPE, MAIL, RCPT("a"), OK, ">550 no", RCPT("b"), YES, "<DATA", GO, "dot", OK } },
	  { { "a", "reply 550 no" }, { "b", TAKEN }, { "send", "reply 250 2.1.0 ok" } },
	  "D" },
	{ "a refused sender is the recipient's refusal, and the next begins anew",
	  { { PIPE, MAIL, RCPT("a"), ">550 5.7.1 not you", ">503 MAIL first", MAIL, RCPT("b"), OK,
	      YES } },
	  { { "a", "reply 550 5.7.1 not you" }, { "b", TAKEN }, { "end", "" } },
	  "AA" },
	{ "a sender refused for now",
	  { { PLAIN, MAIL, ">451 4.4.3 no DNS" } },
	  { { "a", "reply 451 4.4.3 no DNS" }, { "end", "" } },
	  "A" },
	{ "a message refused at DATA",
	  { { TO_RCPT, "<DATA", ">554 5.7.1 no" } },
	  { ASK_A, { "send", "reply 554 5.7.1 no" } },
	  "A" },
	{ "a message refused at the dot",
	  { { TO_RCPT, "<DATA", GO, "dot", ">550-5.7.1 spam", ">550 5.7.1 see http://x" } },
	  { ASK_A, { "send", "reply 550 5.7.1 spam|5.7.1 see http://x" } },
	  "A" },
	{ "a message refused for now",
	  { { TO_RCPT, "<DATA", GO, "dot", ">451 4.7.1 later" } },
	  { ASK_A, { "send", "reply 451 4.7.1 later" } },
	  "A" },
	{ "a control character does not get through",
	  { { PIPE, MAIL, RCPT("a"), OK, ">550 5.1.1 \x1b[2Jno\xff" } },
	  { { "a", "reply 550 5.1.1 ?[2Jno?" }, { "end", "" } },
	  "A" },

	/* --- what it does not decide is the spool's --- */
	{ "no host can be connected",
	  { { 0 } },
	  { { "a", "away: 192.0.2.1" } },
	  "U",
	  .dials = "1" },
	{ "the greeting is 554",
	  { { ">554 no" } },
	  { { "a", "away: mx.y.example[192.0.2.1:25] said to the connection: 554 no" } },
	  "R" },
	{ "the greeting does not come", { { "close" } }, { { "a", "away: mx" } }, "U" },
	{ "EHLO is not answered",
	  { { ">220 mx", "<*EHLO", "close" } },
	  { { "a", "away: mx" } },
	  "U" },
	{ "EHLO is answered 421",
	  { { ">220 mx", "<*EHLO", ">421 no" } },
	  { { "a", "away: mx" } },
	  "R" },
	{ "421 to MAIL",
	  { { PIPE, MAIL, RCPT("a"), ">421 busy" } },
	  { { "a", "away: mx.y.example[192.0.2.1:25] said to MAIL: 421 busy" } },
	  "R" },
	{ "530 to MAIL",
	  { { PIPE, MAIL, RCPT("a"), ">530 5.7.0 STARTTLS first", ">503 no" } },
	  { { "a", "away: mx" } },
	  "R" },
	{ "421 to RCPT",
	  { { PIPE, MAIL, RCPT("a"), OK, ">421 busy" } },
	  { { "a", "away: mx.y.example[192.0.2.1:25] said to RCPT: 421 busy" } },
	  "R" },
	{ "421 to the second recipient",
	  { { TO_RCPT, RCPT("b"), ">421 busy" } },
	  { ASK_A, { "b", "away: mx" } },
	  "R" },
	{ "354 to RCPT", { { PIPE, MAIL, RCPT("a"), OK, GO } }, { { "a", "away: mx" } }, "L" },
	{ "something that is no reply",
	  { { PIPE, MAIL, RCPT("a"), OK, ">hello" } },
	  { { "a", "away: mx.y.example[192.0.2.1:25]: what it said is not SMTP at RCPT" } },
	  "L" },
	{ "it hangs up at MAIL", { { PIPE, MAIL, "close" } }, { { "a", "away: mx" } }, "L" },
	{ "it hangs up at RCPT",
	  { { PLAIN, MAIL, OK, RCPT("a"), "close" } },
	  { { "a", "away: mx" } },
	  "L" },
	{ "it hangs up between recipients",
	  { { TO_RCPT, "close" } },
	  { ASK_A, { "b", "away: mx" } },
	  "L" },
	{ "it hangs up before DATA",
	  { { TO_RCPT, "close" } },
	  { ASK_A, { "send", "away: mx" } },
	  "L" },
	{ "it hangs up at DATA",
	  { { TO_RCPT, "<DATA", "close" } },
	  { ASK_A, { "send", "away: mx" } },
	  "L" },
	{ "421 to DATA",
	  { { TO_RCPT, "<DATA", ">421 closing" } },
	  { ASK_A, { "send", "away: mx.y.example[192.0.2.1:25] said to DATA: 421 closing" } },
	  "R" },
	{ "250 to DATA", { { TO_RCPT, "<DATA", OK } }, { ASK_A, { "send", "away: mx" } }, "L" },
	{ "421 to the dot: it did not take it",
	  { { TO_RCPT, "<DATA", GO, "dot", ">421 4.3.2 closing" } },
	  { ASK_A, { "send", "away: mx" } },
	  "R" },
	{ "it hangs up after the dot: it may have it",
	  { { TO_RCPT, "<DATA", GO, "dot", "close" } },
	  { ASK_A,
	    { "send", "ambiguous: mx.y.example[192.0.2.1:25]: connection lost at the final dot" } },
	  "L" },
	{ "nonsense after the dot: it may have it",
	  { { TO_RCPT, "<DATA", GO, "dot", ">hello" } },
	  { ASK_A, { "send", "ambiguous: mx" } },
	  "L" },

	{ "it hangs up in mid-message",
	  { { TO_RCPT, "<DATA", GO, "cut" } },
	  { ASK_A, { "send", "away: mx.y.example[192.0.2.1:25]: connection lost at the message" } },
	  "L",
	  .big_body = true },
	{ "it hangs up in mid-message and says why",
	  { { TO_RCPT, "<DATA", GO, ">552-5.3.4 too", ">552 5.3.4 big", "cut" } },
	  { ASK_A, { "send", "reply 552 5.3.4 too|5.3.4 big" } },
	  "A",
	  .big_body = true },
	{ "421 in mid-message",
	  { { TO_RCPT, "<DATA", GO, ">421 closing", "cut" } },
	  { ASK_A, { "send", "away: mx" } },
	  "R",
	  .big_body = true },

	/* --- a primary that is too slow --- */
	{ "no greeting in time", { { "mute" } }, { { "a", "away: mx" } }, "U", .hasty = true },
	{ "no answer to EHLO in time",
	  { { ">220 mx", "mute" } },
	  { { "a", "away: mx" } },
	  "U",
	  .hasty = true },
	{ "no answer to MAIL in time",
	  { { PIPE, "mute" } },
	  { { "a", "away: mx.y.example[192.0.2.1:25]: no answer in time at MAIL" } },
	  "L",
	  .hasty = true },
	{ "no answer to RCPT in time",
	  { { PIPE, MAIL, RCPT("a"), OK, "mute" } },
	  { { "a", "away: mx.y.example[192.0.2.1:25]: no answer in time at RCPT" } },
	  "L",
	  .hasty = true },
	{ "no answer to DATA in time",
	  { { TO_RCPT, "<DATA", "mute" } },
	  { ASK_A, { "send", "away: mx.y.example[192.0.2.1:25]: no answer in time at DATA" } },
	  "L",
	  .hasty = true },
	{ "no answer to the dot in time: it may have it",
	  { { TO_RCPT, "<DATA", GO, "dot", "mute" } },
	  { ASK_A, { "send", "ambiguous: mx.y.example[192.0.2.1:25]: no answer in time" } },
	  "L",
	  .hasty = true },

	/* --- what the host lacks --- */
	{ "a binary message and a host that takes none",
	  { { PIPE } },
	  { { "a", "away: the primary does not offer BINARYMIME" } },
	  "N",
	  .binary = true },
	{ "headers that are not ASCII and a host without SMTPUTF8",
	  { { TO_RCPT } },
	  { ASK_A, { "send", "away: the primary does not offer SMTPUTF8: the message's headers" } },
	  "N",
	  .smtputf8 = true,
	  .headers_not_ascii = true },
	{ "SMTPUTF8 of which nothing is used",
	  { { TO_RCPT, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "D",
	  .smtputf8 = true },

	{ "BDAT where it is taken: a round trip less",
	  { { ">220 mx", "<*EHLO", ">250-mx", ">250-PIPELINING", ">250 CHUNKING", MAIL, RCPT("a"),
	      OK, YES, "bdat", OK } },
	  { ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "D" },
	{ "a message refused at BDAT leaves a transaction to be ended",
	  { { ">220 mx", "<*EHLO", ">250-mx", ">250-PIPELINING", ">250 CHUNKING", MAIL, RCPT("a"),
	      OK, YES, "bdat", ">550 5.7.1 spam", "<RSET", MAIL, RCPT("a"), ">250 ok", OK, YES } },
	  { ASK_A, { "send", "reply 550 5.7.1 spam" }, ASK_A, { "end", "" } },
	  "AA" },
	{ "a last line without an end goes by BDAT as it is",
	  { { ">220 mx", "<*EHLO", ">250-mx", ">250-PIPELINING", ">250 CHUNKING", MAIL, RCPT("a"),
	      OK, YES, "bdat", OK } },
	  { ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "D",
	  .no_line_end = true },

	/* --- places --- */
	{ "no place: the primary is left alone",
	  { { 0 } },
	  { { "full", "" }, { "a", "away: no room" } },
	  "",
	  .dials = "0" },
	{ "spoold is away: so is the primary, for us",
	  { { 0 } },
	  { { "away", "" }, { "a", "away: spoold is not running" } },
	  "",
	  .dials = "0" },
	{ "spoold goes away meanwhile: what was begun is finished",
	  { { TO_RCPT, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "away", "" }, { "send", "reply 250 2.1.0 ok" } },
	  "" },

	{ "no place, and a pooled connection that heard MAIL meanwhile: it is ended there",
	  { { TO_RCPT, "<DATA", GO, "dot", OK, MAIL, RCPT("a"), OK, YES, AGAIN } },
	  { ASK_A,
	    { "send", "reply 250 2.1.0 ok" },
	    { "full", "" },
	    { "a", "away: no room" },
	    { "end", "" },
	    { "room", "" },
	    ASK_A,
	    { "end", "" } },
	  "DA" },
	{ "spoold is too slow, and the connection does not wait for it for ever",
	  { { TO_RCPT, "<DATA", GO, "dot", OK, MAIL, RCPT("a"), OK, YES } },
	  { ASK_A,
	    { "send", "reply 250 2.1.0 ok" },
	    { "silent", "" },
	    { "a", "away: spoold did not answer" } },
	  "DA" },
	{ "spoold does not answer: the place that it may give is left at once",
	  { { 0 } },
	  { { "silent", "" }, { "a", "away: spoold did not answer" } },
	  "N",
	  .dials = "0" },

	/* --- two things at once --- */
	{ "a question behind one that runs is declined, the first is answered",
	  { { PIPE, MAIL, RCPT("a"), "stall", OK, YES } },
	  { { "later a", "" },
	    { "b", "away: the question before is not answered yet" },
	    { "then", TAKEN },
	    { "end", "" } },
	  "A" },
	{ "LiveEnd behind a question that runs: it is answered, then all is given back",
	  { { PIPE, MAIL, RCPT("a"), "stall", OK, YES, AGAIN } },
	  { { "later a", "" }, { "end", "" }, { "then", TAKEN }, ASK_A, { "end", "" } },
	  "AA" },
	{ "smtpin goes while a question runs",
	  { { PIPE, MAIL, RCPT("a"), "stall", OK, YES } },
	  { { "later a", "" }, { "gone", "" }, { "then", "lost" } },
	  "A" },
	{ "smtpin goes while the message is under way",
	  { { TO_RCPT, "<DATA", GO, "stall", "dot", OK } },
	  { ASK_A, { "later send", "" }, { "gone", "" }, { "then", "lost" } },
	  "D" },

	/* --- who waits too long --- */
	{ "connection and place are given back; the message is sent anew",
	  { { TO_RCPT, AGAIN, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "idle", "" }, { "send", "reply 250 2.1.0 ok" } },
	  "AD" },
	{ "the next recipient begins anew too",
	  { { TO_RCPT, "<RSET", MAIL, RCPT("a"), RCPT("b"), ">250 ok", OK, YES, ">550 no b",
	      "<DATA", GO, "dot", OK } },
	  { ASK_A, { "idle", "" }, { "b", "reply 550 no b" }, { "send", "reply 250 2.1.0 ok" } },
	  "AD" },
	{ "refused recipients are not asked again",
	  { { TO_RCPT, RCPT("b"), ">550 no", AGAIN, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "b", "reply 550 no" }, { "idle", "" }, { "send", "reply 250 2.1.0 ok" } },
	  "AD" },
	{ "all of them are refused now: that is the answer",
	  { { TO_RCPT, "<RSET", MAIL, RCPT("a"), ">250 ok", OK, ">550 5.2.1 closed meanwhile" } },
	  { ASK_A, { "idle", "" }, { "send", "reply 550 5.2.1 closed meanwhile" } },
	  "AA" },
	{ "some of them are refused now: the spool sorts it out",
	  { { TO_RCPT, RCPT("b"), YES, "<RSET", MAIL, RCPT("a"), RCPT("b"), ">250 ok", OK,
	      ">452 4.2.2 full", YES } },
	  { ASK_A, { "b", TAKEN }, { "idle", "" }, { "send", "away: not everybody" } },
	  "AA" },
	{ "one that was taken is refused when the next is asked: to the spool",
	  { { TO_RCPT, "<RSET", MAIL, RCPT("a"), RCPT("b"), ">250 ok", OK, ">451 no", YES } },
	  { ASK_A, { "idle", "" }, { "b", "away: a recipient that was taken before" } },
	  "AA" },
	{ "no place any more",
	  { { TO_RCPT, AGAIN, "<RSET", ">250 ok", MAIL, RCPT("a"), OK, YES } },
	  { ASK_A,
	    { "idle", "" },
	    { "full", "" },
	    { "send", "away: no room" },
	    { "room", "" },
	    ASK_A,
	    { "end", "" } },
	  "AA" },

	/* --- who leaves --- */
	{ "LiveEnd gives the connection back",
	  { { TO_RCPT, AGAIN, "<DATA", GO, "dot", OK } },
	  { ASK_A, { "end", "" }, ASK_A, { "send", "reply 250 2.1.0 ok" } },
	  "AD" },
	{ "a LiveEnd more says nothing",
	  { { TO_RCPT } },
	  { ASK_A, { "end", "" }, { "end", "" } },
	  "A" },
	{ "smtpin goes, and its transactions with it",
	  { { TO_RCPT } },
	  { ASK_A, { "gone", "" } },
	  "A" },
	{ "what ended is not known any more",
	  { { TO_RCPT, "<DATA", GO, "dot", OK } },
	  { ASK_A,
	    { "send", "reply 250 2.1.0 ok" },
	    { "send", "away: the transaction is not known" } },
	  "D" },
	{ "what went away is over",
	  { { PIPE, MAIL, RCPT("a"), ">421 no" } },
	  { { "a", "away: mx" }, { "send", "away: the transaction is not known" } },
	  "R" },

	/* --- an smtpin that cannot be trusted --- */
	{ "an address that would be a command",
	  { { PIPE } },
	  { { "x>\r\nRSET", "away: the envelope" } },
	  "A" },
	{ "likewise the second",
	  { { TO_RCPT } },
	  { ASK_A, { "x>\r\nRSET", "away: the recipient cannot be an address" } },
	  "A" },
	{ "a message before a recipient",
	  { { 0 } },
	  { { "send", "away: the transaction is not known" } },
	  "",
	  .dials = "0" },
	{ "recipients that were not asked",
	  { { TO_RCPT } },
	  { ASK_A, { "send", "away: the recipients are not those that were asked" } },
	  "A",
	  .other_recipient = true },
	{ "a body that can still change",
	  { { TO_RCPT } },
	  { ASK_A, { "send", "away: the body is not what it should be" } },
	  "A",
	  .open_body = true },
	{ "a body that does not match its checksum: the dot is not sent",
	  { { TO_RCPT, "<DATA" } },
	  { ASK_A, { "send", "away: the message in the spool does not match its checksum" } },
	  "A",
	  .wrong_crc = true },
};

struct world {
	const struct live_case *k;
	struct smtpout so;
	struct conf conf;
	struct worker worker;
	struct channel *here[3], *there[3]; /* by enum peers */
	struct fake_server server[DIALS_MAX];
	unsigned dials, taken;
	bool full, silent;
	uint64_t live;
	const char *later;
	char later_answer[2000];
	char left[20];
	char answer[2000];
	struct buf taken_names; /* a letter each */
	bool in_transaction;
};

enum peers { SPOOLD, NETD, SMTPIN };

static const Locum__Process processes[] = { LOCUM__PROCESS__SPOOLD, LOCUM__PROCESS__NETD,
					    LOCUM__PROCESS__SMTPIN };

static void netd_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct world *w = arg;
	Locum__Dialed dialed = LOCUM__DIALED__INIT;
	IPC_PACKET(packet, DIALED, dialed, &dialed);
	int fd = -1;

	assert_int_equal(m->packet->body_case, LOCUM__PACKET__BODY_DIAL);
	assert_string_equal(m->packet->dial->domain, "y.example");
	assert_int_equal(m->packet->dial->address_ms, 5000);
	dialed.attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
	dialed.text = (char *)"192.0.2.1:25: connection refused";
	if (w->dials < DIALS_MAX && w->k->script[w->dials][0]) {
		fd = fake_server_start(task_loop(tk), &w->server[w->dials], w->k->script[w->dials],
				       NULL);
		dialed.attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
		dialed.text = (char *)"";
		dialed.destination = (char *)"mx.y.example:25";
		dialed.host = (char *)"mx.y.example";
		dialed.address = (char *)"192.0.2.1:25";
		dialed.count = 1;
		dialed.route = 1;
	}
	w->dials++;
	assert_int_equal(ipc_reply(tk, ch, m->packet->call, &packet, fd, NEVER), 0);
	if (fd >= 0)
		sys_close(fd);
}

static void note_left(struct world *w, const Locum__LeavePlace *leave)
{
	static const char letters[] = "NARUODL";
	size_t n = strlen(w->left);

	assert_string_equal(leave->domain, "y.example");
	must(n + 1 < sizeof(w->left) && (size_t)leave->attempt < sizeof(letters));
	w->left[n] = leave->delivered ? 'D' : letters[leave->attempt];
	assert_true(leave->delivered == (leave->latency_us > 0));
	if (leave->attempt == LOCUM__ATTEMPT__ATTEMPT_ANSWERED && w->dials > 0 && leave->delivered)
		assert_string_equal(leave->host->destination, "mx.y.example:25");
}

static void spoold_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct world *w = arg;
	Locum__Place place = LOCUM__PLACE__INIT;
	IPC_PACKET(packet, PLACE, place, &place);

	if (m->packet->body_case == LOCUM__PACKET__BODY_LEAVE_PLACE) {
		note_left(w, m->packet->leave_place);
		return;
	}
	if (m->packet->body_case == LOCUM__PACKET__BODY_TLS_SESSION)
		return;
	assert_int_equal(m->packet->body_case, LOCUM__PACKET__BODY_TAKE_PLACE);
	assert_string_equal(m->packet->take_place->domain, "y.example");
	if (w->silent)
		return;
	place.granted = !w->full;
	place.text = w->full ? (char *)"no room" : (char *)"";
	w->taken += !w->full;
	assert_int_equal(ipc_reply(tk, ch, m->packet->call, &packet, -1, NEVER), 0);
}

static void smtpin_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	(void)tk;
	(void)ch;
	(void)m;
	(void)arg;
	fail_msg("smtpin was told something unasked");
}

static void closed(struct channel *ch, int r, void *arg)
{
	(void)ch;
	(void)r;
	(void)arg;
}

static void connect_peer(struct world *w, struct task *tk, enum peers which, ipc_handler *handler)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(channel_new(w->so.loop, fd[0], LOCUM__PROCESS__SMTPOUT, processes[which],
				     0, smtpout_hooks.message, closed, &w->worker, &w->here[which]),
			 0);
	assert_int_equal(channel_new(w->so.loop, fd[1], processes[which], LOCUM__PROCESS__SMTPOUT,
				     0, handler, closed, w, &w->there[which]),
			 0);
	smtpout_hooks.peer(tk, &w->worker, w->here[which]);
}

static void lose_peer(struct world *w, enum peers which)
{
	if (w->here[which]) {
		smtpout_hooks.peer_gone(&w->worker, w->here[which]);
		channel_free(w->here[which]);
		channel_free(w->there[which]);
	}
	w->here[which] = w->there[which] = NULL;
}

static const struct conn_limits hasty = { .greeting = 80 * NSEC_MS,
					  .command = 80 * NSEC_MS,
					  .tls = 80 * NSEC_MS,
					  .data = 80 * NSEC_MS,
					  .block = 80 * NSEC_MS,
					  .final = 80 * NSEC_MS };

static void set_up(struct task *tk, struct world *w)
{
	w->conf.hostname = STR("locum.example");
	w->worker = (struct worker){ .loop = task_loop(tk), .conf = &w->conf, .arg = &w->so };
	assert_int_equal(smtpout_hooks.acquire(tk, &w->worker, NULL), 0);
	assert_int_equal(smtpout_hooks.serve(tk, &w->worker), 0);
	w->so.lives.idle_time = 60 * NSEC_MS;
	w->so.lives.place_wait = 500 * NSEC_MS;
	if (w->k->hasty)
		w->so.outbound.live_limits = &hasty;
	connect_peer(w, tk, SPOOLD, spoold_message);
	connect_peer(w, tk, NETD, netd_message);
	connect_peer(w, tk, SMTPIN, smtpin_message);
	buf_init(&w->taken_names, 10000);
}

static void tear_down(struct task *tk, struct world *w)
{
	smtpout_hooks.shutdown(tk, &w->worker);
	task_sleep(tk, 5 * NSEC_MS); /* what was said to spoold arrives */
	for (int i = 0; i < 3; i++)
		lose_peer(w, (enum peers)i);
	for (unsigned i = 0; i < MIN(w->dials, (unsigned)DIALS_MAX); i++) {
		if (!w->k->script[i][0])
			continue;
		while (!w->server[i].ended)
			task_sleep(tk, NSEC_MS);
		if (w->server[i].wrong[0])
			fail_msg("%s: host %u: %s", w->k->requirement, i, w->server[i].wrong);
		fake_server_done(&w->server[i]);
	}
	buf_done(&w->taken_names);
}

/* --- what smtpin says --- */

static void note_answer(struct world *w, const Locum__LiveAnswer *a)
{
	static const char *const ways[] = { "away: ", "reply ", "ambiguous: " };
	int n;

	must((size_t)a->way < ELEMENTS(ways));
	n = snprintf(w->answer, sizeof(w->answer), "%s%s", ways[a->way], a->text);
	if (a->way != LOCUM__LIVE_WAY__LIVE_REPLY)
		return;
	assert_string_equal(a->text, "");
	/* 452 is ours alone. */
	assert_string_equal(a->host->name, a->code == 452 ? "" : "mx.y.example");
	n += snprintf(w->answer + n, sizeof(w->answer) - (size_t)n, "%u ", a->code);
	for (size_t i = 0; i < a->n_lines; i++)
		n += snprintf(w->answer + n, sizeof(w->answer) - (size_t)n, "%s%s", i ? "|" : "",
			      a->lines[i]);
}

static void call(struct task *tk, struct world *w, Locum__Packet *packet, int fd)
{
	struct ipc_message m = { 0 };

	int r;

	w->answer[0] = '\0';
	r = ipc_call(tk, w->there[SMTPIN], packet, fd, &m, task_in(tk, 5 * NSEC_S));
	if (r < 0) {
		assert_int_equal(r, -EPIPE);
		snprintf(w->answer, sizeof(w->answer), "lost");
		return;
	}
	assert_int_equal(m.packet->body_case, LOCUM__PACKET__BODY_LIVE_ANSWER);
	note_answer(w, m.packet->live_answer);
	ipc_message_done(&m);
}

static void fill_envelope(const struct world *w, Locum__Envelope *e)
{
	static Locum__Client client = LOCUM__CLIENT__INIT;
	static uint8_t id[16] = { 1 };

	client.address = (char *)"198.51.100.7";
	client.helo = (ProtobufCBinaryData){ 6, (uint8_t *)"client" };
	client.esmtp = true;
	e->id = (ProtobufCBinaryData){ sizeof(id), id };
	e->reverse_path = (ProtobufCBinaryData){ w->k->null_sender ? 0 : 3, (uint8_t *)"s@x" };
	e->client = &client;
	e->hostname = (char *)"backup.example";
	e->body_binarymime = w->k->binary;
	e->smtputf8 = w->k->smtputf8;
}

static void say_ask(struct task *tk, struct world *w, const char *name)
{
	Locum__LiveAsk ask = LOCUM__LIVE_ASK__INIT;
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Recipient to = LOCUM__RECIPIENT__INIT;
	IPC_PACKET(packet, LIVE_ASK, live_ask, &ask);
	char address[100];
	int n = snprintf(address, sizeof(address), "%s@y.example", name);

	if (!w->in_transaction) {
		w->live++;
		fill_envelope(w, &e);
		ask.envelope = &e;
		buf_reset(&w->taken_names);
	}
	w->in_transaction = true;
	to.address = (ProtobufCBinaryData){ (size_t)n, (uint8_t *)address };
	ask.live = w->live;
	ask.domain = (char *)(name[0] < 'a' ? "z.example" : "y.example");
	ask.recipient = &to;
	call(tk, w, &packet, -1);
	if (str_starts(str_of(w->answer), STR("reply 2")))
		assert_int_equal(buf_add(&w->taken_names, (str){ name, 1 }), 0);
}

static int body_file(const struct world *w, str *ret_body)
{
	static char big[3 * 1024 * 1024];
	int fd = sys_memfd("body");

	memset(big, 'x', sizeof(big));
	*ret_body = w->k->headers_not_ascii ? STR("Subject: h\xc3\xa9\r\n\r\nx\r\n")
		    : w->k->no_line_end     ? STR("Subject: hi\r\n\r\nhello")
		    : w->k->big_body        ? (str){ big, sizeof(big) }
					    : STR(BODY);
	assert_int_equal(sys_write(fd, *ret_body), 0);
	if (!w->k->open_body)
		assert_int_equal(sys_memfd_seal(fd), 0);
	return fd;
}

static void say_send(struct task *tk, struct world *w)
{
	Locum__LiveSend send = LOCUM__LIVE_SEND__INIT;
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Recipient to[5], *recipients[5];
	IPC_PACKET(packet, LIVE_SEND, live_send, &send);
	char address[5][20];
	str names = buf_str(&w->taken_names), body;
	int fd = body_file(w, &body);

	for (size_t i = 0; i < names.n; i++) {
		int n = snprintf(address[i], sizeof(address[i]), "%c@y.example",
				 w->k->other_recipient ? 'z' : names.p[i]);

		locum__recipient__init(&to[i]);
		to[i].address = (ProtobufCBinaryData){ (size_t)n, (uint8_t *)address[i] };
		recipients[i] = &to[i];
	}
	fill_envelope(w, &e);
	e.n_recipients = names.n;
	e.recipients = recipients;
	e.body_bytes = body.n;
	send.live = w->live;
	send.envelope = &e;
	send.body_crc32c = crc32c(0, body) + w->k->wrong_crc;
	call(tk, w, &packet, fd);
	sys_close(fd);
	w->in_transaction = false;
}

static void say_end(struct task *tk, struct world *w)
{
	Locum__LiveEnd end = LOCUM__LIVE_END__INIT;
	IPC_PACKET(packet, LIVE_END, live_end, &end);

	end.live = w->live;
	assert_int_equal(ipc_send(tk, w->there[SMTPIN], &packet, -1, NEVER), 0);
	w->in_transaction = false;
	task_sleep(tk, 5 * NSEC_MS);
}

static void say(struct task *tk, struct world *w, const char *what);

static void later_task(struct task *tk, void *arg)
{
	struct world *w = arg;

	say(tk, w, w->later);
	memcpy(w->later_answer, w->answer, sizeof(w->answer));
	w->later = NULL;
}

static void say_later(struct task *tk, struct world *w, const char *what)
{
	w->later = what;
	assert_int_equal(task_start(task_loop(tk), NULL, "later", later_task, w), 0);
	task_sleep(tk, 50 * NSEC_MS);
}

static void await_later(struct task *tk, struct world *w)
{
	while (w->later)
		task_sleep(tk, NSEC_MS);
	memcpy(w->answer, w->later_answer, sizeof(w->answer));
}

static void say(struct task *tk, struct world *w, const char *what)
{
	w->answer[0] = '\0';
	if (strcmp(what, "send") == 0)
		say_send(tk, w);
	else if (strcmp(what, "end") == 0)
		say_end(tk, w);
	else if (strcmp(what, "idle") == 0)
		task_sleep(tk, 120 * NSEC_MS);
	else if (strcmp(what, "route") == 0)
		pool_note_route(&w->so.outbound.pool, STR("z.example"), STR("mx.y.example:25"));
	else if (strcmp(what, "full") == 0)
		w->full = true;
	else if (strcmp(what, "room") == 0)
		w->full = false;
	else if (strcmp(what, "silent") == 0)
		w->silent = true;
	else if (strncmp(what, "later ", 6) == 0)
		say_later(tk, w, what + 6);
	else if (strcmp(what, "then") == 0)
		await_later(tk, w);
	else if (strcmp(what, "away") == 0)
		lose_peer(w, SPOOLD);
	else if (strcmp(what, "gone") == 0)
		lose_peer(w, SMTPIN);
	else
		say_ask(tk, w, what);
}

static bool as_expected(const char *want, const char *got)
{
	bool whole = strncmp(want, "reply", 5) == 0 || !*want;

	return whole ? strcmp(want, got) == 0 : str_starts(str_of(got), str_of(want));
}

static void check_body(const struct world *w, const struct fake_server *s)
{
	str body = buf_str(&s->body);

	if (w->k->wrong_crc || w->k->no_line_end || body.n == 0)
		return;
	assert_true(str_starts(body, STR("Received: from client (")));
	assert_true(str_find(body, STR("[198.51.100.7]")) > 0);
	assert_true(str_find(body, STR("\r\n" BODY)) > 0);
	assert_int_equal(body.n, (size_t)str_find(body, STR("\r\n" BODY)) + strlen("\r\n" BODY));
}

static void case_task(struct task *tk, void *arg)
{
	struct world *w = arg;
	const struct live_case *k = w->k;
	unsigned scripts = 0;

	set_up(tk, w);
	for (size_t i = 0; i < ELEMENTS(k->step) && k->step[i].say; i++) {
		say(tk, w, k->step[i].say);
		if (!as_expected(k->step[i].hear, w->answer))
			fail_msg("%s: step %zu, \"%s\": \"%s\" instead of \"%s\"", k->requirement,
				 i + 1, k->step[i].say, w->answer, k->step[i].hear);
	}
	while (scripts < DIALS_MAX && k->script[scripts][0])
		scripts++;
	assert_int_equal(w->dials, k->dials ? (unsigned)(k->dials[0] - '0') : scripts);
	for (unsigned i = 0; i < scripts; i++)
		check_body(w, &w->server[i]);
	tear_down(tk, w);
	if (strcmp(w->left, k->left) != 0)
		fail_msg("%s: places left as \"%s\" instead of \"%s\"", k->requirement, w->left,
			 k->left);
	assert_int_equal(w->so.lives.count, 0);
}

static void test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct world *w = calloc(1, sizeof(*w));

		w->k = &cases[i];
		fake_run(case_task, w);
		free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
	};

	log_open("live_test", LOG_ERROR, LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
