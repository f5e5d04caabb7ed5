/*
 * timing: how long to wait, as pure functions of how long it has been bad. The tables are the
 * policy: mail must flow again within ten seconds of a primary's return after any outage of up to
 * half an hour, and a primary that is gone for days costs one probe a minute.
 *
 * `random` is any 64 random bits; waits are shortened by it, never stretched, so a table's figure
 * is the most that anybody waits.
 */
#pragma once

#include "base/util.h"
#include "sched/sched.h"

/* Until the next probe of a destination that has been down for `outage`. */
nsec timing_probe(nsec outage, uint64_t random);
/* The same where DNS gives us nowhere to go: a cache lies between us and any change. */
nsec timing_no_route(nsec outage, uint64_t random);
/* An entry's own wait after its failures-th deferral in a row (1 = the first). */
nsec timing_deferral(unsigned failures, uint64_t random);
/* The same where a greylist says so again and again: most want five minutes. */
nsec timing_greylisted(unsigned failures, uint64_t random);
/* The same after a connection broke under it: shorter at first, the destination is probed
 * anyway. */
nsec timing_lost(unsigned failures, uint64_t random);
/* Until the next delivery to a destination that puts off whatever it is given: the times-th one. */
nsec timing_put_off(enum sched_said said, unsigned times, uint64_t random);
/* Until a destination is looked at again that has broken `streak` connections in a row. */
nsec timing_check(unsigned streak, uint64_t random);
