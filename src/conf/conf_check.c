/*
 * What must hold between options.
 */
#include "conf/reader.h"

static int check_presence(struct conf_reader *r)
{
	const struct conf *c = r->conf;

	if (c->hostname.n == 0)
		return conf_fail(r, r->line_last,
				 "there is no hostname; write hostname = \"mx2.example.net\"");
	if (c->listen_count == 0)
		return conf_fail(
			r, r->line_last,
			"there is no listener; write listen \"mx\" { address = \"[::]:25\" }");
	if (c->domain_count == 0)
		return conf_fail(
			r, r->line_last,
			"there is no domain to stand in for; write domain \"example.org\" { }");
	return 0;
}

/* One share of the sessions: written, it must be between the two; else its default is cut to fit. */
static int check_share(struct conf_reader *r, const char *option, uint32_t *share, uint32_t least,
		       uint64_t usual)
{
	const struct conf *c = r->conf;

	if (!conf_entry_of(r, c, option)) {
		*share = (uint32_t)MIN(usual, (uint64_t)c->limits.sessions);
		return 0;
	}
	if (*share > c->limits.sessions)
		return conf_fail(r, conf_line_of(r, c, option),
				 "%s is larger than sessions (%u); lower it", option,
				 c->limits.sessions);
	if (*share < least)
		return conf_fail(r, conf_line_of(r, c, option),
				 "%s is smaller than sessions_per_client (%u), which is therefore "
				 "never reached; raise it or lower sessions_per_client",
				 option, least);
	return 0;
}

static int check_sessions(struct conf_reader *r)
{
	struct conf *c = r->conf;
	uint32_t *client = &c->limits.sessions_per_client;
	int result = check_share(r, "sessions_per_client", client, 1, *client);

	if (result < 0)
		return result;
	return check_share(r, "sessions_per_network", &c->limits.sessions_per_network, *client,
			   (uint64_t)10 * *client);
}

/* --- listeners --- */

