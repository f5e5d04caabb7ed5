/*
 * transaction: one message handed over on an open connection: MAIL, RCPT for each recipient, DATA,
 * the body, the reply to the final dot (RFC 5321 §3.3, RFC 1870, 2920, 3461, 6152, 6531, 8689).
 * Struct in, struct out; knows nothing of ipc.
 *
 * By BDAT instead of DATA (RFC 3030) goes what DATA would not carry as it is, where the host takes
 * that: a binary body, and one whose last line has no CRLF. A host without CHUNKING gets the CRLF
 * that DATA cannot do without, and that is noted.
 *
 * What the host lacks that the message needs is decided before MAIL (needs.h).
 *
 * Where PIPELINING is offered a message costs two round trips: [MAIL RCPT… DATA] and [header, body,
 * dot]. The checksum of the body is compared before the final dot leaves, so a damaged message can
 * never be accepted.
 *
 * The outcome of a recipient, by what decided it:
 *	4xx or 5xx to its RCPT          DEFERRED or REFUSED; "too many" once others were taken: NONE
 *	4xx or 5xx to MAIL, DATA, dot   DEFERRED or REFUSED, for all that were left
 *	421                             DEFERRED for what it answered (but MAIL), NONE for what was
 *	                                not asked yet: the host closes; attempt REFUSING
 *	a break before DATA's reply     NONE: it is about the host, not this message; attempt LOST
 *	a break in the body             DEFERRED: what kills its receiver must not always be first
 *	a break after the final dot     AMBIGUOUS
 */
#pragma once

#include "base/arena.h"
#include "ipc/locum.pb-c.h"
#include "proc/smtpout/conn.h"

/* What of a message was not handed over as it came; told in its story. */
enum handover_note {
	NOTE_8BIT_AS_IS = 1 << 0, /* docs/decisions/0003 */
	NOTE_DSN_DROPPED = 1 << 1,
	NOTE_ORCPT_DROPPED = 1 << 2,
	NOTE_WITHOUT_SMTPUTF8 = 1 << 3,
	NOTE_LINE_ENDED = 1 << 4,
};

#define HANDOVER_NOTES 5

struct handover_recipient {
	str address;       /* without <> */
	str notify, orcpt; /* RFC 3461, as the client wrote them; empty: not given */
	Locum__Outcome outcome;
	str reply; /* the host's words, code first, or ours where it said none; in the arena */
	/* of needs.h */
	str form;     /* the address as this host is told it */
	bool lacking; /* the host lacks what it needs: REFUSED, and not asked */
	/* of the transaction */
	bool accepted; /* by RCPT */
	bool over;     /* perhaps only one too many for this transaction */
};

struct handover {
	str reverse_path; /* empty: the null reverse-path */
	bool body_8bitmime, body_binarymime, smtputf8, requiretls;
	str dsn_ret, dsn_envid; /* RFC 3461, as the client wrote them; empty: not given */
	str received;           /* our header, with its CRLF */
	int body_fd;
	uint64_t body_offset, body_bytes;
	uint32_t body_crc32c;
	struct handover_recipient *recipients;
	size_t recipient_count;
	struct arena *arena;    /* for replies */
	size_t reply_bytes_max; /* of each */

	Locum__Attempt attempt;
	char text[CONN_TEXT_MAX]; /* why, for the operator */
	nsec latency;             /* from MAIL to the last reply */
	bool stale;       /* the pooled connection was dead: nothing happened, take another */
	bool lacking;     /* every recipient is: nothing was said, attempt NONE */
	unsigned notes;   /* enum handover_note */
	str reverse_form; /* reverse_path as this host is told it */
};

/* Always sets the outputs. Afterwards c->broken says whether the connection can be used again. */
void transaction_run(struct task *tk, struct conn *c, struct handover *h);
/* The bit number of an enum handover_note in words. */
const char *handover_note_text(unsigned number);
