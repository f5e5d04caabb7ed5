/*
 * spoold: sole owner of the spool, and of the decision what is delivered when. What the files of
 * this folder share; README.md says how they fit together.
 *
 * One thread. Messages are in RAM only as `struct message` (who they are and where each part
 * queues); envelope and state are read from the spool when needed (message_load), changed, and
 * written back whole (message_save) without an await in between. Whoever awaits holds a message's
 * id, not a pointer: any other task may have finished it meanwhile. A message with a part in flight
 * is never finished by anybody but that part's task.
 *
 * Nothing is told to anybody before commit_sync() made it durable.
 */
#pragma once

#include "conf/conf.h"
#include "ipc/ipc.h"
#include "proc/spoold/finished.h"
#include "proc/spoold/known.h"
#include "proc/spoold/stored.h"
#include "proc/spoold/tls_reports.h"
#include "sched/sched.h"
#include "spool/spool.h"
#include "task/task.h"

struct message;

/* The recipients of one domain: what the scheduler queues. */
struct part {
	struct sched_entry entry;
	struct message *message;
};

struct message {
	struct map_link link;
	msg_id id;
	nsec arrived_wall;
	uint16_t part_count;
	bool durable; /* false: nobody may deliver or show it yet */
	struct part part[];
};

_Static_assert(sizeof(struct message) + sizeof(struct part) <= 144,
	       "beside it the spool's 77 bytes: a million messages are a quarter of a GB");

/* A mark that the full disk did not take: tried again every second. */
struct unsaved {
	struct list link;
	enum spool_event event;
	msg_id id;
	struct buf state;
};

#define SMTPOUTS_MAX 8
#define HELD_QUEUE_MAX 4096

#define SPOOLD_DIR_SIZE 256

struct spoold {
	struct loop *loop;
	char dir[SPOOLD_DIR_SIZE];
	struct conf *conf;
	struct channel *control; /* to locumd; NULL in tests */
	struct spool *spool;
	struct sched *sched;
	nsec started_wall;
	nsec finish_by; /* until when deliveries under way may go on at the end, if that is later than usual */
	bool stopping; /* no more deliveries */
	bool closed;   /* no more messages either */

	struct map messages; /* by id */
	struct finished finished;

	/* commit.c */
	nsec marked_at;         /* when the first mark was put into it; 0: none */
	struct list committing; /* of struct appending, in the batch */
	struct signal batch_changed;
	struct list unsaved;

	/* append.c */
	struct list smtpins;
	struct group senders; /* tasks that write to smtpin */

	/* deliver.c */
	struct channel *smtpout[SMTPOUTS_MAX];
	unsigned smtpout_last;
	nsec smtpout_gone_at; /* monotonic; meaningful while there is none */
	struct signal work;   /* the dispatcher has something to ask */
	struct group deliveries;
	struct group probes;
	struct group house; /* dispatcher, committer, housekeeping */

	/* house.c */
	bool accepting;
	struct spool_usage usage;
	uint64_t told_bytes_free;
	uint64_t room_wanted; /* above the reserve, while not accepting */
	nsec compact_at;      /* not before; there was no space to copy into */
	struct {
		msg_id id;
		nsec at;
	} held_queue[HELD_QUEUE_MAX]; /* to be moved into the held log, oldest first */
	size_t held_first, held_count;

	struct known known;
	struct tls_reports tls_reports;
	struct map places[SMTPOUTS_MAX]; /* places.c: taken by each smtpout, by domain */

	/* command.c */
	struct channel *state; /* NULL while it is away; asked for the command line only */
	struct list clients;
	size_t client_count;
	struct group commands;

	/* for the operator */
	uint64_t accepted_total, delivered_total; /* messages, since the start */
	uint64_t damage_count;                    /* records that replay could not read */
	uint64_t corrupt_count; /* messages held because what was read did not match its checksum */
};

/* --- process.c: what locumd starts; its arg is NULL --- */
struct worker_hooks;
extern const struct worker_hooks spoold_hooks;

/* --- spoold.c: life --- */
/* Opens and replays the spool below dir. conf is the caller's; a reference is taken. */
int spoold_new(struct loop *loop, struct conf *conf, const char *dir, struct spoold **ret_spoold);
/* Starts the tasks. */
int spoold_start(struct spoold *sp);
/* Stops deliveries, waits for those under way (30 s at most, or until finish_by), makes everything durable. */
void spoold_stop(struct task *tk, struct spoold *sp);
/* All tasks must have ended. */
void spoold_free(struct spoold *sp);
void spoold_freep(struct spoold **sp);
void spoold_reconfigure(struct spoold *sp, struct conf *conf);
void spoold_peer(struct spoold *sp, struct channel *ch);
void spoold_peer_gone(struct spoold *sp, struct channel *ch);
ipc_handler spoold_message; /* arg: the struct spoold */

