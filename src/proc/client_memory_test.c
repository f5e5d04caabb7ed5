#include "proc/client_memory.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PROCESSES 3
#define BUCKET 16
#define ROWS 64
#define NOW (1800000000 * NSEC_S)

/* One memory, as each of the processes sees it. */
static struct client_memory *view[PROCESSES];
static int file = -1;

static int setup_rows(uint32_t rows)
{
	assert_int_equal(client_memory_make(PROCESSES, rows, &file), 0);
	for (unsigned i = 0; i < PROCESSES; i++)
		assert_int_equal(client_memory_open(file, i, &view[i]), 0);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_rows(ROWS);
}

static int setup_one_bucket(void **state)
{
	(void)state;
	return setup_rows(BUCKET);
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PROCESSES; i++)
		client_memory_close(view[i]);
	close(file);
	return 0;
}

static struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(str_of(text), 25, &a), 0);
	return a;
}

static struct addr stranger(unsigned number)
{
	struct addr a = ip("198.51.0.0");

	a.ip[2] = (uint8_t)(number >> 8);
	a.ip[3] = (uint8_t)number;
	return a;
}

/* In thousandths. */
static long rate(unsigned process, const struct addr *a, enum client_count what, nsec now)
{
	return (long)(client_memory_rate(view[process], a, what, now) * 1000 + 0.5);
}

static void assert_near(long value, long wanted)
{
	assert_in_range(value, wanted - wanted / 200 - 1, wanted + wanted / 200 + 1);
}

static void what_a_client_does_is_summed_over_all_processes(void **state)
{
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2");

	(void)state;
	client_memory_add(view[0], &a, CLIENT_ERRORS, 3, NOW);
	client_memory_add(view[1], &a, CLIENT_ERRORS, 4, NOW);
	client_memory_add(view[1], &a, CLIENT_MESSAGES, 1, NOW);
	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_int_equal(rate(i, &a, CLIENT_ERRORS, NOW), 7000);
		assert_int_equal(rate(i, &a, CLIENT_MESSAGES, NOW), 1000);
		assert_int_equal(rate(i, &a, CLIENT_RECIPIENTS, NOW), 0);
		assert_int_equal(rate(i, &b, CLIENT_ERRORS, NOW), 0);
	}
}

static void an_ipv6_client_is_its_64(void **state)
{
	struct addr a = ip("2001:db8::1"), b = ip("2001:db8::2"), c = ip("2001:db8:0:1::1");

	(void)state;
	client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW);
	client_memory_good(view[0], &a, NOW);
	assert_int_equal(rate(1, &b, CLIENT_ERRORS, NOW), 1000);
	assert_true(client_memory_is_good(view[1], &b, NOW));
	assert_int_equal(rate(1, &c, CLIENT_ERRORS, NOW), 0);
	assert_false(client_memory_is_good(view[1], &c, NOW));
}

static void counts_fade_to_1_by_e_in_an_hour(void **state)
{
	struct addr a = ip("192.0.2.1");

	(void)state;
	client_memory_add(view[0], &a, CLIENT_ERRORS, 1000, NOW);
	client_memory_add(view[1], &a, CLIENT_ERRORS, 1000, NOW + NSEC_HOUR);
	assert_near(rate(2, &a, CLIENT_ERRORS, NOW + NSEC_HOUR), 1000000 + 367879);
	assert_near(rate(2, &a, CLIENT_ERRORS, NOW + 2 * NSEC_HOUR), 367879 + 135335);
	assert_int_equal(rate(2, &a, CLIENT_ERRORS, NOW + 100 * NSEC_DAY), 0);
	/* The same when the one process wrote it again in between, and nothing of it. */
	client_memory_add(view[0], &a, CLIENT_MESSAGES, 1, NOW + NSEC_HOUR / 2);
	assert_near(rate(2, &a, CLIENT_ERRORS, NOW + NSEC_HOUR), 1000000 + 367879);
}

static void who_does_so_many_an_hour_has_that_rate(void **state)
{
	struct addr a = ip("192.0.2.1");
	nsec now = NOW;

	(void)state;
	/* 600 an hour for ten hours, by two processes in turn, at odd moments. */
	for (unsigned i = 0; i < 6000; i++) {
		now += 6 * NSEC_S;
		client_memory_add(view[i % 2], &a, CLIENT_RECIPIENTS, 1,
				  now + (nsec)(i % 7) * 100 * NSEC_MS);
	}
	assert_in_range(rate(2, &a, CLIENT_RECIPIENTS, now), 597000, 603000);
}

