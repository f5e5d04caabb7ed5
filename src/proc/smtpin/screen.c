#include "proc/smtpin/screen.h"

#include <stdio.h>

#define BIT SCREEN_BIT

/* What a client does itself; nothing that DNS says excuses it. */
#define BEHAVIOUR                                                                                  \
	(BIT(CHECK_EARLY_TALKER) | BIT(CHECK_FOREIGN_PROTOCOL) | BIT(CHECK_PIPELINING) |           \
	 BIT(CHECK_UNKNOWN_COMMANDS) | BIT(CHECK_HELO_OURS))

/* Of the built-in ones; every list beside them. */
#define BY_DNS                                                                                     \
	(BIT(CHECK_NO_REVERSE_NAME) | BIT(CHECK_REVERSE_UNCONFIRMED) | BIT(CHECK_HELO_UNKNOWN))

#define HELO_TEXT_BYTES 100

/* --- HELO --- */

static bool is_this_machine(const struct conf *conf, const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (a->family == AF_INET ? a->ip[0] == 127 : memcmp(a->ip, one, sizeof(one)) == 0)
		return true;
	return conf_is_our_address(conf, a);
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]", or the address alone. */
static bool is_address(str helo, struct addr *ret)
{
	str inside = helo;

	if (helo.n > 2 && helo.p[0] == '[' && helo.p[helo.n - 1] == ']')
		inside = str_mem(helo.p + 1, helo.n - 2);
	if (str_case_starts(inside, STR("IPv6:")))
		inside = str_from(inside, 5);
	return addr_parse_ip(inside, 0, ret) == 0;
}

/* Names that are nobody's in particular (RFC 6761). */
static bool is_reserved(str helo)
{
	static const str names[] = { STR("localhost"), STR("localdomain"), STR("invalid") };

	for (size_t i = 0; i < ELEMENTS(names); i++) {
		size_t dot = helo.n - names[i].n - 1;

		if (helo.n > names[i].n && helo.p[dot] == '.' && str_case_ends(helo, names[i]))
			return true;
	}
	return false;
}

uint64_t screen_helo(const struct conf *conf, const struct addr *client, str helo)
{
	uint64_t ours = is_this_machine(conf, client) ? 0 : BIT(CHECK_HELO_OURS);
	struct addr a;

	if (helo.n && helo.p[helo.n - 1] == '.')
		helo.n--;
	if (is_address(helo, &a))
		return conf_is_our_address(conf, &a) && ours ? ours : BIT(CHECK_HELO_LITERAL);
	if (helo.n && helo.p[0] == '[')
		return BIT(CHECK_HELO_LITERAL);
	if (conf_is_our_name(conf, helo))
		return ours;
	return str_index(helo, '.') < 0 || is_reserved(helo) ? BIT(CHECK_HELO_BARE_WORD) : 0;
}

/* --- other protocols --- */

/* How their clients begin, from the byte `at` on. */
static const struct {
	const char *protocol;
	size_t at;
	str bytes;
} protocols[] = {
	{ "SIP", 0, STR("OPTIONS sip:") },
	{ "SIP", 0, STR("REGISTER sip:") },
	{ "SIP", 0, STR("INVITE sip:") },
	{ "RTSP", 0, STR("OPTIONS rtsp:") },
	{ "RTSP", 0, STR("DESCRIBE rtsp:") },
	{ "HTTP", 0, STR("GET ") },
	{ "HTTP", 0, STR("POST ") },
	{ "HTTP", 0, STR("HEAD ") },
	{ "HTTP", 0, STR("PUT ") },
	{ "HTTP", 0, STR("DELETE ") },
	{ "HTTP", 0, STR("OPTIONS ") },
	{ "HTTP", 0, STR("CONNECT ") },
	{ "HTTP", 0, STR("PATCH ") },
	{ "HTTP", 0, STR("PROPFIND ") },
	{ "HTTP", 0, STR("PRI * HTTP/2") },
	{ "TLS", 0, STR("\x16\x03") }, /* a record with a ClientHello */
	{ "TLS", 2, STR("\x01\x03") }, /* SSL 2.0's, for 3.0 and later */
	{ "SSH", 0, STR("SSH-") },
	{ "RDP", 0, STR("\x03\x00\x00") }, /* TPKT, RFC 1006 */
	{ "SOCKS", 0, STR("\x04\x01") },
	{ "SOCKS", 0, STR("\x04\x02") },
	{ "SOCKS", 0, STR("\x05\x01") },
	{ "SOCKS", 0, STR("\x05\x02") },
	{ "SOCKS", 0, STR("\x05\x03") },
	{ "PROXY", 0, STR("PROXY TCP") },
	{ "PROXY", 0, STR("PROXY UNKNOWN") },
	{ "PROXY", 0, STR("\r\n\r\n\0\r\nQUIT\n") },
	{ "SMB", 4, STR("\xffSMB") },
	{ "SMB", 4, STR("\xfeSMB") },
	{ "PostgreSQL", 4, STR("\x04\xd2\x16\x2f") },
	{ "Redis", 0, STR("*1\r\n$") },
	{ "MQTT", 2, STR("\x00\x04MQTT") },
	{ "VNC", 0, STR("RFB ") },
	{ "LDAP", 2, STR("\x02\x01\x01\x60") },
	{ "telnet", 0, STR("\xff\xfb") },
	{ "telnet", 0, STR("\xff\xfd") },
	{ "BitTorrent", 0,
	  STR("\x13"
	      "BitTorrent") },
	{ "Java RMI", 0, STR("JRMI") },
	{ "IRC", 0, STR("NICK ") },
};

