#include "proc/netd/resolver.h"

#include "base/cleanup.h"
#include "proc/netd/nsd_for_tests.h"
#include "task/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include <cmocka.h>

static char big_zone[4096]; /* one name with more addresses than a UDP answer holds */

static const char *const zones[] = {
	"big.test.",
	big_zone,
	"example.test.",
	"@ MX 10 mail\n@ MX 20 backup\nmail A 192.0.2.1\nmail AAAA 2001:db8::1\nalias CNAME mail\n"
	"lost CNAME nowhere\nbare A 192.0.2.9\nnull MX 0 .\n$TTL 1\nshort A 192.0.2.2\n",
	"2.0.192.in-addr.arpa.",
	"1 PTR mail.example.test.\n",
	NULL,
};

/* --- one task on a loop of its own --- */

static struct nsd nsd;
static bool nsd_is_there;

static void in_task(task_fn *fn)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "test", fn, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
}

static struct resolver *forwarding(struct task *tk, uint16_t port)
{
	struct addr server = { .family = AF_INET, .ip = { 127, 0, 0, 1 }, .port = port };
	struct resolver_options o = { .servers = &server, .server_count = 1 };
	struct resolver *r = NULL;

	must(resolver_new(tk, &o, &r) == 0);
	return r;
}

/* Lets the reaper run. */
static void finish(struct task *tk, struct resolver *r)
{
	resolver_unref(r);
	task_sleep(tk, 5 * NSEC_MS);
}

static enum dns_status ask(struct task *tk, struct resolver *r, const char *name,
			   enum dns_type type, nsec wait)
{
	_cleanup_(question_freep) struct question *q = NULL;
	static struct dns_mx_answer mx;
	static struct dns_addresses addresses;
	static struct dns_names names;

	must(resolver_ask(tk, r, str_of(name), type, &q) == 0);
	question_wait(tk, q, task_in(tk, wait));
	switch (type) {
	case DNS_MX:
		dns_read_mx(question_message(q), &mx);
		return mx.status;
	case DNS_A:
	case DNS_AAAA:
		dns_read_addresses(question_message(q), type, &addresses);
		return addresses.status;
	case DNS_PTR:
		dns_read_names(question_message(q), &names);
		return names.status;
	case DNS_TXT:
	case DNS_TLSA:
		break;
	}
	return DNS_TROUBLE;
}

static void in_task_with_nsd(task_fn *fn)
{
	if (!nsd_is_there)
		skip();
	in_task(fn);
}

#define WAIT (20 * NSEC_S)

static void states(struct task *tk, void *arg)
{
	static const struct {
		const char *requirement, *name;
		enum dns_type type;
		enum dns_status status;
	} cases[] = {
		{ "MX records are data", "example.test", DNS_MX, DNS_DATA },
		{ "a final dot is allowed", "example.test.", DNS_MX, DNS_DATA },
		{ "a null MX is data", "null.example.test", DNS_MX, DNS_DATA },
		{ "an address is data", "mail.example.test", DNS_A, DNS_DATA },
		{ "an IPv6 address is data", "mail.example.test", DNS_AAAA, DNS_DATA },
		{ "an alias is data", "alias.example.test", DNS_A, DNS_DATA },
		{ "another type only is no data", "bare.example.test", DNS_AAAA, DNS_NO_DATA },
		{ "a name without MX records is no data", "bare.example.test", DNS_MX,
		  DNS_NO_DATA },
		{ "an unknown name is no domain", "nowhere.example.test", DNS_A, DNS_NO_DOMAIN },
		{ "an alias of an unknown name is no domain", "lost.example.test", DNS_A,
		  DNS_NO_DOMAIN },
		{ "an answer too large for UDP comes over TCP", "big.test", DNS_A, DNS_DATA },
		{ "a refused zone is trouble", "example.com", DNS_MX, DNS_TROUBLE },
		{ "a name of a private reverse zone is asked", "1.2.0.192.in-addr.arpa", DNS_PTR,
		  DNS_DATA },
		{ "a name that is none is trouble", "a..b", DNS_A, DNS_TROUBLE },
	};
	struct resolver *r = forwarding(tk, nsd.port);

	(void)arg;
	/* Twice: from the server and from the cache. */
	for (size_t i = 0; i < 2 * ELEMENTS(cases); i++) {
		size_t c = i % ELEMENTS(cases);

		print_message("  %s\n", cases[c].requirement);
		assert_string_equal(dns_status_text(ask(tk, r, cases[c].name, cases[c].type, WAIT)),
				    dns_status_text(cases[c].status));
	}
	finish(tk, r);
}

static void test_states(void **state)
{
	(void)state;
	in_task_with_nsd(states);
}

static void ask_many(struct task *tk, void *arg)
{
	struct resolver *r = forwarding(tk, nsd.port);
	static struct dns_addresses a;
	struct question *q[40];

	(void)arg;
	for (size_t i = 0; i < ELEMENTS(q); i++)
		must(resolver_ask(tk, r,
				  i % 2 ? STR("mail.example.test") : STR("bare.example.test"),
				  DNS_A, &q[i]) == 0);
	for (size_t i = 0; i < ELEMENTS(q); i++) {
		must(question_wait(tk, q[i], task_in(tk, WAIT)) == 0);
		dns_read_addresses(question_message(q[i]), DNS_A, &a);
		assert_int_equal(a.count, 1);
		assert_int_equal(a.address[0].ip[3], i % 2 ? 1 : 9);
		question_free(q[i]);
	}
	finish(tk, r);
}

