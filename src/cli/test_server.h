/*
 * What the tests of the command share: a small server in a child process that plays a script once, a way to
 * run a command against it, and rows to tell. Every test runs in a folder of its own.
 */
#pragma once

#include "base/cleanup.h"
#include "cli/client.h"
#include "smtp/ehlo.h"
#include "task/sys.h"

#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <jansson.h>

#define NOW (1795501440 * NSEC_S) /* 2026-11-24T06:24:00Z */
#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define ANSWERS_MAX 16

static char folder[] = "/tmp/locum-cli-test-XXXXXX";

/* --- the server --- */

enum manner { SERVE, HANG_UP, BREAK_OFF, SAY_NOTHING, TALK_NONSENSE };

struct script {
	enum manner manner;
	Locum__Answer answer[ANSWERS_MAX];
	size_t count;
	int fd; /* rides along with the first answer */
};

static struct script script;

/* What the server got, one a connection. */
static Locum__Command *asked_all[ANSWERS_MAX];
static size_t asked_count;
#define asked asked_all[0]

static void script_reset(void)
{
	script = (struct script){ .fd = -1 };
}

static Locum__Answer *script_add(void)
{
	Locum__Answer *a = &script.answer[script.count++];

	must(script.count <= ANSWERS_MAX);
	locum__answer__init(a);
	return a;
}

static void script_end(uint64_t count, const char *error, uint32_t exit_status)
{
	Locum__Answer *a = script_add();

	a->last = true;
	a->count = count;
	a->error = (char *)error;
	a->exit = exit_status;
}

static void send_answer(int fd, size_t i)
{
	Locum__Packet packet = LOCUM__PACKET__INIT;
	uint8_t bytes[65536];

	packet.reply = true;
	packet.body_case = LOCUM__PACKET__BODY_ANSWER;
	packet.answer = &script.answer[i];
	must(locum__packet__get_packed_size(&packet) <= sizeof(bytes));
	sys_send_fds(fd, str_mem(bytes, locum__packet__pack(&packet, bytes)), &script.fd,
		     i == 0 && script.fd >= 0);
}

static void wait_readable(int fd)
{
	char c;

	while (recv(fd, &c, 1, MSG_PEEK) < 0 && errno == EAGAIN)
		usleep(1000);
}

/* One connection; its question goes to the test. False: this was the last. */
static bool serve_one(int listener, int to_test, size_t *at)
{
	char bytes[4096];
	int fd = accept(listener, NULL, NULL);
	bool last = false;
	ssize_t n;

	if (script.manner == HANG_UP)
		return false;
	wait_readable(fd);
	n = recv(fd, bytes, sizeof(bytes), 0);
	if (n > 0)
		send(to_test, bytes, (size_t)n, 0);
	if (script.manner == TALK_NONSENSE)
		send(fd, "\xff\xff", 2, MSG_NOSIGNAL);
	if (script.manner == TALK_NONSENSE || script.manner == BREAK_OFF)
		return send_answer(fd, 0), false;
	while (script.manner == SERVE && !last && *at < script.count) {
		last = script.answer[*at].last;
		send_answer(fd, (*at)++);
	}
	recv(fd, bytes, sizeof(bytes), 0); /* until it hangs up */
	close(fd);
	return *at < script.count;
}

static pid_t server_start(int *ret_from_server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "control.sock" };
	int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	size_t at = 0;
	int ends[2];
	pid_t pid;

	unlink("control.sock");
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		while (serve_one(listener, ends[1], &at))
			;
		_exit(0);
	}
	close(listener);
	close(ends[1]);
	*ret_from_server = ends[0];
	return pid;
}

static void forget_asked(void)
{
	while (asked_count > 0)
		locum__command__free_unpacked(asked_all[--asked_count], NULL);
	asked = NULL;
}

static void keep_asked(const uint8_t *bytes, size_t n)
{
	Locum__Packet *packet = locum__packet__unpack(NULL, n, bytes);

	assert_non_null(packet);
	assert_int_equal(packet->body_case, LOCUM__PACKET__BODY_COMMAND);
	assert_true(packet->call != 0);
	asked_all[asked_count++] = TAKE(packet->command);
	packet->body_case = LOCUM__PACKET__BODY__NOT_SET;
	locum__packet__free_unpacked(packet, NULL);
}

static void server_end(pid_t pid, int from_server)
{
	uint8_t bytes[4096];
	ssize_t n;

	/* It may wait for a connection that an error kept from coming. */
	usleep(2000);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	forget_asked();
	while ((n = recv(from_server, bytes, sizeof(bytes), 0)) > 0)
		keep_asked(bytes, (size_t)n);
	close(from_server);
}

/* --- running a command --- */

static struct {
	int status;
	char *out, *err;
	size_t out_n, err_n;
} ran;

