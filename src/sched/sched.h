/*
 * sched: what to try next and how much at once. A pure function of (queue, health, now): no I/O, no
 * clock, no logging; time and the seed of the jitter are passed in. All times are monotonic.
 *
 * An *entry* is one message for one domain; it is embedded in its owner's struct, so it costs no
 * allocation of its own. A *domain* queues its entries, oldest first; *huge* ones apart, behind the
 * others, within bounds. A *destination* is where
 * domains deliver to: it has the health, the probe and the window of deliveries at once, shared by
 * all its domains. It starts as the domain's own name, until the first report names the real key.
 *
 * Health belongs to the destination: while it is down no entry is tried, one cheap probe is. A
 * probe that succeeds lets one canary through, then the window doubles every round, and is halved
 * at trouble. A 421 while others work is no trouble but a limit: the window is what works, and stays
 * there. What the primary says about one message or recipient is that entry's own back-off and stops
 * nobody else.
 *
 * Beside the queue goes *live* traffic: transactions that a client waits for while the primary
 * answers them. It takes *places* in the same budget, before the queue does.
 *
 * The caller asks sched_next() until it says SCHED_NONE, sleeps until sched_wake_at(), and reports
 * what came of each action. The cost of a turn does not depend on how much is queued. Running out
 * of memory once an entry was taken is the end of the process: everything is on disk.
 */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

enum sched_health {
	HEALTH_UNKNOWN,
	HEALTH_UP,
	HEALTH_REFUSING, /* answers, but does not want us now */
	HEALTH_UNREACHABLE,
	HEALTH_NO_ROUTE, /* DNS gives us nowhere to go */
};

/* What a primary's replies say of itself and us, rather than of one message. */
enum sched_said {
	SAID_NOTHING,
	SAID_RECIPIENT, /* its words are about this message or recipient: a full mailbox, content */
	SAID_OTHER,     /* put off, without a reason that one could read */
	SAID_GREYLISTED,
	SAID_THROTTLED,
	SAID_BLOCKED,     /* our address, name or reputation */
	SAID_NOT_ITS_OWN, /* it takes the domain for a stranger's */
};

enum sched_place {
	PLACE_NONE, /* in no queue: not ready yet, or removed (then without a domain) */
	PLACE_READY,
	PLACE_WAITING, /* for its own back-off to end */
	PLACE_IN_FLIGHT,
	PLACE_HELD,   /* by the operator or a permanent refusal */
	PLACE_PARKED, /* older than its domain's hold time */
};

struct sched_entry {
	struct list in_domain; /* all entries of the domain, in the order they were added */
	struct heap_node node; /* READY: by age in the domain; WAITING: by the end of the wait */
	struct sched_domain *domain;
	nsec since; /* arrival, or the operator's release */
	uint64_t bytes;
	uint32_t epoch;    /* of the scheduler when the attempt began */
	uint8_t failures;  /* deferrals in a row */
	uint8_t place;     /* enum sched_place */
	bool wait_is_over; /* flushed while in flight: the next back-off is skipped */
};

/* Read its fields, change them through functions only. */
struct sched_domain {
	struct map_link link;
	struct list in_destination;
	/* Among the destination's domains that have something ready: small, huge. */
	struct list turn, huge_turn;
	struct sched_destination *destination;
	struct list entries;
	struct heap ready, huge;
	struct heap_node expiry; /* when the oldest ready entry has to be parked */
	nsec hold;
	bool configured; /* false: kept, not delivered */
	bool watched;    /* its destination is probed while it is down even with nothing queued */
	uint32_t waiting, in_flight;
	/* In flight since before the destination's trouble: not counted in its window. */
	uint32_t stale;
	uint32_t stale_epoch;
	uint32_t huge_in_flight;   /* without the stale ones */
	uint32_t live, live_stale; /* places taken; of them before the destination's trouble */
	uint64_t queued;           /* entries ready, waiting or in flight */
	uint64_t held;             /* entries held or parked */
	uint64_t bytes;            /* of all */
	char name[];
};

#define SCHED_RATE_SECONDS 10

