/*
 * testing: dialogues over a socket pair in virtual time, with a spoold that answers as told and keeps what it got, and an
 * smtpout likewise. Tests of this folder only; tests/meson.build says which have such a clock.
 */
#pragma once

#include "proc/smtpin/session.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "task/sys.h"
#include "task/test_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CONF_WITH(rates, acceptance)                                                               \
	"hostname = \"mx2.example.net\"\n"                                                         \
	"listen \"mx\" { address = \"127.0.0.1:2525\" }\n"                                         \
	"limits { message_size = \"64K\" recipients = 3 hops = 5 sessions_per_client = 2 }\n"      \
	"rates { unknown_recipients = " rates " errors = 0 }\n"                                    \
	"domain \"ours.example\" { acceptance = " acceptance " }\n"                                \
	"domain \"b.example\" { acceptance = " acceptance " }\n"
#define CONF CONF_WITH("4", "live")
#define CONF_DEFER CONF_WITH("4", "defer")
#define CONF_QUEUE CONF_WITH("4", "queue")
#define CONF_PATIENT CONF_WITH("0", "live")

/* In what a client says: it says nothing for so long. */
#define PAUSE "\f"
#define PAUSE_TIME (4 * NSEC_MINUTE)

/* Before a shutdown; and what follows last words while the client does not close. */
#define MOMENT (20 * NSEC_MS)
#define LINGERS (2 * NSEC_S)

/* What the primary says of a recipient, or of the message (recipient NULL). */
struct said {
	const char *recipient;
	Locum__LiveWay way;
	unsigned code;
	const char *line[3];
	nsec after;
	bool dies; /* smtpout, instead */
	bool none; /* it never answers */
};

/* The other ends: one client with its script, one spoold, one smtpout. */
struct world {
	const char *conf; /* NULL: CONF */
	/* smtpout, where `said` is set, ended by a code of 0 and no way: how it answers and what it heard */
	const struct said *said;
	struct channel *smtpout_end;
	struct buf heard,
		ended; /* ends are said by the way: in the end they follow what was heard */
	msg_id sent_id;
	bool ambiguous;               /* as the last Append said */
	Locum__PrimaryState state[2]; /* as spoold says */
	uint64_t destination[2];
	struct loop *loop;
	struct server srv;
	struct channel *spoold_end;
	Locum__AppendResult result;
	bool no_spoold, spool_full, bodies_full, shut_down;
	bool spoold_late; /* comes a moment after the message */
	bool spoold_went;
	bool spoold_goes; /* at the first message, without an answer; its successor comes a moment later */
	nsec patience;   /* of shut_down */
	unsigned offers; /* enum ehlo_extension of both primaries; 0: they were never seen */
	uint64_t offers_size;
	nsec older; /* the session is made to look so much older, after the greeting */
	const char *input;
	size_t chunk; /* bytes a write; 0: all at once */
	bool known_good, stressed;
	const char *note_reply; /* when came the first that starts so */
	nsec noted_at;
	/* of the client, at the end */
	bool was_good;
	double messages_rate, unknown_rate;
	nsec started;
	nsec lasted; /* from the greeting to the end of the shutdown, or of the session */
	struct buf replies;
	struct buf envelope, body;
	unsigned appended;
};

static struct world world;

static void keep(struct ipc_message *m)
{
	Locum__Envelope *e = m->packet->append->envelope;
	_cleanup_(closep) int fd = ipc_take_fd(m, 0);
	static char bytes[128 * 1024];
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(sys_memfd_sealed(fd), 0);
	n = sys_read_at(fd, bytes, sizeof(bytes), 0);
	assert_int_equal(n, e->body_bytes);
	buf_reset(&world.body);
	assert_int_equal(buf_add(&world.body, str_mem(bytes, (size_t)n)), 0);
	buf_reset(&world.envelope);
	assert_int_equal(buf_reserve(&world.envelope, locum__envelope__get_packed_size(e)), 0);
	world.envelope.n = locum__envelope__pack(e, (uint8_t *)world.envelope.p);
	world.ambiguous = m->packet->append->ambiguous;
	world.appended++;
}

