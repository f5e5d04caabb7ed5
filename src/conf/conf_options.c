/*
 * The table of options, and how each value is read. Ranges are wide enough for tests and laboratories;
 * outside of them a value is a mistake.
 */
#include "conf/reader.h"

#include "conf/units.h"

#include <stdarg.h>

#define CERTIFICATES_MAX 64 /* of one listener */
#define RATE_MAX 10000000   /* an hour */

/* --- scalars --- */

static int take_number(struct conf_reader *r, const struct conf_entry *e, uint64_t least,
		       uint64_t most, uint64_t *ret)
{
	int result = str_u64(e->value, UINT64_MAX, ret);

	if (result == -EINVAL)
		return conf_fail(r, e->line,
				 "%s = \"%.*s\" is not a whole number; write digits only",
				 e->option->name, SHOW(e->value));
	if (result < 0 || *ret < least || *ret > most)
		return conf_fail(r, e->line, "%s = %.*s is out of range; allowed are %llu to %llu",
				 e->option->name, SHOW(e->value), (unsigned long long)least,
				 (unsigned long long)most);
	return 0;
}

static int take_u32(struct conf_reader *r, const struct conf_entry *e, uint32_t least,
		    uint32_t most, uint32_t *to)
{
	uint64_t value;
	int result = take_number(r, e, least, most, &value);

	if (result == 0)
		*to = (uint32_t)value;
	return result;
}

static int take_bytes(struct conf_reader *r, const struct conf_entry *e, uint64_t least,
		      uint64_t most, uint64_t *to)
{
	char low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE];
	uint64_t value = 0;
	int result = units_bytes(e->value, &value);

	if (result == -EINVAL)
		return conf_fail(
			r, e->line,
			"%s = \"%.*s\" is not a size; write a number with K, M, G or T, such as "
			"\"50M\"",
			e->option->name, SHOW(e->value));
	if (result < 0 || value < least || value > most)
		return conf_fail(r, e->line, "%s = \"%.*s\" is out of range; allowed are %s to %s",
				 e->option->name, SHOW(e->value), units_bytes_text(least, low),
				 units_bytes_text(most, high));
	*to = value;
	return 0;
}

static int take_duration(struct conf_reader *r, const struct conf_entry *e, nsec least, nsec most,
			 nsec *to)
{
	char low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE];
	nsec value = 0;
	int result = units_duration(e->value, &value);

	if (result == -EINVAL)
		return conf_fail(r, e->line,
				 "%s = \"%.*s\" is not a duration; write a number with s, m, h, d "
				 "or w, such "
				 "as \"30d\"",
				 e->option->name, SHOW(e->value));
	if (result < 0 || value < least || value > most)
		return conf_fail(r, e->line, "%s = \"%.*s\" is out of range; allowed are %s to %s",
				 e->option->name, SHOW(e->value), units_duration_text(least, low),
				 units_duration_text(most, high));
	*to = value;
	return 0;
}

int conf_take_bool(struct conf_reader *r, const struct conf_entry *e, bool *to)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = { { "true", true },   { "yes", true }, { "on", true },
		      { "false", false }, { "no", false }, { "off", false } };

	for (size_t i = 0; i < ELEMENTS(words); i++) {
		if (str_case_eq(e->value, str_of(words[i].word))) {
			*to = words[i].value;
			return 0;
		}
	}
	return conf_fail(r, e->line, "%s = \"%.*s\" is neither yes nor no; write true or false",
			 e->option->name, SHOW(e->value));
}

int conf_take_word(struct conf_reader *r, const struct conf_entry *e, const char *const *words,
		   const char *listed, unsigned *to)
{
	for (unsigned i = 0; words[i]; i++) {
		if (str_eq(e->value, str_of(words[i]))) {
			*to = i;
			return 0;
		}
	}
	return conf_fail(r, e->line, "%s = \"%.*s\" is unknown; write one of %s", e->option->name,
			 SHOW(e->value), listed);
}

