#include "proc/smtpout/tls_policy.h"

#include "base/arena.h"
#include "proc/smtpout/outbound.h"
#include "smtp/sts.h"

const char *tls_source_name(enum tls_source source)
{
	switch (source) {
	case TLS_BY_NOBODY:
		return "none";
	case TLS_BY_DANE:
		return "dane";
	case TLS_BY_STS:
		return "sts";
	case TLS_BY_STS_TESTING:
		return "sts-testing";
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

/* RFC 8461 §4.1 and §5. Names that the policy allows are as good as configured ones. */
static void apply_sts(const struct sts_policy *sts, const struct dialled *d, struct tls_policy *p)
{
	if (sts->mode == STS_NONE)
		return;
	p->source = TLS_BY_STS_TESTING;
	if (sts->mode == STS_TESTING)
		return;
	p->source = TLS_BY_STS;
	p->of_domain = true;
	p->wrong_host = !sts_allows(sts, d->host);
	p->tls.because = "MTA-STS";
	p->tls.demand = TLS_VERIFY;
}

void tls_policy_make(str domain, const struct tls_needs *needs, const struct dialled *d,
		     struct arena *arena, struct tls_policy *ret)
{
	struct tls_expect *e = &ret->expect;
	bool is_named;

	*ret = (struct tls_policy){ .source = TLS_BY_NOBODY };
	ret->tls.expect = e;
	if (d->dane) {
		ret->source = TLS_BY_DANE;
		ret->tls.because = "DANE";
		expect_dane(domain, d, arena, e);
		ret->tls.demand = e->tlsa_count > 0 ? TLS_VERIFY : TLS_ENCRYPT;
		ret->tls.may_be_anybody = needs->least != TLS_VERIFY;
	}
	/* RFC 8461 §2: never in place of DANE. */
	if (e->tlsa_count == 0 && needs->sts && d->mx)
		apply_sts(needs->sts, d, ret);
	is_named = ret->source == TLS_BY_STS;
	if (needs->least > ret->tls.demand) {
		ret->source = TLS_BY_OPTION;
		ret->of_domain = true;
		ret->tls.because = "the domain's option tls";
		ret->tls.demand = needs->least;
	}
	if (e->tlsa_count > 0)
		return;
	*e = (struct tls_expect){ 0 };
	if (is_named) {
		add_name(e, arena, d->host);
		e->server_name = e->name_count ? e->name[0] : NULL;
		return;
	}
	expect_pkix(domain, ret->tls.demand, d, arena, e);
}

bool tls_policy_fits(const struct conn *c, str domain, const struct tls_needs *needs)
{
	enum tls_verified verified = c->verdict.verified;

	if (verified == TLS_VERIFIED_DANE)
		return true;
	if (needs->sts && needs->sts->mode == STS_ENFORCE && c->mx)
		return verified == TLS_VERIFIED_PKIX && c->named_host &&
		       sts_allows(needs->sts, str_of(c->host));
	switch (needs->least) {
	case TLS_MAY:
		return true;
	case TLS_ENCRYPT:
		return stream_tls_version(&c->stream) != NULL;
	case TLS_VERIFY:
		return verified == TLS_VERIFIED_PKIX && c->named_host &&
		       (c->secure_name || is_within(str_of(c->host), domain));
	}
	return false;
}
