/*
 * facts: what DNS says about a client, asked of netd in the background while the session goes on: its
 * forward-confirmed name, whether the name it says HELO with exists, and which lists have its address.
 * What was not answered counts for nothing: a fact is only what DNS said. Nobody has to wait, but who
 * must (a check that may refuse) can.
 *
 * The questions and the session each hold a reference, so either may end first. A NULL facts is one about which
 * nothing is known or will be; every function takes it.
 */
#pragma once

#include "conf/conf.h"
#include "task/task.h"

struct server;
struct facts;

/* netd answers with what it has after five seconds; then its answer has to come here. */
#define FACTS_WAIT (5 * NSEC_S + 250 * NSEC_MS)

/* Asks about the address, unless there is no netd or too much is being asked already. NULL: no memory. */
struct facts *facts_start(struct server *srv, const struct addr *client);
/* Asks about the HELO name, unless it is the one that was asked about last; it takes the place of what was said of an
 * earlier one. */
void facts_helo(struct facts *f, str helo);
/* The session is done with it. */
void facts_unref(struct facts *f);

/* Until everything that was asked has been answered or given up. 0 (nothing to wait for included), -ETIMEDOUT,
 * -ECANCELED. One task at a time. */
int facts_wait(struct task *tk, struct facts *f, nsec deadline);
/* The same, but only for what is asked about the address: its name is known then, if it has one. */
int facts_wait_name(struct task *tk, struct facts *f, nsec deadline);

/* The forward-confirmed name, empty while unknown. Valid until facts_unref. */
const char *facts_name(const struct facts *f);
/* The symbols of the configuration that the facts give now: bit i is conf->symbols[i]. Any snapshot will do: lists are
 * known by name. */
uint64_t facts_symbols(const struct facts *f, const struct conf *conf);
/* What the list of that name said of the client, 127.x.y.z in host order; 0: nothing. */
uint32_t facts_code(const struct facts *f, str list);
