#include "proc/memory_file.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES_MAX 8

static int made(const char *text)
{
	int fd = -1;

	assert_int_equal(memory_file_make("test", str_of(text), &fd), 0);
	return fd;
}

static void what_was_made_is_read(void **state)
{
	_cleanup_(closep) int fd = made("12345678");
	_cleanup_(buf_done) struct buf b = { 0 };

	(void)state;
	assert_int_equal(memory_file_read(fd, BYTES_MAX, &b), 0);
	assert_true(str_eq(buf_str(&b), STR("12345678")));
}

static void nobody_can_change_it(void **state)
{
	_cleanup_(closep) int fd = made("12345678");

	(void)state;
	assert_true(sys_write_at(fd, STR("x"), 0) < 0);
	assert_true(sys_truncate(fd, 0) < 0);
}

static void too_much_nothing_and_unsealed_ones_are_refused(void **state)
{
	_cleanup_(closep) int large = made("123456789"), empty = made(""), open = sys_memfd("test");
	_cleanup_(buf_done) struct buf b = { 0 };

	(void)state;
	assert_int_equal(sys_write_at(open, STR("1234"), 0), 0);
	assert_int_equal(memory_file_read(large, BYTES_MAX, &b), -EPROTO);
	assert_int_equal(memory_file_read(empty, BYTES_MAX, &b), -EPROTO);
	assert_int_equal(memory_file_read(open, BYTES_MAX, &b), -EPROTO);
	assert_int_equal(memory_file_read(-1, BYTES_MAX, &b), -EPROTO);
	assert_int_equal(b.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_made_is_read),
		cmocka_unit_test(nobody_can_change_it),
		cmocka_unit_test(too_much_nothing_and_unsealed_ones_are_refused),
	};

	return cmocka_run_group_tests_name("memory file", tests, NULL, NULL);
}
