/*
 * reverse: the client's name from DNS, asked of netd in the background while the session goes on. It is
 * evidence for the Received header and never waited for: what is not there at the end of data is
 * left out. The lookup and the session each hold a reference, so either may end first.
 */
#pragma once

#include "base/addr.h"
#include "base/str.h"

struct server;
struct reverse;

/* Starts the lookup. NULL when there is no netd, or too much is being asked already. */
struct reverse *reverse_start(struct server *srv, const struct addr *client);
/* The session is done with it; NULL is allowed. */
void reverse_unref(struct reverse *r);
/* The forward-confirmed name, empty while unknown; r may be NULL. Valid until reverse_unref. */
const char *reverse_name(const struct reverse *r);
