/*
 * This node as senders see it: may they know whom they talk to? For each of our names the TLSA records of port 25 under
 * DNSSEC (RFC 7672) against the certificates that our listeners show, and whether the domain has an MTA-STS policy
 * (RFC 8461), which must name us.
 *
 * A sender that follows DANE delivers nothing to a host whose certificate fits none of its records: each certificate
 * that we may show must fit one.
 */
#include "base/cleanup.h"
#include "cli/doctor.h"
#include "net/tls.h"
#include "net/tls_verify.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define TLSA_WAIT (5 * NSEC_S)
#define NAMES_MAX 8
#define CHAIN_MAX 8

enum { USAGE_TA = 2, USAGE_EE = 3, SELECTOR_KEY = 1 };

/* What one name's records say of one certificate; on the main stack. */
struct fitting {
	str pem;
	str name;
	const struct dns_tlsa_answer *records;
	bool readable, named, fits;
};

/* Too large for a task's stack. */
struct ourselves {
	struct doctor *d;
	str name;
	struct dns_tlsa_answer records;
};

/* --- do records fit a certificate? --- */

static bool fits_bytes(const struct dns_tlsa *t, str data, const unsigned char *der, int n)
{
	static const char *const digest[] = { NULL, "SHA256", "SHA512" };
	unsigned char hash[64];
	size_t length = 0;

	if (n <= 0 || t->matching >= ELEMENTS(digest))
		return false;
	if (!digest[t->matching])
		return str_eq(data, str_mem(der, (size_t)n));
	return EVP_Q_digest(NULL, digest[t->matching], NULL, der, (size_t)n, hash, &length) == 1 &&
	       str_eq(data, str_mem(hash, length));
}

static bool fits_certificate(const struct dns_tlsa *t, str data, const X509 *x)
{
	unsigned char *der = NULL;
	int n = t->selector == SELECTOR_KEY ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der)
					    : i2d_X509(x, &der);
	bool fits = fits_bytes(t, data, der, n);

	OPENSSL_free(der);
	return fits;
}

static bool fits_chain(const struct fitting *f, X509 *const *chain, size_t count)
{
	for (size_t i = 0; i < f->records->count; i++) {
		const struct dns_tlsa *t = &f->records->record[i];
		str data = str_mem(f->records->bytes + t->from, t->length);
		struct tls_tlsa usable = { t->usage, t->selector, t->matching, data };

		if (!tls_tlsa_usable(&usable))
			continue;
		/* DANE-TA: one that signed ours, which must also have the name (§3.1.2). */
		for (size_t k = t->usage == USAGE_TA ? 1 : 0; k < count; k++) {
			if (fits_certificate(t, data, chain[k]) &&
			    (t->usage == USAGE_EE || f->named))
				return true;
			if (t->usage == USAGE_EE)
				break;
		}
	}
	return false;
}

static void fit(void *arg)
{
	struct fitting *f = arg;
	BIO *pem = BIO_new_mem_buf(f->pem.p, (int)MIN(f->pem.n, (size_t)INT32_MAX));
	char name[DNS_NAME_SIZE];
	X509 *chain[CHAIN_MAX];
	size_t count = 0;

	while (pem && count < CHAIN_MAX &&
	       (chain[count] = PEM_read_bio_X509(pem, NULL, NULL, NULL)))
		count++;
	ERR_clear_error();
	BIO_free(pem);
	str_copy(f->name, name, sizeof(name));
	f->readable = count > 0;
	f->named = count > 0 && X509_check_host(chain[0], name, 0, 0, NULL) == 1;
	f->fits = count > 0 && fits_chain(f, chain, count);
	for (size_t i = 0; i < count; i++)
		X509_free(chain[i]);
}

/* --- one of our names --- */

/* Of the certificates that a sender asking for this name may be shown: how many, and how many of them fit. */
static size_t count_fitting(struct task *tk, const struct ourselves *o, size_t *ret_fit)
{
	const struct conf *c = o->d->conf;
	size_t shown = 0;

	*ret_fit = 0;
	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_listen *l = &c->listen[i];

		for (size_t k = 0; k < l->certificate_count && l->tls == CONF_TLS_STARTTLS; k++) {
			struct fitting f = { .pem = l->certificates[k].certificate_pem,
					     .name = o->name,
					     .records = &o->records };

			task_on_main_stack(tk, fit, &f);
			/* Another name's is not shown, unless it is the first, for who asks for none of ours. */
			if (!f.readable || (!f.named && k > 0))
				continue;
			shown++;
			*ret_fit += f.fits;
		}
	}
	return shown;
}

