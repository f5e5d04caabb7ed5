/*
 * locumd: the supervisor. It reads the configuration, binds the listeners, makes the directories, starts one
 * process for each duty, hands them what they need and starts them again when they die. It never reads
 * a byte that came from outside.
 *
 * One struct supervisor, one thread. Children are an array of fixed size, so a struct child stays where it
 * is; what is in it (pid, control channel) may change at every await.
 */
#pragma once

#include "base/buf.h"
#include "conf/conf.h"
#include "ipc/ipc.h"
#include "proc/client_memory.h"
#include "proc/client_table.h"
#include "task/task.h"

#define LISTENERS_MAX 64
#define CHILDREN_MAX 132 /* 128 smtpin, and one each of the rest */
#define SEND_TIME (5 * NSEC_S)
#define TICKET_KEY_BYTES 80
#define TICKET_KEYS_KEPT                                                                           \
	3 /* a new one every 12 hours, each kept for a day after it was the first */

struct supervisor;

struct child {
	struct supervisor *sup;
	Locum__Process process;
	uint32_t index;
	const char *name; /* of its executable */
	char title[32];   /* "locum: smtpin 0" */
	pid_t pid;        /* 0: not running */
	int wait_status;  /* valid when exited */
	bool exited;
	bool ready; /* Ready was received */
	nsec ready_at;
	unsigned failures;       /* deaths in a row without a long life between */
	struct channel *control; /* NULL: none */
};

struct listener {
	char name[64];
	struct addr address;
	bool only_ipv6; /* takes no IPv4 beside it */
	int fd;
};

struct listeners {
	struct listener entry[LISTENERS_MAX];
	size_t count;
};

struct supervisor {
	struct loop *loop;
	const char *config_path;
	struct conf *conf;
	bool root;
	uint32_t uid, gid; /* of the children, when root */
	char exe_dir[1024];
	int snapshot, snapshot_with_keys; /* sealed memfds */
	struct child child[CHILDREN_MAX];
	size_t child_count;
	struct client_table *clients;         /* what all smtpin share */
	int clients_file, client_memory_file; /* of that, and of what they remember */
	uint32_t sessions_max;                /* what it was made for */
	uint8_t ticket_key[TICKET_KEYS_KEPT][TICKET_KEY_BYTES]; /* the first encrypts */
	size_t ticket_key_count;
	struct listeners listeners;
	struct io control; /* the socket that `locum` connects to */
	char control_path[108];
	unsigned turned_away; /* clients of it that are being told why */
	struct io signals;
	bool serving; /* the line was printed */
	bool stopping;
	bool reloading;
	struct signal changed; /* a child came or went, or stopping began */
};

/* --- setup.c: before the loop. Errors come with words for the operator. --- */
int user_find(struct supervisor *sup, struct buf *ret_error);
int directories_make(const struct supervisor *sup, struct buf *ret_error);
/* One locumd a state directory; the lock goes with the process. */
int lock_take(const struct supervisor *sup, struct buf *ret_error);
int control_open(struct supervisor *sup, int *ret_fd, struct buf *ret_error);
int exe_dir_find(struct supervisor *sup);

/* --- listeners.c --- */
/* Opens what `conf` names into *ret; sockets that `have` (may be NULL) has already are taken over as
 * duplicates. One of `have` that is not wanted any more but in the way (a wildcard and an address on the
 * same port) stops listening first; on failure, with words in ret_error, all of `have` listen as before.
 * patience: how long to wait for an address that is still in use. Blocks. */
int listeners_open(const struct conf *conf, const struct listeners *have, nsec patience,
		   struct listeners *ret, struct buf *ret_error);
void listeners_done(struct listeners *l);
/* "0.0.0.0:25, [::1]:2525" */
int listeners_text(const struct listeners *l, struct buf *to);

/* --- snapshot.c --- */
int snapshots_make(const struct conf *conf, int *ret_plain, int *ret_with_keys);
int start_send(struct task *tk, struct child *c, bool again);
/* To smtpin, before its first listeners. */
int clients_send(struct task *tk, struct child *c);
int listeners_send(struct task *tk, struct child *c);
/* Do these two have to do with each other? */
bool peers_are_pair(Locum__Process x, Locum__Process y);
/* Connects c with every ready process it has to do with. */
void peers_connect(struct task *tk, struct child *c);

/* --- tickets.c: keys of TLS session tickets, the same for all smtpin; they outlive reloads and deaths --- */
void tickets_make(struct supervisor *sup);
/* A new first key; the oldest goes. */
void tickets_turn(struct supervisor *sup);
/* To smtpin, before its first listeners. */
int tickets_send(struct task *tk, struct child *c);
/* Turns them every 12 hours, and tells everybody. */
void tickets_main(struct task *tk, void *supervisor);

/* --- child.c --- */
void children_plan(struct supervisor *sup);
/* The table of sessions that all smtpin share, and their memory of clients; after the plan. */
int clients_make(struct supervisor *sup);
int children_start(struct supervisor *sup);
/* After SIGCHLD. */
void children_reap(struct supervisor *sup);
struct child *child_find(struct supervisor *sup, Locum__Process process);

/* --- control.c --- */
void control_main(struct task *tk, void *supervisor);

/* --- reload.c --- */
/* Reads the configuration again. True: it is in force; ret_text says what needs a restart. False: the
 * old one stays; ret_text says why. */
bool reload(struct task *tk, struct supervisor *sup, struct buf *ret_text);

/* --- supervisor.c --- */
/* Everything that can be ready is: hands out the listeners and says so, once. */
void serving_check(struct task *tk, struct supervisor *sup);
/* Until SIGTERM or SIGINT; children are gone after the return. */
int supervisor_run(struct supervisor *sup);
