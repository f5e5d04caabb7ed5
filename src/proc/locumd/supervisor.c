#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

/* A process that failed this often before its first Ready does not hold up the others. */
#define FAILURES_HOPELESS 3
#define KILL_TIME (2 * NSEC_S)

/* --- serving --- */

/* Nothing can be answered without every smtpin. Without the others mail is deferred, which is better
 * than a closed door: senders wait and come back. */
static bool settled(const struct child *c)
{
	if (c->ready)
		return true;
	return c->process != LOCUM__PROCESS__SMTPIN && c->failures >= FAILURES_HOPELESS;
}

void serving_check(struct task *tk, struct supervisor *sup)
{
	_cleanup_(buf_done) struct buf addresses = { 0 };

	if (sup->serving || sup->stopping)
		return;
	for (size_t i = 0; i < sup->child_count; i++)
		if (!settled(&sup->child[i]))
			return;
	sup->serving = true;
	for (size_t i = 0; i < sup->child_count; i++)
		if (sup->child[i].process == LOCUM__PROCESS__SMTPIN)
			listeners_send(tk, &sup->child[i]);
	buf_init(&addresses, 8192);
	if (listeners_text(&sup->listeners, &addresses) < 0)
		return;
	printf("locumd: serving %.*s on %.*s\n", STR_ARG(sup->conf->hostname),
	       STR_ARG(buf_str(&addresses)));
	fflush(stdout);
	log_info("locumd.serving", K("hostname", sup->conf->hostname),
		 K("addresses", buf_str(&addresses)));
}

/* --- the end --- */

/* Who takes mail in goes first, who keeps it after those who bring it. The times count from the start
 * of the shutdown. */
static const struct {
	Locum__Process process;
	nsec until;
} stages[] = {
	{ LOCUM__PROCESS__SMTPIN, 36 * NSEC_S }, { LOCUM__PROCESS__SMTPOUT, 38 * NSEC_S },
	{ LOCUM__PROCESS__SPOOLD, 39 * NSEC_S }, { LOCUM__PROCESS__STATE, 40 * NSEC_S },
	{ LOCUM__PROCESS__NETD, 40 * NSEC_S },
};

static bool any_runs(const struct supervisor *sup, Locum__Process process)
{
	for (size_t i = 0; i < sup->child_count; i++)
		if (sup->child[i].process == process && sup->child[i].pid > 0)
			return true;
	return false;
}

static void wait_gone(struct task *tk, struct supervisor *sup, Locum__Process process,
		      nsec deadline)
{
	while (any_runs(sup, process) && task_now(tk) < deadline)
		signal_wait(tk, &sup->changed, deadline);
}

static void end_stage(struct task *tk, struct supervisor *sup, Locum__Process process, nsec until)
{
	Locum__Shutdown shutdown = LOCUM__SHUTDOWN__INIT;
	IPC_PACKET(packet, SHUTDOWN, shutdown, &shutdown);

	for (size_t i = 0; i < sup->child_count; i++) {
		struct child *c = &sup->child[i];

		/* One that is not ready has nothing in progress. */
		if (c->process == process && c->pid > 0 &&
		    (!c->ready || ipc_send(tk, c->control, &packet, -1, until) < 0))
			kill(c->pid, SIGKILL);
	}
	wait_gone(tk, sup, process, until);
	for (size_t i = 0; i < sup->child_count; i++) {
		struct child *c = &sup->child[i];

		if (c->process != process || c->pid <= 0)
			continue;
		log_error("child.stuck", K_Z("process", c->title), K_INT("pid", c->pid));
		kill(c->pid, SIGKILL);
	}
	wait_gone(tk, sup, process, task_in(tk, KILL_TIME));
}

static void shutdown_main(struct task *tk, void *arg)
{
	struct supervisor *sup = arg;
	nsec start = task_now(tk);

	log_info("locumd.stopping");
	unlink(sup->control_path);
	io_done(&sup->control);
	for (size_t i = 0; i < ELEMENTS(stages); i++)
		end_stage(tk, sup, stages[i].process, start + stages[i].until);
	log_info("locumd.stopped");
	loop_stop(sup->loop);
}

static void stop(struct supervisor *sup)
{
	if (sup->stopping)
		return;
	sup->stopping = true;
	signal_raise(&sup->changed);
	if (task_start(sup->loop, NULL, "shutdown", shutdown_main, sup) < 0)
		loop_stop(sup->loop);
}

/* --- signals --- */

static void on_signal(struct task *tk, struct supervisor *sup, uint32_t number)
{
	_cleanup_(buf_done) struct buf text = { 0 };

	switch (number) {
	case SIGTERM:
	case SIGINT:
		stop(sup);
		break;
	case SIGUSR2:
		upgrade_begin(tk, sup, NULL, 0);
		break;
	case SIGHUP:
		buf_init(&text, 8192);
		reload(tk, sup, &text);
		break;
	case SIGCHLD:
		children_reap(sup);
		break;
	}
}

static void signals_main(struct task *tk, void *arg)
{
	struct supervisor *sup = arg;
	struct signalfd_siginfo info;

	for (;;) {
		ssize_t n = read(sup->signals.fd, &info, sizeof(info));

		if (n == (ssize_t)sizeof(info))
			on_signal(tk, sup, info.ssi_signo);
		else if (io_wait(tk, &sup->signals, IO_READ, NEVER) < 0)
			return;
	}
}

static int signals_open(struct supervisor *sup)
{
	_cleanup_(closep) int fd = -1;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = io_init(&sup->signals, sup->loop, fd);
	if (r < 0)
		return r;
	(void)TAKE_FD(fd);
	return task_start(sup->loop, NULL, "signals", signals_main, sup);
}

static int tasks_start(struct supervisor *sup)
{
	int r = task_start(sup->loop, NULL, "tickets", tickets_main, sup);

	if (r == 0)
		r = task_start(sup->loop, NULL, "control", control_main, sup);
	if (r == 0 && sup->succeeding)
		r = task_start(sup->loop, NULL, "succession", succession_main, sup);
	return r;
}

int supervisor_run(struct supervisor *sup)
{
	int r;

	signal_init(&sup->changed);
	r = signals_open(sup);
	if (r < 0)
		return r;
	r = clients_make(sup);
	if (r < 0)
		return r;
	r = children_plan(sup);
	if (r < 0)
		return r;
	if (sup->ticket_key_count == 0)
		tickets_make(sup);
	r = children_start(sup);
	if (r < 0)
		return r;
	/* Who died while nobody listened for it. */
	children_reap(sup);
	r = tasks_start(sup);
	return r < 0 ? r : loop_run(sup->loop);
}
