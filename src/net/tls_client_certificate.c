#include "net/tls_inside.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define CHAIN_MAX 6
#define CHAIN_BYTES_MAX (16 * 1024)

/* A certificate that is not good makes a client that is not trusted, and is no reason to turn it away. */
static int verify(X509_STORE_CTX *context, void *arg)
{
	(void)arg;
	if (X509_verify_cert(context) != 1 && X509_STORE_CTX_get_error(context) == X509_V_OK)
		X509_STORE_CTX_set_error(context, X509_V_ERR_UNSPECIFIED);
	return 1;
}

unsigned tls_trust(X509_STORE *store, str authorities_pem)
{
	BIO *pem = BIO_new_mem_buf(authorities_pem.p, (int)authorities_pem.n);
	unsigned taken = 0;
	X509 *x;

	while (pem && (x = PEM_read_bio_X509(pem, NULL, NULL, NULL))) {
		taken += X509_STORE_add_cert(store, x) == 1;
		X509_free(x);
	}
	ERR_clear_error();
	BIO_free(pem);
	return taken;
}

int tls_ask_clients(SSL_CTX *context, str authorities_pem)
{
	unsigned taken = tls_trust(SSL_CTX_get_cert_store(context), authorities_pem);
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
	unsigned char digest[32];

	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++)
		if (SSL_CTX_add_client_CA(
			    context, X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i))) != 1)
			return -EINVAL;
	/* A session that other authorities vouched for is not resumed. */
	if (taken == 0 ||
	    EVP_Q_digest(NULL, "SHA256", NULL, authorities_pem.p, authorities_pem.n, digest,
			 NULL) != 1 ||
	    SSL_CTX_set_session_id_context(context, digest, sizeof(digest)) != 1)
		return -EINVAL;
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_verify_depth(context, CHAIN_MAX);
	SSL_CTX_set_max_cert_list(context, CHAIN_BYTES_MAX);
	SSL_CTX_set_cert_verify_callback(context, verify, NULL);
	return 0;
}

/* It goes into logs and header fields. */
static void word_of(const ASN1_STRING *s, char *to, size_t size)
{
	const unsigned char *bytes = ASN1_STRING_get0_data(s);
	size_t n = MIN((size_t)ASN1_STRING_length(s), size - 1);

	for (size_t i = 0; i < n; i++) {
		bool plain = (bytes[i] >= 'a' && bytes[i] <= 'z') ||
			     (bytes[i] >= 'A' && bytes[i] <= 'Z') ||
			     (bytes[i] >= '0' && bytes[i] <= '9') ||
			     (bytes[i] && strchr(".-_*@+", bytes[i]));

		to[i] = plain ? (char)bytes[i] : '?';
	}
	to[n] = '\0';
}

static void name_of(const X509 *x, char *to, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	const X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	to[0] = '\0';
	for (int i = 0; !to[0] && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

		if (n->type == GEN_DNS)
			word_of(n->d.dNSName, to, size);
	}
	if (!to[0] && at >= 0)
		word_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), to, size);
	GENERAL_NAMES_free(names);
}

bool tls_client_trusted(const SSL *ssl, char *ret_name, size_t name_size)
{
	const X509 *x = SSL_get0_peer_certificate(ssl);
	time_t now = (time_t)(sys_now_wall() / NSEC_S);

	ret_name[0] = '\0';
	/* Of a resumed session the verdict is that of its beginning: it may have expired since. */
	if (!x || SSL_get_verify_result(ssl) != X509_V_OK ||
	    X509_cmp_time(X509_get0_notAfter(x), &now) < 0)
		return false;
	name_of(x, ret_name, name_size);
	return true;
}
