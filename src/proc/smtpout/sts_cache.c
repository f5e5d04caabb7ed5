#include "proc/smtpout/sts_cache.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "dns/name.h"
#include "task/sys.h"

#include <stdlib.h>

#define ARENA_BYTES_MAX (16 * 1024)
#define HEAD_BYTES_MAX (8 * 1024)
#define IN_MAX (256 * 1024) /* TLS wants room for what the stream reads at once */

struct entry {
	struct map_link link;
	struct sts_cache *cache;
	char domain[DNS_NAME_SIZE];
	char host[DNS_NAME_SIZE + 16]; /* of its policy */
	char id[STS_ID_SIZE];
	struct sts_policy *policy; /* NULL: none */
	nsec expires, fetched, check_at;
	enum tlsrpt_result problem; /* of the last lookup */
	bool busy;
	uint64_t lookups; /* ended */
	struct signal done;
};

void sts_cache_init(struct sts_cache *c, struct loop *loop, struct group *group,
		    struct dialer *dialer, struct ssl_ctx_st *tls)
{
	*c = (struct sts_cache){ .loop = loop, .group = group, .dialer = dialer, .tls = tls };
	map_init(&c->by_domain);
	sys_random(c->seed, sizeof(c->seed));
}

void sts_cache_done(struct sts_cache *c)
{
	struct map_link *at = map_walk(&c->by_domain, NULL), *next;

	for (; at; at = next) {
		struct entry *e = CONTAINER(at, struct entry, link);

		next = map_walk(&c->by_domain, at);
		map_remove(&c->by_domain, &e->link);
		free(e->policy);
		free(e);
	}
	map_done(&c->by_domain);
}

static struct entry *find(struct sts_cache *c, str domain)
{
	uint64_t hash = str_hash(domain, c->seed, true);
	struct entry *new;

	MAP_FIND (&c->by_domain, hash, struct entry, link, e)
		if (str_case_eq(str_of(e->domain), domain))
			return e;
	new = calloc(1, sizeof(*new));
	if (!new || !str_copy(domain, new->domain, sizeof(new->domain)) ||
	    map_insert(&c->by_domain, &new->link, hash) < 0) {
		free(new);
		return NULL;
	}
	new->cache = c;
	snprintf(new->host, sizeof(new->host), "mta-sts.%s", new->domain);
	signal_init(&new->done);
	return new;
}

/* --- fetching (RFC 8461 §3.3): HTTP/1.0, so that the answer ends with the connection --- */

static int ask(struct task *tk, struct stream *s, const char *host, nsec deadline)
{
	char request[DNS_NAME_SIZE + 128];
	int r;

	snprintf(request, sizeof(request),
		 "GET /.well-known/mta-sts.txt HTTP/1.0\r\nHost: %s\r\nUser-Agent: Locum\r\n"
		 "Accept: text/plain\r\n\r\n",
		 host);
	r = stream_write(tk, s, str_of(request), deadline);
	return r < 0 ? r : stream_flush(tk, s, deadline);
}

static int read_to_end(struct task *tk, struct stream *s, nsec deadline)
{
	for (;;) {
		ssize_t got = stream_fill(tk, s, deadline);

		if (got <= 0)
			return (int)got;
		if (stream_pending(s).n > STS_POLICY_BYTES_MAX + HEAD_BYTES_MAX)
			return -EFBIG;
	}
}

/* On an open stream; *ret_why is static or in the verdict's. */
static __attribute__((noinline)) int get(struct task *tk, struct stream *s, struct ssl_ctx_st *tls,
					 const char *host, struct sts_policy *ret,
					 const char **ret_why, enum tlsrpt_result *ret_problem)
{
	const struct tls_expect expect = { .server_name = host, .name_count = 1, .name = { host } };
	nsec deadline = task_in(tk, STS_FETCH_MAX);
	struct tls_verdict verdict;
	str body;
	int r;

	*ret_problem = TLSRPT_STS_FETCH_ERROR;
	r = stream_connect_tls(tk, s, tls, &expect, &verdict, deadline);
	if (r < 0) {
		*ret_why = s->tls_error[0] ? s->tls_error : strerror(-r);
		return r;
	}
	if (verdict.verified != TLS_VERIFIED_PKIX) {
		*ret_why = verdict.text;
		*ret_problem = TLSRPT_STS_WEBPKI;
		return -EACCES;
	}
	r = ask(tk, s, host, deadline);
	if (r == 0)
		r = read_to_end(tk, s, deadline);
	if (r < 0) {
		*ret_why = strerror(-r);
		return r;
	}
	r = sts_read_response(stream_pending(s), &body);
	*ret_why = r == -ENOENT ? "the answer is not 200" : "the answer is not text/plain, or cut";
	if (r < 0)
		return r;
	*ret_why = "the policy is malformed";
	*ret_problem = TLSRPT_STS_INVALID;
	return sts_read_policy(body, ret);
}

