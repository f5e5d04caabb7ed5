/*
 * command: one command line of a client, without its CRLF → struct smtp_command. RFC 5321 §4.1, with
 * SIZE (RFC 1870), 8BITMIME (RFC 6152), STARTTLS (RFC 3207), CHUNKING and BINARYMIME (RFC 3030 §2, §3),
 * SMTPUTF8 (RFC 6531 §3), DSN (RFC 3461 §4), REQUIRETLS (RFC 8689 §2), ETRN (RFC 1985 §5), XCLIENT and
 * XFORWARD (Postfix XCLIENT_README, XFORWARD_README; smtp/attributes.h reads their arguments).
 *
 * What is offered to the client is its dialect: a parameter of an extension that was not offered is
 * SMTP_PARAMETER_UNKNOWN, a verb SMTP_NOT_OFFERED.
 *
 * Pure. Slices are views into the line. What is wrong with a line is an enum smtp_complaint, which the
 * caller turns into a reply; the verb is set even then, where it was recognised.
 */
#pragma once

#include "smtp/orcpt.h"
#include "smtp/path.h"

/* Octets of a line with its CRLF: RFC 5321 §4.5.3.1.4, and what MAIL and RCPT may use for parameters. */
#define SMTP_LINE_MAX 512
#define SMTP_PATH_LINE_MAX 1024
/* Octets of ENVID= as written: RFC 3461 §4.4. */
#define SMTP_ENVID_MAX 100

/* What the client may use of the extensions that are not offered to everybody. */
struct smtp_dialect {
	bool smtputf8;
	bool dsn;
	bool requiretls;
	bool binarymime;
	bool xclient;          /* and XFORWARD */
	bool utf8_transaction; /* MAIL said SMTPUTF8: paths of RCPT may be UTF-8 */
};

enum smtp_verb {
	SMTP_UNKNOWN,
	SMTP_HELO,
	SMTP_EHLO,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BDAT,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_VRFY,
	SMTP_HELP,
	SMTP_QUIT,
	SMTP_STARTTLS,
	SMTP_ETRN,
	SMTP_XCLIENT,
	SMTP_XFORWARD,
	SMTP_NOT_OFFERED, /* a verb of some RFC that we do not speak, or not with this client */
};

enum smtp_complaint {
	SMTP_FINE,
	SMTP_BAD_OCTETS, /* controls, NUL, bare CR or LF, octets above 127 outside of addresses */
	SMTP_LINE_TOO_LONG,
	SMTP_NO_SUCH_VERB,
	SMTP_ARGUMENT_MISSING,
	SMTP_ARGUMENT_UNEXPECTED,
	SMTP_ARGUMENT_INVALID,
	SMTP_PATH_INVALID,
	SMTP_PATH_TOO_LONG,
	SMTP_PATH_8BIT, /* octets above 127 in a path, and SMTPUTF8 not offered or not asked for */
	SMTP_PARAMETER_UNKNOWN,
	SMTP_PARAMETER_INVALID,
};

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };

/* What a report is to bring back of the message. */
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };

/* When the sender wants a report; no bit: the client did not say. */
enum smtp_notify {
	SMTP_NOTIFY_NEVER = 1 << 0, /* alone */
	SMTP_NOTIFY_SUCCESS = 1 << 1,
	SMTP_NOTIFY_FAILURE = 1 << 2,
	SMTP_NOTIFY_DELAY = 1 << 3,
};

struct smtp_command {
	enum smtp_verb verb;
	str argument; /* what follows the verb, trimmed; HELO and EHLO: the client's name; ETRN: what to start */
	struct smtp_path path; /* MAIL and RCPT */
	/* MAIL */
	bool size_given;
	uint64_t size;
	enum smtp_body body;
	bool smtputf8; /* VRFY too */
	bool requiretls;
	enum smtp_ret ret;
	str envid; /* xtext as written, at most SMTP_ENVID_MAX; empty: not given */
	/* RCPT */
	unsigned notify; /* enum smtp_notify */
	str orcpt; /* as written, "rfc822;…" or "utf-8;…", at most SMTP_ORCPT_MAX; empty: not given */
	/* BDAT */
	uint64_t chunk_bytes;
	bool chunk_last;
};

enum smtp_complaint smtp_command_parse(str line, const struct smtp_dialect *dialect,
				       struct smtp_command *ret_command);
/* "MAIL"; for SMTP_UNKNOWN and SMTP_NOT_OFFERED "command". */
const char *smtp_verb_name(enum smtp_verb verb);

#define SMTP_NOTIFY_SIZE 32
/* As RCPT writes it: "NEVER", "SUCCESS,FAILURE,DELAY"; empty for none. */
str smtp_notify_text(unsigned notify, char text[static SMTP_NOTIFY_SIZE]);
