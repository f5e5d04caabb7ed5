#include "smtp/command.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct smtp_dialect nothing = { 0 };

static const struct {
	const char *name, *line;
	enum smtp_verb verb;
	enum smtp_complaint complaint;
	const char *argument; /* of HELO and the like, else the mailbox; NULL: not looked at */
} cases[] = {
	{ "EHLO has a name", "EHLO a.example", SMTP_EHLO, SMTP_FINE, "a.example" },
	{ "case does not matter", "ehLO [192.0.2.1]", SMTP_EHLO, SMTP_FINE, "[192.0.2.1]" },
	{ "spaces around are ignored", "HELO  a ", SMTP_HELO, SMTP_FINE, "a" },
	{ "EHLO without a name is refused", "EHLO", SMTP_EHLO, SMTP_ARGUMENT_MISSING, NULL },
	{ "EHLO with two words is refused", "EHLO a b", SMTP_EHLO, SMTP_ARGUMENT_INVALID, NULL },
	{ "EHLO in 8 bits is refused", "EHLO \xe9", SMTP_EHLO, SMTP_BAD_OCTETS, NULL },
	{ "a reverse-path is read", "MAIL FROM:<a@b>", SMTP_MAIL, SMTP_FINE, "a@b" },
	{ "in any case", "mail from:<a@b>", SMTP_MAIL, SMTP_FINE, "a@b" },
	{ "a space behind the colon is forgiven", "MAIL FROM: <a@b>", SMTP_MAIL, SMTP_FINE, "a@b" },
	{ "the null path is read", "MAIL FROM:<>", SMTP_MAIL, SMTP_FINE, "" },
	{ "MAIL without FROM is refused", "MAIL <a@b>", SMTP_MAIL, SMTP_ARGUMENT_INVALID, NULL },
	{ "MAIL with TO is refused", "MAIL TO:<a@b>", SMTP_MAIL, SMTP_ARGUMENT_INVALID, NULL },
	{ "MAIL alone is refused", "MAIL", SMTP_MAIL, SMTP_ARGUMENT_MISSING, NULL },
	{ "a path without <> is refused", "MAIL FROM:a@b", SMTP_MAIL, SMTP_PATH_INVALID, NULL },
	{ "text behind the path is refused", "MAIL FROM:<a@b>x", SMTP_MAIL, SMTP_PATH_INVALID,
	  NULL },
	{ "an 8-bit path is told apart", "RCPT TO:<\xe9@b>", SMTP_RCPT, SMTP_PATH_8BIT, NULL },
	{ "an unknown parameter is refused", "MAIL FROM:<a@b> SMTPUTF8", SMTP_MAIL,
	  SMTP_PARAMETER_UNKNOWN, NULL },
	{ "RCPT takes no parameter", "RCPT TO:<a@b> NOTIFY=NEVER", SMTP_RCPT,
	  SMTP_PARAMETER_UNKNOWN, NULL },
	{ "not even one of MAIL", "RCPT TO:<a@b> SIZE=1", SMTP_RCPT, SMTP_PARAMETER_UNKNOWN, NULL },
	{ "a keyword must be one", "MAIL FROM:<a@b> S_Z=1", SMTP_MAIL, SMTP_PARAMETER_INVALID,
	  NULL },
	{ "SIZE must be a number", "MAIL FROM:<a@b> SIZE=x", SMTP_MAIL, SMTP_PARAMETER_INVALID,
	  NULL },
	{ "SIZE must have one", "MAIL FROM:<a@b> SIZE", SMTP_MAIL, SMTP_PARAMETER_INVALID, NULL },
	{ "SIZE may stand once", "MAIL FROM:<a@b> SIZE=1 SIZE=2", SMTP_MAIL, SMTP_PARAMETER_INVALID,
	  NULL },
	{ "SIZE has 20 digits at most", "MAIL FROM:<a@b> SIZE=000000000000000000001", SMTP_MAIL,
	  SMTP_PARAMETER_INVALID, NULL },
	{ "BODY knows two values", "MAIL FROM:<a@b> BODY=BINARYMIME", SMTP_MAIL,
	  SMTP_PARAMETER_INVALID, NULL },
	{ "RCPT needs a path", "RCPT TO:<>", SMTP_RCPT, SMTP_PATH_INVALID, NULL },
	{ "RCPT takes postmaster", "RCPT TO:<postmaster>", SMTP_RCPT, SMTP_FINE, "postmaster" },
	{ "DATA stands alone", "DATA", SMTP_DATA, SMTP_FINE, "" },
	{ "DATA with an argument is refused", "DATA x", SMTP_DATA, SMTP_ARGUMENT_UNEXPECTED, NULL },
	{ "a trailing space is forgiven", "DATA ", SMTP_DATA, SMTP_FINE, "" },
	{ "NOOP takes anything", "NOOP a b c", SMTP_NOOP, SMTP_FINE, "a b c" },
	{ "VRFY needs something", "VRFY", SMTP_VRFY, SMTP_ARGUMENT_MISSING, NULL },
	{ "STARTTLS stands alone", "STARTTLS now", SMTP_STARTTLS, SMTP_ARGUMENT_UNEXPECTED, NULL },
	{ "XCLIENT is known and not offered", "XCLIENT NAME=a", SMTP_NOT_OFFERED, SMTP_FINE, NULL },
	{ "an HTTP verb is no command", "GET / HTTP/1.1", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "a verb is a whole word", "DATAX", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "an empty line is no command", "", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "a leading space is no command", " DATA", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "a bare LF is refused", "NOOP\nDATA", SMTP_UNKNOWN, SMTP_BAD_OCTETS, NULL },
	{ "a bare CR is refused", "NOOP\r", SMTP_UNKNOWN, SMTP_BAD_OCTETS, NULL },
	{ "a tab is refused", "EHLO\ta", SMTP_UNKNOWN, SMTP_BAD_OCTETS, NULL },
	{ "DEL is refused", "NOOP \x7f", SMTP_UNKNOWN, SMTP_BAD_OCTETS, NULL },
};

