/*
 * directory: what `state` knows of a recipient that goes to the spool, and what the client hears therefore
 * (docs/decisions/0010). Only for domains with recipients = "learn"; postmaster is always taken.
 *
 * Asking waits, DIRECTORY_WAIT at most; the decision itself is pure. A state that is away, or that was too slow a moment ago, is not asked: then
 * nothing is known of anybody, and everybody is taken.
 */
#pragma once

#include "proc/smtpin/session.h"

#define DIRECTORY_WAIT NSEC_S
#define DIRECTORY_REST (10 * NSEC_S) /* without asking, after an answer that did not come */
#define DIRECTORY_WORDS_SIZE 256

enum directory_verdict {
	DIRECTORY_TAKE,
	DIRECTORY_LATER,   /* nobody knows; the domain's `unknown` says to wait */
	DIRECTORY_REFUSE,  /* nobody knows; `unknown` says no */
	DIRECTORY_NO_USER, /* the primary refused it, in these words */
};

/* What follows from it. */
enum directory_verdict directory_decide(const struct conf_domain *d, Locum__PrimaryState primary,
					const Locum__RecipientFacts *facts);

/* The recipient that was named in the transaction. ret_words: "550 5.1.1 no such user", with DIRECTORY_NO_USER. */
enum directory_verdict directory_judge(struct task *tk, struct session *s,
				       char ret_words[static DIRECTORY_WORDS_SIZE]);
