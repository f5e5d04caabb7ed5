/*
 * ehlo: what a server said it can do (RFC 5321 §4.1.1.1), read from its whole reply to EHLO. Pure.
 * A keyword that we do not know, or a parameter that makes no sense, is skipped: the server offers
 * it to others.
 */
#pragma once

#include "smtp/attributes.h"
#include "smtp/reply.h"

enum ehlo_extension {
	EHLO_SIZE = 1 << 0,                /* RFC 1870 */
	EHLO_PIPELINING = 1 << 1,          /* RFC 2920 */
	EHLO_8BITMIME = 1 << 2,            /* RFC 6152 */
	EHLO_STARTTLS = 1 << 3,            /* RFC 3207 */
	EHLO_ENHANCEDSTATUSCODES = 1 << 4, /* RFC 2034 */
	EHLO_SMTPUTF8 = 1 << 5,            /* RFC 6531 */
	EHLO_CHUNKING = 1 << 6,            /* RFC 3030 */
	EHLO_BINARYMIME = 1 << 7,          /* RFC 3030 */
	EHLO_DSN = 1 << 8,                 /* RFC 3461 */
	EHLO_XCLIENT = 1 << 9,             /* Postfix XCLIENT_README */
	EHLO_XFORWARD = 1 << 10,
	EHLO_REQUIRETLS = 1 << 11, /* RFC 8689 */
	EHLO_ETRN = 1 << 12,       /* RFC 1985 */
	EHLO_AUTH = 1 << 13,       /* RFC 4954 */
	EHLO_LIMITS = 1 << 14,     /* RFC 9422 */
};

/* The word of its RFC, by which a server offers it. */
const char *ehlo_keyword(enum ehlo_extension extension);

/* The most that LIMITS can say of anything (RFC 9422 §4: six digits). */
#define EHLO_LIMIT_MAX 999999

struct ehlo {
	unsigned offers;     /* enum ehlo_extension */
	unsigned xclient;    /* ATTRIBUTE_BITs the server takes with XCLIENT */
	unsigned xforward;   /* and with XFORWARD */
	uint64_t size_bytes; /* the largest message it takes; 0: it did not say */
	/* LIMITS, 1..EHLO_LIMIT_MAX; 0: it did not say */
	uint32_t recipients_max;        /* of a transaction (RCPTMAX) */
	uint32_t transactions_max;      /* of a session (MAILMAX) */
	uint32_t recipient_domains_max; /* of a transaction (RCPTDOMAINMAX) */
};

/* Of a 2xx reply. The first line is the server's name and greeting; extensions follow. */
void ehlo_parse(const struct reply *r, struct ehlo *ret_ehlo);

static inline bool ehlo_offers(const struct ehlo *e, enum ehlo_extension extension)
{
	return e->offers & (unsigned)extension;
}
