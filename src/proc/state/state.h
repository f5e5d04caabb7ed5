/*
 * state: the process that remembers between messages: the directory of recipients (directory.h). What it knows may be lost at
 * any time; it is learned anew. Nobody depends on it: without an answer within its time everybody goes on as if nothing
 * were known.
 */
#pragma once

#include "proc/state/directory.h"
#include "proc/worker.h"

struct state {
	struct directory *directory;
	struct channel *smtpout; /* NULL while it is away */
	struct group tasks;
	struct signal changed; /* there is something to commit */
};

extern const struct worker_hooks state_hooks;
