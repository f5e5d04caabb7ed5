#include "proc/smtpin/told.h"

#include "base/log.h"
#include "proc/smtpin/arrival.h"

#include <stdio.h>

static int make_told(struct session *s)
{
	if (!s->told)
		s->told = calloc(1, sizeof(*s->told));
	return s->told ? 0 : -ENOMEM;
}

static int set(char **value, str text)
{
	char *copy = strndup(text.n ? text.p : "", text.n);

	if (!copy)
		return -ENOMEM;
	free(*value);
	*value = copy;
	return 0;
}

const char *told_value(const struct session *s, enum smtp_attribute attribute,
		       const char *otherwise)
{
	return s->told && s->told->value[attribute] ? s->told->value[attribute] : otherwise;
}

void told_forget_forward(struct session *s)
{
	for (size_t i = 0; s->told && i < ATTRIBUTE_COUNT; i++) {
		free(s->told->forward[i]);
		s->told->forward[i] = NULL;
	}
}

void told_free(struct session *s)
{
	told_forget_forward(s);
	for (size_t i = 0; s->told && i < ATTRIBUTE_COUNT; i++)
		free(s->told->value[i]);
	free(s->told);
	s->told = NULL;
}

/* --- XCLIENT --- */

static int keep_values(struct told *t, const struct smtp_attributes *a)
{
	static const enum smtp_attribute kept[] = { ATTRIBUTE_NAME, ATTRIBUTE_HELO, ATTRIBUTE_LOGIN,
						    ATTRIBUTE_PROTO };
	int r = 0;

	for (size_t i = 0; i < ELEMENTS(kept) && r == 0; i++)
		if (a->of[kept[i]].state != ATTRIBUTE_ABSENT)
			r = set(&t->value[kept[i]], a->of[kept[i]].value);
	return r;
}

/* The address, or a port alone. */
static enum answer take_address(struct session *s, const struct smtp_attributes *a)
{
	struct addr client = s->client;
	uint64_t port;

	if (attributes_address(a, ATTRIBUTE_ADDR, &client))
		return session_become(s, &client);
	if (a->of[ATTRIBUTE_PORT].state == ATTRIBUTE_GIVEN &&
	    str_u64(a->of[ATTRIBUTE_PORT].value, UINT16_MAX, &port) == 0)
		s->client.port = (uint16_t)port;
	return ANSWER_NONE;
}

static void log_told(const struct session *s)
{
	char by[ADDR_TEXT_SIZE], client[ADDR_TEXT_SIZE];

	log_info("client.told", K_Z("by", addr_ip_text(&s->told->by, by)),
		 K_Z("client", addr_ip_text(&s->client, client)),
		 K_Z("name", told_value(s, ATTRIBUTE_NAME, "")),
		 K_Z("helo", told_value(s, ATTRIBUTE_HELO, "")));
}

/* The session begins anew, as that client's: nothing that the server which told us did counts for it, and it is not
 * asked to tell more. A proxy may pass on what its client says from here on, and that client must not name
 * itself another one. */
static void begin_anew(struct session *s)
{
	session_forget_hello(s);
	s->symbols = 0;
	s->mistakes = 0;
	s->unknown_recipients = 0;
	s->rate_answers = 0;
	s->unknown_commands = 0;
	s->may_tell = false;
	session_judge_trust(s);
	facts_unref(s->facts);
	s->facts = facts_start(s->srv, &s->client);
	s->facts_waited = false;
}

enum answer do_xclient(struct session *s, const struct smtp_command *c)
{
	char text[SMTP_LINE_MAX];
	struct smtp_attributes a;
	struct addr by = s->client;
	enum answer answer;

	if (s->transaction)
		return ANSWER_TOLD_IN_TRANSACTION;
	if (attributes_parse(c->argument, SMTP_XCLIENT, text, &a) < 0)
		return ANSWER_ARGUMENT_INVALID;
	if (make_told(s) < 0 || keep_values(s->told, &a) < 0)
		return ANSWER_BUSY;
	answer = take_address(s, &a);
	if (answer != ANSWER_NONE)
		return answer;
	if (!s->told->by_xclient)
		s->told->by = by;
	s->told->by_xclient = true;
	begin_anew(s);
	log_told(s);
	return ANSWER_GREETING;
}

/* --- XFORWARD --- */

static int keep_forward(struct told *t, enum smtp_attribute attribute, str value)
{
	char text[sizeof("DESTADDR=") + ATTRIBUTE_VALUE_MAX];
	int n;

	n = snprintf(text, sizeof(text), "%.*s=%.*s", STR_ARG(attribute_name(attribute)),
		     STR_ARG(value));
	must(n > 0 && (size_t)n < sizeof(text));
	return set(&t->forward[attribute], str_mem(text, (size_t)n));
}

enum answer do_xforward(struct session *s, const struct smtp_command *c)
{
	char text[SMTP_LINE_MAX];
	struct smtp_attributes a;
	int r;

	if (s->transaction)
		return ANSWER_TOLD_IN_TRANSACTION;
	if (attributes_parse(c->argument, SMTP_XFORWARD, text, &a) < 0)
		return ANSWER_ARGUMENT_INVALID;
	r = make_told(s);
	for (unsigned i = 0; i < ATTRIBUTE_COUNT && r == 0; i++)
		if (a.of[i].state == ATTRIBUTE_GIVEN)
			r = keep_forward(s->told, (enum smtp_attribute)i, a.of[i].value);
	return r < 0 ? ANSWER_BUSY : ANSWER_OK;
}

/* --- the envelope --- */

static int fill_forwarded(const struct told *t, struct arena *arena, Locum__Envelope *envelope)
{
	char **list = ARENA_ARRAY(arena, char *, ATTRIBUTE_COUNT);

	if (!list)
		return -ENOMEM;
	envelope->forwarded = list;
	for (size_t i = 0; i < ATTRIBUTE_COUNT; i++)
		if (t->forward[i])
			list[envelope->n_forwarded++] = t->forward[i];
	return 0;
}

int told_fill(const struct session *s, struct arena *arena, Locum__Client *client,
	      Locum__Envelope *envelope)
{
	struct addr by = s->told && s->told->by_xclient ? s->told->by : s->proxy;
	char text[ADDR_TEXT_SIZE];

	if (by.family != AF_UNSPEC)
		client->told_by = (char *)arena_str(arena, str_of(addr_ip_text(&by, text))).p;
	client->login = (char *)told_value(s, ATTRIBUTE_LOGIN, "");
	if (!client->told_by)
		return -ENOMEM;
	return s->told ? fill_forwarded(s->told, arena, envelope) : 0;
}
