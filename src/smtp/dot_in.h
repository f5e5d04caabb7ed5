/*
 * dot_in: what follows DATA, decoded as it streams in: RFC 5321 §4.5.2. Only CRLF.CRLF ends it (and .CRLF
 * at the very start); a dot that starts a line is dropped, where a line starts behind CRLF and nowhere
 * else. A bare CR or LF never ends anything: it is reported, so that the message can be refused
 * whole and no laxer server behind us can read a second message out of it (CVE-2023-51764).
 *
 * Pure, no copies: the output is runs, views into the input. The input may be cut anywhere.
 */
#pragma once

#include "base/str.h"

enum dot_in_state {
	DOT_IN_LINE_START,
	DOT_IN_LINE,
	DOT_IN_CR,     /* in a line, behind a CR */
	DOT_IN_DOT,    /* behind the dot that starts a line */
	DOT_IN_DOT_CR, /* behind that dot and a CR, which is not put out yet */
	DOT_IN_ENDED,
};

struct dot_in {
	enum dot_in_state state;
	bool bare_cr, bare_lf;
	bool any_8bit;
	uint64_t bytes; /* put out so far */
};

void dot_in_init(struct dot_in *d);
/* Decodes the next run: true with *ret_run (never empty) and *in moved on; false when more input is needed
 * (*in is then empty) or the end was read (dot_in_ended; *in is what follows it). */
bool dot_in_next(struct dot_in *d, str *in, str *ret_run);

static inline bool dot_in_ended(const struct dot_in *d)
{
	return d->state == DOT_IN_ENDED;
}
