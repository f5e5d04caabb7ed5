/*
 * tls_report: what a new connection says for the report of TLS (RFC 8460 §4.3): under which policy it was made, and
 * what TLS came to. Pure.
 *
 * The policy is what the domain or the host publishes, not our own option: usable TLSA records, else an MTA-STS policy
 * that is enforced or tested, else TLSA records of which none can be used, else one of MTA-STS that is announced and
 * cannot be had, else none.
 */
#pragma once

#include "proc/smtpout/conn.h"
#include "smtp/tlsrpt.h"

struct dialled;
struct tls_needs;
struct tls_policy;

/* What became of a connection, for tls_report_make. c is NULL where none was made since the MTA-STS policy does not name
 * the host. The session is in the arena, its strings too or those of the arguments; NULL: TLS was not tried, or broke
 * off before that was known; or the arena is full. */
struct tlsrpt_session *tls_report_make(str domain, const struct tls_needs *needs,
				       const struct dialled *d, const struct tls_policy *policy,
				       const struct conn *c, enum conn_result result,
				       struct arena *arena);
