/*
 * test_clock: virtual time for a unit test whose world is one process. The clock of task/sys.h stands still
 * while anything is ready and leaps to the next deadline when nothing is: what takes five minutes takes
 * none, and exactly five minutes. tests/meson.build wraps the calls of those tests that include it. Not
 * for a test that waits for another process or thread: nothing else could wake it.
 */
#pragma once

#include "base/util.h"
#include "task/sys.h"

static nsec virtual_now = NSEC_S;

nsec __wrap_sys_now(void);
nsec __wrap_sys_now_wall(void);
int __wrap_sys_poller_wait(int poller, struct sys_event *ret_events, int max, nsec timeout);
int __real_sys_poller_wait(int poller, struct sys_event *ret_events, int max, nsec timeout);

nsec __wrap_sys_now(void)
{
	return virtual_now;
}

nsec __wrap_sys_now_wall(void)
{
	return 1700000000 * NSEC_S + virtual_now;
}

int __wrap_sys_poller_wait(int poller, struct sys_event *ret_events, int max, nsec timeout)
{
	int n = __real_sys_poller_wait(poller, ret_events, max, 0);

	if (n || !timeout)
		return n;
	must(timeout != NEVER); /* else nothing would ever happen again */
	virtual_now += timeout;
	return 0;
}
