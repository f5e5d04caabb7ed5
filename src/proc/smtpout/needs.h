/*
 * needs: may this message go to this host, and in which form? Compares what the message says of
 * itself (SMTPUTF8, REQUIRETLS, BINARYMIME, DSN) with what the host offered, before MAIL is said.
 *
 *	REQUIRETLS   TLS with a verified host whose name is beyond doubt, and REQUIRETLS offered
 *	             (RFC 8689 §4.2.1), else held
 *	BINARYMIME   BINARYMIME and CHUNKING offered (RFC 3030), else held
 *	SMTPUTF8     offered (RFC 6531); else only where nothing but domains is not ASCII, which are
 *	             then written as A-labels; else held. Looked at: addresses and the message's own
 *	             headers, not those of its parts
 *	DSN          offered (RFC 3461), else the parameters are dropped, and that is noted
 *
 * Held means: OUTCOME_REFUSED with the reason in words. Never bounced, never damaged.
 */
#pragma once

#include "proc/smtpout/transaction.h"

/* Sets the outputs of h that its header attributes to needs.h. 0, or the error of reading the
 * body. Never parks. */
int needs_compare(const struct conn *c, struct handover *h);
/* The same for one more recipient. */
void needs_recipient(const struct conn *c, struct handover *h, struct handover_recipient *to);
/* What only the message itself can tell, for one whose MAIL was said before it came: 0, -EOPNOTSUPP
 * (the recipients say why), or the error of reading it. Never parks. */
int needs_message(const struct conn *c, struct handover *h);
