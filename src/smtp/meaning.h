/*
 * meaning: what a server meant by its reply to RCPT (or to MAIL, the data, its greeting), beyond "not now" and
 * "no". Servers say it in codes (RFC 5321 §4.2, RFC 3463, RFC 7372, RFC 7505) and, more often, in words: the
 * table in meaning.c holds both, the first row that fits wins. Pure.
 *
 * What is not clear is MEANING_POLICY (5xx) or MEANING_TROUBLE (4xx): nothing is learned of a recipient from
 * it. "You are blocked" and "I do not like the sender" stand before "no such user" in the table, so that a
 * refusal of us or of a sender never speaks of the recipient.
 *
 * Addresses and URLs in a reply are the asker's or nobody's words: they are left out before reading.
 */
#pragma once

#include "smtp/reply.h"

enum meaning {
	MEANING_NONE,       /* no reply at all, or 3xx */
	MEANING_TAKEN,      /* 2xx; to RCPT: the recipient exists, or the server takes everybody */
	MEANING_FULL,       /* the recipient exists; its mailbox is full */
	MEANING_NO_USER,    /* 5xx only: no such recipient, or one that takes no mail any more */
	MEANING_GREYLISTED, /* 4xx only: come back later, strangers wait */
	MEANING_THROTTLED,  /* too many connections, messages or recipients for now */
	MEANING_BLOCKED,    /* our address, name or reputation; 4xx or 5xx */
	MEANING_RELAYING,   /* it thinks that the domain is not its own */
	MEANING_POLICY,     /* another 5xx: sender, content, size, permission, or unclear */
	MEANING_TROUBLE,    /* another 4xx */
};

/* Octets of a reply that are read; the rest is not looked at. */
#define MEANING_TEXT_MAX 768

/* `line` as reply_one_line() writes it and as stories and logs show it: "550 5.1.1 no such user here". */
enum meaning meaning_of(str line);
enum meaning meaning_of_reply(const struct reply *r);
/* In words, for logs and people: "no such user", "greylisted". */
const char *meaning_name(enum meaning m);

/* Of a reply to RCPT: is there such a recipient? */
static inline bool meaning_says_known(enum meaning m)
{
	return m == MEANING_TAKEN || m == MEANING_FULL;
}
