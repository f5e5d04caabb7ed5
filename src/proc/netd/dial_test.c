#include "proc/netd/dial.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/netd/nsd_for_tests.h"
#include "task/sys.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The primaries live on 127.0.0.11 and 127.0.0.12 at `mail_port`, refuse on 127.0.0.13, hang on
 * .14. */
static const char *const zones[] = {
	"good.test.",
	"@ MX 10 a\n@ MX 20 us.here.test.\na A 127.0.0.11\n",
	"here.test.",
	"us A 192.0.2.200\n"
	"two MX 10 refuses\ntwo MX 11 b\ntwo MX 20 us\nrefuses A 127.0.0.13\nb A 127.0.0.12\n"
	"both MX 10 a\nboth MX 11 b\nboth MX 20 us\na A 127.0.0.11\n"
	"dead MX 10 refuses\ndead MX 20 us\n"
	"best MX 10 us\nbest MX 20 b\n"
	"none MX 0 .\n"
	"hang MX 10 hangs\nhang MX 20 us\nhangs A 127.0.0.14\n"
	"implicit A 127.0.0.11\n",
	NULL,
};

static const char conf_text[] =
	"hostname = \"us.here.test\"\n"
	"listen \"mx\" { address = \"127.0.0.1:2525\" }\n"
	"domain \"good.test\" { primary = {\"mx:%1$u\"} }\n"
	"domain \"two.here.test\" { primary = {\"mx:%1$u\"} }\n"
	"domain \"both.here.test\" { primary = {\"mx:%1$u\"} }\n"
	"domain \"dead.here.test\" { primary = {\"mx:%1$u\"} }\n"
	"domain \"best.here.test\" { }\n"
	"domain \"none.here.test\" { }\n"
	"domain \"hang.here.test\" { primary = {\"mx:%1$u\"} }\n"
	"domain \"implicit.here.test\" { primary = {\"mx:%1$u\"} }\n"
	"domain \"nowhere.here.test\" { }\n"
	"domain \"refused.test\" { }\n"
	"domain \"explicit.test\" { primary = {\"127.0.0.13:%1$u\", \"b.here.test:%1$u\"} }\n";

static struct nsd nsd;
static bool nsd_is_there;
static uint16_t mail_port;
static int listener[3];
static int filling[8]; /* connections that fill the backlog of the one that hangs */
static struct conf *conf;
static struct resolver *resolver;
static struct routes routes;
static struct group lookups;

