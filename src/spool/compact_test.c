/*
 * Random operations beside a model, from fixed seeds: after every reopening the spool must hold what the model
 * says was durable, byte for byte, and the disk may hold little else.
 */
#include "spool/testing.h"

#define OPERATIONS 1500

static const struct spool_options tiny = { .segment_bytes = 24 << 10, .big_body_bytes = 5000 };

struct model {
	struct {
		bool used, alive, held;
		unsigned bytes;
		char state[STATE_SIZE];
	} of[IDS];
};

static char *dir, *snapshot;
static struct tale tale;
static struct model now, durable;
static uint64_t random_state;

static int make_dirs(void **state)
{
	char text[300];

	(void)state;
	dir = scratch_make();
	snprintf(text, sizeof(text), "%s-copy", dir);
	snapshot = strdup(text);
	memset(&now, 0, sizeof(now));
	memset(&durable, 0, sizeof(durable));
	return 0;
}

static int drop_dirs(void **state)
{
	(void)state;
	tree_remove(dir);
	tree_remove(snapshot);
	free(dir);
	free(snapshot);
	return 0;
}

static unsigned chance(unsigned n)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (unsigned)((random_state >> 33) % n);
}

/* An id that lives, or IDS. */
static unsigned pick_alive(void)
{
	unsigned from = chance(IDS);

	for (unsigned i = 0; i < IDS; i++)
		if (now.of[(from + i) % IDS].alive)
			return (from + i) % IDS;
	return IDS;
}

static void settle(struct spool *s)
{
	if (spool_batch_bytes(s) == 0)
		durable = now;
}

static void check_model(struct spool *s, const struct model *m)
{
	for (unsigned n = 0; n < IDS; n++) {
		assert_int_equal(spool_has(s, number_id(n)), m->of[n].alive);
		assert_int_equal(tale.of[n].alive, m->of[n].alive);
		if (!m->of[n].alive)
			continue;
		assert_int_equal(spool_is_held(s, number_id(n)), m->of[n].held);
		assert_string_equal(tale.of[n].state, m->of[n].state);
		check_message(s, n, m->of[n].bytes);
		check_state(s, n, m->of[n].state);
	}
	assert_int_equal(tale.damages, 0);
}

/* Memory knows of every segment what a fresh replay finds. */
static void check_accounts(struct spool *s)
{
	uint64_t live = 0;

	for (size_t i = 0; i < s->segment_count; i++)
		live += s->segment[i]->live_bytes;
	assert_int_equal(live, s->live_bytes);
}

static struct spool *reopen(struct spool *s)
{
	spool_close(s);
	s = spool_start(dir, &tiny, &tale);
	now = durable;
	check_model(s, &now);
	check_accounts(s);
	return s;
}

/* What a kill between two calls leaves, while the process that goes on knows more. */
static void check_killed(void)
{
	struct spool *s;

	spool_copy(dir, snapshot);
	s = spool_start(snapshot, &tiny, &tale);
	check_model(s, &durable);
	compact_all(s);
	spool_close(s);
	s = spool_start(snapshot, &tiny, &tale);
	check_model(s, &durable);
	spool_close(s);
}

static void check_disk(struct spool *s)
{
	struct spool_usage u;

	assert_int_equal(spool_usage(s, &u), 0);
	/* Twice what is alive, the segments' headers, and up to two open segments. */
	assert_true(u.disk_bytes <=
		    2 * u.live_bytes + u.segments * FORMAT_RECORDS_AT + 2 * tiny.segment_bytes);
	assert_true(u.segments <= 4 + 3 * u.live_bytes / (tiny.segment_bytes - FORMAT_RECORDS_AT));
}

static void operate_append(struct spool *s)
{
	unsigned n = chance(IDS), bytes = chance(8) ? chance(2500) : 5000 + chance(5000);
	int r = put(s, n, bytes);

	if (r == -EEXIST) {
		assert_true(now.of[n].used);
		return;
	}
	assert_int_equal(r, 0);
	assert_false(now.of[n].alive);
	now.of[n].used = now.of[n].alive = true;
	now.of[n].held = false;
	now.of[n].bytes = bytes;
	now.of[n].state[0] = '\0';
}

static void operate_mark(struct spool *s, bool done)
{
	unsigned n = pick_alive();
	char text[STATE_SIZE];

	if (n == IDS)
		return;
	snprintf(text, sizeof(text), "state %u", chance(1000));
	assert_int_equal(spool_mark(s, done ? SPOOL_DONE : SPOOL_STATE, number_id(n), str_of(text)),
			 0);
	if (done)
		now.of[n].alive = false;
	else
		snprintf(now.of[n].state, STATE_SIZE, "%s", text);
}

static void operate_move(struct spool *s)
{
	unsigned n = pick_alive();
	bool to_held = chance(3) > 0;

	if (n == IDS)
		return;
	assert_int_equal(spool_move_held(NULL, s, number_id(n), to_held), 0);
	now.of[n].held = to_held;
}

