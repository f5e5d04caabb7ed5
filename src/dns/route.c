#include "dns/route.h"

#include "base/cleanup.h"
#include "base/crc32c.h"

#include <stdio.h>

#define PORT_SMTP 25

/* What one source left behind. */
struct verdict {
	enum route_reason reason; /* ROUTE_OK: something usable was added */
	char subject[DNS_NAME_SIZE];
	bool us_by_address;
};

/* --- who is us --- */

static bool name_is_ours(const struct route_self *self, str name)
{
	for (size_t i = 0; i < self->name_count; i++)
		if (dns_name_same(self->names[i], name))
			return true;
	return false;
}

static bool address_is_ours(const struct route_self *self, const struct addr *a)
{
	for (size_t i = 0; i < self->address_count; i++)
		if (addr_same_ip(&self->addresses[i], a))
			return true;
	for (size_t i = 0; i < self->listen_count; i++)
		if (!addr_is_any(&self->listens[i]) && addr_same_ip(&self->listens[i], a))
			return true;
	return false;
}

static bool is_loopback(const struct addr *a)
{
	static const uint8_t six[16] = { [15] = 1 };

	return a->family == AF_INET ? a->ip[0] == 127 : memcmp(a->ip, six, sizeof(six)) == 0;
}

/* Would a connection to this address and port come back to us? */
static bool is_our_listener(const struct route_self *self, const struct addr *a)
{
	for (size_t i = 0; i < self->listen_count; i++) {
		const struct addr *l = &self->listens[i];

		if (l->port != a->port)
			continue;
		if (addr_same_ip(l, a))
			return true;
		/* "::" takes IPv4 too. */
		if (addr_is_any(l) && (l->family == AF_INET6 || a->family == AF_INET) &&
		    (is_loopback(a) || address_is_ours(self, a)))
			return true;
	}
	return false;
}

static bool listens_at_port(const struct route_self *self, uint16_t port)
{
	for (size_t i = 0; i < self->listen_count; i++)
		if (self->listens[i].port == port)
			return true;
	return false;
}

/* MX records have no ports: at port 25 an address alone is an identity (our own listener may hide
 * behind NAT on another port). Where the operator named another port, it has to be ours as well. */
static bool mx_is_us(const struct route_self *self, const struct route_host *h,
		     bool *ret_by_address)
{
	*ret_by_address = false;
	if (name_is_ours(self, str_of(h->name)))
		return true;
	for (size_t i = 0; i < h->address_count; i++) {
		if (h->port == PORT_SMTP ? address_is_ours(self, &h->address[i])
					 : is_our_listener(self, &h->address[i])) {
			*ret_by_address = true;
			return true;
		}
	}
	return false;
}

static bool explicit_is_us(const struct route_self *self, const struct route_host *h)
{
	if (name_is_ours(self, str_of(h->name)) && listens_at_port(self, h->port))
		return true;
	for (size_t i = 0; i < h->address_count; i++)
		if (is_our_listener(self, &h->address[i]))
			return true;
	return false;
}

/* --- collecting hops --- */

static bool has_address(const struct route *r, const struct addr *a)
{
	for (size_t i = 0; i < r->address_count; i++)
		if (addr_same_ip(&r->address[i], a) && r->address[i].port == a->port)
			return true;
	return false;
}

/* Its addresses, or what they need beside them, are not known. */
static bool is_trouble(const struct route_host *h)
{
	return h->status == DNS_TROUBLE || h->dane == DANE_TROUBLE;
}

/* Without memory for them the host is not used rather than trusted blindly. */
static void add_tlsa(struct route_hop *hop, const struct route_host *h)
{
	hop->dane = h->dane;
	if (h->dane != DANE_RECORDS)
		return;
	str_copy(str_of(h->base), hop->base, sizeof(hop->base));
	hop->tlsa = malloc(sizeof(*hop->tlsa));
	if (hop->tlsa)
		*hop->tlsa = *h->tlsa;
	else
		hop->dane = DANE_TROUBLE;
}

/* The host survived. One that DNS had trouble with stays as a hop without addresses: it belongs to
 * the destination, and we will ask again. */
