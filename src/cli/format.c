#include "cli/format.h"

#include <inttypes.h>
#include <wchar.h>

const char *format_bytes(uint64_t bytes, char text[static FORMAT_SIZE])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(text, FORMAT_SIZE, "%" PRIu64 " B", bytes);
		return text;
	}
	/* What would be printed as 1024 is one of the next unit. */
	while (value >= 1023.5 && unit < ELEMENTS(units) - 1) {
		value /= 1024;
		unit++;
	}
	snprintf(text, FORMAT_SIZE, value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

const char *format_count(uint64_t count, char text[static FORMAT_SIZE])
{
	char digits[24];
	size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, count);
	char *to = text;

	for (size_t i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return text;
}

const char *format_span(nsec span, char text[static FORMAT_SIZE])
{
	static const struct {
		int64_t seconds;
		char letter;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	int64_t left = span > 0 ? span / NSEC_S : 0;

	for (size_t i = 0; i < ELEMENTS(units); i++) {
		int64_t whole = left / units[i].seconds;
		int64_t rest;

		if (whole == 0)
			continue;
		rest = i + 1 < ELEMENTS(units) ? left % units[i].seconds / units[i + 1].seconds : 0;
		if (rest > 0)
			snprintf(text, FORMAT_SIZE, "%" PRId64 "%c %" PRId64 "%c", whole,
				 units[i].letter, rest, units[i + 1].letter);
		else
			snprintf(text, FORMAT_SIZE, "%" PRId64 "%c", whole, units[i].letter);
		return text;
	}
	snprintf(text, FORMAT_SIZE, "0s");
	return text;
}

const char *format_when(nsec at_wall, nsec now_wall, char text[static FORMAT_SIZE])
{
	char span[FORMAT_SIZE];
	nsec past;

	if (at_wall == 0 || __builtin_sub_overflow(now_wall, at_wall, &past))
		return memcpy(text, "-", 2);
	if (past > -NSEC_S && past < NSEC_S)
		return memcpy(text, "now", 4);
	if (past > 0)
		snprintf(text, FORMAT_SIZE, "%.30s ago", format_span(past, span));
	else
		snprintf(text, FORMAT_SIZE, "in %.30s", format_span(-past, span));
	return text;
}

static const char *format_utc(nsec at_wall, bool exact, char text[static FORMAT_SIZE])
{
	time_t seconds = (time_t)(at_wall / NSEC_S);
	struct tm tm;
	size_t n;

	if (at_wall <= 0 || !gmtime_r(&seconds, &tm))
		return memcpy(text, "-", 2);
	n = strftime(text, FORMAT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	if (exact)
		snprintf(text + n, FORMAT_SIZE - n, ".%03dZ", (int)(at_wall % NSEC_S / NSEC_MS));
	else
		snprintf(text + n, FORMAT_SIZE - n, "Z");
	return text;
}

const char *format_time(nsec at_wall, char text[static FORMAT_SIZE])
{
	return format_utc(at_wall, false, text);
}

const char *format_time_exact(nsec at_wall, char text[static FORMAT_SIZE])
{
	return format_utc(at_wall, true, text);
}

bool format_utf8(str s, uint32_t *ret_code, size_t *ret_bytes)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = s.n ? (uint8_t)s.p[0] : 0xff;
	size_t n = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t code = n == 1 ? first : first & (0x7fu >> n);

	if (n == 0 || first > 0xf4 || s.n < n)
		return false;
	for (size_t i = 1; i < n; i++) {
		if (((uint8_t)s.p[i] & 0xc0) != 0x80)
			return false;
		code = code << 6 | ((uint8_t)s.p[i] & 0x3f);
	}
	/* Overlong forms, surrogates, beyond Unicode. */
	if (code < least[n] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
		return false;
	*ret_code = code;
	*ret_bytes = n;
	return true;
}

/* Columns of the character at the front, 0: not to be shown as it is. */
static size_t shown(str s, size_t *ret_bytes)
{
	uint32_t code;
	int columns;

	*ret_bytes = 1;
	if (!format_utf8(s, &code, ret_bytes)) {
		*ret_bytes = 1;
		return 0;
	}
	if (code < 0x80)
		return code >= ' ' && code < 0x7f;
	/* Without width (combining, bidirectional and zero-width characters) it could hide. */
	columns = wcwidth((wchar_t)code);
	return columns > 0 ? (size_t)columns : 0;
}

int format_escape(str s, struct buf *to)
{
	int r = 0;

	while (s.n && r == 0) {
		size_t bytes;

		if (shown(s, &bytes) > 0) {
			r = buf_add(to, str_first(s, bytes));
		} else {
			bytes = 1;
			r = buf_addf(to, "\\x%02x", (uint8_t)s.p[0]);
		}
		s = str_from(s, bytes);
	}
	return r;
}

size_t format_columns(str s)
{
	size_t columns = 0, bytes, here;

	for (; s.n; s = str_from(s, bytes)) {
		here = shown(s, &bytes);
		columns += here ? here : 1;
	}
	return columns;
}
