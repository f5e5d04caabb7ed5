/*
 * client: what DNS says about a client of smtpin: its reverse name and whether that leads back to it (RFC 8601
 * §2.7.3 "iprev"), whether the name it says HELO with exists, and which DNS lists have its address. All questions are
 * under way at once, each zone is asked once however many lists name it, and one deadline holds for all: what has not
 * been answered by then, or with trouble, is FOUND_UNKNOWN or on no list, never "no such name". The cache is the
 * resolver's.
 *
 * Lists are not asked about addresses of this host (127.0.0.0/8, ::1): living lists have entries for tests there.
 */
#pragma once

#include "conf/conf.h"
#include "ipc/locum.pb-c.h"
#include "proc/netd/zones.h"

#define CLIENT_WAIT (5 * NSEC_S)
#define CLIENT_LISTS_MAX (CONF_SYMBOLS_MAX - CHECK_COUNT)

/* On the heap: too large for a task's stack. */
struct client_facts {
	char name[DNS_NAME_SIZE]; /* forward-confirmed; empty: none known */
	Locum__Found reverse, confirmed, helo;
	size_t listed;
	struct {
		str list; /* in the conf that was handed in */
		uint32_t code;
	} listing[CLIENT_LISTS_MAX];
};

/* address may be NULL, helo may be empty: then nothing is asked about it. Fills *ret in any case, with what is known
 * when the deadline comes or the task is cancelled. */
void client_ask(struct task *tk, struct resolver *resolver, struct zones *zs,
		const struct conf *conf, const struct addr *address, str helo,
		struct client_facts *ret);
