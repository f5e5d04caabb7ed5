/*
 * The domain's MX records as the world sees them, and we among them (RFC 5321 §5.1). All questions of a step are under
 * way at once; what does not answer in time is trouble, never absence.
 */
#include "base/cleanup.h"
#include "cli/doctor.h"

#define DNS_WAIT (5 * NSEC_S) /* for the MX records, and again for the addresses */

/* One MX record and what its host is. */
struct named {
	const struct dns_mx *mx;
	struct question *v6, *v4;
	struct dns_addresses six, four;
	bool alias;
	bool ours_by_name, ours_by_address;
};

/* Too large for a task's stack. */
struct view {
	struct doctor *d;
	struct dns_mx_answer mx;
	struct named host[DNS_MX_MAX];
};

static void view_freep(struct view **v)
{
	for (size_t i = 0; *v && i < DNS_MX_MAX; i++) {
		question_free((*v)->host[i].v6);
		question_free((*v)->host[i].v4);
	}
	free(*v);
}

/* The message, empty when none came in time. */
static str await_answer(struct task *tk, struct question *q, nsec deadline)
{
	return q && question_wait(tk, q, deadline) == 0 ? question_message(q) : STR_NONE;
}

static struct question *ask(struct task *tk, struct doctor *d, str name, enum dns_type type)
{
	struct question *q = NULL;

	resolver_ask(tk, d->resolver, name, type, &q);
	return q;
}

/* --- what is wrong with the answer as a whole --- */

/* The record that would name us. */
static const char *record_wanted(struct view *v)
{
	uint16_t worst = v->mx.count ? v->mx.mx[v->mx.count - 1].preference : 10;
	const struct doctor *d = v->d;

	return DOCTOR_TEXT(d, "publish: %.*s. IN MX %u %.*s.", STR_ARG(d->domain->name),
			   MIN(worst + 10u, 65535u), STR_ARG(d->conf->hostname));
}

/* True: there are records to look at. */
static bool judge_answer(struct view *v)
{
	struct doctor *d = v->d;
	str name = d->domain->name;

	switch (v->mx.status) {
	case DNS_TROUBLE:
		doctor_say(
			d, SECTION_DNS, VERDICT_WRONG, "mx",
			"are the name servers of the domain, and those of dns { servers }, "
			"reachable from here? is its DNSSEC right?",
			"DNS does not say where mail for %.*s goes: no answer in time, or one that "
			"cannot be trusted",
			STR_ARG(name));
		return false;
	case DNS_NO_DOMAIN:
		doctor_say(d, SECTION_DNS, VERDICT_WRONG, "mx",
			   "has the domain expired, or is its name misspelt?",
			   "%.*s does not exist in DNS", STR_ARG(name));
		return false;
	case DNS_NO_DATA:
		doctor_say(d, SECTION_DNS, VERDICT_WRONG, "mx", record_wanted(v),
			   "%.*s has no MX records: all mail goes to the address of that name, and "
			   "none "
			   "comes here",
			   STR_ARG(name));
		return false;
	case DNS_DATA:
		break;
	}
	if (v->mx.count == 0 || (v->mx.count == 1 && strcmp(v->mx.mx[0].host, ".") == 0)) {
		doctor_say(d, SECTION_DNS, VERDICT_WRONG, "mx", record_wanted(v),
			   "%.*s says that it takes no mail (RFC 7505), or names no possible host",
			   STR_ARG(name));
		return false;
	}
	return true;
}

/* --- each host --- */

static bool has_our_address(const struct conf *c, const struct dns_addresses *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (conf_is_our_address(c, &a->address[i]))
			return true;
	return false;
}

static void look_up_hosts(struct task *tk, struct view *v)
{
	nsec deadline = MIN(task_in(tk, DNS_WAIT), v->d->ends);

	for (size_t i = 0; i < v->mx.count; i++) {
		struct named *h = &v->host[i];

		h->mx = &v->mx.mx[i];
		h->v6 = ask(tk, v->d, str_of(h->mx->host), DNS_AAAA);
		h->v4 = ask(tk, v->d, str_of(h->mx->host), DNS_A);
	}
	for (size_t i = 0; i < v->mx.count; i++) {
		struct named *h = &v->host[i];
		str six = await_answer(tk, h->v6, deadline), four;

		dns_read_addresses(six, DNS_AAAA, &h->six);
		h->alias = dns_read_alias(six);
		four = await_answer(tk, h->v4, deadline);
		dns_read_addresses(four, DNS_A, &h->four);
		h->alias = h->alias || dns_read_alias(four);
		h->ours_by_name = conf_is_our_name(v->d->conf, str_of(h->mx->host));
		h->ours_by_address = has_our_address(v->d->conf, &h->six) ||
				     has_our_address(v->d->conf, &h->four);
	}
}

static bool is_ours(const struct named *h)
{
	return h->ours_by_name || h->ours_by_address;
}

static void list_addresses(const struct named *h, struct buf *to)
{
	const struct dns_addresses *both[] = { &h->six, &h->four };
	char text[ADDR_TEXT_SIZE];

	for (size_t f = 0; f < ELEMENTS(both); f++)
		for (size_t i = 0; i < both[f]->count; i++)
			buf_addf(to, " %s", addr_ip_text(&both[f]->address[i], text));
}

