#include "net/tls.h"

#include "base/cleanup.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>

/* Mozilla's intermediate recommendation: ephemeral key exchange and authenticated encryption only. */
#define SERVER_CIPHERS                                                                             \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                               \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                               \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                               \
	"DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"

static void bio_freep(BIO **bio)
{
	BIO_free(*bio);
}

static void certificate_freep(X509 **certificate)
{
	X509_free(*certificate);
}

static void key_freep(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

void tls_context_freep(struct ssl_ctx_st **context)
{
	SSL_CTX_free(*context);
}

static int failure(const char *what, char *ret_error, size_t size)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	snprintf(ret_error, size, "%s: %s", what, reason ? reason : "not usable");
	ERR_clear_error();
	return -EINVAL;
}

/* What both directions share: protocol versions, and buffers that are released while idle. */
static SSL_CTX *context_new(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (!context)
		return NULL;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* SMTP has its own end of everything; a missing close_notify is common and harmless here. */
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_NO_COMPRESSION);
	return context;
}

static int use_chain(SSL_CTX *context, BIO *pem)
{
	_cleanup_(certificate_freep) X509 *leaf = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
	X509 *next;

	if (!leaf || SSL_CTX_use_certificate(context, leaf) != 1)
		return -EINVAL;
	while ((next = PEM_read_bio_X509(pem, NULL, NULL, NULL))) {
		if (SSL_CTX_add0_chain_cert(context, next) != 1) {
			X509_free(next);
			return -EINVAL;
		}
	}
	ERR_clear_error(); /* the reader's way to say that there are no more */
	return 0;
}

int tls_server_new(str certificate_pem, str key_pem, struct ssl_ctx_st **ret_context,
		   char *ret_error, size_t error_size)
{
	_cleanup_(bio_freep) BIO *chain = NULL, *key_file = NULL;
	_cleanup_(tls_context_freep) SSL_CTX *context = NULL;
	_cleanup_(key_freep) EVP_PKEY *key = NULL;

	ERR_clear_error();
	if (certificate_pem.n > INT32_MAX || key_pem.n > INT32_MAX)
		return failure("certificate", ret_error, error_size);
	chain = BIO_new_mem_buf(certificate_pem.p, (int)certificate_pem.n);
	key_file = BIO_new_mem_buf(key_pem.p, (int)key_pem.n);
	context = context_new(TLS_server_method());
	if (!chain || !key_file || !context)
		return failure("TLS context", ret_error, error_size);
	if (SSL_CTX_set_cipher_list(context, SERVER_CIPHERS) != 1 ||
	    SSL_CTX_set_dh_auto(context, 1) != 1)
		return failure("ciphers", ret_error, error_size);
	if (use_chain(context, chain) < 0)
		return failure("certificate", ret_error, error_size);
	key = PEM_read_bio_PrivateKey(key_file, NULL, NULL, NULL);
	if (!key || SSL_CTX_use_PrivateKey(context, key) != 1)
		return failure("key", ret_error, error_size);
	if (SSL_CTX_check_private_key(context) != 1)
		return failure("certificate and key", ret_error, error_size);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets only: no memory */
	*ret_context = TAKE(context);
	return 0;
}

int tls_client_opportunistic_new(struct ssl_ctx_st **ret_context)
{
	SSL_CTX *context = context_new(TLS_client_method());

	if (!context)
		return -ENOMEM;
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	/* An old primary with a weak key is still better reached encrypted than in the clear. */
	SSL_CTX_set_security_level(context, 0);
	*ret_context = context;
	return 0;
}
