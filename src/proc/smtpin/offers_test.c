#include "proc/smtpin/offers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define OURS 10000000

static const char one_domain[] = "domain \"a.example\" {}\n";
static const char two_domains[] = "domain \"a.example\" {}\ndomain \"b.example\" {}\n";

static struct conf *conf_of(const char *domains)
{
	struct conf *conf;
	struct buf error;
	char text[500];

	buf_init(&error, 1000);
	snprintf(text, sizeof(text),
		 "hostname = \"mx2.example.net\"\nstate_dir = \"/var/lib/locum\"\n"
		 "listen \"mx\" { address = \"127.0.0.1:25\" }\n"
		 "limits { message_size = \"10000000\" }\n%s",
		 domains);
	if (conf_read_text("test", str_of(text), &conf, &error) < 0)
		fail_msg("%.*s", (int)error.n, error.p);
	conf->limits.message_bytes = OURS;
	buf_done(&error);
	return conf;
}

static void say(struct offers *o, bool first, const char *domain, unsigned offers, uint64_t size)
{
	Locum__PrimaryOffers said = LOCUM__PRIMARY_OFFERS__INIT;
	Locum__DomainOffers d = LOCUM__DOMAIN_OFFERS__INIT, *all[] = { &d };

	d.domain = (char *)domain;
	d.offers = offers;
	d.size_bytes = size;
	d.seen_wall = 1;
	said.first = first;
	said.domains = all;
	said.n_domains = domain ? 1 : 0;
	assert_int_equal(offers_update(o, &said), 0);
}

#define UTF8 EHLO_SMTPUTF8
#define BINARY (EHLO_BINARYMIME | EHLO_CHUNKING)

/* What the primaries of a.example and b.example offer; -1: never seen. */
static const struct {
	const char *requirement;
	const char *domains;
	int a, b;
	uint64_t a_size, b_size;
	struct announced want;
} cases[] = {
	{ "until a primary was seen: the safe subset and our own size",
	  two_domains,
	  -1,
	  -1,
	  0,
	  0,
	  { .size_bytes = OURS } },
	{ "SMTPUTF8 and REQUIRETLS when one primary offers them",
	  two_domains,
	  UTF8 | EHLO_REQUIRETLS,
	  0,
	  0,
	  0,
	  { .dialect.smtputf8 = true, .dialect.requiretls = true, .size_bytes = OURS } },
	{ "also when the other was never seen",
	  two_domains,
	  -1,
	  UTF8,
	  0,
	  0,
	  { .dialect.smtputf8 = true, .size_bytes = OURS } },
	{ "DSN only when all offer it", two_domains, EHLO_DSN, 0, 0, 0, { .size_bytes = OURS } },
	{ "DSN not while one was never seen",
	  two_domains,
	  EHLO_DSN,
	  -1,
	  0,
	  0,
	  { .size_bytes = OURS } },
	{ "DSN when all offer it",
	  two_domains,
	  EHLO_DSN | UTF8,
	  EHLO_DSN,
	  0,
	  0,
	  { .dialect.dsn = true, .dialect.smtputf8 = true, .size_bytes = OURS } },
	{ "BINARYMIME when all offer it with CHUNKING",
	  two_domains,
	  BINARY,
	  BINARY,
	  0,
	  0,
	  { .dialect.binarymime = true, .size_bytes = OURS } },
	{ "BINARYMIME without CHUNKING is of no use",
	  two_domains,
	  BINARY,
	  EHLO_BINARYMIME,
	  0,
	  0,
	  { .size_bytes = OURS } },
	{ "SIZE is the largest that a primary takes, with our headers above it",
	  two_domains,
	  EHLO_SIZE,
	  EHLO_SIZE,
	  10000,
	  20000,
	  { .size_bytes = 20000 - OFFER_HEADERS_BYTES } },
	{ "however small it is, something is left",
	  two_domains,
	  EHLO_SIZE,
	  EHLO_SIZE,
	  100,
	  1,
	  { .size_bytes = 50 } },
	{ "ours is ours where a primary takes just that and our headers",
	  one_domain,
	  EHLO_SIZE,
	  0,
	  OURS + OFFER_HEADERS_BYTES,
	  0,
	  { .size_bytes = OURS } },
	{ "never more than ours",
	  two_domains,
	  EHLO_SIZE,
	  EHLO_SIZE,
	  1000,
	  2 * OURS,
	  { .size_bytes = OURS } },
	{ "a primary without a limit takes all of ours",
	  two_domains,
	  EHLO_SIZE,
	  0,
	  1000,
	  0,
	  { .size_bytes = OURS } },
	{ "one that was never seen may take all of ours",
	  two_domains,
	  EHLO_SIZE,
	  -1,
	  1000,
	  0,
	  { .size_bytes = OURS } },
	{ "a domain that is not configured counts for nothing",
	  one_domain,
	  EHLO_DSN,
	  0,
	  0,
	  0,
	  { .dialect.dsn = true, .size_bytes = OURS } },
};

