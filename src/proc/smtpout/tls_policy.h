/*
 * tls_policy: what TLS with one host of a domain's route must be, and who says so: DANE (RFC 7672), which its DNS
 * publishes, before everything else. Pure.
 *
 *	usable TLSA records     TLS, and the host verified by them; nothing else will do
 *	only unusable ones      TLS, whoever the host is (RFC 7672 §2.2)
 *	none                    as much as can be had
 *
 * The domain's MTA-STS policy (RFC 8461), where it is enforced and there are no TLSA records: a host that it names, verified
 * by an authority for the host's name. The domain's own option (`tls` in locum.conf) can only ask for more. Who verifies by PKIX must know the right name:
 * the host's, where it is configured, came with DNSSEC, or lies within the domain; and the domain's own.
 */
#pragma once

#include "proc/smtpout/conn.h"
#include "smtp/tlsrpt.h"

struct arena;
struct dialled;

struct sts_policy;

enum tls_source { TLS_BY_NOBODY, TLS_BY_DANE, TLS_BY_STS, TLS_BY_STS_TESTING, TLS_BY_OPTION };

/* What the domain needs of every host. */
struct tls_needs {
	enum tls_demand least;        /* its option */
	const struct sts_policy *sts; /* its MTA-STS policy; NULL: none */
	enum tlsrpt_result
		sts_problem; /* it announces one, which cannot be had; for the report only */
};

/* conn_tls without its context. */
struct tls_policy {
	enum tls_source source;
	bool wrong_host; /* the MTA-STS policy does not name it: it must not be used */
	bool of_domain;  /* other domains ask less of the same host: it is not to blame */
	struct conn_tls tls;
	struct tls_expect expect; /* tls.expect points here */
};

/* The strings are those of *d and of the arena, or static. */
void tls_policy_make(str domain, const struct tls_needs *needs, const struct dialled *d,
		     struct arena *arena, struct tls_policy *ret);
/* Will this connection, opened for another message, do for the domain? */
bool tls_policy_fits(const struct conn *c, str domain, const struct tls_needs *needs);
/* For the log: "dane", "sts", "sts-testing", "option", "none". */
const char *tls_source_name(enum tls_source source);
