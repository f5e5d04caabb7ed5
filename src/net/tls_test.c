#include "net/tls.h"

#include "base/cleanup.h"
#include "net/testing.h"
#include "net/tls_inside.h"

#include <stdio.h>

/* --- a server and a client, wired together --- */

struct pair {
	SSL *server, *client;
};

static void pair_done(struct pair *p)
{
	SSL_free(p->server);
	SSL_free(p->client);
}

/* True: both are through, tickets included. */
static bool handshake(struct pair *p, SSL_CTX *server, SSL_CTX *client, const char *sni,
		      SSL_SESSION *session)
{
	BIO *s, *c;
	char byte;

	*p = (struct pair){ SSL_new(server), SSL_new(client) };
	assert_int_equal(BIO_new_bio_pair(&s, 1 << 17, &c, 1 << 17), 1);
	SSL_set_bio(p->server, s, s);
	SSL_set_bio(p->client, c, c);
	SSL_set_accept_state(p->server);
	SSL_set_connect_state(p->client);
	if (sni)
		SSL_set_tlsext_host_name(p->client, sni);
	if (session)
		SSL_set_session(p->client, session);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(p->client);
		SSL_do_handshake(p->server);
	}
	SSL_read(p->client, &byte, 1);
	return SSL_is_init_finished(p->client) && SSL_is_init_finished(p->server);
}

/* The last session that a client was given, and how many. */
static SSL_SESSION *given;
static int given_count;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(given);
	given = session;
	given_count++;
	return 1;
}

static SSL_CTX *client_new(int version)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c, on_session);
	if (version) {
		SSL_CTX_set_min_proto_version(c, version);
		SSL_CTX_set_max_proto_version(c, version);
	}
	return c;
}

static void forget_session(void)
{
	SSL_SESSION_free(given);
	given = NULL;
	given_count = 0;
}

static SSL_CTX *server_new(const struct tls_server *of)
{
	SSL_CTX *context;
	char error[200] = "";

	if (tls_server_new_named(of, &context, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	return context;
}

/* --- names --- */

struct name_case {
	const char *requirement;
	const char *sni;
	const char *algorithms; /* that the client takes; NULL: all */
	const char *want;       /* common name of what it is shown */
};

#define ONLY_RSA "rsa_pss_rsae_sha256:RSA+SHA256"

static const struct name_case name_cases[] = {
	{ "who names nothing gets the first", NULL, ONLY_RSA, "first" },
	{ "or the one of the same name with a key of another kind", NULL, NULL, "first-ec" },
	{ "an unknown name gets the first", "unknown.example", ONLY_RSA, "first" },
	{ "a name of two certificates, RSA", "mx.example", ONLY_RSA, "first" },
	{ "a name of two certificates, ECDSA", "mx.example", "ECDSA+SHA256", "first-ec" },
	{ "a second name", "alias.example", NULL, "first-ec" },
	{ "a name of one label less than a wildcard", "example.org", ONLY_RSA, "first" },
	{ "a wildcard", "a.example.org", NULL, "wild" },
	{ "a wildcard, RSA", "a.example.org", ONLY_RSA, "wild-rsa" },
	{ "a wildcard stands for one label", "a.b.example.org", ONLY_RSA, "first" },
	{ "an exact name goes before a wildcard", "mx.example.org", ONLY_RSA, "exact" },
	{ "but a wildcard with a key of another kind helps out", "mx.example.org", "ECDSA+SHA256",
	  "wild" },
	{ "case does not count", "mX2.eXAMPLE", NULL, "upper" },
	{ "nor in a wildcard", "A.EXAMPLE.ORG", NULL, "wild" },
};

static void names_choose_certificates(void **state)
{
	struct made made[] = {
		make("first", "DNS:mx.example", "RSA", NULL, 3600),
		make("first-ec", "DNS:mx.example,DNS:alias.example", "EC", NULL, 3600),
		make("wild", "DNS:*.example.org", "EC", NULL, 3600),
		make("wild-rsa", "DNS:*.example.org", "RSA", NULL, 3600),
		make("exact", "DNS:mx.example.org", "RSA", NULL, 3600),
		make("upper", "email:x@y.example,DNS:MX2.Example", "EC", NULL, 3600),
	};
	struct tls_pair pairs[ELEMENTS(made)];
	struct tls_server of = { .pairs = pairs, .pair_count = ELEMENTS(made) };
	_cleanup_(tls_context_freep) SSL_CTX *server = NULL;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(made); i++)
		pairs[i] = made[i].pem;
	server = server_new(&of);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		for (size_t i = 0; i < ELEMENTS(name_cases); i++) {
			const struct name_case *c = &name_cases[i];
			_cleanup_(tls_context_freep) SSL_CTX *client = client_new(version);
			_cleanup_(pair_done) struct pair p = { 0 };
			char name[64];

			if (c->algorithms)
				SSL_CTX_set1_sigalgs_list(client, c->algorithms);
			if (!handshake(&p, server, client, c->sni, NULL))
				fail_msg("%s: no handshake", c->requirement);
			X509_NAME_get_text_by_NID(
				X509_get_subject_name(SSL_get0_peer_certificate(p.client)),
				NID_commonName, name, sizeof(name));
			if (strcmp(name, c->want) != 0)
				fail_msg("%s: %s", c->requirement, name);
		}
	}
	forget_session();
	for (size_t i = 0; i < ELEMENTS(made); i++)
		made_done(&made[i]);
}

