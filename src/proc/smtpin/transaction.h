/*
 * transaction: one mail transaction (RFC 5321 §3.3), from an accepted MAIL to the end of data, RSET or
 * the session's end. It exists only between them: whoever has a struct transaction has a sender. All
 * of its memory is one arena. Nothing here parks.
 *
 * The envelope it makes is bounded by IPC_ENVELOPE_MAX, counted as recipients are added.
 */
#pragma once

#include "base/arena.h"
#include "ipc/ipc.h"
#include "proc/smtpin/way.h"
#include "smtp/command.h"

struct transaction;

/* From a MAIL that is to be accepted. 0 or -ENOMEM. */
int transaction_new(const struct smtp_command *mail, struct transaction **ret_transaction);
void transaction_free(struct transaction *t);
void transaction_freep(struct transaction **t);

/* A recipient is named first and taken later, or not: somebody else may have to be asked about it. `rcpt` has the
 * parameters; whom it means is `address`. -EALREADY: that address is taken, and counts once; -EUSERS: recipients_max
 * are; -ENOBUFS: the envelope would be too large, or too many were named; -ENOMEM. */
int transaction_name_recipient(struct transaction *t, const struct smtp_command *rcpt, str address,
			       str domain, size_t recipients_max);
/* The one named last, until it is taken; then NULL. */
Locum__Recipient *transaction_named(const struct transaction *t);
void transaction_take_named(struct transaction *t);

size_t transaction_recipient_count(const struct transaction *t);
const Locum__Recipient *transaction_recipient(const struct transaction *t, size_t i);
str transaction_reverse_path(const struct transaction *t);
enum smtp_body transaction_body(const struct transaction *t);
bool transaction_smtputf8(const struct transaction *t);
bool transaction_requiretls(const struct transaction *t);
/* As MAIL said, 0: it did not. */
uint64_t transaction_size(const struct transaction *t);
/* A recipient's server takes no more than this; 0: any. */
void transaction_limit_size(struct transaction *t, uint64_t bytes_max);
/* The smallest of these limits; UINT64_MAX: none. */
uint64_t transaction_size_limit(const struct transaction *t);
/* Which way it goes, see way.h. */
struct way *transaction_way(struct transaction *t);
/* For what lives as long as the transaction. */
struct arena *transaction_arena(struct transaction *t);
/* Sets the envelope's fields that come from MAIL and RCPT; they point into the transaction. */
void transaction_fill_envelope(const struct transaction *t, Locum__Envelope *envelope);
