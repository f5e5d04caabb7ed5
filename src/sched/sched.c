#include "sched/inside.h"

#include "base/cleanup.h"
#include "sched/timing.h"

#define KEY_MAX 512

int sched_new(const struct sched_options *options, struct sched **ret_sched)
{
	struct sched *s = calloc(1, sizeof(*s));

	must(options->window_max > 0 && options->in_flight_max > 0 && options->probes_max > 0);
	must(options->live_max > 0);
	if (!s)
		return -ENOMEM;
	s->options = *options;
	s->random = options->seed[0] ^ options->seed[1];
	map_init(&s->domains);
	map_init(&s->destinations);
	list_init(&s->runnable);
	heap_init(&s->waiting);
	heap_init(&s->expiries);
	heap_init(&s->pauses);
	heap_init(&s->probes);
	*ret_sched = s;
	return 0;
}

static void destination_free(struct sched *s, struct sched_destination *d)
{
	must(list_empty(&d->domains));
	heap_remove(&s->pauses, &d->pause);
	heap_remove(&s->probes, &d->probe_timer);
	list_remove(&d->runnable);
	map_remove(&s->destinations, &d->link);
	free(d->text);
	free(d);
}

/* Out of its destination, which ceases to exist with its last domain. */
static void domain_leave(struct sched *s, struct sched_domain *d)
{
	struct sched_destination *from = d->destination;

	list_remove(&d->in_destination);
	list_remove(&d->turn);
	list_remove(&d->huge_turn);
	from->domain_count--;
	from->in_flight -= d->in_flight;
	from->huge_in_flight -= d->huge_in_flight;
	from->stale -= d->stale;
	from->waiting -= d->waiting;
	from->queued -= d->queued;
	from->live -= d->live;
	from->live_stale -= d->live_stale;
	from->live_old = MIN(from->live_old, from->live);
	from->watched -= d->watched;
	d->destination = NULL;
	if (list_empty(&from->domains))
		destination_free(s, from);
}

static void domain_free(struct sched *s, struct sched_domain *d)
{
	domain_leave(s, d);
	s->live -= d->live;
	heap_remove(&s->expiries, &d->expiry);
	heap_done(&d->ready);
	heap_done(&d->huge);
	map_remove(&s->domains, &d->link);
	free(d);
}

void sched_free(struct sched *s)
{
	struct map_link *link, *next;

	if (!s)
		return;
	for (link = map_walk(&s->domains, NULL); link; link = next) {
		next = map_walk(&s->domains, link);
		domain_free(s, CONTAINER(link, struct sched_domain, link));
	}
	map_done(&s->domains);
	map_done(&s->destinations);
	heap_done(&s->waiting);
	heap_done(&s->expiries);
	heap_done(&s->pauses);
	heap_done(&s->probes);
	free(s);
}

void sched_freep(struct sched **s)
{
	sched_free(*s);
}

