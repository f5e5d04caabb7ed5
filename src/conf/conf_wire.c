/*
 * The snapshot: struct conf to protobuf and back. It comes from locumd, whom children trust; it is checked
 * like everything that is read all the same, and a value that no configuration can have is -EPROTO.
 */
#include "conf/reader.h"

#include "base/cleanup.h"
#include "ipc/locum.pb-c.h"

/* --- packing: a tree of views into the conf, in an arena of its own --- */

static ProtobufCBinaryData bytes_of(str s)
{
	return (ProtobufCBinaryData){ .len = s.n, .data = (uint8_t *)s.p };
}

/* Strings of a conf end in NUL. */
static char *text_of(str s)
{
	return s.n ? (char *)s.p : (char *)"";
}

static Locum__ConfigAddress *pack_address(struct arena *a, const struct addr *from)
{
	Locum__ConfigAddress *to = ARENA_NEW(a, Locum__ConfigAddress);

	if (!to)
		return NULL;
	locum__config_address__init(to);
	to->ip = bytes_of(str_mem(from->ip, from->family == AF_INET ? 4 : 16));
	to->port = from->port;
	return to;
}

static int pack_addresses(struct arena *a, const struct addr *from, size_t count,
			  Locum__ConfigAddress ***ret_to, size_t *ret_count)
{
	Locum__ConfigAddress **to = ARENA_ARRAY(a, Locum__ConfigAddress *, count);

	for (size_t i = 0; to && i < count; i++) {
		to[i] = pack_address(a, &from[i]);
		if (!to[i])
			return -ENOMEM;
	}
	*ret_to = to;
	*ret_count = count;
	return to ? 0 : -ENOMEM;
}

static int pack_strings(struct arena *a, const str *from, size_t count, char ***ret_to,
			size_t *ret_count)
{
	char **to = ARENA_ARRAY(a, char *, count);

	for (size_t i = 0; to && i < count; i++)
		to[i] = text_of(from[i]);
	*ret_to = to;
	*ret_count = count;
	return to ? 0 : -ENOMEM;
}

static int pack_listen(struct arena *a, const struct conf *c, bool with_keys,
		       Locum__ConfigSnapshot *to)
{
	to->listen = ARENA_ARRAY(a, Locum__ConfigListen *, c->listen_count);
	for (size_t i = 0; to->listen && i < c->listen_count; i++) {
		const struct conf_listen *from = &c->listen[i];
		Locum__ConfigListen *l = ARENA_NEW(a, Locum__ConfigListen);

		if (!l)
			return -ENOMEM;
		locum__config_listen__init(l);
		l->name = text_of(from->name);
		l->address = pack_address(a, &from->address);
		l->tls_certificate = text_of(from->tls_certificate);
		l->tls_key = text_of(from->tls_key);
		l->proxy_protocol = from->proxy_protocol;
		if (with_keys) {
			l->certificate_pem = bytes_of(from->certificate_pem);
			l->key_pem = bytes_of(from->key_pem);
		}
		if (!l->address)
			return -ENOMEM;
		to->listen[to->n_listen++] = l;
	}
	return to->listen ? 0 : -ENOMEM;
}

static int pack_mailboxes(struct arena *a, const struct conf_domain *d, ProtobufCBinaryData *to)
{
	size_t n = 0;
	char *p;

	for (size_t i = 0; i < d->address_count; i++)
		n += d->addresses[i].n + 1;
	p = arena_alloc(a, n);
	if (!p)
		return -ENOMEM;
	*to = bytes_of(str_mem(p, n));
	for (size_t i = 0; i < d->address_count; i++) {
		memcpy(p, d->addresses[i].p, d->addresses[i].n);
		p += d->addresses[i].n;
		*p++ = '\n';
	}
	return 0;
}

static Locum__ConfigDomain *pack_domain(struct arena *a, const struct conf_domain *from)
{
	Locum__ConfigDomain *d = ARENA_NEW(a, Locum__ConfigDomain);

	if (!d)
		return NULL;
	locum__config_domain__init(d);
	d->name = text_of(from->name);
	d->acceptance = from->acceptance;
	d->recipients = from->recipients;
	d->recipients_path = text_of(from->recipients_path);
	d->hold = from->hold;
	d->filter = from->filter;
	d->primary = ARENA_ARRAY(a, Locum__ConfigHop *, from->primary_count);
	if (!d->primary || pack_mailboxes(a, from, &d->addresses) < 0)
		return NULL;
	for (size_t i = 0; i < from->primary_count; i++) {
		Locum__ConfigHop *hop = ARENA_NEW(a, Locum__ConfigHop);

		if (!hop)
			return NULL;
		locum__config_hop__init(hop);
		hop->mx = from->primary[i].mx;
		hop->host = text_of(from->primary[i].host);
		hop->port = from->primary[i].port;
		d->primary[d->n_primary++] = hop;
	}
	return d;
}

