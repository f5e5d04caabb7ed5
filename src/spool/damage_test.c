/* What a crash or a bad disk does to the files, byte by byte, and what replay makes of it. */
#include "spool/testing.h"

static const struct spool_options small = { .segment_bytes = 48 << 10, .big_body_bytes = 8 << 10 };

static char *dir, *work;
static struct tale tale, want;

static int make_dirs(void **state)
{
	char text[300];

	(void)state;
	dir = scratch_make();
	snprintf(text, sizeof(text), "%s-work", dir);
	work = strdup(text);
	return 0;
}

static int drop_dirs(void **state)
{
	(void)state;
	tree_remove(dir);
	tree_remove(work);
	free(dir);
	free(work);
	return 0;
}

/* --- a small spool whose every record is known --- */

#define STEPS 12

/* What one record did. */
struct step {
	enum spool_event event;
	unsigned n;
	const char *state;
	bool sync;          /* and then a sync: the record ends a batch */
	uint64_t from, end; /* where it lies; filled in */
};

static const struct step plan[STEPS] = {
	{ SPOOL_MESSAGE, 1, NULL, true, 0, 0 },  { SPOOL_MESSAGE, 2, NULL, false, 0, 0 },
	{ SPOOL_MESSAGE, 3, NULL, true, 0, 0 },  { SPOOL_STATE, 1, "one", false, 0, 0 },
	{ SPOOL_STATE, 2, "two", true, 0, 0 },   { SPOOL_DONE, 3, "end", true, 0, 0 },
	{ SPOOL_MESSAGE, 4, NULL, false, 0, 0 }, { SPOOL_STATE, 1, "one again", true, 0, 0 },
	{ SPOOL_MESSAGE, 5, NULL, false, 0, 0 }, { SPOOL_DONE, 2, "over", false, 0, 0 },
	{ SPOOL_STATE, 4, "four", false, 0, 0 }, { SPOOL_MESSAGE, 6, NULL, true, 0, 0 },
};

static size_t body_bytes(unsigned n)
{
	return 20 + 13 * n;
}

/* Writes the plan into a new segment of the spool in `dir`. */
static void write_plan(struct spool *s, struct step steps[static STEPS])
{
	memcpy(steps, plan, sizeof(plan));
	for (size_t i = 0; i < STEPS; i++) {
		struct step *p = &steps[i];

		p->from = s->log[0].open ? s->log[0].open->end : FORMAT_RECORDS_AT;
		if (p->event == SPOOL_MESSAGE)
			assert_int_equal(put(s, p->n, body_bytes(p->n)), 0);
		else
			assert_int_equal(spool_mark(s, p->event, number_id(p->n), str_of(p->state)),
					 0);
		p->end = s->log[0].open->end;
		if (p->sync)
			assert_int_equal(spool_sync(s), 0);
	}
}

static void plan_on_disk(struct step steps[static STEPS])
{
	struct spool *s = spool_start(dir, &small, &tale);

	write_plan(s, steps);
	spool_close(s);
}

/* `want` becomes the tale that the records not in `lost` tell. */
static void expect_without(const struct step steps[static STEPS], const bool lost[static STEPS])
{
	memset(&want, 0, sizeof(want));
	for (size_t i = 0; i < STEPS; i++) {
		const struct step *p = &steps[i];

		if (lost[i])
			continue;
		if (p->event == SPOOL_MESSAGE)
			want.of[p->n].alive = true;
		if (p->event == SPOOL_STATE && want.of[p->n].alive)
			snprintf(want.of[p->n].state, STATE_SIZE, "%s", p->state);
		if (p->event == SPOOL_DONE)
			want.of[p->n].alive = false;
	}
}

static void check_tale(struct spool *s)
{
	for (unsigned n = 0; n < 10; n++) {
		assert_int_equal(tale.of[n].alive, want.of[n].alive);
		assert_int_equal(spool_has(s, number_id(n)), want.of[n].alive);
		if (!want.of[n].alive)
			continue;
		assert_string_equal(tale.of[n].state, want.of[n].state);
		check_message(s, n, body_bytes(n));
		check_state(s, n, want.of[n].state);
	}
}

static const char *path_in(const char *root, unsigned serial)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/queue/%010u.seg", root, serial);
	return path;
}

/* --- the end of the last segment --- */

/* Behind the last byte of [from, to) that is not zero; `from` when there is none. */
static uint64_t nonzero_end(const char *bytes, uint64_t from, uint64_t to)
{
	while (to > from && bytes[to - 1] == 0)
		to--;
	return to;
}

