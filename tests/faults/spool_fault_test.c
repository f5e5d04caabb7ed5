/* Every call to the disk fails once, in every way, in the middle of a spool's day. */
#include "faults/fault.h"
#include "spool/inspect.h"
#include "spool/testing.h"

#define N 40 /* messages in the script */

static const struct spool_options small = { .segment_bytes = 16 << 10, .big_body_bytes = 6 << 10 };

static char *dir;
static struct tale tale;

/* What was promised about one message. The pending_ ones were put in by this life of the process. */
struct promise {
	size_t bytes;
	bool put, pending_put, taken;    /* ever; waits for a sync; was acknowledged */
	bool ending, pending_end, ended; /* the same of its done */
	bool pending_state;
	unsigned state, wanted; /* newest acknowledged; newest put in */
};

static struct promise promised[N];
static bool dead; /* the process has stopped, as spoold does */

static const char *state_text(unsigned state, char text[static 32])
{
	snprintf(text, 32, "state %u", state);
	return state ? text : "";
}

static void acknowledge(void)
{
	for (unsigned n = 0; n < N; n++) {
		struct promise *p = &promised[n];

		p->taken |= p->pending_put;
		p->ended |= p->pending_end;
		if (p->pending_state)
			p->state = p->wanted;
		p->pending_put = p->pending_end = p->pending_state = false;
	}
}

static void die(void)
{
	dead = true;
	for (unsigned n = 0; n < N; n++)
		promised[n].pending_put = promised[n].pending_end = promised[n].pending_state =
			false;
}

static void sync_all(struct spool *s)
{
	if (dead)
		return;
	if (spool_sync(s) == 0)
		acknowledge();
	else
		die();
}

static void append_one(struct spool *s, unsigned n, size_t bytes)
{
	if (dead)
		return;
	promised[n].bytes = bytes;
	/* Refused: the client hears 4xx, and may come again with another id. */
	if (put(s, n, bytes) == 0)
		promised[n].put = promised[n].pending_put = true;
}

static void mark_one(struct spool *s, enum spool_event event, unsigned n, unsigned state)
{
	char text[32];
	int r;

	if (dead || !promised[n].taken || promised[n].ending)
		return;
	r = spool_mark(s, event, number_id(n), str_of(state_text(state, text)));
	if (r == 0 && event == SPOOL_DONE) {
		promised[n].ending = promised[n].pending_end = true;
	} else if (r == 0) {
		promised[n].wanted = state;
		promised[n].pending_state = true;
	} else if (r != -ENOSPC && r != -ENOMEM && r != -ENOENT) {
		die();
	}
}

static void move_one(struct spool *s, unsigned n, bool held)
{
	int r;

	if (dead || !promised[n].taken || promised[n].ending)
		return;
	r = spool_move_held(NULL, s, number_id(n), held);
	if (r == 0)
		acknowledge(); /* it syncs, whatever else was in the batch too */
	if (r < 0)
		sync_all(s);
}

static void compact_some(struct spool *s)
{
	for (int steps = 0; !dead && steps < 50; steps++) {
		int r = spool_compact(NULL, s);

		if (r == 0 || r == -ENOSPC)
			return;
		if (r < 0) {
			sync_all(s);
			return;
		}
	}
}

static void first_half(struct spool *s)
{
	for (unsigned n = 0; n < 12; n++) {
		append_one(s, n, 700 * (n % 5) + n);
		if (n % 3 == 2)
			sync_all(s);
	}
	append_one(s, 12, 9000);
	append_one(s, 13, 20);
	sync_all(s);
	for (unsigned n = 0; n < 6; n++)
		mark_one(s, SPOOL_STATE, n, 10 + n);
	mark_one(s, SPOOL_DONE, 6, 1);
	sync_all(s);
	move_one(s, 1, true);
	move_one(s, 2, true);
	mark_one(s, SPOOL_STATE, 1, 20);
	sync_all(s);
}

