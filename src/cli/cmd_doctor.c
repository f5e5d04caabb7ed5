/*
 * locum doctor [DOMAIN [--snippet TOOL]]: is everything around us as it must be? The configuration is read without what only locumd
 * may read.
 */
#include "base/cleanup.h"
#include "cli/doctor.h"

static int read_configuration(struct cli *cli, struct conf **ret)
{
	_cleanup_(buf_done) struct buf error;

	buf_init(&error, 2048);
	if (conf_read_public(cli->config, ret, &error) < 0)
		return cli_fail(cli, CLI_CONFIG, "%.*s", STR_ARG(cli_safe(cli, buf_str(&error))));
	/* As locumd does: a wildcard listener makes every address of this machine ours. */
	if (conf_add_interface_addresses(*ret) < 0)
		return cli_fail(cli, CLI_NOTHING, "the addresses of this machine cannot be read");
	return CLI_OK;
}

int cmd_doctor(struct cli *cli)
{
	_cleanup_(conf_unrefp) struct conf *c = NULL;
	const struct conf_domain *domain;
	int r;

	if (cli->snippet && cli->arg_count == 0)
		return cli_fail(cli, CLI_USAGE,
				"--snippet needs a domain: locum doctor DOMAIN --snippet %s",
				cli->snippet);
	r = read_configuration(cli, &c);
	if (r != CLI_OK)
		return r;
	if (cli->arg_count == 0)
		return doctor_names(cli, c);
	domain = conf_domain(c, str_of(cli->args[0]));
	if (!domain)
		return cli_fail(cli, CLI_NOTHING, "%s is no domain of %s; `locum check` lists them",
				cli->args[0], cli->config);
	if (cli->snippet)
		return doctor_snippet(cli, c, domain, cli->snippet);
	return doctor_domain(cli, c, domain);
}
