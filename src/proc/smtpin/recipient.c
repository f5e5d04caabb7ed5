#include "proc/smtpin/recipient.h"

#include "smtp/idna.h"

static bool is_our_postmaster(const struct conf *c, const struct smtp_path *path)
{
	return smtp_path_is_postmaster(path) &&
	       (!path->domain.n || conf_is_our_name(c, path->domain));
}

/* Domains are configured by their A-labels; a client that speaks SMTPUTF8 may write U-labels. */
static const struct conf_domain *find_domain(const struct conf *c, str name)
{
	const struct conf_domain *d = conf_domain(c, name);
	char text[IDNA_SIZE];
	str ascii;

	if (d || !name.n || idna_to_ascii(name, text, &ascii) < 0)
		return d;
	return conf_domain(c, ascii);
}

/* What many a primary understands as a way on from itself: user%host, host!user, "user@host". It would relay what
 * comes from its own backup. */
static bool says_a_way(str local)
{
	for (size_t i = 0; i < local.n; i++)
		if (strchr("%!@", local.p[i]))
			return true;
	return false;
}

enum recipient_verdict recipient_check(const struct conf *c, const struct smtp_path *path,
				       char text[static SMTP_PLAIN_SIZE], struct recipient *ret)
{
	const struct conf_domain *d;
	int n;

	*ret = (struct recipient){ .address = path->mailbox };
	d = find_domain(c, path->domain);
	if (!d && is_our_postmaster(c, path)) {
		ret->domain = &c->domains[0];
		n = snprintf(text, SMTP_PLAIN_SIZE, "postmaster@%.*s", STR_ARG(c->domains[0].name));
		must(n > 0 && n < SMTP_PLAIN_SIZE);
		ret->address = str_mem(text, (size_t)n);
		return RECIPIENT_TAKEN;
	}
	if (!d)
		return RECIPIENT_NOT_OURS;
	ret->domain = d;
	switch (d->recipients) {
	case RECIPIENTS_LEARN:
	case RECIPIENTS_ANY:
		if (says_a_way(path->local))
			return RECIPIENT_ROUTED;
		break;
	case RECIPIENTS_FILE:
		/* Postmaster is always listed. */
		if (!conf_recipient_listed(d, smtp_path_plain(path, text)))
			return RECIPIENT_UNKNOWN;
		break;
	}
	return RECIPIENT_TAKEN;
}