static void spoold_handler(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	Locum__Appended appended = LOCUM__APPENDED__INIT;
	IPC_PACKET(packet, APPENDED, appended, &appended);

	(void)arg;
	if (m->packet->body_case != LOCUM__PACKET__BODY_APPEND)
		return;
	if (world.spoold_goes && !world.spoold_went) {
		world.spoold_went = true;
		world.spoold_end = NULL;
		channel_free(ch);
		return;
	}
	keep(m);
	appended.result = world.result;
	ipc_reply(tk, ch, m->packet->call, &packet, -1, task_in(tk, NSEC_S));
}

static void smtpin_handler(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	(void)tk;
	(void)ch;
	(void)m;
	(void)arg;
}

static void spoold_closed(struct channel *ch, int r, void *arg)
{
	(void)r;
	(void)arg;
	if (world.srv.spoold == ch)
		world.srv.spoold = NULL;
	channel_free(ch);
}

static void smtpout_closed(struct channel *ch, int r, void *arg)
{
	(void)r;
	(void)arg;
	if (world.srv.smtpout == ch)
		world.srv.smtpout = NULL;
	channel_free(ch);
}

static void connect_peer(Locum__Process peer, ipc_handler *handler, ipc_closed *closed,
			 struct channel **ret_ours, struct channel **ret_theirs)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(channel_new(world.loop, pair[0], LOCUM__PROCESS__SMTPIN, peer, 0,
				     smtpin_handler, closed, NULL, ret_ours),
			 0);
	assert_int_equal(channel_new(world.loop, pair[1], peer, LOCUM__PROCESS__SMTPIN, 0, handler,
				     NULL, NULL, ret_theirs),
			 0);
}

static void connect_spoold(void)
{
	connect_peer(LOCUM__PROCESS__SPOOLD, spoold_handler, spoold_closed, &world.srv.spoold,
		     &world.spoold_end);
}

/* --- smtpout --- */

/* One line for each question, so that a test can say what must have been heard. */
static __attribute__((format(printf, 1, 2))) void hear(const char *format, ...)
{
	char text[500];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	assert_int_equal(buf_add(&world.heard, str_of(text)), 0);
}

static void hear_ask(const Locum__LiveAsk *a)
{
	const Locum__Envelope *e = a->envelope;

	assert_string_equal(a->domain, a->recipient->domain);
	hear("%ju", (uintmax_t)a->live);
	if (e) {
		assert_int_equal(e->n_recipients, 0);
		assert_string_equal(e->client->address, "192.0.2.1");
		assert_string_equal(e->hostname, "mx2.example.net");
		hear(" from %.*s", (int)e->reverse_path.len, e->reverse_path.data);
	}
	hear(" to %.*s\n", (int)a->recipient->address.len, a->recipient->address.data);
}

/* What is sent is what the spool would get, were it to get it. */
static void hear_send(struct ipc_message *m)
{
	const Locum__LiveSend *s = m->packet->live_send;
	_cleanup_(closep) int fd = ipc_take_fd(m, 0);
	static char bytes[128 * 1024];
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(sys_memfd_sealed(fd), 0);
	n = sys_read_at(fd, bytes, sizeof(bytes), 0);
	assert_int_equal(n, s->envelope->body_bytes);
	assert_int_equal(crc32c(0, str_mem(bytes, (size_t)n)), s->body_crc32c);
	assert_int_equal(s->envelope->id.len, sizeof(world.sent_id));
	memcpy(&world.sent_id, s->envelope->id.data, sizeof(world.sent_id));
	hear("%ju sends %zu bytes to %zu\n", (uintmax_t)s->live, (size_t)n,
	     s->envelope->n_recipients);
}

