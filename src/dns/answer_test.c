#include "dns/answer.h"

#include "base/cleanup.h"
#include "dns/testing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void put_a(struct dns_writer *w, const char *owner, unsigned ttl, unsigned last)
{
	dns_put_a(w, owner, ttl, (const uint8_t[]){ 192, 0, 2, (uint8_t)last });
}

#define WRITER __attribute__((cleanup(dns_writer_done))) struct dns_writer

static void test_mx_records_come_best_first(void **state)
{
	WRITER w;
	struct dns_mx_answer a;

	(void)state;
	dns_start(&w, 0, "Example.CZ", DNS_MX);
	dns_put_mx(&w, "example.cz", 300, 20, "Backup.example.net");
	dns_put_mx(&w, "EXAMPLE.cz", 120, 10, "mail.example.cz");
	dns_put_mx(&w, "example.cz", 300, 20, "backup2.example.net");
	dns_put_mx(&w, "other.cz", 5, 1, "evil.example.net");
	dns_read_mx(buf_str(&w.b), &a);
	assert_int_equal(a.status, DNS_DATA);
	assert_int_equal(a.count, 3);
	assert_int_equal(a.ttl, 120);
	assert_string_equal(a.mx[0].host, "mail.example.cz");
	assert_string_equal(a.mx[1].host, "backup.example.net");
	assert_string_equal(a.mx[2].host, "backup2.example.net");
	assert_int_equal(a.mx[2].preference, 20);
	assert_false(a.cut);
}

static void test_null_mx_is_the_root(void **state)
{
	WRITER w;
	struct dns_mx_answer a;

	(void)state;
	dns_start(&w, 0, "example.cz", DNS_MX);
	dns_put_mx(&w, "example.cz", 300, 0, ".");
	dns_read_mx(buf_str(&w.b), &a);
	assert_int_equal(a.count, 1);
	assert_string_equal(a.mx[0].host, ".");
}

static void test_records_that_name_no_host_are_still_records(void **state)
{
	WRITER w;
	struct dns_mx_answer a;

	(void)state;
	dns_start(&w, 0, "example.cz", DNS_MX);
	dns_put_mx(&w, "example.cz", 300, 0, "ma il.example.cz");
	dns_put_mx(&w, "example.cz", 300, 0, "mail;rm.example.cz");
	dns_put_mx(&w, "example.cz", 300, 0, "192.0.2.1");
	dns_read_mx(buf_str(&w.b), &a);
	assert_int_equal(a.status, DNS_DATA);
	assert_int_equal(a.count, 0);
}

static void test_the_best_32_mx_records_are_kept(void **state)
{
	WRITER w;
	struct dns_mx_answer a;

	(void)state;
	dns_start(&w, 0, "example.cz", DNS_MX);
	for (unsigned i = 0; i < 100; i++)
		dns_put_mx(&w, "example.cz", 300, 100 - i, "mail.example.cz");
	dns_read_mx(buf_str(&w.b), &a);
	assert_int_equal(a.count, DNS_MX_MAX);
	assert_true(a.cut);
	for (unsigned i = 0; i < DNS_MX_MAX; i++)
		assert_int_equal(a.mx[i].preference, i + 1);
}

static void test_cnames_are_followed_in_any_order(void **state)
{
	WRITER w;
	struct dns_addresses a;

	(void)state;
	dns_start(&w, 0, "mail.a", DNS_A);
	put_a(&w, "host.a", 300, 1);
	dns_put_target(&w, "alias.a", DNS_TYPE_CNAME, 50, "host.a");
	dns_put_target(&w, "mail.a", DNS_TYPE_CNAME, 300, "alias.a");
	put_a(&w, "mail.a", 300, 9);
	dns_read_addresses(buf_str(&w.b), DNS_A, &a);
	assert_int_equal(a.status, DNS_DATA);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.address[0].ip[3], 1);
	assert_int_equal(a.ttl, 50);
}

static void test_an_alias_is_seen(void **state)
{
	WRITER w;
	WRITER v;

	(void)state;
	dns_start(&w, 0, "mail.a", DNS_A);
	dns_put_target(&w, "alias.a", DNS_TYPE_CNAME, 50, "mail.a"); /* another name's */
	put_a(&w, "mail.a", 300, 9);
	assert_false(dns_read_alias(buf_str(&w.b)));
	dns_start(&v, 3, "mail.a", DNS_A);
	dns_put_target(&v, "mail.a", DNS_TYPE_CNAME, 50, "gone.a");
	assert_true(dns_read_alias(buf_str(&v.b)));
	assert_false(dns_read_alias(STR_NONE));
}

