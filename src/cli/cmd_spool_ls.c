/*
 * locum spool ls [DIR]: the messages of a spool, oldest first, without locumd.
 */
#include "base/cleanup.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/client.h"
#include "cli/offline.h"
#include "cli/words.h"

static const char *log_word(enum spool_log log)
{
	return log == SPOOL_HELD ? "held" : "queue";
}

static void add_row(struct table *t, const struct inspect_message *m, const Locum__MessageRow *row)
{
	char id[ID_TEXT_LENGTH + 1], text[FORMAT_SIZE];

	table_add(t, str_of(client_id_text(row->id, id)));
	table_add_coloured(t, str_of(word_message(row->state)), colour_message(row->state));
	table_add(t, str_of(format_bytes(row->bytes, text)));
	table_add(t, str_of(format_time(row->arrived_wall, text)));
	table_add(t, str_of(log_word(m->log)));
	table_add(t, row->reverse_path.len ? str_bytes(row->reverse_path) : STR("<>"));
	if (row->n_recipients > 1)
		table_addf(t, "%.*s +%zu", (int)MIN(row->recipients[0]->address.len, (size_t)400),
			   (const char *)row->recipients[0]->address.data, row->n_recipients - 1);
	else
		table_add(t, row->n_recipients ? str_bytes(row->recipients[0]->address)
					       : str_of(row->text));
}

static json_t *js_row(const struct inspect_message *m, const Locum__MessageRow *row)
{
	json_t *o = js_message(row);

	json_object_set_new(o, "log", json_string(log_word(m->log)));
	json_object_set_new(o, "body_crc32c", js_number(m->body_crc32c));
	return o;
}

int cmd_spool_ls(struct cli *cli)
{
	static const struct table_column columns[] = {
		{ "ID", false },  { "STATE", false }, { "SIZE", true }, { "ARRIVED", false },
		{ "LOG", false }, { "FROM", false },  { "TO", false },
	};
	_cleanup_(spool_closep) struct spool *s = NULL;
	_cleanup_(table_done) struct table t;
	_cleanup_(freep) msg_id *ids = NULL;
	json_t *all = cli->json ? json_array() : NULL;
	const char *dir = offline_dir(cli, 0);
	size_t count = 0;
	unsigned owner;
	int r = CLI_CONFIG;

	table_init(&t, columns, ELEMENTS(columns));
	if (dir)
		r = offline_open(cli, dir, false, &s);
	if (r == CLI_OK && inspect_ids(s, &ids, &count) < 0)
		r = cli_fail(cli, CLI_NOTHING, "out of memory");
	for (size_t i = 0; i < count && r == CLI_OK; i++) {
		_cleanup_(message_row_freep) Locum__MessageRow *row = NULL;
		struct inspect_message m;

		if (offline_row(s, ids[i], &m, &row) < 0)
			r = cli_fail(cli, CLI_NOTHING, "out of memory");
		else if (cli->json)
			json_array_append_new(all, js_row(&m, row));
		else
			add_row(&t, &m, row);
	}
	if (r != CLI_OK) {
		json_decref(all);
		return r;
	}
	if (cli->json)
		return js_print(cli, all);
	if (table_print(&t, cli->out, 0, cli->width, cli->coloured) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	if (count == 0)
		fprintf(cli->out, "no message can be read\n");
	owner = offline_owner(dir);
	if (owner)
		fprintf(cli->out, "process %u has the spool open: this was so a moment ago\n",
			owner);
	return CLI_OK;
}
