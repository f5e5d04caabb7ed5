/*
 * doctor: what the parts of `locum doctor` share. An examination is a list of findings, each with a verdict, what was
 * seen and what to do next. The parts that ask the network run as tasks beside each other, all of them until `ends`
 * at the latest; each writes findings of its own section, so that the order of the table never depends on who
 * answered first.
 *
 * Whatever a peer said is kept as it came, bounded; it is escaped where it is printed. Strings live in the command's
 * arena.
 */
#pragma once

#include "cli/cli.h"
#include "conf/conf.h"
#include "dns/route.h"
#include "proc/netd/resolver.h"
#include "task/task.h"

#include <jansson.h>

#define DOCTOR_WAIT (18 * NSEC_S) /* for all of the network together */
#define FINDINGS_MAX 80           /* of a section: a domain may have 32 MX records */

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_WRONG };

/* In the order of the table. */
enum section { SECTION_DNS, SECTION_PRIMARY, SECTION_OURSELVES, SECTION_DAEMON, SECTION_COUNT };

struct finding {
	enum verdict verdict;
	const char *check; /* static */
	str seen, todo;    /* todo may be empty */
};

struct findings {
	size_t count;
	struct finding row[FINDINGS_MAX];
};

struct doctor {
	struct cli *cli;
	struct conf *conf;
	const struct conf_domain *domain;
	struct resolver *resolver;
	nsec ends;
	const char *step; /* what the section of the primary is doing, for when its time is over */
	bool primary_answers;
	struct findings section[SECTION_COUNT];
};

/* Adds a finding; the text is cut at 1 KiB. todo: NULL for none. */
void doctor_say(struct doctor *d, enum section section, enum verdict verdict, const char *check,
		const char *todo, const char *seen, ...) __attribute__((format(printf, 6, 7)));
/* Text for `todo`, in the arena. */
#define DOCTOR_TEXT(d, ...) arena_sprintf(&(d)->cli->arena, __VA_ARGS__)

/* All findings as a table or as JSON: the exit status, CLI_NOTHING when something is wrong. */
int doctor_print(struct doctor *d);

/* --- the parts; those with a task may park --- */
void doctor_dns(struct task *tk, struct doctor *d);
void doctor_primary(struct task *tk, struct doctor *d);
void doctor_ourselves(struct task *tk, struct doctor *d);
void doctor_daemon(struct doctor *d);

/* --- the commands behind the command --- */
/* Without a domain: our own names and certificates. */
int doctor_names(struct cli *cli, const struct conf *c);
/* A domain as the world, its primary and our own processes see it. */
int doctor_domain(struct cli *cli, struct conf *c, const struct conf_domain *domain);
/* What makes the primary use our evidence, for that program. */
int doctor_snippet(struct cli *cli, const struct conf *c, const struct conf_domain *domain,
		   const char *tool_name);