static char *file_read(const char *path)
{
	uint64_t size = file_bytes(path);
	char *bytes = malloc(size);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(sys_read_at(fd, bytes, size, 0), size);
	close(fd);
	return bytes;
}

/* The start after the cut, and the one after that, which no longer sees anything unusual. */
static void start_torn(uint64_t cut, bool torn)
{
	struct spool *s = spool_start(work, &small, &tale);

	check_tale(s);
	assert_int_equal(tale.kept, 0);
	if (cut >= FORMAT_RECORDS_AT)
		assert_int_equal(tale.damages, torn);
	put_synced(s, 9, body_bytes(9));
	want.of[9].alive = true;
	spool_close(s);
	s = spool_start(work, &small, &tale);
	check_tale(s);
	assert_int_equal(tale.kept, 0);
	/* A header of which one block was cut off stays as it is. */
	if (cut >= FORMAT_RECORDS_AT)
		assert_int_equal(tale.damages, 0);
	spool_close(s);
}

/* Cuts the last segment, or makes zeros of what follows, at every byte. */
static void torn_at_every_byte(bool zeros)
{
	_cleanup_(freep) char *bytes = NULL;
	struct step steps[STEPS];
	uint64_t size;

	plan_on_disk(steps);
	size = file_bytes(path_in(dir, 1));
	assert_int_equal(size, steps[STEPS - 1].end);
	bytes = file_read(path_in(dir, 1));
	for (uint64_t cut = 0; cut <= size; cut += cut > 200 && cut < 8000 ? 97 : 1) {
		uint64_t last_whole = FORMAT_RECORDS_AT;
		bool lost[STEPS];

		for (size_t i = 0; i < STEPS; i++) {
			uint64_t end = steps[i].end;

			lost[i] = cut < (zeros ? nonzero_end(bytes, steps[i].from, end) : end);
			if (!lost[i])
				last_whole = end;
		}
		expect_without(steps, lost);
		spool_copy(dir, work);
		assert_int_equal(truncate(path_in(work, 1), (off_t)cut), 0);
		if (zeros)
			assert_int_equal(truncate(path_in(work, 1), (off_t)size + 4096), 0);
		start_torn(cut, nonzero_end(bytes, MIN(last_whole, cut), cut) > last_whole);
	}
}

static void cut_at_every_byte_what_was_synced_before_is_there(void **state)
{
	(void)state;
	torn_at_every_byte(false);
}

static void zeros_from_every_byte_on_what_was_synced_before_is_there(void **state)
{
	(void)state;
	torn_at_every_byte(true);
}

static void a_batch_written_out_of_order_is_a_torn_end(void **state)
{
	struct step steps[STEPS];
	struct spool *s;
	bool lost[STEPS] = { false };

	(void)state;
	plan_on_disk(steps);
	/* The first record of the last batch did not make it to the disk, later ones did. */
	lost[8] = true;
	expect_without(steps, lost);
	for (int start = 0; start < 3; start++) {
		if (start == 0)
			file_flip(path_in(dir, 1), steps[8].from + 100);
		s = spool_start(dir, &small, &tale);
		check_tale(s);
		assert_int_equal(tale.kept, 0);
		assert_int_equal(tale.damages, start == 0);
		put_synced(s, 10 + (unsigned)start, 10);
		spool_close(s);
	}
	/* The segment that remembers the torn end outlives the one that it is about. */
	s = spool_start(dir, &small, &tale);
	for (unsigned n = 10; n < 13; n++)
		assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE), 0);
	while (spool_compact(NULL, s) == 1)
		assert_true(access(path_in(dir, 1), F_OK) < 0 ||
			    access(path_in(dir, 2), F_OK) == 0);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	check_tale(s);
	assert_int_equal(tale.damages, 0);
	spool_close(s);
}

static void damage_in_the_last_segment_before_its_last_batch_is_no_torn_end(void **state)
{
	struct step steps[STEPS];
	struct spool *s;

	(void)state;
	plan_on_disk(steps);
	for (size_t i = 0; i < 8; i++) {
		bool lost[STEPS] = { false };

		lost[i] = true;
		expect_without(steps, lost);
		spool_copy(dir, work);
		file_flip(path_in(work, 1), steps[i].from + 30);
		for (int start = 0; start < 3; start++) {
			s = spool_start(work, &small, &tale);
			check_tale(s);
			assert_int_equal(tale.kept, 1);
			put_synced(s, 20 + (unsigned)start, 10);
			spool_close(s);
		}
	}
}

