/*
 * inode: files and directories of the virtual disk, as processes see them and as they would survive. A write touches what
 * is seen and notes the range; a sync of the file makes its bytes durable, a sync of the directory its names: nothing
 * else does. Private to the kernel (disk.c).
 */
#pragma once

#include "sim/engine.h"

struct open_file;

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

struct disk {
	char name[32];
	uint64_t bytes, used;
	uint64_t limit; /* `bytes`, or less while it is made full */
	struct inode *root;
	uint64_t fault[DISK_SLOW + 1]; /* how many calls it still hits */
};

/* --- inodes --- */
struct inode *inode_new(struct disk *d, bool is_dir);
struct inode *inode_ref(struct inode *i);
void inode_unref(struct inode *i);
/* At least that large: 0 or -ENOSPC. */
int inode_grow(struct inode *i, uint64_t size);
/* At most that large. */
void inode_shrink(struct inode *i, uint64_t size);
/* What was written just now. */
void inode_dirty(struct inode *i, uint64_t from, uint64_t to);

/* --- what becomes durable --- */
/* A sync of it succeeded. */
void inode_synced(struct inode *i);
/* A sync of it failed. Of a file any part of what it should have written is lost, and no later one knows of it; of a directory
 * nothing is durable and nothing lost yet: what a journal has in mind it either writes later, or it lets nobody write any more. */
void inode_sync_failed(struct inode *i);
/* Back to what survived: any selection of what was not synced. A directory with everything below it. */
void inode_lost_power(struct inode *i);

/* --- names in a directory --- */
struct inode *inode_find(const struct inode *dir, const char *name);
/* Names that a sync would have made durable, not only taken away? */
bool inode_has_new_names(const struct inode *dir);
/* Does a name in that directory, or below it, lead to it? */
bool inode_is_named(const struct inode *dir, const struct inode *i);
struct inode *inode_find_durable(const struct inode *dir, const char *name);
/* unlink: `is` is ""; link: `was` is ""; rename: neither. */
void inode_change_name(struct inode *dir, const char *was, const char *is, struct inode *i);
