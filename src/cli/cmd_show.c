/*
 * locum show ID and locum trace ID: the story of one message: its row, its envelope while it is in the spool, its
 * events. locum trace ADDRESS: the messages that concern somebody.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/messages.h"
#include "cli/words.h"

struct story {
	const struct answers *a;
	const Locum__MessageRow *message; /* NULL: only events are left */
	ProtobufCBinaryData envelope;
};

static struct story story_of(const struct answers *a)
{
	struct story s = { .a = a };

	for (size_t i = 0; i < a->row_count; i++) {
		if (a->row[i]->message && !s.message)
			s.message = a->row[i]->message;
		if (a->row[i]->envelope.len)
			s.envelope = a->row[i]->envelope;
	}
	return s;
}

/* --- JSON --- */

/* The message's own members first; of a message that is gone only the events may be left. */
static json_t *js_story(const struct story *s)
{
	json_t *o = s->message ? js_message(s->message) : json_object(), *events = json_array();

	if (s->envelope.len)
		json_object_set_new(o, "envelope", js_envelope(s->envelope));
	for (size_t i = 0; i < s->a->row_count; i++)
		if (s->a->row[i]->event)
			json_array_append_new(events, js_event(s->a->row[i]->event));
	json_object_set_new(o, "events", events);
	return o;
}

/* --- text --- */

static void print_line(struct cli *cli, const char *what, str value)
{
	if (value.n)
		fprintf(cli->out, "%-9s  %.*s\n", what, STR_ARG(cli_safe(cli, value)));
}

static void print_client(struct cli *cli, const Locum__Client *c)
{
	char *text =
		arena_sprintf(&cli->arena, "%s%s[%s]:%u, %s %.*s, listener %s", c->name,
			      *c->name ? " " : "", c->address, c->port, c->esmtp ? "EHLO" : "HELO",
			      STR_ARG(str_first(str_bytes(c->helo), 1000)), c->listener);

	print_line(cli, "client", str_of(text));
	text = arena_sprintf(&cli->arena, "%s %s", c->tls_version, c->tls_cipher);
	print_line(cli, "tls", *c->tls_version ? str_of(text) : STR("none"));
	print_line(cli, "told by", str_of(c->told_by));
	print_line(cli, "login", str_of(c->login));
}

/* What the next host must be able to do. */
static void print_needs(struct cli *cli, const Locum__Envelope *e)
{
	const struct {
		bool set;
		const char *word;
	} needs[] = {
		{ e->smtputf8, "SMTPUTF8" },
		{ e->requiretls, "REQUIRETLS" },
		{ e->body_binarymime, "BODY=BINARYMIME" },
		{ e->body_8bitmime, "BODY=8BITMIME" },
	};
	char text[100] = "";
	size_t n = 0;

	for (size_t i = 0; i < ELEMENTS(needs); i++)
		if (needs[i].set)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "",
					      needs[i].word);
	print_line(cli, "declared", str_of(text));
}

/* Which reports the sender wants (RFC 3461): what stood in MAIL, and in RCPT of whom. */
static void print_dsn(struct cli *cli, const Locum__Envelope *e)
{
	if (*e->dsn_ret || *e->dsn_envid)
		print_line(cli, "dsn",
			   str_of(arena_sprintf(&cli->arena, "%s%s%s%s%s",
						*e->dsn_ret ? "RET=" : "", e->dsn_ret,
						*e->dsn_ret && *e->dsn_envid ? " " : "",
						*e->dsn_envid ? "ENVID=" : "", e->dsn_envid)));
	for (size_t i = 0; i < e->n_recipients; i++) {
		const Locum__Recipient *r = e->recipients[i];

		if (*r->notify || *r->orcpt)
			print_line(cli, "dsn",
				   str_of(arena_sprintf(
					   &cli->arena, "%.*s%s%s%s%s",
					   STR_ARG(str_first(str_bytes(r->address), 1000)),
					   *r->notify ? " NOTIFY=" : "", r->notify,
					   *r->orcpt ? " ORCPT=" : "", r->orcpt)));
	}
}

/* A line each: "zen 4.5 (127.0.0.4)". */
static void print_symbols(struct cli *cli, const Locum__Envelope *e)
{
	for (size_t i = 0; i < e->n_symbols; i++) {
		const Locum__Symbol *s = e->symbols[i];
		char *text = arena_sprintf(&cli->arena, "%s %g%s%.200s%s", s->name, s->score,
					   *s->text ? " (" : "", s->text, *s->text ? ")" : "");

		print_line(cli, i ? "" : "noticed", str_of(text));
	}
}

/* XFORWARD's attributes, a line each. */
static void print_forwarded(struct cli *cli, const Locum__Envelope *e)
{
	for (size_t i = 0; i < e->n_forwarded; i++)
		print_line(cli, i ? "" : "forwarded", str_of(e->forwarded[i]));
}

static void print_envelope(struct cli *cli, const struct story *s)
{
	Locum__Envelope *e =
		s->envelope.len ? locum__envelope__unpack(NULL, s->envelope.len, s->envelope.data)
				: NULL;

	if (e && e->client)
		print_client(cli, e->client);
	else if (s->message)
		print_line(cli, "client", str_of(s->message->client));
	if (!e)
		return;
	print_needs(cli, e);
	print_dsn(cli, e);
	print_forwarded(cli, e);
	print_symbols(cli, e);
	locum__envelope__free_unpacked(e, NULL);
}

