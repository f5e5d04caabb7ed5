#include "proc/smtpin/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const uint64_t seed[2] = { 1, 2 };
static struct patience *p;

static int setup(void **state)
{
	(void)state;
	return patience_new(seed, &p);
}

static int teardown(void **state)
{
	(void)state;
	patience_free(p);
	return 0;
}

static bool try(const char *client, const char *from, const char *to, nsec minutes)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(str_of(client), 0, &a), 0);
	return patience_try(p, &a, str_of(from), str_of(to), minutes * NSEC_MINUTE);
}

static void test_three_tries_over_ten_minutes(void **state)
{
	(void)state;
	assert_false(try("192.0.2.1", "s@x", "r@y", 100));
	assert_false(try("192.0.2.1", "s@x", "r@y", 105));
	assert_true(try("192.0.2.1", "s@x", "r@y", 110));
	/* and from then on */
	assert_true(try("192.0.2.1", "s@x", "r@y", 111));
}

static void test_three_at_once_are_not_patient(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++)
		assert_false(try("192.0.2.1", "s@x", "r@y", 9));
	assert_false(try("192.0.2.1", "s@x", "r@y", 18));
	assert_true(try("192.0.2.1", "s@x", "r@y", 19));
}

static void test_two_over_an_hour_are_not_either(void **state)
{
	(void)state;
	assert_false(try("192.0.2.1", "s@x", "r@y", 0));
	assert_false(try("192.0.2.1", "s@x", "r@y", 60));
	assert_true(try("192.0.2.1", "s@x", "r@y", 61));
}

/* What is the same client, and the same mail. */
static void test_a_key_is_network_sender_and_recipient(void **state)
{
	static const struct {
		const char *client, *from, *to;
		bool same;
	} keys[] = {
		{ "192.0.2.1", "s@x", "r@y", true },  { "192.0.2.254", "S@X", "R@y", true },
		{ "192.0.3.1", "s@x", "r@y", false }, { "192.0.2.1", "", "r@y", false },
		{ "192.0.2.1", "s@x", "q@y", false }, { "192.0.2.1", "r@y", "s@x", false },
	};

	(void)state;
	try(keys[0].client, keys[0].from, keys[0].to, 0);
	try(keys[0].client, keys[0].from, keys[0].to, 5);
	for (size_t i = 0; i < ELEMENTS(keys); i++)
		assert_int_equal(try(keys[i].client, keys[i].from, keys[i].to, 20), keys[i].same);
	assert_false(try("2001:db8::1", "s@x", "r@y", 0));
	assert_false(try("2001:db8::ffff:2", "s@x", "r@y", 5));
	assert_false(try("2001:db8:0:1::1", "s@x", "r@y", 20));
	assert_true(try("2001:db8::3:3:3:3", "s@x", "r@y", 20));
}

static void test_who_stays_away_begins_anew(void **state)
{
	const nsec kept = PATIENCE_KEPT / NSEC_MINUTE;

	(void)state;
	try("192.0.2.1", "s@x", "r@y", 0);
	try("192.0.2.1", "s@x", "r@y", 10);
	assert_true(try("192.0.2.1", "s@x", "r@y", 10 + kept));
	assert_false(try("192.0.2.1", "s@x", "r@y", 11 + 2 * kept));
}

/* However many strangers come: nobody is let in by them, the table stays as large, and who comes often stays in it. */
static void test_a_flood_lets_nobody_in(void **state)
{
	char from[32];

	(void)state;
	assert_false(try("192.0.2.1", "s@x", "r@y", 0));
	assert_false(try("192.0.2.1", "s@x", "r@y", 1));
	for (int i = 0; i < 4 * PATIENCE_ENTRIES; i++) {
		snprintf(from, sizeof(from), "%d@x", i);
		assert_false(try("198.51.100.7", from, "r@y", 2));
	}
	assert_false(try("192.0.2.1", "s@x", "r@y", 11)); /* forgotten: it begins anew */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_three_tries_over_ten_minutes),
		TEST(test_three_at_once_are_not_patient),
		TEST(test_two_over_an_hour_are_not_either),
		TEST(test_a_key_is_network_sender_and_recipient),
		TEST(test_who_stays_away_begins_anew),
		TEST(test_a_flood_lets_nobody_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
