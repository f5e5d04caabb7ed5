#include "conf/conf.h"

#include "base/cleanup.h"
#include "conf/reader.h"
#include "conf/units.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BASE                                                                                       \
	"hostname = \"mx2.example.net\"\n"                                                         \
	"listen \"mx\" { address = \"[::]:25\" }\n"
#define WITH BASE "domain \"example.cz\" { }\n"
#define DOMAIN(text) BASE "domain \"example.cz\" {\n" text "\n}\n"
#define LISTEN(text)                                                                               \
	"hostname = \"mx2.example.net\"\ndomain \"example.cz\" { }\nlisten \"mx\" {\n" text "\n}"  \
	"\n"
#define L63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

/* Tests run in a folder of their own with these files; paths are relative to it on purpose. */
static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void make_pair(const char *certificate, const char *key, const char *other_key, long from,
		      long until)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	FILE *f = fopen(certificate, "w");

	assert_true(k && x && f);
	X509_set_pubkey(x, k);
	X509_gmtime_adj(X509_getm_notBefore(x), from);
	X509_gmtime_adj(X509_getm_notAfter(x), until);
	assert_true(X509_sign(x, k, EVP_sha256()) > 0);
	PEM_write_X509(f, x);
	fclose(f);
	f = fopen(key, "w");
	PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	if (other_key) {
		f = fopen(other_key, "w");
		PEM_write_PrivateKey(f, k, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6,
				     NULL, NULL);
		fclose(f);
	}
	X509_free(x);
	EVP_PKEY_free(k);
}

static char folder[] = "/tmp/locum-conf-test-XXXXXX";

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	make_pair("good.crt", "good.key", "locked.key", -60, 3600);
	make_pair("other.crt", "other.key", NULL, -60, 3600);
	make_pair("old.crt", "old.key", NULL, -7200, -3600);
	make_pair("early.crt", "early.key", NULL, 3600, 7200);
	write_file("empty", "");
	write_file("list",
		   "# staff\nJan@Example.cz\n\n  petra@example.cz  # the boss\nc#@example.cz\n"
		   "jan@example.cz\r\nx@example.org\n");
	write_file("list.alien", "a@example.cz\nb@example.com\n");
	write_file("list.bad", "a@example.cz\n\nno mailbox here@example.cz\n");
	write_file("list.name", "a@exa_mple..cz\n");
	write_file("list.bare", "# one\njan\n");
	mkdir("dir", 0700);
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "good.crt",   "good.key",  "locked.key", "other.crt",
					     "other.key",  "old.crt",   "old.key",    "early.crt",
					     "early.key",  "empty",     "list",       "list.bad",
					     "list.alien", "list.name", "list.bare",  "file.conf",
					     "big" };

	(void)state;
	for (size_t i = 0; i < ELEMENTS(files); i++)
		unlink(files[i]);
	rmdir("dir");
	if (chdir("/") < 0)
		return -1;
	return rmdir(folder);
}

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

static bool error_fits(const char *error, const char *expected)
{
	str want = str_of(expected), have = str_of(error), part;
	bool first = true;

	while (want.n) {
		ssize_t gap = str_find(want, STR("..."));
		ssize_t at;

		part = gap < 0 ? want : str_first(want, (size_t)gap);
		want = gap < 0 ? STR_NONE : str_from(want, (size_t)gap + 3);
		at = part.n ? str_find(have, part) : 0;
		if (at < 0 || (first && at != 0))
			return false;
		have = str_from(have, (size_t)at + part.n);
		first = false;
	}
	return true;
}

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

/* --- values --- */

static void describe_addresses(struct buf *to, const char *what, const struct addr *a, size_t count)
{
	char text[ADDR_TEXT_SIZE];

	buf_addf(to, " %s=", what);
	for (size_t i = 0; i < count; i++)
		buf_addf(to, "%s,", addr_text(&a[i], text));
}

static void describe_domain(struct buf *to, const struct conf_domain *d)
{
	char hold[UNITS_TEXT_SIZE];

	buf_addf(to, " domain=%s", d->name.p);
	for (size_t i = 0; i < d->primary_count; i++)
		buf_addf(to, " >%s%s:%u", d->primary[i].mx ? "MX" : "", d->primary[i].host.p ?: "",
			 d->primary[i].port);
	buf_addf(to, " acceptance=%d recipients=%d hold=%s filter=%d", d->acceptance, d->recipients,
		 units_duration_text(d->hold, hold), d->filter);
	for (size_t i = 0; i < d->address_count; i++)
		buf_addf(to, " <%.*s>", STR_ARG(d->addresses[i]));
}

