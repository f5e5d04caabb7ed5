/* One delivery, or one probe: ask smtpout, write down what came of it, report to the scheduler. */
#include "proc/spoold/said.h"
#include "proc/spoold/spoold.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#include <stdio.h>

#define DELIVERY_DEADLINE (30 * NSEC_MINUTE)
#define PROBE_DEADLINE (2 * NSEC_MINUTE)

struct attempt {
	struct spoold *sp;
	msg_id id;
	uint32_t part;
};

struct probing {
	struct spoold *sp;
	uint64_t probe;
	char domain[]; /* by name: it may go away meanwhile */
};

enum sched_attempt attempt_tried(Locum__Attempt attempt)
{
	switch (attempt) {
	case LOCUM__ATTEMPT__ATTEMPT_ANSWERED:
		return TRIED_ANSWERED;
	case LOCUM__ATTEMPT__ATTEMPT_REFUSING:
		return TRIED_REFUSING;
	case LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE:
		return TRIED_UNREACHABLE;
	case LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE:
		return TRIED_NO_ROUTE;
	case LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE:
		return TRIED_DNS_TROUBLE;
	case LOCUM__ATTEMPT__ATTEMPT_LOST:
		return TRIED_LOST;
	case LOCUM__ATTEMPT__ATTEMPT_NONE:
	case _LOCUM__ATTEMPT_IS_INT_SIZE:
		return TRIED_NONE;
	}
	return TRIED_NONE;
}

str attempt_destination(const Locum__Host *host)
{
	return host ? str_of(host->destination) : STR_NONE;
}

static str host_name(const Locum__Host *host)
{
	return host ? str_of(host->name) : STR_NONE;
}

/* --- asking --- */

/* The recipients to try now: of this part, and still queued. */
static size_t choose(const struct loaded *l, uint32_t part, uint32_t *ret_index,
		     bool *ret_ambiguous)
{
	size_t n = 0;

	*ret_ambiguous = false;
	for (uint32_t i = 0; i < l->state->n_recipients; i++) {
		const Locum__StoredRecipient *r = l->state->recipients[i];

		if (r->part != part || r->state != LOCUM__MESSAGE_STATE__MESSAGE_QUEUED)
			continue;
		*ret_ambiguous = *ret_ambiguous || r->ambiguous;
		ret_index[n++] = i;
	}
	return n;
}

/* 0; -EAGAIN: it was not even begun; -EPIPE: nobody knows what happened. */
static int ask(struct task *tk, const struct attempt *a, const struct loaded *l,
	       uint32_t *recipients, size_t count, bool ambiguous, struct ipc_message *ret_reply)
{
	struct channel *ch = deliver_smtpout(a->sp);
	Locum__Deliver deliver = LOCUM__DELIVER__INIT;
	IPC_PACKET(packet, DELIVER, deliver, &deliver);
	_cleanup_(closep) int fd = -1;
	int r;

	if (!ch)
		return -EAGAIN;
	/* The spool's descriptor may be closed while the socket makes us wait. */
	fd = sys_dup(l->body.fd);
	if (fd < 0)
		return -EAGAIN;
	deliver.envelope = (ProtobufCBinaryData){ l->bytes.n, (uint8_t *)l->bytes.p };
	deliver.domain = l->envelope->recipients[recipients[0]]->domain;
	deliver.recipients = recipients;
	deliver.n_recipients = count;
	deliver.body_offset = l->body.offset;
	deliver.body_bytes = l->body.bytes;
	deliver.body_crc32c = l->body.crc32c;
	deliver.ambiguous = ambiguous;
	r = ipc_call(tk, ch, &packet, fd, ret_reply, task_in(tk, DELIVERY_DEADLINE));
	if (r == -ENOMEM || r == -EMSGSIZE)
		return -EAGAIN;
	if (r == 0 && ret_reply->packet->body_case != LOCUM__PACKET__BODY_DELIVERED)
		r = -EPROTO;
	return r < 0 ? -EPIPE : 0;
}

/* --- writing down --- */

enum { DELIVERED, DEFERRED, REFUSED, AMBIGUOUS, CORRUPT };

