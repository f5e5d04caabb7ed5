#include "dns/list.h"

#include "dns/testing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_names(void **state)
{
	static const struct {
		const char *address, *zone, *name;
	} cases[] = {
		{ "192.0.2.7", "zen.example.org", "7.2.0.192.zen.example.org" },
		{ "2001:db8::17", "zen.example.org",
		  "7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.example."
		  "org" },
	};
	char name[DNS_NAME_SIZE], zone[DNS_NAME_SIZE];
	struct addr a;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		assert_int_equal(addr_parse_ip(str_of(cases[i].address), 0, &a), 0);
		assert_int_equal(dns_list_name(&a, str_of(cases[i].zone), name), 0);
		assert_string_equal(name, cases[i].name);
	}
	/* 253 characters are a name, 254 are not. */
	memset(zone, 'a', sizeof(zone));
	assert_int_equal(dns_list_name(&a, str_mem(zone, 253 - 64), name), 0);
	assert_int_equal(strlen(name), 253);
	assert_int_equal(dns_list_name(&a, str_mem(zone, 254 - 64), name), -ENAMETOOLONG);
}

static void test_addresses_of_the_test(void **state)
{
	static const struct {
		int family;
		bool listed;
		const char *name;
	} cases[] = {
		{ AF_INET, true, "2.0.0.127.z" },
		{ AF_INET, false, "1.0.0.127.z" },
		{ AF_INET6, true,
		  "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.z" },
		{ AF_INET6, false,
		  "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.z" },
	};
	char name[DNS_NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct addr a = dns_list_test_address(cases[i].family, cases[i].listed);

		assert_int_equal(dns_list_name(&a, STR("z"), name), 0);
		assert_string_equal(name, cases[i].name);
	}
}

#define NXDOMAIN 3
#define SERVFAIL 2

struct answer_case {
	const char *requirement;
	unsigned rcode;
	const char *records[4]; /* addresses */
	enum dns_list_state state;
	size_t count;
	uint32_t first;
};

static const struct answer_case answers[] = {
	{ "no such name is not listed", NXDOMAIN, { NULL }, DNS_LIST_CLEAR, 0, 0 },
	{ "a name without addresses is not listed", 0, { NULL }, DNS_LIST_CLEAR, 0, 0 },
	{ "trouble says nothing", SERVFAIL, { NULL }, DNS_LIST_SILENT, 0, 0 },
	{ "a code", 0, { "127.0.0.4" }, DNS_LIST_LISTED, 1, 0x7f000004 },
	{ "several codes", 0, { "127.0.0.2", "127.0.0.9" }, DNS_LIST_LISTED, 2, 0x7f000002 },
	{ "a code of an allow list", 0, { "127.0.10.3" }, DNS_LIST_LISTED, 1, 0x7f000a03 },
	{ "an open resolver asked", 0, { "127.255.255.254" }, DNS_LIST_REFUSING, 1, 0x7ffffffe },
	{ "a typing error", 0, { "127.255.255.252" }, DNS_LIST_REFUSING, 1, 0x7ffffffc },
	{ "too many questions", 0, { "127.255.255.255" }, DNS_LIST_REFUSING, 1, 0x7fffffff },
	{ "blocked by an allow list", 0, { "127.0.0.255" }, DNS_LIST_REFUSING, 1, 0x7f0000ff },
	{ "an address asked of a list of names",
	  0,
	  { "127.0.1.255" },
	  DNS_LIST_REFUSING,
	  1,
	  0x7f0001ff },
	{ "127.0.0.1 is no code", 0, { "127.0.0.1" }, DNS_LIST_REFUSING, 1, 0x7f000001 },
	{ "an error beside a code is an error",
	  0,
	  { "127.0.0.2", "127.255.255.254" },
	  DNS_LIST_REFUSING,
	  1,
	  0x7ffffffe },
	{ "a parked domain", 0, { "203.0.113.5" }, DNS_LIST_FOREIGN, 1, 0xcb007105 },
	{ "a foreign address beside codes",
	  0,
	  { "127.0.0.2", "128.0.0.2", "127.0.0.3" },
	  DNS_LIST_FOREIGN,
	  1,
	  0x80000002 },
};

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(answers); i++) {
		const struct answer_case *c = &answers[i];
		struct dns_list_answer answer;
		struct dns_writer w;
		struct addr a;

		print_message("  %s\n", c->requirement);
		dns_start(&w, c->rcode, "7.2.0.192.zen.example.org", DNS_A);
		for (size_t k = 0; c->records[k]; k++) {
			assert_int_equal(addr_parse_ip(str_of(c->records[k]), 0, &a), 0);
			dns_put_a(&w, "7.2.0.192.zen.example.org", 60, a.ip);
		}
		dns_list_read(buf_str(&w.b), &answer);
		assert_int_equal(answer.state, c->state);
		assert_int_equal(answer.count, c->count);
		if (c->count)
			assert_int_equal(answer.code[0], c->first);
		dns_writer_done(&w);
	}
}

static void test_no_message_and_records_without_an_address_say_nothing(void **state)
{
	struct dns_list_answer answer;
	struct dns_writer w;

	(void)state;
	dns_list_read(STR_NONE, &answer);
	assert_int_equal(answer.state, DNS_LIST_SILENT);
	dns_start(&w, 0, "a.z", DNS_A);
	dns_put_head(&w, "a.z", DNS_A, 60, 2);
	dns_put16(&w, 0x7f00);
	dns_list_read(buf_str(&w.b), &answer);
	assert_int_equal(answer.state, DNS_LIST_SILENT);
	dns_writer_done(&w);
}

static void test_health(void **state)
{
	static const struct {
		const char *requirement;
		enum dns_list_state listed, not_listed;
		enum dns_list_health health;
	} cases[] = {
		{ "a living list", DNS_LIST_LISTED, DNS_LIST_CLEAR, DNS_LIST_ALIVE },
		{ "an empty zone", DNS_LIST_CLEAR, DNS_LIST_CLEAR, DNS_LIST_EMPTY },
		{ "a list that lists everything", DNS_LIST_LISTED, DNS_LIST_LISTED,
		  DNS_LIST_EVERYTHING },
		{ "everything, whatever the other answer", DNS_LIST_SILENT, DNS_LIST_LISTED,
		  DNS_LIST_EVERYTHING },
		{ "half an answer is none", DNS_LIST_LISTED, DNS_LIST_SILENT, DNS_LIST_UNTESTED },
		{ "no answer", DNS_LIST_SILENT, DNS_LIST_SILENT, DNS_LIST_UNTESTED },
		{ "an error code for the entry", DNS_LIST_REFUSING, DNS_LIST_CLEAR,
		  DNS_LIST_CLOSED },
		{ "an error code for everything", DNS_LIST_REFUSING, DNS_LIST_REFUSING,
		  DNS_LIST_CLOSED },
		{ "a parked domain", DNS_LIST_FOREIGN, DNS_LIST_FOREIGN, DNS_LIST_NONE },
		{ "a foreign answer beside silence", DNS_LIST_SILENT, DNS_LIST_FOREIGN,
		  DNS_LIST_NONE },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct dns_list_answer listed = { .state = cases[i].listed };
		struct dns_list_answer not_listed = { .state = cases[i].not_listed };

		print_message("  %s\n", cases[i].requirement);
		assert_int_equal(dns_list_test(&listed, &not_listed), cases[i].health);
		assert_true(strlen(dns_list_health_text(cases[i].health)) > 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_addresses_of_the_test),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_no_message_and_records_without_an_address_say_nothing),
		cmocka_unit_test(test_health),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
