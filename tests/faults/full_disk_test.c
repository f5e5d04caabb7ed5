/* A real ext4 that gets really full, and one that stops at once: as root, where loop devices are to be had. */
#include "faults/fault.h"
#include "spool/inspect.h"
#include "spool/testing.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#define EXT4_SHUTDOWN 0x8004587D /* _IOR('X', 125, __u32) */

static const struct spool_options small = { .segment_bytes = 256 << 10,
					    .big_body_bytes = 64 << 10 };

static char *root, dir[300];
static struct tale tale;

/* In a mount namespace of our own: nothing stays when we end. */
static int mount_disk(void **state)
{
	char command[900];

	(void)state;
	root = scratch_make();
	snprintf(dir, sizeof(dir), "%s/disk/spool", root);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 0;
	snprintf(command, sizeof(command),
		 "cd %s && mkdir disk && truncate -s 6M img && mkfs.ext4 -q -F img && "
		 "mount -o loop img disk",
		 root);
	if (system(command) != 0)
		dir[0] = '\0';
	return 0;
}

static int drop_disk(void **state)
{
	char path[300];

	(void)state;
	snprintf(path, sizeof(path), "%s/disk", root);
	umount2(path, MNT_DETACH);
	tree_remove(root);
	free(root);
	return 0;
}

static bool is_mounted(void)
{
	return geteuid() == 0 && dir[0];
}

static void expect_no_damage(void)
{
	struct spool *s = NULL;
	const struct fault *f;
	size_t count;

	assert_int_equal(inspect_open(dir, false, &s), 0);
	f = inspect_faults(s, &count);
	for (size_t i = 0; i < count; i++)
		assert_true(f[i].nature == FAULT_NOTE || f[i].nature == FAULT_CRASH);
	spool_close(s);
}

static unsigned fill(struct spool *s, size_t bytes[static IDS])
{
	static const size_t steps[] = { 100000, 20000, 3000, 100 };
	unsigned n = 0;

	for (size_t i = 0; i < ELEMENTS(steps); i++)
		for (int r = 0; r == 0 && n < IDS - 1;) {
			r = put(s, n, steps[i]);
			assert_true(r == 0 || r == -ENOSPC);
			assert_int_equal(spool_sync(s), 0);
			if (r == 0)
				bytes[n++] = steps[i];
		}
	return n;
}

static void a_full_ext4_refuses_takes_marks_and_loses_nothing(void **state)
{
	static size_t bytes[IDS];
	struct spool *s;
	unsigned n;

	(void)state;
	if (!is_mounted())
		skip();
	s = spool_start(dir, &small, &tale);
	n = fill(s, bytes);
	assert_in_range(n, 20, IDS - 2);
	for (unsigned i = 0; i < n; i++)
		check_message(s, i, bytes[i]);
	for (unsigned i = 0; i < n; i += 2)
		assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(i), STR_NONE), 0);
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
	expect_no_damage();
	s = spool_start(dir, &small, &tale);
	for (unsigned i = 1; i < n; i += 2)
		check_message(s, i, bytes[i]);
	for (int r = 1; r == 1;) {
		r = spool_compact(NULL, s);
		assert_true(r >= 0 || r == -ENOSPC);
	}
	put_synced(s, IDS - 1, 50000);
	spool_close(s);
	expect_no_damage();
}

static void what_was_synced_outlives_a_file_system_that_stops_at_once(void **state)
{
	struct spool *s;
	char path[310], command[900];
	unsigned flags = 2; /* nothing is flushed */
	int fd;

	(void)state;
	if (!is_mounted())
		skip();
	s = spool_start(dir, &small, &tale);
	for (unsigned n = 0; n < 10; n++)
		put_synced(s, n, n * 9000);
	assert_int_equal(put(s, 10, 500), 0);
	snprintf(path, sizeof(path), "%s/disk", root);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ioctl(fd, EXT4_SHUTDOWN, &flags) < 0) {
		close(fd);
		spool_close(s);
		skip();
	}
	close(fd);
	assert_true(spool_sync(s) < 0);
	assert_true(put(s, 11, 10) < 0);
	spool_close(s);
	assert_int_equal(umount(path), 0);
	snprintf(command, sizeof(command), "cd %s && mount -o loop img disk", root);
	assert_int_equal(system(command), 0);
	expect_no_damage();
	s = spool_start(dir, &small, &tale);
	for (unsigned n = 0; n < 10; n++)
		check_message(s, n, n * 9000);
	spool_close(s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, mount_disk, drop_disk)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_full_ext4_refuses_takes_marks_and_loses_nothing),
		CASE(what_was_synced_outlives_a_file_system_that_stops_at_once),
	};

	return cmocka_run_group_tests_name("full disk", tests, NULL, NULL);
}
