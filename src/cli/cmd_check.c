/*
 * locum check [FILE]: would locumd take this configuration, and what would it do with it?
 */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "conf/conf.h"
#include "conf/units.h"

#define EXCEPTIONS_SHOWN 3

static const char *const acceptance_word[] = {
	[ACCEPT_LIVE] = "live",
	[ACCEPT_DEFER] = "defer",
	[ACCEPT_QUEUE] = "queue",
};

static const char *const evidence_word[] = {
	[EVIDENCE_OFFERED] = "offered",   [EVIDENCE_XCLIENT] = "xclient",
	[EVIDENCE_XFORWARD] = "xforward", [EVIDENCE_HEADER] = "header",
	[EVIDENCE_NONE] = "none",
};
static const char *const filter_word[] = {
	[FILTER_STANDARD] = "standard",
	[FILTER_AUTH_ONLY] = "auth-only",
	[FILTER_OFF] = "off",
};

static const char *const tls_word[] = {
	[CONF_TLS_OFF] = "off",
	[CONF_TLS_STARTTLS] = "starttls",
	[CONF_TLS_IMPLICIT] = "implicit",
};

static const char *const effect_word[] = {
	[EFFECT_OFF] = "off",
	[EFFECT_SCORE] = "score",
	[EFFECT_REFUSE] = "refuse",
};

/* As the file writes it: "mx", "mail.example.cz:25", "[2001:db8::1]:25". */
static const char *hop_text(struct cli *cli, const struct conf_hop *hop)
{
	const char *text;

	if (hop->mx)
		text = hop->port == 25 ? "mx" : arena_sprintf(&cli->arena, "mx:%u", hop->port);
	else if (str_index(hop->host, ':') >= 0)
		text = arena_sprintf(&cli->arena, "[%.*s]:%u", STR_ARG(hop->host), hop->port);
	else
		text = arena_sprintf(&cli->arena, "%.*s:%u", STR_ARG(hop->host), hop->port);
	return text ? text : "";
}

static const char *recipients_text(struct cli *cli, const struct conf_domain *d)
{
	const char *text = NULL;

	switch (d->recipients) {
	case RECIPIENTS_LEARN:
		return "learn";
	case RECIPIENTS_ANY:
		return "any";
	case RECIPIENTS_FILE:
		text = arena_sprintf(&cli->arena, "file:%.*s (%zu)", STR_ARG(d->recipients_path),
				     d->address_count);
		break;
	}
	return text ? text : "";
}

/* --- JSON --- */

/* What is otherwise than for all domains. */
static json_t *js_effects(const struct conf *c, const struct conf_domain *d)
{
	json_t *o = json_object();

	for (size_t i = 0; i < c->symbol_count; i++)
		if (d->effects[i] != c->symbols[i].effect)
			json_object_set_new(o, c->symbols[i].name.p,
					    json_string(effect_word[d->effects[i]]));
	return o;
}

static json_t *js_check(const struct conf *c, size_t symbol)
{
	const struct conf_symbol *s = &c->symbols[symbol];
	json_t *o = json_object();

	json_object_set_new(o, "check", js_text(s->name));
	json_object_set_new(o, "score", json_real(s->score));
	json_object_set_new(o, "effect", json_string(effect_word[s->effect]));
	if (symbol >= CHECK_COUNT)
		json_object_set_new(o, "zone", js_text(c->lists[symbol - CHECK_COUNT].zone));
	return o;
}