const char *screen_protocol(str input)
{
	for (size_t i = 0; i < ELEMENTS(protocols); i++)
		if (str_starts(str_from(input, protocols[i].at), protocols[i].bytes))
			return protocols[i].protocol;
	return NULL;
}

uint64_t screen_before_greeting(str input)
{
	if (!input.n)
		return 0;
	return BIT(CHECK_EARLY_TALKER) | (screen_protocol(input) ? BIT(CHECK_FOREIGN_PROTOCOL) : 0);
}

/* --- commands --- */

uint64_t screen_no_command(str pending, unsigned count)
{
	return (screen_protocol(pending) ? BIT(CHECK_FOREIGN_PROTOCOL) : 0) |
	       (count >= SCREEN_UNKNOWN_COMMANDS ? BIT(CHECK_UNKNOWN_COMMANDS) : 0);
}

uint64_t screen_pipelined(bool esmtp, enum smtp_verb verb)
{
	bool last = verb == SMTP_HELO || verb == SMTP_EHLO || verb == SMTP_DATA ||
		    verb == SMTP_STARTTLS;

	return !esmtp || last ? BIT(CHECK_PIPELINING) : 0;
}

/* --- what follows --- */

/* The symbols with that effect. */
static uint64_t with_effect(const struct conf *conf, const struct conf_domain *domain,
			    enum conf_effect effect)
{
	uint64_t symbols = 0;

	for (size_t i = 0; i < conf->symbol_count; i++)
		if (domain->effects[i] == effect)
			symbols |= BIT(i);
	return symbols;
}

static uint64_t allow_lists(const struct conf *conf)
{
	uint64_t symbols = 0;

	for (size_t i = 0; i < conf->list_count; i++)
		if (conf->lists[i].allow)
			symbols |= BIT(CHECK_COUNT + i);
	return symbols;
}

static uint64_t refusing(const struct conf *conf, const struct conf_domain *domain,
			 uint64_t symbols)
{
	uint64_t allow = allow_lists(conf);
	uint64_t excuses = symbols & allow & ~with_effect(conf, domain, EFFECT_OFF);

	symbols &= with_effect(conf, domain, EFFECT_REFUSE) & ~allow;
	return excuses ? symbols & BEHAVIOUR : symbols;
}

static int first(uint64_t symbols)
{
	return symbols ? __builtin_ctzll(symbols) : -1;
}

int screen_refusal(const struct conf *conf, const struct conf_domain *domain, uint64_t symbols)
{
	return symbols ? first(refusing(conf, domain, symbols)) : -1;
}

int screen_refusal_of_all(const struct conf *conf, uint64_t symbols)
{
	for (size_t i = 0; i < conf->domain_count && symbols; i++)
		symbols = refusing(conf, &conf->domains[i], symbols);
	return first(symbols);
}

bool screen_needs_facts(const struct conf *conf, const struct conf_domain *domain)
{
	uint64_t refuse = with_effect(conf, domain, EFFECT_REFUSE);
	uint64_t lists = ~(BIT(CHECK_COUNT) - 1);
	uint64_t allow = allow_lists(conf);

	if (refuse & (BY_DNS | lists) & ~allow)
		return true;
	/* An allow list may excuse what is known without DNS. */
	return (refuse & ~BEHAVIOUR & ~allow) && (allow & ~with_effect(conf, domain, EFFECT_OFF));
}

/* --- words --- */

