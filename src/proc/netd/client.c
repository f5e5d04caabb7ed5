#include "proc/netd/client.h"

#include "base/cleanup.h"

#define HELO_TYPES 3

static const enum dns_type helo_types[HELO_TYPES] = { DNS_A, DNS_AAAA, DNS_MX };

/* One client's questions. */
struct asking {
	struct task *tk;
	struct resolver *resolver;
	struct zones *zones;
	const struct conf *conf;
	const struct addr *address;
	nsec deadline;
	struct question *reverse, *forward[DNS_NAMES_MAX], *helo[HELO_TYPES];
	struct question *list[CLIENT_LISTS_MAX]; /* NULL: not asked, or by an earlier one */
	struct dns_names names;
	struct dns_addresses addresses;
	struct dns_list_answer answer;
};

static void asking_freep(struct asking **a)
{
	if (!*a)
		return;
	question_free((*a)->reverse);
	for (size_t i = 0; i < DNS_NAMES_MAX; i++)
		question_free((*a)->forward[i]);
	for (size_t i = 0; i < HELO_TYPES; i++)
		question_free((*a)->helo[i]);
	for (size_t i = 0; i < CLIENT_LISTS_MAX; i++)
		question_free((*a)->list[i]);
	resolver_unref((*a)->resolver);
	free(*a);
}

/* A question that cannot be asked is trouble like any other. */
static struct question *ask(const struct asking *a, str name, enum dns_type type)
{
	struct question *q = NULL;

	resolver_ask(a->tk, a->resolver, name, type, &q);
	return q;
}

/* The message, empty when there is none by the deadline: trouble. */
static str await(const struct asking *a, struct question *q)
{
	if (!q || question_wait(a->tk, q, a->deadline) < 0)
		return STR_NONE;
	return question_message(q);
}

static Locum__Found found_by(enum dns_status status)
{
	switch (status) {
	case DNS_DATA:
		return LOCUM__FOUND__FOUND_YES;
	case DNS_NO_DATA:
	case DNS_NO_DOMAIN:
		return LOCUM__FOUND__FOUND_NO;
	case DNS_TROUBLE:
		break;
	}
	return LOCUM__FOUND__FOUND_UNKNOWN;
}

/* --- the reverse name --- */

static void ask_reverse(struct asking *a)
{
	char name[DNS_REVERSE_NAME_SIZE];

	dns_reverse_name(a->address, name);
	a->reverse = ask(a, str_of(name), DNS_PTR);
}

/* Does the name lead back? */
static Locum__Found leads_back(struct asking *a, struct question *q)
{
	enum dns_type type = a->address->family == AF_INET ? DNS_A : DNS_AAAA;

	dns_read_addresses(await(a, q), type, &a->addresses);
	for (size_t i = 0; i < a->addresses.count; i++)
		if (addr_same_ip(&a->addresses.address[i], a->address))
			return LOCUM__FOUND__FOUND_YES;
	if (a->addresses.status == DNS_TROUBLE || a->addresses.cut)
		return LOCUM__FOUND__FOUND_UNKNOWN;
	return LOCUM__FOUND__FOUND_NO;
}

static void confirm(struct asking *a, struct client_facts *ret)
{
	enum dns_type type = a->address->family == AF_INET ? DNS_A : DNS_AAAA;

	for (size_t i = 0; i < a->names.count; i++)
		a->forward[i] = ask(a, str_of(a->names.name[i]), type);
	/* Names past the bound are not tried: one of them may be the right one. */
	ret->confirmed = a->names.cut ? LOCUM__FOUND__FOUND_UNKNOWN : LOCUM__FOUND__FOUND_NO;
	for (size_t i = 0; i < a->names.count; i++) {
		Locum__Found back = leads_back(a, a->forward[i]);

		if (back == LOCUM__FOUND__FOUND_UNKNOWN)
			ret->confirmed = back;
		if (back != LOCUM__FOUND__FOUND_YES)
			continue;
		ret->confirmed = back;
		str_copy(str_of(a->names.name[i]), ret->name, sizeof(ret->name));
		return;
	}
}

static void read_reverse(struct asking *a, struct client_facts *ret)
{
	dns_read_names(await(a, a->reverse), &a->names);
	ret->reverse = found_by(a->names.status);
	if (ret->reverse == LOCUM__FOUND__FOUND_YES)
		confirm(a, ret);
}

