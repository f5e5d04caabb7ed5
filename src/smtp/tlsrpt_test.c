#include "smtp/tlsrpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#define NOON ((nsec)1764072000 * NSEC_S) /* 2025-11-25T12:00:00Z */

static const struct tlsrpt_head head = {
	.organization = { "mx2.example.net", 15 },
	.contact = { "postmaster@mx2.example.net", 26 },
	.report_id = { "1@mx2.example.net", 17 },
	.start_wall = NOON,
	.end_wall = NOON + 3 * NSEC_S,
};

static struct tlsrpt_session session(enum tlsrpt_type type, enum tlsrpt_result result)
{
	return (struct tlsrpt_session){
		.type = type,
		.result = result,
		.policy_domain = STR("example.org"),
		.host = STR("mx.example.org"),
		.address = STR("192.0.2.1"),
		.reason = STR("it said so"),
	};
}

static json_t *rendered(const struct tlsrpt *t)
{
	struct buf b;
	json_error_t error;
	json_t *document;

	buf_init(&b, TLSRPT_JSON_MAX);
	assert_int_equal(tlsrpt_render(t, &head, &b), 0);
	document = json_loadb(b.p, b.n, 0, &error);
	if (!document)
		fail_msg("%s at %d: %.*s", error.text, error.position, (int)b.n, b.p);
	buf_done(&b);
	return document;
}

static json_t *policy_at(json_t *document, size_t n)
{
	return json_array_get(json_object_get(document, "policies"), n);
}

static void expect_text(json_t *in, const char *name, const char *text)
{
	assert_string_equal(json_string_value(json_object_get(in, name)), text);
}

static void expect_summary(json_t *policy, int good, int failed)
{
	json_t *summary = json_object_get(policy, "summary");

	assert_int_equal(
		json_integer_value(json_object_get(summary, "total-successful-session-count")),
		good);
	assert_int_equal(
		json_integer_value(json_object_get(summary, "total-failure-session-count")),
		failed);
}

static void around(void **state)
{
	struct tlsrpt t;
	json_t *document, *range;

	(void)state;
	tlsrpt_init(&t);
	document = rendered(&t);
	range = json_object_get(document, "date-range");
	expect_text(document, "organization-name", "mx2.example.net");
	expect_text(document, "contact-info", "postmaster@mx2.example.net");
	expect_text(document, "report-id", "1@mx2.example.net");
	expect_text(range, "start-datetime", "2025-11-25T12:00:00Z");
	expect_text(range, "end-datetime", "2025-11-25T12:00:03Z");
	assert_int_equal(json_array_size(json_object_get(document, "policies")), 0);
	json_decref(document);
	tlsrpt_done(&t);
}

static void counts(void **state)
{
	struct tlsrpt_session good = session(TLSRPT_STS, TLSRPT_OK);
	struct tlsrpt_session expired = session(TLSRPT_STS, TLSRPT_EXPIRED);
	struct tlsrpt_session plain = session(TLSRPT_NO_POLICY, TLSRPT_NO_STARTTLS);
	json_t *document, *policy, *failures, *inner;
	struct tlsrpt t;

	(void)state;
	good.text_count = expired.text_count = 2;
	good.text[0] = expired.text[0] = STR("version: STSv1");
	good.text[1] = expired.text[1] = STR("mode: testing");
	good.mx_count = expired.mx_count = 1;
	good.mx[0] = expired.mx[0] = STR("*.example.org");
	tlsrpt_init(&t);
	for (int i = 0; i < 3; i++)
		assert_int_equal(tlsrpt_add(&t, &good), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(tlsrpt_add(&t, &expired), 0);
	expired.address = STR("192.0.2.2");
	assert_int_equal(tlsrpt_add(&t, &expired), 0);
	assert_int_equal(tlsrpt_add(&t, &plain), 0);
	document = rendered(&t);
	assert_int_equal(json_array_size(json_object_get(document, "policies")), 2);
	policy = policy_at(document, 0);
	expect_summary(policy, 3, 3);
	inner = json_object_get(policy, "policy");
	expect_text(inner, "policy-type", "sts");
	expect_text(inner, "policy-domain", "example.org");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(inner, "policy-string"), 1)),
		"mode: testing");
	assert_string_equal(json_string_value(json_array_get(json_object_get(inner, "mx-host"), 0)),
			    "*.example.org");
	failures = json_object_get(policy, "failure-details");
	assert_int_equal(json_array_size(failures), 2);
	inner = json_array_get(failures, 0);
	expect_text(inner, "result-type", "certificate-expired");
	expect_text(inner, "receiving-mx-hostname", "mx.example.org");
	expect_text(inner, "receiving-ip", "192.0.2.1");
	expect_text(inner, "failure-reason-code", "it said so");
	assert_int_equal(json_integer_value(json_object_get(inner, "failed-session-count")), 2);
	policy = policy_at(document, 1);
	expect_summary(policy, 0, 1);
	expect_text(json_object_get(policy, "policy"), "policy-type", "no-policy-found");
	json_decref(document);
	tlsrpt_done(&t);
}