static const struct said *say_to(const struct ipc_message *m)
{
	static const struct said nothing = { .way = LOCUM__LIVE_WAY__LIVE_AWAY };
	const Locum__Recipient *r = m->packet->body_case == LOCUM__PACKET__BODY_LIVE_ASK
					    ? m->packet->live_ask->recipient
					    : NULL;

	for (const struct said *s = world.said; s->way || s->code || s->dies || s->none; s++)
		if (r ? s->recipient && str_eq(str_of(s->recipient),
					       str_mem(r->address.data, r->address.len))
		      : !s->recipient)
			return s;
	return &nothing;
}

struct late_answer {
	const struct said *said;
	uint64_t call;
};

static void answer_later(struct task *tk, void *arg)
{
	static char host[] = "mail.ours.example", why[] = "connection refused";
	Locum__LiveAnswer answer = LOCUM__LIVE_ANSWER__INIT;
	IPC_PACKET(packet, LIVE_ANSWER, live_answer, &answer);
	Locum__Host from = LOCUM__HOST__INIT;
	struct late_answer *late = arg;
	const struct said *s = late->said;
	char *lines[ELEMENTS(s->line)];

	task_sleep(tk, s->after);
	from.name = host;
	answer.host = &from;
	answer.way = s->way;
	answer.text = why;
	answer.code = s->code;
	answer.lines = lines;
	while (answer.n_lines < ELEMENTS(s->line) && s->line[answer.n_lines]) {
		lines[answer.n_lines] = (char *)s->line[answer.n_lines];
		answer.n_lines++;
	}
	if (world.smtpout_end)
		ipc_reply(tk, world.smtpout_end, late->call, &packet, -1, task_in(tk, NSEC_S));
	free(late);
}

static void smtpout_handler(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	const struct said *s = say_to(m);
	struct late_answer *late;

	(void)tk;
	(void)arg;
	if (m->packet->body_case == LOCUM__PACKET__BODY_LIVE_END) {
		assert_int_equal(buf_addf(&world.ended, "%ju ends\n",
					  (uintmax_t)m->packet->live_end->live),
				 0);
		return;
	}
	if (m->packet->body_case == LOCUM__PACKET__BODY_LIVE_ASK)
		hear_ask(m->packet->live_ask);
	else
		hear_send(m);
	if (s->dies) {
		world.smtpout_end = NULL;
		channel_free(ch);
	}
	if (s->dies || s->none)
		return;
	late = malloc(sizeof(*late));
	assert_non_null(late);
	*late = (struct late_answer){ s, m->packet->call };
	assert_int_equal(task_start(world.loop, NULL, "answer", answer_later, late), 0);
}

static void connect_smtpout(void)
{
	connect_peer(LOCUM__PROCESS__SMTPOUT, smtpout_handler, smtpout_closed, &world.srv.smtpout,
		     &world.smtpout_end);
}

/* --- the client --- */

/* Reads until a reply's last line came; false at end of file. */
static bool read_reply(struct task *tk, struct stream *s)
{
	str line;

	do {
		if (stream_line(tk, s, 1000, task_in(tk, 60 * NSEC_MINUTE), &line) < 0)
			return false;
		assert_int_equal(buf_addf(&world.replies, "%.*s\n", STR_ARG(line)), 0);
		if (world.note_reply && !world.noted_at &&
		    str_starts(line, str_of(world.note_reply)))
			world.noted_at = task_now(tk) - world.started + 1;
	} while (line.n > 3 && line.p[3] == '-');
	return true;
}

static str until_pause(str piece)
{
	ssize_t pause = str_index(piece, PAUSE[0]);

	return pause < 0 ? piece : str_first(piece, (size_t)pause);
}

