/* locum doctor: what it says of certificates made here, with one listener each time, at the moment NOW. */
#include "cli/test_server.h"

#include "net/testing.h"

#define DAY (24 * 3600)
#define NOW_S ((time_t)(NOW / NSEC_S))
#define AT_25 "address = \"[::]:25\""
#define AT_465 "address = \"192.0.2.7:465\" tls = \"implicit\""

static struct made ca;

static struct made signed_one(const char *names, long seconds)
{
	return make_at(NOW_S, "mx", names, "EC", &ca, seconds);
}

/* The configuration names a key that is not there: it is not read. */
static void examine(const struct made *m, const struct made *next, const char *listen, bool json)
{
	FILE *f = fopen("chain.pem", "w");

	fprintf(f, "%s%s", m->certificate_text, next ? next->certificate_text : "");
	fclose(f);
	f = fopen("doctor.conf", "w");
	fprintf(f,
		"hostname = \"mx2.example.net\"\naliases = \"backup.example.net\"\n"
		"listen \"mx\" { %s tls_certificate = \"chain.pem\" tls_key = \"none.key\" }\n"
		"domain \"example.org\" { recipients = \"file:none\" }\n",
		listen);
	fclose(f);
	RUN_ALONE(W("doctor"), W("--config"), W("doctor.conf"), json ? W("--json") : NULL);
	unlink("chain.pem");
	unlink("doctor.conf");
}

