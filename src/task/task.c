#include "task/task.h"

#include "base/heap.h"
#include "task/switch.h"
#include "task/sys.h"

#include <stdlib.h>

#define SLAB_STACKS 64
#define WARM_STACKS_MAX 256 /* free stacks that keep their touched pages */
#define EVENTS_A_TURN 256
#define RUNS_A_POLL 512 /* tasks that run before the poller is asked again */

/* Lives at the top of its own stack, so an idle task touches one page. */
struct task {
	struct side side;
	struct loop *loop;
	struct group *group;
	const char *name;
	task_fn *fn;
	void *arg;
	void *stack;
	struct list link;       /* the loop's runnable, yielded or free list */
	struct list group_link; /* its group */
	struct list wait_link;  /* a signal's waiters */
	struct heap_node deadline;
	int result;
	bool parked;
	bool cancelled;
};

struct loop {
	struct side main;
	int poller;
	nsec now;
	bool stopped;
	size_t task_count;
	struct list runnable;
	struct list yielded; /* run again after the next poll */
	struct list idle;    /* stacks without a task */
	size_t idle_count;
	struct heap deadlines;
	struct heap timers;
	/* A call that a task asked for on the main stack. */
	void (*call)(void *);
	void *call_arg;
	/* Events of this turn: a descriptor that is closed meanwhile is taken out of them. */
	struct sys_event event[EVENTS_A_TURN];
	int event_count;
};

/* --- stacks --- */

static void task_body(void *arg)
{
	struct task *tk = arg;

	for (;;) {
		struct loop *loop = tk->loop;

		tk->fn(tk, tk->arg);
		heap_remove(&loop->deadlines, &tk->deadline);
		list_remove(&tk->wait_link);
		list_remove(&tk->group_link);
		loop->task_count--;
		if (tk->group && list_empty(&tk->group->tasks))
			signal_raise(&tk->group->ended);
		tk->fn = NULL;
		list_prepend(&loop->idle, &tk->link);
		loop->idle_count++;
		switch_to(&tk->side, &loop->main);
	}
}

static int add_stacks(struct loop *loop)
{
	char *slab = stack_slab_new(SLAB_STACKS);

	if (!slab)
		return -ENOMEM;
	for (size_t i = 0; i < SLAB_STACKS; i++) {
		char *stack = slab + i * STACK_BYTES;
		size_t place = (STACK_BYTES - sizeof(struct task)) & ~(size_t)63;
		struct task *tk = (struct task *)(stack + place);

		/* Writing here touches the top page: one page a stack is the price of having it. */
		*tk = (struct task){ .loop = loop, .stack = stack };
		list_append(&loop->idle, &tk->link);
		loop->idle_count++;
	}
	return 0;
}

/* Runs the task until it parks or ends, and the main-stack calls that it asks for. */
static void run(struct loop *loop, struct task *tk)
{
	bool fresh = tk->side.asan_bottom == NULL;

	for (;;) {
		if (fresh) {
			fresh = false;
			switch_start(&loop->main, &tk->side, (char *)tk->stack + 4096, tk,
				     task_body, tk);
		} else {
			switch_to(&loop->main, &tk->side);
		}
		if (!loop->call)
			break;
		loop->call(loop->call_arg);
		loop->call = NULL;
	}
	if (!tk->fn && loop->idle_count > WARM_STACKS_MAX)
		stack_trim(tk->stack);
}

/* --- the loop --- */

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->poller = sys_poller_new();
	if (loop->poller < 0) {
		int r = loop->poller;

		free(loop);
		return r;
	}
	list_init(&loop->runnable);
	list_init(&loop->yielded);
	list_init(&loop->idle);
	loop->now = sys_now();
	*ret_loop = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	must(loop->task_count == 0);
	sys_close(loop->poller);
	heap_done(&loop->deadlines);
	heap_done(&loop->timers);
	/* The stacks stay mapped: loops live as long as their process, tests make a few. */
	free(loop);
}

void loop_freep(struct loop **loop)
{
	loop_free(*loop);
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}

nsec loop_now(const struct loop *loop)
{
	return loop->now;
}

size_t loop_task_count(const struct loop *loop)
{
	return loop->task_count;
}

static void make_runnable(struct task *tk, int result)
{
	tk->result = result;
	tk->parked = false;
	list_append(&tk->loop->runnable, &tk->link);
}

static void fire_deadlines(struct loop *loop)
{
	struct heap_node *first;

	while ((first = heap_first(&loop->deadlines)) && first->at <= loop->now) {
		struct task *tk = CONTAINER(first, struct task, deadline);

		heap_remove(&loop->deadlines, first);
		task_wake(tk, -ETIMEDOUT);
	}
	while ((first = heap_first(&loop->timers)) && first->at <= loop->now) {
		struct timer *t = CONTAINER(first, struct timer, node);

		heap_remove(&loop->timers, first);
		t->fire(t);
	}
}

