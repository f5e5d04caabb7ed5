/* locumd played by the test, a worker in a process of its own: the order in which its hooks are called. */
#include "proc/worker.h"

#include "base/cleanup.h"
#include "sandbox/steps.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#define NOBODY 65534
#define TELL_FD 5

/* --- the worker: each hook tells one letter --- */

static void tell(char c)
{
	if (write(TELL_FD, &c, 1) != 1)
		_exit(99);
}

static int acquire(struct task *tk, struct worker *w, struct sandbox_request *request)
{
	(void)tk;
	(void)request;
	tell('a');
	/* The hostname says how it shall go. */
	return str_starts(w->conf->hostname, STR("broken")) ? -EIO : 0;
}

static int serve(struct task *tk, struct worker *w)
{
	(void)tk;
	(void)w;
	tell('s');
	return 0;
}

static void reconfigured(struct task *tk, struct worker *w)
{
	(void)tk;
	tell(str_eq(w->conf->hostname, STR("second.example.net")) ? 'r' : '?');
}

static void peer(struct task *tk, struct worker *w, struct channel *ch)
{
	(void)tk;
	(void)w;
	tell(channel_peer(ch) == LOCUM__PROCESS__NETD ? 'p' : '?');
}

static void peer_gone(struct worker *w, struct channel *ch)
{
	(void)w;
	tell(channel_peer(ch) == LOCUM__PROCESS__NETD ? 'g' : '?');
}

static void message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	(void)tk;
	(void)ch;
	(void)m;
	(void)arg;
	tell('m');
}

static void finish(struct task *tk, struct worker *w)
{
	/* With patience until it is taken back. */
	if (w->finish_by) {
		tell(w->finish_by > task_in(tk, 9 * NSEC_S) &&
				     w->finish_by <= task_in(tk, 10 * NSEC_S)
			     ? 'w'
			     : '?');
		while (w->finish_by)
			task_sleep(tk, 10 * NSEC_MS);
	}
	/* What is in progress may take its time. */
	task_sleep(tk, 20 * NSEC_MS);
	tell('f');
}

static const struct worker_hooks hooks = {
	.self = LOCUM__PROCESS__SMTPOUT,
	.acquire = acquire,
	.serve = serve,
	.reconfigured = reconfigured,
	.peer = peer,
	.peer_gone = peer_gone,
	.message = message,
	.shutdown = finish,
};

/* --- locumd --- */

static char state_dir[64];
static int control, told;
static pid_t worker;

static void path_below(const char *name, char ret[96])
{
	snprintf(ret, 96, "%s/%s", state_dir, name);
}

static int setup(void **state)
{
	int pair[2], pipe_ends[2];
	char path[96];

	(void)state;
	snprintf(state_dir, sizeof(state_dir), "/tmp/locum-worker-XXXXXX");
	assert_non_null(mkdtemp(state_dir));
	path_below("empty", path);
	assert_int_equal(mkdir(path, 0555), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pipe(pipe_ends), 0);
	worker = fork();
	assert_true(worker >= 0);
	if (worker == 0) {
		int tell_end = fcntl(pipe_ends[1], F_DUPFD, 20), end = fcntl(pair[1], F_DUPFD, 20);

		/* The words about what it was told to do belong to nobody's test report. */
		if (dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) < 0 ||
		    dup2(end, WORKER_CONTROL_FD) < 0 || dup2(tell_end, TELL_FD) < 0)
			_exit(98);
		close_range(TELL_FD + 1, ~0U, 0);
		close(WORKER_CONTROL_FD + 1);
		_exit(worker_run(&hooks, NULL));
	}
	close(pair[1]);
	close(pipe_ends[1]);
	control = pair[0];
	told = pipe_ends[0];
	return 0;
}

static int teardown(void **state)
{
	char path[96];

	(void)state;
	if (worker > 0) {
		kill(worker, SIGKILL);
		waitpid(worker, NULL, 0);
	}
	if (control >= 0)
		close(control);
	close(told);
	path_below("empty", path);
	rmdir(path);
	return rmdir(state_dir);
}

static void send_packet(const Locum__Packet *packet, int fd)
{
	uint8_t bytes[512];
	size_t n = locum__packet__get_packed_size(packet);

	assert_true(n <= sizeof(bytes));
	locum__packet__pack(packet, bytes);
	assert_true(sys_send_fds(control, str_mem(bytes, n), &fd, fd >= 0) >= 0);
}

static void send_start(const char *hostname, bool again, bool sealed)
{
	_cleanup_(buf_done) struct buf packed = { 0 }, text = { 0 }, error = { 0 };
	_cleanup_(conf_unrefp) struct conf *conf = NULL;
	_cleanup_(closep) int fd = sys_memfd("conf");
	Locum__Start start = LOCUM__START__INIT;
	IPC_PACKET(packet, START, start, &start);

	buf_init(&packed, 65536);
	buf_init(&text, 4096);
	buf_init(&error, 4096);
	buf_addf(&text,
		 "hostname = \"%s\"\nstate_dir = \"%s\"\nlisten \"mx\" { address = "
		 "\"127.0.0.1:25\" }\ndomain \"example.cz\" { }\n",
		 hostname, state_dir);
	if (conf_read_text("test.conf", buf_str(&text), &conf, &error) < 0)
		fail_msg("%.*s", STR_ARG(buf_str(&error)));
	assert_int_equal(conf_pack(conf, false, &packed), 0);
	assert_int_equal(sys_write_at(fd, buf_str(&packed), 0), 0);
	if (sealed)
		assert_int_equal(sys_memfd_seal(fd), 0);
	start.again = again;
	start.uid = geteuid() == 0 ? NOBODY : geteuid();
	start.gid = geteuid() == 0 ? NOBODY : getegid();
	send_packet(&packet, fd);
}

