/*
 * testing: a spoold with fake neighbours, for the tests of this folder: a real loop, a real spool
 * in a scratch directory, and an smtpin, an smtpout and a `locum` played by the test over
 * socketpairs. Tests only.
 */
#pragma once

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "proc/spoold/spoold.h"
#include "task/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define WAIT (20 * NSEC_S) /* for anything that should happen soon: a busy machine is slow */
#define TRIES_MAX 2048

/* What the fake smtpout answers about a recipient, and about the attempt. */
struct script {
	Locum__Attempt attempt, probe;
	Locum__Outcome outcome;
	const char *reply;
};

static const struct script it_works = { LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
					LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
					LOCUM__OUTCOME__OUTCOME_DELIVERED, "250 2.0.0 taken" };
static const struct script it_is_down = { LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE,
					  LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE,
					  LOCUM__OUTCOME__OUTCOME_NONE, "connection refused" };
static const struct script it_defers = { LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
					 LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
					 LOCUM__OUTCOME__OUTCOME_DEFERRED, "451 4.7.1 later" };
static const struct script it_refuses = { LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
					  LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
					  LOCUM__OUTCOME__OUTCOME_REFUSED,
					  "550 5.1.1 no such user" };
static const struct script it_reads_garbage = { LOCUM__ATTEMPT__ATTEMPT_NONE,
						LOCUM__ATTEMPT__ATTEMPT_ANSWERED,
						LOCUM__OUTCOME__OUTCOME_CORRUPT, "checksum" };

struct world {
	struct task *tk;
	struct loop *loop;
	struct conf *conf;
	struct spoold *sp;
	char dir[64];

	/* The test's ends, and spoold's. */
	struct channel *smtpin, *smtpout;
	int locum; /* a plain descriptor, as the command has it; -1: none */
	struct channel *at_spoold[2];

	/* Where spoold says it stands. */
	unsigned states_told;
	bool accepting;

	/* Which offers it told: of a.example and b.example; seen: how many in all; and the states. */
	unsigned offers_told, offers_begun;
	uint32_t offers[2];
	uint64_t offers_size[2];
	unsigned states_of_domains;
	Locum__PrimaryState state[2];
	uint64_t destination[2];

	/* the fake smtpout */
	bool greets; /* and offers this */
	uint32_t its_offers;
	uint64_t its_size;
	const char *note;
	struct script script;
	Locum__Outcome by_recipient[8]; /* by the recipient's number; OUTCOME_NONE: the script's */
	bool silent;                    /* takes questions, answers nothing */
	unsigned silent_after;          /* the same from the delivery after that one on; 0: never */
	unsigned deliveries, probes, dns_forgotten, asked_in_all;
	uint32_t asked[TRIES_MAX], asked_count; /* recipients of the last Deliver */
	bool ambiguous, body_ok;
	char domain[64];
	uint64_t held_call;

	/* answers to the last command */
	Locum__Packet *answer[256];
	size_t answers;
	int answer_fd;
};

/* --- configuration --- */

struct domain_given {
	const char *name;
	nsec hold;
};

static inline struct conf *conf_of(const struct domain_given *domain, size_t count,
				   uint64_t reserve_bytes)
{
	Locum__ConfigSnapshot c = LOCUM__CONFIG_SNAPSHOT__INIT;
	Locum__ConfigHop hop = LOCUM__CONFIG_HOP__INIT, *hops[] = { &hop };
	static Locum__ConfigDomain d[8], *domains[8];
	Locum__ConfigSymbol s[CHECK_COUNT], *symbols[CHECK_COUNT];
	Locum__ConfigRates rates = LOCUM__CONFIG_RATES__INIT;
	uint8_t effects[CHECK_COUNT] = { 0 };
	static uint8_t packed[4096];
	struct conf *conf;

	hop.mx = true;
	hop.port = 25;
	for (size_t i = 0; i < CHECK_COUNT; i++) {
		locum__config_symbol__init(&s[i]);
		s[i].name = (char *)"check";
		symbols[i] = &s[i];
	}
	for (size_t i = 0; i < count; i++) {
		domains[i] = &d[i];
		locum__config_domain__init(&d[i]);
		d[i].name = (char *)domain[i].name;
		d[i].hold = domain[i].hold;
		d[i].primary = hops;
		d[i].n_primary = 1;
		d[i].effects = (ProtobufCBinaryData){ .len = CHECK_COUNT, .data = effects };
	}
	c.hostname = (char *)"mx2.example.net";
	c.domains = domains;
	c.n_domains = count;
	c.symbols = symbols;
	c.n_symbols = CHECK_COUNT;
	c.rates = &rates;
	c.message_bytes = c.sessions = c.recipients = c.hops = 1000;
	c.sessions_per_client = c.sessions_per_network = 1000;
	c.segment_bytes = 1 << 20;
	c.reserve_bytes = reserve_bytes;
	assert_true(locum__config_snapshot__get_packed_size(&c) <= sizeof(packed));
	assert_int_equal(
		conf_unpack(str_mem(packed, locum__config_snapshot__pack(&c, packed)), &conf), 0);
	return conf;
}

