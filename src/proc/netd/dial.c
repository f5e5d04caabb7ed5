#include "proc/netd/dial.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "net/connect.h"
#include "task/sys.h"

#include <stdio.h>

#define ORDER_BITS 16 /* of a route number: the seed of the order; the generation is above */
#define ORDER_MASK (((uint64_t)1 << ORDER_BITS) - 1)

static void add_text(struct dialled *d, const char *more)
{
	size_t n = strlen(d->text);

	snprintf(d->text + n, sizeof(d->text) - n, "%s%s", n ? "; " : "", more);
}

/* The last error of each host is told: "mail.a [192.0.2.1]:25: Connection refused". */
static void add_error(struct dialled *d, const struct route_hop *hop, const char *address,
		      int error)
{
	char one[DNS_NAME_SIZE + ADDR_TEXT_SIZE + 64];

	snprintf(one, sizeof(one), "%s (%s): %s", hop->host, address, strerror(-error));
	add_text(d, one);
}

static void add_tlsa(struct dialled *d, const struct route_hop *hop)
{
	d->mx = hop->mx;
	d->secure = hop->secure;
	if (hop->dane != DANE_RECORDS)
		return;
	d->dane = LOCUM__DANE__DANE_RECORDS;
	str_copy(str_of(hop->base), d->base, sizeof(d->base));
	d->tlsa = *hop->tlsa;
}

static void try_addresses(struct task *tk, const struct known_route *k, uint32_t start,
			  nsec address_wait, nsec deadline, struct dialled *d)
{
	struct route_try try[ROUTE_ADDRESSES_MAX];
	const struct route *route = k->route;
	char address[ADDR_TEXT_SIZE];
	nsec wait = address_wait > 0 ? MIN(address_wait, DIAL_ADDRESS_WAIT) : DIAL_ADDRESS_WAIT;
	int r = 0;

	d->count = (uint32_t)route_order(route, d->route & ORDER_MASK, try);
	d->attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
	for (uint32_t i = start; i < d->count; i++) {
		const struct route_hop *hop = &route->hop[try[i].hop];
		const struct addr *a = &route->address[try[i].address];
		nsec until = MIN(task_in(tk, wait), deadline);

		addr_text(a, address);
		r = net_connect(tk, a, until, &d->fd);
		if (r == 0) {
			d->attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
			d->index = i;
			d->text[0] = '\0';
			str_copy(str_of(hop->host), d->host, sizeof(d->host));
			str_copy(str_of(address), d->address, sizeof(d->address));
			add_tlsa(d, hop);
			return;
		}
		log_debug("dial.failed", K_Z("host", hop->host), K_Z("address", address), K_ERR(r));
		if (r == -ECANCELED)
			break;
		if (i + 1 == d->count || try[i + 1].hop != try[i].hop)
			add_error(d, hop, address, r);
		if (deadline <= task_now(tk)) {
			add_text(d, "no time left for the rest");
			break;
		}
	}
	if (start >= d->count)
		add_text(d, "no address of the route is left");
}

static Locum__Attempt attempt_of(enum route_reason reason)
{
	switch (reason) {
	case ROUTE_OK:
		return LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE; /* until connected */
	case ROUTE_TROUBLE:
		return LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE;
	case ROUTE_BEST_IS_US:
	case ROUTE_NOTHING_BETTER:
	case ROUTE_NULL_MX:
	case ROUTE_NO_DOMAIN:
	case ROUTE_NO_ADDRESS:
		return LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE;
	}
	return LOCUM__ATTEMPT__ATTEMPT_NONE;
}

static void explain_error(str domain, int error, struct dialled *d)
{
	d->attempt = LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE;
	if (error == -ENOENT) {
		d->attempt = LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE;
		snprintf(d->text, sizeof(d->text), "%.*s is not a configured domain",
			 STR_ARG(str_first(domain, DNS_NAME_SIZE)));
	} else if (error == -ECANCELED) {
		d->attempt = LOCUM__ATTEMPT__ATTEMPT_NONE;
		snprintf(d->text, sizeof(d->text), "netd is ending");
	} else {
		snprintf(d->text, sizeof(d->text), "looking up %.*s: %s", STR_ARG(domain),
			 strerror(-error));
	}
}

/* An order that continues the asker's, or a fresh one. */
static uint64_t choose_order(const struct known_route *k, uint64_t route, uint32_t *start)
{
	uint16_t seed;

	if (route >> ORDER_BITS == k->generation)
		return route;
	*start = 0;
	sys_random(&seed, sizeof(seed));
	return k->generation << ORDER_BITS | seed;
}

void dial(struct task *tk, struct routes *rs, str domain, uint32_t start, uint64_t route,
	  nsec address_wait, struct dialled *ret)
{
	_cleanup_(known_route_unrefp) struct known_route *k = NULL;
	nsec deadline = task_in(tk, DIAL_WAIT);
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	r = routes_get(tk, rs, domain, deadline, &k);
	if (r < 0) {
		explain_error(domain, r, ret);
		return;
	}
	str_copy(str_of(k->route->key), ret->destination, sizeof(ret->destination));
	ret->route = choose_order(k, route, &start);
	ret->attempt = attempt_of(k->route->reason);
	if (k->route->reason != ROUTE_OK) {
		route_explain(k->route, domain, ret->text, sizeof(ret->text));
		return;
	}
	try_addresses(tk, k, start, address_wait, deadline, ret);
}
