/* Those who send: clients that behave, hurry, dawdle, hang up, babble or say nothing. */
#include "sim/world.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "net/stream.h"
#include "smtp/dot_out.h"
#include "task/sys.h"

#include <stdio.h>
#include <stdlib.h>

#define BUFFER_BYTES 4096
#define WIRE_BYTES_MAX ((size_t)1 << 20)
#define REPLY_LINES_MAX 64
#define MAIL_SIZE 256
#define CONNECT_TIME (3 * NSEC_MINUTE)
#define REPLY_TIME (6 * NSEC_MINUTE) /* longer than smtpin waits for anything before a final dot */
#define FINAL_TIME (10 * NSEC_MINUTE)
#define SILENCE_TIME (30 * NSEC_MINUTE)

/* Where a client that hangs up or falls silent does so. */
enum point {
	POINT_CONNECTED,
	POINT_GREETED,
	POINT_HELLO,
	POINT_MAIL,
	POINT_RCPT,
	POINT_DATA,       /* 354 came, nothing was sent */
	POINT_BODY,       /* somewhere within */
	POINT_BEFORE_DOT, /* all of the body, no final dot */
	POINT_IN_DOT,     /* ".\r" */
	POINT_AFTER_DOT,  /* does not wait for the reply */
};
#define POINTS (POINT_AFTER_DOT + 1)

struct client {
	const struct plan *world;
	const struct client_plan *plan;
	uint64_t random, random_sender;
	struct stream stream;
	nsec since; /* when it connected */
	int code;
	char reply[1024]; /* the whole of the last one */
	struct buf wire;
	/* the transaction */
	char sender[SENDER_SIZE];
	char recipient[RECIPIENTS_MAX][32];
	const char *accepted[RECIPIENTS_MAX];
	uint32_t recipients, accepted_count;
	bool group_sent; /* its commands are on their way already */
	bool bare_newline;
	/* where it stops */
	bool stops;
	enum point stop_at;
	uint32_t stop_message, message;
};

static uint32_t running_clients;

uint32_t clients_running(void)
{
	return running_clients;
}

/* --- its own chance --- */

static uint32_t below(struct client *c, uint32_t bound)
{
	return (uint32_t)(sim_next(&c->random) % bound);
}

static bool percent(struct client *c, uint32_t p)
{
	return below(c, 100) < p;
}

/* --- what may keep it waiting --- */

/* Only a link or a node without power may leave a client without a word, and only one that was
 * connected meanwhile. */
static bool may_be_silent(const struct client *c)
{
	for (uint32_t i = 0; i < c->world->faults; i++) {
		const struct fault *f = &c->world->fault[i];
		bool silences = f->kind == FAULT_POWER_CUT || f->kind == FAULT_CUT_AT_SYNC ||
				(f->kind == FAULT_LINK && f->count > 0);
		nsec over = f->kind == FAULT_CUT_AT_SYNC ? c->world->healed_at : f->at + f->lasts;

		if (f->enabled && f->node == c->plan->node && silences &&
		    c->since <= world_start() + over)
			return true;
	}
	return false;
}

static int waited(const struct client *c, int r, const char *what)
{
	if (r == -ETIMEDOUT && !may_be_silent(c))
		sim_fail("no task stuck", "a client of node %u waited too long, %s; last reply: %s",
			 c->plan->node, what, c->reply);
	return r;
}

/* --- saying and hearing --- */

static int say_at_once(struct task *tk, struct client *c, str bytes)
{
	nsec deadline = task_in(tk, REPLY_TIME);
	int r = stream_write(tk, &c->stream, bytes, deadline);

	if (r >= 0)
		r = stream_flush(tk, &c->stream, deadline);
	return r < 0 ? waited(c, r, "sending") : 0;
}

/* The slow ones in two to eight pieces. */
static int say(struct task *tk, struct client *c, str bytes)
{
	uint32_t pieces = bytes.n > 200 ? 8 : 2;
	size_t piece = bytes.n / pieces + 1;
	int r = 0;

	if (c->plan->kind != CLIENT_SLOW)
		return say_at_once(tk, c, bytes);
	for (; bytes.n > 0 && r == 0; bytes = str_from(bytes, piece)) {
		r = task_sleep(tk, below(c, 8000) * NSEC_MS);
		if (r == 0)
			r = say_at_once(tk, c, str_first(bytes, piece));
	}
	return r;
}

