/*
 * Findings: collecting them, and how they look.
 */
#include "base/cleanup.h"
#include "cli/doctor.h"
#include "cli/json.h"

#include <stdarg.h>

static const struct {
	const char *word;
	enum colour colour;
} verdicts[] = {
	[VERDICT_OK] = { "ok", COLOUR_GOOD },
	[VERDICT_WARN] = { "warn", COLOUR_WARN },
	[VERDICT_WRONG] = { "wrong", COLOUR_BAD },
};

void doctor_say(struct doctor *d, enum section section, enum verdict verdict, const char *check,
		const char *todo, const char *seen, ...)
{
	struct findings *f = &d->section[section];
	char text[1024];
	va_list args;

	if (f->count == FINDINGS_MAX)
		return;
	va_start(args, seen);
	vsnprintf(text, sizeof(text), seen, args);
	va_end(args);
	f->row[f->count++] = (struct finding){
		.verdict = verdict,
		.check = check,
		.seen = arena_str(&d->cli->arena, str_of(text)),
		.todo = todo ? str_of(todo) : STR_NONE,
	};
}

static size_t count(const struct doctor *d, enum verdict verdict)
{
	size_t n = 0;

	for (size_t s = 0; s < SECTION_COUNT; s++)
		for (size_t i = 0; i < d->section[s].count; i++)
			n += d->section[s].row[i].verdict == verdict;
	return n;
}

static int print_json(struct doctor *d)
{
	json_t *o = json_object(), *checks = json_array();

	json_object_set_new(o, "domain", js_text(d->domain->name));
	json_object_set_new(o, "hostname", js_text(d->conf->hostname));
	for (size_t s = 0; s < SECTION_COUNT; s++) {
		for (size_t i = 0; i < d->section[s].count; i++) {
			const struct finding *f = &d->section[s].row[i];
			json_t *c = json_object();

			json_object_set_new(c, "check", json_string(f->check));
			json_object_set_new(c, "verdict", json_string(verdicts[f->verdict].word));
			json_object_set_new(c, "seen", js_text(f->seen));
			json_object_set_new(c, "todo", f->todo.n ? js_text(f->todo) : json_null());
			json_array_append_new(checks, c);
		}
	}
	json_object_set_new(o, "checks", checks);
	for (size_t v = 0; v < ELEMENTS(verdicts); v++)
		json_object_set_new(o, verdicts[v].word, js_number(count(d, (enum verdict)v)));
	return js_print(d->cli, o);
}

static int print_table(const struct doctor *d)
{
	static const struct table_column columns[] = {
		{ "CHECK", false },
		{ "VERDICT", false },
		{ "SEEN", false },
	};
	_cleanup_(table_done) struct table t;

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t s = 0; s < SECTION_COUNT; s++) {
		for (size_t i = 0; i < d->section[s].count; i++) {
			const struct finding *f = &d->section[s].row[i];

			table_add(&t, str_of(f->check));
			table_add_coloured(&t, str_of(verdicts[f->verdict].word),
					   verdicts[f->verdict].colour);
			table_add(&t, f->seen);
		}
	}
	return table_print(&t, d->cli->out, 0, 0, d->cli->coloured);
}

static void print_todo(const struct doctor *d)
{
	bool first = true;

	for (size_t s = 0; s < SECTION_COUNT; s++) {
		for (size_t i = 0; i < d->section[s].count; i++) {
			const struct finding *f = &d->section[s].row[i];

			if (!f->todo.n)
				continue;
			fprintf(d->cli->out, "%s%s: %.*s\n", first ? "\n" : "", f->check,
				STR_ARG(cli_safe(d->cli, f->todo)));
			first = false;
		}
	}
}

int doctor_print(struct doctor *d)
{
	int status = CLI_OK;

	if (d->cli->json) {
		status = print_json(d);
	} else {
		if (print_table(d) < 0)
			return cli_fail(d->cli, CLI_NOTHING, "out of memory");
		print_todo(d);
	}
	return status == CLI_OK && count(d, VERDICT_WRONG) ? CLI_NOTHING : status;
}
