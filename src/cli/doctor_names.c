/*
 * locum doctor without a domain: do the certificates fit our own names, and what should DNS say of them? Prints for each the TLSA
 * record (RFC 6698, RFC 7672) and what the MTA-STS policies (RFC 8461) of our domains need. Asks nobody: it reads the
 * configuration and the certificates in it, never a key.
 */
#include "base/cleanup.h"
#include "cli/doctor.h"
#include "cli/format.h"
#include "cli/json.h"
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#define CHAIN_MAX 16
#define NAMES_MAX 1000
#define SOON (14 * NSEC_DAY)
#define STS_MAX_AGE 604800 /* a week: RFC 8461 §3.2 wants weeks, the first days want less */

/* A certificate as it was read; its strings are in the command's arena. */
struct seen {
	str file;
	str names[NAMES_MAX];
	size_t name_count;
	nsec until_wall;
	size_t chain; /* certificates behind ours */
	bool signs_itself;
	size_t out_of_order; /* 0: none; else the first that the one before it was not signed by */
	char spki[65];       /* SHA-256 of the public key, in hexadecimal */
};

/* One, as a listener names them. */
struct reading {
	struct cli *cli;
	const struct conf *conf;
	const struct conf_listen *listen;
	struct seen seen;
	json_t *problems; /* strings */
};

static size_t our_names(const struct conf *c)
{
	return 1 + c->alias_count;
}

static str our_name(const struct conf *c, size_t i)
{
	return i == 0 ? c->hostname : c->aliases[i - 1];
}

static void problem(struct cli *cli, json_t *problems, const char *text)
{
	json_array_append_new(problems, text ? js_text(cli_safe(cli, str_of(text))) : NULL);
}

/* --- what a certificate says --- */

static void take_names(struct reading *r, X509 *x)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		str text;

		if (n->type != GEN_DNS || r->seen.name_count == NAMES_MAX)
			continue;
		text = arena_str(&r->cli->arena, str_mem(ASN1_STRING_get0_data(n->d.dNSName),
							 (size_t)ASN1_STRING_length(n->d.dNSName)));
		if (text.p)
			r->seen.names[r->seen.name_count++] = text;
	}
	GENERAL_NAMES_free(names);
}

static void take_key(struct seen *s, const X509 *x)
{
	unsigned char *der = NULL, digest[32];
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);

	if (n <= 0 || EVP_Q_digest(NULL, "SHA256", NULL, der, (size_t)n, digest, NULL) != 1)
		return;
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(s->spki + 2 * i, 3, "%02x", digest[i]);
	OPENSSL_free(der);
}

static nsec wall_of(const ASN1_TIME *at)
{
	struct tm tm;

	return ASN1_TIME_to_tm(at, &tm) == 1 ? (nsec)timegm(&tm) * NSEC_S : 0;
}

static void take_chain(struct seen *s, BIO *pem, X509 *leaf)
{
	X509 *chain[CHAIN_MAX + 1] = { leaf }, *next;

	while (s->chain < CHAIN_MAX && (next = PEM_read_bio_X509(pem, NULL, NULL, NULL))) {
		chain[++s->chain] = next;
		if (!s->out_of_order && X509_check_issued(next, chain[s->chain - 1]) != X509_V_OK)
			s->out_of_order = s->chain;
	}
	ERR_clear_error();
	for (size_t i = 1; i <= s->chain; i++)
		X509_free(chain[i]);
}

static int look(struct reading *r, const struct conf_certificate *of)
{
	BIO *pem = BIO_new_mem_buf(of->certificate_pem.p, (int)of->certificate_pem.n);
	X509 *x = pem ? PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL) : NULL;

	memset(&r->seen, 0, sizeof(r->seen)); /* a compound literal would stand on the stack */
	r->seen.file = of->certificate;
	if (x) {
		take_names(r, x);
		take_key(&r->seen, x);
		take_chain(&r->seen, pem, x);
		r->seen.until_wall = wall_of(X509_get0_notAfter(x));
		r->seen.signs_itself = X509_check_issued(x, x) == X509_V_OK;
	}
	X509_free(x);
	BIO_free(pem);
	return x ? 0 : -EINVAL;
}

