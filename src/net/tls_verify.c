#include "net/tls_verify.h"

#include "net/tls_inside.h"
#include "task/sys.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

enum { DANE_TA = 2, DANE_EE = 3 };

/* Keys and signatures weaker than 112 bits verify nothing, while they may still encrypt. */
#define AUTH_LEVEL 2

bool tls_tlsa_usable(const struct tls_tlsa *t)
{
	static const size_t digest_bytes[] = { 0, 32, 64 }; /* by matching type */

	if ((t->usage != DANE_TA && t->usage != DANE_EE) || t->selector > 1 ||
	    t->matching >= ELEMENTS(digest_bytes))
		return false;
	return t->matching == 0 ? t->data.n > 0 : t->data.n == digest_bytes[t->matching];
}

/* How many of them could be used: a whole certificate may turn out to be none. */
static int expect_dane(SSL *ssl, const struct tls_expect *e)
{
	int used = 0;

	if (SSL_dane_enable(ssl, e->name_count ? e->name[0] : NULL) != 1)
		return -EINVAL;
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; i < e->tlsa_count; i++) {
		const struct tls_tlsa *t = &e->tlsa[i];

		int r = SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching,
					  (const unsigned char *)t->data.p, t->data.n);

		if (r < 0)
			return -ENOMEM;
		used += r > 0;
	}
	return used;
}

int tls_expect_server(SSL *ssl, const struct tls_expect *e)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
	int used = 0;

	/* Said first: SSL_dane_enable would take the base domain for a literal, too. */
	if (e->server_name && SSL_set_tlsext_host_name(ssl, e->server_name) != 1)
		return -ENOMEM;
	if (e->tlsa_count > 0)
		used = expect_dane(ssl, e);
	if (used < 0)
		return used;
	for (size_t i = 0; i < e->name_count; i++)
		if ((i > 0 || e->tlsa_count == 0) && SSL_add1_host(ssl, e->name[i]) != 1)
			return -EINVAL;
	/* RFC 8461 §4.1 knows subject alternative names only. */
	if (e->tlsa_count == 0)
		flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
	SSL_set_hostflags(ssl, flags);
	X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
	X509_VERIFY_PARAM_set_time(param, (time_t)(sys_now_wall() / NSEC_S));
	return used;
}

static enum tls_problem problem_of(long error)
{
	switch (error) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_PROBLEM_HOST_MISMATCH;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_PROBLEM_EXPIRED;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_UNTRUSTED:
	case X509_V_ERR_CERT_REJECTED:
		return TLS_PROBLEM_NOT_TRUSTED;
	default:
		return TLS_PROBLEM_OTHER;
	}
}

void tls_judge_server(SSL *ssl, const struct tls_expect *e, struct tls_verdict *ret)
{
	long error = SSL_get_verify_result(ssl);
	bool dane = e->tlsa_count > 0;

	*ret = (struct tls_verdict){ .text = "" };
	if (!SSL_get0_peer_certificate(ssl)) {
		error = X509_V_ERR_UNSPECIFIED;
		ret->text = "it shows no certificate";
	} else if (error == X509_V_OK && dane && SSL_get0_dane_authority(ssl, NULL, NULL) < 0) {
		error = X509_V_ERR_DANE_NO_MATCH;
	} else if (error == X509_V_OK && !dane && e->name_count == 0) {
		error = X509_V_ERR_HOSTNAME_MISMATCH;
	}
	if (error == X509_V_OK) {
		ret->verified = dane ? TLS_VERIFIED_DANE : TLS_VERIFIED_PKIX;
		return;
	}
	ret->problem = problem_of(error);
	if (!ret->text[0])
		ret->text = error == X509_V_ERR_DANE_NO_MATCH
				    ? "its certificate matches none of its TLSA records"
				    : X509_verify_cert_error_string(error);
}
