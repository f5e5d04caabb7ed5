/*
 * inside: what the files of this folder share. README.md says how the parts fit and why nothing is lost.
 *
 * One entry a message id, for as long as any message record of that id is on disk, dead or alive: a dead
 * one's `done` record (its tombstone) may not go before the last record that it kills. Segments know
 * the entries that have records in them (refs), so that no step walks the whole index.
 */
#pragma once

#include "spool/fault.h"
#include "spool/spool.h"

#define SEGMENT_BYTES_MIN ((uint64_t)16 << 10)
#define ALLOCATE_STEP ((uint64_t)8 << 20)   /* a segment grows on disk by this much at once */
#define MARK_HEADROOM ((uint64_t)256 << 10) /* messages leave this much allocated space to marks */
#define BATCH_PIECE_BYTES ((size_t)1 << 20) /* a larger batch is written in such pieces */
#define OPEN_SEGMENTS_MAX 64
#define COPY_STEP_BYTES ((uint64_t)1 << 20)

/* Where a record is. serial 0: nowhere. */
struct place {
	uint32_t serial;
	uint32_t at8;    /* in units of 8 bytes */
	uint32_t bytes8; /* likewise */
};

struct entry {
	struct map_link link;
	msg_id id;
	struct place message; /* the newest copy; nowhere only during replay */
	struct place mark;    /* alive: the newest state, if any; dead: the done record */
	uint32_t self;        /* index in the slab; 0: free */
	uint16_t copies;      /* message records on disk, the newest included */
	bool dead;
	bool big;
};

_Static_assert(sizeof(struct entry) == 64, "a million messages are 64 MB and a few pointers");

/* Slab indexes of entries that have a record in a segment. */
struct refs {
	uint32_t *index;
	size_t n, cap;
};

struct segment {
	uint32_t serial;
	uint32_t day;
	enum spool_log log;
	int fd;        /* -1: not open now */
	uint64_t used; /* when fd was last asked for: the least recent is closed first */
	uint64_t salt;
	uint64_t end;       /* the next record would begin here */
	uint64_t written;   /* handed to the kernel up to here */
	uint64_t synced;    /* durable up to here */
	uint64_t allocated; /* size of the file */
	uint64_t live_bytes;
	uint64_t tombstone_bytes; /* done records that are still needed */
	bool pinned;              /* damaged: never deleted */
	bool headless;            /* its header is lost: what it sealed is not known */
	bool torn;                /* it ends in the trace of a crash */
	bool sealed;              /* a later segment says where it ends */
	uint64_t seal_end, seal_torn;
	uint32_t seals;       /* serial of the segment whose end this one's header tells; 0: none */
	struct refs messages; /* each counts in its entry's `copies` */
	struct refs marks;    /* hints: ask the entry whether its mark is still here */
};

struct spool_logfile {
	enum spool_log kind;
	int dir;
	struct segment *open; /* where records go; NULL until the first one after a start */
	char *batch;          /* not yet handed to the kernel; begins at open->written */
	size_t batch_n, batch_cap;
	/* How the newest segment before `open` ends: for the header of the next one. */
	uint32_t last_serial;
	uint64_t last_end, last_torn;
};

/* Something in the directories that is not one of our segments, found when opening. */
struct oddity {
	enum spool_log log;
	char name[SEGMENT_NAME_SIZE + 32];
	enum fault_kind kind;
	char other[SEGMENT_NAME_SIZE + 8]; /* the name that its header says */
};

/* A done record whose message is not there. */
struct lone_done {
	msg_id id;
	uint64_t sequence;
};

#define SLAB_CHUNK 256

struct spool {
	struct spool_options options;
	int dir, lock, big_dir;
	uint8_t id[16];
	int failed; /* a write or sync went wrong: nothing more is promised */
	bool replayed;

	struct spool_logfile log[SPOOL_LOGS];
	struct segment **segment; /* by ascending serial */
	size_t segment_count, segment_cap;
	struct segment *segment_last_found;
	uint32_t next_serial;
	uint64_t start;    /* this start's number */
	uint64_t sequence; /* of the next record */
	uint64_t uses;     /* ticks at every segment_fd() */
	size_t open_fds;   /* of segments */

