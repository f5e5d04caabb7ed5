/*
 * The virtual disk. A file has the bytes that processes see and those that would survive a power cut; a
 * directory likewise has names. A write touches the first only and notes the range; a sync of the file
 * makes its bytes durable, a sync of the directory its names: nothing else does. A power cut lets any
 * selection of 512-byte sectors and of names survive that was not synced. A sync that fails loses any part of
 * what it should have written, and the next one does not know of it.
 */
#include "sim/engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define SECTOR 512
#define NAMES_MAX 4096
#define FILE_BYTES_MAX ((uint64_t)64 << 20)
#define FULL_SYNC_HIGH (4 * NSEC_MS)

struct range {
	uint64_t from, to;
};

/* A file or a directory. Lives as long as a name, durable or not, or a descriptor points to it. */
struct inode {
	unsigned refs;
	bool is_dir;
	struct disk *disk;
	char *bytes, *durable;
	uint64_t size, durable_size, room;
	struct range *dirty;
	size_t dirty_n, dirty_cap;
	uint64_t parsed_to; /* record.c's */
	struct open_file *locked_by;
	/* of a directory */
	struct name *names, *durable_names;
	size_t names_n, durable_names_n;
	struct change *changes; /* of names, not durable yet, in order */
	size_t changes_n;
};

struct name {
	char text[64];
	struct inode *inode;
};

/* unlink: was only; link: is only; rename: both. */
struct change {
	char was[64], is[64];
	struct inode *inode; /* of `is` */
};

struct open_file {
	struct object object;
	struct inode *inode;
	uint64_t position;
	bool writable;
};

struct memory {
	struct object object;
	char *bytes;
	uint64_t size, room, position;
	bool sealed;
};

struct disk {
	char name[32];
	uint64_t bytes, used;
	uint64_t limit; /* `bytes`, or less while it is made full */
	struct inode *root;
	uint64_t fault[DISK_SLOW + 1]; /* how many calls it still hits */
};

/* --- inodes --- */

static struct inode *inode_new(struct disk *d, bool is_dir)
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

static struct inode *inode_ref(struct inode *i)
{
	i->refs++;
	return i;
}

static void inode_unref(struct inode *i)
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

static int inode_grow(struct inode *i, uint64_t size)
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

static void inode_dirty(struct inode *i, uint64_t from, uint64_t to)
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

static void dir_change(struct inode *dir, const char *was, const char *is, struct inode *i)
{
	struct change *c;

	must(dir->changes_n < NAMES_MAX);
	c = &dir->changes[dir->changes_n++];
	snprintf(c->was, sizeof(c->was), "%s", was);
	snprintf(c->is, sizeof(c->is), "%s", is);
	c->inode = i ? inode_ref(i) : NULL;
	change_apply(c, dir->names, &dir->names_n);
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
	for (size_t i = 0; i < dir->names_n; i++) {
		if (dir->names[i].inode->is_dir)
			dir_lost_power(dir->names[i].inode);
		else
			file_lost_power(dir->names[i].inode);
	}
}

void disk_power_cut(struct disk *d)
{
	dir_lost_power(d->root);
}

/* --- the disk --- */

struct disk *disk_new(const char *name, uint64_t bytes)
{
	struct disk *d = calloc(1, sizeof(*d));

	must(d);
	snprintf(d->name, sizeof(d->name), "%s", name);
	d->bytes = d->limit = bytes;
	d->root = inode_new(d, true);
	return d;
}

void disk_fault(struct disk *d, enum disk_fault fault, uint64_t count)
{
	d->fault[fault] += count;
}

void disk_set_free(struct disk *d, uint64_t bytes)
{
	d->limit = bytes == UINT64_MAX ? d->bytes : MIN(d->bytes, d->used + bytes);
}

static bool fault_hits(struct disk *d, enum disk_fault fault)
{
	if (d->fault[fault] == 0)
		return false;
	d->fault[fault]--;
	sim_counts.disk_faults++;
	sim_trace("%s: disk fault %d", d->name, (int)fault);
	return true;
}

static void each_durable(const struct inode *dir, const char *dir_name,
			 void (*f)(void *arg, struct durable_file *file), void *arg)
{
	for (size_t i = 0; i < dir->durable_names_n; i++) {
		struct inode *inode = dir->durable_names[i].inode;
		struct durable_file file = {
			.dir = dir_name,
			.name = dir->durable_names[i].text,
			.parsed_to = &inode->parsed_to,
		};

		if (inode->is_dir) {
			each_durable(inode, file.name, f, arg);
			continue;
		}
		file.bytes = str_mem(inode->durable, inode->durable_size);
		f(arg, &file);
	}
}

