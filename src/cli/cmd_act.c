/*
 * Commands that change something: flush, hold, release, drop, reload, upgrade.
 */
#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/format.h"
#include "cli/json.h"

static int report(struct cli *cli, const char *done, uint64_t count)
{
	char text[FORMAT_SIZE];

	if (cli->json)
		return js_print_count(cli, count);
	fprintf(cli->out, "%s %s %s\n", format_count(count, text),
		count == 1 ? "message" : "messages", done);
	return CLI_OK;
}

/* Asks with a target; count 0 is "nothing matched". */
static int act(struct cli *cli, Locum__Verb verb, const char *done, const char *nothing)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__Command command = LOCUM__COMMAND__INIT;
	int r = CLI_OK;

	command.verb = verb;
	if (cli->arg_count)
		r = client_set_target(cli, &command, 0);
	if (r == CLI_OK)
		r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	if (a.last->count == 0 && cli->arg_count)
		return cli_fail(cli, CLI_NOTHING, "%s of %s", nothing, cli->args[0]);
	return report(cli, done, a.last->count);
}

int cmd_flush(struct cli *cli)
{
	msg_id id;

	if (cli->arg_count && id_parse(str_of(cli->args[0]), &id) == 0)
		return cli_fail(
			cli, CLI_USAGE,
			"flush takes a domain: a primary is tried for all its messages at once");
	return act(cli, LOCUM__VERB__FLUSH, "will be tried now", "nothing waits");
}

int cmd_hold(struct cli *cli)
{
	return act(cli, LOCUM__VERB__HOLD, "held until `locum release`",
		   "there is nothing to hold");
}

int cmd_release(struct cli *cli)
{
	return act(cli, LOCUM__VERB__RELEASE, "released for delivery", "there is nothing held");
}

static bool confirmed(struct cli *cli)
{
	char answer[16] = "";

	fprintf(cli->err, "Destroy what is held and queued of %.*s for ever? [y/N] ",
		STR_ARG(cli_safe(cli, str_of(cli->args[0]))));
	fflush(cli->err);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int cmd_drop(struct cli *cli)
{
	if (!cli->yes && !cli->interactive)
		return cli_fail(cli, CLI_USAGE,
				"drop destroys mail; say --yes to do it without being asked");
	if (!cli->yes && !confirmed(cli))
		return cli_fail(cli, CLI_NOTHING, "nothing was dropped");
	return act(cli, LOCUM__VERB__DROP, "destroyed", "there is nothing to drop");
}

int cmd_reload(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__Command command = LOCUM__COMMAND__INIT;
	int r;

	command.verb = LOCUM__VERB__RELOAD;
	cli->refusal = CLI_CONFIG;
	r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	if (cli->json)
		return js_print_count(cli, 1);
	fprintf(cli->out, "the configuration was read again and is in use\n");
	for (size_t i = 0; i < a.row_count; i++)
		if (a.row[i]->event)
			fprintf(cli->out, "note: %s\n", a.row[i]->event->text);
	return CLI_OK;
}

int cmd_upgrade(struct cli *cli)
{
	_cleanup_(answers_done) struct answers a = ANSWERS_NONE;
	Locum__Command command = LOCUM__COMMAND__INIT;
	int r;

	command.verb = LOCUM__VERB__UPGRADE;
	r = client_ask(cli, &command, &a);
	if (r != CLI_OK)
		return r;
	if (cli->json)
		return js_print_count(cli, 1);
	for (size_t i = 0; i < a.row_count; i++)
		if (a.row[i]->event)
			fprintf(cli->out, "%.*s\n",
				STR_ARG(cli_safe(cli, str_of(a.row[i]->event->text))));
	return CLI_OK;
}
