#include "smtp/path.h"

#include "smtp/octets.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16
#define L63 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct {
	const char *name, *text;
	enum smtp_path_kind kind;
	int r;
	const char *mailbox, *rest;
} path_cases[] = {
	{ "a plain mailbox is taken", "<a@example.net>", SMTP_FORWARD_PATH, 0, "a@example.net",
	  "" },
	{ "what follows is left", "<a@b> SIZE=1", SMTP_REVERSE_PATH, 0, "a@b", " SIZE=1" },
	{ "the null reverse-path is taken", "<>", SMTP_REVERSE_PATH, 0, "", "" },
	{ "a null forward-path is refused", "<>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "postmaster needs no domain", "<PostMaster>", SMTP_FORWARD_PATH, 0, "PostMaster", "" },
	{ "only as a recipient", "<postmaster>", SMTP_REVERSE_PATH, -EINVAL, NULL, NULL },
	{ "another bare local part is refused", "<root>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a source route is ignored", "<@a.example,@[192.0.2.1]:u@b.example>", SMTP_FORWARD_PATH,
	  0, "u@b.example", "" },
	{ "a broken source route is refused", "<@a.example;u@b>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "a route without a mailbox is refused", "<@a.example:>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "a route ending in a comma is refused", "<@a,:u@b>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "a quoted local part may hold >", "<\"a>b\"@x>", SMTP_FORWARD_PATH, 0, "\"a>b\"@x", "" },
	{ "and @, and an escaped quote", "<\"a@\\\"b\"@x>", SMTP_FORWARD_PATH, 0, "\"a@\\\"b\"@x",
	  "" },
	{ "a quote that never ends is refused", "<\"ab@x>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "text behind the quotes is refused", "<\"a\"b@x>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "all atext is allowed", "<!#$%&'*+-/=?^_`{|}~@x>", SMTP_FORWARD_PATH, 0,
	  "!#$%&'*+-/=?^_`{|}~@x", "" },
	{ "a leading dot is refused", "<.a@x>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a trailing dot is refused", "<a.@x>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "two dots are refused", "<a..b@x>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a space is refused", "<a b@x>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "two mailboxes are refused", "<a@b@c>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "an empty domain is refused", "<a@>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "an empty label is refused", "<a@b..c>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a final dot is refused", "<a@b.>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a label may not start with -", "<a@-b>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "an underscore is let pass", "<a@my_host.example>", SMTP_REVERSE_PATH, 0,
	  "a@my_host.example", "" },
	{ "an IPv4 literal is taken", "<a@[192.0.2.1]>", SMTP_FORWARD_PATH, 0, "a@[192.0.2.1]",
	  "" },
	{ "an IPv6 literal is taken", "<a@[IPv6:2001:db8::1]>", SMTP_FORWARD_PATH, 0,
	  "a@[IPv6:2001:db8::1]", "" },
	{ "an IPv6 literal needs its tag", "<a@[2001:db8::1]>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "an IPv4 address is no IPv6 literal", "<a@[IPv6:192.0.2.1]>", SMTP_FORWARD_PATH, -EINVAL,
	  NULL, NULL },
	{ "a wrong literal is refused", "<a@[192.0.2.256]>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "an unknown literal tag is refused", "<a@[X:1]>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "an open literal is refused", "<a@[192.0.2.1>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "no brackets, no path", "a@b", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "an unclosed path is refused", "<a@b", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "nothing is no path", "", SMTP_REVERSE_PATH, -EINVAL, NULL, NULL },
	{ "a route with a broken second part", "<@a,b:u@c>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "a route through nothing", "<@:u@c>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a quoted string must end", "<\"a@b>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a backslash quotes something", "<\"a\\", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a local part may be UTF-8", "<j\xc3\xb6rg@b>", SMTP_FORWARD_PATH, 0, "j\xc3\xb6rg@b",
	  "" },
	{ "a quoted one too", "<\"j\xc3\xb6 rg\"@b> X", SMTP_REVERSE_PATH, 0, "\"j\xc3\xb6 rg\"@b",
	  " X" },
	{ "a domain may be of U-labels",
	  "<e@b\xc3\xbc"
	  "cher.example>",
	  SMTP_REVERSE_PATH, 0,
	  "e@b\xc3\xbc"
	  "cher.example",
	  "" },
	{ "Latin-1 is told apart", "<j\xf6rg@b>", SMTP_FORWARD_PATH, -EILSEQ, NULL, NULL },
	{ "in a domain too",
	  "<e@b\xfc"
	  "cher.example>",
	  SMTP_FORWARD_PATH, -EILSEQ, NULL, NULL },
	{ "and in quotes", "<\"\xf6\"@b>", SMTP_REVERSE_PATH, -EILSEQ, NULL, NULL },
	{ "an overlong form is no UTF-8", "<\xc0\xaf@b>", SMTP_FORWARD_PATH, -EILSEQ, NULL, NULL },
	{ "controls above 127 are refused", "<a\xc2\x85@b>", SMTP_FORWARD_PATH, -EILSEQ, NULL,
	  NULL },
	{ "a backslash hides no UTF-8", "<\"\\\xc3\xb6\"@b>", SMTP_FORWARD_PATH, -EINVAL, NULL,
	  NULL },
	{ "a domain is one that IDNA knows", "<e@\xe2\x80\xae.example>", SMTP_FORWARD_PATH, -EINVAL,
	  NULL, NULL },
	{ "another dot than the dot is none",
	  "<e@a\xe3\x80\x82"
	  "b>",
	  SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a literal is ASCII", "<e@[IPv6:\xc3\xa9]>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "a route is ASCII", "<@\xc3\xa9.example:e@b>", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
	{ "64 octets of UTF-8 are allowed", "<\xc3\xa9" A16 A16 A16 "aaaaaaaaaaaaaa@x>",
	  SMTP_FORWARD_PATH, 0, "\xc3\xa9" A16 A16 A16 "aaaaaaaaaaaaaa@x", "" },
	{ "longer ones too", "<\xc3\xa9" A16 A16 A16 "aaaaaaaaaaaaaaa@x>", SMTP_FORWARD_PATH, 0,
	  "\xc3\xa9" A16 A16 A16 "aaaaaaaaaaaaaaa@x", "" },
	{ "64 octets of local part are allowed", "<" A64 "@x>", SMTP_FORWARD_PATH, 0, A64 "@x",
	  "" },
	{ "65 too, as in bounce addresses", "<a" A64 "@x>", SMTP_REVERSE_PATH, 0, "a" A64 "@x",
	  "" },
	{ "as many as a path holds", "<" A64 A64 A64 A16 A16 A16 "aaaaaaaaaaaa@x>",
	  SMTP_FORWARD_PATH, 0, A64 A64 A64 A16 A16 A16 "aaaaaaaaaaaa@x", "" },
	{ "but one", "<" A64 A64 A64 A16 A16 A16 "aaaaaaaaaaaaa@x>", SMTP_FORWARD_PATH, -EMSGSIZE,
	  NULL, NULL },
	{ "numbers of a literal may have leading zeros", "<a@[192.000.002.01]>", SMTP_REVERSE_PATH,
	  0, "a@[192.000.002.01]", "" },
	{ "but three digits at most", "<a@[192.0000.2.1]>", SMTP_REVERSE_PATH, -EINVAL, NULL,
	  NULL },
	{ "at most 255", "<a@[192.0.2.256]>", SMTP_REVERSE_PATH, -EINVAL, NULL, NULL },
	{ "four of them", "<a@[192.0.2]>", SMTP_REVERSE_PATH, -EINVAL, NULL, NULL },
	{ "digits and dots are no domain", "<a@1.2.3.4>", SMTP_REVERSE_PATH, -EINVAL, NULL, NULL },
	{ "a letter makes one", "<a@1.2.3.4a>", SMTP_REVERSE_PATH, 0, "a@1.2.3.4a", "" },
	{ "a label of 63 is allowed", "<a@" L63 ">", SMTP_FORWARD_PATH, 0, "a@" L63, "" },
	{ "one of 64 is not", "<a@b" L63 ">", SMTP_FORWARD_PATH, -EINVAL, NULL, NULL },
};

static void test_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(path_cases); i++) {
		struct smtp_path path;
		str rest;
		int r = smtp_path_parse(str_of(path_cases[i].text), path_cases[i].kind, &path,
					&rest);

		if (r != path_cases[i].r)
			fail_msg("%s: %d instead of %d", path_cases[i].name, r, path_cases[i].r);
		if (r < 0)
			continue;
		if (!str_eq(path.mailbox, str_of(path_cases[i].mailbox)))
			fail_msg("%s: mailbox %.*s", path_cases[i].name, STR_ARG(path.mailbox));
		if (!str_eq(rest, str_of(path_cases[i].rest)))
			fail_msg("%s: rest %.*s", path_cases[i].name, STR_ARG(rest));
		if (path.utf8 != !str_is_ascii(path.mailbox))
			fail_msg("%s: utf8", path_cases[i].name);
	}
}

static const struct {
	const char *name, *text, *plain;
	bool postmaster;
} plain_cases[] = {
	{ "case is folded", "<Jane.Doe@Example.NET>", "jane.doe@example.net", false },
	{ "needless quotes are dropped", "<\"Jane.Doe\"@x>", "jane.doe@x", false },
	{ "needless backslashes too", "<\"\\J\\a\"@x>", "ja@x", false },
	{ "needed quotes stay", "<\"a b\"@x>", "\"a b\"@x", false },
	{ "an empty quoted string stays", "<\"\"@x>", "\"\"@x", false },
	{ "U-labels are their A-labels",
	  "<A@B\xc3\xbc"
	  "cher.Example>",
	  "a@xn--bcher-kva.example", false },
	{ "in capitals too",
	  "<A@B\xc3\x9c"
	  "CHER.Example>",
	  "a@xn--bcher-kva.example", false },
	{ "A-labels are themselves", "<a@XN--Bcher-KVA.example>", "a@xn--bcher-kva.example",
	  false },
	{ "a local part is folded in ASCII only", "<J\xc3\x96RG@x>", "j\xc3\x96rg@x", false },
	{ "and unquoted", "<\"j\xc3\xb6rg\"@x>", "j\xc3\xb6rg@x", false },
	{ "a literal is lower case", "<J\xc3\xb6@[IPv6:2001:DB8::1]>",
	  "j\xc3\xb6@[ipv6:2001:db8::1]", false },
	{ "postmaster is found bare", "<PostMaster>", "postmaster", true },
	{ "and with a domain, in quotes", "<\"postmaster\"@X>", "postmaster@x", true },
	{ "another is not", "<postmaste@x>", "postmaste@x", false },
};

static void test_plain(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(plain_cases); i++) {
		char text[SMTP_PLAIN_SIZE];
		struct smtp_path path;
		str rest;

		assert_int_equal(smtp_path_parse(str_of(plain_cases[i].text), SMTP_FORWARD_PATH,
						 &path, &rest),
				 0);
		if (!str_eq(smtp_path_plain(&path, text), str_of(plain_cases[i].plain)))
			fail_msg("%s: %s", plain_cases[i].name, text);
		if (smtp_path_is_postmaster(&path) != plain_cases[i].postmaster)
			fail_msg("%s: postmaster", plain_cases[i].name);
	}
}

