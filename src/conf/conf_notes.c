/*
 * Notes: what the operator should know although nothing is wrong. locumd logs them at start, `locum check` prints them.
 */
#include "conf/reader.h"

/* --- what this version does not do --- */

struct remark {
	const char *option;
	const char *value;
	const char *as;
};

/* What this version accepts and does not act on yet: said only where the operator wrote it. */
static const struct remark remarks[] = {
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

static int note_not_done(struct conf_reader *r)
{
	int result =
		conf_note(r, "this version does not filter content: neither spam nor viruses are "
			     "looked for");

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

/* --- what probably is not meant --- */

static int note_listener(struct conf_reader *r, const struct conf_listen *l)
{
	const struct conf *c = r->conf;
	char text[ADDR_TEXT_SIZE];
	int result = 0;

	if (l->tls == CONF_TLS_OFF && l->certificate_count)
		result = conf_note(r,
				   "listen \"%.*s\" has a certificate, but tls = \"off\": its "
				   "mail comes in plaintext",
				   SHOW(l->name));
	if (result == 0 && l->tls == CONF_TLS_IMPLICIT && l->address.port == 25)
		result = conf_note(r,
				   "listen \"%.*s\" speaks TLS at once at port 25, where other "
				   "servers begin in plaintext: they cannot deliver there",
				   SHOW(l->name));
	if (result == 0 && conf_network_has(c->trusted, c->trusted_count, &l->address))
		result = conf_note(r,
				   "trusted holds our own address %s: what reaches us through "
				   "this machine (a proxy, address translation) is trusted",
				   addr_ip_text(&l->address, text));
	return result;
}

/* They serve so many that the large lists answer them with errors or not at all. */
static const char *const public_resolvers[] = {
	"8.8.8.8",        "8.8.4.4",         "2001:4860:4860::8888", "2001:4860:4860::8844",
	"1.1.1.1",        "1.0.0.1",         "2606:4700:4700::1111", "2606:4700:4700::1001",
	"9.9.9.9",        "149.112.112.112", "2620:fe::fe",          "2620:fe::9",
	"208.67.222.222", "208.67.220.220",  "2620:119:35::35",      "2620:119:53::53",
};

static bool is_public_resolver(const struct addr *server)
{
	struct addr a;

	for (size_t i = 0; i < ELEMENTS(public_resolvers); i++) {
		must(addr_parse_ip(str_of(public_resolvers[i]), 0, &a) == 0);
		if (addr_same_ip(&a, server))
			return true;
	}
	return false;
}

static int note_resolvers(struct conf_reader *r)
{
	const struct conf *c = r->conf;
	char text[ADDR_TEXT_SIZE];

	for (size_t i = 0; i < c->dns.server_count && c->list_count; i++)
		if (is_public_resolver(&c->dns.servers[i]))
			return conf_note(r,
					 "lists are asked through the public resolver %s, which "
					 "most lists refuse: remove it from dns { servers } to "
					 "resolve from the root",
					 addr_ip_text(&c->dns.servers[i], text));
	return 0;
}

static bool is_off_everywhere(const struct conf *c, size_t symbol)
{
	for (size_t i = 0; i < c->domain_count; i++)
		if (c->domains[i].effects[symbol] != EFFECT_OFF)
			return false;
	return true;
}

static int note_checks(struct conf_reader *r)
{
	const struct conf *c = r->conf;
	int result = note_resolvers(r);

	for (size_t i = 0; i < c->list_count && result == 0; i++)
		if (is_off_everywhere(c, CHECK_COUNT + i))
			result = conf_note(r,
					   "list \"%.*s\" is off for every domain: it is never "
					   "asked",
					   SHOW(c->lists[i].name));
	if (result == 0 && c->greet_delay && is_off_everywhere(c, CHECK_EARLY_TALKER))
		result = conf_note(r, "greet_delay makes clients wait for nothing: early-talker "
				      "is off for every domain");
	return result;
}

/* A domain that is told what to do with recipients nobody knows, but always knows. */
static int note_unknown(struct conf_reader *r)
{
	for (size_t i = 0; i < r->entry_count; i++) {
		const struct conf_block *b = &r->blocks[r->entries[i].block];
		const struct conf_domain *d = b->target;

		if (r->entries[i].option->section != SECTION_DOMAIN ||
		    strcmp(r->entries[i].option->name, "unknown") != 0 ||
		    d->recipients == RECIPIENTS_LEARN)
			continue;
		return conf_note(r,
				 "domain \"%.*s\": unknown has no effect without recipients = "
				 "\"learn\"",
				 SHOW(b->title));
	}
	return 0;
}

int conf_add_notes(struct conf_reader *r)
{
	const struct conf *c = r->conf;
	int result = note_not_done(r);

	if (result == 0)
		result = note_unknown(r);
	if (result == 0 && str_index(c->hostname, '.') < 0)
		result = conf_note(r,
				   "hostname \"%.*s\" has no dot: many servers refuse such a name",
				   SHOW(c->hostname));
	for (size_t i = 0; i < c->listen_count && result == 0; i++)
		result = note_listener(r, &c->listen[i]);
	return result < 0 ? result : note_checks(r);
}
