#include "smtp/hidden_dot.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TEXT(literal)                                                                              \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static const struct {
	const char *name;
	str body;
	bool found;
} cases[] = {
	{ "text holds none", TEXT("a\r\n.\r\n..\r\n"), false },
	{ "a NUL before a dot hides it", TEXT("a\r\n\0.\r\n"), true },
	{ "in the first line too", TEXT("\0.\r\n"), true },
	{ "and in the last, which has no end", TEXT("a\r\n\0."), true },
	{ "other controls as well", TEXT("a\r\n\x01\x7f.\x08\r\n"), true },
	{ "a dot that starts its line is stuffed", TEXT("a\r\n.\0\r\n"), false },
	{ "two dots are no end", TEXT("a\r\n\0..\r\n"), false },
	{ "nor is a dot in a text", TEXT("a\r\n\0.a\r\n\0a.\r\na\0.\r\n"), false },
	{ "a tab and a space are text", TEXT("a\r\n\t.\r\n .\r\n"), false },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct hidden_dot h = { 0 };

		hidden_dot_feed(&h, cases[i].body);
		hidden_dot_finish(&h);
		if (h.found != cases[i].found)
			fail_msg("%s", cases[i].name);
	}
}

/* As a server would read it that drops controls from each line: by the definition, at leisure. */
static bool read_slowly(str body)
{
	while (body.n) {
		str line, rest = STR_NONE;
		size_t dots = 0, others = 0;

		str_cut(body, '\n', &line, &rest);
		for (size_t i = 0; i < line.n; i++) {
			dots += line.p[i] == '.';
			others += line.p[i] == 'a';
		}
		while (line.n && line.p[0] == '\r')
			line = str_from(line, 1);
		if (dots == 1 && !others && line.p[0] != '.')
			return true;
		body = rest;
	}
	return false;
}

/* Every body of up to six octets of a small alphabet, cut at every place. */
static void test_all_short_bodies(void **state)
{
	static const char alphabet[] = { '\0', '.', '\r', '\n', 'a' };
	char text[6];

	(void)state;
	for (size_t n = 1; n <= sizeof(text); n++)
		for (size_t number = 0; number < 15625; number++) {
			size_t rest = number;
			str body = str_mem(text, n);

			for (size_t i = 0; i < n; i++, rest /= sizeof(alphabet))
				text[i] = alphabet[rest % sizeof(alphabet)];
			if (rest)
				break;
			for (size_t cut = 0; cut < n; cut++) {
				struct hidden_dot h = { 0 };

				hidden_dot_feed(&h, str_first(body, cut));
				hidden_dot_feed(&h, str_from(body, cut));
				hidden_dot_finish(&h);
				assert_int_equal(h.found, read_slowly(body));
			}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_all_short_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