static struct spool *operate(struct spool *s, unsigned deaths)
{
	unsigned dice = chance(100);

	if (dice < 35)
		operate_append(s);
	else if (dice < 50)
		operate_mark(s, false);
	else if (dice < 50 + deaths)
		operate_mark(s, true);
	else if (dice < 84)
		operate_move(s);
	else if (dice < 92)
		assert_int_equal(spool_sync(s), 0);
	else if (dice < 98)
		assert_in_range(spool_compact(NULL, s), 0, 1);
	else if (dice < 99) {
		settle(s);
		check_killed();
	} else {
		settle(s);
		return reopen(s);
	}
	settle(s);
	return s;
}

static void run_seed(uint64_t seed, unsigned deaths)
{
	struct spool *s = spool_start(dir, &tiny, &tale);

	random_state = seed;
	for (unsigned i = 0; i < OPERATIONS; i++) {
		s = operate(s, deaths);
		if (i % 100 == 99) {
			compact_all(s);
			settle(s);
			check_accounts(s);
			check_disk(s);
		}
	}
	assert_int_equal(spool_sync(s), 0);
	durable = now;
	s = reopen(s);
	/* In the end everything is delivered, and nothing stays. */
	for (unsigned n = 0; n < IDS; n++)
		if (now.of[n].alive)
			assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE), 0);
	compact_all(s);
	spool_close(s);
	s = spool_start(dir, &tiny, &tale);
	compact_all(s);
	assert_int_equal(s->segment_count, 0);
	assert_int_equal(s->index.count, 0);
	assert_int_equal(file_count(dir, "queue") + file_count(dir, "held"), 0);
	assert_int_equal(file_count(dir, "big"), 0);
	spool_close(s);
}

static void a_queue_that_grows_holds_what_the_model_holds(void **state)
{
	(void)state;
	run_seed(1, 10);
}

static void a_queue_in_balance_holds_what_the_model_holds(void **state)
{
	(void)state;
	run_seed(2, 25);
}

static void a_queue_that_is_mostly_empty_holds_what_the_model_holds(void **state)
{
	(void)state;
	run_seed(3, 34);
}

/* --- stragglers --- */

/* Twice what is alive; besides, the segment being emptied, which is on disk twice; the open one; what died since
 * it was last looked at. */
static void check_twice(struct spool *s)
{
	struct spool_usage u;

	assert_int_equal(spool_usage(s, &u), 0);
	assert_true(u.disk_bytes <=
		    2 * u.live_bytes + u.segments * FORMAT_RECORDS_AT + 3 * tiny.segment_bytes);
}

/* One in ten stays for long, the others go in the next turn. */
static void live_a_turn(struct spool *s, unsigned turn, unsigned due[static IDS])
{
	for (unsigned n = 0; n < IDS; n++)
		if (due[n] && due[n] <= turn) {
			assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE), 0);
			due[n] = 0;
		}
	for (unsigned i = 0; i < 15; i++) {
		unsigned n = chance(IDS);

		if (due[n] || put(s, n, 500 + chance(2500)) < 0)
			continue;
		due[n] = turn + 1 + (chance(10) ? 0 : chance(400));
	}
	assert_int_equal(spool_sync(s), 0);
}

static void under_stragglers_the_disk_holds_at_most_twice_what_lives(void **state)
{
	struct spool *s = spool_start(dir, &tiny, &tale);
	unsigned due[IDS] = { 0 };
	uint64_t most_live = 0;

	(void)state;
	random_state = 7;
	for (unsigned turn = 1; turn < 1500; turn++) {
		live_a_turn(s, turn, due);
		do
			check_twice(s);
		while (spool_compact(NULL, s) == 1);
		most_live = MAX(most_live, s->live_bytes);
	}
	assert_true(most_live > 10 * tiny.segment_bytes); /* else the bound says little */
	spool_close(s);
}

/* --- single facts --- */

static void a_done_outlives_the_message_that_it_kills(void **state)
{
	struct spool *s = spool_start(dir, &tiny, &tale);

	(void)state;
	/* Segment 1 stays because of its other messages; the done of message 1 lies in segment 2. */
	for (unsigned n = 1; n < 5; n++)
		put_synced(s, n, 3000);
	spool_close(s);
	s = spool_start(dir, &tiny, &tale);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(1), STR_NONE), 0);
	assert_int_equal(spool_sync(s), 0);
	for (int start = 0; start < 5; start++) {
		spool_close(s);
		s = spool_start(dir, &tiny, &tale);
		assert_false(spool_has(s, number_id(1)));
		put_synced(s, 10 + (unsigned)start, 10);
		compact_all(s);
	}
	check_message(s, 2, 3000);
	spool_close(s);
}