static int take_line(struct client *c, str line)
{
	size_t n = strlen(c->reply);
	bool is_last = line.n < 4 || line.p[3] != '-';
	uint64_t code = 0;

	snprintf(c->reply + n, sizeof(c->reply) - n, "%s%.*s", n ? "\n" : "",
		 (int)MIN(line.n, (size_t)600), line.p);
	if (line.n < 3 || str_u64(str_first(line, 3), 599, &code) < 0 || code < 200)
		sim_fail("replies make sense", "node %u said: %s", c->plan->node, c->reply);
	c->code = (int)code;
	return is_last;
}

static int hear(struct task *tk, struct client *c, nsec duration)
{
	nsec deadline = task_in(tk, duration);
	str line;

	c->code = 0;
	c->reply[0] = '\0';
	for (int i = 0; i < REPLY_LINES_MAX; i++) {
		int r = stream_line(tk, &c->stream, 600, deadline, &line);

		if (r < 0)
			return waited(c, r, "for a reply");
		if (take_line(c, line))
			return 0;
	}
	sim_fail("replies make sense", "node %u does not end its reply: %s", c->plan->node,
		 c->reply);
}

/* Says a command and hears the reply: its code, or the error of the connection. */
static int ask(struct task *tk, struct client *c, str command)
{
	int r = say(tk, c, command);

	if (r == 0)
		r = hear(tk, c, REPLY_TIME);
	return r < 0 ? r : c->code;
}

/* 0: the code is the one wanted; else it gives up. */
static int want(int got, int code)
{
	return got == code ? 0 : got < 0 ? got : -EPROTO;
}

/* --- leaving --- */

static bool stops_at(const struct client *c, enum point point)
{
	return c->stops && c->stop_at == point &&
	       (point <= POINT_HELLO || c->message == c->stop_message);
}

static void wait_for_the_end(struct task *tk, struct client *c)
{
	nsec deadline = task_in(tk, SILENCE_TIME);
	ssize_t got;

	do {
		stream_consume(&c->stream, stream_pending(&c->stream).n);
		got = stream_fill(tk, &c->stream, deadline);
	} while (got > 0);
	waited(c, (int)got, "to be thrown out");
}

static int leave(struct task *tk, struct client *c)
{
	int fd;

	if (c->plan->kind == CLIENT_SILENT) {
		wait_for_the_end(tk, c);
		return -ECONNRESET;
	}
	if (percent(c, 70))
		task_sleep(tk, below(c, percent(c, 50) ? 100 : 3000) * NSEC_MS);
	if (percent(c, 50)) {
		fd = io_release(&c->stream.io);
		sim_reset(fd);
	}
	return -ECONNRESET;
}

static int go_on(struct task *tk, struct client *c, enum point reached)
{
	return stops_at(c, reached) ? leave(tk, c) : 0;
}

static void choose_stop(struct client *c)
{
	bool silent = c->plan->kind == CLIENT_SILENT;

	c->stops = silent || c->plan->kind == CLIENT_HANGS_UP;
	c->stop_message = below(c, c->plan->messages);
	if (silent)
		c->stop_at = (enum point)below(c, POINT_AFTER_DOT);
	else
		c->stop_at = percent(c, 50) ? POINT_AFTER_DOT : (enum point)below(c, POINTS);
}

/* --- connecting --- */

static int wait_connected(struct task *tk, struct client *c)
{
	int r = io_wait(tk, &c->stream.io, IO_WRITE, task_in(tk, CONNECT_TIME));

	return r < 0 ? r : sys_connect_result(c->stream.io.fd);
}