void disk_durable_files(struct disk *d, void (*f)(void *arg, struct durable_file *file), void *arg)
{
	each_durable(d->root, NULL, f, arg);
}

bool disk_durable_size(struct disk *d, const char *dir, const char *name, uint64_t *ret_bytes)
{
	struct name *in = name_find(d->root->durable_names, d->root->durable_names_n, dir), *file;

	if (!in)
		return false;
	file = name_find(in->inode->durable_names, in->inode->durable_names_n, name);
	if (!file || file->inode->dirty_n > 0)
		return false;
	*ret_bytes = file->inode->durable_size;
	return true;
}

/* --- descriptors of files --- */

static struct open_file *file_of(int fd)
{
	struct object *o = fd_object(fd);

	return o && (o->kind == OBJECT_FILE || o->kind == OBJECT_DIR)
		       ? CONTAINER(o, struct open_file, object)
		       : NULL;
}

static struct memory *memory_of(int fd)
{
	struct object *o = fd_object_of(fd, OBJECT_MEMORY);

	return o ? CONTAINER(o, struct memory, object) : NULL;
}

static int open_inode(struct inode *i, bool writable)
{
	struct open_file *f = calloc(1, sizeof(*f));

	must(f);
	object_init(&f->object, i->is_dir ? OBJECT_DIR : OBJECT_FILE);
	f->inode = inode_ref(i);
	f->writable = writable;
	return fd_new(running, &f->object);
}

void file_close(struct object *o)
{
	struct open_file *f = CONTAINER(o, struct open_file, object);

	if (f->inode->locked_by == f)
		f->inode->locked_by = NULL;
	inode_unref(f->inode);
	free(f);
}

void dir_close(struct object *o)
{
	file_close(o);
}

/* Every path that a process opens is its node's spool directory. */
int sys_open_dir(const char *path)
{
	(void)path;
	sys_enter();
	must(running->node);
	return open_inode(node_disk(running->node)->root, false);
}

int sys_mkdir_at(int dir, const char *name, mode_t mode)
{
	struct open_file *d = file_of(dir);
	struct inode *i;

	(void)mode;
	sys_enter();
	if (!d || !d->inode->is_dir)
		return -EBADF;
	if (name_find(d->inode->names, d->inode->names_n, name))
		return -EEXIST;
	i = inode_new(d->inode->disk, true);
	dir_change(d->inode, "", name, i);
	inode_unref(i);
	return 0;
}