	struct map index;
	struct entry **slab;
	size_t slab_chunks;
	uint32_t slab_next; /* first index never used */
	uint32_t slab_free; /* chained through message.serial */
	uint64_t messages;
	uint64_t live_bytes;

	/* big bodies */
	bool big_dirty;
	uint64_t big_bytes;
	uint32_t big_counter; /* for temporary names */
	msg_id *big_unlink;   /* dead once the batch is durable */
	size_t big_unlink_n, big_unlink_cap;
	int *read_fd; /* handed out by spool_read, closed at the next other call */
	size_t read_fd_n, read_fd_cap;

	/* free space, as of checked_at minus what was allocated since */
	uint64_t free_bytes;
	uint64_t taken_since_check;
	nsec free_checked_at;
	nsec no_space_at;     /* of the newest refusal for lack of space; 0: none */
	bool cannot_allocate; /* the file system has no fallocate */

	struct {
		uint32_t serial; /* the segment being vacated; 0: none */
		size_t next_message, next_mark;
		bool busy;
	} compact;

	struct oddity *oddity;
	size_t oddity_count, oddity_cap;
	bool read_only;      /* inspect.h: nothing is written, ever */
	bool vanished;       /* read_only: a segment was deleted under us */
	struct fault *fault; /* read_only: what is wrong */
	size_t fault_count, fault_cap;
	struct lone_done *lone_done; /* read_only */
	size_t lone_done_count, lone_done_cap;
	bool damaged;                 /* replay saw lost records: orphans of big bodies are kept */
	struct segment_header *block; /* room for both header blocks */
};

static inline uint64_t place_at(struct place p)
{
	return (uint64_t)p.at8 * FORMAT_ALIGN;
}

static inline uint64_t place_bytes(struct place p)
{
	return (uint64_t)p.bytes8 * FORMAT_ALIGN;
}

static inline struct place place_make(const struct segment *seg, uint64_t at, uint64_t bytes)
{
	return (struct place){ seg->serial, (uint32_t)(at / FORMAT_ALIGN),
			       (uint32_t)(bytes / FORMAT_ALIGN) };
}

static inline int spool_pause(struct task *tk)
{
	return tk ? task_yield(tk) : 0;
}

/* An array grown by doubling to hold n elements. 0 or -ENOMEM. */
int array_reserve(void **array, size_t *cap, size_t n, size_t element_bytes);
#define ARRAY_RESERVE(array, cap, n)                                                               \
	({                                                                                         \
		void *array_ = (array);                                                            \
		int result_ = array_reserve(&array_, &(cap), (n), sizeof(*(array)));               \
		(array) = array_;                                                                  \
		result_;                                                                           \
	})

/* --- open.c --- */
/* What is wrong with the directories, told as replay begins. */
int oddity_add(struct spool *s, enum spool_log log, const char *name, enum fault_kind kind,
	       const char *other);
/* The lock file's words. 1: read into s->id, 0: empty or damaged, -EPROTONOSUPPORT. */
int identity_read(struct spool *s);
/* Fills the table of segments; named: s->id is known. */
int list_segments(struct spool *s, bool named);
/* An empty one, nothing opened. NULL: out of memory. */
struct spool *spool_new(const struct spool_options *options);

/* --- replay.c --- */
typedef int fault_fn(void *arg, const struct fault *f);
/* As spool_replay, with faults as they are. What `fault` returns, when not 0, ends it. */
int replay_spool(struct spool *s, spool_replay_fn *each, fault_fn *fault, void *each_arg,
		 void *fault_arg);

/* --- index.c --- */
struct entry *index_find(const struct spool *s, msg_id id);
struct entry *index_at(const struct spool *s, uint32_t self);
/* A new entry without any record. 0 or -ENOMEM. */
int index_add(struct spool *s, msg_id id, struct entry **ret_entry);
void index_remove(struct spool *s, struct entry *e);
void index_done(struct spool *s);
/* Room for one more reference in each of the segment's lists, so that the entry_ functions below cannot
 * fail. log_room has made it. */
int segment_reserve_refs(struct segment *seg);
/* A message record newer than all of the entry's before. */
void entry_message(struct spool *s, struct entry *e, struct segment *seg, struct place at);
/* A mark newer than all before; done: the message ends. */
void entry_mark(struct spool *s, struct entry *e, struct segment *seg, struct place at, bool done);
bool tombstone_needed(const struct entry *e);
/* One of its message records is no longer on disk; the entry goes with the last. */
void entry_lose_copy(struct spool *s, struct entry *e);

