/* Commands that tell of messages: queue, show, trace, export. */
#include "cli/test_server.h"

/* --- queue --- */

static Locum__MessageRow message_row, more_row, older_row;

static void queue_as_text(void **state)
{
	(void)state;
	script_reset();
	message_row = held_message();
	script_add()->message = &message_row;
	script_end(1, "", 0);
	RUN(W("queue"), W("example.cz"));
	expect(CLI_OK,
	       "ID                          AGE         SIZE  STATE  FROM                   TO     "
	       "            WHY\n" ID "  3m 12s  12.3 KiB  held   alice\\x1b[2J@src.test  "
	       "jan@example.cz +1  550 5.1.1 no such user\n",
	       "");
	assert_int_equal(asked->verb, LOCUM__VERB__QUEUE);
	assert_string_equal(asked->domain, "example.cz");
	assert_int_equal(asked->rows_max, CLI_ROWS_DEFAULT);
}

static void queue_says_that_there_is_more(void **state)
{
	(void)state;
	script_reset();
	message_row = held_message();
	script_add()->message = &message_row;
	script_end(1, "", 0);
	RUN(W("queue"), W("example.cz"), W("--rows=1"));
	assert_int_equal(ran.status, CLI_OK);
	assert_non_null(strstr(ran.out, "the oldest 1; --rows 0 shows all\n"));
	assert_int_equal(asked->rows_max, 1);
}

static void an_empty_queue_is_no_error(void **state)
{
	(void)state;
	script_reset();
	script_end(0, "", 0);
	RUN(W("queue"));
	expect(CLI_OK, "nothing waits\n", "");
	RUN(W("queue"), W("--json"));
	expect(CLI_OK, "[]\n", "");
	RUN(W("queue"), W("example.cz"), W("--json"));
	expect(CLI_OK, "[]\n", "");
	assert_int_equal(asked->rows_max, 0);
}

static void a_long_message_is_one_row(void **state)
{
	(void)state;
	script_reset();
	message_row = held_message();
	more_row = message_row;
	message_row.n_recipients = 1;
	script_add()->message = &message_row;
	script_add()->message = &more_row;
	script_end(1, "", 0);
	RUN(W("queue"), W("example.cz"));
	assert_non_null(strstr(ran.out, "jan@example.cz +2"));
	assert_ptr_equal(strstr(ran.out, ID), strchr(ran.out, '\n') + 1);
	assert_null(strstr(strstr(ran.out, ID) + 1, ID));
}

/* Two domains; the message of both comes from each, the older one of the second only. */
static void the_whole_queue_is_asked_domain_by_domain(void **state)
{
	Locum__DomainRow first = LOCUM__DOMAIN_ROW__INIT, second = LOCUM__DOMAIN_ROW__INIT;

	(void)state;
	script_reset();
	first.domain = W("a.cz");
	second.domain = W("b.cz");
	script_add()->domain = &first;
	script_add()->domain = &second;
	script_end(0, "", 0);
	message_row = held_message();
	message_row.n_recipients = 1;
	script_add()->message = &message_row;
	script_end(1, "", 0);
	older_row = message_row;
	older_row.id = bytes_z("\x00\x01"
			       "3456789abcdef");
	older_row.id.len = 16;
	script_add()->message = &older_row;
	more_row = held_message();
	more_row.state = LOCUM__MESSAGE_STATE__MESSAGE_QUEUED;
	script_add()->message = &more_row;
	script_end(2, "", 0);
	RUN(W("queue"));
	expect(CLI_OK,
	       "ID                          AGE         SIZE  STATE   FROM                   TO    "
	       "  "
	       "           WHY\n"
	       "0004SK8D9P6WW3JRB2CDJ6ASG0  3m 12s  12.3 KiB  held    alice\\x1b[2J@src.test  "
	       "jan@example.cz     550 5.1.1 no such user\n" ID
	       "  3m 12s  12.3 KiB  queued  alice\\x1b[2J@src.test  jan@example.cz +2  550 5.1.1 "
	       "no "
	       "such user\n",
	       "");
	assert_int_equal(asked_count, 3);
	assert_string_equal(asked_all[0]->domain, "");
	assert_string_equal(asked_all[1]->domain, "a.cz");
	assert_string_equal(asked_all[2]->domain, "b.cz");
	assert_int_equal(asked_all[2]->rows_max, CLI_ROWS_DEFAULT);
}

