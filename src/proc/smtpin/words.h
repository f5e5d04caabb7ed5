/*
 * words: what the primary said live, for the client: its code, its lines, enhanced code and all, word for word. It is
 * a stranger's text all the same: WORDS_LINES_MAX lines of at most WORDS_LINE_BYTES octets with CRLF (RFC 5321
 * §4.5.3.1.5) are passed on, what is longer is cut, and what is not printable ASCII becomes '?'. Pure.
 */
#pragma once

#include "base/str.h"
#include "ipc/locum.pb-c.h"

#define WORDS_LINES_MAX 20
#define WORDS_LINE_BYTES 512
#define WORDS_LOG_SIZE 400

/* A code that a reply to RCPT or to a message can have? */
bool words_are_sound(const Locum__LiveAnswer *a);
/* How many lines the client gets: at least one. */
size_t words_lines(const Locum__LiveAnswer *a);
/* The n-th of them, with code and CRLF. */
str words_line(const Locum__LiveAnswer *a, size_t n, char text[static WORDS_LINE_BYTES]);
/* All in one, for the log: cut to fit. */
str words_for_log(const Locum__LiveAnswer *a, char text[static WORDS_LOG_SIZE]);
/* Does it say that there is no such mailbox (smtp/meaning.h)? Any other refusal may concern the client. */
bool words_mean_unknown(const Locum__LiveAnswer *a);
static inline bool words_are_yes(const Locum__LiveAnswer *a)
{
	return a->code / 100 == 2;
}
static inline bool words_are_later(const Locum__LiveAnswer *a)
{
	return a->code / 100 == 4;
}
