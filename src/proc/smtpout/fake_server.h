/*
 * fake_server: the other end of a socketpair, for tests: a task that follows a script, one step a
 * string.
 *
 *	">220 hi"   says the line (CRLF is added)
 *	"<MAIL FROM:<a@b>"  expects exactly that line; "<*RCPT" one that begins so
 *	"=3"        expects that at least so many more lines came with the same write; "=0": none
 *	"dot"       reads a body with its final dot into server->body, decoded
 *	"bdat"      reads "BDAT n LAST" and that many octets into server->body
 *	"raw"       reads a body as it is on the wire, to the first CRLF.CRLF or the client's end
 *	"cut"       reads some of a body and closes
 *	"tls"       does a TLS handshake as a server
 *	"mute"      says no more, reads on until the client leaves
 *	"stall"     does not even read, for a while
 *	"close"     closes
 *
 * At the script's end it answers QUIT and waits for the client to leave. What did not go as written
 * is in `wrong`.
 */
#pragma once

#include "base/cleanup.h"
#include "net/stream.h"
#include "net/testing.h"
#include "smtp/dot_in.h"
#include "task/sys.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define FAKE_WAIT (3 * NSEC_S)
#define FAKE_BODY_MAX (4 * 1024 * 1024)

struct fake_server {
	struct stream stream;
	const char *const *script;
	struct ssl_ctx_st *tls;
	struct buf body;
	bool got_quit, closed, ended;
	unsigned steps_done;
	char wrong[300];
};