static int dial(struct task *tk, struct client *c)
{
	struct addr from = { 0 }, to = node_addr(c->plan->node);
	char text[ADDR_TEXT_SIZE];
	int fd, r;

	snprintf(text, sizeof(text), "198.51.100.%u", 1 + below(c, 200));
	must(addr_parse_ip(str_of(text), 0, &from) == 0);
	r = sim_connect_from(&from, &to, &fd);
	if (r < 0)
		return r;
	r = stream_init(&c->stream, task_loop(tk), fd, BUFFER_BYTES, BUFFER_BYTES);
	if (r < 0) {
		sys_close(fd);
		return r;
	}
	r = wait_connected(tk, c);
	return r < 0 ? r : go_on(tk, c, POINT_CONNECTED);
}

static int hello(struct task *tk, struct client *c)
{
	return ask(tk, c,
		   percent(c, 85) ? STR("EHLO client.test\r\n") : STR("HELO client.test\r\n"));
}

/* An early EHLO is refused when it came before the greeting was written, and answered else. */
static int greet(struct task *tk, struct client *c)
{
	bool early = c->plan->kind == CLIENT_CONFUSED && percent(c, 10);
	int r = early ? say(tk, c, STR("EHLO too.early.test\r\n")) : 0;

	if (r == 0)
		r = hear(tk, c, REPLY_TIME);
	if (r == 0)
		r = want(c->code, 220);
	if (r == 0 && early)
		r = hear(tk, c, REPLY_TIME);
	if (r == 0)
		r = go_on(tk, c, POINT_GREETED);
	if (r == 0)
		r = want(hello(tk, c), 250);
	return r < 0 ? r : go_on(tk, c, POINT_HELLO);
}

/* --- nonsense --- */

static int say_endless_line(struct task *tk, struct client *c)
{
	char line[1024];

	memset(line, 'x', sizeof(line));
	for (uint32_t i = 0, n = 1 + below(c, 8); i < n; i++) {
		int r = say(tk, c, str_mem(line, sizeof(line)));

		if (r < 0)
			return r;
	}
	return ask(tk, c, STR("\r\n"));
}

/* Whatever is said to it, it goes on; only 421 and a broken connection end it. */
static int babble(struct task *tk, struct client *c)
{
	static const str lines[] = {
		STR("RCPT TO:<user1@d0.test>\r\n"),
		STR("DATA\r\n"),
		STR("BDAT 10 LAST\r\n"),
		STR("\r\n"),
		STR("\xff\xfe\x80 \x01\x02\r\n"),
		STR("MAIL FROM:sender\r\n"),
		STR("MAIL FROM:<sender@client.test> SIZE=99999999999999999999999\r\n"),
		STR("NOOP\nNOOP\r\n"),
		STR("RSET now\r\n"),
		STR("VRFY user1\r\n"),
		STR("HELP\r\n"),
		STR("STARTTLS\r\n"),
		STR("GET / HTTP/1.1\r\n"),
		STR("RCPT TO:<@d0.test:user1@d0.test\r\n"),
		STR("MAIL FROM:<unfinished@client.test>\r\n"),
	};
	int r = 0;

	for (uint32_t i = 0, n = 1 + below(c, 8); i < n && r >= 0; i++) {
		if (percent(c, 10))
			r = say_endless_line(tk, c);
		else
			r = ask(tk, c, lines[below(c, ELEMENTS(lines))]);
		if (r == 421 || r == 354)
			return -EPROTO;
	}
	if (r >= 0)
		r = want(ask(tk, c, STR("RSET\r\n")), 250);
	return r;
}

/* --- the envelope --- */

static bool is_chosen(const struct client *c, const char *recipient)
{
	for (uint32_t i = 0; i < c->recipients; i++)
		if (strcmp(c->recipient[i], recipient) == 0)
			return true;
	return false;
}

