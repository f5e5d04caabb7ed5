/* smtpin's side: messages come in, are put in the batch, and are answered once it is durable. */
#include "proc/spoold/command.h"
#include "proc/spoold/spoold.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#define BIG_BODY_BYTES ((uint64_t)1 << 20) /* spool_append may park while it copies */
#define ADDRESS_MAX 320
#define ARRIVAL_AGE_MAX NSEC_HOUR /* a session does not last longer */
#define REPLY_DEADLINE (30 * NSEC_S)
#define OFFERS_ARENA_MAX ((size_t)64 << 20)
#define ETRN_EVERY NSEC_MINUTE /* of one domain */
#define ETRNS_MAX 1000         /* waiting for their answer, of one smtpin */

/* One smtpin. It lives on, without a channel, while something of it is in the batch. */
struct smtpin {
	struct list link;
	struct spoold *sp;
	struct channel *channel; /* NULL: gone */
	unsigned users;          /* the sender task and the appends in progress */
	struct list replies;     /* of struct appending, to be answered */
	struct list etrns;       /* of struct etrn, to be answered */
	unsigned etrn_count;
	bool state_changed;
	bool offers_first;    /* nothing of them was said yet */
	uint64_t offers_told; /* those up to this serial were said */
	struct signal changed;
	Locum__SmtpinCounters counters;
};

struct appending {
	struct list link; /* in the batch, then in the replies */
	struct smtpin *from;
	uint64_t call;
	struct message *message;
	struct buf envelope;
	struct buf state; /* empty: nothing has happened to it yet */
	int fd;
	uint64_t body_bytes;
	Locum__AppendResult result;
};

struct etrn {
	struct list link;
	uint64_t call;
	bool started;
	uint64_t messages;
};

struct appending *append_of(struct list *link)
{
	return CONTAINER(link, struct appending, link);
}

static void smtpin_leave(struct smtpin *p)
{
	if (--p->users > 0)
		return;
	list_remove(&p->link);
	free(p);
}

static void appending_free(struct appending *a)
{
	if (a->fd >= 0)
		sys_close(a->fd);
	buf_done(&a->envelope);
	buf_done(&a->state);
	smtpin_leave(a->from);
	free(a);
}

/* --- answers --- */

static void answer(struct appending *a, Locum__AppendResult result)
{
	a->result = result;
	if (!a->from->channel || a->from->sp->closed) {
		appending_free(a);
		return;
	}
	list_append(&a->from->replies, &a->link);
	signal_raise(&a->from->changed);
}

static int send_state(struct task *tk, struct smtpin *p)
{
	Locum__SpoolState state = LOCUM__SPOOL_STATE__INIT;
	IPC_PACKET(packet, SPOOL_STATE, spool_state, &state);

	p->state_changed = false;
	state.accepting = p->sp->accepting;
	state.bytes_free = p->sp->usage.free_bytes;
	return ipc_send(tk, p->channel, &packet, -1, task_in(tk, REPLY_DEADLINE));
}

static int send_reply(struct task *tk, struct smtpin *p)
{
	struct appending *a = append_of(list_take(&p->replies));
	Locum__Appended appended = LOCUM__APPENDED__INIT;
	IPC_PACKET(packet, APPENDED, appended, &appended);
	uint64_t call = a->call;

	appended.result = a->result;
	appending_free(a);
	return ipc_reply(tk, p->channel, call, &packet, -1, task_in(tk, REPLY_DEADLINE));
}

static int send_offers(struct task *tk, struct smtpin *p)
{
	_cleanup_(arena_done) struct arena a;
	Locum__PrimaryOffers said = LOCUM__PRIMARY_OFFERS__INIT;
	IPC_PACKET(packet, PRIMARY_OFFERS, primary_offers, &said);

	arena_init(&a, OFFERS_ARENA_MAX);
	said.first = p->offers_first;
	p->offers_first = false;
	p->offers_told = known_fill(p->sp, p->offers_told, &a, &said);
	return ipc_send(tk, p->channel, &packet, -1, task_in(tk, REPLY_DEADLINE));
}

