#include "sandbox/steps.h"

#define GIB ((uint64_t)1 << 30)

/*
 * The threat model on one screen. Whoever breaks into a process has what its row says and no more: nobody
 * may run a program, start a process, touch another one, or open a file, but spoold in its own
 * directory (state has its database open before); nobody may connect to anything, but netd.
 */
static const struct sandbox_row rows[] = {
	[SANDBOX_SMTPIN] = {
		.name = "smtpin",
		.calls = CALLS_BASE | CALLS_TALK | CALLS_ACCEPT | CALLS_MEMFD,
		.descriptors = 65536,
		.file_bytes = GIB,
	},
	[SANDBOX_NETD] = {
		.name = "netd",
		.calls = CALLS_BASE | CALLS_TALK | CALLS_DIAL,
		.connects = true,
		.descriptors = 16384,
		.file_bytes = 0,
	},
	[SANDBOX_SPOOLD] = {
		.name = "spoold",
		.calls = CALLS_BASE | CALLS_TALK | CALLS_FILES,
		.writes_dir = true,
		.descriptors = 65536,
		.file_bytes = FILE_BYTES_FREE,
	},
	[SANDBOX_SMTPOUT] = {
		.name = "smtpout",
		.calls = CALLS_BASE | CALLS_TALK,
		.descriptors = 16384,
		.file_bytes = 0,
	},
	[SANDBOX_STATE] = {
		.name = "state",
		.calls = CALLS_BASE | CALLS_TALK | CALLS_STORE,
		.descriptors = 512,
		.file_bytes = 4 * GIB, /* of the file that it has open */
	},
};

const struct sandbox_row *sandbox_row(enum sandbox_profile profile)
{
	must((size_t)profile < ELEMENTS(rows));
	return &rows[profile];
}

const char *sandbox_name(enum sandbox_profile profile)
{
	return sandbox_row(profile)->name;
}
