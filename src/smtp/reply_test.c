#include "smtp/reply.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *requirement;
	const char *bytes;
	int result; /* of reply_feed */
	size_t used;
	int code;
	const char *one_line;
} cases[] = {
	{ "one line is a reply", "250 ok\r\n", 1, 8, 250, "250 ok" },
	{ "a code alone is a reply", "354\r\n", 1, 5, 354, "354" },
	{ "a code and a space are a reply", "250 \r\n", 1, 6, 250, "250" },
	{ "lines with a hyphen go on", "250-a\r\n250-b\r\n250 c\r\n", 1, 21, 250, "250 a b c" },
	{ "a bare code ends a reply of several lines", "220-a\r\n220\r\n", 1, 12, 220, "220 a" },
	{ "the next reply is left alone", "250 ok\r\n550 no\r\n", 1, 8, 250, "250 ok" },
	{ "half a reply wants more", "250-a\r\n250 b", 0, 12, 0, NULL },
	{ "bare LF ends a line", "250-a\n250 b\n", 1, 12, 250, "250 a b" },
	{ "stray CRs are no text", "250 o\rk\r\r\n", 1, 10, 250, "250 ok" },
	{ "an enhanced code said on every line is shown once",
	  "550-5.1.1 no such\r\n550 5.1.1 user\r\n", 1, 35, 550, "550 5.1.1 no such user" },
	{ "different enhanced codes are all shown", "550-5.1.1 a\r\n550 5.7.1 b\r\n", 1, 26, 550,
	  "550 5.1.1 a 5.7.1 b" },
	{ "what is not printable becomes a question mark", "550 a\x01\x80z\tq\r\n", 1, 12, 550,
	  "550 a??z q" },
	{ "codes that differ are no reply", "250-a\r\n550 b\r\n", -EPROTO, 14, 0, NULL },
	{ "a hint of HTTP is no reply", "HTTP/1.1 200 OK\r\n", -EPROTO, 1, 0, NULL },
	{ "an SSH banner is no reply", "SSH-2.0-x\r\n", -EPROTO, 1, 0, NULL },
	{ "a code below 200 is no reply", "150 a\r\n", -EPROTO, 1, 0, NULL },
	{ "a code above 599 is no reply", "600 a\r\n", -EPROTO, 1, 0, NULL },
	{ "four digits are no code", "2500 a\r\n", -EPROTO, 4, 0, NULL },
	{ "two digits are no code", "25\r\n", -EPROTO, 3, 0, NULL },
	{ "an empty line is no reply", "\r\n", -EPROTO, 1, 0, NULL },
	{ "text glued to the code is no reply", "250x\r\n", -EPROTO, 4, 0, NULL },
};

static void replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		for (size_t piece = 1; piece < 50; piece += 7) {
			struct reply r;
			size_t at = 0, used = 0;
			str bytes = str_of(cases[i].bytes);
			char line[100];
			int result = 0;

			reply_init(&r);
			while (result == 0 && at < bytes.n) {
				result = reply_feed(&r, str_first(str_from(bytes, at), piece),
						    &used);
				at += used;
			}
			if (result != cases[i].result || at != cases[i].used)
				fail_msg("%s: %d after %zu", cases[i].requirement, result, at);
			if (result == 1 && (r.code != cases[i].code ||
					    !str_eq(reply_one_line(&r, line, sizeof line),
						    str_of(cases[i].one_line))))
				fail_msg("%s: %d, %s", cases[i].requirement, r.code, line);
			reply_done(&r);
		}
	}
}

static void a_reply_without_end_is_kept_in_bounds_and_given_up(void **state)
{
	struct reply r;
	size_t used;
	int result = 0;

	(void)state;
	reply_init(&r);
	for (int i = 0; result == 0 && i < 100000; i++) {
		result = reply_feed(&r, STR("250-0123456789012345678901234567890\r\n"), &used);
		assert_true(r.text.cap <= REPLY_TEXT_MAX);
	}
	assert_int_equal(result, -EMSGSIZE);
	assert_true(r.lines > REPLY_LINES_KEPT);
	assert_non_null(reply_line(&r, REPLY_LINES_KEPT - 1).p);
	assert_null(reply_line(&r, REPLY_LINES_KEPT).p);

	/* The same connection goes on with another struct state. */
	reply_reset(&r);
	assert_int_equal(reply_feed(&r, STR("220 hello\r\n"), &used), 1);
	assert_true(str_eq(reply_line(&r, 0), STR("hello")));
	reply_done(&r);
}

static void a_line_without_end_is_kept_in_bounds_and_given_up(void **state)
{
	struct reply r;
	size_t used;
	int result = reply_feed((reply_init(&r), &r), STR("250 "), &used);

	(void)state;
	while (result == 0) {
		result = reply_feed(&r, STR("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), &used);
		assert_true(r.text.n < REPLY_TEXT_MAX);
	}
	assert_int_equal(result, -EMSGSIZE);
	reply_done(&r);
}

static void a_long_reply_is_cut_and_understood(void **state)
{
	struct reply r;
	size_t used;
	char line[40];

	(void)state;
	reply_init(&r);
	for (int i = 0; i < 500; i++)
		assert_int_equal(reply_feed(&r, STR("550-a line of this reply\r\n"), &used), 0);
	assert_int_equal(reply_feed(&r, STR("550 the end\r\n"), &used), 1);
	assert_int_equal(r.code, 550);
	assert_int_equal(r.lines, 501);
	assert_true(str_eq(reply_one_line(&r, line, sizeof line),
			   STR("550 a line of this reply a line of this")));
	reply_done(&r);
}

static const struct {
	const char *requirement;
	const char *bytes;
	struct enhanced_code code;
} enhanced_cases[] = {
	{ "an enhanced code is read", "550 5.1.10 x\r\n", { 5, 1, 10 } },
	{ "it may stand alone", "250 2.0.0\r\n", { 2, 0, 0 } },
	{ "its class must be that of the code", "450 5.1.1 x\r\n", { 0 } },
	{ "a version number is no enhanced code", "550 5.1 x\r\n", { 0 } },
	{ "an address is no enhanced code", "550 5.1.1.7 x\r\n", { 0 } },
	{ "at most three digits a part", "550 5.1111.1 x\r\n", { 0 } },
	{ "text alone has none", "550 no\r\n", { 0 } },
	{ "nothing has none", "550\r\n", { 0 } },
};

static void enhanced_codes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(enhanced_cases); i++) {
		struct enhanced_code want = enhanced_cases[i].code, got;
		struct reply r;
		size_t used;

		reply_init(&r);
		assert_int_equal(reply_feed(&r, str_of(enhanced_cases[i].bytes), &used), 1);
		got = reply_enhanced(&r);
		if (got.class != want.class || got.subject != want.subject ||
		    got.detail != want.detail)
			fail_msg("%s", enhanced_cases[i].requirement);
		reply_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies),
		cmocka_unit_test(a_reply_without_end_is_kept_in_bounds_and_given_up),
		cmocka_unit_test(a_line_without_end_is_kept_in_bounds_and_given_up),
		cmocka_unit_test(a_long_reply_is_cut_and_understood),
		cmocka_unit_test(enhanced_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