static void print_message(struct cli *cli, const Locum__MessageRow *m)
{
	char id[ID_TEXT_LENGTH + 1], text[FORMAT_SIZE], ago[FORMAT_SIZE];
	str state = str_of(word_message(m->state));

	fprintf(cli->out, "%-9s  %s\n%-9s  ", "message", client_id_text(m->id, id), "state");
	colour_print(cli->out, state, colour_message(m->state), cli->coloured);
	if (*m->text)
		fprintf(cli->out, ": %.*s", STR_ARG(cli_safe(cli, str_of(m->text))));
	fprintf(cli->out, "\n%-9s  %s, %s\n", "arrived", format_time(m->arrived_wall, text),
		format_when(m->arrived_wall, cli->now_wall, ago));
	fprintf(cli->out, "%-9s  %s\n", "size", format_bytes(m->bytes, text));
	print_line(cli, "from", m->reverse_path.len ? str_bytes(m->reverse_path) : STR("<>"));
}

static int print_recipients(struct cli *cli, const Locum__MessageRow *m)
{
	static const struct table_column columns[] = {
		{ "RECIPIENT", false }, { "STATE", false },      { "TRIES", true },
		{ "NEXT TRY", false },  { "LAST REPLY", false },
	};
	_cleanup_(table_done) struct table t;
	char text[FORMAT_SIZE];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < m->n_recipients; i++) {
		const Locum__RecipientRow *r = m->recipients[i];

		table_add(&t, str_bytes(r->address));
		table_add_coloured(&t, str_of(word_message(r->state)), colour_message(r->state));
		table_addf(&t, "%u", r->attempts);
		table_add(&t, str_of(format_when(r->next_try_wall, cli->now_wall, text)));
		/* The primary may have it: the next delivery can be a duplicate. */
		table_addf(&t, "%s%s%.400s", r->ambiguous ? "final reply was lost" : "",
			   r->ambiguous && *r->reply ? ": " : "", r->reply);
	}
	if (t.cell_count)
		fputc('\n', cli->out);
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

static int print_events(struct cli *cli, const struct story *s)
{
	static const struct table_column columns[] = {
		{ "TIME", false },
		{ "EVENT", false },
		{ "RECIPIENT", false },
		{ "DETAIL", false },
	};
	_cleanup_(table_done) struct table t;
	char text[FORMAT_SIZE];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < s->a->row_count; i++) {
		const Locum__EventRow *e = s->a->row[i]->event;

		if (!e)
			continue;
		table_add(&t, str_of(format_time(e->at_wall, text)));
		table_add(&t, str_of(e->event));
		table_add(&t, str_bytes(e->recipient));
		table_add(&t, str_of(e->text));
	}
	if (t.cell_count)
		fputc('\n', cli->out);
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

static void print_hint(struct cli *cli, const Locum__MessageRow *m)
{
	char id[ID_TEXT_LENGTH + 1];

	if (m->state != LOCUM__MESSAGE_STATE__MESSAGE_HELD &&
	    m->state != LOCUM__MESSAGE_STATE__MESSAGE_PARKED)
		return;
	client_id_text(m->id, id);
	fprintf(cli->out,
		"\n`locum release %s` delivers it again, `locum export %s` prints it, `locum drop "
		"%s` destroys "
		"it\n",
		id, id, id);
}

static int print_story(struct cli *cli, const struct story *s)
{
	int r = 0;

	if (s->message)
		print_message(cli, s->message);
	print_envelope(cli, s);
	if (s->message)
		r = print_recipients(cli, s->message);
	if (r == 0)
		r = print_events(cli, s);
	if (r == 0 && s->message)
		print_hint(cli, s->message);
	return r;
}

/* --- the commands --- */

static int show_story(struct cli *cli, const struct answers *a)
{
	struct story s = story_of(a);

	if (cli->json)
		return js_print(cli, js_story(&s));
	if (print_story(cli, &s) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	return CLI_OK;
}

int cmd_show(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__Command command = LOCUM__COMMAND__INIT;
	int r;

	command.verb = LOCUM__VERB__SHOW;
	r = client_set_id(cli, &command, 0);
	if (r == CLI_OK)
		r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	if (a.row_count == 0)
		return cli_fail(
			cli, CLI_NOTHING,
			"there is no message %s; `locum trace %s` tells of one that is gone",
			cli->args[0], cli->args[0]);
	command.verb = LOCUM__VERB__TRACE;
	r = client_ask(cli, &command, &a);
	return r == CLI_OK ? show_story(cli, &a) : r;
}

static int print_found(struct cli *cli, const struct answers *a)
{
	size_t count = messages_count(a);
	char text[FORMAT_SIZE];

	if (cli->json)
		return messages_print_json(cli, a);
	if (messages_print(cli, a) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory; show fewer with --rows N");
	if (cli->rows_max && count >= cli->rows_max)
		fprintf(cli->out, "the first %s; --rows 0 shows all\n", format_count(count, text));
	fprintf(cli->out, "\n`locum trace ID` tells what happened to one\n");
	return CLI_OK;
}

int cmd_trace(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__Command command = LOCUM__COMMAND__INIT;
	bool by_address = strchr(cli->args[0], '@') != NULL;
	int r = CLI_OK;

	command.verb = LOCUM__VERB__TRACE;
	if (by_address) {
		command.address = cli->args[0];
		command.rows_max = cli->rows_max;
	} else {
		r = client_set_id(cli, &command, 0);
	}
	if (r == CLI_OK)
		r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	if (a.row_count == 0)
		return cli_fail(cli, CLI_NOTHING,
				"nothing is known of %s; the log of locumd may reach further back",
				cli->args[0]);
	return by_address ? print_found(cli, &a) : show_story(cli, &a);
}
