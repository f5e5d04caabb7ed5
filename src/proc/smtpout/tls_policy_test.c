#include "proc/smtpout/tls_policy.h"
#include "proc/smtpout/tls_report.h"

#include "proc/smtpout/fake_server.h"
#include "proc/smtpout/outbound.h"
#include "smtp/sts.h"

#include <openssl/evp.h>

/*
 * Handshakes with certificates made on the spot. TLSA records: "311 leaf" is usage, selector and matching type, and of
 * which certificate; "other": of one that has nothing to do with it, "short": its digest is cut.
 */
enum { WITHOUT_TLS, SELF, EXPIRED, SIGNED, SIGNED_EXPIRED, SIGNED_FOR_OTHER };

struct tls_case {
	const char *requirement;
	int certificate;
	const char *tlsa[3];
	enum conn_result result;
	enum tls_verified verified;
	enum tls_problem problem;
	const char *why;
	enum tls_demand configured;
	bool no_records, trusted, broken_handshake, refused;
	enum tlsrpt_result report;
};

#define READY CONN_READY
#define LACKING CONN_TLS_LACKING
#define DANE TLS_VERIFIED_DANE
#define NOT TLS_VERIFIED_NOT

static const struct tls_case cases[] = {
	{ "DANE-EE by the key's digest", SELF, { "311 leaf" }, READY, DANE },
	{ "DANE-EE by the certificate's digest, SHA-512", SELF, { "302 leaf" }, READY, DANE },
	{ "DANE-EE by the whole certificate", SELF, { "300 leaf" }, READY, DANE },
	{ "DANE-EE needs neither the name nor the time (RFC 7672 3.1.1)",
	  EXPIRED,
	  { "311 leaf" },
	  READY,
	  DANE },
	{ "one of several matches: a key is being replaced",
	  SELF,
	  { "311 other", "311 leaf" },
	  READY,
	  DANE },
	{ "none matches",
	  SELF,
	  { "311 other" },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_OTHER,
	  "its certificate matches none of its TLSA records, and DANE demands",
	  .report = TLSRPT_VALIDATION_FAILURE },
	{ "DANE-TA", SIGNED, { "201 ca" }, READY, DANE },
	{ "DANE-TA by the authority's key", SIGNED, { "211 ca" }, READY, DANE },
	{ "DANE-TA needs the time",
	  SIGNED_EXPIRED,
	  { "201 ca" },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_EXPIRED,
	  "expired",
	  .report = TLSRPT_EXPIRED },
	{ "DANE-TA needs the name",
	  SIGNED_FOR_OTHER,
	  { "201 ca" },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_HOST_MISMATCH,
	  "mismatch",
	  .report = TLSRPT_HOST_MISMATCH },
	{ "DANE-TA of another authority",
	  SIGNED,
	  { "201 other" },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_OTHER,
	  .report = TLSRPT_VALIDATION_FAILURE },
	{ "PKIX-TA and PKIX-EE cannot be used: encrypted, whoever it is",
	  SELF,
	  { "111 other", "001 other" },
	  READY,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .report = TLSRPT_TLSA_INVALID },
	{ "beside one that can be used they count for nothing",
	  SELF,
	  { "111 leaf", "311 other" },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_OTHER,
	  .report = TLSRPT_VALIDATION_FAILURE },
	{ "a digest of the wrong length cannot be used",
	  SELF,
	  { "311 short" },
	  READY,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .report = TLSRPT_TLSA_INVALID },
	{ "a whole certificate that is none cannot be used",
	  SELF,
	  { "300 short" },
	  READY,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .report = TLSRPT_TLSA_INVALID },
	{ "unusable records still demand TLS",
	  WITHOUT_TLS,
	  { "111 other" },
	  LACKING,
	  .why = "STARTTLS is not offered, and DANE demands TLS",
	  .report = TLSRPT_NO_STARTTLS },
	{ "a downgrade is refused: STARTTLS is not offered",
	  WITHOUT_TLS,
	  { "311 leaf" },
	  LACKING,
	  .why = "STARTTLS is not offered, and DANE demands TLS with a verified host",
	  .report = TLSRPT_NO_STARTTLS },
	{ "a downgrade is refused: STARTTLS is refused",
	  SELF,
	  { "311 leaf" },
	  LACKING,
	  .why = "STARTTLS is refused, and DANE demands",
	  .refused = true,
	  .report = TLSRPT_NO_STARTTLS },
	{ "a downgrade is refused: the handshake fails",
	  SELF,
	  { "311 leaf" },
	  LACKING,
	  .why = "TLS handshake",
	  .broken_handshake = true,
	  .report = TLSRPT_VALIDATION_FAILURE },
	{ "without records an unknown host is spoken to",
	  SELF,
	  { NULL },
	  READY,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .no_records = true },
	{ "without records a trusted authority verifies",
	  SIGNED,
	  { NULL },
	  READY,
	  TLS_VERIFIED_PKIX,
	  .no_records = true,
	  .trusted = true },
	{ "but not for another name",
	  SIGNED_FOR_OTHER,
	  { NULL },
	  READY,
	  NOT,
	  TLS_PROBLEM_HOST_MISMATCH,
	  .no_records = true,
	  .trusted = true },
	{ "tls = encrypt: never in plain text",
	  WITHOUT_TLS,
	  { NULL },
	  LACKING,
	  .why = "STARTTLS is not offered, and the domain's option tls demands TLS",
	  .configured = TLS_ENCRYPT,
	  .no_records = true,
	  .report = TLSRPT_NO_STARTTLS },
	{ "tls = encrypt: with anybody",
	  SELF,
	  { NULL },
	  READY,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .configured = TLS_ENCRYPT,
	  .no_records = true },
	{ "tls = verify: not with anybody",
	  SELF,
	  { NULL },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .configured = TLS_VERIFY,
	  .no_records = true,
	  .report = TLSRPT_NOT_TRUSTED },
	{ "tls = verify: an authority will do",
	  SIGNED,
	  { NULL },
	  READY,
	  TLS_VERIFIED_PKIX,
	  .configured = TLS_VERIFY,
	  .no_records = true,
	  .trusted = true },
	{ "tls = verify: DANE will do",
	  SELF,
	  { "311 leaf" },
	  READY,
	  DANE,
	  .configured = TLS_VERIFY },
	{ "tls = verify: records that cannot be used verify nobody",
	  SELF,
	  { "111 leaf" },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .configured = TLS_VERIFY,
	  .report = TLSRPT_TLSA_INVALID },
	{ "tls = verify: nor do malformed ones",
	  SELF,
	  { "300 short" },
	  LACKING,
	  NOT,
	  TLS_PROBLEM_NOT_TRUSTED,
	  .configured = TLS_VERIFY,
	  .report = TLSRPT_TLSA_INVALID },
	{ "nor past its time",
	  SIGNED_EXPIRED,
	  { NULL },
	  READY,
	  NOT,
	  TLS_PROBLEM_EXPIRED,
	  .no_records = true,
	  .trusted = true },
};

