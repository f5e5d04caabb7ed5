#include "proc/smtpout/steps.h"

/* Recipients go out in batches that fit any socket buffer, so that neither side waits for the other
 * to read (RFC 2920 §3.1). */
#define BATCH_BYTES (8 * 1024)
#define ADDRESS_MAX 1024
#define PARAMETER_MAX 1024

/* smtpin lets no control character into an address, and the spool's checksums none after it; but
 * here it would be a command of a stranger's, so it is looked at once more. In quotes < and > are ordinary. */
static bool address_fits(str address)
{
	bool quoted = false, escaped = false;

	for (size_t i = 0; i < address.n; i++) {
		unsigned char c = (unsigned char)address.p[i];

		if (c < ' ' || c == 0x7f || (!quoted && (c == '<' || c == '>')))
			return false;
		if (c == '"' && !escaped)
			quoted = !quoted;
		escaped = quoted && c == '\\' && !escaped;
	}
	return !quoted && address.n <= ADDRESS_MAX;
}

static bool parameter_fits(str value)
{
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c <= ' ' || c == 0x7f)
			return false;
	}
	return value.n <= PARAMETER_MAX;
}

bool envelope_recipient_fits(const struct handover_recipient *to)
{
	return to->address.n > 0 && address_fits(to->address) && parameter_fits(to->notify) &&
	       parameter_fits(to->orcpt);
}

bool envelope_fits(const struct handover *h)
{
	for (size_t i = 0; i < h->recipient_count; i++) {
		if (!envelope_recipient_fits(&h->recipients[i]))
			return false;
	}
	return address_fits(h->reverse_path) && parameter_fits(h->dsn_ret) &&
	       parameter_fits(h->dsn_envid);
}

int envelope_put(struct task *tk, struct transaction *t, const str *parts, size_t count)
{
	nsec deadline = ending_limit(tk, t, t->c->limits->command);

	for (size_t i = 0; i < count; i++) {
		int r = stream_write(tk, &t->c->stream, parts[i], deadline);

		if (r < 0)
			return ending_lost(t, r);
	}
	return 0;
}

int envelope_flush(struct task *tk, struct transaction *t)
{
	int r = stream_flush(tk, &t->c->stream, ending_limit(tk, t, t->c->limits->command));

	if (r == -EPIPE || r == -ECONNRESET) {
		/* A host that closed may have said why before: reading tells. */
		t->ends = ending_limit(tk, t, LAST_WORDS_WAIT);
		return 0;
	}
	return r < 0 ? ending_lost(t, r) : 0;
}

static str body_parameter(const struct transaction *t)
{
	if (t->h->body_binarymime)
		return STR(" BODY=BINARYMIME");
	if (t->h->body_8bitmime && ehlo_offers(&t->c->ehlo, EHLO_8BITMIME))
		return STR(" BODY=8BITMIME");
	return STR_NONE;
}

static bool with_smtputf8(const struct transaction *t)
{
	return t->h->smtputf8 && ehlo_offers(&t->c->ehlo, EHLO_SMTPUTF8);
}

/* " NAME" where there is a value to follow it and the host offers DSN. */
static str dsn_name(const struct transaction *t, const char *name, str value)
{
	return value.n && ehlo_offers(&t->c->ehlo, EHLO_DSN) ? str_of(name) : STR_NONE;
}

static str dsn_value(const struct transaction *t, str value)
{
	return ehlo_offers(&t->c->ehlo, EHLO_DSN) ? value : STR_NONE;
}

int envelope_ask_mail(struct task *tk, struct transaction *t)
{
	const struct handover *h = t->h;
	const struct ehlo *e = &t->c->ehlo;
	uint64_t bytes = h->body_fd < 0 ? h->body_announced : h->body_bytes + h->received.n;
	char size[40] = "";

	if (ehlo_offers(e, EHLO_SIZE) && bytes > 0)
		snprintf(size, sizeof(size), " SIZE=%ju", (uintmax_t)bytes);
	return ENVELOPE_PUT(tk, t, STR("MAIL FROM:<"), h->reverse_form, STR(">"), str_of(size),
			    body_parameter(t), with_smtputf8(t) ? STR(" SMTPUTF8") : STR_NONE,
			    h->requiretls ? STR(" REQUIRETLS") : STR_NONE,
			    dsn_name(t, " RET=", h->dsn_ret), dsn_value(t, h->dsn_ret),
			    dsn_name(t, " ENVID=", h->dsn_envid), dsn_value(t, h->dsn_envid),
			    STR("\r\n"));
}

static int ask_recipient(struct task *tk, struct transaction *t)
{
	const struct handover_recipient *to = &t->h->recipients[t->asked];
	str orcpt = to->orcpt;

	if (!str_is_ascii(orcpt) && !with_smtputf8(t)) {
		orcpt = STR_NONE;
		if (ehlo_offers(&t->c->ehlo, EHLO_DSN))
			t->h->notes |= NOTE_ORCPT_DROPPED;
	}
	return ENVELOPE_PUT(tk, t, STR("RCPT TO:<"), to->form, STR(">"),
			    dsn_name(t, " NOTIFY=", to->notify), dsn_value(t, to->notify),
			    dsn_name(t, " ORCPT=", orcpt), dsn_value(t, orcpt), STR("\r\n"));
}

