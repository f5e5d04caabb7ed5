/*
 * The table of commands and options, and what surrounds every command.
 */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "cli/format.h"
#include "cli/json.h"
#include "task/sys.h"

#include <stdarg.h>

#define CLI_ARENA_MAX ((size_t)1 << 30)
#define ANSWER_TIMEOUT (60 * NSEC_S)

enum option_bit {
	OPTION_CONFIG = 1 << 0,
	OPTION_JSON = 1 << 1,
	OPTION_ROWS = 1 << 2,
	OPTION_YES = 1 << 3,
	OPTION_RAW = 1 << 4,
	OPTION_ENVELOPE = 1 << 5,
	OPTION_ALL = 1 << 6,
	OPTION_TO = 1 << 7,
	OPTION_SNIPPET = 1 << 8,
	OPTION_REPLACE = 1 << 9,
	OPTION_KEY = 1 << 10,
	OPTION_EVERYWHERE = OPTION_CONFIG | OPTION_JSON,
};

struct option {
	const char *name;
	const char *argument; /* NULL: takes none */
	enum option_bit bit;
	const char *help;
};

static const struct option options[] = {
	{ "--config", "FILE", OPTION_CONFIG,
	  "the configuration, /etc/locum/locum.conf by default" },
	{ "--json", NULL, OPTION_JSON, "one JSON document instead of text" },
	{ "--rows", "N", OPTION_ROWS, "show at most N messages; 0: all" },
	{ "--yes", NULL, OPTION_YES, "do not ask" },
	{ "--raw", NULL, OPTION_RAW, "without our Received header" },
	{ "--envelope", NULL, OPTION_ENVELOPE, "the envelope as JSON instead of the message" },
	{ "--all", NULL, OPTION_ALL, "every message" },
	{ "--replace", NULL, OPTION_REPLACE,
	  "forget what earlier imports named and this one does not" },
	{ "--to", "DIR", OPTION_TO, "the directory to write to" },
	{ "--key", "FILE", OPTION_KEY,
	  "the key of our evidence, STATE_DIR/evidence.key by default" },
	{ "--snippet", "TOOL", OPTION_SNIPPET,
	  "the primary's configuration: postfix, exim, rspamd, spamassassin, exchange" },
};

struct command {
	const char *name, *arguments;
	size_t args_min, args_max;
	unsigned options; /* beyond those everywhere */
	int (*run)(struct cli *cli);
	const char *help;
};

