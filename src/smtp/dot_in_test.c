#include "smtp/dot_in.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct decoded {
	char p[256];
	size_t n;
	struct dot_in d;
	size_t rest; /* bytes behind the end */
};

/* Feeds the input in pieces cut at `first` and then every `step` bytes, each a copy in its own allocation,
 * so that a read past a piece is seen by the sanitizer. */
static void decode(str input, size_t first, size_t step, struct decoded *to)
{
	size_t at = 0;

	*to = (struct decoded){ .n = 0 };
	dot_in_init(&to->d);
	while (at < input.n && !dot_in_ended(&to->d)) {
		size_t n = MIN(at ? step : first, input.n - at);
		char *piece = malloc(n ? n : 1);
		str in = str_mem(piece, n), run;

		assert_non_null(piece);
		memcpy(piece, input.p + at, n);
		while (dot_in_next(&to->d, &in, &run)) {
			assert_true(run.n > 0 && to->n + run.n <= sizeof to->p);
			memcpy(to->p + to->n, run.p, run.n);
			to->n += run.n;
		}
		assert_true(dot_in_ended(&to->d) || !in.n);
		at += n - in.n;
		free(piece);
	}
	to->rest = input.n - at;
	assert_int_equal(to->n, to->d.bytes);
}

#define CASE(name, in, out, ended, cr, lf, rest)                                                   \
	{                                                                                          \
		name, STR(in), STR(out), ended, cr, lf, rest                                       \
	}

static const struct {
	const char *name;
	str in, out;
	bool ended, bare_cr, bare_lf;
	size_t rest;
} cases[] = {
	CASE("a line and the end", "a\r\n.\r\n", "a\r\n", true, false, false, 0),
	CASE("a dot at once ends an empty message", ".\r\n", "", true, false, false, 0),
	CASE("what follows the end is left alone", "a\r\n.\r\nQUIT\r\n", "a\r\n", true, false,
	     false, 6),
	CASE("a stuffed dot is taken off", "..\r\n...\r\n.\r\n", ".\r\n..\r\n", true, false, false,
	     0),
	CASE("a dot before text is taken off", ".a\r\n.\r\n", "a\r\n", true, false, false, 0),
	CASE("a dot within a line stays", "a.\r\nb.c\r\n.\r\n", "a.\r\nb.c\r\n", true, false, false,
	     0),
	CASE("LF.LF does not end", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", true, false, true, 0),
	CASE("LF.CRLF does not end", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", true, false, true, 0),
	CASE("CRLF.LF does not end", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", true, false, true, 0),
	CASE("CR.CR does not end", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", true, true, false, 0),
	CASE("CRLF.CR does not end", "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", true, true, false, 0),
	CASE("CR.CRLF does not end", "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", true, true, false, 0),
	CASE("LFCR.CRLF does not end", "a\n\r.\r\n\r\n.\r\n", "a\n\r.\r\n\r\n", true, true, true,
	     0),
	CASE("CRLF.CRCRLF does not end", ".\r\r\nx\r\n.\r\n", "\r\r\nx\r\n", true, true, false, 0),
	CASE("CRCRLF is a bare CR and a line end", "a\r\r\n.\r\n", "a\r\r\n", true, true, false, 0),
	CASE("NUL is data", "a\0b\r\n.\r\n", "a\0b\r\n", true, false, false, 0),
	CASE("empty lines are lines", "\r\n\r\n.\r\n", "\r\n\r\n", true, false, false, 0),
	CASE("a lone LF is bare", "\n\r\n.\r\n", "\n\r\n", true, false, true, 0),
	CASE("no end, no end", "a\r\n.", "a\r\n", false, false, false, 0),
	CASE("not even behind the dot's CR", "a\r\n.\r", "a\r\n", false, false, false, 0),
};

static void test_every_cut_gives_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		for (size_t first = 1; first <= cases[i].in.n; first++)
			for (size_t step = 1; step <= cases[i].in.n; step++) {
				struct decoded got;

				decode(cases[i].in, first, step, &got);
				if (!str_eq(str_mem(got.p, got.n), cases[i].out))
					fail_msg("%s: other bytes (%zu, %zu)", cases[i].name, first,
						 step);
				if (dot_in_ended(&got.d) != cases[i].ended ||
				    got.rest != cases[i].rest)
					fail_msg("%s: other end (%zu, %zu)", cases[i].name, first,
						 step);
				if (got.d.bare_cr != cases[i].bare_cr ||
				    got.d.bare_lf != cases[i].bare_lf)
					fail_msg("%s: bare (%zu, %zu)", cases[i].name, first, step);
			}
}

static void test_octets_above_127_are_seen_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < 20; i++) {
		char text[] = "aaaaaaaaaaaaaaaaaaaa\r\n.\r\n";
		struct decoded got;

		decode(str_of(text), 20, 1, &got);
		assert_false(got.d.any_8bit);
		text[i] = (char)0x80;
		decode(str_of(text), 20, 1, &got);
		assert_true(got.d.any_8bit);
	}
}

static void test_a_body_without_dots_is_one_run(void **state)
{
	struct dot_in d;
	str in = STR("From: a\r\n\r\nb.\r\nc\r\n.\r\n"), run;

	(void)state;
	dot_in_init(&d);
	assert_true(dot_in_next(&d, &in, &run));
	assert_int_equal(run.n, 18);
	assert_false(dot_in_next(&d, &in, &run));
	assert_true(dot_in_ended(&d));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut_gives_the_same),
		cmocka_unit_test(test_octets_above_127_are_seen_anywhere),
		cmocka_unit_test(test_a_body_without_dots_is_one_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
