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

/* A process that has not heard yet holds the old sockets a little longer. */
static void hold(const struct listeners *l, int *fd)
{
	for (size_t i = 0; i < l->count; i++)
		fd[i] = sys_dup(l->entry[i].fd);
}

static uint16_t free_port(void)
{
	struct listeners probe;
	uint16_t port;

	want("mx", "::", 0);
	assert_int_equal(listeners_open(&conf, NULL, 0, &probe, &error), 0);
	port = probe.entry[0].address.port;
	listeners_done(&probe);
	conf.listen_count = 0;
	return port;
}

static void want_all(const char *const *address, uint16_t port)
{
	conf.listen_count = 0;
	for (size_t i = 0; i < 2 && address[i]; i++)
		want(address[i], address[i], port);
}

static void a_reload_moves_a_port_between_addresses(void **state)
{
	static const struct {
		const char *from[2], *to[2], *served[2], *refused;
	} moves[] = {
		{ { "0.0.0.0" }, { "127.0.0.1" }, { "127.0.0.1" }, "127.0.0.2" },
		{ { "127.0.0.1" }, { "0.0.0.0" }, { "127.0.0.1", "127.0.0.2" }, "::1" },
		{ { "::" }, { "0.0.0.0" }, { "127.0.0.1" }, "::1" },
		{ { "0.0.0.0" }, { "::" }, { "127.0.0.1", "::1" }, NULL },
		{ { "::" }, { "127.0.0.2" }, { "127.0.0.2" }, "127.0.0.1" },
		{ { "::" }, { "::", "0.0.0.0" }, { "127.0.0.1", "::1" }, NULL },
		{ { "::", "0.0.0.0" }, { "::" }, { "127.0.0.1", "::1" }, NULL },
		{ { "127.0.0.1", "127.0.0.2" }, { "0.0.0.0" }, { "127.0.0.1", "127.0.0.3" }, NULL },
	};
	const uint16_t port = free_port();

	(void)state;
	for (size_t i = 0; i < ELEMENTS(moves); i++) {
		struct listeners before, after;
		int held[2] = { -1, -1 };

		want_all(moves[i].from, port);
		assert_int_equal(listeners_open(&conf, NULL, 0, &before, &error), 0);
		hold(&before, held);
		want_all(moves[i].to, port);
		if (listeners_open(&conf, &before, 0, &after, &error) < 0)
			fail_msg("%zu: %.*s", i, STR_ARG(buf_str(&error)));
		listeners_done(&before);
		for (size_t s = 0; s < 2 && moves[i].served[s]; s++)
			if (call(moves[i].served[s], port) < 0)
				fail_msg("%zu: %s is not served", i, moves[i].served[s]);
		closep(&held[0]);
		closep(&held[1]);
		if (moves[i].refused)
			assert_int_equal(call(moves[i].refused, port), -ECONNREFUSED);
		listeners_done(&after);
	}
}

static void a_move_that_fails_leaves_the_old_address_served(void **state)
{
	struct listeners foreign, before, after;
	const uint16_t port = free_port();

	(void)state;
	want("foreign", "127.0.0.1", 0);
	assert_int_equal(listeners_open(&conf, NULL, 0, &foreign, &error), 0);
	conf.listen_count = 0;
	want("mx", "0.0.0.0", port);
	assert_int_equal(listeners_open(&conf, NULL, 0, &before, &error), 0);
	conf.listen_count = 0;
	want("mx", "127.0.0.1", port);
	want("busy", "127.0.0.1", foreign.entry[0].address.port);
	assert_int_equal(listeners_open(&conf, &before, 0, &after, &error), -EADDRINUSE);
	assert_true(str_find(buf_str(&error), STR("listen \"busy\"")) >= 0);
	assert_int_equal(call("127.0.0.2", port), 0);
	assert_true(sys_accept(before.entry[0].fd, NULL, &(socklen_t){ 0 }) >= 0);
	listeners_done(&before);
	listeners_done(&foreign);
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
		TEST(port_0_becomes_a_real_one),
		TEST(ipv6_wildcard_takes_ipv4),
		TEST(both_wildcards_live_side_by_side),
		TEST(a_busy_address_is_named),
		TEST(a_reload_keeps_what_it_has),
		TEST(the_addresses_are_said),
		TEST(a_reload_moves_a_port_between_addresses),
		TEST(a_move_that_fails_leaves_the_old_address_served),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