static void what_is_announced(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct conf *conf = conf_of(cases[i].domains);
		struct announced got;
		struct offers o;

		offers_init(&o);
		say(&o, true, NULL, 0, 0);
		if (cases[i].a >= 0)
			say(&o, false, "a.example", (unsigned)cases[i].a, cases[i].a_size);
		if (cases[i].b >= 0)
			say(&o, false, "b.example", (unsigned)cases[i].b, cases[i].b_size);
		offers_announced(&o, conf, &got);
		if (got.dialect.smtputf8 != cases[i].want.dialect.smtputf8 ||
		    got.dialect.requiretls != cases[i].want.dialect.requiretls ||
		    got.dialect.dsn != cases[i].want.dialect.dsn ||
		    got.dialect.binarymime != cases[i].want.dialect.binarymime ||
		    got.size_bytes != cases[i].want.size_bytes)
			fail_msg("%s", cases[i].requirement);
		offers_done(&o);
		conf_unref(conf);
	}
}

static void a_change_is_announced_at_once(void **state)
{
	struct conf *conf = conf_of(two_domains), *other = conf_of(one_domain);
	struct announced got;
	struct offers o;

	(void)state;
	offers_init(&o);
	say(&o, true, "a.example", EHLO_DSN, 0);
	offers_announced(&o, conf, &got);
	assert_false(got.dialect.dsn);
	offers_announced(&o, other, &got);
	assert_true(got.dialect.dsn);
	say(&o, false, "b.example", EHLO_DSN, 0);
	offers_announced(&o, conf, &got);
	assert_true(got.dialect.dsn);
	say(&o, false, "a.example", 0, 0);
	offers_announced(&o, conf, &got);
	assert_false(got.dialect.dsn);
	offers_done(&o);
	conf_unref(conf);
	conf_unref(other);
}

static void first_forgets_what_was_said_before(void **state)
{
	struct offer offer;
	struct offers o;

	(void)state;
	offers_init(&o);
	say(&o, true, "a.example", UTF8, 5);
	assert_true(offers_of(&o, STR("A.Example"), &offer));
	assert_int_equal(offer.offers, UTF8);
	assert_int_equal(offer.size_bytes, 3);
	assert_true(offer_has(&offer, UTF8));
	assert_false(offer_has(&offer, UTF8 | EHLO_DSN));
	say(&o, true, "b.example", 0, 0);
	assert_false(offers_of(&o, STR("a.example"), &offer));
	assert_int_equal(offer.offers, 0);
	assert_true(offers_of(&o, STR("b.example"), &offer));
	offers_done(&o);
}

static void say_state(struct offers *o, const char *domain, Locum__PrimaryState state,
		      uint64_t destination)
{
	Locum__PrimaryOffers said = LOCUM__PRIMARY_OFFERS__INIT;
	Locum__DomainOffers d = LOCUM__DOMAIN_OFFERS__INIT, *all[] = { &d };

	d.domain = (char *)domain;
	d.state = state;
	d.destination = destination;
	said.domains = all;
	said.n_domains = 1;
	assert_int_equal(offers_update(o, &said), 0);
}

/* How a primary is now says nothing of what it offers, which it may never have said. */
static void test_a_state_is_known_of_primaries_never_seen(void **state)
{
	struct offers o;
	struct offer offer;

	(void)state;
	offers_init(&o);
	say_state(&o, "a.example", LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE, 7);
	assert_false(offers_of(&o, STR("A.example"), &offer));
	assert_int_equal(offer.state, LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE);
	assert_int_equal(offer.destination, 7);
	say(&o, false, "a.example", EHLO_DSN, 10000);
	assert_true(offers_of(&o, STR("a.example"), &offer));
	assert_int_equal(offer.state, LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN);
	say_state(&o, "a.example", LOCUM__PRIMARY_STATE__PRIMARY_UP, 8);
	assert_true(offers_of(&o, STR("a.example"), &offer));
	assert_int_equal(offer.state, LOCUM__PRIMARY_STATE__PRIMARY_UP);
	assert_int_equal(offer.destination, 8);
	assert_true(offer_has(&offer, EHLO_DSN) && offer.size_bytes);
	assert_false(offers_of(&o, STR("b.example"), &offer));
	assert_int_equal(offer.state, LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN);
	offers_done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_announced),
		cmocka_unit_test(a_change_is_announced_at_once),
		cmocka_unit_test(first_forgets_what_was_said_before),
		cmocka_unit_test(test_a_state_is_known_of_primaries_never_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
