/*
 * A power cut lets any selection of 512-byte sectors and of names survive that was not synced; sometimes the first
 * ones only. See inode.h.
 */
#include "sim/inode.h"

#include <stdio.h>
#include <stdlib.h>

#define SECTOR 512
#define NAMES_MAX 4096
#define FILE_BYTES_MAX ((uint64_t)64 << 20)

struct inode *inode_new(struct disk *d, bool is_dir)
{
	struct inode *i = calloc(1, sizeof(*i));

	must(i);
	i->refs = 1;
	i->disk = d;
	i->is_dir = is_dir;
	if (is_dir) {
		i->names = calloc(NAMES_MAX, sizeof(*i->names));
		i->durable_names = calloc(NAMES_MAX, sizeof(*i->durable_names));
		i->changes = calloc(NAMES_MAX, sizeof(*i->changes));
		must(i->names && i->durable_names && i->changes);
	}
	return i;
}

struct inode *inode_ref(struct inode *i)
{
	i->refs++;
	return i;
}

void inode_unref(struct inode *i)
{
	if (--i->refs > 0)
		return;
	i->disk->used -= i->size;
	free(i->bytes);
	free(i->durable);
	free(i->dirty);
	free(i->names);
	free(i->durable_names);
	free(i->changes);
	free(i);
}

static void inode_reserve(struct inode *i, uint64_t size)
{
	uint64_t room = MAX(i->room, 4096);

	if (size <= i->room)
		return;
	must(size <= FILE_BYTES_MAX);
	while (room < size)
		room *= 2;
	i->bytes = realloc(i->bytes, room);
	i->durable = realloc(i->durable, room);
	must(i->bytes && i->durable);
	memset(i->bytes + i->room, 0, room - i->room);
	memset(i->durable + i->room, 0, room - i->room);
	i->room = room;
}

int inode_grow(struct inode *i, uint64_t size)
{
	struct disk *d = i->disk;

	if (size <= i->size)
		return 0;
	if (d->used + (size - i->size) > d->limit)
		return -ENOSPC;
	inode_reserve(i, size);
	d->used += size - i->size;
	i->size = size;
	return 0;
}

void inode_shrink(struct inode *i, uint64_t size)
{
	if (size >= i->size)
		return;
	memset(i->bytes + size, 0, i->size - size);
	inode_dirty(i, size, i->size);
	i->disk->used -= i->size - size;
	i->size = size;
}

void inode_dirty(struct inode *i, uint64_t from, uint64_t to)
{
	struct range *last = i->dirty_n ? &i->dirty[i->dirty_n - 1] : NULL;

	if (last && from <= last->to && from >= last->from) {
		last->to = MAX(last->to, to);
		return;
	}
	if (i->dirty_n == i->dirty_cap) {
		i->dirty_cap = i->dirty_cap ? 2 * i->dirty_cap : 8;
		i->dirty = realloc(i->dirty, i->dirty_cap * sizeof(*i->dirty));
		must(i->dirty);
	}
	i->dirty[i->dirty_n++] = (struct range){ from, to };
}

/* --- what becomes durable --- */

static void keep_range(struct inode *i, uint64_t from, uint64_t to)
{
	to = MIN(to, i->room);
	if (from < to)
		memcpy(i->durable + from, i->bytes + from, to - from);
}

static void set_durable_size(struct inode *i, uint64_t size)
{
	if (size < i->durable_size)
		memset(i->durable + size, 0, i->durable_size - size);
	i->durable_size = size;
}

static void file_synced(struct inode *i)
{
	for (size_t n = 0; n < i->dirty_n; n++)
		keep_range(i, i->dirty[n].from, i->dirty[n].to);
	i->dirty_n = 0;
	set_durable_size(i, i->size);
}

/* Any selection of sectors, of which `percent` survive; sometimes the first ones only. */
static void file_torn(struct inode *i)
{
	unsigned percent = (unsigned)sim_below(DICE_DISK, 101);
	bool in_order = sim_percent(DICE_DISK, 30), over = false, torn = false;

	for (size_t n = 0; n < i->dirty_n; n++) {
		for (uint64_t at = i->dirty[n].from; at < i->dirty[n].to;) {
			uint64_t end = MIN((at / SECTOR + 1) * SECTOR, i->dirty[n].to);
			bool kept = sim_percent(DICE_DISK, percent);

			if (in_order) {
				over = over || (!kept && sim_percent(DICE_DISK, 20));
				kept = !over;
			}
			if (kept)
				keep_range(i, at, end);
			else
				torn = true;
			at = end;
		}
	}
	if (i->dirty_n)
		sim_counts.torn_writes += torn;
	i->dirty_n = 0;
}

static void file_lost_power(struct inode *i)
{
	uint64_t size = i->size;

	file_torn(i);
	if (size != i->durable_size) {
		switch (sim_below(DICE_DISK, 3)) {
		case 0:
			size = i->durable_size;
			break;
		case 1:
			size = MIN(size, i->durable_size) +
			       sim_below(DICE_DISK, MAX(size, i->durable_size) -
							    MIN(size, i->durable_size) + 1);
			break;
		default:
			break;
		}
		set_durable_size(i, size);
		if (i->room > size)
			memset(i->durable + size, 0, i->room - size);
	}
	i->disk->used -= i->size;
	i->size = i->durable_size;
	i->disk->used += i->size;
	if (i->room)
		memcpy(i->bytes, i->durable, i->room);
	i->locked_by = NULL;
}

