#include "smtp/attributes.h"

#include "base/cleanup.h"
#include "smtp/octets.h"
#include "smtp/xtext.h"

#include <stdio.h>

#define PROTO_MAX 64

static bool check_any(str value, enum smtp_verb verb)
{
	(void)verb;
	return value.n > 0;
}

/* RFC 5321 writes "IPv6:" before an address, XCLIENT "IPV6:"; old ones leave it away. */
static int parse_address(str value, struct addr *ret)
{
	if (str_case_starts(value, STR("IPV6:")))
		value = str_from(value, 5);
	return octets_has(value, '[') ? -EINVAL : addr_parse_ip(value, 0, ret);
}

static bool check_address(str value, enum smtp_verb verb)
{
	struct addr a;

	return verb == SMTP_XFORWARD ? value.n > 0 : parse_address(value, &a) == 0;
}

static int parse_port(str value, uint64_t *ret)
{
	int r = str_u64(value, UINT16_MAX, ret);

	return r < 0 || !*ret ? -EINVAL : 0;
}

static bool check_port(str value, enum smtp_verb verb)
{
	uint64_t port;

	(void)verb;
	return parse_port(value, &port) == 0;
}

static bool check_proto(str value, enum smtp_verb verb)
{
	if (verb == SMTP_XFORWARD)
		return value.n > 0 && value.n <= PROTO_MAX;
	return str_case_eq(value, STR("SMTP")) || str_case_eq(value, STR("ESMTP"));
}

static bool check_source(str value, enum smtp_verb verb)
{
	(void)verb;
	return str_case_eq(value, STR("LOCAL")) || str_case_eq(value, STR("REMOTE"));
}

static const struct {
	str name;
	bool xclient, xforward; /* which verb takes it */
	bool (*check)(str value, enum smtp_verb verb);
} attribute_table[] = {
	[ATTRIBUTE_NAME] = { { "NAME", 4 }, true, true, check_any },
	[ATTRIBUTE_ADDR] = { { "ADDR", 4 }, true, true, check_address },
	[ATTRIBUTE_PORT] = { { "PORT", 4 }, true, true, check_port },
	[ATTRIBUTE_PROTO] = { { "PROTO", 5 }, true, true, check_proto },
	[ATTRIBUTE_HELO] = { { "HELO", 4 }, true, true, check_any },
	[ATTRIBUTE_LOGIN] = { { "LOGIN", 5 }, true, false, check_any },
	[ATTRIBUTE_DESTADDR] = { { "DESTADDR", 8 }, true, false, check_address },
	[ATTRIBUTE_DESTPORT] = { { "DESTPORT", 8 }, true, false, check_port },
	[ATTRIBUTE_SOURCE] = { { "SOURCE", 6 }, false, true, check_source },
	[ATTRIBUTE_IDENT] = { { "IDENT", 5 }, false, true, check_any },
};

_Static_assert(ELEMENTS(attribute_table) == ATTRIBUTE_COUNT, "a row for each attribute");

/* Octets of a line between its verb and its CRLF. */
static size_t line_room(enum smtp_verb verb)
{
	return SMTP_LINE_MAX - 2 - strlen(smtp_verb_name(verb));
}

static bool is_taken(enum smtp_attribute attribute, enum smtp_verb verb)
{
	return verb == SMTP_XCLIENT ? attribute_table[attribute].xclient
				    : attribute_table[attribute].xforward;
}

str attribute_name(enum smtp_attribute attribute)
{
	return attribute_table[attribute].name;
}

int attribute_find(str name, enum smtp_verb verb)
{
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		if (str_case_eq(name, attribute_table[i].name))
			return is_taken((enum smtp_attribute)i, verb) ? i : -1;
	return -1;
}

const char *attributes_offered(enum smtp_verb verb)
{
	return verb == SMTP_XCLIENT ? "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
				    : "NAME ADDR PORT PROTO HELO SOURCE IDENT";
}

/* --- reading --- */

static bool text_valid(str value)
{
	return value.n <= ATTRIBUTE_VALUE_MAX && !octets_any_control(value) && utf8_valid(value);
}

static enum smtp_attribute_state state_of(str value)
{
	if (str_case_eq(value, STR("[UNAVAILABLE]")))
		return ATTRIBUTE_UNAVAILABLE;
	return str_case_eq(value, STR("[TEMPUNAVAIL]")) ? ATTRIBUTE_TEMPUNAVAIL : ATTRIBUTE_GIVEN;
}

/* One `NAME=value`, decoded into `to`, which has room for it; *ret_used octets of it. */
static int parse_one(str text, enum smtp_verb verb, struct smtp_attributes *a, char *to,
		     size_t *ret_used)
{
	enum smtp_attribute_state state;
	str name, value = STR_NONE;
	int found;

	if (!str_cut(text, '=', &name, &value))
		return -EINVAL;
	found = attribute_find(name, verb);
	if (found < 0 || a->of[found].state != ATTRIBUTE_ABSENT)
		return -EINVAL;
	if (xtext_decode(value, to, value.n, &value) < 0 || !text_valid(value))
		return -EINVAL;
	state = state_of(value);
	if (state == ATTRIBUTE_GIVEN && !attribute_table[found].check(value, verb))
		return -EINVAL;
	a->of[found].state = state;
	a->of[found].value = state == ATTRIBUTE_GIVEN ? value : STR_NONE;
	*ret_used = value.n;
	return 0;
}

