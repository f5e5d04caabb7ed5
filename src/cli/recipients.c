#include "cli/recipients.h"

#include "base/cleanup.h"
#include "smtp/path.h"

static void closefilep(FILE **f)
{
	if (*f && *f != stdin)
		fclose(*f);
}

static int add(struct cli *cli, struct recipients *r, str address)
{
	str copy = arena_str(&cli->arena, address);

	if (!copy.p)
		return -ENOMEM;
	r->address[r->count++] = (ProtobufCBinaryData){ copy.n, (uint8_t *)copy.p };
	return 0;
}

static int read_line(struct cli *cli, const char *path, size_t number, str line, str domain,
		     struct recipients *r)
{
	line = str_trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return CLI_OK;
	if (!smtp_mailbox_is_of(line, domain))
		return cli_fail(cli, CLI_NOTHING,
				"%s:%zu: \"%.*s\" is no address of %.*s; nothing was imported",
				path, number, STR_ARG(str_first(line, 100)), STR_ARG(domain));
	if (r->count == RECIPIENTS_MAX)
		return cli_fail(cli, CLI_NOTHING,
				"%s:%zu: more than %d addresses; nothing was imported", path,
				number, RECIPIENTS_MAX);
	return add(cli, r, line) < 0 ? cli_fail(cli, CLI_NOTHING, "out of memory") : CLI_OK;
}

static int read_lines(struct cli *cli, FILE *f, const char *path, str domain, struct recipients *r)
{
	char line[RECIPIENTS_LINE_MAX + 2];
	int result = CLI_OK;

	for (size_t number = 1; result == CLI_OK && fgets(line, sizeof(line), f); number++) {
		str text = str_of(line);

		if (text.n > RECIPIENTS_LINE_MAX)
			return cli_fail(cli, CLI_NOTHING,
					"%s:%zu: the line is too long; nothing was imported", path,
					number);
		result = read_line(cli, path, number, text, domain, r);
	}
	if (result == CLI_OK && ferror(f))
		return cli_fail(cli, CLI_NOTHING, "%s cannot be read: %s", path, strerror(errno));
	return result;
}

int recipients_read(struct cli *cli, const char *path, str domain, struct recipients *ret)
{
	_cleanup_(closefilep) FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

	*ret = (struct recipients){ 0 };
	if (!f)
		return cli_fail(cli, CLI_NOTHING, "%s cannot be read: %s", path, strerror(errno));
	ret->address = ARENA_ARRAY(&cli->arena, ProtobufCBinaryData, RECIPIENTS_MAX);
	if (!ret->address)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	return read_lines(cli, f, path, domain, ret);
}
