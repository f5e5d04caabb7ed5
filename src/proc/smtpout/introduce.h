/*
 * introduce: before MAIL, tells a host who the client was that brought the message: by XCLIENT where it
 * offers that, else by XFORWARD (Postfix XCLIENT_README, XFORWARD_README).
 *
 * After XCLIENT the session starts anew, as if that client had connected: greeting, EHLO; not
 * STARTTLS, the TLS session stays. EHLO is said with the client's own name, because that is the one
 * the host judges; the HELO attribute is for those that only log. An address is told last, so that a
 * host that trusts by address hears the rest first; Postfix does, and so takes no second client on a
 * connection, which then serves the messages of one. Where XCLIENT is offered again the next client is
 * introduced on the same connection; every attribute is told each time, so that nothing of the one
 * before is left. XFORWARD holds
 * for one transaction and changes nothing else; with PIPELINING it waits in the output and leaves with MAIL
 * (c->forwards replies come before that of MAIL).
 *
 * Parks; every await has the limits of the connection. Nothing here logs.
 */
#pragma once

#include "proc/smtpout/plain.h"
#include "proc/smtpout/transaction.h"
#include "smtp/attributes.h"

/* A host that does not let us say it is not asked again for so long. */
#define INTRODUCE_REFUSED_TIME NSEC_HOUR

/* What may be told. The values outlive the call. */
struct introduction {
	bool xclient, xforward; /* which verbs may be used */
	struct smtp_attributes client, forwarded;
};

/* Hosts that refused the one or the other. */
struct introduce_refusals {
	struct plain_hosts xclient, xforward;
};

enum introduced {
	INTRODUCED,          /* or there was nothing to say: MAIL may follow */
	INTRODUCE_ELSEWHERE, /* not on this connection, which is of no use any more: a fresh one */
	INTRODUCE_JUDGED,  /* c->reply is the host's word about the client, and so on the message */
	INTRODUCE_CLOSING, /* 421 that is not about the client */
	INTRODUCE_LOST,    /* the connection broke, or what it said is not SMTP */
	INTRODUCE_HUNG_UP, /* it broke in answer to XCLIENT: perhaps a word about the client too */
};

/* Makes `who` of an envelope; strings point into it and into `arena`. 0 or -ENOMEM. */
int introduction_make(const Locum__Envelope *e, struct arena *arena, struct introduction *ret_who);

/* who NULL: nobody may be told. Behind everything but INTRODUCED the connection is of no use, and
 * c->why says why. */
enum introduced introduce(struct task *tk, struct conn *c, str our_name,
			  const struct introduction *who, struct introduce_refusals *refusals);
/* What the last four mean for a message: sets attempt, text and outcomes of *h as a transaction does.
 * After HUNG_UP it is deferred: what makes its receiver hang up must not always be first. */
void introduce_settle(const struct conn *c, enum introduced how, struct handover *h);
