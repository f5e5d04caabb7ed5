/*
 * stress: how short this server is of sessions or of memory for bodies, and what that means. Pure: load and time
 * come in. It rises at once, and falls one step at a time when the load has been well below for a while, so
 * that it does not flicker.
 *
 * | state | from | back below | command time-out | an unknown client's share |
 * | NONE  |      |            | 5 min            | all that the limits give   |
 * | BUSY  | 80 % | 65 %       | 60 s             | a fifth of it              |
 * | FULL  | 95 % | 85 %       | 10 s             | nothing: it waits outside  |
 *
 * Of sessions (all smtpin together) and of the body budget (one process) whichever is shorter counts. Favoured clients
 * (known as good, or trusted) have their whole share always, and the time-out of one state milder.
 */
#pragma once

#include "base/util.h"

/* The numbers are what SmtpinCounters.stress says. */
enum stress { STRESS_NONE, STRESS_BUSY, STRESS_FULL };

struct stress_load {
	uint64_t sessions, sessions_max;
	uint64_t body_bytes, body_bytes_max;
};

/* Zeroed: no stress. */
struct stress_gauge {
	enum stress state;
	nsec calm_since; /* the load has been below what the state needs; 0: it is not */
};

/* True: the state is another one now. `now` is monotonic. */
bool stress_update(struct stress_gauge *g, const struct stress_load *load, nsec now);
/* "none", "busy", "full" */
const char *stress_name(enum stress s);
/* How long a client may take for one command. */
nsec stress_command_time(enum stress s, bool favoured);
/* How many of the sessions that a limit gives are this client's (or network's) now; 0: it waits. */
uint32_t stress_share(enum stress s, bool favoured, uint32_t limit);
