#include "proc/smtpin/hello.h"

#include "base/log.h"
#include "proc/smtpin/arrival.h"
#include "proc/smtpin/screen.h"
#include "proc/smtpin/told.h"

#include <stdarg.h>
#include <stdio.h>

#define TLS_TIME NSEC_MINUTE
/* What an earlier HELO name said is void. */
#define HELO_SYMBOLS                                                                               \
	(SCREEN_BIT(CHECK_HELO_OURS) | SCREEN_BIT(CHECK_HELO_BARE_WORD) |                          \
	 SCREEN_BIT(CHECK_HELO_LITERAL) | SCREEN_BIT(CHECK_HELO_UNKNOWN))
#define FLUSH_TIME (5 * NSEC_MINUTE)

/* A reply of several lines, each shorter than RFC 5321 §4.5.3.1.5 allows; RFC 2034 §3: greeting, HELO and
 * EHLO replies alone carry no enhanced code. */
struct lines {
	char text[1024];
	size_t n, last; /* `last` is where the last line begins */
};

static void add_line(struct lines *l, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add_line(struct lines *l, const char *format, ...)
{
	size_t room = sizeof(l->text) - l->n;
	va_list ap;
	int n;

	must(room > 4);
	memcpy(l->text + l->n, "250-", 4);
	va_start(ap, format);
	n = vsnprintf(l->text + l->n + 4, room - 4, format, ap);
	va_end(ap);
	must(n > 0 && (size_t)n + 4 + 2 <= room);
	l->last = l->n;
	l->n += 4 + (size_t)n;
	memcpy(l->text + l->n, "\r\n", 2);
	l->n += 2;
}

static str finish_lines(struct lines *l)
{
	l->text[l->last + 3] = ' ';
	return str_mem(l->text, l->n);
}

static struct ssl_ctx_st *tls_context(const struct session *s)
{
	return s->settings->tls[s->listen_index];
}

int hello_greet(struct task *tk, struct session *s)
{
	char line[300];
	int n;

	n = snprintf(line, sizeof(line), "220 %.*s ESMTP Locum\r\n",
		     STR_ARG(s->settings->conf->hostname));
	must(n > 0 && (size_t)n < sizeof(line));
	return session_write(tk, s, str_mem(line, (size_t)n));
}

struct smtp_dialect hello_dialect(const struct session *s)
{
	struct smtp_dialect d = s->offered;

	d.xclient = s->may_tell;
	d.utf8_transaction = s->transaction && transaction_smtputf8(s->transaction);
	return d;
}

/* The table of RFC 5321 §4.1.1.1 for this client; docs/decisions/0005 says what depends on the primaries. */
static void add_extensions(struct session *s, struct lines *l)
{
	struct conf *c = s->settings->conf;
	bool tls = stream_tls_version(&s->stream);
	struct announced a;

	offers_announced(&s->srv->offers, c, &a);
	add_line(l, "PIPELINING");
	add_line(l, "SIZE %llu", (unsigned long long)a.size_bytes);
	if (tls_context(s) && !tls)
		add_line(l, "STARTTLS");
	add_line(l, "8BITMIME");
	add_line(l, "CHUNKING");
	if (a.dialect.binarymime)
		add_line(l, "BINARYMIME");
	if (a.dialect.smtputf8)
		add_line(l, "SMTPUTF8");
	if (a.dialect.dsn)
		add_line(l, "DSN");
	if (a.dialect.requiretls && tls) /* RFC 8689 §2: under TLS only */
		add_line(l, "REQUIRETLS");
	if (s->may_tell) {
		add_line(l, "XCLIENT %s", attributes_offered(SMTP_XCLIENT));
		add_line(l, "XFORWARD %s", attributes_offered(SMTP_XFORWARD));
	}
	add_line(l, "LIMITS RCPTMAX=%u", c->limits.recipients);
	add_line(l, "ETRN");
	add_line(l, "ENHANCEDSTATUSCODES");
}

int hello_write(struct task *tk, struct session *s)
{
	struct lines l = { 0 };

	add_line(&l, "%.*s", STR_ARG(s->settings->conf->hostname));
	if (s->hello == HELLO_EHLO)
		add_extensions(s, &l);
	return session_write(tk, s, finish_lines(&l));
}

/* What was said once is held to, whatever the primaries do meanwhile. REQUIRETLS is understood without TLS, to be
 * refused with a reason. */
static void offer(struct session *s)
{
	struct announced a;

	offers_announced(&s->srv->offers, s->settings->conf, &a);
	s->offered = a.dialect;
}

/* The name that was told counts for more than the one that the server which told it says. */
static void look_at_name(struct session *s)
{
	str name = str_of(told_value(s, ATTRIBUTE_HELO, s->helo));

	if (s->trusted)
		return;
	s->symbols &= ~HELO_SYMBOLS;
	s->symbols |= screen_helo(s->settings->conf, &s->client, name);
	facts_helo(s->facts, name);
	s->facts_waited = false;
}

enum answer do_hello(struct session *s, const struct smtp_command *c)
{
	char *helo = strndup(c->argument.p, c->argument.n);

	if (!helo)
		return ANSWER_BUSY;
	session_forget_hello(s);
	s->helo = helo;
	s->hello = c->verb == SMTP_EHLO ? HELLO_EHLO : HELLO_HELO;
	if (s->hello == HELLO_EHLO)
		offer(s);
	look_at_name(s);
	return ANSWER_HELLO;
}

enum answer do_starttls(struct session *s, const struct smtp_command *c)
{
	(void)c;
	if (stream_tls_version(&s->stream))
		return ANSWER_TLS_ALREADY;
	return tls_context(s) ? ANSWER_START_TLS : ANSWER_TLS_NOT_OFFERED;
}

static void log_tls_failed(const struct session *s, int r)
{
	char client[ADDR_TEXT_SIZE];

	log_info("tls.failed", K_Z("client", addr_ip_text(&s->client, client)), K_ERR(r),
		 K_Z("tls", s->stream.tls_error));
}

/* After TLS nothing of what was said in the clear counts (RFC 3207 §4.2). */
int hello_start_tls(struct task *tk, struct session *s)
{
	int r;

	r = session_answer(tk, s, ANSWER_START_TLS);
	if (r == 0)
		r = stream_flush(tk, &s->stream, task_in(tk, FLUSH_TIME));
	if (r < 0)
		return r;
	session_forget_hello(s);
	r = stream_start_tls(tk, &s->stream, tls_context(s), true, NULL, task_in(tk, TLS_TIME));
	if (r < 0)
		log_tls_failed(s, r);
	else
		session_judge_trust(s);
	return r;
}

int hello_accept_tls(struct task *tk, struct session *s)
{
	int r = stream_accept_tls(tk, &s->stream, tls_context(s), task_in(tk, TLS_TIME));

	if (r < 0)
		log_tls_failed(s, r);
	return r;
}
