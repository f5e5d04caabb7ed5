#include "proc/smtpout/live.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/smtpout/handover.h"
#include "proc/smtpout/smtpout.h"

/* From DATA to the reply to the dot; smtpin waits six minutes. */
#define SEND_MAX (5 * NSEC_MINUTE)

static struct live_result away(str text)
{
	return (struct live_result){ .way = LOCUM__LIVE_WAY__LIVE_AWAY, .text = text };
}

static struct live_result in_their_words(const struct handover_recipient *to)
{
	return (struct live_result){
		.way = LOCUM__LIVE_WAY__LIVE_REPLY,
		.code = to->code,
		.lines = to->lines,
		.text = to->reply,
	};
}

/* --- the place --- */

static void leave_place(struct task *tk, struct live *l);

/* l->placed, or l->place_why. */
static void take_place(struct task *tk, struct live *l)
{
	_cleanup_(ipc_message_done) struct ipc_message m = { 0 };
	Locum__TakePlace take = LOCUM__TAKE_PLACE__INIT;
	IPC_PACKET(packet, TAKE_PLACE, take_place, &take);
	struct smtpout *so = l->so;
	uint64_t life = so->spoold_life;
	int r;

	take.domain = (char *)l->domain.p;
	take.place = l->place = ++so->lives.place_last;
	l->place_life = life;
	r = ipc_call(tk, so->spoold, &packet, -1, &m, task_in(tk, so->lives.place_wait));
	if (r < 0)
		l->place_why =
			r == -EPIPE ? STR("spoold is not running") : STR("spoold did not answer");
	else if (m.packet->body_case != LOCUM__PACKET__BODY_PLACE)
		l->place_why = STR("spoold answered something else");
	else if (m.packet->place->granted)
		l->placed = true;
	else
		l->place_why = arena_str(&l->arena, str_of(m.packet->place->text));
	/* Granted too late it would be nobody's, for ever. */
	if (r == -ETIMEDOUT)
		leave_place(tk, l);
}

static void place_task(struct task *tk, void *arg)
{
	struct live *l = arg;

	take_place(tk, l);
	l->placing = false;
	signal_raise(&l->place_came);
	live_leave_alone(l);
}

/* 0: it has its place; else l->place_why. */
static int await_place(struct task *tk, struct live *l)
{
	while (l->placing) {
		int r = signal_wait(tk, &l->place_came, NEVER); /* the task has a limit */

		if (r < 0) {
			l->place_why = STR("stopped by our own shutdown");
			return r;
		}
	}
	return l->placed ? 0 : -EBUSY;
}

static int wait_at_gate(struct task *tk, struct gate *g)
{
	return await_place(tk, CONTAINER(g, struct live, gate));
}

static int ask_for_place(struct live *l)
{
	struct smtpout *so = l->so;

	l->place_why = STR("out of memory");
	l->gate.wait = wait_at_gate;
	if (task_start(so->loop, &so->jobs, "live place", place_task, l) < 0)
		return -ENOMEM;
	l->placing = true;
	return 0;
}

/* A spoold that came after the one that gave it knows of no place. */
static void leave_place(struct task *tk, struct live *l)
{
	Locum__Host host = LOCUM__HOST__INIT;
	Locum__LeavePlace leave = LOCUM__LEAVE_PLACE__INIT;
	IPC_PACKET(packet, LEAVE_PLACE, leave_place, &leave);
	int r;

	l->placed = false;
	if (l->place_life != l->so->spoold_life)
		return;
	smtpout_fill_host(&host, &l->contact);
	leave.domain = (char *)l->domain.p;
	leave.place = l->place;
	leave.attempt = l->contact.attempt;
	if (l->contact.text.p)
		leave.text = (char *)l->contact.text.p;
	leave.host = &host;
	leave.latency_us = l->delivered ? (uint64_t)(l->spent / NSEC_US) : 0;
	leave.delivered = l->delivered;
	leave.body_bytes = l->delivered ? l->handover.body_bytes : 0;
	r = ipc_send(tk, l->so->spoold, &packet, -1, task_in(tk, LIVE_PLACE_WAIT));
	if (r < 0 && r != -EPIPE)
		log_error("live.place_lost", K("domain", l->domain), K_ERR(r));
}

/* --- the connection --- */

/* For the next time the transaction is begun: as if nothing had been said, and who was refused was told
 * so and is out. */
static void keep_taken(struct live *l)
{
	struct handover *h = &l->handover;
	size_t kept = 0;

	for (size_t i = 0; i < h->recipient_count; i++) {
		struct handover_recipient *to = &h->recipients[i];

		if (!to->accepted)
			continue;
		h->recipients[kept++] = (struct handover_recipient){
			.address = to->address,
			.notify = to->notify,
			.orcpt = to->orcpt,
		};
	}
	h->recipient_count = kept;
}

void live_talk_release(struct task *tk, struct live *l)
{
	list_remove(&l->idle);
	if (l->open)
		outbound_end(tk, &l->so->outbound, &l->transaction);
	l->open = false;
	if (l->placed)
		leave_place(tk, l);
	keep_taken(l);
	l->contact = (struct contact){ 0 };
	l->spent = 0;
	arena_reset(&l->scratch);
}

