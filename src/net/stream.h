/*
 * stream: a connected socket, plain or TLS, with bounded buffers in both directions. Buffers are held
 * only while they hold something, so an idle client costs its task's stack and this struct.
 *
 * Errors: -ETIMEDOUT, -ECANCELED, -EPIPE/-ECONNRESET for a broken connection, -EPROTO for a TLS
 * failure (stream_tls_error says more). End of file is 0 from stream_fill.
 */
#pragma once

#include "base/addr.h"
#include "base/buf.h"
#include "task/task.h"

struct ssl_st;
struct tls_expect;
struct tls_verdict;
struct ssl_ctx_st;

struct stream {
	struct io io;
	struct ssl_st *ssl; /* NULL: plain */
	struct buf in;      /* received, not yet consumed, from in_at on */
	size_t in_at;
	struct buf out; /* written, not yet sent */
	bool tls_client_trusted;
	char *tls_client;   /* NULL: shows no trusted certificate */
	char tls_error[96]; /* what OpenSSL said last, for the log */
};

/* Takes fd over. in_max bounds what is held of the peer's bytes, out_max what waits to be sent
 * before a write parks. */
int stream_init(struct stream *s, struct loop *loop, int fd, size_t in_max, size_t out_max);
/* Closes without a flush. Allowed twice. */
void stream_done(struct stream *s);

/* --- reading --- */
/* What was received and not consumed; valid until the next call with tk or stream_consume. */
str stream_pending(const struct stream *s);
void stream_consume(struct stream *s, size_t n);
/* Waits for at least one more byte: their number, 0 at end of file, or an error;
 * -ENOBUFS when in_max bytes are pending already. */
ssize_t stream_fill(struct task *tk, struct stream *s, nsec deadline);
/* A line that ends in CRLF, and only CRLF; *ret_line is without it, valid until the next read. The
 * line is consumed. -EMSGSIZE when line_max bytes came without a CRLF (everything up to the line's
 * end is then thrown away first, within the deadline); -ENODATA at end of file. */
int stream_line(struct task *tk, struct stream *s, size_t line_max, nsec deadline, str *ret_line);

/* --- writing --- */
/* Buffers; sends only when more than out_max would wait. */
int stream_write(struct task *tk, struct stream *s, str bytes, nsec deadline);
int stream_flush(struct task *tk, struct stream *s, nsec deadline);

/* --- TLS --- */
/* Handshake on a plain stream, on the main stack. Pending plaintext input is thrown away first: what
 * was sent before the handshake must not be read after it (RFC 3207 §4.2). server_name: for a client,
 * the SNI name, else NULL. */
int stream_start_tls(struct task *tk, struct stream *s, struct ssl_ctx_st *context, bool as_server,
		     const char *server_name, nsec deadline);
/* The same as a client, of a server that should be somebody: the handshake succeeds whoever it is, *ret_verdict says
 * who. Only with a context of tls_client_new(). */
int stream_connect_tls(struct task *tk, struct stream *s, struct ssl_ctx_st *context,
		       const struct tls_expect *expect, struct tls_verdict *ret_verdict,
		       nsec deadline);
/* The same as a server without STARTTLS before it: what is pending is the beginning of the handshake. -EPROTO
 * also for a client that sends more than a handshake can need. */
int stream_accept_tls(struct task *tk, struct stream *s, struct ssl_ctx_st *context, nsec deadline);
/* "TLSv1.3" and "TLS_AES_256_GCM_SHA384"; NULL without TLS, or before its handshake is through. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);
/* As a server: the name that the client asked for (SNI), NULL: none; valid as long as the stream. Whatever it sent, at most
 * 255 octets, without NUL. */
const char *stream_tls_server_name(const struct stream *s);
/* Whether the session is one of before, by its ticket. */
bool stream_tls_resumed(const struct stream *s);
/* Whether the client showed a certificate that the context's client CA vouches for. */
bool stream_tls_client_trusted(const struct stream *s);
/* The name in it, a printable word; NULL: not trusted, or it has none. Valid as long as the stream. */
const char *stream_tls_client(const struct stream *s);
