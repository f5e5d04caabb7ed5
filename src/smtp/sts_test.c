#include "smtp/sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void records(void **state)
{
	static const struct {
		const char *text, *id; /* NULL: none */
	} cases[] = {
		{ "v=STSv1; id=20160831085700Z;", "20160831085700Z" },
		{ "v=STSv1;id=1", "1" },
		{ "v=STSv1; other=x; id=a1 ;", "a1" },
		{ "v=STSv1; id=12345678901234567890123456789012",
		  "12345678901234567890123456789012" },
		{ "v=STSv1; id=123456789012345678901234567890123", NULL },
		{ "v=STSv1; id=a-b", NULL },
		{ "v=STSv1; id=", NULL },
		{ "v=STSv1", NULL },
		{ "v=STSv2; id=1", NULL },
		{ "id=1; v=STSv1", NULL },
		{ "v=spf1 -all", NULL },
		{ "", NULL },
	};
	char id[STS_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		bool is = sts_read_record(str_of(cases[i].text), id);

		if (is != (cases[i].id != NULL) || (is && strcmp(id, cases[i].id) != 0))
			fail_msg("%s: %d %s", cases[i].text, is, id);
	}
}

#define POLICY                                                                                     \
	"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: "        \
	"604800\n"

static void a_policy(void **state)
{
	struct sts_policy p;

	(void)state;
	assert_int_equal(sts_read_policy(STR(POLICY), &p), 0);
	assert_int_equal(p.mode, STS_ENFORCE);
	assert_int_equal(p.max_age_seconds, 604800);
	assert_int_equal(p.mx_count, 2);
	assert_true(sts_allows(&p, STR("MAIL.example.com")));
	assert_true(sts_allows(&p, STR("mail.example.com.")));
	assert_true(sts_allows(&p, STR("a.example.net")));
	assert_false(sts_allows(&p, STR("a.b.example.net")));
	assert_false(sts_allows(&p, STR("example.net")));
	assert_false(sts_allows(&p, STR(".example.net")));
	assert_false(sts_allows(&p, STR("xmail.example.com")));
	assert_false(sts_allows(&p, STR("")));
}

static void policies(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{ "version: STSv1\r\nmode: testing\r\nmx: a.b\r\nmax_age: 1\r\n", true },
		{ "version:STSv1\nmode:none\nmax_age:0", true }, /* none needs no mx */
		{ "version: STSv1\nmode: enforce\nmax_age: 1\n", false },
		{ "version: STSv1\nmx: a.b\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: a.b\n", false },
		{ "mode: enforce\nmx: a.b\nmax_age: 1\n", false },
		{ "version: STSv2\nmode: enforce\nmx: a.b\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: Enforce\nmx: a.b\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: -1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 12345678901\n", false },
		{ "version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: *.\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 1\nnew: field\n", true },
		{ "version: STSv1\nmode: enforce\nmode: none\nmx: a.b\nmax_age: 1\n", true },
		{ "version: STSv1\nmode: enforce\nmx: a.b.\nmax_age: 1\n", true },
		{ "version: STSv1\nmode: enforce\nmx: a.b..\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: a..b\nmax_age: 1\n", false },
		{ "version: STSv1\nmode: enforce\nmx: .b\nmax_age: 1\n", false },
		{ "<html>", false },
		{ "", false },
	};
	struct sts_policy p;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		if ((sts_read_policy(str_of(cases[i].text), &p) == 0) != cases[i].good)
			fail_msg("%s", cases[i].text);
	assert_int_equal(sts_read_policy(str_of(cases[14].text), &p), 0);
	assert_int_equal(p.mode, STS_ENFORCE); /* the first counts */
	/* A NUL is no letter (found by fuzzing). */
	assert_int_equal(
		sts_read_policy(STR("version: STSv1\nmode: enforce\nmx: a\0b\nmax_age: 1\n"), &p),
		-EINVAL);
}

static void responses(void **state)
{
	static const struct {
		const char *text, *body; /* NULL: none */
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nx", "x" },
		{ "HTTP/1.0 200 OK\r\ncontent-type: Text/Plain; charset=utf-8\r\ncontent-length: "
		  "2\r\n\r\nxyz",
		  "xy" },
		{ "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nxyz",
		  NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nx", NULL },
		{ "HTTP/1.1 200 OK\r\n\r\nx", NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: "
		  "chunked\r\n\r\nx",
		  NULL },
		{ "HTTP/1.1 301 Moved\r\nContent-Type: text/plain\r\nLocation: https://x/\r\n\r\nx",
		  NULL },
		{ "HTTP/1.1 404 No\r\nContent-Type: text/plain\r\n\r\nx", NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n", NULL },
		{ "SSH-2.0-x\r\n\r\n", NULL },
		{ "", NULL },
	};
	str body;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		int r = sts_read_response(str_of(cases[i].text), &body);

		if ((r == 0) != (cases[i].body != NULL) ||
		    (r == 0 && !str_eq(body, str_of(cases[i].body))))
			fail_msg("%s: %d", cases[i].text, r);
	}
}

static void bounds(void **state)
{
	static char text[STS_POLICY_BYTES_MAX + 100];
	struct sts_policy p;
	size_t n;

	(void)state;
	n = (size_t)snprintf(text, sizeof(text),
			     "version: STSv1\nmode: enforce\nmax_age: 9999999999\n");
	for (int i = 0; i < STS_MX_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "mx: m%d.a\n", i);
	assert_int_equal(sts_read_policy(str_mem(text, n), &p), 0);
	assert_int_equal(p.max_age_seconds, STS_AGE_MAX_SECONDS);
	assert_int_equal(p.mx_count, STS_MX_MAX);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "mx: one.more\n");
	assert_int_equal(sts_read_policy(str_mem(text, n), &p), -EINVAL);
	memset(text, '\n', sizeof(text));
	memcpy(text, POLICY, sizeof(POLICY) - 1);
	assert_int_equal(sts_read_policy(str_mem(text, STS_POLICY_BYTES_MAX), &p), 0);
	assert_int_equal(sts_read_policy(str_mem(text, STS_POLICY_BYTES_MAX + 1), &p), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records),   cmocka_unit_test(a_policy), cmocka_unit_test(policies),
		cmocka_unit_test(responses), cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