/* --- the HELO name --- */

/* A literal exists in no DNS, a bare word in no public one. */
static bool is_askable(str helo)
{
	return str_index(helo, '.') > 0 && dns_name_is_host(helo);
}

static void ask_helo(struct asking *a, str helo)
{
	if (helo.n && helo.p[helo.n - 1] == '.')
		helo.n--;
	if (!is_askable(helo))
		return;
	for (size_t i = 0; i < HELO_TYPES; i++)
		a->helo[i] = ask(a, helo, helo_types[i]);
}

static void read_helo(struct asking *a, struct client_facts *ret)
{
	bool trouble = false;

	for (size_t i = 0; i < HELO_TYPES; i++) {
		enum dns_status status = dns_read_status(await(a, a->helo[i]), helo_types[i]);

		/* NXDOMAIN is said of the name, whatever the type. */
		if (status == DNS_DATA || status == DNS_NO_DOMAIN) {
			ret->helo = found_by(status);
			return;
		}
		trouble |= status == DNS_TROUBLE;
	}
	if (!trouble)
		ret->helo = LOCUM__FOUND__FOUND_NO;
}

/* --- lists --- */

static bool is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return a->family == AF_INET ? a->ip[0] == 127 : memcmp(a->ip, one, sizeof(one)) == 0;
}

/* The first list with the same zone: it asks for all of them. */
static size_t first_of_zone(const struct conf *conf, size_t list)
{
	for (size_t i = 0; i < list; i++)
		if (dns_name_same(conf->lists[i].zone, conf->lists[list].zone))
			return i;
	return list;
}

static void ask_lists(struct asking *a)
{
	char name[DNS_NAME_SIZE];

	if (is_loopback(a->address))
		return;
	for (size_t i = 0; i < a->conf->list_count; i++) {
		str zone = a->conf->lists[i].zone;

		if (first_of_zone(a->conf, i) != i ||
		    !zones_ask(a->zones, zone, a->address->family) ||
		    dns_list_name(a->address, zone, name) < 0)
			continue;
		a->list[i] = ask(a, str_of(name), DNS_A);
	}
}

/* The first code of the answer that counts for the list; 0: none. */
static uint32_t matching_code(const struct conf_list *l, const struct dns_list_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++)
		for (size_t k = 0; k < l->code_count; k++)
			if (answer->code[i] >= l->codes[k].first &&
			    answer->code[i] <= l->codes[k].last)
				return answer->code[i];
	return 0;
}

static void take_listings(struct asking *a, size_t first, struct client_facts *ret)
{
	const struct conf *conf = a->conf;

	for (size_t i = first; i < conf->list_count; i++) {
		uint32_t code = matching_code(&conf->lists[i], &a->answer);

		if (!code || first_of_zone(conf, i) != first)
			continue;
		ret->listing[ret->listed].list = conf->lists[i].name;
		ret->listing[ret->listed++].code = code;
	}
}

static void read_lists(struct asking *a, struct client_facts *ret)
{
	for (size_t i = 0; i < a->conf->list_count; i++) {
		str zone = a->conf->lists[i].zone;

		if (!a->list[i])
			continue;
		dns_list_read(await(a, a->list[i]), &a->answer);
		if (a->answer.state == DNS_LIST_LISTED &&
		    zones_count(a->tk, a->zones, zone, a->address->family, a->deadline))
			take_listings(a, i, ret);
		zones_doubt(a->zones, zone, a->answer.state, task_now(a->tk));
	}
}

/* --- all of it --- */

void client_ask(struct task *tk, struct resolver *resolver, struct zones *zs,
		const struct conf *conf, const struct addr *address, str helo,
		struct client_facts *ret)
{
	_cleanup_(asking_freep) struct asking *a = calloc(1, sizeof(*a));

	*ret = (struct client_facts){ 0 };
	if (!a)
		return;
	a->tk = tk;
	a->resolver = resolver_ref(resolver);
	a->zones = zs;
	a->conf = conf;
	a->address = address;
	a->deadline = task_in(tk, CLIENT_WAIT);
	ask_helo(a, helo);
	if (address) {
		ask_reverse(a);
		ask_lists(a);
		read_reverse(a, ret);
		read_lists(a, ret);
	}
	read_helo(a, ret);
}