static json_t *js_domain(struct cli *cli, const struct conf *c, const struct conf_domain *d)
{
	json_t *o = json_object(), *primary = json_array();
	static const char *const kind[] = { "learn", "any", "file" };

	json_object_set_new(o, "domain", js_text(d->name));
	for (size_t i = 0; i < d->primary_count; i++)
		json_array_append_new(primary, json_string(hop_text(cli, &d->primary[i])));
	json_object_set_new(o, "primary", primary);
	json_object_set_new(o, "acceptance", json_string(acceptance_word[d->acceptance]));
	json_object_set_new(o, "recipients", json_string(kind[d->recipients]));
	json_object_set_new(o, "mailboxes", js_number(d->address_count));
	json_object_set_new(o, "hold_seconds", js_number((uint64_t)(d->hold / NSEC_S)));
	json_object_set_new(o, "filter", json_string(filter_word[d->filter]));
	json_object_set_new(o, "evidence", json_string(evidence_word[d->evidence]));
	json_object_set_new(o, "checks", js_effects(c, d));
	return o;
}

static json_t *js_listen(const struct conf_listen *l)
{
	json_t *o = json_object(), *certificates = json_array();
	char text[ADDR_TEXT_SIZE];

	json_object_set_new(o, "name", js_text(l->name));
	json_object_set_new(o, "address", json_string(addr_text(&l->address, text)));
	json_object_set_new(o, "tls", json_string(tls_word[l->tls]));
	for (size_t i = 0; i < l->certificate_count; i++)
		json_array_append_new(certificates, js_text(l->certificates[i].certificate));
	json_object_set_new(o, "certificates", certificates);
	return o;
}

static int print_json(struct cli *cli, const char *path, const struct conf *c)
{
	json_t *o = json_object(), *notes = json_array(), *listen = json_array(),
	       *checks = json_array(), *domains = json_array();

	json_object_set_new(o, "file", js_text(str_of(path)));
	json_object_set_new(o, "ok", json_true());
	json_object_set_new(o, "hostname", js_text(c->hostname));
	json_object_set_new(o, "state_dir", js_text(c->state_dir));
	for (size_t i = 0; i < c->note_count; i++)
		json_array_append_new(notes, js_text(c->notes[i]));
	for (size_t i = 0; i < c->listen_count; i++)
		json_array_append_new(listen, js_listen(&c->listen[i]));
	for (size_t i = 0; i < c->domain_count; i++)
		json_array_append_new(domains, js_domain(cli, c, &c->domains[i]));
	json_object_set_new(o, "notes", notes);
	json_object_set_new(o, "listen", listen);
	for (size_t i = 0; i < c->symbol_count; i++)
		json_array_append_new(checks, js_check(c, i));
	json_object_set_new(o, "checks", checks);
	json_object_set_new(o, "domains", domains);
	return js_print(cli, o);
}

static int print_json_error(struct cli *cli, const char *path, str error)
{
	json_t *o = json_object();

	json_object_set_new(o, "file", js_text(str_of(path)));
	json_object_set_new(o, "ok", json_false());
	json_object_set_new(o, "error", js_text(error));
	json_object_set_new(o, "exit", json_integer(CLI_CONFIG));
	js_print(cli, o);
	return CLI_CONFIG;
}

/* --- text --- */

static int print_listen(struct cli *cli, const struct conf *c)
{
	static const struct table_column columns[] = {
		{ "LISTEN", false },
		{ "ADDRESS", false },
		{ "TLS", false },
		{ "CERTIFICATES", false },
	};
	_cleanup_(table_done) struct table t;
	char text[ADDR_TEXT_SIZE];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_listen *l = &c->listen[i];
		_cleanup_(buf_done) struct buf paths;

		buf_init(&paths, 4096);
		table_add(&t, l->name);
		table_add(&t, str_of(addr_text(&l->address, text)));
		table_add(&t, str_of(tls_word[l->tls]));
		for (size_t k = 0; k < l->certificate_count; k++)
			buf_addf(&paths, "%s%.*s", k ? ", " : "",
				 STR_ARG(l->certificates[k].certificate));
		table_add(&t, buf_str(&paths));
	}
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

