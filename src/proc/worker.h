/*
 * worker: what every process that locumd starts has in common. It is born with one descriptor, the control
 * channel at WORKER_CONTROL_FD, over which locumd sends the config snapshot, then peers and
 * listeners. It acquires what it needs, closes the sandbox, says Ready, serves, and ends on Shutdown
 * (finishing what is in progress) or when locumd is gone (at once: everything here survives a crash).
 */
#pragma once

#include "conf/conf.h"
#include "ipc/ipc.h"
#include "sandbox/sandbox.h"

#define WORKER_CONTROL_FD 3

struct worker {
	struct loop *loop;
	Locum__Process self;
	uint32_t index;
	struct conf *conf; /* the newest; take conf_ref for anything that spans an await */
	struct channel *control;
	void *arg; /* the process's own state */
	const struct worker_hooks *hooks;
};

struct worker_hooks {
	Locum__Process self;
	/* After the first snapshot, before the sandbox: open files, read keys. Fills the request's own
	 * fields (readable files …). An error ends the process. */
	int (*acquire)(struct task *tk, struct worker *w, struct sandbox_request *request);
	/* The sandbox is closed and Ready was sent. */
	int (*serve)(struct task *tk, struct worker *w);
	/* A newer snapshot is in w->conf. May be NULL. */
	void (*reconfigured)(struct task *tk, struct worker *w);
	/* A channel to a (new) peer, which replaces an earlier one of that process and index; its messages go
	 * to `message`, its end to `peer_gone`. */
	void (*peer)(struct task *tk, struct worker *w, struct channel *ch);
	void (*peer_gone)(struct worker *w, struct channel *ch);
	ipc_handler *message; /* arg is the struct worker; messages from locumd that are not the worker's own too */
	/* smtpin only: a listening socket, now ours. last: none will follow. */
	void (*listener)(struct task *tk, struct worker *w, str name, int fd, bool last);
	/* Finish what is in progress, then return: the process exits 0. */
	void (*shutdown)(struct task *tk, struct worker *w);
};

/* The whole life of the process; returns its exit status. */
int worker_run(const struct worker_hooks *hooks, void *arg);
