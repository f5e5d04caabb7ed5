/*
 * server: what the sessions of one smtpin share: settings, peers, counters, limits; and the listeners that
 * give birth to sessions. One struct a process, one thread: plain fields, but whatever may change
 * (settings, peers) must be read again after an await.
 */
#pragma once

#include "base/cleanup.h"
#include "proc/smtpin/body.h"
#include "ipc/ipc.h"
#include "net/tls.h"
#include "proc/client_memory.h"
#include "proc/client_table.h"
#include "proc/smtpin/answer.h"
#include "proc/smtpin/offers.h"
#include "proc/smtpin/patience.h"
#include "proc/smtpin/rates.h"
#include "proc/smtpin/stress.h"
#include "proc/worker.h"
#include "proc/smtpin/settings.h"

struct session;

/* A line of the log that is written now and then, with how many times it was due. */
struct rare_line {
	nsec logged_at;
	uint64_t unlogged, times;
};

struct server {
	struct loop *loop;
	uint32_t index;
	struct settings *settings;  /* the newest */
	struct tls_tickets tickets; /* our own until locumd's arrive */
	struct channel *spoold;     /* NULL: away */
	struct channel *netd, *smtpout, *state;
	nsec state_rests_until; /* it was too slow (directory.h) */
	bool spool_accepting;   /* as spoold said last */
	struct offers offers;   /* likewise */
	bool draining;          /* no new sessions: a successor takes them */
	bool closing;           /* nor new transactions */
	struct signal spoold_came;

	struct group accepting, sessions, background;
	struct list session_list; /* of struct session */
	uint32_t session_count;
	struct client_table *clients; /* what all smtpin share; there before the first listener */
	struct client_memory *memory; /* likewise */
	struct patience *patience;    /* NULL: nobody was asked for it yet */
	uint64_t lives;               /* transactions that went live so far: their numbers */
	struct stress_gauge stress;
	struct body_budget budget;
	unsigned lookups; /* questions to netd under way */

	struct {
		uint64_t sessions_total, refused_total, deferred_total;
	} counters;

	struct {
		uint8_t byte[1000];
		size_t left;
	} random; /* drawn ahead: a system call for a hundred ids */

	struct list incoming; /* listeners of a set that is not complete yet */
	struct rare_line limit_line, rate_line;
};

extern const struct worker_hooks smtpin_hooks; /* process.c; arg: a zeroed struct server */

void server_init(struct server *srv, struct worker *w);

/* Settings from w->conf. 0 or a negative errno, logged. */
int server_configure(struct server *srv, struct conf *conf);
/* The table that locumd made, in fd, which stays the caller's. Once, before the first listener. */
int server_share_clients(struct server *srv, int fd);
/* Likewise what is remembered of clients. */
int server_share_memory(struct server *srv, int fd);
/* Counts one more session of the client, of which it may have sessions_max (UINT32_MAX: any number, of its network too, and
 * stress is no reason to refuse it: a proxy). ANSWER_NONE, or why it must not come in, logged. */
enum answer server_admit(struct server *srv, const struct addr *client, uint32_t sessions_max,
			 client_place *ret_place);

/* Is it known as good, or trusted by its address? Looks it up in the memory of clients: some 100 ns a process. */
bool server_favours(const struct server *srv, const struct addr *client);
/* How long this client may take for a command: less under stress (stress.h). */
nsec server_command_time(const struct server *srv, const struct addr *client);
/* The client did it n times more: for the rates. */
void server_count(struct server *srv, const struct addr *client, enum client_count what,
		  unsigned n);
/* An enum client_count of which the client had enough in this hour, or RATES_NONE; logged now and then. */
int server_check_rates(struct server *srv, const struct addr *client);
/* A message of this client's was accepted: it is known as good from now on. */
void server_remember_good(struct server *srv, const struct addr *client);
/* It is told to use the better MX: did it come back often enough? Each call is one try. */
bool server_is_patient(struct server *srv, const struct addr *client, str reverse_path,
		       str recipient);
/* The random part of an id. */
void server_random(struct server *srv, uint8_t random[static 10]);
void server_start_counters(struct server *srv);
/* The hook of worker.h: fd is ours from here on. */
void server_add_listener(struct server *srv, str name, int fd, bool last);
/* Stops accepting, lets sessions go on until *finish_by (which may become earlier meanwhile; 0: now), ends
 * those that are idle then, waits for transactions, within a bound. */
void server_shutdown(struct task *tk, struct server *srv, const nsec *finish_by);
