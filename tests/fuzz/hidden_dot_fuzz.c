/*
 * hidden_dot: what it finds is what a lax server finds: one that drops controls as it reads, and then looks for the end of
 * the data. The body is framed by dot_out as a server behind us gets it.
 */
#include "smtp/hidden_dot.h"

#include "base/buf.h"
#include "smtp/dot_out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The body on the wire; false: DATA cannot carry it. */
static bool frame(str body, struct buf *wire)
{
	struct dot_out out;
	str piece;
	int r;

	dot_out_init(&out);
	while ((r = dot_out_next(&out, &body, &piece)) == 1)
		must(buf_add(wire, piece) == 0);
	if (r == 0)
		r = dot_out_end(&out, &piece);
	if (r == 0)
		must(buf_add(wire, piece) == 0);
	return r == 0;
}

/* Does that server end the message before its end? */
static bool ends_early(str wire)
{
	struct buf kept;
	ssize_t end;
	str text;
	bool early;

	buf_init(&kept, wire.n + 2);
	must(buf_add(&kept, STR("\r\n")) == 0); /* that of DATA */
	for (size_t i = 0; i < wire.n; i++) {
		unsigned char c = (unsigned char)wire.p[i];

		if (c == '\r' || c == '\n' || c == '\t' || (c >= ' ' && c != 0x7f))
			must(buf_add_byte(&kept, wire.p[i]) == 0);
	}
	text = buf_str(&kept);
	end = str_find(text, STR("\r\n.\r\n"));
	must(end >= 0);
	early = (size_t)end + 5 < text.n;
	buf_done(&kept);
	return early;
}

/* In pieces whose lengths the input's first octet decides. */
static bool is_found(str body, size_t seed)
{
	struct hidden_dot h = { 0 };

	while (body.n) {
		size_t n = 1 + seed % 13;

		hidden_dot_feed(&h, str_first(body, n));
		body = str_from(body, n);
		seed = seed * 1103515245 + 12345;
	}
	hidden_dot_finish(&h);
	return h.found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t seed = size ? data[0] * 2654435761u : 0;
	str body = str_from(str_mem(data, size), 1);
	struct buf wire;
	bool found = is_found(body, seed);

	buf_init(&wire, 2 * body.n + 8);
	if (frame(body, &wire))
		must(found == ends_early(buf_str(&wire)));
	buf_done(&wire);
	return 0;
}
