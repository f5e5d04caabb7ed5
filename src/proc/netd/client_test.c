#include "proc/netd/client.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/netd/nsd_for_tests.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define V6_TEST ".0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
#define LIVING(zone) "2.0.0.127." zone " A 127.0.0.2\n"
/* 2001:db8::17 */
#define V6_CLIENT "7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"

#define LISTS                                                                                      \
	LIVING("block")                                                                            \
	"9.2.0.192.block A 127.0.0.4\n9.2.0.192.block A 127.0.0.11\n"                              \
	"10.2.0.192.block A 127.0.0.200\n"                                                         \
	"11.2.0.192.block A 127.255.255.254\n"                                                     \
	"9.0.0.127.block A 127.0.0.4\n" LIVING("allow") "9.2.0.192.allow A 127.0.10.1\n" LIVING(   \
		"six") "2" V6_TEST ".six A 127.0.0.2\n" V6_CLIENT ".six A 127.0.0.3\n" V6_CLIENT   \
		       ".block A 127.0.0.3\n"

static const char *const zones[] = {
	"names.test.",
	"good A 192.0.2.9\n"
	"liar A 192.0.2.99\n"
	"six AAAA 2001:db8::17\n"
	"post MX 10 good\n"
	"empty TXT \"no address\"\n",
	"2.0.192.in-addr.arpa.",
	"9 PTR evil\\032host.names.test.\n9 PTR good.names.test.\n"
	"10 PTR liar.names.test.\n"
	"11 PTR lost.refused.test.\n"
	"12 PTR evil\\032host.names.test.\n"
	"13 PTR gone.names.test.\n",
	"0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
	"7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR six.names.test.\n",
	"lists.test.",
	LISTS "*.parked A 203.0.113.5\n"
	      "*.closed A 127.255.255.254\n"
	      "*.everything A 127.0.0.2\n"
	      "empty TXT \"nothing\"\n",
	NULL,
};

static struct nsd nsd;
static bool nsd_is_there;
static struct conf *conf;
static struct resolver *resolver;
static struct zones lists;
static struct client_facts facts;

/* --- the world --- */

static void make_resolver(struct task *tk)
{
	struct addr server = { .family = AF_INET, .ip = { 127, 0, 0, 1 }, .port = nsd.port };
	struct resolver_options o = { .servers = &server, .server_count = 1 };
	struct resolver *old = resolver;

	must(resolver_new(tk, &o, &resolver) == 0);
	resolver_unref(old);
}

static task_fn *test_fn;

static void around(struct task *tk, void *arg)
{
	resolver = NULL;
	make_resolver(tk);
	must(zones_init(&lists, task_loop(tk), &conf, &resolver) == 0);
	test_fn(tk, arg);
	zones_stop(tk, &lists);
	resolver_unref(resolver);
	task_sleep(tk, 5 * NSEC_MS);
}

static void in_task(task_fn *fn)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;

	if (!nsd_is_there)
		skip();
	test_fn = fn;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "test", around, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
}

static void ask(struct task *tk, const char *address, const char *helo)
{
	struct addr a;

	if (address)
		must(addr_parse_ip(str_of(address), 0, &a) == 0);
	client_ask(tk, resolver, &lists, conf, address ? &a : NULL, str_of(helo), &facts);
}

/* "block 127.0.0.4, …" */
static const char *listings(void)
{
	static char text[512];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < facts.listed; i++) {
		uint32_t c = facts.listing[i].code;

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s %u.%u.%u.%u",
				      n ? ", " : "", STR_ARG(facts.listing[i].list), c >> 24,
				      c >> 16 & 255, c >> 8 & 255, c & 255);
	}
	return text;
}

/* --- names --- */

#define YES LOCUM__FOUND__FOUND_YES
#define NO LOCUM__FOUND__FOUND_NO
#define UNKNOWN LOCUM__FOUND__FOUND_UNKNOWN

static void reverse(struct task *tk, void *arg)
{
	static const struct {
		const char *requirement, *address, *name;
		Locum__Found reverse, confirmed;
	} cases[] = {
		{ "a name that leads back is confirmed, an impossible one skipped", "192.0.2.9",
		  "good.names.test", YES, YES },
		{ "a name that leads elsewhere is not confirmed", "192.0.2.10", "", YES, NO },
		{ "a name that does not exist is not confirmed", "192.0.2.13", "", YES, NO },
		{ "trouble with the name's addresses is no refutation", "192.0.2.11", "", YES,
		  UNKNOWN },
		{ "an impossible name is a name, but not confirmed", "192.0.2.12", "", YES, NO },
		{ "no name", "192.0.2.20", "", NO, UNKNOWN },
		{ "trouble is no absence", "198.51.100.1", "", UNKNOWN, UNKNOWN },
		{ "IPv6", "2001:db8::17", "six.names.test", YES, YES },
		{ "IPv6 without a name", "2001:db8::18", "", NO, UNKNOWN },
	};

	(void)arg;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		print_message("  %s\n", cases[i].requirement);
		ask(tk, cases[i].address, "");
		assert_string_equal(facts.name, cases[i].name);
		assert_int_equal(facts.reverse, cases[i].reverse);
		assert_int_equal(facts.confirmed, cases[i].confirmed);
		assert_int_equal(facts.helo, UNKNOWN);
	}
}

