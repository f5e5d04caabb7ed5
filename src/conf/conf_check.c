/*
 * What must hold between options, and what the operator should know although nothing is wrong.
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
	if (c->limits.sessions_per_client > c->limits.sessions) {
		if (conf_entry_of(r, c, "sessions_per_client"))
			return conf_fail(
				r, conf_line_of(r, c, "sessions_per_client"),
				"sessions_per_client is larger than sessions (%u); lower it",
				c->limits.sessions);
		r->conf->limits.sessions_per_client = c->limits.sessions;
	}
	r->conf->limits.sessions_per_network = (uint32_t)MIN(
		(uint64_t)10 * c->limits.sessions_per_client, (uint64_t)c->limits.sessions);
	return 0;
}

/* --- listeners --- */

static bool printable(str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

static int check_tls(struct conf_reader *r, struct conf_listen *l)
{
	for (size_t i = 0; i < l->certificate_count; i++) {
		if (!l->certificates[i].key.n)
			return conf_fail(r, conf_line_of_nth(r, l, "tls_certificate", i),
					 "tls_certificate without tls_key; add the private key "
					 "that belongs to it");
		if (!l->certificates[i].certificate.n)
			return conf_fail(
				r, conf_line_of_nth(r, l, "tls_key", i),
				"tls_key without tls_certificate; add the certificate chain");
	}
	l->tls = l->certificate_count ? CONF_TLS_STARTTLS : CONF_TLS_OFF;
	return conf_load_certificates(r, l);
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

static int check_trust_anchor(struct conf_reader *r)
{
	const struct conf *c = r->conf;
	char *text = NULL;
	size_t bytes;
	int result;

	if (c->dns.trust_anchor.n == 0)
		return 0;
	result = conf_read_whole(c->dns.trust_anchor.p, CONF_PEM_MAX, &text, &bytes);
	free(text);
	if (result < 0)
		return conf_fail(r, conf_line_of(r, c, "trust_anchor"),
				 "trust_anchor \"%.*s\" cannot be read: %s; correct the path, or "
				 "leave it out "
				 "for the built-in one",
				 SHOW(c->dns.trust_anchor), strerror(-result));
	return 0;
}

/* --- notes --- */

struct remark {
	const char *option;
	const char *value;
	const char *as;
};

/* What this version accepts and does not act on yet: said only where the operator wrote it. */
static const struct remark remarks[] = {
	{ "acceptance", "live", "\"queue\": mail is spooled, then delivered" },
	{ "acceptance", "defer", "\"queue\": mail is spooled, then delivered" },
	{ "recipients", "learn", "\"any\": every recipient is accepted" },
	{ "filter", "standard", "\"off\": content is not judged" },
	{ "filter", "auth-only", "\"off\": authentication is not judged" },
};

static int note_remark(struct conf_reader *r, const struct remark *m)
{
	const struct conf_entry *first = NULL;
	const struct conf_block *b;
	size_t count = 0;

	for (size_t i = 0; i < r->entry_count; i++) {
		const struct conf_entry *e = &r->entries[i];

		if (e->option->section != SECTION_DOMAIN ||
		    strcmp(e->option->name, m->option) != 0 || !str_eq(e->value, str_of(m->value)))
			continue;
		first = first ? first : e;
		count++;
	}
	if (!first)
		return 0;
	b = &r->blocks[first->block];
	if (count == 1)
		return conf_note(r, "this version treats %s = \"%s\" (%.*s) as %s", m->option,
				 m->value, SHOW(b->title), m->as);
	return conf_note(r, "this version treats %s = \"%s\" (%.*s and %zu more) as %s", m->option,
			 m->value, SHOW(b->title), count - 1, m->as);
}

static bool written(const struct conf_reader *r, enum conf_section section, const char *option)
{
	for (size_t i = 0; i < r->entry_count; i++)
		if (r->entries[i].option->section == section &&
		    strcmp(r->entries[i].option->name, option) == 0)
			return true;
	return false;
}

static int add_notes(struct conf_reader *r)
{
	int result =
		conf_note(r, "this version does not filter content: neither spam nor viruses are "
			     "looked for");

	if (result == 0 && str_index(r->conf->hostname, '.') < 0)
		result = conf_note(r,
				   "hostname \"%.*s\" has no dot: many servers refuse such a name",
				   SHOW(r->conf->hostname));
	if (result == 0 && r->clamd_given)
		result =
			conf_note(r, "clamd is configured, but nothing is scanned in this version");
	if (result == 0 && r->console_given)
		result = conf_note(r, "console is configured, but there is none in this version");
	if (result == 0 && written(r, SECTION_PROCESSES, "filter"))
		result = conf_note(r,
				   "processes { filter } has no effect: this version has no filter "
				   "process");
	for (size_t i = 0; i < ELEMENTS(remarks) && result == 0; i++)
		result = note_remark(r, &remarks[i]);
	return result;
}

int conf_check(struct conf_reader *r)
{
	struct conf *c = r->conf;
	int result = check_presence(r);

	for (size_t i = 0; i < c->listen_count && result == 0; i++)
		result = check_listen(r, &c->listen[i]);
	for (size_t i = 0; i < c->domain_count && result == 0; i++)
		result = check_domain(r, &c->domains[i]);
	/* All domains must be known first: a list may name the mailboxes of several. */
	for (size_t i = 0; i < c->domain_count && result == 0; i++)
		if (c->domains[i].recipients == RECIPIENTS_FILE)
			result = conf_load_recipients(r, &c->domains[i]);
	if (result == 0)
		result = check_trust_anchor(r);
	return result < 0 ? result : add_notes(r);
}
