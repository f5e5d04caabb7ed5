/*
 * lookup: the questions behind one route. All questions of a step are under way at once. What does not
 * answer in time is trouble, never absence.
 */
#pragma once

#include "conf/conf.h"
#include "dns/route.h"
#include "proc/netd/resolver.h"

#define LOOKUP_STEP_WAIT (10 * NSEC_S) /* for the MX records, for the addresses, for TLSA records */

/* 0 with a route (its reason may be trouble), -ECANCELED, -ENOMEM, -EINVAL for a name that is
 * none. */
int lookup_route(struct task *tk, struct resolver *resolver, const struct conf *conf,
		 const struct conf_domain *domain, struct route **ret);