static int take_path(struct conf_reader *r, const struct conf_entry *e, str *to)
{
	if (e->value.n == 0)
		return conf_fail(r, e->line, "%s is empty; write a path or leave it out",
				 e->option->name);
	*to = e->value;
	return 0;
}

int conf_take_name(struct conf_reader *r, unsigned line, const char *what, str name, str *to)
{
	const char *fault;
	char *lower;

	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	fault = conf_name_fault(name);
	if (fault)
		return conf_fail(r, line, "%s \"%.*s\" %s", what, SHOW(name), fault);
	lower = arena_alloc(&r->conf->arena, name.n + 1);
	if (!lower)
		return conf_fail_memory(r);
	conf_lower(name, lower);
	*to = (str){ lower, name.n };
	return 0;
}

static int take_address(struct conf_reader *r, const struct conf_entry *e, uint16_t default_port,
			struct addr *to)
{
	if (addr_parse(e->value, default_port, to) < 0)
		return conf_fail(
			r, e->line,
			"%s = \"%.*s\" is not an address and port; write \"192.0.2.1:%u\" or "
			"\"[2001:db8::1]:%u\"",
			e->option->name, SHOW(e->value), default_port, default_port);
	return 0;
}

/* --- the top level --- */

static int take_hostname(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return conf_take_name(r, e->line, "hostname", e->value, &c->hostname);
}

static int take_alias(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;
	str name;
	int result = conf_take_name(r, e->line, "alias", e->value, &name);

	if (result < 0)
		return result;
	if (conf_grow(c, &c->aliases, c->alias_count, sizeof(*c->aliases)) < 0)
		return conf_fail_memory(r);
	c->aliases[c->alias_count++] = name;
	return 0;
}

static int take_own_address(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct addr a;

	if (addr_parse_ip(e->value, 0, &a) < 0)
		return conf_fail(r, e->line,
				 "addresses: \"%.*s\" is not an IP address; write it without a "
				 "port, such as "
				 "\"192.0.2.7\"",
				 SHOW(e->value));
	if (addr_is_any(&a))
		return conf_fail(r, e->line,
				 "addresses: \"%.*s\" means every address; write the public ones",
				 SHOW(e->value));
	if (conf_add_address(target, &a) < 0)
		return conf_fail_memory(r);
	return 0;
}

static int take_state_dir(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;
	str dir = e->value;

	while (dir.n > 1 && dir.p[dir.n - 1] == '/')
		dir.n--;
	if (dir.n == 0)
		return conf_fail(r, e->line,
				 "state_dir is empty; write a directory or leave it out");
	if (dir.n > CONF_STATE_DIR_MAX)
		return conf_fail(
			r, e->line,
			"state_dir is too long for the control socket in it; at most %u bytes",
			CONF_STATE_DIR_MAX);
	c->state_dir = arena_str(&c->arena, dir);
	return c->state_dir.p ? 0 : conf_fail_memory(r);
}

static int take_user(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	if (e->value.n == 0 || str_index(e->value, ':') >= 0 || str_index(e->value, '/') >= 0)
		return conf_fail(r, e->line,
				 "user = \"%.*s\" is not a user name; write one from passwd(5)",
				 SHOW(e->value));
	c->user = e->value;
	return 0;
}

static int take_log(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "text", "json", NULL };
	struct conf *c = target;
	unsigned form = 0;
	int result = conf_take_word(r, e, words, "text, json", &form);

	c->log_json = form == 1;
	return result;
}

static int take_trusted(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return conf_add_network(r, e, &c->trusted, &c->trusted_count);
}

static int take_greet_delay(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_duration(r, e, 0, 30 * NSEC_S, &c->greet_delay);
}

static int take_smtpin(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 1, 64, &c->smtpin_processes);
}

static int take_filter_processes(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	uint32_t count;

	(void)target;
	return take_u32(r, e, 1, 64, &count);
}

/* --- listen --- */

static int take_listen_address(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_listen *l = target;

	return take_address(r, e, 25, &l->address);
}

/* The pair that this certificate or key belongs to: the nth with the nth. */
static int pair_of(struct conf_reader *r, struct conf_listen *l, const struct conf_entry *e,
		   struct conf_certificate **ret)
{
	size_t index = conf_entry_index(r, e);

