#include "sandbox/steps.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef LOCUM_SANDBOX_TRAP
#include <signal.h>
#include <stdio.h>
#endif

/* A system call of a group, with a condition on its arguments when its number alone says too little. */
struct call {
	unsigned group;
	int number;
	unsigned conditions;
	struct scmp_arg_cmp condition[2];
};

/* clang-format off */
#define ANY(group, name) { CALLS_##group, SCMP_SYS(name), 0, { { 0 } } }
#define IF(group, name, a) { CALLS_##group, SCMP_SYS(name), 1, { a } }
#define IF2(group, name, a, b) { CALLS_##group, SCMP_SYS(name), 2, { a, b } }
/* clang-format on */
/* 32-bit arguments: the upper half of the register is not the kernel's business, nor ours. */
#define IS(n, value) SCMP_CMP32(n, SCMP_CMP_MASKED_EQ, UINT32_MAX, (value))
#define HAS(n, bits) SCMP_CMP32(n, SCMP_CMP_MASKED_EQ, (bits), (bits))
#define LACKS(n, bits) SCMP_CMP32(n, SCMP_CMP_MASKED_EQ, (bits), 0)
#define NULL_POINTER(n) SCMP_CMP64(n, SCMP_CMP_EQ, 0)

/* socket(2)'s second argument is a kind and flags. */
#define KIND_MASK 0xfU
#define KIND(n, value) SCMP_CMP32(n, SCMP_CMP_MASKED_EQ, KIND_MASK, (value))

static const struct call calls[] = {
	/* Memory that is never code. */
	ANY(BASE, brk),
	IF(BASE, mmap, LACKS(2, PROT_EXEC)),
	IF(BASE, mprotect, LACKS(2, PROT_EXEC)),
	ANY(BASE, munmap),
	ANY(BASE, mremap),
	ANY(BASE, madvise),
	/* Clock, sleep, chance. */
	ANY(BASE, clock_gettime),
	ANY(BASE, gettimeofday),
	ANY(BASE, time),
	ANY(BASE, clock_nanosleep),
	ANY(BASE, nanosleep),
	ANY(BASE, restart_syscall),
	ANY(BASE, getrandom),
	/* Readiness. */
	ANY(BASE, epoll_ctl),
	ANY(BASE, epoll_wait),
	ANY(BASE, epoll_pwait),
	ANY(BASE, epoll_pwait2),
	ANY(BASE, poll),
	ANY(BASE, ppoll),
	/* Descriptors it has. fstat(3) is newfstatat with an empty path. */
	ANY(BASE, read),
	ANY(BASE, readv),
	ANY(BASE, pread64),
	ANY(BASE, preadv),
	ANY(BASE, write),
	ANY(BASE, writev),
	ANY(BASE, close),
	ANY(BASE, lseek),
	ANY(BASE, fstat),
	ANY(BASE, fstatfs),
	IF(BASE, newfstatat, HAS(3, AT_EMPTY_PATH)),
	IF(BASE, fcntl, IS(1, F_GETFL)),
	IF(BASE, fcntl, IS(1, F_SETFL)),
	IF(BASE, fcntl, IS(1, F_GETFD)),
	IF(BASE, fcntl, IS(1, F_SETFD)),
	IF(BASE, fcntl, IS(1, F_DUPFD_CLOEXEC)),
	IF(BASE, fcntl, IS(1, F_GET_SEALS)),
	/* Itself: abort(3) and what the C library asks now and then. tgkill is added below. */
	ANY(BASE, futex),
	ANY(BASE, rt_sigaction),
	ANY(BASE, rt_sigprocmask),
	ANY(BASE, rt_sigreturn),
	ANY(BASE, sigaltstack),
	ANY(BASE, getpid),
	ANY(BASE, gettid),
	ANY(BASE, getuid),
	ANY(BASE, geteuid),
	ANY(BASE, getgid),
	ANY(BASE, getegid),
	ANY(BASE, sched_yield),
	ANY(BASE, sysinfo), /* qsort(3) asks how much memory there is */
	ANY(BASE, exit),
	ANY(BASE, exit_group),

	ANY(TALK, recvfrom),
	ANY(TALK, recvmsg),
	ANY(TALK, sendmsg),
	IF(TALK, sendto, NULL_POINTER(4)),
	ANY(TALK, shutdown),
	ANY(TALK, getsockname),
	ANY(TALK, getpeername),
	ANY(TALK, getsockopt),
	IF(TALK, setsockopt, IS(1, SOL_SOCKET)),
	IF(TALK, setsockopt, IS(1, IPPROTO_TCP)),

	ANY(ACCEPT, accept4),

	IF2(DIAL, socket, IS(0, AF_INET), KIND(1, SOCK_STREAM)),
	IF2(DIAL, socket, IS(0, AF_INET), KIND(1, SOCK_DGRAM)),
	IF2(DIAL, socket, IS(0, AF_INET6), KIND(1, SOCK_STREAM)),
	IF2(DIAL, socket, IS(0, AF_INET6), KIND(1, SOCK_DGRAM)),
	ANY(DIAL, connect),
	ANY(DIAL, bind),
	ANY(DIAL, sendto),
	IF(DIAL, setsockopt, IS(1, IPPROTO_IP)),
	IF(DIAL, setsockopt, IS(1, IPPROTO_IPV6)),

	ANY(MEMFD, memfd_create),
	ANY(MEMFD, ftruncate),
	ANY(MEMFD, pwrite64),
	ANY(MEMFD, pwritev),
	IF(MEMFD, fcntl, IS(1, F_ADD_SEALS)),

	IF(READ, openat, LACKS(2, O_ACCMODE | O_CREAT | O_TRUNC)),

	ANY(STORE, pwrite64),
	ANY(STORE, pwritev),
	ANY(STORE, ftruncate),
	ANY(STORE, fdatasync),

	ANY(FILES, openat),
	ANY(FILES, mkdirat),
	ANY(FILES, newfstatat),
	ANY(FILES, renameat),
	ANY(FILES, renameat2),
	ANY(FILES, unlinkat),
	ANY(FILES, getdents64),
	ANY(FILES, ftruncate),
	ANY(FILES, pwrite64),
	ANY(FILES, pwritev),
	ANY(FILES, fallocate),
	ANY(FILES, fdatasync),
	ANY(FILES, sync_file_range),
	ANY(FILES, fsync),
	ANY(FILES, flock),
	ANY(FILES, copy_file_range),
	ANY(FILES, fadvise64),
};

