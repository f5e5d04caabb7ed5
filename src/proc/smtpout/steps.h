/*
 * steps: what the parts of a transaction tell each other. envelope.c says RSET, MAIL and RCPT, data.c
 * DATA or BDAT and the message, ending.c knows what each way to fail means; transaction.c puts them
 * in order.
 *
 * Functions that return int: 0, or a negative errno after which the transaction is over and its
 * outputs are set.
 */
#pragma once

#include "proc/smtpout/transaction.h"

/* For the reply of a host that hung up on us in mid-message. */
#define LAST_WORDS_WAIT (2 * NSEC_S)

/* --- ending.c --- */

/* The step whose reply comes next, in words. */
const char *ending_step(const struct transaction *t);
nsec ending_limit(struct task *tk, const struct transaction *t, nsec duration);
/* The next reply is in c->reply; 421 and failures end the transaction. */
int ending_next_reply(struct task *tk, struct transaction *t, nsec duration);
/* c->reply in one line, in the arena. */
str ending_words(struct transaction *t);
Locum__Outcome ending_verdict(const struct reply *r);
/* c->reply as it came, where that is wanted. */
void ending_keep_lines(struct transaction *t, struct handover_recipient *to);
/* For every recipient that RCPT let through, or for all where it never came to that: in our words,
 * or what c->reply means, in the host's. */
void ending_settle(struct transaction *t, Locum__Outcome outcome, str reply);
void ending_settle_reply(struct transaction *t);
/* The attempt came to this, and c->why says why. */
void ending_explain(struct transaction *t, Locum__Attempt attempt);
/* The connection broke or ran out of time, or the host talks nonsense. Returns the error. */
int ending_lost(struct transaction *t, int error);
/* 421 (the host closes the connection, RFC 5321 §3.8) and what is as good as that. */
int ending_closing(struct transaction *t);
/* What the spool gave is not what it stored: the final dot must not leave. */
int ending_corrupt(struct transaction *t, const char *what);

/* --- envelope.c --- */

/* Addresses and parameters are such that they cannot be a command of their own. */
bool envelope_fits(const struct handover *h);
bool envelope_recipient_fits(const struct handover_recipient *to);
int envelope_put(struct task *tk, struct transaction *t, const str *parts, size_t count);
int envelope_flush(struct task *tk, struct transaction *t);
/* Ends what an earlier transaction left open. */
int envelope_ask_reset(struct task *tk, struct transaction *t);
int envelope_ask_mail(struct task *tk, struct transaction *t);
/* Sends RCPTs, in batches with their replies in between; the last batch leaves with what follows. */
int envelope_ask_recipients(struct task *tk, struct transaction *t);
/* The replies to everything that was sent before DATA. */
int envelope_take_replies(struct task *tk, struct transaction *t);

#define ENVELOPE_PUT(tk, t, ...)                                                                   \
	envelope_put(tk, t, (const str[]){ __VA_ARGS__ },                                          \
		     sizeof((const str[]){ __VA_ARGS__ }) / sizeof(str))

/* --- data.c --- */

/* From DATA to the reply to the final dot; what was written before and waits for a flush leaves with
 * it. */
int data_send(struct task *tk, struct transaction *t);