static int send_etrn(struct task *tk, struct smtpin *p)
{
	_cleanup_(freep) struct etrn *e = CONTAINER(list_take(&p->etrns), struct etrn, link);
	Locum__EtrnAnswered answered = LOCUM__ETRN_ANSWERED__INIT;
	IPC_PACKET(packet, ETRN_ANSWERED, etrn_answered, &answered);

	p->etrn_count--;
	answered.started = e->started;
	answered.messages = e->messages;
	return ipc_reply(tk, p->channel, e->call, &packet, -1, task_in(tk, REPLY_DEADLINE));
}

/* One task a smtpin writes to it, so that a slow one delays nobody else. */
static void sender(struct task *tk, void *arg)
{
	struct smtpin *p = arg;

	while (p->channel && !task_cancelled(tk)) {
		if (p->state_changed)
			send_state(tk, p);
		else if (!list_empty(&p->replies))
			send_reply(tk, p);
		else if (!list_empty(&p->etrns))
			send_etrn(tk, p);
		else if (p->offers_first || p->offers_told < p->sp->known.serial)
			send_offers(tk, p);
		else if (p->sp->closed)
			break;
		else
			signal_wait(tk, &p->changed, NEVER);
	}
	while (!list_empty(&p->replies))
		appending_free(append_of(list_take(&p->replies)));
	while (!list_empty(&p->etrns))
		free(CONTAINER(list_take(&p->etrns), struct etrn, link));
	smtpin_leave(p);
}

void append_tell_offers(struct spoold *sp)
{
	LIST_EACH (&sp->smtpins, struct smtpin, link, p)
		signal_raise(&p->changed);
}

void append_offers_anew(struct spoold *sp)
{
	LIST_EACH (&sp->smtpins, struct smtpin, link, p) {
		p->offers_first = true;
		p->offers_told = 0;
		signal_raise(&p->changed);
	}
}

void append_tell_state(struct spoold *sp)
{
	sp->told_bytes_free = sp->usage.free_bytes;
	LIST_EACH (&sp->smtpins, struct smtpin, link, p) {
		p->state_changed = true;
		signal_raise(&p->changed);
	}
}

/* --- peers --- */

static struct smtpin *smtpin_of(struct spoold *sp, const struct channel *ch)
{
	LIST_EACH (&sp->smtpins, struct smtpin, link, p)
		if (p->channel == ch)
			return p;
	return NULL;
}

void append_peer(struct spoold *sp, struct channel *ch)
{
	struct smtpin *p = calloc(1, sizeof(*p));

	if (!p)
		return;
	p->sp = sp;
	p->channel = ch;
	p->users = 1;
	p->state_changed = true;
	p->offers_first = true;
	list_init(&p->replies);
	list_init(&p->etrns);
	signal_init(&p->changed);
	locum__smtpin_counters__init(&p->counters);
	if (task_start(sp->loop, &sp->senders, "to smtpin", sender, p) < 0) {
		free(p);
		return;
	}
	list_append(&sp->smtpins, &p->link);
}

void append_peer_gone(struct spoold *sp, struct channel *ch)
{
	struct smtpin *p = smtpin_of(sp, ch);

	if (!p)
		return;
	p->channel = NULL;
	signal_raise(&p->changed);
}

void append_done(struct spoold *sp)
{
	sp->closed = true;
	LIST_EACH (&sp->smtpins, struct smtpin, link, p)
		signal_raise(&p->changed);
}

void append_sum(const struct spoold *sp, Locum__StatusRow *row)
{
	LIST_EACH (&sp->smtpins, struct smtpin, link, p) {
		if (!p->channel)
			continue;
		row->sessions += p->counters.sessions;
		row->refused_total += p->counters.refused_total;
		row->deferred_total += p->counters.deferred_total;
		row->passed_total += p->counters.passed_total;
		row->stress = MAX(row->stress, p->counters.stress);
	}
}

/* --- taking a message --- */

