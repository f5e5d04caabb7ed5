#include "proc/netd/lookup.h"

#include "base/cleanup.h"

/* Too large for a task's stack. */
struct lookup {
	struct resolver *resolver;
	struct route_plan plan;
	struct question *v6[ROUTE_HOSTS_MAX], *v4[ROUTE_HOSTS_MAX];
	struct dns_mx_answer mx;
	struct dns_addresses answer6, answer4;
	struct question *tlsa[ROUTE_HOSTS_MAX];
	struct dns_tlsa_answer *answers[ROUTE_HOSTS_MAX]; /* of the plan's hosts; NULL: not asked */
};

static void lookup_freep(struct lookup **l)
{
	if (!*l)
		return;
	for (size_t i = 0; i < ROUTE_HOSTS_MAX; i++) {
		question_free((*l)->v6[i]);
		question_free((*l)->v4[i]);
		question_free((*l)->tlsa[i]);
		free((*l)->answers[i]);
	}
	resolver_unref((*l)->resolver);
	free(*l);
}

/* The message of a question, empty (trouble) when it could not be asked or did not answer in time.
 * Only cancellation is an error. */
static int await_message(struct task *tk, struct question *q, nsec deadline, str *ret)
{
	int r = q ? question_wait(tk, q, deadline) : 0;

	*ret = r == 0 ? question_message(q) : STR_NONE;
	return r == -ECANCELED ? r : 0;
}

/* A question that cannot be asked is trouble like any other. */
static struct question *ask(struct task *tk, struct resolver *r, str name, enum dns_type type)
{
	struct question *q = NULL;

	resolver_ask(tk, r, name, type, &q);
	return q;
}

static int look_up_mx(struct task *tk, struct lookup *l, str domain)
{
	_cleanup_(question_freep) struct question *q = ask(tk, l->resolver, domain, DNS_MX);
	str message;
	int r;

	r = await_message(tk, q, task_in(tk, LOOKUP_STEP_WAIT), &message);
	if (r < 0)
		return r;
	dns_read_mx(message, &l->mx);
	l->mx.secure = question_secure(q);
	return 0;
}

static int make_plan(struct task *tk, struct lookup *l, const struct conf_domain *domain)
{
	bool asked = false;
	int r;

	r = route_plan_init(&l->plan, domain->name);
	for (size_t i = 0; i < domain->primary_count && r == 0; i++) {
		const struct conf_hop *hop = &domain->primary[i];

		if (!hop->mx) {
			r = route_plan_host(&l->plan, hop->host, hop->port);
			continue;
		}
		if (!asked)
			r = look_up_mx(tk, l, domain->name);
		if (r < 0)
			return r;
		asked = true;
		r = route_plan_mx(&l->plan, &l->mx, hop->port);
	}
	/* More than a plan holds: what it holds is plenty. */
	return r == -E2BIG ? 0 : r;
}

static int look_up_addresses(struct task *tk, struct lookup *l)
{
	nsec deadline = task_in(tk, LOOKUP_STEP_WAIT);
	str message;
	int r;

	for (size_t i = 0; i < l->plan.host_count; i++) {
		struct route_host *h = &l->plan.host[i];

		if (h->literal)
			continue;
		l->v6[i] = ask(tk, l->resolver, str_of(h->name), DNS_AAAA);
		l->v4[i] = ask(tk, l->resolver, str_of(h->name), DNS_A);
	}
	for (size_t i = 0; i < l->plan.host_count; i++) {
		if (l->plan.host[i].literal)
			continue;
		r = await_message(tk, l->v6[i], deadline, &message);
		if (r < 0)
			return r;
		dns_read_addresses(message, DNS_AAAA, &l->answer6);
		l->answer6.secure = question_secure(l->v6[i]);
		r = await_message(tk, l->v4[i], deadline, &message);
		if (r < 0)
			return r;
		dns_read_addresses(message, DNS_A, &l->answer4);
		l->answer4.secure = question_secure(l->v4[i]);
		route_host_addresses(&l->plan.host[i], &l->answer6, &l->answer4);
	}
	return 0;
}

