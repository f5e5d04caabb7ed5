/*
 * directory: what primaries said about their recipients, in a file (LMDB). Belongs to one process, which locks it.
 *
 * Kept are addresses by domain: the local part, in lower case and without needless quotes, is
 *	known    the primary accepted it, or an import named it (that one never grows old)
 *	refused  the primary said that there is no such user, in its words
 * "user+tag" is kept as "user" when it was accepted, as it is when it was refused. Whether what is kept still counts is
 * belief.h's to say.
 *
 * Writes are collected in one transaction until directory_commit(). A process that is killed and a power cut lose those since
 * the last commit, nothing else: LMDB writes new pages beside the old ones and syncs before it refers to them.
 *
 * Bounds: `limits`; past them the oldest of the domain go, refusals before known ones; past the whole's, those of the
 * largest domain. Functions block for the time of a disk access, and do not park; they use little stack.
 *
 * Errors: -EBADMSG: the file is damaged (directory_condemn, then begin anew); -ENOSPC and others: what was learned since the
 * last commit is lost, the directory goes on.
 */
#pragma once

#include "base/str.h"
#include "proc/state/belief.h"

struct directory;

#define DIRECTORY_REPLY_MAX 200
#define DIRECTORY_LOCAL_MAX 200 /* longer local parts are not kept */

struct directory_limits {
	uint64_t file_bytes; /* of the file, at most; address space, not memory */
	uint64_t entries;    /* in all */
	uint32_t known;      /* a domain, imported ones included */
	uint32_t refused;    /* a domain */
};

extern const struct directory_limits directory_limits;

enum directory_word { WORD_NONE, WORD_KNOWN, WORD_REFUSED };

/* What is known of one recipient, and of its domain. */
struct directory_facts {
	enum directory_word word;
	bool covered;                    /* by what is known of the domain: belief_covers() */
	bool takes_all;                  /* its primary accepts everybody */
	char reply[DIRECTORY_REPLY_MAX]; /* WORD_REFUSED: the primary's words */
};

struct directory_entry {
	str local; /* valid until the next call */
	enum directory_word word;
	bool imported, old; /* old: it counts no more */
	nsec age;           /* WORD_KNOWN: on the domain's clock, WORD_REFUSED: wall time */
	str reply;          /* likewise; WORD_REFUSED */
};

struct directory_summary {
	uint32_t known, refused, imported;
	struct belief belief;
};

/* Opens what is in the directory `path`, or begins anew: *ret_begun says why, in words, when what was there was moved aside to
 * "damaged"; NULL otherwise. -EWOULDBLOCK: another process has it. */
int directory_open(const char *path, const struct directory_limits *limits,
		   struct directory **ret_directory, const char **ret_begun);
/* Commits. NULL is fine. */
void directory_close(struct directory *d);
void directory_closep(struct directory **d);
/* The next directory_open() moves it aside. */
void directory_condemn(struct directory *d);

/* The primary answered RCPT for `address` (a mailbox) of `domain` (lower case); `reply`: "550 5.1.1 words". */
int directory_learn(struct directory *d, str domain, str address, str reply, nsec now_wall);
/* It answered RCPT for one that cannot exist. */
int directory_learn_absent(struct directory *d, str domain, str reply, nsec now_wall);
/* Should it be asked about one that cannot exist? True once, then not for a while. */
bool directory_wants_absent(struct directory *d, str domain, nsec now_wall);
int directory_ask(struct directory *d, str domain, str address, nsec now_wall,
		  struct directory_facts *ret_facts);

/* -ENOENT: nothing is known of that domain. */
int directory_summary(struct directory *d, str domain, struct directory_summary *ret);
/* 1 and the first entry whose local part is behind `after` (empty: the first), or 0: no more. */
int directory_next(struct directory *d, str domain, str after, nsec now_wall,
		   struct directory_entry *ret_entry);
/* It exists, until it is forgotten or another import replaces this one. 1: new; 0: it was known. -EINVAL: no address of
 * the domain; -EDQUOT: too many, the rest is not imported. */
int directory_import(struct directory *d, str domain, str address);
/* Around an import that replaces: what earlier ones named and this one does not is forgotten at its end. Then the
 * directory covers the domain. */
int directory_import_begin(struct directory *d, str domain);
int64_t directory_import_end(struct directory *d, str domain);
/* An empty address: the whole domain. How many, or an error. */
int64_t directory_forget(struct directory *d, str domain, str address);

/* Is there anything to commit? */
bool directory_dirty(const struct directory *d);
int directory_commit(struct directory *d);
