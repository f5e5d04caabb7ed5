/* Every mistake is found, with its line and a hint. */
#include "conf/test_files.h"

/* --- mistakes --- */

struct mistake {
	const char *requirement;
	const char *text;
	const char *error; /* the beginning, then "..." and a part of it, in that order */
};

static const struct mistake mistakes[] = {
	{ "a hostname is required", "listen \"a\" { address = \"[::]:25\" } domain \"a.cz\" {}",
	  "t.conf:1: there is no hostname...write hostname =" },
	{ "a listener is required", "hostname = \"a.b\"\ndomain \"a.cz\" {}",
	  "t.conf:2: there is no listener...write listen" },
	{ "a domain is required", BASE, "t.conf:3: there is no domain...write domain" },
	{ "an empty file is an error, not a crash", "", "t.conf:1: there is no hostname" },

	{ "an unknown option names its line", WITH "\nfoobarbazqux = 1",
	  "t.conf:5: unknown option...known here: hostname" },
	{ "a typing error gets a suggestion", WITH "hostnme = \"x\"",
	  "t.conf:4: ...did you mean \"hostname\"?" },
	{ "a typing error in a block gets one of that block", DOMAIN("acceptence = \"live\""),
	  "t.conf:4: ...did you mean \"acceptance\"?" },
	{ "a typing error in a block's name too", WITH "limit { sessions = 1 }",
	  "t.conf:4: ...did you mean \"limits\"?" },
	{ "an option of another block says which", WITH "sessions = 5",
	  "t.conf:4: ...did you mean the one in limits { }?" },
	{ "a top-level option inside a block", WITH "limits { user = \"x\" }",
	  "t.conf:4: ...not an option of limits; move it out" },
	{ "a block is not an option", WITH "limits = 5",
	  "t.conf:4: missing opening brace...write {" },
	{ "the path syntax of libconfuse is not ours", WITH "limits|hops = 5",
	  "t.conf:4: limits is a block" },
	{ "nor inside a block that exists", WITH "limits { hops = 6 }\nlimits|hops = 7",
	  "t.conf:5: unknown option \"hops\"...limits { }" },
	{ "include is not supported", WITH "include(\"x\")",
	  "t.conf:4: unknown option \"include\"" },
	{ "an option without =", WITH "user \"x\"", "t.conf:4: missing equal sign...NAME = VALUE" },
	{ "an option without value", WITH "user =", "t.conf:...premature end of file" },
	{ "a list for a single value", WITH "user = {\"a\"}", "t.conf:4: unexpected token" },
	{ "+= for a single value", WITH "user += \"a\"", "t.conf:4: ...use = instead" },
	{ "a titled block without title", WITH "domain { }", "t.conf:4: missing title" },
	{ "an option set twice", WITH "user = \"a\"\nuser = \"b\"",
	  "t.conf:5: user is set twice, first in line 4" },
	{ "an option of a block set twice", DOMAIN("hold = \"1d\"\nhold = \"2d\""),
	  "t.conf:5: hold is set twice, first in line 4" },
	{ "a list set twice", WITH "aliases = {\"a.b\", \"c.d\"}\naliases = {\"e.f\"}",
	  "t.conf:5: aliases is set twice, first in line 4" },
	{ "a block written twice", WITH "limits { hops = 9 }\nlimits { sessions = 9 }",
	  "t.conf:5: limits is written twice, first in line 4" },
	{ "an empty block written twice", WITH "dns { }\ndns { }",
	  "t.conf:5: dns is written twice" },
	{ "an empty list", DOMAIN("primary = {}"),
	  "t.conf:5: primary is an empty list...leave it out" },
	{ "an empty list at the top level", WITH "aliases = {}",
	  "t.conf:...aliases is an empty list" },
	{ "a string that never ends", WITH "user = \"abc\n\n",
	  "t.conf:4: the string that begins here" },
	{ "a single-quoted string that never ends", WITH "user = 'abc",
	  "t.conf:4: the string...add '" },
	{ "a comment that never ends", WITH "/* abc\n", "t.conf:4: the comment that begins here" },
	{ "a block that never ends", BASE "domain \"example.cz\" {\nhold = \"1d\"\n",
	  "t.conf:3: the block or list" },
	{ "a brace too many", WITH "}", "t.conf:4: unexpected }" },
	{ "a block in a block in a block", BASE "domain \"a.cz\" { primary = {{\"a\"}} }",
	  "t.conf:3: unexpected {" },
	{ "the environment is not read", WITH "user = \"${HOME}\"", "t.conf:4: ${...environment" },
	{ "nor outside of quotes", WITH "user = ${HOME}", "t.conf:4: ${...environment" },
	{ "no numbered escapes", WITH "user = \"\\0\"", "t.conf:4: numbered escape" },
	{ "no hexadecimal escapes", WITH "user = \"\\x41\"", "t.conf:4: numbered escape" },
	{ "control characters do not reach a terminal", WITH "log = \"\x1b[2J\"",
	  "t.conf:4: ...\\x1b[2J" },
	{ "stray punctuation", WITH "= 5", "t.conf:4: unexpected token" },

	{ "hostname needs name syntax", "hostname = \"a b\"",
	  "t.conf:1: hostname \"a b\" has a character" },
	{ "hostname must not be an address",
	  "hostname = \"192.0.2.1\" domain \"a.b\" {} listen \"a\" {}",
	  "t.conf:1: hostname...ends in a number" },
	{ "hostname must not be empty", WITH "aliases = {\"\"}", "t.conf:4: alias \"\" is empty" },
	{ "hostname with two dots", WITH "aliases = {\"a..b\"}", "t.conf:4: ...empty label" },
	{ "hostname with a leading hyphen", WITH "aliases = {\"-a.b\"}", "t.conf:4: ...hyphen" },
	{ "hostname with a trailing hyphen", WITH "aliases = {\"a-.b\"}", "t.conf:4: ...hyphen" },
	{ "hostname with a label of 64", WITH "aliases = {\"" L63 "x.cz\"}",
	  "t.conf:4: ...63 characters" },
	{ "hostname of more than 253", WITH "aliases = {\"" L63 "." L63 "." L63 "." L63 "\"}",
	  "t.conf:4: ...253 characters" },
	{ "a list's value has its own line", WITH "aliases = {\"a.b\",\n\"c d\"}",
	  "t.conf:5: alias \"c d\"" },
	{ "a U-label is refused with a hint", BASE "domain \"p\xc5\x99\xc3\xadklad.cz\" { }",
	  "t.conf:3: domain \"p\xc5\x99\xc3\xadklad.cz\" is not ASCII...A-label...idn2" },
	{ "addresses take no ports", WITH "addresses = {\"192.0.2.1:25\"}",
	  "t.conf:4: addresses: ...without a port" },
	{ "addresses take no names", WITH "addresses = {\"mail.cz\"}",
	  "t.conf:4: addresses: ...not an IP" },
	{ "addresses take no wildcard", WITH "addresses = {\"0.0.0.0\"}",
	  "t.conf:4: addresses: ...every address" },
	{ "state_dir must not be empty", WITH "state_dir = \"\"", "t.conf:4: state_dir is empty" },
	{ "state_dir must leave room for the socket", WITH "state_dir = \"/" L63 "/" L63 "\"",
	  "t.conf:4: state_dir is too long...94 bytes" },
	{ "user must be a name", WITH "user = \"a:b\"",
	  "t.conf:4: user = \"a:b\" is not a user name" },
	{ "log is text or json", WITH "log = \"xml\"", "t.conf:4: log = \"xml\"...text, json" },
	{ "processes must be a number", WITH "processes { smtpin = many }",
	  "t.conf:4: smtpin = \"many\"...digits" },
	{ "no processes at all", WITH "processes { smtpin = 0 }",
	  "t.conf:4: smtpin = 0 is out of range...1 to 64" },
	{ "a negative number", WITH "processes { filter = -1 }",
	  "t.conf:4: filter = \"-1\" is not a whole" },

	{ "listen needs an address (an empty block is reported where it ends)", LISTEN(""),
	  "t.conf:5: listen \"mx\" has no address" },
	{ "listen takes no names", LISTEN("address = \"localhost:25\""),
	  "t.conf:4: address = \"localhost:25\" is not" },
	{ "listen takes no port 0", LISTEN("address = \"127.0.0.1:0\""), "t.conf:4: address = " },
	{ "listen takes no port above 65535", LISTEN("address = \"127.0.0.1:65536\""),
	  "t.conf:4: address = " },
	{ "two listeners of one name", WITH "listen \"mx\" { address = \"[::]:26\" }",
	  "t.conf:4: found duplicate" },
	{ "two listeners of one address", WITH "listen \"b\" {\n address = \"[::]:25\" }",
	  "t.conf:5: listen \"mx\" and \"b\" have the same address" },
	{ "a listener without name", BASE "listen \"\" { address = \"[::]:26\" }",
	  "t.conf:3: ...1 to 64" },
	{ "a listener's name is printable",
	  BASE "domain \"a.b\" {}\nlisten \"a b\" { address = \"[::]:26\" }",
	  "t.conf:4: the name of a listener" },
	{ "a certificate without key",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\""),
	  "t.conf:5: tls_certificate without tls_key" },
	{ "a key without certificate", LISTEN("address = \"[::]:25\"\ntls_key = \"good.key\""),
	  "t.conf:5: tls_key without tls_certificate" },
	{ "a certificate that is not there",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"none\"\ntls_key = \"good.key\""),
	  "t.conf:5: tls_certificate \"none\" cannot be read: No such file" },
	{ "a key that is not there",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"none\""),
	  "t.conf:6: tls_key \"none\" cannot be read: No such file" },
	{ "a certificate that is none",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.key\"\ntls_key = \"good.key\""),
	  "t.conf:5: tls_certificate \"good.key\" holds no certificate" },
	{ "an empty certificate",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"empty\"\ntls_key = \"good.key\""),
	  "t.conf:5: tls_certificate \"empty\" holds no certificate" },
	{ "a key that is none",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"good.crt\""),
	  "t.conf:6: tls_key \"good.crt\" holds no private key" },
	{ "a key with a passphrase is an error, not a question",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"locked.key\""),
	  "t.conf:6: tls_key \"locked.key\" holds no private key...passphrase" },
	{ "a key of another certificate",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"other.key\""),
	  "t.conf:6: tls_key \"other.key\" does not belong" },
	{ "proxy_protocol is not supported", LISTEN("address = \"[::]:25\"\nproxy_protocol = true"),
	  "t.conf:5: proxy_protocol = true is not supported" },
	{ "proxy_protocol is yes or no", LISTEN("address = \"[::]:25\"\nproxy_protocol = maybe"),
	  "t.conf:5: proxy_protocol = \"maybe\" is neither" },

	{ "a DNS server is an address", WITH "dns { servers = {\"localhost\"} }",
	  "t.conf:4: servers = \"localhost\"" },
	{ "a DNS server is not a wildcard", WITH "dns { servers = {\"[::]:53\"} }",
	  "t.conf:4: servers: ...cannot be asked" },
	{ "the trust anchor must be readable", WITH "dns { trust_anchor = \"none\" }",
	  "t.conf:4: trust_anchor \"none\" cannot be read" },
	{ "the trust anchor is a file", WITH "dns { trust_anchor = \"dir\" }",
	  "t.conf:4: trust_anchor \"dir\" cannot" },
	{ "clamd has one place", WITH "clamd { socket = \"/a\"\naddress = \"a:1\" }",
	  "t.conf:5: clamd has both" },
	{ "clamd's address has a port", WITH "clamd { address = \":1\" }",
	  "t.conf:4: address = \":1\" is not a host" },
	{ "the console has an address", WITH "console { address = \"x\" }",
	  "t.conf:4: address = \"x\"" },

	{ "a message size below 64K", WITH "limits { message_size = \"63K\" }",
	  "t.conf:4: ...allowed are 64K to 1G" },
	{ "a message size above 1G", WITH "limits { message_size = \"1025M\" }",
	  "t.conf:4: ...allowed are 64K to 1G" },
	{ "a size with a wrong unit", WITH "limits { message_size = \"50X\" }",
	  "t.conf:4: ...is not a size...50M" },
	{ "a size past 64 bits", WITH "limits { message_size = \"99999999999999999999\" }",
	  "t.conf:4: ...out of range" },
	{ "a size that overflows by its unit",
	  WITH "limits { message_size = \"18446744073709551615T\" }", "t.conf:4: ...out of range" },
	{ "no sessions at all", WITH "limits { sessions = 0 }",
	  "t.conf:4: sessions = 0 is out of range" },
	{ "more sessions a client than sessions",
	  WITH "limits { sessions = 5\nsessions_per_client = 6 }",
	  "t.conf:5: sessions_per_client is larger than sessions (5)" },
	{ "too many recipients", WITH "limits { recipients = 10001 }",
	  "t.conf:4: recipients = 10001 is out of range" },
	{ "too few hops", WITH "limits { hops = 4 }", "t.conf:4: hops = 4 is out of range" },
	{ "a segment below 1M", WITH "spool { segment_size = \"1023K\" }",
	  "t.conf:4: ...allowed are 1M to 2G" },
	{ "a reserve below 1M", WITH "spool { reserve = \"0\" }",
	  "t.conf:4: ...allowed are 1M to 16T" },

	{ "a domain written twice", WITH "domain \"example.cz\" { }",
	  "t.conf:4: found duplicate title" },
	{ "a domain written twice in other case", WITH "domain \"Example.CZ\" {\n}",
	  "t.conf:...domain \"example.cz\" is written twice" },
	{ "a domain written twice with a final dot", WITH "domain \"example.cz.\" { hold = 1d }",
	  "t.conf:4: domain \"example.cz\" is written twice" },
	{ "a domain that is no name", BASE "domain \"exa mple\" { hold = 1d }",
	  "t.conf:3: domain \"exa mple\" has a" },
	{ "primary with a bad port", DOMAIN("primary = {\"a.b:x\"}"),
	  "t.conf:4: primary \"a.b:x\" is not a host" },
	{ "primary with port 0", DOMAIN("primary = {\"a.b:0\"}"),
	  "t.conf:4: primary \"a.b:0\" is not a host" },
	{ "primary without host", DOMAIN("primary = {\":25\"}"),
	  "t.conf:4: primary \":25\" is not a host" },
	{ "an IPv6 primary needs brackets", DOMAIN("primary = {\"2001:db8::1\"}"),
	  "t.conf:4: ...[IPv6]:PORT" },
	{ "primary with an unclosed bracket", DOMAIN("primary = {\"[2001:db8::1:25\"}"),
	  "t.conf:4: ...[IPv6]:PORT" },
	{ "primary that is no name", DOMAIN("primary = {\"a_b c\"}"),
	  "t.conf:4: primary \"a_b c\" has a character" },
	{ "primary that is a wildcard", DOMAIN("primary = {\"0.0.0.0:25\"}"),
	  "t.conf:4: primary...is no host" },
	{ "primary listed twice", DOMAIN("primary = {\"A.b\",\n\"a.b:25\"}"),
	  "t.conf:5: primary \"a.b:25\" is listed twice" },
	{ "primary that is our listener's address",
	  LISTEN("address = \"127.0.0.1:2525\"") "domain \"x.cz\" { primary = {\"127.0.0.1:2525\"} "
						 "}",
	  "t.conf:6: primary \"127.0.0.1:2525\" is our own listener \"mx\"" },
	{ "primary that is loopback at our wildcard", DOMAIN("primary = {\"127.0.0.9:25\"}"),
	  "t.conf:4: primary \"127.0.0.9:25\" is our own listener" },
	{ "primary that is our public address",
	  DOMAIN("primary = {\"192.0.2.7\"}") "addresses = {\"192.0.2.7\"}",
	  "t.conf:4: primary \"192.0.2.7:25\" is our own listener" },
	{ "primary that is our name", DOMAIN("primary = {\"MX2.example.net\"}"),
	  "t.conf:4: primary \"mx2.example.net:25\" is our own listener" },
	{ "primary that is our alias", DOMAIN("primary = {\"old.cz\"}") "aliases = {\"old.cz\"}",
	  "t.conf:4: primary \"old.cz:25\" is our own listener" },
	{ "an unknown acceptance", DOMAIN("acceptance = \"Live\""),
	  "t.conf:4: acceptance = \"Live\"...live, defer, queue" },
	{ "an unknown kind of recipients", DOMAIN("recipients = \"ldap\""),
	  "t.conf:4: recipients = ...file:PATH" },
	{ "an unknown filter", DOMAIN("filter = \"on\""),
	  "t.conf:4: filter = \"on\"...standard, auth-only, off" },
	{ "a hold below a minute", DOMAIN("hold = \"59s\""),
	  "t.conf:4: hold = \"59s\"...1m to 365d" },
	{ "a hold above a year", DOMAIN("hold = \"366d\""),
	  "t.conf:4: hold = \"366d\"...1m to 365d" },
	{ "a hold without unit", DOMAIN("hold = 30"),
	  "t.conf:4: hold = \"30\" is not a duration...\"30d\"" },
	{ "a hold that is a word", DOMAIN("hold = \"month\""),
	  "t.conf:4: hold = \"month\" is not a duration" },
	{ "a recipients file without path", DOMAIN("recipients = \"file:\""),
	  "t.conf:4: ...names no file" },
	{ "a recipients file that is not there", DOMAIN("recipients = \"file:none\""),
	  "t.conf:4: recipients file \"none\" cannot be read: No such file" },
	{ "a recipients file that is a folder", DOMAIN("recipients = \"file:dir\""),
	  "t.conf:4: recipients file \"dir\" cannot be read: Is a directory" },
	{ "a recipients file that is too large", DOMAIN("recipients = \"file:/dev/zero\""),
	  "t.conf:4: recipients file \"/dev/zero\" is larger than 16 MiB" },
	{ "a recipients file with no mailbox of ours", DOMAIN("recipients = \"file:empty\""),
	  "t.conf:4: recipients file \"empty\" has no mailbox of example.cz" },
	{ "a recipients line of a foreign domain", DOMAIN("recipients = \"file:list.alien\""),
	  "list.alien:2: \"b@example.com\" belongs to no configured domain" },
	{ "a recipients line that is no mailbox", DOMAIN("recipients = \"file:list.bad\""),
	  "list.bad:3: \"no mailbox here@example.cz\" has a character" },
	{ "a recipients line without domain", DOMAIN("recipients = \"file:list.bare\""),
	  "list.bare:2: \"jan\" is not a mailbox" },
	{ "a recipients line with a bad domain", DOMAIN("recipients = \"file:list.name\""),
	  "list.name:1: \"a@exa_mple..cz\" has an empty label" },
};