/* --- tickets --- */

static const char key_a[TLS_TICKET_KEY_BYTES] = "key a", key_b[TLS_TICKET_KEY_BYTES] = "key b";

static void set_keys(struct tls_tickets *t, const char *first, const char *second)
{
	str keys[] = { str_mem(first, TLS_TICKET_KEY_BYTES),
		       str_mem(second, TLS_TICKET_KEY_BYTES) };

	assert_int_equal(tls_tickets_set(t, keys, first == second ? 1 : 2), 0);
}

/* A session that began at one server comes to another: is it resumed there? */
static bool resumes(int version, SSL_CTX *from, SSL_CTX *to, const char *sni)
{
	_cleanup_(tls_context_freep) SSL_CTX *client = client_new(version);
	_cleanup_(pair_done) struct pair one = { 0 }, two = { 0 };
	SSL_SESSION *session;
	bool reused;

	forget_session();
	assert_true(handshake(&one, from, client, sni, NULL));
	assert_int_equal(given_count, 1);
	session = given;
	given = NULL;
	assert_true(handshake(&two, to, client, sni, session));
	reused = SSL_session_reused(two.server) == 1;
	SSL_SESSION_free(session);
	forget_session();
	return reused;
}

static void tickets_resume_at_another_process(void **state)
{
	struct made m = make("mx", "DNS:mx.example", "EC", NULL, 3600);
	struct made other = make("other", "DNS:other.example", "EC", NULL, 3600);
	struct made ca = make("ca", NULL, "EC", NULL, 3600);
	struct tls_pair pairs[] = { m.pem, other.pem }, renewed[] = { other.pem, m.pem };
	struct tls_tickets t1 = { 0 }, t2 = { 0 };
	struct tls_server of = { .pairs = pairs, .pair_count = 2, .tickets = &t1 };
	_cleanup_(tls_context_freep) SSL_CTX *one = server_new(&of), *two = NULL, *three = NULL,
					     *asking = NULL;

	(void)state;
	of.tickets = &t2;
	two = server_new(&of);
	of.pairs = renewed;
	three = server_new(&of);
	of.client_ca_pem = ca.pem.certificate_pem;
	asking = server_new(&of);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		set_keys(&t1, key_a, key_a);
		set_keys(&t2, key_a, key_a);
		assert_true(resumes(version, one, two, NULL));
		assert_true(resumes(version, one, two, "mx.example"));
		assert_true(resumes(version, one, two, "other.example"));
		/* after a reload that brought other certificates */
		assert_true(resumes(version, one, three, "mx.example"));
		/* nothing is known of who asked for no certificate */
		assert_false(resumes(version, one, asking, "mx.example"));
		assert_true(resumes(version, asking, asking, "mx.example"));
		/* an earlier key */
		set_keys(&t2, key_b, key_a);
		assert_true(resumes(version, one, two, NULL));
		/* a key that is gone: a full handshake, no failure */
		set_keys(&t2, key_b, key_b);
		assert_false(resumes(version, one, two, NULL));
	}
	made_done(&m);
	made_done(&other);
	made_done(&ca);
}

static void ticket_keys_are_checked(void **state)
{
	str keys[TLS_TICKET_KEYS_MAX + 1];
	struct tls_tickets t;
	uint8_t first;

	(void)state;
	tls_tickets_init(&t);
	assert_int_equal(t.count, 1);
	first = t.key[0][0];
	for (size_t i = 0; i < ELEMENTS(keys); i++)
		keys[i] = str_mem(key_a, TLS_TICKET_KEY_BYTES);
	assert_int_equal(tls_tickets_set(&t, keys, 0), -EINVAL);
	assert_int_equal(tls_tickets_set(&t, keys, ELEMENTS(keys)), -EINVAL);
	keys[1].n--;
	assert_int_equal(tls_tickets_set(&t, keys, 2), -EINVAL);
	assert_int_equal(t.key[0][0], first);
	assert_int_equal(tls_tickets_set(&t, keys, 1), 0);
	assert_int_equal(t.key[0][0], 'k');
}

/* --- what is spoken --- */

struct spoken_case {
	const char *requirement;
	int version; /* of the client; 0: any */
	const char *ciphers, *groups;
	bool works;
	const char *want; /* the cipher */
};

