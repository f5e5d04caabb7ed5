/*
 * A look at the text before libconfuse reads it. libconfuse accepts a block that is never closed, leaves
 * its lexer inside a string or comment that never ends (the next file, at a reload, would then be read
 * wrongly), and replaces ${NAME} from the environment. All of it is refused here, with the line
 * where it began. The token rules are those of libconfuse's lexer.
 */
#include "conf/reader.h"

#define DEPTH_MAX 2

struct scan {
	struct conf_reader *r;
	const char *at, *end;
	unsigned line;
	unsigned open_line[DEPTH_MAX]; /* where the braces that are open were opened */
	size_t depth;
};

static bool left(const struct scan *s, size_t n)
{
	return (size_t)(s->end - s->at) >= n;
}

static void step(struct scan *s)
{
	s->line += *s->at++ == '\n';
}

static int scan_escape(struct scan *s, char quote)
{
	static const char numbered[] = "0123456789xX";

	step(s);
	if (!left(s, 1))
		return 0;
	if (quote == '"' && *s->at && strchr(numbered, *s->at))
		return conf_fail(
			s->r, s->line,
			"numbered escape in a string; write the character itself, \\\\ for a "
			"backslash");
	step(s);
	return 0;
}

static int scan_string(struct scan *s)
{
	unsigned began = s->line;
	char quote = *s->at;
	int r = 0;

	for (step(s); left(s, 1) && *s->at != quote && r == 0;) {
		if (*s->at == '\\')
			r = scan_escape(s, quote);
		else if (quote == '"' && left(s, 2) && s->at[0] == '$' && s->at[1] == '{')
			r = conf_fail(s->r, s->line,
				      "${ in a string; the environment is not read here, write the "
				      "value");
		else
			step(s);
	}
	if (r < 0)
		return r;
	if (!left(s, 1))
		return conf_fail(s->r, began, "the string that begins here is not closed; add %c",
				 quote);
	step(s);
	return 0;
}

static int scan_block_comment(struct scan *s)
{
	unsigned began = s->line;

	s->at += 2;
	while (left(s, 2) && !(s->at[0] == '*' && s->at[1] == '/'))
		step(s);
	if (!left(s, 2))
		return conf_fail(s->r, began, "the comment that begins here is not closed; add */");
	s->at += 2;
	return 0;
}

static void scan_line_comment(struct scan *s)
{
	while (left(s, 1) && *s->at != '\n')
		step(s);
}

static int scan_brace(struct scan *s)
{
	if (*s->at == '{') {
		/* A list inside a block is the deepest there is. */
		if (s->depth == DEPTH_MAX)
			return conf_fail(
				s->r, s->line,
				"unexpected {; close the block of line %u first, or remove it",
				s->open_line[DEPTH_MAX - 1]);
		s->open_line[s->depth++] = s->line;
	} else {
		if (s->depth == 0)
			return conf_fail(s->r, s->line,
					 "unexpected }; nothing is open here, remove it");
		s->depth--;
	}
	step(s);
	return 0;
}

/* Until a character that cannot be inside an unquoted word. */
static int scan_word(struct scan *s)
{
	static const char ends[] = " #\"'\t\n\r={}()+,*";
	const char *began = s->at;

	while (left(s, 1) && !strchr(ends, *s->at)) {
		if (left(s, 2) && s->at[0] == '$' && s->at[1] == '{')
			return conf_fail(s->r, s->line,
					 "${ is not read from the environment; write the value");
		step(s);
	}
	if (s->at == began)
		step(s);
	return 0;
}

int conf_scan(struct conf_reader *r, str text)
{
	struct scan s = { .r = r, .at = text.p, .end = text.p + text.n, .line = 1 };
	int result = 0;

	if (text.n && memchr(text.p, '\0', text.n))
		return conf_fail(r, 1, "the file contains a NUL byte; it is not text");
	while (left(&s, 1) && result == 0) {
		if (*s.at == '"' || *s.at == '\'')
			result = scan_string(&s);
		else if (*s.at == '{' || *s.at == '}')
			result = scan_brace(&s);
		else if (*s.at == '#' || (left(&s, 2) && s.at[0] == '/' && s.at[1] == '/'))
			scan_line_comment(&s);
		else if (left(&s, 2) && s.at[0] == '/' && s.at[1] == '*')
			result = scan_block_comment(&s);
		else
			result = scan_word(&s);
	}
	r->line_last = s.line;
	if (result == 0 && s.depth > 0)
		return conf_fail(r, s.open_line[s.depth - 1],
				 "the block or list that begins here is not closed; add }");
	return result;
}
