/*
 * Those who receive: strict SMTP servers with moods. A mood holds for every connection at every step: whoever is in
 * mid dialogue when it changes meets the new one with the next reply.
 */
#include "sim/world.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "net/stream.h"
#include "task/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define LINE_OCTETS_MAX 2000
#define BUFFER_BYTES (16 * 1024)
#define MESSAGE_BYTES_MAX ((size_t)2 << 20)
#define IDLE_TIME (5 * NSEC_MINUTE)
#define GREY_TIME NSEC_MINUTE
#define GREY_MAX 512
#define REFUSAL_SIZE 96

struct primary {
	uint32_t number;
	enum primary_mood mood;
	struct signal mood_changed;
	struct list sessions;
	struct io listener;
	bool listening;
	struct {
		char text[192]; /* "from to" */
		nsec at;
	} grey[GREY_MAX];
	size_t grey_count;
};

struct session {
	struct list link;
	struct primary *primary;
	struct task *task;
	struct stream stream;
	char client[ADDR_TEXT_SIZE];
	bool reset;   /* end with a reset, not a goodbye */
	bool greeted; /* EHLO or HELO came */
	uint32_t messages_left;
	/* the transaction */
	bool has_from;
	char from[SENDER_SIZE];
	char to[RECIPIENTS_MAX][128];
	uint32_t to_count;
	nsec began;
	struct buf message;
};

static struct primary primaries[PRIMARIES_MAX];
static struct loop *loop;

/* --- saying something --- */

/* A frozen one says nothing ever again on this connection. */
static int say(struct task *tk, struct session *s, const char *text)
{
	struct primary *p = s->primary;
	nsec deadline;
	int r;

	if (p->mood == MOOD_FROZEN) {
		while (p->mood == MOOD_FROZEN)
			if (signal_wait(tk, &p->mood_changed, NEVER) < 0)
				return -ECANCELED;
		return -EPIPE;
	}
	if (p->mood == MOOD_SLOW)
		task_sleep(tk, sim_between(DICE_PRIMARY, 0, 8 * NSEC_S));
	deadline = task_in(tk, IDLE_TIME);
	r = stream_write(tk, &s->stream, str_of(text), deadline);
	if (r >= 0)
		r = stream_write(tk, &s->stream, STR("\r\n"), deadline);
	return r < 0 ? r : stream_flush(tk, &s->stream, deadline);
}

static bool starts(str line, const char *verb)
{
	size_t n = strlen(verb);

	return line.n >= n && strncasecmp(line.p, verb, n) == 0;
}

static bool is(str line, const char *verb)
{
	return line.n == strlen(verb) && starts(line, verb);
}

/* --- commands --- */

/* What it offers is its character: fixed by its number. */
static bool offers_pipelining(const struct primary *p)
{
	return p->number != 2;
}

static bool offers_8bitmime(const struct primary *p)
{
	return p->number != 1;
}

static bool offers_size(const struct primary *p)
{
	return p->number != 3;
}

/* RFC 2920: one command, then its reply. */
static void check_pipelining(const struct session *s, str line)
{
	if (!offers_pipelining(s->primary) && stream_pending(&s->stream).n > 0)
		sim_fail("pipelining only where offered", "to primary %u by %s after %.*s",
			 s->primary->number, s->client, (int)line.n, line.p);
}

static void check_parameters(const struct session *s, str line)
{
	if ((!offers_size(s->primary) && str_find(line, STR(" SIZE=")) >= 0) ||
	    (!offers_8bitmime(s->primary) && str_find(line, STR(" BODY=")) >= 0))
		sim_fail("parameters only where offered", "to primary %u by %s: %.*s",
			 s->primary->number, s->client, (int)line.n, line.p);
}

static int say_ehlo(struct task *tk, struct session *s)
{
	const struct primary *p = s->primary;
	uint32_t n = p->number;
	char text[256];

	snprintf(text, sizeof(text), "250-p%u.primary.test%s%s%s%s\r\n250 ENHANCEDSTATUSCODES", n,
		 offers_pipelining(p) ? "\r\n250-PIPELINING" : "",
		 offers_8bitmime(p) ? "\r\n250-8BITMIME" : "",
		 offers_size(p) ? "\r\n250-SIZE 10000000" : "", n % 2 ? "\r\n250-STARTTLS" : "");
	return say(tk, s, text);
}

