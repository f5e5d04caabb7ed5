/* Everything else: actions, what can go wrong, what needs no server. */
#include "cli/test_server.h"

#include "conf/conf.h"

/* --- actions --- */

static const struct action {
	const char *requirement;
	const char *words[4];
	uint64_t count;
	Locum__Verb verb;
	bool by_id;
	int status;
	const char *out, *err;
} actions[] = {
	{ "flush of everything",
	  { "flush" },
	  2,
	  LOCUM__VERB__FLUSH,
	  false,
	  0,
	  "2 messages will be tried now\n",
	  "" },
	{ "flush of nothing is fine",
	  { "flush" },
	  0,
	  LOCUM__VERB__FLUSH,
	  false,
	  0,
	  "0 messages will be tried now\n",
	  "" },
	{ "flush of a domain without mail",
	  { "flush", "example.cz" },
	  0,
	  LOCUM__VERB__FLUSH,
	  false,
	  1,
	  "",
	  "locum: nothing waits of example.cz\n" },
	{ "hold of a message",
	  { "hold", ID },
	  1,
	  LOCUM__VERB__HOLD,
	  true,
	  0,
	  "1 message held until `locum release`\n",
	  "" },
	{ "release of a domain",
	  { "release", "example.cz" },
	  1200,
	  LOCUM__VERB__RELEASE,
	  false,
	  0,
	  "1,200 messages released for delivery\n",
	  "" },
	{ "drop with --yes",
	  { "drop", ID, "--yes" },
	  1,
	  LOCUM__VERB__DROP,
	  true,
	  0,
	  "1 message destroyed\n",
	  "" },
	{ "an action in JSON",
	  { "hold", "example.cz", "--json" },
	  3,
	  LOCUM__VERB__HOLD,
	  false,
	  0,
	  "{\n  \"command\": \"hold\",\n  \"count\": 3\n}\n",
	  "" },
	{ "reload",
	  { "reload" },
	  0,
	  LOCUM__VERB__RELOAD,
	  false,
	  0,
	  "the configuration was read again and is in use\n",
	  "" },
	{ "upgrade", { "upgrade" }, 0, LOCUM__VERB__UPGRADE, false, 0, "", "" },
};

static void actions_are_asked_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(actions); i++) {
		const struct action *a = &actions[i];

		requirement = a->requirement;
		script_reset();
		script_end(a->count, "", 0);
		RUN(W(a->words[0]), W(a->words[1]), W(a->words[2]));
		expect(a->status, a->out, a->err);
		assert_int_equal(asked->verb, a->verb);
		assert_int_equal(asked->id.len, a->by_id ? 16 : 0);
		assert_string_equal(asked->domain, a->words[1] && !a->by_id ? a->words[1] : "");
	}
}

/* --- what can go wrong --- */

static const struct wrong {
	const char *requirement;
	const char *words[5];
	int status;
	const char *error;
} wrongs[] = {
	{ "no command", { "--json" }, CLI_USAGE, NULL },
	{ "an unknown command",
	  { "frobnicate" },
	  CLI_USAGE,
	  "no command \"frobnicate\"; `locum help`" },
	{ "an unknown option", { "status", "--frob" }, CLI_USAGE, "unknown option --frob" },
	{ "an option of another command",
	  { "status", "--raw" },
	  CLI_USAGE,
	  "--raw is no option of `locum status`" },
	{ "an option without its value",
	  { "status", "--config" },
	  CLI_USAGE,
	  "--config needs a value: --config FILE" },
	{ "a value for an option that takes none",
	  { "drop", "a.b", "--yes=1" },
	  CLI_USAGE,
	  "--yes takes no value" },
	{ "rows that are no number",
	  { "queue", "--rows", "x" },
	  CLI_USAGE,
	  "--rows \"x\" is not a number" },
	{ "too few arguments", { "show" }, CLI_USAGE, "usage: locum show ID" },
	{ "too many arguments", { "queue", "a", "b" }, CLI_USAGE, "usage: locum queue [DOMAIN]" },
	{ "something that is no id",
	  { "show", "nonsense" },
	  CLI_USAGE,
	  "\"nonsense\" is not a message id" },
	{ "neither id nor domain", { "hold", "a@b" }, CLI_USAGE, "neither a message id" },
	{ "flush of a message", { "flush", ID }, CLI_USAGE, "flush takes a domain" },
	{ "drop without being sure", { "drop", ID }, CLI_USAGE, "say --yes" },
	{ "terminal sequences in arguments", { "a\033b" }, CLI_USAGE, "\"a\\x1bb\"" },
	{ "no configuration",
	  { "status", "--config", "none" },
	  CLI_CONFIG,
	  "none: cannot be read: No such file" },
	{ "a configuration that is wrong",
	  { "check", "list" },
	  CLI_CONFIG,
	  "list:1: unknown option" },
	{ "help for an unknown command", { "help", "frob" }, CLI_USAGE, "no command \"frob\"" },
	{ "-- ends the options", { "--", "--json" }, CLI_USAGE, "no command \"--json\"" },
};

