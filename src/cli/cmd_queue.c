/*
 * locum queue [DOMAIN]: what waits, oldest first.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/words.h"

static const Locum__MessageRow *message_of(const struct answers *a, size_t i)
{
	return a->row[i]->message;
}

static size_t count_messages(const struct answers *a)
{
	size_t count = 0;

	for (size_t i = 0; i < a->row_count; i++)
		count += message_of(a, i) != NULL;
	return count;
}

static int print_json(struct cli *cli, const struct answers *a)
{
	json_t *messages = json_array();

	for (size_t i = 0; i < a->row_count; i++)
		if (message_of(a, i))
			json_array_append_new(messages, js_message(message_of(a, i)));
	return js_print(cli, messages);
}

static void add_recipients(struct table *t, const Locum__MessageRow *m)
{
	str first = m->n_recipients ? str_bytes(m->recipients[0]->address) : STR("");

	if (m->n_recipients < 2)
		table_add(t, first);
	else
		table_addf(t, "%.*s +%zu", (int)MIN(first.n, (size_t)400), first.p,
			   m->n_recipients - 1);
}

/* What the primary said last, when the message itself has no reason. */
static str reason(const Locum__MessageRow *m)
{
	if (*m->text)
		return str_of(m->text);
	for (size_t i = 0; i < m->n_recipients; i++)
		if (*m->recipients[i]->reply)
			return str_of(m->recipients[i]->reply);
	return STR("");
}

static int print_table(struct cli *cli, const struct answers *a)
{
	static const struct table_column columns[] = {
		{ "ID", false },   { "AGE", false }, { "SIZE", true }, { "STATE", false },
		{ "FROM", false }, { "TO", false },  { "WHY", false },
	};
	_cleanup_(table_done) struct table t;
	char id[ID_TEXT_LENGTH + 1], text[FORMAT_SIZE];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < a->row_count; i++) {
		const Locum__MessageRow *m = message_of(a, i);

		if (!m)
			continue;
		table_add(&t, str_of(client_id_text(m->id, id)));
		table_add(&t, str_of(format_span(cli->now_wall - m->arrived_wall, text)));
		table_add(&t, str_of(format_bytes(m->bytes, text)));
		table_add_coloured(&t, str_of(word_message(m->state)), colour_message(m->state));
		table_add(&t, m->reverse_path.len ? str_bytes(m->reverse_path) : STR("<>"));
		add_recipients(&t, m);
		table_add(&t, reason(m));
	}
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

int cmd_queue(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__Command command = LOCUM__COMMAND__INIT;
	char shown_text[FORMAT_SIZE], total_text[FORMAT_SIZE];
	uint64_t total;
	size_t shown;
	int r;

	command.verb = LOCUM__VERB__QUEUE;
	command.rows_max = cli->rows_max;
	if (cli->arg_count)
		command.domain = cli->args[0];
	r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	shown = count_messages(&a);
	total = MAX(a.last->count, (uint64_t)shown);
	if (cli->json)
		return print_json(cli, &a);
	if (print_table(cli, &a) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory; show fewer with --rows N");
	if (total == 0)
		fprintf(cli->out, "nothing waits\n");
	else if (total > shown)
		fprintf(cli->out, "%s of %s messages; --rows 0 shows all\n",
			format_count(shown, shown_text), format_count(total, total_text));
	return CLI_OK;
}
