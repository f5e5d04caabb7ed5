#include "sched/inside.h"

/* 500 probes a second at most: an outage of our own network makes every destination due at once. */
#define PROBE_SPACING (2 * NSEC_MS)

void sched_stop(struct sched *s, bool stopped)
{
	s->stopped = stopped;
}

/* Entries whose own back-off has ended. */
static void end_waits(struct sched *s, nsec now)
{
	struct heap_node *first;

	while ((first = heap_first(&s->waiting)) && first->at <= now) {
		struct sched_entry *e = CONTAINER(first, struct sched_entry, node);

		entry_make_ready(s, e);
		domain_update(s, e->domain, now);
	}
}

static bool next_park(struct sched *s, nsec now, struct sched_action *a)
{
	struct heap_node *first = heap_first(&s->expiries);
	struct sched_domain *d;

	if (!first || first->at > now)
		return false;
	d = CONTAINER(first, struct sched_domain, expiry);
	a->what = SCHED_PARK;
	a->domain = d;
	a->entry = CONTAINER(domain_oldest(d), struct sched_entry, node);
	entry_make_held(s, a->entry, PLACE_PARKED);
	domain_update(s, d, now);
	return true;
}

static void end_pauses(struct sched *s, nsec now)
{
	struct heap_node *first;

	while ((first = heap_first(&s->pauses)) && first->at <= now)
		destination_update(s, CONTAINER(first, struct sched_destination, pause), now);
}

static bool may_probe(const struct sched *s)
{
	return !s->stopped && s->probes_in_flight < s->options.probes_max;
}

/* Through the domain whose turn it is; while all its mail is in back-off, through any that has
 * some or has live traffic. */
static struct sched_domain *probe_through(struct sched_destination *d)
{
	struct sched_domain *first = LIST_FIRST(&d->turns, struct sched_domain, turn);

	if (!first)
		first = LIST_FIRST(&d->huge_turns, struct sched_domain, huge_turn);
	if (first)
		return first;
	LIST_EACH (&d->domains, struct sched_domain, in_destination, domain)
		if ((domain->waiting > 0 || domain->watched) && domain->configured)
			return domain;
	return NULL;
}

static bool next_probe(struct sched *s, nsec now, struct sched_action *a)
{
	struct heap_node *first = heap_first(&s->probes);
	struct sched_destination *d;

	if (!first || first->at > now || s->probe_not_before > now || !may_probe(s))
		return false;
	d = CONTAINER(first, struct sched_destination, probe_timer);
	a->domain = probe_through(d);
	if (!a->domain) { /* all that waits belongs to domains no longer configured */
		d->probe_at = after(now, NSEC_MINUTE);
		destination_update(s, d, now);
		return false;
	}
	a->what = SCHED_PROBE;
	a->probe = d->probe = ++s->probe_last;
	s->probes_in_flight++;
	s->probe_not_before = after(now, PROBE_SPACING);
	destination_update(s, d, now);
	return true;
}

static bool may_start(const struct sched *s)
{
	return !s->stopped && s->in_flight < s->options.in_flight_max;
}

/* Small ones first; but a huge one waits for so many of them at most, where there is room for it. */
#define SMALL_STREAK_MAX 16

static struct sched_entry *choose(struct sched_destination *d)
{
	bool small = !list_empty(&d->turns), huge = !list_empty(&d->huge_turns);
	struct sched_domain *domain;

	if (huge && destination_has_huge_room(d) &&
	    (!small || d->small_streak >= SMALL_STREAK_MAX)) {
		d->small_streak = 0;
		domain = CONTAINER(list_take(&d->huge_turns), struct sched_domain, huge_turn);
		return CONTAINER(heap_first(&domain->huge), struct sched_entry, node);
	}
	d->small_streak = huge ? d->small_streak + 1 : 0;
	domain = CONTAINER(list_take(&d->turns), struct sched_domain, turn);
	return CONTAINER(heap_first(&domain->ready), struct sched_entry, node);
}

/* Round robin twice: between destinations, and between the domains of one. */
static bool next_delivery(struct sched *s, nsec now, struct sched_action *a)
{
	struct sched_destination *d;

	if (!may_start(s) || list_empty(&s->runnable))
		return false;
	d = CONTAINER(list_take(&s->runnable), struct sched_destination, runnable);
	a->what = SCHED_DELIVER;
	a->entry = choose(d);
	a->domain = a->entry->domain;
	entry_start(s, a->entry);
	d->progress_at = now;
	domain_update(s, a->domain, now);
	return true;
}

void sched_next(struct sched *s, nsec now, struct sched_action *ret_action)
{
	*ret_action = (struct sched_action){ .what = SCHED_NONE };
	end_waits(s, now);
	if (next_park(s, now, ret_action))
		return;
	end_pauses(s, now);
	if (next_probe(s, now, ret_action))
		return;
	next_delivery(s, now, ret_action);
}

static nsec first_at(const struct heap *h)
{
	const struct heap_node *first = heap_first(h);

	return first ? first->at : NEVER;
}

nsec sched_wake_at(const struct sched *s)
{
	nsec at = MIN(first_at(&s->waiting), first_at(&s->expiries));

	at = MIN(at, first_at(&s->pauses));
	if (may_probe(s) && first_at(&s->probes) != NEVER)
		at = MIN(at, MAX(first_at(&s->probes), s->probe_not_before));
	return at;
}