static const struct outcome_row {
	const char *event;
	Locum__Outcome outcome;
	enum log_level level;
} outcome_rows[] = {
	/* smtpout has just said so, with the host's details; the message's end follows as message.done. */
	[DELIVERED] = { "delivered", LOCUM__OUTCOME__OUTCOME_DELIVERED, LOG_DEBUG },
	[DEFERRED] = { "deferred", LOCUM__OUTCOME__OUTCOME_DEFERRED, LOG_INFO },
	[REFUSED] = { "held", LOCUM__OUTCOME__OUTCOME_REFUSED, LOG_WARN },
	[AMBIGUOUS] = { "ambiguous", LOCUM__OUTCOME__OUTCOME_AMBIGUOUS, LOG_WARN },
	[CORRUPT] = { "damaged", LOCUM__OUTCOME__OUTCOME_CORRUPT, LOG_ERROR },
};

/* What was asked, and what the answer said of it. */
struct result {
	const Locum__Delivered *delivered; /* NULL: the answer never came */
	const uint32_t *asked;
	size_t asked_count;
	size_t count[ELEMENTS(outcome_rows)];
	const Locum__RecipientOutcome *first[ELEMENTS(outcome_rows)];
};

static bool was_asked(const struct result *result, uint32_t recipient)
{
	size_t low = 0, high = result->asked_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (result->asked[middle] == recipient)
			return true;
		if (result->asked[middle] < recipient)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static void note_outcome(struct result *result, Locum__StoredState *state,
			 const Locum__RecipientOutcome *o, str host)
{
	if (!was_asked(result, o->recipient))
		return;
	for (size_t i = 0; i < ELEMENTS(outcome_rows); i++) {
		if (outcome_rows[i].outcome != o->outcome)
			continue;
		if (result->count[i]++ == 0)
			result->first[i] = o;
		stored_outcome(state, o, host, sys_now_wall());
	}
}

/* Nobody knows whether the primary took it: for each recipient asked. */
static void note_silence(struct result *result, Locum__StoredState *state)
{
	static Locum__RecipientOutcome unknown = LOCUM__RECIPIENT_OUTCOME__INIT;

	unknown.outcome = LOCUM__OUTCOME__OUTCOME_AMBIGUOUS;
	unknown.reply = (char *)"the delivery process ended during the attempt";
	for (size_t i = 0; i < result->asked_count; i++) {
		unknown.recipient = result->asked[i];
		note_outcome(result, state, &unknown, STR_NONE);
	}
}

/* What the primary did not get as it came. Told once it has taken the message. */
static void tell_notes(const struct result *result, const struct loaded *l)
{
	const Locum__Delivered *d = result->delivered;

	for (size_t i = 0; d && result->first[DELIVERED] && i < d->n_notes; i++)
		stored_event(l->state, sys_now_wall(), "note", STR_NONE, str_of(d->notes[i]));
}

/* One event a kind of outcome, in the message's story and in the log. */
static void tell(const struct attempt *a, const struct result *result, const struct loaded *l,
		 nsec wait)
{
	const Locum__Host *host = result->delivered ? result->delivered->host : NULL;

	for (size_t i = 0; i < ELEMENTS(outcome_rows); i++) {
		const Locum__RecipientOutcome *o = result->first[i];
		const ProtobufCBinaryData *address;
		char text[STORED_TEXT_MAX], event[32];

		if (!o)
			continue;
		address = &l->envelope->recipients[o->recipient]->address;
		snprintf(text, sizeof(text), "%s%s%.400s", host ? host->name : "",
			 host && *host->name ? ": " : "", o->reply);
		stored_event(l->state, sys_now_wall(), outcome_rows[i].event,
			     result->count[i] == 1 ? str_mem(address->data, address->len)
						   : STR_NONE,
			     str_of(text));
		snprintf(event, sizeof(event), "message.%s", outcome_rows[i].event);
		LOG_AT_(outcome_rows[i].level, event, K_ID("id", a->id),
			K("recipient", str_mem(address->data, address->len)),
			K_INT("recipients", result->count[i]), K("host", host_name(host)),
			K_Z("reply", o->reply), K_NSEC("next_try", wait));
	}
	tell_notes(result, l);
}

static enum sched_fate fate_of(const struct result *result, const struct loaded *l, uint32_t part)
{
	switch (stored_part(l->state, part)) {
	case LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED:
		return FATE_DONE;
	case LOCUM__MESSAGE_STATE__MESSAGE_HELD:
		return FATE_HELD;
	case LOCUM__MESSAGE_STATE__MESSAGE_PARKED:
		return FATE_PARKED;
	case LOCUM__MESSAGE_STATE__MESSAGE_NONE:
	case LOCUM__MESSAGE_STATE__MESSAGE_QUEUED:
	case LOCUM__MESSAGE_STATE__MESSAGE_DELIVERING:
	case LOCUM__MESSAGE_STATE__MESSAGE_DROPPED:
	case _LOCUM__MESSAGE_STATE_IS_INT_SIZE:
		break;
	}
	if (result->asked_count == 0)
		return FATE_UNTRIED;
	if (!result->delivered || result->first[AMBIGUOUS])
		return FATE_LOST;
	if (result->first[DEFERRED])
		return FATE_DEFERRED;
	switch (attempt_tried(result->delivered->attempt)) {
	case TRIED_REFUSING:
	case TRIED_UNREACHABLE:
	case TRIED_NO_ROUTE:
	case TRIED_DNS_TROUBLE:
		return FATE_UNTRIED;
	case TRIED_NONE:
	case TRIED_ANSWERED:
	case TRIED_LOST:
		break;
	}
	/* Not tried, and for no reason that concerns the destination: not at once again. */
	return FATE_LOST;
}

/* The words that say most of the primary: why it put something off, else why it refused for good. */
static enum sched_said said(const struct result *result)
{
	const Locum__RecipientOutcome *o =
		result->first[DEFERRED] ? result->first[DEFERRED] : result->first[REFUSED];
	const Locum__Delivered *d = result->delivered;

	return said_of(str_of(o ? o->reply : d->text), d->host);
}

static void report(const struct attempt *a, struct message *m, const struct result *result,
		   enum sched_fate fate)
{
	const Locum__Delivered *d = result->delivered;
	struct sched_report r = { .attempt = TRIED_NONE,
				  .delivered = result->count[DELIVERED] > 0 };

	if (d) {
		r.attempt = attempt_tried(d->attempt);
		r.destination = attempt_destination(d->host);
		r.text = str_of(d->text);
		r.latency = (nsec)MIN(d->latency_us, (uint64_t)3600000000) * NSEC_US;
		if (r.text.n == 0 && result->first[DEFERRED])
			r.text = str_of(result->first[DEFERRED]->reply);
		if (!r.delivered)
			r.said = said(result);
	}
	known_seen(a->sp, str_of(m->part[a->part].entry.domain->name), d ? d->host : NULL);
	sched_attempted(a->sp->sched, &m->part[a->part].entry, fate, &r, loop_now(a->sp->loop));
	signal_raise(&a->sp->work);
}

/* Until its next try, for the log; 0: none comes. */
static nsec wait_of(const struct part *p, nsec now)
{
	nsec at = sched_next_try(&p->entry, now);

	return at == NEVER ? 0 : at - now;
}

static void not_tried(const struct attempt *a, enum sched_fate fate)
{
	struct message *m = message_find(a->sp, a->id);
	struct result result = { 0 };

	must(m);
	report(a, m, &result, fate);
}

static void unreadable(const struct attempt *a, struct message *m, int r)
{
	bool damaged = r == -EBADMSG || r == -ENOENT || r == -EIO;

	not_tried(a, damaged ? FATE_HELD : FATE_LOST);
	if (damaged)
		deliver_unreadable(a->sp, m, r);
}

/* The state may have changed while the attempt went on: read again, then add what it brought. */
static void conclude(const struct attempt *a, struct result *result)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	struct message *m = message_find(a->sp, a->id);
	bool changed = false;
	int r;

	must(m);
	r = message_load(a->sp, m, &l);
	if (r < 0) {
		unreadable(a, m, r);
		return;
	}
	if (!result->delivered)
		note_silence(result, l.state);
	for (size_t i = 0; result->delivered && i < result->delivered->n_outcomes; i++)
		note_outcome(result, l.state, result->delivered->outcomes[i],
			     host_name(result->delivered->host));
	for (size_t i = 0; i < ELEMENTS(outcome_rows); i++)
		changed = changed || result->first[i];
	a->sp->corrupt_count += result->count[CORRUPT] > 0;
	report(a, m, result, fate_of(result, &l, a->part));
	tell(a, result, &l, wait_of(&m->part[a->part], loop_now(a->sp->loop)));
	if (changed || stored_part(l.state, a->part) != LOCUM__MESSAGE_STATE__MESSAGE_QUEUED)
		message_save(a->sp, m, &l);
}

