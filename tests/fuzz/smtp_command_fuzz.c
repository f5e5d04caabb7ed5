/*
 * smtp_command: whatever a line says, in whatever dialect (the input's first octet), a command's slices lie within it,
 * nothing is taken that was not offered, and a path that was taken is within its lengths and taken
 * again when written back.
 */
#include "smtp/command.h"

#include "smtp/octets.h"
#include "smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(str outer, str inner)
{
	if (inner.n)
		must(inner.p >= outer.p && inner.p + inner.n <= outer.p + outer.n);
}

static void check_plain(const struct smtp_path *path)
{
	char plain_text[SMTP_PLAIN_SIZE], again_text[SMTP_PLAIN_SIZE];
	struct smtp_path again;
	str plain = smtp_path_plain(path, plain_text), domain;

	must(plain.n < SMTP_PLAIN_SIZE && plain_text[plain.n] == '\0');
	domain = str_from(plain, (size_t)str_last_index(plain, '@') + 1);
	must(path->literal || smtp_domain_valid(domain));
	/* A-labels may make it longer than a path is. */
	if (plain.n > SMTP_PATH_MAX - 2)
		return;
	must(smtp_mailbox_parse(plain, &again) == 0);
	must(str_eq(smtp_path_plain(&again, again_text), plain));
}

static void check_path(const struct smtp_path *path)
{
	struct smtp_path again;

	must(path->local.n <= SMTP_LOCAL_MAX && path->domain.n <= SMTP_DOMAIN_MAX);
	must(path->utf8 == !str_is_ascii(path->mailbox) && utf8_valid(path->mailbox));
	for (size_t i = 0; i < path->mailbox.n; i++)
		must((unsigned char)path->mailbox.p[i] >= ' ' && path->mailbox.p[i] != 0x7f);
	if (!path->domain.n)
		return;
	must(path->mailbox.n == path->local.n + 1 + path->domain.n);
	must(smtp_mailbox_parse(path->mailbox, &again) == 0);
	must(str_eq(again.local, path->local) && str_eq(again.domain, path->domain));
	check_plain(path);
}

static void check_mail(const struct smtp_command *c, const struct smtp_dialect *dialect)
{
	must(!c->smtputf8 || dialect->smtputf8);
	must(!c->path.utf8 || c->smtputf8);
	must(!c->requiretls || dialect->requiretls);
	must((c->ret == SMTP_RET_NONE && !c->envid.n) || dialect->dsn);
	must(c->body != SMTP_BODY_BINARYMIME || dialect->binarymime);
	must(c->envid.n <= SMTP_ENVID_MAX && xtext_valid(c->envid));
	must(!c->notify && !c->orcpt.n);
}

static void check_rcpt(const struct smtp_command *c, const struct smtp_dialect *dialect)
{
	char text[SMTP_NOTIFY_SIZE];

	must(c->path.mailbox.n);
	must(!c->path.utf8 || (dialect->smtputf8 && dialect->utf8_transaction));
	must((!c->notify && !c->orcpt.n) || dialect->dsn);
	must(!c->orcpt.n || orcpt_valid(c->orcpt, dialect->utf8_transaction));
	must(!(c->notify & SMTP_NOTIFY_NEVER) || c->notify == SMTP_NOTIFY_NEVER);
	must(!c->notify == !smtp_notify_text(c->notify, text).n);
	must(!c->smtputf8 && !c->requiretls && !c->size_given && !c->envid.n);
}

static void check(str line, const struct smtp_dialect *dialect, const struct smtp_command *c)
{
	must(c->verb != SMTP_UNKNOWN);
	must(line.n + 2 <= SMTP_PATH_LINE_MAX && !octets_has(line, '\n') &&
	     !octets_has(line, '\0'));
	within(line, c->path.mailbox);
	within(line, c->envid);
	within(line, c->orcpt);
	if (c->verb == SMTP_MAIL || c->verb == SMTP_RCPT)
		check_path(&c->path);
	else
		must(str_is_ascii(c->argument) || (c->smtputf8 && utf8_valid(c->argument)));
	if (c->verb == SMTP_MAIL)
		check_mail(c, dialect);
	if (c->verb == SMTP_RCPT)
		check_rcpt(c, dialect);
	must(dialect->xclient || (c->verb != SMTP_XCLIENT && c->verb != SMTP_XFORWARD));
	must(c->verb == SMTP_BDAT || (!c->chunk_bytes && !c->chunk_last));
	must(c->chunk_bytes <= INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bits = size ? data[0] : 0;
	const struct smtp_dialect dialect = {
		.smtputf8 = bits & 1,
		.dsn = bits & 2,
		.requiretls = bits & 4,
		.binarymime = bits & 8,
		.xclient = bits & 16,
		.utf8_transaction = (bits & 32) && (bits & 1),
	};
	str line = str_from(str_mem(data, size), 1);
	struct smtp_command c;

	if (smtp_command_parse(line, &dialect, &c) == SMTP_FINE)
		check(line, &dialect, &c);
	within(line, c.argument);
	return 0;
}
