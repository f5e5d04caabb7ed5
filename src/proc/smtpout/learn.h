/*
 * learn: what primaries say to RCPT is told to the process `state`, which keeps the directory of recipients
 * (docs/decisions/0010). Nobody waits for it: while it is away, nothing is learned.
 *
 * And the question that it asks back once a day and domain: what does the primary say to a recipient that cannot
 * exist? Asked on an idle connection of a delivery just ended (MAIL FROM:<>, RCPT, RSET), or not at all: it never costs the
 * primary a connection.
 */
#pragma once

#include "proc/smtpout/smtpout.h"

/* All that was said to RCPT in a delivery. The strings stay the caller's. */
void learn_from_handover(struct task *tk, struct smtpout *so, const char *domain,
			 const struct handover *h);
/* One reply: "550 5.1.1 words", as reply_one_line() writes it. */
void learn_reply(struct task *tk, struct smtpout *so, const char *domain, str address, str reply);

/* Starts a task, where there is a connection for it. */
void learn_ask_absent(struct smtpout *so, str domain);