static const struct domain_given usual_domains[] = {
	{ "a.example", 30 * NSEC_DAY },
	{ "b.example", 30 * NSEC_DAY },
};

/* --- the fake smtpout --- */

static inline char body_byte(const uint8_t *id, size_t at)
{
	return (char)(id[15] * 31 + id[14] + at * 7 + (at >> 10));
}

static inline bool body_is_right(const Locum__Deliver *d, int fd)
{
	Locum__Envelope *e = locum__envelope__unpack(NULL, d->envelope.len, d->envelope.data);
	char *body = malloc(d->body_bytes + 1);
	bool right;

	assert_non_null(e);
	assert_non_null(body);
	right = sys_read_at(fd, body, d->body_bytes, d->body_offset) == (ssize_t)d->body_bytes;
	right = right && crc32c(0, str_mem(body, d->body_bytes)) == d->body_crc32c;
	for (size_t i = 0; right && i < d->body_bytes; i++)
		right = body[i] == body_byte(e->id.data, i);
	free(body);
	locum__envelope__free_unpacked(e, NULL);
	return right;
}

static inline void fill_offers(const struct world *w, Locum__Host *host)
{
	host->greeted = w->greets;
	host->offers = w->its_offers;
	host->size_bytes = w->its_size;
}

static inline void answer_delivery(struct world *w, struct channel *ch, uint64_t call)
{
	Locum__Delivered delivered = LOCUM__DELIVERED__INIT;
	Locum__Host host = LOCUM__HOST__INIT;
	static Locum__RecipientOutcome outcome[TRIES_MAX], *outcomes[TRIES_MAX];

	IPC_PACKET(p, DELIVERED, delivered, &delivered);
	host.destination = (char *)"mail.example:25";
	host.name = (char *)"mail.example";
	fill_offers(w, &host);
	delivered.notes = (char **)&w->note;
	delivered.n_notes = w->note != NULL;
	delivered.attempt = w->script.attempt;
	delivered.text = (char *)w->script.reply;
	delivered.host = &host;
	delivered.latency_us = 1000;
	for (uint32_t i = 0; i < w->asked_count; i++) {
		uint32_t n = w->asked[i];

		outcomes[i] = &outcome[i];
		locum__recipient_outcome__init(&outcome[i]);
		outcome[i].recipient = n;
		outcome[i].outcome = w->script.outcome;
		if (n < ELEMENTS(w->by_recipient) && w->by_recipient[n])
			outcome[i].outcome = w->by_recipient[n];
		outcome[i].reply = (char *)w->script.reply;
	}
	delivered.outcomes = outcomes;
	delivered.n_outcomes = w->asked_count;
	ipc_reply(w->tk, ch, call, &p, -1, NEVER);
}

static inline void fake_smtpout(struct task *tk, struct channel *ch, struct ipc_message *m,
				void *arg)
{
	struct world *w = arg;
	const Locum__Deliver *d = m->packet->deliver;
	Locum__Probed probed = LOCUM__PROBED__INIT;

	(void)tk;
	if (m->packet->body_case == LOCUM__PACKET__BODY_FORGET_DNS) {
		w->dns_forgotten++;
		return;
	}
	if (m->packet->body_case == LOCUM__PACKET__BODY_PROBE) {
		Locum__Host host = LOCUM__HOST__INIT;
		IPC_PACKET(p, PROBED, probed, &probed);

		fill_offers(w, &host);
		probed.host = &host;
		w->probes++;
		probed.attempt = w->script.probe;
		probed.text = (char *)w->script.reply;
		ipc_reply(w->tk, ch, m->packet->call, &p, -1, NEVER);
		return;
	}
	w->deliveries++;
	w->asked_count = (uint32_t)MIN(d->n_recipients, (size_t)TRIES_MAX);
	w->asked_in_all += w->asked_count;
	memcpy(w->asked, d->recipients, w->asked_count * sizeof(w->asked[0]));
	w->ambiguous = d->ambiguous;
	w->body_ok = m->fd_count == 1 && body_is_right(d, m->fd[0]);
	snprintf(w->domain, sizeof(w->domain), "%s", d->domain);
	w->held_call = m->packet->call;
	if (!w->silent && !(w->silent_after && w->deliveries > w->silent_after))
		answer_delivery(w, ch, m->packet->call);
}

