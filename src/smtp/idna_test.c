#include "smtp/idna.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* 40 letters of two octets: 80 octets that punycode makes shorter than a label may be. */
#define O10 "\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"
#define O40 O10 O10 O10 O10

static const struct {
	const char *name, *domain;
	int r;
	const char *ascii, *utf8;
} cases[] = {
	{ "a name in ASCII is its own form", "Mail.Example.ORG", 0, "mail.example.org",
	  "mail.example.org" },
	{ "a U-label becomes an A-label",
	  "b\xc3\xbc"
	  "cher.example",
	  0, "xn--bcher-kva.example",
	  "b\xc3\xbc"
	  "cher.example" },
	{ "an A-label comes back as U-label", "XN--Bcher-KVA.example", 0, "xn--bcher-kva.example",
	  "b\xc3\xbc"
	  "cher.example" },
	{ "capitals are one letter with the others",
	  "B\xc3\x9c"
	  "cher.Example",
	  0, "xn--bcher-kva.example",
	  "b\xc3\xbc"
	  "cher.example" },
	{ "every label is looked at", "\xc3\xa9.a.\xe4\xbe\x8b\xe3\x81\x88", 0,
	  "xn--9ca.a.xn--r8jz45g", "\xc3\xa9.a.\xe4\xbe\x8b\xe3\x81\x88" },
	{ "sharp s stays what it is",
	  "stra\xc3\x9f"
	  "e.example",
	  0, "xn--strae-oqa.example",
	  "stra\xc3\x9f"
	  "e.example" },
	{ "a composed letter and its parts are one",
	  "bu\xcc\x88"
	  "cher.example",
	  0, "xn--bcher-kva.example",
	  "b\xc3\xbc"
	  "cher.example" },
	{ "an underscore passes in ASCII", "_a.b_c", 0, "_a.b_c", "_a.b_c" },
	{ "nothing is no name", "", -EINVAL, NULL, NULL },
	{ "Latin-1 is no UTF-8",
	  "b\xfc"
	  "cher.example",
	  -EINVAL, NULL, NULL },
	{ "an empty label is none", "\xc3\xa9..example", -EINVAL, NULL, NULL },
	{ "a final dot is none", "\xc3\xa9.example.", -EINVAL, NULL, NULL },
	{ "another dot than the dot is none",
	  "a\xe3\x80\x82"
	  "b.\xc3\xa9",
	  -EINVAL, NULL, NULL },
	{ "nor a full-width one",
	  "example\xef\xbc\x8e"
	  "cz",
	  -EINVAL, NULL, NULL },
	{ "a full-width @ is none",
	  "a\xef\xbc\xa0"
	  "b",
	  -EINVAL, NULL, NULL },
	{ "a space is none", "a b.\xc3\xa9", -EINVAL, NULL, NULL },
	{ "a symbol is none", "\xe2\x98\x83\xe2\x80\xae.example", -EINVAL, NULL, NULL },
	{ "a combining mark begins no label",
	  "\xcc\x88"
	  "a.example",
	  -EINVAL, NULL, NULL },
	{ "a label begins with no hyphen", "-\xc3\xa9.example", -EINVAL, NULL, NULL },
	{ "both directions of writing in one label", "a\xd7\x90.example", -EINVAL, NULL, NULL },
	{ "an A-label beside a U-label must decode", "xn--a.\xc3\xa9", -EINVAL, NULL, NULL },
	{ "a label may be long in UTF-8", O40 ".x", 0, NULL, O40 ".x" },
	{ "but not in ASCII",
	  "\xe4\xbe\x8b\xe3\x81\x88\xe5\xad\x97\xe6\xbc\xa2\xe8\xaa\x9e"
	  "0123456789012345678901234567890123456789012345678901234567890.x",
	  -EMSGSIZE, NULL, NULL },
};

static void test_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		char text[IDNA_SIZE];
		str found;
		int r = idna_to_ascii(str_of(cases[i].domain), text, &found);

		if (r != cases[i].r)
			fail_msg("%s: %d", cases[i].name, r);
		if (r == 0 && cases[i].ascii && !str_eq(found, str_of(cases[i].ascii)))
			fail_msg("%s: %.*s", cases[i].name, STR_ARG(found));
		r = idna_to_utf8(str_of(cases[i].domain), text, &found);
		if (r != cases[i].r)
			fail_msg("%s: %d to UTF-8", cases[i].name, r);
		if (r == 0 && !str_eq(found, str_of(cases[i].utf8)))
			fail_msg("%s: %.*s", cases[i].name, STR_ARG(found));
	}
}

static void test_a_nul_is_no_name(void **state)
{
	char text[IDNA_SIZE];
	str found;

	(void)state;
	assert_int_equal(idna_to_ascii(STR("a\0.example"), text, &found), -EINVAL);
	assert_int_equal(idna_to_ascii(STR("\xc3\xa9\0.example"), text, &found), -EINVAL);
}

/* An A-label that nothing can have been made into is a name of DNS like any other, but says no letters. */
static void test_a_false_a_label(void **state)
{
	char text[IDNA_SIZE];
	str found;

	(void)state;
	assert_int_equal(idna_to_ascii(STR("xn--a.example"), text, &found), 0);
	assert_int_equal(idna_to_utf8(STR("xn--a.example"), text, &found), -EINVAL);
}

static void test_lengths(void **state)
{
	char domain[400], text[IDNA_SIZE];
	str found;
	int n;

	(void)state;
	memset(domain, 'a', sizeof domain);
	assert_int_equal(idna_to_ascii(str_mem(domain, 256), text, &found), -EMSGSIZE);
	/* Short in UTF-8, too long in ASCII: "xn--9ca." is 8 octets for 3. */
	for (n = 0; n < 80; n++)
		memcpy(domain + 3 * n, "\xc3\xa9.", 3);
	assert_int_equal(idna_to_ascii(str_mem(domain, 239), text, &found), -EMSGSIZE);
	assert_int_equal(idna_to_ascii(str_mem(domain, 30 * 3 - 1), text, &found), 0);
	assert_int_equal(found.n, 30 * 8 - 1);
	/* The other way round: every "xn--22cdfh1b8fsa" says 21 octets in 16. */
	for (n = 0; n < 14; n++)
		memcpy(domain + 17 * n, "xn--22cdfh1b8fsa.", 17);
	assert_int_equal(idna_to_ascii(str_mem(domain, 14 * 17 - 1), text, &found), 0);
	assert_int_equal(idna_to_utf8(str_mem(domain, 14 * 17 - 1), text, &found), -EMSGSIZE);
	assert_int_equal(idna_to_utf8(str_mem(domain, 11 * 17 - 1), text, &found), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_a_nul_is_no_name),
		cmocka_unit_test(test_a_false_a_label),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
