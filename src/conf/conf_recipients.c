/*
 * recipients = "file:PATH": one mailbox a line, empty lines and # comments allowed. A file may serve several
 * domains: each takes its own lines. A line that belongs to no configured domain is a mistake, since
 * mail for it would silently be refused.
 */
#include "conf/reader.h"

#include "base/cleanup.h"

struct list_file {
	struct conf_reader *r;
	struct conf_domain *d;
	const char *path;
	unsigned line;
};

static const char *mailbox_fault(str address, str *ret_domain)
{
	ssize_t at = str_last_index(address, '@');

	if (at <= 0 || (size_t)at > 64 || address.n >= CONF_MAILBOX_MAX)
		return "is not a mailbox; write local@domain";
	for (size_t i = 0; i < (size_t)at; i++)
		if (address.p[i] <= ' ' || address.p[i] > '~' || strchr("<>(),;", address.p[i]))
			return "has a character that does not belong there; write local@domain "
			       "alone";
	*ret_domain = str_from(address, (size_t)at + 1);
	if (ret_domain->n > 1 && ret_domain->p[ret_domain->n - 1] == '.')
		ret_domain->n--;
	return conf_name_fault(*ret_domain);
}

/* The mailbox of a line, STR_NONE when it is another domain's or there is none. */
static int read_line(struct list_file *f, str line, str *ret_local, str *ret_domain)
{
	str text = str_trim(line);
	const char *fault;
	ssize_t hash = str_index(text, '#');

	*ret_local = STR_NONE;
	/* A # may be part of a local part: it begins a comment only in front or after a space. */
	while (hash > 0 && text.p[hash - 1] != ' ' && text.p[hash - 1] != '\t') {
		ssize_t next = str_index(str_from(text, (size_t)hash + 1), '#');

		hash = next < 0 ? -1 : hash + 1 + next;
	}
	if (hash >= 0)
		text = str_trim(str_first(text, (size_t)hash));
	if (text.n == 0)
		return 0;
	fault = mailbox_fault(text, ret_domain);
	if (fault)
		return conf_fail_in(f->r, f->path, f->line, "\"%.*s\" %s", SHOW(text), fault);
	if (!conf_domain(f->r->conf, *ret_domain))
		return conf_fail_in(
			f->r, f->path, f->line,
			"\"%.*s\" belongs to no configured domain; correct it or add the domain",
			SHOW(text));
	if (str_case_eq(*ret_domain, f->d->name))
		*ret_local = str_first(text, (size_t)(ret_domain->p - 1 - text.p));
	return 0;
}

/* Stores "local@domain" in lower case at *at and moves it on. */
static void store(struct conf_domain *d, str local, char **at)
{
	char *p = *at;

	must(p);
	conf_lower(local, p);
	p[local.n] = '@';
	memcpy(p + local.n + 1, d->name.p, d->name.n);
	d->addresses[d->address_count++] = (str){ p, local.n + 1 + d->name.n };
	*at = p + local.n + 1 + d->name.n;
}

/* Counts when d->addresses is NULL, else stores. */
static int walk(struct list_file *f, str text, char **at, size_t *ret_count, size_t *ret_bytes)
{
	str rest = text, line, local, domain;
	bool more = true;
	int result;

	*ret_count = *ret_bytes = 0;
	for (f->line = 1; more; f->line++) {
		more = str_cut(rest, '\n', &line, &rest);
		result = read_line(f, line, &local, &domain);
		if (result < 0)
			return result;
		if (local.n == 0)
			continue;
		++*ret_count;
		*ret_bytes += local.n + 1 + f->d->name.n;
		if (f->d->addresses)
			store(f->d, local, at);
	}
	return 0;
}

static int address_cmp(const void *a, const void *b)
{
	return str_cmp(*(const str *)a, *(const str *)b);
}

static void sort_unique(struct conf_domain *d)
{
	size_t kept = 0;

	qsort(d->addresses, d->address_count, sizeof(*d->addresses), address_cmp);
	for (size_t i = 0; i < d->address_count; i++)
		if (i == 0 || !str_eq(d->addresses[i], d->addresses[kept - 1]))
			d->addresses[kept++] = d->addresses[i];
	d->address_count = kept;
}

int conf_load_recipients(struct conf_reader *r, struct conf_domain *d)
{
	struct list_file f = { .r = r, .d = d, .path = d->recipients_path.p };
	_cleanup_(freep) char *text = NULL;
	size_t bytes, count, text_bytes;
	char *at = NULL;
	int result;

	result = conf_read_whole(f.path, CONF_RECIPIENTS_FILE_MAX, &text, &bytes);
	if (result == -EFBIG)
		return conf_fail(r, conf_line_of(r, d, "recipients"),
				 "recipients file \"%.*s\" is larger than 16 MiB; use \"any\"",
				 SHOW(d->recipients_path));
	if (result < 0)
		return conf_fail(
			r, conf_line_of(r, d, "recipients"),
			"recipients file \"%.*s\" cannot be read: %s; correct the path or its "
			"permissions",
			SHOW(d->recipients_path), strerror(-result));
	result = walk(&f, str_mem(text, bytes), &at, &count, &text_bytes);
	if (result < 0)
		return result;
	if (count == 0)
		return conf_fail(
			r, conf_line_of(r, d, "recipients"),
			"recipients file \"%.*s\" has no mailbox of %.*s; add them or use \"any\"",
			SHOW(d->recipients_path), SHOW(d->name));
	d->addresses = ARENA_ARRAY(&r->conf->arena, str, count);
	at = arena_alloc(&r->conf->arena, text_bytes);
	if (!d->addresses || !at)
		return conf_fail_memory(r);
	result = walk(&f, str_mem(text, bytes), &at, &count, &text_bytes);
	must(result == 0);
	sort_unique(d);
	return 0;
}