static void run_words(char **words, bool with_server, bool coloured)
{
	struct cli cli;
	int argc = 0, from_server = -1;
	pid_t pid = with_server ? server_start(&from_server) : -1;
	FILE *out, *err;

	free(ran.out);
	free(ran.err);
	out = open_memstream(&ran.out, &ran.out_n);
	err = open_memstream(&ran.err, &ran.err_n);
	while (words[argc])
		argc++;
	cli_init(&cli, out, err);
	cli.now_wall = NOW;
	cli.coloured = coloured;
	cli.config = "locum.conf";
	cli.answer_timeout = 2 * NSEC_S;
	if (script.manner == SAY_NOTHING)
		cli.answer_timeout = 50 * NSEC_MS;
	ran.status = cli_main(&cli, argc, words);
	cli_done(&cli);
	fclose(out);
	fclose(err);
	if (with_server)
		server_end(pid, from_server);
}

#define RUN(...) run_words((char *[]){ (char *)"locum", __VA_ARGS__, NULL }, true, false)
#define RUN_ALONE(...) run_words((char *[]){ (char *)"locum", __VA_ARGS__, NULL }, false, false)
#define W(word) ((char *)(word))

static const char *requirement = ""; /* of the table row, for the message */

static inline void expect(int status, const char *out, const char *err)
{
	if (ran.status != status || strcmp(ran.out, out) != 0 || strcmp(ran.err, err) != 0)
		fail_msg(
			"%s: status %d, not %d\n--- out\n%s\n--- not\n%s\n--- err\n%s\n--- not\n%s",
			requirement, ran.status, status, ran.out, out, ran.err, err);
}

/* Only the part of the error matters. */
static inline void expect_error(int status, const char *part)
{
	if (ran.status != status || ran.out_n != 0 || !strstr(ran.err, part))
		fail_msg("%s: status %d, not %d\n%s%s\nnot %s", requirement, ran.status, status,
			 ran.out, ran.err, part);
}

static int setup(void **state)
{
	FILE *f;

	(void)state;
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	f = fopen("locum.conf", "w");
	fprintf(f, "state_dir = \".\"\n"); /* nothing else is needed to find the socket */
	fclose(f);
	f = fopen("good.conf", "w");
	fprintf(f, "hostname = \"mx2.example.net\"\nlisten \"mx\" { address = \"[::]:25\" }\n"
		   "domain \"example.cz\" { primary = {\"mail.example.cz\", \"[2001:db8::1]:26\"} "
		   "hold = \"36h\" checks = \"bl=off\" }\n"
		   "domain \"example.org\" { recipients = \"file:list\" primary = {\"mx:2525\"} "
		   "filter = off\n"
		   "acceptance = queue checks = {\"unknown-commands=off\", \"bl=refuse\"} }\n"
		   "domain \"example.net\" { checks = \"bl=refuse\" }\n"
		   "domain \"example.com\" { checks = \"bl=refuse\" }\n"
		   "checks = \"no-reverse-name=off\" list bl { zone = bl.example score = 1.25 }\n");
	fclose(f);
	f = fopen("list", "w");
	fprintf(f, "a@example.org\nb@example.org\n");
	fclose(f);
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "locum.conf", "good.conf", "list", "control.sock",
					     "body" };

	(void)state;
	free(ran.out);
	free(ran.err);
	forget_asked();
	for (size_t i = 0; i < ELEMENTS(files); i++)
		unlink(files[i]);
	return chdir("/") < 0 ? -1 : rmdir(folder);
}

/* --- what the server tells --- */

static uint8_t id_bytes[16];

static inline ProtobufCBinaryData bytes_z(const char *z)
{
	return (ProtobufCBinaryData){ strlen(z), (uint8_t *)z };
}

static inline ProtobufCBinaryData the_id(void)
{
	msg_id id;

	must(id_parse(STR(ID), &id) == 0);
	memcpy(id_bytes, id.byte, sizeof(id_bytes));
	return (ProtobufCBinaryData){ sizeof(id_bytes), id_bytes };
}

static Locum__RecipientRow recipient_rows[2] = { LOCUM__RECIPIENT_ROW__INIT,
						 LOCUM__RECIPIENT_ROW__INIT };
static Locum__RecipientRow *recipient_list[2] = { &recipient_rows[0], &recipient_rows[1] };

static inline Locum__MessageRow held_message(void)
{
	Locum__MessageRow m = LOCUM__MESSAGE_ROW__INIT;

	m.id = the_id();
	m.arrived_wall = NOW - 192 * NSEC_S;
	m.bytes = 12595;
	m.reverse_path = bytes_z("alice\033[2J@src.test");
	m.client = W("192.0.2.1");
	m.state = LOCUM__MESSAGE_STATE__MESSAGE_HELD;
	m.text = W("550 5.1.1 no such user");
	recipient_rows[0].address = bytes_z("jan@example.cz");
	recipient_rows[0].domain = W("example.cz");
	recipient_rows[0].state = LOCUM__MESSAGE_STATE__MESSAGE_HELD;
	recipient_rows[0].reply = W("550 5.1.1 no such user");
	recipient_rows[0].attempts = 2;
	recipient_rows[1].address = bytes_z("eva@example.cz");
	recipient_rows[1].domain = W("example.cz");
	recipient_rows[1].state = LOCUM__MESSAGE_STATE__MESSAGE_QUEUED;
	recipient_rows[1].reply = W("");
	recipient_rows[1].ambiguous = true;
	recipient_rows[1].next_try_wall = NOW + 5 * NSEC_S;
	m.recipients = recipient_list;
	m.n_recipients = 2;
	return m;
}