static const struct command commands[] = {
	{ "status", "", 0, 0, 0, cmd_status, "what is the matter now: primaries, domains, alerts" },
	{ "queue", "[DOMAIN]", 0, 1, OPTION_ROWS, cmd_queue, "messages that wait, oldest first" },
	{ "show", "ID", 1, 1, 0, cmd_show, "one message: envelope, recipients, history" },
	{ "export", "ID", 1, 1, OPTION_RAW | OPTION_ENVELOPE, cmd_export,
	  "the message itself, on standard output" },
	{ "flush", "[DOMAIN]", 0, 1, 0, cmd_flush, "try now instead of at the next turn" },
	{ "hold", "ID|DOMAIN", 1, 1, 0, cmd_hold, "keep, deliver nothing until released" },
	{ "release", "ID|DOMAIN", 1, 1, 0, cmd_release, "deliver again what is held" },
	{ "drop", "ID|DOMAIN", 1, 1, OPTION_YES, cmd_drop, "destroy messages; asks first" },
	{ "trace", "ID|ADDRESS", 1, 1, OPTION_ROWS, cmd_trace,
	  "what happened to messages, also to gone ones" },
	{ "check", "[FILE]", 0, 1, 0, cmd_check, "test a configuration without using it" },
	{ "doctor", "[DOMAIN]", 0, 1, OPTION_SNIPPET, cmd_doctor,
	  "is a domain's DNS, primary and TLS as it must be? without one: our own names" },
	{ "verify", "[FILE]", 0, 1, OPTION_KEY, cmd_verify,
	  "is the X-Locum-Evidence of a message ours, and its own?" },
	{ "reload", "", 0, 0, 0, cmd_reload, "let locumd read its configuration again" },
	{ "upgrade", "", 0, 0, 0, cmd_upgrade,
	  "go on with the executables that are installed now, without a pause" },
	{ "recipients list", "DOMAIN", 1, 1, OPTION_ROWS, cmd_recipients_list,
	  "the recipients that a primary is known to accept or refuse" },
	{ "recipients import", "DOMAIN FILE", 2, 2, OPTION_REPLACE, cmd_recipients_import,
	  "recipients that exist, one address a line; - is standard input" },
	{ "recipients export", "DOMAIN [FILE]", 1, 2, 0, cmd_recipients_export,
	  "the known ones, one address a line" },
	{ "recipients forget", "DOMAIN|ADDRESS", 1, 1, 0, cmd_recipients_forget,
	  "what is known of a recipient, or of all of a domain" },
	{ "recipients coverage", "[DOMAIN]", 0, 1, 0, cmd_recipients_coverage,
	  "how likely a real recipient is known" },
	{ "spool verify", "[DIR]", 0, 1, 0, cmd_spool_verify,
	  "read a spool without locumd, and tell what is damaged" },
	{ "spool ls", "[DIR]", 0, 1, 0, cmd_spool_ls, "the messages of a spool, without locumd" },
	{ "spool export", "ID|--all [DIR]", 0, 2, OPTION_ALL | OPTION_TO, cmd_spool_export,
	  "messages as files, also out of a damaged spool" },
	{ "spool rebuild", "[DIR] --to NEWDIR", 0, 1, OPTION_TO, cmd_spool_rebuild,
	  "make a whole spool of what can be read" },
	{ "help", "[COMMAND]", 0, 2, 0, cmd_help, "this text" },
	{ "version", "", 0, 0, 0, cmd_version, "print the version" },
};

void cli_init(struct cli *cli, FILE *out, FILE *err)
{
	*cli = (struct cli){
		.out = out,
		.err = err,
		.now_wall = sys_now_wall(),
		.answer_timeout = ANSWER_TIMEOUT,
		.config = CLI_CONFIG_DEFAULT,
		.rows_max = CLI_ROWS_DEFAULT,
		.refusal = CLI_NOTHING,
	};
	arena_init(&cli->arena, CLI_ARENA_MAX);
}

void cli_done(struct cli *cli)
{
	arena_done(&cli->arena);
}

str cli_safe(struct cli *cli, str text)
{
	_cleanup_(buf_done) struct buf escaped;
	str copy;

	buf_init(&escaped, 16384);
	format_escape(str_first(text, 4096), &escaped);
	copy = arena_str(&cli->arena, buf_str(&escaped));
	return copy.p ? copy : STR("");
}