static void test_a_cname_loop_is_trouble(void **state)
{
	WRITER w;
	struct dns_addresses a;

	(void)state;
	dns_start(&w, 0, "mail.a", DNS_A);
	dns_put_target(&w, "mail.a", DNS_TYPE_CNAME, 300, "alias.a");
	dns_put_target(&w, "alias.a", DNS_TYPE_CNAME, 300, "mail.a");
	dns_read_addresses(buf_str(&w.b), DNS_A, &a);
	assert_int_equal(a.status, DNS_TROUBLE);
}

static void test_status(void **state)
{
	static const struct {
		const char *requirement;
		unsigned rcode;
		bool alias;
		enum dns_status status;
	} cases[] = {
		{ "an empty answer is no data", 0, false, DNS_NO_DATA },
		{ "a CNAME to nothing is no data", 0, true, DNS_NO_DATA },
		{ "NXDOMAIN is no domain", 3, false, DNS_NO_DOMAIN },
		{ "a CNAME to NXDOMAIN is no domain", 3, true, DNS_NO_DOMAIN },
		{ "FORMERR is trouble", 1, false, DNS_TROUBLE },
		{ "SERVFAIL is trouble", 2, false, DNS_TROUBLE },
		{ "SERVFAIL behind a CNAME is trouble", 2, true, DNS_TROUBLE },
		{ "NOTIMP is trouble", 4, false, DNS_TROUBLE },
		{ "REFUSED is trouble", 5, false, DNS_TROUBLE },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		WRITER w;
		struct dns_mx_answer a;

		print_message("  %s\n", cases[i].requirement);
		dns_start(&w, cases[i].rcode, "example.cz", DNS_MX);
		if (cases[i].alias)
			dns_put_target(&w, "example.cz", DNS_TYPE_CNAME, 300, "alias.cz");
		dns_read_mx(buf_str(&w.b), &a);
		assert_string_equal(dns_status_text(a.status), dns_status_text(cases[i].status));
		assert_int_equal(a.count, 0);
		assert_int_equal(a.ttl, UINT32_MAX);
	}
}

