/*
 * answer: what a DNS message says in reply to one question (RFC 1035 §4.1), as plain structs of
 * fixed size. The four states that routing must tell apart are DATA, NO_DATA (the name exists, the
 * type does not), NO_DOMAIN (NXDOMAIN) and TROUBLE (SERVFAIL, REFUSED, malformed, time-out, bogus):
 * trouble says nothing about the name, so nobody may conclude from it that something is absent.
 *
 * CNAMEs within the message are followed (the resolver puts the whole chain there). Pure; what is
 * past the bounds is left out and `cut` says so. Several KiB each: not for a task's stack.
 */
#pragma once

#include "dns/name.h"

enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };
enum dns_status { DNS_DATA, DNS_NO_DATA, DNS_NO_DOMAIN, DNS_TROUBLE };

#define DNS_MX_MAX 32
#define DNS_ADDRESSES_MAX 16
#define DNS_NAMES_MAX 4
#define DNS_TLSA_MAX 16
#define DNS_TEXTS_MAX 8
#define DNS_TEXT_SIZE 512
#define DNS_TLSA_BYTES_MAX 4096 /* of all records of an answer together */

struct dns_mx {
	uint16_t preference;
	char host[DNS_NAME_SIZE]; /* "." for the root */
};

/* The best preferences first; equal ones in the order of the message. DATA with count 0: records
 * exist, but none names a possible host. */
struct dns_mx_answer {
	enum dns_status status;
	uint32_t ttl; /* the least of what was used; UINT32_MAX without data */
	bool secure;  /* validated by DNSSEC: the resolver's word, set by who asked it */
	bool cut;
	size_t count;
	struct dns_mx mx[DNS_MX_MAX];
};

/* Of one family; IPv4-mapped ones are folded to IPv4. */
struct dns_addresses {
	enum dns_status status;
	uint32_t ttl;
	bool secure; /* as above */
	bool cut;
	size_t count;
	char owner[DNS_NAME_SIZE]; /* whose they are, behind CNAMEs; empty without data */
	struct addr address[DNS_ADDRESSES_MAX]; /* port 0 */
};

/* What a host's certificate is bound to (RFC 6698 §2.1). */
struct dns_tlsa {
	uint8_t usage, selector, matching;
	uint16_t from, length; /* of its association data, in the answer's bytes */
};

/* What does not fit is left out. DATA with count 0: there are records, none that could be kept. */
struct dns_tlsa_answer {
	enum dns_status status;
	uint32_t ttl;
	bool secure;
	bool cut;
	size_t count;
	struct dns_tlsa record[DNS_TLSA_MAX];
	size_t byte_count;
	uint8_t bytes[DNS_TLSA_BYTES_MAX];
};

/* TXT records, the strings of each joined; longer ones are left out. */
struct dns_texts {
	enum dns_status status;
	uint32_t ttl;
	bool cut;
	size_t count;
	size_t length[DNS_TEXTS_MAX];
	char text[DNS_TEXTS_MAX][DNS_TEXT_SIZE];
};

/* Possible host names only. */
struct dns_names {
	enum dns_status status;
	uint32_t ttl;
	bool cut;
	size_t count;
	char name[DNS_NAMES_MAX][DNS_NAME_SIZE];
};

void dns_read_mx(str message, struct dns_mx_answer *ret);
/* type: DNS_A or DNS_AAAA */
void dns_read_addresses(str message, enum dns_type type, struct dns_addresses *ret);
void dns_read_names(str message, struct dns_names *ret);
void dns_read_texts(str message, struct dns_texts *ret);
void dns_read_tlsa(str message, struct dns_tlsa_answer *ret);
/* Only whether there are records of that type. */
enum dns_status dns_read_status(str message, enum dns_type type);

/* Whether the name that was asked for is another name for something (CNAME), which a host that takes mail must not be
 * (RFC 2181 §10.3). */
bool dns_read_alias(str message);

const char *dns_status_text(enum dns_status status);
