#include "dns/route.h"

#include <stdio.h>

const char *route_reason_name(enum route_reason reason)
{
	switch (reason) {
	case ROUTE_OK:
		return "ok";
	case ROUTE_BEST_IS_US:
		return "best-is-us";
	case ROUTE_NOTHING_BETTER:
		return "nothing-better";
	case ROUTE_NULL_MX:
		return "null-mx";
	case ROUTE_NO_DOMAIN:
		return "no-domain";
	case ROUTE_NO_ADDRESS:
		return "no-address";
	case ROUTE_TROUBLE:
		return "dns-trouble";
	}
	return "?";
}

static void explain_best_is_us(const struct route *r, str domain, char *text, size_t size)
{
	const char *how = r->us_by_address ? "us, by its address" : "us";

	if (!r->mx)
		snprintf(text, size,
			 "primary %s of %.*s is this host itself: nowhere to deliver to",
			 r->subject, STR_ARG(domain));
	else if (r->implicit)
		snprintf(text, size,
			 "%.*s has no MX records and its own address is ours: nothing better to "
			 "deliver to",
			 STR_ARG(domain));
	else
		snprintf(
			text, size,
			"MX records of %.*s name %s (%s) as the best: nothing better to deliver to",
			STR_ARG(domain), r->subject, how);
}

void route_explain(const struct route *r, str domain, char *ret_text, size_t size)
{
	ret_text[0] = '\0';
	switch (r->reason) {
	case ROUTE_OK:
		snprintf(ret_text, size, "%.*s: %s%s", STR_ARG(domain), r->key,
			 r->mx && !r->implicit && !r->we_are_listed ? " (no MX record names us)"
								    : "");
		return;
	case ROUTE_BEST_IS_US:
		explain_best_is_us(r, domain, ret_text, size);
		return;
	case ROUTE_NOTHING_BETTER:
		snprintf(ret_text, size,
			 "none of the MX hosts of %.*s that are better than %s (us) has a usable "
			 "address",
			 STR_ARG(domain), r->subject);
		return;
	case ROUTE_NULL_MX:
		snprintf(ret_text, size, "%.*s says by a null MX record that it accepts no mail",
			 STR_ARG(domain));
		return;
	case ROUTE_NO_DOMAIN:
		snprintf(ret_text, size, "%.*s does not exist in DNS", STR_ARG(domain));
		return;
	case ROUTE_NO_ADDRESS:
		if (r->implicit)
			snprintf(ret_text, size, "%.*s has no MX records and no usable address",
				 STR_ARG(domain));
		else if (r->mx)
			snprintf(ret_text, size, "no MX host of %.*s has a usable address",
				 STR_ARG(domain));
		else
			snprintf(ret_text, size, "primary %s of %.*s has no usable address",
				 r->subject, STR_ARG(domain));
		return;
	case ROUTE_TROUBLE:
		snprintf(ret_text, size,
			 "DNS gives no answer about %s%.*s (time-out, SERVFAIL or bogus)",
			 r->subject[0] ? r->subject : "the MX records of ",
			 r->subject[0] ? 0 : (int)domain.n, domain.p);
		return;
	}
}