static void queue_as_json(void **state)
{
	(void)state;
	script_reset();
	message_row = held_message();
	message_row.n_recipients = 1;
	message_row.reverse_path = (ProtobufCBinaryData){ 4, (uint8_t *)"a\xff\n\"" };
	script_add()->message = &message_row;
	script_end(1, "", 0);
	RUN(W("queue"), W("example.cz"), W("--json"));
	expect(CLI_OK,
	       "[\n"
	       "  {\n"
	       "    \"id\": \"" ID "\",\n"
	       "    \"state\": \"held\",\n"
	       "    \"text\": \"550 5.1.1 no such user\",\n"
	       "    \"arrived\": \"2026-11-24T06:20:48.000Z\",\n"
	       "    \"bytes\": 12595,\n"
	       "    \"reverse_path\": \"a\\\\xff\\n\\\"\",\n"
	       "    \"client\": \"192.0.2.1\",\n"
	       "    \"recipients\": [\n"
	       "      {\n"
	       "        \"address\": \"jan@example.cz\",\n"
	       "        \"domain\": \"example.cz\",\n"
	       "        \"state\": \"held\",\n"
	       "        \"reply\": \"550 5.1.1 no such user\",\n"
	       "        \"ambiguous\": false,\n"
	       "        \"attempts\": 2,\n"
	       "        \"next_try\": null\n"
	       "      }\n"
	       "    ]\n"
	       "  }\n"
	       "]\n",
	       "");
}

/* --- show and trace --- */

static Locum__EventRow event_rows[3];

/* As spoold answers TRACE: the events, then the message. */
static void script_trace(void)
{
	event_rows[0] = event(192 * NSEC_S, "accepted", "", "from 192.0.2.1");
	event_rows[1] = event(100 * NSEC_S, "held", "jan@example.cz", "550 5.1.1 no such user");
	script_add()->event = &event_rows[0];
	script_add()->event = &event_rows[1];
	more_row = held_message();
	script_add()->message = &more_row;
	script_end(1, "", 0);
}

static void script_show(void)
{
	Locum__Answer *a;

	script_reset();
	message_row = held_message();
	a = script_add();
	a->message = &message_row;
	a->envelope = the_envelope();
	script_end(1, "", 0);
	script_trace();
}

static const char story_text[] =
	"message    " ID "\n"
	"state      held: 550 5.1.1 no such user\n"
	"arrived    2026-11-24T06:20:48Z, 3m 12s ago\n"
	"size       12.3 KiB\n"
	"from       alice\\x1b[2J@src.test\n"
	"client     out.src.test [192.0.2.1]:4711, EHLO out.src.test, listener mx\n"
	"tls        TLSv1.3 TLS_AES_256_GCM_SHA384\n"
	"told by    192.0.2.1\n"
	"login      jan\n"
	"declared   SMTPUTF8 REQUIRETLS\n"
	"dsn        RET=HDRS ENVID=q1\n"
	"dsn        jan@example.cz NOTIFY=FAILURE ORCPT=rfc822;j@example.cz\n"
	"forwarded  NAME=a b\n"
	"noticed    zen 4.5 (127.0.0.4)\n"
	"           no-reverse-name 1\n"
	"\n"
	"RECIPIENT       STATE   TRIES  NEXT TRY  LAST REPLY\n"
	"jan@example.cz  held        2  -         550 5.1.1 no such user\n"
	"eva@example.cz  queued      0  in 5s     final reply was lost\n"
	"\n"
	"TIME                  EVENT     RECIPIENT       DETAIL\n"
	"2026-11-24T06:20:48Z  accepted                  from 192.0.2.1\n"
	"2026-11-24T06:22:20Z  held      jan@example.cz  550 5.1.1 no such user\n"
	"\n"
	"`locum release " ID "` delivers it again, `locum export " ID "` prints it, `locum drop " ID
	"` destroys it\n";

static void show_as_text(void **state)
{
	(void)state;
	script_show();
	RUN(W("show"), W("01arz3ndektsv4rrffq69g5fav"));
	expect(CLI_OK, story_text, "");
	assert_int_equal(asked->verb, LOCUM__VERB__SHOW);
	assert_int_equal(asked_all[1]->verb, LOCUM__VERB__TRACE);
	assert_int_equal(asked_all[1]->id.len, 16);
	assert_int_equal(asked->id.len, 16);
	assert_memory_equal(asked->id.data, id_bytes, 16);
}

