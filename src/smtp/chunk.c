#include "smtp/chunk.h"

#include "smtp/octets.h"

void chunk_init(struct chunk *c)
{
	*c = (struct chunk){ .left = 0 };
}

void chunk_begin(struct chunk *c, uint64_t bytes, bool last)
{
	must(!c->left && !c->last);
	c->left = bytes;
	c->last = last;
	/* An empty last chunk: nothing follows a CR that is still open. */
	if (last && !bytes && c->after_cr)
		c->bare_cr = true;
}

/* A line, or what there is of it: up to and with its LF. */
static void look_at_line(struct chunk *c, str line)
{
	bool lf = line.p[line.n - 1] == '\n';
	str text = str_first(line, line.n - lf);
	bool ends_cr = text.n ? text.p[text.n - 1] == '\r' : c->after_cr;

	/* A CR at the end of what came before is bare when no LF starts this. */
	if (c->after_cr && text.n)
		c->bare_cr = true;
	if (octets_has(str_first(text, text.n ? text.n - 1 : 0), '\r'))
		c->bare_cr = true;
	if (lf && !ends_cr)
		c->bare_lf = true;
	c->line_bytes += line.n;
	if (c->line_bytes > CHUNK_LINE_MAX)
		c->long_line = true;
	if (lf && ends_cr)
		c->line_bytes = 0;
	c->after_cr = !lf && ends_cr;
}

static void look_at_run(struct chunk *c, str run)
{
	c->any_8bit = c->any_8bit || !str_is_ascii(run);
	c->any_nul = c->any_nul || octets_has(run, '\0');
	c->bytes += run.n;
	while (run.n) {
		const char *lf = memchr(run.p, '\n', run.n);
		size_t n = lf ? (size_t)(lf - run.p) + 1 : run.n;

		look_at_line(c, str_first(run, n));
		run = str_from(run, n);
	}
	if (chunk_ended(c) && c->after_cr)
		c->bare_cr = true;
}

bool chunk_next(struct chunk *c, str *in, str *ret_run)
{
	if (!c->left || !in->n)
		return false;
	*ret_run = str_first(*in, (size_t)MIN(c->left, (uint64_t)in->n));
	*in = str_from(*in, ret_run->n);
	c->left -= ret_run->n;
	look_at_run(c, *ret_run);
	return true;
}

bool chunk_fits_data(const struct chunk *c)
{
	return !c->bare_cr && !c->bare_lf && !c->any_nul && !c->long_line;
}
