/*
 * intake: what is known about a message while it comes in, by DATA (data.c) or in chunks (chunk.c), and the
 * verdict at its end. It lives in the transaction's arena and ends with it at the latest: session->intake,
 * NULL before the first octet.
 *
 * Order of refusals: too large, bare CR/LF, hidden dot, loop, hops, no room here, then the primary's answer where the
 * transaction is live, then spoold's.
 */
#pragma once

#include "proc/smtpin/session.h"
#include "smtp/chunk.h"
#include "smtp/hidden_dot.h"
#include "smtp/trace.h"

/* How fast octets come: what DATA and BDAT give a client, however it cuts them. */
struct pace {
	nsec started;
	uint64_t bytes; /* of the peer's, framing included */
};

struct intake {
	struct session *s;
	struct pace pace;
	struct trace trace;
	struct trace_hooks hooks;
	struct body body;
	struct chunk chunk; /* by BDAT: the present one */
	struct hidden_dot dot;
	bool bare; /* a line end that is not CRLF */
	bool any_8bit;
	uint64_t bytes_max;
	uint32_t crc32c; /* of the octets so far */
	bool looped;
};

/* Sets s->intake. 0 or -ENOMEM. */
int intake_begin(struct task *tk, struct session *s);
/* Gives back what it holds; s->intake is NULL afterwards. */
void intake_end(struct session *s);
/* Octets of the message, decoded. */
void intake_add(struct intake *in, str run);
/* More than is worth reading to its end? */
bool intake_is_endless(const struct intake *in, uint64_t more_bytes);
/* When all of it must be there, as far as it came. */
nsec pace_ends_at(const struct pace *p);
/* For the next block. */
nsec pace_deadline(struct task *tk, const struct pace *p);
/* What is to be said about what came so far. ANSWER_OK: nothing. */
enum answer intake_objection(const struct intake *in);
/* The message came to its end: the verdict, written. 0 or the stream's error. */
int intake_conclude(struct task *tk, struct intake *in);
/* It is refused before its end: counted and logged. */
void intake_refuse(struct intake *in, enum answer a);
/* It broke off with this error: the last words. */
enum answer intake_give_up(struct intake *in, int r);
