/*
 * recipient: do we take mail for this forward-path, and what do we call it from here on? A pure
 * function of the configuration.
 */
#pragma once

#include "conf/conf.h"
#include "smtp/path.h"

enum recipient_verdict {
	RECIPIENT_TAKEN,
	RECIPIENT_NOT_OURS, /* no domain of ours */
	RECIPIENT_ROUTED, /* our domain, and the local part says a way from there (docs/decisions/0007) */
	RECIPIENT_UNKNOWN, /* our domain, and its list does not name this user */
};

struct recipient {
	const struct conf_domain *domain; /* for RECIPIENT_NOT_OURS: NULL */
	str address; /* a view into the path, or into the text that was handed in */
};

/* Postmaster (RFC 5321 §4.5.1) of every domain is taken, listed or not; bare, or at a name of our own, it
 * is the first configured domain's. */
enum recipient_verdict recipient_check(const struct conf *c, const struct smtp_path *path,
				       char text[static SMTP_PLAIN_SIZE], struct recipient *ret);
