#include "net/tls.h"

#include "base/cleanup.h"
#include "net/tls_inside.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

/* Mozilla's guideline "intermediate", 5.7: TLS 1.2 ciphers and groups. Those of TLS 1.3 are OpenSSL's own, which
 * are the same but for their order: AES-128 with SHA-256 first, whose key schedule costs a server less than half. A
 * client that begins with ChaCha20 has no instructions for AES, and gets it. */
#define SERVER_CIPHERS                                                                             \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                               \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                               \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                               \
	"DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
#define SERVER_CIPHERS_13                                                                          \
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define SERVER_GROUPS "X25519:P-256:P-384"
#define SERVER_DH "ffdhe2048" /* RFC 7919 */
#define SERVER_CHAIN_MAX 10

static void bio_freep(BIO **bio)
{
	BIO_free(*bio);
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
	SSL_CTX_set_read_ahead(context, 1); /* a record's header and the rest of it by one call */
	/* SMTP has its own end of everything; a missing close_notify is common and harmless here. */
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_NO_COMPRESSION);
	return context;
}

/* --- a server's certificates --- */

static void certificate_done(struct tls_certificate *c)
{
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
}

/* What is read stays in *c also on failure. */
static int certificate_read(const struct tls_pair *pair, struct tls_certificate *c, char *ret_error,
			    size_t size)
{
	_cleanup_(bio_freep) BIO *pem = NULL, *key = NULL;
	X509 *next;

	if (pair->certificate_pem.n > INT32_MAX || pair->key_pem.n > INT32_MAX)
		return failure("certificate", ret_error, size);
	pem = BIO_new_mem_buf(pair->certificate_pem.p, (int)pair->certificate_pem.n);
	key = BIO_new_mem_buf(pair->key_pem.p, (int)pair->key_pem.n);
	c->chain = sk_X509_new_null();
	if (!pem || !key || !c->chain)
		return failure("certificate", ret_error, size);
	c->leaf = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
	if (!c->leaf)
		return failure("certificate", ret_error, size);
	while ((next = PEM_read_bio_X509(pem, NULL, NULL, NULL))) {
		if (!sk_X509_push(c->chain, next)) {
			X509_free(next);
			return failure("certificate", ret_error, size);
		}
	}
	ERR_clear_error(); /* the reader's way to say that there are no more */
	c->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	if (!c->key)
		return failure("key", ret_error, size);
	if (X509_check_private_key(c->leaf, c->key) != 1)
		return failure("certificate and key", ret_error, size);
	return 0;
}

/* --- a server's contexts --- */

static void key_context_freep(EVP_PKEY_CTX **context)
{
	EVP_PKEY_CTX_free(*context);
}

static int use_dh(SSL_CTX *context)
{
	_cleanup_(key_context_freep) EVP_PKEY_CTX *maker =
		EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	EVP_PKEY *group = NULL;

	if (!maker || EVP_PKEY_paramgen_init(maker) != 1 ||
	    EVP_PKEY_CTX_set_group_name(maker, SERVER_DH) != 1 ||
	    EVP_PKEY_paramgen(maker, &group) != 1)
		return -EINVAL;
	if (SSL_CTX_set0_tmp_dh_pkey(context, group) == 1)
		return 0;
	EVP_PKEY_free(group);
	return -EINVAL;
}

static int use_tickets(SSL_CTX *context, struct tls_tickets *tickets)
{
	static const unsigned char anybody[] = "locum";

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* no memory but theirs */
	SSL_CTX_set_timeout(context, TLS_TICKET_SECONDS);
	SSL_CTX_set_num_tickets(context, 1);
	if (SSL_CTX_set_session_id_context(context, anybody, sizeof(anybody)) != 1)
		return -EINVAL;
	return tickets ? tls_tickets_use(context, tickets) : 0;
}

static SSL_CTX *server_context(const struct tls_certificate *const *certificates, size_t count,
			       void *arg)
{
	_cleanup_(tls_context_freep) SSL_CTX *context = context_new(TLS_server_method());
	const struct tls_server *of = arg;

	if (!context || SSL_CTX_set_cipher_list(context, SERVER_CIPHERS) != 1 ||
	    SSL_CTX_set_ciphersuites(context, SERVER_CIPHERS_13) != 1 ||
	    SSL_CTX_set1_groups_list(context, SERVER_GROUPS) != 1 || use_dh(context) < 0 ||
	    use_tickets(context, of->tickets) < 0)
		return NULL;
	SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	for (size_t i = 0; i < count; i++)
		if (SSL_CTX_use_cert_and_key(context, certificates[i]->leaf, certificates[i]->key,
					     certificates[i]->chain, 1) != 1)
			return NULL;
	if (of->client_ca_pem.n > 0 && tls_ask_clients(context, of->client_ca_pem) < 0)
		return NULL;
	return TAKE(context);
}

int tls_server_new_named(const struct tls_server *of, struct ssl_ctx_st **ret_context,
			 char *ret_error, size_t error_size)
{
	struct tls_certificate certificates[64] = { 0 };
	SSL_CTX *context = NULL;
	size_t count = 0;
	int r = 0;

	must(of->pair_count > 0 && of->pair_count <= ELEMENTS(certificates));
	ERR_clear_error();
	while (r == 0 && count < of->pair_count) {
		r = certificate_read(&of->pairs[count], &certificates[count], ret_error,
				     error_size);
		count++;
	}
	if (r == 0) {
		context = tls_names_new(certificates, count, server_context, (void *)of);
		if (!context)
			r = failure("TLS context", ret_error, error_size);
	}
	for (size_t i = 0; i < count; i++)
		certificate_done(&certificates[i]);
	*ret_context = context;
	return r;
}

int tls_server_new(str certificate_pem, str key_pem, struct ssl_ctx_st **ret_context,
		   char *ret_error, size_t error_size)
{
	struct tls_pair pair = { certificate_pem, key_pem };
	struct tls_server of = { .pairs = &pair, .pair_count = 1 };

	return tls_server_new_named(&of, ret_context, ret_error, error_size);
}

int tls_client_new(str authorities_pem, struct ssl_ctx_st **ret_context)
{
	_cleanup_(tls_context_freep) SSL_CTX *context = context_new(TLS_client_method());

	if (!context || SSL_CTX_dane_enable(context) != 1)
		return -ENOMEM;
	if (authorities_pem.n > 0 &&
	    tls_trust(SSL_CTX_get_cert_store(context), authorities_pem) == 0)
		return -EINVAL;
	SSL_CTX_set_verify_depth(context, SERVER_CHAIN_MAX);
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	/* An old primary with a weak key is still better reached encrypted than in the clear. */
	SSL_CTX_set_security_level(context, 0);
	*ret_context = TAKE(context);
	return 0;
}
