#include "smtp/received.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ULID "01JDF5Z8P0ABCDEFGHJKMNPQRS"

static const nsec arrived = INT64_C(1795501440) * NSEC_S; /* 24 Nov 2026 06:24:00 */

static const struct {
	const char *name;
	struct received r;
	const char *text;
} cases[] = {
	{ "everything known",
	  { .helo = STR("client.example"),
	    .name = STR("client.example"),
	    .address = STR("192.0.2.1"),
	    .esmtp = true,
	    .tls_version = STR("TLSv1.3"),
	    .tls_cipher = STR("TLS_AES_256_GCM_SHA384"),
	    .hostname = STR("mx2.example.net"),
	    .recipient = STR("a@example.cz"),
	    .domain = STR("example.cz"),
	    .arrived_wall = arrived },
	  "Received: from client.example (client.example [192.0.2.1])\r\n"
	  "\tby mx2.example.net (Locum) with ESMTPS id " ULID "\r\n"
	  "\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
	  "\tfor <a@example.cz>; Tue, 24 Nov 2026 06:24:00 +0000\r\n" },
	{ "plaintext HELO, no name, several recipients",
	  { .helo = STR("x"),
	    .address = STR("2001:db8::1"),
	    .hostname = STR("mx2.example.net"),
	    .domain = STR("example.cz"),
	    .arrived_wall = arrived },
	  "Received: from x ([IPv6:2001:db8::1])\r\n"
	  "\tby mx2.example.net (Locum) with SMTP id " ULID "\r\n"
	  "\t(for example.cz); Tue, 24 Nov 2026 06:24:00 +0000\r\n" },
	{ "a HELO cannot write into the header",
	  { .helo = STR("a) by\r\nX: (\"\\;<>\x80\0b"),
	    .name = STR("n)\r\n"),
	    .address = STR("nonsense"),
	    .esmtp = true,
	    .hostname = STR("h"),
	    .recipient = STR("a>\r\nb"),
	    .arrived_wall = arrived },
	  "Received: from a??by??X:?????????b (n??? [unknown])\r\n"
	  "\tby h (Locum) with ESMTP id " ULID ";\r\n"
	  "\tTue, 24 Nov 2026 06:24:00 +0000\r\n" },
	{ "with SMTPUTF8 the recipient may be UTF-8",
	  { .helo = STR("h"),
	    .address = STR("192.0.2.1"),
	    .esmtp = true,
	    .smtputf8 = true,
	    .hostname = STR("h"),
	    .recipient = STR("j\xc3\xb6rg@x"),
	    .arrived_wall = arrived },
	  "Received: from h ([192.0.2.1])\r\n\tby h (Locum) with UTF8SMTP id " ULID "\r\n"
	  "\tfor <j\xc3\xb6rg@x>; Tue, 24 Nov 2026 06:24:00 +0000\r\n" },
	{ "over TLS too, where no cipher need be known",
	  { .helo = STR("\xc3\xa9"),
	    .address = STR("192.0.2.1"),
	    .esmtp = true,
	    .smtputf8 = true,
	    .tls_version = STR("TLSv1.3"),
	    .hostname = STR("h"),
	    .domain = STR("x"),
	    .arrived_wall = arrived },
	  "Received: from ?? ([192.0.2.1])\r\n\tby h (Locum) with UTF8SMTPS id " ULID "\r\n"
	  "\t(TLSv1.3 unknown)\r\n\t(for x); Tue, 24 Nov 2026 06:24:00 +0000\r\n" },
	{ "without it an address in UTF-8 is not shown",
	  { .address = STR("192.0.2.1"),
	    .esmtp = true,
	    .hostname = STR("h"),
	    .recipient = STR("j\xc3\xb6rg@x"),
	    .domain = STR("x"),
	    .arrived_wall = arrived },
	  "Received: from unknown ([192.0.2.1])\r\n\tby h (Locum) with ESMTP id " ULID "\r\n"
	  "\t(for x); Tue, 24 Nov 2026 06:24:00 +0000\r\n" },
	{ "a quoted recipient is written as it was given",
	  { .helo = STR("h"),
	    .address = STR("192.0.2.1"),
	    .hostname = STR("h"),
	    .recipient = STR("\"a>; (b\"@x"),
	    .arrived_wall = arrived },
	  "Received: from h ([192.0.2.1])\r\n\tby h (Locum) with SMTP id " ULID "\r\n"
	  "\tfor <\"a>; (b\"@x>; Tue, 24 Nov 2026 06:24:00 +0000\r\n" },
};

