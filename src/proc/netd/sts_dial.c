#include "proc/netd/sts_dial.h"

#include "base/cleanup.h"
#include "net/connect.h"

#include <stdio.h>
#include "smtp/sts.h"

#define PORT_HTTPS 443
#define DNS_WAIT (10 * NSEC_S)
#define CONNECT_WAIT (10 * NSEC_S)
#define ADDRESSES_MAX 4 /* of each family */

static bool goes_by_mx(const struct conf *conf, str domain)
{
	const struct conf_domain *d = conf_domain(conf, domain);

	for (size_t i = 0; d && i < d->primary_count; i++)
		if (d->primary[i].mx)
			return true;
	return false;
}

static void fail(struct dialled *ret, Locum__Attempt attempt, const char *why)
{
	ret->attempt = attempt;
	snprintf(ret->text, sizeof(ret->text), "%s", why);
}

/* §3.1: exactly one record, or none. DNS trouble is not absence. */
static enum dns_status read_id(str message, char ret_id[static STS_ID_SIZE])
{
	_cleanup_(freep) struct dns_texts *texts = malloc(sizeof(*texts));
	char id[STS_ID_SIZE];
	unsigned count = 0;

	if (!texts)
		return DNS_TROUBLE;
	dns_read_texts(message, texts);
	if (texts->status != DNS_DATA)
		return texts->status;
	for (size_t i = 0; i < texts->count; i++) {
		if (!sts_read_record(str_mem(texts->text[i], texts->length[i]), id))
			continue;
		count++;
		memcpy(ret_id, id, STS_ID_SIZE);
	}
	return count == 1 ? DNS_DATA : DNS_NO_DATA;
}

static int ask_id(struct task *tk, struct resolver *r, str domain, enum dns_status *ret_status,
		  char ret_id[static STS_ID_SIZE])
{
	_cleanup_(question_freep) struct question *q = NULL;
	char name[DNS_NAME_SIZE + 16];
	int result;

	*ret_status = DNS_TROUBLE;
	snprintf(name, sizeof(name), "_mta-sts.%.*s", STR_ARG(str_first(domain, DNS_NAME_SIZE)));
	result = resolver_ask(tk, r, str_of(name), DNS_TXT, &q);
	if (result == 0)
		result = question_wait(tk, q, task_in(tk, DNS_WAIT));
	if (result == 0)
		*ret_status = read_id(question_message(q), ret_id);
	return result;
}

static int connect_family(struct task *tk, struct resolver *r, enum dns_type type,
			  struct dialled *ret)
{
	_cleanup_(question_freep) struct question *q = NULL;
	_cleanup_(freep) struct dns_addresses *found = malloc(sizeof(*found));
	int result = found ? resolver_ask(tk, r, str_of(ret->host), type, &q) : -ENOMEM;

	if (result == 0)
		result = question_wait(tk, q, task_in(tk, DNS_WAIT));
	if (result < 0)
		return result;
	dns_read_addresses(question_message(q), type, found);
	result = -EHOSTUNREACH;
	for (size_t i = 0; i < found->count && i < ADDRESSES_MAX && result < 0; i++) {
		found->address[i].port = PORT_HTTPS;
		addr_text(&found->address[i], ret->address);
		result = net_connect(tk, &found->address[i], task_in(tk, CONNECT_WAIT), &ret->fd);
		if (result == -ECANCELED)
			break;
	}
	return result;
}

void dial_policy(struct task *tk, struct resolver *resolver, const struct conf *conf, str domain,
		 str known, struct dialled *ret)
{
	_cleanup_(resolver_unrefp) struct resolver *r = resolver_ref(resolver);
	enum dns_status status;
	int result;

	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	if (!goes_by_mx(conf, domain)) {
		fail(ret, LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE,
		     "mail of that domain does not go by MX records");
		return;
	}
	if (ask_id(tk, r, domain, &status, ret->sts_id) < 0 || status == DNS_TROUBLE) {
		fail(ret, LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE,
		     "DNS gives no answer about _mta-sts");
		return;
	}
	if (status != DNS_DATA) {
		fail(ret, LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE, "no policy is published");
		return;
	}
	ret->attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
	if (str_eq(known, str_of(ret->sts_id)))
		return;
	if (snprintf(ret->host, sizeof(ret->host), "mta-sts.%.*s",
		     STR_ARG(str_first(domain, DNS_NAME_SIZE))) >= (int)sizeof(ret->host)) {
		fail(ret, LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE, "its name is too long for a policy");
		return;
	}
	result = connect_family(tk, r, DNS_AAAA, ret);
	if (result < 0 && result != -ECANCELED)
		result = connect_family(tk, r, DNS_A, ret);
	if (result < 0) {
		ret->attempt = LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE;
		snprintf(ret->text, sizeof(ret->text), "%s cannot be reached: %s", ret->host,
			 strerror(-result));
	}
}
