/*
 * hidden_dot: a body, as it streams in, is searched for a line that holds one dot, is otherwise nothing but control
 * characters, and does not start with the dot. Dot-stuffing (RFC 5321 §4.5.2) does not help such a line, and a
 * server that drops NUL or other controls before it looks for the end of the data ends the message there.
 *
 * Pure. Fed with the decoded body, cut anywhere.
 */
#pragma once

#include "base/str.h"

struct hidden_dot {
	enum { HIDDEN_DOT_START, HIDDEN_DOT_CONTROLS, HIDDEN_DOT_DOT, HIDDEN_DOT_LINE } state;
	bool found;
};

/* All zero before the first octet of a message. */
void hidden_dot_feed(struct hidden_dot *h, str run);
/* The body is over: its last line may have no end, and will be given one. */
void hidden_dot_finish(struct hidden_dot *h);