static void test_received(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct received r = cases[i].r;
		struct buf b;

		buf_init(&b, RECEIVED_MAX);
		assert_int_equal(id_parse(STR(ULID), &r.id), 0);
		assert_int_equal(received_format(&r, &b), 0);
		if (!str_eq(buf_str(&b), str_of(cases[i].text)))
			fail_msg("%s:\n%.*s", cases[i].name, STR_ARG(buf_str(&b)));
		buf_done(&b);
	}
}

static void test_long_words_are_bounded_and_folded(void **state)
{
	char helo[400], local[64], domain[190];
	char recipient[256];
	struct received r = { .address = STR("192.0.2.1"), .esmtp = true, .arrived_wall = arrived };
	struct buf b;
	str line, rest;

	(void)state;
	memset(helo, 'h', sizeof helo);
	memset(local, 'l', sizeof local);
	memset(domain, 'd', sizeof domain);
	for (size_t i = 9; i < sizeof domain; i += 10)
		domain[i] = i == sizeof domain - 1 ? 'd' : '.';
	snprintf(recipient, sizeof recipient, "%.*s@%.*s", 63, local, (int)sizeof domain, domain);
	r.helo = r.name = str_mem(helo, sizeof helo);
	r.hostname = str_mem(domain, sizeof domain);
	r.tls_version = r.tls_cipher = str_mem(helo, sizeof helo);
	r.recipient = str_of(recipient);
	r.domain = r.hostname;
	buf_init(&b, RECEIVED_MAX);
	assert_int_equal(received_format(&r, &b), 0);
	for (rest = buf_str(&b); rest.n; rest = str_from(rest, 1)) {
		assert_true(str_cut(rest, '\n', &line, &rest));
		assert_true(line.n < 998 && line.p[line.n - 1] == '\r');
		rest = (str){ rest.p - 1, rest.n + 1 };
	}
	buf_done(&b);
}

static void test_a_full_buffer_keeps_what_it_had(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 40);
	assert_int_equal(buf_add(&b, STR("kept")), 0);
	assert_int_equal(received_format(&cases[0].r, &b), -ENOBUFS);
	assert_true(str_eq(buf_str(&b), STR("kept")));
	buf_done(&b);
}

static void test_dates(void **state)
{
	static const struct {
		const char *name;
		int64_t seconds;
		const char *text;
	} dates[] = {
		{ "the epoch", 0, "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ "a leap day", 1709164800 + 3661, "Thu, 29 Feb 2024 01:01:01 +0000" },
		{ "the day behind it", 1709251199 + 1, "Fri, 01 Mar 2024 00:00:00 +0000" },
		{ "the leap day of 2000", 951782400, "Tue, 29 Feb 2000 00:00:00 +0000" },
		{ "a year's last second", 1767225599, "Wed, 31 Dec 2025 23:59:59 +0000" },
		{ "2100 is no leap year", 4107542400, "Mon, 01 Mar 2100 00:00:00 +0000" },
		{ "before the epoch is the epoch", -5, "Thu, 01 Jan 1970 00:00:00 +0000" },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(dates); i++) {
		char text[SMTP_DATE_SIZE];

		smtp_date(dates[i].seconds * NSEC_S, text);
		if (strcmp(text, dates[i].text))
			fail_msg("%s: %s", dates[i].name, text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_received),
		cmocka_unit_test(test_long_words_are_bounded_and_folded),
		cmocka_unit_test(test_a_full_buffer_keeps_what_it_had),
		cmocka_unit_test(test_dates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