/* --- ends of channels --- */

static inline void fake_smtpin_offers(struct world *w, const Locum__PrimaryOffers *said)
{
	if (said->first) {
		w->offers_begun++;
		w->offers_told = 0;
	}
	for (size_t i = 0; i < said->n_domains; i++) {
		size_t n = said->domains[i]->domain[0] == 'b';

		w->states_of_domains++;
		w->state[n] = said->domains[i]->state;
		w->destination[n] = said->domains[i]->destination;
		if (!said->domains[i]->seen_wall)
			continue;
		w->offers_told++;
		w->offers[n] = said->domains[i]->offers;
		w->offers_size[n] = said->domains[i]->size_bytes;
	}
}

static inline void fake_smtpin(struct task *tk, struct channel *ch, struct ipc_message *m,
			       void *arg)
{
	struct world *w = arg;

	(void)tk;
	(void)ch;
	if (m->packet->body_case == LOCUM__PACKET__BODY_PRIMARY_OFFERS) {
		fake_smtpin_offers(w, m->packet->primary_offers);
		return;
	}
	w->states_told++;
	w->accepting = m->packet->spool_state->accepting;
}

static inline void test_end_closed(struct channel *ch, int r, void *arg)
{
	(void)ch;
	(void)r;
	(void)arg;
}

/* As the worker does it. */
static inline void spoold_end_closed(struct channel *ch, int r, void *arg)
{
	struct world *w = arg;

	(void)r;
	for (size_t i = 0; i < ELEMENTS(w->at_spoold); i++)
		if (w->at_spoold[i] == ch)
			w->at_spoold[i] = NULL;
	spoold_peer_gone(w->sp, ch);
	channel_free(ch);
}

static inline void to_spoold(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct world *w = arg;

	spoold_message(tk, ch, m, w->sp);
}

static inline void connect_peer(struct world *w, Locum__Process peer, ipc_handler *handler,
				struct channel **ret_channel, struct channel **ret_at_spoold)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(channel_new(w->loop, pair[0], peer, LOCUM__PROCESS__SPOOLD, 0, handler,
				     test_end_closed, w, ret_channel),
			 0);
	assert_int_equal(channel_new(w->loop, pair[1], LOCUM__PROCESS__SPOOLD, peer, 0, to_spoold,
				     spoold_end_closed, w, ret_at_spoold),
			 0);
	spoold_peer(w->sp, *ret_at_spoold);
}

static inline void connect_smtpin(struct world *w)
{
	connect_peer(w, LOCUM__PROCESS__SMTPIN, fake_smtpin, &w->smtpin, &w->at_spoold[0]);
}

static inline void connect_smtpout(struct world *w)
{
	connect_peer(w, LOCUM__PROCESS__SMTPOUT, fake_smtpout, &w->smtpout, &w->at_spoold[1]);
}

static inline void kill_smtpout(struct world *w)
{
	channel_free(w->smtpout);
	w->smtpout = NULL;
}

static inline void connect_locum(struct world *w)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	w->locum = pair[0];
	command_client(w->sp, 1000, pair[1]);
}

static inline void forget_answers(struct world *w)
{
	for (size_t i = 0; i < w->answers; i++)
		locum__packet__free_unpacked(w->answer[i], NULL);
	w->answers = 0;
	if (w->answer_fd >= 0)
		close(w->answer_fd);
	w->answer_fd = -1;
}

/* --- life --- */

static inline void world_start(struct world *w)
{
	assert_int_equal(spoold_new(w->loop, w->conf, w->dir, &w->sp), 0);
	assert_int_equal(spoold_start(w->sp), 0);
	connect_smtpin(w);
}

static inline void world_stop(struct world *w)
{
	spoold_stop(w->tk, w->sp);
	for (size_t i = 0; i < ELEMENTS(w->at_spoold); i++)
		if (w->at_spoold[i]) {
			spoold_peer_gone(w->sp, w->at_spoold[i]);
			channel_free(w->at_spoold[i]);
			w->at_spoold[i] = NULL;
		}
	channel_free(w->smtpin);
	channel_free(w->smtpout);
	w->smtpin = w->smtpout = NULL;
	if (w->locum >= 0)
		close(w->locum);
	w->locum = -1;
	for (int i = 0; i < 100 && loop_task_count(w->loop) > 1; i++)
		task_sleep(w->tk, NSEC_MS);
	assert_int_equal(loop_task_count(w->loop), 1);
	spoold_free(w->sp);
	w->sp = NULL;
}

