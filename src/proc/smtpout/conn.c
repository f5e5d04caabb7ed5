#include "proc/smtpout/conn.h"

#include "task/sys.h"

#include <stdlib.h>

/* Replies are consumed as they come; TLS wants room for what the stream reads at once. */
#define CONN_IN_MAX (128 * 1024)
/* A chunk, what stands before it, and its dots: one send for most messages. */
#define CONN_OUT_MAX (96 * 1024)
#define QUIT_WAIT (3 * NSEC_S)

const struct conn_limits conn_limits_delivery = {
	.greeting = 5 * NSEC_MINUTE,
	.command = 5 * NSEC_MINUTE,
	.tls = NSEC_MINUTE,
	.data = 2 * NSEC_MINUTE,
	.block = 3 * NSEC_MINUTE,
	.final = 10 * NSEC_MINUTE,
};

/* A client waits meanwhile; RFC 5321 §4.5.3.2.6 gives it ten minutes for the final dot. */
const struct conn_limits conn_limits_live = {
	.greeting = 15 * NSEC_S,
	.command = 20 * NSEC_S,
	.tls = 15 * NSEC_S,
	.data = NSEC_MINUTE,
	.block = NSEC_MINUTE,
	.final = 5 * NSEC_MINUTE,
};

const struct conn_limits conn_limits_probe = {
	.greeting = 15 * NSEC_S,
	.command = 15 * NSEC_S,
	.tls = 15 * NSEC_S,
	.data = 15 * NSEC_S,
	.block = 15 * NSEC_S,
	.final = 15 * NSEC_S,
};

int conn_new(struct loop *loop, int fd, const struct conn_peer *peer, struct conn **ret_conn)
{
	struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->destination =
		strndup(peer->destination.n ? peer->destination.p : "", peer->destination.n);
	if (!c->destination) {
		free(c);
		return -ENOMEM;
	}
	r = stream_init(&c->stream, loop, fd, CONN_IN_MAX, CONN_OUT_MAX);
	if (r < 0) {
		free(c->destination);
		free(c);
		return r;
	}
	str_copy(peer->host, c->host, sizeof(c->host));
	str_copy(peer->address, c->address, sizeof(c->address));
	reply_init(&c->reply);
	list_init(&c->idle);
	c->ends = NEVER;
	*ret_conn = c;
	return 0;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	stream_done(&c->stream);
	reply_done(&c->reply);
	free(c->chunk);
	free(c->introduced);
	free(c->destination);
	free(c);
}

void conn_freep(struct conn **c)
{
	conn_free(*c);
}

void conn_explain_reply(struct conn *c, const char *step)
{
	int n = snprintf(c->why, sizeof(c->why), "%s[%s] said to %s: ", c->host, c->address, step);

	if (n > 0 && (size_t)n < sizeof(c->why))
		reply_one_line(&c->reply, c->why + n, sizeof(c->why) - (size_t)n);
}

static const char *error_text(int error)
{
	switch (error) {
	case -ENODATA:
	case -EPIPE:
	case -ECONNRESET:
		return "connection lost";
	case -ETIMEDOUT:
		return "no answer in time";
	case -EPROTO:
	case -EMSGSIZE:
		return "what it said is not SMTP";
	case -ECANCELED:
		return "stopped by our own shutdown";
	default:
		return strerror(-error);
	}
}

void conn_explain_error(struct conn *c, int error, const char *step)
{
	snprintf(c->why, sizeof(c->why), "%s[%s]: %s at %s%s%s", c->host, c->address,
		 error_text(error), step, c->stream.tls_error[0] ? ": " : "", c->stream.tls_error);
}

