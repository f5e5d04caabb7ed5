/*
 * line_ends: are there line ends other than CRLF in what streams by? For bodies that come in chunks of known
 * size (RFC 3030), where nothing is decoded; dot_in does the same for DATA. Pure; the input may be cut
 * anywhere.
 */
#pragma once

#include "base/str.h"

struct line_ends {
	bool after_cr; /* a CR came last */
	bool bare;     /* a CR without LF, or an LF without CR */
	bool any_8bit;
};

void line_ends_feed(struct line_ends *l, str run);
/* Nothing follows: a CR that came last is bare. */
void line_ends_finish(struct line_ends *l);
