#include "proc/smtpin/mail.h"

#include "base/log.h"
#include "proc/smtpin/live.h"
#include "proc/smtpin/recipient.h"
#include "proc/smtpin/screen.h"

enum answer do_mail(struct session *s, const struct smtp_command *c)
{
	const struct server *srv = s->srv;
	struct announced a;

	if (s->hello == HELLO_NONE)
		return ANSWER_HELLO_FIRST;
	if (s->transaction)
		return ANSWER_MAIL_ALREADY;
	offers_announced(&s->srv->offers, s->settings->conf, &a);
	if (c->size_given && c->size > a.size_bytes)
		return ANSWER_TOO_LARGE;
	if (c->requiretls && !stream_tls_version(&s->stream))
		return ANSWER_REQUIRETLS_NEEDS_TLS;
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

/* Can the recipient's primary take the message that MAIL announced? What it cannot is refused now, where the
 * sender hears of it. */
static enum answer check_needs(const struct transaction *t, const struct offer *o)
{
	if (o->size_bytes && transaction_size(t) > o->size_bytes)
		return ANSWER_TOO_LARGE;
	if (transaction_smtputf8(t) && !offer_has(o, EHLO_SMTPUTF8))
		return ANSWER_NO_SMTPUTF8;
	if (transaction_requiretls(t) && !offer_has(o, EHLO_REQUIRETLS))
		return ANSWER_NO_REQUIRETLS;
	if (transaction_body(t) == SMTP_BODY_BINARYMIME &&
	    !offer_has(o, EHLO_BINARYMIME | EHLO_CHUNKING))
		return ANSWER_NO_BINARYMIME;
	return ANSWER_OK;
}

/* Does what is known of the client refuse mail for the domain? */
static enum answer check_symbols(const struct session *s, const struct conf_domain *d)
{
	const struct conf *c = s->settings->conf;

	if (s->trusted)
		return ANSWER_OK;
	if (s->facts && !s->facts_waited && screen_needs_facts(c, d))
		return ANSWER_FACTS_FIRST;
	return screen_refusal(c, d, session_symbols(s)) < 0 ? ANSWER_OK : ANSWER_SCREENED;
}

int mail_refusal(const struct session *s, const struct smtp_path *path)
{
	char text[SMTP_PLAIN_SIZE];
	struct recipient recipient;

	if (recipient_check(s->settings->conf, path, text, &recipient) != RECIPIENT_TAKEN)
		return -1;
	return screen_refusal(s->settings->conf, recipient.domain, session_symbols(s));
}

int mail_write_refusal(struct task *tk, struct session *s, int symbol)
{
	char text[SCREEN_REPLY_SIZE], client[ADDR_TEXT_SIZE];
	str reply;
	int r;

	must(symbol >= 0);
	reply = screen_reply(s->settings->conf, symbol, &s->client, text);
	s->srv->counters.refused_total++;
	log_info("recipient.refused", K("from", transaction_reverse_path(s->transaction)),
		 K_Z("client", addr_ip_text(&s->client, client)), K_Z("helo", session_helo(s)),
		 K("reply", reply));
	r = session_write(tk, s, reply);
	return r < 0 ? r : session_write(tk, s, STR("\r\n"));
}

/* While the primary is up its backup takes mail only of those it knows, and of those that keep coming back: they do not
 * reach it. */
static enum answer check_preference(struct session *s, const struct recipient *r,
				    const struct offer *o)
{
	if (r->domain->acceptance != ACCEPT_DEFER || o->state != LOCUM__PRIMARY_STATE__PRIMARY_UP)
		return ANSWER_OK;
	if (s->trusted || server_favours(s->srv, &s->client) ||
	    server_is_patient(s->srv, &s->client, transaction_reverse_path(s->transaction),
			      r->address))
		return ANSWER_OK;
	return ANSWER_USE_PRIMARY;
}

static enum way_step next_step(const struct session *s, const struct conf_domain *d, struct offer o)
{
	const struct transaction *t = s->transaction;

	/* Without smtpout nobody can be asked; one that is asked already will be found away. */
	if (!s->srv->smtpout)
		o.state = LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE;
	return way_next(transaction_way(s->transaction), transaction_recipient_count(t) > 0, d, &o);
}

static enum answer choose_way(struct session *s, const struct conf_domain *d, const struct offer *o)
{
	struct way *w = transaction_way(s->transaction);

