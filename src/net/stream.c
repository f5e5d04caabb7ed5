#include "net/stream.h"

#include "net/tls_bio.h"
#include "net/tls_inside.h"
#include "net/tls_verify.h"
#include "task/sys.h"

#include <openssl/err.h>
#include <stdlib.h>

/* What a client may send before its handshake is through: a hello with a post-quantum key and a certificate with
 * its chain are some 20 KiB at most. */
#define HANDSHAKE_BYTES_MAX (64 * 1024)

/* Bytes are received here and then added to the stream's own buffer in their exact number, so that an idle
 * stream holds nothing. One thread, and nothing parks between the two. */
static char scratch[64 * 1024];

int stream_init(struct stream *s, struct loop *loop, int fd, size_t in_max, size_t out_max)
{
	*s = (struct stream){ 0 };
	buf_init(&s->in, in_max);
	buf_init(&s->out, out_max);
	return io_init(&s->io, loop, fd);
}

void stream_done(struct stream *s)
{
	SSL_free(s->ssl);
	s->ssl = NULL;
	free(s->tls_client);
	s->tls_client = NULL;
	buf_done(&s->in);
	buf_done(&s->out);
	s->in_at = 0;
	io_done(&s->io);
}

/* --- one attempt, plain or TLS: bytes, 0 at end of file, -EAGAIN with what to wait for --- */

enum tls_step { TLS_READ, TLS_WRITE, TLS_HANDSHAKE };

/* An OpenSSL call for the main stack: handshakes and record parsing go deep. */
struct tls_call {
	struct stream *s;
	enum tls_step step;
	void *read_to;
	str write;
	ssize_t result;
	enum io_direction wait;
};

static ssize_t tls_failure(struct tls_call *c, int r)
{
	struct stream *s = c->s;
	unsigned long code;

	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		c->wait = IO_READ;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		c->wait = IO_WRITE;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return c->step == TLS_READ ? 0 : -EPIPE;
	case SSL_ERROR_SYSCALL:
		return -ECONNRESET;
	default:
		code = ERR_peek_last_error();
		if (code)
			ERR_error_string_n(code, s->tls_error, sizeof(s->tls_error));
		return -EPROTO;
	}
}

static void tls_run(void *arg)
{
	struct tls_call *c = arg;
	int r = -1;

	ERR_clear_error();
	switch (c->step) {
	case TLS_READ:
		r = SSL_read(c->s->ssl, c->read_to, sizeof(scratch));
		break;
	case TLS_WRITE:
		r = SSL_write(c->s->ssl, c->write.p, (int)MIN(c->write.n, (size_t)INT32_MAX));
		break;
	case TLS_HANDSHAKE:
		r = SSL_do_handshake(c->s->ssl);
		break;
	}
	c->result = r > 0 ? r : tls_failure(c, r);
	ERR_clear_error();
}

static ssize_t receive_once(struct task *tk, struct stream *s, enum io_direction *ret_wait)
{
	struct tls_call c = { .s = s, .step = TLS_READ, .read_to = scratch };

	*ret_wait = IO_READ;
	if (!s->ssl)
		return sys_recv(s->io.fd, scratch, sizeof(scratch));
	task_on_main_stack(tk, tls_run, &c);
	*ret_wait = c.wait;
	return c.result;
}

static ssize_t send_once(struct task *tk, struct stream *s, str bytes, enum io_direction *ret_wait)
{
	struct tls_call c = { .s = s, .step = TLS_WRITE, .write = bytes };

	*ret_wait = IO_WRITE;
	if (!s->ssl)
		return sys_send(s->io.fd, bytes);
	task_on_main_stack(tk, tls_run, &c);
	*ret_wait = c.wait;
	return c.result;
}

/* --- reading --- */

str stream_pending(const struct stream *s)
{
	return str_from(buf_str(&s->in), s->in_at);
}

void stream_consume(struct stream *s, size_t n)
{
	must(n <= s->in.n - s->in_at);
	s->in_at += n;
}

/* Makes the pending bytes the whole of the buffer; an empty buffer gives its memory back. */
static void settle(struct stream *s)
{
	if (s->in_at == s->in.n)
		buf_done(&s->in);
	else if (s->in_at > 0)
		buf_consume(&s->in, s->in_at);
	s->in_at = 0;
}