static void describe(const struct conf *c, struct buf *to)
{
	char text[ADDR_TEXT_SIZE];

	buf_addf(to, "hostname=%s", c->hostname.p);
	for (size_t i = 0; i < c->alias_count; i++)
		buf_addf(to, " alias=%s", c->aliases[i].p);
	describe_addresses(to, "addresses", c->addresses, c->address_count);
	buf_addf(to, " state_dir=%s user=%s smtpin=%u json=%d", c->state_dir.p, c->user.p,
		 c->smtpin_processes, c->log_json);
	for (size_t i = 0; i < c->listen_count; i++)
		buf_addf(to, " listen=%s@%s tls=%s,%s pem=%d,%d", c->listen[i].name.p,
			 addr_text(&c->listen[i].address, text),
			 c->listen[i].tls_certificate.p ?: "", c->listen[i].tls_key.p ?: "",
			 c->listen[i].certificate_pem.n > 0, c->listen[i].key_pem.n > 0);
	describe_addresses(to, "servers", c->dns.servers, c->dns.server_count);
	buf_addf(to,
		 " anchor=%s size=%llu sessions=%u/%u rcpt=%u hops=%u segment=%llu reserve=%llu",
		 c->dns.trust_anchor.p ?: "", (unsigned long long)c->limits.message_bytes,
		 c->limits.sessions, c->limits.sessions_per_client, c->limits.recipients,
		 c->limits.hops, (unsigned long long)c->spool.segment_bytes,
		 (unsigned long long)c->spool.reserve_bytes);
	for (size_t i = 0; i < c->domain_count; i++)
		describe_domain(to, &c->domains[i]);
	for (size_t i = 0; i < c->note_count; i++)
		buf_addf(to, "\n%s", c->notes[i].p);
	buf_add_byte(to, '\0');
}

struct value {
	const char *requirement;
	const char *text;
	const char *part; /* of the description; in front "!": must not be in it */
};