static inline void world_restart(struct world *w)
{
	world_stop(w);
	world_start(w);
}

struct world_run {
	void (*test)(struct world *w);
};

static inline void world_task(struct task *tk, void *arg)
{
	struct world_run *run = arg;
	static struct world world;
	struct world *w = &world;
	char rm[160];

	*w = (struct world){
		.tk = tk, .loop = task_loop(tk), .script = it_works, .answer_fd = -1, .locum = -1
	};
	snprintf(w->dir, sizeof(w->dir), "/tmp/spoold-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->conf = conf_of(usual_domains, ELEMENTS(usual_domains), 1);
	world_start(w);
	run->test(w);
	world_stop(w);
	conf_unref(w->conf);
	forget_answers(w);
	snprintf(rm, sizeof(rm), "rm -rf %.60s %.60s.copy", w->dir, w->dir);
	assert_int_equal(system(rm), 0);
}

static inline void world_run(void (*test)(struct world *w))
{
	_cleanup_(loop_freep) struct loop *loop = NULL;
	struct world_run run = { test };

	log_open("spoold", LOG_ERROR + 1, LOG_TEXT);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(task_start(loop, NULL, "test", world_task, &run), 0);
	assert_int_equal(loop_run(loop), 0);
}

#define WORLD_TEST(name)                                                                           \
	static void name##_in(struct world *w);                                                    \
	static void name(void **state)                                                             \
	{                                                                                          \
		(void)state;                                                                       \
		world_run(name##_in);                                                              \
	}                                                                                          \
	static void name##_in(struct world *w)

/* Until the condition holds, or the test fails. */
#define UNTIL(w, condition)                                                                        \
	do {                                                                                       \
		nsec until_ = task_in((w)->tk, WAIT);                                              \
		while (!(condition)) {                                                             \
			task_sleep((w)->tk, NSEC_MS);                                              \
			if (task_now((w)->tk) > until_)                                            \
				fail_msg("waited in vain: %s", #condition);                        \
		}                                                                                  \
	} while (0)

/* --- the fake smtpin --- */

static inline msg_id number_id(unsigned n)
{
	msg_id id = { { 0x01, 0x90, 0, 0, (uint8_t)(n >> 8), (uint8_t)n } };

	id.byte[8] = (uint8_t)(n * 37);
	id.byte[14] = (uint8_t)(n >> 8);
	id.byte[15] = (uint8_t)n;
	return id;
}

static inline int body_file(msg_id id, uint64_t bytes)
{
	int fd = sys_memfd("body");
	char *body = malloc(bytes + 1);

	assert_true(fd >= 0);
	assert_non_null(body);
	for (size_t i = 0; i < bytes; i++)
		body[i] = body_byte(id.byte, i);
	assert_int_equal(sys_write(fd, str_mem(body, bytes)), 0);
	free(body);
	return fd;
}

/* An envelope on the caller's stack: "u0@a.example", "u1@…" and so on. */
struct envelope {
	Locum__Envelope e;
	Locum__Client client;
	Locum__Recipient r[8], *rs[8];
	char address[8][64];
	msg_id id;
};

static inline void envelope_make(struct envelope *x, unsigned n, const char *const *domains,
				 size_t recipients, uint64_t body_bytes)
{
	x->id = number_id(n);
	locum__envelope__init(&x->e);
	locum__client__init(&x->client);
	x->client.address = (char *)"192.0.2.7";
	x->client.name = (char *)"client.example.org";
	x->client.helo = (ProtobufCBinaryData){ 6, (uint8_t *)"client" };
	x->client.listener = (char *)"mx";
	x->e.id = (ProtobufCBinaryData){ sizeof(x->id.byte), x->id.byte };
	x->e.reverse_path = (ProtobufCBinaryData){ 18, (uint8_t *)"sender@example.org" };
	x->e.client = &x->client;
	x->e.arrived_wall = sys_now_wall();
	x->e.body_bytes = body_bytes;
	x->e.recipients = x->rs;
	x->e.n_recipients = recipients;
	for (size_t i = 0; i < recipients; i++) {
		x->rs[i] = &x->r[i];
		locum__recipient__init(&x->r[i]);
		snprintf(x->address[i], sizeof(x->address[i]), "u%zu@%s", i, domains[i]);
		x->r[i].address.data = (uint8_t *)x->address[i];
		x->r[i].address.len = strlen(x->address[i]);
		x->r[i].domain = (char *)domains[i];
	}
}

/* The result, or a negative errno. fd is closed. */
static inline int append_marked(struct task *tk, struct world *w, struct envelope *x, int fd,
				bool ambiguous)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__Append body = LOCUM__APPEND__INIT;
	int r;

	IPC_PACKET(p, APPEND, append, &body);
	body.envelope = &x->e;
	body.ambiguous = ambiguous;
	r = ipc_call(tk, w->smtpin, &p, fd, &reply, task_in(tk, WAIT));
	if (fd >= 0)
		close(fd);
	return r < 0 ? r : (int)reply.packet->appended->result;
}

static inline int append_envelope(struct task *tk, struct world *w, struct envelope *x, int fd)
{
	return append_marked(tk, w, x, fd, false);
}

static inline int append(struct world *w, unsigned n, const char *const *domains, size_t recipients,
			 uint64_t body_bytes)
{
	struct envelope x;
	int fd = body_file(number_id(n), body_bytes);

	assert_int_equal(sys_memfd_seal(fd), 0);
	envelope_make(&x, n, domains, recipients, body_bytes);
	return append_envelope(w->tk, w, &x, fd);
}

static const char *const to_a[] = { "a.example", "a.example", "a.example" };
static const char *const to_a_and_b[] = { "a.example", "b.example", "a.example" };

static inline void append_one(struct world *w, unsigned n)
{
	assert_int_equal(append(w, n, to_a, 1, 1000), LOCUM__APPEND_RESULT__APPENDED);
}

/* --- looking --- */

static inline bool is_done(struct world *w, unsigned n)
{
	return finished_find(&w->sp->finished, number_id(n)) && !message_find(w->sp, number_id(n));
}

static inline struct sched_entry *entry(struct world *w, unsigned n, unsigned part)
{
	struct message *m = message_find(w->sp, number_id(n));

	assert_non_null(m);
	return &m->part[part].entry;
}

/* The state as the spool has it. */
static inline Locum__StoredState *stored(struct world *w, unsigned n, struct loaded *l)
{
	struct message *m = message_find(w->sp, number_id(n));

	assert_non_null(m);
	assert_int_equal(message_load(w->sp, m, l), 0);
	return l->state;
}

/* --- the fake locum --- */

static inline const Locum__Answer *last_answer(const struct world *w)
{
	return w->answers ? w->answer[w->answers - 1]->answer : NULL;
}

/* Asks, and keeps every row of the answer; returns the last one. */
static inline const Locum__Answer *ask_spoold(struct world *w, const Locum__Command *command)
{
	IPC_PACKET(p, COMMAND, command, (Locum__Command *)command);
	nsec until = task_in(w->tk, WAIT);

	if (w->locum < 0)
		connect_locum(w);
	forget_answers(w);
	assert_int_equal(ipc_send_blocking(w->locum, &p), 0);
	while (!last_answer(w) || !last_answer(w)->last) {
		_cleanup_(ipc_message_done) struct ipc_message m = { 0 };
		struct pollfd readable = { .fd = w->locum, .events = POLLIN };

		assert_true(task_now(w->tk) < until);
		assert_true(w->answers < ELEMENTS(w->answer));
		if (poll(&readable, 1, 0) == 0) {
			task_sleep(w->tk, NSEC_MS);
			continue;
		}
		assert_int_equal(ipc_recv_blocking(w->locum, LOCUM__PROCESS__SPOOLD, &m), 0);
		if (m.fd_count > 0)
			w->answer_fd = ipc_take_fd(&m, 0);
		w->answer[w->answers++] = TAKE(m.packet);
	}
	return last_answer(w);
}

static inline const Locum__Answer *ask_verb(struct world *w, Locum__Verb verb, const char *domain)
{
	Locum__Command c = LOCUM__COMMAND__INIT;

	c.verb = verb;
	c.domain = (char *)domain;
	return ask_spoold(w, &c);
}

static inline const Locum__Answer *ask_id(struct world *w, Locum__Verb verb, unsigned n)
{
	Locum__Command c = LOCUM__COMMAND__INIT;
	msg_id id = number_id(n);

	c.verb = verb;
	c.id = (ProtobufCBinaryData){ sizeof(id.byte), id.byte };
	return ask_spoold(w, &c);
}