static void run_runnable(struct loop *loop)
{
	struct list *link;

	for (int i = 0; i < RUNS_A_POLL && (link = list_take(&loop->runnable)); i++)
		run(loop, CONTAINER(link, struct task, link));
}

static nsec poll_timeout(struct loop *loop)
{
	struct heap_node *first;
	nsec at = NEVER;

	if (!list_empty(&loop->runnable) || !list_empty(&loop->yielded) || loop->stopped)
		return 0;
	first = heap_first(&loop->deadlines);
	if (first)
		at = first->at;
	first = heap_first(&loop->timers);
	if (first)
		at = MIN(at, first->at);
	if (at == NEVER)
		return NEVER;
	loop->now = sys_now();
	return at > loop->now ? at - loop->now : 0;
}

static void io_event(struct io *io, bool readable, bool writable)
{
	const bool ready[2] = { [IO_READ] = readable, [IO_WRITE] = writable };

	if (io->callback) {
		io->callback(io, readable, writable);
		return;
	}
	for (int d = IO_READ; d <= IO_WRITE; d++) {
		if (!ready[d])
			continue;
		if (io->waiter[d])
			task_wake(io->waiter[d], 0);
		else
			io->ready[d] = true;
	}
}

static int poll_once(struct loop *loop)
{
	nsec timeout = poll_timeout(loop);
	int n;

	n = sys_poller_wait(loop->poller, loop->event, EVENTS_A_TURN, timeout);
	if (n < 0)
		return n;
	loop->now = sys_now();
	loop->event_count = n;
	for (int i = 0; i < n; i++) {
		struct sys_event *e = &loop->event[i];

		if (e->key)
			io_event(e->key, e->readable, e->writable);
	}
	loop->event_count = 0;
	while (!list_empty(&loop->yielded)) {
		struct task *tk = LIST_FIRST(&loop->yielded, struct task, link);

		list_remove(&tk->link);
		make_runnable(tk, tk->cancelled ? -ECANCELED : 0);
	}
	return 0;
}

