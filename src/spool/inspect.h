/*
 * inspect: a spool that is looked at and not owned. Everything is read, every checksum verified; nothing is
 * written, created or removed, and nobody is kept out unless asked. Uses the code that replays, so what it
 * says lives is what a start would serve.
 *
 * A process may own the spool meanwhile. What it is just writing may look torn; when a segment was deleted
 * or seemed damaged under us, everything is read again (three times at most).
 *
 * Of the functions in spool.h only spool_read, spool_read_state, spool_has, spool_is_held and spool_close may be
 * called on an inspected spool. None of these functions parks.
 */
#pragma once

#include "spool/fault.h"
#include "spool/spool.h"

/* Reads the spool below `dir`, which may take as long as reading all its bytes. lock: nobody may own it, and
 * nobody can until it is closed; -EWOULDBLOCK when somebody does. -ENOENT: there is no spool; -EACCES and
 * others of the disk; -ENOMEM. A spool of another version is opened, empty, with a FAULT_VERSION. */
int inspect_open(const char *dir, bool lock, struct spool **ret_spool);

/* What is wrong, in the order it was found; at most a million. Valid until the spool is closed. */
const struct fault *inspect_faults(const struct spool *s, size_t *ret_count);

/* The living messages, oldest id first, in an array that the caller frees. 0 or -ENOMEM. */
int inspect_ids(const struct spool *s, msg_id **ret_ids, size_t *ret_count);

struct inspect_message {
	enum spool_log log;
	nsec written_wall;
	uint64_t body_bytes;
	uint32_t body_crc32c;
	bool big; /* the body is a file of its own, which may be damaged or missing */
};

/* The envelope, appended, even when the body cannot be read. -ENOENT, -EBADMSG, -EIO. */
int inspect_message(struct spool *s, msg_id id, struct inspect_message *ret_message,
		    struct buf *envelope);

/* What is left of a message whose record is a FAULT_BODY: the envelope, appended, and the damaged body's place.
 * Also of one with a FAULT_BIG_SIZE or FAULT_BIG_BODY: the bytes are as many as there are. -ENOENT, -EBADMSG. */
int inspect_remains(struct spool *s, const struct fault *f, struct buf *envelope,
		    struct spool_body *ret_body);

struct inspect_totals {
	uint64_t segments, records_bytes, messages, held, big_bodies;
	uint64_t
		gone; /* segments that later ones name and that are not there: deleted as needless, or lost */
};

void inspect_count(const struct spool *s, struct inspect_totals *ret_totals);
/* The n-th such segment, below totals.gone. */
void inspect_gone(const struct spool *s, uint64_t n, char ret_file[static FAULT_FILE_SIZE]);

/* Told of each message that could not be taken over and why (a negative errno). */
typedef void inspect_skipped_fn(void *arg, msg_id id, int error);
/* Makes a new spool below `dir` (which must not exist, or be empty: -EEXIST) of all living messages with their
 * newest states, in the log they are in; durable on return. Nothing that is damaged is taken: -EBADMSG. Other
 * errors of the new disk end it. */
int inspect_rebuild(struct spool *s, const char *dir, inspect_skipped_fn *skipped, void *arg,
		    uint64_t *ret_taken);
