#include "proc/smtpin/screen.h"

#include "base/cleanup.h"
#include "conf/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define BIT SCREEN_BIT

enum { LIST_ZEN = CHECK_COUNT, LIST_POLICY, LIST_FRIENDS, SYMBOLS };

/* Two domains: `strict` refuses what `effects_strict` says, `mild` only scores; made by hand, for nothing here
 * depends on how a configuration is read. */
static enum conf_effect effects_strict[SYMBOLS], effects_mild[SYMBOLS], effects_off[SYMBOLS];
static struct conf_domain domains[] = {
	{ .name = { "strict.test", 11 }, .effects = effects_strict },
	{ .name = { "mild.test", 9 }, .effects = effects_mild },
	{ .name = { "off.test", 8 }, .effects = effects_off },
};
static struct conf_symbol symbols[SYMBOLS];
static struct conf_list lists[] = {
	{ .name = { "zen", 3 }, .zone = { "zen.example.org", 15 } },
	{ .name = { "policy", 6 }, .zone = { "pbl.example.org", 15 } },
	{ .name = { "friends", 7 }, .zone = { "dnswl.example.org", 17 }, .allow = true },
};
static str aliases[] = { { "old.example.net", 15 } };
static struct addr addresses[2];
static struct conf conf = {
	.hostname = { "mx2.example.net", 15 },
	.aliases = aliases,
	.alias_count = 1,
	.addresses = addresses,
	.address_count = 2,
	.symbols = symbols,
	.symbol_count = SYMBOLS,
	.lists = lists,
	.list_count = ELEMENTS(lists),
	.domains = domains,
	.domain_count = ELEMENTS(domains),
};

static const char *const names[SYMBOLS] = {
	"early-talker",    "foreign-protocol",    "pipelining", "unknown-commands",
	"no-reverse-name", "reverse-unconfirmed", "helo-ours",  "helo-bare-word",
	"helo-literal",    "helo-unknown",        "zen",        "policy",
	"friends",
};

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(str_of(text), 0, &a), 0);
	return a;
}

static int set_up(void **state)
{
	(void)state;
	addresses[0] = address("192.0.2.7");
	addresses[1] = address("2001:db8::7");
	for (size_t i = 0; i < SYMBOLS; i++) {
		symbols[i] = (struct conf_symbol){ .name = str_of(names[i]), .score = (double)i };
		effects_strict[i] = EFFECT_REFUSE;
		effects_mild[i] = EFFECT_SCORE;
		effects_off[i] = EFFECT_OFF;
	}
	effects_strict[LIST_FRIENDS] = EFFECT_SCORE;
	effects_mild[CHECK_EARLY_TALKER] = EFFECT_REFUSE;
	return 0;
}

/* --- HELO --- */

static void test_helo(void **state)
{
	static const struct {
		const char *requirement, *helo, *client;
		uint64_t symbols;
	} cases[] = {
		{ "a full name", "mail.example.org", "198.51.100.1", 0 },
		{ "our name", "mx2.example.net", "198.51.100.1", BIT(CHECK_HELO_OURS) },
		{ "our name in capitals, with a dot", "MX2.Example.NET.", "198.51.100.1",
		  BIT(CHECK_HELO_OURS) },
		{ "an alias of ours", "old.example.net", "198.51.100.1", BIT(CHECK_HELO_OURS) },
		{ "our address", "192.0.2.7", "198.51.100.1", BIT(CHECK_HELO_OURS) },
		{ "our address as a literal", "[192.0.2.7]", "198.51.100.1", BIT(CHECK_HELO_OURS) },
		{ "our IPv6 address as a literal", "[IPv6:2001:db8::7]", "198.51.100.1",
		  BIT(CHECK_HELO_OURS) },
		{ "our name from this machine is no lie", "mx2.example.net", "127.0.0.1", 0 },
		{ "our name from our address is no lie", "mx2.example.net", "192.0.2.7", 0 },
		{ "our literal from our address is a literal", "[192.0.2.7]", "192.0.2.7",
		  BIT(CHECK_HELO_LITERAL) },
		{ "our name from ::1 is no lie", "mx2.example.net", "::1", 0 },
		{ "its own literal", "[198.51.100.1]", "198.51.100.1", BIT(CHECK_HELO_LITERAL) },
		{ "somebody else's literal", "[203.0.113.1]", "198.51.100.1",
		  BIT(CHECK_HELO_LITERAL) },
		{ "its own address without brackets", "198.51.100.1", "198.51.100.1",
		  BIT(CHECK_HELO_LITERAL) },
		{ "a literal that is none", "[300.1.2.3]", "198.51.100.1",
		  BIT(CHECK_HELO_LITERAL) },
		{ "a bracket and nothing else", "[", "198.51.100.1", BIT(CHECK_HELO_LITERAL) },
		{ "an IPv6 literal", "[IPv6:2001:db8::1]", "2001:db8::1", BIT(CHECK_HELO_LITERAL) },
		{ "a bare word", "ylmf-pc", "198.51.100.1", BIT(CHECK_HELO_BARE_WORD) },
		{ "localhost", "localhost", "198.51.100.1", BIT(CHECK_HELO_BARE_WORD) },
		{ "localhost with a domain", "LOCALHOST.localdomain", "198.51.100.1",
		  BIT(CHECK_HELO_BARE_WORD) },
		{ "a reserved name", "a.invalid", "198.51.100.1", BIT(CHECK_HELO_BARE_WORD) },
		{ "a name that only ends like one", "mail.notlocalhost", "198.51.100.1", 0 },
		{ "a word and a dot", "user.", "198.51.100.1", BIT(CHECK_HELO_BARE_WORD) },
		{ "nothing", "", "198.51.100.1", BIT(CHECK_HELO_BARE_WORD) },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct addr client = address(cases[i].client);

		print_message("  %s\n", cases[i].requirement);
		assert_int_equal(screen_helo(&conf, &client, str_of(cases[i].helo)),
				 cases[i].symbols);
	}
}