struct sched_destination {
	struct map_link link;
	struct list domains;
	/* Domains with something ready, whose turn is next first: small, huge. */
	struct list turns, huge_turns;
	struct list runnable; /* among the destinations that may start a delivery now */
	struct heap_node pause, probe_timer;
	char *text; /* what was last heard of it; NULL: nothing */
	enum sched_health health;
	bool canary;   /* down, but a probe succeeded: one message may go */
	bool checking; /* up, but a connection broke: nothing starts before a probe succeeded */
	bool worked;   /* a transaction took place since the window was cut */
	bool stalled;  /* up, but the whole window is busy and nothing moves */
	uint8_t lost_streak;
	uint32_t deferred_streak; /* deliveries in a row that it put off */
	uint64_t probe;           /* number of the probe under way; 0: none */
	nsec since;               /* of this health */
	nsec down_since;          /* of the whole outage */
	nsec probe_at, pause_until;
	nsec progress_at; /* of the last start or end of a delivery */
	uint64_t queued;
	uint32_t domain_count, watched, waiting, in_flight, stale;
	uint32_t window, threshold, grown; /* grown: successes towards the next step */
	uint32_t huge_in_flight;
	uint32_t small_streak; /* small ones started in a row while a huge one was ready */
	uint32_t live, live_stale;
	uint32_t live_window, live_threshold, live_grown;
	uint32_t live_old;  /* places taken before the last cut: reckoned to be left first */
	uint32_t live_want; /* places wanted at once of late: the queue stays out of them */
	nsec live_want_at;
	uint32_t halved_epoch;
	/* So many at once, of the queue and live, it was seen to take, and no more; 0: not known. One more is
	 * tried later each time that it is turned away. */
	uint32_t limit, trial_worked;
	nsec trial_at, trial_wait;
	bool trial;                  /* a window is one above the limit, since trial_at */
	nsec latency, latency_least; /* smoothed, and its running minimum. 0: none yet */
	uint32_t latency_samples;    /* up to those that make a mean */
	nsec latency_least_at;
	struct {
		enum sched_said what;
		bool told;
		uint32_t count, deliveries; /* such replies in a row; deliveries since the last */
		nsec since, at;
	} said;
	bool draining;
	nsec drain_since;
	uint64_t drain_count;
	uint64_t rate_second; /* the newest second in rate[] */
	uint32_t rate[SCHED_RATE_SECONDS];
	char key[];
};

/* What happened to a destination, told at once, from within the call that decided it. The handler
 * must not call back into the scheduler. */
enum sched_notice {
	NOTICE_UP,             /* value: how long it was down */
	NOTICE_DOWN,           /* or down in another way */
	NOTICE_DRAIN_STARTED,  /* value: entries queued */
	NOTICE_DRAIN_FINISHED, /* value: how long it took; drain_count: deliveries */
	NOTICE_DRAIN_BROKEN,   /* the same, but it went down again */
	NOTICE_SAID,           /* said.what, from GREYLISTED on; value: so many replies in a row */
	NOTICE_SAID_NO_MORE,   /* value: how long it did */
};

typedef void sched_notice_fn(void *arg, enum sched_notice notice,
			     const struct sched_destination *destination, int64_t value);

/* The domain's destination is another one, or its health changed; told at once, as a notice is. */
typedef void sched_changed_fn(void *arg, const struct sched_domain *domain);

struct sched_options {
	uint64_t seed[2];
	uint32_t window_max;       /* deliveries and live places at once to one destination */
	uint32_t in_flight_max;    /* deliveries at once in all */
	uint32_t live_max;         /* live places at once in all */
	uint32_t probes_max;       /* probes at once in all */
	sched_notice_fn *notice;   /* may be NULL */
	sched_changed_fn *changed; /* may be NULL */
	void *notice_arg;          /* of both */
};

struct sched;

int sched_new(const struct sched_options *options, struct sched **ret_sched);
/* Frees domains and destinations; entries stay their owners'. */
void sched_free(struct sched *s);
void sched_freep(struct sched **s);

/* --- domains --- */
struct sched_domain *sched_domain_find(const struct sched *s, str name);
/* Finds or creates. A new one is not configured. 0 or -ENOMEM. */
int sched_domain_get(struct sched *s, str name, nsec now, struct sched_domain **ret_domain);
/* hold: how old an entry may become before it is parked. configured = false: its entries stay where
 * they are. A domain that is not configured ceases to exist with its last entry, or here when it
 * has none. */
void sched_domain_configure(struct sched *s, struct sched_domain *d, bool configured, nsec hold,
			    nsec now);
/* Where the domain will probably deliver to, so that domains of one primary share it from the
 * start. */
void sched_domain_hint(struct sched *s, struct sched_domain *d, str key, nsec now);
/* Its live traffic must know whether the primary is there: while it is down it is probed although
 * nothing is queued. */
void sched_domain_watch(struct sched *s, struct sched_domain *d, bool watched, nsec now);
/* In no order; start with NULL. The one returned may go away only after the next was fetched. */
struct sched_domain *sched_domain_walk(const struct sched *s, const struct sched_domain *at);
struct sched_destination *sched_destination_walk(const struct sched *s,
						 const struct sched_destination *at);

/* --- entries --- */
/* Takes a zeroed entry in: PLACE_READY, PLACE_HELD, PLACE_PARKED, or PLACE_NONE: counted with its
 * domain, but not to be tried before sched_ready. since: when it arrived. 0 or -ENOMEM. */
int sched_add(struct sched *s, struct sched_domain *d, struct sched_entry *e,
	      enum sched_place place, nsec since, uint64_t bytes, nsec now);
