/*
 * dial: a connected socket to the best host of a domain that answers. The asker names the domain,
 * never an address: what may be connected to is decided by the configuration and DNS alone.
 *
 * Addresses are tried one after the other from `start` on, each for ten seconds, or what the asker
 * says if that is less (0: it says nothing), a minute in all.
 * Hosts of equal preference are tried in an order that is random a dial; the route number that is
 * handed back holds it, so that a dial with that number continues where an earlier one stopped.
 */
#pragma once

#include "ipc/locum.pb-c.h"
#include "proc/netd/routes.h"
#include "smtp/sts.h"

#define DIAL_ADDRESS_WAIT (10 * NSEC_S)
#define DIAL_WAIT (60 * NSEC_S)

/* Large: on the heap. */
struct dialled {
	Locum__Attempt attempt;
	int fd; /* connected, with ATTEMPT_ANSWERED; else -1 */
	char text[768];
	char destination[ROUTE_KEY_SIZE];
	char host[DNS_NAME_SIZE];
	char address[ADDR_TEXT_SIZE];
	uint32_t index, count;
	uint64_t route;
	char sts_id[STS_ID_SIZE]; /* by dial_policy */
	/* Of the host: see dns/route.h. */
	bool mx, secure;
	Locum__Dane dane;
	char base[DNS_NAME_SIZE];
	struct dns_tlsa_answer tlsa; /* with DANE_RECORDS */
};

/* Fills *ret in any case; its fd is the caller's. */
void dial(struct task *tk, struct routes *rs, str domain, uint32_t start, uint64_t route,
	  nsec address_wait, struct dialled *ret);