int sys_open_at(int dir, const char *name, int flags, mode_t mode)
{
	struct open_file *d = file_of(dir);
	bool writable = (flags & O_ACCMODE) != O_RDONLY;
	struct name *at;
	struct inode *i;
	int fd;

	(void)mode;
	sys_enter();
	if (!d || !d->inode->is_dir)
		return -EBADF;
	at = name_find(d->inode->names, d->inode->names_n, name);
	if (at && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (at && (flags & O_DIRECTORY) && !at->inode->is_dir)
		return -ENOTDIR;
	if (at) {
		if ((flags & O_TRUNC) && at->inode->size > 0) {
			at->inode->disk->used -= at->inode->size;
			memset(at->inode->bytes, 0, at->inode->size);
			inode_dirty(at->inode, 0, at->inode->size);
			at->inode->size = 0;
		}
		return open_inode(at->inode, writable);
	}
	if (!(flags & O_CREAT))
		return -ENOENT;
	if (d->inode->disk->used >= d->inode->disk->limit)
		return -ENOSPC;
	i = inode_new(d->inode->disk, false);
	dir_change(d->inode, "", name, i);
	fd = open_inode(i, writable);
	inode_unref(i);
	return fd;
}

int sys_rename_at(int dir, const char *from, const char *to)
{
	struct open_file *d = file_of(dir);
	struct name *at;

	sys_enter();
	must(d);
	at = name_find(d->inode->names, d->inode->names_n, from);
	if (!at)
		return -ENOENT;
	dir_change(d->inode, from, to, at->inode);
	return 0;
}

int sys_unlink_at(int dir, const char *name)
{
	struct open_file *d = file_of(dir);

	sys_enter();
	must(d);
	if (!name_find(d->inode->names, d->inode->names_n, name))
		return -ENOENT;
	dir_change(d->inode, name, "", NULL);
	return 0;
}

int sys_list_dir(int dir, int (*f)(void *arg, const char *name), void *arg)
{
	struct open_file *d = file_of(dir);
	char(*texts)[64];
	size_t n;
	int r = 0;

	sys_enter();
	must(d && d->inode->is_dir);
	n = d->inode->names_n;
	texts = calloc(n + 1, sizeof(*texts));
	must(texts);
	for (size_t i = 0; i < n; i++) { /* in any order */
		size_t other = sim_below(DICE_DISK, i + 1);

		memcpy(texts[i], texts[other], sizeof(*texts));
		memcpy(texts[other], d->inode->names[i].text, sizeof(*texts));
	}
	for (size_t i = 0; i < n && r == 0; i++)
		r = f(arg, texts[i]);
	free(texts);
	return r;
}

int sys_lock(int fd)
{
	struct open_file *f = file_of(fd);

	sys_enter();
	must(f);
	if (f->inode->locked_by && f->inode->locked_by != f)
		return -EWOULDBLOCK;
	f->inode->locked_by = f;
	return 0;
}

/* --- bytes --- */

static ssize_t copy_out(const char *bytes, uint64_t size, void *ret_bytes, size_t n,
			uint64_t offset)
{
	if (offset >= size)
		return 0;
	n = MIN(n, size - offset);
	memcpy(ret_bytes, bytes + offset, n);
	return (ssize_t)n;
}

ssize_t sys_read_at(int fd, void *ret_bytes, size_t n, uint64_t offset)
{
	struct memory *m = memory_of(fd);
	struct open_file *f = file_of(fd);

	sys_enter();
	if (m)
		return copy_out(m->bytes, m->size, ret_bytes, n, offset);
	if (!f)
		return -EBADF;
	if (fault_hits(f->inode->disk, DISK_READ_FAILS))
		return -EIO;
	return copy_out(f->inode->bytes, f->inode->size, ret_bytes, n, offset);
}

static int memory_write(struct memory *m, str bytes, uint64_t offset)
{
	if (m->sealed)
		return -EPERM;
	if (offset + bytes.n > m->room) {
		uint64_t room = MAX(2 * m->room, offset + bytes.n);

		m->bytes = realloc(m->bytes, room);
		must(m->bytes);
		memset(m->bytes + m->room, 0, room - m->room);
		m->room = room;
	}
	memcpy(m->bytes + offset, bytes.p, bytes.n);
	m->size = MAX(m->size, offset + bytes.n);
	return 0;
}

static int file_write(struct open_file *f, str bytes, uint64_t offset)
{
	struct inode *i = f->inode;
	int r;

	if (!f->writable)
		return -EBADF;
	if (fault_hits(i->disk, DISK_WRITE_FAILS)) {
		/* Some of it may have been taken. */
		bytes.n = sim_below(DICE_DISK, bytes.n + 1);
		if (bytes.n == 0 || inode_grow(i, offset + bytes.n) < 0)
			return -EIO;
		memcpy(i->bytes + offset, bytes.p, bytes.n);
		inode_dirty(i, offset, offset + bytes.n);
		return -EIO;
	}
	r = inode_grow(i, offset + bytes.n);
	if (r < 0)
		return r;
	memcpy(i->bytes + offset, bytes.p, bytes.n);
	inode_dirty(i, offset, offset + bytes.n);
	return 0;
}

int sys_write_at(int fd, str bytes, uint64_t offset)
{
	struct memory *m = memory_of(fd);
	struct open_file *f = file_of(fd);

	sys_enter();
	if (bytes.n == 0)
		return 0;
	if (m)
		return memory_write(m, bytes, offset);
	return f ? file_write(f, bytes, offset) : -EBADF;
}

int sys_writev_at(int fd, struct iovec *iov, int count, uint64_t offset)
{
	for (int i = 0; i < count; i++) {
		int r = sys_write_at(fd, str_mem(iov[i].iov_base, iov[i].iov_len), offset);

		if (r < 0)
			return r;
		offset += iov[i].iov_len;
	}
	return 0;
}

int sys_write(int fd, str bytes)
{
	struct memory *m = memory_of(fd);
	struct open_file *f = file_of(fd);
	uint64_t *position;
	int r;

	if (!m && !f)
		return -EBADF;
	position = m ? &m->position : &f->position;
	r = sys_write_at(fd, bytes, *position);
	if (r == 0)
		*position += bytes.n;
	return r;
}

int sys_allocate(int fd, uint64_t offset, uint64_t bytes)
{
	struct open_file *f = file_of(fd);

	sys_enter();
	must(f && f->writable);
	return inode_grow(f->inode, offset + bytes);
}

int sys_truncate(int fd, uint64_t bytes)
{
	struct open_file *f = file_of(fd);
	struct memory *m = memory_of(fd);
	struct inode *i;

	sys_enter();
	if (m) {
		if (m->sealed)
			return -EPERM;
		if (bytes < m->size)
			memset(m->bytes + bytes, 0, m->size - bytes);
		m->size = MIN(m->size, bytes);
		return bytes > m->size ? memory_write(m, str_mem("", 1), bytes - 1) : 0;
	}
	must(f && f->writable);
	i = f->inode;
	if (bytes >= i->size)
		return inode_grow(i, bytes);
	memset(i->bytes + bytes, 0, i->size - bytes);
	inode_dirty(i, bytes, i->size);
	i->disk->used -= i->size - bytes;
	i->size = bytes;
	return 0;
}

int sys_size(int fd, uint64_t *ret_bytes)
{
	struct open_file *f = file_of(fd);
	struct memory *m = memory_of(fd);

	sys_enter();
	if (!f && !m)
		return -EBADF;
	*ret_bytes = m ? m->size : f->inode->size;
	return 0;
}

int sys_free_bytes(int fd, uint64_t *ret_bytes)
{
	struct open_file *f = file_of(fd);

	sys_enter();
	must(f);
	*ret_bytes = f->inode->disk->limit - MIN(f->inode->disk->used, f->inode->disk->limit);
	return 0;
}

/* --- syncing --- */

/* The process waits while the disk works; the others go on. */
static void wait_for_disk(struct disk *d)
{
	nsec takes = sim_between(DICE_DISK, 100 * NSEC_US, FULL_SYNC_HIGH);

	if (fault_hits(d, DISK_SLOW))
		takes = sim_between(DICE_DISK, 0, 2 * NSEC_S);
	process_wait(sim_now() + takes);
}

static int sync_inode(struct inode *i)
{
	struct sim_node *node = running->node;

	sim_counts.syncs++;
	node_sync_begins(node);
	wait_for_disk(i->disk);
	node_sync_works(node);
	if (fault_hits(i->disk, DISK_SYNC_FAILS)) {
		if (i->is_dir) {
			changes_forget(i); /* never to become durable, as far as anybody knows */
		} else {
			file_torn(i);
		}
		return -EIO;
	}
	if (i->is_dir)
		dir_synced(i);
	else
		file_synced(i);
	node_sync_ended(node);
	return 0;
}

int sys_sync_data(int fd)
{
	struct open_file *f = file_of(fd);

	sys_enter();
	return f ? sync_inode(f->inode) : -EBADF;
}

int sys_sync(int fd)
{
	return sys_sync_data(fd);
}

/* What a failed sync lost is seen to be lost. */
void sys_forget_cache(int fd)
{
	struct open_file *f = file_of(fd);
	struct inode *i;

	sys_enter();
	must(f && !f->inode->is_dir);
	i = f->inode;
	if (i->dirty_n > 0 || i->room == 0)
		return;
	i->disk->used += i->durable_size;
	i->disk->used -= i->size;
	i->size = i->durable_size;
	memcpy(i->bytes, i->durable, i->room);
}

/* The disk may write what is not synced at any time: a power cut takes care of that. */
int sys_write_out(int fd, uint64_t offset, uint64_t bytes)
{
	(void)offset;
	(void)bytes;
	sys_enter();
	return file_of(fd) ? 0 : -EBADF;
}

/* --- memory files --- */

int sys_memfd(const char *name)
{
	struct memory *m = calloc(1, sizeof(*m));

	(void)name;
	sys_enter();
	must(m);
	object_init(&m->object, OBJECT_MEMORY);
	return fd_new(running, &m->object);
}

void memory_close(struct object *o)
{
	struct memory *m = CONTAINER(o, struct memory, object);

	free(m->bytes);
	free(m);
}

int sys_memfd_seal(int fd)
{
	struct memory *m = memory_of(fd);

	sys_enter();
	if (!m)
		return -EINVAL;
	m->sealed = true;
	return 0;
}

int sys_memfd_sealed(int fd)
{
	struct memory *m = memory_of(fd);

	sys_enter();
	return m && m->sealed ? 0 : -EPERM;
}

int sys_memfd_seal_size(int fd)
{
	sys_enter();
	return memory_of(fd) ? 0 : -EINVAL;
}

/* The memory stays for ever, as does whoever maps it. */
int sys_map_shared(int fd, uint64_t bytes, void **ret_memory)
{
	struct memory *m = memory_of(fd);

	sys_enter();
	if (!m || bytes > m->size)
		return -EINVAL;
	object_ref(&m->object);
	*ret_memory = m->bytes;
	return 0;
}

void sys_unmap(void *memory, uint64_t bytes)
{
	(void)memory;
	(void)bytes;
	sys_enter();
}

void disk_heal(struct disk *d)
{
	memset(d->fault, 0, sizeof(d->fault));
}
