#include "proc/smtpin/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LINES_MAX 30

/* A reply of these lines, ended by NULL. */
static const Locum__LiveAnswer *said(unsigned code, char *const *lines)
{
	static Locum__LiveAnswer a;

	locum__live_answer__init(&a);
	a.code = code;
	a.lines = (char **)lines;
	while (lines[a.n_lines])
		a.n_lines++;
	return &a;
}

static void check_lines(const Locum__LiveAnswer *a, const char *expected)
{
	char all[16000], line[WORDS_LINE_BYTES];
	size_t at = 0;

	for (size_t i = 0; i < words_lines(a); i++) {
		str text = words_line(a, i, line);

		memcpy(all + at, text.p, text.n);
		at += text.n;
	}
	all[at] = '\0';
	assert_string_equal(all, expected);
}

static void test_the_client_hears_the_primarys_own_words(void **state)
{
	char one[] = "5.1.1 <x@y>: Recipient address rejected", two[] = "",
	     three[] = "5.1.1 http://z";
	char *lines[] = { one, two, three, NULL }, *none[] = { NULL };

	(void)state;
	check_lines(said(550, lines), "550-5.1.1 <x@y>: Recipient address rejected\r\n550-\r\n"
				      "550 5.1.1 http://z\r\n");
	check_lines(said(250, none), "250 \r\n");
}

static void test_what_could_be_taken_for_a_line_of_its_own_is_not_passed_on(void **state)
{
	char line[] = "ok\r\n250 2.0.0 Ok\x1b[1m\t\xc3\xa9";
	char *lines[] = { line, NULL };

	(void)state;
	check_lines(said(450, lines), "450 ok??250 2.0.0 Ok?[1m ??\r\n");
}

static void test_long_replies_are_cut(void **state)
{
	char long_line[2000], text[WORDS_LINE_BYTES], log[WORDS_LOG_SIZE];
	char *lines[LINES_MAX + 1];
	const Locum__LiveAnswer *a;
	str last;

	(void)state;
	memset(long_line, 'x', sizeof(long_line));
	long_line[sizeof(long_line) - 1] = '\0';
	for (size_t i = 0; i < LINES_MAX; i++)
		lines[i] = long_line;
	lines[LINES_MAX] = NULL;
	a = said(554, lines);
	assert_int_equal(words_lines(a), WORDS_LINES_MAX);
	assert_true(str_starts(words_line(a, WORDS_LINES_MAX - 2, text), STR("554-xx")));
	last = words_line(a, WORDS_LINES_MAX - 1, text);
	assert_true(str_starts(last, STR("554 xx")));
	assert_int_equal(last.n, WORDS_LINE_BYTES);
	assert_true(str_eq(str_from(last, last.n - 3), STR("x\r\n")));
	assert_true(words_for_log(a, log).n <= WORDS_LOG_SIZE);
}

static void test_the_log_has_it_in_one_line(void **state)
{
	char one[] = "4.7.1 Greylisted", two[] = "4.7.1 see\nx", text[WORDS_LOG_SIZE];
	char *lines[] = { one, two, NULL };

	(void)state;
	assert_true(str_eq(words_for_log(said(450, lines), text),
			   STR("450 4.7.1 Greylisted 4.7.1 see?x")));
}

static void test_no_such_user_is_told_from_you_are_blocked(void **state)
{
	static const struct {
		unsigned code;
		const char *line;
		bool unknown;
	} replies[] = {
		{ 550, "5.1.1 User unknown", true },
		{ 550, "No such user here", true },
		{ 550, "5.7.1 you are on a list", false },
		{ 554, "5.7.1 no", false },
		{ 552, "5.2.2 full", false },
		{ 450, "4.1.1 not now", false },
		{ 250, "2.1.5 Ok", false },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(replies); i++) {
		char line[100];
		char *lines[] = { line, NULL };

		snprintf(line, sizeof(line), "%s", replies[i].line);
		if (words_mean_unknown(said(replies[i].code, lines)) != replies[i].unknown)
			fail_msg("%u %s", replies[i].code, line);
	}
}

static void test_codes_that_no_reply_can_have(void **state)
{
	static const unsigned sound[] = { 200, 250, 252, 299, 400, 450, 500, 599 };
	static const unsigned not_sound[] = { 0, 100, 199, 300, 354, 421, 600, 4294967295u };
	char *none[] = { NULL };

	(void)state;
	for (size_t i = 0; i < ELEMENTS(sound); i++)
		assert_true(words_are_sound(said(sound[i], none)));
	for (size_t i = 0; i < ELEMENTS(not_sound); i++)
		assert_false(words_are_sound(said(not_sound[i], none)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_client_hears_the_primarys_own_words),
		cmocka_unit_test(test_what_could_be_taken_for_a_line_of_its_own_is_not_passed_on),
		cmocka_unit_test(test_long_replies_are_cut),
		cmocka_unit_test(test_the_log_has_it_in_one_line),
		cmocka_unit_test(test_no_such_user_is_told_from_you_are_blocked),
		cmocka_unit_test(test_codes_that_no_reply_can_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
