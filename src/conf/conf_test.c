/* What is right is understood, survives the snapshot, and can be asked. */
#include "conf/test_files.h"

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
	if (d->evidence != EVIDENCE_OFFERED)
		buf_addf(to, " evidence=%d", d->evidence);
	if (d->unknown)
		buf_addf(to, " unknown=%d", d->unknown);
	if (d->primary_tls != PRIMARY_TLS_MAY)
		buf_addf(to, " tls=%d", d->primary_tls);
	for (size_t i = 0; i < d->address_count; i++)
		buf_addf(to, " <%.*s>", STR_ARG(d->addresses[i]));
}

static void describe_networks(struct buf *to, const char *what, const struct conf_network *n,
			      size_t count)
{
	char text[ADDR_TEXT_SIZE];

	buf_addf(to, " %s=", what);
	for (size_t i = 0; i < count; i++)
		buf_addf(to, "%s/%u,", addr_ip_text(&n[i].address, text), n[i].bits);
}

static void describe_checks(struct buf *to, const struct conf *c)
{
	for (size_t i = 0; i < c->symbol_count; i++)
		buf_addf(to, " %s=%g,%d", c->symbols[i].name.p, c->symbols[i].score,
			 c->symbols[i].effect);
	for (size_t i = 0; i < c->list_count; i++) {
		const struct conf_list *l = &c->lists[i];

		buf_addf(to, " list=%s@%s allow=%d", l->name.p, l->zone.p, l->allow);
		for (size_t k = 0; k < l->code_count; k++)
			buf_addf(to, " %x-%x", l->codes[k].first, l->codes[k].last);
	}
	for (size_t i = 0; i < c->domain_count; i++) {
		buf_addf(to, " %s:", c->domains[i].name.p);
		for (size_t k = 0; k < c->symbol_count; k++)
			buf_addf(to, "%d", c->domains[i].effects[k]);
	}
}

static void describe_listen(struct buf *to, const struct conf_listen *l)
{
	char text[ADDR_TEXT_SIZE];

	buf_addf(to, " listen=%s@%s tls=%d", l->name.p, addr_text(&l->address, text), l->tls);
	if (l->client_ca.n)
		buf_addf(to, " ca=%s,%d", l->client_ca.p, l->client_ca_pem.n > 0);
	if (l->proxy_protocol)
		describe_networks(to, "proxy", l->proxy_from, l->proxy_from_count);
	for (size_t i = 0; i < l->certificate_count; i++)
		buf_addf(to, " %s,%s pem=%d,%d", l->certificates[i].certificate.p,
			 l->certificates[i].key.p, l->certificates[i].certificate_pem.n > 0,
			 l->certificates[i].key_pem.n > 0);
}