/* The other end of the new channel. */
static int send_peer(void)
{
	Locum__Peer of = LOCUM__PEER__INIT;
	IPC_PACKET(packet, PEER, peer, &of);
	int pair[2];

	of.process = LOCUM__PROCESS__NETD;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	send_packet(&packet, pair[0]);
	close(pair[0]);
	return pair[1];
}

static void send_patient_shutdown(uint32_t patience_s)
{
	Locum__Shutdown shutdown = LOCUM__SHUTDOWN__INIT;
	IPC_PACKET(packet, SHUTDOWN, shutdown, &shutdown);

	shutdown.patience_s = patience_s;
	send_packet(&packet, -1);
}

static void send_shutdown(void)
{
	send_patient_shutdown(0);
}

static void expect_ready(void)
{
	_cleanup_(ipc_message_done) struct ipc_message m = { 0 };
	uint8_t bytes[1024];
	ssize_t n = recv(control, bytes, sizeof(bytes), 0);

	assert_true(n > 0);
	m.packet = locum__packet__unpack(NULL, (size_t)n, bytes);
	assert_non_null(m.packet);
	assert_int_equal(m.packet->body_case, LOCUM__PACKET__BODY_READY);
}

static void expect_told(const char *letters)
{
	for (; *letters; letters++) {
		char c = 0;

		assert_int_equal(read(told, &c, 1), 1);
		assert_int_equal(c, *letters);
	}
}

static void expect_exit(int status)
{
	int got;
	char c;

	assert_int_equal(waitpid(worker, &got, 0), worker);
	worker = 0;
	assert_true(WIFEXITED(got));
	assert_int_equal(WEXITSTATUS(got), status);
	/* And no word more. */
	assert_int_equal(read(told, &c, 1), 0);
}

/* --- what is promised --- */

static void expect_sandboxed(void)
{
	char path[64], status[4096];
	_cleanup_(closep) int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)worker);
	fd = open(path, O_RDONLY);
	n = read(fd, status, sizeof(status));
	assert_true(n > 0);
	assert_int_equal(str_find(str_mem(status, (size_t)n), STR("Seccomp:\t2")) >= 0, !SANITIZED);
}

static void acquires_then_closes_then_serves_then_meets_its_peers(void **state)
{
	_cleanup_(closep) int netd = -1;

	(void)state;
	send_start("first.example.net", false, true);
	netd = send_peer(); /* at once: it waits its turn */
	expect_ready();
	expect_told("asp");
	expect_sandboxed();
	send_shutdown();
	expect_told("f");
	expect_exit(0);
}

static void a_peer_that_replaces_another_comes_after_its_end(void **state)
{
	_cleanup_(closep) int first = -1, second = -1;

	(void)state;
	send_start("first.example.net", false, true);
	expect_ready();
	first = send_peer();
	expect_told("asp");
	second = send_peer();
	expect_told("gp");
	close(TAKE_FD(second));
	expect_told("g");
}

static void a_new_snapshot_reconfigures(void **state)
{
	(void)state;
	send_start("first.example.net", false, true);
	send_start("second.example.net", true, true);
	expect_told("asr");
}

static void ends_at_once_when_locumd_is_gone(void **state)
{
	(void)state;
	send_start("first.example.net", false, true);
	expect_ready();
	expect_told("as");
	close(TAKE_FD(control));
	expect_exit(EXIT_FAILURE);
}

static void a_failed_acquisition_ends_it(void **state)
{
	(void)state;
	send_start("broken.example.net", false, true);
	expect_told("a");
	expect_exit(EXIT_FAILURE);
}

static void a_snapshot_that_is_not_sealed_is_not_read(void **state)
{
	(void)state;
	send_start("first.example.net", false, false);
	expect_exit(EXIT_FAILURE);
}

static void a_peer_before_the_snapshot_is_a_mistake(void **state)
{
	_cleanup_(closep) int netd = -1;

	(void)state;
	netd = send_peer();
	expect_exit(EXIT_FAILURE);
}

static void a_terminals_signals_are_for_locumd(void **state)
{
	(void)state;
	send_start("first.example.net", false, true);
	expect_ready();
	expect_told("as");
	kill(worker, SIGINT);
	kill(worker, SIGTERM);
	kill(worker, SIGHUP);
	send_shutdown();
	expect_told("f");
	expect_exit(0);
}

static void a_patient_end_meets_new_peers_and_can_be_hurried(void **state)
{
	_cleanup_(closep) int peer_end = -1;

	(void)state;
	send_start("first.example.net", false, true);
	expect_ready();
	expect_told("as");
	send_patient_shutdown(10);
	expect_told("w");
	send_patient_shutdown(20);
	peer_end = send_peer();
	expect_told("p");
	send_shutdown();
	expect_told("f");
	expect_exit(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(acquires_then_closes_then_serves_then_meets_its_peers),
		TEST(a_peer_that_replaces_another_comes_after_its_end),
		TEST(a_new_snapshot_reconfigures),
		TEST(ends_at_once_when_locumd_is_gone),
		TEST(a_failed_acquisition_ends_it),
		TEST(a_snapshot_that_is_not_sealed_is_not_read),
		TEST(a_peer_before_the_snapshot_is_a_mistake),
		TEST(a_patient_end_meets_new_peers_and_can_be_hurried),
		TEST(a_terminals_signals_are_for_locumd),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
