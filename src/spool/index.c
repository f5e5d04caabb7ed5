#include "spool/inside.h"

int array_reserve(void **array, size_t *cap, size_t n, size_t element_bytes)
{
	size_t wanted = *cap ? *cap : 8;
	void *grown;

	if (n <= *cap)
		return 0;
	while (wanted < n)
		wanted *= 2;
	grown = reallocarray(*array, wanted, element_bytes);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*cap = wanted;
	return 0;
}

/* --- the slab: entries never move, an index of 32 bits names one --- */

struct entry *index_at(const struct spool *s, uint32_t self)
{
	return &s->slab[self / SLAB_CHUNK][self % SLAB_CHUNK];
}

static int slab_grow(struct spool *s)
{
	struct entry **grown = reallocarray(s->slab, s->slab_chunks + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	s->slab = grown;
	s->slab[s->slab_chunks] = calloc(SLAB_CHUNK, sizeof(struct entry));
	if (!s->slab[s->slab_chunks])
		return -ENOMEM;
	s->slab_chunks++;
	return 0;
}

static int slab_take(struct spool *s, struct entry **ret_entry)
{
	uint32_t self = s->slab_free;

	if (self) {
		struct entry *e = index_at(s, self);

		s->slab_free = e->message.serial;
		*e = (struct entry){ .self = self };
		*ret_entry = e;
		return 0;
	}
	if (s->slab_next == UINT32_MAX)
		return -ENOMEM;
	self = s->slab_next ? s->slab_next : 1; /* 0 means none */
	if (self / SLAB_CHUNK >= s->slab_chunks && slab_grow(s) < 0)
		return -ENOMEM;
	s->slab_next = self + 1;
	*ret_entry = index_at(s, self);
	(*ret_entry)->self = self;
	return 0;
}

static void slab_give(struct spool *s, struct entry *e)
{
	uint32_t self = e->self;

	*e = (struct entry){ .message.serial = s->slab_free };
	s->slab_free = self;
}

/* --- the index --- */

struct entry *index_find(const struct spool *s, msg_id id)
{
	MAP_FIND (&s->index, id_hash(id), struct entry, link, e)
		if (id_eq(e->id, id))
			return e;
	return NULL;
}

int index_add(struct spool *s, msg_id id, struct entry **ret_entry)
{
	struct entry *e;
	int r = slab_take(s, &e);

	if (r < 0)
		return r;
	e->id = id;
	r = map_insert(&s->index, &e->link, id_hash(id));
	if (r < 0) {
		slab_give(s, e);
		return r;
	}
	*ret_entry = e;
	return 0;
}

void index_remove(struct spool *s, struct entry *e)
{
	map_remove(&s->index, &e->link);
	slab_give(s, e);
}

void index_done(struct spool *s)
{
	map_done(&s->index);
	for (size_t i = 0; i < s->slab_chunks; i++)
		free(s->slab[i]);
	free(s->slab);
}

/* --- which bytes of which segment are still needed --- */

int segment_reserve_refs(struct segment *seg)
{
	struct refs *m = &seg->messages, *k = &seg->marks;

	if (ARRAY_RESERVE(m->index, m->cap, m->n + 1) < 0)
		return -ENOMEM;
	return ARRAY_RESERVE(k->index, k->cap, k->n + 1);
}

static void live_add(struct spool *s, struct place p)
{
	segment_find(s, p.serial)->live_bytes += place_bytes(p);
	s->live_bytes += place_bytes(p);
}

static void live_sub(struct spool *s, struct place p)
{
	segment_find(s, p.serial)->live_bytes -= place_bytes(p);
	s->live_bytes -= place_bytes(p);
}

/* A tombstone that shares its segment with the last message record it kills goes together with it; any other
 * must outlive the records elsewhere. */
bool tombstone_needed(const struct entry *e)
{
	return e->dead && !(e->copies == 1 && e->message.serial == e->mark.serial);
}

static void tombstone_add(struct spool *s, const struct entry *e)
{
	if (tombstone_needed(e))
		segment_find(s, e->mark.serial)->tombstone_bytes += place_bytes(e->mark);
}

static void tombstone_sub(struct spool *s, const struct entry *e)
{
	if (tombstone_needed(e))
		segment_find(s, e->mark.serial)->tombstone_bytes -= place_bytes(e->mark);
}

void entry_message(struct spool *s, struct entry *e, struct segment *seg, struct place at)
{
	if (e->dead) {
		/* The id was used again after its end. */
		tombstone_sub(s, e);
		e->mark = (struct place){ 0 };
		e->dead = false;
		s->messages++;
	} else if (!e->message.serial) {
		s->messages++;
		if (e->mark.serial)
			live_add(s, e->mark);
	} else {
		live_sub(s, e->message);
	}
	e->message = at;
	live_add(s, at);
	must(e->copies < UINT16_MAX);
	e->copies++;
	seg->messages.index[seg->messages.n++] = e->self;
}

void entry_mark(struct spool *s, struct entry *e, struct segment *seg, struct place at, bool done)
{
	seg->marks.index[seg->marks.n++] = e->self;
	if (!e->message.serial) {
		/* Replay only: its message may still come, copied to a later place. */
		e->mark = at;
		return;
	}
	if (e->dead)
		tombstone_sub(s, e);
	else if (e->mark.serial)
		live_sub(s, e->mark);
	if (done && !e->dead) {
		live_sub(s, e->message);
		e->dead = true;
		s->messages--;
	}
	must(done == e->dead);
	e->mark = at;
	if (done)
		tombstone_add(s, e);
	else
		live_add(s, at);
}

void entry_lose_copy(struct spool *s, struct entry *e)
{
	must(e->copies > 0 && (e->dead || e->copies > 1));
	tombstone_sub(s, e);
	e->copies--;
	if (e->copies > 0)
		tombstone_add(s, e);
	else
		index_remove(s, e);
}
