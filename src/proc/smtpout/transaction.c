#include "proc/smtpout/transaction.h"

#include "proc/smtpout/needs.h"
#include "proc/smtpout/steps.h"

static const char *const note_texts[] = {
	"8-bit body to a host without 8BITMIME",
	"DSN parameters dropped: the host does not offer DSN",
	"ORCPT dropped: it is not ASCII and the message went without SMTPUTF8",
	"went without SMTPUTF8, which the host does not offer: only domains were not ASCII",
	"a CRLF was added behind the last line: the host does not offer CHUNKING",
};

_Static_assert(ELEMENTS(note_texts) == HANDOVER_NOTES, "a text for each note");

const char *handover_note_text(unsigned number)
{
	return note_texts[number];
}

/* The host lacks what every recipient needs: nothing is said. */
static int not_begun(struct transaction *t)
{
	t->h->attempt = LOCUM__ATTEMPT__ATTEMPT_NONE;
	str_copy(t->h->recipients[0].reply, t->h->text, sizeof(t->h->text));
	/* What waits in its output is of no other message. */
	t->c->broken = t->c->broken || t->c->forwards > 0;
	return -EOPNOTSUPP;
}

int transaction_begin(struct task *tk, struct transaction *t, struct conn *c, struct handover *h)
{
	*t = (struct transaction){
		.c = c,
		.h = h,
		.started = task_now(tk),
		.ends = c->ends,
		.step = STEP_MAIL,
		.pipelining = ehlo_offers(&c->ehlo, EHLO_PIPELINING),
		.reset_asked = c->reset_first,
	};
	must(h->recipient_count > 0 && h->reply_bytes_max >= 16);
	h->stale = false;
	t->fitted = h->recipient_count;
	dot_out_init(&t->dots);
	if (!envelope_fits(h))
		return ending_corrupt(t, "the envelope in the spool has an address or parameter "
					 "that cannot be one");
	if (needs_compare(c, h) < 0)
		return ending_corrupt(t, "the spool cannot read the message");
	return h->lacking ? not_begun(t) : 0;
}

/* What can be said before DATA; with PIPELINING the last of it waits for the next flush, and its
 * replies are to be taken. */
static int ask(struct task *tk, struct transaction *t)
{
	int r = 0;

	if (!t->mail_asked) {
		t->mail_asked = true;
		r = envelope_ask_reset(tk, t);
		if (r >= 0)
			r = envelope_ask_mail(tk, t);
		if (r >= 0 && !t->pipelining)
			r = envelope_flush(tk, t);
		if (r >= 0 && !t->pipelining)
			r = envelope_take_replies(tk, t);
	}
	return r < 0 ? r : envelope_ask_recipients(tk, t);
}

/* Those who came since. */
static int fit_recipients(struct transaction *t)
{
	struct handover *h = t->h;

	for (; t->fitted < h->recipient_count; t->fitted++) {
		if (!envelope_recipient_fits(&h->recipients[t->fitted]))
			return ending_corrupt(t, "the recipient cannot be an address");
		needs_recipient(t->c, h, &h->recipients[t->fitted]);
	}
	return 0;
}

int transaction_ask(struct task *tk, struct transaction *t)
{
	int r = fit_recipients(t);

	if (r >= 0)
		r = ask(tk, t);
	if (r >= 0)
		r = envelope_flush(tk, t);
	return r < 0 ? r : envelope_take_replies(tk, t);
}

void transaction_drop_last(struct transaction *t)
{
	must(t->h->recipient_count > 0 && t->replied == t->h->recipient_count);
	t->h->recipient_count--;
	t->asked = t->replied = t->fitted = t->h->recipient_count;
}

int transaction_send(struct task *tk, struct transaction *t)
{
	int r = needs_message(t->c, t->h);

	if (r == -EOPNOTSUPP)
		return not_begun(t);
	if (r < 0)
		return ending_corrupt(t, "the message cannot be read");
	return data_send(tk, t);
}

void transaction_end(struct task *tk, struct transaction *t)
{
	t->h->latency = task_now(tk) - t->started;
	t->c->transactions++;
	/* Something said that nobody asked for: from here on replies would be off by one. */
	if (stream_pending(&t->c->stream).n > 0)
		t->c->broken = true;
}

void transaction_run(struct task *tk, struct conn *c, struct handover *h)
{
	struct transaction t;

	if (transaction_begin(tk, &t, c, h) < 0)
		return;
	if (ask(tk, &t) >= 0)
		data_send(tk, &t);
	transaction_end(tk, &t);
}
