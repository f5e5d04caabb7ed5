/*
 * live: transactions of clients that are talking to smtpin at this moment, held with the primary one
 * RCPT at a time, so that the client hears the primary's own words (docs/decisions/0009). What the
 * primary does not decide (it is away, hangs up, says 421, lacks something) is answered LIVE_AWAY: then
 * the message is the spool's.
 *
 * One struct live a transaction, named by (channel of an smtpin, number); it is born by the first
 * LiveAsk and ends with the answer to LiveSend, with LIVE_AWAY, with LiveEnd or with its channel. It
 * answers one question at a time, in a task of its own. Between questions it keeps its connection and
 * its place in the primary's budget for LIVE_IDLE_TIME; after that both are given back and only the
 * envelope is kept: the next question begins the transaction anew.
 *
 * The place is asked for while a pooled connection, which the primary has open anyway, hears MAIL and RCPT;
 * without it no new connection is made, and nothing follows.
 *
 * smtpin has read strangers' bytes: everything it says is checked and bounded here. The address book of
 * who may be asked is netd's, as for deliveries.
 *
 * live.c keeps the transactions, live_talk.c talks to spoold and the primary.
 */
#pragma once

#include "base/id.h"
#include "proc/smtpout/outbound.h"

struct smtpout;
struct channel;
struct ipc_message;

/* At once, of all smtpin. Places bound how many of them have a connection. */
#define LIVE_MAX 8192
#define LIVE_RECIPIENTS_MAX 1000
#define LIVE_ENVELOPE_MAX (32 * 1024) /* of the first LiveAsk, packed: it has no recipients */
#define LIVE_ARENA_MAX (512 * 1024)
#define LIVE_SCRATCH_MAX (64 * 1024)
#define LIVE_IDLE_TIME (20 * NSEC_S)
/* spoold only looks at its numbers; a client waits. */
#define LIVE_PLACE_WAIT (3 * NSEC_S)

struct live {
	struct map_link link;
	struct list idle, ended; /* in struct lives, or in none */
	struct smtpout *so;
	struct channel *smtpin; /* NULL: gone, nobody waits for an answer */
	uint64_t number;
	bool busy; /* a question is being answered; its task alone touches what follows */
	bool over; /* to be forgotten once it is not busy; no message finds it any more */

	/* the question */
	uint64_t call;
	bool sending; /* LiveSend; else LiveAsk */

	/* what it keeps */
	Locum__Packet *first; /* the first LiveAsk: its envelope has what MAIL needs */
	struct arena arena;   /* recipients, contact */
	struct arena scratch; /* replies, until they are answered */
	str domain;           /* of the first recipient */
	str asked_domain;     /* of the newest */
	bool mixed;           /* there are recipients of another domain: on this connection only */
	msg_id id;            /* of the message, with LiveSend */
	Locum__Packet *last;  /* LiveSend: its envelope is that of the headers */
	struct buf received;  /* likewise */
	struct handover handover;
	struct introduction who;
	size_t recipients_max;

	/* towards the primary */
	struct gate gate; /* a new connection waits for the place */
	bool placing;     /* a task asks for it … */
	struct signal place_came;
	str place_why;       /* … why it did not get it */
	bool placed;         /* spoold gave it a place … */
	uint64_t place_life; /* … this one (smtpout.spoold_life) */
	uint64_t place;      /* its name there */
	bool open;           /* `transaction` has a connection */
	struct transaction transaction;
	struct contact contact;
	nsec spent; /* on the primary's answers in this transaction */
	bool delivered;
	nsec idle_until;
};

struct lives {
	struct map map; /* of struct live */
	size_t count;
	struct list idle;  /* those with a connection that wait for smtpin; the longest first */
	struct list ended; /* to be forgotten */
	struct signal changed;
	uint64_t seed[2];
	uint64_t place_last; /* the newest name of a place */
	nsec idle_time;      /* LIVE_IDLE_TIME, but in tests */
	nsec place_wait;     /* LIVE_PLACE_WAIT, likewise */
	struct group tasks;
	bool closing;
};

/* 0, or the error of starting its task. */
int lives_init(struct smtpout *so);
/* Gives everything back. No question is being answered any more. */
void lives_close(struct task *tk, struct smtpout *so);
/* LiveAsk, LiveSend or LiveEnd. Takes what it needs from the message; answers it at once or from a
 * task. */
void lives_message(struct task *tk, struct smtpout *so, struct channel *ch, struct ipc_message *m);
/* This smtpin is gone, and all its transactions with it. */
void lives_forget(struct smtpout *so, struct channel *ch);

/* A task is done with it: what is over is given back. */
void live_leave_alone(struct live *l);

/* --- live_talk.c: what the task of a question does --- */

struct live_result {
	Locum__LiveWay way;
	int code;  /* with LIVE_REPLY */
	str lines; /* then: each ended by '\n' */
	str text;  /* else why; in the live's arena or scratch, or static */
	nsec latency;
};

/* The last of the handover's recipients. */
struct live_result live_talk_ask(struct task *tk, struct live *l);
/* The message, as the handover has it by now. */
struct live_result live_talk_send(struct task *tk, struct live *l);
/* Gives connection and place back and tells spoold what came of it; nothing to do where there is
 * neither. The recipients taken so far are kept, the others forgotten. */
void live_talk_release(struct task *tk, struct live *l);