struct tls_run {
	const struct tls_case *k;
	struct made ca, leaf, other;
	uint8_t data[3][4096];
};

static struct made make_leaf(int certificate, const struct made *ca)
{
	const char *names =
		certificate == SIGNED_FOR_OTHER ? "DNS:other.example" : "DNS:mx.example";
	bool expired = certificate == EXPIRED || certificate == SIGNED_EXPIRED;

	return make("leaf", certificate == SELF || certificate == EXPIRED ? NULL : names, "EC",
		    certificate >= SIGNED ? ca : NULL, expired ? -60 : 3600);
}

static size_t association(const struct made *m, const char *how, uint8_t *to, size_t size)
{
	unsigned char *der = NULL;
	int n = how[1] == '0' ? i2d_X509(m->x, &der) : i2d_PUBKEY(m->key, &der);
	size_t length = (size_t)n;

	assert_true(n > 0 && length <= size);
	if (how[2] == '0')
		memcpy(to, der, length);
	else
		assert_int_equal(EVP_Q_digest(NULL, how[2] == '1' ? "SHA256" : "SHA512", NULL, der,
					      length, to, &length),
				 1);
	OPENSSL_free(der);
	return length;
}

static void add_record(struct tls_run *run, struct dialled *d, const char *how)
{
	bool is_short = strstr(how, "short");
	const struct made *m = strstr(how, "ca")     ? &run->ca
			       : strstr(how, "leaf") ? &run->leaf
						     : &run->other;
	uint8_t *to = run->data[d->tlsa_count];
	size_t n = association(m, how, to, sizeof(run->data[0]));

	d->tlsa[d->tlsa_count++] = (struct tls_tlsa){
		.usage = (uint8_t)(how[0] - '0'),
		.selector = (uint8_t)(how[1] - '0'),
		.matching = (uint8_t)(how[2] - '0'),
		.data = str_mem(to, is_short ? n - 1 : n),
	};
}

