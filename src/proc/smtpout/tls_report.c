#include "proc/smtpout/tls_report.h"

#include "proc/smtpout/outbound.h"
#include "smtp/sts.h"

/* Octets of a TLSA record that are shown: all of a digest, and of a key. */
#define SHOWN_MAX 512

static void add_text(struct tlsrpt_session *s, str text)
{
	if (text.p && s->text_count < TLSRPT_STRINGS_MAX)
		s->text[s->text_count++] = text;
}

/* "3 1 1 9f86d0..." */
static str tlsa_text(const struct tls_tlsa *t, struct arena *arena)
{
	str shown = str_first(t->data, SHOWN_MAX);
	char *hex = ARENA_ARRAY(arena, char, 2 * shown.n + 1);

	if (!hex)
		return STR_NONE;
	for (size_t i = 0; i < shown.n; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)shown.p[i]);
	return str_of(arena_sprintf(arena, "%u %u %u %s%s", t->usage, t->selector, t->matching, hex,
				    shown.n < t->data.n ? "..." : ""));
}

static void say_tlsa(struct tlsrpt_session *s, const struct dialled *d, struct arena *arena)
{
	s->type = TLSRPT_TLSA;
	s->policy_domain = d->tlsa_base.n > 0 ? d->tlsa_base : d->host;
	for (size_t i = 0; i < d->tlsa_count; i++)
		add_text(s, tlsa_text(&d->tlsa[i], arena));
}

/* §4.4: its lines, as they would stand in the file. */
static void say_sts(struct tlsrpt_session *s, const struct sts_policy *sts, struct arena *arena)
{
	s->type = TLSRPT_STS;
	add_text(s, STR("version: STSv1"));
	add_text(s, sts->mode == STS_ENFORCE ? STR("mode: enforce") : STR("mode: testing"));
	for (size_t i = 0; i < sts->mx_count; i++) {
		add_text(s, str_of(arena_sprintf(arena, "mx: %s", sts->mx[i])));
		s->mx[s->mx_count++] = str_of(sts->mx[i]);
	}
	add_text(s, str_of(arena_sprintf(arena, "max_age: %u", (unsigned)sts->max_age_seconds)));
}

_Static_assert(STS_MX_MAX + 3 <= TLSRPT_STRINGS_MAX, "a whole policy is shown");

static bool applies(const struct tls_needs *needs, const struct dialled *d)
{
	return d->mx && needs->sts && needs->sts->mode != STS_NONE;
}

static void say_policy(struct tlsrpt_session *s, const struct tls_needs *needs,
		       const struct dialled *d, const struct tls_policy *policy,
		       struct arena *arena)
{
	if (policy->expect.tlsa_count > 0)
		say_tlsa(s, d, arena);
	else if (applies(needs, d))
		say_sts(s, needs->sts, arena);
	else if (d->dane)
		say_tlsa(s, d, arena);
	else if (d->mx && needs->sts_problem)
		s->type = TLSRPT_STS;
}

static enum tlsrpt_result of_certificate(const struct tls_verdict *v)
{
	switch (v->problem) {
	case TLS_PROBLEM_HOST_MISMATCH:
		return TLSRPT_HOST_MISMATCH;
	case TLS_PROBLEM_EXPIRED:
		return TLSRPT_EXPIRED;
	case TLS_PROBLEM_NOT_TRUSTED:
		return TLSRPT_NOT_TRUSTED;
	case TLS_PROBLEM_NONE:
	case TLS_PROBLEM_OTHER:
		break;
	}
	return TLSRPT_VALIDATION_FAILURE;
}

/* TLS is there: is it what the policy asks for? */
static enum tlsrpt_result judge(const struct tlsrpt_session *s, const struct tls_needs *needs,
				const struct dialled *d, const struct conn *c,
				enum conn_result result)
{
	bool is_verified = c->verdict.verified != TLS_VERIFIED_NOT;

	switch (s->type) {
	case TLSRPT_TLSA:
		if (c->verdict.verified == TLS_VERIFIED_DANE)
			return TLSRPT_OK;
		/* RFC 7672 §2.2: TLS with anybody is all that such records ask for; their owner should know. */
		return c->verdict.tlsa_used == 0 ? TLSRPT_TLSA_INVALID
						 : of_certificate(&c->verdict);
	case TLSRPT_STS:
		if (!applies(needs, d))
			return needs->sts_problem;
		if (!sts_allows(needs->sts, d->host))
			return TLSRPT_VALIDATION_FAILURE;
		return is_verified ? TLSRPT_OK : of_certificate(&c->verdict);
	case TLSRPT_NO_POLICY:
	case TLSRPT_TYPE_COUNT:
		break;
	}
	return result == CONN_TLS_LACKING ? of_certificate(&c->verdict) : TLSRPT_OK;
}

static str reason_of(enum tlsrpt_result result, const struct conn *c)
{
	switch (result) {
	case TLSRPT_HOST_MISMATCH:
	case TLSRPT_EXPIRED:
	case TLSRPT_NOT_TRUSTED:
		return str_of(c->verdict.text);
	case TLSRPT_VALIDATION_FAILURE:
		return c->tls == CONN_TLS_BROKEN ? str_of(c->stream.tls_error)
						 : str_of(c->verdict.text);
	case TLSRPT_OK:
	case TLSRPT_NO_STARTTLS:
	case TLSRPT_TLSA_INVALID:
	case TLSRPT_STS_FETCH_ERROR:
	case TLSRPT_STS_INVALID:
	case TLSRPT_STS_WEBPKI:
	case TLSRPT_RESULT_COUNT:
		break;
	}
	return STR_NONE;
}

/* "192.0.2.1:25", "[2001:db8::1]:25" */
static str without_port(str address)
{
	ssize_t colon = str_last_index(address, ':');
	str ip = colon < 0 ? address : str_first(address, (size_t)colon);

	if (str_starts(ip, STR("[")) && ip.p[ip.n - 1] == ']')
		ip = str_mem(ip.p + 1, ip.n - 2);
	return ip;
}

struct tlsrpt_session *tls_report_make(str domain, const struct tls_needs *needs,
				       const struct dialled *d, const struct tls_policy *policy,
				       const struct conn *c, enum conn_result result,
				       struct arena *arena)
{
	struct tlsrpt_session *s;

	if (c && c->tls == CONN_TLS_UNTRIED)
		return NULL;
	s = ARENA_NEW(arena, struct tlsrpt_session);
	if (!s)
		return NULL;
	s->policy_domain = domain;
	s->host = d->host;
	s->address = without_port(d->address);
	say_policy(s, needs, d, policy, arena);
	if (!c) {
		s->result = TLSRPT_VALIDATION_FAILURE;
		s->reason = STR("the policy does not name this host");
		return s;
	}
	if (c->tls == CONN_TLS_DONE)
		s->result = judge(s, needs, d, c, result);
	else
		s->result =
			c->tls == CONN_TLS_NONE ? TLSRPT_NO_STARTTLS : TLSRPT_VALIDATION_FAILURE;
	s->reason = reason_of(s->result, c);
	if (s->result == TLSRPT_VALIDATION_FAILURE && c->tls == CONN_TLS_DONE &&
	    applies(needs, d) && s->type == TLSRPT_STS && !sts_allows(needs->sts, d->host))
		s->reason = STR("the policy does not name this host");
	return s;
}