static inline Locum__EventRow event(nsec ago, const char *what, const char *recipient,
				    const char *text)
{
	Locum__EventRow e = LOCUM__EVENT_ROW__INIT;

	e.at_wall = NOW - ago;
	e.event = W(what);
	e.recipient = bytes_z(recipient);
	e.text = W(text);
	return e;
}

static uint8_t envelope_bytes[1024];

static inline ProtobufCBinaryData the_envelope(void)
{
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Client c = LOCUM__CLIENT__INIT;
	Locum__Recipient r = LOCUM__RECIPIENT__INIT;
	Locum__Recipient *list[] = { &r };
	Locum__Symbol noticed[2] = { LOCUM__SYMBOL__INIT, LOCUM__SYMBOL__INIT };
	Locum__Symbol *symbols[] = { &noticed[0], &noticed[1] };
	char *forwarded[] = { W("NAME=a b") };

	r.address = bytes_z("jan@example.cz");
	r.domain = W("example.cz");
	r.primary = LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE;
	c.address = W("192.0.2.1");
	c.port = 4711;
	c.name = W("out.src.test");
	c.helo = bytes_z("out.src.test");
	c.esmtp = true;
	c.tls_version = W("TLSv1.3");
	c.tls_cipher = W("TLS_AES_256_GCM_SHA384");
	c.listener = W("mx");
	c.told_by = W("192.0.2.1");
	c.login = W("jan");
	c.trusted = true;
	noticed[0].name = W("zen");
	noticed[0].score = 4.5;
	noticed[0].text = W("127.0.0.4");
	noticed[1].name = W("no-reverse-name");
	noticed[1].score = 1;
	e.forwarded = forwarded;
	e.n_forwarded = 1;
	e.symbols = symbols;
	e.n_symbols = 2;
	e.id = the_id();
	e.reverse_path = bytes_z("alice@src.test");
	e.recipients = list;
	e.n_recipients = 1;
	e.client = &c;
	e.arrived_wall = NOW - 192 * NSEC_S;
	e.hostname = W("mx2.example.net");
	e.body_bytes = 9;
	e.smtputf8 = e.requiretls = true;
	e.dsn_ret = W("HDRS");
	e.dsn_envid = W("q1");
	r.notify = W("FAILURE");
	r.orcpt = W("rfc822;j@example.cz");
	return (ProtobufCBinaryData){ locum__envelope__pack(&e, envelope_bytes), envelope_bytes };
}

static Locum__StatusRow status_row;
static Locum__DestinationRow destination_row;
static Locum__DomainRow domain_row;

static inline void script_status(void)
{
	static char *alerts[] = { (char *)"1 message is held" };
	static char *domains[] = { (char *)"example.cz" };

	script_reset();
	locum__status_row__init(&status_row);
	status_row.hostname = W("mx2.example.net");
	status_row.version = W("0.1.0");
	status_row.started_wall = NOW - 3 * NSEC_DAY - 4 * NSEC_HOUR;
	status_row.messages = 1234;
	status_row.messages_held = 1;
	status_row.bytes = 45 << 20;
	status_row.spool_bytes = 64 << 20;
	status_row.bytes_free = (uint64_t)12 << 30;
	status_row.bytes_reserve = 256 << 20;
	status_row.accepting = true;
	status_row.sessions = 12;
	status_row.accepted_total = 5678;
	status_row.delivered_total = 4444;
	status_row.passed_total = 777;
	status_row.refused_total = 34;
	status_row.deferred_total = 5;
	status_row.stress = 1;
	status_row.alerts = alerts;
	status_row.n_alerts = 1;
	script_add()->status = &status_row;
	locum__destination_row__init(&destination_row);
	destination_row.destination = W("mail.example.cz:25");
	destination_row.state = LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE;
	destination_row.since_wall = NOW - 12 * NSEC_MINUTE;
	destination_row.text = W("connect: Connection refused");
	destination_row.queued = 1233;
	destination_row.window = 1;
	destination_row.next_probe_wall = NOW + 4 * NSEC_S;
	destination_row.seen_wall = NOW - NSEC_HOUR;
	destination_row.offers = EHLO_SIZE | EHLO_STARTTLS | EHLO_DSN;
	destination_row.size_bytes = 10 << 20;
	destination_row.domains = domains;
	destination_row.n_domains = 1;
	script_add()->destination = &destination_row;
	script_end(0, "", 0); /* the domains come with a second question */
	locum__domain_row__init(&domain_row);
	domain_row.domain = W("example.cz");
	domain_row.queued = 1233;
	domain_row.held = 1;
	domain_row.bytes = 45 << 20;
	domain_row.oldest_wall = NOW - 12 * NSEC_MINUTE - 3 * NSEC_S;
	domain_row.state = LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE;
	domain_row.destination = W("mail.example.cz:25");
	script_add()->domain = &domain_row;
	script_end(0, "", 0);
}
