/*
 * rates: what follows from what is remembered of a client (proc/client_memory.h): too much in an hour, and
 * how long the bad wait for an answer. Pure.
 */
#pragma once

#include "conf/conf.h"
#include "proc/client_memory.h"

#define RATES_NONE (-1)

/* The first of a client's rates (client_memory_rates) that is past what the configuration allows, an enum
 * client_count; or RATES_NONE. Before a message, a recipient: has it had its share already? */
int rates_check(const struct conf *conf, const double rates[static CLIENT_COUNTS]);
/* "messages", "recipients", "unknown_recipients", "errors": the option's name. */
const char *rates_name(enum client_count what);

/* How long the answer to a mistake waits, when the session has made so many already and named so many unknown
 * recipients: nothing for the first handful, then longer and longer, 5 s at most. Favoured clients (known as
 * good, or trusted) never wait. */
nsec tarpit_delay(unsigned mistakes, unsigned unknown_recipients, bool favoured);