/* Why it cannot be taken, or NULL. smtpin reads what strangers send: nothing from it is
 * believed. */
static const char *what_is_wrong(const struct spoold *sp, const Locum__Envelope *e, int fd)
{
	uint64_t bytes;

	if (!e || e->id.len != sizeof(msg_id))
		return "no id";
	if (e->n_recipients == 0 || e->n_recipients > STORED_RECIPIENTS_MAX)
		return "number of recipients";
	if (fd < 0 || sys_memfd_sealed(fd) < 0)
		return "body not sealed";
	if (sys_size(fd, &bytes) < 0 || bytes != e->body_bytes)
		return "body size";
	if (locum__envelope__get_packed_size(e) > IPC_ENVELOPE_MAX)
		return "envelope size";
	for (size_t i = 0; i < e->n_recipients; i++) {
		const Locum__Recipient *r = e->recipients[i];

		if (r->address.len == 0 || r->address.len > ADDRESS_MAX)
			return "recipient address";
		/* Also while a reload passes: a domain given up is refused, not queued for
		 * nobody. */
		if (!conf_domain(sp->conf, str_of(r->domain)))
			return "domain not configured";
	}
	return NULL;
}

/* What the primary of each recipient was like at this second; and an arrival that can be true, for
 * the age decides when a message is parked. */
static void stamp(struct spoold *sp, Locum__Envelope *e)
{
	nsec now_wall = sys_now_wall();

	if (e->arrived_wall > now_wall || e->arrived_wall < now_wall - ARRIVAL_AGE_MAX)
		e->arrived_wall = now_wall;
	for (size_t i = 0; i < e->n_recipients; i++) {
		Locum__Recipient *r = e->recipients[i];
		const struct sched_domain *d = sched_domain_find(sp->sched, str_of(r->domain));

		r->primary = row_state(d ? d->destination->health : HEALTH_UNKNOWN);
	}
}

static Locum__AppendResult result_of(int r)
{
	if (r == -ENOSPC || r == -EDQUOT)
		return LOCUM__APPEND_RESULT__APPEND_NO_SPACE;
	if (r == -EEXIST)
		return LOCUM__APPEND_RESULT__APPEND_DUPLICATE;
	return LOCUM__APPEND_RESULT__APPEND_FAILED;
}

void append_committed(struct spoold *sp, struct appending *a)
{
	message_queue(sp, a->message);
	sp->accepted_total++;
	answer(a, LOCUM__APPEND_RESULT__APPENDED);
}

/* Into the batch, or answered at once. */
static void put(struct task *tk, struct spoold *sp, struct appending *a)
{
	int r = spool_append(tk, sp->spool, a->message->id, buf_str(&a->envelope), a->fd,
			     a->body_bytes);

	sys_close(TAKE_FD(a->fd));
	if (r < 0) {
		log_warn("message.not_taken", K_ID("id", a->message->id), K_ERR(r));
		commit_check(sp);
		if (r == -ENOSPC || r == -EDQUOT)
			house_no_space(sp, a->body_bytes);
		message_free(sp, a->message);
		answer(a, result_of(r));
		return;
	}
	/* In the same batch: whoever reads the one after a crash reads the other. */
	if (a->state.n > 0)
		commit_mark(sp, SPOOL_STATE, a->message->id, &a->state);
	list_append(&sp->committing, &a->link);
	signal_raise(&sp->batch_changed);
}

static void put_big(struct task *tk, void *arg)
{
	struct appending *a = arg;

	put(tk, a->from->sp, a);
}

static int pack_envelope(const Locum__Envelope *e, struct buf *to)
{
	size_t n = locum__envelope__get_packed_size(e);
	int r;

	buf_init(to, n);
	r = buf_reserve(to, n);
	if (r < 0)
		return r;
	to->n = locum__envelope__pack(e, (uint8_t *)to->p);
	return 0;
}

/* The primary may have it already: passed on live, and its last reply was lost. */
static int pack_ambiguous(const Locum__Envelope *e, struct buf *to)
{
	_cleanup_(stored_freep) Locum__StoredState *state = stored_new(e);

	buf_init(to, STORED_BYTES_MAX);
	if (!state)
		return -ENOMEM;
	stored_ambiguous(state, sys_now_wall());
	return stored_pack(state, to);
}