static void test_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct smtp_command c;
		enum smtp_complaint complaint =
			smtp_command_parse(str_of(cases[i].line), &nothing, &c);
		str seen = c.verb == SMTP_MAIL || c.verb == SMTP_RCPT ? c.path.mailbox : c.argument;

		if (complaint != cases[i].complaint)
			fail_msg("%s: complaint %d", cases[i].name, complaint);
		if (c.verb != cases[i].verb)
			fail_msg("%s: verb %d", cases[i].name, c.verb);
		if (cases[i].argument && !str_eq(seen, str_of(cases[i].argument)))
			fail_msg("%s: %.*s", cases[i].name, STR_ARG(seen));
	}
}

static void test_nul_is_refused(void **state)
{
	struct smtp_command c;

	(void)state;
	assert_int_equal(smtp_command_parse(STR("NOOP a\0b"), &nothing, &c), SMTP_BAD_OCTETS);
	assert_int_equal(smtp_command_parse(STR("NOOP\0"), &nothing, &c), SMTP_BAD_OCTETS);
}

static void test_parameters_are_read(void **state)
{
	struct smtp_command c;

	(void)state;
	assert_int_equal(smtp_command_parse(STR("MAIL FROM:<a@b>  body=8BitMime size=42 "),
					    &nothing, &c),
			 SMTP_FINE);
	assert_int_equal(c.body, SMTP_BODY_8BITMIME);
	assert_true(c.size_given);
	assert_int_equal(c.size, 42);
	assert_int_equal(smtp_command_parse(STR("MAIL FROM:<a@b> SIZE=99999999999999999999"),
					    &nothing, &c),
			 SMTP_FINE);
	assert_true(c.size == UINT64_MAX);
}

/* RFC 5321 §4.5.3.1.4: 512 octets with the CRLF; more only where parameters make it so. */
static void test_line_lengths(void **state)
{
	static const struct {
		const char *name, *start;
		size_t length;
		enum smtp_complaint complaint;
	} lengths[] = {
		{ "510 octets and CRLF are allowed", "NOOP ", 510, SMTP_FINE },
		{ "511 are not", "NOOP ", 511, SMTP_LINE_TOO_LONG },
		{ "an unknown verb has no more", "XYZZY ", 511, SMTP_LINE_TOO_LONG },
		{ "MAIL may have parameters", "MAIL FROM:<a@b> X=", 1022, SMTP_PARAMETER_UNKNOWN },
		{ "up to a bound", "MAIL FROM:<a@b> X=", 1023, SMTP_LINE_TOO_LONG },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(lengths); i++) {
		struct smtp_command c;
		char line[1100];

		memset(line, 'x', sizeof line);
		memcpy(line, lengths[i].start, strlen(lengths[i].start));
		if (smtp_command_parse(str_mem(line, lengths[i].length), &nothing, &c) !=
		    lengths[i].complaint)
			fail_msg("%s", lengths[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_nul_is_refused),
		cmocka_unit_test(test_parameters_are_read),
		cmocka_unit_test(test_line_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