static void test_reverse_names(void **state)
{
	(void)state;
	in_task(reverse);
}

static void helo(struct task *tk, void *arg)
{
	static const struct {
		const char *requirement, *helo;
		Locum__Found found;
	} cases[] = {
		{ "an IPv4 address is enough", "good.names.test", YES },
		{ "case and a final dot do not matter", "GOOD.names.test.", YES },
		{ "an IPv6 address is enough", "six.names.test", YES },
		{ "MX records are enough", "post.names.test", YES },
		{ "a name without any of them is none", "empty.names.test", NO },
		{ "a name that does not exist", "nowhere.names.test", NO },
		{ "trouble is no absence", "a.refused.test", UNKNOWN },
		{ "nobody asks about a literal", "[192.0.2.9]", UNKNOWN },
		{ "nor about an address", "192.0.2.9", UNKNOWN },
		{ "nor about a bare word", "nowhere", UNKNOWN },
		{ "nor about what is no name", "a b.names.test", UNKNOWN },
		{ "nor about nothing", "", UNKNOWN },
	};

	(void)arg;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		print_message("  %s\n", cases[i].requirement);
		ask(tk, NULL, cases[i].helo);
		assert_int_equal(facts.helo, cases[i].found);
		assert_int_equal(facts.reverse, UNKNOWN);
		assert_int_equal(facts.listed, 0);
	}
}

static void test_helo_names(void **state)
{
	(void)state;
	in_task(helo);
}

/* --- lists --- */

static void listed(struct task *tk, void *arg)
{
	static const struct {
		const char *requirement, *address, *listings;
	} cases[] = {
		{ "every list of a zone takes its own codes; an allow list is a list", "192.0.2.9",
		  "block 127.0.0.4, policy 127.0.0.11, allow 127.0.10.1" },
		{ "a code that no list asks for is none", "192.0.2.10", "" },
		{ "nobody has it", "192.0.2.77", "" },
		{ "this host is not asked about", "127.0.0.9", "" },
		{ "IPv6: only of zones that have some", "2001:db8::17", "six 127.0.0.3" },
		{ "an error code is no listing", "192.0.2.11", "" },
		/* … and says that the list is closed to us: its other answers do not count either. */
		{ "from then on it is switched off", "192.0.2.9", "allow 127.0.10.1" },
	};

	(void)arg;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		print_message("  %s\n", cases[i].requirement);
		ask(tk, cases[i].address, "");
		assert_string_equal(listings(), cases[i].listings);
	}
	/* "a test that passes brings it back" */
	zones_renew(&lists);
	while (!zones_ask(&lists, STR("block.lists.test"), AF_INET))
		task_sleep(tk, 10 * NSEC_MS);
	ask(tk, "192.0.2.9", "");
	assert_string_equal(listings(), cases[0].listings);
}

static void test_lists(void **state)
{
	(void)state;
	in_task(listed);
}

static void wait_for(struct task *tk, const char *zone, bool asked)
{
	for (int i = 0; zones_ask(&lists, str_of(zone), AF_INET) != asked; i++) {
		assert_true(i < 500);
		task_sleep(tk, 20 * NSEC_MS);
	}
}

static void revive(struct task *tk, void *arg)
{
	static const char *const dead[] = { "parked.lists.test", "closed.lists.test",
					    "everything.lists.test", "empty.lists.test" };

	(void)arg;
	for (size_t i = 0; i < ELEMENTS(dead); i++)
		wait_for(tk, dead[i], false);
	assert_true(zones_ask(&lists, STR("block.lists.test"), AF_INET));
	nsd_change(&nsd, zones, 3,
		   LIVING("parked") "9.2.0.192.parked A 127.0.0.4\n" LIVING("closed")
			   LIVING("everything") LIVING("empty"));
	nsd_kill(&nsd);
	nsd_run(&nsd);
	make_resolver(tk);
	zones_renew(&lists);
	for (size_t i = 0; i < ELEMENTS(dead); i++)
		wait_for(tk, dead[i], true);
	/* "a zone that is dead now is found out, too" */
	wait_for(tk, "block.lists.test", false);
	ask(tk, "192.0.2.9", "");
	assert_string_equal(listings(), "parked 127.0.0.4");
	nsd_change(&nsd, zones, 3, zones[7]);
	nsd_kill(&nsd);
	nsd_run(&nsd);
}

static void test_a_dead_list_is_off_until_it_passes_its_test(void **state)
{
	(void)state;
	in_task(revive);
}

static void unconfigured(struct task *tk, void *arg)
{
	(void)arg;
	/* Turned off in the only domain. */
	assert_false(zones_ask(&lists, STR("off.lists.test"), AF_INET));
	assert_false(zones_ask(&lists, STR("nobody.test"), AF_INET));
	assert_false(zones_count(tk, &lists, STR("nobody.test"), AF_INET, task_in(tk, NSEC_S)));
}

