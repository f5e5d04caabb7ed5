/*
 * sandbox_probe: each line of the table below is one thing that a process must not be able to do, or must
 * still be able to do, once its sandbox is closed. Every line gets a process of its own, which
 * closes the sandbox and tries. Some lines leave seccomp out, to prove what stands behind it.
 *
 * Run as root and as somebody else; what only root's sandbox has (an empty root directory, an own user)
 * is tried as root only. Prints "N passed, N failed".
 */
#include "base/cleanup.h"
#include "proc/state/directory.h"
#include "sandbox/steps.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NOBODY 65534

/* What the attempts find when they start. */
static struct {
	char dir[PATH_MAX]; /* of this run, with: secret, notes (readable), spool/, empty/ */
	int dir_spool;      /* held open before the sandbox closed */
	int pair[2];        /* AF_UNIX */
	int listener;       /* 127.0.0.1, with a connection waiting */
	int loose_tcp;      /* a socket made before, connected to nothing */
	int epoll;
	struct sockaddr_in at;       /* of the listener */
	pid_t neighbour;             /* a process of the same user */
	struct directory *directory; /* state: opened before */
} given;

static int result(long r)
{
	return r < 0 ? -errno : 0;
}

static char *path(const char *name)
{
	static char text[PATH_MAX + 64];

	snprintf(text, sizeof(text), "%s/%s", given.dir, name);
	return text;
}

/* --- files --- */

static int open_path(const char *name, int flags)
{
	return result(open(name, flags, 0600));
}

static int read_outside(void)
{
	return open_path(path("secret"), O_RDONLY);
}

static int write_outside(void)
{
	return open_path(path("secret"), O_WRONLY);
}

static int create_outside(void)
{
	return open_path(path("new"), O_WRONLY | O_CREAT);
}

static int climb_out(void)
{
	return result(openat(given.dir_spool, "../secret", O_RDONLY));
}

static int read_passwd(void)
{
	return open_path("/etc/passwd", O_RDONLY);
}

/* Landlock lets everybody look; only another root hides it. */
static int see_passwd(void)
{
	return result(access("/etc/passwd", F_OK));
}

static int read_memory(void)
{
	return open_path("/proc/self/mem", O_RDWR);
}

static int read_notes(void)
{
	return open_path(path("notes"), O_RDONLY);
}

static int write_notes(void)
{
	return open_path(path("notes"), O_WRONLY);
}

/* Everything that a spool does, through descriptors held before. */
static int keep_spool(void)
{
	char text[8];
	int fd;

	fd = openat(given.dir_spool, "segment.tmp", O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fallocate(fd, 0, 0, 4096) < 0 ||
	    pwrite(fd, "mail", 4, 0) != 4 || sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE) < 0 ||
	    fdatasync(fd) < 0 || ftruncate(fd, 4) < 0 || pread(fd, text, sizeof(text), 0) != 4)
		return -errno;
	if (renameat(given.dir_spool, "segment.tmp", given.dir_spool, "segment") < 0 ||
	    fsync(given.dir_spool) < 0 || mkdirat(given.dir_spool, "queue", 0700) < 0 ||
	    renameat(given.dir_spool, "segment", given.dir_spool, "queue/segment") < 0 ||
	    unlinkat(given.dir_spool, "queue/segment", 0) < 0 ||
	    unlinkat(given.dir_spool, "queue", AT_REMOVEDIR) < 0)
		return -errno;
	return 0;
}

/* The database grows far beyond what it was when it was opened. */
static int keep_directory(void)
{
	struct directory_facts f;
	char address[40];

	for (int i = 0; i < 20000; i++) {
		snprintf(address, sizeof(address), "user%d@example.cz", i);
		if (directory_learn(given.directory, STR("example.cz"), str_of(address), STR("250"),
				    NSEC_DAY) < 0 ||
		    (i % 1000 == 0 && directory_commit(given.directory) < 0))
			return -EIO;
	}
	if (directory_commit(given.directory) < 0 ||
	    directory_ask(given.directory, STR("example.cz"), STR("user7@example.cz"), NSEC_DAY,
			  &f) < 0)
		return -EIO;
	return f.word == WORD_KNOWN ? 0 : -ENOENT;
}

static int make_symlink(void)
{
	return result(symlinkat("/etc/passwd", given.dir_spool, "link"));
}

static int make_hard_link(void)
{
	return result(linkat(AT_FDCWD, path("secret"), given.dir_spool, "link", 0));
}

static int make_pipe_file(void)
{
	return result(mknodat(given.dir_spool, "fifo", S_IFIFO | 0600, 0));
}