	if (index == CERTIFICATES_MAX)
		return conf_fail(r, e->line, "%s has more than %d values; remove some",
				 e->option->name, CERTIFICATES_MAX);
	if (index == l->certificate_count) {
		if (conf_grow(r->conf, &l->certificates, index, sizeof(**ret)) < 0)
			return conf_fail_memory(r);
		l->certificates[l->certificate_count++] = (struct conf_certificate){ 0 };
	}
	*ret = &l->certificates[index];
	return 0;
}

static int take_tls_certificate(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_certificate *pair = NULL;
	int result = pair_of(r, target, e, &pair);

	return pair ? take_path(r, e, &pair->certificate) : result;
}

static int take_tls_key(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_certificate *pair = NULL;
	int result = pair_of(r, target, e, &pair);

	return pair ? take_path(r, e, &pair->key) : result;
}

static int take_tls(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "off", "starttls", "implicit", NULL };
	struct conf_listen *l = target;
	unsigned value = 0;
	int result = conf_take_word(r, e, words, "off, starttls, implicit", &value);

	l->tls = value;
	return result;
}

static int take_tls_client_ca(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_listen *l = target;

	return take_path(r, e, &l->client_ca);
}

static int take_proxy_from(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_listen *l = target;

	return conf_add_network(r, e, &l->proxy_from, &l->proxy_from_count);
}

static int take_proxy_protocol(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_listen *l = target;

	return conf_take_bool(r, e, &l->proxy_protocol);
}

/* --- dns, clamd, console --- */

static int take_server(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;
	struct addr a;
	int result = take_address(r, e, 53, &a);

	if (result < 0)
		return result;
	if (addr_is_any(&a))
		return conf_fail(r, e->line,
				 "servers: \"%.*s\" cannot be asked; write the server's address",
				 SHOW(e->value));
	if (conf_grow(c, &c->dns.servers, c->dns.server_count, sizeof(a)) < 0)
		return conf_fail_memory(r);
	c->dns.servers[c->dns.server_count++] = a;
	return 0;
}

static int take_tls_ca(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_path(r, e, &c->tls_ca);
}

static int take_trust_anchor(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_path(r, e, &c->dns.trust_anchor);
}

static int take_clamd(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	str host;
	uint16_t port;

	(void)target;
	if (r->clamd_given)
		return conf_fail(r, e->line, "clamd has both a socket and an address; remove one");
	r->clamd_given = true;
	if (strcmp(e->option->name, "socket") == 0)
		return take_path(r, e, &host);
	if (host_port_split(e->value, 3310, &host, &port) < 0)
		return conf_fail(r, e->line,
				 "address = \"%.*s\" is not a host and port; write \"host:3310\"",
				 SHOW(e->value));
	return 0;
}

static int take_console(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct addr a;

	(void)target;
	r->console_given = true;
	return take_address(r, e, 8025, &a);
}

/* --- limits, rates, spool --- */

static int take_message_size(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_bytes(r, e, (uint64_t)64 << 10, (uint64_t)1 << 30, &c->limits.message_bytes);
}

static int take_sessions(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 1, 1000000, &c->limits.sessions);
}

static int take_sessions_per_client(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 1, 1000000, &c->limits.sessions_per_client);
}

static int take_sessions_per_network(struct conf_reader *r, void *target,
				     const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 1, 1000000, &c->limits.sessions_per_network);
}

static int take_recipient_limit(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 1, 10000, &c->limits.recipients);
}

static int take_hops(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 5, 1000, &c->limits.hops);
}

static int take_message_rate(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 0, RATE_MAX, &c->rates.messages);
}

static int take_recipient_rate(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 0, RATE_MAX, &c->rates.recipients);
}

static int take_unknown_rate(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 0, RATE_MAX, &c->rates.unknown_recipients);
}

static int take_error_rate(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_u32(r, e, 0, RATE_MAX, &c->rates.errors);
}

