/*
 * sandbox: one readable table, one row a process: what it may still do once it has acquired what it needs.
 * Order of closing: resource limits, empty root and own uid (as root), no_new_privs, Landlock, then a
 * seccomp allow-list whose refusal kills the process (a refused call is a bug or an attack).
 *
 * Without root, or on a kernel without Landlock, the row applies as far as it can and says what it
 * could not do. Called after acquiring, before the first byte from outside.
 */
#pragma once

#include "base/util.h"

enum sandbox_profile {
	SANDBOX_SMTPIN,
	SANDBOX_NETD,
	SANDBOX_SPOOLD,
	SANDBOX_SMTPOUT,
};

struct sandbox_request {
	enum sandbox_profile profile;
	uint32_t uid, gid;        /* to become, when root; ignored otherwise */
	const char *writable_dir; /* spoold: its directory tree stays readable and writable; else NULL */
	const char **readable;    /* netd: files that stay readable; NULL-terminated, may be NULL */
};

/* 0, or a negative errno when a step that the kernel offers failed. ret_missing: what could not be applied
 * and why, in words; empty when everything was. */
int sandbox_close(const struct sandbox_request *request, char *ret_missing, size_t size);
const char *sandbox_name(enum sandbox_profile profile);
