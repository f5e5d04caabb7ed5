/* New binaries in the place of the old ones: the new locumd is asked first, then it runs in our place, in this process,
 * and replaces one child after the other (succession.c). */
#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CHECK_TIME (20 * NSEC_S)
#define CHECK_OUTPUT_MAX 8192
#define KILLED_TIME (2 * NSEC_S)

enum { CANNOT_EXECUTE = 126, NOT_FOUND = 127 };

/* --- asking the new one --- */

struct check {
	struct supervisor *sup;
	struct io output;
	struct buf said;
};

static void check_done(struct check *c)
{
	io_done(&c->output);
	buf_done(&c->said);
}

/* In the new process: nothing but async-signal-safe calls. */
static _Noreturn void become_check(const char *exe, char **argv, int state, int output)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 ||
	    fcntl(state, F_SETFD, 0) < 0)
		_exit(CANNOT_EXECUTE);
	execv(exe, argv);
	_exit(errno == ENOENT ? NOT_FOUND : CANNOT_EXECUTE);
}

static int check_start(struct check *c, int state)
{
	struct supervisor *sup = c->sup;
	_cleanup_(closep) int ours = -1;
	char number[16];
	char *argv[] = { sup->exe,
			 (char[]){ "--check" },
			 (char[]){ "--config" },
			 (char *)sup->config_path,
			 (char[]){ "--adopt" },
			 number,
			 NULL };
	int ends[2], r;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", state);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	ours = ends[0];
	sup->check_exited = false;
	pid = fork();
	if (pid == 0)
		become_check(sup->exe, argv, state, ends[1]);
	close(ends[1]);
	if (pid < 0)
		return -errno;
	sup->check_pid = pid;
	r = io_init(&c->output, sup->loop, ours);
	if (r == 0)
		(void)TAKE_FD(ours);
	return r;
}

/* Until it says no more. What does not fit is not wanted. */
static void check_listen(struct task *tk, struct check *c, nsec deadline)
{
	char piece[512];

	for (;;) {
		ssize_t n = read(c->output.fd, piece, sizeof(piece));

		if (n > 0)
			buf_add(&c->said, str_mem(piece, (size_t)n));
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return;
		else if (errno == EAGAIN && io_wait(tk, &c->output, IO_READ, deadline) < 0)
			return;
	}
}

static void check_wait(struct task *tk, struct supervisor *sup, nsec deadline)
{
	while (!sup->check_exited && task_now(tk) < deadline)
		signal_wait(tk, &sup->changed, deadline);
}

/* 0: it said yes, and its version. */
static int judge(const struct check *c, struct buf *ret_text)
{
	const struct supervisor *sup = c->sup;
	str said = buf_str(&c->said);
	int status = sup->check_status;

	while (said.n > 0 && said.p[said.n - 1] == '\n')
		said.n--;
	if (!sup->check_exited)
		buf_addf(ret_text, "%s does not answer", sup->exe);
	else if (WIFSIGNALED(status))
		buf_addf(ret_text, "%s fails: %s", sup->exe, strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == NOT_FOUND)
		buf_addf(ret_text, "%s is not there", sup->exe);
	else if (WEXITSTATUS(status) == CANNOT_EXECUTE)
		buf_addf(ret_text, "%s cannot be executed", sup->exe);
	else if (WEXITSTATUS(status) != 0)
		buf_addf(ret_text, "%.*s", STR_ARG(said));
	else if (!str_starts(said, STR(CHECK_SAYS)))
		buf_addf(ret_text, "%s is no locumd", sup->exe);
	else
		return 0;
	return -ENOEXEC;
}

static int check_new(struct task *tk, struct supervisor *sup, struct buf *ret_text)
{
	_cleanup_(check_done) struct check c = { .sup = sup, .output = { .fd = -1 } };
	_cleanup_(closep) int state = -1;
	nsec deadline = task_in(tk, CHECK_TIME);
	int r;

	r = handover_make(sup, &state);
	if (r < 0)
		return r;
	buf_init(&c.said, CHECK_OUTPUT_MAX);
	r = check_start(&c, state);
	if (r == 0) {
		check_listen(tk, &c, deadline);
		check_wait(tk, sup, deadline);
		r = judge(&c, ret_text);
	}
	if (sup->check_pid > 0)
		kill(sup->check_pid, SIGKILL);
	return r;
}

/* --- may we? --- */

static unsigned count(const struct supervisor *sup, Locum__Process process)
{
	unsigned n = 0;

	for (size_t i = 0; i < sup->child_count; i++)
		n += sup->child[i].process == process && sup->child[i].pid > 0;
	return n;
}

static unsigned count_all(const struct supervisor *sup)
{
	return count(sup, LOCUM__PROCESS__NETD) + count(sup, LOCUM__PROCESS__SPOOLD) +
	       count(sup, LOCUM__PROCESS__SMTPOUT) + count(sup, LOCUM__PROCESS__STATE) +
	       count(sup, LOCUM__PROCESS__SMTPIN);
}

