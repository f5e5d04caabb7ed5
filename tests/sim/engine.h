/*
 * engine: what the files of the simulated kernel share. sim.h is what the world sees.
 *
 * A descriptor is a number in one table for all processes; each entry has an owner and points to an object
 * that counts its references. Pollers keep a list of watches that may be ready, as epoll does:
 * object_changed() puts an object's watches there, sys_poller_wait() looks which are.
 */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "sim/sim.h"
#include "task/switch.h"
#include "task/sys.h"

/* --- objects behind descriptors --- */
enum object_kind {
	OBJECT_POLLER,
	OBJECT_LISTENER,
	OBJECT_STREAM,
	OBJECT_CHANNEL,
	OBJECT_MEMORY,
	OBJECT_FILE,
	OBJECT_DIR
};
#define OBJECT_KINDS (OBJECT_DIR + 1)

struct object {
	enum object_kind kind;
	unsigned refs;
	struct list watches;
};

void object_init(struct object *o, enum object_kind kind);
struct object *object_ref(struct object *o);
void object_unref(struct object *o); /* the last one closes: see descriptor.c */
/* Something arrived, was freed or broke. */
void object_changed(struct object *o);

/* --- descriptors --- */
#define FD_FIRST 20000 /* above any real one */

/* A new descriptor of p; takes the reference over. */
int fd_new(struct sim_process *p, struct object *o);
/* NULL: not open. */
struct object *fd_object(int fd);
struct object *fd_object_of(int fd, enum object_kind kind); /* NULL when it is another kind */
void fd_close(int fd);
void fd_close_all(struct sim_process *p);
unsigned fd_count(const struct sim_process *p);

/* --- pollers --- */
struct poller {
	struct object object;
	struct list watches; /* all */
	struct list ready;   /* those that may be */
};

bool poller_has_event(struct poller *p);
void poller_close(struct poller *p);

/* --- processes --- */
enum process_state { PROCESS_RUNNABLE, PROCESS_POLLING, PROCESS_WAITING, PROCESS_DEAD };

/* Of one life; bytes of the heap and of the stacks for tasks. */
struct account {
	size_t bytes;
	size_t buffers; /* of them in large pieces */
	size_t peak;    /* within this turn */
	size_t stacks;
	size_t start;       /* when it said Ready; 0: it has not yet */
	size_t done_before; /* messages of the node that were done when this life began */
};

struct sim_process {
	struct list link;
	char name[64];
	struct sim_node *node; /* NULL: the world */
	enum node_part part;
	void (*main)(void *);
	void *arg;
	void (*died)(
		struct sim_process *p); /* told after its descriptors are closed; may be NULL */
	struct side side;
	char *stack;
	bool started;
	enum process_state state;
	struct poller *polling;
	nsec wake_at;     /* polling: the time-out; waiting: when the disk is done */
	nsec not_before;  /* the kernel gives it no turn earlier */
	uint64_t calls;   /* of sys.h */
	uint64_t dies_at; /* this call; 0: at none */
	int status;       /* of exit; -1: killed */
	int control;      /* a part: its end of the channel to locumd */
	nsec turns_since;
	unsigned turns; /* within one virtual second */
	unsigned fds;
	unsigned open[OBJECT_KINDS]; /* descriptors of each kind */
	unsigned most[OBJECT_KINDS]; /* of them at once within this turn */
	bool in_kernel;              /* within a call of sys.h */
	struct account account;
};

/* The one that runs; NULL between turns. */
extern struct sim_process *running;

struct sim_process *process_new(const char *name, struct sim_node *node, void (*main)(void *),
				void *arg);
/* Does not return when p runs. */
void process_kill(struct sim_process *p, int status);
/* The running process lets the others run until `at`. */
void process_wait(nsec at);
/* The running process, whose state says what for, lets the others run. */
void process_poll(void);
/* First in every call of sys.h: the place where a process may die. Until that call returns, what is allocated is the
 * kernel's. */
#define sys_enter() __attribute__((cleanup(sys_leave), unused)) bool was_in_kernel = sys_begin()
bool sys_begin(void);
void sys_leave(const bool *was_in_kernel);

/* --- memory.c --- */
/* A part of a node begins to live; has said Ready. */
void account_life_begins(struct sim_process *p);
void account_is_ready(struct sim_process *p);
/* Around each turn: "memory bounded". */
void account_turn_begins(struct sim_process *p);
void account_turn_ends(struct sim_process *p);
/* A part that has nothing to do any more: "memory given back". */
void account_at_rest(struct sim_process *p);

/* --- network.c --- */
void stream_close(struct object *o);
bool stream_ready(const struct object *o, bool *ret_readable,
		  bool *ret_writable); /* false: broken */
void listener_close(struct object *o);
bool listener_readable(const struct object *o);
void channel_close(struct object *o);
void channel_ready(const struct object *o, bool *ret_readable, bool *ret_writable);
/* A pair of channels, one end for each process. */
void channel_pair(struct sim_process *a, struct sim_process *b, int *ret_a, int *ret_b);
/* All connections of that address end as in a power cut. */
void network_power_cut(const struct addr *host, size_t count);

/* --- disk.c --- */
struct disk;
struct disk *disk_new(const char *name, uint64_t bytes);
/* What was not synced is lost, as chance will have it. */
void disk_power_cut(struct disk *d);
/* After each process death: locks go with their descriptors. */
void file_close(struct object *o);
void dir_close(struct object *o);
void memory_close(struct object *o);
struct object *disk_root(struct disk *d); /* a new reference */
void disk_fault(struct disk *d, enum disk_fault fault, uint64_t count);
void disk_set_free(struct disk *d, uint64_t bytes);
void disk_heal(struct disk *d); /* faults that have not hit yet are off */
/* Walks the files of directory `dir` (NULL: the top) as they would be after a power cut that loses all. */
struct durable_file {
	const char *dir, *name;
	str bytes;
	uint64_t *parsed_to; /* the caller's */
};
void disk_durable_files(struct disk *d, void (*f)(void *arg, struct durable_file *file), void *arg);
/* The durable size of a file; false: its name or bytes are not durable as a whole. */
bool disk_durable_size(struct disk *d, const char *dir, const char *name, uint64_t *ret_bytes);

/* --- node.c, for disk.c, memory.c and process.c --- */
struct disk *node_disk(struct sim_node *n);
nsec node_wall_offset(const struct sim_node *n);
const struct addr *node_address(const struct sim_node *n);
/* Around each sync of the node's disk; each may cut the power and then does not return. */
void node_sync_begins(struct sim_node *n);
void node_sync_works(struct sim_node *n);
void node_sync_ended(struct sim_node *n);

struct node_load {
	size_t domains;        /* of its configuration */
	size_t messages, done; /* durable: in the spool now; done since the run began */
};
struct node_load node_load(const struct sim_node *n);

/* --- record.c --- */
struct records;
struct records *records_new(void);
/* Looks at what became durable since the last time. */
void records_scan(struct records *r, struct disk *d);
/* How many messages are there, and how many were done. */
void records_count(const struct records *r, size_t *ret_messages, size_t *ret_done);
bool records_message(const struct records *r, msg_id id);
bool records_done(const struct records *r, msg_id id, nsec *ret_since);
