/*
 * What tests share that need certificates: made on the spot, signed by each other, with any names and times. Who is
 * called "ca" may sign others.
 */
#pragma once

#include "net/tls.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

struct made {
	X509 *x;
	EVP_PKEY *key;
	struct tls_pair pem;
	char *certificate_text, *key_text;
};

static inline char *text_of(BIO *b)
{
	char *p, *text;
	long n = BIO_get_mem_data(b, &p);

	text = strndup(p, (size_t)n);
	assert_non_null(text);
	BIO_free(b);
	return text;
}

static inline void add_extension(X509 *x, int which, const char *text)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, which, text);

	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* names: as an extension's text, "DNS:a,DNS:b", or NULL. issuer NULL: signs itself. Valid from two hours before `now`
 * to so many seconds after it. */
static inline struct made make_at(time_t now, const char *common_name, const char *names,
				  const char *kind, const struct made *issuer, long seconds)
{
	struct made m = { .x = X509_new() };
	BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
	static long serial;

	m.key = strcmp(kind, "RSA") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
					 : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509_set_version(m.x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(m.x), ++serial);
	X509_time_adj_ex(X509_getm_notBefore(m.x), 0, -7200, &now);
	X509_time_adj_ex(X509_getm_notAfter(m.x), 0, seconds, &now);
	X509_set_pubkey(m.x, m.key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(m.x), "CN", MBSTRING_ASC,
				   (const unsigned char *)common_name, -1, -1, 0);
	X509_set_issuer_name(m.x, X509_get_subject_name(issuer ? issuer->x : m.x));
	if (names)
		add_extension(m.x, NID_subject_alt_name, names);
	if (strcmp(common_name, "ca") == 0)
		add_extension(m.x, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(m.x, issuer ? issuer->key : m.key, EVP_sha256()) > 0);
	PEM_write_bio_X509(c, m.x);
	PEM_write_bio_PrivateKey(k, m.key, NULL, NULL, 0, NULL, NULL);
	m.certificate_text = text_of(c);
	m.key_text = text_of(k);
	m.pem = (struct tls_pair){ str_of(m.certificate_text), str_of(m.key_text) };
	return m;
}

static inline struct made make(const char *common_name, const char *names, const char *kind,
			       const struct made *issuer, long seconds)
{
	return make_at(time(NULL), common_name, names, kind, issuer, seconds);
}

static inline void made_done(struct made *m)
{
	X509_free(m->x);
	EVP_PKEY_free(m->key);
	free(m->certificate_text);
	free(m->key_text);
}
