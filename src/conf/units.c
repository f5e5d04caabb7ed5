#include "conf/units.h"

#include <inttypes.h>

struct unit {
	char letter;
	uint64_t times;
};

/* Largest first: the text forms take the first that divides. */
static const struct unit sizes[] = {
	{ 't', (uint64_t)1 << 40 },
	{ 'g', (uint64_t)1 << 30 },
	{ 'm', (uint64_t)1 << 20 },
	{ 'k', (uint64_t)1 << 10 },
};

static const struct unit durations[] = {
	{ 'w', 7 * NSEC_DAY }, { 'd', NSEC_DAY }, { 'h', NSEC_HOUR },
	{ 'm', NSEC_MINUTE },  { 's', NSEC_S },
};

static const struct unit *unit_find(const struct unit *units, size_t count, char letter)
{
	for (size_t i = 0; i < count; i++)
		if (units[i].letter == (letter | 0x20))
			return &units[i];
	return NULL;
}

static int value_of(str digits, uint64_t times, uint64_t *ret_value)
{
	uint64_t value;
	int r;

	r = str_u64(digits, INT64_MAX, &value);
	if (r < 0)
		return r;
	if (__builtin_mul_overflow(value, times, &value) || value > INT64_MAX)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int units_bytes(str text, uint64_t *ret_bytes)
{
	const struct unit *unit;

	if (text.n == 0)
		return -EINVAL;
	unit = unit_find(sizes, ELEMENTS(sizes), text.p[text.n - 1]);
	if (!unit)
		return value_of(text, 1, ret_bytes);
	return value_of(str_first(text, text.n - 1), unit->times, ret_bytes);
}

int units_duration(str text, nsec *ret_duration)
{
	const struct unit *unit;
	uint64_t value;
	int r;

	if (text.n == 0)
		return -EINVAL;
	unit = unit_find(durations, ELEMENTS(durations), text.p[text.n - 1]);
	if (!unit)
		return -EINVAL;
	r = value_of(str_first(text, text.n - 1), unit->times, &value);
	if (r < 0)
		return r;
	*ret_duration = (nsec)value;
	return 0;
}

const char *units_bytes_text(uint64_t bytes, char text[static UNITS_TEXT_SIZE])
{
	for (size_t i = 0; bytes > 0 && i < ELEMENTS(sizes); i++) {
		if (bytes % sizes[i].times != 0)
			continue;
		snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64 "%c", bytes / sizes[i].times,
			 sizes[i].letter - 0x20);
		return text;
	}
	snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64, bytes);
	return text;
}

const char *units_duration_text(nsec duration, char text[static UNITS_TEXT_SIZE])
{
	uint64_t seconds = duration > 0 ? (uint64_t)(duration / NSEC_S) : 0;

	/* From days on: "7d" is what people write, not "1w". */
	for (size_t i = 1; seconds > 0 && i < ELEMENTS(durations); i++) {
		uint64_t unit_seconds = durations[i].times / (uint64_t)NSEC_S;

		if (seconds % unit_seconds != 0)
			continue;
		snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64 "%c", seconds / unit_seconds,
			 durations[i].letter);
		return text;
	}
	snprintf(text, UNITS_TEXT_SIZE, "0s");
	return text;
}
