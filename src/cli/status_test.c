/* locum status: as text, in colour, in JSON. */
#include "cli/test_server.h"

static void status_as_text(void **state)
{
	(void)state;
	script_status();
	RUN(W("status"));
	expect(CLI_OK,
	       "mx2.example.net, locum 0.1.0, up for 3d 4h\n"
	       "accepting  yes, 12.0 GiB free on disk, 256 MiB of it reserved\n"
	       "spool      1,234 messages (1 held), 45.0 MiB, 64.0 MiB on disk\n"
	       "sessions   12 now, stress: busy; since start 5,678 messages accepted, 4,444 "
	       "delivered\n"
	       "           777 passed live, 34 refused, 5 deferred\n"
	       "ALERT      1 message is held\n"
	       "\n"
	       "PRIMARY             STATE        SINCE    QUEUED  SENDING  PER S  NEXT TRY  "
	       "OFFERS                 LAST WORD\n"
	       "mail.example.cz:25  unreachable  12m ago   1,233      0/1    0.0  in 4s     "
	       "10.0 MiB STARTTLS DSN  connect: Connection refused\n"
	       "\n"
	       "DOMAIN      STATE        QUEUED  HELD      SIZE  OLDEST      PRIMARY\n"
	       "example.cz  unreachable   1,233     1  45.0 MiB  12m 3s ago  mail.example.cz:25\n"
	       "\n"
	       "mail.example.cz:25 unreachable for 12m: next try in 4s; `locum flush example.cz` "
	       "tries now\n"
	       "example.cz holds 1: `locum queue example.cz` says why, `locum release` delivers "
	       "again, "
	       "`locum drop` destroys\n",
	       "");
	assert_int_equal(asked_count, 2);
	assert_int_equal(asked->verb, LOCUM__VERB__STATUS);
	assert_int_equal(asked_all[1]->verb, LOCUM__VERB__QUEUE);
}

static void status_when_all_is_well(void **state)
{
	(void)state;
	script_status();
	script.count = 0;
	status_row.n_alerts = 0;
	status_row.messages = status_row.messages_held = 0;
	status_row.accepting = false;
	script_add()->status = &status_row;
	script_end(0, "", 0);
	script_end(0, "", 0);
	RUN(W("status"));
	assert_int_equal(ran.status, CLI_OK);
	assert_non_null(strstr(ran.out, "spool      0 messages, "));
	assert_non_null(strstr(ran.out, "accepting  NO: "));
	assert_null(strstr(ran.out, "ALERT"));
	assert_null(strstr(ran.out, "PRIMARY"));
}

static void status_as_json(void **state)
{
	(void)state;
	script_status();
	RUN(W("--json"), W("status"));
	expect(CLI_OK,
	       "{\n"
	       "  \"hostname\": \"mx2.example.net\",\n"
	       "  \"version\": \"0.1.0\",\n"
	       "  \"started\": \"2026-11-21T02:24:00.000Z\",\n"
	       "  \"accepting\": true,\n"
	       "  \"messages\": 1234,\n"
	       "  \"messages_held\": 1,\n"
	       "  \"bytes\": 47185920,\n"
	       "  \"spool_bytes\": 67108864,\n"
	       "  \"bytes_free\": 12884901888,\n"
	       "  \"bytes_reserve\": 268435456,\n"
	       "  \"sessions\": 12,\n"
	       "  \"stress\": \"busy\",\n"
	       "  \"accepted_total\": 5678,\n"
	       "  \"refused_total\": 34,\n"
	       "  \"deferred_total\": 5,\n"
	       "  \"delivered_total\": 4444,\n"
	       "  \"passed_total\": 777,\n"
	       "  \"alerts\": [\n"
	       "    \"1 message is held\"\n"
	       "  ],\n"
	       "  \"destinations\": [\n"
	       "    {\n"
	       "      \"destination\": \"mail.example.cz:25\",\n"
	       "      \"state\": \"unreachable\",\n"
	       "      \"since\": \"2026-11-24T06:12:00.000Z\",\n"
	       "      \"text\": \"connect: Connection refused\",\n"
	       "      \"queued\": 1233,\n"
	       "      \"in_flight\": 0,\n"
	       "      \"window\": 1,\n"
	       "      \"live\": 0,\n"
	       "      \"rate\": 0.0,\n"
	       "      \"next_probe\": \"2026-11-24T06:24:04.000Z\",\n"
	       "      \"domains\": [\n"
	       "        \"example.cz\"\n"
	       "      ],\n"
	       "      \"seen\": \"2026-11-24T05:24:00.000Z\",\n"
	       "      \"offers\": [\n"
	       "        \"STARTTLS\",\n"
	       "        \"DSN\",\n"
	       "        \"SIZE\"\n"
	       "      ],\n"
	       "      \"size_limit\": 10485760,\n"
	       "      \"drain\": null\n"
	       "    }\n"
	       "  ],\n"
	       "  \"domains\": [\n"
	       "    {\n"
	       "      \"domain\": \"example.cz\",\n"
	       "      \"state\": \"unreachable\",\n"
	       "      \"destination\": \"mail.example.cz:25\",\n"
	       "      \"queued\": 1233,\n"
	       "      \"held\": 1,\n"
	       "      \"bytes\": 47185920,\n"
	       "      \"oldest\": \"2026-11-24T06:11:57.000Z\"\n"
	       "    }\n"
	       "  ]\n"
	       "}\n",
	       "");
}

static void a_drain_and_when_it_will_be_done(void **state)
{
	(void)state;
	script_status();
	destination_row.state = LOCUM__PRIMARY_STATE__PRIMARY_UP;
	destination_row.rate = 40;
	destination_row.drain_since_wall = NOW - 2 * NSEC_MINUTE;
	destination_row.drain_delivered = 1200;
	destination_row.drain_total = 5000;
	destination_row.drain_end_wall = NOW + 95 * NSEC_S;
	RUN(W("status"));
	assert_non_null(strstr(ran.out, "\n\nmail.example.cz:25 takes over: 1,200 of 5,000 "
					"delivered in 2m, 40.0 a second, done in 1m 35s\n"));
	script_status();
	destination_row.drain_since_wall = NOW - 2 * NSEC_MINUTE;
	destination_row.drain_total = 7;
	RUN(W("status"));
	assert_non_null(strstr(ran.out, "0 of 7 delivered in 2m, 0.0 a second\n"));
	script_status();
	destination_row.drain_since_wall = NOW - 2 * NSEC_MINUTE;
	destination_row.drain_delivered = 1200;
	destination_row.drain_total = 5000;
	destination_row.drain_end_wall = NOW + 95 * NSEC_S;
	RUN(W("--json"), W("status"));
	assert_non_null(strstr(ran.out, "\"drain\": {\n"
					"        \"since\": \"2026-11-24T06:22:00.000Z\",\n"
					"        \"delivered\": 1200,\n"
					"        \"total\": 5000,\n"
					"        \"end\": \"2026-11-24T06:25:35.000Z\"\n"));
}

static void colours_only_when_asked(void **state)
{
	char *words[] = { W("locum"), W("status"), NULL };

	(void)state;
	script_status();
	RUN(W("status"));
	assert_null(strchr(ran.out, '\033'));
	run_words(words, true, true);
	assert_non_null(strstr(ran.out, "\033[31munreachable\033[0m"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_as_text),
		cmocka_unit_test(status_when_all_is_well),
		cmocka_unit_test(status_as_json),
		cmocka_unit_test(a_drain_and_when_it_will_be_done),
		cmocka_unit_test(colours_only_when_asked),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests_name("status", tests, setup, teardown);
}