static void run_client(struct task *tk, int fd)
{
	str rest = str_of(world.input);
	nsec finish_by, start = task_now(tk);
	struct stream s;

	assert_int_equal(stream_init(&s, world.loop, fd, 100000, 4096), 0);
	world.started = start;
	assert_true(read_reply(tk, &s));
	LIST_EACH (&world.srv.session_list, struct session, link, session)
		session->mail_at -= world.older;
	while (rest.n) {
		str piece = world.chunk ? str_first(rest, world.chunk) : rest;

		if (*rest.p == PAUSE[0]) {
			rest = str_from(rest, 1);
			task_sleep(tk, PAUSE_TIME);
			continue;
		}
		piece = until_pause(piece);

		if (stream_write(tk, &s, piece, task_in(tk, NSEC_S)) < 0 ||
		    stream_flush(tk, &s, task_in(tk, NSEC_S)) < 0)
			break;
		rest = str_from(rest, piece.n);
		task_yield(tk);
	}
	if (world.spoold_late || world.spoold_goes) {
		task_sleep(tk, 300 * NSEC_MS);
		connect_spoold();
		signal_raise(&world.srv.spoold_came);
	}
	if (world.shut_down) {
		task_sleep(tk, MOMENT);
		finish_by = world.patience ? task_in(tk, world.patience) : 0;
		server_shutdown(tk, &world.srv, &finish_by);
		world.lasted = task_now(tk) - start;
	}
	while (read_reply(tk, &s))
		;
	if (!world.lasted)
		world.lasted = task_now(tk) - start;
	stream_done(&s);
}

static void note_client(const struct addr *client)
{
	nsec now = sys_now_wall();

	world.was_good = client_memory_is_good(world.srv.memory, client, now);
	world.messages_rate = client_memory_rate(world.srv.memory, client, CLIENT_MESSAGES, now);
	world.unknown_rate =
		client_memory_rate(world.srv.memory, client, CLIENT_UNKNOWN_RECIPIENTS, now);
}

static void client_main(struct task *tk, void *arg)
{
	struct addr client = { .family = AF_INET, .ip = { 192, 0, 2, 1 }, .port = 4321 };
	const struct client_limits limits = { 10, 10, 10 };
	client_place place;
	int pair[2];

	(void)arg;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(sys_set_nonblocking(pair[0]), 0);
	assert_int_equal(client_table_enter(world.srv.clients, &client, &limits, &place), 0);
	if (world.known_good)
		server_remember_good(&world.srv, &client);
	if (world.stressed)
		world.srv.stress.state = STRESS_BUSY;
	session_start(&world.srv, 0, pair[0], &client, place);
	run_client(tk, pair[1]);
	group_wait(tk, &world.srv.sessions, task_in(tk, NSEC_S));
	note_client(&client);
	group_wait(tk, &world.srv.background, task_in(tk, NSEC_S));
	task_sleep(tk, NSEC_MINUTE); /* what is said last is heard */
	assert_int_equal(buf_add(&world.heard, buf_str(&world.ended)), 0);
	channel_free(world.srv.spoold);
	channel_free(world.spoold_end);
	channel_free(world.srv.smtpout);
	channel_free(world.smtpout_end);
}

/* Both domains' primaries offer the same; how they are is each one's own. */
static void primaries_offer(unsigned offers, uint64_t size_bytes)
{
	static char ours[] = "ours.example", b[] = "b.example", *domains[] = { ours, b };
	Locum__PrimaryOffers said = LOCUM__PRIMARY_OFFERS__INIT;

	said.first = true;
	for (size_t i = 0; i < ELEMENTS(domains); i++) {
		Locum__DomainOffers domain = LOCUM__DOMAIN_OFFERS__INIT, *all[] = { &domain };

		domain.domain = domains[i];
		domain.offers = offers;
		domain.seen_wall = offers ? 1 : 0;
		domain.size_bytes = i ? 0 : size_bytes;
		domain.state = world.state[i];
		domain.destination = world.destination[i];
		said.domains = all;
		said.n_domains = 1;
		assert_int_equal(offers_update(&world.srv.offers, &said), 0);
		said.first = false;
	}
}

