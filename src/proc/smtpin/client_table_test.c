#include "proc/smtpin/client_table.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(str_of(text), port, &a), 0);
	return a;
}

static void test_a_client_has_so_many_sessions_and_no_more(void **state)
{
	const uint64_t seed[2] = { 1, 2 };
	struct addr a = ip("192.0.2.1", 1), a2 = ip("192.0.2.1", 2), b = ip("192.0.2.2", 1);
	struct client_table t;

	(void)state;
	client_table_init(&t, seed);
	assert_int_equal(client_table_enter(&t, &a, 2), 0);
	assert_int_equal(client_table_enter(&t, &a2, 2), 0);
	assert_int_equal(client_table_enter(&t, &a, 2), -EUSERS);
	assert_int_equal(client_table_enter(&t, &b, 2), 0);
	client_table_leave(&t, &a2);
	assert_int_equal(client_table_enter(&t, &a, 2), 0);
	assert_int_equal(client_table_sessions(&t, &a), 2);
	client_table_leave(&t, &a);
	client_table_leave(&t, &a);
	client_table_leave(&t, &b);
	assert_int_equal(client_table_sessions(&t, &a), 0);
	client_table_done(&t);
}

static void test_an_ipv6_client_is_its_64(void **state)
{
	const uint64_t seed[2] = { 1, 2 };
	struct addr a = ip("2001:db8::1", 1), same = ip("2001:db8::ffff:1:2", 1),
		    other = ip("2001:db8:0:1::1", 1);
	struct client_table t;

	(void)state;
	client_table_init(&t, seed);
	assert_int_equal(client_table_enter(&t, &a, 1), 0);
	assert_int_equal(client_table_enter(&t, &same, 1), -EUSERS);
	assert_int_equal(client_table_enter(&t, &other, 1), 0);
	client_table_leave(&t, &a);
	client_table_leave(&t, &other);
	client_table_done(&t);
}

static void test_many_clients_come_and_go(void **state)
{
	const uint64_t seed[2] = { 3, 4 };
	struct client_table t;
	struct addr a = ip("10.0.0.0", 1);

	(void)state;
	client_table_init(&t, seed);
	for (unsigned i = 0; i < 5000; i++) {
		a.ip[2] = (uint8_t)(i >> 8);
		a.ip[3] = (uint8_t)i;
		assert_int_equal(client_table_enter(&t, &a, 1), 0);
	}
	for (unsigned i = 0; i < 5000; i++) {
		a.ip[2] = (uint8_t)(i >> 8);
		a.ip[3] = (uint8_t)i;
		client_table_leave(&t, &a);
	}
	client_table_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_client_has_so_many_sessions_and_no_more),
		cmocka_unit_test(test_an_ipv6_client_is_its_64),
		cmocka_unit_test(test_many_clients_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