/* splitmix64: spreads retries, nothing more. */
uint64_t sched_random(struct sched *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void sched_tell(struct sched *s, enum sched_notice notice, const struct sched_destination *d,
		int64_t value)
{
	if (s->options.notice)
		s->options.notice(s->options.notice_arg, notice, d, value);
}

nsec after(nsec now, nsec duration)
{
	nsec at;

	return __builtin_add_overflow(now, duration, &at) ? NEVER : at;
}

/* --- destinations and domains --- */

static int destination_get(struct sched *s, str key, nsec now, struct sched_destination **ret)
{
	struct sched_destination *new;
	uint64_t hash;

	key = str_first(key, KEY_MAX);
	hash = str_hash(key, s->options.seed, true);
	MAP_FIND (&s->destinations, hash, struct sched_destination, link, d)
		if (str_case_eq(str_of(d->key), key)) {
			*ret = d;
			return 0;
		}
	new = calloc(1, sizeof(*new) + key.n + 1);
	if (!new)
		return -ENOMEM;
	str_copy(key, new->key, key.n + 1);
	list_init(&new->domains);
	list_init(&new->turns);
	list_init(&new->huge_turns);
	list_init(&new->runnable);
	health_init(s, new, now);
	if (map_insert(&s->destinations, &new->link, hash) < 0) {
		free(new);
		return -ENOMEM;
	}
	*ret = new;
	return 0;
}

static void domain_enter(struct sched_domain *d, struct sched_destination *to)
{
	d->destination = to;
	list_append(&to->domains, &d->in_destination);
	to->domain_count++;
	to->in_flight += d->in_flight;
	to->huge_in_flight += d->huge_in_flight;
	to->stale += d->stale;
	to->waiting += d->waiting;
	to->queued += d->queued;
	to->live += d->live;
	to->live_stale += d->live_stale;
	to->watched += d->watched;
}

void domain_changed(struct sched *s, const struct sched_domain *d)
{
	if (s->options.changed)
		s->options.changed(s->options.notice_arg, d);
}

void domain_move(struct sched *s, struct sched_domain *d, str key, nsec now)
{
	struct sched_destination *from = d->destination, *to;
	bool alone;

	must(from);
	alone = from->domain_count == 1;
	if (key.n == 0 || str_case_eq(str_of(from->key), str_first(key, KEY_MAX)))
		return;
	must(destination_get(s, key, now, &to) == 0);
	domain_leave(s, d);
	domain_enter(d, to);
	if (!alone)
		destination_update(s, from, now);
	domain_update(s, d, now);
	domain_changed(s, d);
}

struct sched_domain *sched_domain_find(const struct sched *s, str name)
{
	uint64_t hash = str_hash(name, s->options.seed, true);

	MAP_FIND (&s->domains, hash, struct sched_domain, link, d)
		if (str_case_eq(str_of(d->name), name))
			return d;
	return NULL;
}

int sched_domain_get(struct sched *s, str name, nsec now, struct sched_domain **ret_domain)
{
	struct sched_domain *d = sched_domain_find(s, name);
	struct sched_destination *to;
	int r;

	if (d) {
		*ret_domain = d;
		return 0;
	}
	d = calloc(1, sizeof(*d) + name.n + 1);
	if (!d)
		return -ENOMEM;
	str_copy(name, d->name, name.n + 1);
	d->hold = NEVER;
	d->stale_epoch = s->epoch;
	list_init(&d->in_destination);
	list_init(&d->turn);
	list_init(&d->huge_turn);
	list_init(&d->entries);
	heap_init(&d->ready);
	heap_init(&d->huge);
	r = map_insert(&s->domains, &d->link, str_hash(name, s->options.seed, true));
	if (r < 0) {
		free(d);
		return r;
	}
	r = destination_get(s, name, now, &to);
	if (r < 0) {
		map_remove(&s->domains, &d->link);
		free(d);
		return r;
	}
	domain_enter(d, to);
	*ret_domain = d;
	return 0;
}

void sched_domain_configure(struct sched *s, struct sched_domain *d, bool configured, nsec hold,
			    nsec now)
{
	d->configured = configured;
	d->hold = hold;
	if (!configured && list_empty(&d->entries)) {
		domain_free(s, d);
		return;
	}
	domain_update(s, d, now);
}

void sched_domain_hint(struct sched *s, struct sched_domain *d, str key, nsec now)
{
	if (d->destination->health == HEALTH_UNKNOWN)
		domain_move(s, d, key, now);
}

void sched_domain_watch(struct sched *s, struct sched_domain *d, bool watched, nsec now)
{
	d->destination->watched += (uint32_t)watched - (uint32_t)d->watched;
	d->watched = watched;
	destination_update(s, d->destination, now);
}

struct sched_domain *sched_domain_walk(const struct sched *s, const struct sched_domain *at)
{
	struct map_link *link = map_walk(&s->domains, at ? &at->link : NULL);

	return link ? CONTAINER(link, struct sched_domain, link) : NULL;
}

struct sched_destination *sched_destination_walk(const struct sched *s,
						 const struct sched_destination *at)
{
	struct map_link *link = map_walk(&s->destinations, at ? &at->link : NULL);

	return link ? CONTAINER(link, struct sched_destination, link) : NULL;
}

struct heap_node *domain_oldest(const struct sched_domain *d)
{
	struct heap_node *small = heap_first(&d->ready), *huge = heap_first(&d->huge);

	if (!small || !huge)
		return small ? small : huge;
	return huge->at < small->at ? huge : small;
}

static void take_turn(struct list *turns, struct list *turn, bool wants)
{
	if (!wants)
		list_remove(turn);
	else if (list_empty(turn))
		list_append(turns, turn);
}

void domain_update(struct sched *s, struct sched_domain *d, nsec now)
{
	struct heap_node *oldest = domain_oldest(d);
	nsec expiry = d->configured && oldest ? after(oldest->at, d->hold) : NEVER;

	take_turn(&d->destination->turns, &d->turn, d->configured && heap_first(&d->ready));
	take_turn(&d->destination->huge_turns, &d->huge_turn,
		  d->configured && heap_first(&d->huge));

	if (!heap_has(&d->expiry) || d->expiry.at != expiry) {
		heap_remove(&s->expiries, &d->expiry);
		if (expiry != NEVER)
			must(heap_push(&s->expiries, &d->expiry, expiry) == 0);
	}
	destination_update(s, d->destination, now);
}

/* --- entries --- */

static void count_queued(struct sched_domain *d, int change)
{
	d->queued += (uint64_t)change;
	d->destination->queued += (uint64_t)change;
}

static void count_waiting(struct sched_domain *d, int change)
{
	d->waiting += (uint32_t)change;
	d->destination->waiting += (uint32_t)change;
}

static bool is_huge(const struct sched_entry *e)
{
	return e->bytes > HUGE_BYTES;
}

static struct heap *ready_of(const struct sched_entry *e)
{
	return is_huge(e) ? &e->domain->huge : &e->domain->ready;
}

static void count_huge(struct sched_domain *d, int change)
{
	d->huge_in_flight += (uint32_t)change;
	d->destination->huge_in_flight += (uint32_t)change;
}

static void count_in_flight(struct sched *s, struct sched_domain *d, int change)
{
	s->in_flight += (uint32_t)change;
	d->in_flight += (uint32_t)change;
	d->destination->in_flight += (uint32_t)change;
}

bool entry_is_stale(const struct sched_entry *e)
{
	return (int32_t)(e->epoch - e->domain->stale_epoch) < 0;
}

void destination_forget_in_flight(struct sched *s, struct sched_destination *d)
{
	d->halved_epoch = ++s->epoch;
	LIST_EACH (&d->domains, struct sched_domain, in_destination, domain) {
		domain->stale = domain->in_flight;
		domain->stale_epoch = s->epoch;
		domain->live_stale = domain->live;
		domain->huge_in_flight = 0;
	}
	d->stale = d->in_flight;
	d->huge_in_flight = 0;
	d->live_stale = d->live;
}

void entry_leave(struct sched *s, struct sched_entry *e)
{
	struct sched_domain *d = e->domain;

	switch ((enum sched_place)e->place) {
	case PLACE_NONE:
		return;
	case PLACE_READY:
		heap_remove(ready_of(e), &e->node);
		count_queued(d, -1);
		break;
	case PLACE_WAITING:
		heap_remove(&s->waiting, &e->node);
		count_waiting(d, -1);
		count_queued(d, -1);
		break;
	case PLACE_IN_FLIGHT:
		if (entry_is_stale(e)) {
			d->stale--;
			d->destination->stale--;
		} else if (is_huge(e)) {
			count_huge(d, -1);
		}
		count_in_flight(s, d, -1);
		count_queued(d, -1);
		break;
	case PLACE_HELD:
	case PLACE_PARKED:
		d->held--;
		break;
	}
	e->place = PLACE_NONE;
}

void entry_make_ready(struct sched *s, struct sched_entry *e)
{
	entry_leave(s, e);
	must(heap_push(ready_of(e), &e->node, e->since) == 0);
	e->place = PLACE_READY;
	count_queued(e->domain, 1);
}

void entry_make_waiting(struct sched *s, struct sched_entry *e, nsec until)
{
	entry_leave(s, e);
	must(heap_push(&s->waiting, &e->node, until) == 0);
	e->place = PLACE_WAITING;
	count_waiting(e->domain, 1);
	count_queued(e->domain, 1);
}

void entry_start(struct sched *s, struct sched_entry *e)
{
	entry_leave(s, e);
	e->place = PLACE_IN_FLIGHT;
	e->epoch = s->epoch;
	e->wait_is_over = false;
	if (is_huge(e))
		count_huge(e->domain, 1);
	count_in_flight(s, e->domain, 1);
	count_queued(e->domain, 1);
}

void entry_make_held(struct sched *s, struct sched_entry *e, enum sched_place place)
{
	must(place == PLACE_HELD || place == PLACE_PARKED);
	entry_leave(s, e);
	e->place = (uint8_t)place;
	e->domain->held++;
}

int sched_add(struct sched *s, struct sched_domain *d, struct sched_entry *e,
	      enum sched_place place, nsec since, uint64_t bytes, nsec now)
{
	int r;

	must(e->place == PLACE_NONE && !e->domain);
	if (place == PLACE_READY) {
		r = heap_push(bytes > HUGE_BYTES ? &d->huge : &d->ready, &e->node, since);
		if (r < 0)
			return r;
	}
	e->domain = d;
	e->since = since;
	e->bytes = bytes;
	e->place = (uint8_t)place;
	list_append(&d->entries, &e->in_domain);
	d->bytes += bytes;
	if (place == PLACE_READY)
		count_queued(d, 1);
	else if (place != PLACE_NONE)
		d->held++;
	domain_update(s, d, now);
	return 0;
}

void sched_ready(struct sched *s, struct sched_entry *e, nsec now)
{
	must(e->place == PLACE_NONE && e->domain);
	entry_make_ready(s, e);
	domain_update(s, e->domain, now);
}

/* The entry is in no queue any more; the domain goes when nothing keeps it. */
static void entry_forget(struct sched *s, struct sched_entry *e, nsec now)
{
	struct sched_domain *d = e->domain;

	must(e->place == PLACE_NONE);
	list_remove(&e->in_domain);
	e->domain = NULL;
	d->bytes -= e->bytes;
	if (!d->configured && list_empty(&d->entries))
		domain_free(s, d);
	else
		domain_update(s, d, now);
}

void sched_remove(struct sched *s, struct sched_entry *e, nsec now)
{
	must(e->place != PLACE_IN_FLIGHT);
	if (!e->domain)
		return;
	entry_leave(s, e);
	entry_forget(s, e, now);
}

void sched_hold(struct sched *s, struct sched_entry *e, enum sched_place place, nsec now)
{
	must(e->place != PLACE_IN_FLIGHT && e->place != PLACE_NONE);
	entry_make_held(s, e, place);
	domain_update(s, e->domain, now);
}

void sched_release(struct sched *s, struct sched_entry *e, nsec now)
{
	if (e->place != PLACE_HELD && e->place != PLACE_PARKED)
		return;
	e->since = now;
	e->failures = 0;
	entry_make_ready(s, e);
	domain_update(s, e->domain, now);
}

void sched_set_since(struct sched *s, struct sched_entry *e, nsec since, nsec now)
{
	e->since = since;
	if (e->place != PLACE_READY)
		return;
	entry_make_ready(s, e);
	domain_update(s, e->domain, now);
}

uint64_t sched_flush(struct sched *s, struct sched_domain *d, nsec now)
{
	uint64_t flushed = 0;

	if (!d) {
		for (d = sched_domain_walk(s, NULL); d; d = sched_domain_walk(s, d))
			flushed += sched_flush(s, d, now);
		return flushed;
	}
	LIST_EACH (&d->entries, struct sched_entry, in_domain, e) {
		if (e->place == PLACE_IN_FLIGHT)
			e->wait_is_over = true;
		if (e->place != PLACE_WAITING)
			continue;
		e->failures = 0;
		entry_make_ready(s, e);
	}
	if (d->queued)
		health_hurry(s, d->destination, now);
	domain_update(s, d, now);
	return d->queued;
}

/* --- reports --- */

static nsec wait_of(struct sched *s, const struct sched_entry *e, enum sched_fate fate,
		    enum sched_said said)
{
	if (fate == FATE_LOST)
		return timing_lost(e->failures, sched_random(s));
	/* The first ones come back soon: some greylists want seconds. Where many are, each try counts. */
	if (said == SAID_GREYLISTED && e->domain->destination->said.told)
		return timing_greylisted(e->failures, sched_random(s));
	return timing_deferral(e->failures, sched_random(s));
}

static void settle(struct sched *s, struct sched_entry *e, enum sched_fate fate,
		   enum sched_said said, nsec now)
{
	switch (fate) {
	case FATE_DONE:
		entry_leave(s, e);
		return;
	case FATE_UNTRIED:
		entry_make_ready(s, e);
		return;
	case FATE_DEFERRED:
	case FATE_LOST:
		if (e->failures < UINT8_MAX)
			e->failures++;
		if (e->wait_is_over)
			entry_make_ready(s, e);
		else
			entry_make_waiting(s, e, after(now, wait_of(s, e, fate, said)));
		return;
	case FATE_HELD:
		entry_make_held(s, e, PLACE_HELD);
		return;
	case FATE_PARKED:
		entry_make_held(s, e, PLACE_PARKED);
		return;
	}
}

/* Where DNS leads nowhere, that is this domain's trouble and not that of the others which share its
 * destination. */
str report_key(const struct sched_report *report, const struct sched_domain *d)
{
	if (report->destination.n == 0 &&
	    (report->attempt == TRIED_NO_ROUTE || report->attempt == TRIED_DNS_TROUBLE))
		return str_of(d->name);
	return report->destination;
}

void sched_attempted(struct sched *s, struct sched_entry *e, enum sched_fate fate,
		     const struct sched_report *report, nsec now)
{
	struct sched_domain *d = e->domain;
	struct trial t;

	must(e->place == PLACE_IN_FLIGHT);
	d->destination->progress_at = now;
	d->destination->stalled = false;
	settle(s, e, fate, report->said, now);
	domain_move(s, d, report_key(report, d), now);
	t = trial_of(d->destination, e, fate);
	health_tried(s, d->destination, &t, report, now);
	if (fate == FATE_DONE)
		entry_forget(s, e, now); /* may free the domain */
	else
		domain_update(s, d, now);
}

void sched_probed(struct sched *s, uint64_t probe, str domain, const struct sched_report *report,
		  nsec now)
{
	struct sched_domain *d = sched_domain_find(s, domain);
	struct sched_destination *asked = d ? d->destination : NULL;

	must(s->probes_in_flight > 0);
	s->probes_in_flight--;
	if (!asked || asked->probe != probe) /* the domain moved or went away meanwhile */
		for (asked = sched_destination_walk(s, NULL); asked;
		     asked = sched_destination_walk(s, asked))
			if (asked->probe == probe)
				break;
	if (asked) {
		asked->probe = 0;
		destination_update(s, asked, now); /* due again, unless the answer is about it */
	}
	if (!d)
		return;
	domain_move(s, d, report_key(report, d), now);
	health_probed(s, d->destination, report, now);
	domain_update(s, d, now);
}

nsec sched_next_try(const struct sched_entry *e, nsec now)
{
	const struct sched_destination *d;

	if (!e->domain || !e->domain->configured)
		return NEVER;
	d = e->domain->destination;
	switch ((enum sched_place)e->place) {
	case PLACE_NONE:
	case PLACE_HELD:
	case PLACE_PARKED:
		return NEVER;
	case PLACE_WAITING:
		return e->node.at;
	case PLACE_READY:
	case PLACE_IN_FLIGHT:
		break;
	}
	if ((destination_is_down(d) || d->checking) && !d->canary)
		return MAX(now, d->probe_at);
	return now;
}

uint32_t sched_in_flight(const struct sched *s)
{
	return s->in_flight;
}

const char *sched_health_text(enum sched_health health)
{
	static const char *const text[] = {
		[HEALTH_UNKNOWN] = "unknown",          [HEALTH_UP] = "up",
		[HEALTH_REFUSING] = "refusing",        [HEALTH_UNREACHABLE] = "unreachable",
		[HEALTH_NO_ROUTE] = "without a route",
	};

	return text[health];
}
