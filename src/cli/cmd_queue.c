/*
 * locum queue [DOMAIN]: what waits, oldest first. Without a domain spoold lists the domains that have mail;
 * each is then asked for its messages. A message for several domains comes once from each.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/format.h"
#include "cli/messages.h"

#include <inttypes.h>

static int ask(struct cli *cli, char *domain, struct answers *a)
{
	Locum__Command command = LOCUM__COMMAND__INIT;

	command.verb = LOCUM__VERB__QUEUE;
	command.rows_max = *domain ? cli->rows_max : 0;
	command.domain = domain;
	return client_ask(cli, &command, a);
}

static int ask_domains(struct cli *cli, struct answers *a)
{
	_cleanup_(answers_done) struct answers domains = ANSWERS_NONE;
	int r = ask(cli, (char *)"", &domains);

	for (size_t i = 0; i < domains.row_count && r == CLI_OK; i++)
		if (domains.row[i]->domain)
			r = ask(cli, domains.row[i]->domain->domain, a);
	return r;
}

/* Ids begin with the time of arrival. */
static int by_age(const void *x, const void *y)
{
	const Locum__Answer *const *a = x, *const *b = y;

	return str_cmp(str_bytes((*a)->message->id), str_bytes((*b)->message->id));
}

/* What a message as a whole is: the first of these that a part of it is. */
static unsigned rank(Locum__MessageState state)
{
	static const Locum__MessageState order[] = {
		LOCUM__MESSAGE_STATE__MESSAGE_DELIVERING,
		LOCUM__MESSAGE_STATE__MESSAGE_QUEUED,
		LOCUM__MESSAGE_STATE__MESSAGE_HELD,
		LOCUM__MESSAGE_STATE__MESSAGE_PARKED,
	};
	unsigned i = 0;

	while (i < ELEMENTS(order) && order[i] != state)
		i++;
	return i;
}

static int merge_parts(struct answers *a)
{
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < a->row_count; i++) {
		Locum__Answer *part = a->row[i], *whole = kept ? a->row[kept - 1] : NULL;

		if (!whole || by_age(&whole, &part) != 0) {
			a->row[kept++] = part;
			continue;
		}
		r = client_merge(whole->message, part->message);
		if (r < 0)
			break;
		if (rank(part->message->state) < rank(whole->message->state))
			whole->message->state = part->message->state;
	}
	a->row_count = kept;
	return r;
}

/* Messages alone, oldest first, each once. */
static int arrange(struct answers *a)
{
	size_t kept = 0;

	for (size_t i = 0; i < a->row_count; i++)
		if (a->row[i]->message)
			a->row[kept++] = a->row[i];
	a->row_count = kept;
	if (kept > 1)
		qsort(a->row, kept, sizeof(*a->row), by_age);
	return merge_parts(a);
}

int cmd_queue(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	char text[FORMAT_SIZE];
	bool more;
	int r = cli->arg_count ? ask(cli, cli->args[0], &a) : ask_domains(cli, &a);

	if (r != CLI_OK)
		return r;
	if (arrange(&a) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory; show fewer with --rows N");
	more = cli->rows_max && a.row_count >= cli->rows_max;
	if (more)
		a.row_count = cli->rows_max;
	if (cli->json)
		return messages_print_json(cli, &a);
	if (messages_print(cli, &a) < 0)
		return cli_fail(cli, CLI_NOTHING, "out of memory; show fewer with --rows N");
	if (a.row_count == 0)
		fprintf(cli->out, "nothing waits\n");
	else if (more)
		fprintf(cli->out, "the oldest %s; --rows 0 shows all\n",
			format_count(a.row_count, text));
	return CLI_OK;
}
