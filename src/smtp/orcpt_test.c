#include "smtp/orcpt.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *name, *text;
	bool utf8, valid;
	const char *type, *address;
} cases[] = {
	{ "an address of RFC 822", "rfc822;Bob+2Bx@example.com", false, true, "rfc822",
	  "Bob+x@example.com" },
	{ "an equal sign is no xtext", "X400;/c=us", false, false, NULL, NULL },
	{ "any other type", "X400;/c+3Dus", false, true, "X400", "/c=us" },
	{ "no grammar binds the address", "rfc822;no+20address", false, true, "rfc822",
	  "no address" },
	{ "a type is needed", "Bob@example.com", false, false, NULL, NULL },
	{ "an empty one is none", ";Bob@example.com", false, false, NULL, NULL },
	{ "nor one with a space in it", "a b;c", false, false, NULL, NULL },
	{ "an address is needed", "rfc822;", false, false, NULL, NULL },
	{ "a line end cannot be brought in", "rfc822;a+0D+0Ab", false, false, NULL, NULL },
	{ "8 bits are encoded", "rfc822;\xc3\xa9@x", false, false, NULL, NULL },
	{ "utf-8 in ASCII", "utf-8;\\x{E9}l\\x{1F600}@x", false, true, "utf-8",
	  "\xc3\xa9l\xf0\x9f\x98\x80@x" },
	{ "in lower case too", "UTF-8;\\x{e9}@x", false, true, "UTF-8", "\xc3\xa9@x" },
	{ "plus, equal and backslash are encoded", "utf-8;a\\x{2B}\\x{3D}\\x{5C}\\x{20}", false,
	  true, "utf-8", "a+=\\ " },
	{ "a plus is not itself", "utf-8;a+20b", false, false, NULL, NULL },
	{ "an equal sign is not either", "utf-8;a=b", false, false, NULL, NULL },
	{ "nor a backslash", "utf-8;a\\b", false, false, NULL, NULL },
	{ "no digits", "utf-8;\\x{}", false, false, NULL, NULL },
	{ "other digits", "utf-8;\\x{G}", false, false, NULL, NULL },
	{ "too many digits", "utf-8;\\x{0000041}", false, false, NULL, NULL },
	{ "no end", "utf-8;\\x{41", false, false, NULL, NULL },
	{ "a surrogate", "utf-8;\\x{D800}", false, false, NULL, NULL },
	{ "past the end of Unicode", "utf-8;\\x{110000}", false, false, NULL, NULL },
	{ "a line end, encoded", "utf-8;\\x{0A}", false, false, NULL, NULL },
	{ "a control above 127, encoded", "utf-8;\\x{85}", false, false, NULL, NULL },
	{ "UTF-8 as it is needs SMTPUTF8", "utf-8;\xc3\xa9@x", false, false, NULL, NULL },
	{ "and is taken with it", "utf-8;\xc3\xa9@\\x{E9}", true, true, "utf-8",
	  "\xc3\xa9@\xc3\xa9" },
	{ "when it is UTF-8", "utf-8;\xe9@x", true, false, NULL, NULL },
	{ "in no other type", "rfc822;\xc3\xa9@x", true, false, NULL, NULL },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		char to[SMTP_ORCPT_MAX];
		str type, address;
		int r = orcpt_decode(str_of(cases[i].text), cases[i].utf8, to, &type, &address);

		if ((r == 0) != cases[i].valid || (r < 0 && r != -EINVAL))
			fail_msg("%s: %d", cases[i].name, r);
		if (orcpt_valid(str_of(cases[i].text), cases[i].utf8) != cases[i].valid)
			fail_msg("%s: validity", cases[i].name);
		if (r == 0 && (!str_eq(type, str_of(cases[i].type)) ||
			       !str_eq(address, str_of(cases[i].address))))
			fail_msg("%s: %.*s %.*s", cases[i].name, STR_ARG(type), STR_ARG(address));
	}
}

static void test_it_has_500_octets_at_most(void **state)
{
	char text[SMTP_ORCPT_MAX + 1] = "rfc822;";

	(void)state;
	memset(text + 7, 'a', sizeof text - 7);
	assert_true(orcpt_valid(str_mem(text, SMTP_ORCPT_MAX), false));
	assert_false(orcpt_valid(str_mem(text, SMTP_ORCPT_MAX + 1), false));
}

static void test_encoding(void **state)
{
	struct buf b;
	char long_one[200];

	(void)state;
	buf_init(&b, 2000);
	assert_int_equal(orcpt_encode(STR("a+b@x"), &b), 0);
	assert_true(str_eq(buf_str(&b), STR("rfc822;a+2Bb@x")));
	buf_reset(&b);
	assert_int_equal(orcpt_encode(STR("\xc3\xa9+ \xf0\x9f\x98\x80@x"), &b), 0);
	assert_true(str_eq(buf_str(&b), STR("utf-8;\\x{E9}\\x{2B}\\x{20}\\x{1F600}@x")));
	assert_int_equal(orcpt_encode(STR("\xc3"), &b), -EINVAL);
	assert_int_equal(orcpt_encode(STR("\xc2\x82@x"), &b), -EINVAL);
	memset(long_one, '+', sizeof long_one);
	assert_int_equal(orcpt_encode(str_mem(long_one, sizeof long_one), &b), -EMSGSIZE);
	assert_int_equal(b.n, strlen("utf-8;\\x{E9}\\x{2B}\\x{20}\\x{1F600}@x"));
	buf_done(&b);
	buf_init(&b, 6);
	assert_int_equal(orcpt_encode(STR("a"), &b), -ENOBUFS);
	assert_int_equal(orcpt_encode(STR("\xc3\xa9"), &b), -ENOBUFS);
	assert_int_equal(b.n, 0);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_it_has_500_octets_at_most),
		cmocka_unit_test(test_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
