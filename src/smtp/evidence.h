/*
 * evidence: the header that says what was known of the client that brought a message, signed, so that the
 * primary may rely on it (docs/decisions/0012):
 *
 *	X-Locum-Evidence: v=1 id=ULID arrived=1795501440 client=192.0.2.1 port=4711
 *		name=mail.example helo=mail.example proto=ESMTP tls=TLSv1.3 …
 *		head-bytes=312 head=SHA256 body=SHA256 hmac=HMAC-SHA256
 *
 * Words `name=value`, values in xtext: whatever a client said of itself stays one word, and no two
 * different things are written alike. A value that is too long is cut, and its name ends in `-cut`. The
 * hmac covers all words before it, with one space between them, so folding does not matter. `head` is the
 * digest of the header section below the header, of which it has head-bytes octets, `body` that of what
 * follows the empty line; both with every line end as CRLF, and one behind the last line.
 *
 * Pure (OpenSSL for the digests). Everything read is bounded by EVIDENCE_MAX.
 */
#pragma once

#include "base/buf.h"
#include "base/id.h"

#define EVIDENCE_NAME "X-Locum-Evidence"
#define EVIDENCE_KEY_BYTES 32
#define EVIDENCE_HASH_BYTES 32
/* An upper bound for what evidence_write adds, and for what is read. */
#define EVIDENCE_MAX 2048
/* Of a value that somebody else chose, as it is written. */
#define EVIDENCE_VALUE_MAX 160
#define EVIDENCE_WORDS_MAX 40

/* --- what a message is --- */

struct evidence_content {
	uint64_t head_bytes;
	uint8_t head[EVIDENCE_HASH_BYTES], body[EVIDENCE_HASH_BYTES];
};

struct evidence_digest {
	struct evp_md_ctx_st *head, *body;
	uint64_t
		head_max; /* of the header section, octets that count; the rest was added behind them */
	uint64_t head_bytes; /* all of it so far */
	uint64_t line_bytes;
	bool cr, in_body, failed;
};

/* 0 or -ENOMEM; evidence_digest_done in any case. */
int evidence_digest_init(struct evidence_digest *d, uint64_t head_max);
void evidence_digest_done(struct evidence_digest *d);
/* The next bytes of the message, cut anywhere. */
void evidence_digest_feed(struct evidence_digest *d, str piece);
/* ret->head_bytes is all there was. 0 or -ENOMEM. */
int evidence_digest_end(struct evidence_digest *d, struct evidence_content *ret);

/* --- writing --- */

struct evidence_symbol {
	str name;
	double score;
};

struct evidence {
	msg_id id;
	nsec arrived_wall;
	str client; /* textual IP; empty texts are left out */
	uint32_t port;
	str name, helo;
	bool esmtp;
	str tls_version, tls_cipher;
	str from, to, domain; /* `to`: a single recipient */
	size_t recipients;    /* that the client named */
	str primary;          /* its state then, a word */
	const struct evidence_symbol *symbols;
	size_t symbol_count;
	struct evidence_content content;
};

/* Appends the header with its final CRLF. 0 or a negative errno, and nothing is appended then. */
int evidence_write(const struct evidence *e, const uint8_t key[static EVIDENCE_KEY_BYTES],
		   struct buf *to);

/* --- reading --- */

struct evidence_words {
	char text[EVIDENCE_MAX]; /* unfolded */
	size_t signed_bytes;     /* of it, before the hmac */
	struct {
		str name, value; /* in `text`; the value in xtext */
	} word[EVIDENCE_WORDS_MAX];
	size_t count;
};

/* Reads what stands behind the header's colon. -EINVAL: it is not of this form. */
int evidence_parse(str value, struct evidence_words *ret);
/* The value of that name, or .p NULL. */
str evidence_value(const struct evidence_words *w, const char *name);
/* Was it written with this key? */
bool evidence_signed(const struct evidence_words *w, const uint8_t key[static EVIDENCE_KEY_BYTES]);
/* Of head-bytes octets, head and body; false: it does not say. */
bool evidence_content(const struct evidence_words *w, struct evidence_content *ret);

/* The key as its file holds it: 64 hexadecimal digits, white space behind them allowed. -EINVAL. */
int evidence_key_read(str text, uint8_t ret_key[static EVIDENCE_KEY_BYTES]);
