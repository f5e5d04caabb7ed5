#include "cli/cli.h"

#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool wants_colour(void)
{
	const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_colour && *no_colour) &&
	       !(terminal && strcmp(terminal, "dumb") == 0);
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return 0;
	return size.ws_col;
}

int main(int argc, char **argv)
{
	struct cli cli;
	int r;

	/* What the terminal can show; messages and numbers stay as they are. */
	setlocale(LC_CTYPE, "");
	cli_init(&cli, stdout, stderr);
	cli.coloured = wants_colour();
	cli.width = terminal_width();
	cli.interactive = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
	r = cli_main(&cli, argc, argv);
	cli_done(&cli);
	return r;
}
