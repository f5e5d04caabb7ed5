#include "net/tls_inside.h"
#include "net/tls.h"

#include <openssl/x509v3.h>
#include <stdlib.h>

#define CONTEXTS_MAX 256 /* each is a different choice of certificates */
#define NAMES_MAX 4096

struct name {
	char *text; /* as in a certificate; "*.example.org" */
	SSL_CTX *context;
};

/* What hangs on the first context. */
struct tls_names {
	struct name *name;
	size_t count;
	/* By the certificates in them, a bit each. */
	struct {
		uint64_t certificates;
		SSL_CTX *context;
	} choice[CONTEXTS_MAX];
	size_t choices;
};

/* --- which certificates have a name --- */

static str text_of(const ASN1_STRING *s)
{
	return str_mem(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

/* "*.example.org" for "mx.example.org", and for no name of more or fewer labels (RFC 6125 §6.4.3). */
bool tls_name_has(str pattern, str name)
{
	ssize_t dot = str_index(name, '.');

	if (str_case_eq(pattern, name))
		return true;
	return dot > 0 && str_starts(pattern, STR("*.")) &&
	       str_case_eq(str_from(pattern, 1), str_from(name, (size_t)dot));
}

static bool certificate_has(X509 *leaf, str name, bool by_wildcard)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

		if (n->type != GEN_DNS)
			continue;
		found = by_wildcard ? tls_name_has(text_of(n->d.dNSName), name)
				    : str_case_eq(text_of(n->d.dNSName), name);
	}
	GENERAL_NAMES_free(names);
	return found;
}

static bool has_kind(const struct tls_certificate *of, size_t count, uint64_t chosen, int kind)
{
	for (size_t i = 0; i < count; i++)
		if ((chosen >> i & 1) && EVP_PKEY_get_base_id(of[i].key) == kind)
			return true;
	return false;
}

/* `chosen`, and of those that have the name the first of each further kind of key; whoever has it as it is goes
 * before a wildcard. 0: none. */
static uint64_t choose(const struct tls_certificate *of, size_t count, str name, uint64_t chosen)
{
	for (int by_wildcard = 0; by_wildcard <= 1; by_wildcard++)
		for (size_t i = 0; i < count; i++)
			if (!has_kind(of, count, chosen, EVP_PKEY_get_base_id(of[i].key)) &&
			    certificate_has(of[i].leaf, name, by_wildcard))
				chosen |= UINT64_C(1) << i;
	return chosen;
}

/* --- building --- */

struct building {
	struct tls_names *names;
	const struct tls_certificate *of;
	size_t count;
	tls_context_maker *make;
	void *arg;
};

static SSL_CTX *context_for(struct building *b, uint64_t chosen)
{
	const struct tls_certificate *certificates[64];
	struct tls_names *names = b->names;
	size_t count = 0;
	SSL_CTX *context;

	for (size_t i = 0; i < names->choices; i++)
		if (names->choice[i].certificates == chosen)
			return names->choice[i].context;
	if (names->choices == CONTEXTS_MAX)
		return NULL;
	for (size_t i = 0; i < b->count; i++)
		if (chosen >> i & 1)
			certificates[count++] = &b->of[i];
	context = b->make(certificates, count, b->arg);
	if (!context)
		return NULL;
	names->choice[names->choices].certificates = chosen;
	names->choice[names->choices++].context = context;
	return context;
}

static bool name_add(struct building *b, str text)
{
	struct tls_names *names = b->names;
	struct name *more;

	for (size_t i = 0; i < names->count; i++)
		if (str_case_eq(str_of(names->name[i].text), text))
			return true;
	if (names->count == NAMES_MAX || text.n == 0 || str_index(text, '\0') >= 0)
		return true; /* the first certificate is shown for it, as for any unknown name */
	more = realloc(names->name, (names->count + 1) * sizeof(*more));
	if (!more)
		return false;
	names->name = more;
	more[names->count].text = strndup(text.p, text.n);
	if (!more[names->count].text)
		return false;
	more[names->count].context = context_for(b, choose(b->of, b->count, text, 0));
	return more[names->count++].context != NULL;
}

static bool names_add(struct building *b, X509 *leaf)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	bool good = true;

	for (int i = 0; good && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

		if (n->type == GEN_DNS)
			good = name_add(b, text_of(n->d.dNSName));
	}
	GENERAL_NAMES_free(names);
	return good;
}

/* For clients that name nothing: the first certificate, and one of another kind of key for its first name. */
static uint64_t choose_first(const struct tls_certificate *of, size_t count)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(of->leaf, NID_subject_alt_name, NULL, NULL);
	uint64_t chosen = 1;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

		if (n->type != GEN_DNS)
			continue;
		chosen = choose(of, count, text_of(n->d.dNSName), chosen);
		break;
	}
	GENERAL_NAMES_free(names);
	return chosen;
}

/* The first context holds the names, so it is not theirs to free. */
static void names_free(struct tls_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->count; i++)
		free(names->name[i].text);
	for (size_t i = 1; i < names->choices; i++)
		SSL_CTX_free(names->choice[i].context);
	free(names->name);
	free(names);
}

/* --- at a handshake --- */

static SSL_CTX *find(const struct tls_names *names, str host)
{
	for (size_t i = 0; i < names->count; i++)
		if (str_case_eq(str_of(names->name[i].text), host))
			return names->name[i].context;
	for (size_t i = 0; i < names->count; i++)
		if (tls_name_has(str_of(names->name[i].text), host))
			return names->name[i].context;
	return NULL;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
	const char *host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	SSL_CTX *context = host ? find(arg, str_of(host)) : NULL;

	(void)alert;
	if (!context)
		return SSL_TLSEXT_ERR_NOACK;
	if (context != SSL_get_SSL_CTX(ssl) && !SSL_set_SSL_CTX(ssl, context))
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static void on_free(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number,
		    void *arg)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)number;
	(void)arg;
	names_free(pointer);
}

static int context_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_free);
	return index;
}

SSL_CTX *tls_names_new(const struct tls_certificate *certificates, size_t count,
		       tls_context_maker *make, void *arg)
{
	struct building b = { .of = certificates, .count = count, .make = make, .arg = arg };
	SSL_CTX *first = NULL;
	bool good;

	must(count > 0 && count <= 64);
	b.names = calloc(1, sizeof(*b.names));
	if (b.names)
		first = context_for(&b, choose_first(certificates, count));
	good = first != NULL;
	for (size_t i = 0; good && i < count; i++)
		good = names_add(&b, certificates[i].leaf);
	if (!good || SSL_CTX_set_ex_data(first, context_index(), b.names) != 1) {
		names_free(b.names);
		SSL_CTX_free(first);
		return NULL;
	}
	SSL_CTX_set_tlsext_servername_callback(first, on_name);
	SSL_CTX_set_tlsext_servername_arg(first, b.names);
	return first;
}
