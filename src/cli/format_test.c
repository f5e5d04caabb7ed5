#include "cli/format.h"

#include "base/cleanup.h"
#include "cli/table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW (1795501440 * NSEC_S) /* 2026-11-24T06:24:00Z */

static void sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1280, "1.2 KiB" },
		{ 102348, "99.9 KiB" },
		{ 102400, "100 KiB" },
		{ 1048063, "1023 KiB" },
		{ 1048064, "1.0 MiB" },
		{ (uint64_t)45 << 30, "45.0 GiB" },
		{ UINT64_MAX, "16.0 EiB" },
	};
	char text[FORMAT_SIZE];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_string_equal(format_bytes(cases[i].bytes, text), cases[i].text);
}

static void counts(void **state)
{
	static const struct {
		uint64_t count;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 999, "999" },
		{ 1000, "1,000" },
		{ 1234567, "1,234,567" },
		{ UINT64_MAX, "18,446,744,073,709,551,615" },
	};
	char text[FORMAT_SIZE];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_string_equal(format_count(cases[i].count, text), cases[i].text);
}

static void spans(void **state)
{
	static const struct {
		nsec span;
		const char *text;
	} cases[] = {
		{ 0, "0s" },
		{ -5 * NSEC_S, "0s" },
		{ 999 * NSEC_MS, "0s" },
		{ 4 * NSEC_S, "4s" },
		{ 60 * NSEC_S, "1m" },
		{ 192 * NSEC_S, "3m 12s" },
		{ 3 * NSEC_HOUR + 20 * NSEC_S, "3h" },
		{ 2 * NSEC_HOUR + 5 * NSEC_MINUTE, "2h 5m" },
		{ 3 * NSEC_DAY + 4 * NSEC_HOUR + 59 * NSEC_MINUTE, "3d 4h" },
		{ 400 * NSEC_DAY, "400d" },
		{ INT64_MAX, "106751d 23h" },
	};
	char text[FORMAT_SIZE];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_string_equal(format_span(cases[i].span, text), cases[i].text);
}

static void times(void **state)
{
	static const struct {
		nsec at;
		const char *when, *time, *exact;
	} cases[] = {
		{ 0, "-", "-", "-" },
		{ NOW, "now", "2026-11-24T06:24:00Z", "2026-11-24T06:24:00.000Z" },
		{ NOW - 192 * NSEC_S - 1, "3m 12s ago", "2026-11-24T06:20:47Z",
		  "2026-11-24T06:20:47.999Z" },
		{ NOW + 4500 * NSEC_MS, "in 4s", "2026-11-24T06:24:04Z",
		  "2026-11-24T06:24:04.500Z" },
		{ INT64_MIN, "-", "-", "-" },
	};
	char text[FORMAT_SIZE];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		assert_string_equal(format_when(cases[i].at, NOW, text), cases[i].when);
		assert_string_equal(format_time(cases[i].at, text), cases[i].time);
		assert_string_equal(format_time_exact(cases[i].at, text), cases[i].exact);
	}
}

static void escapes(void **state)
{
	static const struct {
		const char *requirement, *in, *out;
		size_t columns;
	} cases[] = {
		{ "ASCII stays", "a b~", "a b~", 4 },
		{ "an escape sequence is shown, not obeyed", "\033[2J", "\\x1b[2J", 7 },
		{ "line ends too", "a\r\nb\tc\x7f", "a\\x0d\\x0ab\\x09c\\x7f", 19 },
		{ "letters of other languages stay", "p\xc5\x99\xc3\xad", "p\xc5\x99\xc3\xad", 3 },
		{ "wide characters count twice", "\xe6\xbc\xa2", "\xe6\xbc\xa2", 2 },
		{ "C1 controls go", "\xc2\x9b", "\\xc2\\x9b", 8 },
		{ "right-to-left override goes", "\xe2\x80\xae", "\\xe2\\x80\\xae", 12 },
		{ "zero-width space goes", "\xe2\x80\x8b", "\\xe2\\x80\\x8b", 12 },
		{ "a lone continuation byte", "\x80", "\\x80", 4 },
		{ "a cut sequence", "\xe6\xbc", "\\xe6\\xbc", 8 },
		{ "an overlong form", "\xc0\xaf", "\\xc0\\xaf", 8 },
		{ "a surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80", 12 },
		{ "beyond Unicode", "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 16 },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		_cleanup_(buf_done) struct buf out;

		buf_init(&out, 256);
		assert_int_equal(format_escape(str_of(cases[i].in), &out), 0);
		if (!str_eq(buf_str(&out), str_of(cases[i].out)) ||
		    format_columns(buf_str(&out)) != cases[i].columns)
			fail_msg("%s: %.*s, %zu", cases[i].requirement, STR_ARG(buf_str(&out)),
				 format_columns(buf_str(&out)));
	}
}

/* --- tables --- */

static const struct table_column columns[] = { { "NAME", false }, { "N", true }, { "WHY", false } };

static char *print_table(size_t indent, size_t width, bool coloured, bool rows)
{
	_cleanup_(table_done) struct table t;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	table_init(&t, columns, ELEMENTS(columns));
	if (rows) {
		table_add(&t, STR("p\xc5\x99\xc3\xad"));
		table_addf(&t, "%d", 1234);
		table_add_coloured(&t, STR("a long \033 reason for everything"), COLOUR_BAD);
		table_add(&t, STR("longest"));
		table_add(&t, STR("7"));
		table_add(&t, STR(""));
	}
	assert_int_equal(table_print(&t, f, indent, width, coloured), 0);
	fclose(f);
	return text;
}

static void tables(void **state)
{
	static const struct {
		const char *requirement;
		size_t indent, width;
		bool coloured, rows;
		const char *text;
	} cases[] = {
		{ "columns are aligned, escaped, and have no trailing spaces", 0, 0, false, true,
		  "NAME        N  WHY\n"
		  "p\xc5\x99\xc3\xad      1234  a long \\x1b reason for everything\n"
		  "longest     7\n" },
		{ "the last column ends at the terminal's edge", 1, 30, false, true,
		  " NAME        N  WHY\n"
		  " p\xc5\x99\xc3\xad      1234  a long \\x1b...\n"
		  " longest     7\n" },
		{ "but keeps some width on a narrow terminal", 0, 5, false, true,
		  "NAME        N  WHY\n"
		  "p\xc5\x99\xc3\xad      1234  a long \\x...\n"
		  "longest     7\n" },
		{ "colours do not count", 0, 0, true, true,
		  "\033[2mNAME\033[0m        \033[2mN\033[0m  \033[2mWHY\033[0m\n"
		  "p\xc5\x99\xc3\xad      1234  \033[31ma long \\x1b reason for everything\033[0m\n"
		  "longest     7\n" },
		{ "no rows, no titles", 0, 0, false, false, "" },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		_cleanup_(freep) char *text = print_table(cases[i].indent, cases[i].width,
							  cases[i].coloured, cases[i].rows);

		if (strcmp(text, cases[i].text) != 0)
			fail_msg("%s:\n%s\nnot\n%s", cases[i].requirement, text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes), cmocka_unit_test(counts),  cmocka_unit_test(spans),
		cmocka_unit_test(times), cmocka_unit_test(escapes), cmocka_unit_test(tables),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
