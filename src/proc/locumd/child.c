#include "proc/locumd/locumd.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "proc/worker.h"

#define LONG_LIFE (2 * NSEC_S) /* after which a death is a first one again */
#define PAUSE_FIRST (100 * NSEC_MS)
#define PAUSE_MAX (5 * NSEC_S)

/* --- who is to be --- */

static const char *name_of(Locum__Process process)
{
	return process == LOCUM__PROCESS__SMTPIN   ? "smtpin"
	       : process == LOCUM__PROCESS__SPOOLD ? "spoold"
	       : process == LOCUM__PROCESS__NETD   ? "netd"
	       : process == LOCUM__PROCESS__STATE  ? "state"
						   : "smtpout";
}

void child_init(struct child *c, struct supervisor *sup, Locum__Process process, uint32_t index)
{
	const char *name = name_of(process);

	*c = (struct child){
		.sup = sup, .process = process, .index = index, .name = name, .handed_control = -1
	};
	if (process == LOCUM__PROCESS__SMTPIN)
		snprintf(c->title, sizeof(c->title), "locum: %s %u", name, index);
	else
		snprintf(c->title, sizeof(c->title), "locum: %s", name);
}

bool child_can_be_left(const struct child *c)
{
	return c->pid > 0 && c->ready && c->control;
}

static bool index_taken(const struct supervisor *sup, Locum__Process process, uint32_t index)
{
	for (size_t i = 0; i < sup->child_count; i++)
		if (sup->child[i].process == process && sup->child[i].index == index)
			return true;
	return false;
}

static int plan(struct supervisor *sup, Locum__Process process, unsigned count)
{
	uint32_t places = process == LOCUM__PROCESS__SMTPIN ? sup->smtpin_places : CHILDREN_MAX;

	for (uint32_t i = 0; count > 0; i++) {
		if (i >= places || sup->child_count >= CHILDREN_MAX)
			return -ENOSPC;
		if (index_taken(sup, process, i))
			continue;
		child_init(&sup->child[sup->child_count++], sup, process, i);
		count--;
	}
	return 0;
}

static unsigned cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (unsigned)CPU_COUNT(&set);
}

unsigned smtpin_wanted(const struct supervisor *sup)
{
	unsigned wanted = sup->conf->smtpin_processes ? sup->conf->smtpin_processes : cores();

	return MIN(wanted, (unsigned)SMTPIN_PLACES_MAX);
}

int children_plan(struct supervisor *sup)
{
	int r = plan(sup, LOCUM__PROCESS__NETD, 1);

	if (r == 0)
		r = plan(sup, LOCUM__PROCESS__SPOOLD, 1);
	if (r == 0)
		r = plan(sup, LOCUM__PROCESS__SMTPOUT, 1);
	if (r == 0)
		r = plan(sup, LOCUM__PROCESS__STATE, 1);
	return r < 0 ? r : plan(sup, LOCUM__PROCESS__SMTPIN, smtpin_wanted(sup));
}

static int memory_make(struct supervisor *sup)
{
	/* A predecessor of a version without it leaves none. */
	if (sup->client_memory_file >= 0)
		return 0;
	return client_memory_make(sup->smtpin_places, CLIENT_MEMORY_ROWS, &sup->client_memory_file);
}

int clients_make(struct supervisor *sup)
{
	int r;

	if (sup->clients_file >= 0)
		return memory_make(sup);
	sup->smtpin_places =
		MIN(SMTPIN_GENERATIONS * smtpin_wanted(sup), (unsigned)SMTPIN_PLACES_MAX);
	sup->sessions_max = sup->conf->limits.sessions;
	r = memory_make(sup);
	if (r < 0)
		return r;
	r = client_table_make(sup->smtpin_places, sup->sessions_max, &sup->clients_file);
	if (r < 0)
		return r;
	return client_table_open(sup->clients_file, 0, &sup->clients);
}

struct child *child_find(struct supervisor *sup, Locum__Process process)
{
	struct child *found = NULL;

	for (size_t i = 0; i < sup->child_count; i++) {
		struct child *c = &sup->child[i];

		if (c->process == process && (!found || (c->ready && !c->finish_by)))
			found = c;
	}
	return found;
}

/* --- starting one --- */

/* Nothing else of our environment changes what a child does. */
static const char *const inherited[] = {
	"LOCUM_LOG", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "LLVM_PROFILE_FILE",
};