static void mistakes_are_reported(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		_cleanup_(conf_unrefp) struct conf *c = NULL;
		_cleanup_(buf_done) struct buf error;
		int r;

		buf_init(&error, 1024);
		r = conf_read_text("t.conf", str_of(m->text), &c, &error);
		buf_add_byte(&error, '\0');
		if (r == -EINVAL && !c && error_fits(error.p, m->error))
			continue;
		print_error("%s: %d \"%s\", not \"%s\"\n", m->requirement, r, error.p, m->error);
		failed++;
	}
	assert_int_equal(failed, 0);
}

/* libconfuse's lexer keeps its state between files: a mistake must not spoil the next reload. */
static void a_mistake_does_not_spoil_the_next_reading(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(mistakes); i++) {
		_cleanup_(conf_unrefp) struct conf *c = NULL, *good = NULL;
		_cleanup_(buf_done) struct buf error;

		buf_init(&error, 1024);
		assert_int_equal(conf_read_text("t", str_of(mistakes[i].text), &c, &error),
				 -EINVAL);
		good = read_ok(WITH);
		assert_int_equal(good->domain_count, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_are_reported),
		cmocka_unit_test(a_mistake_does_not_spoil_the_next_reading),
	};

	return cmocka_run_group_tests_name("conf mistakes", tests, setup, teardown);
}