static void choose_recipients(struct client *c)
{
	uint32_t domains = 1 + below(c, percent(c, 50) ? 1 : MIN(3u, c->world->domains));
	uint32_t first = below(c, c->world->domains),
		 wanted = 1 + below(c, percent(c, 50) ? 2 : RECIPIENTS_MAX);

	c->recipients = 0;
	for (uint32_t i = 0; i < wanted; i++) {
		uint32_t d = (first + below(c, domains)) % c->world->domains, kind = below(c, 40);
		char text[32];

		if (kind == 0)
			snprintf(text, sizeof(text), "postmaster@d%u.test", d);
		else if (kind == 1)
			snprintf(text, sizeof(text), "unknown1@d%u.test", d);
		else
			snprintf(text, sizeof(text), "user%u@d%u.test", 1 + below(c, 9), d);
		if (!is_chosen(c, text))
			memcpy(c->recipient[c->recipients++], text, sizeof(text));
	}
}

/* All that a reverse-path may be; a number stands between. */
static const struct {
	const char *before, *after;
} senders[] = {
	{ "sender", "@client.test" },
	{ "Sender.", "+Tag@Client.TEST" },
	{ "\"quoted sender ", "\"@client.test" },
	{ "\"needless", "\"@client.test" },
	{ "\"a\\\"b\\\\", "\\c\"@client.test" },
	{ "\"<", ">,;:@\"@client.test" },
	{ "\".a..", ".\"@client.test" },
	{ "x", "@[192.0.2.77]" },
	{ "!#$%&'*-/?^`{|}~=_", "@under_score.client.test" },
	{ "sixty.three.octets.before.and.then.the.number.of.it.and.that.is",
	  "@a-long-name-for-a-host.somewhere.client.test" },
};

static void choose_sender(struct client *c)
{
	size_t form = sim_next(&c->random_sender) % ELEMENTS(senders);

	if (percent(c, 15))
		c->sender[0] = '\0';
	else
		snprintf(c->sender, sizeof(c->sender), "%s%u%s", senders[form].before, below(c, 5),
			 senders[form].after);
}

static bool has_size(const struct client *c, enum client_size size)
{
	return c->plan->size == size && c->message == 0 && !c->bare_newline;
}

static uint64_t announced(const struct client *c)
{
	if (has_size(c, SIZE_ANNOUNCED))
		return plan_message_most(c->world) + 1;
	return has_size(c, SIZE_AT_LIMIT) ? plan_message_sure(c->world) : 0;
}

static void mail_command(struct client *c, char ret_text[static MAIL_SIZE])
{
	bool parameters = percent(c, 30) && c->plan->kind == CLIENT_PIPELINING;
	bool route = sim_next(&c->random_sender) % 16 == 0;

	char size[64] = "";

	choose_sender(c);
	if (announced(c))
		snprintf(size, sizeof(size), " SIZE=%llu", (unsigned long long)announced(c));
	else if (parameters)
		snprintf(size, sizeof(size), " SIZE=3000 BODY=8BITMIME");
	snprintf(ret_text, MAIL_SIZE, "MAIL FROM:<%s%s>%s\r\n",
		 route && *c->sender ? "@first.test,@second.test:" : "", c->sender, size);
}

/* The reply to MAIL: 0, or it gives up. */
static int mail_replied(const struct client *c, int code)
{
	if (has_size(c, SIZE_ANNOUNCED) && code == 250)
		sim_fail("no message over the limit", "node %u: 250 to SIZE=%llu", c->plan->node,
			 (unsigned long long)announced(c));
	if (!has_size(c, SIZE_ANNOUNCED) && code == 552)
		sim_fail("no message over the limit", "node %u refuses what is not: %s",
			 c->plan->node, c->reply);
	return want(code, 250);
}

static int envelope_step_by_step(struct task *tk, struct client *c)
{
	char text[MAIL_SIZE];
	int r;

	mail_command(c, text);
	r = mail_replied(c, ask(tk, c, str_of(text)));
	if (r == 0)
		r = go_on(tk, c, POINT_MAIL);
	for (uint32_t i = 0; i < c->recipients && r == 0; i++) {
		snprintf(text, sizeof(text), "RCPT TO:<%s>\r\n", c->recipient[i]);
		r = want(ask(tk, c, str_of(text)), 250);
		if (r == 0)
			c->accepted[c->accepted_count++] = c->recipient[i];
	}
	if (r == 0)
		r = go_on(tk, c, POINT_RCPT);
	return r < 0 ? r : want(ask(tk, c, STR("DATA\r\n")), 354);
}

