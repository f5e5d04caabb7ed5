#include "proc/spoold/spoold.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#define ENVELOPE_BYTES_MAX ((size_t)1 << 20)

nsec mono_of(nsec wall)
{
	nsec age = sys_now_wall() - wall;

	return sys_now() - MAX(age, 0); /* from the future: as of now */
}

static struct message *find_any(struct spoold *sp, msg_id id)
{
	MAP_FIND (&sp->messages, id_hash(id), struct message, link, m)
		if (id_eq(m->id, id))
			return m;
	return NULL;
}

struct message *message_find(struct spoold *sp, msg_id id)
{
	struct message *m = find_any(sp, id);

	return m && m->durable ? m : NULL;
}

uint32_t part_number(const struct part *p)
{
	return (uint32_t)(p - p->message->part);
}

bool message_in_flight(const struct message *m)
{
	for (size_t i = 0; i < m->part_count; i++)
		if (m->part[i].entry.place == PLACE_IN_FLIGHT)
			return true;
	return false;
}

/* --- making and ending --- */

static int add_parts(struct spoold *sp, struct message *m, const Locum__Envelope *envelope,
		     const uint16_t *part)
{
	nsec since = mono_of(m->arrived_wall), now = sys_now();

	for (size_t i = 0; i < envelope->n_recipients; i++) {
		struct part *p = &m->part[part[i]];
		struct sched_domain *domain;
		int r;

		if (p->entry.domain)
			continue;
		r = sched_domain_get(sp->sched, str_of(envelope->recipients[i]->domain), now,
				     &domain);
		if (r == 0)
			r = sched_add(sp->sched, domain, &p->entry, PLACE_NONE, since,
				      envelope->body_bytes, now);
		if (r < 0)
			return r;
	}
	return 0;
}

int message_new(struct spoold *sp, msg_id id, const Locum__Envelope *envelope,
		struct message **ret_message)
{
	_cleanup_(freep) uint16_t *part = calloc(envelope->n_recipients + 1, sizeof(*part));
	struct message *m;
	size_t parts;
	int r;

	if (!part)
		return -ENOMEM;
	if (find_any(sp, id))
		return -EEXIST;
	parts = envelope_parts(envelope, part);
	m = calloc(1, sizeof(*m) + parts * sizeof(m->part[0]));
	if (!m)
		return -ENOMEM;
	m->id = id;
	m->arrived_wall = envelope->arrived_wall;
	m->part_count = (uint16_t)parts;
	for (size_t i = 0; i < parts; i++)
		m->part[i].message = m;
	r = map_insert(&sp->messages, &m->link, id_hash(id));
	if (r < 0) {
		free(m);
		return r;
	}
	r = add_parts(sp, m, envelope, part);
	if (r < 0) {
		message_free(sp, m);
		return r;
	}
	*ret_message = m;
	return 0;
}

void message_queue(struct spoold *sp, struct message *m)
{
	m->durable = true;
	for (size_t i = 0; i < m->part_count; i++)
		sched_ready(sp->sched, &m->part[i].entry, sys_now());
}

void message_free(struct spoold *sp, struct message *m)
{
	for (size_t i = 0; i < m->part_count; i++)
		sched_remove(sp->sched, &m->part[i].entry, sys_now());
	map_remove(&sp->messages, &m->link);
	free(m);
}

/* --- from the spool and back --- */

void loaded_done(struct loaded *l)
{
	if (l->envelope)
		locum__envelope__free_unpacked(l->envelope, NULL);
	stored_freep(&l->state);
	buf_done(&l->bytes);
	*l = (struct loaded){ 0 };
}

/* On an error l->bytes is empty when it is about the envelope. */
static int read_both(struct spoold *sp, const struct message *m, struct loaded *l,
		     struct buf *state)
{
	int r;

	buf_reset(&l->bytes);
	buf_reset(state);
	r = spool_read(sp->spool, m->id, &l->bytes, &l->body);
	if (r < 0) {
		buf_reset(&l->bytes);
		return r;
	}
	return commit_newest_state(sp, m->id, state);
}

