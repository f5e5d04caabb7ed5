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
#include "smtp/evidence.h"
#include "task/task.h"

#define LISTENERS_MAX 64
#define SMTPIN_PLACES_MAX 128
#define OTHER_KINDS 4 /* netd, spoold, smtpout, state: one each, and some of before an upgrade */
#define CHILDREN_MAX (SMTPIN_PLACES_MAX + 4 * OTHER_KINDS)
/* How many smtpin there can be for each that is configured: those of before an upgrade may have sessions for
 * a while. */
#define SMTPIN_GENERATIONS 4
#define SEND_TIME (5 * NSEC_S)
#define TICKET_KEY_BYTES 80
#define TICKET_KEYS_KEPT                                                                           \
	3 /* a new one every 12 hours, each kept for a day after it was the first */

struct supervisor;

/* A place for one; after a child of before an upgrade has ended, empty (PROCESS_NONE) and free for another. */
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
	/* Of before an upgrade: not started again. */
	bool old;
	int handed_control; /* until the channel is made of it */
	nsec finish_by;     /* told to end, and stuck after that; 0: not told */
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
	char exe[1024], exe_dir[1024];
	int lock;
	int snapshot, snapshot_with_keys; /* sealed memfds */
	struct child child[CHILDREN_MAX];
	size_t child_count;
	struct client_table *clients; /* what all smtpin share */
	int clients_file;
	int client_memory_file; /* likewise; -1: none */
	uint32_t smtpin_places; /* what they were made for: an smtpin's index is its place */
	uint32_t sessions_max;  /* likewise */
	uint8_t ticket_key[TICKET_KEYS_KEPT][TICKET_KEY_BYTES]; /* the first encrypts */
	size_t ticket_key_count;
	uint8_t evidence_key[EVIDENCE_KEY_BYTES];
	bool has_evidence_key;
	struct listeners listeners;
	struct io control; /* the socket that `locum` connects to */
	char control_path[108];
	unsigned turned_away; /* clients of it that are being told why */
	struct io signals;
	bool serving; /* the line was printed */
	bool stopping;
	bool reloading;
	struct signal changed; /* a child came or went, or stopping began */

	/* upgrade.c */
	bool checking;    /* the new locumd is being asked */
	bool leaving;     /* and is about to take our place: nobody is started any more */
	pid_t check_pid;  /* 0: not running */
	int check_status; /* valid when check_exited */
	bool check_exited;
	struct {
		uint64_t call; /* 0: nobody waits for an answer */
		uint32_t index;
	} asker; /* which spoold */

	/* of one that took the place of another */
	bool succeeding; /* not everything is replaced yet */
	char version_before[64];
	struct listeners salvaged; /* of one whose state was lost */
	int handed_command_socket; /* -1: none */
};

/* --- setup.c: before the loop. Errors come with words for the operator. --- */
int user_find(struct supervisor *sup, struct buf *ret_error);
int directories_make(const struct supervisor *sup, struct buf *ret_error);
/* One locumd a state directory; the lock goes with the process. */
int lock_take(struct supervisor *sup, struct buf *ret_error);
int control_open(struct supervisor *sup, int *ret_fd, struct buf *ret_error);
/* What it is called there. */
void control_path_find(struct supervisor *sup);
int exe_find(struct supervisor *sup);
/* Where the executable of a child is: beside ours, or where it is installed. Two paths. */
void executable_paths(const struct supervisor *sup, const char *name, char ret_path[2][1100]);
/* Is one of them there, for every child? */
int executables_check(const struct supervisor *sup, struct buf *ret_error);

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
/* The configuration in one. -EPROTO: there is none. */
int snapshot_read(int fd, struct conf **ret_conf);
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

/* --- evidence.c --- */
/* The key in the state directory, made when there is none. */
int evidence_key_load(struct supervisor *sup, struct buf *ret_error);
/* To smtpout, before its first peer. */
int evidence_key_send(struct task *tk, struct child *c);

/* --- child.c --- */
/* Those of before an upgrade have their places already. -ENOSPC: there are too many of them. */
int children_plan(struct supervisor *sup);
unsigned smtpin_wanted(const struct supervisor *sup);
void child_init(struct child *c, struct supervisor *sup, Locum__Process process, uint32_t index);
/* Whether a successor of ours can have it: it is ready, and nothing stands between us. */
bool child_can_be_left(const struct child *c);
/* The table of sessions that all smtpin share, and their memory of clients; before the plan, and only when there is none yet. */
int clients_make(struct supervisor *sup);
int children_start(struct supervisor *sup);
/* After SIGCHLD. */
void children_reap(struct supervisor *sup);
/* The one that serves, if one does. */
struct child *child_find(struct supervisor *sup, Locum__Process process);

/* --- control.c --- */
void control_main(struct task *tk, void *supervisor);

/* --- reload.c --- */
/* Reads the configuration again. True: it is in force; ret_text says what needs a restart. False: the
 * old one stays; ret_text says why. */
bool reload(struct task *tk, struct supervisor *sup, struct buf *ret_text);
/* The same before there are children to tell; sup->conf is what was in force. Not in a task. */
bool configuration_renew(struct supervisor *sup, struct buf *ret_text);

/* --- handover.c: what one locumd leaves to the next, which runs in its place --- */
/* A sealed memfd. */
int handover_make(const struct supervisor *sup, int *ret_fd);
/* What is in it, plausible in itself. -EPROTO: it is not. */
int handover_read(int fd, Locum__Handover **ret_handover);
void handover_free(Locum__Handover *h);
void handover_freep(Locum__Handover **h);
/* Whether what it names stays open across an exec. */
void handover_keep_open(const Locum__Handover *h, bool open);
/* Makes all of it ours. -EPROTO: something is not there, or is not what it is said to be; then nothing
 * was taken. */
int handover_take(struct supervisor *sup, const Locum__Handover *h);
/* When nothing of it can be understood: keeps the sockets that listen for clients, without names, and closes
 * everything else beyond standard error; children end by that. */
void handover_salvage(struct listeners *ret);

/* --- upgrade.c --- */
/* What the new locumd says when it is asked whether it could take our place. */
#define CHECK_SAYS "locumd "
/* The beginning; asker, with its call, gets the answer. NULL: nobody waits. */
void upgrade_begin(struct task *tk, struct supervisor *sup, const struct child *asker,
		   uint64_t call);
/* To whoever asked this locumd or the one before, once. A '\0' is added to text. */
void upgrade_answer(struct task *tk, struct supervisor *sup, bool ok, struct buf *text);

/* --- succession.c --- */
/* Ends children of before an upgrade as those of now get ready. */
void succession_main(struct task *tk, void *supervisor);
/* Not to be started now. */
bool child_must_wait(const struct child *c);
/* Of before an upgrade, and its successor serves: nobody new is connected with it. */
bool child_is_retired(const struct child *c);

/* --- supervisor.c --- */
/* Everything that can be ready is: hands out the listeners and says so, once. */
void serving_check(struct task *tk, struct supervisor *sup);
/* Until SIGTERM or SIGINT; children are gone after the return. */
int supervisor_run(struct supervisor *sup);
