#include "conf/reader.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static void x509_freep(X509 **x)
{
	X509_free(*x);
}

static void key_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static void bio_freep(BIO **b)
{
	BIO_free(*b);
}

/* locumd has no terminal: an encrypted key is an error, not a question. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int load_pem(struct conf_reader *r, const struct conf_listen *l, const char *option,
		    str path, str *to)
{
	size_t bytes;
	char *text;
	int result = conf_read_whole(path.p, CONF_PEM_MAX, &text, &bytes);

	if (result < 0)
		return conf_fail(
			r, conf_line_of(r, l, option),
			"%s \"%.*s\" cannot be read: %s; correct the path or its permissions",
			option, SHOW(path), strerror(-result));
	*to = arena_str(&r->conf->arena, str_mem(text, bytes));
	explicit_bzero(text, bytes);
	free(text);
	return to->p ? 0 : conf_fail_memory(r);
}

/* An expired certificate still encrypts, and most senders do not look: say it, go on. */
static int note_dates(struct conf_reader *r, const struct conf_listen *l, const X509 *x)
{
	time_t now = (time_t)(sys_now_wall() / NSEC_S);

	if (X509_cmp_time(X509_get0_notAfter(x), &now) < 0)
		return conf_note(r,
				 "the certificate of listen \"%.*s\" (%.*s) has expired: renew it",
				 SHOW(l->name), SHOW(l->tls_certificate));
	if (X509_cmp_time(X509_get0_notBefore(x), &now) > 0)
		return conf_note(r, "the certificate of listen \"%.*s\" (%.*s) is not valid yet",
				 SHOW(l->name), SHOW(l->tls_certificate));
	return 0;
}

static int check_pair(struct conf_reader *r, const struct conf_listen *l)
{
	_cleanup_(bio_freep) BIO *chain =
		BIO_new_mem_buf(l->certificate_pem.p, (int)l->certificate_pem.n);
	_cleanup_(bio_freep) BIO *secret = BIO_new_mem_buf(l->key_pem.p, (int)l->key_pem.n);
	_cleanup_(x509_freep) X509 *x = NULL;
	_cleanup_(key_freep) EVP_PKEY *key = NULL;

	if (!chain || !secret)
		return conf_fail_memory(r);
	x = PEM_read_bio_X509(chain, NULL, no_passphrase, NULL);
	if (!x)
		return conf_fail(
			r, conf_line_of(r, l, "tls_certificate"),
			"tls_certificate \"%.*s\" holds no certificate; it must be PEM, our own "
			"certificate first",
			SHOW(l->tls_certificate));
	key = PEM_read_bio_PrivateKey(secret, NULL, no_passphrase, NULL);
	if (!key)
		return conf_fail(r, conf_line_of(r, l, "tls_key"),
				 "tls_key \"%.*s\" holds no private key; it must be PEM without a "
				 "passphrase",
				 SHOW(l->tls_key));
	if (X509_check_private_key(x, key) != 1)
		return conf_fail(r, conf_line_of(r, l, "tls_key"),
				 "tls_key \"%.*s\" does not belong to tls_certificate \"%.*s\"; "
				 "use the key that "
				 "the certificate was made for",
				 SHOW(l->tls_key), SHOW(l->tls_certificate));
	return note_dates(r, l, x);
}

int conf_load_certificate(struct conf_reader *r, struct conf_listen *l)
{
	int result = load_pem(r, l, "tls_certificate", l->tls_certificate, &l->certificate_pem);

	if (result == 0)
		result = load_pem(r, l, "tls_key", l->tls_key, &l->key_pem);
	if (result == 0)
		result = check_pair(r, l);
	ERR_clear_error();
	return result;
}
