/* After an upgrade: children of before end when those of now can do their work; no moment without somebody who
 * takes clients. */
#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <signal.h>

/* How long each may finish what is in progress: whole sessions, deliveries, and what it allows itself. */
#define SESSIONS_PATIENCE_S 600
#define DELIVERIES_PATIENCE_S 120
/* Beyond which it is stuck. A process allows itself 40 s at most (smtpin that is told to end). */
#define STUCK_TIME (45 * NSEC_S)
/* The new ones may need so long to get ready, until we say that they do not. */
#define READY_TIME (25 * NSEC_S)
/* When the next upgrade is allowed, however far this one came. */
#define COMPLETE_TIME (5 * NSEC_MINUTE)

static bool old_runs(const struct supervisor *sup, Locum__Process process)
{
	for (size_t i = 0; i < sup->child_count; i++)
		if (sup->child[i].old && sup->child[i].process == process && sup->child[i].pid > 0)
			return true;
	return false;
}

static bool any_old_runs(const struct supervisor *sup)
{
	for (size_t i = 0; i < sup->child_count; i++)
		if (sup->child[i].old && sup->child[i].pid > 0)
			return true;
	return false;
}

static bool new_ready(const struct supervisor *sup, Locum__Process process)
{
	for (size_t i = 0; i < sup->child_count; i++)
		if (!sup->child[i].old && sup->child[i].process == process && !sup->child[i].ready)
			return false;
	return true;
}

/* What it keeps has one owner: it cannot stand beside its successor. */
static bool is_owner(Locum__Process process)
{
	return process == LOCUM__PROCESS__SPOOLD || process == LOCUM__PROCESS__STATE;
}

bool child_must_wait(const struct child *c)
{
	return c->sup->leaving || (is_owner(c->process) && !c->old && old_runs(c->sup, c->process));
}

bool child_is_retired(const struct child *c)
{
	return c->old && c->process != LOCUM__PROCESS__SMTPIN && !is_owner(c->process) &&
	       new_ready(c->sup, c->process);
}

static bool all_but_spoold_ready(const struct supervisor *sup)
{
	return new_ready(sup, LOCUM__PROCESS__SMTPIN) && new_ready(sup, LOCUM__PROCESS__SMTPOUT) &&
	       new_ready(sup, LOCUM__PROCESS__NETD);
}

/* Who is asked ends after those who ask. spoold, which cannot stand beside its successor, goes when everything else is
 * known to start; state, whose absence nobody waits for, when those are there who talk to it. */
static bool may_end(const struct child *c)
{
	const struct supervisor *sup = c->sup;

	switch (c->process) {
	case LOCUM__PROCESS__SMTPIN:
		return new_ready(sup, LOCUM__PROCESS__SMTPIN);
	case LOCUM__PROCESS__SPOOLD:
		return all_but_spoold_ready(sup);
	case LOCUM__PROCESS__STATE:
		return all_but_spoold_ready(sup);
	case LOCUM__PROCESS__SMTPOUT:
		return new_ready(sup, LOCUM__PROCESS__SMTPOUT) &&
		       !old_runs(sup, LOCUM__PROCESS__SPOOLD);
	default:
		return new_ready(sup, LOCUM__PROCESS__NETD) &&
		       !old_runs(sup, LOCUM__PROCESS__SMTPOUT);
	}
}

static uint32_t patience_s(const struct child *c)
{
	if (c->process == LOCUM__PROCESS__SMTPIN)
		return SESSIONS_PATIENCE_S;
	return c->process == LOCUM__PROCESS__SPOOLD ? DELIVERIES_PATIENCE_S : 0;
}

static void tell_to_end(struct task *tk, struct child *c)
{
	Locum__Shutdown shutdown = LOCUM__SHUTDOWN__INIT;
	IPC_PACKET(packet, SHUTDOWN, shutdown, &shutdown);
	pid_t pid = c->pid;

	shutdown.patience_s = patience_s(c);
	c->finish_by = task_in(tk, shutdown.patience_s * NSEC_S + STUCK_TIME);
	if (ipc_send(tk, c->control, &packet, -1, task_in(tk, SEND_TIME)) < 0 && c->pid == pid)
		kill(pid, SIGKILL);
}

/* Returns when something is to be done again, at the latest. */
static nsec attend(struct task *tk, struct child *c, nsec next)
{
	if (!c->old || c->pid <= 0)
		return next;
	if (!c->finish_by && may_end(c))
		tell_to_end(tk, c);
	if (!c->finish_by)
		return next;
	if (c->pid > 0 && task_now(tk) >= c->finish_by) {
		log_error("child.stuck", K_Z("process", c->title), K_INT("pid", c->pid));
		kill(c->pid, SIGKILL);
		c->finish_by = task_in(tk, STUCK_TIME);
	}
	return MIN(next, c->finish_by);
}

static bool only_sessions_left(const struct supervisor *sup)
{
	return !old_runs(sup, LOCUM__PROCESS__SPOOLD) && !old_runs(sup, LOCUM__PROCESS__SMTPOUT) &&
	       !old_runs(sup, LOCUM__PROCESS__NETD) && !old_runs(sup, LOCUM__PROCESS__STATE) &&
	       new_ready(sup, LOCUM__PROCESS__SPOOLD);
}

/* To whoever said `locum upgrade`, before his spoold goes. */
static void report(struct task *tk, struct supervisor *sup, bool ready)
{
	_cleanup_(buf_done) struct buf text = { 0 };

	buf_init(&text, 1024);
	if (ready)
		buf_addf(&text, "locumd %s runs in the place of %s", LOCUM_VERSION,
			 sup->version_before);
	else
		buf_addf(
			&text,
			"locumd %s runs in the place of %s, but not all of its processes get ready "
			"(see the log); those of before go on",
			LOCUM_VERSION, sup->version_before);
	upgrade_answer(tk, sup, ready, &text);
}

/* Until the one that asked knows. True: he does. */
static bool report_when_known(struct task *tk, struct supervisor *sup, nsec ready_by)
{
	bool ready = all_but_spoold_ready(sup);

	if (!ready && task_now(tk) < ready_by)
		return false;
	report(tk, sup, ready);
	if (!ready) {
		log_error("upgrade.incomplete", K_Z("version", LOCUM_VERSION));
		sup->succeeding = false;
	}
	return true;
}

static void complete_when_done(struct task *tk, struct supervisor *sup, nsec complete_by)
{
	if (!sup->succeeding || (!only_sessions_left(sup) && task_now(tk) < complete_by))
		return;
	sup->succeeding = false;
	log_info("upgrade.done", K_Z("version", LOCUM_VERSION), K_Z("before", sup->version_before));
}

void succession_main(struct task *tk, void *arg)
{
	struct supervisor *sup = arg;
	nsec ready_by = task_in(tk, READY_TIME), complete_by = task_in(tk, COMPLETE_TIME);
	bool reported = false;

	while (!sup->stopping && (sup->succeeding || any_old_runs(sup))) {
		nsec next;

		reported = reported || report_when_known(tk, sup, ready_by);
		next = !reported ? ready_by : sup->succeeding ? complete_by : NEVER;
		for (size_t i = 0; i < sup->child_count; i++)
			next = attend(tk, &sup->child[i], next);
		complete_when_done(tk, sup, complete_by);
		if (sup->succeeding || any_old_runs(sup))
			signal_wait(tk, &sup->changed, next);
	}
	log_info("upgrade.drained");
}