/* The message goes also to a host that does not take it. */
static int take_forward_replies(struct task *tk, struct transaction *t)
{
	struct conn *c = t->c;
	int r = 0;

	for (; c->forwards > 0 && r == 0; c->forwards--) {
		t->step = STEP_FORWARD;
		r = ending_next_reply(tk, t, c->limits->command);
		/* Only a reply to MAIL says that the connection is of use. */
		t->answered = false;
		if (r == 0 && reply_class(&c->reply) != 2)
			c->forward_refused = true;
	}
	return r;
}

static int take_reset_reply(struct task *tk, struct transaction *t)
{
	int r;

	if (!t->reset_asked)
		return 0;
	t->step = STEP_RSET;
	t->reset_asked = false;
	r = ending_next_reply(tk, t, t->c->limits->command);
	if (r < 0)
		return r;
	/* Only a reply to MAIL says that the connection is of use. */
	t->answered = false;
	return reply_class(&t->c->reply) == 2 ? 0 : ending_lost(t, -EPROTO);
}

/* Ends what an earlier transaction left open; alone where the host does not offer PIPELINING. */
int envelope_ask_reset(struct task *tk, struct transaction *t)
{
	int r;

	if (!t->reset_asked)
		return 0;
	r = ENVELOPE_PUT(tk, t, STR("RSET\r\n"));
	if (r < 0 || t->pipelining)
		return r;
	r = envelope_flush(tk, t);
	return r < 0 ? r : take_reset_reply(tk, t);
}

static int take_mail_reply(struct task *tk, struct transaction *t)
{
	const struct reply *reply = &t->c->reply;
	int r = take_forward_replies(tk, t);

	if (r == 0)
		r = take_reset_reply(tk, t);
	if (r < 0)
		return r;
	t->step = STEP_MAIL;
	r = ending_next_reply(tk, t, t->c->limits->command);
	if (r < 0)
		return r;
	if (reply_class(reply) == 3)
		return ending_lost(t, -EPROTO);
	/* 530: TLS or a password first (RFC 3207, 4954). That is about us and them, never about
	 * this message: the operator must see it, and no message be held for it. */
	if (reply->code == 530)
		return ending_closing(t);
	t->step = STEP_RCPT;
	if (reply_class(reply) == 2) {
		t->c->reset_first = true;
		return 0;
	}
	t->mail_failed = true;
	conn_explain_reply(t->c, "MAIL");
	ending_explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	ending_settle_reply(t);
	return 0;
}

/* RFC 5321 §4.5.3.1.10: 452, or 552 from older hosts, may mean "too many recipients", unless it
 * says that it is about the mailbox (x.2.x). */
static bool may_be_too_many(const struct reply *r)
{
	return (r->code == 452 || r->code == 552) && reply_enhanced(r).subject != 2;
}

/* Those that the host cannot take were not asked. */
static void pass_lacking(struct transaction *t)
{
	while (t->replied < t->asked && t->h->recipients[t->replied].lacking)
		t->replied++;
}

static int take_rcpt_reply(struct task *tk, struct transaction *t)
{
	struct handover_recipient *to = &t->h->recipients[t->replied];
	const struct reply *reply = &t->c->reply;
	int r = ending_next_reply(tk, t, t->c->limits->command);

	if (r < 0)
		return r;
	if (reply_class(reply) == 3)
		return ending_lost(t, -EPROTO);
	t->replied++;
	pass_lacking(t);
	if (t->mail_failed)
		return 0;
	ending_keep_lines(t, to);
	if (reply_class(reply) == 2) {
		to->accepted = true;
		to->rcpt_reply = STR("250");
		t->accepted++;
		return 0;
	}
	to->outcome = ending_verdict(reply);
	to->rcpt_reply = to->reply = ending_words(t);
	to->over = may_be_too_many(reply);
	conn_explain_reply(t->c, "RCPT");
	ending_explain(t, LOCUM__ATTEMPT__ATTEMPT_ANSWERED);
	return 0;
}

int envelope_take_replies(struct task *tk, struct transaction *t)
{
	int r = 0;

	if (t->step < STEP_RCPT)
		r = take_mail_reply(tk, t);
	while (r >= 0 && t->replied < t->asked)
		r = take_rcpt_reply(tk, t);
	return r;
}

int envelope_ask_recipients(struct task *tk, struct transaction *t)
{
	struct handover *h = t->h;
	int r = 0;

	while (t->asked < h->recipient_count && !t->mail_failed) {
		if (h->recipients[t->asked].lacking) {
			t->asked++;
			pass_lacking(t);
			continue;
		}
		r = ask_recipient(tk, t);
		if (r < 0)
			return r;
		t->asked++;
		if (t->pipelining && t->c->stream.out.n < BATCH_BYTES)
			continue;
		r = envelope_flush(tk, t);
		if (r >= 0)
			r = envelope_take_replies(tk, t);
		if (r < 0)
			return r;
	}
	return 0;
}
