/* Rows about messages. */
#include "proc/spoold/command.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <stdio.h>

/* Of recipients in one row: a packet less the rest of the row and one recipient more. */
#define RECIPIENTS_BYTES ((size_t)IPC_PACKET_MAX - 16384)
#define RECIPIENT_OVERHEAD 4
#define ROW_BYTES_MAX ((size_t)2 << 20)

Locum__PrimaryState row_state(enum sched_health health)
{
	switch (health) {
	case HEALTH_UNKNOWN:
		return LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN;
	case HEALTH_UP:
		return LOCUM__PRIMARY_STATE__PRIMARY_UP;
	case HEALTH_REFUSING:
		return LOCUM__PRIMARY_STATE__PRIMARY_REFUSING;
	case HEALTH_UNREACHABLE:
		return LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE;
	case HEALTH_NO_ROUTE:
		return LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE;
	}
	return LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN;
}

/* What a row is made of: a message in the spool, or (message, envelope = NULL) one that is gone. */
struct source {
	msg_id id;
	const struct message *message;
	const Locum__Envelope *envelope;
	const Locum__StoredState *state;
	uint32_t part; /* PART_ALL, or only this */
};

static const struct sched_entry *entry_of(const struct source *s, uint32_t part)
{
	return s->message && part < s->message->part_count ? &s->message->part[part].entry : NULL;
}

static Locum__MessageState recipient_state(const struct source *s, const Locum__StoredRecipient *r)
{
	const struct sched_entry *e = entry_of(s, r->part);

	if (r->state != LOCUM__MESSAGE_STATE__MESSAGE_QUEUED || !e)
		return r->state;
	if (e->place == PLACE_IN_FLIGHT)
		return LOCUM__MESSAGE_STATE__MESSAGE_DELIVERING;
	/* Held in RAM alone: what the spool has of it cannot be read. */
	return e->place == PLACE_HELD ? LOCUM__MESSAGE_STATE__MESSAGE_HELD : r->state;
}

static nsec next_try_wall(const struct source *s, const Locum__StoredRecipient *r)
{
	const struct sched_entry *e = entry_of(s, r->part);
	nsec now = sys_now(), at = e ? sched_next_try(e, now) : NEVER;

	if (r->state != LOCUM__MESSAGE_STATE__MESSAGE_QUEUED || at == NEVER)
		return 0;
	return sys_now_wall() + (at - now);
}

static char *copy(struct arena *a, const char *text)
{
	str copied = arena_str(a, str_of(text));

	return copied.p ? (char *)copied.p : (char *)"";
}

static char *address_domain(struct arena *a, const ProtobufCBinaryData *address)
{
	str domain = str_mem(address->data, address->len);

	domain = str_from(domain, (size_t)(str_last_index(domain, '@') + 1));
	domain = arena_str(a, domain);
	return domain.p ? (char *)domain.p : (char *)"";
}

static Locum__RecipientRow *recipient_row(struct arena *a, const struct source *s, size_t i)
{
	const Locum__StoredRecipient *r = s->state->recipients[i];
	Locum__RecipientRow *row = ARENA_NEW(a, Locum__RecipientRow);

	if (!row)
		return NULL;
	locum__recipient_row__init(row);
	if (s->envelope) {
		row->address = s->envelope->recipients[i]->address;
		row->domain = s->envelope->recipients[i]->domain;
	} else {
		row->address = r->address;
		row->domain = address_domain(a, &r->address);
	}
	row->state = recipient_state(s, r);
	row->reply = r->reply;
	row->ambiguous = r->ambiguous;
	row->attempts = r->attempts;
	row->next_try_wall = next_try_wall(s, r);
	return row;
}

/* The first of these that a recipient is in tells what the message as a whole is. */
static const Locum__MessageState ranks[] = {
	LOCUM__MESSAGE_STATE__MESSAGE_DELIVERING, LOCUM__MESSAGE_STATE__MESSAGE_QUEUED,
	LOCUM__MESSAGE_STATE__MESSAGE_HELD,       LOCUM__MESSAGE_STATE__MESSAGE_PARKED,
	LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED,  LOCUM__MESSAGE_STATE__MESSAGE_DROPPED,
};

static const Locum__StoredRecipient *telling(const struct source *s, Locum__MessageState *ret_state)
{
	for (size_t rank = 0; rank < ELEMENTS(ranks); rank++)
		for (size_t i = 0; i < s->state->n_recipients; i++) {
			const Locum__StoredRecipient *r = s->state->recipients[i];

			*ret_state = ranks[rank];
			if ((s->part == PART_ALL || r->part == s->part) &&
			    recipient_state(s, r) == ranks[rank])
				return r;
		}
	*ret_state = LOCUM__MESSAGE_STATE__MESSAGE_NONE;
	return NULL;
}

