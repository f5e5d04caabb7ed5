#include "smtp/dot_out.h"

void dot_out_init(struct dot_out *d)
{
	*d = (struct dot_out){ .line_start = true };
}

/* Scans one line, or what there is of it: bytes up to and with its LF, or -EBADMSG. */
static ssize_t scan_line(struct dot_out *d, str in)
{
	const char *cr = memchr(in.p, '\r', in.n);
	size_t length = cr ? (size_t)(cr - in.p) : in.n; /* text before the line end */

	if (memchr(in.p, '\n', length))
		return -EBADMSG;
	d->line_start = false;
	if (!cr)
		return (ssize_t)length;
	if (length + 1 == in.n) {
		d->after_cr = true;
		return (ssize_t)in.n;
	}
	if (cr[1] != '\n')
		return -EBADMSG;
	d->line_start = true;
	return (ssize_t)length + 2;
}

int dot_out_next(struct dot_out *d, str *in, str *ret_piece)
{
	size_t at = 0;

	*ret_piece = STR_NONE;
	if (in->n == 0)
		return 0;
	if (d->after_cr) {
		if (in->p[0] != '\n')
			return -EBADMSG;
		*d = (struct dot_out){ .line_start = true };
		at = 1;
	}
	while (at < in->n) {
		ssize_t line;

		if (d->line_start && in->p[at] == '.') {
			/* The piece ends with this dot and the next one begins with it again. */
			d->line_start = false;
			*ret_piece = str_first(*in, at + 1);
			*in = str_from(*in, at);
			return 1;
		}
		line = scan_line(d, str_from(*in, at));
		if (line < 0)
			return (int)line;
		at += (size_t)line;
	}
	*ret_piece = *in;
	*in = str_from(*in, in->n);
	return 1;
}

int dot_out_end(const struct dot_out *d, str *ret_piece)
{
	*ret_piece = STR_NONE;
	if (d->after_cr)
		return -EBADMSG;
	*ret_piece = d->line_start ? STR(".\r\n") : STR("\r\n.\r\n");
	return 0;
}
