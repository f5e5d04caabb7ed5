#include "proc/smtpin/command_line.h"

#define LINE_BYTES_MAX (SMTP_PATH_LINE_MAX - 2)
#define DISCARD_BYTES_MAX (64 * 1024)

/* Throws away what is pending of an overlong line, but for a CR that may be half of its end. */
static size_t discard(struct stream *stream, str pending)
{
	size_t n = pending.p[pending.n - 1] == '\r' ? pending.n - 1 : pending.n;

	stream_consume(stream, n);
	return n;
}

/* The octets behind an overlong BDAT are nobody's commands, and nobody knows how many they are: as after any BDAT
 * without a size the session ends. */
static int overlong(str pending)
{
	return str_case_starts(pending, STR("BDAT")) ? -E2BIG : -EMSGSIZE;
}

int command_line_read(struct task *tk, struct session *s, nsec deadline, str *ret_line,
		      size_t *ret_bytes)
{
	size_t searched = 0, discarded = 0;

	for (;;) {
		str pending = stream_pending(&s->stream);
		ssize_t at = str_find(str_from(pending, searched), STR("\r\n"));
		size_t length = searched + (size_t)at; /* when there is an end */
		ssize_t got;

		if (at >= 0 && !discarded && length <= LINE_BYTES_MAX) {
			*ret_line = str_first(pending, length);
			*ret_bytes = length + 2;
			return 0;
		}
		if (at >= 0) {
			int r = discarded ? -EMSGSIZE : overlong(pending);

			stream_consume(&s->stream, length + 2);
			return r;
		}
		searched = pending.n ? pending.n - 1 : 0;
		if (pending.n && (discarded || pending.n > LINE_BYTES_MAX + 1)) {
			if (!discarded && overlong(pending) == -E2BIG)
				return -E2BIG;
			discarded += discard(&s->stream, pending);
			searched = 0;
		}
		if (discarded > DISCARD_BYTES_MAX)
			return -E2BIG;
		got = session_fill(tk, s, deadline);
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
}
