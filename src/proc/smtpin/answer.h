/*
 * answer: everything that smtpin says to clients, as one table: code, enhanced code (RFC 3463, RFC 2034) and
 * words. The greeting, HELO and EHLO, 354 and the final 250 with its id are written by session.c; they
 * stand here by name only. Pure.
 */
#pragma once

#include "smtp/command.h"

enum answer {
	ANSWER_NONE,

	/* written or acted on by the session */
	ANSWER_HELLO,
	ANSWER_START_TLS,
	ANSWER_START_DATA,
	ANSWER_TAKE_CHUNK,
	ANSWER_START_ETRN,
	ANSWER_GREETING,
	ANSWER_SCREENED,    /* RCPT: a symbol refuses it */
	ANSWER_ASK_PRIMARY, /* RCPT: what it says about the recipient that was named */
	ANSWER_TO_SPOOL,    /* RCPT: the recipient that was named goes there */
	ANSWER_PASSED,      /* the end of data: what the primary said */
	ANSWER_FACTS_FIRST, /* RCPT: to be decided again once the facts are there */
	ANSWER_QUEUED,

	/* 2xx */
	ANSWER_OK,
	ANSWER_SENDER_OK,
	ANSWER_RECIPIENT_OK,
	ANSWER_VERIFY,
	ANSWER_HELP,
	ANSWER_CHUNK_TAKEN,
	ANSWER_ETRN_NOTHING,
	ANSWER_BYE,

	/* the client's mistakes: they count, see session.c */
	ANSWER_BAD_OCTETS,
	ANSWER_LINE_TOO_LONG,
	ANSWER_UNKNOWN_COMMAND,
	ANSWER_NOT_OFFERED,
	ANSWER_ARGUMENT_MISSING,
	ANSWER_ARGUMENT_UNEXPECTED,
	ANSWER_ARGUMENT_INVALID,
	ANSWER_SENDER_INVALID,
	ANSWER_SENDER_TOO_LONG,
	ANSWER_RECIPIENT_INVALID,
	ANSWER_RECIPIENT_TOO_LONG,
	ANSWER_ADDRESS_8BIT,
	ANSWER_PARAMETER_UNKNOWN,
	ANSWER_PARAMETER_INVALID,
	ANSWER_HELLO_FIRST,
	ANSWER_MAIL_FIRST,
	ANSWER_MAIL_ALREADY,
	ANSWER_NO_RECIPIENTS,
	ANSWER_BDAT_BEGUN,
	ANSWER_DATA_BINARY,
	ANSWER_ETRN_IN_TRANSACTION,
	ANSWER_TOLD_IN_TRANSACTION,
	ANSWER_REQUIRETLS_NEEDS_TLS,
	ANSWER_TLS_ALREADY,
	ANSWER_TLS_NOT_OFFERED,

	ANSWER_MAIL_REFUSED, /* as MAIL_FIRST, but the client could not know yet: no mistake */

	/* refusals */
	ANSWER_NOT_OUR_DOMAIN,
	ANSWER_ROUTED,
	ANSWER_NO_SUCH_USER,
	ANSWER_NO_SMTPUTF8,
	ANSWER_NO_REQUIRETLS,
	ANSWER_NO_BINARYMIME,
	ANSWER_TOO_LARGE,
	ANSWER_BARE_NEWLINE,
	ANSWER_HIDDEN_DOT,
	ANSWER_TOO_MANY_HOPS,
	ANSWER_LOOP,

	/* later, please */
	ANSWER_ETRN_NOT_OURS,
	ANSWER_ETRN_TOO_SOON,
	ANSWER_ETRN_FAILED,
	ANSWER_NO_SPACE,
	ANSWER_BUSY,
	ANSWER_NOT_STORED,
	ANSWER_TOO_MANY_RECIPIENTS,
	ANSWER_OTHER_SERVER,
	ANSWER_NOT_KNOWN,
	ANSWER_USE_PRIMARY,
	ANSWER_RATE,

	/* the last words of a session */
	ANSWER_CHUNK_INVALID,
	ANSWER_EARLY_TALKER,
	ANSWER_FOREIGN_PROTOCOL,
	ANSWER_TOO_MANY_ERRORS,
	ANSWER_RATE_GOODBYE,
	ANSWER_LINE_ENDLESS,
	ANSWER_IDLE_TALK,
	ANSWER_NO_MAIL,
	ANSWER_TIMED_OUT,
	ANSWER_DATA_TIMED_OUT,
	ANSWER_SHUTTING_DOWN,
	ANSWER_SESSIONS_FULL,
	ANSWER_CLIENT_FULL,
	ANSWER_NETWORK_FULL,
	ANSWER_STRANGERS_WAIT,
	ANSWER_COUNT,
};

/* The whole reply with its CRLF. */
str answer_text(enum answer a);
/* The reply without its CRLF, for the log. */
str answer_line(enum answer a);
/* Does the session end with it? */
bool answer_is_last(enum answer a);
/* 4xx: may the client come again with it? */
bool answer_is_deferral(enum answer a);
/* A refusal of the recipient, for good? */
bool answer_is_refusal(enum answer a);
/* A mistake of the client's that counts towards the end of the session? */
bool answer_is_mistake(enum answer a);
/* What is wrong with a line, as a reply. Not for SMTP_FINE. */
enum answer answer_to_complaint(enum smtp_complaint complaint, enum smtp_verb verb);
