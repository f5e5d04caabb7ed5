#include "net/stream.h"

#include "base/cleanup.h"
#include "net/testing.h"
#include "task/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define IN_MAX (128 * 1024)
#define OUT_MAX (32 * 1024)

static void run_task(task_fn *fn, void *arg)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "test", fn, arg), 0);
	assert_int_equal(loop_run(loop), 0);
}

/* --- lines --- */

struct line_case {
	const char *name;
	const char *sent;
	size_t line_max;
	/* Expected results of stream_line, one after another; text NULL: the error. */
	struct {
		int r;
		const char *text;
	} expect[4];
};

static const struct line_case line_cases[] = {
	{ "only CRLF ends a line", "a\nb\rc\r\nd\r\n", 100, { { 0, "a\nb\rc" }, { 0, "d" } } },
	{ "an empty line is a line", "\r\n", 100, { { 0, "" } } },
	{ "CR CR LF keeps the first CR", "a\r\r\n", 100, { { 0, "a\r" } } },
	{ "a line of the maximum is taken", "12345\r\nx\r\n", 5, { { 0, "12345" }, { 0, "x" } } },
	{ "a longer one is thrown away, the next is read",
	  "123456\r\nx\r\n",
	  5,
	  { { -EMSGSIZE, NULL }, { 0, "x" } } },
	{ "a line without end is no line", "abc", 100, { { -ENODATA, NULL } } },
};

struct line_run {
	const struct line_case *c;
	int fd;
	size_t piece; /* bytes a send */
};

static void sends_pieces(struct task *tk, void *arg)
{
	struct line_run *run = arg;
	str rest = str_of(run->c->sent);

	while (rest.n > 0) {
		str piece = str_first(rest, run->piece);

		assert_int_equal(sys_send(run->fd, piece), piece.n);
		rest = str_from(rest, piece.n);
		assert_int_equal(task_yield(tk), 0);
	}
	sys_close(run->fd);
}

static void reads_lines(struct task *tk, void *arg)
{
	struct line_run *run = arg;
	struct stream s;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	run->fd = pair[1];
	assert_int_equal(stream_init(&s, task_loop(tk), pair[0], IN_MAX, OUT_MAX), 0);
	assert_int_equal(task_start(task_loop(tk), NULL, "sender", sends_pieces, run), 0);
	for (size_t i = 0; i < 4; i++) {
		str line;
		int r;

		if (run->c->expect[i].r == 0 && !run->c->expect[i].text)
			break;
		r = stream_line(tk, &s, run->c->line_max, task_in(tk, NSEC_S), &line);
		assert_int_equal(r, run->c->expect[i].r);
		if (r == 0)
			assert_true(str_eq(line, str_of(run->c->expect[i].text)));
	}
	stream_done(&s);
}

static void lines_are_found_however_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(line_cases); i++) {
		for (size_t piece = 1; piece <= 20; piece++) {
			struct line_run run = { .c = &line_cases[i], .piece = piece };

			run_task(reads_lines, &run);
		}
	}
}

/* --- a big transfer both ways, plain and TLS --- */

#define BULK_BYTES (4 * 1024 * 1024)

struct bulk {
	int pair[2];
	SSL_CTX *server, *client;
	bool echoed;
};

static void echoes(struct task *tk, void *arg)
{
	struct bulk *b = arg;
	struct stream s;
	size_t total = 0;

	assert_int_equal(stream_init(&s, task_loop(tk), b->pair[1], IN_MAX, OUT_MAX), 0);
	if (b->server) {
		assert_int_equal(stream_start_tls(tk, &s, b->server, true, NULL,
						  task_in(tk, 5 * NSEC_S)),
				 0);
		assert_string_equal(stream_tls_version(&s), "TLSv1.3");
	}
	while (total < BULK_BYTES) {
		ssize_t got = stream_fill(tk, &s, task_in(tk, 5 * NSEC_S));
		str pending = stream_pending(&s);

		assert_true(got > 0);
		total += pending.n;
		assert_int_equal(stream_write(tk, &s, pending, task_in(tk, 5 * NSEC_S)), 0);
		stream_consume(&s, pending.n);
	}
	assert_int_equal(stream_flush(tk, &s, task_in(tk, 5 * NSEC_S)), 0);
	assert_int_equal(stream_fill(tk, &s, task_in(tk, 5 * NSEC_S)), 0);
	stream_done(&s);
	b->echoed = true;
}

