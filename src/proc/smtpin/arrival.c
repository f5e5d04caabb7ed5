#include "proc/smtpin/arrival.h"

#include "base/log.h"
#include "net/proxy.h"
#include "proc/smtpin/hello.h"
#include "proc/smtpin/screen.h"
#include "proc/smtpin/told.h"

#define PROXY_TIME (5 * NSEC_S)
/* How often the greeting looks whether it need not wait longer. */
#define LOOK_EVERY (200 * NSEC_MS)

static const struct conf_listen *listener(const struct session *s)
{
	return &s->settings->conf->listen[s->listen_index];
}

void session_judge_trust(struct session *s)
{
	const struct conf *c = s->settings->conf;

	s->trusted = conf_network_has(c->trusted, c->trusted_count, &s->client) ||
		     (!(s->told && s->told->by_xclient) && stream_tls_client_trusted(&s->stream));
	if (s->trusted)
		s->may_tell = true;
}

/* --- PROXY --- */

static int read_proxy_header(struct task *tk, struct session *s, struct proxy_header *ret)
{
	nsec deadline = task_in(tk, PROXY_TIME);
	ssize_t got;
	int r;

	for (;;) {
		r = proxy_parse(stream_pending(&s->stream), ret);
		if (r < 0)
			return r;
		if (r > 0) {
			stream_consume(&s->stream, (size_t)r);
			return 0;
		}
		got = stream_fill(tk, &s->stream, deadline);
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
}

/* Whoever does not say PROXY as it should, where it must, is no proxy of ours: no words for it. */
static int take_proxy_header(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	char proxy[ADDR_TEXT_SIZE];
	struct proxy_header h;
	struct addr by;
	enum answer a;
	int r;

	r = read_proxy_header(tk, s, &h);
	if (r < 0) {
		log_warn("proxy.refused", K_Z("proxy", addr_ip_text(&s->client, proxy)), K_ERR(r));
		return r;
	}
	if (h.local)
		return 0;
	by = s->client;
	a = session_become(s, &h.client);
	if (a == ANSWER_NONE) {
		s->proxy = by;
		return 0;
	}
	/* Under TLS from the first byte nobody would understand. */
	if (listener(s)->tls != CONF_TLS_IMPLICIT)
		*ret_last_words = a;
	return -EUSERS;
}

/* --- who speaks first --- */

/* What DNS said speaks for the client: a name that leads back, and no list against it. */
static bool is_well_known(const struct session *s)
{
	const struct conf *c = s->settings->conf;
	uint64_t symbols = facts_symbols(s->facts, c);

	if (!*facts_name(s->facts))
		return false;
	for (size_t i = 0; i < c->symbol_count; i++)
		if (symbols & SCREEN_BIT(i) && c->symbols[i].score > 0)
			return false;
	return true;
}

/* Waits for as long as this client has to: 0, or what stream_fill says. */
static ssize_t wait_for_input(struct task *tk, struct session *s)
{
	bool favoured = s->trusted || server_favours(s->srv, &s->client);
	nsec until = favoured ? 0 : task_in(tk, s->settings->conf->greet_delay);
	ssize_t got;

	do {
		nsec look_at = MIN(until, task_in(tk, LOOK_EVERY));

		got = stream_fill(tk, &s->stream, look_at);
	} while (got == -ETIMEDOUT && task_now(tk) < until && !is_well_known(s));
	return got;
}

/* Who speaks before our greeting does not speak SMTP (RFC 5321 §3.1). */
static int check_early_talker(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	ssize_t got = (ssize_t)stream_pending(&s->stream).n;
	int r;

	r = task_yield(tk);
	if (r < 0)
		return r;
	if (!got)
		got = wait_for_input(tk, s);
	if (got == -ETIMEDOUT)
		return 0;
	if (got <= 0)
		return got == 0 ? -ENODATA : (int)got;
	if (s->trusted)
		return 0;
	s->symbols |= screen_before_greeting(stream_pending(&s->stream));
	if (screen_refusal_of_all(s->settings->conf, s->symbols) < 0)
		return 0;
	*ret_last_words = ANSWER_EARLY_TALKER;
	s->srv->counters.refused_total++;
	return -EPROTO;
}

int session_arrive(struct task *tk, struct session *s, enum answer *ret_last_words)
{
	int r = 0;

	if (listener(s)->proxy_protocol)
		r = take_proxy_header(tk, s, ret_last_words);
	if (r == 0 && listener(s)->tls == CONF_TLS_IMPLICIT)
		r = hello_accept_tls(tk, s);
	if (r < 0)
		return r;
	session_judge_trust(s);
	s->facts = facts_start(s->srv, &s->client);
	return check_early_talker(tk, s, ret_last_words);
}
