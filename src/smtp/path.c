#include "smtp/path.h"

#include "base/addr.h"
#include "smtp/idna.h"
#include "smtp/octets.h"

/* atext of RFC 5322 §3.2.3. */
static bool is_atext(char c)
{
	return octet_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Part of a UTF-8 character; whether the whole is well-formed is looked at once for all of it. */
static bool is_8bit(char c)
{
	return (unsigned char)c > 127;
}

static bool is_label_byte(char c)
{
	return octet_is_alnum(c) || c == '-' || c == '_';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool label_valid(str label)
{
	if (!label.n || label.n > 63)
		return false;
	for (size_t i = 0; i < label.n; i++)
		if (!is_label_byte(label.p[i]))
			return false;
	return label.p[0] != '-' && label.p[label.n - 1] != '-';
}

static bool is_numeric(str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] != '.' && !(text.p[i] >= '0' && text.p[i] <= '9'))
			return false;
	return true;
}

bool smtp_domain_valid(str text)
{
	str label, rest = text;
	bool more;

	if (text.n > SMTP_DOMAIN_MAX || is_numeric(text))
		return false;
	do {
		more = str_cut(rest, '.', &label, &rest);
		if (!label_valid(label))
			return false;
	} while (more);
	return true;
}

/* Four numbers of one to three digits, leading zeros allowed, each at most 255. */
static bool ipv4_valid(str text)
{
	uint64_t value;
	str number;
	int count = 0;
	bool more;

	do {
		more = str_cut(text, '.', &number, &text);
		if (!number.n || number.n > 3 || str_u64(number, 255, &value) < 0)
			return false;
		count++;
	} while (more);
	return count == 4;
}

bool smtp_literal_valid(str text)
{
	struct addr a;
	str ip;

	if (text.n < 3 || text.n > SMTP_DOMAIN_MAX || text.p[0] != '[' || text.p[text.n - 1] != ']')
		return false;
	ip = str_mem(text.p + 1, text.n - 2);
	if (ip.p[0] == '[')
		return false;
	if (str_case_starts(ip, STR("IPv6:"))) {
		ip = str_from(ip, 5);
		return str_index(ip, ':') >= 0 && str_index(ip, '[') < 0 &&
		       addr_parse_ip(ip, 0, &a) == 0;
	}
	return ipv4_valid(ip);
}

/* Octets of the quoted string at the start of text, quotes included; 0 when it is none. */
static size_t quoted_length(str text)
{
	for (size_t i = 1; i < text.n; i++) {
		if (text.p[i] == '"')
			return i + 1;
		if (text.p[i] == '\\' && (++i == text.n || is_8bit(text.p[i])))
			return 0;
		if (!is_8bit(text.p[i]) && (text.p[i] < ' ' || text.p[i] > '~'))
			return 0;
	}
	return 0;
}

/* Octets of the dot-string at the start of text; 0 when it is none. */
static size_t dot_string_length(str text)
{
	size_t i = 0;

	while (i < text.n && (is_atext(text.p[i]) || is_8bit(text.p[i]) || text.p[i] == '.'))
		i++;
	if (!i || text.p[0] == '.' || text.p[i - 1] == '.' ||
	    str_find(str_first(text, i), STR("..")) >= 0)
		return 0;
	return i;
}

static size_t local_length(str text)
{
	if (!text.n)
		return 0;
	return text.p[0] == '"' ? quoted_length(text) : dot_string_length(text);
}

/* Octets up to where the domain ends: the closing bracket of a literal, else the last label byte. */
static size_t domain_length(str text)
{
	size_t i = 0;

	if (text.n && text.p[0] == '[') {
		ssize_t end = str_index(text, ']');

		return end < 0 ? 0 : (size_t)end + 1;
	}
	while (i < text.n && (is_label_byte(text.p[i]) || is_8bit(text.p[i]) || text.p[i] == '.'))
		i++;
	return i;
}

/* `@a,@b:` in front of the mailbox; *text then starts behind it. */
static int skip_route(str *text)
{
	if (!text->n || text->p[0] != '@')
		return 0;
	for (;;) {
		str domain;
		size_t n;

		if (!text->n || text->p[0] != '@')
			return -EINVAL;
		*text = str_from(*text, 1);
		n = domain_length(*text);
		domain = str_first(*text, n);
		if (!smtp_domain_valid(domain) && !smtp_literal_valid(domain))
			return -EINVAL;
		*text = str_from(*text, n);
		if (!text->n || (text->p[0] != ',' && text->p[0] != ':'))
			return -EINVAL;
		*text = str_from(*text, 1);
		if (text->p[-1] == ':')
			return 0;
	}
}

static int check_domain(const struct smtp_path *path)
{
	char ascii_text[IDNA_SIZE];
	str ascii;

	if (path->literal)
		return smtp_literal_valid(path->domain) ? 0 : -EINVAL;
	return idna_to_ascii(path->domain, ascii_text, &ascii);
}