ssize_t stream_fill(struct task *tk, struct stream *s, nsec deadline)
{
	enum io_direction wait;
	size_t room;
	ssize_t got;
	int r;

	settle(s);
	room = s->in.max - s->in.n;
	/* A TLS record cannot be taken in part; a plain read is limited to the room by its caller's
	 * in_max, which must leave space for one scratch buffer. */
	if (room == 0)
		return -ENOBUFS;
	for (;;) {
		if (!s->ssl && room < sizeof(scratch)) {
			got = sys_recv(s->io.fd, scratch, room);
			wait = IO_READ;
		} else if (room >= sizeof(scratch)) {
			got = receive_once(tk, s, &wait);
		} else {
			return -ENOBUFS;
		}
		if (got != -EAGAIN)
			break;
		r = io_wait(tk, &s->io, wait, deadline);
		if (r < 0)
			return r;
	}
	if (got <= 0)
		return got;
	r = buf_add(&s->in, str_mem(scratch, (size_t)got));
	return r < 0 ? r : got;
}

/* Throws away everything up to and including the next CRLF. */
static int skip_line(struct task *tk, struct stream *s, nsec deadline)
{
	for (;;) {
		str pending = stream_pending(s);
		ssize_t at = str_find(pending, STR("\r\n"));
		ssize_t got;

		if (at >= 0) {
			stream_consume(s, (size_t)at + 2);
			return 0;
		}
		/* A CR at the very end may be the first half of what we look for. */
		stream_consume(s, pending.n && pending.p[pending.n - 1] == '\r' ? pending.n - 1
										: pending.n);
		got = stream_fill(tk, s, deadline);
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
}

int stream_line(struct task *tk, struct stream *s, size_t line_max, nsec deadline, str *ret_line)
{
	size_t searched = 0;

	for (;;) {
		str pending = stream_pending(s);
		ssize_t at = str_find(str_from(pending, searched), STR("\r\n"));
		ssize_t got;
		int r;

		if (at >= 0 && searched + (size_t)at <= line_max) {
			*ret_line = str_first(pending, searched + (size_t)at);
			stream_consume(s, searched + (size_t)at + 2);
			return 0;
		}
		if (at >= 0 || pending.n > line_max + 1) {
			r = skip_line(tk, s, deadline);
			return r < 0 ? r : -EMSGSIZE;
		}
		searched = pending.n > 0 ? pending.n - 1 : 0;
		got = stream_fill(tk, s, deadline);
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
}

/* --- writing --- */

static int send_all(struct task *tk, struct stream *s, str bytes, nsec deadline)
{
	enum io_direction wait;

	while (bytes.n > 0) {
		ssize_t put = send_once(tk, s, bytes, &wait);

		if (put == -EAGAIN) {
			int r = io_wait(tk, &s->io, wait, deadline);

			if (r < 0)
				return r;
			continue;
		}
		if (put < 0)
			return (int)put;
		bytes = str_from(bytes, (size_t)put);
	}
	return 0;
}

int stream_flush(struct task *tk, struct stream *s, nsec deadline)
{
	int r = send_all(tk, s, buf_str(&s->out), deadline);

	buf_done(&s->out);
	return r;
}

int stream_write(struct task *tk, struct stream *s, str bytes, nsec deadline)
{
	int r;

	if (bytes.n <= s->out.max - s->out.n)
		return buf_add(&s->out, bytes);
	r = stream_flush(tk, s, deadline);
	if (r < 0)
		return r;
	if (bytes.n <= s->out.max)
		return buf_add(&s->out, bytes);
	return send_all(tk, s, bytes, deadline);
}

/* --- TLS --- */

/* On the main stack, once the handshake is through. */
static void tls_learn_client(void *arg)
{
	struct stream *s = arg;
	char name[128];

	s->tls_client_trusted = tls_client_trusted(s->ssl, name, sizeof(name));
	if (s->tls_client_trusted && name[0])
		s->tls_client = strdup(name);
}

static int tls_attach(struct stream *s, struct ssl_ctx_st *context, str early)
{
	must(!s->ssl);
	s->ssl = SSL_new(context);
	if (!s->ssl || tls_bio_attach(s->ssl, s->io.fd, early) < 0)
		return -ENOMEM;
	buf_done(&s->in);
	s->in_at = 0;
	return 0;
}

static int tls_handshake(struct task *tk, struct stream *s, nsec deadline)
{
	struct tls_call c = { .s = s, .step = TLS_HANDSHAKE };
	int r;

	for (;;) {
		task_on_main_stack(tk, tls_run, &c);
		if (c.result != -EAGAIN)
			return c.result > 0 ? 0 : (int)c.result;
		if (BIO_number_read(SSL_get_rbio(s->ssl)) > HANDSHAKE_BYTES_MAX)
			return -EPROTO;
		r = io_wait(tk, &s->io, c.wait, deadline);
		if (r < 0)
			return r;
	}
}

static int tls_accept(struct task *tk, struct stream *s, struct ssl_ctx_st *context, str early,
		      nsec deadline)
{
	int r = tls_attach(s, context, early);

	if (r < 0)
		return r;
	SSL_set_accept_state(s->ssl);
	r = tls_handshake(tk, s, deadline);
	if (r == 0)
		task_on_main_stack(tk, tls_learn_client, s);
	return r;
}

int stream_start_tls(struct task *tk, struct stream *s, struct ssl_ctx_st *context, bool as_server,
		     const char *server_name, nsec deadline)
{
	int r;

	if (as_server)
		return tls_accept(tk, s, context, STR_NONE, deadline);
	r = tls_attach(s, context, STR_NONE);
	if (r < 0)
		return r;
	SSL_set_connect_state(s->ssl);
	if (server_name)
		SSL_set_tlsext_host_name(s->ssl, server_name);
	return tls_handshake(tk, s, deadline);
}

struct expect_call {
	SSL *ssl;
	const struct tls_expect *expect;
	struct tls_verdict *verdict;
	int result;
};

static void expect_on_main_stack(void *arg)
{
	struct expect_call *call = arg;

	ERR_clear_error();
	call->result = tls_expect_server(call->ssl, call->expect);
	ERR_clear_error();
}

static void judge_on_main_stack(void *arg)
{
	struct expect_call *call = arg;

	tls_judge_server(call->ssl, call->expect, call->verdict);
}

int stream_connect_tls(struct task *tk, struct stream *s, struct ssl_ctx_st *context,
		       const struct tls_expect *expect, struct tls_verdict *ret_verdict,
		       nsec deadline)
{
	struct expect_call call = { .expect = expect, .verdict = ret_verdict };
	int r = tls_attach(s, context, STR_NONE);

	*ret_verdict = (struct tls_verdict){ .text = "" };
	if (r < 0)
		return r;
	SSL_set_connect_state(s->ssl);
	call.ssl = s->ssl;
	task_on_main_stack(tk, expect_on_main_stack, &call);
	if (call.result < 0)
		return call.result;
	r = tls_handshake(tk, s, deadline);
	if (r == 0)
		task_on_main_stack(tk, judge_on_main_stack, &call);
	ret_verdict->tlsa_used = call.result;
	return r;
}

int stream_accept_tls(struct task *tk, struct stream *s, struct ssl_ctx_st *context, nsec deadline)
{
	return tls_accept(tk, s, context, stream_pending(s), deadline);
}

const char *stream_tls_version(const struct stream *s)
{
	return s->ssl && SSL_is_init_finished(s->ssl) ? SSL_get_version(s->ssl) : NULL;
}

const char *stream_tls_cipher(const struct stream *s)
{
	return s->ssl ? SSL_get_cipher_name(s->ssl) : NULL;
}

const char *stream_tls_server_name(const struct stream *s)
{
	return s->ssl ? SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name) : NULL;
}

bool stream_tls_resumed(const struct stream *s)
{
	return s->ssl && SSL_session_reused(s->ssl);
}

bool stream_tls_client_trusted(const struct stream *s)
{
	return s->tls_client_trusted;
}

const char *stream_tls_client(const struct stream *s)
{
	return s->tls_client;
}