static void environment_make(char (*text)[512], char **ret_environment)
{
	size_t n = 0;

	for (size_t i = 0; i < ELEMENTS(inherited); i++) {
		const char *value = getenv(inherited[i]);

		if (!value)
			continue;
		snprintf(text[n], sizeof(text[n]), "%s=%s", inherited[i], value);
		ret_environment[n] = text[n];
		n++;
	}
	ret_environment[n] = NULL;
}

/* In the new process: nothing but async-signal-safe calls. */
static _Noreturn void become(const char *const *path, char *title, char **environment, int control)
{
	static const int defaults[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGCHLD };
	char *argv[] = { title, NULL };
	sigset_t none;
	int null;

	for (size_t i = 0; i < ELEMENTS(defaults); i++)
		signal(defaults[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(126);
	/* dup2() of a descriptor onto itself would leave it close-on-exec. */
	if (control == WORKER_CONTROL_FD)
		fcntl(control, F_SETFD, 0);
	else if (dup2(control, WORKER_CONTROL_FD) < 0)
		_exit(126);
	close_range(WORKER_CONTROL_FD + 1, ~0U, 0);
	for (; *path; path++)
		execve(*path, argv, environment);
	_exit(127);
}

/* Beside locumd, as in the build folder, or where they are installed. */
static int spawn(struct child *c, int *ret_control)
{
	static char path[2][1100], environment_text[ELEMENTS(inherited)][512];
	char *environment[ELEMENTS(inherited) + 1];
	const char *const paths[] = { path[0], path[1], NULL };
	_cleanup_(closep) int ours = -1;
	int pair[2];
	pid_t pid;

	executable_paths(c->sup, c->name, path);
	environment_make(environment_text, environment);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	pid = fork();
	if (pid == 0)
		become(paths, c->title, environment, pair[1]);
	close(pair[1]);
	if (pid < 0)
		return -errno;
	c->pid = pid;
	c->exited = false;
	*ret_control = TAKE_FD(ours);
	return 0;
}

/* --- what it says --- */

static void on_ready(struct task *tk, struct child *c, const Locum__Ready *ready)
{
	const char *missing = ready->sandbox_missing;

	c->ready = true;
	c->ready_at = task_now(tk);
	if (*missing)
		log_warn("child.ready", K_Z("process", c->title), K_INT("pid", c->pid),
			 K_Z("sandbox_without", missing));
	else
		log_info("child.ready", K_Z("process", c->title), K_INT("pid", c->pid));
	if (c->process == LOCUM__PROCESS__SMTPOUT && c->sup->has_evidence_key &&
	    evidence_key_send(tk, c) < 0)
		log_warn("evidence.untold", K_Z("process", c->title));
	peers_connect(tk, c);
	if (c->process == LOCUM__PROCESS__SMTPIN) {
		clients_send(tk, c);
		tickets_send(tk, c);
	}
	if (c->sup->serving && c->process == LOCUM__PROCESS__SMTPIN)
		listeners_send(tk, c);
	serving_check(tk, c->sup);
	signal_raise(&c->sup->changed);
}

static void on_reload(struct task *tk, struct child *c, struct channel *ch, uint64_t call)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	Locum__Reloaded reloaded = LOCUM__RELOADED__INIT;
	IPC_PACKET(packet, RELOADED, reloaded, &reloaded);

	buf_init(&text, 8192);
	reloaded.ok = reload(tk, c->sup, &text);
	buf_add_byte(&text, '\0');
	reloaded.text = text.p;
	ipc_reply(tk, ch, call, &packet, -1, task_in(tk, SEND_TIME));
}

static void on_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct child *c = arg;

	if (m->packet->body_case == LOCUM__PACKET__BODY_READY)
		on_ready(tk, c, m->packet->ready);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_RELOAD)
		on_reload(tk, c, ch, m->packet->call);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_UPGRADE)
		upgrade_begin(tk, c->sup, c, m->packet->call);
}