static bool has_name(const struct seen *s, str name)
{
	for (size_t i = 0; i < s->name_count; i++)
		if (tls_name_has(s->names[i], name))
			return true;
	return false;
}

/* "_25._tcp.mx2.example.org. IN TLSA 3 1 1 …" */
static str tlsa(struct reading *r, str name)
{
	return cli_safe(r->cli, str_of(arena_sprintf(
					&r->cli->arena, "_%u._tcp.%.*s. IN TLSA 3 1 1 %s",
					r->listen->address.port, STR_ARG(name), r->seen.spki)));
}

static void judge(struct reading *r)
{
	const struct seen *s = &r->seen;
	struct arena *a = &r->cli->arena;
	nsec now = r->cli->now_wall;

	if (s->until_wall <= now)
		problem(r->cli, r->problems,
			arena_sprintf(a, "%.*s has expired: renew it", STR_ARG(s->file)));
	else if (s->until_wall - now < SOON)
		problem(r->cli, r->problems,
			arena_sprintf(a, "%.*s expires in less than 14 days: renew it",
				      STR_ARG(s->file)));
	if (s->out_of_order)
		problem(r->cli, r->problems,
			arena_sprintf(a,
				      "%.*s: certificate %zu of it did not sign the one before it: "
				      "our own "
				      "comes first, then each that signed the one above it",
				      STR_ARG(s->file), s->out_of_order + 1));
	if (s->signs_itself)
		problem(r->cli, r->problems,
			arena_sprintf(
				a,
				"%.*s is signed by itself: good for TLSA, but senders that follow "
				"MTA-STS refuse it",
				STR_ARG(s->file)));
}

/* --- both forms are made side by side: the text as it goes, the JSON at the end --- */

static json_t *show_certificate(struct reading *r, bool text)
{
	json_t *o = json_object(), *names = json_array(), *records = json_array();
	FILE *out = r->cli->out;
	const struct seen *s = &r->seen;
	char until[FORMAT_SIZE];

	json_object_set_new(o, "file", js_text(s->file));
	json_object_set_new(o, "expires", js_time(s->until_wall));
	json_object_set_new(o, "chain", js_number(s->chain));
	json_object_set_new(o, "chain_in_order", json_boolean(!s->out_of_order));
	json_object_set_new(o, "signs_itself", json_boolean(s->signs_itself));
	if (text)
		fprintf(out,
			"  certificate  %.*s\n  expires      %s\n  chain        %zu behind "
			"ours%s\n  names       ",
			STR_ARG(cli_safe(r->cli, s->file)), format_time(s->until_wall, until),
			s->chain, s->out_of_order ? ", out of order" : "");
	for (size_t i = 0; i < s->name_count; i++) {
		json_array_append_new(names, js_text(s->names[i]));
		if (text)
			fprintf(out, " %.*s", STR_ARG(cli_safe(r->cli, s->names[i])));
	}
	if (text)
		fputs(s->name_count ? "\n" : " none\n", out);
	for (size_t i = 0; i < our_names(r->conf); i++) {
		str record;

		if (!has_name(s, our_name(r->conf, i)))
			continue;
		record = tlsa(r, our_name(r->conf, i));
		json_array_append_new(records, js_text(record));
		if (text)
			fprintf(out, "  TLSA         %.*s\n", STR_ARG(record));
	}
	json_object_set_new(o, "names", names);
	json_object_set_new(o, "tlsa", records);
	return o;
}

static json_t *show_listener(struct reading *r, bool text, uint64_t *names_seen)
{
	static const char *const word[] = {
		[CONF_TLS_OFF] = "off",
		[CONF_TLS_STARTTLS] = "starttls",
		[CONF_TLS_IMPLICIT] = "implicit",
	};
	json_t *o = json_object(), *certificates = json_array();
	const struct conf_listen *l = r->listen;
	char address[ADDR_TEXT_SIZE];

	addr_text(&l->address, address);
	json_object_set_new(o, "name", js_text(l->name));
	json_object_set_new(o, "address", js_text(str_of(address)));
	json_object_set_new(o, "tls", json_string(word[l->tls]));
	if (text)
		fprintf(r->cli->out, "listen \"%.*s\" %s, TLS %s\n",
			STR_ARG(cli_safe(r->cli, l->name)), address, word[l->tls]);
	for (size_t i = 0; i < l->certificate_count && l->tls != CONF_TLS_OFF; i++) {
		if (look(r, &l->certificates[i]) < 0)
			continue; /* conf read it a moment ago */
		judge(r);
		json_array_append_new(certificates, show_certificate(r, text));
		for (size_t n = 0; n < our_names(r->conf) && n < 64; n++)
			if (has_name(&r->seen, our_name(r->conf, n)))
				*names_seen |= UINT64_C(1) << n;
	}
	json_object_set_new(o, "certificates", certificates);
	if (text)
		fputc('\n', r->cli->out);
	return o;
}

