/*
 * sandbox: one readable table (table.c), one row a process: what it may still do once it has acquired
 * what it needs. Order of closing: resource limits, empty root and own uid (as root), no capabilities,
 * no_new_privs, Landlock, then a seccomp allow-list whose refusal kills the process (a refused call
 * is a bug or an attack).
 *
 * Without root, or on a kernel without Landlock, the row applies as far as it can and says what it
 * could not do. Called after acquiring, before the first byte from outside. Never parks.
 */
#pragma once

#include "base/util.h"

enum sandbox_profile {
	SANDBOX_SMTPIN,
	SANDBOX_NETD,
	SANDBOX_SPOOLD,
	SANDBOX_SMTPOUT,
	SANDBOX_STATE,
};

struct sandbox_request {
	enum sandbox_profile profile;
	uint32_t uid, gid; /* to become, when root; ignored otherwise */
	const char *
		writable_dir; /* spoold: its directory tree stays readable and writable; else NULL */
	const char **readable;    /* netd: files that stay readable; NULL-terminated, may be NULL */
	const char *empty_dir;    /* the new root, when root: nobody but root may write to it */
	uint64_t descriptors_max; /* RLIMIT_NOFILE; 0: the row's */
	uint64_t file_bytes_max;  /* RLIMIT_FSIZE where memfds count; the row's when that is more */
};

/* 0, or a negative errno when a step that the kernel offers failed. ret_missing: what could not be applied
 * and why, in words; empty when everything was. After an error: the step that failed. */
int sandbox_close(const struct sandbox_request *request, char *ret_missing, size_t size);
const char *sandbox_name(enum sandbox_profile profile);

/* As root, before sandbox_close: files are created and owned as uid from now on, while everything that
 * root may read or reach stays so (the path to the spool may lead through directories that are
 * root's alone). 0 or a negative errno; nothing happens when not root. */
int sandbox_act_as(uint32_t uid, uint32_t gid);