static int listen_at(const char *ip, int backlog)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(mail_port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	inet_pton(AF_INET, ip, &in.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	must(bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(fd, backlog) == 0);
	return fd;
}

static void fill_backlog(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(mail_port) };

	inet_pton(AF_INET, "127.0.0.14", &in.sin_addr);
	for (size_t i = 0; i < ELEMENTS(filling); i++) {
		filling[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(filling[i], (struct sockaddr *)&in, sizeof(in));
	}
}

static void make_resolver(struct task *tk)
{
	struct addr server = { .family = AF_INET, .ip = { 127, 0, 0, 1 }, .port = nsd.port };
	struct resolver_options o = { .servers = &server, .server_count = 1 };

	must(resolver_new(tk, &o, &resolver) == 0);
}

static task_fn *test_fn;

static void around(struct task *tk, void *arg)
{
	make_resolver(tk);
	group_init(&lookups, task_loop(tk));
	routes_init(&routes, task_loop(tk), &conf, &resolver, &lookups);
	test_fn(tk, arg);
	must(group_wait(tk, &lookups, NEVER) == 0);
	routes_done(&routes);
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

struct dial_case {
	const char *requirement, *domain;
	Locum__Attempt attempt;
	const char *address;     /* "": none */
	const char *host, *text; /* text: a part of it */
	uint32_t index, count;
};

#define ANSWERED LOCUM__ATTEMPT__ATTEMPT_ANSWERED
#define UNREACHABLE LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE
#define NO_ROUTE LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE
#define DNS_TROUBLE LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE

static const struct dial_case cases[] = {
	{ "the primary answers", "good.test", ANSWERED, "127.0.0.11", "a.good.test", "", 0, 1 },
	{ "the case of the domain means nothing", "GOOD.test", ANSWERED, "127.0.0.11",
	  "a.good.test", "", 0, 1 },
	{ "the next host answers when the first refuses", "two.here.test", ANSWERED, "127.0.0.12",
	  "b.here.test", "", 1, 2 },
	{ "the domain's own address without MX records", "implicit.here.test", ANSWERED,
	  "127.0.0.11", "implicit.here.test", "", 0, 1 },
	{ "explicit hosts in the given order", "explicit.test", ANSWERED, "127.0.0.12",
	  "b.here.test", "", 1, 2 },
	{ "every host refuses", "dead.here.test", UNREACHABLE, "", "",
	  "refuses.here.test (127.0.0.13:", 0, 1 },
	{ "we are the best MX", "best.here.test", NO_ROUTE, "", "",
	  "MX records of best.here.test name us.here.test (us) as the best", 0, 0 },
	{ "a null MX", "none.here.test", NO_ROUTE, "", "", "accepts no mail", 0, 0 },
	{ "the domain does not exist", "nowhere.here.test", NO_ROUTE, "", "",
	  "does not exist in DNS", 0, 0 },
	{ "a server that refuses the zone is trouble", "refused.test", DNS_TROUBLE, "", "",
	  "DNS gives no answer about the MX records of refused.test", 0, 0 },
	{ "a domain that is not configured is not dialled", "example.com", NO_ROUTE, "", "",
	  "not a configured domain", 0, 0 },
	{ "no domain at all", "", NO_ROUTE, "", "", "not a configured domain", 0, 0 },
};

static struct dialled dialled;

static void run_cases(struct task *tk, void *arg)
{
	char address[ADDR_TEXT_SIZE];

	(void)arg;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		const struct dial_case *c = &cases[i];

		print_message("  %s\n", c->requirement);
		dial(tk, &routes, str_of(c->domain), 0, 0, 0, &dialled);
		assert_int_equal(dialled.attempt, c->attempt);
		address[0] = '\0';
		if (c->address[0])
			snprintf(address, sizeof(address), "%s:%u", c->address, mail_port);
		assert_string_equal(dialled.address, address);
		assert_string_equal(dialled.host, c->host);
		assert_non_null(strstr(dialled.text, c->text));
		assert_int_equal(dialled.index, c->index);
		assert_int_equal(dialled.count, c->count);
		assert_int_equal(dialled.fd >= 0, c->attempt == ANSWERED);
		if (c->attempt == ANSWERED)
			close(dialled.fd);
	}
}

static void test_dialling(void **state)
{
	(void)state;
	in_task(run_cases);
}

static void continue_a_route(struct task *tk, void *arg)
{
	char key[128];
	uint64_t route;

	(void)arg;
	dial(tk, &routes, STR("both.here.test"), 0, 0, 0, &dialled);
	assert_int_equal(dialled.attempt, ANSWERED);
	assert_int_equal(dialled.index, 0);
	close(dialled.fd);
	snprintf(key, sizeof(key), "a.here.test:%u,b.here.test:%u", mail_port, mail_port);
	assert_string_equal(dialled.destination, key);
	route = dialled.route;

	/* "continues behind the first address" */
	dial(tk, &routes, STR("both.here.test"), 1, route, 0, &dialled);
	assert_int_equal(dialled.attempt, ANSWERED);
	assert_int_equal(dialled.index, 1);
	assert_string_equal(dialled.host, "b.here.test");
	assert_int_equal(dialled.route, route);
	close(dialled.fd);

	/* "nothing is left behind the last address" */
	dial(tk, &routes, STR("both.here.test"), 2, route, 0, &dialled);
	assert_int_equal(dialled.attempt, UNREACHABLE);
	assert_int_equal(dialled.count, 2);

	/* "another route is tried from its beginning" */
	dial(tk, &routes, STR("both.here.test"), 1, route + (1 << 20), 0, &dialled);
	assert_int_equal(dialled.attempt, ANSWERED);
	assert_int_equal(dialled.index, 0);
	close(dialled.fd);

	/* "a reload looks everything up again, and the same answer is the same route" */
	routes_expire(&routes);
	dial(tk, &routes, STR("both.here.test"), 1, route, 0, &dialled);
	assert_int_equal(dialled.index, 1);
	close(dialled.fd);
}

static void test_a_dial_continues_a_route(void **state)
{
	(void)state;
	in_task(continue_a_route);
}

static unsigned answered;
static uint64_t first_route;

static void one_of_many(struct task *tk, void *arg)
{
	_cleanup_(freep) struct dialled *d = malloc(sizeof(*d));

	(void)arg;
	dial(tk, &routes, STR("good.test"), 0, 0, 0, d);
	assert_int_equal(d->attempt, ANSWERED);
	if (answered++ == 0)
		first_route = d->route >> 16;
	assert_int_equal(d->route >> 16, first_route);
	close(d->fd);
}

static void share(struct task *tk, void *arg)
{
	struct group g;

	(void)arg;
	answered = 0;
	group_init(&g, task_loop(tk));
	for (int i = 0; i < 50; i++)
		must(task_start(task_loop(tk), &g, "dials", one_of_many, NULL) == 0);
	must(group_wait(tk, &g, task_in(tk, 20 * NSEC_S)) == 0);
	assert_int_equal(answered, 50);
	assert_int_equal(routes.lookups, 1);
}

static void test_dials_of_one_domain_share_a_lookup(void **state)
{
	(void)state;
	in_task(share);
}

static void dial_what_hangs(struct task *tk, void *arg)
{
	(void)arg;
	dial(tk, &routes, STR("hang.here.test"), 0, 0, 0, &dialled);
}

static void cancel(struct task *tk, void *arg)
{
	struct group g;
	nsec began = task_now(tk);

	(void)arg;
	group_init(&g, task_loop(tk));
	must(task_start(task_loop(tk), &g, "dials", dial_what_hangs, NULL) == 0);
	task_sleep(tk, 500 * NSEC_MS);
	assert_int_equal(group_count(&g), 1);
	group_cancel(&g);
	must(group_wait(tk, &g, task_in(tk, NSEC_S)) == 0);
	assert_true(task_now(tk) - began < 2 * NSEC_S);
	assert_int_equal(dialled.fd, -1);
	assert_int_equal(dialled.attempt, UNREACHABLE);
}

static void test_a_cancelled_dial_ends_at_once(void **state)
{
	(void)state;
	in_task(cancel);
}

static void hang(struct task *tk, void *arg)
{
	nsec began = task_now(tk);

	(void)arg;
	dial(tk, &routes, STR("hang.here.test"), 0, 0, 0, &dialled);
	assert_int_equal(dialled.attempt, UNREACHABLE);
	assert_non_null(strstr(dialled.text, "timed out"));
	assert_in_range(task_now(tk) - began, 9 * NSEC_S, 13 * NSEC_S);
}

static void hang_shortly(struct task *tk, void *arg)
{
	nsec began = task_now(tk);

	(void)arg;
	dial(tk, &routes, STR("hang.here.test"), 0, 0, NSEC_S, &dialled);
	assert_int_equal(dialled.attempt, UNREACHABLE);
	assert_in_range(task_now(tk) - began, 900 * NSEC_MS, 4 * NSEC_S);
}

static void test_a_silent_host_is_given_up_sooner_for_who_says_so(void **state)
{
	(void)state;
	in_task(hang_shortly);
}

static void test_a_silent_host_is_given_up_after_ten_seconds(void **state)
{
	(void)state;
	in_task(hang);
}

static void outlive(struct task *tk, void *arg)
{
	(void)arg;
	/* "DNS that died later is trouble, under the destination's name as it was" */
	dial(tk, &routes, STR("good.test"), 0, 0, 0, &dialled);
	assert_int_equal(dialled.attempt, ANSWERED);
	close(dialled.fd);
	resolver_unref(resolver);
	nsd_kill(&nsd);
	make_resolver(tk);
	routes_expire(&routes);
	dial(tk, &routes, STR("good.test"), 0, 0, 0, &dialled);
	assert_int_equal(dialled.attempt, DNS_TROUBLE);
	assert_true(str_starts(str_of(dialled.destination), STR("a.good.test:")));
	nsd_run(&nsd);
	task_yield(tk);
	for (int i = 0; i < 40 && dialled.attempt != ANSWERED; i++) {
		task_sleep(tk, 500 * NSEC_MS);
		dial(tk, &routes, STR("good.test"), 0, 0, 0, &dialled);
	}
	assert_int_equal(dialled.attempt, ANSWERED);
	close(dialled.fd);
}

static void test_a_destination_outlives_dns(void **state)
{
	(void)state;
	in_task(outlive);
}

static int set_up(void **state)
{
	char text[4096];
	_cleanup_(buf_done) struct buf error;

	(void)state;
	log_open("netd-test", LOG_ERROR, LOG_TEXT);
	mail_port = nsd_free_port();
	nsd_is_there = nsd_prepare(&nsd, nsd_free_port(), zones);
	if (!nsd_is_there)
		return 0;
	nsd_run(&nsd);
	listener[0] = listen_at("127.0.0.11", 64);
	listener[1] = listen_at("127.0.0.12", 64);
	listener[2] = listen_at("127.0.0.14", 0);
	fill_backlog();
	buf_init(&error, 4096);
	snprintf(text, sizeof(text), conf_text, mail_port);
	if (conf_read_text("test", str_of(text), &conf, &error) < 0) {
		print_error("%.*s\n", STR_ARG(buf_str(&error)));
		return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (!nsd_is_there)
		return 0;
	nsd_done(&nsd);
	for (size_t i = 0; i < ELEMENTS(listener); i++)
		close(listener[i]);
	for (size_t i = 0; i < ELEMENTS(filling); i++)
		close(filling[i]);
	conf_unref(conf);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialling),
		cmocka_unit_test(test_a_dial_continues_a_route),
		cmocka_unit_test(test_dials_of_one_domain_share_a_lookup),
		cmocka_unit_test(test_a_cancelled_dial_ends_at_once),
		cmocka_unit_test(test_a_silent_host_is_given_up_sooner_for_who_says_so),
		cmocka_unit_test(test_a_silent_host_is_given_up_after_ten_seconds),
		cmocka_unit_test(test_a_destination_outlives_dns),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
