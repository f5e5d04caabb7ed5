#include "proc/smtpout/tls_policy.h"

#include "base/arena.h"
#include "proc/smtpout/outbound.h"

const char *tls_source_name(enum tls_source source)
{
	switch (source) {
	case TLS_BY_NOBODY:
		return "none";
	case TLS_BY_DANE:
		return "dane";
	case TLS_BY_OPTION:
		return "option";
	}
	return "?";
}

/* Once each; without memory for it, it is no name that would do. */
static void add_name(struct tls_expect *e, struct arena *arena, str name)
{
	for (size_t i = 0; i < e->name_count; i++)
		if (str_case_eq(str_of(e->name[i]), name))
			return;
	if (name.n == 0 || e->name_count == TLS_NAMES_MAX)
		return;
	e->name[e->name_count] = arena_str(arena, name).p;
	e->name_count += e->name[e->name_count] != NULL;
}

static bool is_literal(str host)
{
	struct addr ignored;

	return addr_parse_ip(host, 0, &ignored) == 0;
}

/* RFC 7672 §3.2.2 and §3.2.3: the base domain first, which is also what SNI says. */
static void expect_dane(str domain, const struct dialled *d, struct arena *arena,
			struct tls_expect *e)
{
	add_name(e, arena, d->tlsa_base);
	add_name(e, arena, d->host);
	if (d->mx && d->secure)
		add_name(e, arena, domain);
	e->server_name = e->name_count ? e->name[0] : NULL;
	for (size_t i = 0; i < d->tlsa_count && e->tlsa_count < TLS_TLSA_MAX; i++)
		if (tls_tlsa_usable(&d->tlsa[i]))
			e->tlsa[e->tlsa_count++] = d->tlsa[i];
}

static bool is_within(str host, str domain)
{
	return str_case_eq(host, domain) ||
	       (host.n > domain.n && host.p[host.n - domain.n - 1] == '.' &&
		str_case_ends(host, domain));
}

static void expect_pkix(str domain, enum tls_demand demand, const struct dialled *d,
			struct arena *arena, struct tls_expect *e)
{
	bool named = !is_literal(d->host);

	if (named)
		e->server_name = arena_str(arena, d->host).p;
	/* Where nothing is demanded the log still says whether it was the host that DNS named. */
	if (named && (demand != TLS_VERIFY || d->secure || is_within(d->host, domain)))
		add_name(e, arena, d->host);
	if (demand == TLS_VERIFY)
		add_name(e, arena, domain);
}

void tls_policy_make(str domain, enum tls_demand least, const struct dialled *d,
		     struct arena *arena, struct tls_policy *ret)
{
	struct tls_expect *e = &ret->expect;

	*ret = (struct tls_policy){ .source = TLS_BY_NOBODY };
	ret->tls.expect = e;
	if (d->dane) {
		ret->source = TLS_BY_DANE;
		ret->tls.because = "DANE";
		expect_dane(domain, d, arena, e);
		ret->tls.demand = e->tlsa_count > 0 ? TLS_VERIFY : TLS_ENCRYPT;
		ret->tls.may_be_anybody = least != TLS_VERIFY;
	}
	if (least > ret->tls.demand) {
		ret->source = TLS_BY_OPTION;
		ret->of_domain = true;
		ret->tls.because = "the domain's option tls";
		ret->tls.demand = least;
	}
	if (e->tlsa_count == 0) {
		*e = (struct tls_expect){ 0 };
		expect_pkix(domain, ret->tls.demand, d, arena, e);
	}
}

bool tls_policy_fits(const struct conn *c, str domain, enum tls_demand least)
{
	switch (least) {
	case TLS_MAY:
		return true;
	case TLS_ENCRYPT:
		return stream_tls_version(&c->stream) != NULL;
	case TLS_VERIFY:
		return c->verdict.verified == TLS_VERIFIED_DANE ||
		       (c->verdict.verified == TLS_VERIFIED_PKIX &&
			(c->secure_name || is_within(str_of(c->host), domain)));
	}
	return false;
}