static const struct value values[] = {
	{ "everything else has a default", WITH,
	  "hostname=mx2.example.net addresses= state_dir=/var/lib/locum user=locum smtpin=0 json=0 "
	  "listen=mx@[::]:25 tls=, pem=0,0 servers= anchor= size=52428800 sessions=20000/50 "
	  "rcpt=1000 hops=50 "
	  "segment=67108864 reserve=268435456 domain=example.cz >MX:25 acceptance=0 recipients=0 "
	  "hold=30d "
	  "filter=0\nthis version does not filter content" },
	{ "only the general note when nothing was chosen", WITH, "!acceptance =" },
	{ "names are lower-cased and lose the final dot",
	  "hostname = \"MX2.Example.NET.\" listen \"a\" {address=\"127.0.0.1\"} domain \"EX.cz.\" "
	  "{}",
	  "hostname=mx2.example.net addresses= " },
	{ "domains too", "hostname = a.b listen \"a\" {address=\"127.0.0.1\"} domain \"EX.cz.\" {}",
	  "domain=ex.cz >" },
	{ "a name of 253 characters with labels of 63 is allowed",
	  WITH "aliases = {\"" L63 "." L63 "." L63
	       ".abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghi\"}",
	  "alias=abcdefghij" },
	{ "a list of one needs no braces", WITH "aliases = a.b", "alias=a.b addresses" },
	{ "+= appends to a list", WITH "aliases = a.b\naliases += {\"c.d\", e.f}",
	  "alias=a.b alias=c.d alias=e.f" },
	{ "comments of all kinds", "# a \"\n// b {\n/* c \" } */" WITH, "hostname=mx2" },
	{ "quotes in comments and // in words do not matter", WITH "state_dir = a//b # it's",
	  "state_dir=a//b" },
	{ "lines may end in CRLF",
	  "hostname = a.b\r\nlisten \"a\" { address = \"127.0.0.1\" }\r\ndomain c.d { }\r\n",
	  "hostname=a.b" },
	{ "our own hostname may be a domain", BASE "domain \"mx2.example.net\" {}",
	  "domain=mx2.example.net" },
	{ "one address twice is one", WITH "addresses = {\"192.0.2.7\", \"::ffff:192.0.2.7\"}",
	  "addresses=192.0.2.7:0, " },
	{ "state_dir loses final slashes", WITH "state_dir = \"/srv/mail//\"",
	  "state_dir=/srv/mail user" },
	{ "a relative state_dir stays relative", WITH "state_dir = \"here\"",
	  "state_dir=here user" },
	{ "log in JSON", WITH "log = \"json\"", "json=1" },
	{ "processes", WITH "processes { smtpin = 3 filter = 2 }", "smtpin=3" },
	{ "filter processes are noted", WITH "processes { filter = 2 }",
	  "\nprocesses { filter } has no effect" },
	{ "a listener's port is 25 by default", LISTEN("address = \"192.0.2.1\""),
	  "listen=mx@192.0.2.1:25" },
	{ "listeners keep their order", WITH "listen \"b\" { address = \"127.0.0.1:26\" }",
	  "listen=mx@[::]:25 tls=, pem=0,0 listen=b@127.0.0.1:26" },
	{ "a certificate and its key",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"good.key\""),
	  "tls=good.crt,good.key pem=1,1" },
	{ "a good certificate needs no note",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"good.key\""),
	  "!certificate of" },
	{ "an expired certificate is noted",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"old.crt\"\ntls_key = \"old.key\""),
	  "\nthe certificate of listen \"mx\" (old.crt) has expired" },
	{ "a certificate of tomorrow is noted",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"early.crt\"\ntls_key = \"early.key\""),
	  "\nthe certificate of listen \"mx\" (early.crt) is not valid yet" },
	{ "proxy_protocol = false is fine", LISTEN("address = \"[::]:25\"\nproxy_protocol = no"),
	  "listen=mx@" },
	{ "DNS servers have port 53 by default",
	  WITH "dns { servers = {\"127.0.0.1:5353\", \"::1\"} }",
	  "servers=127.0.0.1:5353,[::1]:53," },
	{ "a trust anchor", WITH "dns { trust_anchor = \"list\" }", "anchor=list " },
	{ "clamd is noted", WITH "clamd { socket = \"/run/clamd\" }",
	  "\nclamd is configured, but nothing is scanned" },
	{ "clamd by address is noted", WITH "clamd { address = \"host:3310\" }",
	  "\nclamd is configured" },
	{ "the console is noted", WITH "console { address = \"127.0.0.1:8025\" }",
	  "\nconsole is configured" },
	{ "a hostname without dot is noted",
	  "hostname = a listen \"a\" {address=\"127.0.0.1\"} domain b.c {}",
	  "\nhostname \"a\" has no dot" },
	{ "limits",
	  WITH "limits { message_size = 64k sessions = 9 sessions_per_client = 8 recipients = 7 "
	       "hops = 6 }",
	  "size=65536 sessions=9/8 rcpt=7 hops=6" },
	{ "few sessions lower the default of a client", WITH "limits { sessions = 10 }",
	  "sessions=10/10" },
	{ "the largest message", WITH "limits { message_size = 1G }", "size=1073741824" },
	{ "spool", WITH "spool { segment_size = \"1M\" reserve = \"2M\" }",
	  "segment=1048576 reserve=2097152" },
	{ "primary: every form",
	  DOMAIN("primary = {\"mx\", \"MX:2525\", \"Mail.cz\", \"mail.cz:26\", "
		 "\"[2001:DB8::1]:27\", \"192.0.2.1\"}"),
	  ">MX:25 >MX:2525 >mail.cz:25 >mail.cz:26 >2001:db8::1:27 >192.0.2.1:25" },
	{ "primary at our address and another port", DOMAIN("primary = {\"127.0.0.1:2525\"}"),
	  ">127.0.0.1:2525" },
	{ "primary at loopback beside a listener elsewhere",
	  LISTEN("address = \"127.0.0.2:25\"") "domain \"x.cz\" { primary = \"127.0.0.3:25\" }",
	  ">127.0.0.3:25" },
	{ "hold: shortest", DOMAIN("hold = 1m"), "hold=1m" },
	{ "hold: longest", DOMAIN("hold = 365d"), "hold=365d" },
	{ "acceptance queue needs no note", DOMAIN("acceptance = queue"), "!acceptance =" },
	{ "acceptance defer is noted", DOMAIN("acceptance = defer"),
	  "acceptance=1 recipients=0 hold=30d filter=0\n...\n"
	  "this version treats acceptance = \"defer\" (example.cz) as \"queue\"" },
	{ "equal notes are one",
	  DOMAIN("acceptance = live") "domain b.c { acceptance = live } domain d.e "
				      "{acceptance=live}",
	  "\nthis version treats acceptance = \"live\" (example.cz and 2 more) as \"queue\"" },
	{ "recipients any needs no note", DOMAIN("recipients = any"), "!recipients =" },
	{ "recipients learn is noted", DOMAIN("recipients = learn"),
	  "\nthis version treats recipients = \"learn\" (example.cz)" },
	{ "filter off needs no note", DOMAIN("filter = off"), "!filter =" },
	{ "filter auth-only is noted", DOMAIN("filter = auth-only"),
	  "filter=1\n...\nthis version treats filter = \"auth-only\" (example.cz)" },
	{ "a recipients file: sorted, lower case, once each, without those of other domains",
	  DOMAIN("recipients = \"file:list\"") "domain example.org { recipients = any }",
	  "recipients=2 hold=30d filter=0 <c#@example.cz> <jan@example.cz> <petra@example.cz> "
	  "domain=example.org" },
	{ "one recipients file for two domains",
	  DOMAIN("recipients = \"file:list\"") "domain example.org { recipients = \"file:list\" }",
	  "domain=example.org >MX:25 acceptance=0 recipients=2 hold=30d filter=0 <x@example.org>" },
};

