/*
 * zones: the DNS lists of the configuration, and which of them live (dns/list.h). Each zone is tried at the start, every
 * hour, and after a reload or a flush; one that is dead every ten minutes, one that did not answer every
 * minute. Until a zone has passed, what it says counts for nothing; one that passed goes on when its servers
 * only fall silent. Logs list.dead and list.back, once a change.
 *
 * Zones are shared by the lists that name them, and known by name: the table changes with the configuration.
 * A list that every domain turns off is neither tried nor asked.
 */
#pragma once

#include "conf/conf.h"
#include "dns/list.h"
#include "proc/netd/resolver.h"

#define ZONE_TEST_EVERY (3600 * NSEC_S)
#define ZONE_TEST_DEAD (600 * NSEC_S)
#define ZONE_TEST_SILENT (60 * NSEC_S)
#define ZONE_TEST_WAIT (10 * NSEC_S)

struct zone;

struct zones {
	struct conf *const *conf;         /* the newest */
	struct resolver *const *resolver; /* likewise */
	struct group group;               /* of the task that tries them */
	struct zone *zone;
	size_t zone_count;
	struct signal changed; /* a test ended, or zones are due */
};

/* Starts trying. 0 or a negative errno. */
int zones_init(struct zones *zs, struct loop *loop, struct conf *const *conf,
	       struct resolver *const *resolver);
/* Ends the task. */
void zones_stop(struct task *tk, struct zones *zs);
/* The configuration or the resolver changed, or the operator said so: all are tried now. What was found out about
 * zones that stay is kept until then. */
void zones_renew(struct zones *zs);

/* Is it worth asking about addresses of that family (AF_INET, AF_INET6)? Not a zone that is dead or has none of them, or
 * is in no list of the newest configuration. */
bool zones_ask(const struct zones *zs, str zone, int family);
/* Does what it says of them count? Waits for the zone's first test to end. */
bool zones_count(struct task *tk, struct zones *zs, str zone, int family, nsec deadline);
/* An answer about a client that no living list gives (REFUSING, FOREIGN): the zone is dead from here on. */
void zones_doubt(struct zones *zs, str zone, enum dns_list_state state, nsec now);
