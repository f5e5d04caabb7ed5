#include "proc/locumd/locumd.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct conf_listen wanted[4];
static struct conf conf;
static struct buf error;

static int setup(void **state)
{
	(void)state;
	conf = (struct conf){ .listen = wanted };
	buf_init(&error, 1024);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&error);
	return 0;
}

static void want(const char *name, const char *address, uint16_t port)
{
	struct conf_listen *l = &wanted[conf.listen_count++];

	*l = (struct conf_listen){ .name = str_of(name) };
	assert_int_equal(addr_parse_ip(str_of(address), port, &l->address), 0);
}

/* 0 or a negative errno. */
static int call(const char *address, uint16_t port)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_storage sa;
	struct addr a;
	socklen_t n;

	assert_int_equal(addr_parse_ip(str_of(address), port, &a), 0);
	n = addr_to_sockaddr(&a, &sa);
	fd = socket(a.family, SOCK_STREAM, 0);
	return connect(fd, (struct sockaddr *)&sa, n) < 0 ? -errno : 0;
}

static void port_0_becomes_a_real_one(void **state)
{
	struct listeners l;

	(void)state;
	want("mx", "127.0.0.1", 0);
	assert_int_equal(listeners_open(&conf, NULL, 0, &l, &error), 0);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.entry[0].name, "mx");
	assert_int_not_equal(l.entry[0].address.port, 0);
	assert_int_equal(call("127.0.0.1", l.entry[0].address.port), 0);
	listeners_done(&l);
}

static void ipv6_wildcard_takes_ipv4(void **state)
{
	struct listeners l;

	(void)state;
	want("mx", "::", 0);
	assert_int_equal(listeners_open(&conf, NULL, 0, &l, &error), 0);
	assert_int_equal(call("127.0.0.1", l.entry[0].address.port), 0);
	listeners_done(&l);
}

static void both_wildcards_live_side_by_side(void **state)
{
	struct listeners probe, l;
	uint16_t port;

	(void)state;
	want("mx", "0.0.0.0", 0);
	assert_int_equal(listeners_open(&conf, NULL, 0, &probe, &error), 0);
	port = probe.entry[0].address.port;
	listeners_done(&probe);
	conf.listen_count = 0;
	want("v6", "::", port);
	want("v4", "0.0.0.0", port);
	assert_int_equal(listeners_open(&conf, NULL, 0, &l, &error), 0);
	assert_int_equal(l.count, 2);
	listeners_done(&l);
}

static void a_busy_address_is_named(void **state)
{
	struct listeners first, second;
	uint16_t port;

	(void)state;
	want("mx", "127.0.0.1", 0);
	assert_int_equal(listeners_open(&conf, NULL, 0, &first, &error), 0);
	port = first.entry[0].address.port;
	conf.listen_count = 0;
	want("other", "127.0.0.1", 0);
	want("busy", "127.0.0.1", port);
	assert_int_equal(listeners_open(&conf, NULL, 60 * NSEC_MS, &second, &error), -EADDRINUSE);
	assert_int_equal(second.count, 0);
	assert_true(str_find(buf_str(&error), STR("listen \"busy\"")) >= 0);
	assert_true(str_find(buf_str(&error), STR("Address already in use")) >= 0);
	listeners_done(&first);
}

static void a_reload_keeps_what_it_has(void **state)
{
	struct listeners before, after;
	uint16_t port;

	(void)state;
	want("mx", "127.0.0.1", 0);
	assert_int_equal(listeners_open(&conf, NULL, 0, &before, &error), 0);
	port = before.entry[0].address.port;
	/* Someone waits in the backlog: a new socket would lose him. */
	assert_int_equal(call("127.0.0.1", port), 0);
	conf.listen_count = 0;
	want("renamed", "127.0.0.1", port);
	want("second", "127.0.0.1", 0);
	assert_int_equal(listeners_open(&conf, &before, 0, &after, &error), 0);
	listeners_done(&before);
	assert_int_equal(after.count, 2);
	assert_string_equal(after.entry[0].name, "renamed");
	assert_true(sys_accept(after.entry[0].fd, NULL, &(socklen_t){ 0 }) >= 0);
	listeners_done(&after);
	assert_int_equal(call("127.0.0.1", port), -ECONNREFUSED);
}

static void the_addresses_are_said(void **state)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	struct listeners l = { .count = 2 };

	(void)state;
	assert_int_equal(addr_parse(STR("0.0.0.0:25"), 0, &l.entry[0].address), 0);
	assert_int_equal(addr_parse(STR("[::1]:2525"), 0, &l.entry[1].address), 0);
	buf_init(&text, 256);
	assert_int_equal(listeners_text(&l, &text), 0);
	assert_true(str_eq(buf_str(&text), STR("0.0.0.0:25, [::1]:2525")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(port_0_becomes_a_real_one),        TEST(ipv6_wildcard_takes_ipv4),
		TEST(both_wildcards_live_side_by_side), TEST(a_busy_address_is_named),
		TEST(a_reload_keeps_what_it_has),       TEST(the_addresses_are_said),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
