#include "sched/inside.h"

#include "sched/timing.h"

#include <stdlib.h>

#define TEXT_MAX 512
#define REFUSED_PAUSE NSEC_S /* after a refused connection, when nothing else goes on */
#define TRIAL_FIRST NSEC_S   /* from a refused connection to the next trial of one more than work */
#define TRIAL_MAX (5 * NSEC_MINUTE) /* the wait doubles with each trial in a row that fails */
#define PROBE_RETRY NSEC_S          /* a probe that could not even be asked for */
#define DEFERRED_STREAK_MAX 8       /* refused messages in a row that count as trouble */
#define STALL (30 * NSEC_S) /* a full window without any news: a primary that died silently? */
#define LIVE_WINDOW 20u     /* places for live traffic at first */
#define LIVE_WINDOW_BACK 5u /* the same after an outage: doubles every round */
#define LATENCY_SMALL_BYTES 65536 /* larger messages tell about their size, not about the primary */
#define LATENCY_SLACK (50 * NSEC_MS)
#define LATENCY_LEAST_AGE (5 * NSEC_MINUTE)
#define LATENCY_SAMPLES 8u /* before the mean says anything */
/* What a primary that filters needs for a message differs by more than what many at once add: latency alone
 * never takes away what every primary bears. */
#define LATENCY_WINDOW_LEAST 5u

bool destination_is_down(const struct sched_destination *d)
{
	switch (d->health) {
	case HEALTH_UNKNOWN:
	case HEALTH_UP:
		return false;
	case HEALTH_REFUSING:
	case HEALTH_UNREACHABLE:
	case HEALTH_NO_ROUTE:
		return true;
	}
	return false;
}

void health_init(struct sched *s, struct sched_destination *d, nsec now)
{
	d->since = now;
	d->window = 1; /* the first delivery is the canary */
	d->threshold = d->live_threshold = s->options.window_max;
	d->live_window = MIN(LIVE_WINDOW, s->options.window_max);
	d->halved_epoch = s->epoch;
}

static void set_text(struct sched_destination *d, str text)
{
	free(d->text);
	d->text = text.n ? strndup(text.p, MIN(text.n, TEXT_MAX)) : NULL;
}

/* Deliveries that count in the window. */
static uint32_t busy(const struct sched_destination *d)
{
	return d->in_flight - d->stale;
}

uint32_t destination_busy(const struct sched_destination *d)
{
	return busy(d) + d->live - d->live_stale;
}

bool destination_is_put_off(const struct sched_destination *d)
{
	return d->deferred_streak >= DEFERRED_STREAK_MAX;
}

bool destination_may_take(const struct sched_destination *d)
{
	return !destination_is_down(d) && !d->checking;
}

static bool may_deliver(const struct sched_destination *d)
{
	return d->canary || destination_may_take(d);
}

bool destination_has_ready(const struct sched_destination *d)
{
	return !list_empty(&d->turns) || !list_empty(&d->huge_turns);
}

/* A quarter of the window stays free of them; while small ones are ready, three. */
bool destination_has_huge_room(const struct sched_destination *d)
{
	uint32_t quarter = d->window / 4;

	if (list_empty(&d->turns))
		return d->huge_in_flight < MAX(d->window - quarter, 1u);
	return d->huge_in_flight < MAX(quarter, 1u);
}

static bool has_startable(const struct sched_destination *d)
{
	return !list_empty(&d->turns) ||
	       (!list_empty(&d->huge_turns) && destination_has_huge_room(d));
}

/* For one more delivery. What live traffic holds or wants of late stays free for it; but one may
 * always go, so that the queue moves beside the busiest of primaries. */
static bool has_room(const struct sched_destination *d, nsec now)
{
	if (busy(d) == 0)
		return true;
	if (destination_is_put_off(d))
		return false; /* one at a time */
	return busy(d) + MAX(d->live - d->live_stale, live_wanted(d, now)) < d->window;
}

static bool wants_probe(const struct sched_destination *d)
{
	if (d->canary || !(destination_is_down(d) || d->checking || d->stalled))
		return false;
	return d->probe == 0 && (destination_has_ready(d) || d->waiting > 0 || d->watched > 0);
}