static int pack_domains(struct arena *a, const struct conf *c, Locum__ConfigSnapshot *to)
{
	to->domains = ARENA_ARRAY(a, Locum__ConfigDomain *, c->domain_count);
	for (size_t i = 0; to->domains && i < c->domain_count; i++) {
		Locum__ConfigDomain *d = pack_domain(a, &c->domains[i]);

		if (!d)
			return -ENOMEM;
		to->domains[to->n_domains++] = d;
	}
	return to->domains ? 0 : -ENOMEM;
}

static void pack_scalars(const struct conf *c, Locum__ConfigSnapshot *to)
{
	to->hostname = text_of(c->hostname);
	to->state_dir = text_of(c->state_dir);
	to->user = text_of(c->user);
	to->smtpin_processes = c->smtpin_processes;
	to->log_json = c->log_json;
	to->trust_anchor = text_of(c->dns.trust_anchor);
	to->message_bytes = c->limits.message_bytes;
	to->sessions = c->limits.sessions;
	to->sessions_per_client = c->limits.sessions_per_client;
	to->recipients = c->limits.recipients;
	to->hops = c->limits.hops;
	to->segment_bytes = c->spool.segment_bytes;
	to->reserve_bytes = c->spool.reserve_bytes;
}

int conf_pack(const struct conf *c, bool with_keys, struct buf *to)
{
	Locum__ConfigSnapshot tree = LOCUM__CONFIG_SNAPSHOT__INIT;
	_cleanup_(arena_done) struct arena a;
	size_t n;
	int r;

	arena_init(&a, CONF_ARENA_MAX);
	pack_scalars(c, &tree);
	r = pack_strings(&a, c->aliases, c->alias_count, &tree.aliases, &tree.n_aliases);
	if (r == 0)
		r = pack_strings(&a, c->notes, c->note_count, &tree.notes, &tree.n_notes);
	if (r == 0)
		r = pack_addresses(&a, c->addresses, c->address_count, &tree.addresses,
				   &tree.n_addresses);
	if (r == 0)
		r = pack_addresses(&a, c->dns.servers, c->dns.server_count, &tree.dns_servers,
				   &tree.n_dns_servers);
	if (r == 0)
		r = pack_listen(&a, c, with_keys, &tree);
	if (r == 0)
		r = pack_domains(&a, c, &tree);
	if (r < 0)
		return r;
	n = locum__config_snapshot__get_packed_size(&tree);
	r = buf_reserve(to, n);
	if (r < 0)
		return r;
	must(locum__config_snapshot__pack(&tree, (uint8_t *)to->p + to->n) == n);
	to->n += n;
	return 0;
}

/* --- unpacking: everything is copied into the new conf's arena --- */

static void snapshot_freep(Locum__ConfigSnapshot **s)
{
	if (*s)
		locum__config_snapshot__free_unpacked(*s, NULL);
}

static int copy(struct conf *c, str from, str *to)
{
	*to = from.n ? arena_str(&c->arena, from) : STR("");
	return to->p ? 0 : -ENOMEM;
}

static int copy_text(struct conf *c, const char *from, str *to)
{
	return copy(c, str_of(from), to);
}

static int copy_bytes(struct conf *c, ProtobufCBinaryData from, str *to)
{
	return copy(c, str_mem(from.data, from.len), to);
}

static int copy_texts(struct conf *c, char **from, size_t count, str **ret_to, size_t *ret_count)
{
	*ret_to = ARENA_ARRAY(&c->arena, str, count);
	if (!*ret_to)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (copy_text(c, from[i], &(*ret_to)[i]) < 0)
			return -ENOMEM;
	*ret_count = count;
	return 0;
}

static int unpack_address(const Locum__ConfigAddress *from, struct addr *to)
{
	if (!from || (from->ip.len != 4 && from->ip.len != 16) || from->port > 65535)
		return -EPROTO;
	*to = (struct addr){
		.family = from->ip.len == 4 ? AF_INET : AF_INET6,
		.port = (uint16_t)from->port,
	};
	memcpy(to->ip, from->ip.data, from->ip.len);
	return 0;
}

static int unpack_addresses(struct conf *c, Locum__ConfigAddress **from, size_t count,
			    struct addr **ret_to, size_t *ret_count)
{
	int r = 0;

	*ret_to = ARENA_ARRAY(&c->arena, struct addr, count);
	if (!*ret_to)
		return -ENOMEM;
	for (size_t i = 0; i < count && r == 0; i++)
		r = unpack_address(from[i], &(*ret_to)[i]);
	*ret_count = count;
	return r;
}

static int unpack_listen(struct conf *c, const Locum__ConfigListen *from, struct conf_listen *to)
{
	to->proxy_protocol = from->proxy_protocol;
	if (copy_text(c, from->name, &to->name) < 0 ||
	    copy_text(c, from->tls_certificate, &to->tls_certificate) < 0 ||
	    copy_text(c, from->tls_key, &to->tls_key) < 0 ||
	    copy_bytes(c, from->certificate_pem, &to->certificate_pem) < 0 ||
	    copy_bytes(c, from->key_pem, &to->key_pem) < 0)
		return -ENOMEM;
	return unpack_address(from->address, &to->address);
}

