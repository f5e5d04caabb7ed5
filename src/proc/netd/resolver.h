/*
 * resolver: libunbound with its cache and validation, as questions that tasks wait for. Many
 * questions may be under way for one task; each is answered by the raw message, which src/dns
 * reads. What went wrong (time-out, SERVFAIL, bogus, too many) is an empty message, which reads as
 * trouble.
 *
 * libunbound talks to the kernel itself, so sys.h does not reach below this header: a simulator
 * replaces it as a whole. A new configuration is a new resolver; the old one lives until its last
 * question's owner drops it. All of libunbound runs on the main stack.
 */
#pragma once

#include "base/addr.h"
#include "dns/answer.h"
#include "task/task.h"

struct resolver;
struct question;

struct resolver_options {
	const struct addr *servers; /* forward everything there; none: resolve from the root */
	size_t server_count;
	str anchors; /* NUL-ended records (anchor.h); empty: nothing is validated */
};

/* Everything that libunbound opens lazily is open after this. 0, -EINVAL for an anchor it does not
 * understand, -ENOMEM. */
int resolver_new(struct task *tk, const struct resolver_options *options, struct resolver **ret);
struct resolver *resolver_ref(struct resolver *r);
void resolver_unref(struct resolver *r);
void resolver_unrefp(struct resolver **r);

/* Asks without waiting. The name is absolute, with or without its final dot. 0, -EAGAIN past the
 * bound of questions under way, -ENOMEM. */
int resolver_ask(struct task *tk, struct resolver *r, str name, enum dns_type type,
		 struct question **ret);
/* Until the answer is there. 0, -ETIMEDOUT, -ECANCELED. One task at a time waits for a question. */
int question_wait(struct task *tk, struct question *q, nsec deadline);
/* The message, or empty; valid as long as the question. A NULL question: empty. */
str question_message(const struct question *q);
/* Was it validated by DNSSEC? */
bool question_secure(const struct question *q);
/* Forgets it, answered or not. */
void question_free(struct question *q);
void question_freep(struct question **q);
