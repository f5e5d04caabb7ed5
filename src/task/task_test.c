#include "task/task.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void with_task(task_fn *fn, void *arg)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "test", fn, arg), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(loop_task_count(loop), 0);
}

static void sleeper(struct task *tk, void *arg)
{
	nsec before = task_now(tk);

	assert_int_equal(task_sleep(tk, 20 * NSEC_MS), 0);
	assert_true(task_now(tk) - before >= 20 * NSEC_MS);
	*(bool *)arg = true;
}

static void a_sleep_lasts_as_long_as_asked(void **state)
{
	bool slept = false;

	(void)state;
	with_task(sleeper, &slept);
	assert_true(slept);
}

struct pipe_test {
	int fd[2];
	struct io in;
};

static void pipe_writer(struct task *tk, void *arg)
{
	struct pipe_test *t = arg;

	task_sleep(tk, 5 * NSEC_MS);
	assert_int_equal(sys_write(t->fd[1], STR("x")), 0);
}

static void pipe_reader(struct task *tk, void *arg)
{
	struct pipe_test *t = arg;
	char c;

	assert_int_equal(pipe(t->fd), 0);
	assert_int_equal(io_init(&t->in, task_loop(tk), t->fd[0]), 0);
	assert_int_equal(io_wait(tk, &t->in, IO_READ, task_in(tk, 10 * NSEC_MS)), -ETIMEDOUT);
	assert_int_equal(task_start(task_loop(tk), NULL, "writer", pipe_writer, t), 0);
	assert_int_equal(io_wait(tk, &t->in, IO_READ, task_in(tk, NSEC_S)), 0);
	assert_int_equal(read(t->fd[0], &c, 1), 1);
	io_done(&t->in);
	io_done(&t->in);
	close(t->fd[1]);
}

static void a_descriptor_wakes_its_reader_and_times_out_without_bytes(void **state)
{
	struct pipe_test t;

	(void)state;
	with_task(pipe_reader, &t);
}

static void waits_for_ever(struct task *tk, void *arg)
{
	int *ended = arg;

	assert_int_equal(task_park(tk, NEVER), -ECANCELED);
	assert_int_equal(task_sleep(tk, NSEC_S), -ECANCELED);
	assert_true(task_cancelled(tk));
	++*ended;
}

static void cancels_group(struct task *tk, void *arg)
{
	struct group g;

	group_init(&g, task_loop(tk));
	for (int i = 0; i < 200; i++)
		assert_int_equal(task_start(task_loop(tk), &g, "waiter", waits_for_ever, arg), 0);
	assert_int_equal(group_wait(tk, &g, task_in(tk, 5 * NSEC_MS)), -ETIMEDOUT);
	assert_int_equal(group_count(&g), 200);
	group_cancel(&g);
	assert_int_equal(group_wait(tk, &g, task_in(tk, NSEC_S)), 0);
}

static void a_cancelled_group_ends_every_await_of_every_task(void **state)
{
	int ended = 0;

	(void)state;
	with_task(cancels_group, &ended);
	assert_int_equal(ended, 200);
}

/* Frames far past the limit are what these tests are about. */
#pragma GCC diagnostic ignored "-Wframe-larger-than="

static void deep(void *arg)
{
	char volatile big[256 * 1024];

	big[0] = 1;
	big[sizeof(big) - 1] = 2;
	*(int *)arg = big[0] + big[sizeof(big) - 1];
}

static void calls_deep(struct task *tk, void *arg)
{
	task_on_main_stack(tk, deep, arg);
}

static void the_main_stack_takes_what_a_task_cannot(void **state)
{
	int sum = 0;

	(void)state;
	with_task(calls_deep, &sum);
	assert_int_equal(sum, 3);
}

struct turn_test {
	struct signal go;
	int order[4], n;
};