static bool description_fits(const char *text, const char *part)
{
	char expected[512];

	if (part[0] == '!')
		return !strstr(text, part + 1);
	/* The part may stand anywhere. */
	snprintf(expected, sizeof(expected), "...%s", part);
	return error_fits(text, expected);
}

static void values_are_understood(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(values); i++) {
		const struct value *v = &values[i];
		_cleanup_(conf_unrefp) struct conf *c = NULL;
		_cleanup_(buf_done) struct buf error, text;
		int r;

		buf_init(&error, 1024);
		buf_init(&text, 65536);
		r = conf_read_text("t.conf", str_of(v->text), &c, &error);
		if (r == 0)
			describe(c, &text);
		if (r == 0 && error.n == 0 && description_fits(text.p, v->part))
			continue;
		print_error("%s: %d \"%.*s\" \"%.*s\", not \"%s\"\n", v->requirement, r,
			    STR_ARG(buf_str(&error)), STR_ARG(buf_str(&text)), v->part);
		failed++;
	}
	assert_int_equal(failed, 0);
}

/* --- the snapshot --- */

static void the_snapshot_keeps_everything(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(values); i++) {
		_cleanup_(conf_unrefp) struct conf *before = NULL, *after = NULL;
		_cleanup_(buf_done) struct buf error, packed, text, again;

		buf_init(&error, 1024);
		buf_init(&packed, 1 << 20);
		buf_init(&text, 65536);
		buf_init(&again, 65536);
		assert_int_equal(conf_read_text("t", str_of(values[i].text), &before, &error), 0);
		assert_int_equal(conf_pack(before, true, &packed), 0);
		assert_int_equal(conf_unpack(buf_str(&packed), &after), 0);
		describe(before, &text);
		describe(after, &again);
		assert_string_equal(text.p, again.p);
		for (size_t k = 0; k < after->domain_count; k++)
			assert_ptr_equal(conf_domain(after, after->domains[k].name),
					 &after->domains[k]);
		for (size_t k = 0; k < after->listen_count; k++)
			assert_true(str_eq(before->listen[k].key_pem, after->listen[k].key_pem));
	}
}

static const char tls_text[] =
	LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"good.key\"");

static void keys_stay_with_smtpin(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = NULL, *after = NULL;
	_cleanup_(buf_done) struct buf error, packed;

	(void)state;
	buf_init(&error, 1024);
	buf_init(&packed, 1 << 20);
	assert_int_equal(conf_read_text("t", str_of(tls_text), &c, &error), 0);
	assert_int_equal(conf_pack(c, false, &packed), 0);
	assert_int_equal(str_find(buf_str(&packed), STR("PRIVATE KEY")), -1);
	assert_int_equal(conf_unpack(buf_str(&packed), &after), 0);
	assert_int_equal(after->listen[0].key_pem.n, 0);
	assert_int_equal(after->listen[0].certificate_pem.n, 0);
	assert_true(str_eq(after->listen[0].tls_key, STR("good.key")));
}