static void a_client_is_good_for_thirty_days(void **state)
{
	struct addr a = ip("192.0.2.1");

	(void)state;
	assert_false(client_memory_is_good(view[0], &a, NOW));
	client_memory_add(view[0], &a, CLIENT_MESSAGES, 1, NOW);
	assert_false(client_memory_is_good(view[0], &a, NOW));
	client_memory_good(view[0], &a, NOW);
	assert_true(client_memory_is_good(view[1], &a, NOW));
	assert_true(client_memory_is_good(view[1], &a, NOW + 30 * NSEC_DAY));
	assert_false(client_memory_is_good(view[1], &a, NOW + 30 * NSEC_DAY + NSEC_S));
	/* What it does otherwise changes nothing. */
	client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW + 29 * NSEC_DAY);
	assert_true(client_memory_is_good(view[1], &a, NOW + 30 * NSEC_DAY));
	assert_false(client_memory_is_good(view[1], &a, NOW + 31 * NSEC_DAY));
}

static void a_clock_that_is_set_back_does_no_harm(void **state)
{
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2");

	(void)state;
	client_memory_add(view[0], &a, CLIENT_ERRORS, 100, NOW);
	client_memory_good(view[0], &a, NOW);
	/* A little: nothing to speak of is lost, and what comes then counts. */
	client_memory_add(view[0], &a, CLIENT_ERRORS, 100, NOW - 10 * NSEC_S);
	assert_near(rate(1, &a, CLIENT_ERRORS, NOW - 10 * NSEC_S), 199700);
	assert_true(client_memory_is_good(view[1], &a, NOW - 10 * NSEC_S));
	/* A year: nobody stays guilty for a year, nor good. */
	assert_int_equal(rate(1, &a, CLIENT_ERRORS, NOW - 365 * NSEC_DAY), 0);
	assert_false(client_memory_is_good(view[1], &a, NOW - 365 * NSEC_DAY));
	client_memory_add(view[0], &a, CLIENT_ERRORS, 5, NOW - 365 * NSEC_DAY);
	assert_int_equal(rate(1, &a, CLIENT_ERRORS, NOW - 365 * NSEC_DAY), 5000);
	/* Before 1970, and at the end of time. */
	client_memory_add(view[0], &b, CLIENT_ERRORS, 5, -NSEC_DAY);
	assert_int_equal(rate(1, &b, CLIENT_ERRORS, -NSEC_DAY), 5000);
	client_memory_add(view[0], &b, CLIENT_ERRORS, 5, NEVER);
	assert_int_equal(rate(1, &b, CLIENT_ERRORS, NEVER), 5000);
}

static void the_least_recent_of_a_full_bucket_is_forgotten(void **state)
{
	struct addr a;

	(void)state;
	for (unsigned i = 0; i < BUCKET; i++) {
		a = stranger(i);
		client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW + i * NSEC_S);
	}
	/* The first is heard of again: the second is the oldest now. */
	a = stranger(0);
	client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW + 20 * NSEC_S);
	a = stranger(BUCKET);
	client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW + 21 * NSEC_S);
	for (unsigned i = 0; i <= BUCKET; i++) {
		long errors;

		a = stranger(i);
		errors = rate(1, &a, CLIENT_ERRORS, NOW + 21 * NSEC_S);
		assert_true(i == 1 ? errors == 0 : errors > 900);
	}
}

/* Written when the clock was a year ahead, they would be the last to go. */
static void what_lies_in_the_future_is_forgotten_first(void **state)
{
	struct addr a;

	(void)state;
	for (unsigned i = 0; i < BUCKET; i++) {
		a = stranger(i);
		client_memory_add(view[0], &a, CLIENT_ERRORS, 1,
				  i == 5 ? NOW + 365 * NSEC_DAY : NOW - NSEC_HOUR);
	}
	a = stranger(BUCKET);
	client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW);
	a = stranger(5);
	assert_int_equal(rate(0, &a, CLIENT_ERRORS, NOW + 365 * NSEC_DAY), 0);
}

static unsigned good_among(unsigned count, nsec now)
{
	unsigned good = 0;

	for (unsigned i = 0; i < count; i++) {
		struct addr a = stranger(i);

		good += client_memory_is_good(view[1], &a, now);
	}
	return good;
}

static void a_flood_of_strangers_does_not_make_us_forget_whom_we_know_as_good(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct addr a = stranger(i);

		client_memory_good(view[0], &a, NOW);
	}
	for (unsigned i = 1000; i < 20000; i++) {
		struct addr a = stranger(i);

		client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW + i * NSEC_S);
	}
	assert_int_equal(good_among(8, NOW + NSEC_DAY), 8);
	/* Nor do the good fill everything: strangers' errors still have a place. */
	for (unsigned i = 0; i < 1000; i++) {
		struct addr a = stranger(i);

		client_memory_good(view[0], &a, NOW + NSEC_DAY + i * NSEC_S);
	}
	assert_in_range(good_among(1000, NOW + NSEC_DAY), 8, 16);
	for (unsigned i = 1000; i < 1050; i++) {
		struct addr a = stranger(i);

		client_memory_add(view[0], &a, CLIENT_ERRORS, 1, NOW + 2 * NSEC_DAY);
		assert_int_equal(rate(1, &a, CLIENT_ERRORS, NOW + 2 * NSEC_DAY), 1000);
	}
	assert_int_equal(good_among(1000, NOW + 2 * NSEC_DAY), 8);
}

