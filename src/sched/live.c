#include "sched/inside.h"

#define WANT_HALVES (10 * NSEC_S) /* of what live traffic wanted at once */

uint32_t live_wanted(const struct sched_destination *d, nsec now)
{
	nsec times = (now - d->live_want_at) / WANT_HALVES;

	return times < 32 ? d->live_want >> times : 0;
}

static void want(struct sched_destination *d, uint32_t count, nsec now)
{
	if (count < live_wanted(d, now))
		return;
	d->live_want = MIN(count, MAX(d->window, d->live_window));
	d->live_want_at = now;
}

static uint32_t counted(const struct sched_destination *d)
{
	return d->live - d->live_stale;
}

enum sched_live sched_live_take(struct sched *s, str domain, nsec now)
{
	struct sched_domain *domain_of = sched_domain_find(s, domain);
	struct sched_destination *d;

	if (!domain_of || !domain_of->configured)
		return LIVE_UNKNOWN_DOMAIN;
	if (s->stopped)
		return LIVE_STOPPED;
	d = domain_of->destination;
	if (!destination_may_take(d))
		return LIVE_DOWN;
	if (s->live >= s->options.live_max)
		return LIVE_FULL;
	if (destination_busy(d) >= MAX(d->window, d->live_window)) {
		/* The next one shall find more room than this one. */
		want(d, MAX(counted(d), live_wanted(d, now)) + 1, now);
		return LIVE_FULL;
	}
	want(d, counted(d) + 1, now);
	domain_of->live++;
	d->live++;
	s->live++;
	destination_update(s, d, now);
	return LIVE_GRANTED;
}

/* Which of its places was left nobody said. The oldest, as far as one can tell. */
static void give_back(struct sched *s, struct sched_domain *domain, struct trial *t)
{
	struct sched_destination *d = domain->destination;

	domain->live--;
	d->live--;
	s->live--;
	if (domain->live_stale > 0) {
		domain->live_stale--;
		d->live_stale--;
		t->before_cut = true;
	} else if (d->live_old > 0) {
		d->live_old--;
		t->before_cut = true;
	}
}

void sched_live_leave(struct sched *s, str domain, const struct sched_report *report,
		      uint64_t bytes, nsec now)
{
	struct sched_domain *d = sched_domain_find(s, domain);
	struct trial t = { .bytes = bytes, .live = true };

	if (!d)
		return;
	if (d->live > 0)
		give_back(s, d, &t);
	if (report->attempt != TRIED_NONE) {
		d->destination->progress_at = now;
		d->destination->stalled = false;
	}
	domain_move(s, d, report_key(report, d), now);
	health_tried(s, d->destination, &t, report, now);
	domain_update(s, d, now);
}
