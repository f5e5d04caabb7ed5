/*
 * The virtual disk: the calls of task/sys.h for files, directories and memory files, and the faults that hit them. What
 * survives a power cut is inode.h's.
 */
#include "sim/inode.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define SYNC_TIME_MAX (4 * NSEC_MS)
#define ENDS_WITHIN (5 * NSEC_S) /* a process whose sync failed */

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

/* --- the disk --- */

void disk_power_cut(struct disk *d)
{
	inode_lost_power(d->root);
}

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
	const struct inode *in = inode_find_durable(d->root, dir);
	const struct inode *file = in ? inode_find_durable(in, name) : NULL;

	if (!file || file->dirty_n > 0)
		return false;
	*ret_bytes = file->durable_size;
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
	if (inode_find(d->inode, name))
		return -EEXIST;
	i = inode_new(d->inode->disk, true);
	inode_change_name(d->inode, "", name, i);
	inode_unref(i);
	return 0;
}

int sys_open_at(int dir, const char *name, int flags, mode_t mode)
{
	struct open_file *d = file_of(dir);
	bool writable = (flags & O_ACCMODE) != O_RDONLY;
	struct inode *i;
	int fd;

	(void)mode;
	sys_enter();
	if (!d || !d->inode->is_dir)
		return -EBADF;
	i = inode_find(d->inode, name);
	if (i && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (i && (flags & O_DIRECTORY) && !i->is_dir)
		return -ENOTDIR;
	if (i && (flags & O_TRUNC))
		inode_shrink(i, 0);
	if (i)
		return open_inode(i, writable);
	if (!(flags & O_CREAT))
		return -ENOENT;
	if (d->inode->disk->used >= d->inode->disk->limit)
		return -ENOSPC;
	i = inode_new(d->inode->disk, false);
	inode_change_name(d->inode, "", name, i);
	fd = open_inode(i, writable);
	inode_unref(i);
	return fd;
}

int sys_rename_at(int dir, const char *from, const char *to)
{
	struct open_file *d = file_of(dir);
	struct inode *i;

	sys_enter();
	must(d);
	i = inode_find(d->inode, from);
	if (!i)
		return -ENOENT;
	inode_change_name(d->inode, from, to, i);
	return 0;
}

int sys_unlink_at(int dir, const char *name)
{
	struct open_file *d = file_of(dir);

	sys_enter();
	must(d);
	if (!inode_find(d->inode, name))
		return -ENOENT;
	inode_change_name(d->inode, name, "", NULL);
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
	inode_shrink(i, bytes);
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
	nsec takes = sim_between(DICE_DISK, 100 * NSEC_US, SYNC_TIME_MAX);

	if (fault_hits(d, DISK_SLOW))
		takes = sim_between(DICE_DISK, 0, 2 * NSEC_S);
	process_wait(sim_now() + takes);
}

struct refusal {
	const struct sim_process *process;
	struct inode *file;
};

/* Or it has thrown the file away, which then nothing rests on; as when the name of a new one cannot be made durable. */
static void must_have_ended(void *arg)
{
	struct refusal *r = arg;

	if (r->process->state != PROCESS_DEAD &&
	    (r->file->is_dir || inode_is_named(r->file->disk->root, r->file)))
		sim_fail("a failed sync ends the process", "%s lives on", r->process->name);
	inode_unref(r->file);
	free(r);
}

static void expect_end(const struct sim_process *p, struct inode *file)
{
	struct refusal *r = calloc(1, sizeof(*r));

	must(r);
	*r = (struct refusal){ p, inode_ref(file) };
	sim_at(sim_now() + ENDS_WITHIN, must_have_ended, r);
}

static int sync_inode(struct inode *i)
{
	struct sim_node *node = running->node;

	sim_counts.syncs++;
	node_sync_begins(node);
	wait_for_disk(i->disk);
	node_sync_works(node);
	if (fault_hits(i->disk, DISK_SYNC_FAILS)) {
		inode_sync_failed(i);
		if (!inode_has_new_names(i))
			expect_end(running, i);
		return -EIO;
	}
	inode_synced(i);
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
