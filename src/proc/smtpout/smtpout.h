/*
 * smtpout: the process that speaks SMTP to primaries. This is its state and what its parts tell
 * each other; start reading in README.md. One Deliver or Probe is one task; it names the peers only
 * through this struct, since either may be gone after an await.
 */
#pragma once

#include "proc/smtpout/live.h"
#include "proc/smtpout/sts_cache.h"
#include "proc/worker.h"
#include "smtp/evidence.h"

struct smtpout {
	struct loop *loop;
	struct channel *netd; /* NULL while it is away */
	struct signal netd_came;
	nsec netd_wait;         /* how long a question waits for it: DIAL_NETD_WAIT, but in tests */
	struct channel *spoold; /* NULL while it is away */
	struct channel *state;  /* likewise */
	uint64_t spoold_life;   /* counts its restarts: replies go to the one that asked */
	struct dialer dialer;
	struct ssl_ctx_st *tls;
	struct conf *const *conf; /* the newest */
	char *tls_ca;             /* path of the authorities that are in use */
	struct outbound outbound;
	uint8_t evidence_key[EVIDENCE_KEY_BYTES];
	bool has_evidence_key; /* locumd sent it */
	struct sts_cache sts;
	struct lives lives;
	const struct worker *worker; /* whose conf is the newest */
	struct group jobs;
	bool stopping;
};

extern const struct worker_hooks smtpout_hooks;

/* A netd that is being started or restarted says nothing about the primary: it is waited for. */
#define DIAL_NETD_WAIT (10 * NSEC_S)

/* dial.c: the dialer that asks netd. */
void dial_by_netd(struct task *tk, struct dialer *d, const struct dial_request *request,
		  struct arena *arena, struct dialled *ret);

/* deliver.c and probe.c: each takes what it needs from the message and starts a task that replies.
 * 0, or the error that kept it from that. */
int deliver_start(struct smtpout *so, struct ipc_message *m);
int probe_start(struct smtpout *so, struct ipc_message *m);

/* Whom the domain's primary may be told to have brought the message; *ret_who is `who`, or NULL: nobody.
 * 0 or -ENOMEM. */
int smtpout_introduction(const struct smtpout *so, const Locum__Envelope *e, const char *domain,
			 struct arena *arena, struct introduction *who,
			 const struct introduction **ret_who);
/* What signs the evidence for the domain's primary; NULL: it gets none. */
const uint8_t *smtpout_evidence_key(const struct smtpout *so, const char *domain);
/* Sends a reply to the spoold that asked, if it is still there. */
void smtpout_reply(struct task *tk, struct smtpout *so, uint64_t life, uint64_t call,
		   Locum__Packet *packet);
/* `to`'s strings are those of the contact. */
void smtpout_fill_host(Locum__Host *to, const struct contact *contact);
