/*
 * path: what stands behind MAIL FROM: and RCPT TO:, RFC 5321 §4.1.2, with the lengths of §4.5.3.1 in octets:
 * domain 255, path 256. Local parts may fill a path: the 64 of §4.5.3.1.1 are what everybody must take, and bounce
 * addresses that hold another address (VERP, SRS) are often longer. Quoted local parts, address literals, `<>` and `<postmaster>`
 * are understood; a source route is accepted and ignored (appendix C).
 *
 * Mailboxes may be UTF-8 (RFC 6531 §3.3) in both parts: the caller refuses `utf8` ones where SMTPUTF8 was not
 * asked for. They are well-formed, hold no controls, and their domain is one that IDNA allows (smtp/idna.h).
 *
 * Two deviations: `_` is allowed in domains, because primaries take mail from such senders too; a domain of
 * nothing but digits and dots is none (RFC 1123 §2.1), for they do not.
 *
 * Pure. The slices of a path are views into the text it was parsed from. Errors: -EINVAL (grammar),
 * -EMSGSIZE (a length), -EILSEQ (octets above 127 that are not UTF-8).
 */
#pragma once

#include "base/str.h"

#define SMTP_DOMAIN_MAX 255
#define SMTP_PATH_MAX 256
#define SMTP_LOCAL_MAX (SMTP_PATH_MAX - 4) /* <, @, a domain, > */

enum smtp_path_kind { SMTP_REVERSE_PATH, SMTP_FORWARD_PATH };

struct smtp_path {
	str mailbox;  /* local@domain as written, without <> and route; empty: the null path <> */
	str local;    /* as written, quotes included */
	str domain;   /* as written, brackets included; empty for <> and <postmaster> */
	bool literal; /* the domain is an address literal */
	bool utf8;    /* the mailbox holds octets above 127 */
};

/* Reads a path at the start of text; *ret_rest is what follows its `>`. `<>` only as a reverse-path,
 * `<postmaster>` only as a forward-path. */
int smtp_path_parse(str text, enum smtp_path_kind kind, struct smtp_path *ret_path, str *ret_rest);
/* A mailbox without <>, all of text. */
int smtp_mailbox_parse(str text, struct smtp_path *ret_path);
/* A domain in ASCII by the grammar above, all of text. */
bool smtp_domain_valid(str text);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]", all of text. */
bool smtp_literal_valid(str text);

/* Room for smtp_path_plain: A-labels may be longer than the U-labels they stand for. */
#define SMTP_PLAIN_SIZE (SMTP_LOCAL_MAX + 1 + SMTP_DOMAIN_MAX + 2)
/* The form to compare by, NUL-terminated: ASCII in lower case, quotes and backslashes dropped where the unquoted
 * form says the same ("a.b"@X equals a.b@x), the domain in A-labels (a@bücher.example equals
 * a@xn--bcher-kva.example). Letters above 127 in local parts stay as they are. */
str smtp_path_plain(const struct smtp_path *path, char text[static SMTP_PLAIN_SIZE]);
/* Is it a mailbox, without <>, and of that domain (A-labels, case ignored)? */
bool smtp_mailbox_is_of(str mailbox, str domain);
/* Is the local part `postmaster`, however written? */
bool smtp_path_is_postmaster(const struct smtp_path *path);
