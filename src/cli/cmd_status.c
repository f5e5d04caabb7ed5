/*
 * locum status: the numbers, the primaries, the domains that have mail, and what to do next.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/words.h"

#include <inttypes.h>

/* --- JSON --- */

static json_t *js_alerts(const Locum__StatusRow *s)
{
	json_t *all = json_array();

	for (size_t i = 0; i < s->n_alerts; i++)
		json_array_append_new(all, js_text(str_of(s->alerts[i])));
	return all;
}

static void js_status(json_t *o, const Locum__StatusRow *s)
{
	json_object_set_new(o, "hostname", js_text(str_of(s->hostname)));
	json_object_set_new(o, "version", js_text(str_of(s->version)));
	json_object_set_new(o, "started", js_time(s->started_wall));
	json_object_set_new(o, "accepting", json_boolean(s->accepting));
	json_object_set_new(o, "messages", js_number(s->messages));
	json_object_set_new(o, "messages_held", js_number(s->messages_held));
	json_object_set_new(o, "bytes", js_number(s->bytes));
	json_object_set_new(o, "spool_bytes", js_number(s->spool_bytes));
	json_object_set_new(o, "bytes_free", js_number(s->bytes_free));
	json_object_set_new(o, "bytes_reserve", js_number(s->bytes_reserve));
	json_object_set_new(o, "sessions", js_number(s->sessions));
	json_object_set_new(o, "stress", json_string(word_stress(s->stress)));
	json_object_set_new(o, "accepted_total", js_number(s->accepted_total));
	json_object_set_new(o, "refused_total", js_number(s->refused_total));
	json_object_set_new(o, "deferred_total", js_number(s->deferred_total));
	json_object_set_new(o, "delivered_total", js_number(s->delivered_total));
	json_object_set_new(o, "passed_total", js_number(s->passed_total));
	json_object_set_new(o, "alerts", js_alerts(s));
}

static json_t *js_offers(uint32_t offers)
{
	json_t *all = json_array();
	const struct offer_word *w;

	for (size_t i = 0; (w = word_offer(i)); i++)
		if (offers & w->extension)
			json_array_append_new(all, json_string(ehlo_keyword(w->extension)));
	return all;
}

static json_t *js_drain(const Locum__DestinationRow *d)
{
	json_t *o;

	if (!d->drain_since_wall)
		return json_null();
	o = json_object();
	json_object_set_new(o, "since", js_time(d->drain_since_wall));
	json_object_set_new(o, "delivered", js_number(d->drain_delivered));
	json_object_set_new(o, "total", js_number(d->drain_total));
	json_object_set_new(o, "end", js_time(d->drain_end_wall));
	return o;
}

static json_t *js_destination(const Locum__DestinationRow *d)
{
	json_t *o = json_object(), *domains = json_array();

	json_object_set_new(o, "destination", js_text(str_of(d->destination)));
	json_object_set_new(o, "state", json_string(word_primary(d->state)));
	json_object_set_new(o, "since", js_time(d->since_wall));
	json_object_set_new(o, "text", js_text(str_of(d->text)));
	json_object_set_new(o, "queued", js_number(d->queued));
	json_object_set_new(o, "in_flight", js_number(d->in_flight));
	json_object_set_new(o, "window", js_number(d->window));
	json_object_set_new(o, "live", js_number(d->live));
	json_object_set_new(o, "rate", json_real(d->rate));
	json_object_set_new(o, "next_probe", js_time(d->next_probe_wall));
	for (size_t i = 0; i < d->n_domains; i++)
		json_array_append_new(domains, js_text(str_of(d->domains[i])));
	json_object_set_new(o, "domains", domains);
	json_object_set_new(o, "seen", js_time(d->seen_wall));
	json_object_set_new(o, "offers", js_offers(d->offers));
	json_object_set_new(o, "size_limit",
			    d->size_bytes ? js_number(d->size_bytes) : json_null());
	json_object_set_new(o, "drain", js_drain(d));
	return o;
}

