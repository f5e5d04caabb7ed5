#include "conf/conf.h"
#include "conf/reader.h"

#include <ifaddrs.h>

/* Names come from the operator and lookups do not grow the table: no secret seed is needed. */
static const uint64_t name_seed[2] = { 0x6c6f63756d, 0x636f6e66 };

struct conf *conf_new(void)
{
	struct conf *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->refs = 1;
	arena_init(&c->arena, CONF_ARENA_MAX);
	map_init(&c->domains_by_name);
	return c;
}

struct conf *conf_ref(struct conf *c)
{
	must(c->refs > 0);
	c->refs++;
	return c;
}

static void wipe_keys(const struct conf_listen *l)
{
	for (size_t i = 0; i < l->certificate_count; i++)
		if (l->certificates[i].key_pem.n)
			explicit_bzero((char *)l->certificates[i].key_pem.p,
				       l->certificates[i].key_pem.n);
}

void conf_unref(struct conf *c)
{
	if (!c)
		return;
	must(c->refs > 0);
	if (--c->refs > 0)
		return;
	/* Everybody who maps this memory later must not find a key in it. */
	for (size_t i = 0; i < c->listen_count; i++)
		wipe_keys(&c->listen[i]);
	map_done(&c->domains_by_name);
	arena_done(&c->arena);
	free(c);
}

void conf_unrefp(struct conf **c)
{
	conf_unref(*c);
}

int conf_index_domain(struct conf *c, struct conf_domain *d)
{
	return map_insert(&c->domains_by_name, &d->link, str_hash(d->name, name_seed, true));
}

const struct conf_domain *conf_domain(const struct conf *c, str name)
{
	MAP_FIND (&c->domains_by_name, str_hash(name, name_seed, true), struct conf_domain, link, d)
		if (str_case_eq(d->name, name))
			return d;
	return NULL;
}

bool conf_is_our_name(const struct conf *c, str name)
{
	if (str_case_eq(c->hostname, name))
		return true;
	for (size_t i = 0; i < c->alias_count; i++)
		if (str_case_eq(c->aliases[i], name))
			return true;
	return false;
}

static bool address_known(const struct conf *c, const struct addr *a)
{
	for (size_t i = 0; i < c->address_count; i++)
		if (addr_same_ip(&c->addresses[i], a))
			return true;
	return false;
}

bool conf_is_our_address(const struct conf *c, const struct addr *a)
{
	if (address_known(c, a))
		return true;
	for (size_t i = 0; i < c->listen_count; i++)
		if (!addr_is_any(&c->listen[i].address) && addr_same_ip(&c->listen[i].address, a))
			return true;
	return false;
}

static bool network_has(const struct conf_network *n, const struct addr *a)
{
	size_t bytes = n->bits / 8;
	unsigned rest = n->bits % 8;

	if (n->address.family != a->family || memcmp(n->address.ip, a->ip, bytes) != 0)
		return false;
	return rest == 0 || (n->address.ip[bytes] ^ a->ip[bytes]) >> (8 - rest) == 0;
}

bool conf_network_has(const struct conf_network *networks, size_t count, const struct addr *a)
{
	for (size_t i = 0; i < count; i++)
		if (network_has(&networks[i], a))
			return true;
	return false;
}

int conf_symbol(const struct conf *c, str name)
{
	for (size_t i = 0; i < c->symbol_count; i++)
		if (str_case_eq(c->symbols[i].name, name))
			return (int)i;
	return -1;
}

static int address_cmp(const void *key, const void *element)
{
	return str_cmp(*(const str *)key, *(const str *)element);
}

bool conf_recipient_listed(const struct conf_domain *d, str address)
{
	char lower[CONF_MAILBOX_MAX];
	str key = { lower, address.n };
	str local, domain;

	if (address.n > sizeof(lower))
		return false;
	conf_lower(address, lower);
	if (str_cut(key, '@', &local, &domain) && str_eq(local, STR("postmaster")) &&
	    str_eq(domain, d->name))
		return true;
	return d->address_count &&
	       bsearch(&key, d->addresses, d->address_count, sizeof(*d->addresses), address_cmp);
}

void conf_lower(str s, char *to)
{
	for (size_t i = 0; i < s.n; i++)
		to[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + ('a' - 'A')) : s.p[i];
}

int conf_grow(struct conf *c, void *array, size_t count, size_t element_bytes)
{
	void *more, *now;

	/* Full exactly at the powers of two. */
	if (count & (count - 1))
		return 0;
	more = arena_alloc(&c->arena, (count ? 2 * count : 1) * element_bytes);
	if (!more)
		return -ENOMEM;
	memcpy(&now, array, sizeof(now));
	if (count)
		memcpy(more, now, count * element_bytes);
	memcpy(array, &more, sizeof(more));
	return 0;
}

int conf_add_address(struct conf *c, const struct addr *a)
{
	int r;

	if (address_known(c, a))
		return 0;
	r = conf_grow(c, &c->addresses, c->address_count, sizeof(*c->addresses));
	if (r < 0)
		return r;
	c->addresses[c->address_count++] = *a;
	return 0;
}

int conf_add_interface_addresses(struct conf *c)
{
	bool any4 = false, any6 = false;
	struct ifaddrs *first;
	int r = 0;

	for (size_t i = 0; i < c->listen_count; i++) {
		if (!addr_is_any(&c->listen[i].address))
			continue;
		/* [::] takes IPv4 connections too. */
		any4 = true;
		any6 |= c->listen[i].address.family == AF_INET6;
	}
	if (!any4)
		return 0;
	if (getifaddrs(&first) < 0)
		return -errno;
	for (const struct ifaddrs *i = first; i && r == 0; i = i->ifa_next) {
		struct addr a;

		if (!i->ifa_addr || addr_from_sockaddr(i->ifa_addr, &a) < 0)
			continue;
		a.port = 0;
		/* No MX record can point at a link-local address. */
		if (a.family == AF_INET6 &&
		    (!any6 || (a.ip[0] == 0xfe && (a.ip[1] & 0xc0) == 0x80)))
			continue;
		r = conf_add_address(c, &a);
	}
	freeifaddrs(first);
	return r;
}