/* One dialogue from greeting to end of file. */
static void converse_with(const char *input, size_t chunk)
{
	_cleanup_(conf_unrefp) struct conf *conf = NULL;
	_cleanup_(closep) int clients = -1, memory = -1;
	struct worker w = { 0 };
	struct buf error;

	world.input = input;
	world.chunk = chunk;
	world.appended = 0;
	world.spoold_end = world.smtpout_end = NULL;
	buf_init(&world.heard, 1 << 20);
	buf_init(&world.ended, 1 << 20);
	buf_init(&world.replies, 1 << 20);
	buf_init(&world.envelope, 1 << 20);
	buf_init(&world.body, 1 << 20);
	buf_init(&error, 4096);
	assert_int_equal(loop_new(&world.loop), 0);
	w.loop = world.loop;
	server_init(&world.srv, &w);
	assert_int_equal(client_table_make(1, 10, &clients), 0);
	assert_int_equal(server_share_clients(&world.srv, clients), 0);
	assert_int_equal(client_memory_make(1, 16, &memory), 0);
	assert_int_equal(server_share_memory(&world.srv, memory), 0);
	assert_int_equal(
		conf_read_text("test", str_of(world.conf ? world.conf : CONF), &conf, &error), 0);
	assert_int_equal(server_configure(&world.srv, conf), 0);
	world.srv.spool_accepting = !world.spool_full;
	if (world.bodies_full)
		world.srv.budget.max = 0;
	if (!world.no_spoold && !world.spoold_late)
		connect_spoold();
	if (world.said)
		connect_smtpout();
	if (world.offers || world.said)
		primaries_offer(world.offers, world.offers_size);
	assert_int_equal(task_start(world.loop, NULL, "client", client_main, NULL), 0);
	assert_int_equal(loop_run(world.loop), 0);
	assert_int_equal(world.srv.session_count, 0);
	assert_int_equal(world.srv.budget.used, 0);
	assert_int_equal(client_table_sessions(world.srv.clients), 0);
	client_table_close(world.srv.clients);
	client_memory_close(world.srv.memory);
	settings_unref(world.srv.settings);
	offers_done(&world.srv.offers);
	patience_free(world.srv.patience);
	loop_free(world.loop);
}

static void forget(void)
{
	buf_done(&world.replies);
	buf_done(&world.envelope);
	buf_done(&world.body);
	buf_done(&world.heard);
	buf_done(&world.ended);
	world = (struct world){ 0 };
}

/* The codes, "220 250 354", of all replies; a reply of several lines counts once. */
static void codes(char *to, size_t size)
{
	str rest = buf_str(&world.replies), line;
	size_t n = 0;

	to[0] = '\0';
	while (str_cut(rest, '\n', &line, &rest))
		if (line.n > 3 && line.p[3] == ' ' && n + 5 < size)
			n += (size_t)snprintf(to + n, size - n, n ? " %.3s" : "%.3s", line.p);
}

/* Replies 45x: each is one deferral of the counters. */
static unsigned deferrals(const char *got)
{
	unsigned count = 0;

	while ((got = strstr(got, " 45"))) {
		count++;
		got++;
	}
	return count;
}

#define HELLO "EHLO c.example\r\n"
#define ENVELOPE "MAIL FROM:<s@c.example>\r\nRCPT TO:<a@ours.example>\r\n"
#define MESSAGE "Subject: x\r\n\r\nbody\r\n"
#define LOOP(tail)                                                                                 \
	"Received: from x (y [192.0.2.9])\r\n\tby mx2.example.net (Locum) with ESMTP id "          \
	"01JDF5Z8P0ABCDEFGHJKMNPQRS\r\n\t" tail "; Tue, 24 Nov 2026 06:24:00 +0000\r\n"
