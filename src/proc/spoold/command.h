/*
 * command: what the files that answer the command line share. A command is any number of rows and a
 * last Answer; one at a time a client. It runs in its own task and finds its messages by id again
 * after every row sent: sending parks.
 */
#pragma once

#include "base/arena.h"
#include "proc/spoold/spoold.h"

struct client {
	struct list link;
	struct spoold *sp;
	struct channel *channel; /* NULL: it hung up */
	uint32_t uid;
	bool busy;
};

struct command {
	struct client *client;
	Locum__Packet *packet; /* the question */
	const Locum__Command *ask;
	uint64_t count; /* for the last Answer */
	uint64_t rows;  /* sent so far */
	struct buf error;
};

/* 0 also when it went wrong in the asker's eyes: *error then says why. Negative: nobody listens any
 * more. */
typedef int command_fn(struct task *tk, struct command *c);

/* Sends one row. */
int command_send(struct task *tk, struct command *c, Locum__Answer *answer, int fd);
int command_fail(struct command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool command_rows_left(const struct command *c);
/* The id of the command, found: or the error is set and NULL returned. */
struct message *command_message(struct command *c);

/* Ids, because the messages may go away while rows are sent. */
struct id_list {
	msg_id *id;
	size_t count;
};

void id_list_done(struct id_list *l);
/* Every message of the domain (NULL: of all), oldest first. 0 or -ENOMEM. */
int id_list_of(struct spoold *sp, const struct sched_domain *domain, struct id_list *ret_list);

/* --- rows.c --- */
/* One message, its recipients in several rows of the same id when they are many. domain: only its
 * recipients; NULL: all. with_envelope: behind them. */
int rows_message(struct task *tk, struct command *c, const struct message *m,
		 const struct loaded *l, const struct sched_domain *domain, bool with_envelope);
int rows_finished(struct task *tk, struct command *c, msg_id id, const Locum__StoredState *state);
int rows_events(struct task *tk, struct command *c, const Locum__StoredState *state);
int rows_event(struct task *tk, struct command *c, nsec at_wall, const char *what, str recipient,
	       const char *text);
Locum__PrimaryState row_state(enum sched_health health);

/* --- status.c, query.c, change.c --- */
command_fn command_status, command_queue, command_show, command_export, command_trace;
command_fn command_flush, command_hold, command_release, command_drop, command_reload,
	command_upgrade, command_recipients;