static const char *const with_tls[] = { ">220 mx",   "<*EHLO",  ">250-mx", ">250 STARTTLS",
					"<STARTTLS", ">220 go", "tls",     "<*EHLO",
					">250 mx",   NULL };
static const char *const without[] = { ">220 mx", "<*EHLO", ">250 mx", NULL };
static const char *const refuses[] = { ">220 mx",   "<*EHLO",       ">250-mx", ">250 STARTTLS",
				       "<STARTTLS", ">454 not now", NULL };
static const char *const breaks[] = { ">220 mx",       "<*EHLO",    ">250-mx",
				      ">250 STARTTLS", "<STARTTLS", ">220 go",
				      ">nonsense",     "close",     NULL };

static void expect_report(const struct tls_case *k, const struct dialled *d,
			  const struct tls_policy *policy, const struct conn *c,
			  enum conn_result result)
{
	const struct tls_needs needs = { k->configured };
	struct tlsrpt_session *s;
	struct arena arena;

	arena_init(&arena, 65536);
	s = tls_report_make(STR("example"), &needs, d, policy, c, result, &arena);
	assert_non_null(s);
	if (s->result != k->report)
		fail_msg("%s: reported as %s, not %s", k->requirement,
			 tlsrpt_result_name(s->result), tlsrpt_result_name(k->report));
	assert_int_equal(s->type, k->no_records ? TLSRPT_NO_POLICY : TLSRPT_TLSA);
	assert_int_equal(s->text_count, d->tlsa_count);
	assert_true(str_eq(s->policy_domain, k->no_records ? STR("example") : STR("mx.example")));
	assert_true(str_eq(s->address, STR("192.0.2.1")));
	arena_done(&arena);
}

static void tls_task(struct task *tk, void *arg)
{
	struct tls_run *run = arg;
	const struct tls_case *k = run->k;
	struct conn_peer peer = { STR("mx.example:25"), STR("mx.example"), STR("192.0.2.1:25") };
	struct dialled d = {
		.host = peer.host, .address = peer.address, .secure = true, .tlsa_base = peer.host
	};
	struct ssl_ctx_st *server_tls, *context;
	struct fake_server server;
	struct tls_policy policy;
	struct arena arena;
	enum conn_result result;
	char error[100];
	struct conn *c;

	arena_init(&arena, 20000);
	/* RFC 7671 §5.2.2: the trust anchor is part of what the server shows. */
	assert_int_equal(
		tls_server_new(str_of(arena_sprintf(&arena, "%s%s", run->leaf.certificate_text,
						    run->ca.certificate_text)),
			       run->leaf.pem.key_pem, &server_tls, error, sizeof(error)),
		0);
	assert_int_equal(
		tls_client_new(k->trusted ? run->ca.pem.certificate_pem : STR_NONE, &context), 0);
	d.dane = !k->no_records;
	for (int i = 0; i < 3 && k->tlsa[i]; i++)
		add_record(run, &d, k->tlsa[i]);
	tls_policy_make(STR("example"), &(struct tls_needs){ k->configured }, &d, &arena, &policy);
	policy.tls.context = context;
	assert_int_equal(conn_new(task_loop(tk),
				  fake_server_start(task_loop(tk), &server,
						    k->certificate == WITHOUT_TLS ? without
						    : k->refused                  ? refuses
						    : k->broken_handshake         ? breaks
										  : with_tls,
						    server_tls),
				  &peer, &c),
			 0);
	result = conn_open(tk, c, "locum.example", &conn_limits_probe, &policy.tls);
	if (result != k->result || c->verdict.verified != k->verified ||
	    c->verdict.problem != k->problem)
		fail_msg("%s: %d, verified %d, problem %d, %s; %s", k->requirement, (int)result,
			 (int)c->verdict.verified, (int)c->verdict.problem, c->why,
			 c->verdict.text ? c->verdict.text : "");
	expect_report(k, &d, &policy, c, result);
	if (k->why && !strstr(c->why, k->why))
		fail_msg("%s: %s", k->requirement, c->why);
	conn_free(c);
	while (!server.ended)
		task_sleep(tk, NSEC_MS);
	fake_server_done(&server);
	tls_context_freep(&server_tls);
	tls_context_freep(&context);
	arena_done(&arena);
}

