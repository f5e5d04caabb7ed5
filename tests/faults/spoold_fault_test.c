/* A disk that fails under spoold: it ends, whoever found out, and nobody hears of a success. */
#include "faults/fault.h"
#include "proc/spoold/testing.h"

#include <sys/mman.h>
#include <sys/wait.h>

#define STAYED 7 /* the status of a spoold that did not end */
#define TIME_TO_END (5 * NSEC_S)

static char (*scratch)[64]; /* the child's, to be removed here: it ends without a farewell */
static void (*deed)(struct world *w);

static void live_on(struct world *w)
{
	task_sleep(w->tk, TIME_TO_END);
	_exit(STAYED);
}

/* Also an assertion that fails comes by here: spoold alone leaves by _exit. */
static void left_otherwise(void)
{
	_exit(STAYED);
}

static void do_deed(struct world *w)
{
	memcpy(*scratch, w->dir, sizeof(*scratch));
	deed(w);
	_exit(STAYED);
}

static int status_of_child(void)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		atexit(left_otherwise);
		world_run(do_deed);
		_exit(STAYED);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* In a process of its own: spoold leaves by _exit(1). */
static void expect_end(void (*test)(struct world *w))
{
	char rm[100];
	int status;

	scratch = mmap(NULL, sizeof(*scratch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	assert_true(scratch != MAP_FAILED);
	deed = test;
	status = status_of_child();
	snprintf(rm, sizeof(rm), "rm -rf '%.60s'", *scratch);
	assert_int_equal(system(rm), 0);
	munmap(scratch, sizeof(*scratch));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

static void fail_first(const char *call)
{
	inject(1, -EIO, MODE_ERROR, false);
	injected.only = call;
}

static void append_to_a_failing_disk(struct world *w)
{
	fail_first("sys_sync_data"); /* of the first segment's header */
	append(w, 1, to_a, 1, 100);
	_exit(STAYED); /* there was an answer: it did not end at once */
}

static void a_segment_that_cannot_be_made_for_a_message_ends_spoold(void **state)
{
	(void)state;
	expect_end(append_to_a_failing_disk);
}

static void hold_on_a_failing_disk(struct world *w)
{
	connect_smtpout(w);
	w->script = it_refuses;
	append_one(w, 1);
	UNTIL(w, w->sp->held_count == 1);
	spool_sync(w->sp->spool);
	fail_first("sys_sync_data"); /* of the first segment for held messages */
	w->sp->held_queue[w->sp->held_first].at = 0;
	live_on(w);
}

static void a_message_that_cannot_be_moved_to_the_held_ends_spoold(void **state)
{
	(void)state;
	expect_end(hold_on_a_failing_disk);
}

static void compact_on_a_failing_disk(struct world *w)
{
	for (unsigned n = 0; n < 12; n++)
		assert_int_equal(append(w, n, to_a, 1, 100000), LOCUM__APPEND_RESULT__APPENDED);
	fail_first("sys_sync"); /* of the directory from which a segment was deleted */
	connect_smtpout(w);
	live_on(w);
}

static void a_deletion_that_cannot_be_made_durable_ends_spoold(void **state)
{
	(void)state;
	expect_end(compact_on_a_failing_disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_segment_that_cannot_be_made_for_a_message_ends_spoold),
		cmocka_unit_test(a_message_that_cannot_be_moved_to_the_held_ends_spoold),
		cmocka_unit_test(a_deletion_that_cannot_be_made_durable_ends_spoold),
	};

	return cmocka_run_group_tests_name("spoold on a failing disk", tests, NULL, NULL);
}
