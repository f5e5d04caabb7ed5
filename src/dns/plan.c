#include "dns/route.h"

#include <stdio.h>

int route_plan_init(struct route_plan *plan, str domain)
{
	memset(plan, 0, sizeof(*plan));
	if (domain.n > 1 && domain.p[domain.n - 1] == '.')
		domain.n--;
	if (!dns_name_is_host(domain))
		return -EINVAL;
	str_copy(domain, plan->domain, sizeof(plan->domain));
	return 0;
}

static struct route_source *add_source(struct route_plan *plan)
{
	if (plan->source_count == ROUTE_SOURCES_MAX)
		return NULL;
	plan->source[plan->source_count].ttl = UINT32_MAX;
	return &plan->source[plan->source_count++];
}

/* A host of the last source. The same name again adds nothing: the better preference came first. */
static int add_host(struct route_plan *plan, str name, uint16_t preference, uint16_t port)
{
	uint8_t source = (uint8_t)(plan->source_count - 1);
	struct route_host *h;

	for (size_t i = 0; i < plan->host_count; i++) {
		h = &plan->host[i];
		if (h->source == source && dns_name_same(str_of(h->name), name))
			return 0;
	}
	if (plan->host_count == ROUTE_HOSTS_MAX)
		return -E2BIG;
	h = &plan->host[plan->host_count++];
	*h = (struct route_host){
		.preference = preference,
		.port = port,
		.source = source,
		.status = DNS_TROUBLE, /* until somebody asked */
		.ttl = UINT32_MAX,
	};
	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	str_copy(name, h->name, sizeof(h->name));
	/* Lower case, so that a destination has one key however it was written. */
	for (char *p = h->name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 'a' - 'A');
	return 0;
}

int route_plan_mx(struct route_plan *plan, const struct dns_mx_answer *answer, uint16_t port)
{
	struct route_source *s = add_source(plan);
	size_t named = 0;
	int r = 0;

	if (!s)
		return -E2BIG;
	s->mx = true;
	s->secure = answer->secure;
	s->status = answer->status;
	s->ttl = answer->ttl;
	switch (answer->status) {
	case DNS_TROUBLE:
	case DNS_NO_DOMAIN:
		return 0;
	case DNS_NO_DATA:
		s->implicit = true;
		return add_host(plan, str_of(plan->domain), 0, port);
	case DNS_DATA:
		break;
	}
	for (size_t i = 0; i < answer->count && r == 0; i++) {
		str host = str_of(answer->mx[i].host);

		if (str_eq(host, STR(".")))
			continue;
		if (named++ == 0)
			s->best = answer->mx[i].preference;
		r = add_host(plan, host, answer->mx[i].preference, port);
	}
	/* RFC 7505 §3: "." says "no mail" only when nothing else is said; among others it is
	 * noise. */
	s->null_mx = named == 0 && answer->count > 0;
	return r;
}

/* Nothing that TCP could connect to, or only within a link or to ourselves by accident. */
static bool is_unusable(const struct addr *a)
{
	if (addr_is_any(a))
		return true;
	if (a->family == AF_INET)
		return a->ip[0] == 0 || a->ip[0] >= 224;
	return a->ip[0] == 0xff || (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80);
}

static void add_address(struct route_host *host, const struct addr *a)
{
	if (host->address_count == ROUTE_HOST_ADDRESSES_MAX || is_unusable(a))
		return;
	for (size_t i = 0; i < host->address_count; i++)
		if (addr_same_ip(&host->address[i], a))
			return;
	host->address[host->address_count] = *a;
	host->address[host->address_count++].port = host->port;
}

int route_plan_host(struct route_plan *plan, str host, uint16_t port)
{
	struct route_source *s = add_source(plan);
	char text[ADDR_TEXT_SIZE];
	struct route_host *h;
	struct addr a;
	int r;

	if (!s)
		return -E2BIG;
	s->status = DNS_DATA;
	if (addr_parse_ip(host, port, &a) < 0)
		return add_host(plan, host, 0, port);
	r = add_host(plan, str_of(addr_ip_text(&a, text)), 0, port);
	if (r < 0)
		return r;
	h = &plan->host[plan->host_count - 1];
	h->literal = true;
	add_address(h, &a);
	h->status = h->address_count ? DNS_DATA : DNS_NO_DATA;
	return 0;
}

void route_host_addresses(struct route_host *host, const struct dns_addresses *v6,
			  const struct dns_addresses *v4)
{
	host->address_count = 0;
	for (size_t i = 0; i < MAX(v6->count, v4->count); i++) {
		if (i < v6->count)
			add_address(host, &v6->address[i]);
		if (i < v4->count)
			add_address(host, &v4->address[i]);
	}
	host->secure = (v6->status == DNS_DATA || v4->status == DNS_DATA) &&
		       (v6->status != DNS_DATA || v6->secure) &&
		       (v4->status != DNS_DATA || v4->secure);
	str_copy(str_of(v6->status == DNS_DATA ? v6->owner : v4->owner), host->base,
		 sizeof(host->base));
	host->ttl = MIN(v6->ttl, v4->ttl);
	host->partial = v6->status == DNS_TROUBLE || v4->status == DNS_TROUBLE;
	if (host->address_count)
		host->status = DNS_DATA;
	else if (host->partial)
		host->status = DNS_TROUBLE;
	else if (v6->status == DNS_NO_DOMAIN && v4->status == DNS_NO_DOMAIN)
		host->status = DNS_NO_DOMAIN;
	else
		host->status = DNS_NO_DATA;
}

bool route_tlsa_name(const struct route_host *host, bool of_base,
		     char ret_name[static DNS_NAME_SIZE])
{
	int n = snprintf(ret_name, DNS_NAME_SIZE, "_%u._tcp.%s", host->port,
			 of_base ? host->base : host->name);

	return n > 0 && n < DNS_NAME_SIZE;
}

void route_host_tlsa(struct route_host *host, const struct dns_tlsa_answer *answer, bool of_base)
{
	host->dane = DANE_NONE;
	if (answer->status == DNS_TROUBLE) {
		host->dane = DANE_TROUBLE;
		host->partial = true;
	} else if (answer->status == DNS_DATA && answer->secure) {
		host->dane = DANE_RECORDS;
		host->tlsa = answer;
		host->ttl = MIN(host->ttl, answer->ttl);
	}
	if (!of_base)
		str_copy(str_of(host->name), host->base, sizeof(host->base));
}