static void add_hop(struct route *r, const struct route_host *h, const struct route_source *s,
		    uint8_t rank)
{
	struct route_hop *hop = &r->hop[r->hop_count++];
	bool usable;

	*hop = (struct route_hop){
		.preference = h->preference,
		.port = h->port,
		.rank = rank,
		.address_from = (uint8_t)r->address_count,
		.mx = s->mx,
		.secure = !s->mx || s->secure,
	};
	str_copy(str_of(h->name), hop->host, sizeof(hop->host));
	add_tlsa(hop, h);
	usable = hop->dane != DANE_TROUBLE;
	for (size_t i = 0; usable && i < h->address_count && r->address_count < ROUTE_ADDRESSES_MAX;
	     i++) {
		if (has_address(r, &h->address[i]))
			continue;
		r->address[r->address_count++] = h->address[i];
		hop->address_count++;
	}
	r->ttl = MIN(r->ttl, h->ttl);
	r->partial = r->partial || h->partial || !usable || is_trouble(h);
}

static void verdict_set(struct verdict *v, enum route_reason reason, str subject)
{
	v->reason = reason;
	str_copy(subject, v->subject, sizeof(v->subject));
}

/* Best first: (source, preference, name), so that the result does not depend on the order of the
 * answer. */
static bool comes_before(const struct route_host *a, const struct route_host *b)
{
	if (a->source != b->source)
		return a->source < b->source;
	if (a->preference != b->preference)
		return a->preference < b->preference;
	return strcasecmp(a->name, b->name) < 0;
}

static void sort_hosts(const struct route_plan *plan, uint8_t ret_order[static ROUTE_HOSTS_MAX])
{
	for (size_t i = 0; i < plan->host_count; i++) {
		size_t at = i;

		for (; at > 0 && comes_before(&plan->host[i], &plan->host[ret_order[at - 1]]); at--)
			ret_order[at] = ret_order[at - 1];
		ret_order[at] = (uint8_t)i;
	}
}

/* A slice of the sorted hosts: those of one source. */
struct hosts {
	const struct route_plan *plan;
	const uint8_t *order;
	size_t count;
};

static const struct route_host *host_at(const struct hosts *hosts, size_t i)
{
	return &hosts->plan->host[hosts->order[i]];
}

/* How many of the hosts, best first, are of better preference than ourselves (RFC 5321 §5.1). */
static size_t count_better(const struct hosts *hosts, const struct route_self *self,
			   struct route *r, struct verdict *v)
{
	const struct route_host *limit = NULL;
	bool by_address;

	for (size_t i = 0; i < hosts->count && !limit; i++) {
		if (!mx_is_us(self, host_at(hosts, i), &by_address))
			continue;
		limit = host_at(hosts, i);
		r->we_are_listed = true;
		v->us_by_address = by_address;
		verdict_set(v, ROUTE_BEST_IS_US, str_of(limit->name));
	}
	/* We appear nowhere: either DNS lies, or we are the host whose address it failed to give.
	 * What may be us is treated as us, so that two backups never pass mail in a circle. */
	for (size_t i = 0; i < hosts->count && !limit; i++) {
		if (host_at(hosts, i)->status != DNS_TROUBLE)
			continue;
		limit = host_at(hosts, i);
		verdict_set(v, ROUTE_TROUBLE, str_of(limit->name));
	}
	for (size_t i = 0; limit && i < hosts->count; i++)
		if (host_at(hosts, i)->preference >= limit->preference)
			return i;
	return hosts->count;
}

/* The hosts of one MX answer, or the domain itself in their place. */
static void use_mx(const struct hosts *hosts, const struct route_self *self, struct route *r,
		   uint8_t *rank, struct verdict *v)
{
	size_t better, from = r->address_count;
	const struct route_host *h, *trouble = NULL;

	better = count_better(hosts, self, r, v);
	if (v->reason == ROUTE_TROUBLE)
		r->partial = true;
	for (size_t i = 0; i < better; i++) {
		h = host_at(hosts, i);
		if (is_trouble(h))
			trouble = trouble ? trouble : h;
		if (i > 0 && h->preference != host_at(hosts, i - 1)->preference)
			(*rank)++;
		if (h->status == DNS_TROUBLE || h->address_count)
			add_hop(r, h, &hosts->plan->source[h->source], *rank);
	}
	(*rank)++;
	if (r->address_count > from)
		v->reason = ROUTE_OK;
	else if (trouble)
		verdict_set(v, ROUTE_TROUBLE, str_of(trouble->name));
	else if (v->reason == ROUTE_BEST_IS_US && better > 0)
		v->reason = ROUTE_NOTHING_BETTER;
}