int cli_fail(struct cli *cli, enum cli_exit status, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (cli->json)
		js_print_error(cli, str_of(text), status);
	else
		fprintf(cli->err, "locum: %.*s\n", STR_ARG(cli_safe(cli, str_of(text))));
	return status;
}

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTS(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* "queue", or two words: "spool verify". */
static const struct command *command_find_words(struct cli *cli, char **words)
{
	bool two = strcmp(words[0], "spool") == 0 || strcmp(words[0], "recipients") == 0;
	const char *both = two && words + 1 < cli->args + cli->arg_count
				   ? arena_sprintf(&cli->arena, "%s %s", words[0], words[1])
				   : NULL;

	return command_find(both ? both : words[0]);
}

/* --- help --- */

static void print_options(struct cli *cli, unsigned bits)
{
	for (size_t i = 0; i < ELEMENTS(options); i++) {
		char name[32];

		if (!(options[i].bit & bits))
			continue;
		snprintf(name, sizeof(name), "%s%s%s", options[i].name,
			 options[i].argument ? " " : "",
			 options[i].argument ? options[i].argument : "");
		fprintf(cli->out, "  %-18s %s\n", name, options[i].help);
	}
}

static int help_command(struct cli *cli, const struct command *c)
{
	fprintf(cli->out, "Usage: locum [OPTIONS] %s%s%s\n  %s\n\nOptions:\n", c->name,
		*c->arguments ? " " : "", c->arguments, c->help);
	print_options(cli, OPTION_EVERYWHERE | c->options);
	return CLI_OK;
}

int cmd_help(struct cli *cli)
{
	const struct command *c = cli->arg_count ? command_find_words(cli, cli->args) : NULL;

	if (c)
		return help_command(cli, c);
	if (cli->arg_count)
		return cli_fail(cli, CLI_USAGE,
				"there is no command \"%s\"; `locum help` lists them",
				cli->args[0]);
	fprintf(cli->out,
		"Usage: locum [--config FILE] [--json] COMMAND [ARGUMENTS]\n\nCommands:\n");
	for (size_t i = 0; i < ELEMENTS(commands); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s %s", commands[i].name, commands[i].arguments);
		fprintf(cli->out, "  %-33s %s\n", name, commands[i].help);
	}
	fprintf(cli->out, "\nOptions:\n");
	print_options(cli, ~0u);
	fprintf(cli->out,
		"\nExit status: 0 done, 1 nothing matched, 2 usage, 3 configuration, 4 locumd is "
		"away,\n5 refused. The manual is locum(1).\n");
	return CLI_OK;
}

int cmd_version(struct cli *cli)
{
	if (cli->json)
		return js_print_version(cli, LOCUM_VERSION);
	fprintf(cli->out, "locum %s\n", LOCUM_VERSION);
	return CLI_OK;
}

/* --- the command line --- */

struct parse {
	struct cli *cli;
	char **argv;
	size_t argc, at;
	unsigned seen; /* option bits */
};

static int set_rows(struct cli *cli, const char *value)
{
	uint64_t rows;

	if (str_u64(str_of(value), UINT32_MAX, &rows) < 0)
		return cli_fail(cli, CLI_USAGE, "--rows \"%s\" is not a number; 0 means all",
				value);
	cli->rows_max = (uint32_t)rows;
	return CLI_OK;
}

static int apply(struct cli *cli, enum option_bit bit, const char *value)
{
	switch (bit) {
	case OPTION_CONFIG:
		cli->config = value;
		return CLI_OK;
	case OPTION_JSON:
		cli->json = true;
		return CLI_OK;
	case OPTION_ROWS:
		return set_rows(cli, value);
	case OPTION_YES:
		cli->yes = true;
		return CLI_OK;
	case OPTION_RAW:
		cli->raw = true;
		return CLI_OK;
	case OPTION_ENVELOPE:
		cli->envelope = true;
		return CLI_OK;
	case OPTION_ALL:
		cli->all = true;
		return CLI_OK;
	case OPTION_TO:
		cli->to = value;
		return CLI_OK;
	case OPTION_KEY:
		cli->key = value;
		return CLI_OK;
	case OPTION_SNIPPET:
		cli->snippet = value;
		return CLI_OK;
	case OPTION_REPLACE:
		cli->replace = true;
		return CLI_OK;
	case OPTION_EVERYWHERE:
		break;
	}
	must(false);
}

static const struct option *option_find(str name)
{
	for (size_t i = 0; i < ELEMENTS(options); i++)
		if (str_eq(name, str_of(options[i].name)))
			return &options[i];
	return NULL;
}

/* "--name", "--name VALUE" or "--name=VALUE". */
static int parse_option(struct parse *p)
{
	char *word = p->argv[p->at++];
	str name, value;
	bool joined = str_cut(str_of(word), '=', &name, &value);
	const struct option *o = option_find(name);

	if (!o)
		return cli_fail(p->cli, CLI_USAGE, "unknown option %s; `locum help` lists them",
				word);
	p->seen |= o->bit;
	if (!o->argument && joined)
		return cli_fail(p->cli, CLI_USAGE, "%s takes no value", o->name);
	if (!o->argument)
		return apply(p->cli, o->bit, NULL);
	if (!joined && p->at == p->argc)
		return cli_fail(p->cli, CLI_USAGE, "%s needs a value: %s %s", o->name, o->name,
				o->argument);
	/* What follows the = ends where the word does. */
	return apply(p->cli, o->bit, joined ? value.p : p->argv[p->at++]);
}

/* Options may stand anywhere; "--" ends them. Words that are none are moved to the front of argv. */
static int parse_words(struct parse *p)
{
	size_t words = 0;
	bool only_words = false;

	/* Errors in the options come in the form that one of them asks for. */
	for (size_t i = 1; i < p->argc && strcmp(p->argv[i], "--") != 0; i++)
		p->cli->json |= strcmp(p->argv[i], "--json") == 0;
	for (p->at = 1; p->at < p->argc;) {
		char *word = p->argv[p->at];
		int r;

		if (only_words || word[0] != '-' || word[1] == '\0') {
			p->argv[words++] = word;
			p->at++;
		} else if (strcmp(word, "--") == 0) {
			only_words = true;
			p->at++;
		} else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			p->argv[words++] = (char *)"help";
			p->at++;
		} else if (strcmp(word, "--version") == 0) {
			p->argv[words++] = (char *)"version";
			p->at++;
		} else {
			r = parse_option(p);
			if (r != CLI_OK)
				return r;
		}
	}
	p->cli->command = words ? p->argv[0] : NULL;
	p->cli->args = p->argv + 1;
	p->cli->arg_count = words ? words - 1 : 0;
	return CLI_OK;
}

