/*
 * What a primary says in its session: what it offers, and which recipients it takes from us.
 */
#include "cli/doctor_primary.h"
#include "base/cleanup.h"
#include "cli/words.h"
#include "conf/units.h"
#include "smtp/meaning.h"
#include "task/sys.h"

#include <inttypes.h>

#define ASK_WAIT (8 * NSEC_S)
#define SPOKEN_MAX 500

/* --- EHLO --- */

static void judge_extensions(struct primary *p)
{
	_cleanup_(buf_done) struct buf list;
	const struct offer_word *w;

	buf_init(&list, 512);
	for (size_t i = 0; (w = word_offer(i)); i++)
		if (ehlo_offers(&p->conn->ehlo, w->extension))
			buf_addf(&list, "%s%s", list.n ? " " : "", ehlo_keyword(w->extension));
	doctor_say(p->d, SECTION_PRIMARY, list.n ? VERDICT_OK : VERDICT_WARN, "extensions",
		   list.n ? NULL : "is something between here and the primary that speaks for it?",
		   "%.*s", list.n ? (int)list.n : 4, list.n ? list.p : "none");
}

static void judge_size(struct primary *p)
{
	uint64_t theirs = p->conn->ehlo.size_bytes, ours = p->d->conf->limits.message_bytes;
	char a[UNITS_TEXT_SIZE], b[UNITS_TEXT_SIZE];

	units_bytes_text(theirs, a);
	units_bytes_text(ours, b);
	if (theirs == 0)
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_OK, "size", NULL,
			   "the primary names no limit; ours is %s", b);
	else if (theirs > ours)
		doctor_say(
			p->d, SECTION_PRIMARY, VERDICT_WARN, "size",
			DOCTOR_TEXT(p->d,
				    "write in the configuration: limits { message_size = \"%s\" }",
				    a),
			"the primary takes %s, we %s: larger mail is refused while it is away", a,
			b);
	else
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_OK, "size", NULL,
			   "the primary takes %s, which is what we announce (ours would be %s)", a,
			   b);
}

static void judge_evidence(struct primary *p)
{
	const char *todo = DOCTOR_TEXT(
		p->d,
		"let it believe what this node says of clients: `locum doctor %.*s "
		"--snippet postfix` (or exim, rspamd, spamassassin, exchange) prints how",
		STR_ARG(p->d->domain->name));
	const struct ehlo *e = &p->conn->ehlo;

	if (ehlo_offers(e, EHLO_XCLIENT))
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_OK, "evidence", NULL,
			   "XCLIENT: it judges each message by the client that brought it to us");
	else if (ehlo_offers(e, EHLO_XFORWARD))
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "evidence", todo,
			   "XFORWARD alone: its log and filters behind it see the client, its own "
			   "checks "
			   "see us");
	else
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "evidence", todo,
			   "neither XCLIENT nor XFORWARD: every message seems to come from us");
}

void primary_judge_offers(struct primary *p)
{
	judge_extensions(p);
	judge_size(p);
	judge_evidence(p);
}

/* --- recipients --- */

/* One command and its reply; what went wrong is told. */
static bool say(struct task *tk, struct primary *p, const char *line, const char *step)
{
	nsec deadline = MIN(task_in(tk, ASK_WAIT), p->d->ends);
	int r;

	p->d->step = step;
	r = stream_write(tk, &p->conn->stream, str_of(line), deadline);
	if (r >= 0)
		r = stream_flush(tk, &p->conn->stream, deadline);
	if (r >= 0)
		r = conn_reply(tk, p->conn, deadline);
	if (r >= 0 && p->conn->reply.code != 421)
		return true;
	p->conn->broken = true;
	if (r == -ECANCELED)
		return false;
	if (r < 0)
		conn_explain_error(p->conn, r, step);
	else
		conn_explain_reply(p->conn, step);
	doctor_say(p->d, SECTION_PRIMARY, VERDICT_WRONG, "session",
		   "does it limit or block this node? its log says so", "%s", p->conn->why);
	return false;
}

static const char *spoken(const struct primary *p, char text[static SPOKEN_MAX])
{
	reply_one_line(&p->conn->reply, text, SPOKEN_MAX);
	return text;
}