static void waits_for_signal(struct task *tk, void *arg)
{
	struct turn_test *t = arg;

	assert_int_equal(signal_wait(tk, &t->go, task_in(tk, NSEC_S)), 0);
	t->order[t->n++] = 1;
}

static void raises_signal(struct task *tk, void *arg)
{
	struct turn_test *t = arg;

	assert_int_equal(task_yield(tk), 0);
	signal_raise(&t->go);
	assert_int_equal(task_yield(tk), 0);
	t->order[t->n++] = 2;
}

static void a_yield_lets_the_woken_run_first(void **state)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;
	struct turn_test t = { 0 };

	(void)state;
	signal_init(&t.go);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "raise", raises_signal, &t), 0);
	assert_int_equal(task_start(loop, NULL, "wait", waits_for_signal, &t), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.order[0], 1);
	assert_int_equal(t.order[1], 2);
}

static struct timer test_timer;
static int fired;

static void fire(struct timer *t)
{
	if (++fired == 1)
		assert_int_equal(timer_set(t, loop_now(t->loop) + NSEC_MS), 0);
	else
		loop_stop(t->loop);
}

static void sets_timer(struct task *tk, void *arg)
{
	(void)arg;
	timer_init(&test_timer, task_loop(tk), fire);
	assert_int_equal(timer_set(&test_timer, task_in(tk, NSEC_MS)), 0);
	assert_int_equal(task_sleep(tk, 30 * NSEC_MS), 0);
	assert_int_equal(fired, 2);
}

static void a_timer_fires_and_may_set_itself_again(void **state)
{
	(void)state;
	_cleanup_(loop_freep) struct loop *loop = NULL;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "timer", sets_timer, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
	/* Stopped by the timer while the task still sleeps: go on until it ends. */
	assert_int_equal(loop_task_count(loop), 1);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(loop_task_count(loop), 0);
}

static void nothing(struct task *tk, void *arg)
{
	(void)tk;
	++*(int *)arg;
}

static void starts_many(struct task *tk, void *arg)
{
	for (int i = 0; i < 5000; i++)
		assert_int_equal(task_start(task_loop(tk), NULL, "n", nothing, arg), 0);
	assert_int_equal(task_yield(tk), 0);
	for (int i = 0; i < 5000; i++)
		assert_int_equal(task_start(task_loop(tk), NULL, "n", nothing, arg), 0);
}

static void thousands_of_tasks_reuse_their_stacks(void **state)
{
	int n = 0;

	(void)state;
	with_task(starts_many, &n);
	assert_int_equal(n, 10000);
}

static void an_overflown_stack_hits_its_guard(void **state);

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sleep_lasts_as_long_as_asked),
		cmocka_unit_test(a_descriptor_wakes_its_reader_and_times_out_without_bytes),
		cmocka_unit_test(a_cancelled_group_ends_every_await_of_every_task),
		cmocka_unit_test(the_main_stack_takes_what_a_task_cannot),
		cmocka_unit_test(a_yield_lets_the_woken_run_first),
		cmocka_unit_test(a_timer_fires_and_may_set_itself_again),
		cmocka_unit_test(thousands_of_tasks_reuse_their_stacks),
		cmocka_unit_test(an_overflown_stack_hits_its_guard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* --- in a child, since it must die --- */
#include <sys/resource.h>
#include <sys/wait.h>

static int overflow(int depth)
{
	char volatile frame[512];

	frame[0] = (char)depth;
	return depth > 1000 ? frame[0] : overflow(depth + 1) + frame[0];
}

static void overflows(struct task *tk, void *arg)
{
	(void)tk;
	*(int *)arg = overflow(0);
}

static void an_overflown_stack_hits_its_guard(void **state)
{
	int status, n;
	pid_t child;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const struct rlimit no_core = { 0 };
		_cleanup_(closep) int quiet = sys_open_at(-100, "/dev/null", 1, 0);

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(quiet, 2);
		with_task(overflows, &n);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	/* SIGSEGV, or ASan's report of it. */
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
