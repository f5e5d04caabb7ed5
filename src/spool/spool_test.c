#include "spool/testing.h"

#include <sched.h>
#include <sys/mount.h>

static const struct spool_options small = { .segment_bytes = 32 << 10, .big_body_bytes = 8 << 10 };

static char *dir;
static struct tale tale;

static int make_dir(void **state)
{
	(void)state;
	dir = scratch_make();
	return 0;
}

static int drop_dir(void **state)
{
	(void)state;
	tree_remove(dir);
	free(dir);
	return 0;
}

static void what_was_synced_is_there_byte_for_byte(void **state)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 9, 4095, 8191, 8192 };
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	for (unsigned n = 0; n < ELEMENTS(sizes); n++)
		assert_int_equal(put(s, n, sizes[n]), 0);
	assert_int_equal(spool_sync(s), 0);
	assert_int_equal(spool_batch_bytes(s), 0);
	for (unsigned n = 0; n < ELEMENTS(sizes); n++)
		check_message(s, n, sizes[n]);
	spool_close(s);

	s = spool_start(dir, &small, &tale);
	for (unsigned n = 0; n < ELEMENTS(sizes); n++) {
		assert_true(tale.of[n].alive);
		assert_int_equal(tale.of[n].told, 1);
		check_message(s, n, sizes[n]);
	}
	assert_int_equal(tale.damages, 0);
	spool_close(s);
}

static void what_was_not_synced_is_not_there_after_a_crash(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 100);
	assert_int_equal(put(s, 2, 100), 0);
	assert_true(spool_has(s, number_id(2)));
	assert_true(spool_batch_bytes(s) > 0);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	assert_true(tale.of[1].alive && !tale.of[2].alive);
	assert_false(spool_has(s, number_id(2)));
	spool_close(s);
}

static void a_message_in_the_batch_cannot_be_read_yet(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	struct spool_body body;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(put(s, 1, 100), 0);
	assert_int_equal(spool_read(s, number_id(1), &b, &body), -EAGAIN);
	assert_int_equal(b.n, 0);
	assert_int_equal(spool_sync(s), 0);
	check_message(s, 1, 100);
	spool_close(s);
	buf_done(&b);
}

static void the_newest_state_wins_and_done_ends_it(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	put_synced(s, 1, 100);
	put_synced(s, 2, 100);
	check_state(s, 1, "");
	assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(1), STR("one")), 0);
	assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(1), STR("two")), 0);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(2), STR("delivered")), 0);
	assert_int_equal(spool_sync(s), 0);
	check_state(s, 1, "two");
	assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(2), STR("x")), -ENOENT);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(2), STR("x")), -ENOENT);
	assert_int_equal(spool_read_state(s, number_id(2), &b), -ENOENT);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(3), STR("x")), -ENOENT);
	spool_close(s);

	s = spool_start(dir, &small, &tale);
	assert_true(tale.of[1].alive && !tale.of[2].alive);
	assert_string_equal(tale.of[1].state, "two");
	check_state(s, 1, "two");
	assert_false(spool_has(s, number_id(2)));
	spool_close(s);
	buf_done(&b);
}

static void an_id_is_taken_once(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 100);
	assert_int_equal(put(s, 1, 100), -EEXIST);
	assert_int_equal(put(s, 1, 9000), -EEXIST);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(1), STR_NONE), 0);
	assert_int_equal(put(s, 1, 100), -EEXIST);
	spool_close(s);
}

static void a_body_shorter_than_said_changes_nothing(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	int fd = body_make(1, 50);

	(void)state;
	assert_int_equal(spool_append(NULL, s, number_id(1), STR("e"), fd, 51), -EINVAL);
	assert_int_equal(spool_append(NULL, s, number_id(1), STR("e"), fd, 100000), -EINVAL);
	assert_false(spool_has(s, number_id(1)));
	assert_int_equal(spool_batch_bytes(s), 0);
	assert_int_equal(file_count(dir, "big"), 0);
	put_synced(s, 1, 100);
	check_message(s, 1, 100);
	close(fd);
	spool_close(s);
}

