/*
 * list: DNS lists of addresses (RFC 5782): the name to ask for, what an answer means, and whether a list lives. Only
 * 127.0.0.0/8 says "listed", and not all of that: 127.0.0.1, a last octet of 255 and 127.255.255.0/24 are how lists
 * say that they do not answer the asker. An answer outside 127.0.0.0/8 comes from somebody else (a parked domain, a
 * provider that redirects): then nothing the zone says may count.
 *
 * Whether a zone lives is tried with four questions: 127.0.0.2 must be listed and 127.0.0.1 must not (§5), and the
 * same as ::ffff:127.0.0.2 and .1 for its IPv6 half. Pure.
 */
#pragma once

#include "dns/answer.h"

enum dns_list_state {
	DNS_LIST_CLEAR,    /* not listed */
	DNS_LIST_LISTED,   /* code[] says how */
	DNS_LIST_SILENT,   /* no answer: says nothing */
	DNS_LIST_REFUSING, /* code[0]: the list answers others, not us */
	DNS_LIST_FOREIGN,  /* code[0] is no list's answer */
};

struct dns_list_answer {
	enum dns_list_state state;
	size_t count;
	uint32_t code[DNS_ADDRESSES_MAX]; /* host order */
};

/* "7.2.0.192.ZONE", or the nibbles of an IPv6 address. 0, or -ENAMETOOLONG for a zone too long for it. */
int dns_list_name(const struct addr *a, str zone, char ret_name[static DNS_NAME_SIZE]);
/* The answer to a question for its A records; an empty message is no answer. */
void dns_list_read(str message, struct dns_list_answer *ret);

/* The address that a living list of that family (AF_INET, AF_INET6) must list, or must not list. */
struct addr dns_list_test_address(int family, bool listed);

enum dns_list_health {
	DNS_LIST_ALIVE,
	DNS_LIST_EMPTY, /* not even the entry for tests: dead, or without addresses of that family */
	DNS_LIST_UNTESTED,   /* no answer */
	DNS_LIST_EVERYTHING, /* lists what no list may: it would list everybody */
	DNS_LIST_CLOSED,     /* refuses us */
	DNS_LIST_NONE,       /* answers like no list */
};

/* From the answers about one family's two test addresses. */
enum dns_list_health dns_list_test(const struct dns_list_answer *listed,
				   const struct dns_list_answer *not_listed);
/* In the operator's words, to follow the zone's name. */
const char *dns_list_health_text(enum dns_list_health health);
