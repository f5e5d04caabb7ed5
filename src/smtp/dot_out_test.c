#include "smtp/dot_out.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *requirement;
	str body, want; /* want.p NULL: -EBADMSG */
} cases[] = {
	{ "nothing is a dot", { "", 0 }, STR(".\r\n") },
	{ "lines go as they are", STR("a\r\nb\r\n"), STR("a\r\nb\r\n.\r\n") },
	{ "a last line without an end gets one", STR("a\r\nb"), STR("a\r\nb\r\n.\r\n") },
	{ "a dot at the start is doubled", STR(".a\r\n"), STR("..a\r\n.\r\n") },
	{ "a lone dot is doubled", STR("a\r\n.\r\nb\r\n"), STR("a\r\n..\r\nb\r\n.\r\n") },
	{ "a dot is the whole body", STR("."), STR("..\r\n.\r\n") },
	{ "two dots are three", STR("..\r\n"), STR("...\r\n.\r\n") },
	{ "a dot inside a line stays", STR("a.b.\r\n"), STR("a.b.\r\n.\r\n") },
	{ "every line is looked at", STR(".\r\n.\r\n.a\r\n"), STR("..\r\n..\r\n..a\r\n.\r\n") },
	{ "NUL and high bytes go as they are", STR("\0\x80\xff\r\n"), STR("\0\x80\xff\r\n.\r\n") },
	{ "empty lines stay", STR("\r\n\r\n"), STR("\r\n\r\n.\r\n") },
	{ "a bare LF is not sent", STR("a\nb\r\n"), { NULL, 0 } },
	{ "a bare LF at the start is not sent", STR("\nb\r\n"), { NULL, 0 } },
	{ "a bare CR is not sent", STR("a\rb\r\n"), { NULL, 0 } },
	{ "a bare CR at the end is not sent", STR("a\r"), { NULL, 0 } },
	{ "CR CR LF is not sent", STR("a\r\r\n"), { NULL, 0 } },
	{ "LF dot LF is not sent", STR("a\n.\nMAIL FROM:<x>\r\n"), { NULL, 0 } },
	{ "LF dot CRLF is not sent", STR("a\n.\r\nMAIL FROM:<x>\r\n"), { NULL, 0 } },
	{ "CR dot CR is not sent", STR("a\r.\rMAIL FROM:<x>\r\n"), { NULL, 0 } },
	{ "CRLF dot LF is not sent", STR("a\r\n.\nb\r\n"), { NULL, 0 } },
};

static int encode(str body, size_t chunk, struct buf *to)
{
	struct dot_out d;
	str in, piece;
	int r;

	dot_out_init(&d);
	while (body.n > 0) {
		in = str_first(body, chunk);
		body = str_from(body, chunk);
		while ((r = dot_out_next(&d, &in, &piece)) == 1)
			assert_int_equal(buf_add(to, piece), 0);
		if (r < 0)
			return r;
	}
	r = dot_out_end(&d, &piece);
	if (r < 0)
		return r;
	return buf_add(to, piece);
}

static void bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		for (size_t chunk = 1; chunk < 12; chunk++) {
			struct buf b;
			int r;

			buf_init(&b, 1000);
			r = encode(cases[i].body, chunk, &b);
			if (r != (cases[i].want.p ? 0 : -EBADMSG))
				fail_msg("%s, in chunks of %zu: %d", cases[i].requirement, chunk,
					 r);
			if (r == 0 && !str_eq(buf_str(&b), cases[i].want))
				fail_msg("%s, in chunks of %zu: %.*s", cases[i].requirement, chunk,
					 STR_ARG(buf_str(&b)));
			buf_done(&b);
		}
	}
}

static void a_body_without_dots_is_one_piece(void **state)
{
	struct dot_out d;
	str in = STR("Subject: x\r\n\r\none\r\ntwo\r\n"), whole = in, piece;

	(void)state;
	dot_out_init(&d);
	assert_int_equal(dot_out_next(&d, &in, &piece), 1);
	assert_ptr_equal(piece.p, whole.p);
	assert_int_equal(piece.n, whole.n);
	assert_int_equal(dot_out_next(&d, &in, &piece), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),
		cmocka_unit_test(a_body_without_dots_is_one_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