static int change_mode(void)
{
	return result(fchmodat(AT_FDCWD, path("secret"), 0666, 0));
}

/* --- sockets --- */

static int make_tcp(void)
{
	return result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static int make_unix(void)
{
	return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int make_netlink(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int make_raw(void)
{
	return result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int connect_loose(void)
{
	return result(connect(given.loose_tcp, (struct sockaddr *)&given.at, sizeof(given.at)));
}

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return -errno;
	return result(connect(fd, (struct sockaddr *)&given.at, sizeof(given.at)));
}

static int ask_by_udp(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	return result(sendto(fd, "?", 1, 0, (struct sockaddr *)&given.at, sizeof(given.at)));
}

static int bind_loose(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };

	return result(bind(given.loose_tcp, (struct sockaddr *)&any, sizeof(any)));
}

static int listen_loose(void)
{
	return result(listen(given.loose_tcp, 1));
}

static int accept_waiting(void)
{
	return result(accept4(given.listener, NULL, NULL, SOCK_CLOEXEC));
}

static int pass_descriptor(void)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &given.epoll, sizeof(int));
	if (sendmsg(given.pair[0], &m, MSG_NOSIGNAL) < 0)
		return -errno;
	m.msg_controllen = sizeof(control);
	return result(recvmsg(given.pair[1], &m, MSG_CMSG_CLOEXEC));
}

static int call_abstract_unix(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "locum-probe-%d", (int)getppid());
	return result(connect(
		fd, (struct sockaddr *)&a,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a.sun_path + 1))));
}

/* --- memory --- */

static int fill_memfd(void)
{
	int fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (pwrite(fd, "mail", 4, 1024 * 1024) != 4 || ftruncate(fd, 4) < 0)
		return -errno;
	return result(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK));
}

static int map_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -errno : 0;
}

static int turn_into_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	return result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* What every process does all day. */
static int live(void)
{
	static int numbers[100000];
	struct epoll_event e = { .events = EPOLLIN };
	struct timespec ts = { 0 }, at_once = { 0 };
	char *p, text[8];
	struct stat st;
	struct tm tm;

	p = malloc(10 << 20);
	if (!p)
		return -ENOMEM;
	memset(p, 1, 10 << 20);
	p = realloc(p, 40 << 20);
	free(p);
	p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1,
		 0);
	if (p == MAP_FAILED || mprotect(p, 4096, PROT_NONE) < 0 ||
	    madvise(p + 4096, 61440, MADV_DONTNEED) < 0)
		return -errno;
	qsort(numbers, ELEMENTS(numbers), sizeof(int), compare_ints);
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	if (getrandom(text, sizeof(text), 0) < 0 ||
	    epoll_ctl(given.epoll, EPOLL_CTL_ADD, given.pair[0], &e) < 0 ||
	    epoll_pwait2(given.epoll, &e, 1, &at_once, NULL) < 0 || fstat(given.pair[0], &st) < 0)
		return -errno;
	return result(fcntl(given.pair[0], F_SETFL, O_NONBLOCK));
}

/* --- processes and privileges --- */

static int run_program(void)
{
	char *const argv[] = { (char *)"true", NULL };

	return result(execv("/bin/true", argv));
}

static int start_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return result(pid);
}

static int trace_neighbour(void)
{
	return result(ptrace(PTRACE_ATTACH, given.neighbour, NULL, NULL));
}

static int signal_neighbour(void)
{
	return result(kill(given.neighbour, SIGCONT));
}

static int thread_signal_neighbour(void)
{
	return result(syscall(SYS_tgkill, given.neighbour, given.neighbour, SIGCONT));
}

static int read_neighbour(void)
{
	char text[8];
	struct iovec here = { text, sizeof(text) }, there = { text, sizeof(text) };

	return result(process_vm_readv(given.neighbour, &here, 1, &there, 1, 0));
}

static int mount_something(void)
{
	return result(mount("none", path("empty"), "tmpfs", 0, NULL));
}

static int change_root(void)
{
	return result(chroot("/"));
}

static int new_namespace(void)
{
	return result(unshare(CLONE_NEWUSER));
}

static int become_root(void)
{
	return result(setresuid(0, 0, 0));
}

static int gain_privileges(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? -EPERM : 0;
}

static int set_up_io_uring(void)
{
	char parameters[256] = { 0 };

	return result(syscall(SYS_io_uring_setup, 1, parameters));
}

static int load_bpf(void)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

static int say_goodbye(void)
{
	abort();
}

/* --- the table --- */