static int take_segment_size(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_bytes(r, e, (uint64_t)1 << 20, (uint64_t)2 << 30, &c->spool.segment_bytes);
}

static int take_reserve(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf *c = target;

	return take_bytes(r, e, (uint64_t)1 << 20, (uint64_t)16 << 40, &c->spool.reserve_bytes);
}

/* --- domain --- */

static bool same_hop(const struct conf_hop *a, const struct conf_hop *b)
{
	return a->mx == b->mx && a->port == b->port && str_eq(a->host, b->host);
}

static int take_hop_host(struct conf_reader *r, const struct conf_entry *e, str host, str *to)
{
	char text[ADDR_TEXT_SIZE];
	struct addr a;

	if (addr_parse_ip(host, 0, &a) < 0)
		return conf_take_name(r, e->line, "primary", host, to);
	if (addr_is_any(&a))
		return conf_fail(r, e->line, "primary \"%.*s\" is no host; write its address",
				 SHOW(e->value));
	*to = arena_str(&r->conf->arena, str_of(addr_ip_text(&a, text)));
	return to->p ? 0 : conf_fail_memory(r);
}

static int take_primary(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_domain *d = target;
	struct conf_hop hop = { 0 };
	int result;
	str host;

	/* Two colons without brackets: is the last part a port? Nobody can tell. */
	if (host_port_split(e->value, 25, &host, &hop.port) < 0 ||
	    (e->value.p[0] != '[' && str_index(host, ':') >= 0))
		return conf_fail(r, e->line,
				 "primary \"%.*s\" is not a host and port; write \"mx\", "
				 "\"mx:PORT\", \"host\", "
				 "\"host:PORT\" or \"[IPv6]:PORT\"",
				 SHOW(e->value));
	hop.mx = str_case_eq(host, STR("mx"));
	if (!hop.mx) {
		result = take_hop_host(r, e, host, &hop.host);
		if (result < 0)
			return result;
	}
	for (size_t i = 0; i < d->primary_count; i++)
		if (same_hop(&d->primary[i], &hop))
			return conf_fail(r, e->line, "primary \"%.*s\" is listed twice; remove one",
					 SHOW(e->value));
	if (conf_grow(r->conf, &d->primary, d->primary_count, sizeof(hop)) < 0)
		return conf_fail_memory(r);
	d->primary[d->primary_count++] = hop;
	return 0;
}

static int take_acceptance(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "live", "defer", "queue", NULL };
	struct conf_domain *d = target;
	unsigned value = 0;
	int result = conf_take_word(r, e, words, "live, defer, queue", &value);

	d->acceptance = value;
	return result;
}

static int take_recipients(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "learn", "any", NULL };
	struct conf_domain *d = target;
	unsigned value = 0;
	int result;

	if (str_starts(e->value, STR("file:"))) {
		d->recipients = RECIPIENTS_FILE;
		d->recipients_path = str_from(e->value, 5);
		if (d->recipients_path.n == 0)
			return conf_fail(r, e->line,
					 "recipients = \"file:\" names no file; write file:PATH");
		return 0;
	}
	result = conf_take_word(r, e, words, "learn, any, file:PATH", &value);
	d->recipients = value;
	return result;
}

static int take_unknown(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "auto", "defer", "accept", "refuse", NULL };
	struct conf_domain *d = target;
	unsigned value = 0;
	int result = conf_take_word(r, e, words, "auto, defer, accept, refuse", &value);

	d->unknown = value;
	return result;
}

static int take_hold(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_domain *d = target;

	return take_duration(r, e, NSEC_MINUTE, 365 * NSEC_DAY, &d->hold);
}

static int take_evidence(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "offered", "xclient", "xforward",
					     "header",  "none",    NULL };
	struct conf_domain *d = target;
	unsigned value = 0;
	int result =
		conf_take_word(r, e, words, "offered, xclient, xforward, header, none", &value);

	d->evidence = value;
	return result;
}

static int take_primary_tls(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "may", "encrypt", "verify", NULL };
	struct conf_domain *d = target;
	unsigned value = 0;
	int result = conf_take_word(r, e, words, "may, encrypt, verify", &value);

	d->primary_tls = value;
	return result;
}