/* A child closes its channel by dying; one that talks nonsense is made to die. */
static void on_closed(struct channel *ch, int r, void *arg)
{
	struct child *c = arg;

	if (c->control != ch)
		return;
	c->control = NULL;
	channel_free(ch);
	if (r == -EPROTO)
		log_error("child.nonsense", K_Z("process", c->title), K_INT("pid", c->pid));
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

/* --- its lives, one after the other --- */

static void log_death(const struct child *c, pid_t pid)
{
	int status = c->wait_status;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		log_info("child.ended", K_Z("process", c->title), K_INT("pid", pid));
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		log_error("child.missing", K_Z("process", c->title),
			  K_Z("reason", "its executable was not found"),
			  K_Z("beside", c->sup->exe_dir), K_Z("installed", LOCUM_LIBEXEC_DIR));
	else if (WIFEXITED(status))
		log_error("child.failed", K_Z("process", c->title), K_INT("pid", pid),
			  K_INT("status", WEXITSTATUS(status)), K_INT("was_ready", c->ready));
	else if (WTERMSIG(status) == SIGSYS)
		log_error("child.killed", K_Z("process", c->title), K_INT("pid", pid),
			  K_Z("reason", "a system call outside its sandbox"));
	else
		log_error("child.killed", K_Z("process", c->title), K_INT("pid", pid),
			  K_Z("signal", strsignal(WTERMSIG(status))));
}

/* Until it is dead. */
static void watch(struct task *tk, struct child *c)
{
	struct supervisor *sup = c->sup;
	pid_t pid = c->pid;

	while (!c->exited)
		signal_wait(tk, &sup->changed, NEVER);
	if (c->process == LOCUM__PROCESS__SMTPIN)
		client_table_forget(sup->clients, c->index);
	if (!sup->stopping || c->wait_status != 0)
		log_death(c, pid);
	channel_free(TAKE(c->control));
}

static int live(struct task *tk, struct child *c)
{
	struct supervisor *sup = c->sup;
	_cleanup_(closep) int control = -1;
	int r;

	r = spawn(c, &control);
	if (r < 0) {
		log_error("child.failed", K_Z("process", c->title), K_ERR(r));
		return r;
	}
	r = channel_new(sup->loop, control, LOCUM__PROCESS__LOCUMD, c->process, c->index,
			on_message, on_closed, c, &c->control);
	if (r == 0)
		(void)TAKE_FD(control);
	if (r == 0)
		r = start_send(tk, c, false);
	if (r < 0 && r != -EPIPE && c->pid > 0)
		kill(c->pid, SIGKILL);
	watch(tk, c);
	return 0;
}

/* The first time at once, then more and more patiently; never not at all, for mail waits on it. */
static nsec pause_before(unsigned failures)
{
	nsec pause = PAUSE_FIRST;

	if (failures <= 1)
		return 0;
	for (unsigned i = 2; i < failures && pause < PAUSE_MAX; i++)
		pause *= 2;
	return MIN(pause, PAUSE_MAX);
}

static void child_main(struct task *tk, void *arg)
{
	struct child *c = arg;
	struct supervisor *sup = c->sup;

	while (!sup->stopping) {
		nsec until;

		if (child_must_wait(c)) {
			signal_wait(tk, &sup->changed, NEVER);
			continue;
		}
		live(tk, c);
		if (c->ready && task_now(tk) - c->ready_at >= LONG_LIFE)
			c->failures = 0;
		c->ready = false;
		c->failures++;
		serving_check(tk, sup);
		until = task_in(tk, pause_before(c->failures));
		while (!sup->stopping && task_now(tk) < until)
			signal_wait(tk, &sup->changed, until);
	}
	signal_raise(&sup->changed);
}

/* One of before an upgrade lives once. */
static void old_child_main(struct task *tk, void *arg)
{
	struct child *c = arg;
	struct supervisor *sup = c->sup;

	watch(tk, c);
	*c = (struct child){ .sup = sup, .handed_control = -1 };
	signal_raise(&sup->changed);
}

static int adopt(struct child *c)
{
	int r = channel_new(c->sup->loop, c->handed_control, LOCUM__PROCESS__LOCUMD, c->process,
			    c->index, on_message, on_closed, c, &c->control);

	if (r < 0)
		return r;
	c->handed_control = -1;
	c->ready = true;
	return task_start(c->sup->loop, NULL, "old child", old_child_main, c);
}

int children_start(struct supervisor *sup)
{
	for (size_t i = 0; i < sup->child_count; i++) {
		struct child *c = &sup->child[i];
		int r = c->old ? adopt(c) : task_start(sup->loop, NULL, "child", child_main, c);

		if (r < 0)
			return r;
	}
	return 0;
}

static void exited(struct supervisor *sup, pid_t pid, int status)
{
	if (pid == sup->check_pid) {
		sup->check_pid = 0;
		sup->check_status = status;
		sup->check_exited = true;
	}
	for (size_t i = 0; i < sup->child_count; i++) {
		struct child *c = &sup->child[i];

		if (c->pid != pid)
			continue;
		c->pid = 0;
		c->wait_status = status;
		c->exited = true;
	}
}

/* Those of a predecessor whose state was lost, too. */
void children_reap(struct supervisor *sup)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		exited(sup, pid, status);
	signal_raise(&sup->changed);
}