/* --- TLSA records (RFC 7672 §2.2): only where the addresses are secure --- */

static void ask_tlsa(struct task *tk, struct lookup *l, size_t i, bool of_base)
{
	char name[DNS_NAME_SIZE];

	question_free(l->tlsa[i]);
	l->tlsa[i] = NULL;
	if (route_tlsa_name(&l->plan.host[i], of_base, name))
		l->tlsa[i] = ask(tk, l->resolver, str_of(name), DNS_TLSA);
}

static int await_tlsa(struct task *tk, struct lookup *l, size_t i, bool of_base, nsec deadline)
{
	struct dns_tlsa_answer *answer = l->answers[i];
	str message;
	int r;

	r = await_message(tk, l->tlsa[i], deadline, &message);
	if (r < 0)
		return r;
	dns_read_tlsa(message, answer);
	answer->secure = question_secure(l->tlsa[i]);
	route_host_tlsa(&l->plan.host[i], answer, of_base);
	return 0;
}

/* Behind a CNAME there were none: those of the name itself, if any (§2.2.2). */
static int await_second_tlsa(struct task *tk, struct lookup *l, size_t i, nsec deadline)
{
	const struct route_host *h = &l->plan.host[i];

	if (h->dane != DANE_NONE || dns_name_same(str_of(h->name), str_of(h->base)))
		return 0;
	ask_tlsa(tk, l, i, false);
	return await_tlsa(tk, l, i, false, deadline);
}

static int look_up_tlsa(struct task *tk, struct lookup *l)
{
	nsec deadline = task_in(tk, LOOKUP_STEP_WAIT);
	int r = 0;

	for (size_t i = 0; i < l->plan.host_count; i++) {
		const struct route_host *h = &l->plan.host[i];

		if (h->literal || !h->secure || h->address_count == 0)
			continue;
		l->answers[i] = malloc(sizeof(*l->answers[i]));
		if (!l->answers[i])
			return -ENOMEM;
		ask_tlsa(tk, l, i, true);
	}
	for (size_t i = 0; i < l->plan.host_count && r == 0; i++) {
		if (!l->answers[i])
			continue;
		r = await_tlsa(tk, l, i, true, deadline);
		if (r == 0)
			r = await_second_tlsa(tk, l, i, deadline);
	}
	return r;
}

static int make_route(const struct lookup *l, const struct conf *conf, struct route **ret)
{
	_cleanup_(freep) str *names = calloc(conf->alias_count + 1, sizeof(*names));
	_cleanup_(freep) struct addr *listens = calloc(conf->listen_count + 1, sizeof(*listens));
	struct route_self self = {
		.names = names,
		.name_count = conf->alias_count + 1,
		.addresses = conf->addresses,
		.address_count = conf->address_count,
		.listens = listens,
		.listen_count = conf->listen_count,
	};

	if (!names || !listens)
		return -ENOMEM;
	names[0] = conf->hostname;
	for (size_t i = 0; i < conf->alias_count; i++)
		names[i + 1] = conf->aliases[i];
	for (size_t i = 0; i < conf->listen_count; i++)
		listens[i] = conf->listen[i].address;
	*ret = route_make(&l->plan, &self);
	return *ret ? 0 : -ENOMEM;
}

int lookup_route(struct task *tk, struct resolver *resolver, const struct conf *conf,
		 const struct conf_domain *domain, struct route **ret)
{
	_cleanup_(lookup_freep) struct lookup *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->resolver = resolver_ref(resolver);
	r = make_plan(tk, l, domain);
	if (r < 0)
		return r;
	r = look_up_addresses(tk, l);
	if (r == 0)
		r = look_up_tlsa(tk, l);
	if (r < 0)
		return r;
	return make_route(l, conf, ret);
}