static void use_mx_source(const struct hosts *hosts, const struct route_source *s,
			  const struct route_self *self, struct route *r, uint8_t *rank,
			  struct verdict *v)
{
	r->mx = true;
	r->implicit = r->implicit || s->implicit;
	r->ttl = MIN(r->ttl, s->ttl);
	if (s->status == DNS_TROUBLE) {
		r->partial = true;
		verdict_set(v, ROUTE_TROUBLE, STR_NONE);
	} else if (s->status == DNS_NO_DOMAIN) {
		verdict_set(v, ROUTE_NO_DOMAIN, STR_NONE);
	} else if (s->null_mx) {
		verdict_set(v, ROUTE_NULL_MX, STR_NONE);
	} else {
		verdict_set(v, ROUTE_NO_ADDRESS, STR_NONE);
		use_mx(hosts, self, r, rank, v);
	}
}

static void use_explicit(const struct route_host *h, const struct route_source *s,
			 const struct route_self *self, struct route *r, uint8_t *rank,
			 struct verdict *v)
{
	size_t from = r->address_count;

	if (explicit_is_us(self, h)) {
		verdict_set(v, ROUTE_BEST_IS_US, str_of(h->name));
		return;
	}
	verdict_set(v, is_trouble(h) ? ROUTE_TROUBLE : ROUTE_NO_ADDRESS, str_of(h->name));
	if (h->status == DNS_TROUBLE || h->address_count)
		add_hop(r, h, s, (*rank)++);
	if (r->address_count > from)
		v->reason = ROUTE_OK;
}

/* --- the key --- */

static void make_key(struct route *r)
{
	size_t n = 0, text_max = ROUTE_KEY_SIZE - sizeof("#12345678");
	char one[DNS_NAME_SIZE + 16];
	uint32_t crc = 0;
	bool cut = false;
	int length;

	for (size_t i = 0; i < r->hop_count; i++) {
		const struct route_hop *hop = &r->hop[i];
		bool six = strchr(hop->host, ':') != NULL;

		length = snprintf(one, sizeof(one), "%s%s%s%s:%u", i ? "," : "", six ? "[" : "",
				  hop->host, six ? "]" : "", hop->port);
		crc = crc32c(crc, str_mem(one, (size_t)length));
		cut = cut || n + (size_t)length > text_max;
		if (!cut) {
			memcpy(r->key + n, one, (size_t)length);
			n += (size_t)length;
		}
	}
	r->key[n] = '\0';
	if (cut)
		snprintf(r->key + n, ROUTE_KEY_SIZE - n, "#%08x", crc);
}

/* --- putting it together --- */

static struct route *route_new(void)
{
	_cleanup_(route_freep) struct route *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->hop = calloc(ROUTE_HOSTS_MAX, sizeof(*r->hop));
	r->address = calloc(ROUTE_ADDRESSES_MAX, sizeof(*r->address));
	if (!r->hop || !r->address)
		return NULL;
	r->ttl = UINT32_MAX;
	return TAKE(r);
}

/* Gives back what the bounds reserved; a route is kept for every domain. */
static void route_shrink(struct route *r)
{
	void *smaller;

	smaller = realloc(r->hop, MAX(r->hop_count, (size_t)1) * sizeof(*r->hop));
	if (smaller)
		r->hop = smaller;
	smaller = realloc(r->address, MAX(r->address_count, (size_t)1) * sizeof(*r->address));
	if (smaller)
		r->address = smaller;
}

/* Trouble outweighs every certainty, since the part we did not see may hold the way; else the
 * operator's first choice explains why. */
static void conclude(struct route *r, const struct verdict *v, bool first)
{
	if (r->reason == ROUTE_OK && !first)
		return;
	if (v->reason == ROUTE_OK || first ||
	    (v->reason == ROUTE_TROUBLE && r->reason != ROUTE_TROUBLE)) {
		r->reason = v->reason;
		r->us_by_address = v->us_by_address;
		str_copy(str_of(v->subject), r->subject, sizeof(r->subject));
	}
}