static void describe(const struct conf *c, struct buf *to)
{
	buf_addf(to, "hostname=%s", c->hostname.p);
	for (size_t i = 0; i < c->alias_count; i++)
		buf_addf(to, " alias=%s", c->aliases[i].p);
	describe_addresses(to, "addresses", c->addresses, c->address_count);
	buf_addf(to, " state_dir=%s user=%s smtpin=%u json=%d", c->state_dir.p, c->user.p,
		 c->smtpin_processes, c->log_json);
	for (size_t i = 0; i < c->listen_count; i++)
		describe_listen(to, &c->listen[i]);
	describe_networks(to, "trusted", c->trusted, c->trusted_count);
	if (str_index(c->tls_ca, '/') < 0)
		buf_addf(to, " tls_ca=%s", c->tls_ca.p);
	describe_addresses(to, "servers", c->dns.servers, c->dns.server_count);
	buf_addf(to,
		 " anchor=%s size=%llu sessions=%u/%u rcpt=%u hops=%u segment=%llu reserve=%llu",
		 c->dns.trust_anchor.p ?: "", (unsigned long long)c->limits.message_bytes,
		 c->limits.sessions, c->limits.sessions_per_client, c->limits.recipients,
		 c->limits.hops, (unsigned long long)c->spool.segment_bytes,
		 (unsigned long long)c->spool.reserve_bytes);
	for (size_t i = 0; i < c->domain_count; i++)
		describe_domain(to, &c->domains[i]);
	buf_addf(to, "\ngreet=%lld network=%u rates=%u,%u,%u,%u",
		 (long long)(c->greet_delay / NSEC_S), c->limits.sessions_per_network,
		 c->rates.messages, c->rates.recipients, c->rates.unknown_recipients,
		 c->rates.errors);
	describe_checks(to, c);
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
	  "listen=mx@[::]:25 tls=0 trusted= servers= anchor= size=52428800 sessions=20000/50 "
	  "rcpt=1000 hops=50 "
	  "segment=67108864 reserve=268435456 domain=example.cz >MX:25 acceptance=0 recipients=0 "
	  "hold=30d "
	  "filter=0\ngreet=0 network=500 rates=0,0,300,300 early-talker=5,2 foreign-protocol=5,2 "
	  "pipelining=2,1 unknown-commands=2,1 no-reverse-name=1,1 reverse-unconfirmed=0.5,1 "
	  "helo-ours=5,2 helo-bare-word=1,1 helo-literal=0.5,1 helo-unknown=1,1 "
	  "example.cz:2211112111\nthis version does not filter content" },
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
	  "listen=mx@[::]:25 tls=0 listen=b@127.0.0.1:26" },
	{ "a certificate and its key",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"good.key\""),
	  "tls=1 good.crt,good.key pem=1,1" },
	{ "a good certificate needs no note",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\ntls_key = \"good.key\""),
	  "!certificate of" },
	{ "an expired certificate is noted",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"old.crt\"\ntls_key = \"old.key\""),
	  "\nthe certificate of listen \"mx\" (old.crt) has expired" },
	{ "a certificate of tomorrow is noted",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = \"early.crt\"\ntls_key = \"early.key\""),
	  "\nthe certificate of listen \"mx\" (early.crt) is not valid yet" },
	{ "several certificates: the nth key belongs to the nth",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = {\"good.crt\", \"other.crt\"}\n"
		 "tls_key = {\"good.key\", \"other.key\"}"),
	  "tls=1 good.crt,good.key pem=1,1 other.crt,other.key pem=1,1 " },
	{ "keys may stand in front, and be added one by one",
	  LISTEN("tls_key = good.key\ntls_key += other.key\naddress = \"[::]:25\"\n"
		 "tls_certificate = good.crt\ntls_certificate += other.crt"),
	  "tls=1 good.crt,good.key pem=1,1 other.crt,other.key pem=1,1 " },
	{ "the second certificate is looked at too",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = {\"good.crt\", \"old.crt\"}\n"
		 "tls_key = {\"good.key\", \"old.key\"}"),
	  "\nthe certificate of listen \"mx\" (old.crt) has expired" },
	{ "TLS at once",
	  LISTEN("address = \"[::]:465\"\ntls = implicit\ntls_certificate = good.crt\ntls_key = "
		 "good.key"),
	  "tls=2 good.crt" },
	{ "TLS at once elsewhere than at port 25 needs no note",
	  LISTEN("address = \"[::]:465\"\ntls = implicit\ntls_certificate = good.crt\ntls_key = "
		 "good.key"),
	  "!TLS at once" },
	{ "TLS at once at port 25 is noted",
	  LISTEN("address = \"[::]:25\"\ntls = implicit\ntls_certificate = good.crt\ntls_key = "
		 "good.key"),
	  "\nlisten \"mx\" speaks TLS at once at port 25" },
	{ "TLS off beside a certificate is noted",
	  LISTEN("address = \"[::]:25\"\ntls = off\ntls_certificate = good.crt\ntls_key = "
		 "good.key"),
	  "tls=0 good.crt,good.key...\nlisten \"mx\" has a certificate, but tls = \"off\"" },
	{ "TLS off without a certificate needs no note", LISTEN("address = \"[::]:25\"\ntls = off"),
	  "!has a certificate" },
	{ "a CA of clients",
	  LISTEN("address = \"[::]:25\"\ntls_certificate = good.crt\ntls_key = good.key\n"
		 "tls_client_ca = other.crt"),
	  "tls=1 ca=other.crt,1 good.crt" },
	{ "trusted: networks and single addresses",
	  WITH "trusted = {\"192.0.2.16/28\", \"2001:db8::/64\", \"192.0.2.1\", \"::1\"}",
	  " trusted=192.0.2.16/28,2001:db8::/64,192.0.2.1/32,::1/128, " },
	{ "networks side by side do not overlap",
	  WITH "trusted = {\"192.0.2.0/25\", \"192.0.2.128/25\", \"128.0.0.0/2\"}",
	  " trusted=192.0.2.0/25..." },
	{ "our own address among the trusted is noted",
	  LISTEN("address = \"192.0.2.1:25\"") "trusted = \"192.0.2.0/24\"",
	  "\ntrusted holds our own address 192.0.2.1" },
	{ "trusted neighbours need no note",
	  LISTEN("address = \"192.0.2.1:25\"") "trusted = \"192.0.2.2\"", "!trusted holds" },
	{ "a greet delay of nothing", WITH "greet_delay = 0s", "greet=0 " },
	{ "the longest greet delay", WITH "greet_delay = 30s", "greet=30 " },
	{ "a greet delay without effect is noted",
	  WITH "greet_delay = 5s checks = {\"early-talker=off\"}",
	  "\ngreet_delay makes clients wait for nothing" },
	{ "a greet delay needs no note where one domain looks",
	  WITH "greet_delay = 5s checks = {\"early-talker=off\"}\n"
	       "domain b.c { checks = {\"early-talker=score\"} }",
	  "!wait for nothing" },
	{ "sessions of a network",
	  WITH "limits { sessions = 100 sessions_per_client = 20 "
	       "sessions_per_network = 20 }",
	  "network=20 " },
	{ "a client's sessions raise the default of a network",
	  WITH "limits { sessions_per_client = 7 }", "network=70 " },
	{ "few sessions lower the default of a network", WITH "limits { sessions = 90 }",
	  "sessions=90/50 ...network=90 " },
	{ "rates", WITH "rates { messages = 1 recipients = 2 unknown_recipients = 3 errors = 0 }",
	  "rates=1,2,3,0 " },
	{ "the largest rate", WITH "rates { messages = 10000000 }", "rates=10000000," },
	{ "checks: for all domains and for one",
	  WITH "checks = {\"helo-ours=score\", \"Pipelining = refuse\"}\n"
	       "domain b.c { checks = {\"helo-ours=off\"} }",
	  " pipelining=2,2 ...helo-ours=5,1 ...example.cz:2221111111 b.c:2221110111" },
	{ "checks may stand behind the domains and in front of the lists",
	  DOMAIN("checks = \"bl=off\"") "checks = \"bl=refuse\" list bl { zone = bl.example }",
	  " bl=3,2 ...example.cz:22111121110" },
	{ "+= appends to checks",
	  WITH "checks = {\"helo-ours=off\"}\nchecks += {\"pipelining=off\"}",
	  "example.cz:2201110111" },
	{ "a list needs a zone only", WITH "list bl { zone = \"BL.Example.\" }",
	  " bl=3,1 list=bl@bl.example allow=0 7f000002-7f0000fe example.cz:22111121111" },
	{ "a list with everything",
	  WITH "list zen { zone = zen.example.org codes = {\"127.0.0.2-127.0.0.11\", "
	       "127.0.1.0} score = 4.5 effect = refuse allow = no }",
	  " zen=4.5,2 list=zen@zen.example.org allow=0 7f000002-7f00000b 7f000100-7f000100 " },
	{ "an allow list speaks for the client", WITH "list wl { zone = wl.example allow = true }",
	  " wl=-3,1 list=wl@wl.example allow=1" },
	{ "its score can be written",
	  WITH "list wl { zone = wl.example score = -0.25 allow = true }", " wl=-0.25,1 " },
	{ "the lowest score", WITH "list bl { zone = b.example score = .01 }", " bl=0.01,1 " },
	{ "the highest score", WITH "list bl { zone = b.example score = 100 }", " bl=100,1 " },
	{ "a score of tenths", WITH "list bl { zone = b.example score = 2.5 }", " bl=2.5,1 " },
	{ "all codes there can be",
	  WITH "list bl { zone = b.example codes = \"127.0.0.2-127.255.254.255\" }",
	  " 7f000002-7ffffeff " },
	{ "lists keep their order, and may share a zone",
	  WITH "list b { zone = x.example codes = 127.0.0.2 }\n"
	       "list a { zone = x.example codes = 127.0.0.3 }",
	  " b=3,1 a=3,1 list=b@x.example allow=0 7f000002-7f000002 list=a@x.example" },
	{ "a list that is off everywhere is noted",
	  WITH "list bl { zone = b.example effect = off }",
	  "\nlist \"bl\" is off for every domain" },
	{ "a list that one domain asks is not noted",
	  WITH "list bl { zone = b.example effect = off }\n"
	       "domain b.c { checks = {\"bl=score\"} }",
	  "!off for every" },
	{ "a public resolver for lists is noted",
	  WITH "list bl { zone = b.example } dns { servers = {\"127.0.0.1\", \"8.8.8.8\"} }",
	  "\nlists are asked through the public resolver 8.8.8.8" },
	{ "an IPv6 one too",
	  WITH "list bl { zone = b.example } dns { servers = {\"2620:FE::fe\"} }",
	  "\nlists are asked through the public resolver 2620:fe::fe" },
	{ "without lists it is not noted", WITH "dns { servers = {\"8.8.8.8\"} }", "!resolver" },
	{ "a resolver of our own is not noted",
	  WITH "list bl { zone = b.example } dns { servers = {\"192.0.2.53\"} }", "!resolver" },
	{ "PROXY from some networks",
	  LISTEN("address = \"[::]:25\"\nproxy_protocol = yes\n"
		 "proxy_from = {\"192.0.2.9/32\", \"2001:db8::/64\"}"),
	  "listen=mx@[::]:25 tls=0 proxy=192.0.2.9/32,2001:db8::/64," },
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
	{ "nor does live", DOMAIN("acceptance = live"), "!acceptance =" },
	{ "nor does defer", DOMAIN("acceptance = defer"), "!acceptance =" },
	{ "acceptance defer", DOMAIN("acceptance = defer"),
	  "acceptance=1 recipients=0 hold=30d filter=0" },
	{ "equal notes are one",
	  DOMAIN("filter = auth-only") "domain b.c { filter = auth-only } domain d.e "
				       "{filter=auth-only}",
	  "\nthis version treats filter = \"auth-only\" (example.cz and 2 more) as \"off\"" },
	{ "recipients any needs no note", DOMAIN("recipients = any"), "!recipients =" },
	{ "recipients learn needs no note", DOMAIN("recipients = learn"), "!recipients =" },
	{ "unknown = refuse", DOMAIN("unknown = refuse"), " unknown=3" },
	{ "unknown = accept", DOMAIN("unknown = accept"), " unknown=2" },
	{ "unknown = defer", DOMAIN("unknown = defer"), " unknown=1" },
	{ "unknown is auto", DOMAIN("unknown = auto"), "! unknown=" },
	{ "unknown without learning is noted", DOMAIN("recipients = any unknown = defer"),
	  "\ndomain \"example.cz\": unknown has no effect without recipients" },
	{ "all evidence that the primary takes is the default", DOMAIN("evidence = offered"),
	  "filter=0\n" },
	{ "evidence by XCLIENT or not at all", DOMAIN("evidence = xclient"),
	  "filter=0 evidence=1\n" },
	{ "evidence by XFORWARD or not at all", DOMAIN("evidence = \"xforward\""),
	  " evidence=2\n" },
	{ "evidence in a header only", DOMAIN("evidence = header"), " evidence=3\n" },
	{ "no evidence", DOMAIN("evidence = none"), " evidence=4\n" },
	{ "primaries may be reached in plain text", DOMAIN("tls = may"), "!tls=1" },
	{ "never in plain text", DOMAIN("tls = encrypt"), "filter=0 tls=1" },
	{ "only those that are who they should be", DOMAIN("tls = verify"), "filter=0 tls=2" },
	{ "the authorities of primaries", WITH "tls_ca = \"list\"", "tls_ca=list" },
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

