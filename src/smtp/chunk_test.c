#include "smtp/chunk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Takes a body in chunks of `size` octets that arrive in pieces of `step`, each in its own allocation, so that a read past
 * one is seen by the sanitizer. */
static void take(str body, size_t size, size_t step, bool empty_last, struct chunk *c)
{
	size_t seen = 0;

	chunk_init(c);
	while (seen < body.n || !chunk_ended(c)) {
		size_t left = body.n - seen, n = MIN(size, left);

		chunk_begin(c, n, !left || (!empty_last && n == left));
		while (!chunk_done(c)) {
			size_t more = MIN(step, body.n - seen);
			char *piece = malloc(more);
			str in = str_mem(piece, more), run;

			assert_non_null(piece);
			memcpy(piece, body.p + seen, more);
			assert_true(chunk_next(c, &in, &run));
			assert_true(run.n > 0 && str_eq(run, str_mem(body.p + seen, run.n)));
			assert_true(!in.n || chunk_done(c));
			assert_false(chunk_next(c, &in, &run));
			seen += more - in.n;
			free(piece);
		}
		assert_int_equal(c->bytes, seen);
	}
}

#define LINE_998                                                                                   \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"012345678901234567890123456789"

enum { CR = 1, LF = 2, EIGHT = 4, NUL = 8, LONG = 16 };

static const struct {
	const char *name;
	str body;
	unsigned found;
	uint64_t line_bytes; /* behind its end */
} cases[] = {
	{ "an empty body", STR(""), 0, 0 },
	{ "a line", STR("a\r\n"), 0, 0 },
	{ "a body without an end", STR("a\r\nbc"), 0, 2 },
	{ "dots mean nothing", STR(".\r\n..\r\n.\r\n"), 0, 0 },
	{ "a bare LF", STR("a\nb\r\n"), LF, 0 },
	{ "a bare LF at the start", STR("\na\r\n"), LF, 0 },
	{ "a bare LF at the end", STR("a\n"), LF, 2 },
	{ "a bare CR", STR("a\rb\r\n"), CR, 0 },
	{ "a bare CR at the start", STR("\ra\r\n"), CR, 0 },
	{ "a bare CR at the end", STR("a\r\nb\r"), CR, 2 },
	{ "CR CR LF", STR("a\r\r\n"), CR, 0 },
	{ "LF CR LF", STR("a\n\r\n"), LF, 0 },
	{ "LF CR", STR("a\n\r"), LF | CR, 3 },
	{ "CR LF LF", STR("a\r\n\n"), LF, 1 },
	{ "empty lines", STR("\r\n\r\n"), 0, 0 },
	{ "8 bits", STR("caf\xc3\xa9\r\n"), EIGHT, 0 },
	{ "NUL", STR("a\0b\r\n"), NUL, 0 },
	{ "a line as long as one may be", STR(LINE_998 "\r\n"), 0, 0 },
	{ "one that is longer", STR(LINE_998 "8\r\n"), LONG, 0 },
	{ "a bare LF ends no line",
	  STR(LINE_998 "\n"
		       "8\r\n"),
	  LONG | LF, 0 },
};

static void check(size_t i, const struct chunk *c)
{
	unsigned found = (c->bare_cr ? CR : 0) | (c->bare_lf ? LF : 0) | (c->any_8bit ? EIGHT : 0) |
			 (c->any_nul ? NUL : 0) | (c->long_line ? LONG : 0);

	if (found != cases[i].found)
		fail_msg("%s: found %x", cases[i].name, found);
	if (c->line_bytes != cases[i].line_bytes)
		fail_msg("%s: %llu octets in the last line", cases[i].name,
			 (unsigned long long)c->line_bytes);
	if (chunk_fits_data(c) != !(cases[i].found & (unsigned)~EIGHT))
		fail_msg("%s: DATA", cases[i].name);
	assert_true(chunk_ended(c) && c->bytes == cases[i].body.n);
}

static void test_every_cut_gives_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		for (size_t size = 1; size <= MIN(cases[i].body.n + 1, 40); size++)
			for (size_t step = 1; step <= MIN(cases[i].body.n + 1, 40); step++) {
				struct chunk c;

				take(cases[i].body, size, step, false, &c);
				check(i, &c);
				take(cases[i].body, size, step, true, &c);
				check(i, &c);
			}
}

static void test_what_follows_a_chunk_is_left_alone(void **state)
{
	struct chunk c;
	str in = STR("abcBDAT 3 LAST\r\n"), run;

	(void)state;
	chunk_init(&c);
	chunk_begin(&c, 3, false);
	assert_true(chunk_next(&c, &in, &run));
	assert_true(str_eq(run, STR("abc")));
	assert_true(chunk_done(&c));
	assert_false(chunk_ended(&c));
	assert_false(chunk_next(&c, &in, &run));
	assert_true(str_starts(in, STR("BDAT")));
}

static void test_a_chunk_larger_than_memory_is_only_a_number(void **state)
{
	struct chunk c;
	str in = STR("abc"), run;

	(void)state;
	chunk_init(&c);
	chunk_begin(&c, INT64_MAX, true);
	assert_true(chunk_next(&c, &in, &run));
	assert_true(c.left == (uint64_t)INT64_MAX - 3 && !chunk_ended(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut_gives_the_same),
		cmocka_unit_test(test_what_follows_a_chunk_is_left_alone),
		cmocka_unit_test(test_a_chunk_larger_than_memory_is_only_a_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
