#include "smtp/hidden_dot.h"

/* A tab is white space, and CR only stands before LF here: whoever has it elsewhere is refused for that. */
static bool is_dropped(char c)
{
	return ((unsigned char)c < ' ' && c != '\t') || c == 0x7f;
}

static void step(struct hidden_dot *h, char c)
{
	if (c == '\n') {
		h->found = h->found || h->state == HIDDEN_DOT_DOT;
		h->state = HIDDEN_DOT_START;
	} else if (is_dropped(c)) {
		if (h->state == HIDDEN_DOT_START && c != '\r')
			h->state = HIDDEN_DOT_CONTROLS;
	} else if (c == '.' && h->state == HIDDEN_DOT_CONTROLS) {
		h->state = HIDDEN_DOT_DOT;
	} else {
		h->state = HIDDEN_DOT_LINE;
	}
}

void hidden_dot_feed(struct hidden_dot *h, str run)
{
	while (run.n) {
		const char *lf;

		/* Nearly every line is decided by its first octet. */
		if (h->state != HIDDEN_DOT_LINE) {
			step(h, run.p[0]);
			run = str_from(run, 1);
			continue;
		}
		lf = memchr(run.p, '\n', run.n);
		if (!lf)
			return;
		h->state = HIDDEN_DOT_START;
		run = str_from(run, (size_t)(lf - run.p) + 1);
	}
}

void hidden_dot_finish(struct hidden_dot *h)
{
	h->found = h->found || h->state == HIDDEN_DOT_DOT;
}