static void set_health(struct sched *s, struct sched_destination *d, enum sched_health health,
		       nsec now)
{
	if (d->health == health)
		return;
	d->health = health;
	d->since = now;
	LIST_EACH (&d->domains, struct sched_domain, in_destination, domain)
		domain_changed(s, domain);
}

static void reset_timer(struct heap *heap, struct heap_node *node, nsec at)
{
	if (heap_has(node) && node->at == at)
		return;
	heap_remove(heap, node);
	if (at != NEVER)
		must(heap_push(heap, node, at) == 0);
}

void destination_update(struct sched *s, struct sched_destination *d, nsec now)
{
	bool ready = has_startable(d);
	bool room = may_deliver(d) && has_room(d, now);
	bool full = may_deliver(d) && !room;
	bool paused = d->pause_until > now;
	nsec look_at = NEVER;

	said_lapse(s, d, now);
	if (d->canary && !ready && busy(d) == 0) {
		/* Nothing to prove it with: the probe has to do. */
		d->canary = false;
		set_health(s, d, HEALTH_UP, now);
		sched_tell(s, NOTICE_UP, d, now - d->down_since);
	}
	if (!ready || !room || paused)
		list_remove(&d->runnable);
	else if (list_empty(&d->runnable))
		list_append(&s->runnable, &d->runnable);
	if (ready && room && paused)
		look_at = d->pause_until;
	if (ready && full && !d->stalled) {
		look_at = after(d->progress_at, STALL);
		if (look_at <= now) {
			look_at = NEVER;
			d->stalled = true;
			d->probe_at = now;
		}
	}
	reset_timer(&s->pauses, &d->pause, look_at);
	reset_timer(&s->probes, &d->probe_timer, wants_probe(d) ? d->probe_at : NEVER);
	health_drained(s, d, now);
}

/* --- the window --- */

struct trial trial_of(const struct sched_destination *d, const struct sched_entry *e,
		      enum sched_fate fate)
{
	return (struct trial){ .bytes = e->bytes,
			       .deferred = fate == FATE_DEFERRED,
			       .before_cut = (int32_t)(e->epoch - d->halved_epoch) < 0 };
}

static void halve(uint32_t *window, uint32_t *threshold, uint32_t *grown)
{
	*window = MAX(*window / 2, 1u);
	*threshold = MAX(*window, 2u);
	*grown = 0;
}

/* What began before it says nothing about the new windows. The budget is one: queue and live traffic
 * give way together. */
static void cut(struct sched *s, struct sched_destination *d)
{
	d->halved_epoch = ++s->epoch;
	d->worked = d->trial = false;
	d->live_old = d->live - d->live_stale;
}

/* Once a round. */
static void window_halve(struct sched *s, struct sched_destination *d, const struct trial *t)
{
	if (t->before_cut)
		return;
	cut(s, d);
	halve(&d->window, &d->threshold, &d->grown);
	halve(&d->live_window, &d->live_threshold, &d->live_grown);
}

/* One was turned away while others go on: it takes so many. Who asks again and again for one more is a
 * nuisance. */
static void limit_learn(struct sched *s, struct sched_destination *d, nsec now)
{
	d->trial_wait = d->trial ? MIN(2 * d->trial_wait, TRIAL_MAX) : TRIAL_FIRST;
	d->trial_at = after(now, d->trial_wait);
	d->limit = MAX(destination_busy(d), 1u);
	d->window = MIN(d->window, d->limit);
	d->live_window = MIN(d->live_window, d->limit);
	d->threshold = MAX(d->window, 2u);
	d->live_threshold = MAX(d->live_window, 2u);
	d->grown = d->live_grown = 0;
	cut(s, d);
}

/* One more than the limit, once the places are full and it is time. It is taken when they were full of it
 * for a round, and for a moment: a refusal comes sooner. */
static void limit_try(struct sched_destination *d, uint32_t *window, uint32_t max, nsec now)
{
	uint32_t at_once = destination_busy(d) + 1;

	if (!d->trial && at_once >= d->limit && now >= d->trial_at && *window < max) {
		d->trial = true;
		d->trial_at = now;
		d->trial_worked = 0;
		*window = d->limit + 1;
	} else if (d->trial && at_once > d->limit && ++d->trial_worked > d->limit &&
		   now - d->trial_at >= TRIAL_FIRST) {
		d->trial = false;
		d->trial_wait = TRIAL_FIRST;
		d->limit++;
	}
}

