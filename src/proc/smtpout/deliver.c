#include "proc/smtpout/smtpout.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/smtpout/handover.h"
#include "proc/smtpout/headers.h"
#include "proc/smtpout/learn.h"
#include "task/sys.h"

#include <stdlib.h>

#define DELIVER_ARENA_MAX (1024 * 1024)
/* Replies to all recipients together, so that Delivered fits a packet beside its other fields. */
#define REPLY_BYTES_ALL (IPC_PACKET_MAX / 2)
#define REPLY_BYTES_EACH 512
#define REPLY_BYTES_LEAST 16

/* One Deliver. The handover's slices point into the packet and the envelope. */
struct job {
	struct smtpout *so;
	uint64_t life, call;
	Locum__Packet *packet;
	Locum__Deliver *deliver; /* in the packet */
	Locum__Envelope *envelope;
	msg_id id;
	struct arena arena;
	struct buf received;
	struct handover handover;
	struct introduction who;
	struct contact contact;
};

static void job_free(struct job *job)
{
	if (job->handover.body_fd >= 0)
		sys_close(job->handover.body_fd);
	if (job->envelope)
		locum__envelope__free_unpacked(job->envelope, NULL);
	locum__packet__free_unpacked(job->packet, NULL);
	buf_done(&job->received);
	arena_done(&job->arena);
	free(job);
}

static void job_freep(struct job **job)
{
	if (*job)
		job_free(*job);
}

/* --- from the packet to the handover --- */

/* 0, -EBADMSG (what the spool kept cannot be delivered) or -ENOMEM. */
static int unpack(struct task *tk, struct job *job)
{
	const Locum__Deliver *d = job->deliver;
	struct handover *h = &job->handover;
	int r;

	h->arena = &job->arena;
	h->body_offset = d->body_offset;
	h->body_bytes = d->body_bytes;
	h->body_crc32c = d->body_crc32c;
	h->recipient_count = d->n_recipients;
	h->recipients = ARENA_ARRAY(&job->arena, struct handover_recipient, d->n_recipients);
	if (!h->recipients)
		return -ENOMEM;
	job->envelope = locum__envelope__unpack(NULL, d->envelope.len, d->envelope.data);
	if (!job->envelope || handover_id(job->envelope, &job->id) < 0 || d->n_recipients == 0)
		return -EBADMSG;
	for (size_t i = 0; i < d->n_recipients; i++) {
		if (d->recipients[i] >= job->envelope->n_recipients)
			return -EBADMSG;
		handover_fill_recipient(job->envelope->recipients[d->recipients[i]],
					&h->recipients[i]);
	}
	h->reply_bytes_max = MIN((size_t)REPLY_BYTES_EACH, REPLY_BYTES_ALL / h->recipient_count);
	h->reply_bytes_max = MAX(h->reply_bytes_max, (size_t)REPLY_BYTES_LEAST);
	handover_fill(job->envelope, h);
	r = smtpout_introduction(job->so, job->envelope, job->deliver->domain, h->arena, &job->who,
				 &h->who);
	if (r < 0)
		return r;
	r = headers_make(tk, smtpout_evidence_key(job->so, d->domain), job->envelope,
			 str_of(d->domain), h, &job->received);
	return r < 0 && r != -ENOMEM ? -EBADMSG : r;
}

/* --- what came of it --- */

static void log_recipient(const struct job *job, const struct handover_recipient *to)
{
	static const char *const events[] = {
		[LOCUM__OUTCOME__OUTCOME_DELIVERED] = "delivery.delivered",
		[LOCUM__OUTCOME__OUTCOME_DEFERRED] = "delivery.deferred",
		[LOCUM__OUTCOME__OUTCOME_REFUSED] = "delivery.refused",
		[LOCUM__OUTCOME__OUTCOME_AMBIGUOUS] = "delivery.ambiguous",
		[LOCUM__OUTCOME__OUTCOME_CORRUPT] = "delivery.corrupt",
	};
	enum log_level level =
		to->outcome == LOCUM__OUTCOME__OUTCOME_CORRUPT ? LOG_ERROR : LOG_INFO;
	const struct contact *c = &job->contact;
	const char *note =
		job->handover.notes != 0 && !to->lacking
			? handover_note_text((unsigned)__builtin_ctz(job->handover.notes))
		: job->deliver->ambiguous ? "may be there already"
					  : NULL;
	const struct log_field fields[] = {
		K_ID("id", job->id),
		K_Z("domain", job->deliver->domain),
		K("recipient", to->address),
		K("host", c->host),
		K("address", c->address),
		K("reply", to->reply),
		K("tls", c->tls_version),
		K_Z("tls_policy", c->tls_policy),
		K_Z("verified", c->tls_verified),
		K_NSEC("latency", job->handover.latency),
		{ .kind = note ? LOG_STR : LOG_END, .key = "note", .text = str_of(note) },
		{ 0 },
	};

	log_event(level, to->lacking ? "delivery.host_lacks" : events[to->outcome], fields);
}

