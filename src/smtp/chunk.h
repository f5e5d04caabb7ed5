/*
 * chunk: a body that comes by BDAT (RFC 3030 §2), counted as it streams in: nothing is decoded, every octet of a
 * chunk is body, and the chunk ends where its number says. Notes what decides how the body can be
 * sent on: by DATA only in lines of CRLF, at most 1000 octets long (RFC 5321 §4.5.3.1.6), without NUL.
 *
 * Pure, no copies: the output is runs, views into the input. The input, and the body, may be cut anywhere: a CR at
 * the end of one chunk and the LF at the start of the next are a line end.
 */
#pragma once

#include "base/str.h"

/* Octets of a text line with its CRLF. */
#define CHUNK_LINE_MAX 1000

struct chunk {
	uint64_t left; /* octets of this chunk still to come */
	bool last;     /* it is the last one */
	bool bare_cr, bare_lf;
	bool any_8bit, any_nul;
	bool long_line; /* one of more than CHUNK_LINE_MAX octets */
	bool after_cr;  /* the octet before was a CR */
	uint64_t
		line_bytes; /* of the present line; 0: the body is empty or ended a line with CRLF */
	uint64_t bytes;     /* put out so far */
};

/* Before the first chunk of a message. */
void chunk_init(struct chunk *c);
/* BDAT was read: so many octets follow. The chunk before has been read to its end, and was not the last. */
void chunk_begin(struct chunk *c, uint64_t bytes, bool last);
/* The next run: true with *ret_run (never empty) and *in moved on; false when more input is needed (*in is then empty)
 * or the chunk is over (chunk_done; *in is what follows it). */
bool chunk_next(struct chunk *c, str *in, str *ret_run);

static inline bool chunk_done(const struct chunk *c)
{
	return !c->left;
}

/* The message is whole: its last chunk was read to its end. */
static inline bool chunk_ended(const struct chunk *c)
{
	return c->last && !c->left;
}

/* After the last chunk: may the body be sent by DATA as well? One that ends within a line may: DATA completes it. */
bool chunk_fits_data(const struct chunk *c);