/* --- protocols --- */

static void test_protocols(void **state)
{
	static const struct {
		str input;
		const char *protocol;
	} cases[] = {
		{ STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP" },
		{ STR("CONNECT mx:25 HTTP/1.0\r\n"), "HTTP" },
		{ STR("OPTIONS / HTTP/1.0\r\n"), "HTTP" },
		{ STR("OPTIONS sip:nm SIP/2.0\r\n"), "SIP" },
		{ STR("OPTIONS rtsp://a RTSP/1.0\r\n"), "RTSP" },
		{ STR("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "TLS" },
		{ STR("\x80\x2e\x01\x03\x01"), "TLS" },
		{ STR("SSH-2.0-Go\r\n"), "SSH" },
		{ STR("\x03\x00\x00\x13\x0e\xe0\x00\x00"), "RDP" },
		{ STR("\x05\x01\x00"), "SOCKS" },
		{ STR("\x04\x01\x00\x19\x05\x06\x07\x08"), "SOCKS" },
		{ STR("PROXY TCP4 1.2.3.4 5.6.7.8 1 25\r\n"), "PROXY" },
		{ STR("\r\n\r\n\0\r\nQUIT\n\x21"), "PROXY" },
		{ STR("\x00\x00\x00\x45\xffSMBr"), "SMB" },
		{ STR("EHLO mail.example.org\r\n"), NULL },
		{ STR("HELO GET\r\n"), NULL },
		{ STR("HELP\r\n"), NULL },
		{ STR("DATA\r\n"), NULL },
		{ STR("GET"), NULL },
		{ STR("\x16"), NULL },
		{ STR(""), NULL },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		const char *protocol = screen_protocol(cases[i].input);

		if (!cases[i].protocol)
			assert_null(protocol);
		else
			assert_string_equal(protocol, cases[i].protocol);
	}
	assert_int_equal(screen_before_greeting(STR_NONE), 0);
	assert_int_equal(screen_before_greeting(STR("EHLO a\r\n")), BIT(CHECK_EARLY_TALKER));
	assert_int_equal(screen_before_greeting(STR("GET / HTTP/1.0\r\n")),
			 BIT(CHECK_EARLY_TALKER) | BIT(CHECK_FOREIGN_PROTOCOL));
}

static void test_commands(void **state)
{
	(void)state;
	assert_int_equal(screen_no_command(STR("XYZZY\r\n"), 1), 0);
	assert_int_equal(screen_no_command(STR("XYZZY\r\n"), SCREEN_UNKNOWN_COMMANDS),
			 BIT(CHECK_UNKNOWN_COMMANDS));
	assert_int_equal(screen_no_command(STR("GET / HTTP/1.0\r\n"), 1),
			 BIT(CHECK_FOREIGN_PROTOCOL));
	/* Before EHLO was answered, and for who says HELO, nothing may follow anything. */
	assert_int_equal(screen_pipelined(false, SMTP_EHLO), BIT(CHECK_PIPELINING));
	assert_int_equal(screen_pipelined(false, SMTP_MAIL), BIT(CHECK_PIPELINING));
	assert_int_equal(screen_pipelined(true, SMTP_MAIL), 0);
	assert_int_equal(screen_pipelined(true, SMTP_RCPT), 0);
	assert_int_equal(screen_pipelined(true, SMTP_RSET), 0);
	assert_int_equal(screen_pipelined(true, SMTP_DATA), BIT(CHECK_PIPELINING));
	assert_int_equal(screen_pipelined(true, SMTP_EHLO), BIT(CHECK_PIPELINING));
	assert_int_equal(screen_pipelined(true, SMTP_STARTTLS), BIT(CHECK_PIPELINING));
}

/* --- what follows --- */

static void test_refusals(void **state)
{
	static const struct {
		const char *requirement;
		uint64_t symbols;
		int strict, mild, off, all;
	} cases[] = {
		{ "nothing noticed", 0, -1, -1, -1, -1 },
		{ "the effect is the domain's", BIT(LIST_ZEN), LIST_ZEN, -1, -1, -1 },
		{ "the first symbol is named", BIT(LIST_POLICY) | BIT(CHECK_HELO_UNKNOWN),
		  CHECK_HELO_UNKNOWN, -1, -1, -1 },
		{ "an allow list refuses nobody", BIT(LIST_FRIENDS), -1, -1, -1, -1 },
		{ "on an allow list, what DNS says is excused",
		  BIT(LIST_FRIENDS) | BIT(LIST_ZEN) | BIT(CHECK_NO_REVERSE_NAME) |
			  BIT(CHECK_HELO_UNKNOWN) | BIT(CHECK_HELO_LITERAL),
		  -1, -1, -1, -1 },
		{ "what a client does itself is not", BIT(LIST_FRIENDS) | BIT(CHECK_HELO_OURS),
		  CHECK_HELO_OURS, -1, -1, -1 },
		{ "several domains may refuse", BIT(CHECK_EARLY_TALKER), CHECK_EARLY_TALKER,
		  CHECK_EARLY_TALKER, -1, -1 },
		{ "bits past the symbols mean nothing", BIT(SYMBOLS) | BIT(63), -1, -1, -1, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		uint64_t s = cases[i].symbols;

		print_message("  %s\n", cases[i].requirement);
		assert_int_equal(screen_refusal(&conf, &domains[0], s), cases[i].strict);
		assert_int_equal(screen_refusal(&conf, &domains[1], s), cases[i].mild);
		assert_int_equal(screen_refusal(&conf, &domains[2], s), cases[i].off);
		assert_int_equal(screen_refusal_of_all(&conf, s), cases[i].all);
	}
	/* Without the domain that turns everything off, there is one that all refuse. */
	conf.domain_count = 2;
	assert_int_equal(screen_refusal_of_all(&conf, BIT(CHECK_EARLY_TALKER) | BIT(LIST_ZEN)),
			 CHECK_EARLY_TALKER);
	assert_int_equal(screen_refusal_of_all(&conf, BIT(LIST_ZEN)), -1);
	conf.domain_count = ELEMENTS(domains);
}

static void test_who_must_wait_for_dns(void **state)
{
	(void)state;
	assert_true(screen_needs_facts(&conf, &domains[0]));
	assert_false(screen_needs_facts(&conf, &domains[1]));
	assert_false(screen_needs_facts(&conf, &domains[2]));
	/* A bare word alone is known without DNS, but an allow list may excuse it. */
	effects_off[CHECK_HELO_BARE_WORD] = EFFECT_REFUSE;
	assert_false(screen_needs_facts(&conf, &domains[2]));
	effects_off[LIST_FRIENDS] = EFFECT_SCORE;
	assert_true(screen_needs_facts(&conf, &domains[2]));
	effects_off[CHECK_HELO_BARE_WORD] = EFFECT_OFF;
	effects_off[CHECK_EARLY_TALKER] = EFFECT_REFUSE;
	assert_false(screen_needs_facts(&conf, &domains[2]));
	effects_off[CHECK_EARLY_TALKER] = EFFECT_OFF;
	effects_off[LIST_FRIENDS] = EFFECT_OFF;
	effects_off[LIST_POLICY] = EFFECT_REFUSE;
	assert_true(screen_needs_facts(&conf, &domains[2]));
	effects_off[LIST_POLICY] = EFFECT_OFF;
}

static void test_replies_name_the_symbol_and_fit_a_line(void **state)
{
	struct addr client = address("2001:db8:1111:2222:3333:4444:5555:6666");
	char text[SCREEN_REPLY_SIZE], long_zone[254];
	struct conf_list zen = lists[0];

	(void)state;
	for (int i = 0; i < SYMBOLS; i++) {
		str reply = screen_reply(&conf, i, &client, text);

		assert_true(str_starts(reply, STR("550 5.7.1 ")));
		assert_true(str_case_ends(reply, str_of(names[i])));
		assert_true(reply.n < 510);
	}
	assert_true(str_eq(screen_reply(&conf, LIST_ZEN, &addresses[0], text),
			   STR("550 5.7.1 192.0.2.7 is listed at zen.example.org; ask there to be "
			       "taken off: zen")));
	assert_true(str_eq(screen_reply(&conf, CHECK_NO_REVERSE_NAME, &addresses[0], text),
			   STR("550 5.7.1 192.0.2.7 has no name in DNS; give it a PTR record: "
			       "no-reverse-name")));
	memset(long_zone, 'z', sizeof(long_zone));
	lists[0].zone = str_mem(long_zone, 253);
	assert_true(str_case_ends(screen_reply(&conf, LIST_ZEN, &client, text), STR(": zen")));
	lists[0] = zen;
}

/* --- the envelope --- */

static void fill(uint64_t noticed, const char *domain, Locum__Envelope *e, struct arena *arena)
{
	static Locum__Recipient recipient;
	static Locum__Recipient *recipients[] = { &recipient };

	locum__envelope__init(e);
	locum__recipient__init(&recipient);
	recipient.domain = (char *)domain;
	e->recipients = recipients;
	e->n_recipients = 1;
	assert_int_equal(screen_fill(&conf, noticed, STR("ylmf-pc"), NULL, arena, e), 0);
}

static void index_domains(struct conf *c)
{
	map_init(&c->domains_by_name);
	for (size_t i = 0; i < c->domain_count; i++)
		assert_int_equal(conf_index_domain(c, &c->domains[i]), 0);
}

static void test_the_envelope_gets_what_was_noticed(void **state)
{
	_cleanup_(arena_done) struct arena arena;
	uint64_t noticed = BIT(CHECK_HELO_BARE_WORD) | BIT(CHECK_NO_REVERSE_NAME) | BIT(LIST_ZEN);
	Locum__Envelope e;

	(void)state;
	arena_init(&arena, 65536);
	index_domains(&conf);
	fill(noticed, "mild.test", &e, &arena);
	assert_int_equal(e.n_symbols, 3);
	assert_string_equal(e.symbols[0]->name, "no-reverse-name");
	assert_string_equal(e.symbols[0]->text, "");
	assert_string_equal(e.symbols[1]->name, "helo-bare-word");
	assert_string_equal(e.symbols[1]->text, "ylmf-pc");
	assert_true(e.symbols[1]->score == CHECK_HELO_BARE_WORD);
	assert_string_equal(e.symbols[2]->name, "zen");
	/* "what all its domains turn off is not noted" */
	fill(noticed, "off.test", &e, &arena);
	assert_int_equal(e.n_symbols, 0);
	fill(0, "mild.test", &e, &arena);
	assert_int_equal(e.n_symbols, 0);
	map_done(&conf.domains_by_name);
}

static void test_no_memory_writes_nothing(void **state)
{
	_cleanup_(arena_done) struct arena arena;
	Locum__Recipient recipient = LOCUM__RECIPIENT__INIT, *recipients[] = { &recipient };
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;

	(void)state;
	arena_init(&arena, 16);
	index_domains(&conf);
	recipient.domain = (char *)"mild.test";
	e.recipients = recipients;
	e.n_recipients = 1;
	assert_int_equal(screen_fill(&conf, BIT(LIST_ZEN), STR("a"), NULL, &arena, &e), -ENOMEM);
	assert_int_equal(e.n_symbols, 0);
	map_done(&conf.domains_by_name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_helo),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_who_must_wait_for_dns),
		cmocka_unit_test(test_replies_name_the_symbol_and_fit_a_line),
		cmocka_unit_test(test_the_envelope_gets_what_was_noticed),
		cmocka_unit_test(test_no_memory_writes_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
