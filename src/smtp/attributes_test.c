#include "smtp/attributes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A250 A50 A50 A50 A50 A50

static const struct {
	const char *name, *argument;
	enum smtp_verb verb;
	bool valid;
	enum smtp_attribute attribute; /* looked at when valid */
	enum smtp_attribute_state state;
	const char *value;
} cases[] = {
	{ "a name", "NAME=a.example", SMTP_XCLIENT, true, ATTRIBUTE_NAME, ATTRIBUTE_GIVEN,
	  "a.example" },
	{ "names in any case", "nAmE=a ADDR=192.0.2.1", SMTP_XCLIENT, true, ATTRIBUTE_ADDR,
	  ATTRIBUTE_GIVEN, "192.0.2.1" },
	{ "values are xtext", "LOGIN=a+2Bb+20c", SMTP_XCLIENT, true, ATTRIBUTE_LOGIN,
	  ATTRIBUTE_GIVEN, "a+b c" },
	{ "and may be UTF-8", "LOGIN=+C3+A9", SMTP_XCLIENT, true, ATTRIBUTE_LOGIN, ATTRIBUTE_GIVEN,
	  "\xc3\xa9" },
	{ "what is not known", "NAME=[UNAVAILABLE]", SMTP_XCLIENT, true, ATTRIBUTE_NAME,
	  ATTRIBUTE_UNAVAILABLE, "" },
	{ "in any case", "ADDR=[Unavailable]", SMTP_XCLIENT, true, ATTRIBUTE_ADDR,
	  ATTRIBUTE_UNAVAILABLE, "" },
	{ "what is not known now", "NAME=[tempunavail]", SMTP_XCLIENT, true, ATTRIBUTE_NAME,
	  ATTRIBUTE_TEMPUNAVAIL, "" },
	{ "brackets may be encoded", "NAME=+5BUNAVAILABLE+5D", SMTP_XCLIENT, true, ATTRIBUTE_NAME,
	  ATTRIBUTE_UNAVAILABLE, "" },
	{ "what is not said", "NAME=a", SMTP_XCLIENT, true, ATTRIBUTE_HELO, ATTRIBUTE_ABSENT, "" },
	{ "spaces between", " NAME=a   PORT=25 ", SMTP_XCLIENT, true, ATTRIBUTE_PORT,
	  ATTRIBUTE_GIVEN, "25" },
	{ "IPv6", "ADDR=IPV6:2001:db8::1", SMTP_XCLIENT, true, ATTRIBUTE_ADDR, ATTRIBUTE_GIVEN,
	  "IPV6:2001:db8::1" },
	{ "IPv6, unmarked", "ADDR=2001:db8::1", SMTP_XCLIENT, true, ATTRIBUTE_ADDR, ATTRIBUTE_GIVEN,
	  "2001:db8::1" },
	{ "the protocol", "PROTO=esmtp", SMTP_XCLIENT, true, ATTRIBUTE_PROTO, ATTRIBUTE_GIVEN,
	  "esmtp" },
	{ "where it came in", "DESTADDR=192.0.2.9 DESTPORT=26", SMTP_XCLIENT, true,
	  ATTRIBUTE_DESTPORT, ATTRIBUTE_GIVEN, "26" },
	{ "XFORWARD says more", "IDENT=1234 SOURCE=remote", SMTP_XFORWARD, true, ATTRIBUTE_SOURCE,
	  ATTRIBUTE_GIVEN, "remote" },
	{ "addresses that are none, too", "ADDR=uucp!host PROTO=UUCP", SMTP_XFORWARD, true,
	  ATTRIBUTE_ADDR, ATTRIBUTE_GIVEN, "uucp!host" },
	{ "and any protocol", "PROTO=UUCP", SMTP_XFORWARD, true, ATTRIBUTE_PROTO, ATTRIBUTE_GIVEN,
	  "UUCP" },
	{ "255 octets of a value", "HELO=" A250 "12345", SMTP_XCLIENT, true, ATTRIBUTE_HELO,
	  ATTRIBUTE_GIVEN, A250 "12345" },
	{ "nothing", "", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "nothing but spaces", "  ", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "no value", "NAME", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "an empty value", "NAME=", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "an empty address", "ADDR=", SMTP_XFORWARD, false, 0, 0, NULL },
	{ "an empty protocol", "PROTO=", SMTP_XFORWARD, false, 0, 0, NULL },
	{ "an unknown name", "NOME=a", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "a name of the other verb", "SOURCE=LOCAL", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "and the other way round", "LOGIN=a", SMTP_XFORWARD, false, 0, 0, NULL },
	{ "a name twice", "NAME=a NAME=b", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "no xtext", "NAME=a+b", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "a line end", "NAME=a+0D+0AX", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "NUL", "NAME=+00", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "DEL", "NAME=+7F", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "Latin-1", "NAME=+E9", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "256 octets of a value", "HELO=" A250 "123456", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "an address that is none", "ADDR=192.0.2.256", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "an address in brackets", "ADDR=[192.0.2.1]", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "an IPv6 address in brackets", "ADDR=IPV6:[::1]", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "a port that is none", "PORT=65536", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "port 0", "PORT=0", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "a protocol that is none", "PROTO=HTTP", SMTP_XCLIENT, false, 0, 0, NULL },
	{ "a protocol too long", "PROTO=" A50 "123456789012345", SMTP_XFORWARD, false, 0, 0, NULL },
	{ "a source that is none", "SOURCE=mars", SMTP_XFORWARD, false, 0, 0, NULL },
};