/* Frames of their own: a task's is small. */
static __attribute__((noinline)) int fetch(struct task *tk, struct entry *e, struct dialled *d)
{
	_cleanup_(freep) struct sts_policy *policy = malloc(sizeof(*policy));
	char text[256];
	const char *why = "out of memory";
	struct stream s;
	int r = policy ? stream_init(&s, e->cache->loop, d->fd, IN_MAX, HEAD_BYTES_MAX) : -ENOMEM;

	if (r < 0)
		return r;
	d->fd = -1;
	r = get(tk, &s, e->cache->tls, e->host, policy, &why, &e->problem);
	str_copy(str_of(why), text, sizeof(text));
	stream_done(&s);
	if (r < 0) {
		log_warn("sts.failed", K_Z("domain", e->domain), K_Z("text", text));
		return r;
	}
	e->problem = TLSRPT_OK;
	free(e->policy);
	e->policy = TAKE(policy);
	e->fetched = task_now(tk);
	e->expires = e->fetched + (nsec)e->policy->max_age_seconds * NSEC_S;
	str_copy(d->sts_id, e->id, sizeof(e->id));
	log_info("sts.policy", K_Z("domain", e->domain), K_Z("id", e->id),
		 K_Z("mode", e->policy->mode == STS_ENFORCE   ? "enforce"
			     : e->policy->mode == STS_TESTING ? "testing"
							      : "none"),
		 K_INT("mx", e->policy->mx_count));
	return 0;
}

/* How soon to look again. */
static nsec refresh(struct task *tk, struct entry *e)
{
	bool is_old = !e->policy || e->expires <= task_now(tk) ||
		      e->fetched + STS_FETCH_EVERY <= task_now(tk);
	struct dial_request request = { .domain = str_of(e->domain),
					.deadline = task_in(tk, STS_FETCH_MAX),
					.sts = true,
					.sts_id = is_old ? STR_NONE : str_of(e->id) };
	nsec again = STS_CHECK_EVERY;
	struct dialled d = { .fd = -1 };
	struct arena arena;

	arena_init(&arena, ARENA_BYTES_MAX);
	e->cache->dialer->dial(tk, e->cache->dialer, &request, &arena, &d);
	if (d.attempt == LOCUM__ATTEMPT__ATTEMPT_ANSWERED && d.fd >= 0) {
		if (fetch(tk, e, &d) < 0)
			again = STS_RETRY_AFTER;
	} else if (d.attempt != LOCUM__ATTEMPT__ATTEMPT_ANSWERED &&
		   d.attempt != LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE) {
		log_warn("sts.failed", K_Z("domain", e->domain), K("text", d.text));
		again = STS_RETRY_AFTER;
		if (d.attempt == LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE)
			e->problem = TLSRPT_STS_FETCH_ERROR;
	} else if (d.attempt == LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE) {
		e->problem = TLSRPT_OK; /* none is announced */
	}
	if (d.fd >= 0)
		sys_close(d.fd);
	arena_done(&arena);
	return again;
}

static void refresh_task(struct task *tk, void *arg)
{
	struct entry *e = arg;
	nsec again = refresh(tk, e);

	e->check_at = task_now(tk) + again;
	e->busy = false;
	e->lookups++;
	signal_raise(&e->done);
}

const struct sts_policy *sts_cache_get(struct task *tk, struct sts_cache *c, str domain,
				       nsec deadline, struct arena *arena,
				       enum tlsrpt_result *ret_problem)
{
	struct entry *e = find(c, domain);
	struct sts_policy *copy;
	uint64_t lookups;

	*ret_problem = TLSRPT_OK;
	if (!e)
		return NULL;
	lookups = e->lookups;
	if (!e->busy && e->check_at <= task_now(tk))
		e->busy = task_start(c->loop, c->group, "sts", refresh_task, e) == 0;
	while (e->busy && e->lookups == lookups)
		if (signal_wait(tk, &e->done, MIN(deadline, task_in(tk, STS_FETCH_MAX))) < 0)
			break;
	*ret_problem = e->problem;
	if (!e->policy || e->expires <= task_now(tk))
		return NULL;
	copy = ARENA_NEW(arena, struct sts_policy);
	if (copy)
		*copy = *e->policy;
	return copy;
}