/* --- an earlier segment --- */

static void a_flipped_bit_costs_one_record_and_is_reported(void **state)
{
	struct step steps[STEPS];
	struct spool *s;
	uint64_t size;

	(void)state;
	plan_on_disk(steps);
	s = spool_start(dir, &small, &tale);
	put_synced(s, 9, body_bytes(9));
	spool_close(s);
	size = file_bytes(path_in(dir, 1));
	for (uint64_t at = 0; at<size; at += at % 4096> 100 && at < 8000 ? 53 : 1) {
		bool lost[STEPS];
		bool record = false;

		for (size_t i = 0; i < STEPS; i++) {
			/* The last bytes may be padding, which costs nothing. */
			lost[i] = at >= steps[i].from && at < steps[i].end;
			record |= lost[i];
		}
		file_flip(path_in(dir, 1), at);
		s = spool_start(dir, &small, &tale);
		assert_int_equal(tale.damages, 1);
		if (!tale.kept)
			memset(lost, 0, sizeof(lost));
		assert_true(record || !tale.kept);
		expect_without(steps, lost);
		want.of[9].alive = true;
		check_tale(s);
		spool_close(s);
		file_flip(path_in(dir, 1), at);
	}
}

static void a_damaged_segment_is_never_deleted_and_its_neighbours_are(void **state)
{
	struct step steps[STEPS];
	struct spool *s;

	(void)state;
	plan_on_disk(steps);
	s = spool_start(dir, &small, &tale);
	put_synced(s, 9, 9);
	spool_close(s);
	file_flip(path_in(dir, 1), steps[0].from + 80);
	s = spool_start(dir, &small, &tale);
	for (unsigned n = 0; n < 10; n++) {
		int r = spool_mark(s, SPOOL_DONE, number_id(n), STR_NONE);

		assert_true(r == 0 || r == -ENOENT);
	}
	compact_all(s);
	assert_int_equal(access(path_in(dir, 1), F_OK), 0);
	assert_true(access(path_in(dir, 2), F_OK) < 0);
	spool_close(s);
	/* Nothing in it comes to life again: the tombstones stay as long as it does. */
	for (int start = 0; start < 4; start++) {
		s = spool_start(dir, &small, &tale);
		assert_int_equal(tale.kept, 1);
		for (unsigned n = 0; n < 10; n++)
			assert_false(spool_has(s, number_id(n)));
		put_synced(s, 20 + (unsigned)start, 9);
		compact_all(s);
		assert_int_equal(access(path_in(dir, 1), F_OK), 0);
		spool_close(s);
	}
}

static void a_segment_without_any_header_is_reported_and_kept(void **state)
{
	struct step steps[STEPS];
	struct spool *s;

	(void)state;
	plan_on_disk(steps);
	file_flip(path_in(dir, 1), 40);
	file_flip(path_in(dir, 1), 4096 + 50);
	file_flip(path_in(dir, 1), FORMAT_RECORDS_AT + 30);
	for (int start = 0; start < 2; start++) {
		s = spool_start(dir, &small, &tale);
		assert_int_equal(tale.damages, 1);
		put_synced(s, 10 + (unsigned)start, 9);
		compact_all(s);
		spool_close(s);
		assert_int_equal(access(path_in(dir, 1), F_OK), 0);
	}
	file_flip(path_in(dir, 1), 40);
	file_flip(path_in(dir, 1), FORMAT_RECORDS_AT + 30);
	s = spool_start(dir, &small, &tale);
	assert_true(tale.of[1].alive && tale.of[11].alive);
	spool_close(s);
}

/* The first record stands where no mail reaches: it tells the salt. */
static void a_segment_that_lost_its_header_is_read_by_its_first_record(void **state)
{
	struct step steps[STEPS];
	bool lost[STEPS] = { false };
	struct spool *s;

	(void)state;
	plan_on_disk(steps);
	file_flip(path_in(dir, 1), 40);
	file_flip(path_in(dir, 1), 4096 + 50);
	expect_without(steps, lost);
	for (int start = 0; start < 3; start++) {
		s = spool_start(dir, &small, &tale);
		assert_int_equal(tale.damages, 1);
		assert_non_null(strstr(tale.last_damage, "read all the same"));
		check_tale(s);
		put_synced(s, 10 + (unsigned)start, 9);
		compact_all(s);
		assert_int_equal(access(path_in(dir, 1), F_OK), 0);
		spool_close(s);
	}
}

