/* Every call of a segment's creation fails once; the power is cut when the spool has gone on as far as it may. */
#include "faults/fault.h"
#include "spool/testing.h"

/* Two large messages do not share a segment, a large and a small one do. */
#define LARGE 6000
#define SMALL 100

static const struct spool_options options = { .segment_bytes = 16 << 10,
					      .big_body_bytes = 64 << 10 };

static struct tale tale;

struct outcome {
	bool struck, failed, went_on;
};

static void go_on(struct spool *s, struct outcome *ret)
{
	ret->failed = spool_failure(s) < 0;
	if (ret->failed) {
		assert_true(put(s, 3, SMALL) < 0);
		return;
	}
	put_synced(s, 3, SMALL);
	ret->went_on = true;
}

static void check_after_the_cut(const char *dir, const struct outcome *o)
{
	struct spool *s = spool_start(dir, &options, &tale);

	assert_int_equal(tale.kept, 0);
	check_message(s, 1, LARGE);
	if (o->went_on)
		check_message(s, 3, SMALL);
	spool_close(s);
}

/* The second message wants a segment of its own, and the call numbered `at` fails. */
static struct outcome refuse(unsigned at, int error)
{
	char *dir = scratch_make();
	struct spool *s = spool_start(dir, &options, &tale);
	struct outcome o = { 0 };

	put_synced(s, 1, LARGE);
	inject(at, error, MODE_ERROR, false);
	put(s, 2, LARGE);
	o.struck = injected.struck;
	injected.at = 0;
	if (o.struck)
		go_on(s, &o);
	spool_close(s);
	power_cut();
	if (o.struck)
		check_after_the_cut(dir, &o);
	tree_remove(dir);
	free(dir);
	return o;
}

static const char *refused_call(void)
{
	return injected.where;
}

static bool is_of_the_header(void)
{
	return strcmp(refused_call(), "sys_write_at") == 0 ||
	       strncmp(refused_call(), "sys_sync", 8) == 0;
}

static void what_the_disk_refused_does_not_come_back_and_cut_off_what_follows(void **state)
{
	struct outcome o;
	unsigned refused = 0;

	(void)state;
	for (unsigned at = 1; (o = refuse(at, -EIO)).struck; at++) {
		if (!is_of_the_header())
			continue;
		assert_true(o.failed);
		refused++;
	}
	assert_int_equal(refused, 3); /* written, synced, and the directory */
}

static void for_want_of_space_the_segment_before_goes_on_once_the_removal_is_durable(void **state)
{
	struct outcome o;
	unsigned refused = 0;

	(void)state;
	for (unsigned at = 1; (o = refuse(at, -ENOSPC)).struck; at++) {
		assert_true(o.went_on);
		refused += is_of_the_header();
	}
	assert_int_equal(refused, 3);
}

static void a_removal_that_is_not_durable_ends_it(void **state)
{
	char *dir = scratch_make();
	struct spool *s = spool_start(dir, &options, &tale);

	(void)state;
	put_synced(s, 1, LARGE);
	inject(1, -ENOSPC, MODE_ERROR, true);
	injected.only = "sys_sync"; /* the directory: at the creation, and after the removal */
	assert_int_equal(put(s, 2, LARGE), -ENOSPC);
	assert_int_equal(injected.calls, 2);
	assert_int_equal(spool_failure(s), -ENOSPC);
	injected.at = 0;
	spool_close(s);
	tree_remove(dir);
	free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_disk_refused_does_not_come_back_and_cut_off_what_follows),
		cmocka_unit_test(
			for_want_of_space_the_segment_before_goes_on_once_the_removal_is_durable),
		cmocka_unit_test(a_removal_that_is_not_durable_ends_it),
	};

	return cmocka_run_group_tests_name("segment faults", tests, NULL, NULL);
}
