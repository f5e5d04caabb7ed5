#include "smtp/tlsrpt.h"

#include <time.h>

#define TIME_SIZE 32

struct failure {
	struct failure *next;
	enum tlsrpt_result result;
	str host, address, reason; /* the reason is the first one's */
	uint64_t count;
};

struct tlsrpt_policy {
	struct tlsrpt_policy *next;
	enum tlsrpt_type type;
	str domain;
	size_t text_count, mx_count;
	str *text, *mx;
	uint64_t good, failed;
	struct failure *first, *last;
	size_t failure_count;
};

static const char *const type_names[] = {
	[TLSRPT_NO_POLICY] = "no-policy-found",
	[TLSRPT_TLSA] = "tlsa",
	[TLSRPT_STS] = "sts",
};

static const char *const result_names[] = {
	[TLSRPT_OK] = "",
	[TLSRPT_NO_STARTTLS] = "starttls-not-supported",
	[TLSRPT_HOST_MISMATCH] = "certificate-host-mismatch",
	[TLSRPT_EXPIRED] = "certificate-expired",
	[TLSRPT_NOT_TRUSTED] = "certificate-not-trusted",
	[TLSRPT_VALIDATION_FAILURE] = "validation-failure",
	[TLSRPT_TLSA_INVALID] = "tlsa-invalid",
	[TLSRPT_STS_FETCH_ERROR] = "sts-policy-fetch-error",
	[TLSRPT_STS_INVALID] = "sts-policy-invalid",
	[TLSRPT_STS_WEBPKI] = "sts-webpki-invalid",
};

_Static_assert(ELEMENTS(type_names) == TLSRPT_TYPE_COUNT, "each has a name");
_Static_assert(ELEMENTS(result_names) == TLSRPT_RESULT_COUNT, "each has a name");

const char *tlsrpt_result_name(enum tlsrpt_result result)
{
	return result_names[result];
}

void tlsrpt_init(struct tlsrpt *t)
{
	*t = (struct tlsrpt){ 0 };
	arena_init(&t->arena, TLSRPT_BYTES_MAX);
}

void tlsrpt_done(struct tlsrpt *t)
{
	arena_done(&t->arena);
	*t = (struct tlsrpt){ 0 };
}

/* --- counting --- */

static bool are_equal(const str *a, size_t a_count, const str *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (!str_eq(a[i], str_first(b[i], TLSRPT_STRING_MAX)))
			return false;
	return true;
}

static struct tlsrpt_policy *find_policy(const struct tlsrpt *t, const struct tlsrpt_session *s)
{
	struct tlsrpt_policy *p = t->first;

	while (p && !(p->type == s->type && str_case_eq(p->domain, s->policy_domain) &&
		      are_equal(p->text, p->text_count, s->text, s->text_count) &&
		      are_equal(p->mx, p->mx_count, s->mx, s->mx_count)))
		p = p->next;
	return p;
}

/* NULL: no room. */
static str *copy_all(struct arena *a, const str *from, size_t count)
{
	str *to = ARENA_ARRAY(a, str, count + 1);

	for (size_t i = 0; to && i < count; i++) {
		to[i] = arena_str(a, str_first(from[i], TLSRPT_STRING_MAX));
		if (!to[i].p)
			return NULL;
	}
	return to;
}

static struct tlsrpt_policy *new_policy(struct tlsrpt *t, const struct tlsrpt_session *s)
{
	struct tlsrpt_policy *p = NULL;

	if (t->policy_count < TLSRPT_POLICIES_MAX)
		p = ARENA_NEW(&t->arena, struct tlsrpt_policy);
	if (!p)
		return NULL;
	p->type = s->type;
	p->domain = arena_str(&t->arena, s->policy_domain);
	p->text = copy_all(&t->arena, s->text, s->text_count);
	p->mx = copy_all(&t->arena, s->mx, s->mx_count);
	if (!p->domain.p || !p->text || !p->mx)
		return NULL;
	p->text_count = s->text_count;
	p->mx_count = s->mx_count;
	if (t->last)
		t->last->next = p;
	else
		t->first = p;
	t->last = p;
	t->policy_count++;
	return p;
}

static int count_failure(struct tlsrpt *t, struct tlsrpt_policy *p, const struct tlsrpt_session *s)
{
	struct failure *f = p->first;

	while (f && !(f->result == s->result && str_case_eq(f->host, s->host) &&
		      str_eq(f->address, s->address)))
		f = f->next;
	if (f) {
		f->count++;
		return 0;
	}
	if (p->failure_count < TLSRPT_FAILURES_MAX)
		f = ARENA_NEW(&t->arena, struct failure);
	if (!f)
		return -ENOBUFS;
	*f = (struct failure){ .result = s->result, .count = 1 };
	f->host = arena_str(&t->arena, s->host);
	f->address = arena_str(&t->arena, s->address);
	f->reason = arena_str(&t->arena, str_first(s->reason, TLSRPT_REASON_MAX));
	if (!f->host.p || !f->address.p || !f->reason.p)
		return -ENOBUFS;
	if (p->last)
		p->last->next = f;
	else
		p->first = f;
	p->last = f;
	p->failure_count++;
	return 0;
}