static void forget_transaction(struct session *s)
{
	s->has_from = false;
	s->to_count = 0;
	buf_reset(&s->message);
}

/* Where the path ends: at the first > that no quotes enclose. */
static size_t path_length(str path)
{
	bool quoted = false;

	for (size_t i = 0; i < path.n; i++) {
		if (path.p[i] == '>' && !quoted)
			return i;
		if (path.p[i] == '"')
			quoted = !quoted;
		if (path.p[i] == '\\' && quoted)
			i++;
	}
	return SIZE_MAX;
}

static bool path_of(str line, char *ret_text, size_t size)
{
	ssize_t open = str_index(line, '<');
	str path = open < 0 ? STR_NONE : str_from(line, (size_t)open + 1);
	size_t length = path_length(path);

	return length < size && str_copy(str_first(path, length), ret_text, size);
}

static int take_mail(struct task *tk, struct session *s, str line)
{
	if (!s->greeted)
		return say(tk, s, "503 5.5.1 EHLO first");
	check_parameters(s, line);
	if (s->has_from || !path_of(line, s->from, sizeof(s->from)))
		return say(tk, s, s->has_from ? "503 5.5.1 nested MAIL" : "501 5.5.4 syntax");
	if (s->primary->mood == MOOD_THROTTLING && s->messages_left-- == 0) {
		say(tk, s, "421 4.7.0 that is enough for now");
		return -EPIPE;
	}
	s->has_from = true;
	s->began = sim_now();
	return say(tk, s, "250 2.1.0 ok");
}

/* The first time not yet, a minute later yes. */
static bool grey_refuses(struct primary *p, const char *from, const char *to)
{
	char text[192];

	snprintf(text, sizeof(text), "%.90s %.90s", from, to);
	for (size_t i = 0; i < p->grey_count; i++)
		if (strcmp(p->grey[i].text, text) == 0)
			return sim_now() - p->grey[i].at < GREY_TIME;
	if (p->grey_count == GREY_MAX)
		return false;
	str_copy(str_of(text), p->grey[p->grey_count].text, sizeof(text));
	p->grey[p->grey_count++].at = sim_now();
	return true;
}

/* No two refusals have the same words. Every other one has two lines. */
static void refuse(struct session *s, const char *recipient, str bytes, const char *words,
		   char ret_reply[static REFUSAL_SIZE])
{
	static unsigned count;
	unsigned code = bytes.n ? 554 : 550;
	char text[REFUSAL_SIZE];

	count += !bytes.n || recipient == s->to[0];
	snprintf(text, sizeof(text), "%u %s, says p%u, refusal %u", code, words, s->primary->number,
		 count);
	if (count % 2)
		snprintf(ret_reply, REFUSAL_SIZE, "%u-%s,\r\n%u says p%u, refusal %u", code, words,
			 code, s->primary->number, count);
	else
		memcpy(ret_reply, text, REFUSAL_SIZE);
	ledger_refused(&(struct refusal){ .primary = s->primary->number,
					  .from = s->from,
					  .recipient = recipient,
					  .bytes = bytes,
					  .text = text });
}

static int take_rcpt(struct task *tk, struct session *s, str line)
{
	struct primary *p = s->primary;
	char to[128], reply[REFUSAL_SIZE];

	if (!s->has_from)
		return say(tk, s, "503 5.5.1 MAIL first");
	if (!path_of(line, to, sizeof(to)) || s->to_count == RECIPIENTS_MAX)
		return say(tk, s, "452 4.5.3 no");
	if (starts(str_of(to), "unknown")) {
		refuse(s, to, STR_NONE, "5.1.1 no such user", reply);
		return say(tk, s, reply);
	}
	if (p->mood == MOOD_GREYLISTING && grey_refuses(p, s->from, to))
		return say(tk, s, "450 4.2.0 greylisted, come back later");
	if (p->mood == MOOD_DEFERRING && sim_percent(DICE_PRIMARY, 50))
		return say(tk, s, "451 4.3.0 not now");
	str_copy(str_of(to), s->to[s->to_count], sizeof(to));
	s->to_count++;
	return say(tk, s, "250 2.1.5 ok");
}

