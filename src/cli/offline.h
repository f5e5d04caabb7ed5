/*
 * offline: what the `locum spool` commands share: which directory is meant, opening it for reading, and what
 * can be told of a message without a running locumd.
 */
#pragma once

#include "cli/cli.h"
#include "spool/inspect.h"

#include <jansson.h>

/* The n-th argument, or the spool below the state_dir of the configuration; in the arena. NULL after saying why. */
const char *offline_dir(struct cli *cli, size_t n);
/* Reads it; says why not. lock: as inspect_open. CLI_OK or the exit status. */
int offline_open(struct cli *cli, const char *dir, bool lock, struct spool **ret_spool);
/* The process that owns the spool, 0: none that can be seen. */
unsigned offline_owner(const char *dir);

/* One message as a row of `locum queue`. An envelope that cannot be read leaves the row without recipients and
 * with its text saying so. The caller frees it with message_row_freep. 0 or -ENOMEM. */
int offline_row(struct spool *s, msg_id id, struct inspect_message *ret_message,
		Locum__MessageRow **ret_row);
void message_row_freep(Locum__MessageRow **row);