/* As the world computes it: openssl pkey -pubin -outform der | sha256sum */
static const char *key_digest(const struct made *m)
{
	unsigned char *der = NULL, digest[32];
	int n = i2d_PUBKEY(m->key, &der);
	static char text[65];

	assert_true(n > 0);
	assert_int_equal(EVP_Digest(der, (size_t)n, digest, NULL, EVP_sha256(), NULL), 1);
	OPENSSL_free(der);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

static void a_good_certificate_names_its_records(void **state)
{
	struct made m = signed_one("DNS:mx2.example.net,DNS:*.example.net", 90 * DAY);
	char want[2048];

	(void)state;
	snprintf(want, sizeof(want),
		 "listen \"mx\" [::]:25, TLS starttls\n"
		 "  certificate  chain.pem\n"
		 "  expires      2027-02-22T06:24:00Z\n"
		 "  chain        1 behind ours\n"
		 "  names        mx2.example.net *.example.net\n"
		 "  TLSA         _25._tcp.mx2.example.net. IN TLSA 3 1 1 %s\n"
		 "  TLSA         _25._tcp.backup.example.net. IN TLSA 3 1 1 %s\n"
		 "\n"
		 "MTA-STS of a DOMAIN that we back up: at "
		 "https://mta-sts.DOMAIN/.well-known/mta-sts.txt,\n"
		 "with an mx: line for each of its primaries beside ours:\n"
		 "\n"
		 "version: STSv1\n"
		 "mode: testing\n"
		 "mx: mx2.example.net\n"
		 "mx: backup.example.net\n"
		 "max_age: 604800\n"
		 "\n"
		 "and in DNS, with another id whenever the policy changes:\n"
		 "\n"
		 "_mta-sts.DOMAIN. IN TXT \"v=STSv1; id=20261124T062400Z;\"\n",
		 key_digest(&m), key_digest(&m));
	examine(&m, &ca, AT_25, false);
	expect(CLI_OK, want, "");
	made_done(&m);
}

static void the_record_names_the_port_of_its_listener(void **state)
{
	struct made m = signed_one("DNS:mx2.example.net", 90 * DAY);
	char want[256];

	(void)state;
	snprintf(want, sizeof(want), "_465._tcp.mx2.example.net. IN TLSA 3 1 1 %s\n",
		 key_digest(&m));
	examine(&m, NULL, AT_465, false);
	assert_non_null(strstr(ran.out, "TLS implicit\n"));
	assert_non_null(strstr(ran.out, want));
	assert_null(strstr(ran.out, "_tcp.backup")); /* the certificate does not have that name */
	made_done(&m);
}

static void json_says_the_same(void **state)
{
	struct made m = signed_one("DNS:mx2.example.net,DNS:backup.example.net", 90 * DAY);
	const char *file, *expires, *name, *policy, *txt;
	int chain, in_order, itself;
	json_t *o, *tlsa, *problems;

	(void)state;
	examine(&m, &ca, AT_25, true);
	assert_int_equal(ran.status, CLI_OK);
	o = json_loads(ran.out, 0, NULL);
	assert_non_null(o);
	assert_int_equal(json_unpack(o,
				     "{s:[{s:[{s:s,s:s,s:i,s:b,s:b,s:[s,s],s:o}]}],"
				     "s:{s:[s,s],s:s,s:s},s:o}",
				     "listen", "certificates", "file", &file, "expires", &expires,
				     "chain", &chain, "chain_in_order", &in_order, "signs_itself",
				     &itself, "names", &name, &name, "tlsa", &tlsa, "mta_sts", "mx",
				     &name, &name, "policy", &policy, "txt", &txt, "problems",
				     &problems),
			 0);
	assert_string_equal(file, "chain.pem");
	assert_string_equal(expires, "2027-02-22T06:24:00.000Z");
	assert_true(chain == 1 && in_order && !itself);
	assert_string_equal(name, "backup.example.net");
	assert_non_null(strstr(policy, "\nmx: mx2.example.net\nmx: backup.example.net\n"));
	assert_non_null(strstr(txt, "id=20261124T062400Z;"));
	assert_int_equal(json_array_size(tlsa), 2);
	assert_int_equal(json_array_size(problems), 0);
	json_decref(o);
	made_done(&m);
}

static const struct wrong {
	const char *requirement;
	const char *names;
	long seconds;
	bool itself, ca_behind, stranger_behind;
	const char *problem; /* NULL: none */
} wrongs[] = {
	{ "nothing is wrong", "DNS:*.example.net", 15 * DAY, false, true, false, NULL },
	{ "14 days left are enough", "DNS:*.example.net", 14 * DAY, false, true, false, NULL },
	{ "less than 14 days are not", "DNS:*.example.net", 14 * DAY - 1, false, true, false,
	  "chain.pem expires in less than 14 days: renew it" },
	{ "the last second", "DNS:*.example.net", 0, false, true, false,
	  "chain.pem has expired: renew it" },
	{ "a name of ours in no certificate", "DNS:mx2.example.net", 90 * DAY, false, true, false,
	  "backup.example.net is in no certificate" },
	{ "a wildcard stands for one label", "DNS:mx2.example.net,DNS:*.net", 90 * DAY, false, true,
	  false, "backup.example.net is in no certificate" },
	{ "a common name is no name", NULL, 90 * DAY, false, true, false,
	  "mx2.example.net is in no certificate" },
	{ "who signs itself", "DNS:*.example.net", 90 * DAY, true, false, false,
	  "chain.pem is signed by itself" },
	{ "a chain out of order", "DNS:*.example.net", 90 * DAY, false, false, true,
	  "chain.pem: certificate 2 of it did not sign the one before it" },
};

static void what_is_wrong_is_said(void **state)
{
	struct made stranger = make_at(NOW_S, "stranger", NULL, "EC", NULL, DAY);

	(void)state;
	for (size_t i = 0; i < ELEMENTS(wrongs); i++) {
		const struct wrong *w = &wrongs[i];
		struct made m =
			make_at(NOW_S, "mx", w->names, "EC", w->itself ? NULL : &ca, w->seconds);
		const char *said;

		examine(&m,
			w->ca_behind         ? &ca
			: w->stranger_behind ? &stranger
					     : NULL,
			AT_25, false);
		said = strstr(ran.out, "\nproblem: ");
		if (ran.status != (w->problem ? CLI_NOTHING : CLI_OK) || !said != !w->problem ||
		    (said && !str_starts(str_of(said + strlen("\nproblem: ")), str_of(w->problem))))
			fail_msg("%s: status %d\n%s", w->requirement, ran.status, ran.out);
		made_done(&m);
	}
	made_done(&stranger);
}

static void without_a_certificate_our_names_are_in_none(void **state)
{
	(void)state;
	RUN_ALONE(W("doctor"), W("--config"), W("good.conf"));
	assert_int_equal(ran.status, CLI_NOTHING);
	assert_non_null(strstr(ran.out, "listen \"mx\" [::]:25, TLS off\n\n"));
	assert_non_null(strstr(ran.out, "problem: mx2.example.net is in no certificate"));
}

/* What is wrong decides the exit status in both forms. */
static void json_of_something_wrong_ends_with_1(void **state)
{
	struct made m = signed_one("DNS:mx2.example.net", 90 * DAY);
	json_t *o;

	(void)state;
	examine(&m, &ca, AT_25, true);
	assert_int_equal(ran.status, CLI_NOTHING);
	o = json_loads(ran.out, 0, NULL);
	assert_non_null(o);
	assert_int_equal(json_array_size(json_object_get(o, "problems")), 1);
	assert_non_null(strstr(json_string_value(json_array_get(json_object_get(o, "problems"), 0)),
			       "backup.example.net is in no certificate"));
	json_decref(o);
	made_done(&m);
}

/* Nobody is shown it: its names, its end and its key are no facts about us. */
static void a_certificate_of_a_listener_without_tls_counts_for_nothing(void **state)
{
	struct made m = signed_one("DNS:*.example.net", -1);
	json_t *o, *listen;

	(void)state;
	examine(&m, NULL, AT_25 " tls = \"off\"", false);
	assert_int_equal(ran.status, CLI_NOTHING);
	assert_non_null(strstr(ran.out, "listen \"mx\" [::]:25, TLS off\n\n"));
	assert_null(strstr(ran.out, "chain.pem"));
	assert_null(strstr(ran.out, "_tcp."));
	assert_non_null(strstr(ran.out, "problem: mx2.example.net is in no certificate"));
	examine(&m, NULL, AT_25 " tls = \"off\"", true);
	assert_int_equal(ran.status, CLI_NOTHING);
	o = json_loads(ran.out, 0, NULL);
	listen = json_array_get(json_object_get(o, "listen"), 0);
	assert_string_equal(json_string_value(json_object_get(listen, "tls")), "off");
	assert_int_equal(json_array_size(json_object_get(listen, "certificates")), 0);
	json_decref(o);
	made_done(&m);
}

static void a_domain_must_be_ours(void **state)
{
	(void)state;
	RUN_ALONE(W("doctor"), W("--config"), W("good.conf"), W("example.edu"));
	expect_error(CLI_NOTHING,
		     "example.edu is no domain of good.conf; `locum check` lists them");
}

/* How each program writes our addresses, and that loopback is none of them. */
static const struct {
	const char *tool, *part;
} snippets[] = {
	{ "postfix", "\nsmtpd_authorized_xclient_hosts = 192.0.2.7, [2001:db8::7]\n" },
	{ "postfix", "cidr:{{192.0.2.7/32 permit} {2001:db8::7/128 permit}}\n" },
	{ "exim", "\nhostlist locum_hosts = <; 192.0.2.7 ; 2001:db8::7\n" },
	{ "rspamd", " hostname_map = [\"mx2.example.net\", \"backup.example.net\"];\n" },
	{ "spamassassin", "\ntrusted_networks 192.0.2.7 2001:db8::7\n" },
	{ "spamassassin", "\ninternal_networks 192.0.2.7 2001:db8::7\n" },
	{ "exchange", " -SenderIPAddresses \"192.0.2.7\"\n" },
};

static void a_snippet_has_our_addresses(void **state)
{
	FILE *f = fopen("snippet.conf", "w");

	(void)state;
	fprintf(f, "hostname = \"mx2.example.net\"\naliases = \"backup.example.net\"\n"
		   "addresses = {\"192.0.2.7\", \"2001:db8::7\"}\n"
		   "listen \"mx\" { address = \"127.0.0.1:2525\" }\n"
		   "domain \"example.org\" { }\n");
	fclose(f);
	for (size_t i = 0; i < ELEMENTS(snippets); i++) {
		requirement = snippets[i].tool;
		RUN_ALONE(W("doctor"), W("example.org"), W("--snippet"), W(snippets[i].tool),
			  W("--config"), W("snippet.conf"));
		if (ran.status != CLI_OK || !strstr(ran.out, snippets[i].part))
			fail_msg("%s: status %d\n%s%s", requirement, ran.status, ran.out, ran.err);
		assert_null(strstr(ran.out, "127.0.0.1"));
	}
	RUN_ALONE(W("doctor"), W("example.org"), W("--snippet=sendmail"), W("--config"),
		  W("snippet.conf"));
	expect_error(CLI_USAGE, "there are postfix, exim, rspamd, spamassassin and exchange");
	RUN_ALONE(W("doctor"), W("--snippet"), W("exim"), W("--config"), W("snippet.conf"));
	expect_error(CLI_USAGE, "--snippet needs a domain");
	unlink("snippet.conf");
}

static int begin(void **state)
{
	ca = make_at(NOW_S, "ca", NULL, "EC", NULL, 365 * DAY);
	return setup(state);
}

static int end(void **state)
{
	made_done(&ca);
	return teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_certificate_names_its_records),
		cmocka_unit_test(the_record_names_the_port_of_its_listener),
		cmocka_unit_test(json_says_the_same),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(without_a_certificate_our_names_are_in_none),
		cmocka_unit_test(json_of_something_wrong_ends_with_1),
		cmocka_unit_test(a_certificate_of_a_listener_without_tls_counts_for_nothing),
		cmocka_unit_test(a_domain_must_be_ours),
		cmocka_unit_test(a_snippet_has_our_addresses),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests_name("locum doctor", tests, begin, end);
}
