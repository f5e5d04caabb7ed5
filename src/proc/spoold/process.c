/* spoold as a process: opens the spool, closes the sandbox, serves. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "proc/spoold/spoold.h"
#include "proc/worker.h"
#include "task/sys.h"

#include <stdio.h>

static int acquire(struct task *tk, struct worker *w, struct sandbox_request *request)
{
	char dir[SPOOLD_DIR_SIZE];
	struct spoold *sp;
	int r;

	(void)tk;
	snprintf(dir, sizeof(dir), "%.*s/spool", STR_ARG(w->conf->state_dir));
	r = spoold_new(w->loop, w->conf, dir, &sp);
	if (r < 0) {
		log_error("spool.open", K_Z("directory", dir), K_Z("error", spool_error_text(r)));
		return r;
	}
	sp->control = w->control;
	w->arg = sp;
	request->writable_dir = sp->dir;
	return 0;
}

static int serve(struct task *tk, struct worker *w)
{
	(void)tk;
	return spoold_start(w->arg);
}

static void reconfigured(struct task *tk, struct worker *w)
{
	(void)tk;
	spoold_reconfigure(w->arg, w->conf);
}

static void peer(struct task *tk, struct worker *w, struct channel *ch)
{
	(void)tk;
	spoold_peer(w->arg, ch);
}

static void peer_gone(struct worker *w, struct channel *ch)
{
	spoold_peer_gone(w->arg, ch);
}

static void message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct worker *w = arg;

	spoold_message(tk, ch, m, w->arg);
}

static void shutdown_spoold(struct task *tk, struct worker *w)
{
	struct spoold *sp = w->arg;

	sp->finish_by = w->finish_by;
	spoold_stop(tk, sp);
}

const struct worker_hooks spoold_hooks = {
	.self = LOCUM__PROCESS__SPOOLD,
	.acquire = acquire,
	.serve = serve,
	.reconfigured = reconfigured,
	.peer = peer,
	.peer_gone = peer_gone,
	.message = message,
	.shutdown = shutdown_spoold,
};