/* The attempt as a whole, where it left recipients without an outcome of their own. */
static void log_attempt(const struct job *job)
{
	static const char *const events[] = {
		[LOCUM__ATTEMPT__ATTEMPT_NONE] = "delivery.not_tried",
		[LOCUM__ATTEMPT__ATTEMPT_ANSWERED] = "delivery.too_many_recipients",
		[LOCUM__ATTEMPT__ATTEMPT_REFUSING] = "delivery.refusing",
		[LOCUM__ATTEMPT__ATTEMPT_UNREACHABLE] = "delivery.unreachable",
		[LOCUM__ATTEMPT__ATTEMPT_NO_ROUTE] = "delivery.no_route",
		[LOCUM__ATTEMPT__ATTEMPT_DNS_TROUBLE] = "delivery.dns_trouble",
		[LOCUM__ATTEMPT__ATTEMPT_LOST] = "delivery.lost",
	};
	const struct contact *c = &job->contact;

	log_info(events[c->attempt], K_ID("id", job->id), K_Z("domain", job->deliver->domain),
		 K("host", c->host), K("address", c->address), K("reply", c->text),
		 K("tls", c->tls_version), K_Z("tls_policy", c->tls_policy));
}

static void log_all(const struct job *job)
{
	const struct handover *h = &job->handover;
	bool left = false;

	for (size_t i = 0; i < h->recipient_count; i++) {
		if (h->recipients[i].outcome == LOCUM__OUTCOME__OUTCOME_NONE)
			left = true;
		else
			log_recipient(job, &h->recipients[i]);
	}
	if (left)
		log_attempt(job);
}

static void fill_notes(const struct handover *h, char *notes[static HANDOVER_NOTES],
		       Locum__Delivered *delivered)
{
	delivered->notes = notes;
	for (unsigned i = 0; i < HANDOVER_NOTES; i++) {
		if (h->notes & 1u << i)
			notes[delivered->n_notes++] = (char *)handover_note_text(i);
	}
}

static void reply(struct task *tk, struct job *job)
{
	const struct handover *h = &job->handover;
	size_t count = h->recipients ? h->recipient_count : 0;
	Locum__RecipientOutcome *outcome =
		ARENA_ARRAY(&job->arena, Locum__RecipientOutcome, count + 1);
	Locum__RecipientOutcome **pointer =
		ARENA_ARRAY(&job->arena, Locum__RecipientOutcome *, count + 1);
	Locum__Host host = LOCUM__HOST__INIT;
	Locum__Delivered delivered = LOCUM__DELIVERED__INIT;
	char *notes[HANDOVER_NOTES];
	IPC_PACKET(packet, DELIVERED, delivered, &delivered);

	for (size_t i = 0; outcome && pointer && i < count; i++) {
		const struct handover_recipient *to = &h->recipients[i];

		locum__recipient_outcome__init(&outcome[i]);
		outcome[i].recipient = job->deliver->recipients[i];
		outcome[i].outcome = to->outcome;
		if (to->reply.p)
			outcome[i].reply = (char *)to->reply.p;
		pointer[i] = &outcome[i];
		delivered.n_outcomes = i + 1;
	}
	smtpout_fill_host(&host, &job->contact);
	fill_notes(h, notes, &delivered);
	delivered.attempt = job->contact.attempt;
	if (job->contact.text.p)
		delivered.text = (char *)job->contact.text.p;
	delivered.host = &host;
	delivered.outcomes = pointer;
	delivered.latency_us = (uint64_t)(h->latency / NSEC_US);
	smtpout_reply(tk, job->so, job->life, job->call, &packet);
}

static void mark_corrupt(struct job *job, str why)
{
	struct handover *h = &job->handover;

	job->contact.attempt = LOCUM__ATTEMPT__ATTEMPT_ANSWERED;
	job->contact.text = why;
	for (size_t i = 0; i < h->recipient_count; i++) {
		h->recipients[i].outcome = LOCUM__OUTCOME__OUTCOME_CORRUPT;
		h->recipients[i].reply = why;
	}
}

static void deliver_task(struct task *tk, void *arg)
{
	_cleanup_(job_freep) struct job *job = arg;
	int r = unpack(tk, job);

	if (r == 0)
		outbound_deliver(tk, &job->so->outbound, str_of(job->deliver->domain),
				 &job->handover, &job->contact);
	else if (r == -EBADMSG)
		mark_corrupt(job, STR("the envelope in the spool is damaged"));
	else
		job->contact.text = STR("out of memory");
	if (job->handover.recipients) {
		log_all(job);
		learn_from_handover(tk, job->so, job->deliver->domain, &job->handover);
	}
	reply(tk, job);
}

int deliver_start(struct smtpout *so, struct ipc_message *m)
{
	_cleanup_(job_freep) struct job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	job->so = so;
	job->life = so->spoold_life;
	job->call = m->packet->call;
	job->packet = TAKE(m->packet);
	job->deliver = job->packet->deliver;
	job->handover.body_fd = ipc_take_fd(m, 0);
	arena_init(&job->arena, DELIVER_ARENA_MAX);
	r = task_start(so->loop, &so->jobs, "deliver", deliver_task, job);
	if (r < 0)
		m->packet = TAKE(job->packet); /* the caller answers it */
	else
		TAKE(job);
	return r;
}