static json_t *js_domain(const Locum__DomainRow *d)
{
	json_t *o = json_object();

	json_object_set_new(o, "domain", js_text(str_of(d->domain)));
	json_object_set_new(o, "state", json_string(word_primary(d->state)));
	json_object_set_new(o, "destination", js_text(str_of(d->destination)));
	json_object_set_new(o, "queued", js_number(d->queued));
	json_object_set_new(o, "held", js_number(d->held));
	json_object_set_new(o, "bytes", js_number(d->bytes));
	json_object_set_new(o, "oldest", js_time(d->oldest_wall));
	return o;
}

static int print_json(struct cli *cli, const struct answers *a)
{
	json_t *o = json_object(), *destinations = json_array(), *domains = json_array();

	for (size_t i = 0; i < a->row_count; i++) {
		if (a->row[i]->status)
			js_status(o, a->row[i]->status);
		if (a->row[i]->destination)
			json_array_append_new(destinations, js_destination(a->row[i]->destination));
		if (a->row[i]->domain)
			json_array_append_new(domains, js_domain(a->row[i]->domain));
	}
	json_object_set_new(o, "destinations", destinations);
	json_object_set_new(o, "domains", domains);
	return js_print(cli, o);
}

/* --- text --- */

static void print_accepting(struct cli *cli, const Locum__StatusRow *s)
{
	char free_text[FORMAT_SIZE], reserve_text[FORMAT_SIZE];

	fprintf(cli->out, "accepting  ");
	if (s->accepting)
		colour_print(cli->out, STR("yes"), COLOUR_GOOD, cli->coloured);
	else
		colour_print(cli->out, STR("NO: clients are told to come back (452)"), COLOUR_BAD,
			     cli->coloured);
	fprintf(cli->out, ", %s free on disk, %s of it reserved\n",
		format_bytes(s->bytes_free, free_text),
		format_bytes(s->bytes_reserve, reserve_text));
}

static void print_numbers(struct cli *cli, const Locum__StatusRow *s)
{
	char a[FORMAT_SIZE], b[FORMAT_SIZE], c[FORMAT_SIZE], d[FORMAT_SIZE];
	FILE *out = cli->out;

	fprintf(out, "%.*s, locum %.*s", STR_ARG(cli_safe(cli, str_of(s->hostname))),
		STR_ARG(cli_safe(cli, str_of(s->version))));
	if (s->started_wall)
		fprintf(out, ", up for %s", format_span(cli->now_wall - s->started_wall, a));
	fputc('\n', out);
	print_accepting(cli, s);
	fprintf(out, "spool      %s %s", format_count(s->messages, a),
		s->messages == 1 ? "message" : "messages");
	if (s->messages_held)
		fprintf(out, " (%s held)", format_count(s->messages_held, b));
	fprintf(out, ", %s, %s on disk\n", format_bytes(s->bytes, c),
		format_bytes(s->spool_bytes, d));
	fprintf(out, "sessions   %s now%s%s; since start %s messages accepted, %s delivered\n",
		format_count(s->sessions, a), s->stress ? ", stress: " : "",
		s->stress ? word_stress(s->stress) : "", format_count(s->accepted_total, b),
		format_count(s->delivered_total, c));
	fprintf(out, "           %s passed live, %s refused, %s deferred\n",
		format_count(s->passed_total, a), format_count(s->refused_total, b),
		format_count(s->deferred_total, c));
	for (size_t i = 0; i < s->n_alerts; i++) {
		colour_print(out, STR("ALERT      "), COLOUR_BAD, cli->coloured);
		fprintf(out, "%.*s\n", STR_ARG(cli_safe(cli, str_of(s->alerts[i]))));
	}
}

