#include "proc/smtpin/directory.h"

#include "base/log.h"

/* When nobody knows the recipient. */
static enum directory_verdict decide_unknown(const struct conf_domain *d,
					     Locum__PrimaryState primary,
					     const Locum__RecipientFacts *facts)
{
	/* It gets the message at once, and says itself what it thinks of it. */
	if (primary == LOCUM__PRIMARY_STATE__PRIMARY_UP && d->acceptance == ACCEPT_QUEUE)
		return DIRECTORY_TAKE;
	switch (d->unknown) {
	case UNKNOWN_AUTO:
		break;
	case UNKNOWN_ACCEPT:
		return DIRECTORY_TAKE;
	case UNKNOWN_DEFER:
		return DIRECTORY_LATER;
	case UNKNOWN_REFUSE:
		return DIRECTORY_REFUSE;
	}
	return facts->covered && !facts->takes_all ? DIRECTORY_LATER : DIRECTORY_TAKE;
}

enum directory_verdict directory_decide(const struct conf_domain *d, Locum__PrimaryState primary,
					const Locum__RecipientFacts *facts)
{
	if (facts->word == LOCUM__RECIPIENT_WORD__RECIPIENT_KNOWN)
		return DIRECTORY_TAKE;
	if (facts->word == LOCUM__RECIPIENT_WORD__RECIPIENT_REFUSED)
		return DIRECTORY_NO_USER;
	return decide_unknown(d, primary, facts);
}

static int ask(struct task *tk, struct server *srv, const Locum__Recipient *r,
	       struct ipc_message *ret_reply)
{
	Locum__AskRecipient question = LOCUM__ASK_RECIPIENT__INIT;
	IPC_PACKET(packet, ASK_RECIPIENT, ask_recipient, &question);
	int result;

	if (!srv->state || task_now(tk) < srv->state_rests_until)
		return -EAGAIN;
	question.domain = r->domain;
	question.address = r->address;
	result = ipc_call(tk, srv->state, &packet, -1, ret_reply, task_in(tk, DIRECTORY_WAIT));
	if (result == -ETIMEDOUT) {
		srv->state_rests_until = task_in(tk, DIRECTORY_REST);
		log_warn("directory.slow", K_Z("domain", r->domain));
	}
	if (result < 0)
		return result;
	return ret_reply->packet->body_case == LOCUM__PACKET__BODY_RECIPIENT_FACTS ? 0 : -EPROTO;
}

static bool is_postmaster(const Locum__Recipient *r)
{
	struct smtp_path path;

	return smtp_mailbox_parse(str_mem(r->address.data, r->address.len), &path) == 0 &&
	       smtp_path_is_postmaster(&path);
}

enum directory_verdict directory_judge(struct task *tk, struct session *s,
				       char ret_words[static DIRECTORY_WORDS_SIZE])
{
	static const Locum__RecipientFacts nothing = LOCUM__RECIPIENT_FACTS__INIT;
	const Locum__Recipient *r = transaction_named(s->transaction);
	const struct conf_domain *d = conf_domain(s->settings->conf, str_of(r->domain));
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	const Locum__RecipientFacts *facts = &nothing;
	struct offer offer;

	ret_words[0] = '\0';
	if (!d || d->recipients != RECIPIENTS_LEARN || is_postmaster(r))
		return DIRECTORY_TAKE;
	if (ask(tk, s->srv, r, &reply) == 0)
		facts = reply.packet->recipient_facts;
	offers_of(&s->srv->offers, d->name, &offer);
	str_copy(str_of(facts->reply), ret_words, DIRECTORY_WORDS_SIZE);
	return directory_decide(d, offer.state, facts);
}