static void every_start_opens_a_new_segment(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 3; n++) {
		struct spool *s = spool_start(dir, &small, &tale);

		assert_int_equal(file_count(dir, "queue"), n - 1);
		put_synced(s, n, 100);
		assert_int_equal(file_count(dir, "queue"), n);
		spool_close(s);
	}
}

static void a_full_segment_is_followed_by_another(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	for (unsigned n = 0; n < 40; n++)
		put_synced(s, n, 3000);
	assert_in_range(file_count(dir, "queue"), 5, 8);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	for (unsigned n = 0; n < 40; n++)
		check_message(s, n, 3000);
	assert_int_equal(tale.damages, 0);
	spool_close(s);
}

static void a_batch_larger_than_the_buffer_is_one_batch(void **state)
{
	static const struct spool_options o = { .segment_bytes = 64 << 20,
						.big_body_bytes = 1 << 20 };
	struct spool *s = spool_start(dir, &o, &tale);

	(void)state;
	for (unsigned n = 0; n < 12; n++)
		assert_int_equal(put(s, n, 1000000), 0);
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
	s = spool_start(dir, &o, &tale);
	for (unsigned n = 0; n < 12; n++)
		check_message(s, n, 1000000);
	spool_close(s);
}

/* --- big bodies --- */

static void a_big_body_lives_in_its_own_file_until_done_is_durable(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 8193);
	put_synced(s, 2, 3000000);
	assert_int_equal(file_count(dir, "big"), 2);
	check_message(s, 1, 8193);
	spool_close(s);

	s = spool_start(dir, &small, &tale);
	check_message(s, 1, 8193);
	check_message(s, 2, 3000000);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(2), STR_NONE), 0);
	assert_int_equal(file_count(dir, "big"), 2);
	assert_int_equal(spool_sync(s), 0);
	assert_int_equal(file_count(dir, "big"), 1);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	assert_int_equal(tale.damages, 0);
	assert_false(spool_has(s, number_id(2)));
	spool_close(s);
}

static void orphans_of_big_bodies_go_after_replay(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	char path[300], name[ID_TEXT_LENGTH + 1];

	(void)state;
	put_synced(s, 1, 9000);
	assert_int_equal(put(s, 2, 9000), 0); /* never synced */
	spool_close(s);
	id_text(number_id(3), name);
	snprintf(path, sizeof(path), "%s/big/%s.0.tmp", dir, name);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	snprintf(path, sizeof(path), "%s/big/README", dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(file_count(dir, "big"), 4);
	s = spool_start(dir, &small, &tale);
	assert_int_equal(file_count(dir, "big"), 2); /* the live one and the foreign one */
	assert_int_equal(tale.damages, 1);
	check_message(s, 1, 9000);
	spool_close(s);
}

static void a_missing_big_body_is_reported_and_unreadable(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	char path[300], name[ID_TEXT_LENGTH + 1];
	struct spool_body body;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	put_synced(s, 1, 9000);
	put_synced(s, 2, 9000);
	spool_close(s);
	id_text(number_id(1), name);
	snprintf(path, sizeof(path), "%s/big/%s", dir, name);
	assert_int_equal(unlink(path), 0);
	s = spool_start(dir, &small, &tale);
	assert_int_equal(tale.damages, 1);
	assert_int_equal(spool_read(s, number_id(1), &b, &body), -EBADMSG);
	assert_int_equal(b.n, 0);
	check_message(s, 2, 9000);
	spool_close(s);
	buf_done(&b);
}

/* --- held --- */

static void a_held_message_moves_with_its_state_and_back(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 500);
	put_synced(s, 2, 9000);
	assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(1), STR("refused")), 0);
	assert_int_equal(spool_move_held(NULL, s, number_id(1), true), 0);
	assert_int_equal(spool_move_held(NULL, s, number_id(2), true), 0);
	assert_int_equal(spool_move_held(NULL, s, number_id(2), true), 0);
	assert_int_equal(spool_move_held(NULL, s, number_id(3), true), -ENOENT);
	assert_true(spool_is_held(s, number_id(1)));
	assert_int_equal(file_count(dir, "held"), 1);
	check_message(s, 1, 500);
	spool_close(s);

	s = spool_start(dir, &small, &tale);
	assert_int_equal(tale.of[1].told, 1);
	assert_string_equal(tale.of[1].state, "refused");
	assert_true(spool_is_held(s, number_id(1)));
	check_message(s, 2, 9000);
	compact_all(s);
	assert_int_equal(file_count(dir, "queue"), 0);
	check_message(s, 1, 500);
	check_state(s, 1, "refused");
	assert_int_equal(spool_move_held(NULL, s, number_id(1), false), 0);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(2), STR_NONE), 0);
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);

	s = spool_start(dir, &small, &tale);
	assert_false(spool_is_held(s, number_id(1)));
	assert_false(spool_has(s, number_id(2)));
	compact_all(s);
	check_message(s, 1, 500);
	check_state(s, 1, "refused");
	assert_int_equal(file_count(dir, "held"), 0);
	spool_close(s);
}