/* The domains for which a check does something else than for all. */
static void list_exceptions(const struct conf *c, size_t symbol, struct buf *to)
{
	size_t count = 0;

	for (size_t i = 0; i < c->domain_count; i++) {
		const struct conf_domain *d = &c->domains[i];

		if (d->effects[symbol] == c->symbols[symbol].effect || count++ >= EXCEPTIONS_SHOWN)
			continue;
		buf_addf(to, "%s%.*s: %s", count > 1 ? ", " : "", STR_ARG(d->name),
			 effect_word[d->effects[symbol]]);
	}
	if (count > EXCEPTIONS_SHOWN)
		buf_addf(to, " and %zu more", count - EXCEPTIONS_SHOWN);
}

static int print_checks(struct cli *cli, const struct conf *c)
{
	static const struct table_column columns[] = {
		{ "CHECK", false }, { "SCORE", true },       { "EFFECT", false },
		{ "ZONE", false },  { "EXCEPTIONS", false },
	};
	_cleanup_(table_done) struct table t;

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < c->symbol_count; i++) {
		const struct conf_symbol *s = &c->symbols[i];
		_cleanup_(buf_done) struct buf exceptions;

		buf_init(&exceptions, 4096);
		list_exceptions(c, i, &exceptions);
		table_add(&t, s->name);
		table_addf(&t, "%g", s->score);
		table_add(&t, str_of(effect_word[s->effect]));
		table_add(&t, i < CHECK_COUNT ? STR("") : c->lists[i - CHECK_COUNT].zone);
		table_add(&t, buf_str(&exceptions));
	}
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

static int print_domains(struct cli *cli, const struct conf *c)
{
	static const struct table_column columns[] = {
		{ "DOMAIN", false },     { "HOLD", true },    { "ACCEPTANCE", false },
		{ "RECIPIENTS", false }, { "FILTER", false }, { "PRIMARY", false },
	};
	_cleanup_(table_done) struct table t;
	char text[UNITS_TEXT_SIZE];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < c->domain_count; i++) {
		const struct conf_domain *d = &c->domains[i];
		_cleanup_(buf_done) struct buf primary;

		buf_init(&primary, 4096);
		for (size_t k = 0; k < d->primary_count; k++)
			buf_addf(&primary, "%s%s", k ? ", " : "", hop_text(cli, &d->primary[k]));
		table_add(&t, d->name);
		table_add(&t, str_of(units_duration_text(d->hold, text)));
		table_add(&t, str_of(acceptance_word[d->acceptance]));
		table_add(&t, str_of(recipients_text(cli, d)));
		table_add(&t, str_of(filter_word[d->filter]));
		table_add(&t, buf_str(&primary));
	}
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

static int print_text(struct cli *cli, const char *path, const struct conf *c)
{
	fprintf(cli->out, "%.*s: ok\n", STR_ARG(cli_safe(cli, str_of(path))));
	for (size_t i = 0; i < c->note_count; i++)
		fprintf(cli->out, "note: %.*s\n", STR_ARG(cli_safe(cli, c->notes[i])));
	fputc('\n', cli->out);
	if (print_listen(cli, c) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	fputc('\n', cli->out);
	if (print_checks(cli, c) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	fputc('\n', cli->out);
	if (print_domains(cli, c) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	return CLI_OK;
}

int cmd_check(struct cli *cli)
{
	const char *path = cli->arg_count ? cli->args[0] : cli->config;
	_cleanup_(conf_unrefp) struct conf *c = NULL;
	_cleanup_(buf_done) struct buf error;

	buf_init(&error, 2048);
	if (conf_read(path, &c, &error) < 0) {
		if (cli->json)
			return print_json_error(cli, path, buf_str(&error));
		/* Without our name in front: editors jump to FILE:LINE. */
		fprintf(cli->err, "%.*s\n", STR_ARG(cli_safe(cli, buf_str(&error))));
		return CLI_CONFIG;
	}
	return cli->json ? print_json(cli, path, c) : print_text(cli, path, c);
}
