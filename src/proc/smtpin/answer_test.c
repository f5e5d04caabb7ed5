#include "proc/smtpin/answer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 2034: an enhanced code of the reply's own class; RFC 5321 §4.5.3.1.5: 512 octets. */
static void test_every_answer_is_a_reply(void **state)
{
	(void)state;
	for (enum answer a = ANSWER_START_TLS; a < ANSWER_COUNT; a++) {
		str text;

		if (a == ANSWER_QUEUED || a == ANSWER_HELLO ||
		    (a >= ANSWER_TAKE_CHUNK && a <= ANSWER_FACTS_FIRST))
			continue;
		text = answer_text(a);
		assert_true(text.n > 6 && text.n <= 512);
		assert_true(str_find(text, STR("\r\n")) == (ssize_t)text.n - 2);
		assert_true(is_digit(text.p[0]) && is_digit(text.p[1]) && is_digit(text.p[2]));
		assert_true(text.p[3] == ' ');
		for (size_t i = 0; i < text.n - 2; i++)
			assert_true(text.p[i] >= ' ' && text.p[i] <= '~');
		if (a == ANSWER_START_DATA)
			continue;
		if (text.p[4] != text.p[0] || text.p[5] != '.' || !is_digit(text.p[6]))
			fail_msg("%.*s", STR_ARG(answer_line(a)));
	}
}

static void test_every_complaint_has_an_answer(void **state)
{
	(void)state;
	for (enum smtp_complaint c = SMTP_BAD_OCTETS; c <= SMTP_PARAMETER_INVALID; c++) {
		assert_true(answer_is_mistake(answer_to_complaint(c, SMTP_MAIL)));
		assert_true(answer_text(answer_to_complaint(c, SMTP_RCPT)).p[0] == '5');
	}
}

static void test_refusals_and_deferrals_are_no_mistakes(void **state)
{
	(void)state;
	assert_false(answer_is_mistake(ANSWER_NO_SUCH_USER));
	assert_false(answer_is_mistake(ANSWER_TOO_MANY_RECIPIENTS));
	assert_false(answer_is_mistake(ANSWER_MAIL_REFUSED));
	assert_true(answer_is_mistake(ANSWER_MAIL_FIRST));
	assert_true(answer_is_deferral(ANSWER_TOO_MANY_RECIPIENTS));
	assert_false(answer_is_deferral(ANSWER_NO_SUCH_USER));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_answer_is_a_reply),
		cmocka_unit_test(test_every_complaint_has_an_answer),
		cmocka_unit_test(test_refusals_and_deferrals_are_no_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
