/* The files of TLS reports: what is in them, how they are named, and when they go. */
#include "proc/spoold/testing.h"

#include <jansson.h>

#define DAY_ONE ((nsec)20000 * NSEC_DAY + NSEC_HOUR) /* 2024-10-04 */

static void count(struct world *w, const char *domain, enum tlsrpt_result result, nsec at_wall)
{
	Locum__TlsSession m = LOCUM__TLS_SESSION__INIT;

	m.domain = (char *)domain;
	m.policy_domain = (char *)domain;
	m.result = result;
	m.host = (ProtobufCBinaryData){ 10, (uint8_t *)"mx.example" };
	m.address = (char *)"192.0.2.1";
	tls_reports_count(w->sp, &m, at_wall);
}

/* NULL: there is none. */
static json_t *file(struct world *w, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/tls-reports/%s", w->dir, name);
	return json_load_file(path, 0, NULL);
}

/* Sessions of the only policy; -1: no such file. */
static int sessions(struct world *w, const char *name, const char *which)
{
	json_t *document = file(w, name), *policy;
	int n = -1;

	if (!document)
		return -1;
	policy = json_array_get(json_object_get(document, "policies"), 0);
	n = (int)json_integer_value(json_object_get(json_object_get(policy, "summary"), which));
	json_decref(document);
	return n;
}

#define GOOD "total-successful-session-count"
#define FAILED "total-failure-session-count"

WORLD_TEST(a_day_is_a_file_and_a_life_begins_another)
{
	count(w, "a.example", TLSRPT_OK, DAY_ONE);
	count(w, "a.example", TLSRPT_EXPIRED, DAY_ONE);
	count(w, "A.EXAMPLE", TLSRPT_OK, DAY_ONE);
	count(w, "b.example", TLSRPT_OK, DAY_ONE);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), -1);
	tls_reports_save(w->sp, NEVER);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), 2);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", FAILED), 1);
	assert_int_equal(sessions(w, "b.example-2024-10-04.json", GOOD), 1);
	/* The next day: what was not written of the first one is. */
	count(w, "a.example", TLSRPT_OK, DAY_ONE);
	count(w, "a.example", TLSRPT_OK, DAY_ONE + NSEC_DAY);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), 3);
	world_restart(w); /* which writes at its end */
	assert_int_equal(sessions(w, "a.example-2024-10-05.json", GOOD), 1);
	count(w, "a.example", TLSRPT_EXPIRED, DAY_ONE + NSEC_DAY);
	tls_reports_save(w->sp, NEVER);
	assert_int_equal(sessions(w, "a.example-2024-10-05.json", FAILED), 0);
	assert_int_equal(sessions(w, "a.example-2024-10-05.2.json", FAILED), 1);
}

WORLD_TEST(only_configured_domains_and_known_results_are_counted)
{
	count(w, "unknown.example", TLSRPT_OK, DAY_ONE);
	count(w, "../../a.example", TLSRPT_OK, DAY_ONE);
	count(w, "a.example", TLSRPT_RESULT_COUNT, DAY_ONE);
	tls_reports_save(w->sp, NEVER);
	assert_int_equal(w->sp->tls_reports.by_domain.count, 1);
	assert_int_equal(w->sp->tls_reports.dir, -1);
}

WORLD_TEST(what_changed_lately_is_not_written_yet)
{
	count(w, "a.example", TLSRPT_OK, DAY_ONE);
	tls_reports_save(w->sp, task_now(w->tk) - NSEC_MINUTE);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), -1);
	tls_reports_save(w->sp, task_now(w->tk) + NSEC_MINUTE);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), 1);
}

WORLD_TEST(the_reserve_of_the_spool_is_not_for_reports)
{
	count(w, "a.example", TLSRPT_OK, DAY_ONE);
	w->sp->accepting = false;
	tls_reports_save(w->sp, NEVER);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), -1);
	w->sp->accepting = true;
	tls_reports_save(w->sp, task_now(w->tk) + NSEC_S); /* too soon after a failure */
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), -1);
	tls_reports_save(w->sp, task_now(w->tk) + NSEC_HOUR);
	assert_int_equal(sessions(w, "a.example-2024-10-04.json", GOOD), 1);
}

/* Through the channel, as smtpout says it. */
WORLD_TEST(smtpout_says_it)
{
	Locum__TlsSession m = LOCUM__TLS_SESSION__INIT;
	IPC_PACKET(p, TLS_SESSION, tls_session, &m);

	connect_smtpout(w);
	m.domain = (char *)"a.example";
	assert_int_equal(ipc_send(w->tk, w->smtpout, &p, -1, task_in(w->tk, WAIT)), 0);
	UNTIL(w, w->sp->tls_reports.by_domain.count == 1);
}

static void old_ones(void **state)
{
	static const struct {
		const char *name;
		bool is_old;
	} cases[] = {
		{ "a.example-2024-09-03.json", true },
		{ "a.example-2024-09-04.json", true },
		{ "a.example-2024-09-05.json", false },
		{ "a.example-2024-10-04.json", false },
		{ "a.example-2024-09-04.2.json", true },
		{ "a.example-2024-09-04.100.json", true },
		{ "a.example-2024-09-05.2.json", false },
		{ "a-b.example-2023-12-31.json", true },
		{ "2024-09-04.json", false },
		{ "a.example-2024x09-04.json", false },
		{ "a.example-2024-09-04", false },
		{ "a.example-2024-09-04.json.bak", false },
		{ "new.tmp", false },
		{ ".json", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		if (tls_reports_is_old(str_of(cases[i].name), 20000) != cases[i].is_old)
			fail_msg("%s", cases[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_day_is_a_file_and_a_life_begins_another),
		cmocka_unit_test(only_configured_domains_and_known_results_are_counted),
		cmocka_unit_test(what_changed_lately_is_not_written_yet),
		cmocka_unit_test(the_reserve_of_the_spool_is_not_for_reports),
		cmocka_unit_test(smtpout_says_it),
		cmocka_unit_test(old_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