/* --- message.c: the messages in RAM --- */
struct loaded {
	struct buf bytes; /* the packed envelope */
	Locum__Envelope *envelope;
	Locum__StoredState *state;
	struct spool_body body;
};

/* A message with all parts at PLACE_NONE, in the index. 0, -EEXIST, -ENOMEM. */
int message_new(struct spoold *sp, msg_id id, const Locum__Envelope *envelope,
		struct message **ret_message);
/* Every part ready. */
void message_queue(struct spoold *sp, struct message *m);
/* Out of the index and the scheduler. */
void message_free(struct spoold *sp, struct message *m);
/* Only durable ones are found. */
struct message *message_find(struct spoold *sp, msg_id id);
bool message_in_flight(const struct message *m);
/* Does not park. -EBADMSG: damaged on disk. */
int message_load(struct spoold *sp, struct message *m, struct loaded *ret_loaded);
void loaded_done(struct loaded *l);
/* Puts the changed state into the batch and the parts not in flight where it says they belong. A
 * message of which nothing is left is finished and freed: do not touch it afterwards. */
void message_save(struct spoold *sp, struct message *m, struct loaded *l);
/* While replaying: moves the parts to where the state says. */
void message_apply(struct spoold *sp, struct message *m, const Locum__StoredState *state);
/* The number of the part whose entry this is. */
uint32_t part_number(const struct part *p);
/* Monotonic time of a moment on the wall clock. */
nsec mono_of(nsec wall);

/* --- replay.c --- */
int replay(struct spoold *sp);

/* --- commit.c --- */
task_fn committer;
void commit_mark(struct spoold *sp, enum spool_event event, msg_id id, struct buf *state);
/* Makes everything in the batch durable and answers for it. Does not return when that fails. */
void commit_sync(struct spoold *sp);
/* Does not return when the spool failed in a call that was not the committer's. */
void commit_check(const struct spoold *sp);
void commit_unsaved(struct spoold *sp);
/* Appended to *to; empty: none was ever written. */
int commit_newest_state(struct spoold *sp, msg_id id, struct buf *to);

/* --- append.c: smtpin --- */
struct appending;
void append_peer(struct spoold *sp, struct channel *ch);
void append_peer_gone(struct spoold *sp, struct channel *ch);
void append_message(struct task *tk, struct spoold *sp, struct channel *ch, struct ipc_message *m);
/* The batch with it is durable. */
void append_committed(struct spoold *sp, struct appending *a);
struct appending *append_of(struct list *link);
/* Tells every smtpin whether the spool takes messages. */
void append_tell_state(struct spoold *sp);
/* Offers have changed; or everything is to be said again. */
void append_tell_offers(struct spoold *sp);
void append_offers_anew(struct spoold *sp);
void append_sum(const struct spoold *sp, Locum__StatusRow *row);
/* Answers what is committed and takes no more. */
void append_done(struct spoold *sp);

/* --- deliver.c --- */
task_fn dispatcher;
void deliver_peer(struct spoold *sp, struct channel *ch);
void deliver_peer_gone(struct spoold *sp, struct channel *ch);
/* The smtpout whose turn it is; NULL: there is none now. */
struct channel *deliver_smtpout(struct spoold *sp);
/* What the spool gives is damaged: it stays where it is, is held, and the operator is told. */
void deliver_unreadable(struct spoold *sp, struct message *m, int r);

/* --- places.c: what smtpout may pass on live --- */
void places_init(struct spoold *sp);
void places_done(struct spoold *sp);
void places_message(struct task *tk, struct spoold *sp, struct channel *ch, struct ipc_message *m);
/* That smtpout ended: it left all its places. */
void places_gone(struct spoold *sp, size_t smtpout);

/* --- attempt.c: one delivery, one probe; both end in a report to the scheduler --- */
enum sched_attempt attempt_tried(Locum__Attempt attempt);
/* The destination's key; empty: not known. host may be NULL. */
str attempt_destination(const Locum__Host *host);
void attempt_delivery(struct spoold *sp, struct part *p);
void attempt_probe(struct spoold *sp, const struct sched_action *action);

/* --- house.c --- */
task_fn housekeeping;
/* A message of that size did not fit. */
void house_no_space(struct spoold *sp, uint64_t bytes);
/* A message is held now: its bytes may leave the queue's log. */
void house_held(struct spoold *sp, const struct message *m);
void house_notice(void *arg, enum sched_notice notice, const struct sched_destination *d,
		  int64_t value);

/* --- command.c: the command line --- */
/* fd is taken over: the other end is a `locum` whose uid locumd checked. */
void command_client(struct spoold *sp, uint32_t uid, int fd);
/* Hangs up on everybody. */
void command_done(struct spoold *sp);
