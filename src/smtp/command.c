#include "smtp/command.h"

enum argument {
	ARGUMENT_NONE,
	ARGUMENT_NAME,
	ARGUMENT_PATH,
	ARGUMENT_ANY,
	ARGUMENT_NEEDED,
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
	{ "RSET", SMTP_RSET, ARGUMENT_NONE, NULL },
	{ "NOOP", SMTP_NOOP, ARGUMENT_ANY, NULL },
	{ "VRFY", SMTP_VRFY, ARGUMENT_NEEDED, NULL },
	{ "HELP", SMTP_HELP, ARGUMENT_ANY, NULL },
	{ "QUIT", SMTP_QUIT, ARGUMENT_NONE, NULL },
	{ "STARTTLS", SMTP_STARTTLS, ARGUMENT_NONE, NULL },
	{ "EXPN", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "AUTH", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "BDAT", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
	{ "ETRN", SMTP_NOT_OFFERED, ARGUMENT_ANY, NULL },
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

static bool any_control(str line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < ' ' || line.p[i] == 0x7f)
			return true;
	return false;
}

static bool any_8bit(str line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] > 127)
			return true;
	return false;
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
	for (size_t i = 0; i < keyword.n; i++) {
		char c = keyword.p[i];
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!alnum && (c != '-' || !i))
			return false;
	}
	return keyword.n > 0;
}

static enum smtp_complaint parse_size(str value, struct smtp_command *c)
{
	int r;

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

static enum smtp_complaint parse_body(str value, struct smtp_command *c)
{
	if (c->body != SMTP_BODY_NONE)
		return SMTP_PARAMETER_INVALID;
	if (str_case_eq(value, STR("7BIT")))
		c->body = SMTP_BODY_7BIT;
	else if (str_case_eq(value, STR("8BITMIME")))
		c->body = SMTP_BODY_8BITMIME;
	else
		return SMTP_PARAMETER_INVALID;
	return SMTP_FINE;
}

static const struct {
	const char *keyword;
	enum smtp_complaint (*parse)(str value, struct smtp_command *c);
} mail_parameter_table[] = {
	{ "SIZE", parse_size },
	{ "BODY", parse_body },
};

static enum smtp_complaint parse_parameter(str parameter, struct smtp_command *c)
{
	str keyword, value = STR_NONE;

	str_cut(parameter, '=', &keyword, &value);
	if (!keyword_valid(keyword))
		return SMTP_PARAMETER_INVALID;
	for (size_t i = 0; c->verb == SMTP_MAIL && i < ELEMENTS(mail_parameter_table); i++)
		if (str_case_eq(keyword, str_of(mail_parameter_table[i].keyword)))
			return mail_parameter_table[i].parse(value, c);
	return SMTP_PARAMETER_UNKNOWN;
}

static enum smtp_complaint parse_parameters(str text, struct smtp_command *c)
{
	if (text.n && text.p[0] != ' ')
		return SMTP_PATH_INVALID;
	for (text = skip_spaces(text); text.n; text = skip_spaces(text)) {
		str parameter, rest = STR_NONE;
		enum smtp_complaint complaint;

		str_cut(text, ' ', &parameter, &rest);
		complaint = parse_parameter(parameter, c);
		if (complaint != SMTP_FINE)
			return complaint;
		text = rest;
	}
	return SMTP_FINE;
}

static enum smtp_complaint path_complaint(int r)
{
	if (r == -EILSEQ)
		return SMTP_PATH_8BIT;
	return r == -EMSGSIZE ? SMTP_PATH_TOO_LONG : SMTP_PATH_INVALID;
}

static enum smtp_complaint parse_path(const struct verb_row *row, struct smtp_command *c)
{
	str text = c->argument, rest = STR_NONE;
	int r;

	if (!str_case_starts(text, str_of(row->before_path)))
		return text.n ? SMTP_ARGUMENT_INVALID : SMTP_ARGUMENT_MISSING;
	/* A space behind the colon is wrong (RFC 5321 §3.3) and common; it can mean nothing else. */
	text = skip_spaces(str_from(text, strlen(row->before_path)));
	r = smtp_path_parse(text, c->verb == SMTP_MAIL ? SMTP_REVERSE_PATH : SMTP_FORWARD_PATH,
			    &c->path, &rest);
	if (r < 0)
		return path_complaint(r);
	if (any_8bit(rest))
		return SMTP_PARAMETER_INVALID;
	return parse_parameters(rest, c);
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

static enum smtp_complaint parse_argument(const struct verb_row *row, struct smtp_command *c)
{
	if (row->argument == ARGUMENT_PATH)
		return parse_path(row, c);
	if (any_8bit(c->argument))
		return SMTP_BAD_OCTETS;
	switch (row->argument) {
	case ARGUMENT_NONE:
		return c->argument.n ? SMTP_ARGUMENT_UNEXPECTED : SMTP_FINE;
	case ARGUMENT_NAME:
		return check_name(c->argument);
	case ARGUMENT_NEEDED:
		return c->argument.n ? SMTP_FINE : SMTP_ARGUMENT_MISSING;
	case ARGUMENT_ANY:
	case ARGUMENT_PATH:
		break;
	}
	return SMTP_FINE;
}

enum smtp_complaint smtp_command_parse(str line, struct smtp_command *ret_command)
{
	struct smtp_command c = { .verb = SMTP_UNKNOWN };
	enum smtp_complaint complaint = SMTP_NO_SUCH_VERB;
	const struct verb_row *row;
	str word, rest = STR_NONE;

	*ret_command = c;
	if (any_control(line))
		return SMTP_BAD_OCTETS;
	str_cut(line, ' ', &word, &rest);
	row = find_verb(word);
	if (line.n + 2 >
	    (row && row->argument == ARGUMENT_PATH ? SMTP_PATH_LINE_MAX : SMTP_LINE_MAX))
		return SMTP_LINE_TOO_LONG;
	if (row) {
		c.verb = row->verb;
		c.argument = str_trim(rest);
		complaint = parse_argument(row, &c);
	}
	*ret_command = c;
	return complaint;
}
