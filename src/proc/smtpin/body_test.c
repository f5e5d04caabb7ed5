#include "proc/smtpin/body.h"

#include "task/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES (300 * 1000)

static char expected[BYTES];

static void check_content(const struct body *b, size_t bytes)
{
	static char got[BYTES + 1];

	assert_int_equal(b->bytes, bytes);
	assert_int_equal(sys_read_at(b->fd, got, sizeof(got), 0), bytes);
	assert_memory_equal(got, expected, bytes);
	assert_int_equal(sys_memfd_sealed(b->fd), 0);
	assert_true(sys_write(b->fd, STR("x")) < 0);
}

static void test_runs_of_any_size_arrive_whole(void **state)
{
	static const size_t sizes[] = { 1, 76, 1448, 8191, 8192, 16384, 32768, 65536, BYTES };
	struct body_budget budget = { .max = BYTES };

	(void)state;
	for (size_t i = 0; i < BYTES; i++)
		expected[i] = (char)(i * 7 + i / 251);
	for (size_t s = 0; s < ELEMENTS(sizes); s++)
		for (size_t first = 0; first < 3; first++) {
			struct body b;
			size_t at = 0;

			assert_int_equal(body_init(&b, &budget, BYTES), 0);
			while (at < BYTES) {
				size_t n = MIN(at ? sizes[s] : 1 + first * 5000, BYTES - at);

				body_add(&b, str_mem(expected + at, n));
				at += n;
			}
			assert_int_equal(body_finish(&b), 0);
			check_content(&b, BYTES);
			body_done(&b);
			assert_int_equal(budget.used, 0);
		}
}

static void test_an_empty_body_is_a_body(void **state)
{
	struct body_budget budget = { .max = 10 };
	struct body b;

	(void)state;
	assert_int_equal(body_init(&b, &budget, 10), 0);
	assert_int_equal(body_finish(&b), 0);
	check_content(&b, 0);
	body_done(&b);
}

static void test_limits_hold_and_are_told_apart(void **state)
{
	struct body_budget budget = { .max = 100 };
	struct body a, b;

	(void)state;
	assert_int_equal(body_init(&a, &budget, 60), 0);
	assert_int_equal(body_init(&b, &budget, 1000), 0);
	body_add(&a, str_mem(expected, 60));
	body_add(&b, str_mem(expected, 40));
	assert_int_equal(budget.used, 100);
	body_add(&b, str_mem(expected, 1));
	assert_int_equal(b.error, -EDQUOT);
	assert_int_equal(budget.used, 60); /* what failed is given back at once */
	body_add(&b, str_mem(expected, 1000));
	assert_int_equal(body_finish(&b), -EDQUOT);
	assert_true(b.fd < 0);
	body_add(&a, str_mem(expected, 1));
	assert_int_equal(body_finish(&a), -EMSGSIZE);
	assert_int_equal(a.bytes, 61);
	assert_int_equal(budget.used, 0);
	body_done(&a);
	body_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_of_any_size_arrive_whole),
		cmocka_unit_test(test_an_empty_body_is_a_body),
		cmocka_unit_test(test_limits_hold_and_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