static void a_message_still_in_the_batch_can_be_held(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	assert_int_equal(put(s, 1, 500), 0);
	assert_int_equal(spool_move_held(NULL, s, number_id(1), true), 0);
	check_message(s, 1, 500);
	spool_close(s);
}

/* --- space --- */

static void below_the_reserve_messages_are_refused_and_marks_are_not(void **state)
{
	struct spool_options o = small;
	struct spool_usage u;
	struct spool *s = spool_start(dir, &o, &tale);

	(void)state;
	put_synced(s, 1, 100);
	spool_close(s);
	o.reserve_bytes = UINT64_MAX / 2;
	s = spool_start(dir, &o, &tale);
	assert_int_equal(put(s, 2, 100), -ENOSPC);
	assert_int_equal(put(s, 2, 9000), -ENOSPC);
	assert_int_equal(file_count(dir, "big"), 0);
	assert_int_equal(spool_batch_bytes(s), 0);
	assert_int_equal(spool_usage(s, &u), 0);
	assert_true(u.below_reserve);
	assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(1), STR("still")), 0);
	assert_int_equal(spool_sync(s), 0);
	check_state(s, 1, "still");
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(1), STR_NONE), 0);
	compact_all(s);
	assert_int_equal(spool_usage(s, &u), 0);
	assert_int_equal(u.messages, 0);
	spool_close(s);
}

/* Fills the disk with ever smaller messages; returns how many there are. */
static unsigned fill_disk(struct spool *s, unsigned sizes[static IDS])
{
	static const unsigned steps[] = { 9000, 3000, 500, 0 };
	unsigned n = 0;

	for (size_t i = 0; i < ELEMENTS(steps); i++) {
		for (int r = 0; r == 0 && n < IDS;) {
			r = put(s, n, steps[i]);
			assert_true(r == 0 || r == -ENOSPC);
			assert_int_equal(spool_sync(s), 0);
			if (r == 0)
				sizes[n++] = steps[i];
		}
	}
	return n;
}

static void take_all_space(void)
{
	static const char zeros[4096];
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/filler", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	close(fd);
}

static void give_space_back(void)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/filler", dir);
	assert_int_equal(unlink(path), 0);
}

/* On a file system of a megabyte, where we may make one. */
static void a_full_disk_refuses_messages_and_loses_nothing(void **state)
{
	static const struct spool_options o = { .segment_bytes = 64 << 10,
						.big_body_bytes = 16 << 10 };
	static unsigned sizes[IDS];
	struct spool *s;
	unsigned n;

	(void)state;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=1m") < 0)
		skip();
	s = spool_start(dir, &o, &tale);
	n = fill_disk(s, sizes);
	assert_in_range(n, 50, IDS - 1);
	/* Somebody else takes the rest: marks still have the room that messages left them. */
	take_all_space();
	for (unsigned i = 0; i < 50; i++) {
		check_message(s, i % n, sizes[i % n]);
		assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(i % n), STR("waits")), 0);
	}
	assert_int_equal(spool_sync(s), 0);
	assert_int_equal(put(s, n, 0), -ENOSPC);
	/* Deliveries make room again. */
	for (unsigned i = 0; i < n / 2; i++)
		assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(i), STR_NONE), 0);
	compact_all(s);
	give_space_back();
	spool_close(s);
	s = spool_start(dir, &o, &tale);
	for (unsigned i = n / 2; i < n; i++)
		check_message(s, i, sizes[i]);
	put_synced(s, IDS - 1, 20000);
	spool_close(s);
	umount(dir);
}

