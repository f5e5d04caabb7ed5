#include "cli/messages.h"

#include "base/cleanup.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/words.h"

size_t messages_count(const struct answers *a)
{
	size_t count = 0;

	for (size_t i = 0; i < a->row_count; i++)
		count += a->row[i]->message != NULL;
	return count;
}

int messages_print_json(struct cli *cli, const struct answers *a)
{
	json_t *messages = json_array();

	for (size_t i = 0; i < a->row_count; i++)
		if (a->row[i]->message)
			json_array_append_new(messages, js_message(a->row[i]->message));
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

int messages_print(struct cli *cli, const struct answers *a)
{
	static const struct table_column columns[] = {
		{ "ID", false },   { "AGE", false }, { "SIZE", true }, { "STATE", false },
		{ "FROM", false }, { "TO", false },  { "WHY", false },
	};
	_cleanup_(table_done) struct table t;
	char id[ID_TEXT_LENGTH + 1], text[FORMAT_SIZE];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < a->row_count; i++) {
		const Locum__MessageRow *m = a->row[i]->message;

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