static void handshakes(void **state)
{
	struct tls_run *run = calloc(1, sizeof(*run));

	(void)state;
	assert_non_null(run);
	run->ca = make("ca", NULL, "EC", NULL, 3600);
	run->other = make("other", NULL, "EC", NULL, 3600);
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		run->k = &cases[i];
		run->leaf = make_leaf(cases[i].certificate, &run->ca);
		fake_run(tls_task, run);
		made_done(&run->leaf);
	}
	made_done(&run->ca);
	made_done(&run->other);
	free(run);
}

/* RFC 7672 3.2.2: what a certificate may be for. */
static void names(void **state)
{
	struct dialled d = { .host = STR("mx.example"),
			     .tlsa_base = STR("real.example"),
			     .dane = true };
	struct tls_policy p;
	struct arena arena;

	(void)state;
	arena_init(&arena, 10000);
	d.tlsa[d.tlsa_count++] =
		(struct tls_tlsa){ 3, 1, 1, STR("0123456789abcdef0123456789abcdef") };
	d.mx = true;
	tls_policy_make(STR("example"), &(struct tls_needs){ TLS_MAY }, &d, &arena, &p);
	assert_int_equal(p.expect.name_count, 2);
	assert_string_equal(p.expect.server_name, "real.example");
	assert_string_equal(p.expect.name[1], "mx.example");
	d.secure = true;
	tls_policy_make(STR("example"), &(struct tls_needs){ TLS_MAY }, &d, &arena, &p);
	assert_int_equal(p.expect.name_count, 3);
	assert_string_equal(p.expect.name[2], "example");
	d = (struct dialled){ .host = STR("2001:db8::1") };
	tls_policy_make(STR("example"), &(struct tls_needs){ TLS_MAY }, &d, &arena, &p);
	assert_int_equal(p.expect.name_count, 0);
	assert_null(p.expect.server_name);
	assert_int_equal(p.tls.demand, TLS_MAY);
	arena_done(&arena);
}

/* With tls = verify: which names are beyond doubt. */
static void verified_names(void **state)
{
	struct dialled d = { .host = STR("mx.elsewhere"), .mx = true };
	struct tls_policy p;
	struct arena arena;

	(void)state;
	arena_init(&arena, 10000);
	tls_policy_make(STR("example"), &(struct tls_needs){ TLS_VERIFY }, &d, &arena, &p);
	assert_int_equal(p.expect.name_count, 1); /* DNS may have made up the host */
	assert_string_equal(p.expect.name[0], "example");
	assert_string_equal(p.expect.server_name, "mx.elsewhere");
	assert_true(p.of_domain);
	d.secure = true;
	tls_policy_make(STR("example"), &(struct tls_needs){ TLS_VERIFY }, &d, &arena, &p);
	assert_string_equal(p.expect.name[0], "mx.elsewhere");
	d = (struct dialled){ .host = STR("MX.Example"), .mx = true };
	tls_policy_make(STR("example"), &(struct tls_needs){ TLS_VERIFY }, &d, &arena, &p);
	assert_string_equal(p.expect.name[0], "MX.Example");
	d.host = STR("mx.notexample");
	tls_policy_make(STR("example"), &(struct tls_needs){ TLS_VERIFY }, &d, &arena, &p);
	assert_string_equal(p.expect.name[0], "example");
	arena_done(&arena);
}