/* --- opening --- */

static void a_second_process_is_kept_out(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale), *second = NULL;

	(void)state;
	assert_int_equal(spool_open(dir, &small, &second), -EWOULDBLOCK);
	assert_null(second);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	spool_close(s);
}

static void file_put(const char *name, const void *p, size_t n)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	close(fd);
}

static void a_newer_format_is_refused(void **state)
{
	static struct segment_header h[2];
	char path[300];
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	spool_close(s);
	segment_header_close(&h[0]);
	h[0].version = 2;
	h[0].crc32c = crc32c(0, str_mem(&h[0], offsetof(struct segment_header, crc32c)));
	h[1] = h[0];
	file_put("queue/0000000001.seg", h, sizeof(h));
	assert_int_equal(spool_open(dir, &small, &s), -EPROTONOSUPPORT);
	tree_remove(dir);
	mkdir(dir, 0700);
	file_put("lock", "locum spool 2\n", 14);
	assert_int_equal(spool_open(dir, &small, &s), -EPROTONOSUPPORT);
	/* And left as it is. */
	snprintf(path, sizeof(path), "%s/queue", dir);
	assert_true(access(path, F_OK) < 0);
}

static void foreign_files_are_reported_and_left_alone(void **state)
{
	static const char *const names[] = { "queue/core", "queue/1.seg", "held/0000000001.seg",
					     "queue/99999999999.seg", "queue/0000000007.seg.bak" };
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 100);
	spool_close(s);
	for (size_t i = 0; i < ELEMENTS(names); i++)
		file_put(names[i], "x", 1);
	s = spool_start(dir, &small, &tale);
	assert_int_equal(tale.damages, ELEMENTS(names));
	check_message(s, 1, 100);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(1), STR_NONE), 0);
	compact_all(s);
	spool_close(s);
	assert_int_equal(file_count(dir, "held"), 1);
}

static void a_segment_of_another_spool_is_ignored(void **state)
{
	char other[300], here[300];
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 100);
	spool_close(s);
	snprintf(other, sizeof(other), "%s-other", dir);
	mkdir(other, 0700);
	s = spool_start(other, &small, &tale);
	put_synced(s, 2, 100);
	put_synced(s, 3, 100);
	spool_close(s);
	s = spool_start(other, &small, &tale);
	put_synced(s, 4, 100);
	spool_close(s);
	snprintf(other, sizeof(other), "%s-other/queue/0000000002.seg", dir);
	snprintf(here, sizeof(here), "%s/queue/0000000002.seg", dir);
	file_copy(other, here);
	s = spool_start(dir, &small, &tale);
	assert_true(tale.of[1].alive && !tale.of[4].alive);
	assert_int_equal(tale.damages, 1);
	spool_close(s);
	snprintf(other, sizeof(other), "%s-other", dir);
	tree_remove(other);
}

static void an_unusable_directory_says_why(void **state)
{
	struct spool *s = NULL;
	char path[300];
	int r;

	(void)state;
	file_put("file", "x", 1);
	snprintf(path, sizeof(path), "%s/file", dir);
	assert_int_equal(spool_open(path, &small, &s), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/no/such", dir);
	assert_int_equal(spool_open(path, &small, &s), -ENOENT);
	chmod(dir, 0500);
	if (geteuid() == 0 && seteuid(65534) < 0)
		skip();
	r = spool_open(dir, &small, &s);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	chmod(dir, 0700);
	assert_int_equal(r, -EACCES);
	assert_non_null(strstr(spool_error_text(r), "may not be read"));
	assert_string_not_equal(spool_error_text(-EWOULDBLOCK), spool_error_text(-EPROTONOSUPPORT));
}

static void a_lost_lock_file_is_written_again(void **state)
{
	char path[300];
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 100);
	spool_close(s);
	snprintf(path, sizeof(path), "%s/lock", dir);
	assert_int_equal(truncate(path, 5), 0);
	s = spool_start(dir, &small, &tale);
	check_message(s, 1, 100);
	spool_close(s);
	assert_int_equal(file_bytes(path), 47);
}