static void a_damaged_snapshot_is_refused(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = NULL;
	_cleanup_(buf_done) struct buf error, packed;
	struct conf *after = NULL;

	(void)state;
	buf_init(&error, 1024);
	buf_init(&packed, 1 << 20);
	assert_int_equal(conf_read_text("t", str_of(values[0].text), &c, &error), 0);
	assert_int_equal(conf_pack(c, true, &packed), 0);
	for (size_t n = 0; n < packed.n; n++) {
		int r = conf_unpack(str_first(buf_str(&packed), n), &after);

		/* Some cuts fall between fields; what is left must still be sound. */
		assert_true(r == -EPROTO || (r == 0 && after->hostname.n > 0));
		if (r == 0)
			conf_unref(after);
	}
	c->domains[0].hold = 0;
	buf_reset(&packed);
	assert_int_equal(conf_pack(c, true, &packed), 0);
	assert_int_equal(conf_unpack(buf_str(&packed), &after), -EPROTO);
	c->domains[0].hold = 1;
	c->domains[0].primary[0].port = 0;
	buf_reset(&packed);
	assert_int_equal(conf_pack(c, true, &packed), 0);
	assert_int_equal(conf_unpack(buf_str(&packed), &after), -EPROTO);
	/* A buffer that is too small says so. */
	packed.max = 10;
	buf_reset(&packed);
	assert_int_equal(conf_pack(c, true, &packed), -ENOBUFS);
}

/* --- questions --- */

static struct conf *read_ok(const char *text)
{
	_cleanup_(buf_done) struct buf error;
	struct conf *c = NULL;

	buf_init(&error, 1024);
	if (conf_read_text("t", str_of(text), &c, &error) < 0)
		fail_msg("%.*s", STR_ARG(buf_str(&error)));
	return c;
}

static void domains_and_names_ignore_case(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = read_ok(WITH "aliases = {\"old.example.net\"}");

	(void)state;
	assert_non_null(conf_domain(c, STR("EXAMPLE.cz")));
	assert_null(conf_domain(c, STR("example.com")));
	assert_null(conf_domain(c, STR("")));
	assert_true(conf_is_our_name(c, STR("MX2.example.NET")));
	assert_true(conf_is_our_name(c, STR("old.Example.net")));
	assert_false(conf_is_our_name(c, STR("example.net")));
}

static void listeners_and_addresses_are_ours(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = read_ok(
		"hostname = a.b domain c.d {} addresses = {\"192.0.2.7\"}\n"
		"listen a { address = \"198.51.100.1:25\" } listen b { address = \"[::]:26\" }");
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse_ip(STR("192.0.2.7"), 99, &a), 0);
	assert_true(conf_is_our_address(c, &a));
	assert_int_equal(addr_parse_ip(STR("198.51.100.1"), 0, &a), 0);
	assert_true(conf_is_our_address(c, &a));
	assert_int_equal(addr_parse_ip(STR("::"), 0, &a), 0);
	assert_false(conf_is_our_address(c, &a));
	assert_int_equal(addr_parse_ip(STR("203.0.113.1"), 0, &a), 0);
	assert_false(conf_is_our_address(c, &a));
	/* The wildcard brings in the interfaces; loopback is always there. */
	assert_int_equal(addr_parse_ip(STR("127.0.0.1"), 0, &a), 0);
	assert_false(conf_is_our_address(c, &a));
	assert_int_equal(conf_add_interface_addresses(c), 0);
	assert_true(conf_is_our_address(c, &a));
}

static void a_specific_listener_adds_no_interfaces(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c =
		read_ok("hostname = a.b domain c.d {} listen a { address = \"127.0.0.2:25\" }");

	(void)state;
	assert_int_equal(conf_add_interface_addresses(c), 0);
	assert_int_equal(c->address_count, 0);
}

static void listed_recipients(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = read_ok(
		DOMAIN("recipients = \"file:list\"") "domain example.org { recipients = any }");
	const struct conf_domain *d = conf_domain(c, STR("example.cz"));
	char huge[600];

	(void)state;
	assert_true(conf_recipient_listed(d, STR("jan@example.cz")));
	assert_true(conf_recipient_listed(d, STR("JAN@EXAMPLE.CZ")));
	assert_true(conf_recipient_listed(d, STR("c#@example.cz")));
	assert_false(conf_recipient_listed(d, STR("jana@example.cz")));
	assert_false(conf_recipient_listed(d, STR("x@example.org")));
	assert_false(conf_recipient_listed(d, STR("")));
	assert_true(conf_recipient_listed(d, STR("PostMaster@example.cz")));
	assert_false(conf_recipient_listed(d, STR("postmaster@example.org")));
	memset(huge, 'a', sizeof(huge));
	assert_false(conf_recipient_listed(d, str_mem(huge, sizeof(huge))));
}