static void sends_bulk(struct task *tk, void *arg)
{
	struct stream *s = arg;
	_cleanup_(freep) char *bytes = malloc(BULK_BYTES);

	for (size_t i = 0; i < BULK_BYTES; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	assert_int_equal(stream_write(tk, s, str_mem(bytes, BULK_BYTES), task_in(tk, 5 * NSEC_S)),
			 0);
	assert_int_equal(stream_flush(tk, s, task_in(tk, 5 * NSEC_S)), 0);
}

static void reads_bulk_back(struct task *tk, void *arg)
{
	struct bulk *b = arg;
	struct stream s;
	struct group g;
	size_t total = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b->pair), 0);
	group_init(&g, task_loop(tk));
	assert_int_equal(task_start(task_loop(tk), NULL, "echo", echoes, b), 0);
	assert_int_equal(stream_init(&s, task_loop(tk), b->pair[0], IN_MAX, OUT_MAX), 0);
	if (b->client)
		assert_int_equal(stream_start_tls(tk, &s, b->client, false, "mx.example",
						  task_in(tk, 5 * NSEC_S)),
				 0);
	assert_int_equal(task_start(task_loop(tk), &g, "bulk", sends_bulk, &s), 0);
	while (total < BULK_BYTES) {
		str pending;

		assert_true(stream_fill(tk, &s, task_in(tk, 5 * NSEC_S)) > 0);
		pending = stream_pending(&s);
		for (size_t i = 0; i < pending.n; i++)
			if (pending.p[i] != (char)((total + i) * 2654435761u >> 13))
				fail_msg("byte %zu differs", total + i);
		total += pending.n;
		stream_consume(&s, pending.n);
	}
	assert_int_equal(total, BULK_BYTES);
	assert_int_equal(group_wait(tk, &g, task_in(tk, 5 * NSEC_S)), 0);
	stream_done(&s);
	while (!b->echoed)
		assert_int_equal(task_sleep(tk, NSEC_MS), 0);
}

static void plain_bytes_arrive_whole_and_in_order(void **state)
{
	struct bulk b = { 0 };

	(void)state;
	run_task(reads_bulk_back, &b);
}

static void with_tls(task_fn *fn)
{
	_cleanup_(tls_context_freep) SSL_CTX *server = NULL, *client = NULL;
	struct made m = make("mx", NULL, "EC", NULL, 3600);
	struct bulk b = { 0 };
	char error[128];

	assert_int_equal(tls_server_new(m.pem.certificate_pem, m.pem.key_pem, &server, error,
					sizeof(error)),
			 0);
	made_done(&m);
	assert_int_equal(tls_client_new(STR_NONE, &client), 0);
	b.server = server;
	b.client = client;
	run_task(fn, &b);
}

static void tls_bytes_arrive_whole_and_in_order(void **state)
{
	(void)state;
	with_tls(reads_bulk_back);
}

static void a_key_that_does_not_fit_is_named(void **state)
{
	struct made one = make("mx", NULL, "EC", NULL, 3600),
		    other = make("mx", NULL, "EC", NULL, 3600);
	_cleanup_(tls_context_freep) SSL_CTX *server = NULL;
	char error[128];

	(void)state;
	assert_int_equal(tls_server_new(one.pem.certificate_pem, other.pem.key_pem, &server, error,
					sizeof(error)),
			 -EINVAL);
	assert_non_null(strstr(error, "key"));
	assert_int_equal(tls_server_new(STR("nonsense"), one.pem.key_pem, &server, error,
					sizeof(error)),
			 -EINVAL);
	assert_non_null(strstr(error, "certificate"));
	made_done(&one);
	made_done(&other);
}

/* --- what was sent in the clear before the handshake is never read after it --- */

static void client_sends_early(struct task *tk, void *arg)
{
	struct bulk *b = arg;
	struct stream s;

	assert_int_equal(stream_init(&s, task_loop(tk), b->pair[1], IN_MAX, OUT_MAX), 0);
	assert_int_equal(stream_start_tls(tk, &s, b->client, false, NULL, task_in(tk, 5 * NSEC_S)),
			 0);
	assert_int_equal(stream_write(tk, &s, STR("secret\r\n"), NEVER), 0);
	assert_int_equal(stream_flush(tk, &s, task_in(tk, NSEC_S)), 0);
	while (!b->echoed)
		assert_int_equal(task_sleep(tk, NSEC_MS), 0);
	stream_done(&s);
}

static void server_reads_after_tls(struct task *tk, void *arg)
{
	struct bulk *b = arg;
	struct stream s;
	str line;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b->pair), 0);
	assert_int_equal(sys_send(b->pair[1], STR("STARTTLS\r\nRSET\r\n")), 16);
	assert_int_equal(stream_init(&s, task_loop(tk), b->pair[0], IN_MAX, OUT_MAX), 0);
	assert_int_equal(stream_line(tk, &s, 100, task_in(tk, NSEC_S), &line), 0);
	assert_true(str_eq(line, STR("STARTTLS")));
	assert_int_equal(task_start(task_loop(tk), NULL, "client", client_sends_early, b), 0);
	assert_int_equal(stream_start_tls(tk, &s, b->server, true, NULL, task_in(tk, 5 * NSEC_S)),
			 0);
	assert_int_equal(stream_line(tk, &s, 100, task_in(tk, NSEC_S), &line), 0);
	assert_true(str_eq(line, STR("secret")));
	stream_done(&s);
	b->echoed = true;
}