static void judge_records(struct task *tk, const struct ourselves *o, bool validated)
{
	struct doctor *d = o->d;
	size_t fit_count, shown;

	if (!o->records.secure) {
		doctor_say(
			d, SECTION_OURSELVES, VERDICT_WARN, "dane",
			validated ? "sign the zone (DNSSEC), or remove the records"
				  : "to know, name a file with dns { trust_anchor }",
			validated ? "%.*s has TLSA records without DNSSEC: nobody follows them"
				  : "%.*s has TLSA records; whether DNSSEC vouches for them is not "
				    "known without a trust anchor",
			STR_ARG(o->name));
		return;
	}
	shown = count_fitting(tk, o, &fit_count);
	if (shown > 0 && fit_count == shown)
		doctor_say(d, SECTION_OURSELVES, VERDICT_OK, "dane", NULL,
			   "%.*s: its TLSA records fit every certificate that we show (%zu)",
			   STR_ARG(o->name), shown);
	else
		doctor_say(
			d, SECTION_OURSELVES, VERDICT_WRONG, "dane",
			"publish the records that `locum doctor` prints, beside the old ones until "
			"their TTL has passed",
			"%.*s: its TLSA records fit %zu of the %zu certificates that we show: "
			"senders "
			"that follow DANE do not deliver here",
			STR_ARG(o->name), fit_count, shown);
}

/* The records are followed for port 25 alone, whichever port we listen at. */
static int look_up(struct task *tk, struct ourselves *o)
{
	_cleanup_(question_freep) struct question *q = NULL;
	char name[DNS_NAME_SIZE + 16];
	int r;

	snprintf(name, sizeof(name), "_25._tcp.%.*s", STR_ARG(o->name));
	resolver_ask(tk, o->d->resolver, str_of(name), DNS_TLSA, &q);
	r = q ? question_wait(tk, q, MIN(task_in(tk, TLSA_WAIT), o->d->ends)) : 0;
	dns_read_tlsa(r == 0 ? question_message(q) : STR_NONE, &o->records);
	o->records.secure = r == 0 && q && question_secure(q);
	return r == -ECANCELED ? r : 0;
}

static void judge_name(struct task *tk, struct ourselves *o, bool is_hostname, bool validated)
{
	if (o->records.status == DNS_DATA)
		judge_records(tk, o, validated);
	else if (o->records.status == DNS_TROUBLE)
		doctor_say(o->d, SECTION_OURSELVES, VERDICT_WARN, "dane",
			   "senders that follow DANE wait when DNS does not answer this (RFC 7672 "
			   "§2.1.1): "
			   "look at the name servers of that zone",
			   "%.*s: DNS does not say whether it has TLSA records", STR_ARG(o->name));
	else if (is_hostname)
		doctor_say(
			o->d, SECTION_OURSELVES, VERDICT_OK, "dane", NULL,
			"%.*s has no TLSA records: senders encrypt without knowing that it is us",
			STR_ARG(o->name));
}

/* --- MTA-STS --- */

static void look_for_policy(struct task *tk, struct doctor *d)
{
	_cleanup_(question_freep) struct question *q = NULL;
	char name[DNS_NAME_SIZE + 16];

	snprintf(name, sizeof(name), "_mta-sts.%.*s", STR_ARG(d->domain->name));
	resolver_ask(tk, d->resolver, str_of(name), DNS_TXT, &q);
	if (!q || question_wait(tk, q, MIN(task_in(tk, TLSA_WAIT), d->ends)) < 0)
		return;
	if (dns_read_status(question_message(q), DNS_TXT) != DNS_DATA)
		doctor_say(d, SECTION_OURSELVES, VERDICT_OK, "mta-sts", NULL,
			   "%.*s has no policy (no TXT record at %s)", STR_ARG(d->domain->name),
			   name);
	else
		doctor_say(d, SECTION_OURSELVES, VERDICT_WARN, "mta-sts",
			   DOCTOR_TEXT(d,
				       "see that https://mta-sts.%.*s/.well-known/mta-sts.txt has "
				       "the line "
				       "\"mx: %.*s\": without it senders do not deliver here",
				       STR_ARG(d->domain->name), STR_ARG(d->conf->hostname)),
			   "%.*s has a policy, which this command does not fetch",
			   STR_ARG(d->domain->name));
}

void doctor_ourselves(struct task *tk, struct doctor *d)
{
	_cleanup_(freep) struct ourselves *o = calloc(1, sizeof(*o));
	const struct conf *c = d->conf;
	/* As the resolver was made: doctor_domain.c. */
	bool validated = c->dns.trust_anchor.n || !c->dns.server_count;

	if (!o)
		return;
	o->d = d;
	for (size_t i = 0; i < MIN(c->alias_count + 1, NAMES_MAX); i++) {
		o->name = i == 0 ? c->hostname : c->aliases[i - 1];
		if (look_up(tk, o) < 0)
			return;
		judge_name(tk, o, i == 0, validated);
	}
	look_for_policy(tk, d);
}
