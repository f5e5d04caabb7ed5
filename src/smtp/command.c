#include "smtp/command.h"

#include "smtp/octets.h"
#include "smtp/xtext.h"

enum argument {
	ARGUMENT_NONE,
	ARGUMENT_NAME,
	ARGUMENT_PATH,
	ARGUMENT_ANY,
	ARGUMENT_NEEDED,
	ARGUMENT_CHUNK,
};

struct verb_row {
	const char *name;
	enum smtp_verb verb;
	enum argument argument;
	const char *before_path;
};

static const struct verb_row verb_table[] = {
	{ "EHLO", SMTP_EHLO, ARGUMENT_NAME, NULL },
	{ "HELO", SMTP_HELO, ARGUMENT_NAME, NULL },
	{ "MAIL", SMTP_MAIL, ARGUMENT_PATH, "FROM:" },
	{ "RCPT", SMTP_RCPT, ARGUMENT_PATH, "TO:" },
	{ "DATA", SMTP_DATA, ARGUMENT_NONE, NULL },
	{ "BDAT", SMTP_BDAT, ARGUMENT_CHUNK, NULL },
	{ "RSET", SMTP_RSET, ARGUMENT_NONE, NULL },
	{ "NOOP", SMTP_NOOP, ARGUMENT_ANY, NULL },
	{ "VRFY", SMTP_VRFY, ARGUMENT_NEEDED, NULL },
	{ "HELP", SMTP_HELP, ARGUMENT_ANY, NULL },
	{ "QUIT", SMTP_QUIT, ARGUMENT_NONE, NULL },
	{ "STARTTLS", SMTP_STARTTLS, ARGUMENT_NONE, NULL },
	{ "ETRN", SMTP_ETRN, ARGUMENT_NAME, NULL },
	{ "XCLIENT", SMTP_XCLIENT, ARGUMENT_NEEDED, NULL },
	{ "XFORWARD", SMTP_XFORWARD, ARGUMENT_NEEDED, NULL },
	{ "EXPN", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "AUTH", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "TURN", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "SEND", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "SOML", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "SAML", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
};

const char *smtp_verb_name(enum smtp_verb verb)
{
	if (verb == SMTP_UNKNOWN || verb == SMTP_NOT_OFFERED)
		return "command";
	for (size_t i = 0; i < ELEMENTS(verb_table); i++)
		if (verb_table[i].verb == verb)
			return verb_table[i].name;
	return "command";
}

static const struct verb_row *find_verb(str word)
{
	for (size_t i = 0; i < ELEMENTS(verb_table); i++)
		if (str_case_eq(word, str_of(verb_table[i].name)))
			return &verb_table[i];
	return NULL;
}

static str skip_spaces(str s)
{
	while (s.n && s.p[0] == ' ')
		s = str_from(s, 1);
	return s;
}

/* keyword and value as in RFC 5321 §4.1.2 (esmtp-param); the value may be absent. */
static bool keyword_valid(str keyword)
{
	for (size_t i = 0; i < keyword.n; i++)
		if (!octet_is_alnum(keyword.p[i]) && (keyword.p[i] != '-' || !i))
			return false;
	return keyword.n > 0;
}

/* --- parameters of MAIL and RCPT --- */

static enum smtp_complaint parse_size(str value, const struct smtp_dialect *dialect,
				      struct smtp_command *c)
{
	int r;

	(void)dialect;
	if (c->size_given)
		return SMTP_PARAMETER_INVALID;
	if (!value.n || value.n > 20) /* RFC 1870 §5: up to 20 digits */
		return SMTP_PARAMETER_INVALID;
	r = str_u64(value, UINT64_MAX, &c->size);
	if (r == -ERANGE)
		c->size = UINT64_MAX;
	else if (r < 0)
		return SMTP_PARAMETER_INVALID;
	c->size_given = true;
	return SMTP_FINE;
}

static enum smtp_complaint parse_body(str value, const struct smtp_dialect *dialect,
				      struct smtp_command *c)
{
	if (c->body != SMTP_BODY_NONE)
		return SMTP_PARAMETER_INVALID;
	if (str_case_eq(value, STR("7BIT")))
		c->body = SMTP_BODY_7BIT;
	else if (str_case_eq(value, STR("8BITMIME")))
		c->body = SMTP_BODY_8BITMIME;
	else if (dialect->binarymime && str_case_eq(value, STR("BINARYMIME")))
		c->body = SMTP_BODY_BINARYMIME;
	else
		return SMTP_PARAMETER_INVALID;
	return SMTP_FINE;
}

/* A parameter without a value, and not given before. */
static enum smtp_complaint set_flag(str value, bool *flag)
{
	if (value.p || *flag)
		return SMTP_PARAMETER_INVALID;
	*flag = true;
	return SMTP_FINE;
}

static enum smtp_complaint parse_smtputf8(str value, const struct smtp_dialect *dialect,
					  struct smtp_command *c)
{
	if (!dialect->smtputf8)
		return SMTP_PARAMETER_UNKNOWN;
	return set_flag(value, &c->smtputf8);
}

static enum smtp_complaint parse_requiretls(str value, const struct smtp_dialect *dialect,
					    struct smtp_command *c)
{
	if (!dialect->requiretls)
		return SMTP_PARAMETER_UNKNOWN;
	return set_flag(value, &c->requiretls);
}

static enum smtp_complaint parse_ret(str value, const struct smtp_dialect *dialect,
				     struct smtp_command *c)
{
	if (!dialect->dsn)
		return SMTP_PARAMETER_UNKNOWN;
	if (c->ret != SMTP_RET_NONE)
		return SMTP_PARAMETER_INVALID;
	if (str_case_eq(value, STR("FULL")))
		c->ret = SMTP_RET_FULL;
	else if (str_case_eq(value, STR("HDRS")))
		c->ret = SMTP_RET_HDRS;
	else
		return SMTP_PARAMETER_INVALID;
	return SMTP_FINE;
}

/* RFC 3461 §4.4: decoded it is printable ASCII. It comes back in the header of a report. */
static bool xtext_printable(str value)
{
	char text[SMTP_ENVID_MAX];
	str plain;

	return xtext_decode(value, text, sizeof(text), &plain) == 0 && !octets_any_control(plain) &&
	       str_is_ascii(plain);
}

static enum smtp_complaint parse_envid(str value, const struct smtp_dialect *dialect,
				       struct smtp_command *c)
{
	if (!dialect->dsn)
		return SMTP_PARAMETER_UNKNOWN;
	if (c->envid.n || !value.n || value.n > SMTP_ENVID_MAX || !xtext_printable(value))
		return SMTP_PARAMETER_INVALID;
	c->envid = value;
	return SMTP_FINE;
}

static const struct {
	str word;
	enum smtp_notify bit;
} notify_table[] = {
	{ { "NEVER", 5 }, SMTP_NOTIFY_NEVER },
	{ { "SUCCESS", 7 }, SMTP_NOTIFY_SUCCESS },
	{ { "FAILURE", 7 }, SMTP_NOTIFY_FAILURE },
	{ { "DELAY", 5 }, SMTP_NOTIFY_DELAY },
};

static unsigned notify_bit(str word)
{
	for (size_t i = 0; i < ELEMENTS(notify_table); i++)
		if (str_case_eq(word, notify_table[i].word))
			return (unsigned)notify_table[i].bit;
	return 0;
}

static enum smtp_complaint parse_notify(str value, const struct smtp_dialect *dialect,
					struct smtp_command *c)
{
	unsigned bits = 0;
	str word;
	bool more;

	if (!dialect->dsn)
		return SMTP_PARAMETER_UNKNOWN;
	if (c->notify)
		return SMTP_PARAMETER_INVALID;
	do {
		unsigned bit;

		more = str_cut(value, ',', &word, &value);
		bit = notify_bit(word);
		if (!bit)
			return SMTP_PARAMETER_INVALID;
		bits |= bit;
	} while (more);
	if (bits & SMTP_NOTIFY_NEVER && bits != SMTP_NOTIFY_NEVER)
		return SMTP_PARAMETER_INVALID;
	c->notify = bits;
	return SMTP_FINE;
}

static enum smtp_complaint parse_orcpt(str value, const struct smtp_dialect *dialect,
				       struct smtp_command *c)
{
	if (!dialect->dsn)
		return SMTP_PARAMETER_UNKNOWN;
	if (c->orcpt.n || !orcpt_valid(value, dialect->utf8_transaction))
		return SMTP_PARAMETER_INVALID;
	c->orcpt = value;
	return SMTP_FINE;
}

static const struct {
	const char *keyword;
	enum smtp_verb verb;
	enum smtp_complaint (*parse)(str value, const struct smtp_dialect *dialect,
				     struct smtp_command *c);
} parameter_table[] = {
	{ "SIZE", SMTP_MAIL, parse_size },         { "BODY", SMTP_MAIL, parse_body },
	{ "SMTPUTF8", SMTP_MAIL, parse_smtputf8 }, { "REQUIRETLS", SMTP_MAIL, parse_requiretls },
	{ "RET", SMTP_MAIL, parse_ret },           { "ENVID", SMTP_MAIL, parse_envid },
	{ "NOTIFY", SMTP_RCPT, parse_notify },     { "ORCPT", SMTP_RCPT, parse_orcpt },
};

static enum smtp_complaint parse_parameter(str parameter, const struct smtp_dialect *dialect,
					   struct smtp_command *c)
{
	str keyword, value = STR_NONE;

	if (!str_is_ascii(parameter) && !dialect->utf8_transaction)
		return SMTP_PARAMETER_INVALID;
	if (!str_cut(parameter, '=', &keyword, &value))
		value = STR_NONE;
	if (!keyword_valid(keyword))
		return SMTP_PARAMETER_INVALID;
	for (size_t i = 0; i < ELEMENTS(parameter_table); i++)
		if (parameter_table[i].verb == c->verb &&
		    str_case_eq(keyword, str_of(parameter_table[i].keyword)))
			return parameter_table[i].parse(value, dialect, c);
	return SMTP_PARAMETER_UNKNOWN;
}

static enum smtp_complaint parse_parameters(str text, const struct smtp_dialect *dialect,
					    struct smtp_command *c)
{
	if (text.n && text.p[0] != ' ')
		return SMTP_PATH_INVALID;
	for (text = skip_spaces(text); text.n; text = skip_spaces(text)) {
		str parameter, rest = STR_NONE;
		enum smtp_complaint complaint;

		str_cut(text, ' ', &parameter, &rest);
		complaint = parse_parameter(parameter, dialect, c);
		if (complaint != SMTP_FINE)
			return complaint;
		text = rest;
	}
	return SMTP_FINE;
}

str smtp_notify_text(unsigned notify, char text[static SMTP_NOTIFY_SIZE])
{
	size_t n = 0;

	for (size_t i = 0; i < ELEMENTS(notify_table); i++) {
		str word = notify_table[i].word;

		if (!(notify & (unsigned)notify_table[i].bit))
			continue;
		if (n)
			text[n++] = ',';
		must(n + word.n < SMTP_NOTIFY_SIZE);
		memcpy(text + n, word.p, word.n);
		n += word.n;
	}
	text[n] = '\0';
	return str_mem(text, n);
}

/* --- arguments --- */

/* May the client write UTF-8 in the path of this command? With MAIL its parameters must say so too. */
static bool utf8_path_offered(enum smtp_verb verb, const struct smtp_dialect *dialect)
{
	return dialect->smtputf8 && (verb == SMTP_MAIL || dialect->utf8_transaction);
}

static enum smtp_complaint path_complaint(int r, bool not_ascii)
{
	if (not_ascii)
		return SMTP_PATH_8BIT;
	return r == -EMSGSIZE ? SMTP_PATH_TOO_LONG : SMTP_PATH_INVALID;
}

static enum smtp_complaint parse_path(const struct verb_row *row,
				      const struct smtp_dialect *dialect, struct smtp_command *c)
{
	bool utf8 = utf8_path_offered(c->verb, dialect);
	str text = c->argument, rest = STR_NONE;
	enum smtp_complaint complaint;
	int r;

	if (!str_case_starts(text, str_of(row->before_path)))
		return text.n ? SMTP_ARGUMENT_INVALID : SMTP_ARGUMENT_MISSING;
	/* A space behind the colon is wrong (RFC 5321 §3.3) and common; it can mean nothing else. */
	text = skip_spaces(str_from(text, strlen(row->before_path)));
	r = smtp_path_parse(text, c->verb == SMTP_MAIL ? SMTP_REVERSE_PATH : SMTP_FORWARD_PATH,
			    &c->path, &rest);
	if (r < 0)
		return path_complaint(r, !utf8 && !str_is_ascii(text));
	if (c->path.utf8 && !utf8)
		return SMTP_PATH_8BIT;
	complaint = parse_parameters(rest, dialect, c);
	if (complaint == SMTP_FINE && c->verb == SMTP_MAIL && c->path.utf8 && !c->smtputf8)
		return SMTP_PATH_8BIT;
	return complaint;
}

/* Any single word: whether it is a real name is not a matter of syntax (RFC 5321 §4.1.4), and what we
 * write of it into Received is cleaned there. */
static enum smtp_complaint check_name(str name)
{
	if (!name.n)
		return SMTP_ARGUMENT_MISSING;
	if (name.n > SMTP_DOMAIN_MAX || str_index(name, ' ') >= 0)
		return SMTP_ARGUMENT_INVALID;
	return SMTP_FINE;
}

/* RFC 6531 §3.7.4.2: VRFY asks for UTF-8 by a word of its own, the last one. */
static void take_smtputf8(struct smtp_command *c)
{
	str keyword = STR(" SMTPUTF8");

	if (!str_case_ends(c->argument, keyword))
		return;
	c->argument = str_trim(str_first(c->argument, c->argument.n - keyword.n));
	c->smtputf8 = true;
}

/* RFC 3030 §2: a number of octets, and LAST with the last chunk. */
static enum smtp_complaint parse_chunk(struct smtp_command *c)
{
	str size, marker = STR_NONE;

	if (!c->argument.n)
		return SMTP_ARGUMENT_MISSING;
	if (str_cut(c->argument, ' ', &size, &marker)) {
		if (!str_case_eq(skip_spaces(marker), STR("LAST")))
			return SMTP_ARGUMENT_INVALID;
		c->chunk_last = true;
	}
	return str_u64(size, INT64_MAX, &c->chunk_bytes) < 0 ? SMTP_ARGUMENT_INVALID : SMTP_FINE;
}

static enum smtp_complaint parse_argument(const struct verb_row *row,
					  const struct smtp_dialect *dialect,
					  struct smtp_command *c)
{
	if (row->argument == ARGUMENT_PATH)
		return parse_path(row, dialect, c);
	if (c->verb == SMTP_VRFY && dialect->smtputf8)
		take_smtputf8(c);
	if (!str_is_ascii(c->argument) && !(c->smtputf8 && utf8_valid(c->argument)))
		return SMTP_BAD_OCTETS;
	switch (row->argument) {
	case ARGUMENT_NONE:
		return c->argument.n ? SMTP_ARGUMENT_UNEXPECTED : SMTP_FINE;
	case ARGUMENT_NAME:
		return check_name(c->argument);
	case ARGUMENT_NEEDED:
		return c->argument.n ? SMTP_FINE : SMTP_ARGUMENT_MISSING;
	case ARGUMENT_CHUNK:
		return parse_chunk(c);
	case ARGUMENT_ANY:
	case ARGUMENT_PATH:
		break;
	}
	return SMTP_FINE;
}

/* What may be the verb, also of a line that is wrong. */
static str first_word(str line)
{
	size_t n = 0;

	while (n < line.n && (unsigned char)line.p[n] > ' ' && line.p[n] != 0x7f)
		n++;
	return str_first(line, n);
}

static bool offered(enum smtp_verb verb, const struct smtp_dialect *dialect)
{
	return dialect->xclient || (verb != SMTP_XCLIENT && verb != SMTP_XFORWARD);
}

enum smtp_complaint smtp_command_parse(str line, const struct smtp_dialect *dialect,
				       struct smtp_command *ret_command)
{
	struct smtp_command c = { .verb = SMTP_UNKNOWN };
	enum smtp_complaint complaint = SMTP_NO_SUCH_VERB;
	str word = first_word(line);
	const struct verb_row *row = find_verb(word);

	if (row)
		c.verb = offered(row->verb, dialect) ? row->verb : SMTP_NOT_OFFERED;
	*ret_command = c;
	if (octets_any_control(line))
		return SMTP_BAD_OCTETS;
	if (line.n + 2 >
	    (row && row->argument == ARGUMENT_PATH ? SMTP_PATH_LINE_MAX : SMTP_LINE_MAX))
		return SMTP_LINE_TOO_LONG;
	if (row && c.verb != row->verb) {
		complaint = SMTP_FINE;
	} else if (row) {
		c.argument = str_trim(str_from(line, word.n));
		complaint = parse_argument(row, dialect, &c);
	}
	*ret_command = c;
	return complaint;
}