static int take_filter(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	static const char *const words[] = { "standard", "auth-only", "off", NULL };
	struct conf_domain *d = target;
	unsigned value = 0;
	int result = conf_take_word(r, e, words, "standard, auth-only, off", &value);

	d->filter = value;
	return result;
}

/* --- the tables --- */

const struct conf_section_row conf_sections[SECTION_COUNT] = {
	[SECTION_TOP] = { "the top level", false }, [SECTION_PROCESSES] = { "processes", false },
	[SECTION_LISTEN] = { "listen", true },      [SECTION_DNS] = { "dns", false },
	[SECTION_CLAMD] = { "clamd", false },       [SECTION_LIMITS] = { "limits", false },
	[SECTION_SPOOL] = { "spool", false },       [SECTION_DOMAIN] = { "domain", true },
	[SECTION_CONSOLE] = { "console", false },   [SECTION_RATES] = { "rates", false },
	[SECTION_LIST] = { "list", true },
};

#define ONE false
#define LIST true

const struct conf_option conf_options[] = {
	{ SECTION_TOP, "hostname", ONE, take_hostname },
	{ SECTION_TOP, "aliases", LIST, take_alias },
	{ SECTION_TOP, "addresses", LIST, take_own_address },
	{ SECTION_TOP, "state_dir", ONE, take_state_dir },
	{ SECTION_TOP, "tls_ca", ONE, take_tls_ca },
	{ SECTION_TOP, "user", ONE, take_user },
	{ SECTION_TOP, "log", ONE, take_log },
	{ SECTION_TOP, "trusted", LIST, take_trusted },
	{ SECTION_TOP, "greet_delay", ONE, take_greet_delay },
	{ SECTION_TOP, "checks", LIST, conf_take_check },
	{ SECTION_PROCESSES, "smtpin", ONE, take_smtpin },
	{ SECTION_PROCESSES, "filter", ONE, take_filter_processes },
	{ SECTION_LISTEN, "address", ONE, take_listen_address },
	{ SECTION_LISTEN, "tls_certificate", LIST, take_tls_certificate },
	{ SECTION_LISTEN, "tls_key", LIST, take_tls_key },
	{ SECTION_LISTEN, "tls", ONE, take_tls },
	{ SECTION_LISTEN, "tls_client_ca", ONE, take_tls_client_ca },
	{ SECTION_LISTEN, "proxy_protocol", ONE, take_proxy_protocol },
	{ SECTION_LISTEN, "proxy_from", LIST, take_proxy_from },
	{ SECTION_DNS, "servers", LIST, take_server },
	{ SECTION_DNS, "trust_anchor", ONE, take_trust_anchor },
	{ SECTION_CLAMD, "socket", ONE, take_clamd },
	{ SECTION_CLAMD, "address", ONE, take_clamd },
	{ SECTION_LIMITS, "message_size", ONE, take_message_size },
	{ SECTION_LIMITS, "sessions", ONE, take_sessions },
	{ SECTION_LIMITS, "sessions_per_client", ONE, take_sessions_per_client },
	{ SECTION_LIMITS, "sessions_per_network", ONE, take_sessions_per_network },
	{ SECTION_LIMITS, "recipients", ONE, take_recipient_limit },
	{ SECTION_LIMITS, "hops", ONE, take_hops },
	{ SECTION_RATES, "messages", ONE, take_message_rate },
	{ SECTION_RATES, "recipients", ONE, take_recipient_rate },
	{ SECTION_RATES, "unknown_recipients", ONE, take_unknown_rate },
	{ SECTION_RATES, "errors", ONE, take_error_rate },
	{ SECTION_LIST, "zone", ONE, conf_take_zone },
	{ SECTION_LIST, "codes", LIST, conf_take_code },
	{ SECTION_LIST, "score", ONE, conf_take_score },
	{ SECTION_LIST, "effect", ONE, conf_take_list_effect },
	{ SECTION_LIST, "allow", ONE, conf_take_allow },
	{ SECTION_SPOOL, "segment_size", ONE, take_segment_size },
	{ SECTION_SPOOL, "reserve", ONE, take_reserve },
	{ SECTION_DOMAIN, "primary", LIST, take_primary },
	{ SECTION_DOMAIN, "acceptance", ONE, take_acceptance },
	{ SECTION_DOMAIN, "recipients", ONE, take_recipients },
	{ SECTION_DOMAIN, "unknown", ONE, take_unknown },
	{ SECTION_DOMAIN, "hold", ONE, take_hold },
	{ SECTION_DOMAIN, "filter", ONE, take_filter },
	{ SECTION_DOMAIN, "evidence", ONE, take_evidence },
	{ SECTION_DOMAIN, "tls", ONE, take_primary_tls },
	{ SECTION_DOMAIN, "checks", LIST, conf_take_check },
	{ SECTION_CONSOLE, "address", ONE, take_console },
};

