/*
 * cli: the `locum` command. A command is a row of the table in cli.c and a function that asks (client.h) and
 * then shows: as text for people, or with --json as one JSON document for programs. Whatever comes from
 * mail is escaped before it reaches a terminal.
 *
 * Errors say what to do next. In JSON they are {"error": TEXT, "exit": N} on standard output; as text they
 * are one line on standard error. The exit statuses are a contract (docs/man/locum.1).
 */
#pragma once

#include "base/arena.h"
#include "base/id.h"
#include "cli/table.h"
#include "ipc/locum.pb-c.h"

#define CLI_CONFIG_DEFAULT "/etc/locum/locum.conf"
#define CLI_ROWS_DEFAULT 1000

enum cli_exit {
	CLI_OK = 0,
	CLI_NOTHING = 1, /* nothing matched, or the answer is no */
	CLI_USAGE = 2,
	CLI_CONFIG = 3,
	CLI_AWAY = 4,    /* locumd does not run, or does not answer */
	CLI_REFUSED = 5, /* this user may not */
};

struct cli {
	struct arena arena;
	FILE *out, *err;
	nsec now_wall;
	nsec answer_timeout;
	bool coloured, interactive; /* interactive: a person can be asked */
	size_t width;               /* of the terminal; 0: unlimited */

	/* options */
	const char *config;
	bool json, yes, raw, envelope, all, replace;
	const char *key;     /* a file; NULL: not said */
	const char *to;      /* a directory; NULL: not said */
	const char *snippet; /* of which program; NULL: not said */
	uint32_t rows_max;   /* 0: all */

	enum cli_exit refusal; /* when the answer is no and does not say how to end */

	const char *command;
	char **args;
	size_t arg_count;
};

/* The whole command; what it prints goes to out and err. Returns the exit status. */
int cli_main(struct cli *cli, int argc, char **argv);
void cli_init(struct cli *cli, FILE *out, FILE *err);
void cli_done(struct cli *cli);

/* Prints the error in its form, returns `status`. */
int cli_fail(struct cli *cli, enum cli_exit status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Escaped for a terminal, in the arena; at most 4 KiB of it. */
str cli_safe(struct cli *cli, str text);

/* The key of our evidence (EVIDENCE_KEY_BYTES), from --key or the state directory. 0 or a negative errno. */
int cli_evidence_key(struct cli *cli, const char **ret_path, uint8_t *key);

/* --- commands: each returns the exit status --- */
int cmd_status(struct cli *cli);
int cmd_queue(struct cli *cli);
int cmd_show(struct cli *cli);
int cmd_trace(struct cli *cli);
int cmd_export(struct cli *cli);
int cmd_flush(struct cli *cli);
int cmd_hold(struct cli *cli);
int cmd_release(struct cli *cli);
int cmd_drop(struct cli *cli);
int cmd_reload(struct cli *cli);
int cmd_upgrade(struct cli *cli);
int cmd_check(struct cli *cli);
int cmd_doctor(struct cli *cli);
int cmd_recipients_list(struct cli *cli);
int cmd_recipients_import(struct cli *cli);
int cmd_recipients_export(struct cli *cli);
int cmd_recipients_forget(struct cli *cli);
int cmd_recipients_coverage(struct cli *cli);
int cmd_verify(struct cli *cli);
int cmd_spool_verify(struct cli *cli);
int cmd_spool_ls(struct cli *cli);
int cmd_spool_export(struct cli *cli);
int cmd_spool_rebuild(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_help(struct cli *cli);