/* "9.5 MiB 8BITMIME DSN"; empty: never seen. */
static const char *offers_text(const Locum__DestinationRow *d, char *text, size_t size)
{
	char bytes[FORMAT_SIZE];
	const struct offer_word *w;
	size_t n = 0;

	text[0] = '\0';
	if (d->size_bytes)
		n = (size_t)snprintf(text, size, "%s", format_bytes(d->size_bytes, bytes));
	for (size_t i = 0; (w = word_offer(i)) && n < size; i++)
		if (w->shown && d->offers & w->extension)
			n += (size_t)snprintf(text + n, size - n, "%s%s", n ? " " : "",
					      ehlo_keyword(w->extension));
	return *text || !d->seen_wall ? text : "nothing";
}

static int print_destinations(struct cli *cli, const struct answers *a)
{
	static const struct table_column columns[] = {
		{ "PRIMARY", false },  { "STATE", false },  { "SINCE", false },
		{ "QUEUED", true },    { "SENDING", true }, { "PER S", true },
		{ "NEXT TRY", false }, { "OFFERS", false }, { "LAST WORD", false },
	};
	_cleanup_(table_done) struct table t;
	char text[FORMAT_SIZE], offers[200];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < a->row_count; i++) {
		const Locum__DestinationRow *d = a->row[i]->destination;

		if (!d)
			continue;
		table_add(&t, str_of(d->destination));
		table_add_coloured(&t, str_of(word_primary(d->state)), colour_primary(d->state));
		table_add(&t, str_of(format_when(d->since_wall, cli->now_wall, text)));
		table_add(&t, str_of(format_count(d->queued, text)));
		table_addf(&t, "%u/%u", d->in_flight, d->window);
		table_addf(&t, "%.1f", d->rate);
		table_add(&t, str_of(format_when(d->next_probe_wall, cli->now_wall, text)));
		table_add(&t, str_of(offers_text(d, offers, sizeof(offers))));
		table_add(&t, str_of(d->text));
	}
	if (t.cell_count)
		fputc('\n', cli->out);
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

/* "mail.example.cz:25 takes over: 1,200 of 5,000 delivered in 2m, 40.0 a second, done in 1m 35s" */
static void print_drain(struct cli *cli, const Locum__DestinationRow *d)
{
	char delivered[FORMAT_SIZE], total[FORMAT_SIZE], since[FORMAT_SIZE], left[FORMAT_SIZE];

	fprintf(cli->out, "%.*s takes over: %s of %s delivered in %s, %.1f a second",
		STR_ARG(cli_safe(cli, str_of(d->destination))),
		format_count(d->drain_delivered, delivered), format_count(d->drain_total, total),
		format_span(cli->now_wall - d->drain_since_wall, since), d->rate);
	if (d->drain_end_wall)
		fprintf(cli->out, ", done in %s",
			format_span(MAX(d->drain_end_wall - cli->now_wall, (int64_t)0), left));
	fputc('\n', cli->out);
}

static void print_drains(struct cli *cli, const struct answers *a)
{
	bool any = false;

	for (size_t i = 0; i < a->row_count; i++) {
		const Locum__DestinationRow *d = a->row[i]->destination;

		if (!d || !d->drain_since_wall)
			continue;
		if (!any)
			fputc('\n', cli->out);
		any = true;
		print_drain(cli, d);
	}
}

static int print_domains(struct cli *cli, const struct answers *a)
{
	static const struct table_column columns[] = {
		{ "DOMAIN", false }, { "STATE", false },  { "QUEUED", true },   { "HELD", true },
		{ "SIZE", true },    { "OLDEST", false }, { "PRIMARY", false },
	};
	_cleanup_(table_done) struct table t;
	char text[FORMAT_SIZE];

	table_init(&t, columns, ELEMENTS(columns));
	for (size_t i = 0; i < a->row_count; i++) {
		const Locum__DomainRow *d = a->row[i]->domain;

		if (!d)
			continue;
		table_add(&t, str_of(d->domain));
		table_add_coloured(&t, str_of(word_primary(d->state)), colour_primary(d->state));
		table_add(&t, str_of(format_count(d->queued, text)));
		table_add(&t, str_of(format_count(d->held, text)));
		table_add(&t, str_of(format_bytes(d->bytes, text)));
		table_add(&t, str_of(format_when(d->oldest_wall, cli->now_wall, text)));
		table_add(&t, str_of(d->destination));
	}
	if (t.cell_count)
		fputc('\n', cli->out);
	return table_print(&t, cli->out, 0, cli->width, cli->coloured);
}

