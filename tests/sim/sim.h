/*
 * sim: the simulated kernel. It supplies task/sys.h with virtual time, network and disk, so that the real
 * smtpin, netd, spoold and smtpout of one to three nodes live side by side in this one process,
 * deterministically, from one seed. Each simulated process has a stack and a loop of its own; it runs
 * until it waits for events or for the disk, then the next one that is ready, chosen by chance, runs. When
 * nobody is ready the clock jumps to the next event.
 *
 * The world (clients, primaries, names) is one more simulated process, made of tasks over the same
 * sys.h; only it never dies.
 *
 * One seed is one process: run.c forks. What a simulated crash leaves behind is leaked on purpose.
 */
#pragma once

#include "base/addr.h"
#include "base/id.h"
#include "base/str.h"
#include "task/task.h"

/* --- chance: one stream a purpose, so that leaving one event out does not change the others' draws --- */
enum sim_dice {
	DICE_PLAN,
	DICE_TURN,
	DICE_NET,
	DICE_DISK,
	DICE_SYS,
	DICE_CLIENT,
	DICE_PRIMARY,
	DICE_DNS
};
#define DICE_COUNT (DICE_DNS + 1)

void sim_seed(uint64_t seed);
uint64_t sim_dice(enum sim_dice dice);                  /* 64 random bits */
uint64_t sim_below(enum sim_dice dice, uint64_t bound); /* 0 … bound - 1 */
bool sim_percent(enum sim_dice dice, unsigned percent);
nsec sim_between(enum sim_dice dice, nsec low, nsec high);

/* The next 64 bits of a private generator: whoever has one of its own depends on nobody else's draws. */
uint64_t sim_next(uint64_t *random);

/* --- time --- */
/* Virtual, monotonic; starts at one day, so that differences cannot go below zero. */
nsec sim_now(void);
/* f(arg) at that moment, between the turns of the processes: it cannot park. */
void sim_at(nsec at, void (*f)(void *arg), void *arg);
/* Lets time pass until `at`, or until `done` (asked after every turn; may be NULL) says true. From outside
 * of every process. False: `at` came first. */
bool sim_run(nsec at, bool (*done)(void *arg), void *arg);