static const char *why_not(const struct supervisor *sup)
{
	if (sup->stopping)
		return "locumd is shutting down";
	if (!sup->serving)
		return "locumd is still starting";
	if (sup->reloading || sup->checking)
		return "busy with a reload or another upgrade; try again";
	if (sup->succeeding)
		return "the last upgrade is not complete; try again";
	if (count(sup, LOCUM__PROCESS__SMTPIN) + smtpin_wanted(sup) > sup->smtpin_places)
		return "too many smtpin of earlier upgrades still have sessions, which end within "
		       "10 minutes; try again (more than 64 processes always need a restart)";
	if (count_all(sup) + smtpin_wanted(sup) + OTHER_KINDS > CHILDREN_MAX)
		return "too many processes of earlier upgrades still run; try again";
	return NULL;
}

/* --- the exec --- */

/* Whoever was not ready yet has nothing in progress, and its successor is about to be started. */
static void end_unready(struct task *tk, struct supervisor *sup)
{
	nsec until = task_in(tk, KILLED_TIME);

	sup->leaving = true;
	for (size_t i = 0; i < sup->child_count; i++)
		if (sup->child[i].pid > 0 && !child_can_be_left(&sup->child[i]))
			kill(sup->child[i].pid, SIGKILL);
	for (size_t i = 0; i < sup->child_count; i++)
		while (sup->child[i].pid > 0 && !child_can_be_left(&sup->child[i]) &&
		       task_now(tk) < until)
			signal_wait(tk, &sup->changed, until);
}

/* Returns only when it failed. */
static int become_new(struct supervisor *sup)
{
	_cleanup_(handover_freep) Locum__Handover *h = NULL;
	_cleanup_(closep) int state = -1;
	char number[16];
	char *argv[] = { sup->exe,
			 (char[]){ "--config" },
			 (char *)sup->config_path,
			 (char[]){ "--adopt" },
			 number,
			 NULL };
	int r;

	r = handover_make(sup, &state);
	if (r < 0)
		return r;
	/* What we cannot read ourselves nobody else can. */
	r = handover_read(state, &h);
	if (r < 0)
		return r;
	snprintf(number, sizeof(number), "%d", state);
	handover_keep_open(h, true);
	fcntl(state, F_SETFD, 0);
	execv(sup->exe, argv);
	r = -errno;
	handover_keep_open(h, false);
	return r;
}

static int upgrade(struct task *tk, struct supervisor *sup, struct buf *ret_text)
{
	int r;

	sup->checking = true;
	r = check_new(tk, sup, ret_text);
	if (r == 0) {
		log_info("upgrade.begins", K_Z("version", LOCUM_VERSION),
			 K_Z("executable", sup->exe));
		end_unready(tk, sup);
		r = sup->stopping ? -ECANCELED : become_new(sup);
		sup->leaving = false;
		signal_raise(&sup->changed);
	}
	sup->checking = false;
	if (r < 0 && ret_text->n == 0)
		buf_addf(ret_text, "%s", strerror(-r));
	return r;
}

/* --- who asks --- */

static void answer(struct task *tk, struct channel *ch, uint64_t call, bool ok, struct buf *text)
{
	Locum__Upgraded upgraded = LOCUM__UPGRADED__INIT;
	IPC_PACKET(packet, UPGRADED, upgraded, &upgraded);

	if (buf_add_byte(text, '\0') < 0)
		return;
	upgraded.ok = ok;
	upgraded.text = text->p;
	ipc_reply(tk, ch, call, &packet, -1, task_in(tk, SEND_TIME));
}

void upgrade_answer(struct task *tk, struct supervisor *sup, bool ok, struct buf *text)
{
	uint64_t call = sup->asker.call;

	sup->asker.call = 0;
	for (size_t i = 0; call && i < sup->child_count; i++) {
		struct child *c = &sup->child[i];

		if (c->process == LOCUM__PROCESS__SPOOLD && c->index == sup->asker.index &&
		    c->control) {
			answer(tk, c->control, call, ok, text);
			return;
		}
	}
}

static void upgrade_main(struct task *tk, void *arg)
{
	struct supervisor *sup = arg;
	_cleanup_(buf_done) struct buf text = { 0 };

	buf_init(&text, CHECK_OUTPUT_MAX + 1024);
	if (upgrade(tk, sup, &text) == 0)
		return;
	log_error("upgrade.failed", K("reason", buf_str(&text)));
	buf_addf(&text, "; nothing has changed");
	upgrade_answer(tk, sup, false, &text);
}

void upgrade_begin(struct task *tk, struct supervisor *sup, const struct child *asker,
		   uint64_t call)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	const char *why = why_not(sup);

	if (!why) {
		sup->asker.call = call;
		sup->asker.index = asker ? asker->index : 0;
		if (task_start(sup->loop, NULL, "upgrade", upgrade_main, sup) == 0) {
			sup->checking = true;
			return;
		}
		why = strerror(ENOMEM);
	}
	log_error("upgrade.failed", K_Z("reason", why));
	buf_init(&text, 1024);
	buf_addf(&text, "%s", why);
	if (asker && asker->control)
		answer(tk, asker->control, call, false, &text);
}