/* --- data --- */

/* 1: the final dot came. */
static int take_line(struct session *s, str line)
{
	if (line.n == 1 && line.p[0] == '.')
		return 1;
	if (line.n > 0 && line.p[0] == '.')
		line = str_from(line, 1);
	if (buf_add(&s->message, line) < 0 || buf_add(&s->message, STR("\r\n")) < 0)
		return -EMSGSIZE;
	return 0;
}

static int read_message(struct task *tk, struct session *s)
{
	bool cuts = s->primary->mood == MOOD_CUTTING;
	uint64_t lines = cuts ? sim_below(DICE_PRIMARY, 12) : UINT64_MAX;
	str line;
	int r = 0;

	while (r == 0) {
		if (lines-- == 0) {
			s->reset = sim_percent(DICE_PRIMARY, 50);
			return -EPIPE;
		}
		r = stream_line(tk, &s->stream, LINE_OCTETS_MAX, task_in(tk, IDLE_TIME), &line);
		if (r == 0)
			r = take_line(s, line);
	}
	return r == 1 ? 0 : r;
}

static bool to_be_refused(const struct session *s)
{
	static const char mark[] = "\r\nX-Refuse: yes\r\n";

	return s->message.n > 0 && memmem(s->message.p, s->message.n, mark, strlen(mark));
}

static void tell_ledger(const struct session *s, bool replied)
{
	const char *to[RECIPIENTS_MAX];

	for (uint32_t i = 0; i < s->to_count; i++)
		to[i] = s->to[i];
	ledger_receipt(&(struct receipt){ .primary = s->primary->number,
					  .client = s->client,
					  .began = s->began,
					  .from = s->from,
					  .bytes = buf_str(&s->message),
					  .recipients = to,
					  .recipient_count = s->to_count,
					  .replied = replied });
}

static int decide(struct task *tk, struct session *s)
{
	struct primary *p = s->primary;
	char reply[REFUSAL_SIZE];

	if (to_be_refused(s)) {
		for (uint32_t i = 0; i < s->to_count; i++)
			refuse(s, s->to[i], buf_str(&s->message), "5.7.1 not that", reply);
		return say(tk, s, reply);
	}
	if (p->mood == MOOD_DEFERRING && sim_percent(DICE_PRIMARY, 50))
		return say(tk, s, "451 4.3.0 not now, all of you");
	if (p->mood == MOOD_DROPPING) {
		tell_ledger(s, false);
		s->reset = sim_percent(DICE_PRIMARY, 50);
		return -EPIPE;
	}
	/* Frozen now: taken, but nobody will hear of it. */
	tell_ledger(s, p->mood != MOOD_FROZEN);
	return say(tk, s, "250 2.0.0 taken");
}

static int take_data(struct task *tk, struct session *s)
{
	int r;

	if (s->to_count == 0)
		return say(tk, s, "503 5.5.1 RCPT first");
	r = say(tk, s, "354 go on");
	if (r >= 0)
		r = read_message(tk, s);
	if (r >= 0)
		r = decide(tk, s);
	forget_transaction(s);
	return r;
}

/* Either of them starts afresh (RFC 5321 section 4.1.4). */
static int take_hello(struct task *tk, struct session *s, bool extended)
{
	s->greeted = true;
	forget_transaction(s);
	return extended ? say_ehlo(tk, s) : say(tk, s, "250 primary.test");
}

