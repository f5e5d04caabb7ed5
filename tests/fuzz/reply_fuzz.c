/*
 * reply: bytes fed in pieces of any size give what the same bytes give at once, within the bounds,
 * and everything kept is printable.
 */
#include "smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed_all(struct reply *r, str bytes, size_t piece, size_t *ret_used)
{
	size_t at = 0, used = 0;
	int result = 0;

	while (at < bytes.n && result == 0) {
		str part = str_first(str_from(bytes, at), piece);

		result = reply_feed(r, part, &used);
		must(used <= part.n);
		must(result != 0 || used == part.n);
		at += used;
	}
	*ret_used = at;
	return result;
}

static void check_kept(const struct reply *r)
{
	char line[512];
	str one;

	must(r->text.n <= REPLY_TEXT_MAX);
	for (size_t i = 0; i < r->text.n; i++) {
		unsigned char c = (unsigned char)r->text.p[i];

		must(c == '\n' || (c >= ' ' && c < 0x7f));
	}
	must(r->code >= 200 && r->code <= 599);
	must(!reply_line(r, REPLY_LINES_KEPT).p);
	must(reply_enhanced(r).class == 0 || reply_enhanced(r).class == reply_class(r));
	one = reply_one_line(r, line, sizeof line);
	must(one.n >= 3 && one.n < sizeof line && line[one.n] == '\0' &&
	     !memchr(one.p, '\n', one.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply whole, pieces;
	size_t used_whole, used_pieces, piece;
	int a, b;

	if (size < 2)
		return 0;
	piece = 1 + data[0] % 40;
	reply_init(&whole);
	reply_init(&pieces);
	a = feed_all(&whole, str_mem(data + 1, size - 1), size, &used_whole);
	b = feed_all(&pieces, str_mem(data + 1, size - 1), piece, &used_pieces);
	if (a != -EMSGSIZE && b != -EMSGSIZE) {
		must(a == b);
		must(used_whole == used_pieces);
	}
	if (a == 1 && b == 1) {
		must(str_eq(buf_str(&whole.text), buf_str(&pieces.text)));
		check_kept(&whole);
	}
	reply_done(&whole);
	reply_done(&pieces);
	return 0;
}
