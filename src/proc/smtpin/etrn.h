/*
 * etrn: a primary that is back asks for its mail (RFC 1985). Anybody may ask, since all it does is what spoold
 * would do by itself a little later; but only for domains of ours, and spoold limits how often.
 */
#pragma once

#include "proc/smtpin/session.h"

#define ETRN_NODE_SIZE (SMTP_DOMAIN_MAX + 1) /* check_name of command.c bounds the argument */

/* ANSWER_START_ETRN, with the node name (or @name: it and all below it) in node; or the refusal. */
enum answer do_etrn(struct session *s, const struct smtp_command *c);
/* Asks spoold, and writes the reply. */
int etrn_start(struct task *tk, struct session *s, str node);
