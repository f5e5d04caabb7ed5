/*
 * handover: from an envelope, as smtpin wrote it, to what a transaction hands over. Slices point into
 * the envelope, which stays the caller's and outlives the handover. Nothing here trusts it:
 * transaction.h looks at addresses and parameters before they are said.
 */
#pragma once

#include "base/id.h"
#include "proc/smtpout/transaction.h"

/* The reverse path and the parameters of MAIL. */
void handover_fill(const Locum__Envelope *e, struct handover *h);
void handover_fill_recipient(const Locum__Recipient *r, struct handover_recipient *to);
/* -EBADMSG: the envelope has none. */
int handover_id(const Locum__Envelope *e, msg_id *ret_id);
