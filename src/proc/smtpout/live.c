#include "proc/smtpout/live.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/smtpout/learn.h"
#include "proc/smtpout/handover.h"
#include "proc/smtpout/headers.h"
#include "proc/smtpout/smtpout.h"
#include "task/sys.h"

#define ANSWER_TIME (10 * NSEC_S)
#define DECLINE_TIME NSEC_S
#define DOMAIN_MAX 255
#define RECIPIENTS_FIRST 4
#define LINES_MAX REPLY_LINES_KEPT

/* --- the table --- */

static uint64_t key_hash(const struct lives *ls, const struct channel *ch, uint64_t number)
{
	const uint64_t key[] = { (uintptr_t)ch, number };

	return str_hash((str){ (const char *)key, sizeof(key) }, ls->seed, false);
}

static struct live *find(struct lives *ls, const struct channel *ch, uint64_t number)
{
	MAP_FIND (&ls->map, key_hash(ls, ch, number), struct live, link, l) {
		if (l->smtpin == ch && l->number == number && !l->over)
			return l;
	}
	return NULL;
}

/* Over, and nobody is at it: what it holds is given back by a task. */
static void retire(struct live *l)
{
	struct lives *ls = &l->so->lives;

	map_remove(&ls->map, &l->link);
	l->smtpin = NULL;
	list_append(&ls->ended, &l->ended);
	signal_raise(&ls->changed);
}

void live_leave_alone(struct live *l)
{
	if (l->over && !l->busy && !l->placing)
		retire(l);
}

static void forget(struct live *l)
{
	if (l->over)
		return;
	l->over = true;
	live_leave_alone(l);
}

static void live_free(struct live *l)
{
	l->so->lives.count--;
	list_remove(&l->idle);
	list_remove(&l->ended);
	if (l->handover.body_fd >= 0)
		sys_close(l->handover.body_fd);
	if (l->first)
		locum__packet__free_unpacked(l->first, NULL);
	if (l->last)
		locum__packet__free_unpacked(l->last, NULL);
	buf_done(&l->received);
	arena_done(&l->arena);
	arena_done(&l->scratch);
	free(l);
}

static struct live *add(struct smtpout *so, struct channel *ch, uint64_t number)
{
	struct lives *ls = &so->lives;
	struct live *l = ls->count < LIVE_MAX ? calloc(1, sizeof(*l)) : NULL;

	if (!l)
		return NULL;
	l->so = so;
	l->smtpin = ch;
	l->number = number;
	l->handover.body_fd = -1;
	list_init(&l->idle);
	list_init(&l->ended);
	arena_init(&l->arena, LIVE_ARENA_MAX);
	arena_init(&l->scratch, LIVE_SCRATCH_MAX);
	l->handover.arena = &l->scratch;
	l->handover.keep_lines = l->handover.in_haste = true;
	signal_init(&l->place_came);
	l->handover.reply_bytes_max = CONN_TEXT_MAX;
	if (map_insert(&ls->map, &l->link, key_hash(ls, ch, number)) < 0) {
		free(l);
		return NULL;
	}
	ls->count++;
	return l;
}

/* --- what is asked --- */

static bool domain_fits(str domain)
{
	for (size_t i = 0; i < domain.n; i++) {
		if ((unsigned char)domain.p[i] <= ' ' || domain.p[i] == 0x7f)
			return false;
	}
	return domain.n > 0 && domain.n <= DOMAIN_MAX;
}

/* NULL, or why not. */
static const char *keep_first(struct live *l, struct ipc_message *m)
{
	const Locum__Envelope *e = m->packet->live_ask->envelope;

	if (locum__envelope__get_packed_size(e) > LIVE_ENVELOPE_MAX)
		return "the envelope is too large";
	l->domain = arena_str(&l->arena, str_of(m->packet->live_ask->domain));
	if (!l->domain.p)
		return "out of memory";
	if (smtpout_introduction(l->so, e, l->domain.p, &l->arena, &l->who, &l->handover.who) < 0)
		return "out of memory";
	handover_fill(e, &l->handover);
	l->handover.body_announced = e->body_bytes;
	l->first = TAKE(m->packet);
	return NULL;
}

static bool add_room(struct live *l)
{
	struct handover *h = &l->handover;
	size_t max = l->recipients_max > 0 ? 2 * l->recipients_max : RECIPIENTS_FIRST;
	struct handover_recipient *more;

	if (h->recipient_count < l->recipients_max)
		return true;
	more = ARENA_ARRAY(&l->arena, struct handover_recipient, max);
	if (!more)
		return false;
	if (h->recipient_count > 0)
		memcpy(more, h->recipients, h->recipient_count * sizeof(*more));
	h->recipients = more;
	l->recipients_max = max;
	return true;
}

