/*
 * netd: the process that may use the network. It resolves and connects for the others, to what the
 * configuration names, and passes the connected socket on. Everything here runs in its one thread;
 * each request is a task.
 */
#pragma once

#include "proc/netd/routes.h"
#include "proc/netd/zones.h"
#include "proc/worker.h"

#define NETD_DIALS_MAX 4096  /* under way */
#define NETD_CLIENTS_MAX 512 /* asked about at once; of more nothing is known */

struct netd {
	struct worker *worker;
	struct resolver *resolver;        /* for routes */
	struct resolver *client_resolver; /* what clients' DNS does to it, routes never feel */
	struct conf *resolver_conf;       /* what they were made from */
	struct buf anchors;               /* of resolver_conf's trust_anchor */
	struct buf system_anchors;        /* of the system, where it has some */
	struct routes routes;
	struct zones zones;
	struct group tasks;
	struct list requests;
	unsigned dials, clients;
	nsec forgot_at; /* when the resolver's cache was emptied last */
};

extern const struct worker_hooks netd_hooks;
