/*
 * Spools of every kind, for an independent reader to read. With LOCUM_SPOOL_SAMPLE=DIR in the environment they stay
 * in DIR/NAME, each with a file `expected` of what replay made of it, which tests/oracle/check_reader.py compares
 * with what the reader in Python makes of the same bytes. Without it the spools are made and checked all
 * the same.
 */
#include "spool/testing.h"

static const struct spool_options small = { .segment_bytes = 32 << 10, .big_body_bytes = 8 << 10 };

static char *root;
static struct tale tale;

static int make_root(void **state)
{
	const char *asked = getenv("LOCUM_SPOOL_SAMPLE");

	(void)state;
	root = asked ? strdup(asked) : scratch_make();
	mkdir(root, 0700);
	return 0;
}

static int drop_root(void **state)
{
	(void)state;
	if (!getenv("LOCUM_SPOOL_SAMPLE"))
		tree_remove(root);
	free(root);
	return 0;
}

static const char *sample_path(const char *name)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

static const char *segment_path(const char *name, unsigned serial)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/%s/queue/%010u.seg", root, name, serial);
	return path;
}

static void write_hex(FILE *f, str bytes)
{
	fputc(' ', f);
	for (size_t i = 0; i < bytes.n; i++)
		fprintf(f, "%02x", (unsigned char)bytes.p[i]);
	if (bytes.n == 0)
		fputc('-', f);
}

/* One line a message: id, log, bytes and checksum of the body, envelope, state; and the damage. */
static void expect(const char *name)
{
	struct spool *s = spool_start(sample_path(name), &small, &tale);
	char path[400], id[ID_TEXT_LENGTH + 1];
	struct spool_body body;
	struct buf b;
	FILE *f;

	snprintf(path, sizeof(path), "%s/expected", sample_path(name));
	f = fopen(path, "we");
	assert_non_null(f);
	buf_init(&b, 1 << 20);
	for (unsigned n = 0; n < IDS; n++) {
		if (!spool_has(s, number_id(n)))
			continue;
		buf_reset(&b);
		assert_int_equal(spool_read(s, number_id(n), &b, &body), 0);
		id_text(number_id(n), id);
		fprintf(f, "%s %s %llu %u", id, spool_is_held(s, number_id(n)) ? "held" : "queue",
			(unsigned long long)body.bytes, body.crc32c);
		write_hex(f, buf_str(&b));
		buf_reset(&b);
		assert_int_equal(spool_read_state(s, number_id(n), &b), 0);
		write_hex(f, buf_str(&b));
		fputc('\n', f);
	}
	fprintf(f, "damage %u crash %u\n", tale.kept, tale.damages - tale.kept);
	fclose(f);
	buf_done(&b);
	spool_close(s);
}

static void mark(struct spool *s, enum spool_event event, unsigned n, const char *state)
{
	assert_int_equal(spool_mark(s, event, number_id(n), str_of(state)), 0);
}

/* Messages of all sizes in two segments, states and dones for some. */
static void fill(const char *name)
{
	struct spool *s;

	tree_remove(sample_path(name));
	s = spool_start(sample_path(name), &small, &tale);
	for (unsigned n = 0; n < 12; n++)
		put_synced(s, n, n * n * 20);
	for (unsigned n = 0; n < 12; n += 3)
		mark(s, SPOOL_STATE, n, "first state");
	put_synced(s, 20, 100000);
	spool_close(s);
	s = spool_start(sample_path(name), &small, &tale);
	for (unsigned n = 30; n < 40; n++)
		assert_int_equal(put(s, n, n * 50), 0);
	for (unsigned n = 0; n < 12; n += 2)
		mark(s, SPOOL_STATE, n, "second state");
	mark(s, SPOOL_DONE, 1, "delivered");
	mark(s, SPOOL_DONE, 6, "delivered");
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
}

static void messages_states_and_dones(void **state)
{
	(void)state;
	fill("plain");
	expect("plain");
}

static void messages_held_and_released(void **state)
{
	struct spool *s;

	(void)state;
	fill("held");
	s = spool_start(sample_path("held"), &small, &tale);
	for (unsigned n = 2; n < 6; n++)
		assert_int_equal(spool_move_held(NULL, s, number_id(n), true), 0);
	assert_int_equal(spool_move_held(NULL, s, number_id(20), true), 0);
	mark(s, SPOOL_STATE, 2, "held since then");
	assert_int_equal(spool_move_held(NULL, s, number_id(3), false), 0);
	mark(s, SPOOL_DONE, 4, "dropped");
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
	expect("held");
	assert_int_equal(tale.damages, 0);
}

static void segments_emptied_and_deleted(void **state)
{
	struct spool *s;

	(void)state;
	fill("compacted");
	s = spool_start(sample_path("compacted"), &small, &tale);
	for (unsigned n = 0; n < 40; n++)
		if (n % 7 && spool_has(s, number_id(n)))
			mark(s, SPOOL_DONE, n, "gone");
	compact_all(s);
	put_synced(s, 1, 77); /* its first life is over and off the disk */
	spool_close(s);
	expect("compacted");
	assert_int_equal(tale.damages, 0);
}

static void a_crash_in_the_last_batch(void **state)
{
	uint64_t size;

	(void)state;
	fill("torn");
	size = file_bytes(segment_path("torn", 2));
	assert_int_equal(truncate(segment_path("torn", 2), (off_t)size - 41), 0);
	file_flip(segment_path("torn", 2), FORMAT_RECORDS_AT + 30);
	expect("torn");
	assert_int_equal(tale.kept, 0);
	assert_int_equal(tale.damages, 2);
}

static void a_crash_that_later_starts_remember(void **state)
{
	struct spool *s;

	(void)state;
	fill("remembered");
	file_flip(segment_path("remembered", 2), FORMAT_RECORDS_AT + 30);
	s = spool_start(sample_path("remembered"), &small, &tale);
	put_synced(s, 50, 50);
	spool_close(s);
	expect("remembered");
	assert_int_equal(tale.damages, 0);
}

static void damage_in_an_earlier_segment(void **state)
{
	(void)state;
	fill("damaged");
	file_flip(segment_path("damaged", 1), FORMAT_RECORDS_AT + 12);
	file_flip(segment_path("damaged", 1), file_bytes(segment_path("damaged", 1)) - 300);
	expect("damaged");
	assert_int_equal(tale.kept, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_states_and_dones),
		cmocka_unit_test(messages_held_and_released),
		cmocka_unit_test(segments_emptied_and_deleted),
		cmocka_unit_test(a_crash_in_the_last_batch),
		cmocka_unit_test(a_crash_that_later_starts_remember),
		cmocka_unit_test(damage_in_an_earlier_segment),
	};

	return cmocka_run_group_tests_name("spool samples", tests, make_root, drop_root);
}
