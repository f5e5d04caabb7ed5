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
	{ "BDAT has a size", "bdat 12", SMTP_BDAT, SMTP_FINE, "12" },
	{ "BDAT may be the last", "BDAT 0 last", SMTP_BDAT, SMTP_FINE, NULL },
	{ "BDAT needs a size", "BDAT", SMTP_BDAT, SMTP_ARGUMENT_MISSING, NULL },
	{ "a number", "BDAT x", SMTP_BDAT, SMTP_ARGUMENT_INVALID, NULL },
	{ "not a negative one", "BDAT -1", SMTP_BDAT, SMTP_ARGUMENT_INVALID, NULL },
	{ "not one past any memory", "BDAT 9223372036854775808", SMTP_BDAT, SMTP_ARGUMENT_INVALID,
	  NULL },
	{ "LAST is spelled LAST", "BDAT 1 LASTLY", SMTP_BDAT, SMTP_ARGUMENT_INVALID, NULL },
	{ "nothing stands behind it", "BDAT 1 LAST 2", SMTP_BDAT, SMTP_ARGUMENT_INVALID, NULL },
	{ "a tab is no space", "BDAT\t5 LAST", SMTP_BDAT, SMTP_BAD_OCTETS, NULL },
	{ "not even with a control is it another verb", "BDAT 5\x01", SMTP_BDAT, SMTP_BAD_OCTETS,
	  NULL },
	{ "LAST is no size", "BDAT LAST", SMTP_BDAT, SMTP_ARGUMENT_INVALID, NULL },
	{ "ETRN has a name", "ETRN @ours.example", SMTP_ETRN, SMTP_FINE, "@ours.example" },
	{ "ETRN needs it", "ETRN", SMTP_ETRN, SMTP_ARGUMENT_MISSING, NULL },
	{ "ETRN has one", "ETRN a b", SMTP_ETRN, SMTP_ARGUMENT_INVALID, NULL },
	{ "XFORWARD is not offered to everybody", "XFORWARD NAME=a", SMTP_NOT_OFFERED, SMTP_FINE,
	  NULL },
	{ "STARTTLS stands alone", "STARTTLS now", SMTP_STARTTLS, SMTP_ARGUMENT_UNEXPECTED, NULL },
	{ "XCLIENT is known and not offered", "XCLIENT NAME=a", SMTP_NOT_OFFERED, SMTP_FINE, NULL },
	{ "an HTTP verb is no command", "GET / HTTP/1.1", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "a verb is a whole word", "DATAX", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "an empty line is no command", "", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "a leading space is no command", " DATA", SMTP_UNKNOWN, SMTP_NO_SUCH_VERB, NULL },
	{ "a bare LF is refused", "NOOP\nDATA", SMTP_NOOP, SMTP_BAD_OCTETS, NULL },
	{ "a bare CR is refused", "NOOP\r", SMTP_NOOP, SMTP_BAD_OCTETS, NULL },
	{ "a tab is refused", "EHLO\ta", SMTP_EHLO, SMTP_BAD_OCTETS, NULL },
	{ "DEL is refused", "NOOP \x7f", SMTP_NOOP, SMTP_BAD_OCTETS, NULL },
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

static const struct smtp_dialect everything = {
	.smtputf8 = true,
	.dsn = true,
	.requiretls = true,
	.binarymime = true,
	.xclient = true,
};
static const struct smtp_dialect utf8_transaction = {
	.smtputf8 = true,
	.dsn = true,
	.utf8_transaction = true,
};

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define J "j\xc3\xb6rg@x"

