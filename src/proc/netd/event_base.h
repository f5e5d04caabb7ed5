/*
 * event_base: libunbound's pluggable event loop (unbound-event.h) on top of ours, so that the
 * resolver runs in this process's one thread. Its callbacks run on the main stack, level-triggered
 * as libevent's do.
 *
 * The struct is embedded by the resolver and must outlive its ub_ctx. Nothing here parks.
 */
#pragma once

#include "task/task.h"

#include <sys/time.h>
#include <unbound-event.h>

struct event_base {
	struct ub_event_base ub; /* first: libunbound hands back its address */
	struct loop *loop;
};

void event_base_init(struct event_base *base, struct loop *loop);
