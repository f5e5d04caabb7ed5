#include "dns/list.h"

#include <stdio.h>

#define NET_127 0x7fu
#define LOCALHOST 0x7f000001u
#define ERRORS_NET 0x7fffffu /* 127.255.255 */
#define ERRORS_OCTET 0xffu

int dns_list_name(const struct addr *a, str zone, char ret_name[static DNS_NAME_SIZE])
{
	char reverse[DNS_REVERSE_NAME_SIZE];
	str octets;
	int n;

	/* The reverse name without its own zone, "in-addr.arpa" or "ip6.arpa". */
	dns_reverse_name(a, reverse);
	octets = str_of(reverse);
	octets.n -= strlen(a->family == AF_INET ? "in-addr.arpa" : "ip6.arpa");
	n = snprintf(ret_name, DNS_NAME_SIZE, "%.*s%.*s", STR_ARG(octets), STR_ARG(zone));
	return n > 0 && n < DNS_NAME_SIZE ? 0 : -ENAMETOOLONG;
}

static uint32_t host_order(const struct addr *a)
{
	return (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 |
	       a->ip[3];
}

static enum dns_list_state state_of(uint32_t code)
{
	if (code >> 24 != NET_127)
		return DNS_LIST_FOREIGN;
	if (code == LOCALHOST || code >> 8 == ERRORS_NET || (code & 0xff) == ERRORS_OCTET)
		return DNS_LIST_REFUSING;
	return DNS_LIST_LISTED;
}

void dns_list_read(str message, struct dns_list_answer *ret)
{
	struct dns_addresses a;

	*ret = (struct dns_list_answer){ .state = DNS_LIST_CLEAR };
	dns_read_addresses(message, DNS_A, &a);
	/* Records, but none that is an address: as good as no answer. */
	if (a.status == DNS_TROUBLE || (a.status == DNS_DATA && a.count == 0)) {
		ret->state = DNS_LIST_SILENT;
		return;
	}
	for (size_t i = 0; i < a.count; i++) {
		uint32_t code = host_order(&a.address[i]);
		enum dns_list_state state = state_of(code);

		/* The worst of an answer's records is what it says. */
		if (state > ret->state) {
			ret->state = state;
			ret->count = 0;
		}
		if (state == ret->state)
			ret->code[ret->count++] = code;
	}
}

struct addr dns_list_test_address(int family, bool listed)
{
	uint8_t last = listed ? 2 : 1;

	if (family == AF_INET)
		return (struct addr){ .family = AF_INET, .ip = { 127, 0, 0, last } };
	return (struct addr){
		.family = AF_INET6,
		.ip = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = last },
	};
}

static bool either(const struct dns_list_answer *a, const struct dns_list_answer *b,
		   enum dns_list_state state)
{
	return a->state == state || b->state == state;
}

enum dns_list_health dns_list_test(const struct dns_list_answer *listed,
				   const struct dns_list_answer *not_listed)
{
	if (either(listed, not_listed, DNS_LIST_FOREIGN))
		return DNS_LIST_NONE;
	if (either(listed, not_listed, DNS_LIST_REFUSING))
		return DNS_LIST_CLOSED;
	if (not_listed->state == DNS_LIST_LISTED)
		return DNS_LIST_EVERYTHING;
	if (either(listed, not_listed, DNS_LIST_SILENT))
		return DNS_LIST_UNTESTED;
	return listed->state == DNS_LIST_LISTED ? DNS_LIST_ALIVE : DNS_LIST_EMPTY;
}

const char *dns_list_health_text(enum dns_list_health health)
{
	switch (health) {
	case DNS_LIST_ALIVE:
		return "lives";
	case DNS_LIST_EMPTY:
		return "does not list 127.0.0.2, as every living list does";
	case DNS_LIST_UNTESTED:
		return "does not answer";
	case DNS_LIST_EVERYTHING:
		return "lists 127.0.0.1, which no list may: it would list everybody";
	case DNS_LIST_CLOSED:
		return "answers with an error code: it does not let us ask";
	case DNS_LIST_NONE:
		return "answers with addresses outside 127.0.0.0/8: it is no list any more";
	}
	return "?";
}
