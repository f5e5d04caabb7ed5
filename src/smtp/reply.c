#include "smtp/reply.h"

void reply_init(struct reply *r)
{
	*r = (struct reply){ 0 };
	buf_init(&r->text, REPLY_TEXT_MAX);
	reply_reset(r);
}

void reply_done(struct reply *r)
{
	buf_done(&r->text);
}

void reply_reset(struct reply *r)
{
	struct buf text = r->text;

	buf_reset(&text);
	*r = (struct reply){ .text = text, .kept = true };
}

/* Part of a line's text. CRs are left out wherever they stand: whether one belongs to the line's
 * end is known only later, and none means anything. */
static int keep(struct reply *r, str text)
{
	for (size_t i = 0; i < text.n && r->kept; i++) {
		unsigned char c = (unsigned char)text.p[i];
		int err;

		if (c == '\r')
			continue;
		if (r->text.n == REPLY_TEXT_MAX - 1) { /* one for the '\n' */
			r->kept = false;
			break;
		}
		err = buf_reserve(&r->text, 2);
		if (err < 0)
			return err;
		r->text.p[r->text.n++] = (char)(c >= ' ' && c < 0x7f ? c : c == '\t' ? ' ' : '?');
	}
	return 0;
}

static int end_line(struct reply *r)
{
	if (r->place < 3)
		return -EPROTO;
	if (r->lines == 0)
		r->code = r->line_code;
	if (r->line_code != r->code)
		return -EPROTO;
	r->lines++;
	if (r->kept || (r->text.n > 0 && r->text.p[r->text.n - 1] != '\n')) {
		int err = buf_add_byte(&r->text, '\n');

		if (err < 0)
			return err;
	}
	r->kept = r->lines < REPLY_LINES_KEPT && r->text.n < REPLY_TEXT_MAX - 1;
	r->place = 0;
	r->line_code = 0;
	return 0;
}

/* The three digits and what separates them from the text. */
static int take_prefix(struct reply *r, char c)
{
	if (r->place < 3) {
		if (c < '0' || c > '9' || (r->place == 0 && (c < '2' || c > '5')))
			return -EPROTO;
		r->line_code = r->line_code * 10 + (c - '0');
	} else if (c == '-' || c == ' ') {
		r->last = c == ' ';
	} else {
		return -EPROTO;
	}
	r->place++;
	return 0;
}

/* Text up to the end of the line or of the bytes: how much of it. */
static int take_text(struct reply *r, str bytes, size_t *ret_used)
{
	const char *lf = memchr(bytes.p, '\n', bytes.n);

	*ret_used = lf ? (size_t)(lf - bytes.p) : bytes.n;
	return keep(r, str_first(bytes, *ret_used));
}

int reply_feed(struct reply *r, str bytes, size_t *ret_used)
{
	size_t at = 0;
	int err = 0;

	while (at < bytes.n && err >= 0) {
		size_t used = 1;
		char c = bytes.p[at];

		if (c == '\n') {
			/* "250" alone on its line is a last line: RFC 5321 §4.2. */
			bool last = r->last || r->place == 3;

			err = end_line(r);
			if (err >= 0 && last)
				err = 1;
			r->last = false;
		} else if (c == '\r' && r->place == 3) {
			/* a bare code; nothing but the line's end may follow */
		} else if (r->place < 4) {
			err = take_prefix(r, c);
		} else {
			err = take_text(r, str_from(bytes, at), &used);
		}
		at += used;
		r->bytes += (uint32_t)used;
		if (err >= 0 && r->bytes > REPLY_BYTES_MAX)
			err = -EMSGSIZE;
		if (err == 1)
			break;
	}
	*ret_used = at;
	return err;
}

str reply_line(const struct reply *r, size_t n)
{
	str rest = buf_str(&r->text), line;

	while (str_cut(rest, '\n', &line, &rest)) {
		if (n-- == 0)
			return line;
	}
	return STR_NONE;
}

/* "5.1.1" at the start of text, followed by a space or nothing: its length, or 0. */
static size_t enhanced_at(str text, int class, struct enhanced_code *ret)
{
	uint16_t part[3] = { 0 };
	size_t at = 0;

	*ret = (struct enhanced_code){ 0 };
	for (int i = 0; i < 3; i++) {
		size_t digits = 0;

		if (i > 0 && (at >= text.n || text.p[at++] != '.'))
			return 0;
		while (at < text.n && text.p[at] >= '0' && text.p[at] <= '9') {
			if (++digits > 3)
				return 0;
			part[i] = (uint16_t)(part[i] * 10 + (text.p[at++] - '0'));
		}
		if (digits == 0)
			return 0;
	}
	if ((at < text.n && text.p[at] != ' ') || part[0] != class)
		return 0;
	*ret = (struct enhanced_code){ (uint8_t)part[0], part[1], part[2] };
	return at;
}

struct enhanced_code reply_enhanced(const struct reply *r)
{
	struct enhanced_code code;

	enhanced_at(reply_line(r, 0), reply_class(r), &code);
	return code;
}

static size_t append(char *to, size_t size, size_t at, str text)
{
	text = str_first(text, size - 1 - at);
	if (text.n > 0)
		memcpy(to + at, text.p, text.n);
	return at + text.n;
}

str reply_one_line(const struct reply *r, char *to, size_t size)
{
	str rest = buf_str(&r->text), line, first_enhanced = STR_NONE;
	char code[8];
	size_t at = 0;

	must(size > 0);
	snprintf(code, sizeof code, "%03d", r->code);
	at = append(to, size, at, str_of(code));
	while (str_cut(rest, '\n', &line, &rest)) {
		struct enhanced_code ignored;
		str enhanced = str_first(line, enhanced_at(line, reply_class(r), &ignored));

		if (enhanced.n > 0 && str_eq(enhanced, first_enhanced))
			line = str_from(line, enhanced.n);
		if (enhanced.n > 0 && !first_enhanced.p)
			first_enhanced = enhanced;
		line = str_trim(line);
		if (line.n == 0)
			continue;
		at = append(to, size, at, STR(" "));
		at = append(to, size, at, line);
	}
	to[at] = '\0';
	return (str){ to, at };
}