static void test_reading(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		enum smtp_attribute at = cases[i].attribute;
		struct smtp_attributes a;
		char text[SMTP_LINE_MAX];
		int r = attributes_parse(str_of(cases[i].argument), cases[i].verb, text, &a);

		if (r != (cases[i].valid ? 0 : -EINVAL))
			fail_msg("%s: %d", cases[i].name, r);
		if (r < 0)
			continue;
		if (a.of[at].state != cases[i].state)
			fail_msg("%s: state %d", cases[i].name, a.of[at].state);
		if (!str_eq(a.of[at].value, str_of(cases[i].value)))
			fail_msg("%s: %.*s", cases[i].name, STR_ARG(a.of[at].value));
	}
}

/* With "XCLIENT " and CRLF it fills a line. */
static void test_a_longer_argument_is_refused(void **state)
{
	char argument[SMTP_LINE_MAX], text[SMTP_LINE_MAX];
	struct smtp_attributes a;

	(void)state;
	memset(argument, ' ', sizeof argument);
	memcpy(argument, "NAME=a", 6);
	assert_int_equal(attributes_parse(str_mem(argument, 502), SMTP_XCLIENT, text, &a), 0);
	assert_int_equal(attributes_parse(str_mem(argument, 503), SMTP_XCLIENT, text, &a), -EINVAL);
	assert_int_equal(attributes_parse(str_mem(argument, 502), SMTP_XFORWARD, text, &a),
			 -EINVAL);
}

static void test_addresses(void **state)
{
	struct smtp_attributes a;
	char text[SMTP_LINE_MAX], shown[ATTRIBUTE_ADDR_SIZE];
	struct addr address;

	(void)state;
	assert_int_equal(attributes_parse(STR("ADDR=IPV6:2001:db8::1 PORT=1234 DESTADDR=192.0.2.9"),
					  SMTP_XCLIENT, text, &a),
			 0);
	assert_true(attributes_address(&a, ATTRIBUTE_ADDR, &address));
	assert_int_equal(address.family, AF_INET6);
	assert_int_equal(address.port, 1234);
	assert_true(str_eq(attribute_addr_text(&address, shown), STR("IPV6:2001:db8::1")));
	assert_true(attributes_address(&a, ATTRIBUTE_DESTADDR, &address));
	assert_int_equal(address.port, 0);
	assert_true(str_eq(attribute_addr_text(&address, shown), STR("192.0.2.9")));
	assert_int_equal(attributes_parse(STR("ADDR=[UNAVAILABLE]"), SMTP_XCLIENT, text, &a), 0);
	assert_false(attributes_address(&a, ATTRIBUTE_ADDR, &address));
	assert_int_equal(attributes_parse(STR("ADDR=host"), SMTP_XFORWARD, text, &a), 0);
	assert_false(attributes_address(&a, ATTRIBUTE_ADDR, &address));
}

static void give(struct smtp_attributes *a, enum smtp_attribute attribute, str value)
{
	a->of[attribute].state = ATTRIBUTE_GIVEN;
	a->of[attribute].value = value;
}

