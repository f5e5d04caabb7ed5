#include "smtp/dot_in.h"

#include "smtp/octets.h"

void dot_in_init(struct dot_in *d)
{
	*d = (struct dot_in){ .state = DOT_IN_LINE_START };
}

/* Length of the run at the start of `in`, which starts within a line: up to the next line that starts
 * with a dot, or to the end of the input. */
static size_t run_length(struct dot_in *d, str in)
{
	size_t at = 0;

	while (at < in.n) {
		const char *line = in.p + at;
		const char *lf = memchr(line, '\n', in.n - at);
		size_t content = lf ? (size_t)(lf - line) : in.n - at;
		bool ends_cr = content ? line[content - 1] == '\r' : d->state == DOT_IN_CR;

		/* A CR at the end of the last run is bare when no LF starts this one. */
		if (d->state == DOT_IN_CR && content)
			d->bare_cr = true;
		if (octets_has(str_mem(line, content ? content - 1 : 0), '\r'))
			d->bare_cr = true;
		if (!lf) {
			d->state = ends_cr ? DOT_IN_CR : DOT_IN_LINE;
			return in.n;
		}
		if (!ends_cr)
			d->bare_lf = true;
		at += content + 1;
		d->state = ends_cr ? DOT_IN_LINE_START : DOT_IN_LINE;
		if (ends_cr && at < in.n && in.p[at] == '.')
			return at;
	}
	return at;
}

/* The state behind the input's first byte when it decides about a dot at a line's start. True: a CR that
 * was kept back must be put out now. */
static bool step_dot(struct dot_in *d, str *in)
{
	switch (d->state) {
	case DOT_IN_LINE_START:
		if (in->p[0] != '.') {
			d->state = DOT_IN_LINE;
			return false;
		}
		d->state = DOT_IN_DOT;
		*in = str_from(*in, 1);
		return false;
	case DOT_IN_DOT:
		if (in->p[0] != '\r') {
			d->state = DOT_IN_LINE;
			return false;
		}
		d->state = DOT_IN_DOT_CR;
		*in = str_from(*in, 1);
		return false;
	case DOT_IN_DOT_CR:
		if (in->p[0] == '\n') {
			d->state = DOT_IN_ENDED;
			*in = str_from(*in, 1);
			return false;
		}
		d->state = DOT_IN_CR;
		return true;
	case DOT_IN_LINE:
	case DOT_IN_CR:
	case DOT_IN_ENDED:
		break;
	}
	return false;
}

bool dot_in_next(struct dot_in *d, str *in, str *ret_run)
{
	static const char cr[] = "\r";
	size_t n;

	while (in->n && !dot_in_ended(d)) {
		if (d->state != DOT_IN_LINE && d->state != DOT_IN_CR) {
			if (step_dot(d, in)) {
				*ret_run = str_mem(cr, 1);
				d->bytes++;
				return true;
			}
			continue;
		}
		n = run_length(d, *in);
		*ret_run = str_first(*in, n);
		*in = str_from(*in, n);
		d->any_8bit = d->any_8bit || !str_is_ascii(*ret_run);
		d->bytes += n;
		return true;
	}
	return false;
}
