/*
 * chunk: the streaming counter against a simple one that sees everything at once, the body cut into chunks and pieces at
 * places that the input itself chooses; and what it says of DATA against dot_out and dot_in.
 */
#include "smtp/chunk.h"

#include "base/buf.h"
#include "smtp/dot_in.h"
#include "smtp/dot_out.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct oracle {
	bool bare_cr, bare_lf, any_8bit, any_nul, long_line;
	uint64_t line_bytes;
};

/* A byte at a time. */
static void look_simply(str body, struct oracle *o)
{
	for (size_t i = 0; i < body.n; i++) {
		char c = body.p[i], before = i ? body.p[i - 1] : 0;

		o->bare_lf |= c == '\n' && before != '\r';
		o->bare_cr |= c == '\r' && (i + 1 == body.n || body.p[i + 1] != '\n');
		o->any_8bit |= (unsigned char)c > 127;
		o->any_nul |= c == '\0';
		o->long_line |= ++o->line_bytes > CHUNK_LINE_MAX;
		if (c == '\n' && before == '\r')
			o->line_bytes = 0;
	}
}

/* One chunk, in pieces each in its own allocation. Returns the octets read. */
static void take_chunk(struct chunk *c, str body, size_t *seed)
{
	size_t at = 0;

	while (!chunk_done(c)) {
		size_t n = MIN(1 + *seed % 37, body.n - at);
		char *piece = malloc(n);
		str in = str_mem(piece, n), run;

		must(n && piece);
		memcpy(piece, body.p + at, n);
		while (chunk_next(c, &in, &run)) {
			must(run.n && str_eq(run, str_mem(body.p + at, run.n)));
			at += run.n;
		}
		must(!in.n);
		free(piece);
		*seed = *seed * 1103515245 + 12345;
	}
	must(at == body.n);
}

static void check_data(const struct chunk *c, str body)
{
	struct dot_out out;
	struct dot_in in;
	struct buf wire, back;
	str rest = body, piece;
	int r;

	dot_out_init(&out);
	buf_init(&wire, 2 * body.n + 8);
	buf_init(&back, 2 * body.n + 8);
	while ((r = dot_out_next(&out, &rest, &piece)) == 1)
		must(buf_add(&wire, piece) == 0);
	if (r == 0)
		r = dot_out_end(&out, &piece);
	must((r == 0) == (!c->bare_cr && !c->bare_lf));
	if (r == 0) {
		must(buf_add(&wire, piece) == 0);
		dot_in_init(&in);
		rest = buf_str(&wire);
		while (dot_in_next(&in, &rest, &piece))
			must(buf_add(&back, piece) == 0);
		must(dot_in_ended(&in) && !rest.n && in.any_8bit == c->any_8bit);
		if (c->line_bytes)
			must(buf_str(&back).n == body.n + 2);
		must(str_eq(str_first(buf_str(&back), body.n), body));
	}
	buf_done(&wire);
	buf_done(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t seed = size ? data[0] * 2654435761u : 0, at = 0;
	str body = str_from(str_mem(data, size), 1);
	struct oracle o = { 0 };
	struct chunk c;

	look_simply(body, &o);
	chunk_init(&c);
	while (!chunk_ended(&c)) {
		size_t n = MIN(seed / 64 % 97, body.n - at);
		bool last = at + n == body.n && (!n || seed & 1);

		chunk_begin(&c, n, last);
		take_chunk(&c, str_mem(body.p + at, n), &seed);
		at += n;
		must(c.bytes == at);
		seed = seed * 1103515245 + 12345;
	}
	must(at == body.n);
	must(c.bare_cr == o.bare_cr && c.bare_lf == o.bare_lf && c.any_8bit == o.any_8bit &&
	     c.any_nul == o.any_nul && c.long_line == o.long_line && c.line_bytes == o.line_bytes);
	must(chunk_fits_data(&c) == (!o.bare_cr && !o.bare_lf && !o.any_nul && !o.long_line));
	check_data(&c, body);
	return 0;
}
