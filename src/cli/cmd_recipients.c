/*
 * locum recipients: the directory of recipients (docs/decisions/0010): what primaries accept and refuse, as far as it was learned or
 * imported.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/recipients.h"

#define IMPORT_PART 500 /* addresses in one question */

static int ask(struct cli *cli, Locum__AskDirectory *directory, struct answers *a)
{
	Locum__Command command = LOCUM__COMMAND__INIT;

	command.verb = LOCUM__VERB__RECIPIENTS;
	command.directory = directory;
	command.rows_max = cli->rows_max;
	return client_ask(cli, &command, a);
}

static void question(struct cli *cli, Locum__DirectoryVerb verb, Locum__AskDirectory *ret)
{
	locum__ask_directory__init(ret);
	ret->verb = verb;
	if (cli->arg_count)
		ret->domain = cli->args[0];
}

/* --- list, export --- */

static const char *word_of(const Locum__DirectoryEntry *e)
{
	return e->word == LOCUM__RECIPIENT_WORD__RECIPIENT_KNOWN ? "known" : "refused";
}

static const char *address_of(struct cli *cli, const Locum__DirectoryEntry *e)
{
	const char *text =
		arena_sprintf(&cli->arena, "%.*s@%s", STR_ARG(str_bytes(e->local)), cli->args[0]);

	return text ? text : "";
}

/* Entries of all parts, within --rows. */
static size_t walk(struct cli *cli, const struct answers *a,
		   void (*f)(struct cli *cli, const Locum__DirectoryEntry *e, void *arg), void *arg)
{
	size_t count = 0;

	for (size_t i = 0; i < a->row_count; i++) {
		const Locum__DirectoryPart *part = a->row[i]->directory;

		for (size_t k = 0; part && k < part->n_entries; k++) {
			if (cli->rows_max && count == cli->rows_max)
				return count;
			f(cli, part->entries[k], arg);
			count++;
		}
	}
	return count;
}

static void row_json(struct cli *cli, const Locum__DirectoryEntry *e, void *arg)
{
	json_t *o = json_object();

	json_object_set_new(o, "address", js_text(str_of(address_of(cli, e))));
	json_object_set_new(o, "word", json_string(word_of(e)));
	json_object_set_new(o, "imported", json_boolean(e->imported));
	json_object_set_new(o, "old", json_boolean(e->old));
	json_object_set_new(o, "age_s", js_number((uint64_t)MAX(e->age, 0) / NSEC_S));
	json_object_set_new(o, "reply", js_text(str_of(e->reply)));
	json_array_append_new(arg, o);
}

static void row_text(struct cli *cli, const Locum__DirectoryEntry *e, void *arg)
{
	struct table *t = arg;
	char age[FORMAT_SIZE];

	table_add(t, str_of(address_of(cli, e)));
	table_add_coloured(t, str_of(word_of(e)),
			   e->old                                              ? COLOUR_DIM
			   : e->word == LOCUM__RECIPIENT_WORD__RECIPIENT_KNOWN ? COLOUR_GOOD
									       : COLOUR_BAD);
	table_add(t, str_of(e->imported ? "imported" : format_span(e->age, age)));
	table_add(t, str_of(e->old ? "too old to count" : e->reply));
}