static void test_a_path_has_256_octets_at_most(void **state)
{
	struct smtp_path path;
	char text[300];
	str rest;

	(void)state;
	for (int label = 60; label < 63; label++) {
		int n = snprintf(text, sizeof text, "<%s@%s.%s.%.*s>", A64, L63, L63, label, L63);

		assert_int_equal(smtp_path_parse(str_mem(text, (size_t)n), SMTP_FORWARD_PATH, &path,
						 &rest),
				 n <= 256 ? 0 : -EMSGSIZE);
		assert_int_equal(smtp_mailbox_parse(str_mem(text + 1, (size_t)n - 2), &path),
				 n <= 256 ? 0 : -EMSGSIZE);
	}
}

/* Three octets of U-label may be eight of A-label: the longest path has the longest plain form. */
static void test_the_plain_form_has_room(void **state)
{
	char text[SMTP_PLAIN_SIZE], mailbox[SMTP_PATH_MAX + 1] = A64 "@";
	struct smtp_path path;
	size_t n = 65;

	(void)state;
	for (int i = 0; i < 31; i++, n += 3)
		memcpy(mailbox + n, "\xc3\xa9.", 3);
	assert_int_equal(smtp_mailbox_parse(str_mem(mailbox, n - 1), &path), 0);
	assert_int_equal(smtp_path_plain(&path, text).n, 65 + 31 * 8 - 1);
	/* One more is a name that DNS cannot hold. */
	memcpy(mailbox + n, "\xc3\xa9.a", 4);
	assert_int_equal(smtp_mailbox_parse(str_mem(mailbox, n + 4), &path), -EMSGSIZE);
}