enum who { SMTPIN = 1, NETD = 2, SPOOLD = 4, SMTPOUT = 8, STATE = 16, ALL = 31 };
enum expect {
	WORKS,
	KILLED,  /* SIGSYS */
	REFUSED, /* an error */
	ABORTS,  /* SIGABRT */
};
enum layers { EVERY, NO_SECCOMP, ROOT_NO_SECCOMP };

static const struct attempt {
	const char *name;
	unsigned who;
	enum expect expect;
	int (*try)(void);
	enum layers layers;
	bool readable; /* with `notes` named as readable */
} attempts[] = {
	{ "lives: memory, clock, random bytes, epoll", ALL, WORKS, live },
	{ "passes descriptors over a socket it has", ALL, WORKS, pass_descriptor },
	{ "can abort", ALL, ABORTS, say_goodbye },

	{ "cannot read a file", ALL & ~SPOOLD, KILLED, read_outside },
	{ "cannot write a file", ALL & ~SPOOLD, KILLED, write_outside },
	{ "cannot create a file", ALL & ~SPOOLD, KILLED, create_outside },
	{ "cannot read files outside the spool", SPOOLD, REFUSED, read_outside },
	{ "cannot write files outside the spool", SPOOLD, REFUSED, write_outside },
	{ "cannot create files outside the spool", SPOOLD, REFUSED, create_outside },
	{ "cannot climb out of the spool", SPOOLD, REFUSED, climb_out },
	{ "cannot read /etc/passwd", SPOOLD, REFUSED, read_passwd },
	{ "cannot open its own memory", SPOOLD, REFUSED, read_memory },
	{ "cannot leave a symbolic link", ALL, KILLED, make_symlink },
	{ "cannot leave a hard link", ALL, KILLED, make_hard_link },
	{ "cannot leave a pipe", ALL, KILLED, make_pipe_file },
	{ "cannot change a mode", ALL, KILLED, change_mode },
	{ "keeps its spool", SPOOLD, WORKS, keep_spool },
	{ "keeps its database", STATE, WORKS, keep_directory },
	{ "reads the files it named", NETD, WORKS, read_notes, .readable = true },
	{ "cannot write the files it named", NETD, KILLED, write_notes, .readable = true },
	{ "cannot read other files than it named", NETD, REFUSED, read_outside, .readable = true },

	{ "cannot make a TCP socket", ALL & ~NETD, KILLED, make_tcp },
	{ "cannot make a Unix socket", ALL, KILLED, make_unix },
	{ "cannot make a netlink socket", ALL, KILLED, make_netlink },
	{ "cannot make a raw socket", ALL, KILLED, make_raw },
	{ "cannot connect", ALL & ~NETD, KILLED, connect_loose },
	{ "cannot bind", ALL & ~NETD, KILLED, bind_loose },
	{ "cannot take a TCP port", NETD, REFUSED, bind_loose },
	{ "cannot listen", ALL, KILLED, listen_loose },
	{ "cannot accept", ALL & ~SMTPIN, KILLED, accept_waiting },
	{ "accepts", SMTPIN, WORKS, accept_waiting },
	{ "connects", NETD, WORKS, dial },
	{ "asks by UDP", NETD, WORKS, ask_by_udp },

	{ "makes memory files", SMTPIN, WORKS, fill_memfd },
	{ "cannot make memory files", ALL & ~SMTPIN, KILLED, fill_memfd },
	{ "cannot map code", ALL, KILLED, map_code },
	{ "cannot turn data into code", ALL, KILLED, turn_into_code },

	{ "cannot run a program", ALL, KILLED, run_program },
	{ "cannot start a process", ALL, KILLED, start_process },
	{ "cannot trace another process", ALL, KILLED, trace_neighbour },
	{ "cannot signal another process", ALL, KILLED, signal_neighbour },
	{ "cannot signal another process's thread", ALL, KILLED, thread_signal_neighbour },
	{ "cannot read another process's memory", ALL, KILLED, read_neighbour },
	{ "cannot mount", ALL, KILLED, mount_something },
	{ "cannot change its root", ALL, KILLED, change_root },
	{ "cannot make a namespace", ALL, KILLED, new_namespace },
	{ "cannot become root", ALL, KILLED, become_root },
	{ "cannot set up io_uring", ALL, KILLED, set_up_io_uring },
	{ "cannot load a BPF program", ALL, KILLED, load_bpf },

	{ "behind seccomp: cannot read a file", ALL, REFUSED, read_outside, NO_SECCOMP },
	{ "behind seccomp: cannot write a file", ALL, REFUSED, write_outside, NO_SECCOMP },
	{ "behind seccomp: cannot create a file", ALL, REFUSED, create_outside, NO_SECCOMP },
	{ "behind seccomp: cannot climb out", ALL, REFUSED, climb_out, NO_SECCOMP },
	{ "behind seccomp: cannot write the files it named", NETD, REFUSED, write_notes, NO_SECCOMP,
	  .readable = true },
	{ "behind seccomp: cannot leave a symbolic link", ALL, REFUSED, make_symlink, NO_SECCOMP },
	{ "behind seccomp: cannot leave a pipe", ALL, REFUSED, make_pipe_file, NO_SECCOMP },
	{ "behind seccomp: cannot leave a hard link", ALL, REFUSED, make_hard_link, NO_SECCOMP },
	{ "behind seccomp: cannot connect", ALL & ~NETD, REFUSED, dial, NO_SECCOMP },
	{ "behind seccomp: cannot bind", ALL, REFUSED, bind_loose, NO_SECCOMP },
	{ "behind seccomp: cannot call an abstract Unix socket", ALL, REFUSED, call_abstract_unix,
	  NO_SECCOMP },
	{ "behind seccomp: cannot run a program", ALL, REFUSED, run_program, NO_SECCOMP },
	{ "behind seccomp: cannot start a process", ALL, REFUSED, start_process, NO_SECCOMP },
	{ "behind seccomp: cannot trace another process", ALL, REFUSED, trace_neighbour,
	  NO_SECCOMP },
	{ "behind seccomp: cannot signal another process", ALL, REFUSED, signal_neighbour,
	  NO_SECCOMP },
	{ "behind seccomp: cannot gain privileges", ALL, REFUSED, gain_privileges, NO_SECCOMP },
	{ "behind seccomp: cannot mount", ALL, REFUSED, mount_something, NO_SECCOMP },
	{ "behind seccomp: cannot become root", ALL, REFUSED, become_root, NO_SECCOMP },
	{ "behind seccomp: sees an empty root", ALL, REFUSED, see_passwd, ROOT_NO_SECCOMP },
};