static int serve_line(struct task *tk, struct session *s, str line)
{
	check_pipelining(s, line);
	if (starts(line, "EHLO ") || starts(line, "HELO "))
		return take_hello(tk, s, starts(line, "EHLO "));
	if (starts(line, "MAIL FROM:"))
		return take_mail(tk, s, line);
	if (starts(line, "RCPT TO:"))
		return take_rcpt(tk, s, line);
	if (is(line, "DATA"))
		return take_data(tk, s);
	if (is(line, "RSET")) {
		forget_transaction(s);
		return say(tk, s, "250 2.0.0 ok");
	}
	if (is(line, "STARTTLS"))
		return say(tk, s, "454 4.7.0 not now");
	if (is(line, "QUIT")) {
		say(tk, s, "221 2.0.0 bye");
		return -EPIPE;
	}
	return say(tk, s, starts(line, "NOOP") ? "250 2.0.0 ok" : "500 5.5.2 what?");
}

/* --- sessions --- */

static void serve(struct task *tk, struct session *s)
{
	str line;
	int r;

	if (s->primary->mood == MOOD_BUSY) {
		say(tk, s, "421 4.3.2 busy");
		return;
	}
	s->messages_left = 1 + (uint32_t)sim_below(DICE_PRIMARY, 3);
	r = say(tk, s, "220 primary.test ESMTP");
	while (r >= 0) {
		r = stream_line(tk, &s->stream, LINE_OCTETS_MAX, task_in(tk, IDLE_TIME), &line);
		if (r == 0)
			r = serve_line(tk, s, line);
	}
}

static void session_main(struct task *tk, void *arg)
{
	struct session *s = arg;
	int fd;

	s->task = tk;
	/* Down since it was accepted? */
	if (!s->reset)
		serve(tk, s);
	list_remove(&s->link);
	if (s->reset) {
		fd = io_release(&s->stream.io);
		sim_reset(fd);
	}
	stream_done(&s->stream);
	buf_done(&s->message);
	free(s);
}

static void start_session(struct primary *p, int fd, const struct sockaddr *sa)
{
	struct session *s = calloc(1, sizeof(*s));
	struct addr client;

	must(s && addr_from_sockaddr(sa, &client) == 0);
	s->primary = p;
	addr_ip_text(&client, s->client);
	buf_init(&s->message, MESSAGE_BYTES_MAX);
	must(stream_init(&s->stream, loop, fd, BUFFER_BYTES, BUFFER_BYTES) == 0);
	list_append(&p->sessions, &s->link);
	must(task_start(loop, NULL, "primary", session_main, s) == 0);
}

static void accept_main(struct task *tk, void *arg)
{
	struct primary *p = arg;
	struct sockaddr_storage sa;

	while (io_wait(tk, &p->listener, IO_READ, NEVER) == 0) {
		socklen_t length = sizeof(sa);
		int fd = sys_accept(p->listener.fd, (struct sockaddr *)&sa, &length);

		if (fd >= 0)
			start_session(p, fd, (struct sockaddr *)&sa);
	}
}

/* --- moods --- */

static void listen_again(struct primary *p)
{
	struct addr at = primary_addr(p->number);

	if (p->listening)
		return;
	p->listening = true;
	must(io_init_listener(&p->listener, loop, sim_listen(&at)) == 0);
	must(task_start(loop, NULL, "accept", accept_main, p) == 0);
}

static void go_down(struct primary *p)
{
	if (p->listening)
		io_done(&p->listener);
	p->listening = false;
	LIST_EACH (&p->sessions, struct session, link, s) {
		s->reset = true;
		if (s->task)
			task_cancel(s->task);
	}
}

void primary_mood(uint32_t primary, enum primary_mood mood)
{
	struct primary *p = &primaries[primary];

	if (p->mood != mood)
		sim_trace("primary %u: mood %d", primary, (int)mood);
	p->mood = mood;
	if (mood == MOOD_DOWN)
		go_down(p);
	else
		listen_again(p);
	signal_raise(&p->mood_changed);
}

void primaries_start(struct loop *of, const struct plan *plan)
{
	loop = of;
	for (uint32_t i = 0; i < plan->primaries; i++) {
		struct primary *p = &primaries[i];

		p->number = i;
		signal_init(&p->mood_changed);
		list_init(&p->sessions);
		listen_again(p);
	}
}
