/*
 * orcpt: the original recipient of RCPT ORCPT= (RFC 3461 §4.2): "TYPE;" and an address in xtext, or, with the type
 * utf-8, in the encoding of RFC 6533 §3: printable ASCII without `+`, `=` and `\` as it is, any other character
 * as `\x{HEX}` (utf-8-addr-xtext) or, with SMTPUTF8, those above 127 also as they are
 * (utf-8-addr-unitext). As RFC 3461 says, the decoded address is bound to no grammar but holds no controls here.
 *
 * Pure. At most SMTP_ORCPT_MAX octets, as written.
 */
#pragma once

#include "base/buf.h"

#define SMTP_ORCPT_MAX 500

/* `utf8`: SMTPUTF8 is in use, characters above 127 may stand as they are. */
bool orcpt_valid(str text, bool utf8);
/* The type, a view of text, and the address decoded into `to` (never longer than text). -EINVAL: not valid. */
int orcpt_decode(str text, bool utf8, char to[static SMTP_ORCPT_MAX], str *ret_type,
		 str *ret_address);
/* Appends what says `mailbox`, in ASCII: "rfc822;…", or "utf-8;…" where it holds octets above 127 (valid UTF-8).
 * 0, -EMSGSIZE (longer than SMTP_ORCPT_MAX) or the buffer's error; nothing is appended then. */
int orcpt_encode(str mailbox, struct buf *to);
