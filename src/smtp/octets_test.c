#include "smtp/octets.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *name;
	str text;
	size_t length;
	uint32_t code;
} characters[] = {
	{ "ASCII", STR("A"), 1, 'A' },
	{ "NUL is a character", STR("\0"), 1, 0 },
	{ "two octets, the first", STR("\xc2\x80"), 2, 0x80 },
	{ "two octets, the last", STR("\xdf\xbf"), 2, 0x7ff },
	{ "three octets, the first", STR("\xe0\xa0\x80"), 3, 0x800 },
	{ "below the surrogates", STR("\xed\x9f\xbf"), 3, 0xd7ff },
	{ "above the surrogates", STR("\xee\x80\x80"), 3, 0xe000 },
	{ "three octets, the last", STR("\xef\xbf\xbf"), 3, 0xffff },
	{ "four octets, the first", STR("\xf0\x90\x80\x80"), 4, 0x10000 },
	{ "four octets, the last", STR("\xf4\x8f\xbf\xbf"), 4, 0x10ffff },
	{ "nothing is none", STR(""), 0, 0 },
	{ "a trailing octet is none", STR("\x80"), 0, 0 },
	{ "overlong in two", STR("\xc1\xbf"), 0, 0 },
	{ "overlong in three", STR("\xe0\x9f\xbf"), 0, 0 },
	{ "overlong in four", STR("\xf0\x8f\xbf\xbf"), 0, 0 },
	{ "a surrogate", STR("\xed\xa0\x80"), 0, 0 },
	{ "past the end of Unicode", STR("\xf4\x90\x80\x80"), 0, 0 },
	{ "five octets", STR("\xf8\x88\x80\x80\x80"), 0, 0 },
	{ "cut short", STR("\xe2\x82"), 0, 0 },
	{ "continued by ASCII",
	  STR("\xc3"
	      "a"),
	  0, 0 },
	{ "continued by a first octet", STR("\xe2\x82\xc3"), 0, 0 },
};

static void test_characters(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(characters); i++) {
		char again[4];
		uint32_t code = 0;
		size_t n = utf8_character(characters[i].text, &code);

		if (n != characters[i].length || (n && code != characters[i].code))
			fail_msg("%s: %zu octets, %x", characters[i].name, n, code);
		if (n && !str_eq(str_mem(again, utf8_put(code, again)), characters[i].text))
			fail_msg("%s: written otherwise", characters[i].name);
	}
}

static void test_validity(void **state)
{
	(void)state;
	assert_true(utf8_valid(STR("")));
	assert_true(utf8_valid(STR("plain")));
	assert_true(utf8_valid(STR("j\xc3\xb6rg \xf0\x9f\x98\x80")));
	assert_false(utf8_valid(STR("j\xf6rg")));
	/* U+0085 is a line end to some terminals, U+009B begins their commands. */
	assert_false(utf8_valid(STR("a\xc2\x85"
				    "b")));
	assert_false(utf8_valid(STR("\xc2\x9b")));
	assert_true(utf8_valid(STR("\xc2\xa0")));
}

static void test_kinds_of_octets(void **state)
{
	(void)state;
	assert_true(octets_has(STR("a\0"), '\0'));
	assert_false(octets_has(STR_NONE, '\0'));
	assert_false(octets_any_control(STR_NONE));
	assert_false(octets_any_control(STR(" ~\x80\xff")));
	assert_true(octets_any_control(STR("a\x1f")) && octets_any_control(STR("\x7fz")) &&
		    octets_any_control(STR("a\0z")));
	for (int c = 0; c < 256; c++) {
		const char *hex =
			c ? strchr("0123456789abcdef", c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
		bool letter = (c | 32) >= 'a' && (c | 32) <= 'z' && c < 128;

		assert_int_equal(octet_is_alnum((char)c), letter || (hex && c <= '9'));
		assert_int_equal(octet_hex_value((char)c), !hex       ? -1
							   : c <= '9' ? c - '0'
								      : (c | 32) - 'a' + 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_characters),
		cmocka_unit_test(test_validity),
		cmocka_unit_test(test_kinds_of_octets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