static void damage_under_a_reader_is_ebadmsg(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	char path[300];
	struct spool_body body;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	put_synced(s, 1, 100);
	snprintf(path, sizeof(path), "%s/queue/0000000001.seg", dir);
	file_flip(path, FORMAT_RECORDS_AT + 20); /* header */
	assert_int_equal(spool_read(s, number_id(1), &b, &body), -EBADMSG);
	file_flip(path, FORMAT_RECORDS_AT + 20);
	check_message(s, 1, 100);
	file_flip(path, FORMAT_RECORDS_AT + sizeof(struct record_header)); /* envelope */
	assert_int_equal(spool_read(s, number_id(1), &b, &body), -EBADMSG);
	assert_int_equal(truncate(path, FORMAT_RECORDS_AT + 40), 0);
	assert_int_equal(spool_read(s, number_id(1), &b, &body), -EBADMSG);
	assert_int_equal(b.n, 0);
	spool_close(s);
	buf_done(&b);
}

/* Puts another file under a descriptor of the spool. */
static void replace_fd(int fd, const char *path)
{
	int other = open(path, O_RDWR | O_CLOEXEC);

	assert_true(other >= 0);
	assert_int_equal(dup2(other, fd), fd);
	close(other);
}

static void a_failed_sync_is_final(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);

	(void)state;
	put_synced(s, 1, 100);
	assert_int_equal(put(s, 2, 100), 0);
	replace_fd(s->log[SPOOL_QUEUE].open->fd, "/dev/full");
	assert_int_equal(spool_sync(s), -ENOSPC);
	/* Not tried again, whatever happens. */
	replace_fd(s->log[SPOOL_QUEUE].open->fd, "/dev/null");
	assert_int_equal(spool_sync(s), -ENOSPC);
	assert_int_equal(put(s, 3, 100), -ENOSPC);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(1), STR_NONE), -ENOSPC);
	assert_int_equal(spool_compact(NULL, s), -ENOSPC);
	assert_int_equal(spool_move_held(NULL, s, number_id(1), true), -ENOSPC);
	spool_close(s);
	s = spool_start(dir, &small, &tale);
	assert_true(tale.of[1].alive && !tale.of[2].alive);
	check_message(s, 1, 100);
	spool_close(s);
}

static void other_options_hold_from_the_next_append_on(void **state)
{
	static const struct spool_options large = { .segment_bytes = 1 << 20,
						    .big_body_bytes = 1 << 20 },
					  less = { .segment_bytes = 32 << 10,
						   .big_body_bytes = 4000 };
	struct spool *s = spool_start(dir, &large, &tale);

	(void)state;
	for (unsigned n = 0; n < 20; n++)
		put_synced(s, n, 3000);
	assert_int_equal(s->segment_count, 1);
	put_synced(s, 20, 5000);
	assert_int_equal(s->big_bytes, 0);
	spool_set_options(s, &less);
	put_synced(s, 21, 3000);
	assert_int_equal(s->segment_count, 2);
	put_synced(s, 22, 5000);
	assert_int_equal(s->big_bytes, 5000);
	for (unsigned n = 0; n < 23; n++)
		check_message(s, n, n == 20 || n == 22 ? 5000 : 3000);
	spool_close(s);
}

/* What could not be begun is not hoped for at the sync. */
static void a_large_batch_whose_writing_cannot_begin_is_final(void **state)
{
	static const struct spool_options o = { .segment_bytes = 64 << 20,
						.big_body_bytes = 1 << 20 };
	struct spool *s = spool_start(dir, &o, &tale);

	(void)state;
	put_synced(s, 1, 100);
	assert_int_equal(put(s, 2, 900000), 0);
	replace_fd(s->log[SPOOL_QUEUE].open->fd, "/dev/null");
	s->log[SPOOL_QUEUE].open->allocated = 8 << 20; /* it need not grow */
	assert_int_equal(put(s, 3, 900000), -ESPIPE);
	assert_int_equal(spool_sync(s), -ESPIPE);
	spool_close(s);
}

