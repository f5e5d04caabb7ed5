#include "proc/smtpin/line_ends.h"

void line_ends_feed(struct line_ends *l, str run)
{
	bool after_cr = l->after_cr, bare = l->bare;
	unsigned char all = 0;

	for (size_t i = 0; i < run.n; i++) {
		unsigned char c = (unsigned char)run.p[i];

		bare |= after_cr != (c == '\n');
		after_cr = c == '\r';
		all |= c;
	}
	l->after_cr = after_cr;
	l->bare = bare;
	l->any_8bit |= all > 127;
}

void line_ends_finish(struct line_ends *l)
{
	l->bare |= l->after_cr;
	l->after_cr = false;
}
