/*
 * tls_inside: what the files of src/net that know OpenSSL share. Private to src/net.
 */
#pragma once

#include "base/str.h"

#include <openssl/ssl.h>

struct tls_expect;
struct tls_tickets;
struct tls_verdict;

/* --- tls_names.c: which of several contexts a client's SNI name means --- */

struct tls_names;

/* A certificate of a server as it was read. */
struct tls_certificate {
	X509 *leaf;
	STACK_OF(X509) * chain; /* without the leaf */
	EVP_PKEY *key;
};

/* Makes a context that shows these certificates, one of a kind of key. NULL: out of memory, or OpenSSL refuses
 * one of them. */
typedef SSL_CTX *tls_context_maker(const struct tls_certificate *const *certificates, size_t count,
				   void *arg);

/* The context for clients that name nothing we know, with those for the other names hanging on it.
 * certificates: 1 to 64. NULL as above. */
SSL_CTX *tls_names_new(const struct tls_certificate *certificates, size_t count,
		       tls_context_maker *make, void *arg);

/* --- tls_tickets.c --- */
/* Makes `context` use these keys. 0 or -ENOMEM. */
int tls_tickets_use(SSL_CTX *context, struct tls_tickets *t);

/* --- tls_client_certificate.c: certificates that clients show --- */
/* Trusts these authorities, in PEM; how many there were. */
unsigned tls_trust(X509_STORE *store, str authorities_pem);
/* Asks clients for a certificate without requiring one. authorities: what is trusted, in PEM. 0 or -EINVAL. */
int tls_ask_clients(SSL_CTX *context, str authorities_pem);
/* After a handshake: whether the client's certificate is a good one of those authorities, and not expired now;
 * with its first DNS name, or its common name, as a printable word for *ret_name (empty: it has none). */
bool tls_client_trusted(const SSL *ssl, char *ret_name, size_t name_size);

/* --- tls_verify.c: servers that should be somebody --- */
/* Before the handshake. How many of the TLSA records are used, or -EINVAL or -ENOMEM: then nothing may be said. */
int tls_expect_server(SSL *ssl, const struct tls_expect *e);
/* After it. */
void tls_judge_server(SSL *ssl, const struct tls_expect *e, struct tls_verdict *ret);
