#include "smtp/trace.h"

/* What a Received field is made of at its top level (RFC 5322 §3.2): words and comments, up to the
 * semicolon before the date. */
enum token { TOKEN_END, TOKEN_WORD, TOKEN_COMMENT };

void trace_init(struct trace *t, const struct trace_hooks *hooks)
{
	t->hooks = hooks;
	t->hops = 0;
	t->seen = 0;
	t->done = false;
	t->line_start = true;
	t->n = 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of the comment at the start of s, parentheses included; an unclosed one reaches to the end. */
static size_t comment_length(str s)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && !--depth)
			return i + 1;
	}
	return s.n;
}

/* Length of the word at the start of s; quoted strings in it may hold anything. */
static size_t word_length(str s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (is_blank(c) || c == '(' || c == ';'))
			return i;
	}
	return s.n;
}

static enum token next_token(str *s, str *ret_text)
{
	while (s->n && is_blank(s->p[0]))
		*s = str_from(*s, 1);
	if (!s->n || s->p[0] == ';')
		return TOKEN_END;
	if (s->p[0] == '(') {
		size_t n = comment_length(*s);

		*ret_text = str_first(*s, n);
		*s = str_from(*s, n);
		if (ret_text->n < 2 || ret_text->p[ret_text->n - 1] != ')')
			return TOKEN_END;
		*ret_text = str_mem(ret_text->p + 1, ret_text->n - 2);
		return TOKEN_COMMENT;
	}
	*ret_text = str_first(*s, word_length(*s));
	*s = str_from(*s, ret_text->n);
	return TOKEN_WORD;
}

/* Moves *s behind the first word equal to `word`. */
static bool skip_to_word(str *s, str word)
{
	enum token token;
	str text;

	while ((token = next_token(s, &text)) != TOKEN_END)
		if (token == TOKEN_WORD && str_case_eq(text, word))
			return true;
	return false;
}

static void read_for(str s, struct trace_own *own)
{
	enum token token;
	str text;

	while ((token = next_token(&s, &text)) != TOKEN_END) {
		if (token == TOKEN_COMMENT && str_case_starts(text, STR("for ")))
			own->domain = str_trim(str_from(text, 4));
		if (token != TOKEN_WORD || !str_case_eq(text, STR("for")))
			continue;
		if (next_token(&s, &text) != TOKEN_WORD)
			return;
		if (text.n > 2 && text.p[0] == '<' && text.p[text.n - 1] == '>')
			own->recipient = str_mem(text.p + 1, text.n - 2);
		return;
	}
}

/* The value of a Received field: reports it when it is ours, that is when it reads
 * `by NAME (Locum) … id ULID` with one of our names. */
static void read_received(const struct trace *t, str value)
{
	struct trace_own own = { .recipient = STR_NONE };
	str text, behind = value;

	/* A client may call itself `by`: what stands behind `from` is a name, whatever it says. */
	if (next_token(&behind, &text) == TOKEN_WORD && str_case_eq(text, STR("from")) &&
	    next_token(&behind, &text) == TOKEN_WORD)
		value = behind;
	if (!skip_to_word(&value, STR("by")))
		return;
	if (next_token(&value, &text) != TOKEN_WORD || !t->hooks->is_our_name(t->hooks->arg, text))
		return;
	if (next_token(&value, &text) != TOKEN_COMMENT || !str_eq(text, STR("Locum")))
		return;
	if (!skip_to_word(&value, STR("id")) || next_token(&value, &text) != TOKEN_WORD ||
	    id_parse(text, &own.id) < 0)
		return;
	read_for(value, &own);
	t->hooks->found(t->hooks->arg, &own);
}

static void finish_field(struct trace *t)
{
	str field = str_mem(t->field, t->n);

	t->n = 0;
	if (!str_case_starts(field, STR("Received")))
		return;
	field = str_trim(str_from(field, 8));
	if (!field.n || field.p[0] != ':')
		return;
	t->hops++;
	read_received(t, str_from(field, 1));
}

static void finish_section(struct trace *t)
{
	finish_field(t);
	t->done = true;
}

/* Without CR: as part of a line end it says nothing, and where it is bare the message is refused anyway. */
static void add(struct trace *t, str piece)
{
	for (size_t i = 0; i < piece.n && t->n < sizeof(t->field); i++)
		if (piece.p[i] != '\r')
			t->field[t->n++] = piece.p[i];
}

/* `piece` is a line or a part of one, without its LF. */
static void take_piece(struct trace *t, str piece, bool line_ends)
{
	if (t->line_start) {
		char first = piece.n ? piece.p[0] : '\n';

		if (first == '\r' || first == '\n') {
			finish_section(t);
			return;
		}
		if (!is_blank(first))
			finish_field(t);
	}
	add(t, piece);
	t->line_start = line_ends;
}

void trace_feed(struct trace *t, str bytes)
{
	while (bytes.n && !t->done) {
		const char *lf = memchr(bytes.p, '\n', bytes.n);
		str piece = str_first(bytes, lf ? (size_t)(lf - bytes.p) : bytes.n);

		if (t->seen + piece.n + 1 > TRACE_BYTES_MAX) {
			finish_section(t);
			return;
		}
		take_piece(t, piece, lf != NULL);
		t->seen += (uint32_t)(piece.n + (lf != NULL));
		bytes = str_from(bytes, piece.n + (lf != NULL));
	}
}

void trace_end(struct trace *t)
{
	if (!t->done)
		finish_section(t);
}
