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
#include "smtp/dot_out.h"

struct introduction;

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
	/* With keep_lines: the host's last reply to it as it came, in the arena; code 0: it said none. */
	int code;
	str lines; /* without their codes, each ended by '\n' */
	/* of needs.h */
	str form;     /* the address as this host is told it */
	bool lacking; /* the host lacks what it needs: REFUSED, and not asked */
	/* of the transaction */
	bool accepted; /* by RCPT */
	str rcpt_reply; /* what the host said to RCPT; .p is NULL: it was not asked, or MAIL had been refused */
	bool over; /* perhaps only one too many for this transaction */
};

struct handover {
	str reverse_path; /* empty: the null reverse-path */
	bool body_8bitmime, body_binarymime, smtputf8, requiretls;
	str dsn_ret, dsn_envid;         /* RFC 3461, as the client wrote them; empty: not given */
	str received;                   /* our headers, with their CRLFs */
	const struct introduction *who; /* introduce.h: whose message it is; NULL: not told */
	bool keep_lines;                /* replies are wanted as they came */
	bool in_haste;           /* BDAT wherever it is taken: DATA's reply costs a round trip */
	int body_fd;             /* -1: not there yet */
	uint64_t body_announced; /* then: its size as the client says, for SIZE; 0: unknown */
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

enum transaction_step {
	STEP_FORWARD,
	STEP_RSET,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_BODY,
	STEP_FINAL
};

struct transaction {
	struct conn *c;
	struct handover *h;
	nsec started;
	nsec ends;                  /* no step lasts past it; at first that of the connection */
	enum transaction_step step; /* whose reply comes next */
	bool pipelining;            /* several commands a write */
	bool reset_asked;           /* RSET was sent and its reply is to come */
	bool mail_asked;
	bool answered; /* the host said anything at all in this transaction */
	bool mail_failed;
	bool chunked;   /* BDAT instead of DATA */
	size_t asked;   /* recipients whose RCPT was sent */
	size_t replied; /* of those, whose reply came */
	size_t accepted;
	size_t fitted; /* recipients that were looked at before they are asked */
	/* the body */
	uint64_t body_at; /* bytes read so far */
	size_t chunk_bytes;
	uint32_t crc;
	struct dot_out dots;
};

/* All of it at once. Always sets the outputs. Afterwards c->broken says whether the connection can be
 * used again. */
void transaction_run(struct task *tk, struct conn *c, struct handover *h);

/* The same step by step, for one whose recipients come one after the other. Each returns 0, or a
 * negative errno after which nothing may follow but the end; then h->attempt, h->text and the
 * outcomes of the recipients say what happened. c and h stay with the caller and outlive *t. */

/* -EOPNOTSUPP: the host lacks what all recipients need, nothing was said. -EBADMSG: the envelope
 * cannot be one. */
int transaction_begin(struct task *tk, struct transaction *t, struct conn *c, struct handover *h);
/* MAIL if it was not said, RCPT for every recipient that was not asked yet, and all their replies.
 * t->accepted counts those taken so far; t->mail_failed: MAIL was refused, which is the outcome of
 * them all. h may have gained recipients since the last call; one that the host lacks something for
 * is `lacking`. */
int transaction_ask(struct task *tk, struct transaction *t);
/* The last recipient was refused and has heard it: as if it had never been there. */
void transaction_drop_last(struct transaction *t);
/* The message, to those that were taken. -EOPNOTSUPP: the host lacks what it needs, as its headers
 * show; nothing of it was sent. */
int transaction_send(struct task *tk, struct transaction *t);
/* Behind begin, whatever that returned, once. The connection is the caller's again; c->reset_first is set where the
 * host still has an open transaction. */
void transaction_end(struct task *tk, struct transaction *t);

/* The bit number of an enum handover_note in words. */
const char *handover_note_text(unsigned number);