/* What stands in the way, and what the primary's operator does about it. */
static const struct {
	const char *word, *todo;
} obstacles[] = {
	[MEANING_FULL] = { "it exists, and its mailbox is full", "make room in it" },
	[MEANING_NO_USER] = { "it does not exist",
			      "every domain must have a postmaster (RFC 5321 §4.5.1)" },
	[MEANING_GREYLISTED] = { "it greylists us", "exempt this node's addresses there: a "
						    "backup's mail has waited long "
						    "enough" },
	[MEANING_THROTTLED] = { "it limits how much we may bring",
				"exempt this node's addresses from its limits" },
	[MEANING_BLOCKED] = { "this node is blocked there", "exempt this node's addresses there" },
	[MEANING_RELAYING] = { "it does not take the domain for its own",
			       "is that the right server? then let it take the domain" },
	[MEANING_POLICY] = { "refused", "it must take mail to postmaster (RFC 5321 §4.5.1), also "
					"from this node" },
	[MEANING_TROUBLE] = { "put off", "its log says why" },
};

static void judge_postmaster(struct primary *p)
{
	enum meaning m = meaning_of_reply(&p->conn->reply);
	bool for_now = reply_class(&p->conn->reply) == 4;
	char text[SPOKEN_MAX];

	spoken(p, text);
	if (m == MEANING_TAKEN)
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_OK, "postmaster", NULL, "taken: %s",
			   text);
	else if (m < ELEMENTS(obstacles) && obstacles[m].word)
		doctor_say(p->d, SECTION_PRIMARY, for_now ? VERDICT_WARN : VERDICT_WRONG,
			   "postmaster", obstacles[m].todo, "%s: %s", obstacles[m].word, text);
	else
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WRONG, "postmaster", NULL, "%s", text);
}

static void judge_stranger(struct primary *p)
{
	enum meaning m = meaning_of_reply(&p->conn->reply);
	char text[SPOKEN_MAX];

	spoken(p, text);
	if (m == MEANING_TAKEN)
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "unknown user",
			   "let it refuse unknown recipients at RCPT; until then mail to nobody is "
			   "taken "
			   "here too",
			   "a mailbox that does not exist is taken: %s", text);
	else if (m == MEANING_NO_USER)
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_OK, "unknown user", NULL, "refused: %s",
			   text);
	else
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WARN, "unknown user",
			   "let it answer 550 5.1.1 to unknown recipients: from another reply "
			   "nothing is "
			   "learned about who exists",
			   "%s: %s", meaning_name(m), text);
}

/* MAIL, RCPT, and RSET before anything could be sent. False: no more can be asked. */
static bool ask_recipient(struct task *tk, struct primary *p, const char *local,
			  void (*judge)(struct primary *p))
{
	char line[DNS_NAME_SIZE + 80], text[SPOKEN_MAX];

	if (!say(tk, p, "MAIL FROM:<>\r\n", "MAIL FROM:<>"))
		return false;
	if (reply_class(&p->conn->reply) != 2) {
		doctor_say(p->d, SECTION_PRIMARY, VERDICT_WRONG, "sender",
			   "a server must take the null reverse-path (RFC 5321 §4.5.5); if it does "
			   "from "
			   "others, it limits or blocks this node",
			   "%s: %s", "MAIL FROM:<> is refused", spoken(p, text));
		return false;
	}
	snprintf(line, sizeof(line), "RCPT TO:<%s@%.*s>\r\n", local, STR_ARG(p->d->domain->name));
	if (!say(tk, p, line, "RCPT TO"))
		return false;
	judge(p);
	return say(tk, p, "RSET\r\n", "RSET");
}

void primary_ask_recipients(struct task *tk, struct primary *p)
{
	char stranger[40];
	uint64_t chance;

	sys_random(&chance, sizeof(chance));
	snprintf(stranger, sizeof(stranger), "no-such-user-%016" PRIx64, chance);
	if (ask_recipient(tk, p, "postmaster", judge_postmaster))
		ask_recipient(tk, p, stranger, judge_stranger);
}
