#include "smtp/ehlo.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *requirement;
	const char *bytes;
	struct ehlo want;
} cases[] = {
	{ "a name alone offers nothing", "250 mx.example\r\n", { 0 } },
	{ "the first line is a name, whatever it looks like", "250 PIPELINING\r\n", { 0 } },
	{ "keywords are read",
	  "250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n",
	  { EHLO_PIPELINING | EHLO_8BITMIME | EHLO_ENHANCEDSTATUSCODES | EHLO_DSN, 0, 0 } },
	{ "case does not matter",
	  "250-mx\r\n250-pipelining\r\n250 StartTLS\r\n",
	  { EHLO_PIPELINING | EHLO_STARTTLS, 0, 0 } },
	{ "SIZE has a number", "250-mx\r\n250 SIZE 52428800\r\n", { EHLO_SIZE, 0, 52428800 } },
	{ "SIZE without a number says nothing", "250-mx\r\n250 SIZE\r\n", { EHLO_SIZE, 0, 0 } },
	{ "SIZE with nonsense says nothing", "250-mx\r\n250 SIZE 1O0\r\n", { EHLO_SIZE, 0, 0 } },
	{ "a SIZE past any number says nothing",
	  "250-mx\r\n250 SIZE 99999999999999999999999\r\n",
	  { EHLO_SIZE, 0, 0 } },
	{ "XCLIENT lists attributes",
	  "250-mx\r\n250 XCLIENT NAME ADDR  LOGIN BOGUS\r\n",
	  { EHLO_XCLIENT, XCLIENT_NAME | XCLIENT_ADDR | XCLIENT_LOGIN, 0 } },
	{ "a keyword with parameters it does not know is offered",
	  "250-mx\r\n250 AUTH PLAIN\r\n",
	  { EHLO_AUTH, 0, 0 } },
	{ "the old AUTH= is another keyword", "250-mx\r\n250 AUTH=PLAIN\r\n", { 0 } },
	{ "a keyword must be whole", "250-mx\r\n250-STARTTLSX\r\n250 X-STARTTLS\r\n", { 0 } },
	{ "unknown keywords are skipped",
	  "250-mx\r\n250-TURN\r\n250 CHUNKING\r\n",
	  { EHLO_CHUNKING, 0, 0 } },
};

static void replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct reply r;
		struct ehlo e;
		size_t used;

		reply_init(&r);
		assert_int_equal(reply_feed(&r, str_of(cases[i].bytes), &used), 1);
		ehlo_parse(&r, &e);
		if (e.offers != cases[i].want.offers || e.xclient != cases[i].want.xclient ||
		    e.size_bytes != cases[i].want.size_bytes)
			fail_msg("%s: %x %x %ju", cases[i].requirement, e.offers, e.xclient,
				 (uintmax_t)e.size_bytes);
		reply_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(replies) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
