/*
 * fault: the calls of task/sys.h that touch the disk, wrapped when linking. The call number `at` fails; `sticky`:
 * and all that write after it. One include a test executable.
 */
#pragma once

#include "base/cleanup.h"
#include "task/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum fault_mode {
	MODE_ERROR, /* nothing happens, the error is returned */
	MODE_SHORT, /* a write puts half of it on disk first */
	MODE_LOSE, /* a sync fails, what was written to the file since its last sync is not there */
	MODE_LOSE_PAGES, /* the same of every second page */
	MODE_PHANTOM, /* a sync fails; what it lost is still shown, until the cache is forgotten or the power goes */
	MODES,
};

#define CALLS_MAX 4096

static struct {
	unsigned calls, at, at_was; /* at 0: never */
	int error;
	enum fault_mode mode;
	bool sticky, struck;
	const char *only; /* calls of this name are counted, no others; NULL: all */
	const char *where;
	const char *log[CALLS_MAX]; /* of the newest run; call n is [n - 1] */
} injected;

/* What a file held before writes that are not synced yet, newest last. */
#define UNDO_MAX 256
static struct undo {
	ino_t inode;
	uint64_t at;
	size_t bytes;
	char *before;
	int phantom; /* -1, or the file: no later sync knows of it */
} undo[UNDO_MAX];
static size_t undo_count;

/* Renames that no sync of their directory has followed. */
#define RENAMES_MAX 64
static struct {
	ino_t dir;
	char from[80], to[80];
} renames[RENAMES_MAX];
static size_t rename_count;

/* Files whose removal no sync of their directory has followed: the next power cut may bring them back. */
#define REMOVED_MAX 64
static struct {
	ino_t dir;
	char path[300];
	char *bytes;
	size_t count;
} removed[REMOVED_MAX];
static size_t removed_count;

static inline ino_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

static inline void undo_forget(ino_t inode)
{
	size_t kept = 0;

	for (size_t i = 0; i < undo_count; i++) {
		if (inode && (undo[i].inode != inode || undo[i].phantom >= 0)) {
			undo[kept++] = undo[i];
			continue;
		}
		closep(&undo[i].phantom);
		free(undo[i].before);
	}
	undo_count = kept;
}

static inline void undo_note(int fd, size_t n, uint64_t at)
{
	struct undo *u = &undo[undo_count];

	if (undo_count == UNDO_MAX)
		return;
	*u = (struct undo){ inode_of(fd), at, n, calloc(1, n + 1), -1 };
	if (pread(fd, u->before, n, (off_t)at) >= 0)
		undo_count++;
}

static inline void undo_apply(int fd, bool every_second)
{
	ino_t inode = inode_of(fd);

	for (size_t i = undo_count; i-- > 0;) {
		const struct undo *u = &undo[i];

		for (size_t done = 0; u->inode == inode && done < u->bytes;) {
			uint64_t at = u->at + done;
			size_t n = MIN(4096 - at % 4096, u->bytes - done);

			if (!every_second || at / 4096 % 2)
				(void)!pwrite(fd, u->before + done, n, (off_t)at);
			done += n;
		}
	}
	undo_forget(inode);
}