int conn_reply(struct task *tk, struct conn *c, nsec deadline)
{
	reply_reset(&c->reply);
	for (;;) {
		str pending = stream_pending(&c->stream);
		ssize_t got;

		if (pending.n > 0) {
			size_t used;
			int r = reply_feed(&c->reply, pending, &used);

			stream_consume(&c->stream, used);
			if (r != 0)
				return r < 0 ? r : 0;
		}
		got = stream_fill(tk, &c->stream, deadline);
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
}

int conn_exchange(struct task *tk, struct conn *c, str line)
{
	nsec deadline = MIN(task_in(tk, c->limits->command), c->ends);
	int r = stream_write(tk, &c->stream, line, deadline);

	if (r >= 0)
		r = stream_write(tk, &c->stream, STR("\r\n"), deadline);
	if (r >= 0)
		r = stream_flush(tk, &c->stream, deadline);
	return r < 0 ? r : conn_reply(tk, c, deadline);
}

/* One command and its reply; what went wrong is in c->why. */
static int exchange(struct task *tk, struct conn *c, const char *verb, const char *argument)
{
	char line[CONN_HOST_MAX + 16];
	int r;

	snprintf(line, sizeof(line), "%s%s%s", verb, argument[0] ? " " : "", argument);
	r = conn_exchange(tk, c, str_of(line));
	if (r < 0)
		conn_explain_error(c, r, verb);
	return r;
}

/* EHLO, or HELO for a host that knows only that. */
static enum conn_result hello(struct task *tk, struct conn *c, const char *our_name)
{
	c->ehlo = (struct ehlo){ 0 };
	if (exchange(tk, c, "EHLO", our_name) < 0)
		return CONN_SILENT;
	if (reply_class(&c->reply) == 2) {
		ehlo_parse(&c->reply, &c->ehlo);
		return CONN_READY;
	}
	if (reply_class(&c->reply) == 5) {
		if (exchange(tk, c, "HELO", our_name) < 0)
			return CONN_SILENT;
		if (reply_class(&c->reply) == 2)
			return CONN_READY;
	}
	conn_explain_reply(c, "EHLO");
	return CONN_REFUSED;
}

/* "mx.example[192.0.2.1:25]: STARTTLS is not offered, and DANE demands TLS" */
static enum conn_result lacking(struct conn *c, const struct conn_tls *tls, const char *what)
{
	snprintf(c->why, sizeof(c->why), "%s[%s]: %s, and %s demands %s", c->host, c->address, what,
		 tls->because, tls->demand == TLS_VERIFY ? "TLS with a verified host" : "TLS");
	return CONN_TLS_LACKING;
}

static int handshake(struct task *tk, struct conn *c, const struct conn_tls *tls)
{
	nsec deadline = MIN(task_in(tk, c->limits->tls), c->ends);
	struct tls_expect by_name = { .server_name = c->host,
				      .name_count = 1,
				      .name = { c->host } };
	struct addr literal;

	if (addr_parse_ip(str_of(c->host), 0, &literal) == 0)
		by_name = (struct tls_expect){ 0 };
	return stream_connect_tls(tk, &c->stream, tls->context,
				  tls->expect ? tls->expect : &by_name, &c->verdict, deadline);
}

/* Where all TLSA records turned out to be malformed, nobody can be verified by them (RFC 7672 §2.2). */
static bool is_good_enough(const struct conn *c, const struct conn_tls *tls)
{
	return tls->demand != TLS_VERIFY || c->verdict.verified != TLS_VERIFIED_NOT ||
	       (tls->may_be_anybody && c->verdict.tlsa_used == 0);
}

/* RFC 7435: encryption is better than none, none is better than no mail; unless it is demanded. */
static enum conn_result start_tls(struct task *tk, struct conn *c, const char *our_name,
				  const struct conn_tls *tls)
{
	enum conn_result result;
	int r;

	c->tls = CONN_TLS_BROKEN;
	if (exchange(tk, c, "STARTTLS", "") < 0)
		return CONN_TLS_FAILED;
	if (reply_class(&c->reply) != 2) {
		c->tls = c->reply.code == 421 ? CONN_TLS_UNTRIED : CONN_TLS_NONE;
		if (c->reply.code != 421)
			return tls->demand == TLS_MAY ? CONN_READY
						      : lacking(c, tls, "STARTTLS is refused");
		conn_explain_reply(c, "STARTTLS");
		return CONN_REFUSED;
	}
	r = handshake(tk, c, tls);
	if (r < 0) {
		conn_explain_error(c, r, "TLS handshake");
		return CONN_TLS_FAILED;
	}
	c->tls = CONN_TLS_DONE;
	if (!is_good_enough(c, tls))
		return lacking(c, tls, c->verdict.text);
	result = hello(tk, c, our_name);
	if (result != CONN_SILENT)
		return result;
	/* With TLS 1.3 a handshake that the server refuses looks complete until the first read. */
	c->tls = CONN_TLS_BROKEN;
	return CONN_TLS_FAILED;
}

/* What conn_open has to do about TLS once the host answered EHLO in plain text. */
static enum conn_result settle_tls(struct task *tk, struct conn *c, const char *our_name,
				   const struct conn_tls *tls)
{
	char why[CONN_TEXT_MAX];
	enum conn_result result;

	c->tls = CONN_TLS_NONE;
	if (!ehlo_offers(&c->ehlo, EHLO_STARTTLS))
		return tls->demand == TLS_MAY ? CONN_READY
					      : lacking(c, tls, "STARTTLS is not offered");
	result = start_tls(tk, c, our_name, tls);
	if (result != CONN_TLS_FAILED || tls->demand == TLS_MAY)
		return result;
	str_copy(str_of(c->why), why, sizeof(why));
	snprintf(c->why, sizeof(c->why), "%.400s, and %s demands TLS", why, tls->because);
	return CONN_TLS_LACKING;
}

enum conn_result conn_open(struct task *tk, struct conn *c, const char *our_name,
			   const struct conn_limits *limits, const struct conn_tls *tls)
{
	enum conn_result result;
	int r;

	c->limits = limits;
	r = conn_reply(tk, c, MIN(task_in(tk, limits->greeting), c->ends));
	if (r < 0) {
		conn_explain_error(c, r, "greeting");
		return CONN_SILENT;
	}
	if (reply_class(&c->reply) != 2) {
		conn_explain_reply(c, "the connection");
		return CONN_REFUSED;
	}
	result = hello(tk, c, our_name);
	if (result == CONN_READY && tls)
		result = settle_tls(tk, c, our_name, tls);
	if (result == CONN_READY)
		conn_explain_reply(c, "EHLO");
	c->greeted = result == CONN_READY;
	c->first_ehlo = c->ehlo;
	return result;
}

void conn_quit(struct task *tk, struct conn *c)
{
	nsec deadline = task_in(tk, QUIT_WAIT);

	if (!c->broken && stream_write(tk, &c->stream, STR("QUIT\r\n"), deadline) >= 0 &&
	    stream_flush(tk, &c->stream, deadline) >= 0)
		conn_reply(tk, c, deadline);
	conn_free(c);
}
