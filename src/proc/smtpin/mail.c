#include "proc/smtpin/mail.h"

#include "base/log.h"
#include "proc/smtpin/recipient.h"

enum answer do_mail(struct session *s, const struct smtp_command *c)
{
	const struct server *srv = s->srv;

	if (s->hello == HELLO_NONE)
		return ANSWER_HELLO_FIRST;
	if (s->transaction)
		return ANSWER_MAIL_ALREADY;
	if (c->size_given && c->size > s->settings->conf->limits.message_bytes)
		return ANSWER_TOO_LARGE;
	if (!srv->spool_accepting)
		return ANSWER_NO_SPACE;
	if (srv->budget.used >= srv->budget.max || transaction_new(c, &s->transaction) < 0)
		return ANSWER_BUSY;
	return ANSWER_SENDER_OK;
}

static void log_recipient_refused(struct session *s, const struct smtp_command *c, enum answer a)
{
	char client[ADDR_TEXT_SIZE];

	s->srv->counters.refused_total++;
	log_info("recipient.refused", K("recipient", c->path.mailbox),
		 K("from", transaction_reverse_path(s->transaction)),
		 K_Z("client", addr_ip_text(&s->client, client)), K_Z("helo", session_helo(s)),
		 K("reply", answer_line(a)));
}

static enum answer add_recipient(struct session *s, const struct smtp_command *c)
{
	const struct conf *conf = s->settings->conf;
	char text[SMTP_PLAIN_SIZE];
	struct recipient recipient;

	switch (recipient_check(conf, &c->path, text, &recipient)) {
	case RECIPIENT_NOT_OURS:
		return ANSWER_NOT_OUR_DOMAIN;
	case RECIPIENT_UNKNOWN:
		return ANSWER_NO_SUCH_USER;
	case RECIPIENT_TAKEN:
		break;
	}
	if (transaction_add_recipient(s->transaction, c, recipient.address, recipient.domain->name,
				      conf->limits.recipients) < 0)
		return ANSWER_TOO_MANY_RECIPIENTS;
	return ANSWER_RECIPIENT_OK;
}

enum answer do_rcpt(struct session *s, const struct smtp_command *c)
{
	enum answer a;

	if (s->hello == HELLO_NONE)
		return ANSWER_HELLO_FIRST;
	if (!s->transaction)
		return s->mail_refused ? ANSWER_MAIL_REFUSED : ANSWER_MAIL_FIRST;
	if (s->intake)
		return ANSWER_BDAT_BEGUN;
	a = add_recipient(s, c);
	if (a == ANSWER_NOT_OUR_DOMAIN || a == ANSWER_NO_SUCH_USER)
		log_recipient_refused(s, c, a);
	if (a == ANSWER_TOO_MANY_RECIPIENTS)
		s->srv->counters.deferred_total++;
	return a;
}

/* Before the message itself. */
static enum answer check_ready(const struct session *s)
{
	if (s->hello == HELLO_NONE)
		return ANSWER_HELLO_FIRST;
	if (!s->transaction)
		return s->mail_refused ? ANSWER_MAIL_REFUSED : ANSWER_MAIL_FIRST;
	if (!transaction_recipient_count(s->transaction))
		return ANSWER_NO_RECIPIENTS;
	return ANSWER_OK;
}

enum answer do_data(struct session *s, const struct smtp_command *c)
{
	enum answer a = check_ready(s);

	(void)c;
	if (a != ANSWER_OK)
		return a;
	if (s->intake)
		return ANSWER_BDAT_BEGUN;
	if (transaction_body(s->transaction) == SMTP_BODY_BINARYMIME)
		return ANSWER_DATA_BINARY;
	return ANSWER_START_DATA;
}

enum answer do_bdat(struct session *s, const struct smtp_command *c)
{
	enum answer a = check_ready(s);

	(void)c;
	return a == ANSWER_OK ? ANSWER_TAKE_CHUNK : a;
}
