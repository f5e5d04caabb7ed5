#include "base/log.h"

#include "base/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define VALUE_MAX_BYTES 1024 /* a field longer than this is cut: a peer chose it */

static struct {
	char process[32];
	enum log_level least;
	enum log_form form;
} log_state = { .process = "locum", .least = LOG_INFO };

static const char *const level_name[] = {
	[LOG_DEBUG] = "debug",
	[LOG_INFO] = "info",
	[LOG_WARN] = "warning",
	[LOG_ERROR] = "error",
};

/* The line under construction: adding past its end is cut, never an error. */
struct line {
	size_t n;
	char p[LINE_MAX_BYTES];
};

static void add(struct line *l, const char *p, size_t n)
{
	size_t room = sizeof(l->p) - 2 - l->n; /* closing brace and newline */

	n = MIN(n, room);
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

static void add_z(struct line *l, const char *z)
{
	add(l, z, strlen(z));
}

static void add_quoted(struct line *l, str s)
{
	static const char hex[] = "0123456789abcdef";

	add_z(l, "\"");
	for (size_t i = 0; i < MIN(s.n, (size_t)VALUE_MAX_BYTES); i++) {
		uint8_t c = (uint8_t)s.p[i];

		if (c == '"' || c == '\\') {
			add(l, (char[]){ '\\', (char)c }, 2);
		} else if (c < 0x20 || c >= 0x7f) {
			/* JSON knows code points only: a byte is shown as U+00XX. */
			add(l, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
		} else {
			add(l, (char *)&c, 1);
		}
	}
	if (s.n > VALUE_MAX_BYTES)
		add_z(l, "...");
	add_z(l, "\"");
}

static bool is_plain(str s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];

		if (c <= 0x20 || c >= 0x7f || c == '"' || c == '=' || c == '\\')
			return false;
	}
	return s.n > 0 && s.n <= VALUE_MAX_BYTES;
}

static void add_text(struct line *l, str s)
{
	if (log_state.form == LOG_TEXT && is_plain(s))
		add(l, s.p, s.n);
	else
		add_quoted(l, s);
}

/* The date changes once a second, events come by the thousand: only the milliseconds are written anew. */
static void add_time(struct line *l)
{
	static char text[96];
	static time_t second = -1;
	struct timespec ts;
	struct tm tm;
	char fraction[8];

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ts.tv_sec != second) {
		second = ts.tv_sec;
		gmtime_r(&second, &tm);
		snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	}
	add_z(l, text);
	snprintf(fraction, sizeof(fraction), ".%03uZ", (unsigned)(ts.tv_nsec / 1000000) % 1000);
	add_z(l, fraction);
}

static void add_value(struct line *l, const struct log_field *f)
{
	char text[48];

	switch (f->kind) {
	case LOG_STR:
		add_text(l, f->text);
		return;
	case LOG_INT:
		snprintf(text, sizeof(text), "%" PRId64, f->number);
		break;
	case LOG_SECONDS:
		snprintf(text, sizeof(text), "%.3f", (double)f->number / 1e9);
		break;
	case LOG_ID: {
		char id[ID_TEXT_LENGTH + 1];

		id_text(f->id, id);
		add_text(l, str_of(id));
		return;
	}
	case LOG_END:
		return;
	}
	add_z(l, text);
}

static void add_field(struct line *l, const struct log_field *f)
{
	if (log_state.form == LOG_JSON) {
		add_z(l, ",\"");
		add_z(l, f->key);
		add_z(l, "\":");
	} else {
		add_z(l, " ");
		add_z(l, f->key);
		add_z(l, "=");
	}
	add_value(l, f);
}

void log_open(const char *process, enum log_level least, enum log_form form)
{
	str_copy(str_of(process), log_state.process, sizeof(log_state.process));
	log_state.least = least;
	log_state.form = form;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields)
{
	/* Static, not on the stack: a task's stack is small, and one thread writes at a time. */
	static struct line l;
	int saved_errno = errno;

	if (level < log_state.least)
		return;
	l.n = 0;
	if (log_state.form == LOG_JSON) {
		add_z(&l, "{\"time\":\"");
		add_time(&l);
		add_z(&l, "\",\"process\":\"");
		add_z(&l, log_state.process);
		add_z(&l, "\",\"level\":\"");
		add_z(&l, level_name[level]);
		add_z(&l, "\",\"event\":\"");
		add_z(&l, event);
		add_z(&l, "\"");
	} else {
		add_time(&l);
		add_z(&l, " ");
		add_z(&l, log_state.process);
		add_z(&l, " ");
		add_z(&l, level_name[level]);
		add_z(&l, " ");
		add_z(&l, event);
	}
	for (const struct log_field *f = fields; f->kind != LOG_END; f++)
		add_field(&l, f);
	if (log_state.form == LOG_JSON)
		l.p[l.n++] = '}';
	l.p[l.n++] = '\n';
	/* A log that cannot be written must not stop mail. */
	while (write(STDERR_FILENO, l.p, l.n) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}