const size_t conf_option_count = ELEMENTS(conf_options);

/* --- defaults, then every entry --- */

static void set_defaults(struct conf *c)
{
	c->state_dir = CONF_STATE_DIR_DEFAULT;
	c->tls_ca = CONF_TLS_CA_DEFAULT;
	c->user = STR("locum");
	c->limits.message_bytes = (uint64_t)50 << 20;
	c->limits.sessions = 20000;
	c->limits.sessions_per_client = 50;
	c->limits.recipients = 1000;
	c->limits.hops = 50;
	c->rates.unknown_recipients = 300;
	c->rates.errors = 300;
	c->spool.segment_bytes = (uint64_t)64 << 20;
	c->spool.reserve_bytes = (uint64_t)256 << 20;
}

static int start_listen(struct conf_reader *r, struct conf_block *b, struct conf_listen *l)
{
	if (b->title.n == 0 || b->title.n > 64)
		return conf_fail(r, b->line,
				 "listen \"%.*s\": a name has 1 to 64 characters; shorten it",
				 SHOW(b->title));
	l->name = b->title;
	b->target = l;
	return 0;
}

static int start_domain(struct conf_reader *r, struct conf_block *b, struct conf_domain *d)
{
	*d = (struct conf_domain){
		.acceptance = ACCEPT_LIVE,
		.recipients = RECIPIENTS_LEARN,
		.hold = 30 * NSEC_DAY,
		.filter = FILTER_STANDARD,
	};
	b->target = d;
	return conf_take_name(r, b->line, "domain", b->title, &d->name);
}

static int start_blocks(struct conf_reader *r)
{
	struct conf *c = r->conf;
	size_t listens = 0, domains = 0;
	int result = 0;

	for (size_t i = 0; i < r->block_count; i++) {
		listens += r->blocks[i].section == SECTION_LISTEN;
		domains += r->blocks[i].section == SECTION_DOMAIN;
	}
	c->listen = ARENA_ARRAY(&c->arena, struct conf_listen, listens);
	c->domains = ARENA_ARRAY(&c->arena, struct conf_domain, domains);
	if (!c->listen || !c->domains)
		return conf_fail_memory(r);
	result = conf_start_symbols(r);
	for (size_t i = 0; i < r->block_count && result == 0; i++) {
		struct conf_block *b = &r->blocks[i];

		b->target = c;
		if (b->section == SECTION_LISTEN)
			result = start_listen(r, b, &c->listen[c->listen_count++]);
		else if (b->section == SECTION_DOMAIN)
			result = start_domain(r, b, &c->domains[c->domain_count++]);
		else if (b->section == SECTION_LIST)
			result = conf_start_list(r, b);
	}
	return result;
}

int conf_take(struct conf_reader *r)
{
	int result;

	set_defaults(r->conf);
	result = start_blocks(r);
	for (size_t i = 0; i < r->entry_count && result == 0; i++) {
		const struct conf_entry *e = &r->entries[i];

		result = e->option->take(r, r->blocks[e->block].target, e);
	}
	return result < 0 ? result : conf_take_effects(r);
}