/* --- running it --- */

static void must_do(long r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "sandbox_probe: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void make_file(const char *name, mode_t mode)
{
	int fd = open(path(name), O_WRONLY | O_CREAT, mode);

	must_do(fd, name);
	must_do(write(fd, "words\n", 6), name);
	must_do(fchmod(fd, mode), name);
	close(fd);
}

static void give_files(void)
{
	snprintf(given.dir, sizeof(given.dir), "%s/locum-probe-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	must_do(mkdtemp(given.dir) ? 0 : -1, given.dir);
	must_do(chmod(given.dir, 0755), given.dir);
	make_file("secret", 0666); /* so that only the sandbox stands in the way */
	make_file("notes", 0666);
	must_do(mkdir(path("empty"), 0555), "empty");
	must_do(mkdir(path("spool"), 0700), "spool");
	must_do(mkdir(path("store"), 0700), "store");
	if (geteuid() == 0)
		must_do(chown(path("spool"), NOBODY, NOBODY), "spool");
	if (geteuid() == 0)
		must_do(chown(path("store"), NOBODY, NOBODY), "store");
}

static void give_sockets(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(given.at);
	int fd;

	must_do(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, given.pair), "socketpair");
	given.listener = socket(AF_INET, SOCK_STREAM, 0);
	given.at = (struct sockaddr_in){ .sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	must_do(bind(given.listener, (struct sockaddr *)&given.at, length), "bind");
	must_do(listen(given.listener, 64), "listen");
	must_do(getsockname(given.listener, (struct sockaddr *)&given.at, &length), "getsockname");
	must_do(fcntl(given.listener, F_SETFL, O_NONBLOCK), "fcntl");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "locum-probe-%d", (int)getpid());
	must_do(bind(fd, (struct sockaddr *)&a,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				 strlen(a.sun_path + 1))),
		"abstract socket");
	must_do(listen(fd, 64), "listen");
}

