/*
 * offers: what the primaries said they can do when they were last seen, and how they are now, as spoold tells it
 * (PrimaryOffers); and what we may therefore announce ourselves: docs/decisions/0005 has the
 * reasons. One struct a process, in struct server. Nothing here parks.
 *
 * Bounded by the configured domains: spoold says no others, and begins anew (`first`) whenever its
 * configuration changes. A domain that was never said, or without the time when it was seen, is
 * one whose primary was never seen.
 */
#pragma once

#include "base/map.h"
#include "conf/conf.h"
#include "ipc/locum.pb-c.h"
#include "smtp/command.h"
#include "smtp/ehlo.h"

/* More than any configuration that could be held in memory a dozen times. */
#define OFFERS_DOMAINS_MAX 1000000

/* What we put above a body before a primary gets it: a message that fills its SIZE would be too large by that. */
#define OFFER_HEADERS_BYTES 4096

/* Of one domain's primary. */
struct offer {
	unsigned offers; /* enum ehlo_extension; EHLO_STARTTLS too when it was spoken to over TLS */
	uint64_t size_bytes;       /* of a body, without our headers; 0: it did not say */
	Locum__PrimaryState state; /* as spoold sees it now */
	uint64_t destination;      /* equal numbers: one primary; 0: not known */
};

/* What depends on the primaries. The rest is ours alone and always announced. */
struct announced {
	/* smtputf8, requiretls: at least one primary offers it; dsn, binarymime: every primary was
	 * seen and offers it. The rest is false: not for the primaries to say. */
	struct smtp_dialect dialect;
	uint64_t size_bytes; /* the smaller of ours and the largest that a primary takes */
};

struct offers {
	struct map by_domain;
	/* what was counted last, until something changes */
	bool counted;
	struct conf *counted_for; /* a reference */
	struct announced announced;
};

void offers_init(struct offers *o);
void offers_done(struct offers *o);

/* What spoold sent. 0 or -ENOMEM: what did not fit counts as never seen. */
int offers_update(struct offers *o, const Locum__PrimaryOffers *said);
/* Of the domain, case ignored. False: its primary was never seen, and offers nothing; of one that spoold never spoke of
 * all is zero. */
bool offers_of(const struct offers *o, str domain, struct offer *ret_offer);
/* Does it offer all of these (enum ehlo_extension, or-ed)? */
static inline bool offer_has(const struct offer *o, unsigned extensions)
{
	return (o->offers & extensions) == extensions;
}
/* Cheap when nothing changed since the last call; otherwise a walk over all domains. */
void offers_announced(struct offers *o, struct conf *conf, struct announced *ret_announced);