static void test_addresses(void **state)
{
	static const char six[] = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
	static const char mapped[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07";
	struct dns_addresses a;
	char text[ADDR_TEXT_SIZE];
	WRITER w;
	WRITER v;

	(void)state;
	dns_start(&w, 0, "mail.a", DNS_AAAA);
	dns_put_head(&w, "mail.a", DNS_AAAA, 300, 16);
	assert_int_equal(buf_add(&w.b, str_mem(six, 16)), 0);
	dns_put_head(&w, "mail.a", DNS_AAAA, 300, 16);
	assert_int_equal(buf_add(&w.b, str_mem(mapped, 16)), 0);
	put_a(&w, "mail.a", 300, 1);
	dns_read_addresses(buf_str(&w.b), DNS_AAAA, &a);
	assert_int_equal(a.count, 2);
	assert_string_equal(addr_ip_text(&a.address[0], text), "2001:db8::1");
	assert_string_equal(addr_ip_text(&a.address[1], text), "192.0.2.7");

	dns_start(&v, 0, "mail.a", DNS_A);
	dns_put_head(&v, "mail.a", DNS_A, 300, 5); /* not an address */
	assert_int_equal(buf_add(&v.b, STR("12345")), 0);
	for (unsigned i = 0; i < 20; i++)
		put_a(&v, "mail.a", 300, i);
	dns_read_addresses(buf_str(&v.b), DNS_A, &a);
	assert_int_equal(a.count, DNS_ADDRESSES_MAX);
	assert_true(a.cut);
	assert_int_equal(a.address[0].ip[3], 0);
	assert_int_equal(a.address[0].port, 0);
}

static void test_names(void **state)
{
	struct dns_names a;
	WRITER w;

	(void)state;
	/* RFC 2317: the chain goes through a name that is no host name. */
	dns_start(&w, 0, "7.2.0.192.in-addr.arpa", DNS_PTR);
	dns_put_target(&w, "7.2.0.192.in-addr.arpa", DNS_TYPE_CNAME, 300,
		       "7.0/25.2.0.192.in-addr.arpa");
	dns_put_target(&w, "7.0/25.2.0.192.in-addr.arpa", DNS_PTR, 300, "Mail.example.cz");
	dns_put_target(&w, "7.0/25.2.0.192.in-addr.arpa", DNS_PTR, 300,
		       "evil\r\nX-Spam: no.example.cz");
	dns_put_target(&w, "7.0/25.2.0.192.in-addr.arpa", DNS_PTR, 300, "(evil).example.cz");
	dns_read_names(buf_str(&w.b), &a);
	assert_int_equal(a.status, DNS_DATA);
	assert_int_equal(a.count, 1);
	assert_string_equal(a.name[0], "mail.example.cz");
}

static void test_every_cut_message_is_trouble(void **state)
{
	struct dns_mx_answer a;
	WRITER w;

	(void)state;
	dns_start(&w, 0, "example.cz", DNS_MX);
	dns_put_target(&w, "example.cz", DNS_TYPE_CNAME, 300, "alias.cz");
	dns_put_mx(&w, "alias.cz", 300, 10, "mail.example.cz");
	dns_read_mx(buf_str(&w.b), &a);
	assert_int_equal(a.count, 1);
	for (size_t n = 0; n < w.b.n; n++) {
		/* On the heap and of exact size, so that a sanitizer sees a read past the end. */
		_cleanup_(freep) char *exact = malloc(n + 1);

		memcpy(exact + 1, w.b.p, n);
		dns_read_mx(str_mem(exact + 1, n), &a);
		assert_int_equal(a.status, DNS_TROUBLE);
		assert_int_equal(a.count, 0);
	}
}

static void test_hostile_names(void **state)
{
	static const struct {
		const char *requirement;
		str message;
		size_t at;
		int result;
		const char *name;
		size_t end;
	} cases[] = {
		{ "a plain name", { "\1a\2BC\0", 6 }, 0, 0, "a.bc", 6 },
		{ "the root", { "\0", 1 }, 0, 0, ".", 1 },
		{ "a pointer backwards", { "\1a\0\1b\xc0\0", 7 }, 3, 0, "b.a", 7 },
		{ "a pointer to itself", { "\xc0\0", 2 }, 0, -EBADMSG, NULL, 0 },
		{ "a pointer forwards", { "\xc0\2\1a\0", 5 }, 0, -EBADMSG, NULL, 0 },
		{ "a pointer loop through a label", { "\1a\xc0\0", 4 }, 2, -EBADMSG, NULL, 0 },
		{ "half a pointer", { "\xc0", 1 }, 0, -EBADMSG, NULL, 0 },
		{ "a label past the end", { "\5ab", 3 }, 0, -EBADMSG, NULL, 0 },
		{ "no end", { "\1a", 2 }, 0, -EBADMSG, NULL, 0 },
		{ "a label type of the past",
		  { "\x41"
		    "a\0",
		    3 },
		  0,
		  -EBADMSG,
		  NULL,
		  0 },
		{ "an offset past the end", { "\0", 1 }, 9, -EBADMSG, NULL, 0 },
		{ "a dot in a label", { "\3a.b\1c\0", 7 }, 0, -EINVAL, "", 7 },
		{ "a NUL in a label", { "\2a\0\0", 4 }, 0, -EINVAL, "", 4 },
		{ "a byte of 8 bits", { "\1\xe9\0", 3 }, 0, -EINVAL, "", 3 },
	};
	char name[DNS_NAME_SIZE];
	size_t end;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		print_message("  %s\n", cases[i].requirement);
		assert_int_equal(dns_name_read(cases[i].message, cases[i].at, name, &end),
				 cases[i].result);
		if (!cases[i].name)
			continue;
		assert_string_equal(name, cases[i].name);
		assert_int_equal(end, cases[i].end);
	}
}

static void test_the_longest_name_fits(void **state)
{
	char wire[400], name[DNS_NAME_SIZE];
	size_t end;

	(void)state;
	/* 127 labels of one byte: 254 bytes and the root, 253 characters. */
	for (size_t i = 0; i < sizeof(wire); i += 2) {
		wire[i] = 1;
		wire[i + 1] = 'x';
	}
	wire[254] = 0;
	assert_int_equal(dns_name_read(str_mem(wire, sizeof(wire)), 0, name, &end), 0);
	assert_int_equal(strlen(name), 253);
	assert_int_equal(end, 255);
	wire[254] = 1;
	wire[256] = 0;
	assert_int_equal(dns_name_read(str_mem(wire, sizeof(wire)), 0, name, &end), -EBADMSG);
}