/* Doubles every round below the threshold, then one more a round. */
static void grow(uint32_t *window, uint32_t threshold, uint32_t *grown, uint32_t max)
{
	if (*window >= max)
		return;
	if (*window < threshold) {
		++*window;
		return;
	}
	if (++*grown >= *window) {
		*grown = 0;
		++*window;
	}
}

/* By whose success it was. */
static void window_grow(struct sched *s, struct sched_destination *d, const struct trial *t,
			nsec now)
{
	uint32_t *window = t->live ? &d->live_window : &d->window;

	if (d->limit && *window >= d->limit)
		limit_try(d, window, s->options.window_max, now);
	else if (t->live)
		grow(window, d->live_threshold, &d->live_grown, s->options.window_max);
	else
		grow(window, d->threshold, &d->grown, s->options.window_max);
}

/* True when the primary answers so much slower than it can that more at once would only wait. Means are
 * compared: its fastest answer may be one to a message that needed nothing. */
static bool latency_rising(struct sched_destination *d, const struct trial *t, nsec latency,
			   nsec now)
{
	if (latency <= 0 || t->bytes > LATENCY_SMALL_BYTES)
		return false;
	d->latency = d->latency ? d->latency + (latency - d->latency) / 8 : latency;
	if (d->latency_samples < LATENCY_SAMPLES || d->latency < d->latency_least ||
	    now - d->latency_least_at > LATENCY_LEAST_AGE) {
		d->latency_least = d->latency;
		d->latency_least_at = now;
	}
	if (d->latency_samples < LATENCY_SAMPLES)
		d->latency_samples++;
	return destination_busy(d) > 0 && MAX(d->window, d->live_window) > LATENCY_WINDOW_LEAST &&
	       d->latency > 2 * d->latency_least && d->latency - d->latency_least > LATENCY_SLACK;
}

/* Once a round. */
static void window_ease(struct sched *s, struct sched_destination *d, const struct trial *t)
{
	uint32_t window = MIN(d->window, LATENCY_WINDOW_LEAST);
	uint32_t live_window = MIN(d->live_window, LATENCY_WINDOW_LEAST);

	window_halve(s, d, t);
	d->window = MAX(d->window, window);
	d->live_window = MAX(d->live_window, live_window);
}

static void count_delivered(struct sched_destination *d, nsec now)
{
	uint64_t second = (uint64_t)(now / NSEC_S);
	uint64_t gap = second - d->rate_second;

	for (uint64_t i = 1; i <= MIN(gap, (uint64_t)SCHED_RATE_SECONDS); i++)
		d->rate[(d->rate_second + i) % SCHED_RATE_SECONDS] = 0;
	d->rate_second = second;
	d->rate[second % SCHED_RATE_SECONDS]++;
	d->drain_count++;
}

uint64_t sched_drain_left(const struct sched_destination *d)
{
	return d->queued - d->waiting;
}

nsec sched_drain_time(const struct sched_destination *d, nsec now)
{
	double rate = sched_rate(d, now), span = (double)(now - d->drain_since) / (double)NSEC_S;

	if (!d->draining || rate <= 0)
		return NEVER;
	/* A drain younger than the time over which the rate is taken. */
	if (span < SCHED_RATE_SECONDS)
		rate *= SCHED_RATE_SECONDS / MAX(span, 1.0);
	return (nsec)((double)sched_drain_left(d) / rate * (double)NSEC_S);
}

double sched_rate(const struct sched_destination *d, nsec now)
{
	uint64_t gap = (uint64_t)(now / NSEC_S) - d->rate_second;
	uint64_t sum = 0;

	for (uint64_t i = gap; i < SCHED_RATE_SECONDS; i++)
		sum += d->rate[(d->rate_second + SCHED_RATE_SECONDS - (i - gap)) %
			       SCHED_RATE_SECONDS];
	return (double)sum / SCHED_RATE_SECONDS;
}