static int check_usage(struct parse *p, const struct command *c)
{
	struct cli *cli = p->cli;
	unsigned foreign = p->seen & ~(OPTION_EVERYWHERE | c->options);

	for (size_t i = 0; i < ELEMENTS(options); i++)
		if (options[i].bit & foreign)
			return cli_fail(cli, CLI_USAGE,
					"%s is no option of `locum %s`; see `locum help %s`",
					options[i].name, c->name, c->name);
	if (cli->arg_count < c->args_min)
		return cli_fail(cli, CLI_USAGE, "usage: locum %s %s", c->name, c->arguments);
	if (cli->arg_count > c->args_max)
		return cli_fail(cli, CLI_USAGE, "too many arguments; usage: locum %s %s", c->name,
				c->arguments);
	return CLI_OK;
}

static int parse_and_run(struct parse *p)
{
	struct cli *cli = p->cli;
	const struct command *c;
	int r = parse_words(p);

	if (r != CLI_OK)
		return r;
	if (!cli->command)
		return cli_fail(cli, CLI_USAGE, "what shall I do? `locum help` lists the commands");
	c = command_find_words(cli, cli->args - 1);
	if (c && strchr(c->name, ' ')) {
		cli->args++;
		cli->arg_count--;
	}
	if (!c)
		return cli_fail(cli, CLI_USAGE,
				"there is no command \"%s\"; `locum help` lists them",
				cli->command);
	/* `locum flush --help` */
	if (cli->arg_count && strcmp(cli->args[cli->arg_count - 1], "help") == 0)
		return help_command(cli, c);
	/* A person reads a screenful, a program everything. */
	if (cli->json && !(p->seen & OPTION_ROWS))
		cli->rows_max = 0;
	r = check_usage(p, c);
	return r == CLI_OK ? c->run(cli) : r;
}

int cli_main(struct cli *cli, int argc, char **argv)
{
	struct parse p = { .cli = cli, .argv = argv, .argc = (size_t)argc };
	int r = parse_and_run(&p);

	/* A full disk must not look like an exported message. */
	if (fflush(cli->out) != 0 || ferror(cli->out)) {
		fprintf(cli->err, "locum: cannot write the output: %s\n", strerror(errno));
		return r == CLI_OK ? CLI_NOTHING : r;
	}
	return r;
}
