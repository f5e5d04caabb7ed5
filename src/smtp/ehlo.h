/*
 * ehlo: what a server said it can do (RFC 5321 §4.1.1.1), read from its whole reply to EHLO. Pure.
 * A keyword that we do not know, or a parameter that makes no sense, is skipped: the server offers
 * it to others.
 */
#pragma once

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
};

/* Attributes the server takes with XCLIENT. */
enum xclient_attribute {
	XCLIENT_NAME = 1 << 0,
	XCLIENT_ADDR = 1 << 1,
	XCLIENT_PORT = 1 << 2,
	XCLIENT_PROTO = 1 << 3,
	XCLIENT_HELO = 1 << 4,
	XCLIENT_LOGIN = 1 << 5,
	XCLIENT_DESTADDR = 1 << 6,
	XCLIENT_DESTPORT = 1 << 7,
};

struct ehlo {
	unsigned offers;     /* enum ehlo_extension */
	unsigned xclient;    /* enum xclient_attribute */
	uint64_t size_bytes; /* the largest message it takes; 0: it did not say */
};

/* Of a 2xx reply. The first line is the server's name and greeting; extensions follow. */
void ehlo_parse(const struct reply *r, struct ehlo *ret_ehlo);

static inline bool ehlo_offers(const struct ehlo *e, enum ehlo_extension extension)
{
	return e->offers & (unsigned)extension;
}