struct route *route_make(const struct route_plan *plan, const struct route_self *self)
{
	_cleanup_(route_freep) struct route *r = route_new();
	uint8_t order[ROUTE_HOSTS_MAX] = { 0 };
	uint8_t rank = 0;
	size_t at = 0;

	if (!r)
		return NULL;
	r->reason = ROUTE_NO_ADDRESS;
	sort_hosts(plan, order);
	for (size_t i = 0; i < plan->source_count; i++) {
		struct hosts hosts = { .plan = plan, .order = order + at };
		struct verdict v = { .reason = ROUTE_NO_ADDRESS };

		while (at < plan->host_count && plan->host[order[at]].source == i) {
			at++;
			hosts.count++;
		}
		if (plan->source[i].mx)
			use_mx_source(&hosts, &plan->source[i], self, r, &rank, &v);
		else if (hosts.count)
			use_explicit(host_at(&hosts, 0), &plan->source[i], self, r, &rank, &v);
		conclude(r, &v, i == 0);
	}
	make_key(r);
	route_shrink(r);
	return TAKE(r);
}

void route_free(struct route *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->hop_count; i++)
		free(r->hop[i].tlsa);
	free(r->hop);
	free(r->address);
	free(r);
}

void route_freep(struct route **r)
{
	route_free(*r);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

size_t route_order(const struct route *r, uint64_t seed,
		   struct route_try ret[static ROUTE_ADDRESSES_MAX])
{
	uint8_t hops[ROUTE_HOSTS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < r->hop_count; i++) {
		size_t from = i, other;

		/* Fisher and Yates, inside out, within the run of equal rank. */
		while (from > 0 && r->hop[from - 1].rank == r->hop[i].rank)
			from--;
		other = from + next_random(&seed) % (i - from + 1);
		hops[i] = (uint8_t)i;
		hops[i] = hops[other];
		hops[other] = (uint8_t)i;
	}
	for (size_t i = 0; i < r->hop_count; i++) {
		const struct route_hop *hop = &r->hop[hops[i]];

		for (unsigned a = 0; a < hop->address_count; a++)
			ret[count++] =
				(struct route_try){ hops[i], (uint8_t)(hop->address_from + a) };
	}
	return count;
}

static bool has_same_addresses(const struct route *a, const struct route *b)
{
	/* Resolvers rotate addresses: compare as sets. Neither side holds one twice. */
	if (a->address_count != b->address_count)
		return false;
	for (size_t i = 0; i < a->address_count; i++)
		if (!has_address(b, &a->address[i]))
			return false;
	return true;
}

static bool same_record(const struct dns_tlsa *a, const struct dns_tlsa *b)
{
	return a->usage == b->usage && a->selector == b->selector && a->matching == b->matching &&
	       a->from == b->from && a->length == b->length;
}

static bool same_records(const struct dns_tlsa_answer *a, const struct dns_tlsa_answer *b)
{
	if (a->count != b->count || a->byte_count != b->byte_count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same_record(&a->record[i], &b->record[i]))
			return false;
	return memcmp(a->bytes, b->bytes, a->byte_count) == 0;
}

/* The same records; resolvers may turn their order, which then counts as a change. */
static bool has_same_tlsa(const struct route_hop *a, const struct route_hop *b)
{
	if (a->dane != b->dane || a->secure != b->secure)
		return false;
	return a->dane != DANE_RECORDS ||
	       (strcmp(a->base, b->base) == 0 && same_records(a->tlsa, b->tlsa));
}

bool route_same(const struct route *a, const struct route *b)
{
	if (a->reason != b->reason || a->hop_count != b->hop_count ||
	    a->we_are_listed != b->we_are_listed || strcmp(a->subject, b->subject) != 0)
		return false;
	for (size_t i = 0; i < a->hop_count; i++) {
		const struct route_hop *x = &a->hop[i], *y = &b->hop[i];

		if (strcmp(x->host, y->host) != 0 || x->rank != y->rank || x->port != y->port ||
		    x->address_count != y->address_count || !has_same_tlsa(x, y))
			return false;
	}
	return has_same_addresses(a, b);
}
