/*
 * known: what smtpin is told of each configured domain: how its primary is, which one that is, what
 * it said it can do when it was last seen, and when that was. smtpin chooses a message's way by the
 * first two (docs/decisions/0009) and announces by the others (0005). Health and destination are the
 * scheduler's, read when they are told; here is only that they changed. The rest is Learned from every delivery and probe; beside
 * these a task of its own probes what was never seen, a few domains a second, since an answer must
 * be there before the first mail. Such a probe says nothing about the health of a destination.
 *
 * Kept in the file `offers` beside the spool's own: after a restart with the primary away we can
 * still take what it will take. The file is worth a probe, not a sync: it has a checksum, and what
 * cannot be read counts as never seen.
 *
 * Bounded: one entry a configured domain. Whoever awaits holds a domain's name, not its entry.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "ipc/locum.pb-c.h"
#include "sched/sched.h"
#include "task/task.h"

struct spoold;

struct domain_offer {
	struct map_link link;
	struct list changed; /* by serial */
	uint64_t serial;     /* of its last change */
	unsigned offers;     /* enum ehlo_extension */
	uint64_t size_bytes; /* 0: it did not say */
	nsec seen_wall;      /* 0: never */
	nsec seen_at;        /* the same in this life of spoold; 0: not yet */
	nsec tried_at;       /* when it was last probed from here; 0: never */
	nsec etrn_at;        /* when ETRN last started a drain; 0: never */
	bool configured;
	char name[];
};

struct known {
	struct map by_domain;
	struct list changed; /* all, by serial */
	uint64_t serial;     /* of the last change */
	uint64_t seed[2];    /* of the numbers of destinations */
	bool unsaved;
	nsec saved_at;
	int dir; /* where the file is; -1: nowhere */
};

void known_init(struct known *o);
void known_done(struct known *o);
/* Entries for the configured domains, for no others. 0 or -ENOMEM. */
int known_configure(struct spoold *sp);
/* What the file says; without one, nothing. After known_configure. */
void known_load(struct spoold *sp);
/* Writes the file when something has changed. */
void known_save(struct spoold *sp);
/* Takes over what a whole file says of configured domains. False, and nothing is taken: it is none of ours, or damaged. */
bool known_restore(struct spoold *sp, str file);
/* Appends the whole file. 0 or -ENOMEM. */
int known_pack(const struct spoold *sp, struct buf *to);

struct domain_offer *known_find(const struct spoold *sp, str domain);
/* A host of the domain's primary was spoken to; host: NULL or with greeted unset: nothing is
 * learned. */
void known_seen(struct spoold *sp, str domain, const Locum__Host *host);
/* Another destination, or its health changed: to be told. */
void known_changed(struct spoold *sp, str domain);
/* The newest that was seen of the destination's domains; NULL: none was. */
const struct domain_offer *known_of_destination(const struct spoold *sp,
						const struct sched_destination *d);
/* Fills *said with what changed after that serial, as much as fits a packet; strings in the arena.
 * Returns the serial up to which it goes. */
uint64_t known_fill(const struct spoold *sp, uint64_t after, struct arena *a,
		    Locum__PrimaryOffers *said);
/* The probes, and the file. */
task_fn known_keeper;