/* Numbers given in a segment that cannot be read must not be given again. */
static void an_unreadable_newest_segment_does_not_give_its_numbers_back(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	uint64_t first;

	(void)state;
	put_synced(s, 1, 10);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	put_synced(s, 2, 10);
	first = s->start;
	spool_close(s);
	file_flip(path_in(dir, 2), 40);
	file_flip(path_in(dir, 2), 4096 + 50);
	file_flip(path_in(dir, 2), FORMAT_RECORDS_AT + 30);
	s = spool_start(dir, &small, &tale);
	assert_true(s->start > first);
	spool_close(s);
}

/* A start that finds a torn end seals it, and the seal stays as long as the segment. */
static void a_hole_at_the_end_without_a_seal_and_before_others_is_damage(void **state)
{
	struct step steps[STEPS];
	struct spool *s;

	(void)state;
	plan_on_disk(steps);
	for (unsigned n = 20; n < 22; n++) {
		s = spool_start(dir, &small, &tale);
		put_synced(s, n, 9);
		spool_close(s);
	}
	file_flip(path_in(dir, 1), steps[STEPS - 1].from + 80);
	assert_int_equal(unlink(path_in(dir, 2)), 0);
	for (int start = 0; start < 2; start++) {
		s = spool_start(dir, &small, &tale);
		assert_int_equal(tale.kept, 1);
		assert_true(tale.of[5].alive && !tale.of[6].alive && tale.of[21].alive);
		spool_close(s);
	}
}

static void a_copy_of_a_segment_under_another_name_changes_nothing(void **state)
{
	struct step steps[STEPS];
	bool lost[STEPS] = { false };
	char copy[500];
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	write_plan(s, steps);
	assert_int_equal(spool_move_held(NULL, s, number_id(5), true), 0);
	spool_close(s);
	snprintf(copy, sizeof(copy), "%s/queue/0000000007.seg", dir);
	file_copy(path_in(dir, 1), copy);
	snprintf(copy, sizeof(copy), "%s/held/20200101-0000000002.seg", dir);
	file_copy(path_in(dir, 1), copy);
	expect_without(steps, lost);
	s = spool_start(dir, &small, &tale);
	assert_int_equal(tale.damages, 2);
	assert_non_null(strstr(tale.last_damage, "it says that it is queue/0000000001.seg"));
	check_tale(s);
	put_synced(s, 9, body_bytes(9));
	assert_int_equal(access(path_in(dir, 8), F_OK), 0);
	spool_close(s);
}

static void an_earlier_segment_cut_short_is_damage(void **state)
{
	struct step steps[STEPS];
	struct spool *s;

	(void)state;
	plan_on_disk(steps);
	s = spool_start(dir, &small, &tale);
	put_synced(s, 9, 9);
	spool_close(s);
	assert_int_equal(truncate(path_in(dir, 1), (off_t)steps[9].end), 0);
	s = spool_start(dir, &small, &tale);
	assert_int_equal(tale.kept, 1);
	assert_true(tale.of[5].alive && !tale.of[6].alive && tale.of[9].alive);
	spool_close(s);
}

/* A mail may contain anything, even a record of this very spool, checksums and all, taken from another
 * segment. Without the secret of its own segment it is text, also where damage makes us search. */
static void a_record_within_a_body_is_not_found_by_resynchronising(void **state)
{
	struct record_header forged = {
		.sequence = UINT64_MAX, .id = number_id(7), .written_wall = 1, .type = RECORD_DONE
	};
	struct spool *s = spool_start(dir, &small, &tale);
	int fd = sys_memfd("body");
	char text[64];

	(void)state;
	put_synced(s, 7, 10);
	forged.salt = s->log[0].open->salt;
	record_header_close(&forged);
	for (int i = 0; i < 10; i++)
		assert_int_equal(sys_write(fd, str_mem(&forged, sizeof(forged))), 0);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	/* Its envelope has 16 bytes: the body is aligned as records are. */
	assert_int_equal(envelope_of(3, text).n, 16);
	assert_int_equal(spool_append(NULL, s, number_id(3), envelope_of(3, text), fd,
				      10 * sizeof(forged)),
			 0);
	assert_int_equal(spool_sync(s), 0);
	put_synced(s, 8, 10);
	spool_close(s);
	file_flip(path_in(dir, 2), FORMAT_RECORDS_AT + 40);
	s = spool_start(dir, &small, &tale);
	assert_true(tale.of[7].alive && tale.of[8].alive && !tale.of[3].alive);
	assert_int_equal(tale.kept, 1);
	spool_close(s);
	close(fd);
}