static void assert_same_keys(const struct conf_listen *a, const struct conf_listen *b)
{
	assert_int_equal(a->certificate_count, b->certificate_count);
	for (size_t i = 0; i < a->certificate_count; i++) {
		assert_true(str_eq(a->certificates[i].key_pem, b->certificates[i].key_pem));
		assert_true(str_eq(a->certificates[i].certificate_pem,
				   b->certificates[i].certificate_pem));
	}
	assert_true(str_eq(a->client_ca_pem, b->client_ca_pem));
}

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
			assert_same_keys(&before->listen[k], &after->listen[k]);
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
	assert_int_equal(after->listen[0].certificates[0].key_pem.n, 0);
	assert_int_equal(after->listen[0].certificates[0].certificate_pem.n, 0);
	assert_true(str_eq(after->listen[0].certificates[0].key, STR("good.key")));
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
	/* A buffer that is too small says so. */
	packed.max = 10;
	buf_reset(&packed);
	assert_int_equal(conf_pack(c, true, &packed), -ENOBUFS);
}

static int unpacks(const struct conf *c)
{
	_cleanup_(conf_unrefp) struct conf *after = NULL;
	_cleanup_(buf_done) struct buf packed;

	buf_init(&packed, 1 << 20);
	assert_int_equal(conf_pack(c, true, &packed), 0);
	return conf_unpack(buf_str(&packed), &after);
}