static void a_mostly_dead_segment_is_emptied_and_deleted(void **state)
{
	struct spool *s = spool_start(dir, &tiny, &tale);

	(void)state;
	for (unsigned n = 0; n < 30; n++)
		put_synced(s, n, 1000);
	assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(0), STR("kept")), 0);
	for (unsigned n = 1; n < 29; n++)
		assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE), 0);
	compact_all(s);
	assert_true(s->segment[0]->serial > 1);
	check_message(s, 0, 1000);
	check_state(s, 0, "kept");
	spool_close(s);
	s = spool_start(dir, &tiny, &tale);
	check_message(s, 0, 1000);
	check_message(s, 29, 1000);
	assert_string_equal(tale.of[0].state, "kept");
	spool_close(s);
}

static void segments_more_than_half_dead_are_emptied_though_none_is_mostly_dead(void **state)
{
	struct spool *s = spool_start(dir, &tiny, &tale);
	uint64_t closed = 0, live = 0;

	(void)state;
	for (unsigned n = 0; n < 200; n++)
		put_synced(s, n, 900);
	for (unsigned n = 0; n < 200; n++)
		if (n % 2 || n % 20 == 0)
			assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE), 0);
	compact_all(s);
	for (size_t i = 0; i < s->segment_count; i++) {
		if (segment_is_open(s, s->segment[i]))
			continue;
		closed += s->segment[i]->allocated - FORMAT_RECORDS_AT;
		live += s->segment[i]->live_bytes;
	}
	assert_true(closed <= 2 * live);
	for (unsigned n = 0; n < 200; n++)
		if (n % 2 == 0 && n % 20)
			check_message(s, n, 900);
	spool_close(s);
}

static void one_step_copies_a_bounded_amount(void **state)
{
	static const struct spool_options o = { .segment_bytes = 8 << 20,
						.big_body_bytes = 1 << 20 };
	struct spool *s = spool_start(dir, &o, &tale);
	unsigned steps = 0;

	(void)state;
	for (unsigned n = 0; n < 400; n++)
		assert_int_equal(put(s, n, 20000), 0);
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
	s = spool_start(dir, &o, &tale);
	for (unsigned n = 0; n < 400; n++)
		if (n % 5)
			assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE), 0);
	assert_int_equal(spool_sync(s), 0);
	for (uint64_t before = s->live_bytes; spool_compact(NULL, s) == 1; steps++) {
		assert_int_equal(before, s->live_bytes);
		assert_true(spool_batch_bytes(s) <= COPY_STEP_BYTES * (steps + 1) + 25000);
	}
	assert_true(steps >= 3);
	for (unsigned n = 0; n < 400; n += 5)
		check_message(s, n, 20000);
	spool_close(s);
}

static void damage_found_while_copying_pins_the_segment(void **state)
{
	struct spool *s = spool_start(dir, &tiny, &tale);
	char path[300];
	int r, errors = 0;

	(void)state;
	for (unsigned n = 0; n < 15; n++)
		put_synced(s, n, 1000);
	for (unsigned n = 1; n < 15; n++)
		assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE), 0);
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
	s = spool_start(dir, &tiny, &tale);
	snprintf(path, sizeof(path), "%s/queue/0000000001.seg", dir);
	file_flip(path, FORMAT_RECORDS_AT + 500);
	while ((r = spool_compact(NULL, s)) != 0) {
		errors += r == -EBADMSG;
		assert_true(r == 1 || r == -EBADMSG);
		assert_true(errors <= 1);
	}
	assert_int_equal(errors, 1);
	assert_int_equal(access(path, F_OK), 0);
	spool_close(s);
}

static void many_segments_need_few_descriptors(void **state)
{
	static const struct spool_options o = { .segment_bytes = 16 << 10,
						.big_body_bytes = 16 << 10 };
	struct spool *s = spool_start(dir, &o, &tale);

	(void)state;
	for (unsigned n = 0; n < 200; n++)
		put_synced(s, n, 7000);
	for (unsigned n = 0; n < 200; n++)
		check_message(s, n, 7000);
	assert_int_equal(spool_sync(s), 0);
	assert_true(s->open_fds <= OPEN_SEGMENTS_MAX);
	spool_close(s);
	s = spool_start(dir, &o, &tale);
	assert_true(s->open_fds <= OPEN_SEGMENTS_MAX);
	check_message(s, 0, 7000);
	spool_close(s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dirs, drop_dirs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_queue_that_grows_holds_what_the_model_holds),
		CASE(a_queue_in_balance_holds_what_the_model_holds),
		CASE(a_queue_that_is_mostly_empty_holds_what_the_model_holds),
		CASE(under_stragglers_the_disk_holds_at_most_twice_what_lives),
		CASE(a_done_outlives_the_message_that_it_kills),
		CASE(a_mostly_dead_segment_is_emptied_and_deleted),
		CASE(segments_more_than_half_dead_are_emptied_though_none_is_mostly_dead),
		CASE(one_step_copies_a_bounded_amount),
		CASE(damage_found_while_copying_pins_the_segment),
		CASE(many_segments_need_few_descriptors),
	};

	return cmocka_run_group_tests_name("spool compaction", tests, NULL, NULL);
}
