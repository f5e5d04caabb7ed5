/*
 * stored: the state snapshot of a message (StoredState of locum.proto): what became of each
 * recipient and the last events. Pure: built, read and changed here, written and read by the
 * callers. Everything in it comes from the heap, as protobuf-c frees it.
 *
 * A message is cut into *parts*, the recipients of one domain each, numbered by first appearance in
 * the envelope. A part is what the scheduler sees as an entry.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "ipc/locum.pb-c.h"

#define STORED_RECIPIENTS_MAX 4096 /* a message with more is not taken */
#define STORED_BYTES_MAX ((size_t)1 << 20)
#define STORED_EVENTS_MAX 16
#define STORED_TEXT_MAX 512
#define PART_ALL UINT32_MAX

/* Numbers the parts: *ret_part[i] is that of recipient i; the array has room for all. Returns how
 * many there are. */
size_t envelope_parts(const Locum__Envelope *envelope, uint16_t *ret_part);

/* Everything queued, nothing tried. NULL: out of memory. */
Locum__StoredState *stored_new(const Locum__Envelope *envelope);
/* Empty bytes are the state of a message that was never touched. -EBADMSG when it does not belong
 * to the envelope; -ENOMEM. */
int stored_unpack(str packed, const Locum__Envelope *envelope, Locum__StoredState **ret_state);
int stored_pack(const Locum__StoredState *state, struct buf *to);
void stored_freep(Locum__StoredState **state);

/* QUEUED while a recipient of the part waits for a try; else HELD, PARKED; else DELIVERED (nothing
 * left to do). */
Locum__MessageState stored_part(const Locum__StoredState *state, uint32_t part);

/* What an attempt brought one recipient. A held or dropped one stays so unless it was delivered
 * after all. */
void stored_outcome(Locum__StoredState *state, const Locum__RecipientOutcome *outcome, str host,
		    nsec now_wall);
/* Every recipient may have been delivered already: whoever was to know never heard. With its event. */
void stored_ambiguous(Locum__StoredState *state, nsec now_wall);
/* Change every recipient of the part (or PART_ALL) that is in the right state; return how many were
 * changed. */
size_t stored_hold(Locum__StoredState *state, uint32_t part, bool by_operator, str why);
size_t stored_park(Locum__StoredState *state, uint32_t part, str why);
size_t stored_release(Locum__StoredState *state, uint32_t part, nsec now_wall);
size_t stored_drop(Locum__StoredState *state, uint32_t part);

/* Adds an event; the oldest of too many goes. recipient: empty when it concerns several. */
void stored_event(Locum__StoredState *state, nsec now_wall, const char *what, str recipient,
		  str text);
/* Adds what the envelope knows: for the final state. */
void stored_finish(Locum__StoredState *state, const Locum__Envelope *envelope);

/* "name [address]" of the client. */
void client_text(const Locum__Client *client, char *ret_text, size_t size);
/* What was noticed about the client, "zen 4.5 (127.0.0.4), no-reverse-name 1"; empty: nothing. Cut where the text is
 * full. */
void symbols_text(const Locum__Envelope *envelope, char *ret_text, size_t size);
/* A peer's words, made fit for a log, a protobuf string and a terminal: valid UTF-8 without
 * controls, cut at max bytes. From the heap; NULL: out of memory. */
char *text_clean(str text, size_t bytes_max);