static void a_disk_that_cannot_read_is_eio(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	struct spool_body body;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	put_synced(s, 1, 100);
	/* Nothing is mapped at such addresses: reading there fails as a bad sector does. */
	replace_fd(s->log[SPOOL_QUEUE].open->fd, "/proc/self/mem");
	assert_int_equal(spool_read(s, number_id(1), &b, &body), -EIO);
	assert_int_equal(b.n, 0);
	spool_close(s);
	buf_done(&b);
}

static void an_unreadable_segment_is_reported_and_the_others_are_served(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	char path[300];

	(void)state;
	put_synced(s, 1, 100);
	spool_close(s);
	snprintf(path, sizeof(path), "%s/queue/0000000002.seg", dir);
	assert_int_equal(symlink("/proc/self/mem", path), 0);
	for (unsigned n = 2; n < 4; n++) {
		s = spool_start(dir, &small, &tale);
		assert_int_equal(tale.damages, 1);
		assert_non_null(strstr(tale.last_damage, "both header blocks"));
		check_message(s, 1, 100);
		put_synced(s, n, 100);
		spool_close(s);
	}
	assert_int_equal(unlink(path), 0);
}

static void usage_counts_live_and_disk_bytes(void **state)
{
	struct spool *s = spool_start(dir, &small, &tale);
	struct spool_usage u;

	(void)state;
	put_synced(s, 1, 1000);
	put_synced(s, 2, 20000);
	assert_int_equal(spool_usage(s, &u), 0);
	assert_int_equal(u.messages, 2);
	assert_in_range(u.live_bytes, 21000, 21000 + 400);
	assert_in_range(u.disk_bytes, 21000, 21000 + 8192 + 32768);
	assert_int_equal(u.segments, 1);
	assert_false(u.below_reserve);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(1), STR_NONE), 0);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(2), STR_NONE), 0);
	assert_int_equal(spool_sync(s), 0);
	assert_int_equal(spool_usage(s, &u), 0);
	assert_int_equal(u.messages, 0);
	assert_int_equal(u.live_bytes, 0);
	spool_close(s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_was_synced_is_there_byte_for_byte),
		CASE(what_was_not_synced_is_not_there_after_a_crash),
		CASE(a_message_in_the_batch_cannot_be_read_yet),
		CASE(the_newest_state_wins_and_done_ends_it),
		CASE(an_id_is_taken_once),
		CASE(a_body_shorter_than_said_changes_nothing),
		CASE(every_start_opens_a_new_segment),
		CASE(a_full_segment_is_followed_by_another),
		CASE(a_batch_larger_than_the_buffer_is_one_batch),
		CASE(a_big_body_lives_in_its_own_file_until_done_is_durable),
		CASE(orphans_of_big_bodies_go_after_replay),
		CASE(a_missing_big_body_is_reported_and_unreadable),
		CASE(a_held_message_moves_with_its_state_and_back),
		CASE(a_message_still_in_the_batch_can_be_held),
		CASE(below_the_reserve_messages_are_refused_and_marks_are_not),
		CASE(a_second_process_is_kept_out),
		CASE(a_newer_format_is_refused),
		CASE(foreign_files_are_reported_and_left_alone),
		CASE(a_segment_of_another_spool_is_ignored),
		CASE(an_unusable_directory_says_why),
		CASE(a_lost_lock_file_is_written_again),
		CASE(damage_under_a_reader_is_ebadmsg),
		CASE(a_failed_sync_is_final),
		CASE(other_options_hold_from_the_next_append_on),
		CASE(a_large_batch_whose_writing_cannot_begin_is_final),
		CASE(a_disk_that_cannot_read_is_eio),
		CASE(an_unreadable_segment_is_reported_and_the_others_are_served),
		CASE(usage_counts_live_and_disk_bytes),
		CASE(a_full_disk_refuses_messages_and_loses_nothing),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