/* A process that only waits, of the user that the attempts run as. */
static void give_neighbour(void)
{
	given.neighbour = fork();
	must_do(given.neighbour, "fork");
	if (given.neighbour > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(2);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (;;)
		pause();
}

static int close_without_seccomp(const struct sandbox_request *request, struct missing *m)
{
	const struct sandbox_row *row = sandbox_row(request->profile);
	int ruleset, r;

	r = limits_apply(row, request, m);
	if (r == 0)
		r = landlock_prepare(row, request, m, &ruleset);
	if (r == 0)
		r = root_enter(row, request, m);
	if (r == 0)
		r = ids_drop(request, m);
	if (r == 0)
		r = privileges_renounce();
	if (r == 0)
		r = landlock_enter(ruleset);
	return r;
}

static int open_directory(void)
{
	const char *begun;

	return directory_open(path("store"), &directory_limits, &given.directory, &begun);
}

/* In the process of its own: ends with 0 (it worked), 1 (refused), or 9 (not even closed). */
static _Noreturn void try_it(const struct attempt *a, enum sandbox_profile profile)
{
	static char spool[PATH_MAX], empty[PATH_MAX], notes[PATH_MAX];
	char text[512] = "";
	const char *readable[] = { notes, NULL };
	struct sandbox_request request = {
		.profile = profile,
		.uid = NOBODY,
		.gid = NOBODY,
		.writable_dir = profile == SANDBOX_SPOOLD ? spool : NULL,
		.readable = a->readable ? readable : NULL,
		.empty_dir = empty,
		.descriptors_max = 512,
	};
	struct missing m = { text, sizeof(text) };
	int r;

	snprintf(spool, sizeof(spool), "%.4000s/spool", given.dir);
	snprintf(empty, sizeof(empty), "%.4000s/empty", given.dir);
	snprintf(notes, sizeof(notes), "%.4000s/notes", given.dir);
	given.dir_spool = open(spool, O_RDONLY | O_DIRECTORY);
	given.loose_tcp = socket(AF_INET, SOCK_STREAM, 0);
	given.epoll = epoll_create1(0);
	/* For accept: a connection that waits. */
	if (connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&given.at,
		    sizeof(given.at)) < 0)
		_exit(9);
	r = sandbox_act_as(NOBODY, NOBODY);
	if (r == 0 && profile == SANDBOX_STATE)
		r = open_directory();
	if (r == 0 && a->layers == EVERY)
		r = sandbox_close(&request, text, sizeof(text));
	else if (r == 0)
		r = close_without_seccomp(&request, &m);
	if (r < 0) {
		dprintf(2, "sandbox_probe: %s: %s: %s\n", a->name, text, strerror(-r));
		_exit(9);
	}
	_exit(a->try() < 0 ? 1 : 0);
}

static bool as_expected(enum expect expect, int status)
{
	switch (expect) {
	case WORKS:
		return WIFEXITED(status) && WEXITSTATUS(status) == 0;
	case REFUSED:
		return WIFEXITED(status) && WEXITSTATUS(status) == 1;
	case KILLED:
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	case ABORTS:
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
	}
	return false;
}

/* Connections that nobody accepted would fill the backlog. */
static void drain_listener(void)
{
	int fd;

	while ((fd = accept(given.listener, NULL, NULL)) >= 0)
		close(fd);
}

static bool probe(const struct attempt *a, enum sandbox_profile profile)
{
	int status = 0;
	pid_t pid;

	pid = fork();
	must_do(pid, "fork");
	if (pid == 0)
		try_it(a, profile);
	must_do(waitpid(pid, &status, 0), "waitpid");
	drain_listener();
	if (as_expected(a->expect, status))
		return true;
	printf("failed: %s %s (%s %d)\n", sandbox_name(profile), a->name,
	       WIFSIGNALED(status) ? "signal" : "exit",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return false;
}

int main(void)
{
	static const enum sandbox_profile profiles[] = { SANDBOX_SMTPIN, SANDBOX_NETD,
							 SANDBOX_SPOOLD, SANDBOX_SMTPOUT,
							 SANDBOX_STATE };
	unsigned passed = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	give_files();
	give_sockets();
	give_neighbour();
	for (size_t i = 0; i < ELEMENTS(attempts); i++) {
		const struct attempt *a = &attempts[i];

		if (a->layers == ROOT_NO_SECCOMP && geteuid() != 0)
			continue;
		for (size_t p = 0; p < ELEMENTS(profiles); p++) {
			if (!(a->who & (1U << p)))
				continue;
			if (probe(a, profiles[p]))
				passed++;
			else
				failed++;
		}
	}
	kill(given.neighbour, SIGKILL);
	unlink(path("secret"));
	unlink(path("notes"));
	rmdir(path("empty"));
	rmdir(path("spool"));
	unlink(path("store/data.mdb"));
	unlink(path("store/lock"));
	unlink(path("store/condemned"));
	rmdir(path("store"));
	if (rmdir(given.dir) < 0) {
		printf("failed: something was left in %s\n", given.dir);
		failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
