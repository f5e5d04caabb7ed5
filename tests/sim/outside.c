/* What a simulated process must not reach: the clock, descriptors and end of the real one, its sandbox. */
#include "sim/engine.h"
#include "sandbox/sandbox.h"

#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int __real_close(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t n);
int __real_clock_gettime(clockid_t clock, struct timespec *ret);
_Noreturn void __real_exit(int status);
_Noreturn void __real__exit(int status);
void *__real_stack_slab_new(size_t count);
int __wrap_close(int fd);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
_Noreturn void __wrap_exit(int status);
_Noreturn void __wrap__exit(int status);
void *__wrap_stack_slab_new(size_t count);

/* --- clock and chance --- */

nsec sys_now(void)
{
	return sim_now();
}

nsec sys_now_wall(void)
{
	nsec epoch = (nsec)1790000000 * NSEC_S;

	return epoch + sim_now() + (running && running->node ? node_wall_offset(running->node) : 0);
}

void sys_random(void *ret_bytes, size_t n)
{
	uint8_t *at = ret_bytes;

	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)sim_dice(DICE_SYS);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	nsec now;

	if (!running)
		return __real_clock_gettime(clock, ret);
	now = clock == CLOCK_REALTIME ? sys_now_wall() : sim_now();
	ret->tv_sec = now / NSEC_S;
	ret->tv_nsec = now % NSEC_S;
	return 0;
}

/* --- the log: into the trace --- */

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
	const char *line = bytes, *event;
	int length = (int)n - 1;

	if (!running || fd != STDERR_FILENO)
		return __real_write(fd, bytes, n);
	/* "date process level event …": the trace knows the first two better. */
	for (int word = 0; word < 2; word++) {
		event = memchr(line + 1, ' ', (size_t)length - 1);
		if (!event)
			break;
		length -= (int)(event - line);
		line = event;
	}
	sim_trace("%s:%.*s", running->name, MAX(length, 0), line);
	return (ssize_t)n;
}

/* --- descriptors and the end of a process --- */

int __wrap_close(int fd)
{
	return fd >= FD_FIRST ? sys_close(fd) : __real_close(fd);
}

_Noreturn void __wrap_exit(int status)
{
	if (!running)
		__real_exit(status);
	process_kill(running, status);
	abort();
}

_Noreturn void __wrap__exit(int status)
{
	if (!running)
		__real__exit(status);
	process_kill(running, status);
	abort();
}

/* --- stacks: those of dead processes are used again --- */

#define SLABS_MAX 1024

static struct {
	void *slab;
	size_t count;
	struct sim_process *owner;
} slabs[SLABS_MAX];
static size_t slab_count;

void *__wrap_stack_slab_new(size_t count)
{
	void *slab;

	if (running)
		running->account.stacks += count * STACK_BYTES;
	for (size_t i = 0; i < slab_count; i++) {
		if (slabs[i].count != count || slabs[i].owner->state != PROCESS_DEAD)
			continue;
		slabs[i].owner = running;
#if defined(__SANITIZE_ADDRESS__)
		for (size_t n = 0; n < count; n++)
			ASAN_UNPOISON_MEMORY_REGION((char *)slabs[i].slab + n * STACK_BYTES + 4096,
						    STACK_BYTES - 4096);
#endif
		return slabs[i].slab;
	}
	slab = __real_stack_slab_new(count);
	if (slab && running && slab_count < SLABS_MAX) {
		slabs[slab_count].slab = slab;
		slabs[slab_count].count = count;
		slabs[slab_count++].owner = running;
	}
	return slab;
}

/* --- the sandbox: a simulated process has none --- */

int sandbox_close(const struct sandbox_request *request, char *ret_missing, size_t size)
{
	(void)request;
	must(size > 0);
	ret_missing[0] = '\0';
	return 0;
}

int sandbox_act_as(uint32_t uid, uint32_t gid)
{
	(void)uid;
	(void)gid;
	return 0;
}

const char *sandbox_name(enum sandbox_profile profile)
{
	static const char *const names[] = {
		[SANDBOX_SMTPIN] = "smtpin",
		[SANDBOX_NETD] = "netd",
		[SANDBOX_SPOOLD] = "spoold",
		[SANDBOX_SMTPOUT] = "smtpout",
	};

	return names[profile];
}