static int say_group(struct task *tk, struct client *c)
{
	struct buf group = { 0 };
	char mail[MAIL_SIZE];
	int r;

	buf_init(&group, 2048);
	mail_command(c, mail);
	must(buf_add(&group, str_of(mail)) == 0);
	for (uint32_t i = 0; i < c->recipients; i++)
		must(buf_addf(&group, "RCPT TO:<%s>\r\n", c->recipient[i]) == 0);
	must(buf_add(&group, STR("DATA\r\n")) == 0);
	r = say(tk, c, buf_str(&group));
	buf_done(&group);
	return r;
}

static int hear_group(struct task *tk, struct client *c)
{
	int mail = 0, r = hear(tk, c, REPLY_TIME);

	mail = c->code;
	if (r == 0)
		mail_replied(c, mail);
	for (uint32_t i = 0; i < c->recipients && r == 0; i++) {
		r = hear(tk, c, REPLY_TIME);
		if (r == 0 && c->code == 250)
			c->accepted[c->accepted_count++] = c->recipient[i];
	}
	if (r == 0)
		r = hear(tk, c, REPLY_TIME);
	if (r == 0 && mail != 250 && c->code == 354)
		sim_fail("replies make sense", "node %u: 354, but %d to MAIL", c->plan->node, mail);
	return r < 0 ? r : want(c->code, 354);
}

static int envelope(struct task *tk, struct client *c)
{
	bool was_sent = c->group_sent;
	int r = 0;

	c->group_sent = false;
	c->accepted_count = 0;
	if (!was_sent)
		choose_recipients(c);
	if (c->plan->kind != CLIENT_PIPELINING)
		return envelope_step_by_step(tk, c);
	if (!was_sent)
		r = say_group(tk, c);
	return r < 0 ? r : hear_group(tk, c);
}

/* --- the data --- */

static void add_stuffed(struct client *c, str body)
{
	struct dot_out dots;
	str piece;

	dot_out_init(&dots);
	while (dot_out_next(&dots, &body, &piece) == 1)
		must(buf_add(&c->wire, piece) == 0);
	must(body.n == 0);
}

/* The confused one adds what a laxer server takes for the end of the data and a command. */
static void make_wire(struct client *c, uint32_t number, uint32_t bytes)
{
	struct buf body = { 0 };
	size_t octets, stuffed;

	buf_init(&body, WIRE_BYTES_MAX);
	body_make(number, bytes, &body);
	buf_reset(&c->wire);
	add_stuffed(c, buf_str(&body));
	octets = body.n;
	stuffed = c->wire.n;
	buf_done(&body);
	if (c->bare_newline)
		must(buf_add(&c->wire,
			     percent(c, 50) ? STR("bare\nline\r\n")
					    : STR("end\n.\nMAIL FROM:<x@client.test>\r\n")) == 0);
	ledger_sized(number, octets + c->wire.n - stuffed);
}

/* It ends without the final dot. */
static int stop_in_body(struct task *tk, struct client *c, uint32_t number)
{
	str bytes = buf_str(&c->wire);

	if (c->stop_at == POINT_DATA)
		bytes = STR_NONE;
	else if (c->stop_at == POINT_BODY)
		bytes = str_first(bytes, below(c, (uint32_t)bytes.n));
	say(tk, c, bytes);
	if (c->stop_at == POINT_IN_DOT)
		say(tk, c, STR(".\r"));
	ledger_aborted(number);
	return leave(tk, c);
}

static int stop_after_dot(struct task *tk, struct client *c, uint32_t number)
{
	ledger_answer(number, NULL);
	return leave(tk, c);
}

/* All of it with the final dot. What broke before the dot was given away is an abort. */
static int say_data(struct task *tk, struct client *c, uint32_t number)
{
	bool at_once = percent(c, 50);
	int r;

	if (at_once)
		must(buf_add(&c->wire, STR(".\r\n")) == 0);
	r = say(tk, c, buf_str(&c->wire));
	if (r < 0 && !at_once) {
		ledger_aborted(number);
		return r;
	}
	if (r == 0 && !at_once)
		r = say(tk, c, STR(".\r\n"));
	if (r < 0)
		ledger_answer(number, NULL);
	return r;
}

