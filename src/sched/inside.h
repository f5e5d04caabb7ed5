/*
 * inside: what the files of sched share. sched.c keeps the queues, health.c the destinations' state
 * and window, next.c chooses, live.c keeps the places of live traffic. The rule that holds them together: whoever changes a domain calls
 * domain_update(), whoever changes a destination calls destination_update(), and these two alone
 * put them into the lists and heaps from which next.c takes.
 */
#pragma once

#include "sched/sched.h"

struct sched {
	struct sched_options options;
	uint64_t random;
	struct map domains, destinations;
	struct list runnable; /* destinations that may start a delivery now, fair order */
	struct heap waiting;  /* entries, by the end of their wait */
	struct heap expiries; /* domains, by the expiry of their oldest ready entry */
	struct heap pauses;   /* destinations, by the end of their pause */
	struct heap probes;   /* destinations, by their next probe */
	uint32_t in_flight, probes_in_flight, live;
	uint64_t probe_last;
	nsec probe_not_before; /* spreads the probes of thousands of destinations */
	uint32_t epoch;        /* grows at every cut of a window */
	bool stopped;
};

uint64_t sched_random(struct sched *s);
void sched_tell(struct sched *s, enum sched_notice notice, const struct sched_destination *d,
		int64_t value);
nsec after(nsec now, nsec duration);

/* Into or out of the turns of its destination and the expiries; then the destination. */
void domain_update(struct sched *s, struct sched_domain *d, nsec now);
/* Into or out of the runnable ones, the pauses and the probes. Never frees. */
void destination_update(struct sched *s, struct sched_destination *d, nsec now);
/* Moves the domain to the destination of that key, which is made when missing; an earlier one
 * without domains ceases to exist. */
void domain_move(struct sched *s, struct sched_domain *d, str key, nsec now);
/* The key that a report names; where DNS leads nowhere, the domain's own. */
str report_key(const struct sched_report *report, const struct sched_domain *d);
void domain_changed(struct sched *s, const struct sched_domain *d);

/* Larger ones go behind the others: while one is transferred, many small ones could be. */
#define HUGE_BYTES ((uint64_t)1 << 20)
/* The oldest of both; NULL: none is ready. */
struct heap_node *domain_oldest(const struct sched_domain *d);
bool destination_has_ready(const struct sched_destination *d);
/* May a huge one start, beside the other huge ones? */
bool destination_has_huge_room(const struct sched_destination *d);

void entry_make_ready(struct sched *s, struct sched_entry *e);
void entry_make_waiting(struct sched *s, struct sched_entry *e, nsec until);
/* Out of whatever heap it is in, and of the counts of its place. */
void entry_leave(struct sched *s, struct sched_entry *e);
void entry_start(struct sched *s, struct sched_entry *e);
void entry_make_held(struct sched *s, struct sched_entry *e, enum sched_place place);

/* True when the attempt began before its destination's trouble. */
bool entry_is_stale(const struct sched_entry *e);
/* Everything in flight now may hang for minutes: stops counting it. */
void destination_forget_in_flight(struct sched *s, struct sched_destination *d);
/* Places for live traffic that were wanted at once of late. */
uint32_t live_wanted(const struct sched_destination *d, nsec now);

/* What was tried: a delivery or a live transaction. */
struct trial {
	uint64_t bytes;
	bool before_cut; /* it began before the window was cut */
	bool live;
	bool deferred; /* put off by the primary */
};

bool destination_is_down(const struct sched_destination *d);
/* Deliveries and places that count in the window. */
uint32_t destination_busy(const struct sched_destination *d);
/* It has been putting off whatever it was given. */
bool destination_is_put_off(const struct sched_destination *d);
bool destination_may_take(const struct sched_destination *d);
/* Puts a new destination's window where it starts. */
void health_init(struct sched *s, struct sched_destination *d, nsec now);
void health_tried(struct sched *s, struct sched_destination *d, const struct trial *t,
		  const struct sched_report *report, nsec now);
struct trial trial_of(const struct sched_destination *d, const struct sched_entry *e,
		      enum sched_fate fate);
/* What a reply says of the primary: recognised when it says so again and again. */
void said_note(struct sched *s, struct sched_destination *d, const struct sched_report *report,
	       nsec now);
/* After an hour without it, it is no more. */
void said_lapse(struct sched *s, struct sched_destination *d, nsec now);
void health_probed(struct sched *s, struct sched_destination *d, const struct sched_report *report,
		   nsec now);
/* The operator wants it tried now. */
void health_hurry(struct sched *s, struct sched_destination *d, nsec now);
/* Ends a drain once nothing is ready or in flight any more. */
void health_drained(struct sched *s, struct sched_destination *d, nsec now);
