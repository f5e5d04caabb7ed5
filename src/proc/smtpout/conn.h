/*
 * conn: one SMTP connection to a host of a primary, from the connected socket to QUIT (RFC 5321
 * §3.1, STARTTLS by RFC 3207). Knows nothing of how the socket came to be, nor of messages:
 * transaction.h hands one over.
 *
 * The host is hostile: replies are bounded (smtp/reply.h), every await has its limit. Owned by one
 * task at a time; while idle by the pool. Nothing here logs: `why` says in words what happened
 * last, for the log and the operator.
 */
#pragma once

#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "net/stream.h"
#include "net/tls_verify.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"

struct ssl_ctx_st;

#define CONN_TEXT_MAX 600
#define CONN_HOST_MAX 256
/* Of the body at once. */
#define CONN_CHUNK_BYTES (64 * 1024)

/* How long each step may take; RFC 5321 §4.5.3.2 names the least for deliveries. */
struct conn_limits {
	nsec greeting, command, tls, data, block, final;
};

extern const struct conn_limits conn_limits_delivery, conn_limits_probe, conn_limits_live;

/* Whom the socket is connected to. */
struct conn_peer {
	str destination; /* key of the destination: which connections may replace each other */
	str host;
	str address; /* textual IP and port */
};

/* What TLS must be before anything else is said. */
enum tls_demand {
	TLS_MAY,     /* as much as can be had, none if need be (RFC 7435) */
	TLS_ENCRYPT, /* never plain text */
	TLS_VERIFY,  /* nor with a host that is not the one expected */
};

/* TLS as one connection wants it; NULL context: none. All of it is the opener's, and read by conn_open only. */
struct conn_tls {
	struct ssl_ctx_st *context;
	enum tls_demand demand;
	bool may_be_anybody;             /* where all TLSA records turn out to be malformed */
	const char *because;             /* who demands it, in words: "DANE" */
	const struct tls_expect *expect; /* NULL: the host's name, if it has one */
};

/* How far TLS came on a connection, whatever that was worth. */
enum conn_tls_state {
	CONN_TLS_UNTRIED, /* not wanted, or the connection did not get that far */
	CONN_TLS_NONE,    /* not offered, or refused */
	CONN_TLS_BROKEN,  /* the handshake failed, or nothing could be read behind it */
	CONN_TLS_DONE,    /* verdict says with whom */
};

struct conn {
	struct stream stream;
	struct reply reply; /* the last one */
	struct ehlo ehlo;
	struct ehlo first_ehlo; /* before introduce.h made the session another client's */
	const struct conn_limits *limits;
	nsec ends;   /* whatever the limits allow, no step lasts past it */
	char *chunk; /* CONN_CHUNK_BYTES of the body that is being sent; NULL before the first */
	char *destination;
	char host[CONN_HOST_MAX];
	char address[ADDR_TEXT_SIZE];
	unsigned transactions; /* so far */
	bool greeted;          /* answered EHLO or HELO: ehlo is what it said */
	bool reused;           /* came from the pool: may have died there */
	bool reset_first;      /* an unfinished transaction must be ended by RSET */
	bool broken;           /* not to be spoken on any more */
	bool mx;               /* its name is from an MX record */
	bool named_host;       /* verified by PKIX it is for the host's own name */
	bool secure_name;      /* the host's name is beyond doubt (struct dialled) */
	const char *policy;    /* what demanded TLS: tls_source_name(); NULL: nobody asked */
	struct tls_verdict verdict;
	enum conn_tls_state tls;
	/* of introduce.h: the XCLIENT commands that made the session another client's; NULL: it is ours.
	 * And the attributes that were offered for it. */
	char *introduced;
	unsigned introduced_with;
	/* XFORWARD commands that wait in the output to leave with MAIL: the replies to them come before its own,
	 * and whether one of those said no. */
	unsigned forwards;
	bool forward_refused;
	char why[CONN_TEXT_MAX];
	/* of the pool */
	struct list idle;
	struct map_link by_destination;
	nsec idle_until;
};

enum conn_result {
	CONN_READY,
	CONN_REFUSED,     /* it speaks SMTP and does not want us now */
	CONN_SILENT,      /* it does not: time-out, end of file, nonsense */
	CONN_TLS_FAILED,  /* the handshake failed: worth another try in plain text */
	CONN_TLS_LACKING, /* it does not give the TLS that is demanded: nothing was said to it */
};

/* Takes fd over, on success only. 0 or a negative errno. */
int conn_new(struct loop *loop, int fd, const struct conn_peer *peer, struct conn **ret_conn);
/* Closes at once. */
void conn_free(struct conn *c);
void conn_freep(struct conn **c);

/* Greeting, EHLO (HELO where EHLO is refused), STARTTLS where offered, EHLO again. Where TLS is not demanded a
 * refused STARTTLS is gone without. */
enum conn_result conn_open(struct task *tk, struct conn *c, const char *our_name,
			   const struct conn_limits *limits, const struct conn_tls *tls);
/* Reads one reply into c->reply. 0, -ENODATA at end of file, -EPROTO or -EMSGSIZE for what is no
 * reply, or the stream's error. */
int conn_reply(struct task *tk, struct conn *c, nsec deadline);
/* Says one line, without its CRLF, and reads the reply. 0, or an error of the stream or of conn_reply. */
int conn_exchange(struct task *tk, struct conn *c, str line);
/* QUIT, and a short wait for the answer; then closes and frees. */
void conn_quit(struct task *tk, struct conn *c);

/* Sets c->why: "HOST[ADDRESS]: what went wrong at STEP". */
void conn_explain_error(struct conn *c, int error, const char *step);
/* Sets c->why: "HOST[ADDRESS] said to STEP: 550 no". */
void conn_explain_reply(struct conn *c, const char *step);