int cmd_recipients_list(struct cli *cli)
{
	static const struct table_column columns[] = {
		{ "RECIPIENT", false }, { "IS", false }, { "SINCE", true }, { "REPLY", false }
	};
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	_cleanup_(table_done) struct table t;
	Locum__AskDirectory directory;
	size_t count;
	int r;

	table_init(&t, columns, ELEMENTS(columns));
	question(cli, LOCUM__DIRECTORY_VERB__DIRECTORY_LIST, &directory);
	r = ask(cli, &directory, &a);
	if (r != CLI_OK)
		return r;
	if (cli->json) {
		json_t *document = json_array();

		walk(cli, &a, row_json, document);
		return js_print(cli, document);
	}
	count = walk(cli, &a, row_text, &t);
	if (table_print(&t, cli->out, 0, cli->width, cli->coloured) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory; show fewer with --rows N");
	if (count == 0)
		fprintf(cli->out, "nothing is known of recipients of this domain\n");
	else if (count == cli->rows_max)
		fprintf(cli->out, "the first %zu; --rows 0 shows all\n", count);
	return CLI_OK;
}

static void row_address(struct cli *cli, const Locum__DirectoryEntry *e, void *arg)
{
	if (e->word == LOCUM__RECIPIENT_WORD__RECIPIENT_KNOWN && !e->old)
		fprintf(arg, "%s\n", address_of(cli, e));
}

static int write_addresses(struct cli *cli, const struct answers *a, const char *path)
{
	FILE *f = fopen(path, "wxe");

	if (!f)
		return cli_fail(cli, CLI_NOTHING, "%s cannot be written: %s", path,
				strerror(errno));
	walk(cli, a, row_address, f);
	if (fclose(f) != 0)
		return cli_fail(cli, CLI_NOTHING, "%s cannot be written: %s", path,
				strerror(errno));
	return CLI_OK;
}

int cmd_recipients_export(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__AskDirectory directory;
	int r;

	cli->rows_max = 0;
	question(cli, LOCUM__DIRECTORY_VERB__DIRECTORY_LIST, &directory);
	r = ask(cli, &directory, &a);
	if (r != CLI_OK)
		return r;
	if (cli->arg_count > 1)
		return write_addresses(cli, &a, cli->args[1]);
	walk(cli, &a, row_address, cli->out);
	return CLI_OK;
}

/* --- import, forget --- */

static int report(struct cli *cli, const char *done, uint64_t count)
{
	char text[FORMAT_SIZE];

	if (cli->json)
		return js_print_count(cli, count);
	fprintf(cli->out, "%s %s %s\n", format_count(count, text),
		count == 1 ? "recipient" : "recipients", done);
	return CLI_OK;
}

static int send_part(struct cli *cli, const struct recipients *all, size_t from, size_t count,
		     uint64_t *ret_forgotten)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__AskDirectory directory;
	int r;

	question(cli, LOCUM__DIRECTORY_VERB__DIRECTORY_IMPORT, &directory);
	directory.addresses = all->address + from;
	directory.n_addresses = count;
	directory.replace = cli->replace;
	directory.first = from == 0;
	directory.last = from + count == all->count;
	r = ask(cli, &directory, &a);
	if (r == CLI_OK && a.row_count && a.row[0]->directory)
		*ret_forgotten += a.row[0]->directory->forgotten;
	return r;
}

int cmd_recipients_import(struct cli *cli)
{
	struct recipients all;
	uint64_t forgotten = 0;
	int r = recipients_read(cli, cli->args[1], str_of(cli->args[0]), &all);

	if (r != CLI_OK)
		return r;
	if (all.count == 0)
		return cli_fail(cli, CLI_NOTHING, "%s names no address; nothing was imported",
				cli->args[1]);
	for (size_t at = 0; at < all.count && r == CLI_OK; at += IMPORT_PART)
		r = send_part(cli, &all, at, MIN(all.count - at, (size_t)IMPORT_PART), &forgotten);
	if (r != CLI_OK)
		return r;
	if (forgotten && !cli->json)
		report(cli, "of an earlier import forgotten", forgotten);
	return report(cli, "imported", all.count);
}

int cmd_recipients_forget(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	ProtobufCBinaryData address;
	Locum__AskDirectory directory;
	char *at = strrchr(cli->args[0], '@');
	int r;

	question(cli, LOCUM__DIRECTORY_VERB__DIRECTORY_FORGET, &directory);
	if (at) {
		directory.domain = at + 1;
		address = (ProtobufCBinaryData){ strlen(cli->args[0]), (uint8_t *)cli->args[0] };
		directory.addresses = &address;
		directory.n_addresses = 1;
	}
	r = ask(cli, &directory, &a);
	if (r != CLI_OK)
		return r;
	if (a.last->count == 0)
		return cli_fail(cli, CLI_NOTHING, "nothing is known of %s", cli->args[0]);
	return report(cli, "forgotten", a.last->count);
}

