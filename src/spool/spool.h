/*
 * spool: messages on stable storage: a segmented append-only log with group commit. Written to the
 * format in docs/spool-format.md. One owner (a lock keeps a second process out), one thread.
 *
 * The promise is the order of calls: spool_append and spool_mark only put records in the batch;
 * spool_sync writes the batch and makes it durable; only then may anybody be told. A failed
 * sync is final: the caller must stop the process and replay (never retry fsync).
 *
 * Two logs of the same format under one directory: `queue/` and `held/`. A message lives in one of them;
 * spool_move_held copies it over. The state of a message beyond its bytes (outcomes, holds) is a
 * snapshot, opaque here, written whole at every change: the newest wins, so replay and compaction
 * need nothing else.
 */
#pragma once

#include "base/buf.h"
#include "base/id.h"
#include "base/map.h"
#include "task/task.h"

struct spool;

struct spool_options {
	uint64_t segment_bytes;  /* a segment is closed past this; 64 MiB by default */
	uint64_t big_body_bytes; /* bodies larger than this are files of their own; 1 MiB */
	uint64_t reserve_bytes;  /* appends fail with -ENOSPC below this much free space */
};

/* What replay tells. */
enum spool_event {
	SPOOL_MESSAGE, /* payload = envelope */
	SPOOL_STATE,   /* payload = state snapshot */
	SPOOL_DONE,    /* payload = final state snapshot; the message is gone */
};

typedef int spool_replay_fn(void *arg, enum spool_event event, msg_id id, nsec written_wall,
			    str payload);
/* What replay found wrong (a bad checksum, a torn tail, a foreign file), for the log. */
typedef void spool_damage_fn(void *arg, const char *file, uint64_t offset, const char *what);

/* Opens or creates the spool below `dir` and locks it. -EWOULDBLOCK: another process owns it;
 * -EPROTONOSUPPORT: a format version that this program does not know. */
int spool_open(const char *dir, const struct spool_options *options, struct spool **ret_spool);
/* Other options for an open spool, from the next append on; what is on disk stays as it is. NULL: the defaults. */
void spool_set_options(struct spool *s, const struct spool_options *options);
/* Reads every segment; calls `each` in the order of writing (over both logs): a message once, however
 * often it was copied; then its states, of which the last counts; a done for what was told as a message. What
 * `each` returns, when not 0, ends the replay and is returned. It may call nothing of the spool. Damage does not end it:
 * `damage` is told, and whatever else is whole is served. Must be called once, before anything else. */
int spool_replay(struct spool *s, spool_replay_fn *each, spool_damage_fn *damage, void *arg);
/* Waits for nothing and syncs nothing. */
void spool_close(struct spool *s);
void spool_closep(struct spool **s);
/* A negative errno of this library in words for the operator. */
const char *spool_error_text(int error);

/* Puts a message in the batch: envelope bytes and body_bytes from body_fd (offset 0; a sealed memfd).
 * Parks (yields) only while copying a big body, which is durable in its own file before the record
 * is in the batch. -EEXIST: the id is in the spool. -ENOSPC: below the reserve. -EIO and others: the
 * batch is unchanged. */
int spool_append(struct task *tk, struct spool *s, msg_id id, str envelope, int body_fd,
		 uint64_t body_bytes);
/* Puts a state snapshot in the batch (SPOOL_STATE), or ends the message (SPOOL_DONE). -ENOENT; -ENOSPC: the disk
 * is full to the last byte (the reserve is for marks too), nothing changed, go on. */
int spool_mark(struct spool *s, enum spool_event event, msg_id id, str state);
/* Writes the batch and waits for the disk. 0: everything put in before is durable. Anything else:
 * stop the process. */
int spool_sync(struct spool *s);
/* 0; or what a sync or write failed with, in whichever of these calls it was: stop the process. */
int spool_failure(const struct spool *s);
/* Bytes in the batch; 0: nothing to sync, everything is durable (spool_move_held and spool_compact sync
 * too, and what others had put in the batch with it). */
size_t spool_batch_bytes(const struct spool *s);

/* Where a message is, for reading. The fd stays the spool's, valid until the next call that is not a
 * read; pass it on or dup it. */
struct spool_body {
	int fd;
	uint64_t offset;
	uint64_t bytes;
	uint32_t crc32c; /* of the body alone */
};

/* The envelope, appended to *to after its checksum was verified, and the body's place. -ENOENT; -EBADMSG:
 * damaged on disk; -EIO: it cannot be read now; -EAGAIN: still in the batch, spool_sync comes first. */
int spool_read(struct spool *s, msg_id id, struct buf *to, struct spool_body *ret_body);
/* The newest state snapshot (empty when none was written). */
int spool_read_state(struct spool *s, msg_id id, struct buf *to);
bool spool_has(const struct spool *s, msg_id id);
bool spool_is_held(const struct spool *s, msg_id id);

/* Moves a message between the logs, durably (syncs both). 0 when it is there already. -EBADMSG, -ENOSPC: it
 * stays where it was. */
int spool_move_held(struct task *tk, struct spool *s, msg_id id, bool to_held);

/* One bounded step of housekeeping: deletes dead segments, copies stragglers forward when a segment is
 * mostly dead. 1: there is more to do, 0: nothing now. Call it when idle and after deliveries. -EBADMSG: a record
 * that is to be copied is damaged; its segment is left alone from now on: say so and go on. -ENOSPC: no room to
 * copy, try later. -ECANCELED. Anything else: stop the process, as after spool_sync. */
int spool_compact(struct task *tk, struct spool *s);

struct spool_usage {
	uint64_t messages;
	uint64_t live_bytes; /* of live messages, headers included */
	uint64_t disk_bytes; /* of all segments and big bodies */
	uint64_t free_bytes; /* on the file system */
	uint64_t segments;
	bool below_reserve; /* nothing would be taken, or something was not within the last seconds */
};

int spool_usage(struct spool *s, struct spool_usage *ret_usage);
