/*
 * tls: OpenSSL contexts for both directions. A server's follow Mozilla's "intermediate" guideline (5.7): 1.2 and
 * newer, ephemeral keys, authenticated encryption, the client's order of ciphers; sessions are resumed by tickets
 * alone, so that nothing is kept of a client that left. Errors come back as text for the operator. Everything
 * here wants the main stack.
 */
#pragma once

#include "base/str.h"

struct ssl_ctx_st;

/* --- ticket keys (RFC 5077, RFC 8446 §4.6.1) --- */

#define TLS_TICKET_KEY_BYTES 80 /* name 16, HMAC 32, AES 32 */
#define TLS_TICKET_KEYS_MAX 4
#define TLS_TICKET_SECONDS (24 * 3600) /* how long a ticket resumes a session */

/* The first encrypts, all of them decrypt. Contexts read it at each handshake: it must outlive them. */
struct tls_tickets {
	size_t count;
	uint8_t key[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_BYTES];
};

/* One random key of its own, until others are set. */
void tls_tickets_init(struct tls_tickets *t);
/* 0, or -EINVAL when it is none or too many, or one of another length; then nothing changes. */
int tls_tickets_set(struct tls_tickets *t, const str *keys, size_t count);

/* --- contexts --- */

/* A chain in PEM, our own certificate first, and its key. */
struct tls_pair {
	str certificate_pem, key_pem;
};

struct tls_server {
	const struct tls_pair *pairs; /* the first is for clients that name none of ours; 1 to 64 */
	size_t pair_count;
	str client_ca_pem;           /* empty: clients are not asked for a certificate */
	struct tls_tickets *tickets; /* NULL: keys of OpenSSL's own */
};

/* A server context that shows a client the certificates for the name it asked for (SNI): those whose subject
 * alternative names have it, as it is or else by a wildcard of one label; of each kind of key (RSA, ECDSA)
 * the first. 0, -ENOMEM, or -EINVAL with the reason. */
int tls_server_new_named(const struct tls_server *of, struct ssl_ctx_st **ret_context,
			 char *ret_error, size_t error_size);
/* The same of a single certificate. */
int tls_server_new(str certificate_pem, str key_pem, struct ssl_ctx_st **ret_context,
		   char *ret_error, size_t error_size);
/* A client context that completes a handshake whoever the server is: for opportunistic TLS (RFC 7435), and for
 * stream_connect_tls(), which says beside it who that is (tls_verify.h). authorities_pem: who is trusted; empty: nobody,
 * and only DANE can verify. 0, -ENOMEM, or -EINVAL where there is no certificate in it. */
int tls_client_new(str authorities_pem, struct ssl_ctx_st **ret_context);
/* Does a certificate's DNS name ("*.example.org": for one label) stand for this one? */
bool tls_name_has(str pattern, str name);
void tls_context_freep(struct ssl_ctx_st **context);