static void second_half(struct spool *s)
{
	move_one(s, 1, false);
	for (unsigned n = 14; n < 30; n++) {
		append_one(s, n, n % 4 == 0 ? 8000 : 2500);
		if (n % 4 == 1)
			sync_all(s);
	}
	sync_all(s);
	for (unsigned n = 0; n < 24; n++)
		if (n % 4)
			mark_one(s, SPOOL_DONE, n, 2);
	sync_all(s);
	compact_some(s);
	for (unsigned n = 30; n < 36; n++)
		append_one(s, n, 100);
	sync_all(s);
	mark_one(s, SPOOL_STATE, 30, 9);
	compact_some(s);
	sync_all(s);
}

static bool start(struct spool **ret_spool)
{
	if (spool_open(dir, &small, ret_spool) < 0)
		return false;
	memset(&tale, 0, sizeof(tale));
	if (spool_replay(*ret_spool, tale_each, tale_damage, &tale) == 0)
		return true;
	spool_close(*ret_spool);
	return false;
}

/* The script, with a start in the middle. A start that fails is tried again by locumd. */
static void run_script(void)
{
	struct spool *s;

	memset(promised, 0, sizeof(promised));
	for (int half = 0; half < 2; half++) {
		die(); /* what the last life left unsynced is nobody's */
		dead = false;
		if (!start(&s))
			continue;
		if (half == 0)
			first_half(s);
		else
			second_half(s);
		spool_close(s);
	}
}

static void check_promise(struct spool *s, unsigned n)
{
	const struct promise *p = &promised[n];
	bool there = spool_has(s, number_id(n));
	char text[32], wanted[32];
	struct buf b;

	if (p->taken && !p->ending && !there)
		fail_msg("message %u is lost after call %u, %s: %s", n, injected.at_was,
			 injected.where, strerror(-injected.error));
	if (p->ended)
		assert_false(there);
	assert_true(p->put || !there);
	if (!there)
		return;
	check_message(s, n, p->bytes);
	if (p->ending)
		return;
	buf_init(&b, 1000);
	assert_int_equal(spool_read_state(s, number_id(n), &b), 0);
	assert_true(str_eq(buf_str(&b), str_of(state_text(p->state, text))) ||
		    str_eq(buf_str(&b), str_of(state_text(p->wanted, wanted))));
	buf_done(&b);
}

static void check_whole(void)
{
	struct spool *s = NULL;
	const struct fault *f;
	size_t count;

	assert_int_equal(inspect_open(dir, false, &s), 0);
	f = inspect_faults(s, &count);
	for (size_t i = 0; i < count; i++) {
		char text[FAULT_TEXT_SIZE];

		/* The very first start did not come to its end. */
		if (f[i].kind == FAULT_LOCK || f[i].kind == FAULT_DIRECTORY)
			continue;
		/* Half a header is all that a segment got when its creation failed, and its removal too. */
		if (f[i].nature == FAULT_DAMAGE ||
		    (f[i].nature == FAULT_HARMLESS && f[i].kind != FAULT_HEADER_BLOCK))
			fail_msg("%s at %llu: %s, after call %u, %s: %s", f[i].file,
				 (unsigned long long)f[i].offset, fault_text(&f[i], text),
				 injected.at_was, injected.where, strerror(-injected.error));
	}
	spool_close(s);
}

static void check_after(void)
{
	struct spool *s = NULL;

	check_whole();
	s = spool_start(dir, &small, &tale);
	for (unsigned n = 0; n < N; n++)
		check_promise(s, n);
	assert_int_equal(tale.kept, 0);
	/* And goes on. */
	put_synced(s, N + 1, 300);
	compact_all(s);
	check_message(s, N + 1, 300);
	spool_close(s);
}

/* The next start deletes whatever it thinks has a newer copy. */
static void tidy_up(void)
{
	struct spool *s = spool_start(dir, &small, &tale);

	put_synced(s, N + 2, 300);
	compact_all(s);
	spool_close(s);
}