/* --- files --- */

static void files_are_read(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = NULL;
	_cleanup_(buf_done) struct buf error, dir;

	(void)state;
	buf_init(&error, 1024);
	buf_init(&dir, 256);
	write_file("file.conf", WITH "state_dir = \"/srv/x\"\n");
	assert_int_equal(conf_read("file.conf", &c, &error), 0);
	assert_true(str_eq(c->state_dir, STR("/srv/x")));
	/* The place of the socket does not depend on anything else. */
	write_file("file.conf", "state_dir = \"/srv/y/\"\ndomain \"?\" { hold = \"never\" }\n");
	assert_int_equal(conf_read_state_dir("file.conf", &dir, &error), 0);
	assert_true(str_eq(buf_str(&dir), STR("/srv/y")));
	buf_reset(&dir);
	assert_int_equal(conf_read_state_dir("empty", &dir, &error), 0);
	assert_true(str_eq(buf_str(&dir), STR("/var/lib/locum")));
	write_file("file.conf", "state_dir = \"/srv/y\"\nstate = \"\n");
	assert_int_equal(conf_read_state_dir("file.conf", &dir, &error), -EINVAL);
	assert_true(str_starts(buf_str(&error), STR("file.conf:2: the string")));
}

static void unreadable_files_are_errors(void **state)
{
	static const struct {
		const char *path, *error;
		int result;
	} cases[] = {
		{ "none", "none: cannot be read: No such file or directory; --config", -ENOENT },
		{ "dir", "dir: cannot be read: Is a directory", -EISDIR },
		{ "/dev/zero", "/dev/zero: the file is larger than 4 MiB", -EFBIG },
	};
	struct conf *c = NULL;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		_cleanup_(buf_done) struct buf error, dir;

		buf_init(&error, 1024);
		buf_init(&dir, 256);
		assert_int_equal(conf_read(cases[i].path, &c, &error), cases[i].result);
		assert_true(str_starts(buf_str(&error), str_of(cases[i].error)));
		assert_int_equal(conf_read_state_dir(cases[i].path, &dir, &error), cases[i].result);
	}
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

static void many_domains(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = NULL, *after = NULL;
	_cleanup_(buf_done) struct buf text, error, packed;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_init(&error, 1024);
	buf_init(&packed, 1 << 20);
	buf_add(&text, STR(BASE));
	for (int i = 0; i < 2000; i++)
		assert_int_equal(buf_addf(&text,
					  "domain \"d%d.example\" { acceptance = \"live\" }\n", i),
				 0);
	assert_int_equal(conf_read_text("t", buf_str(&text), &c, &error), 0);
	assert_int_equal(c->domain_count, 2000);
	assert_int_equal(c->note_count, 2);
	assert_non_null(conf_domain(c, STR("d1999.example")));
	assert_int_equal(conf_pack(c, false, &packed), 0);
	assert_int_equal(conf_unpack(buf_str(&packed), &after), 0);
	assert_non_null(conf_domain(after, STR("d1999.example")));
}

static void a_nul_byte_is_not_text(void **state)
{
	_cleanup_(buf_done) struct buf error;
	struct conf *c = NULL;

	(void)state;
	buf_init(&error, 1024);
	assert_int_equal(conf_read_text("t", STR(WITH "\0"), &c, &error), -EINVAL);
	assert_true(str_starts(buf_str(&error), STR("t:1: the file contains a NUL byte")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_are_reported),
		cmocka_unit_test(values_are_understood),
		cmocka_unit_test(the_snapshot_keeps_everything),
		cmocka_unit_test(keys_stay_with_smtpin),
		cmocka_unit_test(a_damaged_snapshot_is_refused),
		cmocka_unit_test(domains_and_names_ignore_case),
		cmocka_unit_test(listeners_and_addresses_are_ours),
		cmocka_unit_test(a_specific_listener_adds_no_interfaces),
		cmocka_unit_test(listed_recipients),
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(unreadable_files_are_errors),
		cmocka_unit_test(a_mistake_does_not_spoil_the_next_reading),
		cmocka_unit_test(many_domains),
		cmocka_unit_test(a_nul_byte_is_not_text),
	};

	return cmocka_run_group_tests_name("conf", tests, setup, teardown);
}