static void plaintext_before_a_handshake_is_thrown_away(void **state)
{
	(void)state;
	with_tls(server_reads_after_tls);
}

/* --- TLS from the first byte --- */

static void accepts_after_looking(struct task *tk, void *arg)
{
	struct bulk *b = arg;
	struct stream s;
	str line;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b->pair), 0);
	assert_int_equal(stream_init(&s, task_loop(tk), b->pair[0], IN_MAX, OUT_MAX), 0);
	assert_int_equal(task_start(task_loop(tk), NULL, "client", client_sends_early, b), 0);
	/* as a server does that waits for a PROXY header, or looks who speaks first */
	assert_true(stream_fill(tk, &s, task_in(tk, NSEC_S)) > 0);
	assert_int_equal(stream_accept_tls(tk, &s, b->server, task_in(tk, 5 * NSEC_S)), 0);
	assert_int_equal(stream_line(tk, &s, 100, task_in(tk, NSEC_S), &line), 0);
	assert_true(str_eq(line, STR("secret")));
	assert_false(stream_tls_client_trusted(&s));
	assert_null(stream_tls_client(&s));
	stream_done(&s);
	b->echoed = true;
}

static void a_handshake_begins_with_what_was_received_already(void **state)
{
	(void)state;
	with_tls(accepts_after_looking);
}

/* A hello of 130 KB, within what OpenSSL would take, in records of 16 KiB; it never ends. */
static void sends_an_endless_hello(struct task *tk, void *arg)
{
	static const char hello[] = "\x01\x01\xfb\xff\x03\x03";
	static char record[5 + 16384] = "\x16\x03\x01\x40";
	struct bulk *b = arg;

	memcpy(record + 5, hello, sizeof(hello) - 1);
	for (int i = 0; i < 8 && !b->echoed; i++) {
		str rest = str_mem(record, sizeof(record));

		while (rest.n > 0 && !b->echoed) {
			ssize_t put = sys_send(b->pair[1], rest);

			if (put > 0)
				rest = str_from(rest, (size_t)put);
			assert_int_equal(task_sleep(tk, NSEC_MS), 0);
		}
		memset(record + 5, 0, sizeof(hello) - 1);
	}
	sys_close(b->pair[1]);
}

static void refuses_too_much(struct task *tk, void *arg)
{
	struct bulk *b = arg;
	struct stream s;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b->pair), 0);
	assert_int_equal(stream_init(&s, task_loop(tk), b->pair[0], IN_MAX, OUT_MAX), 0);
	assert_int_equal(task_start(task_loop(tk), NULL, "client", sends_an_endless_hello, b), 0);
	assert_int_equal(stream_accept_tls(tk, &s, b->server, task_in(tk, 5 * NSEC_S)), -EPROTO);
	b->echoed = true;
	stream_done(&s);
}

static void a_handshake_is_bounded_in_bytes(void **state)
{
	(void)state;
	with_tls(refuses_too_much);
}

static void waits_for_a_hello(struct task *tk, void *arg)
{
	struct bulk *b = arg;
	struct stream s;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b->pair), 0);
	assert_int_equal(sys_send(b->pair[1], STR("\x16\x03\x01")), 3);
	assert_int_equal(stream_init(&s, task_loop(tk), b->pair[0], IN_MAX, OUT_MAX), 0);
	assert_int_equal(stream_accept_tls(tk, &s, b->server, task_in(tk, 5 * NSEC_MS)),
			 -ETIMEDOUT);
	stream_done(&s);
	sys_close(b->pair[1]);
}

static void a_handshake_is_bounded_in_time(void **state)
{
	(void)state;
	with_tls(waits_for_a_hello);
}

static void waits_in_vain(struct task *tk, void *arg)
{
	struct stream s;
	int pair[2];
	str line;

	(void)arg;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(stream_init(&s, task_loop(tk), pair[0], IN_MAX, OUT_MAX), 0);
	assert_int_equal(stream_line(tk, &s, 100, task_in(tk, 5 * NSEC_MS), &line), -ETIMEDOUT);
	assert_int_equal(s.in.cap, 0);
	stream_done(&s);
	sys_close(pair[1]);
}

static void an_idle_stream_times_out_and_holds_no_buffer(void **state)
{
	(void)state;
	run_task(waits_in_vain, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_found_however_they_are_cut),
		cmocka_unit_test(plain_bytes_arrive_whole_and_in_order),
		cmocka_unit_test(tls_bytes_arrive_whole_and_in_order),
		cmocka_unit_test(a_key_that_does_not_fit_is_named),
		cmocka_unit_test(plaintext_before_a_handshake_is_thrown_away),
		cmocka_unit_test(a_handshake_begins_with_what_was_received_already),
		cmocka_unit_test(a_handshake_is_bounded_in_bytes),
		cmocka_unit_test(a_handshake_is_bounded_in_time),
		cmocka_unit_test(an_idle_stream_times_out_and_holds_no_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
