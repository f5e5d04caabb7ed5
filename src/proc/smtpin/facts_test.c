/* A netd that answers as told, or not at all. */
#include "proc/smtpin/facts.h"

#include "base/cleanup.h"
#include "proc/smtpin/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define YES LOCUM__FOUND__FOUND_YES
#define NO LOCUM__FOUND__FOUND_NO
#define UNKNOWN LOCUM__FOUND__FOUND_UNKNOWN
#define BIT(check) ((uint64_t)1 << (check))

static const struct addr client = { .family = AF_INET, .ip = { 192, 0, 2, 9 } };
static struct conf_list lists[] = {
	{ .name = { "zen", 3 } },
	{ .name = { "friends", 7 } },
};
static struct conf conf = { .lists = lists, .list_count = ELEMENTS(lists) };

static struct {
	struct server srv;
	struct channel *netd_end;
	Locum__ClientFacts answer;
	nsec delay;
	bool silent;
	unsigned asked;
	char address[ADDR_TEXT_SIZE], helo[300]; /* asked about last */
	task_fn *test;
} world;

struct later {
	uint64_t call;
	Locum__Found helo;
};

static void answer_later(struct task *tk, void *arg)
{
	_cleanup_(freep) struct later *l = arg;
	Locum__ClientFacts answer = world.answer;
	IPC_PACKET(packet, CLIENT_FACTS, client_facts, &answer);

	if (world.delay)
		task_sleep(tk, world.delay);
	answer.helo = l->helo;
	/* On a machine that is busy the test may be over by now. */
	if (world.netd_end)
		ipc_reply(tk, world.netd_end, l->call, &packet, -1, task_in(tk, NSEC_S));
}

/* A HELO name exists when it begins with "good". */
static void netd_handler(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	const Locum__AskClient *ask = m->packet->ask_client;
	struct later *l;

	(void)ch;
	(void)arg;
	assert_int_equal(m->packet->body_case, LOCUM__PACKET__BODY_ASK_CLIENT);
	world.asked++;
	if (*ask->address)
		snprintf(world.address, sizeof(world.address), "%s", ask->address);
	if (*ask->helo)
		snprintf(world.helo, sizeof(world.helo), "%s", ask->helo);
	if (world.silent)
		return;
	l = malloc(sizeof(*l));
	must(l);
	*l = (struct later){ m->packet->call, !*ask->helo                                  ? UNKNOWN
					      : str_starts(str_of(ask->helo), STR("good")) ? YES
											   : NO };
	must(task_start(task_loop(tk), NULL, "answers", answer_later, l) == 0);
}

static void smtpin_handler(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	(void)tk;
	(void)ch;
	(void)m;
	(void)arg;
}

static void around(struct task *tk, void *arg)
{
	world.test(tk, arg);
	/* Whatever is still being asked holds its own reference, and ends with the channel. */
	channel_free(world.srv.netd);
	channel_free(TAKE(world.netd_end));
	world.srv.netd = NULL;
	assert_int_equal(group_wait(tk, &world.srv.background, task_in(tk, NSEC_S)), 0);
	assert_int_equal(world.srv.lookups, 0);
}

