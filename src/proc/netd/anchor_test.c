#include "proc/netd/anchor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
	const char *requirement, *text;
	int count;
	const char *first;
} cases[] = {
	{ "a DS record", ". IN DS 20326 8 2 E06D\n", 1, ". IN DS 20326 8 2 E06D" },
	{ "a DNSKEY record without a final newline", ".\tIN DNSKEY 257 3 8 AwEA", 1,
	  ". IN DNSKEY 257 3 8 AwEA" },
	{ "two records", ". DS 1 8 2 AA\n. DS 2 8 2 BB\n", 2, ". DS 1 8 2 AA" },
	{ "comments are left out", "; autotrust file\n. DS 1 8 2 AA ;;state=2 [  VALID  ]\n", 1,
	  ". DS 1 8 2 AA" },
	{ "parentheses join lines", ". DNSKEY 257 3 8 (\n AwEA ; half\n BBBB )\n", 1,
	  ". DNSKEY 257 3 8    AwEA   BBBB" },
	{ "CRLF is a line's end", ". DS 1 8 2 AA\r\n", 1, ". DS 1 8 2 AA" },
	{ "other records are left out", "$TTL 5\n. NS a.\n. DS 1 8 2 AA\n", 1, ". DS 1 8 2 AA" },
	{ "nothing is an error", "\n; empty\n\n", -EINVAL, NULL },
	{ "an unclosed parenthesis is an error", ". DS ( 1 8 2 AA\n", -EINVAL, NULL },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct buf b;

		print_message("  %s\n", cases[i].requirement);
		buf_init(&b, 4096);
		assert_int_equal(anchor_split(str_of(cases[i].text), &b), cases[i].count);
		if (cases[i].first)
			assert_string_equal(b.p, cases[i].first);
		buf_done(&b);
	}
}

static void test_the_bound_holds(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 16);
	assert_int_equal(anchor_split(STR(". DS 1 8 2 AABBCCDDEEFF\n"), &b), -ENOBUFS);
	buf_done(&b);
}

static void test_files(void **state)
{
	char path[] = "/tmp/locum-anchor-XXXXXX";
	int fd = mkstemp(path);
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(write(fd, ". DS 1 8 2 AA\n", 14), 14);
	assert_int_equal(anchor_read(path, &b), 1);
	assert_string_equal(b.p, ". DS 1 8 2 AA");
	unlink(path);
	assert_int_equal(anchor_read(path, &b), -ENOENT);
	buf_done(&b);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_the_bound_holds),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