/* --- process death between two calls, with whatever reached the disk of the open batch --- */

static void an_unsynced_batch_is_absent_or_whole(void **state)
{
	uint64_t random = 12345;

	(void)state;
	for (int round = 0; round < 60; round++) {
		struct spool *s;
		uint64_t synced, written;
		int fd;

		tree_remove(dir);
		mkdir(dir, 0700);
		s = spool_start(dir, &small, &tale);
		for (unsigned n = 0; n < 5; n++)
			put_synced(s, n, 3000 + n);
		for (unsigned n = 5; n < 15; n++)
			assert_int_equal(put(s, n, 3000 + n), 0);
		assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(0), STR_NONE), 0);
		synced = s->log[0].open->synced;
		assert_int_equal(log_flush(s, &s->log[0]), 0);
		written = s->log[0].open->written;
		spool_copy(dir, work);
		spool_close(s);
		/* Some sectors of the batch were not written. */
		fd = open(path_in(work, 1), O_RDWR | O_CLOEXEC);
		for (uint64_t at = synced; at < written; at = at / 512 * 512 + 512) {
			static const char nothing[512];

			random = random * 6364136223846793005 + 1442695040888963407;
			if (random >> 62 == 0)
				assert_true(pwrite(fd, nothing, 512 - at % 512, (off_t)at) > 0);
		}
		close(fd);
		s = spool_start(work, &small, &tale);
		assert_int_equal(tale.kept, 0);
		for (unsigned n = 0; n < 15; n++) {
			if (n > 0 && n < 5)
				assert_true(tale.of[n].alive);
			if (tale.of[n].alive)
				check_message(s, n, 3000 + n);
		}
		spool_close(s);
	}
}

static void a_long_body_torn_in_the_middle_is_no_message(void **state)
{
	static const struct spool_options o = { .segment_bytes = 4 << 20,
						.big_body_bytes = 1 << 20 };
	struct spool *s = spool_start(dir, &o, &tale);

	(void)state;
	put_synced(s, 1, 400000);
	put_synced(s, 2, 400000);
	spool_close(s);
	file_flip(path_in(dir, 1), FORMAT_RECORDS_AT + 600000);
	s = spool_start(dir, &o, &tale);
	assert_true(tale.of[1].alive && !tale.of[2].alive);
	check_message(s, 1, 400000);
	spool_close(s);
}

static void a_segment_whose_creation_was_cut_short_is_removed(void **state)
{
	static const off_t sizes[] = { 0, 100, 4096, 8192, 30000 };
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 10);
	spool_close(s);
	for (size_t i = 0; i < ELEMENTS(sizes); i++) {
		close(open(path_in(dir, 2), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		assert_int_equal(truncate(path_in(dir, 2), sizes[i]), 0);
		s = spool_start(dir, &small, &tale);
		assert_int_equal(tale.damages, 1);
		assert_true(access(path_in(dir, 2), F_OK) < 0);
		check_message(s, 1, 10);
		spool_close(s);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dirs, drop_dirs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(cut_at_every_byte_what_was_synced_before_is_there),
		CASE(zeros_from_every_byte_on_what_was_synced_before_is_there),
		CASE(a_batch_written_out_of_order_is_a_torn_end),
		CASE(damage_in_the_last_segment_before_its_last_batch_is_no_torn_end),
		CASE(a_flipped_bit_costs_one_record_and_is_reported),
		CASE(a_damaged_segment_is_never_deleted_and_its_neighbours_are),
		CASE(a_segment_without_any_header_is_reported_and_kept),
		CASE(a_segment_that_lost_its_header_is_read_by_its_first_record),
		CASE(an_unreadable_newest_segment_does_not_give_its_numbers_back),
		CASE(a_hole_at_the_end_without_a_seal_and_before_others_is_damage),
		CASE(a_copy_of_a_segment_under_another_name_changes_nothing),
		CASE(an_earlier_segment_cut_short_is_damage),
		CASE(a_record_within_a_body_is_not_found_by_resynchronising),
		CASE(a_long_body_torn_in_the_middle_is_no_message),
		CASE(a_segment_whose_creation_was_cut_short_is_removed),
		CASE(an_unsynced_batch_is_absent_or_whole),
	};

	return cmocka_run_group_tests_name("spool damage", tests, NULL, NULL);
}
