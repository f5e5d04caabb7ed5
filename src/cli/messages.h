/*
 * messages: a list of messages, one line each, for queue and trace.
 */
#pragma once

#include "cli/client.h"

/* Rows that hold no message are skipped. 0 or -ENOMEM. */
int messages_print(struct cli *cli, const struct answers *a);
int messages_print_json(struct cli *cli, const struct answers *a);
size_t messages_count(const struct answers *a);