static void test_many_questions_at_once(void **state)
{
	(void)state;
	in_task_with_nsd(ask_many);
}

/* A server that takes questions and never answers. */
static int black_hole(uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	must(bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
	return fd;
}

static void time_out(struct task *tk, void *arg)
{
	uint16_t port = nsd_free_port();
	int fd = black_hole(port);
	struct resolver *r = forwarding(tk, port);
	struct question *q = NULL;
	nsec began = task_now(tk);

	(void)arg;
	must(resolver_ask(tk, r, STR("example.test"), DNS_MX, &q) == 0);
	assert_int_equal(question_wait(tk, q, task_in(tk, 300 * NSEC_MS)), -ETIMEDOUT);
	assert_in_range(task_now(tk) - began, 300 * NSEC_MS, 900 * NSEC_MS);
	assert_int_equal(question_message(q).n, 0);
	/* Forgotten while libunbound still holds it, then the resolver goes too. */
	question_free(q);
	finish(tk, r);
	close(fd);
}

static void test_a_silent_server_is_trouble_at_the_deadline(void **state)
{
	(void)state;
	in_task(time_out);
}

/* A server that takes SLOW for its first answer, as one does that has to ask others; what was sent meanwhile is
 * answered after that. Every name has an address. */
#define SLOW (3500 * NSEC_MS)

static _Noreturn void answer_slowly(int fd)
{
	static const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1 };
	uint8_t packet[512 + sizeof(record)];
	struct sockaddr_in from;
	socklen_t length = sizeof(from);

	for (bool first = true;; first = false) {
		ssize_t n = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from, &length);
		size_t end = 12; /* of the question */

		if (first)
			usleep(SLOW / NSEC_US);
		while ((ssize_t)end < n && packet[end])
			end += packet[end] + 1u;
		end += 5;
		packet[2] = 0x81;
		packet[3] = 0x80;
		packet[7] = 1;  /* one answer, */
		packet[11] = 0; /* no EDNS */
		memcpy(packet + end, record, sizeof(record));
		sendto(fd, packet, end + sizeof(record), 0, (struct sockaddr *)&from, length);
	}
}

static void wait_for_the_slow(struct task *tk, void *arg)
{
	uint16_t port = nsd_free_port();
	int fd = black_hole(port);
	struct resolver *r = forwarding(tk, port);
	pid_t pid = fork();

	(void)arg;
	must(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails does not end it */
		answer_slowly(fd);
	}
	assert_int_equal(ask(tk, r, "slow.test", DNS_A, WAIT), DNS_DATA);
	/* Nobody else suffers for it: */
	assert_int_equal(ask(tk, r, "next.test", DNS_A, WAIT), DNS_DATA);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	finish(tk, r);
}

static void test_a_slow_server_is_not_a_dead_one(void **state)
{
	(void)state;
	in_task(wait_for_the_slow);
}

static struct question *cancelled_question;

static void waits_for_ever(struct task *tk, void *arg)
{
	(void)arg;
	assert_int_equal(question_wait(tk, cancelled_question, NEVER), -ECANCELED);
	question_free(cancelled_question);
}

static void cancel(struct task *tk, void *arg)
{
	uint16_t port = nsd_free_port();
	int fd = black_hole(port);
	struct resolver *r = forwarding(tk, port);
	struct group g;

	(void)arg;
	group_init(&g, task_loop(tk));
	must(resolver_ask(tk, r, STR("example.test"), DNS_MX, &cancelled_question) == 0);
	must(task_start(task_loop(tk), &g, "waits", waits_for_ever, NULL) == 0);
	task_sleep(tk, 20 * NSEC_MS);
	group_cancel(&g);
	must(group_wait(tk, &g, NEVER) == 0);
	finish(tk, r);
	close(fd);
}

static void test_a_cancelled_task_leaves_its_question(void **state)
{
	(void)state;
	in_task(cancel);
}

#define DEAD_FOR (8 * NSEC_S)
#define BACK_WITHIN (15 * NSEC_S) /* seven on an idle machine */

static void recover(struct task *tk, void *arg)
{
	struct resolver *r = forwarding(tk, nsd.port);
	nsec began;

	(void)arg;
	/* Dead for long enough that every back-off and failure cache has been reached. */
	nsd_kill(&nsd);
	began = task_now(tk);
	while (task_now(tk) - began < DEAD_FOR) {
		assert_int_equal(ask(tk, r, "example.test", DNS_MX, NSEC_S), DNS_TROUBLE);
		task_sleep(tk, 100 * NSEC_MS);
	}
	nsd_run(&nsd);
	task_yield(tk);
	began = task_now(tk);
	while (ask(tk, r, "example.test", DNS_MX, NSEC_S) != DNS_DATA) {
		assert_true(task_now(tk) - began < BACK_WITHIN);
		task_sleep(tk, 200 * NSEC_MS);
	}
	print_message("  DNS was used again after %.1f s\n",
		      (double)(task_now(tk) - began) / (double)NSEC_S);
	finish(tk, r);
}