/* --- names --- */

static struct name *name_find(struct name *names, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i].text, text) == 0)
			return &names[i];
	return NULL;
}

static void name_remove(struct name *names, size_t *n, const char *text)
{
	struct name *at = name_find(names, *n, text);

	if (!at)
		return;
	inode_unref(at->inode);
	memmove(at, at + 1, (size_t)(names + --*n - at) * sizeof(*at));
}

static void name_set(struct name *names, size_t *n, const char *text, struct inode *i)
{
	struct name *at = name_find(names, *n, text);

	inode_ref(i);
	if (at) {
		inode_unref(at->inode);
		at->inode = i;
		return;
	}
	must(*n < NAMES_MAX);
	snprintf(names[*n].text, sizeof(names[*n].text), "%s", text);
	names[(*n)++].inode = i;
}

static void change_apply(const struct change *c, struct name *names, size_t *n)
{
	if (c->was[0])
		name_remove(names, n, c->was);
	if (c->is[0])
		name_set(names, n, c->is, c->inode);
}

static void changes_forget(struct inode *dir)
{
	for (size_t i = 0; i < dir->changes_n; i++)
		if (dir->changes[i].inode)
			inode_unref(dir->changes[i].inode);
	dir->changes_n = 0;
}

static void dir_synced(struct inode *dir)
{
	for (size_t i = 0; i < dir->changes_n; i++)
		change_apply(&dir->changes[i], dir->durable_names, &dir->durable_names_n);
	changes_forget(dir);
}

void inode_change_name(struct inode *dir, const char *was, const char *is, struct inode *i)
{
	struct change *c;

	/* Nobody synced it, but no journal waits for ever. */
	if (dir->changes_n == NAMES_MAX)
		dir_synced(dir);
	c = &dir->changes[dir->changes_n++];
	snprintf(c->was, sizeof(c->was), "%s", was);
	snprintf(c->is, sizeof(c->is), "%s", is);
	c->inode = i ? inode_ref(i) : NULL;
	change_apply(c, dir->names, &dir->names_n);
}

static bool same_name_changed_earlier(const struct inode *dir, size_t n, const bool *kept)
{
	const struct change *c = &dir->changes[n];

	for (size_t i = 0; i < n; i++) {
		const struct change *e = &dir->changes[i];
		bool same = (c->was[0] && (!strcmp(c->was, e->is) || !strcmp(c->was, e->was))) ||
			    (c->is[0] && (!strcmp(c->is, e->is) || !strcmp(c->is, e->was)));

		if (same && !kept[i])
			return true;
	}
	return false;
}

static void dir_lost_power(struct inode *dir)
{
	bool kept[NAMES_MAX];
	unsigned percent = (unsigned)sim_below(DICE_DISK, 101);
	bool in_order = sim_percent(DICE_DISK, 50);

	for (size_t i = 0; i < dir->changes_n; i++) {
		kept[i] = sim_percent(DICE_DISK, percent) &&
			  !same_name_changed_earlier(dir, i, kept) &&
			  !(in_order && i > 0 && !kept[i - 1]);
		if (kept[i])
			change_apply(&dir->changes[i], dir->durable_names, &dir->durable_names_n);
		else
			sim_counts.lost_writes++;
	}
	changes_forget(dir);
	while (dir->names_n > 0)
		inode_unref(dir->names[--dir->names_n].inode);
	for (size_t i = 0; i < dir->durable_names_n; i++)
		name_set(dir->names, &dir->names_n, dir->durable_names[i].text,
			 dir->durable_names[i].inode);
	for (size_t i = 0; i < dir->names_n; i++)
		inode_lost_power(dir->names[i].inode);
}

/* --- the same for files and directories --- */

void inode_synced(struct inode *i)
{
	if (i->is_dir)
		dir_synced(i);
	else
		file_synced(i);
}

void inode_sync_failed(struct inode *i)
{
	if (!i->is_dir)
		file_torn(i);
}

void inode_lost_power(struct inode *i)
{
	if (i->is_dir)
		dir_lost_power(i);
	else
		file_lost_power(i);
}

struct inode *inode_find(const struct inode *dir, const char *name)
{
	struct name *at = name_find(dir->names, dir->names_n, name);

	return at ? at->inode : NULL;
}

bool inode_has_new_names(const struct inode *dir)
{
	for (size_t n = 0; n < dir->changes_n; n++)
		if (dir->changes[n].is[0])
			return true;
	return false;
}

bool inode_is_named(const struct inode *dir, const struct inode *i)
{
	for (size_t n = 0; n < dir->names_n; n++) {
		const struct inode *at = dir->names[n].inode;

		if (at == i || (at->is_dir && inode_is_named(at, i)))
			return true;
	}
	return false;
}

struct inode *inode_find_durable(const struct inode *dir, const char *name)
{
	struct name *at = name_find(dir->durable_names, dir->durable_names_n, name);

	return at ? at->inode : NULL;
}