static void deliver(struct task *tk, const struct attempt *a, const struct loaded *l)
{
	_cleanup_(freep) uint32_t *asked = calloc(l->state->n_recipients, sizeof(*asked));
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	struct result result = { .asked = asked };
	bool ambiguous = false;
	int r = -EAGAIN;

	if (asked)
		result.asked_count = choose(l, a->part, asked, &ambiguous);
	if (result.asked_count > 0)
		r = ask(tk, a, l, asked, result.asked_count, ambiguous, &reply);
	if (r == -EAGAIN) {
		not_tried(a, deliver_smtpout(a->sp) ? FATE_LOST : FATE_UNTRIED);
		return;
	}
	if (r == 0)
		result.delivered = reply.packet->delivered;
	conclude(a, &result);
}

static void delivery(struct task *tk, void *arg)
{
	_cleanup_(freep) struct attempt *a = arg;
	_cleanup_(loaded_done) struct loaded l = { 0 };
	struct message *m = message_find(a->sp, a->id);
	int r;

	must(m);
	r = message_load(a->sp, m, &l);
	if (r == 0) {
		deliver(tk, a, &l);
		return;
	}
	unreadable(a, m, r);
}

void attempt_delivery(struct spoold *sp, struct part *p)
{
	struct attempt *a = malloc(sizeof(*a));
	struct sched_report none = { 0 };

	if (a) {
		*a = (struct attempt){ sp, p->message->id, part_number(p) };
		if (task_start(sp->loop, &sp->deliveries, "delivery", delivery, a) == 0)
			return;
		free(a);
	}
	sched_attempted(sp->sched, &p->entry, FATE_LOST, &none, loop_now(sp->loop));
}