/* --- up and down --- */

/* The window as at the very first message; what is still in flight does not count any more. */
static void start_anew(struct sched *s, struct sched_destination *d)
{
	destination_forget_in_flight(s, d);
	d->worked = false;
	d->deferred_streak = 0;
	d->window = 1;
	d->threshold = s->options.window_max;
	d->grown = d->live_grown = 0;
	d->live_window = MIN(LIVE_WINDOW_BACK, s->options.window_max);
	d->live_threshold = s->options.window_max;
	d->live_old = 0;
	d->limit = 0;
	d->trial = false;
	d->latency = d->latency_least = 0;
	d->latency_samples = 0;
}

static void drain_start(struct sched *s, struct sched_destination *d, nsec now)
{
	d->draining = true;
	d->drain_since = now;
	d->drain_count = 0;
	sched_tell(s, NOTICE_DRAIN_STARTED, d, (int64_t)d->queued);
}

void health_drained(struct sched *s, struct sched_destination *d, nsec now)
{
	if (!d->draining || destination_has_ready(d) || busy(d) > 0)
		return;
	d->draining = false;
	sched_tell(s, NOTICE_DRAIN_FINISHED, d, now - d->drain_since);
}

static void go_up(struct sched *s, struct sched_destination *d, nsec now)
{
	bool was_down = destination_is_down(d);

	d->canary = d->checking = false;
	d->lost_streak = 0;
	if (d->health == HEALTH_UP)
		return;
	set_health(s, d, HEALTH_UP, now);
	if (was_down)
		sched_tell(s, NOTICE_UP, d, now - d->down_since);
}

static void go_down(struct sched *s, struct sched_destination *d, enum sched_health health,
		    const struct sched_report *report, nsec now)
{
	bool was_down = destination_is_down(d);

	set_text(d, report->text);
	d->canary = d->checking = d->stalled = false;
	d->lost_streak = 0;
	if (!was_down) {
		d->down_since = now;
		start_anew(s, d);
	}
	d->probe_at = after(now, health == HEALTH_NO_ROUTE
					 ? timing_no_route(now - d->down_since, sched_random(s))
					 : timing_probe(now - d->down_since, sched_random(s)));
	if (d->health == health)
		return;
	set_health(s, d, health, now);
	if (d->draining) {
		d->draining = false;
		sched_tell(s, NOTICE_DRAIN_BROKEN, d, now - d->drain_since);
	}
	sched_tell(s, NOTICE_DOWN, d, 0);
}

/* --- what an attempt says --- */

/* It began before the trouble and succeeded in spite of it: look again soon. */
static void answered_late(struct sched_destination *d, const struct trial *t,
			  const struct sched_report *report, nsec now)
{
	d->probe_at = MIN(d->probe_at, now);
	if (report->delivered && !t->live)
		count_delivered(d, now);
}

/* A client's message that the primary refuses says nothing against the primary. */
static void answered_live(struct sched *s, struct sched_destination *d, const struct trial *t,
			  const struct sched_report *report, nsec now)
{
	if (latency_rising(d, t, report->latency, now))
		window_ease(s, d, t);
	else
		window_grow(s, d, t, now);
	if (report->delivered)
		set_text(d, STR_NONE);
}

/* It takes nothing now, whatever it is given: one at a time, and less and less often. Whatever it
 * takes ends that. */
static void put_off(struct sched *s, struct sched_destination *d, const struct trial *t,
		    const struct sched_report *report, nsec now)
{
	uint32_t more;

	if (report->said == SAID_RECIPIENT)
		return;
	d->deferred_streak++;
	if (d->deferred_streak < DEFERRED_STREAK_MAX)
		return;
	more = d->deferred_streak - DEFERRED_STREAK_MAX;
	if (more % DEFERRED_STREAK_MAX == 0)
		window_halve(s, d, t);
	d->pause_until = after(now, timing_put_off(report->said, more + 1, sched_random(s)));
}

