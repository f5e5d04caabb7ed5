/* What one locumd leaves to the next: whole, and garbled in every way. */
#include "proc/locumd/locumd.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct supervisor before, after;
static pid_t child;
static int child_end;

static void nothing(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	(void)tk;
	(void)ch;
	(void)m;
	(void)arg;
}

static int listening(int family)
{
	struct sockaddr_storage sa = { .ss_family = (sa_family_t)family };
	socklen_t length =
		family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static int command_socket(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	/* An address that the kernel chooses. */
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static void give_a_child(void)
{
	struct child *c = &before.child[before.child_count++];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	child_end = pair[1];
	child = fork();
	if (child == 0) {
		for (;;)
			pause();
	}
	child_init(c, &before, LOCUM__PROCESS__SMTPIN, 3);
	c->pid = child;
	c->ready = true;
	c->finish_by = 77;
	assert_int_equal(channel_new(before.loop, pair[0], LOCUM__PROCESS__LOCUMD, c->process,
				     c->index, nothing, NULL, c, &c->control),
			 0);
}

static void give_a_listener(void)
{
	struct listener *l = &before.listeners.entry[before.listeners.count++];

	l->fd = listening(AF_INET);
	snprintf(l->name, sizeof(l->name), "mx");
}

#define CONF                                                                                       \
	"hostname = \"mx.example.net\"\n"                                                          \
	"state_dir = \"/tmp/unused\"\n"                                                            \
	"processes { smtpin = 2 }\n"                                                               \
	"limits { sessions = 100 sessions_per_client = 10 }\n"                                     \
	"listen \"mx\" { address = \"127.0.0.1:2525\" }\n"                                         \
	"domain \"ours.example\" { }\n"

static int setup(void **state)
{
	_cleanup_(buf_done) struct buf error = { 0 };
	struct conf *conf = NULL;

	(void)state;
	memset(&before, 0, sizeof(before));
	memset(&after, 0, sizeof(after));
	buf_init(&error, 4096);
	if (conf_read_text("test", STR(CONF), &conf, &error) < 0)
		fail_msg("%.*s", STR_ARG(buf_str(&error)));
	before.conf = conf;
	before.clients_file = before.client_memory_file = -1;
	assert_int_equal(loop_new(&before.loop), 0);
	assert_int_equal(snapshots_make(conf, &before.snapshot, &before.snapshot_with_keys), 0);
	before.lock = fcntl(before.snapshot, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(io_init(&before.control, before.loop, command_socket()), 0);
	assert_int_equal(clients_make(&before), 0);
	tickets_make(&before);
	give_a_listener();
	give_a_child();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(child_end);
	channel_free(before.child[0].control);
	io_done(&before.control);
	listeners_done(&before.listeners);
	client_table_close(before.clients);
	client_table_close(after.clients);
	close(before.clients_file);
	close(before.lock);
	close(before.snapshot);
	close(before.snapshot_with_keys);
	conf_unref(after.conf);
	close(before.client_memory_file);
	conf_unref(before.conf);
	assert_int_equal(loop_run(before.loop), 0); /* the channel's reader ends */
	loop_free(before.loop);
	return 0;
}

static int sealed(str bytes)
{
	int fd = sys_memfd("test");

	assert_int_equal(sys_write_at(fd, bytes, 0), 0);
	assert_int_equal(sys_memfd_seal(fd), 0);
	return fd;
}

static size_t bytes_of(int fd, char *ret, size_t max)
{
	ssize_t n = pread(fd, ret, max, 0);

	assert_true(n > 0 && (size_t)n < max);
	return (size_t)n;
}

static int read_and_take(int fd)
{
	_cleanup_(handover_freep) Locum__Handover *h = NULL;
	int r = handover_read(fd, &h);

	return r < 0 ? r : handover_take(&after, h);
}

static void everything_arrives(void **state)
{
	_cleanup_(closep) int fd = -1;
	const struct child *c = &after.child[0];

	(void)state;
	before.asker.call = 12;
	before.asker.index = 1;
	assert_int_equal(handover_make(&before, &fd), 0);
	assert_int_equal(read_and_take(fd), 0);
	assert_string_equal(after.version_before, LOCUM_VERSION);
	assert_true(str_eq(after.conf->hostname, STR("mx.example.net")));
	assert_int_equal(after.listeners.count, 1);
	assert_string_equal(after.listeners.entry[0].name, "mx");
	assert_int_equal(after.listeners.entry[0].fd, before.listeners.entry[0].fd);
	assert_true(after.listeners.entry[0].address.port > 0);
	assert_int_equal(after.child_count, 1);
	assert_int_equal(c->process, LOCUM__PROCESS__SMTPIN);
	assert_int_equal(c->index, 3);
	assert_int_equal(c->pid, child);
	assert_int_equal(c->handed_control, channel_fd(before.child[0].control));
	assert_int_equal(c->finish_by, 77);
	assert_true(c->old);
	assert_int_equal(after.smtpin_places, 8);
	assert_int_equal(after.sessions_max, 100);
	assert_int_equal(after.lock, before.lock);
	assert_int_equal(after.handed_command_socket, before.control.fd);
	assert_int_equal(after.client_memory_file, before.client_memory_file);
	assert_int_equal(after.ticket_key_count, 1);
	assert_memory_equal(after.ticket_key[0], before.ticket_key[0], TICKET_KEY_BYTES);
	assert_int_equal(after.asker.call, 12);
	assert_int_equal(after.asker.index, 1);
}

static void new_smtpin_get_places_of_their_own(void **state)
{
	_cleanup_(closep) int fd = -1;

	(void)state;
	assert_int_equal(handover_make(&before, &fd), 0);
	assert_int_equal(read_and_take(fd), 0);
	after.child[0].index = 1;
	assert_int_equal(children_plan(&after), 0);
	assert_int_equal(after.child_count, 1 + OTHER_KINDS + 2);
	assert_int_equal(after.child[5].index, 0);
	assert_int_equal(after.child[6].index, 2);
	assert_false(after.child[6].old);
}

static void more_smtpin_than_places_are_not_planned(void **state)
{
	_cleanup_(closep) int fd = -1;

	(void)state;
	assert_int_equal(handover_make(&before, &fd), 0);
	assert_int_equal(read_and_take(fd), 0);
	for (uint32_t i = 0; i < 7; i++)
		child_init(&after.child[after.child_count++], &after, LOCUM__PROCESS__SMTPIN, i);
	assert_int_equal(children_plan(&after), -ENOSPC);
}

static void a_child_that_is_not_ready_is_not_left(void **state)
{
	_cleanup_(closep) int fd = -1;

	(void)state;
	before.child[0].ready = false;
	assert_int_equal(handover_make(&before, &fd), 0);
	assert_int_equal(read_and_take(fd), 0);
	assert_int_equal(after.child_count, 0);
}

static void descriptors_stay_open_across_the_exec_only(void **state)
{
	_cleanup_(handover_freep) Locum__Handover *h = NULL;
	_cleanup_(closep) int fd = -1;
	const int handed[] = { before.snapshot,
			       before.snapshot_with_keys,
			       before.lock,
			       before.clients_file,
			       before.control.fd,
			       before.listeners.entry[0].fd,
			       channel_fd(before.child[0].control) };

	(void)state;
	assert_int_equal(handover_make(&before, &fd), 0);
	assert_int_equal(handover_read(fd, &h), 0);
	handover_keep_open(h, true);
	for (size_t i = 0; i < ELEMENTS(handed); i++)
		assert_int_equal(fcntl(handed[i], F_GETFD), 0);
	assert_int_equal(handover_take(&after, h), 0);
	for (size_t i = 0; i < ELEMENTS(handed); i++)
		assert_int_equal(fcntl(handed[i], F_GETFD), FD_CLOEXEC);
}

static void what_is_not_sealed_is_not_read(void **state)
{
	_cleanup_(closep) int fd = sys_memfd("test"), made = -1;
	static char bytes[4096];

	(void)state;
	assert_int_equal(handover_make(&before, &made), 0);
	assert_int_equal(sys_write_at(fd, str_mem(bytes, bytes_of(made, bytes, sizeof(bytes))), 0),
			 0);
	assert_int_equal(read_and_take(fd), -EPROTO);
}

/* Whatever is read, either all of it was taken or nothing. */
static void try(str bytes, bool must_fail)
{
	_cleanup_(closep) int fd = sealed(bytes);
	int r;

	client_table_close(after.clients);
	conf_unref(after.conf);
	memset(&after, 0, sizeof(after));
	after.lock = -1;
	r = read_and_take(fd);
	assert_true(r < 0 || !must_fail);
	if (r < 0)
		assert_true(after.listeners.count == 0 && after.child_count == 0 &&
			    !after.clients && after.lock == -1);
	else
		assert_true(after.listeners.count <= 1 && after.child_count <= 1 && after.clients &&
			    after.conf);
}

static void cut_anywhere_it_is_refused_or_plausible(void **state)
{
	_cleanup_(closep) int made = -1;
	static char bytes[4096];
	size_t n;

	(void)state;
	assert_int_equal(handover_make(&before, &made), 0);
	n = bytes_of(made, bytes, sizeof(bytes));
	for (size_t i = 0; i < n; i++)
		try(str_mem(bytes, i), i < n / 2);
}

static void any_bit_may_be_wrong(void **state)
{
	_cleanup_(closep) int made = -1;
	static char bytes[4096];
	size_t n;

	(void)state;
	assert_int_equal(handover_make(&before, &made), 0);
	n = bytes_of(made, bytes, sizeof(bytes));
	for (size_t i = 0; i < n * 8; i++) {
		bytes[i / 8] = (char)(bytes[i / 8] ^ (1 << i % 8));
		try(str_mem(bytes, n), false);
		bytes[i / 8] = (char)(bytes[i / 8] ^ (1 << i % 8));
	}
}

/* --- what is said is not what is there --- */

static void expect_refused(void (*spoil)(Locum__Handover *h), bool at_once)
{
	_cleanup_(closep) int made = -1, spoiled = -1;
	_cleanup_(handover_freep) Locum__Handover *h = NULL;
	_cleanup_(handover_freep) Locum__Handover *read = NULL;
	static uint8_t bytes[4096];
	int r;

	assert_int_equal(handover_make(&before, &made), 0);
	assert_int_equal(handover_read(made, &h), 0);
	spoil(h);
	spoiled = sealed(str_mem(bytes, locum__handover__pack(h, bytes)));
	r = handover_read(spoiled, &read);
	assert_int_equal(r < 0, at_once);
	if (r == 0)
		assert_true(handover_take(&after, read) < 0);
	assert_true(after.lock == 0 && !after.clients);
}

static void a_descriptor_named_twice(Locum__Handover *h)
{
	h->lock = h->clients;
}

static void standard_error(Locum__Handover *h)
{
	h->listeners[0]->fd = STDERR_FILENO;
}

static void a_listener_that_does_not_listen(Locum__Handover *h)
{
	h->listeners[0]->fd = child_end;
}

static void a_closed_descriptor(Locum__Handover *h)
{
	h->command_socket = 900;
}

static void a_process_that_is_not_ours(Locum__Handover *h)
{
	h->children[0]->pid = getppid() > 1 ? getppid() : 2;
}

static void init_as_a_child(Locum__Handover *h)
{
	h->children[0]->pid = 1;
}

static void everybody_as_a_child(Locum__Handover *h)
{
	h->children[0]->pid = -1;
}

static void a_place_that_is_not_there(Locum__Handover *h)
{
	h->children[0]->index = h->smtpin_places;
}

static void more_places_than_the_table_has(Locum__Handover *h)
{
	h->smtpin_places = 9;
}

static void a_child_that_is_locumd(Locum__Handover *h)
{
	h->children[0]->process = LOCUM__PROCESS__LOCUMD;
}

static void a_short_key(Locum__Handover *h)
{
	h->ticket_keys[0].len--;
}

static void lies_are_found_out(void **state)
{
	(void)state;
	expect_refused(a_descriptor_named_twice, true);
	expect_refused(standard_error, true);
	expect_refused(init_as_a_child, true);
	expect_refused(everybody_as_a_child, true);
	expect_refused(a_place_that_is_not_there, true);
	expect_refused(a_child_that_is_locumd, true);
	expect_refused(a_short_key, true);
	expect_refused(a_listener_that_does_not_listen, false);
	expect_refused(a_closed_descriptor, false);
	expect_refused(a_process_that_is_not_ours, false);
	expect_refused(more_places_than_the_table_has, false);
}

/* In a process of its own: it closes everything else. */
static int salvage_status(int listener, int other)
{
	static struct listeners kept;
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		handover_salvage(&kept);
		_exit(kept.count != 2 || kept.entry[0].fd != listener ||
		      kept.entry[0].address.port == 0 || fcntl(other, F_GETFD) != -1);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void without_a_state_the_listeners_are_kept(void **state)
{
	int more = listening(AF_INET6);

	(void)state;
	assert_int_equal(salvage_status(MIN(before.listeners.entry[0].fd, more), before.lock), 0);
	close(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(everything_arrives),
		TEST(new_smtpin_get_places_of_their_own),
		TEST(more_smtpin_than_places_are_not_planned),
		TEST(a_child_that_is_not_ready_is_not_left),
		TEST(descriptors_stay_open_across_the_exec_only),
		TEST(what_is_not_sealed_is_not_read),
		TEST(cut_anywhere_it_is_refused_or_plausible),
		TEST(any_bit_may_be_wrong),
		TEST(lies_are_found_out),
		TEST(without_a_state_the_listeners_are_kept),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
