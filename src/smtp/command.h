/*
 * command: one command line of a client, without its CRLF → struct smtp_command. RFC 5321 §4.1, with
 * SIZE (RFC 1870), 8BITMIME (RFC 6152) and STARTTLS (RFC 3207).
 *
 * Pure. Slices are views into the line. What is wrong with a line is an enum smtp_complaint, which the
 * caller turns into a reply; the verb is set even then, where it was recognised.
 */
#pragma once

#include "smtp/path.h"

/* Octets of a line with its CRLF: RFC 5321 §4.5.3.1.4, and what MAIL and RCPT may use for parameters. */
#define SMTP_LINE_MAX 512
#define SMTP_PATH_LINE_MAX 1024

enum smtp_verb {
	SMTP_UNKNOWN,
	SMTP_HELO,
	SMTP_EHLO,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_VRFY,
	SMTP_HELP,
	SMTP_QUIT,
	SMTP_STARTTLS,
	SMTP_NOT_OFFERED, /* a verb of some RFC that we do not speak */
};

enum smtp_complaint {
	SMTP_FINE,
	SMTP_BAD_OCTETS, /* controls, NUL, bare CR or LF, octets above 127 */
	SMTP_LINE_TOO_LONG,
	SMTP_NO_SUCH_VERB,
	SMTP_ARGUMENT_MISSING,
	SMTP_ARGUMENT_UNEXPECTED,
	SMTP_ARGUMENT_INVALID,
	SMTP_PATH_INVALID,
	SMTP_PATH_TOO_LONG,
	SMTP_PATH_8BIT,
	SMTP_PARAMETER_UNKNOWN,
	SMTP_PARAMETER_INVALID,
};

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

struct smtp_command {
	enum smtp_verb verb;
	str argument; /* what follows the verb, trimmed; HELO and EHLO: the client's name */
	struct smtp_path path; /* MAIL and RCPT */
	bool size_given;
	uint64_t size;       /* MAIL SIZE= */
	enum smtp_body body; /* MAIL BODY= */
};

enum smtp_complaint smtp_command_parse(str line, struct smtp_command *ret_command);
/* "MAIL"; for SMTP_UNKNOWN and SMTP_NOT_OFFERED "command". */
const char *smtp_verb_name(enum smtp_verb verb);
