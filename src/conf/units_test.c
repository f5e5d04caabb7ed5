#include "conf/units.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *text;
	int result;
	uint64_t bytes;
} sizes[] = {
	{ "0", 0, 0 },
	{ "1025", 0, 1025 },
	{ "64K", 0, 65536 },
	{ "64k", 0, 65536 },
	{ "50M", 0, (uint64_t)50 << 20 },
	{ "1G", 0, (uint64_t)1 << 30 },
	{ "2t", 0, (uint64_t)2 << 40 },
	{ "9223372036854775807", 0, INT64_MAX },
	{ "9223372036854775808", -ERANGE, 0 },
	{ "8388608T", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "M", -EINVAL, 0 },
	{ "50 M", -EINVAL, 0 },
	{ "50MB", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "1.5G", -EINVAL, 0 },
	{ "0x10", -EINVAL, 0 },
};

static void sizes_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(sizes); i++) {
		uint64_t bytes = 0;

		int r = units_bytes(str_of(sizes[i].text), &bytes);

		if (r != sizes[i].result || bytes != sizes[i].bytes)
			fail_msg("\"%s\": %d, %" PRIu64, sizes[i].text, r, bytes);
	}
}

static const struct {
	const char *text;
	int result;
	nsec duration;
} durations[] = {
	{ "10s", 0, 10 * NSEC_S },
	{ "5m", 0, 5 * NSEC_MINUTE },
	{ "36h", 0, 36 * NSEC_HOUR },
	{ "30d", 0, 30 * NSEC_DAY },
	{ "30D", 0, 30 * NSEC_DAY },
	{ "2w", 0, 14 * NSEC_DAY },
	{ "106751d", 0, 106751 * NSEC_DAY },
	{ "106752d", -ERANGE, 0 },
	{ "30", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
	{ "d", -EINVAL, 0 },
	{ "1h30m", -EINVAL, 0 },
	{ "1y", -EINVAL, 0 },
	{ "-1d", -EINVAL, 0 },
};

static void durations_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(durations); i++) {
		nsec duration = 0;

		int r = units_duration(str_of(durations[i].text), &duration);

		if (r != durations[i].result || duration != durations[i].duration)
			fail_msg("\"%s\": %d, %" PRId64, durations[i].text, r, duration);
	}
}

static void texts_read_back(void **state)
{
	static const uint64_t bytes[] = { 0, 1, 1023, 1024, 1025, 52428800, (uint64_t)3 << 40 };
	static const nsec seconds[] = { 0, 1, 60, 90, 3600, 5400, 86400, 7 * 86400, 30 * 86400 };
	char text[UNITS_TEXT_SIZE];
	uint64_t again;
	nsec duration;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(bytes); i++) {
		assert_int_equal(units_bytes(str_of(units_bytes_text(bytes[i], text)), &again), 0);
		assert_int_equal(again, bytes[i]);
	}
	for (size_t i = 0; i < ELEMENTS(seconds); i++) {
		units_duration_text(seconds[i] * NSEC_S, text);
		assert_int_equal(units_duration(str_of(text), &duration), 0);
		assert_int_equal(duration, seconds[i] * NSEC_S);
	}
	assert_string_equal(units_bytes_text(52428800, text), "50M");
	assert_string_equal(units_duration_text(7 * NSEC_DAY, text), "7d");
	assert_string_equal(units_duration_text(5400 * NSEC_S, text), "90m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_read),
		cmocka_unit_test(durations_are_read),
		cmocka_unit_test(texts_read_back),
	};

	return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
