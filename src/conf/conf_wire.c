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

static int pack_networks(struct arena *a, const struct conf_network *from, size_t count,
			 Locum__ConfigNetwork ***ret_to, size_t *ret_count)
{
	Locum__ConfigNetwork **to = ARENA_ARRAY(a, Locum__ConfigNetwork *, count);

	for (size_t i = 0; to && i < count; i++) {
		const struct addr *address = &from[i].address;

		to[i] = ARENA_NEW(a, Locum__ConfigNetwork);
		if (!to[i])
			return -ENOMEM;
		locum__config_network__init(to[i]);
		to[i]->ip = bytes_of(str_mem(address->ip, address->family == AF_INET ? 4 : 16));
		to[i]->bits = from[i].bits;
	}
	*ret_to = to;
	*ret_count = count;
	return to ? 0 : -ENOMEM;
}

static int pack_certificates(struct arena *a, const struct conf_listen *from, bool with_keys,
			     Locum__ConfigListen *to)
{
	to->certificates = ARENA_ARRAY(a, Locum__ConfigCertificate *, from->certificate_count);
	for (size_t i = 0; to->certificates && i < from->certificate_count; i++) {
		const struct conf_certificate *pair = &from->certificates[i];
		Locum__ConfigCertificate *p = ARENA_NEW(a, Locum__ConfigCertificate);

		if (!p)
			return -ENOMEM;
		locum__config_certificate__init(p);
		p->certificate = text_of(pair->certificate);
		p->key = text_of(pair->key);
		if (with_keys) {
			p->certificate_pem = bytes_of(pair->certificate_pem);
			p->key_pem = bytes_of(pair->key_pem);
		}
		to->certificates[to->n_certificates++] = p;
	}
	return to->certificates ? 0 : -ENOMEM;
}

static int pack_listen(struct arena *a, const struct conf_listen *from, bool with_keys,
		       Locum__ConfigListen **ret_to)
{
	Locum__ConfigListen *to = ARENA_NEW(a, Locum__ConfigListen);
	int r;

	if (!to)
		return -ENOMEM;
	locum__config_listen__init(to);
	to->name = text_of(from->name);
	to->tls = from->tls;
	to->client_ca = text_of(from->client_ca);
	if (with_keys)
		to->client_ca_pem = bytes_of(from->client_ca_pem);
	to->proxy_protocol = from->proxy_protocol;
	to->address = pack_address(a, &from->address);
	r = to->address ? 0 : -ENOMEM;
	if (r == 0)
		r = pack_certificates(a, from, with_keys, to);
	if (r == 0)
		r = pack_networks(a, from->proxy_from, from->proxy_from_count, &to->proxy_from,
				  &to->n_proxy_from);
	*ret_to = to;
	return r;
}

static int pack_listeners(struct arena *a, const struct conf *c, bool with_keys,
			  Locum__ConfigSnapshot *to)
{
	int r = 0;

	to->listen = ARENA_ARRAY(a, Locum__ConfigListen *, c->listen_count);
	if (!to->listen)
		return -ENOMEM;
	for (; to->n_listen < c->listen_count && r == 0; to->n_listen++)
		r = pack_listen(a, &c->listen[to->n_listen], with_keys, &to->listen[to->n_listen]);
	return r;
}

static int pack_symbols(struct arena *a, const struct conf *c, Locum__ConfigSnapshot *to)
{
	to->symbols = ARENA_ARRAY(a, Locum__ConfigSymbol *, c->symbol_count);
	for (size_t i = 0; to->symbols && i < c->symbol_count; i++) {
		Locum__ConfigSymbol *s = ARENA_NEW(a, Locum__ConfigSymbol);

		if (!s)
			return -ENOMEM;
		locum__config_symbol__init(s);
		s->name = text_of(c->symbols[i].name);
		s->score = c->symbols[i].score;
		s->effect = c->symbols[i].effect;
		to->symbols[to->n_symbols++] = s;
	}
	return to->symbols ? 0 : -ENOMEM;
}

static int pack_codes(struct arena *a, const struct conf_list *from, Locum__ConfigList *to)
{
	to->codes = ARENA_ARRAY(a, Locum__ConfigCode *, from->code_count);
	for (size_t i = 0; to->codes && i < from->code_count; i++) {
		Locum__ConfigCode *code = ARENA_NEW(a, Locum__ConfigCode);

		if (!code)
			return -ENOMEM;
		locum__config_code__init(code);
		code->first = from->codes[i].first;
		code->last = from->codes[i].last;
		to->codes[to->n_codes++] = code;
	}
	return to->codes ? 0 : -ENOMEM;
}