	switch (next_step(s, d, *o)) {
	case STEP_LIVE:
		if (!way_is_to(w, d, o))
			live_leave(s);
		way_to_primary(w, d, o);
		return ANSWER_ASK_PRIMARY;
	case STEP_SPOOL:
		return ANSWER_TO_SPOOL;
	case STEP_ELSEWHERE:
		break;
	}
	return ANSWER_OTHER_SERVER;
}

/* Ours, not the primary's: what is to be said against it before anybody else is asked. */
static enum answer check_recipient(struct session *s, const struct recipient *r,
				   const struct offer *o)
{
	enum answer a = check_needs(s->transaction, o);

	if (a == ANSWER_OK)
		a = check_symbols(s, r->domain);
	return a == ANSWER_OK ? check_preference(s, r, o) : a;
}

static enum answer name_recipient(struct session *s, const struct smtp_command *c)
{
	const struct conf *conf = s->settings->conf;
	char text[SMTP_PLAIN_SIZE];
	struct recipient recipient;
	struct offer offer;
	enum answer a;

	switch (recipient_check(conf, &c->path, text, &recipient)) {
	case RECIPIENT_NOT_OURS:
		return ANSWER_NOT_OUR_DOMAIN;
	case RECIPIENT_ROUTED:
		return ANSWER_ROUTED;
	case RECIPIENT_UNKNOWN:
		return ANSWER_NO_SUCH_USER;
	case RECIPIENT_TAKEN:
		break;
	}
	offers_of(&s->srv->offers, recipient.domain->name, &offer);
	a = check_recipient(s, &recipient, &offer);
	if (a != ANSWER_OK)
		return a;
	switch (transaction_name_recipient(s->transaction, c, recipient.address,
					   recipient.domain->name, conf->limits.recipients)) {
	case 0:
		return choose_way(s, recipient.domain, &offer);
	case -EALREADY:
		return ANSWER_RECIPIENT_OK;
	default:
		return ANSWER_TOO_MANY_RECIPIENTS;
	}
}

void mail_take_recipient(struct session *s)
{
	struct transaction *t = s->transaction;
	struct offer offer;

	offers_of(&s->srv->offers, str_of(transaction_named(t)->domain), &offer);
	transaction_take_named(t);
	transaction_limit_size(t, offer.size_bytes);
}

static void log_by_directory(const struct session *s, const char *event, str reply)
{
	const Locum__Recipient *r = transaction_named(s->transaction);
	char client[ADDR_TEXT_SIZE];

	log_info(event, K("recipient", str_mem(r->address.data, r->address.len)),
		 K("from", transaction_reverse_path(s->transaction)),
		 K_Z("client", addr_ip_text(&s->client, client)), K_Z("helo", session_helo(s)),
		 K_Z("by", "directory"), K("reply", reply));
}

enum answer mail_spool_recipient(struct task *tk, struct session *s,
				 char ret_words[static DIRECTORY_WORDS_SIZE])
{
	live_leave(s);
	switch (directory_judge(tk, s, ret_words)) {
	case DIRECTORY_TAKE:
		break;
	case DIRECTORY_LATER:
		log_by_directory(s, "recipient.deferred", answer_line(ANSWER_NOT_KNOWN));
		return ANSWER_NOT_KNOWN;
	case DIRECTORY_REFUSE:
		str_copy(answer_line(ANSWER_NO_SUCH_USER), ret_words, DIRECTORY_WORDS_SIZE);
		/* fallthrough */
	case DIRECTORY_NO_USER:
		s->srv->counters.refused_total++;
		log_by_directory(s, "recipient.refused", str_of(ret_words));
		return ANSWER_NO_SUCH_USER;
	}
	way_to_spool(transaction_way(s->transaction));
	mail_take_recipient(s);
	return ANSWER_RECIPIENT_OK;
}

void mail_log_refused(struct session *s, const Locum__LiveAnswer *said)
{
	const Locum__Recipient *r = transaction_named(s->transaction);
	char client[ADDR_TEXT_SIZE], text[WORDS_LOG_SIZE];
	bool later = words_are_later(said);

	s->srv->counters.deferred_total += later;
	s->srv->counters.refused_total += !later;
	log_info(later ? "recipient.deferred" : "recipient.refused",
		 K("recipient", str_mem(r->address.data, r->address.len)),
		 K("from", transaction_reverse_path(s->transaction)),
		 K_Z("client", addr_ip_text(&s->client, client)), K_Z("helo", session_helo(s)),
		 K_Z("host", said->host ? said->host->name : ""),
		 K("reply", words_for_log(said, text)));
}

/* Who had enough for this hour may try again later; what it has begun it may still end. */
static enum answer check_rates(struct session *s)
{
	if (s->trusted || server_check_rates(s->srv, &s->client) == RATES_NONE)
		return ANSWER_OK;
	return ANSWER_RATE;
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
	a = check_rates(s);
	if (a != ANSWER_OK)
		return a;
	a = name_recipient(s, c);
	if (answer_is_refusal(a))
		log_recipient_refused(s, c, a);
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