/* --- coverage --- */

static const char *absent_word(uint32_t absent)
{
	static const char *const words[] = { "unknown", "refused", "accepted" };

	return absent < ELEMENTS(words) ? words[absent] : "unknown";
}

static json_t *coverage_json(const Locum__DirectoryPart *part)
{
	const Locum__DirectoryCoverage *c = part->coverage;
	json_t *o = json_object();

	json_object_set_new(o, "domain", js_text(str_of(part->domain)));
	json_object_set_new(o, "known", js_number(c->known));
	json_object_set_new(o, "refused", js_number(c->refused));
	json_object_set_new(o, "imported", js_number(c->imported));
	json_object_set_new(o, "accepted", js_number(c->accepted));
	json_object_set_new(o, "percent", c->accepted ? js_number(c->percent) : json_null());
	json_object_set_new(o, "covered", json_boolean(c->covered));
	json_object_set_new(o, "whole", json_boolean(c->whole));
	json_object_set_new(o, "takes_all", json_boolean(c->takes_all));
	json_object_set_new(o, "absent", json_string(absent_word(c->absent)));
	json_object_set_new(o, "answered_at", js_time(c->answered_wall));
	return o;
}

static void coverage_text(struct cli *cli, struct table *t, const Locum__DirectoryPart *part)
{
	const Locum__DirectoryCoverage *c = part->coverage;
	char text[FORMAT_SIZE];

	table_add(t, str_of(part->domain));
	table_add(t, str_of(format_count(c->known, text)));
	table_add(t, str_of(format_count(c->imported, text)));
	table_add(t, str_of(format_count(c->refused, text)));
	if (c->accepted)
		table_addf(t, "%u %% of %u", c->percent, c->accepted);
	else
		table_add(t, STR("-"));
	table_add(t, str_of(format_when(c->answered_wall, cli->now_wall, text)));
	table_add_coloured(t,
			   c->takes_all ? STR("its primary accepts everybody")
			   : c->covered ? STR("covered: unknown ones wait")
					: STR("not covered: unknown ones are accepted"),
			   c->takes_all || !c->covered ? COLOUR_WARN : COLOUR_GOOD);
}

int cmd_recipients_coverage(struct cli *cli)
{
	static const struct table_column columns[] = {
		{ "DOMAIN", false },       { "KNOWN", true },     { "IMPORTED", true },
		{ "REFUSED", true },       { "COVERAGE", false }, { "ANSWERED", false },
		{ "IN AN OUTAGE", false },
	};
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	_cleanup_(table_done) struct table t;
	json_t *document = json_array();
	Locum__AskDirectory directory;
	int r;

	table_init(&t, columns, ELEMENTS(columns));
	question(cli, LOCUM__DIRECTORY_VERB__DIRECTORY_COVERAGE, &directory);
	r = ask(cli, &directory, &a);
	for (size_t i = 0; r == CLI_OK && i < a.row_count; i++) {
		if (!a.row[i]->directory || !a.row[i]->directory->coverage)
			continue;
		if (cli->json)
			json_array_append_new(document, coverage_json(a.row[i]->directory));
		else
			coverage_text(cli, &t, a.row[i]->directory);
	}
	if (r == CLI_OK && cli->json)
		return js_print(cli, document);
	json_decref(document);
	if (r != CLI_OK)
		return r;
	return table_print(&t, cli->out, 0, cli->width, cli->coloured) < 0
		       ? cli_fail(cli, CLI_NOTHING, "out of memory")
		       : CLI_OK;
}
