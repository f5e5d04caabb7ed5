/* QUEUE, SHOW, EXPORT, TRACE: what is where, and how it came there. */
#include "proc/spoold/command.h"

#include "base/cleanup.h"

#include <stdio.h>

#define ROWS_BYTES_MAX ((size_t)16 << 20)
#define SLICE 64 /* messages looked at before others may run */

/* --- QUEUE --- */

static Locum__DomainRow *domain_row(struct arena *a, const struct sched_domain *d)
{
	Locum__DomainRow *row = ARENA_NEW(a, Locum__DomainRow);
	const struct part *oldest = LIST_FIRST(&d->entries, struct part, entry.in_domain);
	str name = arena_str(a, str_of(d->name)), key = arena_str(a, str_of(d->destination->key));

	if (!row || !name.p || !key.p)
		return NULL;
	locum__domain_row__init(row);
	row->domain = (char *)name.p;
	row->destination = (char *)key.p;
	row->queued = d->queued;
	row->held = d->held;
	row->bytes = d->bytes;
	row->oldest_wall = oldest ? oldest->message->arrived_wall : 0;
	row->state = row_state(d->destination->health);
	return row;
}

static int by_name(const void *a, const void *b)
{
	const Locum__DomainRow *const *x = a, *const *y = b;

	return strcmp((*x)->domain, (*y)->domain);
}

static int queue_domains(struct task *tk, struct command *c)
{
	_cleanup_(arena_done) struct arena a;
	const struct sched *s = c->client->sp->sched;
	Locum__DomainRow **row;
	size_t max = 0, count = 0;
	int r = 0;

	arena_init(&a, ROWS_BYTES_MAX);
	for (struct sched_domain *d = sched_domain_walk(s, NULL); d; d = sched_domain_walk(s, d))
		max += !list_empty(&d->entries);
	row = ARENA_ARRAY(&a, Locum__DomainRow *, max + 1);
	for (struct sched_domain *d = sched_domain_walk(s, NULL); row && d && count < max;
	     d = sched_domain_walk(s, d)) {
		if (list_empty(&d->entries))
			continue;
		row[count] = domain_row(&a, d);
		if (!row[count++])
			return -ENOMEM;
	}
	if (!row)
		return -ENOMEM;
	qsort(row, count, sizeof(*row), by_name);
	for (size_t i = 0; r == 0 && i < count && command_rows_left(c); i++) {
		Locum__Answer answer = LOCUM__ANSWER__INIT;

		answer.domain = row[i];
		c->count += row[i]->queued + row[i]->held;
		r = command_send(tk, c, &answer, -1);
	}
	return r;
}

static int queue_messages(struct task *tk, struct command *c)
{
	_cleanup_(id_list_done) struct id_list ids = { 0 };
	struct spoold *sp = c->client->sp;
	int r = id_list_of(sp, sched_domain_find(sp->sched, str_of(c->ask->domain)), &ids);

	for (size_t i = 0; r == 0 && i < ids.count && command_rows_left(c); i++) {
		_cleanup_(loaded_done) struct loaded l = { 0 };
		struct message *m = message_find(sp, ids.id[i]);

		if (!m || message_load(sp, m, &l) < 0)
			continue;
		c->count++;
		r = rows_message(tk, c, m, &l, sched_domain_find(sp->sched, str_of(c->ask->domain)),
				 false);
		if (r == 0 && i % SLICE == SLICE - 1)
			r = task_yield(tk);
	}
	return r;
}

int command_queue(struct task *tk, struct command *c)
{
	if (!*c->ask->domain)
		return queue_domains(tk, c);
	if (!sched_domain_find(c->client->sp->sched, str_of(c->ask->domain)))
		return command_fail(c, "%s is not a domain of ours", c->ask->domain);
	return queue_messages(tk, c);
}

/* --- SHOW, EXPORT --- */

/* The message asked for: 1. Else what the command returns, and why is told. */
static int load_asked(struct command *c, struct message **ret_m, struct loaded *ret_l)
{
	int r;

	*ret_m = command_message(c);
	if (!*ret_m)
		return 0;
	r = message_load(c->client->sp, *ret_m, ret_l);
	if (r < 0)
		return command_fail(c, "the message cannot be read: %s", strerror(-r));
	c->count = 1;
	return 1;
}

int command_show(struct task *tk, struct command *c)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	struct message *m;
	int r = load_asked(c, &m, &l);

	if (r <= 0)
		return r;
	r = rows_message(tk, c, m, &l, NULL, true);
	return r < 0 ? r : rows_events(tk, c, l.state);
}

int command_export(struct task *tk, struct command *c)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	_cleanup_(closep) int fd = -1;
	Locum__Answer answer = LOCUM__ANSWER__INIT;
	struct message *m;
	int r = load_asked(c, &m, &l);

	if (r <= 0)
		return r;
	fd = sys_dup(l.body.fd); /* the spool may close its own while we wait */
	if (fd < 0)
		return command_fail(c, "%s", strerror(-fd));
	answer.envelope = (ProtobufCBinaryData){ l.bytes.n, (uint8_t *)l.bytes.p };
	answer.body_offset = l.body.offset;
	answer.body_bytes = l.body.bytes;
	return command_send(tk, c, &answer, fd);
}

/* --- TRACE --- */

static const char *const primary_was[] = {
	[LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN] = "not known",
	[LOCUM__PRIMARY_STATE__PRIMARY_UP] = "up",
	[LOCUM__PRIMARY_STATE__PRIMARY_REFUSING] = "refusing",
	[LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE] = "unreachable",
	[LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE] = "without a route",
};