static inline void become_phantoms(int fd)
{
	ino_t inode = inode_of(fd);
	char path[40];

	/* Opened anew: a duplicate would hold the spool's lock. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < undo_count; i++)
		if (undo[i].inode == inode && undo[i].phantom < 0)
			undo[i].phantom = open(path, O_RDWR | O_CLOEXEC);
}

/* The truth about one file, or (0) about all. */
static inline void phantoms_vanish(ino_t inode)
{
	size_t kept = 0;

	for (size_t i = undo_count; i-- > 0;) {
		struct undo *u = &undo[i];

		if (u->phantom >= 0 && (!inode || u->inode == inode))
			(void)!pwrite(u->phantom, u->before, u->bytes, (off_t)u->at);
	}
	for (size_t i = 0; i < undo_count; i++) {
		if (undo[i].phantom < 0 || (inode && undo[i].inode != inode)) {
			undo[kept++] = undo[i];
			continue;
		}
		closep(&undo[i].phantom);
		free(undo[i].before);
	}
	undo_count = kept;
}

/* Keeps what a file holds that is about to lose its name. */
static inline void removed_note(int dir, const char *name)
{
	_cleanup_(closep) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	char link[40], path[200];
	struct stat st;
	ssize_t n;

	if (removed_count == REMOVED_MAX || fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	n = readlink(link, path, sizeof(path) - 1);
	removed[removed_count].bytes = malloc((size_t)st.st_size + 1);
	if (n < 0 || !removed[removed_count].bytes ||
	    pread(fd, removed[removed_count].bytes, (size_t)st.st_size, 0) != st.st_size) {
		free(removed[removed_count].bytes);
		return;
	}
	snprintf(removed[removed_count].path, sizeof(removed[0].path), "%.*s/%.90s", (int)n, path,
		 name);
	removed[removed_count].dir = inode_of(dir);
	removed[removed_count++].count = (size_t)st.st_size;
}

static inline void removed_come_back_one(size_t i)
{
	_cleanup_(closep) int fd =
		open(removed[i].path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0)
		(void)!pwrite(fd, removed[i].bytes, removed[i].count, 0);
}

/* Of one directory, or (0) of all: durable, or the power was cut before. */
static inline void removed_end(ino_t dir, bool come_back)
{
	size_t kept = 0;

	for (size_t i = 0; i < removed_count; i++) {
		if (dir && removed[i].dir != dir) {
			removed[kept++] = removed[i];
			continue;
		}
		if (come_back)
			removed_come_back_one(i);
		free(removed[i].bytes);
	}
	removed_count = kept;
}

static inline void inject(unsigned at, int error, enum fault_mode mode, bool sticky)
{
	undo_forget(0);
	rename_count = 0;
	removed_end(0, false);
	injected.calls = 0;
	injected.only = NULL;
	injected.at = injected.at_was = at;
	injected.error = error;
	injected.mode = mode;
	injected.sticky = sticky;
	injected.struck = false;
	injected.where = "";
}

static inline bool strikes(const char *where, bool writes)
{
	if (injected.only && strcmp(where, injected.only) != 0)
		return false;
	if (injected.calls < CALLS_MAX)
		injected.log[injected.calls] = where;
	injected.calls++;
	if (injected.at == 0)
		return false;
	if (injected.calls != injected.at && !(injected.sticky && injected.struck && writes))
		return false;
	if (!injected.struck)
		injected.where = where;
	injected.struck = true;
	return true;
}

#define WRAP(type, name, writes, parameters, ...)                                                  \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return strikes(#name, writes) ? injected.error : __real_##name(__VA_ARGS__);       \
	}

WRAP(int, sys_mkdir_at, true, (int dir, const char *name, mode_t mode), dir, name, mode)
WRAP(int, sys_open_at, false, (int dir, const char *name, int flags, mode_t mode), dir, name, flags,
     mode)
WRAP(ssize_t, sys_read_at, false, (int fd, void *p, size_t n, uint64_t at), fd, p, n, at)
WRAP(int, sys_allocate, true, (int fd, uint64_t at, uint64_t n), fd, at, n)
WRAP(int, sys_write_out, true, (int fd, uint64_t at, uint64_t n), fd, at, n)
WRAP(int, sys_truncate, true, (int fd, uint64_t n), fd, n)
WRAP(int, sys_size, false, (int fd, uint64_t *n), fd, n)
WRAP(int, sys_free_bytes, false, (int fd, uint64_t *n), fd, n)
WRAP(int, sys_lock, false, (int fd), fd)
WRAP(int, sys_list_dir, false, (int dir, int (*f)(void *arg, const char *name), void *arg), dir, f,
     arg)

int __real_sys_write_at(int fd, str bytes, uint64_t at);
int __wrap_sys_write_at(int fd, str bytes, uint64_t at);
int __wrap_sys_write_at(int fd, str bytes, uint64_t at)
{
	undo_note(fd, bytes.n, at);
	if (!strikes("sys_write_at", true))
		return __real_sys_write_at(fd, bytes, at);
	if (injected.mode == MODE_SHORT)
		__real_sys_write_at(fd, str_first(bytes, bytes.n / 2), at);
	return injected.error;
}

int __real_sys_unlink_at(int dir, const char *name);
int __wrap_sys_unlink_at(int dir, const char *name);
int __wrap_sys_unlink_at(int dir, const char *name)
{
	if (strikes("sys_unlink_at", true))
		return injected.error;
	removed_note(dir, name);
	return __real_sys_unlink_at(dir, name);
}

int __real_sys_rename_at(int dir, const char *from, const char *to);
int __wrap_sys_rename_at(int dir, const char *from, const char *to);
int __wrap_sys_rename_at(int dir, const char *from, const char *to)
{
	int r = strikes("sys_rename_at", true) ? injected.error
					       : __real_sys_rename_at(dir, from, to);

	if (r == 0 && rename_count < RENAMES_MAX) {
		renames[rename_count].dir = inode_of(dir);
		str_copy(str_of(from), renames[rename_count].from, sizeof(renames[0].from));
		str_copy(str_of(to), renames[rename_count++].to, sizeof(renames[0].to));
	}
	return r;
}

/* A directory was synced, or what was not synced of it is lost. */
static inline void renames_end(int dir, bool lost)
{
	ino_t inode = inode_of(dir);

	for (size_t i = rename_count; i-- > 0;) {
		if (renames[i].dir != inode)
			continue;
		if (lost)
			__real_sys_rename_at(dir, renames[i].to, renames[i].from);
		renames[i] = renames[--rename_count];
	}
}

static inline int sync_or_strike(int fd, const char *where, int (*real)(int fd))
{
	int r;

	if (!strikes(where, true)) {
		r = real(fd);
		undo_forget(inode_of(fd));
		renames_end(fd, false);
		removed_end(inode_of(fd), false);
		return r;
	}
	if (injected.mode == MODE_LOSE || injected.mode == MODE_LOSE_PAGES) {
		undo_apply(fd, injected.mode == MODE_LOSE_PAGES);
		renames_end(fd, true);
	} else if (injected.mode == MODE_PHANTOM) {
		become_phantoms(fd);
	}
	return injected.error;
}

void __real_sys_forget_cache(int fd);
void __wrap_sys_forget_cache(int fd);
void __wrap_sys_forget_cache(int fd)
{
	phantoms_vanish(inode_of(fd));
	__real_sys_forget_cache(fd);
}

int __real_sys_sync_data(int fd);
int __wrap_sys_sync_data(int fd);
int __wrap_sys_sync_data(int fd)
{
	return sync_or_strike(fd, "sys_sync_data", __real_sys_sync_data);
}

int __real_sys_sync(int fd);
int __wrap_sys_sync(int fd);
int __wrap_sys_sync(int fd)
{
	return sync_or_strike(fd, "sys_sync", __real_sys_sync);
}

/* What is on no disk yet is gone, and what was not removed for good is back. */
static inline void power_cut(void)
{
	phantoms_vanish(0);
	removed_end(0, true);
}
