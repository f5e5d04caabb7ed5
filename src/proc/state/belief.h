/*
 * belief: how long what a primary said about its recipients is believed, and how much of a domain is known by it.
 * Pure. docs/decisions/0010 has the reasons.
 *
 * Known recipients are counted on the domain's own clock, which runs only while its primary answers: each answer to RCPT
 * moves it by the wall time since the one before, a day at most. So nothing grows old while the primary is away,
 * however long that is. Refusals are counted by wall time: a mailbox may be made at any moment.
 *
 * Coverage: of the recipients that the primary accepted in the last 31 days of the domain's clock (each counted once a
 * day), the share that was known before. It is how likely a real recipient is known.
 */
#pragma once

#include "base/util.h"

#define BELIEF_GAP_MAX NSEC_DAY
#define BELIEF_KNOWN_TIME (31 * NSEC_DAY)
#define BELIEF_REFUSED_TIME (4 * NSEC_HOUR)
#define BELIEF_DAYS 31
/* The directory covers a domain from so many accepted recipients on, of which so many percent were known. */
#define BELIEF_COVERS_LEAST 30
#define BELIEF_COVERS_PERCENT 95
/* A recipient that cannot exist is asked about once a day; again after an hour when there was no answer. */
#define BELIEF_ABSENT_TIME NSEC_DAY
#define BELIEF_ABSENT_AGAIN NSEC_HOUR
/* So many new recipients accepted and never one refused: it seems to accept everybody. */
#define BELIEF_NEVER_REFUSED 200

/* What a primary does with a recipient that cannot exist. */
enum belief_absent { ABSENT_UNKNOWN, ABSENT_REFUSED, ABSENT_TAKEN };

struct belief_day {
	int32_t day; /* of the domain's clock; what it counts is from that day */
	uint32_t accepted, known;
};

/* Of one domain. Stored as it is: everything has its size. */
struct belief {
	nsec clock;
	nsec answered_wall;             /* the last answer to RCPT; 0: none */
	nsec absent_wall;               /* when `absent` was found out; 0: never */
	nsec asked_wall;                /* when somebody was told to ask */
	uint32_t absent;                /* enum belief_absent */
	uint32_t accepted_new, refused; /* ever; accepted_new starts anew with each refusal */
	uint32_t whole;                 /* an import said: these are all */
	struct belief_day days[BELIEF_DAYS];
};

/* The primary answered RCPT. */
void belief_answered(struct belief *b, nsec now_wall);
/* It accepted a recipient; once a day and recipient. */
void belief_accepted(struct belief *b, bool was_known);
void belief_refused(struct belief *b);
/* It was asked about one that cannot exist. */
void belief_absent(struct belief *b, enum belief_absent what, nsec now_wall);

/* Seen at this time of the domain's clock: still known? */
bool belief_is_known(const struct belief *b, nsec seen);
/* Refused at this wall time: does that still count? */
bool belief_is_refused(nsec refused_wall, nsec now_wall);
int32_t belief_day(nsec clock);

/* Percent, and of how many; 0 of 0 where nothing is known. */
unsigned belief_coverage(const struct belief *b, uint32_t *ret_accepted);
bool belief_covers(const struct belief *b);
/* Does the primary accept everybody, as far as can be told? */
bool belief_takes_all(const struct belief *b);
/* Is it time to ask about one that cannot exist? Notes that somebody is told to. */
bool belief_wants_absent(struct belief *b, nsec now_wall);
