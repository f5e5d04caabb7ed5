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

void tls_policy_make(str domain, const struct dialled *d, struct arena *arena,
		     struct tls_policy *ret)
{
	struct tls_expect *e = &ret->expect;

	*ret = (struct tls_policy){ .source = TLS_BY_NOBODY };
	ret->tls.expect = e;
	if (d->dane) {
		ret->source = TLS_BY_DANE;
		ret->tls.because = "DANE";
		expect_dane(domain, d, arena, e);
		ret->tls.demand = e->tlsa_count > 0 ? TLS_VERIFY : TLS_ENCRYPT;
		return;
	}
	if (!is_literal(d->host)) {
		add_name(e, arena, d->host);
		e->server_name = e->name_count ? e->name[0] : NULL;
	}
}