int loop_run(struct loop *loop)
{
	int r;

	loop->stopped = false;
	while (loop->task_count > 0 && !loop->stopped) {
		fire_deadlines(loop);
		run_runnable(loop);
		if (loop->task_count == 0 || loop->stopped)
			break;
		r = poll_once(loop);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- tasks --- */

int task_start(struct loop *loop, struct group *group, const char *name, task_fn *fn, void *arg)
{
	struct task *tk;
	int r;

	if (list_empty(&loop->idle)) {
		r = add_stacks(loop);
		if (r < 0)
			return r;
	}
	tk = CONTAINER(list_take(&loop->idle), struct task, link);
	loop->idle_count--;
	loop->task_count++;
	tk->group = group;
	tk->name = name;
	tk->fn = fn;
	tk->arg = arg;
	tk->cancelled = false;
	list_init(&tk->group_link);
	list_init(&tk->wait_link);
	if (group)
		list_append(&group->tasks, &tk->group_link);
	make_runnable(tk, 0);
	return 0;
}

struct loop *task_loop(const struct task *tk)
{
	return tk->loop;
}

nsec task_now(const struct task *tk)
{
	return tk->loop->now;
}

nsec task_in(const struct task *tk, nsec duration)
{
	nsec at;

	return __builtin_add_overflow(tk->loop->now, duration, &at) ? NEVER : at;
}

bool task_cancelled(const struct task *tk)
{
	return tk->cancelled;
}

int task_park(struct task *tk, nsec deadline)
{
	struct loop *loop = tk->loop;

	if (tk->cancelled)
		return -ECANCELED;
	if (deadline <= loop->now)
		return -ETIMEDOUT;
	if (deadline != NEVER && heap_push(&loop->deadlines, &tk->deadline, deadline) < 0)
		return -ENOMEM;
	tk->parked = true;
	switch_to(&tk->side, &loop->main);
	return tk->result;
}

void task_wake(struct task *tk, int result)
{
	if (!tk->parked)
		return;
	heap_remove(&tk->loop->deadlines, &tk->deadline);
	make_runnable(tk, result);
}

void task_cancel(struct task *tk)
{
	if (!tk->fn)
		return;
	tk->cancelled = true;
	task_wake(tk, -ECANCELED);
}

int task_sleep(struct task *tk, nsec duration)
{
	int r = task_park(tk, task_in(tk, duration));

	return r == -ETIMEDOUT ? 0 : r;
}

int task_yield(struct task *tk)
{
	if (tk->cancelled)
		return -ECANCELED;
	list_append(&tk->loop->yielded, &tk->link);
	switch_to(&tk->side, &tk->loop->main);
	return tk->result;
}

void task_on_main_stack(struct task *tk, void (*fn)(void *), void *arg)
{
	must(!tk->loop->call);
	tk->loop->call = fn;
	tk->loop->call_arg = arg;
	switch_to(&tk->side, &tk->loop->main);
}

/* --- groups --- */

void group_init(struct group *g, struct loop *loop)
{
	g->loop = loop;
	list_init(&g->tasks);
	signal_init(&g->ended);
}

void group_cancel(struct group *g)
{
	LIST_EACH (&g->tasks, struct task, group_link, tk)
		task_cancel(tk);
}

int group_wait(struct task *tk, struct group *g, nsec deadline)
{
	int r = 0;

	while (r == 0 && !list_empty(&g->tasks))
		r = signal_wait(tk, &g->ended, deadline);
	return r;
}

size_t group_count(const struct group *g)
{
	size_t n = 0;

	for (const struct list *l = g->tasks.next; l != &g->tasks; l = l->next)
		n++;
	return n;
}

/* --- signals --- */

void signal_init(struct signal *s)
{
	list_init(&s->waiters);
}

int signal_wait(struct task *tk, struct signal *s, nsec deadline)
{
	int r;

	list_append(&s->waiters, &tk->wait_link);
	r = task_park(tk, deadline);
	list_remove(&tk->wait_link);
	return r;
}

void signal_raise(struct signal *s)
{
	struct list *link;

	while ((link = list_take(&s->waiters)))
		task_wake(CONTAINER(link, struct task, wait_link), 0);
}

/* --- timers --- */

void timer_init(struct timer *t, struct loop *loop, void (*fire)(struct timer *))
{
	*t = (struct timer){ .loop = loop, .fire = fire };
}

int timer_set(struct timer *t, nsec at)
{
	timer_clear(t);
	return heap_push(&t->loop->timers, &t->node, at);
}

void timer_clear(struct timer *t)
{
	heap_remove(&t->loop->timers, &t->node);
}

/* --- descriptors --- */

static int io_add(struct io *io, struct loop *loop, int fd, unsigned watch)
{
	*io = (struct io){ .fd = fd, .loop = loop };
	return sys_poller_add(loop->poller, fd, io, watch);
}

int io_init(struct io *io, struct loop *loop, int fd)
{
	int r = sys_set_nonblocking(fd);

	if (r < 0)
		return r;
	return io_add(io, loop, fd, SYS_WATCH_READ | SYS_WATCH_EDGE);
}

int io_init_listener(struct io *io, struct loop *loop, int fd)
{
	int r = sys_set_nonblocking(fd);

	if (r < 0)
		return r;
	return io_add(io, loop, fd, SYS_WATCH_READ | SYS_WATCH_LISTENER);
}

int io_init_callback(struct io *io, struct loop *loop, int fd,
		     void (*callback)(struct io *io, bool readable, bool writable))
{
	int r = io_add(io, loop, fd, 0);

	if (r == 0)
		io->callback = callback;
	return r;
}

int io_interest(struct io *io, bool readable, bool writable)
{
	return sys_poller_modify(io->loop->poller, io->fd, io,
				 (readable ? SYS_WATCH_READ : 0) |
					 (writable ? SYS_WATCH_WRITE : 0));
}

int io_release(struct io *io)
{
	struct loop *loop = io->loop;
	int fd = io->fd;

	if (!loop)
		return -1;
	sys_poller_remove(loop->poller, fd);
	for (int i = 0; i < loop->event_count; i++)
		if (loop->event[i].key == io)
			loop->event[i].key = NULL;
	for (int d = IO_READ; d <= IO_WRITE; d++)
		if (io->waiter[d])
			task_wake(io->waiter[d], -ECANCELED);
	io->loop = NULL;
	io->fd = -1;
	return fd;
}

void io_done(struct io *io)
{
	int fd = io_release(io);

	if (fd >= 0)
		sys_close(fd);
}

/* Writing seldom blocks, so it is watched only while somebody waits for it. */
static int watch_writing(struct io *io, bool on)
{
	return sys_poller_modify(io->loop->poller, io->fd, io,
				 SYS_WATCH_READ | SYS_WATCH_EDGE | (on ? SYS_WATCH_WRITE : 0));
}

int io_wait(struct task *tk, struct io *io, enum io_direction direction, nsec deadline)
{
	int r;

	if (!io->loop)
		return -ECANCELED;
	must(!io->waiter[direction]);
	if (direction == IO_WRITE) {
		r = watch_writing(io, true);
		if (r < 0)
			return r;
	} else if (io->ready[IO_READ]) {
		io->ready[IO_READ] = false;
		return 0;
	}
	io->waiter[direction] = tk;
	r = task_park(tk, deadline);
	io->waiter[direction] = NULL;
	io->ready[direction] = false;
	if (direction == IO_WRITE && io->loop)
		watch_writing(io, false);
	return r;
}