static int pack_lists(struct arena *a, const struct conf *c, Locum__ConfigSnapshot *to)
{
	to->lists = ARENA_ARRAY(a, Locum__ConfigList *, c->list_count);
	for (size_t i = 0; to->lists && i < c->list_count; i++) {
		Locum__ConfigList *l = ARENA_NEW(a, Locum__ConfigList);

		if (!l)
			return -ENOMEM;
		locum__config_list__init(l);
		l->name = text_of(c->lists[i].name);
		l->zone = text_of(c->lists[i].zone);
		l->allow = c->lists[i].allow;
		if (pack_codes(a, &c->lists[i], l) < 0)
			return -ENOMEM;
		to->lists[to->n_lists++] = l;
	}
	return to->lists ? 0 : -ENOMEM;
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

static int pack_effects(struct arena *a, const struct conf_domain *d, size_t symbol_count,
			ProtobufCBinaryData *to)
{
	uint8_t *p = arena_alloc(a, symbol_count);

	for (size_t i = 0; p && i < symbol_count; i++)
		p[i] = (uint8_t)d->effects[i];
	*to = bytes_of(str_mem(p, symbol_count));
	return p ? 0 : -ENOMEM;
}

static Locum__ConfigDomain *pack_domain(struct arena *a, const struct conf *c,
					const struct conf_domain *from)
{
	Locum__ConfigDomain *d = ARENA_NEW(a, Locum__ConfigDomain);

	if (!d)
		return NULL;
	locum__config_domain__init(d);
	d->name = text_of(from->name);
	d->acceptance = from->acceptance;
	d->recipients = from->recipients;
	d->unknown = from->unknown;
	d->recipients_path = text_of(from->recipients_path);
	d->hold = from->hold;
	d->filter = from->filter;
	d->evidence = from->evidence;
	d->tls = from->primary_tls;
	d->primary = ARENA_ARRAY(a, Locum__ConfigHop *, from->primary_count);
	if (!d->primary || pack_mailboxes(a, from, &d->addresses) < 0 ||
	    pack_effects(a, from, c->symbol_count, &d->effects) < 0)
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
		Locum__ConfigDomain *d = pack_domain(a, c, &c->domains[i]);

		if (!d)
			return -ENOMEM;
		to->domains[to->n_domains++] = d;
	}
	return to->domains ? 0 : -ENOMEM;
}

static void pack_rates(const struct conf *c, Locum__ConfigRates *to)
{
	to->messages = c->rates.messages;
	to->recipients = c->rates.recipients;
	to->unknown_recipients = c->rates.unknown_recipients;
	to->errors = c->rates.errors;
}

static void pack_scalars(const struct conf *c, Locum__ConfigSnapshot *to)
{
	to->hostname = text_of(c->hostname);
	to->state_dir = text_of(c->state_dir);
	to->tls_ca = text_of(c->tls_ca);
	to->user = text_of(c->user);
	to->smtpin_processes = c->smtpin_processes;
	to->log_json = c->log_json;
	to->trust_anchor = text_of(c->dns.trust_anchor);
	to->message_bytes = c->limits.message_bytes;
	to->sessions = c->limits.sessions;
	to->sessions_per_client = c->limits.sessions_per_client;
	to->sessions_per_network = c->limits.sessions_per_network;
	to->greet_delay = c->greet_delay;
	to->recipients = c->limits.recipients;
	to->hops = c->limits.hops;
	to->segment_bytes = c->spool.segment_bytes;
	to->reserve_bytes = c->spool.reserve_bytes;
}

static int pack_repeated(struct arena *a, const struct conf *c, Locum__ConfigSnapshot *to)
{
	int r = pack_strings(a, c->aliases, c->alias_count, &to->aliases, &to->n_aliases);

	if (r == 0)
		r = pack_strings(a, c->notes, c->note_count, &to->notes, &to->n_notes);
	if (r == 0)
		r = pack_addresses(a, c->addresses, c->address_count, &to->addresses,
				   &to->n_addresses);
	if (r == 0)
		r = pack_addresses(a, c->dns.servers, c->dns.server_count, &to->dns_servers,
				   &to->n_dns_servers);
	if (r == 0)
		r = pack_networks(a, c->trusted, c->trusted_count, &to->trusted, &to->n_trusted);
	return r;
}