static const char *keep_recipient(struct live *l, const Locum__Recipient *r)
{
	struct handover *h = &l->handover;
	struct handover_recipient *to;

	if (h->recipient_count >= LIVE_RECIPIENTS_MAX)
		return "too many recipients";
	if (!add_room(l))
		return "out of memory";
	to = &h->recipients[h->recipient_count];
	*to = (struct handover_recipient){ 0 };
	handover_fill_recipient(r, to);
	to->address = arena_str(&l->arena, to->address);
	to->notify = arena_str(&l->arena, to->notify);
	to->orcpt = arena_str(&l->arena, to->orcpt);
	if (!to->address.p || !to->notify.p || !to->orcpt.p)
		return "out of memory";
	h->recipient_count++;
	return NULL;
}

/* --- what came of it --- */

static void fill_lines(const struct live_result *result, struct arena *arena,
		       Locum__LiveAnswer *answer)
{
	str rest = result->lines, line;

	answer->lines = ARENA_ARRAY(arena, char *, LINES_MAX);
	while (answer->lines && answer->n_lines < LINES_MAX && str_cut(rest, '\n', &line, &rest)) {
		str copy = arena_str(arena, line);

		if (!copy.p)
			break;
		answer->lines[answer->n_lines++] = (char *)copy.p;
	}
}

static void answer(struct task *tk, struct live *l, const struct live_result *result)
{
	Locum__LiveAnswer answer = LOCUM__LIVE_ANSWER__INIT;
	Locum__Host host = LOCUM__HOST__INIT;
	IPC_PACKET(packet, LIVE_ANSWER, live_answer, &answer);
	int r;

	answer.way = result->way;
	answer.code = (uint32_t)result->code;
	if (result->way == LOCUM__LIVE_WAY__LIVE_REPLY)
		fill_lines(result, &l->scratch, &answer);
	else if (result->text.p)
		answer.text = (char *)result->text.p;
	smtpout_fill_host(&host, &l->contact);
	answer.host = &host;
	answer.latency_us = (uint64_t)(result->latency / NSEC_US);
	if (!l->smtpin)
		return;
	r = ipc_reply(tk, l->smtpin, l->call, &packet, -1, task_in(tk, ANSWER_TIME));
	if (r < 0 && r != -EPIPE)
		log_error("live.answer_lost", K_ERR(r));
}

static void log_message(const struct live *l, const struct live_result *result)
{
	const char *event = result->way == LOCUM__LIVE_WAY__LIVE_AMBIGUOUS ? "live.ambiguous"
			    : l->delivered                                 ? "live.delivered"
									   : "live.message_refused";
	const struct handover *h = &l->handover;

	log_info(event, K_ID("id", l->id), K("domain", l->domain),
		 K("recipient", h->recipients[0].address), K_INT("recipients", h->recipient_count),
		 K("host", l->contact.host), K("address", l->contact.address),
		 K("reply", result->text), K("tls", l->contact.tls_version),
		 K_NSEC("latency", l->spent));
}

static void log_refused_recipient(const struct live *l, const struct handover_recipient *to)
{
	log_info("live.recipient_refused", K("domain", l->domain), K("recipient", to->address),
		 K("host", l->contact.host), K("address", l->contact.address),
		 K("reply", to->reply), K_NSEC("latency", l->spent));
}

static void log_away(const struct live *l, const struct live_result *result)
{
	log_info("live.away", K("domain", l->domain),
		 K_Z("at", l->sending ? "the message" : "RCPT"), K("host", l->contact.host),
		 K("address", l->contact.address), K("text", result->text));
}

/* --- the tasks --- */

static void end_question(struct live *l)
{
	l->busy = false;
	live_leave_alone(l);
}

/* The connection waits for smtpin. */
static void be_idle(struct task *tk, struct live *l)
{
	struct lives *ls = &l->so->lives;
	bool first = list_empty(&ls->idle);

	l->idle_until = task_in(tk, ls->idle_time);
	list_append(&ls->idle, &l->idle);
	if (first)
		signal_raise(&ls->changed);
}

static void ask_task(struct task *tk, void *arg)
{
	struct live *l = arg;
	struct live_result result = live_talk_ask(tk, l);
	struct handover_recipient *to = &l->handover.recipients[l->handover.recipient_count - 1];

	answer(tk, l, &result); /* first of all: a client waits */
	if (result.way != LOCUM__LIVE_WAY__LIVE_REPLY)
		log_away(l, &result);
	else if (!to->accepted)
		log_refused_recipient(l, to);
	if (to->rcpt_reply.p && l->asked_domain.p)
		learn_reply(tk, l->so, l->asked_domain.p, to->address, to->rcpt_reply);
	if (result.way != LOCUM__LIVE_WAY__LIVE_REPLY) {
		live_talk_release(tk, l);
		forget(l);
	} else if (l->transaction.mail_failed) {
		live_talk_release(tk, l);
	} else {
		if (!to->accepted)
			transaction_drop_last(&l->transaction);
		to->reply = to->lines = STR_NONE;
		arena_reset(&l->scratch);
		be_idle(tk, l);
	}
	end_question(l);
}

