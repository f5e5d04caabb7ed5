#include "smtp/sts.h"

static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool take_id(str value, char ret_id[static STS_ID_SIZE])
{
	if (value.n == 0)
		return false;
	for (size_t i = 0; i < value.n; i++)
		if (!is_alphanumeric(value.p[i]))
			return false;
	return str_copy(value, ret_id, STS_ID_SIZE);
}

bool sts_read_record(str text, char ret_id[static STS_ID_SIZE])
{
	str field, name, value, rest = text;
	bool has_id = false, more;

	ret_id[0] = '\0';
	more = str_cut(rest, ';', &field, &rest);
	if (!str_eq(str_trim(field), STR("v=STSv1")))
		return false;
	while (more && !has_id) {
		more = str_cut(rest, ';', &field, &rest);
		if (str_cut(field, '=', &name, &value) && str_eq(str_trim(name), STR("id")))
			has_id = take_id(str_trim(value), ret_id);
	}
	return has_id;
}

/* A host name, or one with a first label "*". */
static bool take_mx(str value, struct sts_policy *p)
{
	str name;

	if (value.n > 1 && value.p[value.n - 1] == '.')
		value.n--;
	name = str_starts(value, STR("*.")) ? str_from(value, 2) : value;
	/* No label is empty. */
	if (name.n == 0 || name.p[0] == '.' || name.p[name.n - 1] == '.' ||
	    str_find(name, STR("..")) >= 0 || p->mx_count == STS_MX_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!is_alphanumeric(name.p[i]) && (!name.p[i] || !strchr("-._", name.p[i])))
			return false;
	return str_copy(value, p->mx[p->mx_count++], STS_NAME_SIZE);
}

static bool take_mode(str value, struct sts_policy *p)
{
	static const char *const names[] = {
		[STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce"
	};

	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		if (!str_eq(value, str_of(names[i])))
			continue;
		p->mode = i;
		return true;
	}
	return false;
}

static bool take_age(str value, struct sts_policy *p)
{
	uint64_t seconds;
	int r = str_u64(value, UINT64_MAX, &seconds);

	if (r == -EINVAL || value.n > 10)
		return false;
	p->max_age_seconds = (uint32_t)MIN(seconds, (uint64_t)STS_AGE_MAX_SECONDS);
	return r == 0;
}

enum { HAS_VERSION = 1, HAS_MODE = 2, HAS_AGE = 4 };

/* Of a field that may stand once the first counts (§3.2); unknown ones are left alone. */
static bool take_field(str name, str value, struct sts_policy *p, unsigned *has)
{
	if (str_eq(name, STR("mx")))
		return take_mx(value, p);
	if (str_eq(name, STR("version")) && !(*has & HAS_VERSION)) {
		*has |= HAS_VERSION;
		return str_eq(value, STR("STSv1"));
	}
	if (str_eq(name, STR("mode")) && !(*has & HAS_MODE)) {
		*has |= HAS_MODE;
		return take_mode(value, p);
	}
	if (str_eq(name, STR("max_age")) && !(*has & HAS_AGE)) {
		*has |= HAS_AGE;
		return take_age(value, p);
	}
	return true;
}

int sts_read_policy(str text, struct sts_policy *ret)
{
	str line, name, value, rest = text;
	unsigned has = 0;
	bool more = true;

	*ret = (struct sts_policy){ .mode = STS_NONE };
	if (text.n > STS_POLICY_BYTES_MAX)
		return -EINVAL;
	while (more) {
		more = str_cut(rest, '\n', &line, &rest);
		line = str_trim(line);
		if (line.n == 0)
			continue;
		if (!str_cut(line, ':', &name, &value) ||
		    !take_field(str_trim(name), str_trim(value), ret, &has))
			return -EINVAL;
	}
	if (has != (HAS_VERSION | HAS_MODE | HAS_AGE) ||
	    (ret->mode != STS_NONE && ret->mx_count == 0))
		return -EINVAL;
	return 0;
}

/* "*." stands for one label (RFC 6125 §6.4.3). */
static bool pattern_has(str pattern, str host)
{
	str label, rest;

	if (!str_starts(pattern, STR("*.")))
		return str_case_eq(pattern, host);
	return str_cut(host, '.', &label, &rest) && label.n > 0 &&
	       str_case_eq(rest, str_from(pattern, 2));
}

bool sts_allows(const struct sts_policy *policy, str host)
{
	if (host.n > 1 && host.p[host.n - 1] == '.')
		host.n--;
	for (size_t i = 0; i < policy->mx_count; i++)
		if (pattern_has(str_of(policy->mx[i]), host))
			return true;
	return false;
}

/* "text/plain", whatever parameters follow. */
static bool is_plain(str value)
{
	str type, ignored;

	str_cut(value, ';', &type, &ignored);
	return str_case_eq(str_trim(type), STR("text/plain"));
}

int sts_read_response(str bytes, str *ret_body)
{
	ssize_t end = str_find(bytes, STR("\r\n\r\n"));
	str line, name, value, head, body;
	bool plain = false, more;
	uint64_t length;

	if (end < 0)
		return -EBADMSG;
	head = str_first(bytes, (size_t)end);
	body = str_from(bytes, (size_t)end + 4);
	more = str_cut(head, '\n', &line, &head);
	/* Redirections are not followed (§3.3): anything but 200 is no policy. */
	if (!str_starts(line, STR("HTTP/1.")) || !str_starts(str_from(line, 8), STR(" 200")))
		return -ENOENT;
	while (more) {
		more = str_cut(head, '\n', &line, &head);
		if (!str_cut(line, ':', &name, &value))
			return -EBADMSG;
		value = str_trim(value);
		if (str_case_eq(name, STR("Content-Type")))
			plain = is_plain(value);
		if (str_case_eq(name, STR("Transfer-Encoding")))
			return -EBADMSG; /* never in an answer to HTTP/1.0 */
		if (!str_case_eq(name, STR("Content-Length")))
			continue;
		if (str_u64(value, STS_POLICY_BYTES_MAX, &length) < 0 || length > body.n)
			return -EBADMSG;
		body = str_first(body, length);
	}
	*ret_body = body;
	return plain ? 0 : -EBADMSG;
}
