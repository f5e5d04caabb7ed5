#include "proc/client_table.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PROCESSES 3
#define MANY 1000

/* One table, as each of the processes sees it. */
static struct client_table *view[PROCESSES];
static int file = -1;

static int setup(void **state)
{
	(void)state;
	assert_int_equal(client_table_make(PROCESSES, MANY, &file), 0);
	for (unsigned i = 0; i < PROCESSES; i++)
		assert_int_equal(client_table_open(file, i, &view[i]), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PROCESSES; i++)
		client_table_close(view[i]);
	close(file);
	return 0;
}

static struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(str_of(text), 25, &a), 0);
	return a;
}

static int enter_within(unsigned process, const struct addr *client, uint32_t sessions_max,
			uint32_t per_client_max, client_place *ret_place)
{
	const struct client_limits limits = { sessions_max, per_client_max, MANY };

	return client_table_enter(view[process], client, &limits, ret_place);
}

static int enter(unsigned process, const char *client, uint32_t per_client_max,
		 client_place *ret_place)
{
	struct addr a = ip(client);

	return enter_within(process, &a, MANY, per_client_max, ret_place);
}

/* As a client of a network that may have two. */
static int enter_network(unsigned process, const char *client, client_place *ret_place)
{
	const struct client_limits limits = { MANY, MANY, 2 };
	struct addr a = ip(client);

	return client_table_enter(view[process], &a, &limits, ret_place);
}

static void a_client_has_so_many_sessions_in_all_processes(void **state)
{
	struct addr a = ip("192.0.2.1");
	client_place first, second, other;

	(void)state;
	assert_int_equal(enter(0, "192.0.2.1", 2, &first), 0);
	assert_int_equal(enter(1, "192.0.2.1", 2, &second), 0);
	for (unsigned i = 0; i < PROCESSES; i++)
		assert_int_equal(enter(i, "192.0.2.1", 2, &other), -EUSERS);
	assert_int_equal(client_table_sessions_of(view[2], &a), 2);
	assert_int_equal(enter(2, "192.0.2.2", 2, &other), 0);
	assert_int_equal(client_table_sessions(view[0]), 3);
	client_table_leave(view[0], first);
	assert_int_equal(enter(2, "192.0.2.1", 2, &first), 0);
	client_table_leave(view[2], first);
	client_table_leave(view[1], second);
	client_table_leave(view[2], other);
	assert_int_equal(client_table_sessions_of(view[0], &a), 0);
	assert_int_equal(client_table_sessions(view[0]), 0);
}

static void all_clients_together_have_so_many(void **state)
{
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2");
	client_place place;

	(void)state;
	assert_int_equal(enter_within(0, &a, 2, 2, &place), 0);
	assert_int_equal(enter_within(1, &b, 2, 2, &place), 0);
	assert_int_equal(enter_within(2, &b, 2, 2, &place), -ENFILE);
	client_table_leave(view[1], place);
	assert_int_equal(enter_within(2, &b, 2, 2, &place), 0);
	/* Whoever was turned away does not count. */
	assert_int_equal(enter_within(0, &b, 9, 1, &place), -EUSERS);
	assert_int_equal(client_table_sessions(view[0]), 2);
}

static void an_ipv6_client_is_its_64(void **state)
{
	client_place place;

	(void)state;
	assert_int_equal(enter(0, "2001:db8::1", 1, &place), 0);
	assert_int_equal(enter(1, "2001:db8::ffff:1:2", 1, &place), -EUSERS);
	assert_int_equal(enter(1, "2001:db8:0:1::1", 1, &place), 0);
	/* IPv4 in IPv6 is IPv4; ::1 is somebody too, and nobody else. */
	assert_int_equal(enter(0, "192.0.2.1", 1, &place), 0);
	assert_int_equal(enter(1, "::ffff:192.0.2.1", 1, &place), -EUSERS);
	assert_int_equal(enter(0, "::1", 1, &place), 0);
	assert_int_equal(enter(1, "::2", 1, &place), -EUSERS);
	assert_int_equal(enter(0, "0.0.0.0", 1, &place), 0);
}

static void a_network_has_so_many_sessions_in_all_processes(void **state)
{
	client_place first, place;
	struct addr a = ip("192.0.2.1");

	(void)state;
	assert_int_equal(enter_network(0, "192.0.2.1", &first), 0);
	assert_int_equal(enter_network(1, "192.0.2.200", &place), 0);
	assert_int_equal(enter_network(2, "192.0.2.3", &place), -EDQUOT);
	/* Whoever was turned away does not count, as a client neither. */
	assert_int_equal(client_table_sessions(view[0]), 2);
	a = ip("192.0.2.3");
	assert_int_equal(client_table_sessions_of(view[0], &a), 0);
	assert_int_equal(client_table_sessions_of_network(view[0], &a), 2);
	assert_int_equal(enter_network(2, "192.0.3.1", &place), 0);
	client_table_leave(view[0], first);
	assert_int_equal(enter_network(2, "192.0.2.3", &place), 0);
}

static void an_ipv6_network_is_its_48(void **state)
{
	client_place place;

	(void)state;
	assert_int_equal(enter_network(0, "2001:db8:1:1::1", &place), 0);
	assert_int_equal(enter_network(1, "2001:db8:1:ffff::1", &place), 0);
	assert_int_equal(enter_network(1, "2001:db8:1::1", &place), -EDQUOT);
	assert_int_equal(enter_network(1, "2001:db8:2:1::1", &place), 0);
	/* 0.0.0.0/24, 0.0.1.0/24 and ::/48 are three, and none of them is a client. */
	assert_int_equal(enter_network(0, "0.0.0.0", &place), 0);
	assert_int_equal(enter_network(0, "0.0.0.1", &place), 0);
	assert_int_equal(enter_network(0, "::1", &place), 0);
	assert_int_equal(enter_network(0, "::1", &place), 0);
	assert_int_equal(enter_network(0, "0.0.1.0", &place), 0);
}

