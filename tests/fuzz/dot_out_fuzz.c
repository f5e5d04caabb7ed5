/*
 * dot_out: what a strict server decodes is the body, byte for byte, whatever pieces the body came
 * in; no laxer server sees an end before the end; a body with a bare CR or LF is refused.
 */
#include "base/buf.h"
#include "smtp/dot_out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_bare_line_end(str body)
{
	for (size_t i = 0; i < body.n; i++) {
		if (body.p[i] == '\n' && (i == 0 || body.p[i - 1] != '\r'))
			return true;
		if (body.p[i] == '\r' && (i + 1 == body.n || body.p[i + 1] != '\n'))
			return true;
	}
	return false;
}

static int encode(str body, size_t chunk, struct buf *to)
{
	struct dot_out d;
	str piece, in;
	int r = 0;

	dot_out_init(&d);
	while (body.n > 0) {
		in = str_first(body, chunk);
		body = str_from(body, chunk);
		while ((r = dot_out_next(&d, &in, &piece)) == 1) {
			must(piece.n > 0);
			must(buf_add(to, piece) >= 0);
		}
		if (r < 0)
			return r;
	}
	r = dot_out_end(&d, &piece);
	if (r < 0)
		return r;
	must(buf_add(to, piece) >= 0);
	return 0;
}

/* RFC 5321 §4.5.2, one byte at a time: the length of the body decoded in place, *ret_used bytes
 * read. */
static size_t decode(char *p, size_t n, size_t *ret_used)
{
	size_t to = 0;
	bool line_start = true;

	for (size_t at = 0; at < n; at++) {
		if (line_start && p[at] == '.') {
			if (at + 2 < n && p[at + 1] == '\r' && p[at + 2] == '\n') {
				*ret_used = at + 3;
				return to;
			}
			at++;
			must(at < n);
		}
		p[to++] = p[at];
		line_start = to >= 2 && p[to - 2] == '\r' && p[to - 1] == '\n';
	}
	must(false);
	return 0;
}

static bool looks_like_end(const char *p)
{
	return (p[0] == '\r' || p[0] == '\n') && p[1] == '.' && (p[2] == '\r' || p[2] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf encoded;
	str body;
	size_t used, decoded;
	int r;

	if (size < 1)
		return 0;
	body = str_mem(data + 1, size - 1);
	buf_init(&encoded, 2 * size + 8);
	r = encode(body, 1 + data[0], &encoded);
	must((r == -EBADMSG) == has_bare_line_end(body));
	if (r >= 0) {
		for (size_t i = 0; i + 5 < encoded.n; i++)
			must(!looks_like_end(encoded.p + i));
		decoded = decode(encoded.p, encoded.n, &used);
		must(used == encoded.n);
		must(str_eq(str_mem(encoded.p, MIN(decoded, body.n)), body));
		must(decoded == body.n || (decoded == body.n + 2 &&
					   str_eq(str_mem(encoded.p + body.n, 2), STR("\r\n"))));
	}
	buf_done(&encoded);
	return 0;
}
