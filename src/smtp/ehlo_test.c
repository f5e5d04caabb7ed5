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
	  { .offers = EHLO_PIPELINING | EHLO_8BITMIME | EHLO_ENHANCEDSTATUSCODES | EHLO_DSN } },
	{ "case does not matter",
	  "250-mx\r\n250-pipelining\r\n250 StartTLS\r\n",
	  { .offers = EHLO_PIPELINING | EHLO_STARTTLS } },
	{ "SIZE has a number",
	  "250-mx\r\n250 SIZE 52428800\r\n",
	  { .offers = EHLO_SIZE, .size_bytes = 52428800 } },
	{ "SIZE without a number says nothing", "250-mx\r\n250 SIZE\r\n", { .offers = EHLO_SIZE } },
	{ "SIZE with nonsense says nothing",
	  "250-mx\r\n250 SIZE 1O0\r\n",
	  { .offers = EHLO_SIZE } },
	{ "a SIZE past any number says nothing",
	  "250-mx\r\n250 SIZE 99999999999999999999999\r\n",
	  { .offers = EHLO_SIZE } },
	{ "XCLIENT lists attributes",
	  "250-mx\r\n250 XCLIENT NAME ADDR  LOGIN BOGUS\r\n",
	  { .offers = EHLO_XCLIENT,
	    .xclient = ATTRIBUTE_BIT(ATTRIBUTE_NAME) | ATTRIBUTE_BIT(ATTRIBUTE_ADDR) |
		       ATTRIBUTE_BIT(ATTRIBUTE_LOGIN) } },
	{ "XCLIENT does not take what XFORWARD takes",
	  "250-mx\r\n250-XCLIENT SOURCE ADDR\r\n250 XFORWARD ident login addr\r\n",
	  { .offers = EHLO_XCLIENT | EHLO_XFORWARD,
	    .xclient = ATTRIBUTE_BIT(ATTRIBUTE_ADDR),
	    .xforward = ATTRIBUTE_BIT(ATTRIBUTE_ADDR) | ATTRIBUTE_BIT(ATTRIBUTE_IDENT) } },
	{ "LIMITS are numbers",
	  "250-mx\r\n250 LIMITS RCPTMAX=1000  mailmax=20 RCPTDOMAINMAX=1\r\n",
	  { .offers = EHLO_LIMITS,
	    .recipients_max = 1000,
	    .transactions_max = 20,
	    .recipient_domains_max = 1 } },
	{ "of six digits, the last of which counts",
	  "250-mx\r\n250 LIMITS RCPTMAX=999999 MAILMAX=7 MAILMAX=8\r\n",
	  { .offers = EHLO_LIMITS, .recipients_max = 999999, .transactions_max = 8 } },
	{ "other LIMITS say nothing",
	  "250-mx\r\n250 LIMITS RCPTMAX=1000000 MAILMAX=x RCPTDOMAINMAX X-MAX=3 =4\r\n",
	  { .offers = EHLO_LIMITS } },
	{ "nor does a LIMITS of none", "250-mx\r\n250 LIMITS\r\n", { .offers = EHLO_LIMITS } },
	{ "a keyword with parameters it does not know is offered",
	  "250-mx\r\n250 AUTH PLAIN\r\n",
	  { .offers = EHLO_AUTH } },
	{ "the old AUTH= is another keyword", "250-mx\r\n250 AUTH=PLAIN\r\n", { 0 } },
	{ "a keyword must be whole", "250-mx\r\n250-STARTTLSX\r\n250 X-STARTTLS\r\n", { 0 } },
	{ "unknown keywords are skipped",
	  "250-mx\r\n250-TURN\r\n250 CHUNKING\r\n",
	  { .offers = EHLO_CHUNKING } },
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
		    e.xforward != cases[i].want.xforward ||
		    e.size_bytes != cases[i].want.size_bytes)
			fail_msg("%s: %x %x %ju", cases[i].requirement, e.offers, e.xclient,
				 (uintmax_t)e.size_bytes);
		if (e.recipients_max != cases[i].want.recipients_max ||
		    e.transactions_max != cases[i].want.transactions_max ||
		    e.recipient_domains_max != cases[i].want.recipient_domains_max)
			fail_msg("%s: %u %u %u", cases[i].requirement, e.recipients_max,
				 e.transactions_max, e.recipient_domains_max);
		reply_done(&r);
	}
}

static void every_keyword_is_read_as_its_extension(void **state)
{
	(void)state;
	for (unsigned bit = EHLO_SIZE; bit <= EHLO_LIMITS; bit <<= 1) {
		char text[64];
		struct reply r;
		struct ehlo e;
		size_t used;

		snprintf(text, sizeof(text), "250-mx\r\n250 %s\r\n",
			 ehlo_keyword((enum ehlo_extension)bit));
		reply_init(&r);
		assert_int_equal(reply_feed(&r, str_of(text), &used), 1);
		ehlo_parse(&r, &e);
		assert_int_equal(e.offers, bit);
		reply_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies),
		cmocka_unit_test(every_keyword_is_read_as_its_extension),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