static void test_mailboxes(void **state)
{
	struct smtp_path path;

	(void)state;
	assert_int_equal(smtp_mailbox_parse(STR("a@b"), &path), 0);
	assert_int_equal(smtp_mailbox_parse(STR("a@b c"), &path), -EINVAL);
	assert_int_equal(smtp_mailbox_parse(STR(""), &path), -EINVAL);
	assert_int_equal(smtp_mailbox_parse(STR("\xe9@b"), &path), -EILSEQ);
	assert_int_equal(smtp_mailbox_parse(STR("\xc3\xa9@b"), &path), 0);
	assert_true(path.utf8);
	assert_false(smtp_domain_valid(STR("\xc3\xa9.example")));
	assert_false(smtp_domain_valid(STR("")));
	assert_false(smtp_literal_valid(STR("[[]")));
	assert_false(smtp_literal_valid(STR("[]")));
	assert_true(smtp_literal_valid(STR("[ipv6:::1]")));
}

static void test_a_mailbox_is_of_one_domain(void **state)
{
	(void)state;
	assert_true(smtp_mailbox_is_of(STR("a@X.example"), STR("x.EXAMPLE")));
	assert_true(smtp_mailbox_is_of(STR("\"a@y.example\"@x.example"), STR("x.example")));
	assert_false(smtp_mailbox_is_of(STR("\"a@y.example\"@x.example"), STR("y.example")));
	assert_false(smtp_mailbox_is_of(STR("a@sub.x.example"), STR("x.example")));
	assert_false(smtp_mailbox_is_of(STR("x.example"), STR("x.example")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_mailbox_is_of_one_domain),
		cmocka_unit_test(test_the_plain_form_has_room),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_a_path_has_256_octets_at_most),
		cmocka_unit_test(test_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
