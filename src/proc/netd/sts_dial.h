/*
 * sts_dial: a connected socket to the host that holds a domain's MTA-STS policy (RFC 8461 §3.3), mta-sts.DOMAIN port 443,
 * where the domain says by its TXT record that it has one. Only for domains of the configuration whose mail goes by
 * their MX records.
 */
#pragma once

#include "proc/netd/dial.h"

/* known: the id that the asker has a policy for; where it still holds nothing is dialled: ANSWERED without a socket.
 * NO_ROUTE: no policy is published. ret->sts_id in the other cases. Fills *ret in any case; its fd is the caller's. */
void dial_policy(struct task *tk, struct resolver *resolver, const struct conf *conf, str domain,
		 str known, struct dialled *ret);