static void in_task(task_fn *fn)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;
	int pair[2];

	memset(&world, 0, sizeof(world));
	locum__client_facts__init(&world.answer);
	world.test = fn;
	assert_int_equal(loop_new(&loop), 0);
	world.srv.loop = loop;
	group_init(&world.srv.background, loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(channel_new(loop, pair[0], LOCUM__PROCESS__SMTPIN, LOCUM__PROCESS__NETD, 0,
				     smtpin_handler, NULL, NULL, &world.srv.netd),
			 0);
	assert_int_equal(channel_new(loop, pair[1], LOCUM__PROCESS__NETD, LOCUM__PROCESS__SMTPIN, 0,
				     netd_handler, NULL, NULL, &world.netd_end),
			 0);
	assert_int_equal(task_start(loop, NULL, "test", around, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
}

static int await(struct task *tk, struct facts *f)
{
	return facts_wait(tk, f, task_in(tk, NSEC_S));
}

/* --- the cases --- */

static void symbols(struct task *tk, void *arg)
{
	static const struct {
		const char *requirement;
		Locum__Found reverse, confirmed;
		uint64_t symbols;
	} cases[] = {
		{ "all is well", YES, YES, 0 },
		{ "no name", NO, UNKNOWN, BIT(CHECK_NO_REVERSE_NAME) },
		{ "no name is not unconfirmed too", NO, NO, BIT(CHECK_NO_REVERSE_NAME) },
		{ "a name that does not lead back", YES, NO, BIT(CHECK_REVERSE_UNCONFIRMED) },
		{ "trouble is nothing", UNKNOWN, UNKNOWN, 0 },
		{ "half trouble is nothing", YES, UNKNOWN, 0 },
		{ "what netd cannot say is nothing", (Locum__Found)7, (Locum__Found)9, 0 },
	};

	(void)arg;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct facts *f;

		print_message("  %s\n", cases[i].requirement);
		world.answer.reverse = cases[i].reverse;
		world.answer.confirmed = cases[i].confirmed;
		f = facts_start(&world.srv, &client);
		assert_int_equal(facts_symbols(f, &conf), 0);
		assert_int_equal(await(tk, f), 0);
		assert_string_equal(world.address, "192.0.2.9");
		assert_int_equal(facts_symbols(f, &conf), cases[i].symbols);
		facts_unref(f);
	}
}

static void test_facts_make_symbols(void **state)
{
	(void)state;
	in_task(symbols);
}

static void listed(struct task *tk, void *arg)
{
	Locum__ListAnswer zen = LOCUM__LIST_ANSWER__INIT, gone = LOCUM__LIST_ANSWER__INIT;
	Locum__ListAnswer *answers[] = { &gone, &zen };
	struct facts *f;

	(void)arg;
	zen.list = (char *)"zen";
	zen.code = 0x7f000004;
	gone.list = (char *)"of another configuration";
	gone.code = 0x7f000002;
	world.answer.lists = answers;
	world.answer.n_lists = 2;
	world.answer.name = (char *)"mail.example.org";
	world.answer.reverse = world.answer.confirmed = YES;
	f = facts_start(&world.srv, &client);
	assert_string_equal(facts_name(f), "");
	assert_int_equal(await(tk, f), 0);
	assert_string_equal(facts_name(f), "mail.example.org");
	assert_int_equal(facts_code(f, STR("zen")), 0x7f000004);
	assert_int_equal(facts_code(f, STR("friends")), 0);
	assert_int_equal(facts_symbols(f, &conf), BIT(CHECK_COUNT));
	facts_unref(f);
}

static void test_lists_are_known_by_name(void **state)
{
	(void)state;
	in_task(listed);
}

static void helo(struct task *tk, void *arg)
{
	struct facts *f = facts_start(&world.srv, &client);

	(void)arg;
	facts_helo(f, STR("bad.example.org"));
	assert_int_equal(await(tk, f), 0);
	assert_int_equal(world.asked, 2);
	assert_int_equal(facts_symbols(f, &conf), BIT(CHECK_HELO_UNKNOWN));
	/* "the same again is not asked about again" */
	facts_helo(f, STR("bad.example.org"));
	assert_int_equal(await(tk, f), 0);
	assert_int_equal(world.asked, 2);
	assert_int_equal(facts_symbols(f, &conf), BIT(CHECK_HELO_UNKNOWN));
	/* "another takes its place, and until it is known nothing is" */
	facts_helo(f, STR("good.example.org"));
	assert_int_equal(facts_symbols(f, &conf), 0);
	assert_int_equal(await(tk, f), 0);
	assert_int_equal(facts_symbols(f, &conf), 0);
	assert_int_equal(world.asked, 3);
	/* "one that changes while it is asked about: the answer is about the last" */
	world.delay = 20 * NSEC_MS;
	facts_helo(f, STR("bad.example.org"));
	task_sleep(tk, 5 * NSEC_MS);
	facts_helo(f, STR("good.example.org"));
	facts_helo(f, STR("bad2.example.org"));
	assert_int_equal(await(tk, f), 0);
	assert_string_equal(world.helo, "bad2.example.org");
	assert_int_equal(facts_symbols(f, &conf), BIT(CHECK_HELO_UNKNOWN));
	assert_int_equal(world.asked, 5);
	facts_unref(f);
}

static void test_helo_names(void **state)
{
	(void)state;
	in_task(helo);
}

static void silent(struct task *tk, void *arg)
{
	struct facts *f;

	(void)arg;
	world.silent = true;
	f = facts_start(&world.srv, &client);
	assert_int_equal(facts_wait(tk, f, task_in(tk, 20 * NSEC_MS)), -ETIMEDOUT);
	assert_int_equal(facts_symbols(f, &conf), 0);
	/* The session ends first. */
	facts_unref(f);
}

static void test_nobody_waits_past_the_deadline(void **state)
{
	(void)state;
	in_task(silent);
}

/* netd may be quicker with one question than with the other. */
static void name_first(struct task *tk, void *arg)
{
	struct facts *f;

	(void)arg;
	world.answer.name = (char *)"c.example.net";
	f = facts_start(&world.srv, &client);
	world.delay = 20 * NSEC_MS;
	assert_string_equal(facts_name(f), "");
	assert_int_equal(facts_wait_name(tk, f, task_in(tk, NSEC_S)), 0);
	assert_string_equal(facts_name(f), "c.example.net");
	world.silent = true;
	facts_helo(f, STR("good.example.org"));
	assert_int_equal(facts_wait_name(tk, f, task_in(tk, NSEC_S)), 0);
	assert_int_equal(facts_wait(tk, f, task_in(tk, 20 * NSEC_MS)), -ETIMEDOUT);
	facts_unref(f);
	f = facts_start(&world.srv, &client);
	assert_int_equal(facts_wait_name(tk, f, task_in(tk, 20 * NSEC_MS)), -ETIMEDOUT);
	facts_unref(f);
	assert_int_equal(facts_wait_name(tk, NULL, NEVER), 0);
}

static void test_the_name_does_not_wait_for_helo(void **state)
{
	(void)state;
	in_task(name_first);
}

static void late(struct task *tk, void *arg)
{
	struct facts *f;

	(void)arg;
	world.delay = 10 * NSEC_MS;
	world.answer.reverse = NO;
	f = facts_start(&world.srv, &client);
	facts_unref(f);
	task_sleep(tk, 30 * NSEC_MS);
}

static void test_an_answer_may_come_after_the_session(void **state)
{
	(void)state;
	in_task(late);
}

static void full(struct task *tk, void *arg)
{
	struct facts *f;

	(void)arg;
	world.srv.lookups = 1000;
	f = facts_start(&world.srv, &client);
	facts_helo(f, STR("good.example.org"));
	assert_int_equal(await(tk, f), 0);
	assert_int_equal(world.asked, 0);
	world.srv.lookups = 0;
	facts_unref(f);
}

static void test_too_many_questions_are_not_asked(void **state)
{
	(void)state;
	in_task(full);
}

static void nobody(struct task *tk, void *arg)
{
	struct channel *netd = TAKE(world.srv.netd);
	struct facts *f = facts_start(&world.srv, &client);

	(void)arg;
	facts_helo(f, STR("a.b"));
	assert_int_equal(await(tk, f), 0);
	assert_int_equal(facts_symbols(f, &conf), 0);
	facts_unref(f);
	world.srv.netd = netd;
	/* "no facts at all" */
	facts_helo(NULL, STR("a.b"));
	assert_int_equal(facts_wait(tk, NULL, NEVER), 0);
	assert_string_equal(facts_name(NULL), "");
	assert_int_equal(facts_symbols(NULL, &conf), 0);
	assert_int_equal(facts_code(NULL, STR("zen")), 0);
	facts_unref(NULL);
}

static void test_without_netd_nothing_is_known(void **state)
{
	(void)state;
	in_task(nobody);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts_make_symbols),
		cmocka_unit_test(test_lists_are_known_by_name),
		cmocka_unit_test(test_helo_names),
		cmocka_unit_test(test_nobody_waits_past_the_deadline),
		cmocka_unit_test(test_the_name_does_not_wait_for_helo),
		cmocka_unit_test(test_an_answer_may_come_after_the_session),
		cmocka_unit_test(test_too_many_questions_are_not_asked),
		cmocka_unit_test(test_without_netd_nothing_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