/* --- probes --- */

static void probe(struct task *tk, void *arg)
{
	_cleanup_(freep) struct probing *p = arg;
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	struct sched_report none = { 0 }, *report_to = &none, found;
	Locum__Probe question = LOCUM__PROBE__INIT;
	IPC_PACKET(packet, PROBE, probe, &question);
	int r;

	question.domain = p->domain;
	r = ipc_call(tk, deliver_smtpout(p->sp), &packet, -1, &reply, task_in(tk, PROBE_DEADLINE));
	if (r == 0 && reply.packet->body_case == LOCUM__PACKET__BODY_PROBED) {
		const Locum__Probed *probed = reply.packet->probed;

		found = (struct sched_report){ .attempt = attempt_tried(probed->attempt),
					       .destination = attempt_destination(probed->host),
					       .text = str_of(probed->text),
					       .said = said_of(str_of(probed->text),
							       probed->host) };
		report_to = &found;
	}
	sched_probed(p->sp->sched, p->probe, str_of(p->domain), report_to, task_now(tk));
	if (report_to == &found)
		known_seen(p->sp, str_of(p->domain), reply.packet->probed->host);
	signal_raise(&p->sp->work);
}

void attempt_probe(struct spoold *sp, const struct sched_action *action)
{
	size_t size = strlen(action->domain->name) + 1;
	struct probing *p = malloc(sizeof(*p) + size);
	struct sched_report none = { 0 };

	if (p) {
		p->sp = sp;
		p->probe = action->probe;
		memcpy(p->domain, action->domain->name, size);
		if (task_start(sp->loop, &sp->probes, "probe", probe, p) == 0)
			return;
		free(p);
	}
	sched_probed(sp->sched, action->probe, str_of(action->domain->name), &none,
		     loop_now(sp->loop));
}