/* --- what is told --- */
/* One line with the virtual time; shown with --trace, and of a failing run the last few hundred. */
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool sim_tracing; /* show lines at once, the processes' logs too */
/* The invariant `rule` (a few fixed words) does not hold: tells, with the seed, and ends the run. */
_Noreturn void sim_fail(const char *rule, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define SIM_RULE_BYTES 64
extern char sim_rule[SIM_RULE_BYTES]; /* what failed */
extern void (*sim_failed)(void);      /* called then, last */

/* --- processes --- */
struct sim_process;

/* A process outside of every node: main(arg) runs on its own 1 MiB stack, may use everything of sys.h
 * and never dies. */
struct sim_process *sim_process_start(const char *name, void (*main)(void *arg), void *arg);

/* --- network, for the world: addresses exist by being used --- */
/* A listening socket of the process that runs now; accept with sys_accept. */
int sim_listen(const struct addr *at);
/* Like sys_socket and sys_connect, from an address of our choice; 0 with *ret_fd and the connection under
 * way (wait for writability, then sys_connect_result). */
int sim_connect_from(const struct addr *local, const struct addr *remote, int *ret_fd);
/* Closes with a reset: the peer gets -ECONNRESET and loses what is on the way. */
void sim_reset(int fd);

enum sim_link {
	LINK_UP,
	LINK_SILENT, /* nothing arrives there or leaves: connections stall, new ones time out */
	LINK_RESET,  /* every connection is reset, new ones are refused */
};
/* Of all ports of that address, until said otherwise. */
void sim_link(const struct addr *host, enum sim_link link);
/* How long bytes to and from everybody travel; the default is 0.2 to 30 ms. */
void sim_latency(nsec low, nsec high);

/* --- nodes: a Locum each, with locumd's part played by node.c --- */
struct sim_node;

enum node_part { PART_SMTPIN_0, PART_SMTPIN_1, PART_NETD, PART_SPOOLD, PART_SMTPOUT };
#define NODE_PARTS (PART_SMTPOUT + 1)

struct node_options {
	const char *name;       /* for the trace */
	struct addr address;    /* whence it connects; its listeners are in the configuration */
	const char *config;     /* a whole configuration; its listen addresses become listeners */
	uint64_t disk_bytes;    /* size of its disk */
	uint64_t segment_bytes; /* smaller than the configuration may ask for: 16 KiB at least */
	uint64_t reserve_bytes;
	uint64_t message_bytes; /* smaller, too */
};

/* Made without power. `config` is copied. */
struct sim_node *node_new(const struct node_options *options);
const char *node_name(const struct sim_node *n);
void node_power_on(struct sim_node *n); /* nothing happens when it is on */
/* kill -9 of one process; it is started again after a moment. */
void node_kill(struct sim_node *n, enum node_part part);
void node_kill_all(struct sim_node *n);
/* All processes gone; of what was not synced any part survives, writes torn and out of order; half of the
 * peers see silence, half a reset. Off until node_power_on. */
void node_power_cut(struct sim_node *n);
bool node_is_on(const struct sim_node *n);
/* All processes have said Ready. */
bool node_serves(const struct sim_node *n);
/* The part dies inside its nth call of sys.h from now on (1: the next), before or after its effect. */
void node_kill_at_call(struct sim_node *n, enum node_part part, uint64_t nth);
enum sync_moment { SYNC_BEFORE, SYNC_DURING, SYNC_AFTER };
/* The power goes at the nth sync of that node's disk from now on. The node is switched on again `off` later. */
void node_cut_at_sync(struct sim_node *n, uint64_t nth, enum sync_moment moment, nsec off);
/* Syncs so far, of a file or a directory. */
uint64_t node_syncs(const struct sim_node *n);
/* Calls of sys.h by that part, over all its lives. */
uint64_t node_calls(const struct sim_node *n, enum node_part part);

enum disk_fault {
	DISK_WRITE_FAILS, /* the next `count` writes give -EIO */
	DISK_SYNC_FAILS, /* the next `count` syncs give -EIO and lose any part of what they were to sync */
	DISK_READ_FAILS, /* the next `count` reads give -EIO */
	DISK_SLOW,       /* the next `count` syncs take up to two seconds */
};
void node_disk_fault(struct sim_node *n, enum disk_fault fault, uint64_t count);
/* Leaves this many bytes free (0: full); UINT64_MAX: as before. */
void node_disk_free(struct sim_node *n, uint64_t bytes);
/* The wall clock steps; the monotonic one never does. */
void node_wall_jump(struct sim_node *n, nsec by);
nsec node_wall(const struct sim_node *n);
/* Faults that have not hit yet are off. */
void node_heal(struct sim_node *n);
/* Another configuration from now on, as by SIGHUP; a node that does not serve has it at its next start. `config` is copied. */
void node_reload(struct sim_node *n, const struct node_options *options);
/* An orderly end as by SIGTERM; node_is_on is false when it is over. */
void node_shutdown(struct sim_node *n);
/* Everything is delivered and nobody is connected: its processes must have freed what they had for it. */
void node_check_rest(struct sim_node *n);

/* --- what the checker asks a node's disk: read from the bytes that would survive a power cut now --- */
/* Is the message record with its body there? (Big bodies: the file and its name.) */
bool node_message_durable(const struct sim_node *n, msg_id id);
bool node_done_durable(const struct sim_node *n, msg_id id, nsec *ret_since);

struct node_remains {
	msg_id id;
	str envelope; /* a packed Locum__Envelope */
	str state;    /* a packed Locum__StoredState; may be empty */
	str body;
	bool held; /* in the held log */
};
/* Replays the spool of a node without power with the real replay, and calls f for every message that is
 * there. Returns how many. */
size_t node_inspect(struct sim_node *n, void (*f)(void *arg, const struct node_remains *r),
		    void *arg);

/* --- what happened, for the report --- */
struct sim_counts {
	uint64_t kills, power_cuts, torn_writes, lost_writes, disk_faults, turns, syncs;
};
extern struct sim_counts sim_counts;