int tlsrpt_add(struct tlsrpt *t, const struct tlsrpt_session *s)
{
	struct tlsrpt_policy *p;

	/* Numbers that came from another process are not believed. */
	if ((unsigned)s->type >= TLSRPT_TYPE_COUNT || (unsigned)s->result >= TLSRPT_RESULT_COUNT ||
	    s->text_count > TLSRPT_STRINGS_MAX || s->mx_count > TLSRPT_STRINGS_MAX)
		return -EINVAL;
	p = find_policy(t, s);
	if (!p)
		p = new_policy(t, s);
	if (!p) {
		t->uncounted++;
		return -ENOBUFS;
	}
	if (s->result == TLSRPT_OK) {
		p->good++;
		return 0;
	}
	p->failed++;
	return count_failure(t, p, s);
}

/* --- JSON. Results are gathered: a full buffer stays as it was, and the last word says so. --- */

struct writer {
	struct buf *to;
	int r;
};

static void put(struct writer *w, const char *text)
{
	if (w->r == 0)
		w->r = buf_add(w->to, str_of(text));
}

static void put_number(struct writer *w, uint64_t number)
{
	if (w->r == 0)
		w->r = buf_addf(w->to, "%llu", (unsigned long long)number);
}

static void put_string(struct writer *w, str s)
{
	put(w, "\"");
	for (size_t i = 0; w->r == 0 && i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			w->r = buf_addf(w->to, "\\%c", c);
		else if (c < ' ' || c > '~')
			w->r = buf_addf(w->to, "\\\\x%02x", c);
		else
			w->r = buf_add_byte(w->to, (char)c);
	}
	put(w, "\"");
}

/* "name": "value", with what separates it from what stands before. */
static void put_member(struct writer *w, const char *before, const char *name, str value)
{
	put(w, before);
	put_string(w, str_of(name));
	put(w, ": ");
	put_string(w, value);
}

static void put_count(struct writer *w, const char *before, const char *name, uint64_t value)
{
	put(w, before);
	put_string(w, str_of(name));
	put(w, ": ");
	put_number(w, value);
}

static void put_array(struct writer *w, const char *before, const char *name, const str *values,
		      size_t count)
{
	put(w, before);
	put_string(w, str_of(name));
	put(w, ": [");
	for (size_t i = 0; i < count; i++) {
		put(w, i ? ", " : "");
		put_string(w, values[i]);
	}
	put(w, "]");
}

static void put_time(struct writer *w, const char *before, const char *name, nsec at_wall)
{
	time_t seconds = (time_t)(at_wall / NSEC_S);
	char text[TIME_SIZE];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		text[0] = '\0';
	put_member(w, before, name, str_of(text));
}

static void put_failure(struct writer *w, const struct failure *f)
{
	put_member(w, "\n    {", "result-type", str_of(result_names[f->result]));
	if (f->host.n > 0)
		put_member(w, ", ", "receiving-mx-hostname", f->host);
	if (f->address.n > 0)
		put_member(w, ", ", "receiving-ip", f->address);
	put_count(w, ", ", "failed-session-count", f->count);
	if (f->reason.n > 0)
		put_member(w, ", ", "failure-reason-code", f->reason);
	put(w, "}");
}

static void put_policy(struct writer *w, const struct tlsrpt_policy *p)
{
	put(w, "\n  {\"policy\": {");
	put_member(w, "", "policy-type", str_of(type_names[p->type]));
	if (p->text_count > 0)
		put_array(w, ", ", "policy-string", p->text, p->text_count);
	put_member(w, ", ", "policy-domain", p->domain);
	if (p->mx_count > 0)
		put_array(w, ", ", "mx-host", p->mx, p->mx_count);
	put(w, "},\n   \"summary\": {");
	put_count(w, "", "total-successful-session-count", p->good);
	put_count(w, ", ", "total-failure-session-count", p->failed);
	put(w, "}");
	if (p->first)
		put(w, ",\n   \"failure-details\": [");
	for (const struct failure *f = p->first; f; f = f->next) {
		put(w, f == p->first ? "" : ",");
		put_failure(w, f);
	}
	put(w, p->first ? "]}" : "}");
}

int tlsrpt_render(const struct tlsrpt *t, const struct tlsrpt_head *head, struct buf *to)
{
	struct writer w = { .to = to };

	put_member(&w, "{", "organization-name", head->organization);
	put(&w, ",\n \"date-range\": {");
	put_time(&w, "", "start-datetime", head->start_wall);
	put_time(&w, ", ", "end-datetime", head->end_wall);
	put_member(&w, "},\n ", "contact-info", head->contact);
	put_member(&w, ",\n ", "report-id", head->report_id);
	put(&w, ",\n \"policies\": [");
	for (const struct tlsrpt_policy *p = t->first; p; p = p->next) {
		put(&w, p == t->first ? "" : ",");
		put_policy(&w, p);
	}
	put(&w, "]}\n");
	return w.r;
}
