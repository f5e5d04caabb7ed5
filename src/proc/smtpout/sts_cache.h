/*
 * sts_cache: the MTA-STS policies (RFC 8461) of the domains whose mail goes by their MX records. Whether there is one, and
 * which, netd asks DNS; it is fetched here, over TLS with a certificate of an authority for mta-sts.DOMAIN. DNS is asked
 * again after ten minutes, the policy fetched when its id changes and once a day. Where it cannot be fetched the one
 * that is there stays until its max_age is over (§3.3, at most a year); where there is none the domain has none.
 *
 * Kept in memory only: a restart forgets them, and fetches them before the first delivery. One lookup a domain at a
 * time; whoever comes meanwhile waits for it. Bounded by the domains of the configuration. Logs sts.policy, sts.failed.
 */
#pragma once

#include "base/map.h"
#include "proc/smtpout/outbound.h"
#include "smtp/sts.h"

#define STS_CHECK_EVERY (10 * NSEC_MINUTE)
#define STS_RETRY_AFTER (5 * NSEC_MINUTE)
#define STS_FETCH_EVERY NSEC_DAY
#define STS_FETCH_MAX (60 * NSEC_S)

struct sts_cache {
	struct loop *loop;
	struct group *group; /* of the lookups */
	struct dialer *dialer;
	struct ssl_ctx_st *tls;
	struct map by_domain;
	uint64_t seed[2];
};

void sts_cache_init(struct sts_cache *c, struct loop *loop, struct group *group,
		    struct dialer *dialer, struct ssl_ctx_st *tls);
/* The group's tasks must have ended. */
void sts_cache_done(struct sts_cache *c);
/* The domain's policy, or NULL; in the arena. *ret_problem: why there is none although one is announced, or TLSRPT_OK. */
const struct sts_policy *sts_cache_get(struct task *tk, struct sts_cache *c, str domain,
				       nsec deadline, struct arena *arena,
				       enum tlsrpt_result *ret_problem);
