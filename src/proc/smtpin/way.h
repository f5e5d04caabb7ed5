/*
 * way: where a transaction goes, which has one way (docs/decisions/0009): live to one primary, that answers
 * itself, or to the spool. It is bound by the first recipient that was taken; until then each may choose. A recipient
 * whose way is another one is sent to a transaction of its own (RFC 5321 §4.5.3.1.10). Pure.
 */
#pragma once

#include "conf/conf.h"
#include "proc/smtpin/offers.h"

enum way_kind { WAY_OPEN, WAY_LIVE, WAY_SPOOL };

struct way {
	enum way_kind kind;
	/* Live, or live before its primary failed: which one. The configuration is the session's, that it keeps
	 * during a transaction. */
	const struct conf_domain *domain;
	uint64_t destination; /* as in struct offer */
	uint64_t live;        /* how smtpout knows it; 0: not at all */
};

/* Does it go, or did it go, to that domain's primary? */
bool way_is_to(const struct way *w, const struct conf_domain *domain, const struct offer *offer);

enum way_step { STEP_LIVE, STEP_SPOOL, STEP_ELSEWHERE };

/* May the primary be asked? Not one that is known to be away. */
bool way_is_open(Locum__PrimaryState state);
/* Where the recipient of this domain would go; `bound`: a recipient was taken before. */
enum way_step way_next(const struct way *w, bool bound, const struct conf_domain *domain,
		       const struct offer *offer);
/* The primary of `domain` it is, from now on. */
void way_to_primary(struct way *w, const struct conf_domain *domain, const struct offer *offer);
/* It goes to the spool; the primary that it went to stays noted: it is not asked again in this transaction. */
void way_to_spool(struct way *w);