int conf_pack(const struct conf *c, bool with_keys, struct buf *to)
{
	Locum__ConfigSnapshot tree = LOCUM__CONFIG_SNAPSHOT__INIT;
	Locum__ConfigRates rates = LOCUM__CONFIG_RATES__INIT;
	_cleanup_(arena_done) struct arena a;
	size_t n;
	int r;

	arena_init(&a, CONF_ARENA_MAX);
	pack_scalars(c, &tree);
	pack_rates(c, &rates);
	tree.rates = &rates;
	r = pack_repeated(&a, c, &tree);
	if (r == 0)
		r = pack_symbols(&a, c, &tree);
	if (r == 0)
		r = pack_lists(&a, c, &tree);
	if (r == 0)
		r = pack_listeners(&a, c, with_keys, &tree);
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

static int unpack_network(const Locum__ConfigNetwork *from, struct conf_network *to)
{
	Locum__ConfigAddress address = LOCUM__CONFIG_ADDRESS__INIT;

	address.ip = from->ip;
	if (from->bits > 8 * from->ip.len)
		return -EPROTO;
	to->bits = (uint8_t)from->bits;
	return unpack_address(&address, &to->address);
}

static int unpack_networks(struct conf *c, Locum__ConfigNetwork **from, size_t count,
			   struct conf_network **ret_to, size_t *ret_count)
{
	int r = 0;

	*ret_to = ARENA_ARRAY(&c->arena, struct conf_network, count);
	if (!*ret_to)
		return -ENOMEM;
	for (size_t i = 0; i < count && r == 0; i++)
		r = unpack_network(from[i], &(*ret_to)[i]);
	*ret_count = count;
	return r;
}

static int unpack_certificates(struct conf *c, const Locum__ConfigListen *from,
			       struct conf_listen *to)
{
	to->certificates = ARENA_ARRAY(&c->arena, struct conf_certificate, from->n_certificates);
	if (!to->certificates)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_certificates; i++) {
		const Locum__ConfigCertificate *p = from->certificates[i];
		struct conf_certificate *pair = &to->certificates[i];

		to->certificate_count++;
		if (copy_text(c, p->certificate, &pair->certificate) < 0 ||
		    copy_text(c, p->key, &pair->key) < 0 ||
		    copy_bytes(c, p->certificate_pem, &pair->certificate_pem) < 0 ||
		    copy_bytes(c, p->key_pem, &pair->key_pem) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int unpack_listen(struct conf *c, const Locum__ConfigListen *from, struct conf_listen *to)
{
	int r;

	if (from->tls > CONF_TLS_IMPLICIT ||
	    (from->tls != CONF_TLS_OFF && from->n_certificates == 0) ||
	    (from->proxy_protocol && from->n_proxy_from == 0))
		return -EPROTO;
	to->tls = from->tls;
	to->proxy_protocol = from->proxy_protocol;
	if (copy_text(c, from->name, &to->name) < 0 ||
	    copy_text(c, from->client_ca, &to->client_ca) < 0 ||
	    copy_bytes(c, from->client_ca_pem, &to->client_ca_pem) < 0)
		return -ENOMEM;
	r = unpack_certificates(c, from, to);
	if (r == 0)
		r = unpack_networks(c, from->proxy_from, from->n_proxy_from, &to->proxy_from,
				    &to->proxy_from_count);
	return r < 0 ? r : unpack_address(from->address, &to->address);
}

static int unpack_symbols(struct conf *c, const Locum__ConfigSnapshot *from)
{
	if (from->n_symbols != CHECK_COUNT + from->n_lists || from->n_symbols > CONF_SYMBOLS_MAX)
		return -EPROTO;
	c->symbols = ARENA_ARRAY(&c->arena, struct conf_symbol, from->n_symbols);
	if (!c->symbols)
		return -ENOMEM;
	for (; c->symbol_count < from->n_symbols; c->symbol_count++) {
		const Locum__ConfigSymbol *s = from->symbols[c->symbol_count];
		struct conf_symbol *to = &c->symbols[c->symbol_count];

		if (!*s->name || !__builtin_isfinite(s->score) || s->effect > EFFECT_REFUSE)
			return -EPROTO;
		to->score = s->score;
		to->effect = s->effect;
		if (copy_text(c, s->name, &to->name) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int unpack_codes(struct conf *c, const Locum__ConfigList *from, struct conf_list *to)
{
	to->codes = ARENA_ARRAY(&c->arena, struct conf_code, from->n_codes);
	if (!to->codes)
		return -ENOMEM;
	for (; to->code_count < from->n_codes; to->code_count++) {
		const Locum__ConfigCode *code = from->codes[to->code_count];

		if (code->first > code->last || code->first >> 24 != 127 || code->last >> 24 != 127)
			return -EPROTO;
		to->codes[to->code_count].first = code->first;
		to->codes[to->code_count].last = code->last;
	}
	return 0;
}

static int unpack_list(struct conf *c, const Locum__ConfigList *from, struct conf_list *to)
{
	if (!*from->name || !*from->zone || from->n_codes == 0)
		return -EPROTO;
	to->allow = from->allow;
	if (copy_text(c, from->name, &to->name) < 0 || copy_text(c, from->zone, &to->zone) < 0)
		return -ENOMEM;
	return unpack_codes(c, from, to);
}

static int unpack_checks(struct conf *c, const Locum__ConfigSnapshot *from)
{
	int r = unpack_symbols(c, from);

	c->lists = ARENA_ARRAY(&c->arena, struct conf_list, from->n_lists);
	if (r == 0 && !c->lists)
		r = -ENOMEM;
	for (; c->list_count < from->n_lists && r == 0; c->list_count++)
		r = unpack_list(c, from->lists[c->list_count], &c->lists[c->list_count]);
	return r;
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

static int unpack_effects(struct conf *c, ProtobufCBinaryData from, struct conf_domain *to)
{
	if (from.len != c->symbol_count)
		return -EPROTO;
	to->effects = ARENA_ARRAY(&c->arena, enum conf_effect, from.len);
	if (!to->effects)
		return -ENOMEM;
	for (size_t i = 0; i < from.len; i++) {
		if (from.data[i] > EFFECT_REFUSE)
			return -EPROTO;
		to->effects[i] = from.data[i];
	}
	return 0;
}

static int unpack_domain(struct conf *c, const Locum__ConfigDomain *from, struct conf_domain *to)
{
	int r;

	if (from->acceptance > ACCEPT_QUEUE || from->recipients > RECIPIENTS_FILE ||
	    from->unknown > UNKNOWN_REFUSE || from->filter > FILTER_OFF ||
	    from->evidence > EVIDENCE_NONE || from->tls > PRIMARY_TLS_VERIFY || from->hold <= 0 ||
	    from->n_primary == 0 || !*from->name)
		return -EPROTO;
	to->acceptance = from->acceptance;
	to->recipients = from->recipients;
	to->unknown = from->unknown;
	to->hold = from->hold;
	to->filter = from->filter;
	to->evidence = from->evidence;
	to->primary_tls = from->tls;
	if (copy_text(c, from->name, &to->name) < 0 ||
	    copy_text(c, from->recipients_path, &to->recipients_path) < 0)
		return -ENOMEM;
	if (conf_domain(c, to->name))
		return -EPROTO;
	r = unpack_hops(c, from, to);
	if (r == 0)
		r = unpack_mailboxes(c, from->addresses, to);
	if (r == 0)
		r = unpack_effects(c, from->effects, to);
	return r < 0 ? r : conf_index_domain(c, to);
}

static int unpack_blocks(struct conf *c, const Locum__ConfigSnapshot *from)
{
	int r = unpack_checks(c, from);

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
	c->limits.sessions_per_network = from->sessions_per_network;
	c->greet_delay = from->greet_delay;
	c->limits.recipients = from->recipients;
	c->limits.hops = from->hops;
	c->spool.segment_bytes = from->segment_bytes;
	c->spool.reserve_bytes = from->reserve_bytes;
	if (!*from->hostname || from->message_bytes == 0 || from->sessions == 0 ||
	    from->sessions_per_client == 0 || from->sessions_per_network == 0 ||
	    from->recipients == 0 || from->hops == 0 || from->segment_bytes == 0 ||
	    from->greet_delay < 0)
		return -EPROTO;
	if (copy_text(c, from->hostname, &c->hostname) < 0 ||
	    copy_text(c, from->state_dir, &c->state_dir) < 0 ||
	    copy_text(c, from->tls_ca, &c->tls_ca) < 0 || copy_text(c, from->user, &c->user) < 0 ||
	    copy_text(c, from->trust_anchor, &c->dns.trust_anchor) < 0)
		return -ENOMEM;
	return 0;
}

static int unpack_rates(struct conf *c, const Locum__ConfigRates *from)
{
	if (!from)
		return -EPROTO;
	c->rates.messages = from->messages;
	c->rates.recipients = from->recipients;
	c->rates.unknown_recipients = from->unknown_recipients;
	c->rates.errors = from->errors;
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
		r = unpack_networks(c, from->trusted, from->n_trusted, &c->trusted,
				    &c->trusted_count);
	if (r == 0)
		r = unpack_rates(c, from->rates);
	if (r == 0)
		r = unpack_blocks(c, from);
	if (r == 0)
		*ret_conf = TAKE(c);
	return r;
}
