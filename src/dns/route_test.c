#include "dns/route.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A world in words. Addresses not listed do not exist; "servfail" and "nodata" stand for both
 * families, "4:servfail" and "6:servfail" for one. */
struct route_case {
	const char *requirement;
	const char *primary;   /* NULL: "mx" */
	const char *mx;        /* "10 mail.a, 20 us.b", or a status */
	const char *hosts;     /* "mail.a 192.0.2.1 2001:db8::1; us.b servfail" */
	const char *names;     /* NULL: "us.b us-old.b" */
	const char *addresses; /* NULL: "203.0.113.2 2001:db8:f::2" */
	const char *listens;   /* NULL: "[::]:25" */
	enum route_reason reason;
	const char *key;
	const char *tries; /* NULL: not looked at */
	bool unlisted;     /* expected: no MX record names us */
	bool partial;
};

static const struct route_case cases[] = {
	/* --- better MX records --- */
	{ "the primary is better than us", .mx = "10 mail.a, 20 us.b", .hosts = "mail.a 192.0.2.1",
	  .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "the order of the answer means nothing", .mx = "20 us.b, 10 mail.a",
	  .hosts = "mail.a 192.0.2.1", .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "two primaries are tried by preference", .mx = "5 b.a, 10 a.a, 20 us.b",
	  .hosts = "a.a 192.0.2.1; b.a 192.0.2.2", .key = "b.a:25,a.a:25",
	  .tries = "192.0.2.2:25 192.0.2.1:25" },
	{ "preference 0 is better than preference 1", .mx = "1 us.b, 0 mail.a",
	  .hosts = "mail.a 192.0.2.1", .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "preference 65535 is a preference", .mx = "65535 us.b, 65534 mail.a",
	  .hosts = "mail.a 192.0.2.1", .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "of two backups the better one does not use the worse",
	  .mx = "10 mail.a, 20 us.b, 30 other.b", .hosts = "mail.a 192.0.2.1; other.b 192.0.2.3",
	  .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "of two backups the worse one uses the better after the primary",
	  .mx = "10 mail.a, 20 other.b, 30 us.b", .hosts = "mail.a 192.0.2.1; other.b 192.0.2.3",
	  .key = "mail.a:25,other.b:25", .tries = "192.0.2.1:25 192.0.2.3:25" },
	{ "another host of our own preference is dropped", .mx = "10 mail.a, 20 other.b, 20 us.b",
	  .hosts = "mail.a 192.0.2.1; other.b 192.0.2.3", .key = "mail.a:25",
	  .tries = "192.0.2.1:25" },
	{ "the key of equal preferences is sorted by name", .mx = "10 z.a, 10 a.a, 20 us.b",
	  .hosts = "z.a 192.0.2.1; a.a 192.0.2.2", .key = "a.a:25,z.a:25" },
	{ "names are compared without case", .mx = "10 MAIL.A, 20 US.B",
	  .hosts = "mail.a 192.0.2.1", .key = "mail.a:25", .tries = "192.0.2.1:25" },

	/* --- who is us --- */
	{ "a final dot in our name changes nothing", .mx = "10 mail.a, 20 us.b, 30 other.b",
	  .names = "US.b.", .hosts = "mail.a 192.0.2.1; other.b 192.0.2.3", .key = "mail.a:25" },
	{ "we are recognised by an alias", .mx = "10 mail.a, 20 us-old.b, 30 other.b",
	  .hosts = "mail.a 192.0.2.1; other.b 192.0.2.3", .key = "mail.a:25" },
	{ "a renamed host is recognised by its address",
	  .mx = "10 mail.a, 20 renamed.b, 30 other.b",
	  .hosts = "mail.a 192.0.2.1; renamed.b 203.0.113.2; other.b 192.0.2.3",
	  .key = "mail.a:25" },
	{ "a renamed host is recognised by its IPv6 address",
	  .mx = "10 mail.a, 20 renamed.b, 30 other.b",
	  .hosts = "mail.a 192.0.2.1; renamed.b 192.0.2.9 2001:db8:f::2; other.b 192.0.2.3",
	  .key = "mail.a:25" },
	{ "behind NAT we are recognised by name", .mx = "10 mail.a, 20 us.b, 30 other.b",
	  .addresses = "10.0.0.2",
	  .hosts = "mail.a 192.0.2.1; us.b 198.51.100.7; other.b 192.0.2.3", .key = "mail.a:25" },
	{ "behind NAT we are recognised by the configured address",
	  .mx = "10 mail.a, 20 renamed.b, 30 other.b", .addresses = "10.0.0.2 198.51.100.7",
	  .hosts = "mail.a 192.0.2.1; renamed.b 198.51.100.7; other.b 192.0.2.3",
	  .key = "mail.a:25" },
	{ "our best preference counts when we are listed twice",
	  .mx = "10 mail.a, 20 us.b, 30 other.b, 40 us-old.b",
	  .hosts = "mail.a 192.0.2.1; other.b 192.0.2.3", .key = "mail.a:25" },
	{ "a listed name of ours needs no address", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 192.0.2.1; us.b servfail", .key = "mail.a:25" },
	{ "the address of a listener is ours", .mx = "10 mail.a, 20 renamed.b, 30 other.b",
	  .addresses = "", .listens = "192.0.2.77:25",
	  .hosts = "mail.a 192.0.2.1; renamed.b 192.0.2.77; other.b 192.0.2.3",
	  .key = "mail.a:25" },
	{ "at port 25 our address is us, wherever we listen behind it",
	  .mx = "10 mail.a, 20 renamed.b, 30 other.b", .listens = "[::]:2525",
	  .hosts = "mail.a 192.0.2.1; renamed.b 203.0.113.2; other.b 192.0.2.3",
	  .key = "mail.a:25" },

	/* --- DNS that is wrong --- */
	{ "we are the best MX: nothing better", .mx = "10 us.b, 20 mail.a",
	  .hosts = "mail.a 192.0.2.1", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "we are the only MX: nothing better", .mx = "10 us.b", .hosts = "us.b 203.0.113.2",
	  .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "we share the best preference: nothing better", .mx = "10 us.b, 10 mail.a",
	  .hosts = "mail.a 192.0.2.1", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "the best MX has our address: nothing better", .mx = "10 mail.a, 20 other.b",
	  .hosts = "mail.a 203.0.113.2; other.b 192.0.2.3", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "lying DNS: we are not listed, all MX are used and it is said",
	  .mx = "10 mail.a, 20 other.b", .hosts = "mail.a 192.0.2.1; other.b 192.0.2.3",
	  .key = "mail.a:25,other.b:25", .tries = "192.0.2.1:25 192.0.2.3:25", .unlisted = true },
	{ "better hosts without addresses: nothing better", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a nodata", .reason = ROUTE_NOTHING_BETTER, .key = "" },
	{ "MX hosts without addresses, none of them us: no address", .mx = "10 mail.a",
	  .hosts = "mail.a nodata", .reason = ROUTE_NO_ADDRESS, .key = "", .unlisted = true },
	{ "an MX host that does not exist has no address", .mx = "10 mail.a", .hosts = "",
	  .reason = ROUTE_NO_ADDRESS, .key = "", .unlisted = true },
	{ "MX records without a usable host do not fall back to the domain's address",
	  .mx = "10 mail.a", .hosts = "dom.a 192.0.2.1", .reason = ROUTE_NO_ADDRESS, .key = "",
	  .unlisted = true },
	{ "a host listed twice counts once, at its better preference",
	  .mx = "10 mail.a, 15 mail.a, 20 us.b", .hosts = "mail.a 192.0.2.1", .key = "mail.a:25",
	  .tries = "192.0.2.1:25" },
	{ "two names of one address are tried once", .mx = "5 m1.a, 10 m2.a, 20 us.b",
	  .hosts = "m1.a 192.0.2.1; m2.a 192.0.2.1", .key = "m1.a:25,m2.a:25",
	  .tries = "192.0.2.1:25" },

	/* --- RFC 7505 --- */
	{ "a null MX means no mail", .mx = "0 .", .hosts = "dom.a 192.0.2.1",
	  .reason = ROUTE_NULL_MX, .key = "", .unlisted = true },
	{ "a null MX of any preference means no mail", .mx = "10 .", .hosts = "",
	  .reason = ROUTE_NULL_MX, .key = "", .unlisted = true },
	{ "a null MX among others is ignored", .mx = "0 ., 10 mail.a, 20 us.b",
	  .hosts = "mail.a 192.0.2.1", .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "a null MX beside us alone leaves us the best", .mx = "0 ., 20 us.b", .hosts = "",
	  .reason = ROUTE_BEST_IS_US, .key = "" },

	/* --- no MX records --- */
	{ "no MX records: the domain's own address", .mx = "nodata", .hosts = "dom.a 192.0.2.1",
	  .key = "dom.a:25", .tries = "192.0.2.1:25", .unlisted = true },
	{ "no MX records: the domain's own IPv6 address", .mx = "nodata",
	  .hosts = "dom.a 2001:db8::1", .key = "dom.a:25", .tries = "[2001:db8::1]:25",
	  .unlisted = true },
	{ "no MX records and the domain's address is ours: we are the best", .mx = "nodata",
	  .hosts = "dom.a 203.0.113.2", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "no MX records and the domain's name is ours: we are the best", .mx = "nodata",
	  .names = "dom.a", .hosts = "dom.a 192.0.2.1", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "no MX records and no address", .mx = "nodata", .hosts = "dom.a nodata",
	  .reason = ROUTE_NO_ADDRESS, .key = "", .unlisted = true },
	{ "no MX records and trouble with the address", .mx = "nodata", .hosts = "dom.a servfail",
	  .reason = ROUTE_TROUBLE, .key = "", .unlisted = true, .partial = true },
	{ "the domain does not exist", .mx = "nxdomain", .hosts = "", .reason = ROUTE_NO_DOMAIN,
	  .key = "", .unlisted = true },

	/* --- trouble is not absence --- */
	{ "trouble with the MX question", .mx = "servfail", .hosts = "dom.a 192.0.2.1",
	  .reason = ROUTE_TROUBLE, .key = "", .unlisted = true, .partial = true },
	{ "trouble with the only better host", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a servfail", .reason = ROUTE_TROUBLE, .key = "mail.a:25",
	  .partial = true },
	{ "trouble with one better host leaves the other", .mx = "5 m1.a, 10 m2.a, 20 us.b",
	  .hosts = "m1.a servfail; m2.a 192.0.2.2", .key = "m1.a:25,m2.a:25",
	  .tries = "192.0.2.2:25", .partial = true },
	{ "trouble with a worse host than us means nothing", .mx = "10 mail.a, 20 us.b, 30 other.b",
	  .hosts = "mail.a 192.0.2.1; other.b servfail", .key = "mail.a:25",
	  .tries = "192.0.2.1:25" },
	{ "trouble with one host and absence of the other is trouble",
	  .mx = "5 m1.a, 10 m2.a, 20 us.b", .hosts = "m1.a nodata; m2.a servfail",
	  .reason = ROUTE_TROUBLE, .key = "m2.a:25", .partial = true },
	{ "trouble with AAAA leaves A", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 192.0.2.1 6:servfail", .key = "mail.a:25", .tries = "192.0.2.1:25",
	  .partial = true },
	{ "trouble with A leaves AAAA", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 2001:db8::1 4:servfail", .key = "mail.a:25", .tries = "[2001:db8::1]:25",
	  .partial = true },
	{ "no AAAA and trouble with A is trouble", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 4:servfail 6:nodata", .reason = ROUTE_TROUBLE, .key = "mail.a:25",
	  .partial = true },
	{ "what may be us is treated as us: worse hosts wait",
	  .mx = "10 mail.a, 20 renamed.b, 30 other.b",
	  .hosts = "mail.a 192.0.2.1; renamed.b servfail; other.b 192.0.2.3", .key = "mail.a:25",
	  .tries = "192.0.2.1:25", .unlisted = true, .partial = true },
	{ "what may be us is the best: wait", .mx = "10 renamed.b, 30 other.b",
	  .hosts = "renamed.b servfail; other.b 192.0.2.3", .reason = ROUTE_TROUBLE, .key = "",
	  .unlisted = true, .partial = true },

	/* --- addresses --- */
	{ "IPv6 only", .mx = "10 mail.a, 20 us.b", .hosts = "mail.a 2001:db8::1",
	  .key = "mail.a:25", .tries = "[2001:db8::1]:25" },
	{ "families alternate, IPv6 first", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1 2001:db8::2",
	  .key = "mail.a:25",
	  .tries = "[2001:db8::1]:25 192.0.2.1:25 [2001:db8::2]:25 192.0.2.2:25 192.0.2.3:25" },
	{ "all addresses of a host come before the next host", .mx = "5 m1.a, 10 m2.a, 20 us.b",
	  .hosts = "m1.a 192.0.2.1 192.0.2.2; m2.a 2001:db8::1", .key = "m1.a:25,m2.a:25",
	  .tries = "192.0.2.1:25 192.0.2.2:25 [2001:db8::1]:25" },
	{ "unspecified, multicast, reserved and link-local addresses are dropped",
	  .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 0.0.0.0 0.1.2.3 224.0.0.1 255.255.255.255 192.0.2.1 :: ff02::1 fe80::1",
	  .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "a host with unusable addresses only has none", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 0.0.0.0", .reason = ROUTE_NOTHING_BETTER, .key = "" },
	{ "an IPv4-mapped address is IPv4", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a ::ffff:192.0.2.1", .key = "mail.a:25", .tries = "192.0.2.1:25" },
	{ "an IPv4-mapped address of ours is ours", .mx = "10 mail.a, 20 x.b, 30 other.b",
	  .hosts = "mail.a 192.0.2.1; x.b ::ffff:203.0.113.2; other.b 192.0.2.3",
	  .key = "mail.a:25" },
	{ "a repeated address is tried once", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 192.0.2.1 192.0.2.1", .key = "mail.a:25", .tries = "192.0.2.1:25" },

	/* --- primary = {...} --- */
	{ "explicit hosts in the given order", .primary = "m2.a:25, m1.a:2525",
	  .hosts = "m1.a 192.0.2.1; m2.a 192.0.2.2", .key = "m2.a:25,m1.a:2525",
	  .tries = "192.0.2.2:25 192.0.2.1:2525" },
	{ "explicit literals need no DNS", .primary = "192.0.2.1:25, [2001:db8::1]:26", .hosts = "",
	  .key = "192.0.2.1:25,[2001:db8::1]:26", .tries = "192.0.2.1:25 [2001:db8::1]:26" },
	{ "an explicit host at our address on another port is used", .primary = "127.0.0.1:2526",
	  .hosts = "", .addresses = "127.0.0.1", .listens = "127.0.0.1:2525",
	  .key = "127.0.0.1:2526", .tries = "127.0.0.1:2526" },
	{ "an explicit host that is our own listener is dropped",
	  .primary = "127.0.0.1:2525, m1.a:25", .hosts = "m1.a 192.0.2.1",
	  .listens = "127.0.0.1:2525", .key = "m1.a:25", .tries = "192.0.2.1:25" },
	{ "an explicit host that is our wildcard listener is dropped", .primary = "127.0.0.1:25",
	  .hosts = "", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "an IPv4 wildcard listener does not take IPv6", .primary = "[::1]:25", .hosts = "",
	  .listens = "0.0.0.0:25", .key = "[::1]:25", .tries = "[::1]:25" },
	{ "an explicit name that resolves to our listener is dropped", .primary = "m1.a:25",
	  .hosts = "m1.a 203.0.113.2", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "our own name at our own port is dropped behind NAT", .primary = "us.b:25",
	  .hosts = "us.b 198.51.100.7", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "our own name at a foreign port is somebody else", .primary = "us.b:2525",
	  .hosts = "us.b 203.0.113.2", .key = "us.b:2525", .tries = "203.0.113.2:2525" },
	{ "an explicit host without address", .primary = "m1.a:25", .hosts = "m1.a nodata",
	  .reason = ROUTE_NO_ADDRESS, .key = "" },
	{ "trouble with an explicit host", .primary = "m1.a:25", .hosts = "m1.a servfail",
	  .reason = ROUTE_TROUBLE, .key = "m1.a:25", .partial = true },
	{ "MX records at another port", .primary = "mx:2626", .mx = "10 mail.a, 20 us.b",
	  .hosts = "mail.a 192.0.2.1", .key = "mail.a:2626", .tries = "192.0.2.1:2626" },
	{ "MX records at a port where we do not listen are not us by address", .primary = "mx:2626",
	  .mx = "10 mail.a, 20 us.b", .addresses = "127.0.0.1", .listens = "127.0.0.1:2525",
	  .hosts = "mail.a 127.0.0.1", .key = "mail.a:2626", .tries = "127.0.0.1:2626" },
	{ "MX records at a port where we listen are us by address", .primary = "mx:2525",
	  .mx = "10 mail.a, 20 other.b", .addresses = "127.0.0.1", .listens = "127.0.0.1:2525",
	  .hosts = "mail.a 127.0.0.1; other.b 192.0.2.3", .reason = ROUTE_BEST_IS_US, .key = "" },
	{ "an explicit host after the MX records", .primary = "mx, relay.a:2525",
	  .mx = "10 mail.a, 20 us.b", .hosts = "mail.a 192.0.2.1; relay.a 192.0.2.9",
	  .key = "mail.a:25,relay.a:2525", .tries = "192.0.2.1:25 192.0.2.9:2525" },
	{ "an explicit host saves a domain without better MX records",
	  .primary = "mx, relay.a:2525", .mx = "10 us.b", .hosts = "relay.a 192.0.2.9",
	  .key = "relay.a:2525", .tries = "192.0.2.9:2525" },
	{ "an explicit host is used while the MX question is in trouble",
	  .primary = "mx, relay.a:2525", .mx = "servfail", .hosts = "relay.a 192.0.2.9",
	  .key = "relay.a:2525", .tries = "192.0.2.9:2525", .unlisted = true, .partial = true },
	{ "trouble anywhere outweighs certain failure elsewhere", .primary = "mx, relay.a:2525",
	  .mx = "10 us.b", .hosts = "relay.a servfail", .reason = ROUTE_TROUBLE,
	  .key = "relay.a:2525", .partial = true },
};

/* --- reading the words --- */

static str word(str *text, char separator)
{
	str head, tail;

	if (!str_cut(*text, separator, &head, &tail)) {
		head = *text;
		tail = STR_NONE;
	}
	*text = tail;
	return str_trim(head);
}

static bool read_status(str text, enum dns_status *ret)
{
	if (str_eq(text, STR("servfail")))
		*ret = DNS_TROUBLE;
	else if (str_eq(text, STR("nodata")))
		*ret = DNS_NO_DATA;
	else if (str_eq(text, STR("nxdomain")))
		*ret = DNS_NO_DOMAIN;
	else
		return false;
	return true;
}

static void read_mx(const char *text, struct dns_mx_answer *ret)
{
	str rest = str_of(text), one;
	uint64_t preference;

	memset(ret, 0, sizeof(*ret));
	ret->ttl = 300;
	if (read_status(rest, &ret->status))
		return;
	while (rest.n) {
		size_t at = ret->count;

		one = word(&rest, ',');
		assert_int_equal(str_u64(word(&one, ' '), 65535, &preference), 0);
		while (at > 0 && ret->mx[at - 1].preference > preference) {
			ret->mx[at] = ret->mx[at - 1];
			at--;
		}
		ret->mx[at].preference = (uint16_t)preference;
		assert_true(str_copy(one, ret->mx[at].host, DNS_NAME_SIZE));
		assert_true(++ret->count < DNS_MX_MAX);
	}
}

static void read_addresses(str words, struct dns_addresses *v6, struct dns_addresses *v4)
{
	enum dns_status status;
	struct addr a;
	str one;

	*v6 = *v4 = (struct dns_addresses){ .status = DNS_NO_DATA, .ttl = UINT32_MAX };
	while (words.n) {
		one = word(&words, ' ');
		if (read_status(one, &status)) {
			v6->status = v4->status = status;
		} else if (str_starts(one, STR("4:"))) {
			assert_true(read_status(str_from(one, 2), &v4->status));
		} else if (str_starts(one, STR("6:"))) {
			assert_true(read_status(str_from(one, 2), &v6->status));
		} else {
			struct dns_addresses *to = str_index(one, ':') >= 0 ? v6 : v4;

			assert_int_equal(addr_parse_ip(one, 0, &a), 0);
			to->status = DNS_DATA;
			to->ttl = 60;
			to->address[to->count++] = a;
		}
	}
}

static void look_up(const char *hosts, struct route_host *host)
{
	struct dns_addresses v6 = { .status = DNS_NO_DOMAIN, .ttl = UINT32_MAX }, v4 = v6;
	str rest = str_of(hosts), one;

	while (rest.n) {
		one = word(&rest, ';');
		if (str_case_eq(word(&one, ' '), str_of(host->name)))
			read_addresses(one, &v6, &v4);
	}
	route_host_addresses(host, &v6, &v4);
}

static void read_plan(const struct route_case *c, struct route_plan *plan)
{
	str rest = str_of(c->primary ? c->primary : "mx"), host;
	struct dns_mx_answer mx;
	uint16_t port;

	assert_int_equal(route_plan_init(plan, STR("dom.a")), 0);
	while (rest.n) {
		assert_int_equal(host_port_split(word(&rest, ','), 25, &host, &port), 0);
		if (str_eq(host, STR("mx"))) {
			read_mx(c->mx, &mx);
			assert_int_equal(route_plan_mx(plan, &mx, port), 0);
		} else {
			assert_int_equal(route_plan_host(plan, host, port), 0);
		}
	}
	for (size_t i = 0; i < plan->host_count; i++)
		if (!plan->host[i].literal)
			look_up(c->hosts, &plan->host[i]);
}

struct self {
	str name[8];
	struct addr address[8], listen[8];
	struct route_self self;
};

static void read_self(const struct route_case *c, struct self *s)
{
	str names = str_of(c->names ? c->names : "us.b us-old.b");
	str addresses = str_of(c->addresses ? c->addresses : "203.0.113.2 2001:db8:f::2");
	str listens = str_of(c->listens ? c->listens : "[::]:25");

	memset(s, 0, sizeof(*s));
	while (names.n)
		s->name[s->self.name_count++] = word(&names, ' ');
	while (addresses.n)
		assert_int_equal(addr_parse_ip(word(&addresses, ' '), 0,
					       &s->address[s->self.address_count++]),
				 0);
	while (listens.n)
		assert_int_equal(
			addr_parse(word(&listens, ' '), 0, &s->listen[s->self.listen_count++]), 0);
	s->self.names = s->name;
	s->self.addresses = s->address;
	s->self.listens = s->listen;
}

static void write_tries(const struct route *r, uint64_t seed, char *text, size_t size)
{
	struct route_try try[ROUTE_ADDRESSES_MAX];
	size_t count = route_order(r, seed, try), n = 0;
	char one[ADDR_TEXT_SIZE];

	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s", i ? " " : "",
				      addr_text(&r->address[try[i].address], one));
}

static void test_cases(void **state)
{
	struct route_plan *plan = malloc(sizeof(*plan));
	char text[4096];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		const struct route_case *c = &cases[i];
		_cleanup_(route_freep) struct route *r = NULL;
		struct self self;

		print_message("  %s\n", c->requirement);
		read_self(c, &self);
		read_plan(c, plan);
		r = route_make(plan, &self.self);
		assert_non_null(r);
		assert_string_equal(route_reason_name(r->reason), route_reason_name(c->reason));
		assert_string_equal(r->key, c->key);
		write_tries(r, 1, text, sizeof(text));
		if (c->tries)
			assert_string_equal(text, c->tries);
		if (c->reason != ROUTE_OK)
			assert_string_equal(text, "");
		assert_int_equal(r->partial, c->partial);
		if (r->mx)
			assert_int_equal(!r->we_are_listed, c->unlisted);
		route_explain(r, STR("dom.a"), text, sizeof(text));
		assert_true(strstr(text, "dom.a") != NULL || r->reason == ROUTE_TROUBLE);
	}
	free(plan);
}

static struct route *route_from(const struct route_case *c)
{
	struct route_plan *plan = malloc(sizeof(*plan));
	struct self self;
	struct route *r;

	read_self(c, &self);
	read_plan(c, plan);
	r = route_make(plan, &self.self);
	free(plan);
	return r;
}

static void test_equal_preferences_are_shuffled(void **state)
{
	const struct route_case c = {
		.mx = "10 a.a, 10 b.a, 10 c.a, 15 d.a, 20 us.b",
		.hosts = "a.a 192.0.2.1; b.a 192.0.2.2; c.a 192.0.2.3; d.a 192.0.2.4",
	};
	_cleanup_(route_freep) struct route *r = route_from(&c);
	unsigned first[5] = { 0 }, second[5] = { 0 };

	(void)state;
	assert_string_equal(r->key, "a.a:25,b.a:25,c.a:25,d.a:25");
	for (uint64_t seed = 0; seed < 3000; seed++) {
		struct route_try try[ROUTE_ADDRESSES_MAX];

		assert_int_equal(route_order(r, seed, try), 4);
		first[r->address[try[0].address].ip[3]]++;
		second[r->address[try[1].address].ip[3]]++;
		assert_int_equal(r->address[try[3].address].ip[3], 4);
	}
	for (unsigned i = 1; i <= 3; i++) {
		assert_in_range(first[i], 900, 1100);
		assert_in_range(second[i], 900, 1100);
	}
}

static void test_same_seed_same_order(void **state)
{
	const struct route_case c = {
		.mx = "10 a.a, 10 b.a, 10 c.a, 20 us.b",
		.hosts = "a.a 192.0.2.1; b.a 192.0.2.2; c.a 192.0.2.3",
	};
	_cleanup_(route_freep) struct route *r = route_from(&c);
	char once[512], twice[512];

	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		write_tries(r, seed, once, sizeof(once));
		write_tries(r, seed, twice, sizeof(twice));
		assert_string_equal(once, twice);
	}
}

static void test_rotated_answers_are_the_same_route(void **state)
{
	static const struct route_case c[] = {
		{ .mx = "10 a.a, 10 b.a, 20 us.b",
		  .hosts = "a.a 192.0.2.1 192.0.2.2; b.a 192.0.2.3" },
		{ .mx = "10 b.a, 10 a.a, 20 us.b",
		  .hosts = "a.a 192.0.2.2 192.0.2.1; b.a 192.0.2.3" },
		{ .mx = "10 b.a, 10 a.a, 20 us.b",
		  .hosts = "a.a 192.0.2.2 192.0.2.4; b.a 192.0.2.3" },
		{ .mx = "10 b.a, 11 a.a, 20 us.b",
		  .hosts = "a.a 192.0.2.2 192.0.2.1; b.a 192.0.2.3" },
		{ .mx = "10 b.a, 10 a.a", .hosts = "a.a 192.0.2.2 192.0.2.1; b.a 192.0.2.3" },
	};
	_cleanup_(route_freep) struct route *first = route_from(&c[0]);

	(void)state;
	for (size_t i = 0; i < ELEMENTS(c); i++) {
		_cleanup_(route_freep) struct route *other = route_from(&c[i]);

		assert_int_equal(route_same(first, other), i <= 1);
	}
}

static void test_the_least_ttl_counts(void **state)
{
	static const struct route_case c = { .mx = "10 a.a, 20 us.b", .hosts = "a.a 192.0.2.1" };
	static const struct route_case literal = { .primary = "192.0.2.1:25" };
	_cleanup_(route_freep) struct route *r = route_from(&c), *l = route_from(&literal);

	(void)state;
	assert_int_equal(r->ttl, 60);
	assert_int_equal(l->ttl, UINT32_MAX);
}

/* 32 MX hosts of 16 addresses each. */
static void test_bounds(void **state)
{
	struct route_plan *plan = malloc(sizeof(*plan));
	struct dns_mx_answer mx = { .status = DNS_DATA, .ttl = 1, .count = DNS_MX_MAX };
	struct dns_addresses v6 = { .status = DNS_NO_DATA, .ttl = UINT32_MAX };
	struct dns_addresses v4 = { .status = DNS_DATA, .ttl = 1, .count = DNS_ADDRESSES_MAX };
	_cleanup_(route_freep) struct route *r = NULL;
	struct route_try try[ROUTE_ADDRESSES_MAX];
	struct self self;

	(void)state;
	for (size_t i = 0; i < mx.count; i++) {
		mx.mx[i].preference = 10;
		snprintf(mx.mx[i].host, DNS_NAME_SIZE, "%060zu.%060zu.a", i, i);
	}
	assert_int_equal(route_plan_init(plan, STR("dom.a")), 0);
	assert_int_equal(route_plan_mx(plan, &mx, 25), 0);
	for (size_t i = 0; i < plan->host_count; i++) {
		for (size_t a = 0; a < v4.count; a++)
			v4.address[a] = (struct addr){ .family = AF_INET,
						       .ip = { 192, 0, (uint8_t)i, (uint8_t)a } };
		v6 = v4;
		for (size_t a = 0; a < v6.count; a++)
			v6.address[a].ip[0] = 10;
		route_host_addresses(&plan->host[i], &v6, &v4);
		assert_int_equal(plan->host[i].address_count, ROUTE_HOST_ADDRESSES_MAX);
	}
	read_self(&cases[0], &self);
	r = route_make(plan, &self.self);
	assert_int_equal(r->hop_count, DNS_MX_MAX);
	assert_int_equal(r->address_count, ROUTE_ADDRESSES_MAX);
	assert_int_equal(route_order(r, 7, try), ROUTE_ADDRESSES_MAX);
	assert_true(strlen(r->key) < ROUTE_KEY_SIZE);
	assert_int_equal(r->key[strlen(r->key) - 9], '#');

	/* Sixteen more fit, then the plan is full. */
	for (int i = 0; i < 15; i++)
		assert_int_equal(route_plan_host(plan, STR("x.a"), 25), 0);
	assert_int_equal(route_plan_host(plan, STR("x.a"), 25), -E2BIG);
	assert_int_equal(route_plan_mx(plan, &mx, 25), -E2BIG);
	free(plan);
}

static void test_operator_words(void **state)
{
	static const struct route_case best = { .mx = "10 us.b, 20 x.a", .hosts = "" };
	static const struct route_case address = { .mx = "10 x.a", .hosts = "x.a 203.0.113.2" };
	_cleanup_(route_freep) struct route *r = route_from(&best), *a = route_from(&address);
	char text[512];

	(void)state;
	route_explain(r, STR("example.cz"), text, sizeof(text));
	assert_string_equal(text, "MX records of example.cz name us.b (us) as the best: "
				  "nothing better to deliver to");
	route_explain(a, STR("example.cz"), text, sizeof(text));
	assert_string_equal(text,
			    "MX records of example.cz name x.a (us, by its address) as the best: "
			    "nothing better to deliver to");
	/* A text that does not fit is cut, never past its end. */
	route_explain(a, STR("example.cz"), text, 10);
	assert_string_equal(text, "MX record");
}

static void test_bad_domains_are_refused(void **state)
{
	struct route_plan *plan = malloc(sizeof(*plan));

	(void)state;
	assert_int_equal(route_plan_init(plan, STR("")), -EINVAL);
	assert_int_equal(route_plan_init(plan, STR("a..b")), -EINVAL);
	assert_int_equal(route_plan_init(plan, STR("a b")), -EINVAL);
	assert_int_equal(route_plan_init(plan, STR("192.0.2.1")), -EINVAL);
	assert_int_equal(route_plan_init(plan, STR("a.b.")), 0);
	assert_string_equal(plan->domain, "a.b");
	free(plan);
}

/* --- TLSA records --- */

/* Two MX hosts, "a" and "b", with an address each; v4 says whether a's is secure. */
static void plan_two(struct route_plan *plan, bool mx_secure, const struct dns_addresses *v4)
{
	struct dns_mx_answer mx = { .status = DNS_DATA,
				    .secure = mx_secure,
				    .ttl = 60,
				    .count = 3,
				    .mx = { { 10, "a.x" }, { 10, "b.x" }, { 20, "us.b" } } };
	struct dns_addresses other = { .status = DNS_DATA, .ttl = 60, .count = 1 },
			     none = { .status = DNS_NO_DATA, .ttl = UINT32_MAX };

	assert_int_equal(addr_parse_ip(STR("192.0.2.9"), 0, &other.address[0]), 0);
	assert_int_equal(route_plan_init(plan, STR("dom.a")), 0);
	assert_int_equal(route_plan_mx(plan, &mx, 25), 0);
	route_host_addresses(&plan->host[0], &none, v4);
	route_host_addresses(&plan->host[1], &none, &other);
	route_host_addresses(&plan->host[2], &none, &other);
}

static struct route *route_of(const struct route_plan *plan)
{
	str us = STR("us.b");
	struct route_self self = { .names = &us, .name_count = 1 };
	struct route *r = route_make(plan, &self);

	assert_non_null(r);
	return r;
}

static void test_tlsa_records_go_with_their_host(void **state)
{
	_cleanup_(freep) struct route_plan *plan = malloc(sizeof(*plan));
	_cleanup_(freep) struct dns_tlsa_answer *tlsa = calloc(1, sizeof(*tlsa));
	_cleanup_(route_freep) struct route *with = NULL, *without = NULL;
	struct dns_addresses v4 = {
		.status = DNS_DATA, .secure = true, .ttl = 60, .count = 1, .owner = "real.x"
	};
	char name[DNS_NAME_SIZE];

	(void)state;
	assert_int_equal(addr_parse_ip(STR("192.0.2.8"), 0, &v4.address[0]), 0);
	plan_two(plan, true, &v4);
	assert_true(plan->host[0].secure && !plan->host[1].secure);
	assert_true(route_tlsa_name(&plan->host[0], true, name));
	assert_string_equal(name, "_25._tcp.real.x");
	assert_true(route_tlsa_name(&plan->host[0], false, name));
	assert_string_equal(name, "_25._tcp.a.x");
	without = route_of(plan);
	assert_int_equal(without->hop[0].dane, DANE_NONE);
	*tlsa = (struct dns_tlsa_answer){
		.status = DNS_DATA, .secure = true, .ttl = 7, .count = 1
	};
	route_host_tlsa(&plan->host[0], tlsa, true);
	with = route_of(plan);
	assert_string_equal(with->hop[0].host, "a.x");
	assert_int_equal(with->hop[0].dane, DANE_RECORDS);
	assert_string_equal(with->hop[0].base, "real.x");
	assert_true(with->hop[0].secure && with->hop[0].mx);
	assert_int_equal(with->hop[1].dane, DANE_NONE);
	assert_int_equal(with->ttl, 7);
	assert_false(route_same(with, without));
	assert_true(route_same(with, with));
	with->hop[0].tlsa->record[0].usage = 3;
	without->hop[0].dane = DANE_NONE;
	route_free(TAKE(without));
	without = route_of(plan);
	assert_false(route_same(with, without)); /* other records: another route */
}

static void test_insecure_tlsa_records_are_none(void **state)
{
	_cleanup_(freep) struct route_plan *plan = malloc(sizeof(*plan));
	_cleanup_(freep) struct dns_tlsa_answer *tlsa = calloc(1, sizeof(*tlsa));
	struct dns_addresses v4 = { .status = DNS_DATA, .secure = true, .ttl = 60, .count = 1 };

	(void)state;
	plan_two(plan, false, &v4);
	*tlsa = (struct dns_tlsa_answer){ .status = DNS_DATA, .count = 1 };
	route_host_tlsa(&plan->host[0], tlsa, false);
	assert_int_equal(plan->host[0].dane, DANE_NONE);
	assert_string_equal(plan->host[0].base, "a.x");
}

static void test_a_host_with_bogus_tlsa_records_is_not_used(void **state)
{
	_cleanup_(freep) struct route_plan *plan = malloc(sizeof(*plan));
	_cleanup_(freep) struct dns_tlsa_answer *tlsa = calloc(1, sizeof(*tlsa));
	_cleanup_(route_freep) struct route *r = NULL, *none = NULL;
	struct dns_addresses v4 = { .status = DNS_DATA, .secure = true, .ttl = 60, .count = 1 };
	char text[200];

	(void)state;
	assert_int_equal(addr_parse_ip(STR("192.0.2.8"), 0, &v4.address[0]), 0);
	plan_two(plan, false, &v4);
	tlsa->status = DNS_TROUBLE;
	route_host_tlsa(&plan->host[0], tlsa, true);
	r = route_of(plan);
	assert_int_equal(r->reason, ROUTE_OK); /* by the other */
	assert_int_equal(r->hop[0].address_count, 0);
	assert_int_equal(r->hop[1].address_count, 1);
	assert_false(r->hop[0].secure);
	assert_true(r->partial);
	assert_string_equal(r->key, "a.x:25,b.x:25");
	route_host_tlsa(&plan->host[1], tlsa, true);
	none = route_of(plan);
	assert_int_equal(none->reason, ROUTE_TROUBLE);
	assert_int_equal(none->address_count, 0);
	route_explain(none, STR("dom.a"), text, sizeof(text));
	assert_non_null(strstr(text, "a.x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tlsa_records_go_with_their_host),
		cmocka_unit_test(test_insecure_tlsa_records_are_none),
		cmocka_unit_test(test_a_host_with_bogus_tlsa_records_is_not_used),
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_equal_preferences_are_shuffled),
		cmocka_unit_test(test_same_seed_same_order),
		cmocka_unit_test(test_rotated_answers_are_the_same_route),
		cmocka_unit_test(test_the_least_ttl_counts),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_operator_words),
		cmocka_unit_test(test_bad_domains_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
