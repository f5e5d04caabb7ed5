/*
 * tls_verify: is the server at the other end of TLS who it should be? By its TLSA records (DANE, RFC 6698, as RFC 7672
 * §3 has it for SMTP) or by a certificate of an authority for its name (PKIX, RFC 8461 §4.1). A handshake always
 * completes, whatever the certificate is: the verdict comes beside it, and whoever asked decides what it is worth.
 *
 * Of TLSA records only DANE-TA(2) and DANE-EE(3) with known selectors and matching types can be used (RFC 7672
 * §3.1). A DANE-EE match needs neither name nor time (§3.1.1); a DANE-TA match needs one of the names.
 */
#pragma once

#include "base/str.h"

#define TLS_TLSA_MAX 16
#define TLS_NAMES_MAX 4

struct tls_tlsa {
	uint8_t usage, selector, matching;
	str data;
};

/* Whom we expect. The strings end in NUL; all of it is read during the handshake only. */
struct tls_expect {
	const char *server_name; /* SNI; NULL: none, an address was dialled */
	/* What the certificate may be for; the first is the TLSA base domain. None: then PKIX cannot hold. */
	size_t name_count;
	const char *name[TLS_NAMES_MAX];
	size_t tlsa_count; /* usable ones only; 0: PKIX */
	struct tls_tlsa tlsa[TLS_TLSA_MAX];
};

enum tls_verified {
	TLS_VERIFIED_NOT,
	TLS_VERIFIED_PKIX,
	TLS_VERIFIED_DANE,
};

/* Why not; the names are the result types of RFC 8460 §4.3. */
enum tls_problem {
	TLS_PROBLEM_NONE,
	TLS_PROBLEM_HOST_MISMATCH,
	TLS_PROBLEM_EXPIRED,
	TLS_PROBLEM_NOT_TRUSTED,
	TLS_PROBLEM_OTHER,
};

struct tls_verdict {
	enum tls_verified verified;
	enum tls_problem problem;
	const char *text; /* static: what is wrong with the certificate */
	int tlsa_used;    /* of those expected; 0 where all of them are malformed */
};

/* Can it be used at all? Pure. */
bool tls_tlsa_usable(const struct tls_tlsa *t);