static void test_what_no_domain_wants_is_not_asked(void **state)
{
	(void)state;
	in_task(unconfigured);
}

/* --- trouble --- */

static void silence(struct task *tk, void *arg)
{
	nsec began;

	(void)arg;
	ask(tk, "192.0.2.9", "");
	assert_int_equal(facts.listed, 3);
	nsd_kill(&nsd);
	make_resolver(tk);
	began = task_now(tk);
	ask(tk, "192.0.2.9", "good.names.test");
	assert_true(task_now(tk) - began < CLIENT_WAIT + NSEC_S);
	assert_int_equal(facts.reverse, UNKNOWN);
	assert_int_equal(facts.helo, UNKNOWN);
	assert_string_equal(listings(), "");
	/* "a living list goes on when its servers only fell silent" */
	zones_renew(&lists);
	task_sleep(tk, 2 * NSEC_S);
	assert_true(zones_ask(&lists, STR("block.lists.test"), AF_INET));
	nsd_run(&nsd);
}

static void test_without_dns_nothing_is_known(void **state)
{
	(void)state;
	in_task(silence);
}

static void untested(struct task *tk, void *arg)
{
	(void)arg;
	/* The test of the start finds nobody; then the list answers, but has not passed. */
	assert_false(zones_count(tk, &lists, STR("block.lists.test"), AF_INET,
				 task_in(tk, 2 * ZONE_TEST_WAIT)));
	nsd_run(&nsd);
	make_resolver(tk);
	ask(tk, "192.0.2.9", "");
	assert_string_equal(listings(), "");
	zones_renew(&lists);
	for (int i = 0; i < 100 && facts.listed != 3; i++) {
		task_sleep(tk, 100 * NSEC_MS);
		ask(tk, "192.0.2.9", "");
	}
	assert_int_equal(facts.listed, 3);
}

static void test_a_list_that_was_never_tested_counts_for_nothing(void **state)
{
	(void)state;
	if (nsd_is_there)
		nsd_kill(&nsd);
	in_task(untested);
}

static void asks_and_is_cancelled(struct task *tk, void *arg)
{
	(void)arg;
	ask(tk, "192.0.2.9", "good.names.test");
	assert_int_equal(facts.helo, UNKNOWN);
}

static void cancel(struct task *tk, void *arg)
{
	struct group g;

	(void)arg;
	nsd_kill(&nsd);
	make_resolver(tk);
	group_init(&g, task_loop(tk));
	must(task_start(task_loop(tk), &g, "asks", asks_and_is_cancelled, NULL) == 0);
	task_yield(tk);
	group_cancel(&g);
	assert_int_equal(group_wait(tk, &g, task_in(tk, NSEC_S)), 0);
	nsd_run(&nsd);
}

static void test_a_cancelled_asker_leaves_its_questions(void **state)
{
	(void)state;
	in_task(cancel);
}

/* --- the configuration --- */

static const char conf_text[] =
	"hostname = \"us.here.test\"\n"
	"listen \"mx\" { address = \"127.0.0.1:2525\" }\n"
	"list \"block\" { zone = \"block.lists.test\" codes = {\"127.0.0.2-127.0.0.10\"} }\n"
	"list \"policy\" { zone = \"Block.lists.test.\" codes = {\"127.0.0.11\"} }\n"
	"list \"allow\" { zone = \"allow.lists.test\" codes = {\"127.0.0.2-127.0.255.254\"} "
	"allow = true }\n"
	"list \"six\" { zone = \"six.lists.test\" }\n"
	"list \"parked\" { zone = \"parked.lists.test\" }\n"
	"list \"closed\" { zone = \"closed.lists.test\" }\n"
	"list \"everything\" { zone = \"everything.lists.test\" }\n"
	"list \"empty\" { zone = \"empty.lists.test\" }\n"
	"list \"off\" { zone = \"off.lists.test\" effect = \"off\" }\n"
	"domain \"ours.test\" { }\n";

static int set_up(void **state)
{
	struct buf error;
	int r;

	(void)state;
	log_open("client-test", LOG_ERROR, LOG_TEXT);
	nsd_is_there = nsd_prepare(&nsd, nsd_free_port(), zones);
	if (!nsd_is_there)
		return 0;
	nsd_run(&nsd);
	buf_init(&error, 4096);
	r = conf_read_text("test", str_of(conf_text), &conf, &error);
	if (r < 0)
		print_error("%.*s\n", STR_ARG(buf_str(&error)));
	buf_done(&error);
	return r;
}

static int tear_down(void **state)
{
	(void)state;
	if (nsd_is_there)
		nsd_done(&nsd);
	conf_unref(conf);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reverse_names),
		cmocka_unit_test(test_helo_names),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_a_dead_list_is_off_until_it_passes_its_test),
		cmocka_unit_test(test_what_no_domain_wants_is_not_asked),
		cmocka_unit_test(test_without_dns_nothing_is_known),
		cmocka_unit_test(test_a_list_that_was_never_tested_counts_for_nothing),
		cmocka_unit_test(test_a_cancelled_asker_leaves_its_questions),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
