#include "proc/spoold/finished.h"

#include <stdlib.h>

void finished_init(struct finished *f)
{
	map_init(&f->by_id);
	f->first = f->count = f->bytes = 0;
}

static void forget_oldest(struct finished *f)
{
	struct finished_item *item = f->ring[f->first];

	f->first = (f->first + 1) % FINISHED_MAX;
	f->count--;
	f->bytes -= item->state_bytes;
	map_remove(&f->by_id, &item->link);
	free(item);
}

void finished_done(struct finished *f)
{
	while (f->count > 0)
		forget_oldest(f);
	map_done(&f->by_id);
}

void finished_add(struct finished *f, msg_id id, nsec at_wall, str state)
{
	struct finished_item *item;

	if (state.n > FINISHED_BYTES_MAX)
		return;
	item = malloc(sizeof(*item) + state.n);
	if (!item)
		return;
	item->id = id;
	item->at_wall = at_wall;
	item->state_bytes = state.n;
	memcpy(item->state, state.p, state.n);
	if (map_insert(&f->by_id, &item->link, id_hash(id)) < 0) {
		free(item);
		return;
	}
	f->bytes += state.n;
	while (f->count == FINISHED_MAX || (f->count > 0 && f->bytes > FINISHED_BYTES_MAX))
		forget_oldest(f);
	f->ring[(f->first + f->count++) % FINISHED_MAX] = item;
}

const struct finished_item *finished_find(const struct finished *f, msg_id id)
{
	MAP_FIND (&f->by_id, id_hash(id), struct finished_item, link, item)
		if (id_eq(item->id, id))
			return item;
	return NULL;
}

const struct finished_item *finished_at(const struct finished *f, size_t n)
{
	return n < f->count ? f->ring[(f->first + n) % FINISHED_MAX] : NULL;
}