static void send_task(struct task *tk, void *arg)
{
	struct live *l = arg;
	struct live_result result = { .way = LOCUM__LIVE_WAY__LIVE_AWAY,
				      .text = STR("our headers cannot be made") };

	if (headers_make(tk, smtpout_evidence_key(l->so, l->domain.p), l->last->live_send->envelope,
			 l->domain, &l->handover, &l->received) == 0)
		result = live_talk_send(tk, l);

	answer(tk, l, &result);
	if (result.way == LOCUM__LIVE_WAY__LIVE_AWAY)
		log_away(l, &result);
	else
		log_message(l, &result);
	live_talk_release(tk, l);
	forget(l);
	end_question(l);
}

/* Gives back what is idle too long, and ends what is over. */
static void janitor(struct task *tk, void *arg)
{
	struct smtpout *so = arg;
	struct lives *ls = &so->lives;

	while (!ls->closing) {
		struct live *over = LIST_FIRST(&ls->ended, struct live, ended);
		struct live *idle = LIST_FIRST(&ls->idle, struct live, idle);

		if (over) {
			list_remove(&over->ended);
			live_talk_release(tk, over);
			live_free(over);
			continue;
		}
		if (idle && idle->idle_until <= task_now(tk)) {
			idle->busy = true;
			live_talk_release(tk, idle);
			end_question(idle);
			continue;
		}
		if (signal_wait(tk, &ls->changed, idle ? idle->idle_until : NEVER) == -ECANCELED)
			return;
	}
}

/* --- messages --- */

static void decline(struct task *tk, struct channel *ch, uint64_t call, const char *why)
{
	Locum__LiveAnswer answer = LOCUM__LIVE_ANSWER__INIT;
	IPC_PACKET(packet, LIVE_ANSWER, live_answer, &answer);

	answer.text = (char *)why;
	ipc_reply(tk, ch, call, &packet, -1, task_in(tk, DECLINE_TIME));
}

/* NULL, or why the question cannot be answered. */
static const char *start(struct live *l, task_fn *fn, const char *name)
{
	struct smtpout *so = l->so;

	l->busy = true;
	list_remove(&l->idle);
	if (task_start(so->loop, &so->jobs, name, fn, l) == 0)
		return NULL;
	l->busy = false;
	return "out of memory";
}

/* Another domain's recipient goes with it only where its mail goes to the same hosts now: what smtpin knows of
 * that may be old. */
static bool is_elsewhere(struct smtpout *so, const struct live *l, const Locum__LiveAsk *question)
{
	str domain = str_of(question->domain);

	return !str_case_eq(domain, l->domain) &&
	       !(l->open && pool_leads_to(&so->outbound.pool, domain, l->contact.destination));
}

/* RFC 5321 §4.5.3.1.10, docs/decisions/0009. The transaction goes on. */
static void answer_elsewhere(struct task *tk, struct channel *ch, uint64_t call)
{
	Locum__LiveAnswer answer = LOCUM__LIVE_ANSWER__INIT;
	IPC_PACKET(packet, LIVE_ANSWER, live_answer, &answer);
	Locum__Host host = LOCUM__HOST__INIT;
	char *line = (char *)"4.5.3 Recipients of another server: send them in another transaction";

	answer.way = LOCUM__LIVE_WAY__LIVE_REPLY;
	answer.host = &host; /* nobody's words but ours */
	answer.code = 452;
	answer.lines = &line;
	answer.n_lines = 1;
	ipc_reply(tk, ch, call, &packet, -1, task_in(tk, DECLINE_TIME));
}

/* NULL: it will be answered. Else why not, and then there is no such transaction any more. */
static const char *start_ask(struct smtpout *so, struct channel *ch, struct live *l,
			     struct ipc_message *m)
{
	const Locum__LiveAsk *question = m->packet->live_ask;
	uint64_t call = m->packet->call;
	const char *why;

	if (!question->recipient || !domain_fits(str_of(question->domain)))
		return "the question is not complete";
	if (!l && !question->envelope)
		return "the transaction is not known";
	if (!l) {
		l = add(so, ch, question->live);
		if (!l)
			return "smtpout has no room for another transaction";
		why = keep_first(l, m);
	} else {
		why = NULL;
	}
	l->call = call;
	l->sending = false;
	if (!why)
		why = keep_recipient(l, question->recipient);
	l->asked_domain = arena_str(&l->arena, str_of(question->domain));
	l->mixed = l->mixed || !str_case_eq(l->asked_domain, l->domain);
	if (!why)
		why = start(l, ask_task, "live recipient");
	if (why)
		forget(l);
	return why;
}