/* From PLACE_NONE to READY. */
void sched_ready(struct sched *s, struct sched_entry *e, nsec now);
/* From any place but in flight. The domain may cease to exist with it. */
void sched_remove(struct sched *s, struct sched_entry *e, nsec now);
/* From READY, WAITING or each other to PLACE_HELD or PLACE_PARKED. */
void sched_hold(struct sched *s, struct sched_entry *e, enum sched_place place, nsec now);
/* From HELD or PARKED to READY, its age counted anew. */
void sched_release(struct sched *s, struct sched_entry *e, nsec now);
/* The entry's age counts from here. */
void sched_set_since(struct sched *s, struct sched_entry *e, nsec since, nsec now);
/* Ends every wait of the domain (NULL: of all) and probes now what is down. Returns the entries
 * concerned: all that are queued. */
uint64_t sched_flush(struct sched *s, struct sched_domain *d, nsec now);

/* --- what to do --- */
enum sched_what {
	SCHED_NONE,
	SCHED_DELIVER, /* entry is in flight now: report with sched_attempted */
	SCHED_PROBE,   /* domain, on behalf of its destination: report with sched_probed */
	SCHED_PARK,    /* entry was parked: tell the operator */
};

struct sched_action {
	enum sched_what what;
	struct sched_entry *entry;
	struct sched_domain *domain;
	uint64_t probe;
};

void sched_next(struct sched *s, nsec now, struct sched_action *ret_action);
/* Once sched_next said SCHED_NONE: when it may have something to say again, unless something is
 * reported before; NEVER: not by itself. */
nsec sched_wake_at(const struct sched *s);
/* While stopped there are no deliveries and no probes; entries still age. */
void sched_stop(struct sched *s, bool stopped);

/* --- reports --- */
enum sched_attempt {
	TRIED_NONE, /* nothing was tried, and it says nothing about the destination */
	TRIED_ANSWERED,
	TRIED_REFUSING,
	TRIED_UNREACHABLE,
	TRIED_NO_ROUTE,
	TRIED_DNS_TROUBLE,
	TRIED_LOST,
};

struct sched_report {
	enum sched_attempt attempt;
	str destination;      /* key; empty: not known */
	str text;             /* for the operator */
	nsec latency;         /* from MAIL to the final reply; 0: not known */
	bool delivered;       /* at least one recipient was taken */
	enum sched_said said; /* unless delivered */
};

/* What becomes of the entry. */
enum sched_fate {
	FATE_DONE,     /* removed from the queue: its recipients are all delivered or dropped */
	FATE_UNTRIED,  /* ready again */
	FATE_DEFERRED, /* its own back-off */
	FATE_LOST,     /* a shorter one */
	FATE_HELD,
	FATE_PARKED,
};

/* Ends an attempt. After FATE_DONE the entry is its owner's alone. */
void sched_attempted(struct sched *s, struct sched_entry *e, enum sched_fate fate,
		     const struct sched_report *report, nsec now);
/* Ends the probe of that number; `domain` is the one it went through, by name: it may be gone. */
void sched_probed(struct sched *s, uint64_t probe, str domain, const struct sched_report *report,
		  nsec now);

/* --- live --- */
enum sched_live {
	LIVE_GRANTED,
	LIVE_UNKNOWN_DOMAIN, /* or no longer configured */
	LIVE_DOWN,           /* or just being looked at, after a connection broke */
	LIVE_FULL,
	LIVE_STOPPED,
};

/* Takes a place for one connection of live traffic, unless it says why not. */
enum sched_live sched_live_take(struct sched *s, str domain, nsec now);
/* Gives one back and tells what came of it; TRIED_NONE: nothing that concerns the primary. Unlike a
 * deferred delivery, a transaction that it answered with a refusal is a success. Of a domain without
 * a place only the report counts. */
void sched_live_leave(struct sched *s, str domain, const struct sched_report *report,
		      uint64_t bytes, nsec now);

/* --- to show --- */
/* When the entry will be tried, as far as one can say: NEVER when it is held; `now` when it is
 * due. */
nsec sched_next_try(const struct sched_entry *e, nsec now);
/* Deliveries a second, over the last ten. */
double sched_rate(const struct sched_destination *d, nsec now);
uint32_t sched_in_flight(const struct sched *s);
/* Of a drain: deliveries still to come, without those in their own back-off; and how long they will
 * take at the rate of late. NEVER: one cannot tell. */
uint64_t sched_drain_left(const struct sched_destination *d);
nsec sched_drain_time(const struct sched_destination *d, nsec now);
/* What its replies have been saying of late: SAID_NOTHING, or from GREYLISTED on. */
enum sched_said sched_said(const struct sched_destination *d, nsec now);
/* "up", "refusing" and so on. */
const char *sched_health_text(enum sched_health health);