static int add_rules(scmp_filter_ctx filter, unsigned groups)
{
	int r;

	for (size_t i = 0; i < ELEMENTS(calls); i++) {
		const struct call *c = &calls[i];

		if (!(c->group & groups))
			continue;
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, c->number, c->conditions,
					   c->condition);
		/* -EEXIST: two groups hold the same call. */
		if (r < 0 && r != -EEXIST)
			return r;
	}
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				IS(0, (uint32_t)getpid()));
}

#ifdef LOCUM_SANDBOX_TRAP
/* A build for finding out which call a profile lacks: says its number before it ends. */
static void say_refused(int signal_number, siginfo_t *info, void *context)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "sandbox: system call %d refused\n", info->si_syscall);

	(void)signal_number;
	(void)context;
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(125);
	_exit(124);
}

static uint32_t refusal(void)
{
	struct sigaction how = { .sa_sigaction = say_refused, .sa_flags = SA_SIGINFO };

	sigaction(SIGSYS, &how, NULL);
	return SCMP_ACT_TRAP;
}
#else
static uint32_t refusal(void)
{
	return SCMP_ACT_KILL_PROCESS;
}
#endif

static void filter_release(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

int calls_allow(unsigned groups)
{
	__attribute__((cleanup(filter_release))) scmp_filter_ctx filter = NULL;
	int r;

	filter = seccomp_init(refusal());
	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r < 0)
		return r;
	/* A binary tree over the numbers: the plain list costs every call a walk over all rules. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r < 0)
		return r;
	r = add_rules(filter, groups);
	if (r < 0)
		return r;
	return seccomp_load(filter);
}
