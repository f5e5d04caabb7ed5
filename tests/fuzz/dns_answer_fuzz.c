/*
 * dns_answer: a hostile DNS message, read as every kind of answer. What comes out is bounded,
 * sorted and safe to show; whatever the MX records say, a route made of them never leads to us; and nothing
 * but 127.0.0.0/8 without its error codes is ever listed.
 */
#include "dns/list.h"
#include "dns/route.h"

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_addresses(const struct dns_addresses *a)
{
	must(a->count <= DNS_ADDRESSES_MAX);
	must(a->count == 0 || a->status == DNS_DATA);
}

static void check_mx(const struct dns_mx_answer *a)
{
	must(a->count <= DNS_MX_MAX);
	must(a->count == 0 || a->status == DNS_DATA);
	for (size_t i = 0; i < a->count; i++) {
		str host = str_of(a->mx[i].host);

		must(str_eq(host, STR(".")) || dns_name_is_host(host));
		must(i == 0 || a->mx[i - 1].preference <= a->mx[i].preference);
	}
}

/* The first MX host is us, by name or, told by the message's size, by address. */
static void check_route(const struct dns_mx_answer *mx, const struct dns_addresses *v6,
			const struct dns_addresses *v4, bool by_address)
{
	_cleanup_(freep) struct route_plan *plan = malloc(sizeof(*plan));
	_cleanup_(route_freep) struct route *r = NULL;
	struct route_self self = { 0 };
	struct route_try try[ROUTE_ADDRESSES_MAX];
	str name;

	must(plan && route_plan_init(plan, STR("example.cz")) == 0);
	must(route_plan_mx(plan, mx, 25) == 0);
	if (plan->host_count == 0)
		return;
	name = str_of(plan->host[0].name);
	for (size_t i = 0; i < plan->host_count; i++)
		route_host_addresses(&plan->host[i], v6, v4);
	if (by_address)
		self = (struct route_self){ .addresses = plan->host[0].address,
					    .address_count = plan->host[0].address_count };
	else
		self = (struct route_self){ .names = &name, .name_count = 1 };
	r = route_make(plan, &self);
	must(r && r->address_count <= ROUTE_ADDRESSES_MAX);
	must(route_order(r, 1, try) == r->address_count);
	if (!by_address || self.address_count)
		must(r->reason != ROUTE_OK && r->address_count == 0);
}

static void check_list(str message, const struct dns_addresses *v4)
{
	struct dns_list_answer a;
	struct dns_list_answer clear = { .state = DNS_LIST_CLEAR };

	dns_list_read(message, &a);
	must(a.count <= v4->count);
	must((a.count > 0) == (a.state != DNS_LIST_CLEAR && a.state != DNS_LIST_SILENT));
	must((a.state == DNS_LIST_SILENT) ==
	     (v4->status == DNS_TROUBLE || (v4->status == DNS_DATA && v4->count == 0)));
	if (a.state == DNS_LIST_LISTED)
		for (size_t i = 0; i < v4->count; i++)
			must(v4->address[i].ip[0] == 127 && v4->address[i].ip[3] != 255);
	must((dns_list_test(&a, &clear) == DNS_LIST_ALIVE) == (a.state == DNS_LIST_LISTED));
	must(dns_list_test(&clear, &a) != DNS_LIST_ALIVE);
}

static void check_tlsa(const struct dns_tlsa_answer *a)
{
	must(a->count <= DNS_TLSA_MAX && a->byte_count <= DNS_TLSA_BYTES_MAX);
	must(a->count == 0 || a->status == DNS_DATA);
	for (size_t i = 0; i < a->count; i++)
		must(a->record[i].from + a->record[i].length <= a->byte_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_tlsa_answer tlsa;
	static struct dns_texts texts;
	static struct dns_mx_answer mx;
	static struct dns_addresses v6, v4;
	static struct dns_names names;
	str message = str_mem(data, size);

	dns_read_mx(message, &mx);
	check_mx(&mx);
	dns_read_addresses(message, DNS_AAAA, &v6);
	check_addresses(&v6);
	dns_read_addresses(message, DNS_A, &v4);
	check_addresses(&v4);
	check_list(message, &v4);
	must(dns_read_status(message, DNS_A) == v4.status);
	dns_read_tlsa(message, &tlsa);
	check_tlsa(&tlsa);
	dns_read_texts(message, &texts);
	must(texts.count <= DNS_TEXTS_MAX);
	for (size_t i = 0; i < texts.count; i++)
		must(texts.length[i] <= DNS_TEXT_SIZE);
	dns_read_names(message, &names);
	must(names.count <= DNS_NAMES_MAX);
	for (size_t i = 0; i < names.count; i++)
		must(dns_name_is_host(str_of(names.name[i])));
	check_route(&mx, &v6, &v4, size & 1);
	return 0;
}
