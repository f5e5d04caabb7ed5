/* STATUS: the process, its alerts, every destination. */
#include "proc/spoold/command.h"
#include "proc/spoold/said.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#include <stdarg.h>
#include <stdio.h>

#ifndef LOCUM_VERSION
#define LOCUM_VERSION "unreleased"
#endif

#define ROWS_BYTES_MAX ((size_t)32 << 20)
#define ALERTS_MAX 64
#define ALERTS_A_KIND 20
#define DOMAINS_A_ROW 200
#define SMTPOUT_ABSENCE (10 * NSEC_S) /* shorter ones are restarts */

/* --- alerts: what an operator must know now --- */

struct alerts {
	struct arena *arena;
	char *text[ALERTS_MAX];
	size_t count;
};

static void alert(struct alerts *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void alert(struct alerts *a, const char *format, ...)
{
	char text[STORED_TEXT_MAX];
	va_list args;
	str copied;

	if (a->count == ALERTS_MAX)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	copied = arena_str(a->arena, str_of(text));
	if (copied.p)
		a->text[a->count++] = (char *)copied.p;
}

static void alert_process(struct alerts *a, const struct spoold *sp)
{
	const struct spool_usage *u = &sp->usage;

	if (!sp->accepting)
		alert(a, "no mail is accepted: %llu MiB are free, %llu MiB are kept in reserve",
		      (unsigned long long)(u->free_bytes >> 20),
		      (unsigned long long)(sp->conf->spool.reserve_bytes >> 20));
	if (!list_empty(&sp->unsaved))
		alert(a, "the disk is full: what happens to messages cannot be written down; they "
			 "may be delivered twice after a restart");
	if (sp->damage_count)
		alert(a, "%llu places in the spool could not be read at start; the log says which",
		      (unsigned long long)sp->damage_count);
	if (sp->corrupt_count)
		alert(a, "%llu messages are held because they are damaged in the spool",
		      (unsigned long long)sp->corrupt_count);
	for (size_t i = 0; i < SMTPOUTS_MAX; i++)
		if (sp->smtpout[i])
			return;
	if (loop_now(sp->loop) - sp->smtpout_gone_at > SMTPOUT_ABSENCE)
		alert(a, "nothing is delivered: the delivery process is not running");
}

static void alert_domains(struct alerts *a, const struct spoold *sp)
{
	size_t said = 0;

	for (struct sched_domain *d = sched_domain_walk(sp->sched, NULL); d && said < ALERTS_A_KIND;
	     d = sched_domain_walk(sp->sched, d)) {
		if (d->configured)
			continue;
		said++;
		alert(a, "%llu messages wait for %s, which is no longer configured",
		      (unsigned long long)(d->queued + d->held), d->name);
	}
	said = 0;
	for (struct sched_destination *d = sched_destination_walk(sp->sched, NULL);
	     d && said < ALERTS_A_KIND; d = sched_destination_walk(sp->sched, d)) {
		if (d->health != HEALTH_NO_ROUTE || d->queued == 0)
			continue;
		said++;
		alert(a, "no route to %s: %s", d->key, d->text ? d->text : "");
	}
}

/* What the replies of primaries have been saying. */
static void alert_said(struct alerts *a, const struct spoold *sp)
{
	nsec now = sys_now();
	size_t told = 0;

	for (struct sched_destination *d = sched_destination_walk(sp->sched, NULL);
	     d && told < ALERTS_A_KIND; d = sched_destination_walk(sp->sched, d)) {
		enum sched_said what = sched_said(d, now);

		if (what == SAID_NOTHING)
			continue;
		told++;
		alert(a, "%.200s %s: %s", d->key, said_text(what)->does, said_text(what)->then);
	}
}

/* --- rows --- */

static uint64_t held_count(const struct spoold *sp)
{
	uint64_t held = 0;

	for (struct sched_domain *d = sched_domain_walk(sp->sched, NULL); d;
	     d = sched_domain_walk(sp->sched, d))
		held += d->held;
	return held;
}

static int send_status(struct task *tk, struct command *c)
{
	_cleanup_(arena_done) struct arena a;
	const struct spoold *sp = c->client->sp;
	struct spool_usage usage = sp->usage;
	struct alerts alerts = { .arena = &a };
	Locum__Answer answer = LOCUM__ANSWER__INIT;
	Locum__StatusRow row = LOCUM__STATUS_ROW__INIT;
	str hostname;

	arena_init(&a, (size_t)64 << 10);
	hostname = arena_str(&a, sp->conf->hostname);
	row.hostname = hostname.p ? (char *)hostname.p : (char *)"";
	row.started_wall = sp->started_wall;
	row.messages = sp->messages.count;
	row.messages_held = held_count(sp);
	/* Of this moment, to agree with the counts beside it; the last figures when the disk does not say. */
	spool_usage(sp->spool, &usage);
	row.bytes = usage.live_bytes;
	row.spool_bytes = usage.disk_bytes;
	row.bytes_free = usage.free_bytes;
	row.bytes_reserve = sp->conf->spool.reserve_bytes;
	row.accepting = sp->accepting;
	row.accepted_total = sp->accepted_total;
	row.delivered_total = sp->delivered_total;
	row.version = (char *)LOCUM_VERSION;
	append_sum(sp, &row);
	alert_process(&alerts, sp);
	alert_domains(&alerts, sp);
	alert_said(&alerts, sp);
	row.alerts = alerts.text;
	row.n_alerts = alerts.count;
	answer.status = &row;
	return command_send(tk, c, &answer, -1);
}

static char *copy(struct arena *a, const char *text)
{
	str copied = arena_str(a, str_of(text));

	return copied.p ? (char *)copied.p : (char *)"";
}

static void fill_drain(Locum__DestinationRow *row, const struct sched_destination *d, nsec now,
		       nsec to_wall)
{
	nsec left = sched_drain_time(d, now);

	if (!d->draining)
		return;
	row->drain_since_wall = d->drain_since + to_wall;
	row->drain_delivered = d->drain_count;
	row->drain_total = d->drain_count + sched_drain_left(d);
	row->drain_end_wall = left == NEVER ? 0 : now + left + to_wall;
}

static Locum__DestinationRow *destination_row(struct arena *a, const struct spoold *sp,
					      const struct sched_destination *d)
{
	const struct domain_offer *offer = known_of_destination(sp, d);
	Locum__DestinationRow *row = ARENA_NEW(a, Locum__DestinationRow);
	_cleanup_(freep) char *text = NULL;
	nsec now = sys_now(), to_wall = sys_now_wall() - now;

	if (!row)
		return NULL;
	locum__destination_row__init(row);
	row->destination = copy(a, d->key);
	row->state = row_state(d->health);
	row->since_wall = d->since + to_wall;
	text = d->text ? text_clean(str_of(d->text), STORED_TEXT_MAX) : NULL;
	row->text = copy(a, text ? text : "");
	row->in_flight = d->in_flight;
	row->live = d->live;
	row->window = d->window;
	row->next_probe_wall = heap_has(&d->probe_timer) ? d->probe_timer.at + to_wall : 0;
	row->queued = d->queued;
	row->rate = sched_rate(d, now);
	fill_drain(row, d, now, to_wall);
	if (offer) {
		row->seen_wall = offer->seen_wall;
		row->offers = offer->offers;
		row->size_bytes = offer->size_bytes;
	}
	row->domains = ARENA_ARRAY(a, char *, MIN(d->domain_count, (uint32_t)DOMAINS_A_ROW));
	if (!row->domains)
		return NULL;
	LIST_EACH (&d->domains, struct sched_domain, in_destination, domain)
		if (row->n_domains < DOMAINS_A_ROW)
			row->domains[row->n_domains++] = copy(a, domain->name);
	return row;
}

static int by_destination(const void *a, const void *b)
{
	const Locum__DestinationRow *const *x = a, *const *y = b;

	return strcmp((*x)->destination, (*y)->destination);
}

/* All rows are made before the first is sent: destinations come and go while sending parks. */
static int send_destinations(struct task *tk, struct command *c)
{
	_cleanup_(arena_done) struct arena a;
	const struct sched *s = c->client->sp->sched;
	Locum__DestinationRow **row;
	size_t max = 0, count = 0;
	int r = 0;

	arena_init(&a, ROWS_BYTES_MAX);
	for (struct sched_destination *d = sched_destination_walk(s, NULL); d;
	     d = sched_destination_walk(s, d))
		max++;
	row = ARENA_ARRAY(&a, Locum__DestinationRow *, max + 1);
	for (struct sched_destination *d = sched_destination_walk(s, NULL); row && d && count < max;
	     d = sched_destination_walk(s, d)) {
		row[count] = destination_row(&a, c->client->sp, d);
		count += row[count] != NULL;
	}
	if (count < max)
		return -ENOMEM;
	qsort(row, count, sizeof(*row), by_destination);
	for (size_t i = 0; r == 0 && i < count && command_rows_left(c); i++) {
		Locum__Answer answer = LOCUM__ANSWER__INIT;

		answer.destination = row[i];
		r = command_send(tk, c, &answer, -1);
	}
	return r;
}

int command_status(struct task *tk, struct command *c)
{
	int r = send_status(tk, c);

	return r < 0 ? r : send_destinations(tk, c);
}