static void show_of_a_message_in_several_rows(void **state)
{
	(void)state;
	script_reset();
	message_row = held_message();
	message_row.n_recipients = 1;
	older_row = held_message();
	older_row.recipients = recipient_list + 1;
	older_row.n_recipients = 1;
	script_add()->message = &message_row;
	script_add()->message = &older_row;
	script_end(1, "", 0);
	script_trace();
	RUN(W("show"), W(ID));
	assert_non_null(strstr(ran.out, "\njan@example.cz  held"));
	assert_non_null(strstr(ran.out, "\neva@example.cz  queued"));
}

static void show_as_json(void **state)
{
	json_t *o, *e, *client;

	(void)state;
	script_show();
	RUN(W("show"), W(ID), W("--json"));
	assert_int_equal(ran.status, CLI_OK);
	o = json_loads(ran.out, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(o, "id")), ID);
	assert_int_equal(json_array_size(json_object_get(o, "recipients")), 2);
	assert_int_equal(json_array_size(json_object_get(o, "events")), 2);
	e = json_object_get(o, "envelope");
	assert_string_equal(json_string_value(json_object_get(e, "reverse_path")),
			    "alice@src.test");
	assert_true(json_is_true(json_object_get(e, "smtputf8")));
	assert_true(json_is_true(json_object_get(e, "requiretls")));
	assert_true(json_is_false(json_object_get(e, "body_binarymime")));
	assert_string_equal(json_string_value(json_object_get(e, "dsn_ret")), "HDRS");
	assert_string_equal(json_string_value(json_object_get(e, "dsn_envid")), "q1");
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(e, "recipients"), 0), "notify")),
			    "FAILURE");
	assert_string_equal(json_string_value(json_array_get(json_object_get(e, "forwarded"), 0)),
			    "NAME=a b");
	client = json_object_get(e, "client");
	assert_string_equal(json_string_value(json_object_get(client, "tls_version")), "TLSv1.3");
	assert_string_equal(json_string_value(json_object_get(client, "told_by")), "192.0.2.1");
	assert_string_equal(json_string_value(json_object_get(client, "login")), "jan");
	assert_true(json_is_true(json_object_get(client, "trusted")));
	e = json_array_get(json_object_get(e, "symbols"), 0);
	assert_string_equal(json_string_value(json_object_get(e, "name")), "zen");
	assert_true(json_real_value(json_object_get(e, "score")) == 4.5);
	assert_string_equal(json_string_value(json_object_get(e, "text")), "127.0.0.4");
	json_decref(o);
}

static void nothing_to_show(void **state)
{
	(void)state;
	script_reset();
	script_end(0, "", 0);
	RUN(W("show"), W(ID));
	expect_error(CLI_NOTHING, "there is no message " ID "; `locum trace " ID "` tells");
}

static void trace_of_a_message(void **state)
{
	json_t *o;

	(void)state;
	script_reset();
	script_trace();
	RUN(W("trace"), W(ID));
	assert_int_equal(ran.status, CLI_OK);
	/* Without an envelope there is no more of the client than its address. */
	assert_non_null(strstr(ran.out, "client     192.0.2.1\n\nRECIPIENT"));
	assert_non_null(strstr(ran.out, "2026-11-24T06:20:48Z  accepted "));
	assert_int_equal(asked->verb, LOCUM__VERB__TRACE);
	assert_int_equal(asked->id.len, 16);
	RUN(W("trace"), W(ID), W("--json"));
	o = json_loads(ran.out, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(o, "state")), "held");
	assert_int_equal(json_array_size(json_object_get(o, "events")), 2);
	json_decref(o);
}

static void trace_of_a_message_that_left_only_events(void **state)
{
	(void)state;
	script_reset();
	event_rows[0] = event(NSEC_S, "delivered", "eva@example.cz", "250 2.0.0 ok");
	script_add()->event = &event_rows[0];
	script_end(1, "", 0);
	RUN(W("trace"), W(ID));
	expect(CLI_OK,
	       "\nTIME                  EVENT      RECIPIENT       DETAIL\n"
	       "2026-11-24T06:23:59Z  delivered  eva@example.cz  250 2.0.0 ok\n",
	       "");
}