static const struct spoken_case spoken_cases[] = {
	{ "1.3", TLS1_3_VERSION, NULL, NULL, true, "TLS_AES_128_GCM_SHA256" },
	{ "1.3, no instructions for AES", TLS1_3_VERSION,
	  "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", NULL, true,
	  "TLS_CHACHA20_POLY1305_SHA256" },
	{ "1.2", TLS1_2_VERSION, NULL, NULL, true, "ECDHE-RSA-AES128-GCM-SHA256" },
	{ "1.2, no instructions for AES", TLS1_2_VERSION,
	  "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256", NULL, true,
	  "ECDHE-RSA-CHACHA20-POLY1305" },
	{ "1.1 is too old", TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, false, NULL },
	{ "no CBC", TLS1_2_VERSION, "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES128-SHA", NULL, false,
	  NULL },
	{ "no key exchange by RSA", TLS1_2_VERSION, "AES128-GCM-SHA256", NULL, false, NULL },
	{ "DHE with a named group", TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256", NULL, true,
	  "DHE-RSA-AES128-GCM-SHA256" },
	{ "P-384", TLS1_3_VERSION, NULL, "P-384", true, "TLS_AES_128_GCM_SHA256" },
	{ "no P-521", TLS1_3_VERSION, NULL, "P-521", false, NULL },
};

static void mozillas_intermediate_set_is_spoken(void **state)
{
	struct made m = make("mx", "DNS:mx.example", "RSA", NULL, 3600);
	struct tls_server of = { .pairs = &m.pem, .pair_count = 1 };
	_cleanup_(tls_context_freep) SSL_CTX *server = server_new(&of);

	(void)state;
	for (size_t i = 0; i < ELEMENTS(spoken_cases); i++) {
		const struct spoken_case *c = &spoken_cases[i];
		_cleanup_(tls_context_freep) SSL_CTX *client = client_new(c->version);
		_cleanup_(pair_done) struct pair p = { 0 };

		if (c->ciphers && c->version == TLS1_3_VERSION)
			assert_int_equal(SSL_CTX_set_ciphersuites(client, c->ciphers), 1);
		else if (c->ciphers)
			assert_int_equal(SSL_CTX_set_cipher_list(client, c->ciphers), 1);
		if (c->groups)
			assert_int_equal(SSL_CTX_set1_groups_list(client, c->groups), 1);
		if (handshake(&p, server, client, NULL, NULL) != c->works)
			fail_msg("%s", c->requirement);
		if (c->want && strcmp(SSL_get_cipher_name(p.server), c->want) != 0)
			fail_msg("%s: %s", c->requirement, SSL_get_cipher_name(p.server));
	}
	forget_session();
	made_done(&m);
}

/* --- certificates of clients --- */

static void check_client(SSL_CTX *server, const struct made *shown, bool trusted, const char *want)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		_cleanup_(tls_context_freep) SSL_CTX *client = client_new(version);
		_cleanup_(pair_done) struct pair p = { 0 }, again = { 0 };
		char name[20];

		forget_session();
		if (shown) {
			SSL_CTX_use_certificate(client, shown->x);
			SSL_CTX_use_PrivateKey(client, shown->key);
		}
		assert_true(handshake(&p, server, client, NULL, NULL));
		assert_int_equal(tls_client_trusted(p.server, name, sizeof(name)), trusted);
		assert_string_equal(name, want);
		/* and when it comes back */
		assert_true(handshake(&again, server, client, NULL, given));
		assert_true(SSL_session_reused(again.server));
		assert_int_equal(tls_client_trusted(again.server, name, sizeof(name)), trusted);
		assert_string_equal(name, want);
	}
	forget_session();
}

static void clients_are_asked_and_only_good_ones_trusted(void **state)
{
	struct made ca = make("ca", NULL, "EC", NULL, 3600);
	struct made stranger_ca = make("ca", NULL, "EC", NULL, 3600);
	struct made m = make("mx", "DNS:mx.example", "EC", NULL, 3600);
	struct made good = make("good", "DNS:relay.example,DNS:b.example", "EC", &ca, 3600);
	struct made odd = make("odd name\r\n<x>, much too long for it", NULL, "EC", &ca, 3600);
	struct made old = make("old", NULL, "EC", &ca, -3600);
	struct made stranger = make("stranger", NULL, "EC", &stranger_ca, 3600);
	struct made itself = make("itself", NULL, "EC", NULL, 3600);
	struct tls_server of = { .pairs = &m.pem,
				 .pair_count = 1,
				 .client_ca_pem = ca.pem.certificate_pem };
	_cleanup_(tls_context_freep) SSL_CTX *server = server_new(&of), *not_asking = NULL;

	(void)state;
	check_client(server, NULL, false, "");
	check_client(server, &good, true, "relay.example");
	check_client(server, &odd, true, "odd?name???x???much");
	check_client(server, &old, false, "");
	check_client(server, &stranger, false, "");
	check_client(server, &itself, false, "");
	of.client_ca_pem = STR_NONE;
	not_asking = server_new(&of);
	check_client(not_asking, &good, false, "");
	made_done(&ca);
	made_done(&stranger_ca);
	made_done(&m);
	made_done(&good);
	made_done(&odd);
	made_done(&old);
	made_done(&stranger);
	made_done(&itself);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_choose_certificates),
		cmocka_unit_test(tickets_resume_at_another_process),
		cmocka_unit_test(ticket_keys_are_checked),
		cmocka_unit_test(mozillas_intermediate_set_is_spoken),
		cmocka_unit_test(clients_are_asked_and_only_good_ones_trusted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