static void mistakes_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(wrongs); i++) {
		const struct wrong *w = &wrongs[i];

		requirement = w->requirement;
		RUN_ALONE(W(w->words[0]), W(w->words[1]), W(w->words[2]), W(w->words[3]));
		if (w->error)
			expect_error(w->status, w->error);
		else
			assert_int_equal(ran.status, w->status);
	}
}

static void errors_in_json(void **state)
{
	(void)state;
	RUN_ALONE(W("show"), W("x"), W("--frob"), W("--json"));
	expect(CLI_USAGE,
	       "{\n  \"error\": \"unknown option --frob; `locum help` lists them\",\n  \"exit\": "
	       "2\n}\n",
	       "");
}

static void nobody_listens(void **state)
{
	(void)state;
	unlink("control.sock");
	RUN_ALONE(W("status"));
	expect_error(CLI_AWAY, "./control.sock: No such file or directory; is locumd running");
}

static void servers_that_fail(void **state)
{
	static const struct {
		const char *requirement;
		enum manner manner;
		int status;
		const char *error;
	} cases[] = {
		{ "locumd hangs up at once", HANG_UP, CLI_AWAY,
		  "closed the connection without an answer" },
		{ "the connection breaks in mid-answer", BREAK_OFF, CLI_AWAY,
		  "broke in mid-answer" },
		{ "no answer comes", SAY_NOTHING, CLI_AWAY, "no answer within" },
		{ "an answer that is none", TALK_NONSENSE, CLI_AWAY, "of the same version?" },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		requirement = cases[i].requirement;
		script_status();
		script.count = 1;
		script.manner = cases[i].manner;
		RUN(W("status"));
		expect_error(cases[i].status, cases[i].error);
	}
}

static void refusals_of_the_server(void **state)
{
	(void)state;
	script_reset();
	script_end(0, "no such domain", 0);
	RUN(W("flush"), W("a.b"));
	expect(CLI_NOTHING, "", "locum: no such domain\n");
	script_reset();
	script_end(0, "locum.conf:3: wrong; right", 0);
	RUN(W("reload"));
	expect(CLI_CONFIG, "", "locum: locum.conf:3: wrong; right\n");
	script_reset();
	script_end(0, "locumd is not there; nothing has changed", 0);
	RUN(W("upgrade"));
	expect(CLI_NOTHING, "", "locum: locumd is not there; nothing has changed\n");
	script_reset();
	script_end(0, "only root may", CLI_REFUSED);
	RUN(W("status"));
	expect(CLI_REFUSED, "", "locum: only root may\n");
}

/* --- without a server --- */