static void the_sessions_of_a_dead_process_are_gone(void **state)
{
	client_place place;

	(void)state;
	assert_int_equal(enter(0, "192.0.2.1", 2, &place), 0);
	assert_int_equal(enter(1, "192.0.2.1", 2, &place), 0);
	client_table_forget(view[2], 0);
	assert_int_equal(client_table_sessions(view[2]), 1);
	assert_int_equal(enter(0, "192.0.2.1", 2, &place), 0);
	assert_int_equal(enter(2, "192.0.2.1", 2, &place), -EUSERS);
}

/* As many clients as sessions, again and again: rows are used again, and a client who has nothing to do
 * with them finds his place all the same. */
static void it_never_fills_up(void **state)
{
	static client_place place[MANY];
	struct addr a = ip("2001:db8::1");
	unsigned uncounted = 0;

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			a.ip[4] = (uint8_t)round;
			a.ip[6] = (uint8_t)(i >> 8);
			a.ip[7] = (uint8_t)i;
			assert_int_equal(enter_within(0, &a, MANY, 1, &place[i]), 0);
			uncounted += place[i].client == CLIENT_UNCOUNTED;
			uncounted += place[i].network == CLIENT_UNCOUNTED;
		}
		assert_int_equal(enter_within(1, &a, MANY, 9, &place[0]), -ENFILE);
		for (unsigned i = 0; i < MANY; i++)
			client_table_leave(view[0], place[i]);
	}
	assert_true(uncounted <= 1);
	assert_int_equal(client_table_sessions(view[1]), 0);
}

#define LIMIT 5
#define ROUNDS 20000
#define RACERS 2 /* as many as there are cores: they wait for each other busily */

/* Enters whenever it can, and looks how many are in. */
static _Noreturn void crowd(unsigned process, _Atomic unsigned *in)
{
	struct addr a = ip("192.0.2.1");
	client_place place[LIMIT + 1];
	unsigned have = 0, bad = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		while (have <= LIMIT && enter_within(process, &a, MANY, LIMIT, &place[have]) == 0) {
			have++;
			if (++*in > LIMIT)
				bad = 1;
		}
		while (have > 0) {
			--*in;
			client_table_leave(view[process], place[--have]);
		}
	}
	_exit((int)bad);
}

static void never_more_than_the_limit_get_in_at_once(void **state)
{
	_Atomic unsigned *in =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	(void)state;
	assert_ptr_not_equal(in, MAP_FAILED);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			crowd(i, in);
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(client_table_sessions(view[0]), 0);
	munmap((void *)in, 4096);
}

/* Everybody comes at the same moment to a house with one place left: one gets it. */
static _Noreturn void race(unsigned process, _Atomic unsigned *gate, _Atomic unsigned *won)
{
	struct addr a = ip("192.0.2.1");
	client_place place;

	for (unsigned i = 1; i <= ROUNDS; i++) {
		bool in;

		++gate[0];
		while (gate[0] < i * RACERS)
			;
		in = enter_within(process, &a, MANY, 1, &place) == 0;
		*won += in;
		++gate[1];
		while (gate[1] < i * RACERS)
			;
		if (in)
			client_table_leave(view[process], place);
		++gate[2];
		while (gate[2] < i * RACERS)
			;
	}
	_exit(0);
}

static void never_are_all_turned_away_for_each_others_sake(void **state)
{
	_Atomic unsigned *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	(void)state;
	assert_ptr_not_equal(shared, MAP_FAILED);
	for (unsigned i = 0; i < RACERS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			race(i, shared, shared + 3);
	}
	for (unsigned i = 0; i < RACERS; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(shared[3], ROUNDS);
	munmap((void *)shared, 4096);
}

static void what_is_no_table_is_refused(void **state)
{
	struct client_table *t;
	int fd = memfd_create("no table", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(client_table_open(file, PROCESSES, &t), -EPROTO);
	assert_int_equal(client_table_open(fd, 0, &t), -EPROTO);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(client_table_open(fd, 0, &t), -EPROTO);
	close(fd);
	/* Nobody can make it shorter below our feet. */
	assert_true(ftruncate(file, 64) < 0);
}

static void what_a_liar_wrote_ends_with_it(void **state)
{
	struct addr a = ip("192.0.2.1");
	uint32_t none = 0;
	client_place place;

	(void)state;
	assert_int_equal(enter(0, "192.0.2.1", 50, &place), 0);
	/* The sum of its region, which comes after 64 bytes of header. */
	assert_int_equal(pwrite(file, &none, sizeof(none), 64), sizeof(none));
	assert_int_equal(client_table_sessions(view[1]), 0);
	client_table_forget(view[2], 0);
	assert_int_equal(enter(0, "192.0.2.99", 50, &place), 0);
	assert_int_equal(client_table_sessions(view[1]), 1);
	assert_int_equal(client_table_sessions_of(view[1], &a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(a_client_has_so_many_sessions_in_all_processes),
		TEST(all_clients_together_have_so_many),
		TEST(an_ipv6_client_is_its_64),
		TEST(a_network_has_so_many_sessions_in_all_processes),
		TEST(an_ipv6_network_is_its_48),
		TEST(the_sessions_of_a_dead_process_are_gone),
		TEST(it_never_fills_up),
		TEST(never_more_than_the_limit_get_in_at_once),
		TEST(never_are_all_turned_away_for_each_others_sake),
		TEST(what_a_liar_wrote_ends_with_it),
		TEST(what_is_no_table_is_refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
