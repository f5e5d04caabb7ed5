/*
 * headers: what is put on top of a message when it is handed over, made in this one place from its
 * envelope: our Received header (smtp/received.h), and below it the signed evidence (smtp/evidence.h).
 * Nothing else of the message changes.
 *
 * Together never more than HEADERS_MAX, which smtpin allows for when it announces SIZE.
 */
#pragma once

#include "proc/smtpout/transaction.h"
#include "smtp/evidence.h"
#include "smtp/received.h"

#define HEADERS_MAX (RECEIVED_MAX + EVIDENCE_MAX)

/* Into *to (initialised here, to be freed in any case); h->received is it. h has its recipients and its
 * body, which is read once for the evidence; parks, so that others are served meanwhile. key NULL: without
 * evidence. A body that cannot be read goes without it too: transaction.h finds that out, and says so. 0,
 * -EBADMSG (the envelope has no id) or the buffer's error. */
int headers_make(struct task *tk, const uint8_t *key, const Locum__Envelope *e, str domain,
		 struct handover *h, struct buf *to);
