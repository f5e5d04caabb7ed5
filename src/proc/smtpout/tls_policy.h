/*
 * tls_policy: what TLS with one host of a domain's route must be, and who says so: DANE (RFC 7672), which its DNS
 * publishes, before everything else. Pure.
 *
 *	usable TLSA records     TLS, and the host verified by them; nothing else will do
 *	only unusable ones      TLS, whoever the host is (RFC 7672 §2.2)
 *	none                    as the domain is configured; by default as much as can be had
 */
#pragma once

#include "proc/smtpout/conn.h"

struct arena;
struct dialled;

enum tls_source { TLS_BY_NOBODY, TLS_BY_DANE };

/* conn_tls without its context. */
struct tls_policy {
	enum tls_source source;
	struct conn_tls tls;
	struct tls_expect expect; /* tls.expect points here */
};

/* The strings are those of *d and of the arena, or static. */
void tls_policy_make(str domain, const struct dialled *d, struct arena *arena,
		     struct tls_policy *ret);
/* For the log: "dane", "none". */
const char *tls_source_name(enum tls_source source);
