/*
 * tls: OpenSSL contexts for both directions. 1.2 and newer only; server ciphers in the spirit of
 * Mozilla's "intermediate" set. Errors come back as text for the operator.
 */
#pragma once

#include "base/str.h"

struct ssl_ctx_st;

/* A server context from a certificate chain and key in PEM. 0 or -EINVAL with the reason. */
int tls_server_new(str certificate_pem, str key_pem, struct ssl_ctx_st **ret_context,
		   char *ret_error, size_t error_size);
/* A client context for opportunistic TLS (RFC 7435): encrypts without asking who it is. */
int tls_client_opportunistic_new(struct ssl_ctx_st **ret_context);
void tls_context_freep(struct ssl_ctx_st **context);