/* The recipients are those that the primary took. */
static bool agrees(const struct live *l, const Locum__Envelope *e)
{
	const struct handover *h = &l->handover;
	size_t at = 0;

	for (size_t i = 0; i < h->recipient_count; i++, at++) {
		const Locum__Recipient *r = at < e->n_recipients ? e->recipients[at] : NULL;

		if (!r ||
		    !str_eq(str_mem(r->address.data, r->address.len), h->recipients[i].address))
			return false;
	}
	return at > 0 && at == e->n_recipients;
}

static const char *keep_message(struct live *l, struct ipc_message *m)
{
	const Locum__LiveSend *question = m->packet->live_send;
	const Locum__Envelope *e = question->envelope;
	struct handover *h = &l->handover;
	uint64_t bytes = 0;

	if (!e || handover_id(e, &l->id) < 0)
		return "the envelope is not complete";
	if (!agrees(l, e))
		return "the recipients are not those that were asked";
	if (e->body_binarymime && !h->body_binarymime)
		return "that the message is binary was said too late";
	h->body_fd = ipc_take_fd(m, 0);
	if (h->body_fd < 0 || sys_memfd_sealed(h->body_fd) < 0 ||
	    sys_size(h->body_fd, &bytes) < 0 || bytes != e->body_bytes)
		return "the body is not what it should be";
	h->body_bytes = bytes;
	h->body_crc32c = question->body_crc32c;
	l->last = TAKE(m->packet);
	return NULL;
}

static const char *start_send(struct live *l, struct ipc_message *m)
{
	const char *why;

	if (!l)
		return "the transaction is not known";
	l->call = m->packet->call;
	l->sending = true;
	why = keep_message(l, m);
	if (!why)
		why = start(l, send_task, "live message");
	if (why)
		forget(l);
	return why;
}

void lives_message(struct task *tk, struct smtpout *so, struct channel *ch, struct ipc_message *m)
{
	bool asks = m->packet->body_case == LOCUM__PACKET__BODY_LIVE_ASK;
	uint64_t number = asks ? m->packet->live_ask->live
			  : m->packet->body_case == LOCUM__PACKET__BODY_LIVE_SEND
				  ? m->packet->live_send->live
				  : m->packet->live_end->live;
	struct live *l = find(&so->lives, ch, number);
	uint64_t call = m->packet->call;
	const char *why;

	if (m->packet->body_case == LOCUM__PACKET__BODY_LIVE_END) {
		if (l)
			forget(l);
		return;
	}
	if (l && !l->busy && asks && is_elsewhere(so, l, m->packet->live_ask)) {
		answer_elsewhere(tk, ch, call);
		return;
	}
	if (l && l->busy)
		why = "the question before is not answered yet";
	else if (so->stopping && asks)
		why = "smtpout is shutting down";
	else
		why = asks ? start_ask(so, ch, l, m) : start_send(l, m);
	if (why) {
		log_warn("live.declined", K_Z("text", why));
		decline(tk, ch, call, why);
	}
}

void lives_forget(struct smtpout *so, struct channel *ch)
{
	struct map_link *link = map_walk(&so->lives.map, NULL);

	while (link) {
		struct live *l = CONTAINER(link, struct live, link);

		link = map_walk(&so->lives.map, link);
		if (l->smtpin != ch)
			continue;
		l->smtpin = NULL;
		forget(l);
	}
}

/* --- all of them --- */

int lives_init(struct smtpout *so)
{
	struct lives *ls = &so->lives;

	*ls = (struct lives){ .idle_time = LIVE_IDLE_TIME, .place_wait = LIVE_PLACE_WAIT };
	map_init(&ls->map);
	list_init(&ls->idle);
	list_init(&ls->ended);
	signal_init(&ls->changed);
	sys_random(ls->seed, sizeof(ls->seed));
	group_init(&ls->tasks, so->loop);
	return task_start(so->loop, &ls->tasks, "live janitor", janitor, so);
}

void lives_close(struct task *tk, struct smtpout *so)
{
	struct lives *ls = &so->lives;
	struct map_link *link;
	struct live *l;

	ls->closing = true;
	signal_raise(&ls->changed);
	group_wait(tk, &ls->tasks, NEVER);
	while ((link = map_walk(&ls->map, NULL)))
		forget(CONTAINER(link, struct live, link));
	while ((l = LIST_FIRST(&ls->ended, struct live, ended))) {
		list_remove(&l->ended);
		live_talk_release(tk, l);
		live_free(l);
	}
	must(ls->count == 0);
	map_done(&ls->map);
}