static unsigned run_with(unsigned at, int error, enum fault_mode mode, bool sticky)
{
	unsigned calls;

	dir = scratch_make();
	inject(at, error, mode, sticky);
	run_script();
	calls = injected.calls;
	injected.at = 0;
	injected.calls = CALLS_MAX; /* the log stays as it is */
	if (mode == MODE_PHANTOM)
		tidy_up();
	power_cut();
	check_after();
	undo_forget(0);
	tree_remove(dir);
	free(dir);
	return calls;
}

/* Half a write needs a write, what a sync loses a sync: elsewhere it would be MODE_ERROR again. */
static bool concerns(enum fault_mode mode, const char *call)
{
	switch (mode) {
	case MODE_SHORT:
		return strcmp(call, "sys_write_at") == 0;
	case MODE_LOSE:
	case MODE_LOSE_PAGES:
	case MODE_PHANTOM:
		return strncmp(call, "sys_sync", 8) == 0;
	case MODE_ERROR:
	case MODES:
		break;
	}
	return true;
}

static void at_every_call(int error, enum fault_mode mode, bool sticky)
{
	const char *log[CALLS_MAX];
	unsigned calls = run_with(0, 0, MODE_ERROR, false), runs = 0;

	assert_in_range(calls, 200, 3000);
	memcpy(log, injected.log, sizeof(log));
	for (unsigned at = 1; at <= calls; at++) {
		if (!concerns(mode, log[at - 1]) && !sticky)
			continue;
		run_with(at, error, mode, sticky);
		runs++;
	}
	print_message("%u of %u calls\n", runs, calls);
}

#define EVERY(name, error, mode, sticky)                                                           \
	static void name(void **state)                                                             \
	{                                                                                          \
		(void)state;                                                                       \
		at_every_call(error, mode, sticky);                                                \
	}

EVERY(a_call_that_fails_with_eio_loses_nothing_acknowledged, -EIO, MODE_ERROR, false)
EVERY(a_call_that_fails_with_enospc_loses_nothing_acknowledged, -ENOSPC, MODE_ERROR, false)
EVERY(half_a_write_and_then_eio_loses_nothing_acknowledged, -EIO, MODE_SHORT, false)
EVERY(half_a_write_and_then_enospc_loses_nothing_acknowledged, -ENOSPC, MODE_SHORT, false)
EVERY(a_failed_sync_that_drops_everything_loses_nothing_acknowledged, -EIO, MODE_LOSE, false)
EVERY(a_failed_sync_that_drops_some_pages_loses_nothing_acknowledged, -EIO, MODE_LOSE_PAGES, false)
EVERY(what_a_failed_sync_lost_but_the_cache_shows_is_not_taken_for_durable, -EIO, MODE_PHANTOM,
      false)
EVERY(a_disk_that_goes_read_only_loses_nothing_acknowledged, -EROFS, MODE_SHORT, true)
EVERY(a_disk_that_fills_up_for_good_loses_nothing_acknowledged, -ENOSPC, MODE_ERROR, true)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_that_fails_with_eio_loses_nothing_acknowledged),
		cmocka_unit_test(a_call_that_fails_with_enospc_loses_nothing_acknowledged),
		cmocka_unit_test(half_a_write_and_then_eio_loses_nothing_acknowledged),
		cmocka_unit_test(half_a_write_and_then_enospc_loses_nothing_acknowledged),
		cmocka_unit_test(a_failed_sync_that_drops_everything_loses_nothing_acknowledged),
		cmocka_unit_test(a_failed_sync_that_drops_some_pages_loses_nothing_acknowledged),
		cmocka_unit_test(
			what_a_failed_sync_lost_but_the_cache_shows_is_not_taken_for_durable),
		cmocka_unit_test(a_disk_that_goes_read_only_loses_nothing_acknowledged),
		cmocka_unit_test(a_disk_that_fills_up_for_good_loses_nothing_acknowledged),
	};

	return cmocka_run_group_tests_name("spool faults", tests, NULL, NULL);
}