/* What stands where everything is offered, and what is wrong with it where nothing is. */
static const struct {
	const char *name, *line;
	const struct smtp_dialect *dialect;
	enum smtp_complaint complaint, elsewhere;
} extension_cases[] = {
	{ "SMTPUTF8 is offered", "MAIL FROM:<a@b> smtputf8", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it has no value", "MAIL FROM:<a@b> SMTPUTF8=", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it stands once", "MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_UNKNOWN },
	{ "RCPT has none", "RCPT TO:<a@b> SMTPUTF8", &everything, SMTP_PARAMETER_UNKNOWN,
	  SMTP_PARAMETER_UNKNOWN },
	{ "UTF-8 with SMTPUTF8", "MAIL FROM:<" J "> SMTPUTF8", &everything, SMTP_FINE,
	  SMTP_PATH_8BIT },
	{ "and other parameters", "MAIL FROM:<" J "> SIZE=1 SMTPUTF8 BODY=8BITMIME", &everything,
	  SMTP_FINE, SMTP_PATH_8BIT },
	{ "UTF-8 without it", "MAIL FROM:<" J ">", &everything, SMTP_PATH_8BIT, SMTP_PATH_8BIT },
	{ "UTF-8 with something else", "MAIL FROM:<" J "> SIZE=1", &everything, SMTP_PATH_8BIT,
	  SMTP_PATH_8BIT },
	{ "Latin-1 with it", "MAIL FROM:<j\xf6rg@x> SMTPUTF8", &everything, SMTP_PATH_INVALID,
	  SMTP_PATH_8BIT },
	{ "a recipient in UTF-8 without it", "RCPT TO:<" J ">", &everything, SMTP_PATH_8BIT,
	  SMTP_PATH_8BIT },
	{ "a recipient in UTF-8 with it", "RCPT TO:<" J ">", &utf8_transaction, SMTP_FINE,
	  SMTP_PATH_8BIT },
	{ "a recipient in Latin-1", "RCPT TO:<j\xf6rg@x>", &utf8_transaction, SMTP_PATH_INVALID,
	  SMTP_PATH_8BIT },
	{ "a U-label domain",
	  "RCPT TO:<a@b\xc3\xbc"
	  "cher.example>",
	  &utf8_transaction, SMTP_FINE, SMTP_PATH_8BIT },
	{ "a domain too long in ASCII",
	  "RCPT TO:<a@\xe4\xbe\x8b\xe3\x81\x88\xe5\xad\x97\xe6\xbc\xa2" A50 "0123456789.x>",
	  &utf8_transaction, SMTP_PATH_TOO_LONG, SMTP_PATH_8BIT },
	{ "other parameters stay ASCII", "MAIL FROM:<a@b> X=\xc3\xa9 SMTPUTF8", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_INVALID },
	{ "VRFY may ask in UTF-8", "VRFY " J " SMTPUTF8", &everything, SMTP_FINE, SMTP_BAD_OCTETS },
	{ "when it says so", "VRFY " J, &everything, SMTP_BAD_OCTETS, SMTP_BAD_OCTETS },
	{ "and means UTF-8", "VRFY j\xf6rg SMTPUTF8", &everything, SMTP_BAD_OCTETS,
	  SMTP_BAD_OCTETS },
	{ "RET is offered", "MAIL FROM:<a@b> RET=full", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it knows two values", "MAIL FROM:<a@b> RET=BODY", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it stands once", "MAIL FROM:<a@b> RET=FULL RET=HDRS", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_UNKNOWN },
	{ "ENVID is offered", "MAIL FROM:<a@b> ENVID=a+2Bb", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it is xtext", "MAIL FROM:<a@b> ENVID=a+b", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it has a value", "MAIL FROM:<a@b> ENVID", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it stands once", "MAIL FROM:<a@b> ENVID=a ENVID=a", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "of printable octets", "MAIL FROM:<a@b> ENVID=a+0Ab", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it has 100 octets", "MAIL FROM:<a@b> ENVID=" A50 A50, &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "at most", "MAIL FROM:<a@b> ENVID=" A50 A50 "a", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "REQUIRETLS is offered", "MAIL FROM:<a@b> REQUIRETLS", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it has no value", "MAIL FROM:<a@b> REQUIRETLS=1", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "BINARYMIME is offered", "MAIL FROM:<a@b> BODY=binarymime", &everything, SMTP_FINE,
	  SMTP_PARAMETER_INVALID },
	{ "BODY stands once", "MAIL FROM:<a@b> BODY=7BIT BODY=8BITMIME", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_INVALID },
	{ "NOTIFY is offered", "RCPT TO:<a@b> NOTIFY=success,FAILURE,Delay", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "NEVER stands alone", "RCPT TO:<a@b> NOTIFY=NEVER,DELAY", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_UNKNOWN },
	{ "a word may stand twice", "RCPT TO:<a@b> NOTIFY=DELAY,DELAY", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "no other words", "RCPT TO:<a@b> NOTIFY=ALWAYS", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "no empty ones", "RCPT TO:<a@b> NOTIFY=DELAY,", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it has a value", "RCPT TO:<a@b> NOTIFY", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it stands once", "RCPT TO:<a@b> NOTIFY=NEVER NOTIFY=NEVER", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_UNKNOWN },
	{ "MAIL has no NOTIFY", "MAIL FROM:<a@b> NOTIFY=NEVER", &everything, SMTP_PARAMETER_UNKNOWN,
	  SMTP_PARAMETER_UNKNOWN },
	{ "ORCPT is offered", "RCPT TO:<a@b> ORCPT=rfc822;c@d", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it has a type", "RCPT TO:<a@b> ORCPT=c@d", &everything, SMTP_PARAMETER_INVALID,
	  SMTP_PARAMETER_UNKNOWN },
	{ "it stands once", "RCPT TO:<a@b> ORCPT=rfc822;c ORCPT=rfc822;c", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_UNKNOWN },
	{ "it may encode UTF-8", "RCPT TO:<a@b> ORCPT=utf-8;\\x{E9}@d", &everything, SMTP_FINE,
	  SMTP_PARAMETER_UNKNOWN },
	{ "but not hold it", "RCPT TO:<a@b> ORCPT=utf-8;\xc3\xa9@d", &everything,
	  SMTP_PARAMETER_INVALID, SMTP_PARAMETER_INVALID },
	{ "unless SMTPUTF8 is in use", "RCPT TO:<a@b> ORCPT=utf-8;\xc3\xa9@d", &utf8_transaction,
	  SMTP_FINE, SMTP_PARAMETER_INVALID },
	{ "XCLIENT needs something", "XCLIENT", &everything, SMTP_ARGUMENT_MISSING, SMTP_FINE },
	{ "XFORWARD stays ASCII", "XFORWARD NAME=\xc3\xa9", &everything, SMTP_BAD_OCTETS,
	  SMTP_FINE },
};

static void test_extensions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(extension_cases); i++) {
		str line = str_of(extension_cases[i].line);
		enum smtp_complaint complaint;
		struct smtp_command c;

		complaint = smtp_command_parse(line, extension_cases[i].dialect, &c);
		if (complaint != extension_cases[i].complaint)
			fail_msg("%s: complaint %d", extension_cases[i].line, complaint);
		complaint = smtp_command_parse(line, &nothing, &c);
		if (complaint != extension_cases[i].elsewhere)
			fail_msg("%s: complaint %d where it is not offered",
				 extension_cases[i].line, complaint);
	}
}

