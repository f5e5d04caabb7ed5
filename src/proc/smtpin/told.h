/*
 * told: what a trusted server says of the client it speaks for: XCLIENT (the session is then that client's, from the
 * greeting on) and XFORWARD (for the record only, until the end of the next transaction). Postfix
 * XCLIENT_README and XFORWARD_README.
 *
 * Kept outside the session, since hardly any has it: at most a few values of ATTRIBUTE_VALUE_MAX bytes.
 */
#pragma once

#include "proc/smtpin/session.h"
#include "smtp/attributes.h"

struct told {
	bool by_xclient;
	struct addr by; /* who said XCLIENT */
	char *value
		[ATTRIBUTE_COUNT]; /* by XCLIENT: NAME, HELO, LOGIN, PROTO; NULL: not told, "": unknown */
	char *forward[ATTRIBUTE_COUNT]; /* by XFORWARD: "NAME=value" */
};

enum answer do_xclient(struct session *s, const struct smtp_command *c);
enum answer do_xforward(struct session *s, const struct smtp_command *c);

/* What was told of an attribute, or `otherwise`. */
const char *told_value(const struct session *s, enum smtp_attribute attribute,
		       const char *otherwise);
void told_forget_forward(struct session *s);
void told_free(struct session *s);
/* Into the envelope, from the arena: who told, LOGIN, and what was forwarded. 0 or -ENOMEM. */
int told_fill(const struct session *s, struct arena *arena, Locum__Client *client,
	      Locum__Envelope *envelope);