static void recover_from_silence(struct task *tk, void *arg)
{
	struct nsd late;
	uint16_t port = nsd_free_port();
	int fd = black_hole(port);
	struct resolver *r = forwarding(tk, port);
	nsec began = task_now(tk);

	(void)arg;
	must(nsd_prepare(&late, port, zones));
	while (task_now(tk) - began < DEAD_FOR) {
		assert_int_equal(ask(tk, r, "example.test", DNS_MX, NSEC_S), DNS_TROUBLE);
		task_sleep(tk, 100 * NSEC_MS);
	}
	close(fd);
	nsd_run(&late);
	task_yield(tk);
	began = task_now(tk);
	while (ask(tk, r, "example.test", DNS_MX, NSEC_S) != DNS_DATA) {
		assert_true(task_now(tk) - began < BACK_WITHIN);
		task_sleep(tk, 200 * NSEC_MS);
	}
	print_message("  DNS was used again after %.1f s\n",
		      (double)(task_now(tk) - began) / (double)NSEC_S);
	nsd_done(&late);
	finish(tk, r);
}

/* Side by side: they are long. */
static void recover_twice(struct task *tk, void *arg)
{
	must(task_start(task_loop(tk), NULL, "silent", recover_from_silence, arg) == 0);
	recover(tk, arg);
}

static void test_dead_or_silent_dns_that_lives_again_is_used_within_seconds(void **state)
{
	(void)state;
	in_task_with_nsd(recover_twice);
}

static void bad_anchor(struct task *tk, void *arg)
{
	struct resolver_options o = { .anchors = { "example.test. DS nonsense", 26 } };
	struct resolver *r = NULL;

	(void)arg;
	assert_int_equal(resolver_new(tk, &o, &r), -EINVAL);
	task_sleep(tk, 5 * NSEC_MS);
}

static void test_a_broken_anchor_is_an_error(void **state)
{
	(void)state;
	in_task(bad_anchor);
}

static void from_the_root(struct task *tk, void *arg)
{
	static const char anchor[] =
		". IN DS 20326 8 2 "
		"E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";
	struct resolver_options o = { .anchors = { anchor, sizeof(anchor) } };
	struct resolver *r = NULL;

	(void)arg;
	assert_int_equal(resolver_new(tk, &o, &r), 0);
	/* Answered from within: a unit test asks nobody on the Internet. */
	assert_int_equal(ask(tk, r, "localhost", DNS_A, WAIT), DNS_DATA);
	finish(tk, r);
}

static void test_without_servers_it_resolves_from_the_root(void **state)
{
	(void)state;
	in_task(from_the_root);
}

/* An unsigned zone below a trust anchor: forged, as far as we can tell. */
static void bogus(struct task *tk, void *arg)
{
	static const char anchor[] =
		"example.test. IN DS 12345 8 2 "
		"E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";
	struct addr server = { .family = AF_INET, .ip = { 127, 0, 0, 1 }, .port = nsd.port };
	struct resolver_options o = { .servers = &server,
				      .server_count = 1,
				      .anchors = { anchor, sizeof(anchor) } };
	struct resolver *r = NULL;

	(void)arg;
	assert_int_equal(resolver_new(tk, &o, &r), 0);
	assert_int_equal(ask(tk, r, "example.test", DNS_MX, WAIT), DNS_TROUBLE);
	assert_int_equal(ask(tk, r, "nowhere.example.test", DNS_A, WAIT), DNS_TROUBLE);
	assert_int_equal(ask(tk, r, "1.2.0.192.in-addr.arpa", DNS_PTR, WAIT), DNS_DATA);
	finish(tk, r);
}

static void test_bogus_is_trouble(void **state)
{
	(void)state;
	in_task_with_nsd(bogus);
}

static int set_up(void **state)
{
	size_t n = 0;

	(void)state;
	for (int i = 1; i <= 120; i++)
		n += (size_t)snprintf(big_zone + n, sizeof(big_zone) - n, "@ A 192.0.2.%d\n", i);
	nsd_is_there = nsd_prepare(&nsd, nsd_free_port(), zones);
	if (nsd_is_there)
		nsd_run(&nsd);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (nsd_is_there)
		nsd_done(&nsd);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_many_questions_at_once),
		cmocka_unit_test(test_a_silent_server_is_trouble_at_the_deadline),
		cmocka_unit_test(test_a_slow_server_is_not_a_dead_one),
		cmocka_unit_test(test_a_cancelled_task_leaves_its_question),
		cmocka_unit_test(test_a_broken_anchor_is_an_error),
		cmocka_unit_test(test_without_servers_it_resolves_from_the_root),
		cmocka_unit_test(test_bogus_is_trouble),
		cmocka_unit_test(test_dead_or_silent_dns_that_lives_again_is_used_within_seconds),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
