/*
 * outbound: how a domain's primary is reached: an idle connection from the pool, or every host of
 * its route in turn until one connects, greets and answers EHLO; in plain text where its TLS does
 * not work. Then tells it whose message comes (introduce.h) and delivers on it, begins a transaction
 * that goes step by step (live), or just says how it went (a probe).
 *
 * Sockets come from a `struct dialer`: netd in the process (dial.c), anything in tests and in the
 * simulator. All functions with tk park; struct outbound outlives every task that uses it.
 */
#pragma once

#include "proc/smtpout/introduce.h"
#include "proc/smtpout/plain.h"
#include "proc/smtpout/pool.h"
#include "proc/smtpout/tls_policy.h"
#include "proc/smtpout/transaction.h"

/* Dials of one attempt, whatever netd says about the length of a route. */
#define OUTBOUND_DIALS_MAX 64
/* From the question to the answer, less than spoold waits for it: it must not have to guess. */
#define OUTBOUND_DELIVERY_MAX (25 * NSEC_MINUTE)
#define OUTBOUND_PROBE_MAX (100 * NSEC_S)
/* A client waits for this: less than smtpin does (LIVE_ASK_MAX, 30 s). */
#define OUTBOUND_LIVE_MAX (25 * NSEC_S)
#define OUTBOUND_LIVE_ADDRESS_MAX (5 * NSEC_S)

struct dial_request {
	str domain;
	uint32_t start; /* which address of the route to begin with */
	uint64_t route; /* 0, or the one that this continues */
	nsec deadline;
	nsec address_wait; /* the longest for one address; 0: the dialer's own */
	bool sts;          /* not the route: the host of the domain's MTA-STS policy */
	str sts_id;        /* with sts: of the policy that is known */
};

/* What a dial found; the fields of the Dialed message, the texts in the arena of the asker. */
struct dialled {
	Locum__Attempt attempt; /* ANSWERED: fd is connected, and now the asker's */
	int fd;
	str text;
	str destination, host, address;
	uint32_t index, count;
	uint64_t route;
	str sts_id;  /* of the policy, where that was asked for */
	bool mx;     /* the host's name is from an MX record */
	bool secure; /* its name is beyond doubt: configured, or from an MX answer with DNSSEC */
	bool dane;   /* it has TLSA records; perhaps none that could be read */
	str tlsa_base;
	size_t tlsa_count;
	struct tls_tlsa tlsa[TLS_TLSA_MAX];
};

struct dialer {
	/* Connects to the first address of the domain's route that can be, from `start` on. Always
	 * sets *ret. */
	void (*dial)(struct task *tk, struct dialer *d, const struct dial_request *request,
		     struct arena *arena, struct dialled *ret);
};

/* What a new connection must wait for. */
struct gate {
	/* 0, or a negative errno: there is to be no new one, and the search ends. */
	int (*wait)(struct task *tk, struct gate *g);
};

struct outbound {
	struct loop *loop;
	struct dialer *dialer;
	struct ssl_ctx_st *tls; /* NULL: no STARTTLS */
	/* What the domain needs, in the arena; may park until the deadline. NULL: nothing. */
	void (*needs)(struct task *tk, struct outbound *o, str domain, nsec deadline,
		      struct arena *arena, struct tls_needs *ret);
	/* Takes note of what TLS came to on a new connection; may park briefly. NULL: nobody does. */
	void (*report)(struct task *tk, struct outbound *o, str domain,
		       const struct tlsrpt_session *session);
	/* conn_limits_delivery and conn_limits_live, but in tests */
	const struct conn_limits *limits, *live_limits;
	char our_name[CONN_HOST_MAX];
	struct pool pool;
	struct plain_hosts plain;
	struct introduce_refusals refusals;
};

/* Where an attempt ended: the host that took part last, or said the most. In the attempt's arena.
 * */
struct contact {
	Locum__Attempt attempt;
	str text;
	str destination, host, address;
	str tls_version, tls_cipher;
	const char *tls_verified; /* "dane", "pkix" or "no"; NULL without TLS */
	const char *tls_policy;   /* what demanded it: tls_source_name() */
	bool greeted;             /* it answered EHLO, or HELO: the next two say how */
	unsigned offers;          /* enum ehlo_extension; STARTTLS also once it was used */
	uint64_t size_bytes;
};

int outbound_init(struct outbound *o, struct loop *loop, struct dialer *dialer,
		  struct ssl_ctx_st *tls, str our_name);
/* QUIT to all idle connections, until the deadline. No task may use *o any more. */
void outbound_close(struct task *tk, struct outbound *o, nsec deadline);
void outbound_done(struct outbound *o);

/* Hands h over. h's outputs are set when *ret_contact says ANSWERED, REFUSING or LOST and a
 * transaction took place; otherwise its recipients stay as they were (OUTCOME_NONE). */
void outbound_deliver(struct task *tk, struct outbound *o, str domain, struct handover *h,
		      struct contact *ret_contact);
/* Says MAIL and RCPT for the recipients of h that are there, as outbound_deliver would, and leaves the
 * transaction open. On a connection of the pool at once, on a new one through the gate. 0: every recipient was answered or is lacking, *t goes on. Else *t is over and
 * *ret_contact says why: -EHOSTUNREACH, where no host got so far; -EOPNOTSUPP, where all recipients
 * are lacking; or the error of the transaction. The contact's texts are in `arena`. */
int outbound_begin(struct task *tk, struct outbound *o, str domain, struct handover *h,
		   struct gate *gate, struct arena *arena, struct transaction *t,
		   struct contact *ret_contact);
/* Ends *t and gives its connection back. */
void outbound_end(struct task *tk, struct outbound *o, struct transaction *t);
/* Is the primary there and does it answer EHLO? Always by a new connection, which the pool keeps.
 * */
void outbound_probe(struct task *tk, struct outbound *o, str domain, struct arena *arena,
		    struct contact *ret_contact);