/* A policy that changes during the day is another one; the case of a name is nothing. */
static void policies_are_told_apart(void **state)
{
	struct tlsrpt_session s = session(TLSRPT_TLSA, TLSRPT_OK);
	struct tlsrpt t;

	(void)state;
	tlsrpt_init(&t);
	s.text_count = 1;
	s.text[0] = STR("3 1 1 aa");
	assert_int_equal(tlsrpt_add(&t, &s), 0);
	s.policy_domain = STR("EXAMPLE.org");
	assert_int_equal(tlsrpt_add(&t, &s), 0);
	assert_int_equal(t.policy_count, 1);
	s.text[0] = STR("3 1 1 ab");
	assert_int_equal(tlsrpt_add(&t, &s), 0);
	assert_int_equal(t.policy_count, 2);
	s.policy_domain = STR("mx.example.org");
	assert_int_equal(tlsrpt_add(&t, &s), 0);
	assert_int_equal(t.policy_count, 3);
	tlsrpt_done(&t);
}

static void what_is_hostile_is_escaped(void **state)
{
	struct tlsrpt_session s = session(TLSRPT_NO_POLICY, TLSRPT_VALIDATION_FAILURE);
	json_t *document;
	struct tlsrpt t;

	(void)state;
	s.reason = STR("\"}],\\ \n\x01\xff\0 end");
	tlsrpt_init(&t);
	assert_int_equal(tlsrpt_add(&t, &s), 0);
	document = rendered(&t);
	expect_text(json_array_get(json_object_get(policy_at(document, 0), "failure-details"), 0),
		    "failure-reason-code", "\"}],\\ \\x0a\\x01\\xff\\x00 end");
	json_decref(document);
	tlsrpt_done(&t);
}

static void nonsense_is_refused(void **state)
{
	struct tlsrpt_session s = session(TLSRPT_TYPE_COUNT, TLSRPT_OK);
	struct tlsrpt t;

	(void)state;
	tlsrpt_init(&t);
	assert_int_equal(tlsrpt_add(&t, &s), -EINVAL);
	s = session(TLSRPT_STS, TLSRPT_RESULT_COUNT);
	assert_int_equal(tlsrpt_add(&t, &s), -EINVAL);
	s = session(TLSRPT_STS, TLSRPT_OK);
	s.mx_count = TLSRPT_STRINGS_MAX + 1;
	assert_int_equal(tlsrpt_add(&t, &s), -EINVAL);
	assert_int_equal(t.policy_count, 0);
	tlsrpt_done(&t);
}

/* Hosts and records change with each session: memory and report stay within their bounds, sums stay right. */
static void bounds(void **state)
{
	static char large[4000];
	struct tlsrpt_session s = session(TLSRPT_NO_POLICY, TLSRPT_NO_STARTTLS);
	json_t *document;
	struct tlsrpt t;
	char text[32];

	(void)state;
	memset(large, 1, sizeof(large)); /* four octets each once they are written */
	tlsrpt_init(&t);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "mx%d.example.org", i);
		s.host = str_of(text);
		assert_int_equal(tlsrpt_add(&t, &s), i < TLSRPT_FAILURES_MAX ? 0 : -ENOBUFS);
	}
	s = session(TLSRPT_STS, TLSRPT_OK);
	s.text_count = TLSRPT_STRINGS_MAX;
	for (int i = 0; i < TLSRPT_STRINGS_MAX; i++)
		s.text[i] = str_mem(large, sizeof(large));
	for (int i = 0; i < 100; i++) {
		snprintf(large, sizeof(large), "%d", i);
		tlsrpt_add(&t, &s);
	}
	assert_true(t.policy_count >= 2 && t.uncounted >= 100 - TLSRPT_POLICIES_MAX);
	assert_true(t.arena.used <= TLSRPT_BYTES_MAX);
	document = rendered(&t);
	expect_summary(policy_at(document, 0), 0, 1000);
	json_decref(document);
	tlsrpt_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(around),
		cmocka_unit_test(counts),
		cmocka_unit_test(policies_are_told_apart),
		cmocka_unit_test(what_is_hostile_is_escaped),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