static void check_as_text(void **state)
{
	(void)state;
	RUN_ALONE(W("check"), W("good.conf"));
	expect(CLI_OK,
	       "good.conf: ok\n"
	       "note: this version does not filter content: neither spam nor viruses are looked "
	       "for\n"
	       "\n"
	       "LISTEN  ADDRESS  TLS  CERTIFICATES\n"
	       "mx      [::]:25  off\n"
	       "\n"
	       "CHECK                SCORE  EFFECT  ZONE        EXCEPTIONS\n"
	       "early-talker             5  refuse\n"
	       "foreign-protocol         5  refuse\n"
	       "pipelining               2  score\n"
	       "unknown-commands         2  score               example.org: off\n"
	       "no-reverse-name          1  off\n"
	       "reverse-unconfirmed    0.5  score\n"
	       "helo-ours                5  refuse\n"
	       "helo-bare-word           1  score\n"
	       "helo-literal           0.5  score\n"
	       "helo-unknown             1  score\n"
	       "bl                    1.25  score   bl.example  example.cz: off, example.org: "
	       "refuse, example.net: refuse and 1 more\n"
	       "\n"
	       "DOMAIN       HOLD  ACCEPTANCE  RECIPIENTS     FILTER    PRIMARY\n"
	       "example.cz    36h  live        learn          standard  mail.example.cz:25, "
	       "[2001:db8::1]:26\n"
	       "example.org   30d  queue       file:list (2)  off       mx:2525\n"
	       "example.net   30d  live        learn          standard  mx\n"
	       "example.com   30d  live        learn          standard  mx\n",
	       "");
	RUN_ALONE(W("--config"), W("good.conf"), W("check"));
	assert_memory_equal(ran.out, "good.conf: ok\n", 14);
}

static void check_as_json(void **state)
{
	json_t *o, *d;

	(void)state;
	RUN_ALONE(W("check"), W("good.conf"), W("--json"));
	assert_int_equal(ran.status, CLI_OK);
	o = json_loads(ran.out, 0, NULL);
	assert_true(json_is_true(json_object_get(o, "ok")));
	d = json_array_get(json_object_get(o, "domains"), 1);
	assert_string_equal(json_string_value(json_array_get(json_object_get(d, "primary"), 0)),
			    "mx:2525");
	assert_int_equal(json_integer_value(json_object_get(d, "mailboxes")), 2);
	assert_int_equal(json_integer_value(json_object_get(d, "hold_seconds")), 30 * 86400);
	d = json_object_get(d, "checks");
	assert_int_equal(json_object_size(d), 2);
	assert_string_equal(json_string_value(json_object_get(d, "unknown-commands")), "off");
	d = json_array_get(json_object_get(o, "checks"), CHECK_COUNT);
	assert_string_equal(json_string_value(json_object_get(d, "check")), "bl");
	assert_string_equal(json_string_value(json_object_get(d, "zone")), "bl.example");
	assert_true(json_real_value(json_object_get(d, "score")) == 1.25);
	d = json_array_get(json_object_get(o, "listen"), 0);
	assert_string_equal(json_string_value(json_object_get(d, "tls")), "off");
	json_decref(o);
	RUN_ALONE(W("check"), W("list"), W("--json"));
	assert_int_equal(ran.status, CLI_CONFIG);
	o = json_loads(ran.out, 0, NULL);
	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_int_equal(json_integer_value(json_object_get(o, "exit")), 3);
	json_decref(o);
}

static void version_and_help(void **state)
{
	(void)state;
	RUN_ALONE(W("version"));
	expect(CLI_OK, "locum " LOCUM_VERSION "\n", "");
	RUN_ALONE(W("--version"), W("--json"));
	expect(CLI_OK, "{\n  \"version\": \"" LOCUM_VERSION "\"\n}\n", "");
	RUN_ALONE(W("help"), W("drop"));
	expect(CLI_OK,
	       "Usage: locum [OPTIONS] drop ID|DOMAIN\n"
	       "  destroy messages; asks first\n"
	       "\n"
	       "Options:\n"
	       "  --config FILE      the configuration, /etc/locum/locum.conf by default\n"
	       "  --json             one JSON document instead of text\n"
	       "  --yes              do not ask\n",
	       "");
	RUN_ALONE(W("drop"), W("--help"));
	assert_memory_equal(ran.out, "Usage: locum [OPTIONS] drop", 27);
	RUN_ALONE(W("--help"));
	assert_int_equal(ran.status, CLI_OK);
	assert_non_null(strstr(ran.out, "  trace ID|ADDRESS "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(actions_are_asked_for), cmocka_unit_test(mistakes_are_told),
		cmocka_unit_test(errors_in_json),        cmocka_unit_test(nobody_listens),
		cmocka_unit_test(servers_that_fail),     cmocka_unit_test(refusals_of_the_server),
		cmocka_unit_test(check_as_text),         cmocka_unit_test(check_as_json),
		cmocka_unit_test(version_and_help),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests_name("cli", tests, setup, teardown);
}
