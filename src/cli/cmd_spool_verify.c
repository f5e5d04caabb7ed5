/*
 * locum spool verify [DIR]: everything is read, with the checksums; what is wrong, what it costs, what to do.
 */
#include "base/cleanup.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/offline.h"

/* Notes and what a crash leaves are nothing to repair. */
static bool is_wrong(const struct fault *f)
{
	return f->nature == FAULT_HARMLESS || f->nature == FAULT_DAMAGE;
}

/* What it costs, and the next step where one fault has its own. */
static const char *consequence(const struct fault *f)
{
	if (f->kind == FAULT_WRONG_NAME)
		return "a copy, or renamed: if there is no file of that name, stop locumd and "
		       "rename it back";
	if (f->kind == FAULT_VERSION)
		return "nothing of it was read; use the locum that wrote it";
	if (f->kind == FAULT_STATE_ALONE)
		return "delivered long ago, or its message was in what is damaged";
	if (f->nature != FAULT_DAMAGE)
		return NULL;
	switch (f->loss) {
	case LOSS_NOTHING:
		return f->named ? "nothing is lost: the message was done, or another record of it "
				  "counts"
				: "nothing is lost";
	case LOSS_STATE:
		return "the message is there with an earlier state: it may be tried again, or no "
		       "longer held";
	case LOSS_DONE:
		return "the message had been done and lives again: it may be delivered twice";
	case LOSS_BODY:
		return "the envelope is whole, the body is not: `locum spool export` of its id "
		       "writes what is left";
	case LOSS_MESSAGE:
		return "the message is lost, unless a backup has this file";
	case LOSS_UNKNOWN:
		return "what was there is not known; messages may be lost";
	}
	return NULL;
}

static void print_fault(struct cli *cli, const struct fault *f)
{
	char text[FAULT_TEXT_SIZE];
	const char *next = consequence(f);

	fprintf(cli->out, "%.*s", STR_ARG(cli_safe(cli, str_of(f->file))));
	if (f->bytes)
		fprintf(cli->out, " at %llu", (unsigned long long)f->offset);
	fprintf(cli->out, ": %s\n", fault_text(f, text));
	if (next)
		fprintf(cli->out, "    %s\n", next);
}

static json_t *js_fault(const struct fault *f)
{
	json_t *o = json_object();
	char text[FAULT_TEXT_SIZE], id[ID_TEXT_LENGTH + 1];

	if (f->named)
		id_text(f->id, id);
	json_object_set_new(o, "file", js_text(str_of(f->file)));
	json_object_set_new(o, "offset", js_number(f->offset));
	json_object_set_new(o, "bytes", js_number(f->bytes));
	json_object_set_new(o, "kind", json_string(fault_word(f->kind)));
	json_object_set_new(o, "nature", json_string(fault_nature_word(f->nature)));
	json_object_set_new(o, "loss", json_string(fault_loss_word(f->loss)));
	json_object_set_new(o, "id", f->named ? json_string(id) : json_null());
	json_object_set_new(o, "text", js_text(str_of(fault_text(f, text))));
	return o;
}

static int print_json(struct cli *cli, const char *dir, const struct spool *s, bool wrong,
		      unsigned owner)
{
	json_t *o = json_object(), *faults = json_array(), *gone = json_array();
	struct inspect_totals t;
	size_t count;
	const struct fault *f = inspect_faults(s, &count);
	char file[FAULT_FILE_SIZE];
	int r;

	inspect_count(s, &t);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(faults, js_fault(&f[i]));
	for (uint64_t i = 0; i < t.gone; i++) {
		inspect_gone(s, i, file);
		json_array_append_new(gone, json_string(file));
	}
	json_object_set_new(o, "directory", js_text(str_of(dir)));
	json_object_set_new(o, "whole", json_boolean(!wrong));
	json_object_set_new(o, "owner", owner ? js_number(owner) : json_null());
	json_object_set_new(o, "segments", js_number(t.segments));
	json_object_set_new(o, "messages", js_number(t.messages));
	json_object_set_new(o, "messages_held", js_number(t.held));
	json_object_set_new(o, "big_bodies", js_number(t.big_bodies));
	json_object_set_new(o, "gone", gone);
	json_object_set_new(o, "faults", faults);
	r = js_print(cli, o);
	return r != CLI_OK ? r : wrong ? CLI_NOTHING : CLI_OK;
}

static int print_text(struct cli *cli, const struct spool *s, bool wrong, unsigned owner)
{
	struct inspect_totals t;
	size_t count;
	const struct fault *f = inspect_faults(s, &count);
	char bytes[FORMAT_SIZE], messages[FORMAT_SIZE], file[FAULT_FILE_SIZE];

	inspect_count(s, &t);
	for (size_t i = 0; i < count; i++)
		print_fault(cli, &f[i]);
	for (uint64_t i = 0; i < t.gone; i++) {
		inspect_gone(s, i, file);
		fprintf(cli->out,
			"%s: was there once; locumd deletes what nobody needs, and a lost file "
			"looks the same\n",
			file);
	}
	fprintf(cli->out,
		"%s messages are readable, %llu of them held; %s in %llu segments, %llu large "
		"bodies\n",
		format_count(t.messages, messages), (unsigned long long)t.held,
		format_bytes(t.records_bytes, bytes), (unsigned long long)t.segments,
		(unsigned long long)t.big_bodies);
	if (owner)
		fprintf(cli->out,
			"process %u has the spool open: what it is writing now may look torn\n",
			owner);
	fprintf(cli->out, wrong ? "the spool is damaged. locumd serves the rest and deletes no "
				  "damaged segment; "
				  "`locum spool export --all`\nsaves what can be read, `locum "
				  "spool rebuild` makes "
				  "a whole spool of it\n"
				: "the spool is whole\n");
	return wrong ? CLI_NOTHING : CLI_OK;
}

int cmd_spool_verify(struct cli *cli)
{
	_cleanup_(spool_closep) struct spool *s = NULL;
	const char *dir = offline_dir(cli, 0);
	const struct fault *f;
	bool wrong = false;
	unsigned owner;
	size_t count;
	int r;

	if (!dir)
		return CLI_CONFIG;
	r = offline_open(cli, dir, false, &s);
	if (r != CLI_OK)
		return r;
	owner = offline_owner(dir);
	f = inspect_faults(s, &count);
	for (size_t i = 0; i < count; i++)
		wrong |= is_wrong(&f[i]);
	return cli->json ? print_json(cli, dir, s, wrong, owner) : print_text(cli, s, wrong, owner);
}