static inline int fake_read_body(struct task *tk, struct fake_server *s)
{
	struct dot_in d;

	dot_in_init(&d);
	buf_reset(&s->body);
	while (!dot_in_ended(&d)) {
		str in = stream_pending(&s->stream), all = in, run;
		ssize_t got;

		while (dot_in_next(&d, &in, &run))
			assert_int_equal(buf_add(&s->body, run), 0);
		stream_consume(&s->stream, all.n - in.n);
		if (dot_in_ended(&d))
			break;
		got = stream_fill(tk, &s->stream, task_in(tk, FAKE_WAIT));
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
	assert_false(d.bare_cr || d.bare_lf);
	return 0;
}

/* As many octets as they come; count 0: to the first CRLF.CRLF. -ENODATA: the client left before. */
static inline int fake_read_octets(struct task *tk, struct fake_server *s, size_t count)
{
	static const str end = { "\r\n.\r\n", 5 };

	buf_reset(&s->body);
	for (;;) {
		str in = stream_pending(&s->stream);
		ssize_t got;

		while (in.n > 0 &&
		       !(count > 0 ? s->body.n == count : str_case_ends(buf_str(&s->body), end))) {
			assert_int_equal(buf_add(&s->body, str_first(in, 1)), 0);
			in = str_from(in, 1);
			stream_consume(&s->stream, 1);
		}
		if (count > 0 ? s->body.n == count : str_case_ends(buf_str(&s->body), end))
			return 0;
		got = stream_fill(tk, &s->stream, task_in(tk, FAKE_WAIT));
		if (got <= 0)
			return got == 0 ? -ENODATA : (int)got;
	}
}

static inline int fake_read_chunk(struct task *tk, struct fake_server *s)
{
	unsigned long long count;
	char last[8] = "";
	str line;
	int r = stream_line(tk, &s->stream, 2000, task_in(tk, FAKE_WAIT), &line);

	if (r < 0)
		return r;
	if (sscanf(line.p, "BDAT %llu %4s\r", &count, last) != 2 || strcmp(last, "LAST") != 0)
		return -EINVAL;
	return fake_read_octets(tk, s, count);
}

static inline int fake_expect(struct task *tk, struct fake_server *s, str want)
{
	bool prefix = want.n > 0 && want.p[0] == '*';
	str line;
	int r = stream_line(tk, &s->stream, 2000, task_in(tk, FAKE_WAIT), &line);

	if (r < 0)
		return r;
	if (prefix ? str_starts(line, str_from(want, 1)) : str_eq(line, want))
		return 0;
	snprintf(s->wrong, sizeof(s->wrong), "expected %.*s, got %.*s", STR_ARG(want),
		 STR_ARG(str_first(line, 100)));
	return -EINVAL;
}

static inline int fake_expect_lines(struct fake_server *s, uint64_t count)
{
	str rest = stream_pending(&s->stream), line;
	uint64_t lines = 0;

	while (str_cut(rest, '\n', &line, &rest))
		lines++;
	if (count == 0 ? lines == 0 : lines >= count)
		return 0;
	snprintf(s->wrong, sizeof(s->wrong), "%ju more lines in the same write", (uintmax_t)lines);
	return -EINVAL;
}

static inline int fake_wait_end(struct task *tk, struct fake_server *s)
{
	ssize_t got;

	do {
		stream_consume(&s->stream, stream_pending(&s->stream).n);
		got = stream_fill(tk, &s->stream, task_in(tk, 10 * FAKE_WAIT));
	} while (got > 0);
	return 0;
}

static inline int fake_step(struct task *tk, struct fake_server *s, str step)
{
	nsec deadline = task_in(tk, FAKE_WAIT);
	uint64_t number;
	int r;

	if (step.p[0] == '>') {
		r = stream_write(tk, &s->stream, str_from(step, 1), deadline);
		if (r >= 0)
			r = stream_write(tk, &s->stream, STR("\r\n"), deadline);
		return r < 0 ? r : stream_flush(tk, &s->stream, deadline);
	}
	if (step.p[0] == '<')
		return fake_expect(tk, s, str_from(step, 1));
	if (step.p[0] == '=') {
		assert_int_equal(str_u64(str_from(step, 1), 100000, &number), 0);
		return fake_expect_lines(s, number);
	}
	if (str_eq(step, STR("dot")))
		return fake_read_body(tk, s);
	if (str_eq(step, STR("bdat")))
		return fake_read_chunk(tk, s);
	if (str_eq(step, STR("raw"))) {
		r = fake_read_octets(tk, s, 0);
		return r == -ENODATA ? 0 : r;
	}
	if (str_eq(step, STR("tls")))
		return stream_start_tls(tk, &s->stream, s->tls, true, NULL, deadline);
	if (str_eq(step, STR("mute")))
		return fake_wait_end(tk, s);
	if (str_eq(step, STR("stall")))
		return task_sleep(tk, 600 * NSEC_MS);
	assert_true(str_eq(step, STR("close")) || str_eq(step, STR("cut")));
	if (step.p[1] == 'u')
		stream_fill(tk, &s->stream, deadline);
	stream_done(&s->stream);
	s->closed = true;
	return 0;
}

static inline void fake_server_task(struct task *tk, void *arg)
{
	struct fake_server *s = arg;
	str line;
	int r = 0;

	for (; r >= 0 && s->script[s->steps_done] && !s->closed; s->steps_done++) {
		r = fake_step(tk, s, str_of(s->script[s->steps_done]));
		if (r < 0 && !s->wrong[0])
			snprintf(s->wrong, sizeof(s->wrong), "at %s: %s", s->script[s->steps_done],
				 strerror(-r));
	}
	while (r >= 0 && !s->closed && !s->got_quit &&
	       stream_line(tk, &s->stream, 2000, task_in(tk, 10 * FAKE_WAIT), &line) >= 0) {
		s->got_quit = str_eq(line, STR("QUIT"));
		if (!s->got_quit && !s->wrong[0])
			snprintf(s->wrong, sizeof(s->wrong), "after the script: %.*s",
				 STR_ARG(str_first(line, 100)));
		stream_write(tk, &s->stream, STR("221 bye\r\n"), NEVER);
		stream_flush(tk, &s->stream, task_in(tk, FAKE_WAIT));
	}
	stream_done(&s->stream);
	s->ended = true;
}

/* Starts the task; returns the client's end. */
static inline int fake_server_start(struct loop *loop, struct fake_server *s,
				    const char *const *script, struct ssl_ctx_st *tls)
{
	int fd[2];

	*s = (struct fake_server){ .script = script, .tls = tls };
	buf_init(&s->body, FAKE_BODY_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(stream_init(&s->stream, loop, fd[1], 128 * 1024, 64 * 1024), 0);
	assert_int_equal(task_start(loop, NULL, "fake server", fake_server_task, s), 0);
	return fd[0];
}

static inline void fake_server_done(struct fake_server *s)
{
	buf_done(&s->body);
}

/* A server context with a certificate made on the spot. */
static inline struct ssl_ctx_st *fake_tls(void)
{
	struct made m = make("mx", NULL, "EC", NULL, 3600);
	struct ssl_ctx_st *context;
	char error[200];

	assert_int_equal(tls_server_new(m.pem.certificate_pem, m.pem.key_pem, &context, error,
					sizeof(error)),
			 0);
	made_done(&m);
	return context;
}

/* Runs fn(tk, arg) and everything it starts, to the end. */
static inline void fake_run(task_fn *fn, void *arg)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "test", fn, arg), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(loop_task_count(loop), 0);
}