static bool printable(str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

static int check_certificates(struct conf_reader *r, const struct conf_listen *l)
{
	for (size_t i = 0; i < l->certificate_count; i++) {
		const struct conf_certificate *pair = &l->certificates[i];

		if (!pair->key.n)
			return conf_fail(r, conf_line_of_nth(r, l, "tls_certificate", i),
					 "tls_certificate \"%.*s\" without tls_key; add the "
					 "private key that belongs to it",
					 SHOW(pair->certificate));
		if (!pair->certificate.n)
			return conf_fail(
				r, conf_line_of_nth(r, l, "tls_key", i),
				"tls_key \"%.*s\" without tls_certificate; add the certificate "
				"chain",
				SHOW(pair->key));
		for (size_t k = 0; k < i; k++)
			if (str_eq(l->certificates[k].certificate, pair->certificate))
				return conf_fail(
					r, conf_line_of_nth(r, l, "tls_certificate", i),
					"tls_certificate \"%.*s\" is listed twice; remove one",
					SHOW(pair->certificate));
	}
	return 0;
}

static int check_tls(struct conf_reader *r, struct conf_listen *l)
{
	int result = check_certificates(r, l);

	if (result < 0)
		return result;
	if (!conf_entry_of(r, l, "tls"))
		l->tls = l->certificate_count ? CONF_TLS_STARTTLS : CONF_TLS_OFF;
	if (l->tls != CONF_TLS_OFF && !l->certificate_count)
		return conf_fail(r, conf_line_of(r, l, "tls"),
				 "tls without tls_certificate; add tls_certificate and tls_key");
	if (l->tls == CONF_TLS_OFF && l->client_ca.n)
		return conf_fail(r, conf_line_of(r, l, "tls_client_ca"),
				 "tls_client_ca has no effect without TLS; add tls_certificate "
				 "and tls_key, or remove it");
	return conf_load_certificates(r, l);
}

static int check_proxy(struct conf_reader *r, const struct conf_listen *l)
{
	if (l->proxy_protocol && !l->proxy_from_count)
		return conf_fail(r, conf_line_of(r, l, "proxy_protocol"),
				 "proxy_protocol without proxy_from: everybody could claim any "
				 "address; write proxy_from = {\"192.0.2.9\"} with the proxy's");
	if (!l->proxy_protocol && l->proxy_from_count)
		return conf_fail(r, conf_line_of(r, l, "proxy_from"),
				 "proxy_from without proxy_protocol; add proxy_protocol = true or "
				 "remove it");
	return 0;
}

static int check_listen(struct conf_reader *r, struct conf_listen *l)
{
	const struct conf *c = r->conf;

	if (!printable(l->name))
		return conf_fail(
			r, conf_line_of(r, l, ""),
			"the name of a listener is printable ASCII without spaces; rename it");
	if (l->address.family == AF_UNSPEC)
		return conf_fail(r, conf_line_of(r, l, ""),
				 "listen \"%.*s\" has no address; write address = \"[::]:25\"",
				 SHOW(l->name));
	for (const struct conf_listen *other = c->listen; other < l; other++)
		if (addr_same_ip(&other->address, &l->address) &&
		    other->address.port == l->address.port)
			return conf_fail(
				r, conf_line_of(r, l, "address"),
				"listen \"%.*s\" and \"%.*s\" have the same address; change one",
				SHOW(other->name), SHOW(l->name));
	if (check_proxy(r, l) < 0)
		return -EINVAL;
	return check_tls(r, l);
}

/* --- domains --- */

static bool is_loopback(const struct addr *a)
{
	struct addr six = { 0 };

	if (a->family == AF_INET)
		return a->ip[0] == 127;
	addr_parse_ip(STR("::1"), 0, &six);
	return addr_same_ip(a, &six);
}

/* Would a connection to this hop come out at that listener? */
static bool reaches(const struct conf *c, const struct conf_hop *hop, const struct conf_listen *l)
{
	struct addr a;

	if (hop->mx || hop->port != l->address.port)
		return false;
	if (addr_parse_ip(hop->host, 0, &a) < 0)
		return conf_is_our_name(c, hop->host);
	return addr_same_ip(&a, &l->address) || conf_is_our_address(c, &a) ||
	       (addr_is_any(&l->address) && is_loopback(&a));
}

static int check_hop(struct conf_reader *r, const struct conf_domain *d, const struct conf_hop *hop)
{
	const struct conf *c = r->conf;

	for (size_t i = 0; i < c->listen_count; i++)
		if (reaches(c, hop, &c->listen[i]))
			return conf_fail(r, conf_line_of(r, d, "primary"),
					 "primary \"%.*s:%u\" is our own listener \"%.*s\"; name "
					 "the server that "
					 "we stand in for",
					 SHOW(hop->host), hop->port, SHOW(c->listen[i].name));
	return 0;
}

static int check_domain(struct conf_reader *r, struct conf_domain *d)
{
	struct conf *c = r->conf;
	int result = 0;

	if (conf_domain(c, d->name))
		return conf_fail(r, conf_line_of(r, d, ""),
				 "domain \"%.*s\" is written twice; merge the two blocks",
				 SHOW(d->name));
	if (conf_index_domain(c, d) < 0)
		return conf_fail_memory(r);
	if (d->primary_count == 0) {
		d->primary = ARENA_NEW(&c->arena, struct conf_hop);
		if (!d->primary)
			return conf_fail_memory(r);
		*d->primary = (struct conf_hop){ .mx = true, .port = 25 };
		d->primary_count = 1;
	}
	for (size_t i = 0; i < d->primary_count && result == 0; i++)
		result = check_hop(r, d, &d->primary[i]);
	return result;
}

static int check_readable(struct conf_reader *r, str path, const char *option, const char *instead)
{
	char *text = NULL;
	size_t bytes;
	int result = conf_read_whole(path.p, CONF_PEM_MAX, &text, &bytes);

	free(text);
	if (result < 0)
		return conf_fail(
			r, conf_line_of(r, r->conf, option),
			"%s \"%.*s\" cannot be read: %s; correct the path, or leave it out for %s",
			option, SHOW(path), strerror(-result), instead);
	return 0;
}

static int check_files(struct conf_reader *r)
{
	const struct conf *c = r->conf;
	int result = 0;

	if (c->dns.trust_anchor.n > 0)
		result = check_readable(r, c->dns.trust_anchor, "trust_anchor", "the built-in one");
	/* A system without that package verifies nobody, and works. */
	if (result == 0 && !str_eq(c->tls_ca, CONF_TLS_CA_DEFAULT))
		result = check_readable(r, c->tls_ca, "tls_ca", "the system's");
	return result;
}

int conf_check(struct conf_reader *r)
{
	struct conf *c = r->conf;
	int result = check_presence(r);

	if (result == 0)
		result = check_sessions(r);
	for (size_t i = 0; i < c->listen_count && result == 0; i++)
		result = check_listen(r, &c->listen[i]);
	for (size_t i = 0; i < c->list_count && result == 0; i++)
		result = conf_check_list(r, &c->lists[i]);
	for (size_t i = 0; i < c->domain_count && result == 0; i++)
		result = check_domain(r, &c->domains[i]);
	/* All domains must be known first: a list may name the mailboxes of several. */
	for (size_t i = 0; i < c->domain_count && result == 0; i++)
		if (c->domains[i].recipients == RECIPIENTS_FILE && !r->public_only)
			result = conf_load_recipients(r, &c->domains[i]);
	return result < 0 ? result : check_files(r);
}