static void test_extensions_are_read(void **state)
{
	struct smtp_command c;

	(void)state;
	assert_int_equal(smtp_command_parse(
				 STR("MAIL FROM:<" J
				     "> RET=HDRS ENVID=Q+2B1 REQUIRETLS SMTPUTF8 BODY=BINARYMIME"),
				 &everything, &c),
			 SMTP_FINE);
	assert_true(c.smtputf8 && c.requiretls && c.path.utf8);
	assert_int_equal(c.body, SMTP_BODY_BINARYMIME);
	assert_int_equal(c.ret, SMTP_RET_HDRS);
	assert_true(str_eq(c.envid, STR("Q+2B1")));
	assert_int_equal(
		smtp_command_parse(STR("RCPT TO:<a@b> ORCPT=rfc822;a+2Bb@c NOTIFY=DELAY,SUCCESS"),
				   &everything, &c),
		SMTP_FINE);
	assert_true(str_eq(c.orcpt, STR("rfc822;a+2Bb@c")));
	assert_int_equal(c.notify, SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY);
	assert_int_equal(smtp_command_parse(STR("BDAT 86  LAST"), &nothing, &c), SMTP_FINE);
	assert_true(c.chunk_bytes == 86 && c.chunk_last);
	assert_int_equal(smtp_command_parse(STR("BDAT 9223372036854775807"), &nothing, &c),
			 SMTP_FINE);
	assert_true(c.chunk_bytes == INT64_MAX && !c.chunk_last);
	assert_int_equal(smtp_command_parse(STR("XCLIENT NAME=a ADDR=192.0.2.1"), &everything, &c),
			 SMTP_FINE);
	assert_int_equal(c.verb, SMTP_XCLIENT);
	assert_true(str_eq(c.argument, STR("NAME=a ADDR=192.0.2.1")));
	assert_int_equal(smtp_command_parse(STR("VRFY a SMTPUTF8"), &everything, &c), SMTP_FINE);
	assert_true(c.smtputf8 && str_eq(c.argument, STR("a")));
	assert_int_equal(smtp_command_parse(STR("VRFY a SMTPUTF8"), &nothing, &c), SMTP_FINE);
	assert_true(!c.smtputf8 && str_eq(c.argument, STR("a SMTPUTF8")));
}

static void test_notify_is_written_as_it_is_read(void **state)
{
	char text[SMTP_NOTIFY_SIZE];

	(void)state;
	assert_true(str_eq(smtp_notify_text(0, text), STR("")));
	assert_true(str_eq(smtp_notify_text(SMTP_NOTIFY_NEVER, text), STR("NEVER")));
	assert_true(str_eq(smtp_notify_text(SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE |
						    SMTP_NOTIFY_DELAY,
					    text),
			   STR("SUCCESS,FAILURE,DELAY")));
	/* More than can be said: it has room for it all the same. */
	assert_int_equal(smtp_notify_text(~0u, text).n, strlen("NEVER,SUCCESS,FAILURE,DELAY"));
}

static void test_verbs_have_names(void **state)
{
	(void)state;
	assert_string_equal(smtp_verb_name(SMTP_MAIL), "MAIL");
	assert_string_equal(smtp_verb_name(SMTP_XFORWARD), "XFORWARD");
	assert_string_equal(smtp_verb_name(SMTP_UNKNOWN), "command");
	assert_string_equal(smtp_verb_name(SMTP_NOT_OFFERED), "command");
	for (int verb = SMTP_UNKNOWN + 1; verb < SMTP_NOT_OFFERED; verb++)
		assert_string_not_equal(smtp_verb_name((enum smtp_verb)verb), "command");
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
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_extensions_are_read),
		cmocka_unit_test(test_notify_is_written_as_it_is_read),
		cmocka_unit_test(test_verbs_have_names),
		cmocka_unit_test(test_nul_is_refused),
		cmocka_unit_test(test_parameters_are_read),
		cmocka_unit_test(test_line_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