/* --- segment.c --- */
struct segment *segment_find(struct spool *s, uint32_t serial);   /* it must be there */
struct segment *segment_lookup(struct spool *s, uint32_t serial); /* or NULL */
/* Adds a segment to the table, sorted by serial. -EEXIST: the serial is taken. */
int segment_insert(struct spool *s, struct segment *seg);
struct segment *segment_alloc(enum spool_log log, uint32_t day, uint32_t serial);
void segment_freep(struct segment **seg);
/* Its descriptor, opened if need be. */
int segment_fd(struct spool *s, struct segment *seg);
void segment_close_fd(struct spool *s, struct segment *seg);
/* Closes descriptors beyond OPEN_SEGMENTS_MAX and those that spool_read handed out. */
void segment_trim_fds(struct spool *s);
/* A new file in `l` with room for `bytes` of records. Nothing is changed on error. */
int segment_create(struct spool *s, struct spool_logfile *l, uint64_t bytes,
		   struct segment **ret_segment);
/* Room on disk up to offset `need`. -ENOSPC: not there. */
int segment_allocate(struct spool *s, struct segment *seg, uint64_t need);
/* Gives back what was allocated behind the end. */
void segment_shrink(struct spool *s, struct segment *seg, uint64_t end);
/* The file is gone, durably: forgets the segment and its records. */
void segment_forget(struct spool *s, struct segment *seg);
bool segment_is_open(const struct spool *s, const struct segment *seg);
const char *log_name(enum spool_log log);

/* --- log.c --- */
enum space {
	SPACE_MESSAGE, /* keeps out of the reserve */
	SPACE_MARK,    /* and copies: may use it */
};

/* Makes room for a record at *ret_at, in the batch buffer, and for its references. -ENOSPC, -ENOMEM: nothing changed. Any other
 * error is final. */
int log_room(struct spool *s, struct spool_logfile *l, uint64_t bytes, enum space space,
	     char **ret_at);
/* Puts the record into the batch whose payload and body stand behind `at` already. h lacks only what
 * the log knows: salt, sequence, batch, checksum. */
void log_commit(struct spool *s, struct spool_logfile *l, char *at, struct record_header *h,
		struct place *ret_place);
int log_flush(struct spool *s, struct spool_logfile *l);
int log_sync(struct spool *s, struct spool_logfile *l);
/* Free space for us, what is allocated but unused included; at most 100 ms old. */
/* Is there room for a message of so many bytes above the reserve? 0 or -ENOSPC. */
int space_for_message(struct spool *s, uint64_t bytes);
int space_available(struct spool *s, uint64_t *ret_bytes);

/* --- read.c --- */
/* Reads and checks a record's header: its place, type and id. -EBADMSG. */
int read_header(struct spool *s, struct place at, msg_id id, struct record_header *ret_header);
/* Appends the payload, checked. -EBADMSG: *to is unchanged. */
int read_payload(struct spool *s, struct place at, msg_id id, struct buf *to,
		 struct record_header *ret_header);
/* Copies a whole record, checked, into the batch of a log of `to` (often s itself) under a new sequence number.
 * -EBADMSG: the record is damaged; nothing is in the batch. */
int copy_record(struct spool *s, struct place from, msg_id id, struct spool *to,
		struct spool_logfile *log, struct place *ret_place);

/* --- big.c --- */
#define BIG_NAME_SIZE 48
void big_name(msg_id id, char ret_name[static BIG_NAME_SIZE]);
/* Copies a body into its file and makes it durable but for its name, which spool_sync does. */
int big_write(struct task *tk, struct spool *s, msg_id id, int body_fd, uint64_t body_bytes,
	      uint32_t *ret_crc);
void big_discard(struct spool *s, msg_id id);
/* The body's file, of the right size. -EBADMSG */
int big_open(struct spool *s, msg_id id, uint64_t body_bytes, int *ret_fd);
/* To be removed after the next sync. */
int big_unlink_later_reserve(struct spool *s);
void big_unlink_later(struct spool *s, msg_id id);
void big_unlink_now(struct spool *s);
/* After replay: checks the files of live messages, removes those that no live record names. */
int big_settle(struct spool *s, fault_fn *fault, void *arg);
