/*
 * patience: who keeps coming back although it is told to use the better MX (acceptance = defer): its own way to the
 * primary must be cut. A client, its reverse-path and the recipient are one entry; after PATIENCE_TRIES tries, the
 * last of them PATIENCE_TIME or more after the first, it is patient, and stays so while it comes at least once in
 * PATIENCE_KEPT. Pure: time comes in.
 *
 * Bounded: PATIENCE_ENTRIES of 24 bytes, in buckets of which the one that was heard of least recently makes room. Who is
 * forgotten begins anew: a flood makes the patient wait longer, and lets nobody in. One table a process: a client that
 * is served by two of them in turn has to come a few times more.
 */
#pragma once

#include "base/addr.h"

#define PATIENCE_TRIES 3
#define PATIENCE_TIME (10 * NSEC_MINUTE)
#define PATIENCE_KEPT (2 * NSEC_DAY)
#define PATIENCE_ENTRIES 65536

struct patience;

/* seed: random, for the keys come from strangers. 0 or -ENOMEM. */
int patience_new(const uint64_t seed[2], struct patience **ret_patience);
void patience_free(struct patience *p);
/* It came at `now`: is it patient? An IPv4 client counts as its /24, an IPv6 one as its /64: large senders come from
 * several addresses. */
bool patience_try(struct patience *p, const struct addr *client, str reverse_path, str recipient,
		  nsec now);