static int prepare(struct spoold *sp, struct appending *a, Locum__Envelope *e, bool ambiguous)
{
	msg_id id;
	int r;

	memcpy(id.byte, e->id.data, sizeof(id));
	stamp(sp, e);
	r = pack_envelope(e, &a->envelope);
	if (r == 0 && ambiguous)
		r = pack_ambiguous(e, &a->state);
	if (r < 0)
		return r;
	a->body_bytes = e->body_bytes;
	return message_new(sp, id, e, &a->message);
}

static void take(struct task *tk, struct spoold *sp, struct appending *a, Locum__Append *append)
{
	Locum__Envelope *e = append->envelope;
	const char *wrong = what_is_wrong(sp, e, a->fd);
	int r;

	if (wrong) {
		log_error("message.not_taken", K_Z("wrong", wrong));
		answer(a, LOCUM__APPEND_RESULT__APPEND_FAILED);
		return;
	}
	if (!sp->accepting) {
		answer(a, LOCUM__APPEND_RESULT__APPEND_NO_SPACE);
		return;
	}
	r = prepare(sp, a, e, append->ambiguous);
	if (r < 0) {
		log_warn("message.not_taken", K_ERR(r));
		answer(a, result_of(r));
		return;
	}
	if (a->body_bytes < BIG_BODY_BYTES) {
		put(tk, sp, a);
		return;
	}
	r = task_start(sp->loop, &sp->senders, "big append", put_big, a);
	if (r < 0) {
		message_free(sp, a->message);
		answer(a, result_of(r));
	}
}

/* RFC 1985: what `locum flush` does for the domain, without asking DNS anew, and not as often. */
static bool start_drain(struct spoold *sp, const char *name, uint64_t *ret_messages)
{
	struct domain_offer *d = known_find(sp, str_of(name));
	struct sched_domain *domain = sched_domain_find(sp->sched, str_of(name));
	nsec now = loop_now(sp->loop);

	*ret_messages = domain ? domain->queued : 0;
	if (!d || !domain || (d->etrn_at && now - d->etrn_at < ETRN_EVERY))
		return false;
	d->etrn_at = now;
	sched_flush(sp->sched, domain, now);
	log_info("etrn.drain", K_Z("domain", d->name), K_INT("messages", *ret_messages));
	signal_raise(&sp->work);
	return true;
}

static void on_etrn(struct spoold *sp, struct smtpin *from, uint64_t call, const char *domain)
{
	struct etrn *e = from->etrn_count < ETRNS_MAX ? calloc(1, sizeof(*e)) : NULL;

	if (!e)
		return; /* unanswered: smtpin has a deadline */
	e->call = call;
	e->started = start_drain(sp, domain, &e->messages);
	from->etrn_count++;
	list_append(&from->etrns, &e->link);
	signal_raise(&from->changed);
}

void append_message(struct task *tk, struct spoold *sp, struct channel *ch, struct ipc_message *m)
{
	struct smtpin *from = smtpin_of(sp, ch);
	struct appending *a;

	if (!from || sp->closed)
		return;
	if (m->packet->body_case == LOCUM__PACKET__BODY_SMTPIN_COUNTERS) {
		from->counters = *m->packet->smtpin_counters;
		return;
	}
	if (m->packet->body_case == LOCUM__PACKET__BODY_ETRN) {
		on_etrn(sp, from, m->packet->call, m->packet->etrn->domain);
		return;
	}
	if (m->packet->body_case != LOCUM__PACKET__BODY_APPEND)
		return;
	a = calloc(1, sizeof(*a));
	if (!a)
		return; /* unanswered: smtpin's deadline makes it 451 */
	a->from = from;
	from->users++;
	a->call = m->packet->call;
	a->fd = ipc_take_fd(m, 0);
	take(tk, sp, a, m->packet->append);
}