/* What the policy of a domain that we back up must say, beside its primaries. */
static json_t *show_sts(struct reading *r, bool text)
{
	_cleanup_(buf_done) struct buf policy = { 0 };
	char record[200];
	json_t *o = json_object(), *lines = json_array();
	time_t now = (time_t)(r->cli->now_wall / NSEC_S);
	struct tm tm;
	size_t n;

	gmtime_r(&now, &tm);
	n = strftime(record, sizeof(record),
		     "_mta-sts.DOMAIN. IN TXT \"v=STSv1; id=%Y%m%dT%H%M%SZ;\"", &tm);
	must(n > 0);
	buf_init(&policy, 64 * 1024);
	buf_addf(&policy, "version: STSv1\nmode: testing\n");
	for (size_t i = 0; i < our_names(r->conf); i++) {
		str name = our_name(r->conf, i);

		json_array_append_new(lines, js_text(name));
		buf_addf(&policy, "mx: %.*s\n", STR_ARG(name));
	}
	buf_addf(&policy, "max_age: %d\n", STS_MAX_AGE);
	json_object_set_new(o, "mx", lines);
	json_object_set_new(o, "policy", js_text(buf_str(&policy)));
	json_object_set_new(o, "txt", json_string(record));
	if (text)
		fprintf(r->cli->out,
			"MTA-STS of a DOMAIN that we back up: at "
			"https://mta-sts.DOMAIN/.well-known/mta-sts.txt,"
			"\nwith an mx: line for each of its primaries beside ours:\n\n%.*s\n"
			"and in DNS, with another id whenever the policy changes:\n\n%s\n",
			STR_ARG(buf_str(&policy)), record);
	return o;
}

static void judge_names(struct reading *r, uint64_t names_seen)
{
	for (size_t i = 0; i < our_names(r->conf) && i < 64; i++)
		if (!(names_seen >> i & 1))
			problem(r->cli, r->problems,
				arena_sprintf(
					&r->cli->arena,
					"%.*s is in no certificate: senders that follow MTA-STS do "
					"not "
					"deliver to it, and there is no TLSA record to publish",
					STR_ARG(our_name(r->conf, i))));
}

int doctor_names(struct cli *cli, const struct conf *c)
{
	static struct reading r; /* many names */
	json_t *o = json_object(), *listen = json_array();
	uint64_t names_seen = 0;
	size_t wrong;
	int status;

	memset(&r, 0, sizeof(r));
	r.cli = cli;
	r.conf = c;
	r.problems = json_array();
	json_object_set_new(o, "hostname", js_text(c->hostname));
	for (size_t i = 0; i < c->listen_count; i++) {
		r.listen = &c->listen[i];
		json_array_append_new(listen, show_listener(&r, !cli->json, &names_seen));
	}
	judge_names(&r, names_seen);
	json_object_set_new(o, "listen", listen);
	json_object_set_new(o, "mta_sts", show_sts(&r, !cli->json));
	wrong = json_array_size(r.problems);
	for (size_t i = 0; i < wrong && !cli->json; i++)
		fprintf(cli->out, "%sproblem: %s\n", i ? "" : "\n",
			json_string_value(json_array_get(r.problems, i)));
	json_object_set_new(o, "problems", r.problems);
	if (!cli->json) {
		json_decref(o);
		return wrong ? CLI_NOTHING : CLI_OK;
	}
	status = js_print(cli, o);
	return status == CLI_OK && wrong ? CLI_NOTHING : status;
}
