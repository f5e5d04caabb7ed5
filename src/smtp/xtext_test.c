#include "smtp/xtext.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *name, *text;
	int r;
	str decoded;
} cases[] = {
	{ "plain text stands for itself", "a.b@c!~", 0, STR("a.b@c!~") },
	{ "nothing is xtext", "", 0, STR("") },
	{ "an encoded space", "a+20b", 0, STR("a b") },
	{ "plus and equal are encoded", "1+2B1+3D2", 0, STR("1+1=2") },
	{ "NUL can be said", "+00", 0, STR("\0") },
	{ "and every other octet", "+FF+0A", 0, STR("\xff\n") },
	{ "lower case digits are understood", "+c3+a9", 0, STR("\xc3\xa9") },
	{ "a bare plus is none", "a+", -EINVAL, STR("") },
	{ "a plus with one digit is none", "a+2", -EINVAL, STR("") },
	{ "nor with a letter", "a+2G", -EINVAL, STR("") },
	{ "nor in front of it", "a+G2", -EINVAL, STR("") },
	{ "an equal sign is none", "a=b", -EINVAL, STR("") },
	{ "a space is none", "a b", -EINVAL, STR("") },
	{ "a control is none", "a\tb", -EINVAL, STR("") },
	{ "DEL is none", "\x7f", -EINVAL, STR("") },
	{ "8 bits are none", "\xc3\xa9", -EINVAL, STR("") },
	{ "more than there is room for", "0123456789abcdefg", -EMSGSIZE, STR("") },
	{ "as much as there is room for", "0123456789abcde+66", 0, STR("0123456789abcdef") },
};

static void test_decoding(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		char to[16];
		str decoded;
		int r = xtext_decode(str_of(cases[i].text), to, sizeof to, &decoded);

		if (r != cases[i].r)
			fail_msg("%s: %d", cases[i].name, r);
		if (r == 0 && !str_eq(decoded, cases[i].decoded))
			fail_msg("%s: %.*s", cases[i].name, STR_ARG(decoded));
		if (xtext_valid(str_of(cases[i].text)) != (cases[i].r != -EINVAL))
			fail_msg("%s: validity", cases[i].name);
	}
}

static void test_every_octet_comes_back(void **state)
{
	char all[256], to[256];
	struct buf text;
	str decoded;

	(void)state;
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (char)i;
	buf_init(&text, 1024);
	assert_int_equal(xtext_encode(str_mem(all, sizeof all), &text), 0);
	for (size_t i = 0; i < text.n; i++)
		assert_true(text.p[i] > ' ' && text.p[i] <= '~');
	assert_int_equal(xtext_decode(buf_str(&text), to, sizeof to, &decoded), 0);
	assert_true(str_eq(decoded, str_mem(all, sizeof all)));
	buf_done(&text);
}

static void test_what_does_not_fit_leaves_nothing(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 6);
	assert_int_equal(buf_add(&text, STR("x")), 0);
	assert_int_equal(xtext_encode(STR("ab c"), &text), -ENOBUFS);
	assert_true(str_eq(buf_str(&text), STR("x")));
	assert_int_equal(xtext_encode(STR("a b"), &text), 0);
	assert_true(str_eq(buf_str(&text), STR("xa+20b")));
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decoding),
		cmocka_unit_test(test_every_octet_comes_back),
		cmocka_unit_test(test_what_does_not_fit_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
