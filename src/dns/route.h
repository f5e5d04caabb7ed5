/*
 * route: where a domain's mail goes. RFC 5321 §5.1 with RFC 7505 as pure functions over DNS
 * answers: plan (which hosts?) → their addresses are looked up by whoever can → route (which of
 * them may we use, in which order?). No I/O, no clock; randomness comes in as a seed.
 *
 * Among MX records we drop ourselves, recognised by name or by address, and everything of the same
 * or worse preference. Explicit hosts ("host:port") are taken as the operator wrote them, except
 * where that would be one of our own listeners. DNS trouble is never read as absence: what may
 * exist is waited for.
 *
 * Bounds: 16 sources, 48 hosts, 16 addresses a host, 64 a route. A plan is large (about 35 KiB):
 * heap.
 */
#pragma once

#include "dns/answer.h"

#define ROUTE_SOURCES_MAX 16
#define ROUTE_HOSTS_MAX 48
#define ROUTE_HOST_ADDRESSES_MAX 16
#define ROUTE_ADDRESSES_MAX 64
#define ROUTE_KEY_SIZE 1024

/* --- DANE (RFC 7672): what DNSSEC says of a host's certificate --- */

enum route_dane {
	DANE_NONE, /* nothing: no TLSA records, or no DNSSEC for the host's addresses or for them */
	DANE_RECORDS, /* secure ones; whether any of them can be used is not looked at here */
	DANE_TROUBLE, /* they are bogus, or DNS did not say: the host must not be used (§2.1.2) */
};

/* --- the plan: what has to be asked --- */

/* A host that may be on the route. */
struct route_host {
	char name[DNS_NAME_SIZE]; /* or an IP literal, as text without brackets */
	uint16_t preference;      /* among the hosts of its source */
	uint16_t port;
	uint8_t source; /* index into the plan's sources */
	bool literal;   /* its address is known: nothing to ask */
	/* By route_host_addresses: DATA with addresses to try in order; NO_DATA, NO_DOMAIN
	 * without. */
	enum dns_status status;
	bool partial; /* one family is missing because of trouble */
	uint32_t ttl;
	size_t address_count;
	struct addr address[ROUTE_HOST_ADDRESSES_MAX];
	bool secure;              /* all of them by DNSSEC */
	char base[DNS_NAME_SIZE]; /* whose addresses they are, behind CNAMEs */
	/* By route_host_tlsa. */
	enum route_dane dane;
	const struct dns_tlsa_answer *tlsa; /* the asker's, with DANE_RECORDS */
};

/* One element of `primary`: the domain's MX records, or one explicit host. */
struct route_source {
	bool mx;
	enum dns_status status; /* of the MX question */
	bool secure;            /* it was answered by DNSSEC */
	bool null_mx;           /* RFC 7505 */
	bool implicit;          /* no MX records: the domain's own addresses */
	uint16_t best;          /* the least preference seen */
	uint32_t ttl;
};

struct route_plan {
	char domain[DNS_NAME_SIZE];
	size_t source_count;
	struct route_source source[ROUTE_SOURCES_MAX];
	size_t host_count;
	struct route_host host[ROUTE_HOSTS_MAX];
};

/* 0 or -EINVAL: not a domain name. */
int route_plan_init(struct route_plan *plan, str domain);
/* The next source, in the order of preference of the operator. 0 or -E2BIG. */
int route_plan_mx(struct route_plan *plan, const struct dns_mx_answer *answer, uint16_t port);
int route_plan_host(struct route_plan *plan, str host, uint16_t port);
/* What DNS said about a host: interleaves the families (RFC 8305 §4, IPv6 first), drops what cannot
 * be connected to. */
void route_host_addresses(struct route_host *host, const struct dns_addresses *v6,
			  const struct dns_addresses *v4);
/* "_25._tcp.HOST": of the base, or of the name as it stands in the plan (RFC 7672 §2.2.2). False: too long. */
bool route_tlsa_name(const struct route_host *host, bool of_base,
		     char ret_name[static DNS_NAME_SIZE]);
/* What DNS said about its TLSA records, asked for only where its addresses are secure. *answer outlives the plan. */
void route_host_tlsa(struct route_host *host, const struct dns_tlsa_answer *answer, bool of_base);

/* --- the route --- */

/* Who we are. */
struct route_self {
	const str *names;
	size_t name_count;
	const struct addr *addresses; /* ports mean nothing */
	size_t address_count;
	const struct addr
		*listens; /* address and port; an unspecified address is every one of ours */
	size_t listen_count;
};

enum route_reason {
	ROUTE_OK,
	ROUTE_BEST_IS_US,     /* we hold the best preference, or we are the only explicit host */
	ROUTE_NOTHING_BETTER, /* better hosts are named, but none of them has an address */
	ROUTE_NULL_MX,        /* the domain says that it takes no mail */
	ROUTE_NO_DOMAIN,      /* NXDOMAIN */
	ROUTE_NO_ADDRESS,     /* none of the hosts has a usable address */
	ROUTE_TROUBLE,        /* DNS did not say: ask again */
};

struct route_hop {
	char host[DNS_NAME_SIZE];
	uint16_t preference, port;
	uint8_t rank; /* hops of equal rank are tried in random order */
	uint8_t address_from, address_count;
	bool mx;     /* named by an MX record */
	bool secure; /* its name is beyond doubt: configured, or from a secure MX answer */
	enum route_dane dane;
	char base[DNS_NAME_SIZE];     /* with DANE_RECORDS: of whom they are */
	struct dns_tlsa_answer *tlsa; /* with DANE_RECORDS */
};

struct route {
	enum route_reason reason;
	bool we_are_listed; /* by an MX record; if not, DNS is wrong or changing */
	bool us_by_address; /* recognised by address, not by name */
	bool implicit;      /* no MX records exist */
	bool mx;            /* MX records were asked for */
	bool partial;       /* a part is missing because of trouble: ask again soon */
	uint32_t ttl;       /* seconds; UINT32_MAX: no answer said */
	/* The host behind the reason: us, or the one DNS had trouble with; may be empty. */
	char subject[DNS_NAME_SIZE];
	/* "a:25,b:25": the hosts that survived, in order, sorted by name within equal rank: the
	 * name of the destination, stable across shuffles. Past its size: cut, with a checksum of
	 * the whole. */
	char key[ROUTE_KEY_SIZE];
	size_t hop_count;
	struct route_hop *hop; /* by rank, then name */
	size_t address_count;
	struct addr *address; /* with ports */
};

struct route_try {
	uint8_t hop, address; /* indexes into the route */
};

/* NULL: out of memory. */
struct route *route_make(const struct route_plan *plan, const struct route_self *self);
void route_free(struct route *r);
void route_freep(struct route **r);
/* Every address in the order to try: equal ranks shuffled by the seed, all addresses of a host
 * before the next host's. Returns their number. The same route and seed give the same order. */
size_t route_order(const struct route *r, uint64_t seed,
		   struct route_try ret[static ROUTE_ADDRESSES_MAX]);
/* The same reason, hosts and addresses? */
bool route_same(const struct route *a, const struct route *b);

/* --- in words --- */
const char *route_reason_name(enum route_reason reason); /* "best-is-us" */
/* For the operator: why there is no route, or where it leads. */
void route_explain(const struct route *r, str domain, char *ret_text, size_t size);