/* local@domain at the start of *text, which then starts behind it. */
static int take_mailbox(str *text, struct smtp_path *path)
{
	size_t local = local_length(*text);
	str behind = str_from(*text, local + 1);
	size_t domain;

	if (!local || local >= text->n || text->p[local] != '@')
		return -EINVAL;
	domain = domain_length(behind);
	path->local = str_first(*text, local);
	path->domain = str_first(behind, domain);
	path->mailbox = str_first(*text, local + 1 + domain);
	path->literal = domain && path->domain.p[0] == '[';
	if (local > SMTP_LOCAL_MAX || domain > SMTP_DOMAIN_MAX)
		return -EMSGSIZE;
	path->utf8 = !str_is_ascii(path->mailbox);
	if (path->utf8 && !utf8_valid(path->mailbox))
		return -EILSEQ;
	*text = str_from(behind, domain);
	return check_domain(path);
}

int smtp_mailbox_parse(str text, struct smtp_path *ret_path)
{
	struct smtp_path path = { 0 };
	int r;

	r = take_mailbox(&text, &path);
	if (r < 0)
		return r;
	if (text.n)
		return -EINVAL;
	if (path.mailbox.n > SMTP_PATH_MAX - 2)
		return -EMSGSIZE;
	*ret_path = path;
	return 0;
}

/* Where the path that starts with `<` ends: at the first `>` outside a quoted string. 0: nowhere. */
static size_t path_length(str text)
{
	bool quoted = false;

	for (size_t i = 1; i < text.n; i++) {
		if (quoted && text.p[i] == '\\')
			i++;
		else if (text.p[i] == '"')
			quoted = !quoted;
		else if (text.p[i] == '>' && !quoted)
			return i + 1;
	}
	return 0;
}

/* The inside of <…>. */
static int parse_inside(str inside, enum smtp_path_kind kind, struct smtp_path *path)
{
	int r;

	if (!inside.n)
		return kind == SMTP_REVERSE_PATH ? 0 : -EINVAL;
	if (kind == SMTP_FORWARD_PATH && str_case_eq(inside, STR("postmaster"))) {
		path->mailbox = path->local = inside;
		return 0;
	}
	r = skip_route(&inside);
	if (r < 0)
		return r;
	r = take_mailbox(&inside, path);
	if (r < 0)
		return r;
	return inside.n ? -EINVAL : 0;
}

int smtp_path_parse(str text, enum smtp_path_kind kind, struct smtp_path *ret_path, str *ret_rest)
{
	struct smtp_path path = { 0 };
	size_t n;
	int r;

	if (!text.n || text.p[0] != '<')
		return -EINVAL;
	n = path_length(text);
	if (!n)
		return -EINVAL;
	if (n > SMTP_PATH_MAX)
		return -EMSGSIZE;
	r = parse_inside(str_mem(text.p + 1, n - 2), kind, &path);
	if (r < 0)
		return r;
	*ret_path = path;
	*ret_rest = str_from(text, n);
	return 0;
}

/* The content of a quoted string, backslashes resolved. */
static size_t unquote(str quoted, char *to)
{
	size_t n = 0;

	for (size_t i = 1; i + 1 < quoted.n; i++) {
		if (quoted.p[i] == '\\')
			i++;
		to[n++] = quoted.p[i];
	}
	return n;
}

static size_t put_plain_local(str local, char *to)
{
	if (local.n && local.p[0] == '"') {
		size_t unquoted = unquote(local, to);

		/* Where quotes are needed the written form stays: it is then the only one we compare. */
		if (unquoted && dot_string_length(str_mem(to, unquoted)) == unquoted)
			return unquoted;
	}
	if (local.n)
		memcpy(to, local.p, local.n);
	return local.n;
}

static size_t put_plain_domain(const struct smtp_path *path, char *to)
{
	char ascii_text[IDNA_SIZE];
	str domain = path->domain;

	/* Memory apart it cannot fail: it did not when the path was read. */
	if (path->utf8 && !path->literal)
		(void)idna_to_ascii(domain, ascii_text, &domain);
	memcpy(to, domain.p, domain.n);
	return domain.n;
}

str smtp_path_plain(const struct smtp_path *path, char text[static SMTP_PLAIN_SIZE])
{
	size_t n;

	must(path->local.n <= SMTP_LOCAL_MAX && path->domain.n <= SMTP_DOMAIN_MAX);
	n = put_plain_local(path->local, text);
	if (path->domain.n) {
		text[n++] = '@';
		n += put_plain_domain(path, text + n);
	}
	for (size_t i = 0; i < n; i++)
		text[i] = lower(text[i]);
	text[n] = '\0';
	return str_mem(text, n);
}

bool smtp_mailbox_is_of(str mailbox, str domain)
{
	char text[SMTP_PLAIN_SIZE];
	struct smtp_path path;
	str plain;

	if (smtp_mailbox_parse(mailbox, &path) < 0)
		return false;
	plain = smtp_path_plain(&path, text);
	return str_case_eq(str_from(plain, (size_t)str_last_index(plain, '@') + 1), domain);
}

bool smtp_path_is_postmaster(const struct smtp_path *path)
{
	struct smtp_path local = { .mailbox = path->local, .local = path->local };
	char text[SMTP_PLAIN_SIZE];

	return str_eq(smtp_path_plain(&local, text), STR("postmaster"));
}
