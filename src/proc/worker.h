/*
 * worker: what every process that locumd starts has in common. It is born with one descriptor, the control
 * channel at WORKER_CONTROL_FD, over which locumd sends the config snapshot, then peers and
 * listeners. It acquires what it needs, closes the sandbox, says Ready, serves, and ends on Shutdown
 * (finishing what is in progress) or when locumd is gone (at once: everything here survives a crash).
 */
#pragma once

#include "base/log.h"
#include "conf/conf.h"
#include "ipc/ipc.h"
#include "sandbox/sandbox.h"

#define WORKER_CONTROL_FD 3

/* What an smtpin may have open: a session is a socket and, with a message, a memory file; beside them a few of its
 * own. smtpin limits itself to it, locumd sees that so many can be had. */
#define SMTPIN_DESCRIPTORS_A_SESSION 2
#define SMTPIN_DESCRIPTORS_OTHER 512

struct worker {
	struct loop *loop;
	Locum__Process self;
	uint32_t index;
	struct conf *conf; /* the newest; take conf_ref for anything that spans an await */
	struct channel *control;
	/* Until when (monotonic) what is in progress may go on at the end; 0: the process decides. A second
	 * Shutdown can make it earlier meanwhile. */
	nsec finish_by;
	void *arg; /* the process's own state */
	const struct worker_hooks *hooks;
};

struct worker_hooks {
	Locum__Process self;
	/* After the first snapshot, before the sandbox: open files, read keys. Fills the request's own
	 * fields (readable files, writable_dir …). An error ends the process. As root, files are created
	 * as `user` already here, and everything that root may read can be read. May be NULL. */
	int (*acquire)(struct task *tk, struct worker *w, struct sandbox_request *request);
	/* The sandbox is closed and Ready was sent; comes before the first peer and listener. May return 0
	 * at once or run on; an error ends the process. */
	int (*serve)(struct task *tk, struct worker *w);
	/* A newer snapshot is in w->conf; on smtpin the whole set of listeners follows. May be NULL. */
	void (*reconfigured)(struct task *tk, struct worker *w);
	/* A channel to a (new) peer, which replaces an earlier one of that process and index; its messages go
	 * to `message`, its end to `peer_gone`, which for the earlier one comes before this call. The
	 * channel is the worker's: it is freed right after peer_gone, never by the process. */
	void (*peer)(struct task *tk, struct worker *w, struct channel *ch);
	void (*peer_gone)(struct worker *w, struct channel *ch);
	ipc_handler *
		message; /* arg is the struct worker; messages from locumd that are not the worker's own too */
	/* smtpin only: a listening socket, now ours. last: none will follow. After a reload the whole set
	 * comes again, unchanged sockets as fresh descriptors: it replaces the earlier set. */
	void (*listener)(struct task *tk, struct worker *w, str name, int fd, bool last);
	/* Finish what is in progress, by w->finish_by where it is set, then return: the process exits 0. Peers, messages
	 * and snapshots come as before meanwhile. */
	void (*shutdown)(struct task *tk, struct worker *w);
};

/* The whole life of the process; returns its exit status. */
int worker_run(const struct worker_hooks *hooks, void *arg);
/* The same but for what only a real process needs (signals, who is its parent): under the simulated
 * kernel, several live side by side. */
int worker_live(const struct worker_hooks *hooks, void *arg, int control);

/* What LOCUM_LOG asks for: debug, info, warning or error; info when it asks for nothing. */
enum log_level worker_log_level(void);
