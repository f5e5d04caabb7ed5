/*
 * Tasks: one SMTP session, one delivery, one lookup is one straight-line C function on its own small
 * stack (64 KiB reserved, one or two pages touched, a guard page below). One loop a process, one
 * thread, so no locks: but anything shared may have changed after an await. Hold ids, not pointers.
 *
 * A function that may park takes `struct task *tk` first. Every await has a deadline (a monotonic
 * point in time, NEVER for the few that wait for work) and returns 0 or a negative errno:
 * -ETIMEDOUT past the deadline, -ECANCELED once the task was cancelled. A cancelled task's every
 * further await returns -ECANCELED at once, so it leaves by return and its cleanup runs.
 */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/util.h"

struct loop;
struct task;

typedef void task_fn(struct task *tk, void *arg);

/* --- the loop --- */
int loop_new(struct loop **ret_loop);
/* All tasks must have ended. */
void loop_free(struct loop *loop);
void loop_freep(struct loop **loop);
/* Runs until loop_stop() was called or no task is left. 0 or a negative errno of the poller. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* The monotonic clock, read once a turn. */
nsec loop_now(const struct loop *loop);
size_t loop_task_count(const struct loop *loop);

/* --- signals: wait until somebody says that something changed --- */
struct signal {
	struct list waiters;
};

void signal_init(struct signal *s);
/* Spurious wakes are allowed: check the condition again in a loop. */
int signal_wait(struct task *tk, struct signal *s, nsec deadline);
void signal_raise(struct signal *s);

/* --- groups: tasks that are cancelled and waited for together --- */
struct group {
	struct loop *loop;
	struct list tasks;
	struct signal ended;
};

void group_init(struct group *g, struct loop *loop);
void group_cancel(struct group *g);
/* Until no task of the group is left. */
int group_wait(struct task *tk, struct group *g, nsec deadline);
size_t group_count(const struct group *g);

/* --- tasks --- */
/* Starts fn(tk, arg) at the loop's next turn. `group` may be NULL. `name` must be static.
 * 0 or -ENOMEM. */
int task_start(struct loop *loop, struct group *group, const char *name, task_fn *fn, void *arg);
struct loop *task_loop(const struct task *tk);
nsec task_now(const struct task *tk);
/* Now + duration, saturating: the usual way to make a deadline. */
nsec task_in(const struct task *tk, nsec duration);
bool task_cancelled(const struct task *tk);

/* Parks until task_wake(), the deadline or cancellation; returns what the waker said. The root of
 * every other await. */
int task_park(struct task *tk, nsec deadline);
/* Makes a parked task runnable with `result`; a second wake before it ran changes nothing. */
void task_wake(struct task *tk, int result);
void task_cancel(struct task *tk);
int task_sleep(struct task *tk, nsec duration);
/* Lets everything that is ready now, new events included, run first. */
int task_yield(struct task *tk);
/* Runs fn(arg) on the process's main stack: for library code that needs deep stacks. It cannot park. */
void task_on_main_stack(struct task *tk, void (*fn)(void *), void *arg);

/* --- file descriptors --- */
enum io_direction { IO_READ, IO_WRITE };

/* A watched, non-blocking descriptor; one task at a time may wait in each direction. Edge-triggered: try
 * the call first, wait on -EAGAIN. */
struct io {
	int fd;
	struct loop *loop;
	struct task *waiter[2];
	bool ready[2];
	/* For libraries with callbacks of their own (see io_init_callback). */
	void (*callback)(struct io *io, bool readable, bool writable);
};

/* Takes fd over, makes it non-blocking and watches it. On error fd stays the caller's. */
int io_init(struct io *io, struct loop *loop, int fd);
/* For a listening socket that several processes watch: wakes one of them, level-triggered. */
int io_init_listener(struct io *io, struct loop *loop, int fd);
/* For libraries with callbacks: level-triggered; `callback` runs on the main stack for as long as the fd
 * is ready for what io_interest asked for (nothing at first). It may call io_done or io_release. The
 * fd is used as it is (not made non-blocking) and is not closed by io_release. */
int io_init_callback(struct io *io, struct loop *loop, int fd,
		     void (*callback)(struct io *io, bool readable, bool writable));
int io_interest(struct io *io, bool readable, bool writable);
/* Stops watching and closes. Allowed twice; a waiting task gets -ECANCELED. */
void io_done(struct io *io);
/* Stops watching and gives the descriptor back. */
int io_release(struct io *io);
int io_wait(struct task *tk, struct io *io, enum io_direction direction, nsec deadline);

/* --- timers, for libraries with callbacks (libunbound); tasks use deadlines instead --- */
struct timer {
	struct heap_node node;
	struct loop *loop;
	void (*fire)(struct timer *timer); /* on the main stack; may set or clear the timer again */
};

void timer_init(struct timer *t, struct loop *loop, void (*fire)(struct timer *));
/* 0 or -ENOMEM. Setting a timer that is set moves it. */
int timer_set(struct timer *t, nsec at);
void timer_clear(struct timer *t);
