/*
 * reply: what an SMTP server answered (RFC 5321 §4.2), parsed from a stream of bytes as they come.
 * Pure. One struct serves a whole connection: reply_reset() between replies keeps its memory.
 *
 * The server is hostile until proven otherwise. Kept are at most REPLY_LINES_KEPT lines and
 * REPLY_TEXT_MAX bytes of text, all of it printable ASCII (anything else becomes '?'); what is
 * longer is read and forgotten up to REPLY_BYTES_MAX, past which the server is not taken seriously:
 * -EMSGSIZE. Lines whose codes differ, codes outside 200..599 and anything that is not a reply:
 * -EPROTO.
 *
 * Lines end in LF, and CRs are ignored: we only ever send CRLF, so nothing of ours can be
 * echoed as a line of theirs, and some servers do send bare LF.
 */
#pragma once

#include "base/buf.h"

#define REPLY_LINES_KEPT 64
#define REPLY_TEXT_MAX 8192
#define REPLY_BYTES_MAX (64 * 1024)

/* An enhanced status code, RFC 3463. class 0: the reply has none. */
struct enhanced_code {
	uint8_t class;
	uint16_t subject, detail;
};

struct reply {
	int code;        /* 200..599; valid when reply_feed returned 1 */
	struct buf text; /* the lines without their codes, each ended by '\n' */
	unsigned lines;  /* how many lines, those not kept included */
	/* of the parser */
	uint32_t bytes; /* of the whole reply so far */
	unsigned place; /* bytes of the current line so far, 4 at most */
	int line_code;
	bool last, kept;
};

void reply_init(struct reply *r);
void reply_done(struct reply *r);
/* Ready for the next one. */
void reply_reset(struct reply *r);

/* Feeds bytes; *ret_used of them belong to this reply. 1: it is whole, 0: more is needed, or
 * -EPROTO, -EMSGSIZE, -ENOMEM, after which only reply_reset makes sense. */
int reply_feed(struct reply *r, str bytes, size_t *ret_used);

/* The first digit of the code: 2 done, 3 go on, 4 not now, 5 no. */
static inline int reply_class(const struct reply *r)
{
	return r->code / 100;
}

/* The n-th line's text, from 0; .p is NULL past the lines kept. */
str reply_line(const struct reply *r, size_t n);
/* The enhanced code at the start of the first line, when its class agrees with the reply's. */
struct enhanced_code reply_enhanced(const struct reply *r);
/* One line for people: "550 5.1.1 no such user here", the lines joined by spaces, an enhanced code
 * that every line repeats said once. NUL-terminated, cut to fit. Returns the text as a slice of
 * `to`. */
str reply_one_line(const struct reply *r, char *to, size_t size);
