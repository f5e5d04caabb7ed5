/*
 * tlsrpt: what TLS with the hosts of one domain came to in one day, as RFC 8460 §4.3 and §4.4 count it: sessions by the
 * policy that was applied, and why those failed that did. A session that failed and was delivered all the same, in plain
 * text or in spite of its certificate, counts as failed.
 *
 * Pure. The strings of a session may come from a hostile host or DNS: copied, bounded (TLSRPT_BYTES_MAX for all of it),
 * and written as JSON strings of printable ASCII, any other octet as \xNN. What finds no room is counted as long as its
 * policy is known, else in `uncounted` only.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

#define TLSRPT_BYTES_MAX ((size_t)64 * 1024)
#define TLSRPT_POLICIES_MAX 16
#define TLSRPT_FAILURES_MAX 32 /* different ones of a policy */
#define TLSRPT_STRINGS_MAX 40  /* of a policy */
#define TLSRPT_STRING_MAX 1100 /* of each of them; longer ones are cut */
#define TLSRPT_REASON_MAX 200
#define TLSRPT_JSON_MAX ((size_t)512 * 1024)

enum tlsrpt_type { TLSRPT_NO_POLICY, TLSRPT_TLSA, TLSRPT_STS, TLSRPT_TYPE_COUNT };

/* The result types of §4.3. */
enum tlsrpt_result {
	TLSRPT_OK,
	TLSRPT_NO_STARTTLS,
	TLSRPT_HOST_MISMATCH,
	TLSRPT_EXPIRED,
	TLSRPT_NOT_TRUSTED,
	TLSRPT_VALIDATION_FAILURE,
	TLSRPT_TLSA_INVALID,
	TLSRPT_STS_FETCH_ERROR,
	TLSRPT_STS_INVALID,
	TLSRPT_STS_WEBPKI,
	TLSRPT_RESULT_COUNT
};

struct tlsrpt_session {
	enum tlsrpt_type type;
	str policy_domain; /* the TLSA base domain, else the recipients' */
	size_t text_count, mx_count;
	str text[TLSRPT_STRINGS_MAX]; /* of the policy, a line or a record each */
	str mx[TLSRPT_STRINGS_MAX];   /* patterns of MTA-STS */
	enum tlsrpt_result result;
	str host, address, reason; /* of a failure; address: textual IP without a port */
};

struct tlsrpt_policy;

struct tlsrpt {
	struct arena arena;
	struct tlsrpt_policy *first, *last;
	size_t policy_count;
	uint64_t uncounted; /* sessions for whose policy there was no room */
};

/* What stands around the counts. */
struct tlsrpt_head {
	str organization, contact, report_id;
	nsec start_wall, end_wall; /* §4.4: of the time that is covered */
};

void tlsrpt_init(struct tlsrpt *t);
void tlsrpt_done(struct tlsrpt *t);
/* 0, -EINVAL for a type or result that is none, or -ENOBUFS: counted in part or not at all. */
int tlsrpt_add(struct tlsrpt *t, const struct tlsrpt_session *s);
/* Appends the report, as JSON. 0, -ENOBUFS or -ENOMEM. */
int tlsrpt_render(const struct tlsrpt *t, const struct tlsrpt_head *head, struct buf *to);
/* The name of §4.3: "starttls-not-supported". */
const char *tlsrpt_result_name(enum tlsrpt_result result);
