#include "proc/smtpout/steps.h"

static const char *const step_names[] = {
	[STEP_FORWARD] = "XFORWARD",    [STEP_RSET] = "RSET", [STEP_MAIL] = "MAIL",
	[STEP_RCPT] = "RCPT",           [STEP_DATA] = "DATA", [STEP_BODY] = "the message",
	[STEP_FINAL] = "the final dot",
};

const char *ending_step(const struct transaction *t)
{
	return t->chunked && t->step == STEP_FINAL ? "the last chunk" : step_names[t->step];
}

nsec ending_limit(struct task *tk, const struct transaction *t, nsec duration)
{
	return MIN(task_in(tk, duration), t->ends);
}

str ending_words(struct transaction *t)
{
	char line[1024];

	return arena_str(t->h->arena, reply_one_line(&t->c->reply, line,
						     MIN(sizeof(line), t->h->reply_bytes_max)));
}

void ending_keep_lines(struct transaction *t, struct handover_recipient *to)
{
	if (!t->h->keep_lines)
		return;
	to->lines = arena_str(t->h->arena, buf_str(&t->c->reply.text));
	to->code = to->lines.p ? t->c->reply.code : 0;
}

static bool is_open(const struct transaction *t, const struct handover_recipient *to)
{
	return to->outcome == LOCUM__OUTCOME__OUTCOME_NONE && (to->accepted || t->mail_failed);
}

void ending_settle(struct transaction *t, Locum__Outcome outcome, str reply)
{
	struct handover *h = t->h;

	for (size_t i = 0; i < h->recipient_count; i++) {
		struct handover_recipient *to = &h->recipients[i];

		if (!is_open(t, to))
			continue;
		to->outcome = outcome;
		to->reply = reply;
		to->code = 0;
		to->lines = STR_NONE;
	}
}

void ending_settle_reply(struct transaction *t)
{
	struct handover_recipient said = { .reply = ending_words(t) };
	Locum__Outcome outcome = ending_verdict(&t->c->reply);
	struct handover *h = t->h;

	ending_keep_lines(t, &said);
	for (size_t i = 0; i < h->recipient_count; i++) {
		struct handover_recipient *to = &h->recipients[i];

		if (!is_open(t, to))
			continue;
		to->outcome = outcome;
		to->reply = said.reply;
		to->code = said.code;
		to->lines = said.lines;
	}
}

void ending_explain(struct transaction *t, Locum__Attempt attempt)
{
	t->h->attempt = attempt;
	str_copy(str_of(t->c->why), t->h->text, sizeof(t->h->text));
}

static bool was_stale(struct transaction *t)
{
	t->h->stale = t->c->reused && !t->answered;
	return t->h->stale;
}

int ending_lost(struct transaction *t, int error)
{
	t->c->broken = true;
	if (error != -ETIMEDOUT && error != -ECANCELED && was_stale(t))
		return error;
	conn_explain_error(t->c, error, ending_step(t));
	ending_explain(t, LOCUM__ATTEMPT__ATTEMPT_LOST);
	switch (t->step) {
	case STEP_FORWARD:
	case STEP_RSET:
	case STEP_MAIL:
	case STEP_RCPT:
	case STEP_DATA:
		break;
	case STEP_BODY:
		if (error != -ECANCELED)
			ending_settle(t, LOCUM__OUTCOME__OUTCOME_DEFERRED,
				      arena_str(t->h->arena, str_of(t->c->why)));
		break;
	case STEP_FINAL:
		ending_settle(t, LOCUM__OUTCOME__OUTCOME_AMBIGUOUS,
			      arena_str(t->h->arena, str_of(t->c->why)));
		break;
	}
	return error;
}

int ending_closing(struct transaction *t)
{
	t->c->broken = true;
	if (was_stale(t))
		return -ECONNRESET;
	conn_explain_reply(t->c, ending_step(t));
	ending_explain(t, LOCUM__ATTEMPT__ATTEMPT_REFUSING);
	switch (t->step) {
	case STEP_FORWARD:
	case STEP_RSET:
	case STEP_MAIL:
		break;
	case STEP_RCPT:
		if (t->mail_failed)
			break;
		t->h->recipients[t->replied].outcome = LOCUM__OUTCOME__OUTCOME_DEFERRED;
		t->h->recipients[t->replied].reply = ending_words(t);
		break;
	case STEP_DATA:
	case STEP_BODY:
	case STEP_FINAL:
		ending_settle(t, LOCUM__OUTCOME__OUTCOME_DEFERRED, ending_words(t));
		break;
	}
	return -ECONNRESET;
}

int ending_corrupt(struct transaction *t, const char *what)
{
	struct handover *h = t->h;
	str reply = arena_str(h->arena, str_of(what));

	t->c->broken = true;
	h->attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
	str_copy(str_of(what), h->text, sizeof(h->text));
	for (size_t i = 0; i < h->recipient_count; i++) {
		h->recipients[i].outcome = LOCUM__OUTCOME__OUTCOME_CORRUPT;
		h->recipients[i].reply = reply;
	}
	return -EBADMSG;
}

Locum__Outcome ending_verdict(const struct reply *r)
{
	switch (reply_class(r)) {
	case 2:
		return LOCUM__OUTCOME__OUTCOME_DELIVERED;
	case 4:
		return LOCUM__OUTCOME__OUTCOME_DEFERRED;
	default:
		return LOCUM__OUTCOME__OUTCOME_REFUSED;
	}
}

int ending_next_reply(struct task *tk, struct transaction *t, nsec duration)
{
	int r = conn_reply(tk, t->c, ending_limit(tk, t, duration));

	if (r < 0)
		return ending_lost(t, r);
	if (t->c->reply.code == 421)
		return ending_closing(t);
	t->answered = true;
	return 0;
}