/* Why it is where it is. */
static char *why(struct arena *a, const struct source *s, const Locum__StoredRecipient *r)
{
	const struct sched_entry *e = entry_of(s, r->part);
	const struct sched_destination *d = e && e->domain ? e->domain->destination : NULL;
	_cleanup_(freep) char *text = NULL;

	if (r->by_operator)
		return copy(a, *r->reply ? r->reply : "by the operator");
	if (r->state != LOCUM__MESSAGE_STATE__MESSAGE_QUEUED || !d)
		return copy(a, r->reply);
	if (!e->domain->configured)
		return copy(a, "its domain is no longer configured");
	if (e->place == PLACE_HELD)
		return copy(a, "damaged in the spool");
	if (d->health == HEALTH_UNKNOWN || (d->health == HEALTH_UP && *r->reply) || !d->text)
		return copy(a, r->reply);
	text = text_clean(str_of(d->text), STORED_TEXT_MAX);
	return copy(a, text ? text : "");
}

static int message_row(struct arena *a, const struct source *s, Locum__MessageRow *row)
{
	char client[STORED_TEXT_MAX];
	const Locum__StoredRecipient *r;

	row->id = (ProtobufCBinaryData){ sizeof(s->id.byte), (uint8_t *)s->id.byte };
	if (s->envelope) {
		row->arrived_wall = s->envelope->arrived_wall;
		row->bytes = s->envelope->body_bytes;
		row->reverse_path = s->envelope->reverse_path;
		client_text(s->envelope->client, client, sizeof(client));
		row->client = copy(a, client);
	} else {
		row->arrived_wall = s->state->arrived_wall;
		row->bytes = s->state->body_bytes;
		row->reverse_path = s->state->reverse_path;
		row->client = s->state->client;
	}
	r = telling(s, &row->state);
	row->text = r ? why(a, s, r) : (char *)"";
	row->recipients = ARENA_ARRAY(a, Locum__RecipientRow *, s->state->n_recipients);
	return row->recipients ? 0 : -ENOMEM;
}

static bool concerns(const struct source *s, size_t i)
{
	return s->part == PART_ALL || s->state->recipients[i]->part == s->part;
}

/* Adds recipients from *at on while they fit. */
static int fill_row(struct arena *a, const struct source *s, Locum__MessageRow *row, size_t *at)
{
	size_t bytes = 0;

	for (; *at < s->state->n_recipients && bytes < RECIPIENTS_BYTES; ++*at) {
		Locum__RecipientRow *r;

		if (!concerns(s, *at))
			continue;
		r = recipient_row(a, s, *at);
		if (!r)
			return -ENOMEM;
		bytes += locum__recipient_row__get_packed_size(r) + RECIPIENT_OVERHEAD;
		row->recipients[row->n_recipients++] = r;
	}
	return 0;
}

/* Sends the recipients in as many rows as it takes; the first is what most messages need. */
static int send_rows(struct task *tk, struct command *c, const struct source *s)
{
	uint64_t rows_before = c->rows;
	size_t at = 0;
	int r;

	do {
		_cleanup_(arena_done) struct arena a;
		Locum__Answer answer = LOCUM__ANSWER__INIT;
		Locum__MessageRow row = LOCUM__MESSAGE_ROW__INIT;

		arena_init(&a, ROW_BYTES_MAX);
		r = message_row(&a, s, &row);
		if (r == 0)
			r = fill_row(&a, s, &row, &at);
		if (r < 0)
			return r;
		answer.message = &row;
		/* What is read of the message is ours; the message itself may go while this
		 * parks. */
		r = command_send(tk, c, &answer, -1);
	} while (r == 0 && at < s->state->n_recipients &&
		 message_find(c->client->sp, s->id) == s->message);
	c->rows = rows_before + 1;
	return r;
}

static int send_envelope(struct task *tk, struct command *c, const struct buf *bytes)
{
	Locum__Answer answer = LOCUM__ANSWER__INIT;

	answer.envelope.data = (uint8_t *)bytes->p;
	answer.envelope.len = bytes->n;
	return command_send(tk, c, &answer, -1);
}

int rows_message(struct task *tk, struct command *c, const struct message *m,
		 const struct loaded *l, const struct sched_domain *domain, bool with_envelope)
{
	struct source s = { m->id, m, l->envelope, l->state, PART_ALL };
	int r;

	for (uint32_t i = 0; domain && i < m->part_count; i++)
		if (m->part[i].entry.domain == domain)
			s.part = i;
	r = send_rows(tk, c, &s);
	return r == 0 && with_envelope ? send_envelope(tk, c, &l->bytes) : r;
}

int rows_finished(struct task *tk, struct command *c, msg_id id, const Locum__StoredState *state)
{
	struct source s = { id, NULL, NULL, state, PART_ALL };

	return send_rows(tk, c, &s);
}

int rows_event(struct task *tk, struct command *c, nsec at_wall, const char *what, str recipient,
	       const char *text)
{
	Locum__Answer answer = LOCUM__ANSWER__INIT;
	Locum__EventRow row = LOCUM__EVENT_ROW__INIT;

	row.at_wall = at_wall;
	row.event = (char *)what;
	row.recipient = (ProtobufCBinaryData){ recipient.n, (uint8_t *)recipient.p };
	row.text = (char *)text;
	answer.event = &row;
	return command_send(tk, c, &answer, -1);
}

int rows_events(struct task *tk, struct command *c, const Locum__StoredState *state)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < state->n_events; i++) {
		const Locum__StoredEvent *e = state->events[i];

		r = rows_event(tk, c, e->at_wall, e->what,
			       str_mem(e->recipient.data, e->recipient.len), e->text);
	}
	return r;
}