static void trace_of_an_address(void **state)
{
	(void)state;
	script_reset();
	message_row = held_message();
	script_add()->message = &message_row;
	more_row = message_row;
	more_row.id = bytes_z("0123456789abcdef");
	more_row.state = LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED;
	more_row.n_recipients = 0;
	more_row.text = W("");
	script_add()->message = &more_row;
	script_end(2, "", 0);
	RUN(W("trace"), W("eva@example.cz"));
	expect(CLI_OK,
	       "ID                          AGE         SIZE  STATE      FROM                   TO "
	       "  "
	       "              WHY\n" ID "  3m 12s  12.3 KiB  held       alice\\x1b[2J@src.test  "
	       "jan@example.cz +1  550 5.1.1 "
	       "no such user\n"
	       "1G64S36D1N6RVKGEB1C9HP8SB6  3m 12s  12.3 KiB  delivered  alice\\x1b[2J@src.test\n"
	       "\n`locum trace ID` tells what happened to one\n",
	       "");
	assert_string_equal(asked->address, "eva@example.cz");
	assert_int_equal(asked->id.len, 0);
}

static void trace_of_nobody(void **state)
{
	(void)state;
	script_reset();
	script_end(0, "", 0);
	RUN(W("trace"), W("x@example.cz"));
	expect_error(CLI_NOTHING, "nothing is known of x@example.cz");
}

/* --- export --- */

static void script_body(void)
{
	int fd = open("body", O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, "....body\r\n.\r\n....", 17), 17);
	script_reset();
	script.fd = fd;
	script_end(1, "", 0);
	script.answer[0].envelope = the_envelope();
	script.answer[0].body_offset = 4;
	script.answer[0].body_bytes = 9;
}

static void export_writes_the_message(void **state)
{
	(void)state;
	script_body();
	RUN(W("export"), W(ID), W("--raw"));
	expect(CLI_OK, "body\r\n.\r\n", "");
	RUN(W("export"), W(ID));
	assert_int_equal(ran.status, CLI_OK);
	assert_memory_equal(ran.out, "Received: from out.src.test", 27);
	assert_non_null(strstr(ran.out, ID));
	assert_non_null(strstr(ran.out, " with UTF8SMTPS id"));
	assert_non_null(strstr(ran.out, "for <jan@example.cz>"));
	assert_string_equal(ran.out + ran.out_n - 11, "\r\nbody\r\n.\r\n");
	close(script.fd);
}

static void export_of_the_envelope(void **state)
{
	(void)state;
	script_body();
	RUN(W("export"), W(ID), W("--envelope"));
	assert_int_equal(ran.status, CLI_OK);
	assert_non_null(strstr(ran.out, "\"hostname\": \"mx2.example.net\""));
	assert_non_null(strstr(ran.out, "\"primary\": \"unreachable\""));
	close(script.fd);
	RUN_ALONE(W("export"), W(ID), W("--json"));
	assert_int_equal(ran.status, CLI_USAGE);
}

static void a_short_body_is_not_silent(void **state)
{
	(void)state;
	script_body();
	script.answer[0].body_bytes = 100;
	RUN(W("export"), W(ID), W("--raw"));
	assert_int_equal(ran.status, CLI_NOTHING);
	assert_non_null(strstr(ran.err, "not complete"));
	close(script.fd);
}

static void a_full_disk_is_not_silent(void **state)
{
	char *words[] = { W("locum"), W("version"), NULL };
	FILE *full = fopen("/dev/full", "w");
	struct cli cli;
	char *text = NULL;
	size_t n;
	FILE *err = open_memstream(&text, &n);

	(void)state;
	cli_init(&cli, full, err);
	assert_int_equal(cli_main(&cli, 2, words), CLI_NOTHING);
	cli_done(&cli);
	fclose(full);
	fclose(err);
	assert_non_null(strstr(text, "No space left"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_as_text),
		cmocka_unit_test(queue_says_that_there_is_more),
		cmocka_unit_test(an_empty_queue_is_no_error),
		cmocka_unit_test(a_long_message_is_one_row),
		cmocka_unit_test(the_whole_queue_is_asked_domain_by_domain),
		cmocka_unit_test(queue_as_json),
		cmocka_unit_test(show_as_text),
		cmocka_unit_test(show_of_a_message_in_several_rows),
		cmocka_unit_test(show_as_json),
		cmocka_unit_test(nothing_to_show),
		cmocka_unit_test(trace_of_a_message),
		cmocka_unit_test(trace_of_a_message_that_left_only_events),
		cmocka_unit_test(trace_of_an_address),
		cmocka_unit_test(trace_of_nobody),
		cmocka_unit_test(export_writes_the_message),
		cmocka_unit_test(export_of_the_envelope),
		cmocka_unit_test(a_short_body_is_not_silent),
		cmocka_unit_test(a_full_disk_is_not_silent),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests_name("story", tests, setup, teardown);
}