static void mta_sts(void **state)
{
	struct sts_policy sts = { .mode = STS_ENFORCE, .mx_count = 1, .mx = { "*.example" } };
	struct dialled d = { .host = STR("mx.example"), .mx = true };
	struct tls_needs needs = { .sts = &sts };
	struct conn c = { .host = "mx.example", .mx = true };
	struct tls_policy p;
	struct arena arena;

	(void)state;
	arena_init(&arena, 20000);
	tls_policy_make(STR("example"), &needs, &d, &arena, &p);
	assert_int_equal(p.source, TLS_BY_STS);
	assert_int_equal(p.tls.demand, TLS_VERIFY);
	assert_int_equal(p.expect.name_count, 1); /* the host's own name, not the domain's */
	assert_string_equal(p.expect.name[0], "mx.example");
	assert_false(p.wrong_host);
	assert_false(tls_policy_fits(&c, STR("example"), &needs));
	c.verdict.verified = TLS_VERIFIED_PKIX;
	c.named_host = true;
	assert_true(tls_policy_fits(&c, STR("example"), &needs));
	str_copy(STR("mx.elsewhere"), c.host, sizeof(c.host));
	assert_false(tls_policy_fits(&c, STR("example"), &needs));
	d.host = STR("mx.elsewhere");
	tls_policy_make(STR("example"), &needs, &d, &arena, &p);
	assert_true(p.wrong_host && p.of_domain);
	d.mx = false; /* a configured host is not of the policy */
	tls_policy_make(STR("example"), &needs, &d, &arena, &p);
	assert_int_equal(p.source, TLS_BY_NOBODY);
	d.mx = d.dane = true; /* DANE before MTA-STS (RFC 8461 2) */
	d.tlsa[d.tlsa_count++] =
		(struct tls_tlsa){ 3, 1, 1, STR("0123456789abcdef0123456789abcdef") };
	tls_policy_make(STR("example"), &needs, &d, &arena, &p);
	assert_int_equal(p.source, TLS_BY_DANE);
	assert_false(p.wrong_host);
	d.dane = false;
	d.tlsa_count = 0;
	sts.mode = STS_TESTING;
	tls_policy_make(STR("example"), &needs, &d, &arena, &p);
	assert_int_equal(p.source, TLS_BY_STS_TESTING);
	assert_int_equal(p.tls.demand, TLS_MAY);
	assert_false(p.wrong_host);
	sts.mode = STS_NONE;
	tls_policy_make(STR("example"), &needs, &d, &arena, &p);
	assert_int_equal(p.source, TLS_BY_NOBODY);
	arena_done(&arena);
}

struct sts_report {
	const char *requirement;
	enum sts_mode mode; /* STS_NONE: there is no policy */
	enum tlsrpt_result problem;
	const char *host;
	struct conn c;
	enum tlsrpt_type type;
	enum tlsrpt_result result;
};

