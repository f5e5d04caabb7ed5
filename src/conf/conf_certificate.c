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

static int load_pem(struct conf_reader *r, unsigned line, const char *option, str path, str *to)
{
	size_t bytes;
	char *text;
	int result = conf_read_whole(path.p, CONF_PEM_MAX, &text, &bytes);

	if (result < 0)
		return conf_fail(
			r, line,
			"%s \"%.*s\" cannot be read: %s; correct the path or its permissions",
			option, SHOW(path), strerror(-result));
	*to = arena_str(&r->conf->arena, str_mem(text, bytes));
	explicit_bzero(text, bytes);
	free(text);
	return to->p ? 0 : conf_fail_memory(r);
}

/* An expired certificate still encrypts, and most senders do not look: say it, go on. */
static int note_dates(struct conf_reader *r, const struct conf_listen *l, str path, const X509 *x)
{
	time_t now = (time_t)(sys_now_wall() / NSEC_S);

	if (X509_cmp_time(X509_get0_notAfter(x), &now) < 0)
		return conf_note(r,
				 "the certificate of listen \"%.*s\" (%.*s) has expired: renew it",
				 SHOW(l->name), SHOW(path));
	if (X509_cmp_time(X509_get0_notBefore(x), &now) > 0)
		return conf_note(r, "the certificate of listen \"%.*s\" (%.*s) is not valid yet",
				 SHOW(l->name), SHOW(path));
	return 0;
}

static int check_pair(struct conf_reader *r, const struct conf_listen *l, size_t index)
{
	const struct conf_certificate *pair = &l->certificates[index];
	_cleanup_(bio_freep) BIO *chain =
		BIO_new_mem_buf(pair->certificate_pem.p, (int)pair->certificate_pem.n);
	_cleanup_(bio_freep) BIO *secret = BIO_new_mem_buf(pair->key_pem.p, (int)pair->key_pem.n);
	_cleanup_(x509_freep) X509 *x = NULL;
	_cleanup_(key_freep) EVP_PKEY *key = NULL;

	if (!chain || (!secret && !r->public_only))
		return conf_fail_memory(r);
	x = PEM_read_bio_X509(chain, NULL, no_passphrase, NULL);
	if (!x)
		return conf_fail(
			r, conf_line_of_nth(r, l, "tls_certificate", index),
			"tls_certificate \"%.*s\" holds no certificate; it must be PEM, our own "
			"certificate first",
			SHOW(pair->certificate));
	if (r->public_only)
		return note_dates(r, l, pair->certificate, x);
	key = PEM_read_bio_PrivateKey(secret, NULL, no_passphrase, NULL);
	if (!key)
		return conf_fail(r, conf_line_of_nth(r, l, "tls_key", index),
				 "tls_key \"%.*s\" holds no private key; it must be PEM without a "
				 "passphrase",
				 SHOW(pair->key));
	if (X509_check_private_key(x, key) != 1)
		return conf_fail(r, conf_line_of_nth(r, l, "tls_key", index),
				 "tls_key \"%.*s\" does not belong to tls_certificate \"%.*s\"; "
				 "use the key that "
				 "the certificate was made for",
				 SHOW(pair->key), SHOW(pair->certificate));
	return note_dates(r, l, pair->certificate, x);
}

static int load_pair(struct conf_reader *r, const struct conf_listen *l, size_t index)
{
	struct conf_certificate *pair = &l->certificates[index];
	int result = load_pem(r, conf_line_of_nth(r, l, "tls_certificate", index),
			      "tls_certificate", pair->certificate, &pair->certificate_pem);

	if (result == 0 && !r->public_only)
		result = load_pem(r, conf_line_of_nth(r, l, "tls_key", index), "tls_key", pair->key,
				  &pair->key_pem);
	return result < 0 ? result : check_pair(r, l, index);
}

static int load_client_ca(struct conf_reader *r, struct conf_listen *l)
{
	unsigned line = conf_line_of(r, l, "tls_client_ca");
	int result = load_pem(r, line, "tls_client_ca", l->client_ca, &l->client_ca_pem);
	_cleanup_(bio_freep) BIO *text = NULL;
	_cleanup_(x509_freep) X509 *x = NULL;

	if (result < 0)
		return result;
	text = BIO_new_mem_buf(l->client_ca_pem.p, (int)l->client_ca_pem.n);
	if (!text)
		return conf_fail_memory(r);
	x = PEM_read_bio_X509(text, NULL, no_passphrase, NULL);
	if (!x)
		return conf_fail(r, line,
				 "tls_client_ca \"%.*s\" holds no certificate; it must be PEM, "
				 "the certificates of those who sign clients",
				 SHOW(l->client_ca));
	return 0;
}

int conf_load_certificates(struct conf_reader *r, struct conf_listen *l)
{
	int result = 0;

	for (size_t i = 0; i < l->certificate_count && result == 0; i++)
		result = load_pair(r, l, i);
	if (result == 0 && l->client_ca.n)
		result = load_client_ca(r, l);
	ERR_clear_error();
	return result;
}