static int load(struct spoold *sp, struct message *m, struct loaded *l)
{
	_cleanup_(buf_done) struct buf state = { 0 };
	int r;

	buf_init(&l->bytes, ENVELOPE_BYTES_MAX);
	buf_init(&state, STORED_BYTES_MAX);
	r = read_both(sp, m, l, &state);
	if (r == -EAGAIN) { /* in the batch: the spool reads only what is written */
		commit_sync(sp);
		r = read_both(sp, m, l, &state);
	}
	if (l->bytes.n == 0)
		return r < 0 ? r : -EBADMSG;
	l->envelope = locum__envelope__unpack(NULL, l->bytes.n, (const uint8_t *)l->bytes.p);
	if (!l->envelope)
		return -EBADMSG;
	if (r == 0)
		r = stored_unpack(buf_str(&state), l->envelope, &l->state);
	if (r != -EBADMSG)
		return r;
	/* Rather deliver twice than not at all. */
	log_error("spool.damaged", K_ID("id", m->id), K_Z("what", "state"),
		  K_Z("then", "begins anew"));
	return stored_unpack(STR_NONE, l->envelope, &l->state);
}

int message_load(struct spoold *sp, struct message *m, struct loaded *ret_loaded)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	int r = load(sp, m, &l);

	if (r < 0)
		return r;
	*ret_loaded = l;
	l = (struct loaded){ 0 };
	return 0;
}

static void settle_part(struct spoold *sp, struct part *p, Locum__MessageState state)
{
	nsec now = sys_now();

	if (p->entry.place == PLACE_IN_FLIGHT || !p->entry.domain)
		return;
	switch (state) {
	case LOCUM__MESSAGE_STATE__MESSAGE_QUEUED:
		sched_release(sp->sched, &p->entry, now); /* of what is held: else nothing */
		return;
	case LOCUM__MESSAGE_STATE__MESSAGE_HELD:
		sched_hold(sp->sched, &p->entry, PLACE_HELD, now);
		return;
	case LOCUM__MESSAGE_STATE__MESSAGE_PARKED:
		sched_hold(sp->sched, &p->entry, PLACE_PARKED, now);
		return;
	case LOCUM__MESSAGE_STATE__MESSAGE_NONE:
	case LOCUM__MESSAGE_STATE__MESSAGE_DELIVERING:
	case LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED:
	case LOCUM__MESSAGE_STATE__MESSAGE_DROPPED:
	case _LOCUM__MESSAGE_STATE_IS_INT_SIZE:
		sched_remove(sp->sched, &p->entry, now);
		return;
	}
}

static size_t count_state(const Locum__StoredState *state, Locum__MessageState which)
{
	size_t n = 0;

	for (size_t i = 0; i < state->n_recipients; i++)
		n += state->recipients[i]->state == which;
	return n;
}

static void finish(struct spoold *sp, struct message *m, struct loaded *l)
{
	_cleanup_(buf_done) struct buf packed = { 0 };
	size_t delivered = count_state(l->state, LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED);
	nsec now_wall = sys_now_wall();

	stored_finish(l->state, l->envelope);
	buf_init(&packed, STORED_BYTES_MAX);
	if (stored_pack(l->state, &packed) == 0)
		finished_add(&sp->finished, m->id, now_wall, buf_str(&packed));
	commit_mark(sp, SPOOL_DONE, m->id, &packed);
	sp->delivered_total += delivered > 0;
	log_info("message.done", K_ID("id", m->id), K_INT("delivered", delivered),
		 K_INT("dropped", l->state->n_recipients - delivered),
		 K_NSEC("age", now_wall - m->arrived_wall));
	message_free(sp, m);
}

void message_save(struct spoold *sp, struct message *m, struct loaded *l)
{
	_cleanup_(buf_done) struct buf packed = { 0 };
	bool done = true, held = true;

	for (uint32_t i = 0; i < m->part_count; i++) {
		struct part *p = &m->part[i];
		Locum__MessageState state = stored_part(l->state, i);

		settle_part(sp, p, state);
		if (state != LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED ||
		    p->entry.place == PLACE_IN_FLIGHT)
			done = false;
		if (state == LOCUM__MESSAGE_STATE__MESSAGE_QUEUED)
			held = false;
	}
	if (done) {
		finish(sp, m, l);
		return;
	}
	buf_init(&packed, STORED_BYTES_MAX);
	must(stored_pack(l->state, &packed) == 0);
	commit_mark(sp, SPOOL_STATE, m->id, &packed);
	if (held)
		house_held(sp, m);
}

void message_apply(struct spoold *sp, struct message *m, const Locum__StoredState *state)
{
	for (uint32_t i = 0; i < m->part_count; i++) {
		struct part *p = &m->part[i];

		settle_part(sp, p, stored_part(state, i));
		if (state->hold_from_wall && p->entry.domain)
			sched_set_since(sp->sched, &p->entry, mono_of(state->hold_from_wall),
					sys_now());
	}
}
