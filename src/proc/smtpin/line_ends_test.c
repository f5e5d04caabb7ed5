#include "proc/smtpin/line_ends.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *name, *text;
	bool bare, any_8bit;
} cases[] = {
	{ "nothing", "", false, false },
	{ "whole lines", "a\r\n\r\nb\r\n", false, false },
	{ "a last line without an end", "a\r\nb", false, false },
	{ "LF", "a\nb\r\n", true, false },
	{ "LF first", "\n", true, false },
	{ "CR", "a\rb\r\n", true, false },
	{ "CR last", "a\r\nb\r", true, false },
	{ "CR CR LF", "a\r\r\n", true, false },
	{ "CR LF LF", "a\r\n\n", true, false },
	{ "8 bits", "\xc5\x99\r\n", false, true },
	{ "8 bits and LF", "\xff\n", true, true },
};

static struct line_ends feed(str text, size_t piece)
{
	struct line_ends l = { 0 };

	for (; text.n; text = str_from(text, piece))
		line_ends_feed(&l, str_first(text, piece));
	line_ends_finish(&l);
	return l;
}

static void test_only_crlf_ends_a_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		for (size_t piece = 1; piece < 4; piece++) {
			struct line_ends l = feed(str_of(cases[i].text), piece);

			if (l.bare != cases[i].bare || l.any_8bit != cases[i].any_8bit)
				fail_msg("%s, in pieces of %zu", cases[i].name, piece);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_crlf_ends_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
