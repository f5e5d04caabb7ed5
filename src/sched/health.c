#include "sched/inside.h"

#include "sched/timing.h"

#include <stdlib.h>

#define TEXT_MAX 512
#define REFUSED_PAUSE NSEC_S  /* after a refused connection, while others still work */
#define PROBE_RETRY NSEC_S    /* a probe that could not even be asked for */
#define DEFERRED_STREAK_MAX 8 /* refused messages in a row that count as trouble */
#define STALL (30 * NSEC_S)   /* a full window without any news: a primary that died silently? */
#define LATENCY_SMALL_BYTES 65536 /* larger messages tell about their size, not about the primary */
#define LATENCY_SLACK (50 * NSEC_MS)
#define LATENCY_LEAST_AGE (5 * NSEC_MINUTE)

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
	d->threshold = s->options.window_max;
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

static bool may_deliver(const struct sched_destination *d)
{
	return d->canary || (!destination_is_down(d) && !d->checking);
}

static bool wants_probe(const struct sched_destination *d)
{
	if (d->canary || !(destination_is_down(d) || d->checking || d->stalled))
		return false;
	return d->probe == 0 && (!list_empty(&d->turns) || d->waiting > 0);
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
	bool ready = !list_empty(&d->turns);
	bool room = may_deliver(d) && busy(d) < d->window;
	bool full = may_deliver(d) && !room;
	bool paused = d->pause_until > now;
	nsec look_at = NEVER;

	if (d->canary && !ready && busy(d) == 0) {
		/* Nothing to prove it with: the probe has to do. */
		d->canary = false;
		d->health = HEALTH_UP;
		d->since = now;
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

static bool began_before_cut(const struct sched_destination *d, const struct sched_entry *e)
{
	return (int32_t)(e->epoch - d->halved_epoch) < 0;
}

/* Once a round: attempts that began before the last cut say nothing about the new window. */
static void window_halve(struct sched *s, struct sched_destination *d, const struct sched_entry *e)
{
	if (began_before_cut(d, e))
		return;
	d->halved_epoch = ++s->epoch;
	d->worked = false;
	d->window = MAX(d->window / 2, 1u);
	d->threshold = MAX(d->window, 2u);
	d->grown = 0;
}

/* Doubles every round below the threshold, then one more a round. */
static void window_grow(struct sched *s, struct sched_destination *d)
{
	if (d->window >= s->options.window_max)
		return;
	if (d->window < d->threshold) {
		d->window++;
		return;
	}
	if (++d->grown >= d->window) {
		d->grown = 0;
		d->window++;
	}
}

/* True when the primary answers so much slower than it can that more at once would only wait. */
static bool latency_rising(struct sched_destination *d, const struct sched_entry *e, nsec latency,
			   nsec now)
{
	if (latency <= 0 || e->bytes > LATENCY_SMALL_BYTES)
		return false;
	d->latency = d->latency ? d->latency + (latency - d->latency) / 8 : latency;
	if (!d->latency_least || latency < d->latency_least ||
	    now - d->latency_least_at > LATENCY_LEAST_AGE) {
		d->latency_least = latency;
		d->latency_least_at = now;
	}
	return d->window > 1 && d->latency > 2 * d->latency_least &&
	       d->latency - d->latency_least > LATENCY_SLACK;
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
	d->window = 1;
	d->threshold = s->options.window_max;
	d->grown = 0;
	d->latency = d->latency_least = 0;
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
	if (!d->draining || !list_empty(&d->turns) || busy(d) > 0)
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
	d->health = HEALTH_UP;
	d->since = now;
	if (was_down)
		sched_tell(s, NOTICE_UP, d, now - d->down_since);
}

static void go_down(struct sched *s, struct sched_destination *d, enum sched_health health,
		    const struct sched_report *report, nsec now)
{
	bool was_down = destination_is_down(d);
	enum sched_health before = d->health;

	set_text(d, report->text);
	d->canary = d->checking = d->stalled = false;
	d->lost_streak = 0;
	if (!was_down) {
		d->down_since = now;
		start_anew(s, d);
	}
	d->health = health;
	d->probe_at = after(now, health == HEALTH_NO_ROUTE
					 ? timing_no_route(now - d->down_since, sched_random(s))
					 : timing_probe(now - d->down_since, sched_random(s)));
	if (before == health)
		return;
	d->since = now;
	if (d->draining) {
		d->draining = false;
		sched_tell(s, NOTICE_DRAIN_BROKEN, d, now - d->drain_since);
	}
	sched_tell(s, NOTICE_DOWN, d, 0);
}

/* --- what an attempt says --- */

static void answered(struct sched *s, struct sched_destination *d, const struct sched_entry *e,
		     const struct sched_report *report, nsec now)
{
	bool was_canary = d->canary;

	if (destination_is_down(d) && !d->canary) {
		/* It began before the trouble and succeeded in spite of it: look again soon. */
		d->probe_at = MIN(d->probe_at, now);
		if (report->delivered)
			count_delivered(d, now);
		return;
	}
	go_up(s, d, now);
	d->worked = true;
	if (was_canary)
		drain_start(s, d, now);
	if (latency_rising(d, e, report->latency, now))
		window_halve(s, d, e);
	else if (report->delivered)
		window_grow(s, d);
	if (report->delivered) {
		d->deferred_streak = 0;
		count_delivered(d, now);
		set_text(d, STR_NONE);
		return;
	}
	set_text(d, report->text);
	if (++d->deferred_streak >= DEFERRED_STREAK_MAX) {
		d->deferred_streak = 0;
		window_halve(s, d, e);
	}
}

static void refused(struct sched *s, struct sched_destination *d, const struct sched_entry *e,
		    const struct sched_report *report, nsec now)
{
	bool others_work = busy(d) > 0 || (d->worked && began_before_cut(d, e));

	if (d->health != HEALTH_UP || d->checking || !others_work) {
		go_down(s, d, HEALTH_REFUSING, report, now);
		return;
	}
	set_text(d, report->text);
	window_halve(s, d, e);
	d->pause_until = after(now, REFUSED_PAUSE);
}

static void lost(struct sched *s, struct sched_destination *d, const struct sched_entry *e,
		 const struct sched_report *report, nsec now)
{
	if (destination_is_down(d)) {
		if (d->canary)
			go_down(s, d, d->health, report, now);
		return;
	}
	set_text(d, report->text);
	window_halve(s, d, e);
	if (d->lost_streak < UINT8_MAX)
		d->lost_streak++;
	d->checking = true;
	d->probe_at = after(now, timing_check(d->lost_streak, sched_random(s)));
}

void health_attempted(struct sched *s, struct sched_destination *d, const struct sched_entry *e,
		      const struct sched_report *report, nsec now)
{
	switch (report->attempt) {
	case TRIED_NONE:
		return;
	case TRIED_ANSWERED:
		answered(s, d, e, report, now);
		return;
	case TRIED_REFUSING:
		refused(s, d, e, report, now);
		return;
	case TRIED_UNREACHABLE:
		go_down(s, d, HEALTH_UNREACHABLE, report, now);
		return;
	case TRIED_NO_ROUTE:
	case TRIED_DNS_TROUBLE:
		go_down(s, d, HEALTH_NO_ROUTE, report, now);
		return;
	case TRIED_LOST:
		lost(s, d, e, report, now);
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
	else if (destination_is_down(d) && !list_empty(&d->turns))
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
	d->pause_until = MIN(d->pause_until, now);
	d->probe_at = MIN(d->probe_at, now);
	if (s->probe_not_before > after(now, NSEC_S))
		s->probe_not_before = now;
}