static int hear_verdict(struct task *tk, struct client *c, uint32_t number)
{
	int r = hear(tk, c, FINAL_TIME);

	ledger_answer(number, r < 0 ? NULL : c->reply);
	if (r == 0 && c->bare_newline)
		return want(c->code, 550);
	return r < 0 ? r : want(c->code, 250);
}

/* The next transaction's commands ride behind this one's final dot (RFC 2920 §3.1). */
static int hurry(struct task *tk, struct client *c)
{
	if (c->plan->kind != CLIENT_PIPELINING || c->message + 1 >= c->plan->messages ||
	    !percent(c, 50))
		return 0;
	choose_recipients(c);
	c->group_sent = true;
	return say_group(tk, c);
}

static bool stops_in_body(const struct client *c)
{
	return stops_at(c, POINT_DATA) || stops_at(c, POINT_BODY) ||
	       stops_at(c, POINT_BEFORE_DOT) || stops_at(c, POINT_IN_DOT);
}

static uint32_t choose_bytes(struct client *c)
{
	uint32_t bytes = c->plan->body_bytes + below(c, 1000);
	uint32_t limit = (uint32_t)plan_message_most(c->world);

	if (has_size(c, SIZE_AT_LIMIT))
		return BODY_EXACT | (uint32_t)plan_message_sure(c->world);
	if (has_size(c, SIZE_OVER))
		return BODY_EXACT | (limit + 1);
	return has_size(c, SIZE_FAR_OVER) ? BODY_EXACT | (2 * limit + bytes + 5000) : bytes;
}

static int data(struct task *tk, struct client *c)
{
	uint32_t bytes = choose_bytes(c);
	uint32_t number =
		ledger_begin(c->plan->node, bytes, c->sender, c->accepted, c->accepted_count);
	int r;

	make_wire(c, number, bytes);
	if (stops_in_body(c))
		return stop_in_body(tk, c, number);
	r = say_data(tk, c, number);
	if (r < 0)
		return r;
	if (stops_at(c, POINT_AFTER_DOT))
		return stop_after_dot(tk, c, number);
	/* A connection that broke meanwhile may still hold the verdict. */
	hurry(tk, c);
	return hear_verdict(tk, c, number);
}

/* --- the session --- */

static int transaction(struct task *tk, struct client *c)
{
	int r = envelope(tk, c);

	return r < 0 ? r : data(tk, c);
}

static int session(struct task *tk, struct client *c)
{
	int r = dial(tk, c);

	if (r == 0)
		r = greet(tk, c);
	if (r == 0 && c->plan->kind == CLIENT_CONFUSED) {
		r = babble(tk, c);
		c->bare_newline = r == 0 && percent(c, 40);
		if (c->bare_newline)
			r = transaction(tk, c);
		c->bare_newline = false;
	}
	for (; c->message < c->plan->messages && r == 0; c->message++)
		r = transaction(tk, c);
	if (r == 0 && percent(c, 80))
		r = want(ask(tk, c, STR("QUIT\r\n")), 221);
	return r;
}

static void client(struct task *tk, void *arg)
{
	struct client *c = arg;
	int r = session(tk, c);

	sim_trace("client of node %u, kind %d, ends: %d, %s", c->plan->node, (int)c->plan->kind, r,
		  c->reply);
	stream_done(&c->stream);
	buf_done(&c->wire);
	free(c);
	running_clients--;
}

void client_start(struct loop *loop, const struct plan *p, const struct client_plan *plan)
{
	struct client *c = calloc(1, sizeof(*c));

	must(c);
	c->world = p;
	c->plan = plan;
	c->random = plan->seed;
	c->random_sender = ~plan->seed;
	c->stream.io.fd = -1;
	buf_init(&c->wire, WIRE_BYTES_MAX);
	choose_stop(c);
	c->since = sim_now();
	running_clients++;
	must(task_start(loop, NULL, "client", client, c) == 0);
}