int attributes_parse(str argument, enum smtp_verb verb, char text[static SMTP_LINE_MAX],
		     struct smtp_attributes *ret)
{
	struct smtp_attributes a = { 0 };
	size_t at = 0;

	if (argument.n + 1 > line_room(verb) || !str_trim(argument).n)
		return -EINVAL;
	while (argument.n) {
		str word;
		size_t used;
		int r;

		str_cut(argument, ' ', &word, &argument);
		if (!word.n)
			continue;
		r = parse_one(word, verb, &a, text + at, &used);
		if (r < 0)
			return r;
		at += used;
	}
	*ret = a;
	return 0;
}

bool attributes_address(const struct smtp_attributes *a, enum smtp_attribute attribute,
			struct addr *ret)
{
	enum smtp_attribute beside =
		attribute == ATTRIBUTE_DESTADDR ? ATTRIBUTE_DESTPORT : ATTRIBUTE_PORT;
	uint64_t port = 0;

	if (a->of[attribute].state != ATTRIBUTE_GIVEN ||
	    parse_address(a->of[attribute].value, ret) < 0)
		return false;
	if (a->of[beside].state == ATTRIBUTE_GIVEN && parse_port(a->of[beside].value, &port) == 0)
		ret->port = (uint16_t)port;
	return true;
}

/* --- writing --- */

str attribute_addr_text(const struct addr *a, char text[static ATTRIBUTE_ADDR_SIZE])
{
	char ip[ADDR_TEXT_SIZE];
	int n;

	addr_ip_text(a, ip);
	n = snprintf(text, ATTRIBUTE_ADDR_SIZE, "%s%s", a->family == AF_INET6 ? "IPV6:" : "", ip);
	return str_mem(text, (size_t)n);
}

/* ` NAME=value` in `to`, which is empty and has room for what a line has room for. */
static int format_one(const struct smtp_attributes *a, enum smtp_attribute attribute,
		      struct buf *to)
{
	str name = attribute_name(attribute), value = a->of[attribute].value;
	int r = 0;

	if (a->of[attribute].state == ATTRIBUTE_GIVEN && value.n &&
	    value.n <= ATTRIBUTE_VALUE_MAX) {
		r = buf_addf(to, " %.*s=", STR_ARG(name));
		if (r >= 0)
			r = xtext_encode(value, to);
		if (r != -ENOBUFS)
			return r;
		buf_reset(to);
	}
	return buf_addf(to, " %.*s=%s", STR_ARG(name),
			a->of[attribute].state == ATTRIBUTE_TEMPUNAVAIL ? "[TEMPUNAVAIL]"
									: "[UNAVAILABLE]");
}

/* Adds an attribute to the line that starts at *line in `to`, or ends that line and starts one. */
static int add_one(str word, enum smtp_verb verb, size_t *line, struct buf *to, int *commands)
{
	int r = 0;

	if (*commands && to->n - *line + word.n + 2 <= SMTP_LINE_MAX)
		return buf_add(to, word);
	if (*commands)
		r = buf_add(to, STR("\r\n"));
	*line = to->n;
	*commands += 1;
	if (r >= 0)
		r = buf_add(to, str_of(smtp_verb_name(verb)));
	return r < 0 ? r : buf_add(to, word);
}

/* ADDR comes last, whatever else is said: a server that trusts by address would not take the rest from
 * the client that we are then. */
static enum smtp_attribute written_at(int place)
{
	if (place == ATTRIBUTE_COUNT - 1)
		return ATTRIBUTE_ADDR;
	return (enum smtp_attribute)(place < (int)ATTRIBUTE_ADDR ? place : place + 1);
}

int attributes_write(const struct smtp_attributes *a, enum smtp_verb verb, unsigned taken,
		     struct buf *to)
{
	_cleanup_(buf_done) struct buf word;
	size_t before = to->n, line = to->n;
	int commands = 0, r = 0;

	buf_init(&word, line_room(verb));
	for (int i = 0; i < ATTRIBUTE_COUNT && r >= 0; i++) {
		enum smtp_attribute attribute = written_at(i);

		if (a->of[attribute].state == ATTRIBUTE_ABSENT || !is_taken(attribute, verb) ||
		    !(taken & ATTRIBUTE_BIT(attribute)))
			continue;
		buf_reset(&word);
		r = format_one(a, attribute, &word);
		if (r >= 0)
			r = add_one(buf_str(&word), verb, &line, to, &commands);
	}
	if (r >= 0 && commands)
		r = buf_add(to, STR("\r\n"));
	if (r < 0)
		to->n = before;
	return r < 0 ? r : commands;
}