static const struct sts_report sts_reports[] = {
	{ "verified",
	  STS_ENFORCE,
	  0,
	  "mx.example",
	  { .tls = CONN_TLS_DONE, .verdict.verified = TLS_VERIFIED_PKIX },
	  TLSRPT_STS,
	  TLSRPT_OK },
	{ "what is only tested is judged as if it were enforced",
	  STS_TESTING,
	  0,
	  "mx.example",
	  { .tls = CONN_TLS_DONE, .verdict.problem = TLS_PROBLEM_NOT_TRUSTED },
	  TLSRPT_STS,
	  TLSRPT_NOT_TRUSTED },
	{ "a host that the tested policy does not name",
	  STS_TESTING,
	  0,
	  "mx.elsewhere",
	  { .tls = CONN_TLS_DONE, .verdict.verified = TLS_VERIFIED_PKIX },
	  TLSRPT_STS,
	  TLSRPT_VALIDATION_FAILURE },
	{ "no STARTTLS, sent in plain text",
	  STS_TESTING,
	  0,
	  "mx.example",
	  { .tls = CONN_TLS_NONE },
	  TLSRPT_STS,
	  TLSRPT_NO_STARTTLS },
	{ "a policy that cannot be had",
	  STS_NONE,
	  TLSRPT_STS_WEBPKI,
	  "mx.example",
	  { .tls = CONN_TLS_DONE },
	  TLSRPT_STS,
	  TLSRPT_STS_WEBPKI },
	{ "mode none is no policy",
	  STS_NONE,
	  0,
	  "mx.example",
	  { .tls = CONN_TLS_DONE },
	  TLSRPT_NO_POLICY,
	  TLSRPT_OK },
};

static void reports_of_mta_sts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(sts_reports); i++) {
		const struct sts_report *k = &sts_reports[i];
		struct sts_policy sts = { .mode = k->mode, .mx_count = 1, .mx = { "*.example" } };
		struct tls_needs needs = { .sts = &sts, .sts_problem = k->problem };
		struct dialled d = { .host = str_of(k->host),
				     .address = STR("[2001:db8::1]:25"),
				     .mx = true };
		struct tlsrpt_session *s;
		struct tls_policy p;
		struct arena arena;

		arena_init(&arena, 20000);
		tls_policy_make(STR("example"), &needs, &d, &arena, &p);
		s = tls_report_make(STR("example"), &needs, &d, &p, &k->c, CONN_READY, &arena);
		assert_non_null(s);
		if (s->type != k->type || s->result != k->result)
			fail_msg("%s: %d, %s", k->requirement, (int)s->type,
				 tlsrpt_result_name(s->result));
		assert_int_equal(s->mx_count, k->mode != STS_NONE);
		assert_true(str_eq(s->address, STR("2001:db8::1")));
		arena_done(&arena);
	}
}

static void what_was_not_tried_is_not_reported(void **state)
{
	const struct tls_needs needs = { 0 };
	const struct dialled d = { .host = STR("mx.example") };
	const struct tls_policy policy = { 0 };
	const struct conn c = { 0 };
	struct arena arena;

	(void)state;
	arena_init(&arena, 20000);
	assert_null(tls_report_make(STR("example"), &needs, &d, &policy, &c, CONN_SILENT, &arena));
	arena_done(&arena);
}

static void a_pooled_connection_fits(void **state)
{
	struct conn c = { .host = "mx.example" };

	(void)state;
	assert_true(tls_policy_fits(&c, STR("example"), &(struct tls_needs){ TLS_MAY }));
	assert_false(tls_policy_fits(&c, STR("example"), &(struct tls_needs){ TLS_ENCRYPT }));
	assert_false(tls_policy_fits(&c, STR("example"), &(struct tls_needs){ TLS_VERIFY }));
	c.verdict.verified = TLS_VERIFIED_PKIX;
	c.named_host = true;
	assert_true(tls_policy_fits(&c, STR("example"), &(struct tls_needs){ TLS_VERIFY }));
	assert_false(tls_policy_fits(&c, STR("other"), &(struct tls_needs){ TLS_VERIFY }));
	c.secure_name = true;
	assert_true(tls_policy_fits(&c, STR("other"), &(struct tls_needs){ TLS_VERIFY }));
	c = (struct conn){ .verdict.verified = TLS_VERIFIED_DANE };
	assert_true(tls_policy_fits(&c, STR("other"), &(struct tls_needs){ TLS_VERIFY }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshakes),
		cmocka_unit_test(names),
		cmocka_unit_test(verified_names),
		cmocka_unit_test(mta_sts),
		cmocka_unit_test(reports_of_mta_sts),
		cmocka_unit_test(what_was_not_tried_is_not_reported),
		cmocka_unit_test(a_pooled_connection_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
