/*
 * client: one question to the running locumd, and all its answers. The control socket is `control.sock` in
 * the state directory; locumd checks who we are and hands the connection to spoold.
 */
#pragma once

#include "cli/cli.h"

struct answers {
	Locum__Answer **row; /* without the last */
	size_t row_count;
	Locum__Answer *last;
	int fd;                 /* what rode along, or -1 */
	Locum__Packet **packet; /* which hold them */
	size_t packet_count;
};

/* Asks, and adds to what *a has. CLI_OK, or the exit status after an error was printed. Call answers_done in
 * any case. */
int client_ask(struct cli *cli, const Locum__Command *command, struct answers *a);
void answers_done(struct answers *a);
/* Moves the recipients of one row to another of the same message. 0 or -ENOMEM. */
int client_merge(Locum__MessageRow *to, Locum__MessageRow *from);

#define ANSWERS_NONE                                                                               \
	{                                                                                          \
		.fd = -1                                                                           \
	}

static inline str str_bytes(ProtobufCBinaryData b)
{
	return (str){ (const char *)b.data, b.len };
}

/* The n-th argument as an id or a domain, into the command. CLI_OK, or CLI_USAGE after saying so. */
int client_set_target(struct cli *cli, Locum__Command *command, size_t n);
/* As an id. `id` must outlive the command. */
int client_set_id(struct cli *cli, Locum__Command *command, size_t n);
/* "01J…", from the 16 bytes; "?" when they are not 16. */
const char *client_id_text(ProtobufCBinaryData id, char text[static ID_TEXT_LENGTH + 1]);
