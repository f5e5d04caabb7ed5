/*
 * smtp_command: whatever a line says, a command's slices lie within it, and a path that was taken is
 * within its lengths and taken again when written back.
 */
#include "smtp/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(str outer, str inner)
{
	if (inner.n)
		must(inner.p >= outer.p && inner.p + inner.n <= outer.p + outer.n);
}

static void check_path(const struct smtp_path *path)
{
	char plain_text[SMTP_PLAIN_SIZE], again_text[SMTP_PLAIN_SIZE];
	struct smtp_path again;
	str plain;

	must(path->local.n <= SMTP_LOCAL_MAX && path->domain.n <= SMTP_DOMAIN_MAX);
	for (size_t i = 0; i < path->mailbox.n; i++)
		must(path->mailbox.p[i] >= ' ' && path->mailbox.p[i] <= '~');
	if (!path->domain.n)
		return;
	must(path->mailbox.n == path->local.n + 1 + path->domain.n);
	must(smtp_mailbox_parse(path->mailbox, &again) == 0);
	must(str_eq(again.local, path->local) && str_eq(again.domain, path->domain));
	plain = smtp_path_plain(path, plain_text);
	must(smtp_mailbox_parse(plain, &again) == 0);
	must(str_eq(smtp_path_plain(&again, again_text), plain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	str line = str_mem(data, size);
	enum smtp_complaint complaint;
	static const struct smtp_dialect dialect = { 0 };
	struct smtp_command c;

	complaint = smtp_command_parse(line, &dialect, &c);
	within(line, c.argument);
	if (complaint != SMTP_FINE)
		return 0;
	must(c.verb != SMTP_UNKNOWN);
	must(size + 2 <= SMTP_PATH_LINE_MAX && !memchr(data, '\n', size) && !memchr(data, 0, size));
	within(line, c.path.mailbox);
	if (c.verb == SMTP_MAIL || c.verb == SMTP_RCPT)
		check_path(&c.path);
	must(c.verb != SMTP_RCPT || c.path.mailbox.n);
	return 0;
}