/* Why did it come here although …? The evidence of that second. */
static int accepted_event(struct task *tk, struct command *c, const Locum__Envelope *e)
{
	const Locum__Client *client = e->client;
	Locum__PrimaryState state = e->recipients[0]->primary;
	_cleanup_(freep) char *helo = NULL, *noticed = NULL;
	char text[2 * STORED_TEXT_MAX] = "", from[STORED_TEXT_MAX];

	symbols_text(e, text, STORED_TEXT_MAX);
	noticed = text_clean(str_of(text), STORED_TEXT_MAX);
	client_text(client, from, sizeof(from));
	if (client)
		helo = text_clean(str_mem(client->helo.data, client->helo.len), 128);
	snprintf(text, sizeof(text), "from %s, HELO %s, %s, listener %s; the primary was %s%s%s",
		 from, helo ? helo : "",
		 client && *client->tls_version ? client->tls_version : "no TLS",
		 client ? client->listener : "",
		 (size_t)state < ELEMENTS(primary_was) ? primary_was[state] : "not known",
		 noticed && *noticed ? "; noticed: " : "", noticed ? noticed : "");
	return rows_event(tk, c, e->arrived_wall, "accepted", STR_NONE, text);
}

static int trace_live(struct task *tk, struct command *c, struct message *m)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	msg_id id = m->id;
	int r = message_load(c->client->sp, m, &l);

	if (r < 0)
		return command_fail(c, "the message cannot be read: %s", strerror(-r));
	r = accepted_event(tk, c, l.envelope);
	if (r == 0)
		r = rows_events(tk, c, l.state);
	if (r < 0)
		return r;
	m = message_find(c->client->sp, id);
	return m ? rows_message(tk, c, m, &l, NULL, false) : 0;
}

static int finished_state(const struct finished_item *item, Locum__StoredState **ret_state)
{
	*ret_state =
		locum__stored_state__unpack(NULL, item->state_bytes, (const uint8_t *)item->state);
	return *ret_state ? 0 : -EBADMSG;
}

static int trace_finished(struct task *tk, struct command *c, const struct finished_item *item)
{
	_cleanup_(stored_freep) Locum__StoredState *state = NULL;
	msg_id id = item->id;
	char text[2 * STORED_TEXT_MAX + 32];
	int r = finished_state(item, &state);

	if (r < 0)
		return command_fail(c, "the final state of the message cannot be read");
	snprintf(text, sizeof(text), "from %s%s%s", state->client,
		 *state->symbols ? "; noticed: " : "", state->symbols);
	r = rows_event(tk, c, state->arrived_wall, "accepted", STR_NONE, text);
	if (r == 0)
		r = rows_events(tk, c, state);
	return r < 0 ? r : rows_finished(tk, c, id, state);
}

static int trace_id(struct task *tk, struct command *c)
{
	const struct finished_item *item;
	struct message *m;
	msg_id id;

	if (c->ask->id.len != sizeof(id))
		return command_fail(c, "a message id or an address is needed");
	memcpy(id.byte, c->ask->id.data, sizeof(id));
	c->count = 1;
	m = message_find(c->client->sp, id);
	if (m)
		return trace_live(tk, c, m);
	item = finished_find(&c->client->sp->finished, id);
	if (item)
		return trace_finished(tk, c, item);
	c->count = 0;
	return command_fail(c, "nothing is known here of a message with this id");
}

static bool is_address(const struct command *c, const ProtobufCBinaryData *address)
{
	return str_case_eq(str_of(c->ask->address), str_mem(address->data, address->len));
}

static bool live_concerns(const struct command *c, const Locum__Envelope *e)
{
	if (is_address(c, &e->reverse_path))
		return true;
	for (size_t i = 0; i < e->n_recipients; i++)
		if (is_address(c, &e->recipients[i]->address))
			return true;
	return false;
}

static bool finished_concerns(const struct command *c, const Locum__StoredState *state)
{
	if (is_address(c, &state->reverse_path))
		return true;
	for (size_t i = 0; i < state->n_recipients; i++)
		if (is_address(c, &state->recipients[i]->address))
			return true;
	return false;
}

static int trace_address_live(struct task *tk, struct command *c)
{
	_cleanup_(id_list_done) struct id_list ids = { 0 };
	struct spoold *sp = c->client->sp;
	int r = id_list_of(sp, NULL, &ids);

	for (size_t i = 0; r == 0 && i < ids.count && command_rows_left(c); i++) {
		_cleanup_(loaded_done) struct loaded l = { 0 };
		struct message *m = message_find(sp, ids.id[i]);

		if (m && message_load(sp, m, &l) == 0 && live_concerns(c, l.envelope)) {
			c->count++;
			r = rows_message(tk, c, m, &l, NULL, false);
		}
		if (r == 0 && i % SLICE == SLICE - 1)
			r = task_yield(tk);
		if (r == 0 && !c->client->channel)
			r = -EPIPE;
	}
	return r;
}

/* The newest first, so that rows_max leaves what is most likely asked for. */
static int trace_address_finished(struct task *tk, struct command *c)
{
	const struct finished *f = &c->client->sp->finished;
	int r = 0;

	for (size_t i = f->count; r == 0 && i-- > 0 && command_rows_left(c);) {
		_cleanup_(stored_freep) Locum__StoredState *state = NULL;
		const struct finished_item *item = finished_at(f, i);

		if (item && finished_state(item, &state) == 0 && finished_concerns(c, state)) {
			c->count++;
			r = rows_finished(tk, c, item->id, state);
		}
		if (r == 0 && i % SLICE == 0)
			r = task_yield(tk);
	}
	return r;
}

int command_trace(struct task *tk, struct command *c)
{
	int r;

	if (!*c->ask->address)
		return trace_id(tk, c);
	r = trace_address_live(tk, c);
	return r < 0 ? r : trace_address_finished(tk, c);
}
