/*
 * recipients: a file of addresses of one domain, for `locum recipients import`: one mailbox a line, empty lines and # comments allowed.
 * Read whole and checked before anything is sent: a wrong line imports nothing.
 */
#pragma once

#include "cli/cli.h"

#define RECIPIENTS_MAX 200000
#define RECIPIENTS_LINE_MAX 1000

struct recipients {
	ProtobufCBinaryData *address; /* in the command's arena */
	size_t count;
};

/* From the file, or standard input ("-"). CLI_OK, or the exit status after saying which line is wrong. */
int recipients_read(struct cli *cli, const char *path, str domain, struct recipients *ret);
