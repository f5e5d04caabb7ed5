#include "proc/smtpin/way.h"

bool way_is_open(Locum__PrimaryState state)
{
	return state == LOCUM__PRIMARY_STATE__PRIMARY_UP ||
	       state == LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN;
}

bool way_is_to(const struct way *w, const struct conf_domain *domain, const struct offer *offer)
{
	return w->domain == domain ||
	       (w->domain && w->destination && w->destination == offer->destination);
}

/* Would it go live if it were alone? Who waits for a primary that is up (defer) need not wait for one of which nothing
 * is known. */
static bool wants_primary(const struct conf_domain *domain, const struct offer *offer)
{
	switch (domain->acceptance) {
	case ACCEPT_LIVE:
		return way_is_open(offer->state);
	case ACCEPT_DEFER:
		return offer->state == LOCUM__PRIMARY_STATE__PRIMARY_UP;
	case ACCEPT_QUEUE:
		break;
	}
	return false;
}

enum way_step way_next(const struct way *w, bool bound, const struct conf_domain *domain,
		       const struct offer *offer)
{
	bool same = way_is_to(w, domain, offer);
	bool live = wants_primary(domain, offer);

	if (w->kind == WAY_SPOOL && same)
		live = false; /* it failed a moment ago */
	if (!bound)
		return live ? STEP_LIVE : STEP_SPOOL;
	/* One that was told to be away since then says so itself. */
	if (w->kind == WAY_LIVE)
		return same && domain->acceptance != ACCEPT_QUEUE ? STEP_LIVE : STEP_ELSEWHERE;
	return live ? STEP_ELSEWHERE : STEP_SPOOL;
}

void way_to_primary(struct way *w, const struct conf_domain *domain, const struct offer *offer)
{
	w->kind = WAY_LIVE;
	w->domain = domain;
	w->destination = offer->destination;
}

void way_to_spool(struct way *w)
{
	w->kind = WAY_SPOOL;
}