/* The transaction that is open broke, or ended: what the operator and spoold hear of it. */
static void note_attempt(struct live *l)
{
	l->contact.attempt = l->handover.attempt;
	l->contact.text = arena_str(&l->arena, str_of(l->handover.text));
}

/* Begins it with all recipients there are. 0 or *ret_why. */
static int begin(struct task *tk, struct live *l, str *ret_why)
{
	int r;

	if (l->mixed) {
		*ret_why = STR("its recipients are of several domains, and the connection is gone");
		return -EXDEV;
	}
	r = ask_for_place(l);
	if (r < 0)
		return r;
	l->handover.attempt = LOCUM__ATTEMPT__ATTEMPT_NONE;
	l->handover.lacking = false;
	r = outbound_begin(tk, &l->so->outbound, l->domain, &l->handover, &l->gate, &l->arena,
			   &l->transaction, &l->contact);
	l->open = r == 0;
	/* It spoke to us, and whatever it said was an answer. */
	if (l->open)
		l->contact.attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
	*ret_why = l->contact.text;
	if (await_place(tk, l) == 0)
		return r;
	*ret_why = l->place_why;
	return -EBUSY;
}

/* One more recipient on the connection that is there. */
static int go_on(struct task *tk, struct live *l, str *ret_why)
{
	int r;

	l->transaction.ends = task_in(tk, OUTBOUND_LIVE_MAX);
	r = transaction_ask(tk, &l->transaction);
	if (r >= 0)
		return 0;
	note_attempt(l);
	*ret_why = l->contact.text;
	return r;
}

/* --- the questions --- */

/* Those that the primary had taken before, of the first n. */
static size_t count_taken(const struct handover *h, size_t n)
{
	size_t taken = 0;

	for (size_t i = 0; i < n; i++)
		taken += h->recipients[i].accepted;
	return taken;
}

static struct live_result ask(struct task *tk, struct live *l)
{
	struct handover *h = &l->handover;
	const struct handover_recipient *to = &h->recipients[h->recipient_count - 1];
	bool anew = !l->open;
	str why = STR("out of memory");

	if ((anew ? begin(tk, l, &why) : go_on(tk, l, &why)) < 0)
		return away(why);
	if (anew && count_taken(h, h->recipient_count - 1) < h->recipient_count - 1)
		return away(STR("a recipient that was taken before is not any more"));
	if (to->lacking)
		return away(to->reply);
	if (to->code == 0)
		return away(STR("out of memory"));
	return in_their_words(to);
}

struct live_result live_talk_ask(struct task *tk, struct live *l)
{
	nsec began = task_now(tk);
	struct live_result result = ask(tk, l);

	result.latency = task_now(tk) - began;
	l->spent += result.latency;
	return result;
}

/* Begun anew: does everybody take it who did before? */
static bool begin_again(struct task *tk, struct live *l, struct live_result *ret)
{
	struct handover *h = &l->handover;
	str why = STR("out of memory");
	size_t taken;

	if (begin(tk, l, &why) < 0) {
		*ret = away(why);
		return false;
	}
	taken = count_taken(h, h->recipient_count);
	if (taken == h->recipient_count)
		return true;
	*ret = away(STR("not everybody is taken any more"));
	if (taken == 0 && h->recipients[0].code > 0)
		*ret = in_their_words(&h->recipients[0]);
	return false;
}

/* What RCPT was answered must not be taken for the answer to the message. */
static void forget_codes(struct handover *h)
{
	for (size_t i = 0; i < h->recipient_count; i++) {
		h->recipients[i].code = 0;
		h->recipients[i].lines = h->recipients[i].reply = STR_NONE;
	}
}

static bool is_verdict(Locum__Outcome outcome)
{
	return outcome == LOCUM__OUTCOME__OUTCOME_DELIVERED ||
	       outcome == LOCUM__OUTCOME__OUTCOME_DEFERRED ||
	       outcome == LOCUM__OUTCOME__OUTCOME_REFUSED;
}

/* What the host's last word means to the client. */
static struct live_result judge(struct live *l)
{
	const struct handover *h = &l->handover;

	for (size_t i = 0; i < h->recipient_count; i++) {
		const struct handover_recipient *to = &h->recipients[i];

		if (!to->accepted)
			continue;
		if (to->outcome == LOCUM__OUTCOME__OUTCOME_AMBIGUOUS)
			return (struct live_result){ .way = LOCUM__LIVE_WAY__LIVE_AMBIGUOUS,
						     .text = to->reply };
		if (is_verdict(to->outcome) && to->code > 0) {
			l->delivered = to->outcome == LOCUM__OUTCOME__OUTCOME_DELIVERED;
			return in_their_words(to);
		}
		break;
	}
	return away(l->contact.text);
}

static struct live_result hand_over(struct task *tk, struct live *l)
{
	struct live_result result;

	if (!l->open && !begin_again(tk, l, &result))
		return result;
	forget_codes(&l->handover);
	l->transaction.ends = task_in(tk, SEND_MAX);
	transaction_send(tk, &l->transaction);
	note_attempt(l);
	return judge(l);
}

struct live_result live_talk_send(struct task *tk, struct live *l)
{
	nsec began = task_now(tk);
	struct live_result result = hand_over(tk, l);

	result.latency = task_now(tk) - began;
	l->spent += result.latency;
	return result;
}