/* Is the conf refused while this field has that value? */
#define ASSERT_REFUSED(field, wrong)                                                               \
	do {                                                                                       \
		__typeof__(field) right = (field);                                                 \
                                                                                                   \
		(field) = (wrong);                                                                 \
		if (unpacks(c) != -EPROTO)                                                         \
			fail_msg(#field " = " #wrong " was unpacked");                             \
		(field) = right;                                                                   \
		assert_int_equal(unpacks(c), 0);                                                   \
	} while (0)

static void impossible_values_are_not_unpacked(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c =
		read_ok(LISTEN("address = \"[::]:25\"\ntls_certificate = \"good.crt\"\n"
			       "tls_key = \"good.key\"") "trusted = \"192.0.2.0/24\"\n"
							 "list bl { zone = bl.example }");

	(void)state;
	ASSERT_REFUSED(c->domains[0].hold, 0);
	ASSERT_REFUSED(c->domains[0].primary[0].port, 0);
	ASSERT_REFUSED(c->domains[0].effects[CHECK_COUNT], EFFECT_REFUSE + 1);
	ASSERT_REFUSED(c->listen[0].tls, CONF_TLS_IMPLICIT + 1);
	ASSERT_REFUSED(c->listen[0].certificate_count, 0);
	ASSERT_REFUSED(c->listen[0].proxy_protocol, true);
	ASSERT_REFUSED(c->trusted[0].bits, 33);
	ASSERT_REFUSED(c->limits.sessions_per_network, 0);
	ASSERT_REFUSED(c->greet_delay, -1);
	ASSERT_REFUSED(c->symbol_count, CHECK_COUNT);
	ASSERT_REFUSED(c->symbols[0].effect, EFFECT_REFUSE + 1);
	ASSERT_REFUSED(c->symbols[0].name, STR_NONE);
	ASSERT_REFUSED(c->symbols[0].score, __builtin_nan(""));
	ASSERT_REFUSED(c->list_count, 0);
	ASSERT_REFUSED(c->lists[0].zone, STR_NONE);
	ASSERT_REFUSED(c->lists[0].code_count, 0);
	ASSERT_REFUSED(c->lists[0].codes[0].last, 0);
	ASSERT_REFUSED(c->lists[0].codes[0].first, 0);
}

/* --- questions --- */

static bool has(const char *network, unsigned bits, const char *address)
{
	struct conf_network n = { .bits = (uint8_t)bits };
	struct addr a;

	assert_int_equal(addr_parse_ip(str_of(network), 0, &n.address), 0);
	assert_int_equal(addr_parse_ip(str_of(address), 4711, &a), 0);
	return conf_network_has(&n, 1, &a);
}

static void networks_end_at_their_last_bit(void **state)
{
	(void)state;
	assert_true(has("192.0.2.0", 28, "192.0.2.0"));
	assert_true(has("192.0.2.0", 28, "192.0.2.15"));
	assert_false(has("192.0.2.0", 28, "192.0.2.16"));
	assert_false(has("192.0.2.0", 28, "192.0.1.255"));
	assert_true(has("192.0.2.0", 24, "192.0.2.255"));
	assert_false(has("192.0.2.0", 24, "192.0.3.0"));
	assert_true(has("192.0.2.7", 32, "192.0.2.7"));
	assert_false(has("192.0.2.7", 32, "192.0.2.6"));
	assert_true(has("128.0.0.0", 1, "255.255.255.255"));
	assert_false(has("128.0.0.0", 1, "127.255.255.255"));
	assert_true(has("0.0.0.0", 0, "198.51.100.1"));
	assert_true(has("2001:db8::", 33, "2001:db8:7fff:ffff::1"));
	assert_false(has("2001:db8::", 33, "2001:db8:8000::"));
	assert_true(has("2001:db8::1", 128, "2001:db8::1"));
	assert_false(has("2001:db8::1", 128, "2001:db8::"));
	/* One family is never within the other, but a mapped address is IPv4. */
	assert_false(has("::", 0, "192.0.2.1"));
	assert_false(has("0.0.0.0", 0, "::1"));
	assert_true(has("192.0.2.0", 24, "::ffff:192.0.2.1"));
}

static void any_of_several_networks(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c =
		read_ok(WITH "trusted = {\"192.0.2.0/28\", \"2001:db8::/64\"}");
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse_ip(STR("2001:db8::25"), 25, &a), 0);
	assert_true(conf_network_has(c->trusted, c->trusted_count, &a));
	assert_false(conf_network_has(c->trusted, 1, &a));
	assert_false(conf_network_has(NULL, 0, &a));
	a = (struct addr){ 0 };
	assert_false(conf_network_has(c->trusted, c->trusted_count, &a));
}