/* For the sender's administrator. */
static const struct {
	bool after_address;
	const char *text;
} reply_table[CHECK_COUNT] = {
	[CHECK_EARLY_TALKER] = { false, "You spoke before our greeting; wait for it" },
	[CHECK_FOREIGN_PROTOCOL] = { false, "This is no SMTP" },
	[CHECK_PIPELINING] = { false,
			       "You did not wait for our replies where you must (RFC 2920)" },
	[CHECK_UNKNOWN_COMMANDS] = { false, "You sent too much that is no SMTP command" },
	[CHECK_NO_REVERSE_NAME] = { true, " has no name in DNS; give it a PTR record" },
	[CHECK_REVERSE_UNCONFIRMED] = { true, " has a name in DNS that does not lead back to it; "
					      "make PTR and A or AAAA agree" },
	[CHECK_HELO_OURS] = { false,
			      "You said HELO with a name or address of ours; say your own name" },
	[CHECK_HELO_BARE_WORD] = { false, "You said HELO with what is no domain name; say your "
					  "full name" },
	[CHECK_HELO_LITERAL] = { false, "You said HELO with an address; say your full name" },
	[CHECK_HELO_UNKNOWN] = { false, "The name you said HELO with is not in DNS; "
					"give it an A, AAAA or MX record" },
};

str screen_reply(const struct conf *conf, int symbol, const struct addr *client,
		 char text[static SCREEN_REPLY_SIZE])
{
	char why[400], address[ADDR_TEXT_SIZE];
	str name = conf->symbols[symbol].name;
	int n;

	addr_ip_text(client, address);
	if (symbol >= CHECK_COUNT)
		snprintf(why, sizeof(why), "%s is listed at %.*s; ask there to be taken off",
			 address, STR_ARG(conf->lists[symbol - CHECK_COUNT].zone));
	else
		snprintf(why, sizeof(why), "%s%s", reply_table[symbol].after_address ? address : "",
			 reply_table[symbol].text);
	n = snprintf(text, SCREEN_REPLY_SIZE, "550 5.7.1 %s: %.*s", why, STR_ARG(name));
	must(n > 0);
	return str_mem(text, MIN((size_t)n, (size_t)SCREEN_REPLY_SIZE - 1));
}

/* --- the envelope --- */

/* What some domain of the recipients does not turn off. */
static uint64_t noted(const struct conf *conf, const Locum__Envelope *e, uint64_t symbols)
{
	const struct conf_domain *last = NULL;
	uint64_t on = 0;

	for (size_t i = 0; i < e->n_recipients && (symbols & ~on); i++) {
		const struct conf_domain *d = conf_domain(conf, str_of(e->recipients[i]->domain));

		if (d && d != last)
			on |= with_effect(conf, d, EFFECT_SCORE) |
			      with_effect(conf, d, EFFECT_REFUSE);
		last = d;
	}
	return symbols & on;
}

static char *text_of(const struct conf *conf, size_t symbol, str helo, const struct facts *facts,
		     struct arena *arena)
{
	uint32_t code;

	if (symbol >= CHECK_HELO_OURS && symbol <= CHECK_HELO_UNKNOWN)
		return (char *)arena_str(arena, str_first(helo, HELO_TEXT_BYTES)).p;
	if (symbol < CHECK_COUNT)
		return (char *)arena_str(arena, STR("")).p;
	code = facts_code(facts, conf->lists[symbol - CHECK_COUNT].name);
	return arena_sprintf(arena, "%u.%u.%u.%u", code >> 24, code >> 16 & 255, code >> 8 & 255,
			     code & 255);
}

int screen_fill(const struct conf *conf, uint64_t symbols, str helo, const struct facts *facts,
		struct arena *arena, Locum__Envelope *envelope)
{
	Locum__Symbol *symbol, **pointer;
	size_t n = 0;

	symbols = noted(conf, envelope, symbols);
	if (!symbols)
		return 0;
	symbol = ARENA_ARRAY(arena, Locum__Symbol, (size_t)__builtin_popcountll(symbols));
	pointer = ARENA_ARRAY(arena, Locum__Symbol *, (size_t)__builtin_popcountll(symbols));
	if (!symbol || !pointer)
		return -ENOMEM;
	for (; symbols; symbols &= symbols - 1, n++) {
		size_t i = (size_t)first(symbols);

		locum__symbol__init(&symbol[n]);
		symbol[n].name = (char *)conf->symbols[i].name.p; /* ends in NUL in its arena */
		symbol[n].score = conf->symbols[i].score;
		symbol[n].text = text_of(conf, i, helo, facts, arena);
		if (!symbol[n].text)
			return -ENOMEM;
		pointer[n] = &symbol[n];
	}
	envelope->symbols = pointer;
	envelope->n_symbols = n;
	return 0;
}