static void test_writing(void **state)
{
	struct smtp_attributes a = { 0 };
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(attributes_write(&a, SMTP_XCLIENT, ~0u, &b), 0);
	assert_int_equal(b.n, 0);
	give(&a, ATTRIBUTE_NAME, STR("a b"));
	give(&a, ATTRIBUTE_IDENT, STR("x"));
	give(&a, ATTRIBUTE_PORT, STR("25"));
	a.of[ATTRIBUTE_HELO].state = ATTRIBUTE_UNAVAILABLE;
	a.of[ATTRIBUTE_ADDR].state = ATTRIBUTE_TEMPUNAVAIL;
	assert_int_equal(attributes_write(&a, SMTP_XCLIENT, ~ATTRIBUTE_BIT(ATTRIBUTE_PORT), &b), 1);
	assert_true(str_eq(buf_str(&b),
			   STR("XCLIENT NAME=a+20b HELO=[UNAVAILABLE] ADDR=[TEMPUNAVAIL]\r\n")));
	buf_reset(&b);
	assert_int_equal(attributes_write(&a, SMTP_XFORWARD, ATTRIBUTE_BIT(ATTRIBUTE_IDENT), &b),
			 1);
	assert_true(str_eq(buf_str(&b), STR("XFORWARD IDENT=x\r\n")));
	buf_done(&b);
}

/* XCLIENT_README: no command longer than 512; what does not fit into one is said in several. */
static void test_long_values_take_several_commands(void **state)
{
	struct smtp_attributes a = { 0 };
	char spaces[ATTRIBUTE_VALUE_MAX + 1];
	struct buf b;

	(void)state;
	memset(spaces, ' ', sizeof spaces);
	buf_init(&b, 4096);
	give(&a, ATTRIBUTE_NAME, STR(A250));
	give(&a, ATTRIBUTE_HELO, STR(A250));
	give(&a, ATTRIBUTE_PORT, STR("25"));
	assert_int_equal(attributes_write(&a, SMTP_XCLIENT, ~0u, &b), 2);
	assert_true(str_eq(buf_str(&b),
			   STR("XCLIENT NAME=" A250 " PORT=25\r\nXCLIENT HELO=" A250 "\r\n")));
	/* Three octets each: no command has room for so many. */
	buf_reset(&b);
	give(&a, ATTRIBUTE_NAME, str_mem(spaces, ATTRIBUTE_VALUE_MAX));
	give(&a, ATTRIBUTE_HELO, str_mem(spaces, ATTRIBUTE_VALUE_MAX + 1));
	assert_int_equal(attributes_write(&a, SMTP_XCLIENT, ~0u, &b), 1);
	assert_true(str_eq(buf_str(&b),
			   STR("XCLIENT NAME=[UNAVAILABLE] PORT=25 HELO=[UNAVAILABLE]\r\n")));
	buf_done(&b);
	buf_init(&b, 30);
	assert_int_equal(buf_add(&b, STR("x")), 0);
	assert_int_equal(attributes_write(&a, SMTP_XCLIENT, ~0u, &b), -ENOBUFS);
	assert_true(str_eq(buf_str(&b), STR("x")));
	buf_done(&b);
}

static void test_the_longest_line_has_512_octets(void **state)
{
	(void)state;
	for (size_t n = 230; n <= 250; n++) {
		struct smtp_attributes a = { 0 };
		struct buf b;
		int commands;

		buf_init(&b, 4096);
		give(&a, ATTRIBUTE_NAME, STR(A250));
		give(&a, ATTRIBUTE_HELO, str_first(STR(A250), n));
		commands = attributes_write(&a, SMTP_XFORWARD, ~0u, &b);
		/* "XFORWARD NAME=" " HELO=" CRLF */
		assert_int_equal(commands, 14 + 250 + 6 + n + 2 <= SMTP_LINE_MAX ? 1 : 2);
		buf_done(&b);
	}
}

/* What EHLO offers is what is taken, and nothing else. */
static void test_what_is_offered_is_taken(void **state)
{
	static const enum smtp_verb verbs[] = { SMTP_XCLIENT, SMTP_XFORWARD };

	(void)state;
	for (size_t v = 0; v < ELEMENTS(verbs); v++) {
		str words = str_of(attributes_offered(verbs[v])), word;
		unsigned offered = 0;

		while (words.n) {
			int found;

			str_cut(words, ' ', &word, &words);
			found = attribute_find(word, verbs[v]);
			assert_true(found >= 0);
			offered |= ATTRIBUTE_BIT(found);
		}
		for (int i = 0; i < ATTRIBUTE_COUNT; i++)
			assert_int_equal(!!(offered & ATTRIBUTE_BIT(i)),
					 attribute_find(attribute_name((enum smtp_attribute)i),
							verbs[v]) >= 0);
	}
	assert_int_equal(attribute_find(STR("REVERSE_NAME"), SMTP_XCLIENT), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reading),
		cmocka_unit_test(test_a_longer_argument_is_refused),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_writing),
		cmocka_unit_test(test_long_values_take_several_commands),
		cmocka_unit_test(test_the_longest_line_has_512_octets),
		cmocka_unit_test(test_what_is_offered_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