static int unpack_mailboxes(struct conf *c, ProtobufCBinaryData from, struct conf_domain *to)
{
	size_t count = 0;
	str rest;

	if (copy_bytes(c, from, &rest) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < rest.n; i++)
		count += rest.p[i] == '\n';
	to->addresses = ARENA_ARRAY(&c->arena, str, count);
	if (!to->addresses)
		return -ENOMEM;
	for (; to->address_count < count; to->address_count++)
		str_cut(rest, '\n', &to->addresses[to->address_count], &rest);
	return rest.n == 0 ? 0 : -EPROTO;
}

static int unpack_hops(struct conf *c, const Locum__ConfigDomain *from, struct conf_domain *to)
{
	to->primary = ARENA_ARRAY(&c->arena, struct conf_hop, from->n_primary);
	if (!to->primary)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_primary; i++) {
		const Locum__ConfigHop *hop = from->primary[i];

		if (hop->port == 0 || hop->port > 65535 || (!hop->mx && !*hop->host))
			return -EPROTO;
		to->primary[i].mx = hop->mx;
		to->primary[i].port = (uint16_t)hop->port;
		if (copy_text(c, hop->host, &to->primary[i].host) < 0)
			return -ENOMEM;
	}
	to->primary_count = from->n_primary;
	return 0;
}

static int unpack_domain(struct conf *c, const Locum__ConfigDomain *from, struct conf_domain *to)
{
	int r;

	if (from->acceptance > ACCEPT_QUEUE || from->recipients > RECIPIENTS_FILE ||
	    from->filter > FILTER_OFF || from->hold <= 0 || from->n_primary == 0 || !*from->name)
		return -EPROTO;
	to->acceptance = from->acceptance;
	to->recipients = from->recipients;
	to->hold = from->hold;
	to->filter = from->filter;
	if (copy_text(c, from->name, &to->name) < 0 ||
	    copy_text(c, from->recipients_path, &to->recipients_path) < 0)
		return -ENOMEM;
	if (conf_domain(c, to->name))
		return -EPROTO;
	r = unpack_hops(c, from, to);
	if (r == 0)
		r = unpack_mailboxes(c, from->addresses, to);
	return r < 0 ? r : conf_index_domain(c, to);
}

static int unpack_blocks(struct conf *c, const Locum__ConfigSnapshot *from)
{
	int r = 0;

	c->listen = ARENA_ARRAY(&c->arena, struct conf_listen, from->n_listen);
	c->domains = ARENA_ARRAY(&c->arena, struct conf_domain, from->n_domains);
	if (!c->listen || !c->domains)
		return -ENOMEM;
	for (; c->listen_count < from->n_listen && r == 0; c->listen_count++)
		r = unpack_listen(c, from->listen[c->listen_count], &c->listen[c->listen_count]);
	for (; c->domain_count < from->n_domains && r == 0; c->domain_count++)
		r = unpack_domain(c, from->domains[c->domain_count], &c->domains[c->domain_count]);
	return r;
}

static int unpack_scalars(struct conf *c, const Locum__ConfigSnapshot *from)
{
	c->smtpin_processes = from->smtpin_processes;
	c->log_json = from->log_json;
	c->limits.message_bytes = from->message_bytes;
	c->limits.sessions = from->sessions;
	c->limits.sessions_per_client = from->sessions_per_client;
	c->limits.recipients = from->recipients;
	c->limits.hops = from->hops;
	c->spool.segment_bytes = from->segment_bytes;
	c->spool.reserve_bytes = from->reserve_bytes;
	if (!*from->hostname || from->message_bytes == 0 || from->sessions == 0 ||
	    from->sessions_per_client == 0 || from->recipients == 0 || from->hops == 0 ||
	    from->segment_bytes == 0)
		return -EPROTO;
	if (copy_text(c, from->hostname, &c->hostname) < 0 ||
	    copy_text(c, from->state_dir, &c->state_dir) < 0 ||
	    copy_text(c, from->user, &c->user) < 0 ||
	    copy_text(c, from->trust_anchor, &c->dns.trust_anchor) < 0)
		return -ENOMEM;
	return 0;
}

int conf_unpack(str packed, struct conf **ret_conf)
{
	_cleanup_(snapshot_freep) Locum__ConfigSnapshot *from =
		locum__config_snapshot__unpack(NULL, packed.n, (const uint8_t *)packed.p);
	_cleanup_(conf_unrefp) struct conf *c = conf_new();
	int r;

	if (!c)
		return -ENOMEM;
	if (!from)
		return -EPROTO;
	r = unpack_scalars(c, from);
	if (r == 0)
		r = copy_texts(c, from->aliases, from->n_aliases, &c->aliases, &c->alias_count);
	if (r == 0)
		r = copy_texts(c, from->notes, from->n_notes, &c->notes, &c->note_count);
	if (r == 0)
		r = unpack_addresses(c, from->addresses, from->n_addresses, &c->addresses,
				     &c->address_count);
	if (r == 0)
		r = unpack_addresses(c, from->dns_servers, from->n_dns_servers, &c->dns.servers,
				     &c->dns.server_count);
	if (r == 0)
		r = unpack_blocks(c, from);
	if (r == 0)
		*ret_conf = TAKE(c);
	return r;
}