/* An MX record that names us must lead to us, else nobody gets here. */
static void judge_our_host(struct doctor *d, const struct named *h, const char *addresses)
{
	if (h->ours_by_name && h->ours_by_address)
		doctor_say(d, SECTION_DNS, VERDICT_OK, "mx host", NULL, "%s is this node:%s",
			   h->mx->host, addresses);
	else if (h->ours_by_name)
		doctor_say(
			d, SECTION_DNS, VERDICT_WARN, "mx host",
			DOCTOR_TEXT(
				d,
				"correct the addresses of %s in DNS; where NAT hides ours, write "
				"them in the configuration: addresses = {…}",
				h->mx->host),
			"%s is our name and leads to%s, none of which is an address of this node",
			h->mx->host, addresses);
	else
		doctor_say(d, SECTION_DNS, VERDICT_WARN, "mx host",
			   DOCTOR_TEXT(d, "write in the configuration: aliases = {\"%s\"}",
				       h->mx->host),
			   "%s leads to this node (%s ) and is no name of ours", h->mx->host,
			   addresses);
}

static void judge_host(struct doctor *d, const struct named *h)
{
	bool trouble = h->six.status == DNS_TROUBLE || h->four.status == DNS_TROUBLE;
	_cleanup_(buf_done) struct buf addresses;

	buf_init(&addresses, 700);
	list_addresses(h, &addresses);
	buf_add_byte(&addresses, '\0');
	if (h->alias)
		doctor_say(d, SECTION_DNS, VERDICT_WARN, "mx host",
			   "name the host itself, with A and AAAA records, in the MX record",
			   "%s is an alias (CNAME), which an MX record must not name (RFC 2181 "
			   "§10.3): "
			   "some senders do not deliver to it",
			   h->mx->host);
	if (addresses.n <= 1)
		doctor_say(d, SECTION_DNS,
			   trouble && !h->ours_by_name ? VERDICT_WARN : VERDICT_WRONG, "mx host",
			   trouble ? "ask again, and look at the name servers of that host"
				   : DOCTOR_TEXT(d, "publish A or AAAA records for %s",
						 h->mx->host),
			   "%s: %s", h->mx->host,
			   trouble ? "DNS does not say which address it has" : "has no address");
	else if (is_ours(h))
		judge_our_host(d, h, addresses.p);
	else
		doctor_say(d, SECTION_DNS, VERDICT_OK, "mx host", NULL, "%s:%s", h->mx->host,
			   addresses.p);
}

/* --- our place among them --- */

static void list_records(const struct view *v, struct buf *to)
{
	for (size_t i = 0; i < v->mx.count; i++)
		buf_addf(to, "%s%u %s%s", i ? ", " : "", v->mx.mx[i].preference, v->mx.mx[i].host,
			 is_ours(&v->host[i]) ? " (us)" : "");
	buf_add_byte(to, '\0');
}

/* With hosts of its own in the configuration our mail finds the primary whatever the records say; the world's still
 * comes to us first. */
static void judge_preference(struct view *v, uint32_t ours, uint32_t best, const char *records)
{
	struct doctor *d = v->d;
	bool by_mx = d->domain->primary[0].mx;

	if (ours == UINT32_MAX)
		doctor_say(d, SECTION_DNS, VERDICT_WRONG, "mx", record_wanted(v),
			   "%s: none of them is this node, so nobody comes here while the primary "
			   "is away",
			   records);
	else if (best == UINT32_MAX)
		doctor_say(d, SECTION_DNS, by_mx ? VERDICT_WRONG : VERDICT_WARN, "mx",
			   "publish the primary's MX record, with a preference less than ours",
			   "%s: nobody but this node%s", records,
			   by_mx ? ", so there is nowhere to deliver to" : "");
	else if (ours <= best)
		doctor_say(d, SECTION_DNS, by_mx ? VERDICT_WRONG : VERDICT_WARN, "mx",
			   "give this node a greater preference than every primary has",
			   "%s: our preference %u is no worse than the best other one, %u: mail "
			   "comes here "
			   "though the primary works%s",
			   records, ours, best,
			   by_mx ? ", and nobody better is left to deliver to" : "");
	else
		doctor_say(d, SECTION_DNS, VERDICT_OK, "mx", NULL, "%s", records);
}

static void judge_records(struct view *v)
{
	_cleanup_(buf_done) struct buf records;
	uint32_t ours = UINT32_MAX, best = UINT32_MAX;

	buf_init(&records, 800); /* what does not fit is not told */
	list_records(v, &records);
	for (size_t i = 0; i < v->mx.count; i++) {
		uint32_t *least = is_ours(&v->host[i]) ? &ours : &best;

		*least = MIN(*least, v->mx.mx[i].preference);
	}
	judge_preference(v, ours, best, records.n ? records.p : "");
	for (size_t i = 0; i < v->mx.count; i++)
		judge_host(v->d, &v->host[i]);
}

void doctor_dns(struct task *tk, struct doctor *d)
{
	_cleanup_(view_freep) struct view *v = calloc(1, sizeof(*v));
	_cleanup_(question_freep) struct question *q = ask(tk, d, d->domain->name, DNS_MX);

	if (!v)
		return;
	v->d = d;
	dns_read_mx(await_answer(tk, q, MIN(task_in(tk, DNS_WAIT), d->ends)), &v->mx);
	if (!judge_answer(v))
		return;
	look_up_hosts(tk, v);
	judge_records(v);
}