static void a_process_that_dies_leaves_what_it_knew(void **state)
{
	struct addr a = ip("192.0.2.1");
	struct client_memory *successor;

	(void)state;
	client_memory_add(view[1], &a, CLIENT_ERRORS, 2, NOW);
	client_memory_close(TAKE(view[1]));
	assert_int_equal(rate(0, &a, CLIENT_ERRORS, NOW), 2000);
	assert_int_equal(client_memory_open(file, 1, &successor), 0);
	client_memory_add(successor, &a, CLIENT_ERRORS, 1, NOW);
	assert_int_equal(rate(0, &a, CLIENT_ERRORS, NOW), 3000);
	client_memory_close(successor);
}

static _Noreturn void write_for_ever(unsigned process)
{
	for (unsigned i = 0;; i++) {
		struct addr a = stranger(i % 200);

		client_memory_add(view[process], &a, CLIENT_ERRORS, 1, NOW);
		client_memory_good(view[process], &a, NOW);
	}
}

/* Killed at any moment, in the middle of a row as well; what it left must serve its successor. */
static void a_process_may_be_killed_in_the_middle_of_a_row(void **state)
{
	struct addr a = ip("192.0.2.1");

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0)
			write_for_ever(0);
		usleep(300 + round * 20);
		for (unsigned i = 0; i < 200; i++) {
			struct addr b = stranger(i);

			client_memory_is_good(view[1], &b, NOW);
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		client_memory_add(view[0], &a, CLIENT_MESSAGES, 1, NOW);
		assert_true(rate(1, &a, CLIENT_MESSAGES, NOW) >= 1000);
		for (unsigned i = 0; i < 200; i++) {
			struct addr b = stranger(i);

			client_memory_add(view[0], &b, CLIENT_ERRORS, 1, NOW);
			assert_true(rate(1, &b, CLIENT_ERRORS, NOW) >= 1000);
		}
	}
}

/* Each client has its own sign: no reader ever sees a part of another's record. */
static _Noreturn void write_signed(unsigned process, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		unsigned number = i % 40;
		struct addr a = stranger(number);

		if (number % 2)
			client_memory_add(view[process], &a, CLIENT_ERRORS, 1, NOW);
		else
			client_memory_add(view[process], &a, CLIENT_MESSAGES, 1, NOW);
	}
	_exit(0);
}

static void no_reader_sees_half_a_row(void **state)
{
	int status;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			write_signed(i, 300000);
	}
	for (unsigned ended = 0; ended < 2;) {
		for (unsigned i = 0; i < 40; i++) {
			struct addr a = stranger(i);
			double rates[CLIENT_COUNTS];

			client_memory_rates(view[2], &a, NOW, rates);
			assert_true(rates[i % 2 ? CLIENT_MESSAGES : CLIENT_ERRORS] == 0);
		}
		if (waitpid(-1, &status, WNOHANG) > 0) {
			assert_int_equal(status, 0);
			ended++;
		}
	}
}

static void what_is_no_memory_is_refused(void **state)
{
	struct client_memory *m;
	int fd = memfd_create("no memory", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(client_memory_open(file, PROCESSES, &m), -EPROTO);
	assert_int_equal(client_memory_open(fd, 0, &m), -EPROTO);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(client_memory_open(fd, 0, &m), -EPROTO);
	close(fd);
	assert_true(ftruncate(file, 64) < 0);
}

static void without_a_memory_nobody_is_known(void **state)
{
	struct addr a = ip("192.0.2.1");

	(void)state;
	client_memory_add(NULL, &a, CLIENT_ERRORS, 1, NOW);
	client_memory_good(NULL, &a, NOW);
	assert_true(client_memory_rate(NULL, &a, CLIENT_ERRORS, NOW) == 0);
	assert_false(client_memory_is_good(NULL, &a, NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_BUCKET(f) cmocka_unit_test_setup_teardown(f, setup_one_bucket, teardown)
		TEST(what_a_client_does_is_summed_over_all_processes),
		TEST(an_ipv6_client_is_its_64),
		TEST(counts_fade_to_1_by_e_in_an_hour),
		TEST(who_does_so_many_an_hour_has_that_rate),
		TEST(a_client_is_good_for_thirty_days),
		TEST(a_clock_that_is_set_back_does_no_harm),
		TEST_BUCKET(the_least_recent_of_a_full_bucket_is_forgotten),
		TEST_BUCKET(what_lies_in_the_future_is_forgotten_first),
		TEST_BUCKET(a_flood_of_strangers_does_not_make_us_forget_whom_we_know_as_good),
		TEST(a_process_that_dies_leaves_what_it_knew),
		TEST(a_process_may_be_killed_in_the_middle_of_a_row),
		TEST_BUCKET(no_reader_sees_half_a_row),
		TEST(what_is_no_memory_is_refused),
		TEST(without_a_memory_nobody_is_known),
#undef TEST
#undef TEST_BUCKET
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