static void answered(struct sched *s, struct sched_destination *d, const struct trial *t,
		     const struct sched_report *report, nsec now)
{
	bool was_canary = d->canary;

	if (destination_is_down(d) && (!d->canary || t->live)) {
		answered_late(d, t, report, now);
		return;
	}
	go_up(s, d, now);
	d->worked = true;
	if (t->live) {
		answered_live(s, d, t, report, now);
		return;
	}
	if (was_canary)
		drain_start(s, d, now);
	if (latency_rising(d, t, report->latency, now))
		window_ease(s, d, t);
	else if (report->delivered)
		window_grow(s, d, t, now);
	if (report->delivered) {
		d->deferred_streak = 0;
		count_delivered(d, now);
		set_text(d, STR_NONE);
		return;
	}
	set_text(d, report->text);
	if (t->deferred || report->said > SAID_OTHER)
		put_off(s, d, t, report, now);
}

static void refused(struct sched *s, struct sched_destination *d, const struct trial *t,
		    const struct sched_report *report, nsec now)
{
	bool others_work = destination_busy(d) > 0 || (d->worked && t->before_cut);

	if (d->health != HEALTH_UP || d->checking || !others_work) {
		go_down(s, d, HEALTH_REFUSING, report, now);
		return;
	}
	set_text(d, report->text);
	limit_learn(s, d, now);
	if (destination_busy(d) == 0)
		d->pause_until = after(now, REFUSED_PAUSE);
}

static void lost(struct sched *s, struct sched_destination *d, const struct trial *t,
		 const struct sched_report *report, nsec now)
{
	if (destination_is_down(d)) {
		if (d->canary && !t->live)
			go_down(s, d, d->health, report, now);
		return;
	}
	set_text(d, report->text);
	window_halve(s, d, t);
	if (d->lost_streak < UINT8_MAX)
		d->lost_streak++;
	d->checking = true;
	d->probe_at = after(now, timing_check(d->lost_streak, sched_random(s)));
}

void health_tried(struct sched *s, struct sched_destination *d, const struct trial *t,
		  const struct sched_report *report, nsec now)
{
	said_note(s, d, report, now);
	switch (report->attempt) {
	case TRIED_NONE:
		return;
	case TRIED_ANSWERED:
		answered(s, d, t, report, now);
		return;
	case TRIED_REFUSING:
		refused(s, d, t, report, now);
		return;
	case TRIED_UNREACHABLE:
		go_down(s, d, HEALTH_UNREACHABLE, report, now);
		return;
	case TRIED_NO_ROUTE:
	case TRIED_DNS_TROUBLE:
		go_down(s, d, HEALTH_NO_ROUTE, report, now);
		return;
	case TRIED_LOST:
		lost(s, d, t, report, now);
		return;
	}
}

static void probe_answered(struct sched *s, struct sched_destination *d, nsec now)
{
	if (d->stalled) {
		/* It lives, but what is in flight hangs: perhaps it was restarted under our
		 * connections. Begin again beside them, within reason. */
		d->stalled = false;
		d->progress_at = now;
		if (d->in_flight < 2 * s->options.window_max)
			start_anew(s, d);
	}
	if (d->checking)
		d->checking = false;
	else if (destination_is_down(d) && destination_has_ready(d))
		d->canary = true;
	else
		go_up(s, d, now);
}

void health_probed(struct sched *s, struct sched_destination *d, const struct sched_report *report,
		   nsec now)
{
	switch (report->attempt) {
	case TRIED_NONE:
		d->probe_at = after(now, PROBE_RETRY);
		return;
	case TRIED_ANSWERED:
		probe_answered(s, d, now);
		return;
	case TRIED_REFUSING:
		go_down(s, d, HEALTH_REFUSING, report, now);
		return;
	case TRIED_UNREACHABLE:
	case TRIED_LOST:
		go_down(s, d, HEALTH_UNREACHABLE, report, now);
		return;
	case TRIED_NO_ROUTE:
	case TRIED_DNS_TROUBLE:
		go_down(s, d, HEALTH_NO_ROUTE, report, now);
		return;
	}
}

void health_hurry(struct sched *s, struct sched_destination *d, nsec now)
{
	d->deferred_streak = 0;
	d->pause_until = MIN(d->pause_until, now);
	d->probe_at = MIN(d->probe_at, now);
	if (s->probe_not_before > after(now, NSEC_S))
		s->probe_not_before = now;
}