static void symbols_by_name(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c =
		read_ok(WITH "list b { zone = b.example } list a { zone = a.example }");

	(void)state;
	assert_int_equal(conf_symbol(c, STR("early-talker")), CHECK_EARLY_TALKER);
	assert_int_equal(conf_symbol(c, STR("HELO-Unknown")), CHECK_HELO_UNKNOWN);
	assert_int_equal(conf_symbol(c, STR("b")), CHECK_COUNT);
	assert_int_equal(conf_symbol(c, STR("a")), CHECK_COUNT + 1);
	assert_int_equal(conf_symbol(c, STR("helo")), -1);
	assert_int_equal(conf_symbol(c, STR("")), -1);
}

static void lists_as_many_as_fit_a_set(void **state)
{
	_cleanup_(conf_unrefp) struct conf *c = NULL;
	_cleanup_(buf_done) struct buf text, error;
	const size_t lists = CONF_SYMBOLS_MAX - CHECK_COUNT;

	(void)state;
	buf_init(&text, 1 << 16);
	buf_init(&error, 1024);
	buf_add(&text, STR(WITH));
	for (size_t i = 0; i < lists; i++)
		buf_addf(&text, "list l%zu { zone = l%zu.example }\n", i, i);
	assert_int_equal(conf_read_text("t", buf_str(&text), &c, &error), 0);
	assert_int_equal(c->symbol_count, CONF_SYMBOLS_MAX);
	conf_unref(c);
	c = NULL;
	buf_add(&text, STR("list more { zone = more.example }\n"));
	assert_int_equal(conf_read_text("t", buf_str(&text), &c, &error), -EINVAL);
	assert_true(str_starts(buf_str(&error), STR("t:58: list \"more\" is one too many")));
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
	/* A mistake behind it does not matter either, nor one in a file that leaves it out. */
	buf_reset(&dir);
	write_file("file.conf", "state_dir = \"/srv/z\"\nstaff = 5\n");
	assert_int_equal(conf_read_state_dir("file.conf", &dir, &error), 0);
	assert_true(str_eq(buf_str(&dir), STR("/srv/z")));
	assert_int_equal(error.n, 0);
	buf_reset(&dir);
	write_file("file.conf", "staff = 5\n");
	assert_int_equal(conf_read_state_dir("file.conf", &dir, &error), 0);
	assert_true(str_eq(buf_str(&dir), STR("/var/lib/locum")));
	/* But it is not guessed. */
	write_file("file.conf", "staff = 5\nstate_dir = \"/srv/z\"\n");
	assert_int_equal(conf_read_state_dir("file.conf", &dir, &error), -EINVAL);
	assert_true(str_starts(buf_str(&error), STR("file.conf:1: unknown option")));
	buf_reset(&error);
	write_file("file.conf", "state_dir = \"\"\n");
	assert_int_equal(conf_read_state_dir("file.conf", &dir, &error), -EINVAL);
	assert_true(str_starts(buf_str(&error), STR("file.conf:1: state_dir is empty")));
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
					  "domain \"d%d.example\" { filter = \"standard\" }\n", i),
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
		cmocka_unit_test(values_are_understood),
		cmocka_unit_test(the_snapshot_keeps_everything),
		cmocka_unit_test(keys_stay_with_smtpin),
		cmocka_unit_test(a_damaged_snapshot_is_refused),
		cmocka_unit_test(impossible_values_are_not_unpacked),
		cmocka_unit_test(networks_end_at_their_last_bit),
		cmocka_unit_test(any_of_several_networks),
		cmocka_unit_test(symbols_by_name),
		cmocka_unit_test(lists_as_many_as_fit_a_set),
		cmocka_unit_test(domains_and_names_ignore_case),
		cmocka_unit_test(listeners_and_addresses_are_ours),
		cmocka_unit_test(a_specific_listener_adds_no_interfaces),
		cmocka_unit_test(listed_recipients),
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(unreadable_files_are_errors),
		cmocka_unit_test(many_domains),
		cmocka_unit_test(a_nul_byte_is_not_text),
	};

	return cmocka_run_group_tests_name("conf", tests, setup, teardown);
}
