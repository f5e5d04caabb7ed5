/*
 * session: the dialogue with one client, one task each (RFC 5321 §4). The state machine is in what exists:
 * no transaction without an accepted MAIL, no data without recipients; see session.c for the order of
 * one turn.
 *
 * An idle session costs this struct (under 1 KiB) and its task's touched stack: everything larger lives in
 * the transaction or in the stream's buffers, which exist while they hold something.
 */
#pragma once

#include "proc/smtpin/answer.h"
#include "base/id.h"
#include "net/stream.h"
#include "proc/smtpin/facts.h"
#include "proc/smtpin/server.h"
#include "proc/smtpin/transaction.h"

struct intake;
struct told;

enum hello { HELLO_NONE, HELLO_HELO, HELLO_EHLO };

struct session {
	struct list link; /* the server's */
	struct task *task;
	struct server *srv;
	struct settings *settings;
	size_t listen_index; /* in settings->conf */
	struct stream stream;
	struct addr client;              /* as told, where somebody may tell */
	struct addr proxy;               /* that said PROXY; AF_UNSPEC: none */
	struct told *told;               /* XCLIENT and XFORWARD; NULL: nothing */
	client_place place;              /* in the table of clients */
	struct facts *facts;             /* may be NULL */
	struct transaction *transaction; /* between MAIL and the end of data; else NULL */
	struct intake *intake;           /* of the transaction, once its message began; else NULL */
	uint64_t symbols;                /* what this client did so far, see screen.h */
	struct smtp_dialect offered;     /* what EHLO said; nothing before it */
	enum hello hello;
	char *helo;        /* NULL while HELLO_NONE */
	bool mail_refused; /* the last MAIL or its chunks: what was pipelined behind is no new mistake */
	bool trusted;      /* the client: no checks */
	bool may_tell; /* XCLIENT and XFORWARD: who opened the connection, until it told of another */
	bool facts_waited; /* a check that may refuse waited for them */
	bool waiting;      /* for a command, without a transaction: may be ended at any time */
	nsec waiting_since;
	uint16_t mistakes;
	uint32_t unknown_recipients;
	uint32_t rate_answers; /* 450 because the client had its share */
	uint16_t unknown_commands;
	uint16_t idle_commands; /* since the last message: NOOP and the like */
	nsec mail_at;           /* when the last message ended; before it, the session's start */
	uint16_t fills;         /* reads since others were given a turn */
	uint32_t messages;
};

/* Starts a session on a connected socket, which is taken over whatever happens. The caller has entered the
 * client in the table, at `place`; the session's end (or failure) leaves it. */
void session_start(struct server *srv, size_t listen_index, int fd, const struct addr *client,
		   client_place place);

/* More input than what is pending: sends the replies that wait, then reads. As stream_fill; gives other
 * sessions a turn now and then. */
ssize_t session_fill(struct task *tk, struct session *s, nsec deadline);
int session_write(struct task *tk, struct session *s, str reply);
int session_answer(struct task *tk, struct session *s, enum answer a);
/* What the primary said. */
int session_pass_words(struct task *tk, struct session *s, const Locum__LiveAnswer *said);

/* Without a transaction, if there was one; and without what HELO or EHLO said. */
void session_end_transaction(struct session *s);
void session_forget_hello(struct session *s);

/* The client is another one, as somebody says who may: it is counted in the place of the former. ANSWER_NONE, or
 * why it may not come in; nothing changes then. */
enum answer session_become(struct session *s, const struct addr *client);
/* Everything that speaks for or against the client by now. */
uint64_t session_symbols(const struct session *s);

/* data.c: everything behind 354 up to the reply. 0: go on, or a negative errno that ends the session
 * (with *ret_last_words said before, ANSWER_NONE: nothing). The transaction is over either way. */
int session_receive(struct task *tk, struct session *s, enum answer *ret_last_words);

/* chunk.c: the octets behind a BDAT that was in order, and the reply. As session_receive; *ret_over: the
 * transaction is over. */
int session_take_chunk(struct task *tk, struct session *s, uint64_t bytes, bool last,
		       bool *ret_over, enum answer *ret_last_words);
/* Those behind one that was not: thrown away. -EFBIG: too many to do so. */
int session_skip_chunk(struct task *tk, struct session *s, uint64_t bytes);

const char *session_listener(const struct session *s);
/* As told by a trusted server, or as the client said; empty before HELO. */
const char *session_helo(const struct session *s);