static void test_host_names(void **state)
{
	static const struct {
		const char *name;
		bool is_host;
	} cases[] = {
		{ "mail.example.cz", true },
		{ "mail", true },
		{ "xn--hkyrky-ptac70bc.cz", true },
		{ "a_b.cz", true },
		{ "1.cz", true },
		{ "", false },
		{ ".", false },
		{ "mail.", false },
		{ "a..b", false },
		{ ".a", false },
		{ "a b", false },
		{ "a\nb", false },
		{ "(x).cz", false },
		{ "192.0.2.1", false },
		{ "a/b.cz", false },
		{ "\xc3\xa9.cz", false },
		{ "2001:db8::1", false },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_int_equal(dns_name_is_host(str_of(cases[i].name)), cases[i].is_host);
}

static void test_reverse_names(void **state)
{
	char name[DNS_REVERSE_NAME_SIZE];
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse_ip(STR("192.0.2.7"), 0, &a), 0);
	dns_reverse_name(&a, name);
	assert_string_equal(name, "7.2.0.192.in-addr.arpa");
	assert_int_equal(addr_parse_ip(STR("2001:db8::567:89ab"), 0, &a), 0);
	dns_reverse_name(&a, name);
	assert_string_equal(name, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
				  "ip6.arpa");
}

static void put_tlsa(struct dns_writer *w, const char *owner, const uint8_t *data, size_t n)
{
	dns_put_head(w, owner, DNS_TLSA, 300, n);
	for (size_t i = 0; i < n; i++)
		dns_put8(w, data ? data[i] : 3);
}

static void test_tlsa_records(void **state)
{
	static struct dns_tlsa_answer a;
	WRITER w;

	(void)state;
	dns_start(&w, 0, "_25._tcp.mx.x", DNS_TLSA);
	put_tlsa(&w, "_25._tcp.mx.x", (const uint8_t[]){ 3, 1, 2, 9, 8 }, 5);
	put_tlsa(&w, "_25._tcp.mx.x", (const uint8_t[]){ 2, 0 }, 2);
	put_tlsa(&w, "_25._tcp.mx.x", (const uint8_t[]){ 2, 0, 1 }, 3);
	dns_read_tlsa(buf_str(&w.b), &a);
	assert_int_equal(a.status, DNS_DATA);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.record[0].usage, 3);
	assert_int_equal(a.record[0].selector, 1);
	assert_int_equal(a.record[0].matching, 2);
	assert_int_equal(a.record[0].length, 2);
	assert_memory_equal(a.bytes + a.record[0].from, "\x09\x08", 2);
	assert_int_equal(a.record[1].length, 0);
	assert_false(a.cut);
}

static void test_tlsa_records_are_bounded(void **state)
{
	static struct dns_tlsa_answer a;
	WRITER w;

	(void)state;
	dns_start(&w, 0, "_25._tcp.mx.x", DNS_TLSA);
	put_tlsa(&w, "_25._tcp.mx.x", NULL, 3 + DNS_TLSA_BYTES_MAX + 1);
	for (int i = 0; i < DNS_TLSA_MAX + 2; i++)
		put_tlsa(&w, "_25._tcp.mx.x", NULL, 35);
	dns_read_tlsa(buf_str(&w.b), &a);
	assert_int_equal(a.count, DNS_TLSA_MAX);
	assert_int_equal(a.byte_count, 32 * DNS_TLSA_MAX);
	assert_true(a.cut);
}

static void test_texts_are_joined_and_bounded(void **state)
{
	static struct dns_texts a;
	WRITER w;

	(void)state;
	dns_start(&w, 0, "x", DNS_TXT);
	dns_put_head(&w, "x", DNS_TXT, 300, 6);
	must(buf_add(&w.b, str_mem("\2ab\2cd", 6)) == 0);
	dns_put_head(&w, "x", DNS_TXT, 300, 3);
	must(buf_add(&w.b, str_mem("\5ab", 3)) == 0); /* longer than its record */
	for (int i = 0; i < DNS_TEXTS_MAX; i++)
		dns_put_head(&w, "x", DNS_TXT, 300, 0);
	dns_read_texts(buf_str(&w.b), &a);
	assert_int_equal(a.status, DNS_DATA);
	assert_int_equal(a.count, DNS_TEXTS_MAX);
	assert_int_equal(a.length[0], 4);
	assert_memory_equal(a.text[0], "abcd", 4);
	assert_int_equal(a.length[1], 0);
	assert_true(a.cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_are_joined_and_bounded),
		cmocka_unit_test(test_tlsa_records),
		cmocka_unit_test(test_tlsa_records_are_bounded),
		cmocka_unit_test(test_mx_records_come_best_first),
		cmocka_unit_test(test_null_mx_is_the_root),
		cmocka_unit_test(test_records_that_name_no_host_are_still_records),
		cmocka_unit_test(test_the_best_32_mx_records_are_kept),
		cmocka_unit_test(test_cnames_are_followed_in_any_order),
		cmocka_unit_test(test_an_alias_is_seen),
		cmocka_unit_test(test_a_cname_loop_is_trouble),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_cut_message_is_trouble),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_the_longest_name_fits),
		cmocka_unit_test(test_host_names),
		cmocka_unit_test(test_reverse_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
