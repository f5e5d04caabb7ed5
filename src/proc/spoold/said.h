/*
 * said: what a primary's words mean for the whole destination, and what the operator is told when it
 * says so again and again. The words are read by smtp/meaning.h, counted by the scheduler
 * (sched_said); here stands what to do about it.
 */
#pragma once

#include "base/str.h"
#include "ipc/locum.pb-c.h"
#include "sched/sched.h"

/* Of the reply that ended an attempt: "450 4.7.1 greylisted", or with what was asked in front of it,
 * "RCPT: 421 too many connections". host: who said it; may be NULL. */
enum sched_said said_of(str reply, const Locum__Host *host);
/* What to tell, from SAID_GREYLISTED on. */
struct said_text {
	const char *begins, *ends; /* events of the log */
	const char *does;          /* "it ..." */
	const char *then;          /* what to do next */
};
const struct said_text *said_text(enum sched_said said);