/* --- what to do next --- */

static void hint_destination(struct cli *cli, const Locum__DestinationRow *d)
{
	const char *name = d->n_domains ? d->domains[0] : d->destination;
	str domain = cli_safe(cli, str_of(name));
	str primary = cli_safe(cli, str_of(d->destination));
	char span[FORMAT_SIZE], when[FORMAT_SIZE];

	switch (d->state) {
	case LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE:
		fprintf(cli->out,
			"%.*s: DNS names no better server than this one; check its MX records, or "
			"set "
			"primary in the configuration\n",
			STR_ARG(domain));
		return;
	case LOCUM__PRIMARY_STATE__PRIMARY_REFUSING:
	case LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE:
		break;
	case LOCUM__PRIMARY_STATE__PRIMARY_UP:
	case LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN:
	case _LOCUM__PRIMARY_STATE_IS_INT_SIZE:
		return;
	}
	if (!d->queued)
		return;
	fprintf(cli->out, "%.*s %s for %s", STR_ARG(primary), word_primary(d->state),
		format_span(cli->now_wall - d->since_wall, span));
	if (d->next_probe_wall)
		fprintf(cli->out, ": next try %s",
			format_when(d->next_probe_wall, cli->now_wall, when));
	fprintf(cli->out, "; `locum flush %.*s` tries now\n", STR_ARG(domain));
}

static void hint_held(struct cli *cli, const Locum__DomainRow *d)
{
	str domain = cli_safe(cli, str_of(d->domain));

	if (d->held)
		fprintf(cli->out,
			"%.*s holds %" PRIu64
			": `locum queue %.*s` says why, `locum release` delivers again, "
			"`locum drop` destroys\n",
			STR_ARG(domain), d->held, STR_ARG(domain));
}

static void print_hints(struct cli *cli, const struct answers *a)
{
	fputc('\n', cli->out);
	for (size_t i = 0; i < a->row_count; i++) {
		if (a->row[i]->destination)
			hint_destination(cli, a->row[i]->destination);
		if (a->row[i]->domain)
			hint_held(cli, a->row[i]->domain);
	}
}

static bool has_hints(const struct answers *a)
{
	for (size_t i = 0; i < a->row_count; i++) {
		const Locum__DestinationRow *d = a->row[i]->destination;

		if (d && (d->state == LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE ||
			  (d->queued && (d->state == LOCUM__PRIMARY_STATE__PRIMARY_REFUSING ||
					 d->state == LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE))))
			return true;
		if (a->row[i]->domain && a->row[i]->domain->held)
			return true;
	}
	return false;
}

int cmd_status(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__Command command = LOCUM__COMMAND__INIT;
	int r;

	command.verb = LOCUM__VERB__STATUS;
	r = client_ask(cli, &command, &a);
	/* Without a domain: a row for each domain that has mail. */
	command.verb = LOCUM__VERB__QUEUE;
	if (r == CLI_OK)
		r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	if (cli->json)
		return print_json(cli, &a);
	for (size_t i = 0; i < a.row_count; i++)
		if (a.row[i]->status)
			print_numbers(cli, a.row[i]->status);
	if (print_destinations(cli, &a) < 0 || print_domains(cli, &a) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	print_drains(cli, &a);
	if (has_hints(&a))
		print_hints(cli, &a);
	return CLI_OK;
}
