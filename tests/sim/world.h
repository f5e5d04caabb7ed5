/*
 * world: everybody whom the nodes meet: clients that send, primaries that receive, the names that lead to them,
 * and the ledger that knows what must have come of it. One simulated process of its own, one task a client
 * or connection; only the zone lives in each node's netd, in libunbound's place.
 *
 * A plan is made from the seed alone before anything runs: options, faults, clients. Each fault and each client can be left out,
 * so that a failing seed can be made smaller (run.c).
 */
#pragma once

#include "proc/smtpin/offers.h"
#include "sim/sim.h"
#include <stdio.h>

#define NODES_MAX 3
#define DOMAINS_MAX 6
#define PRIMARIES_MAX 4
#define FAULTS_MAX 56
#define CLIENTS_MAX 96
#define RECIPIENTS_MAX 8
#define SENDER_SIZE 128

/* --- moods --- */
enum primary_mood {
	MOOD_WELL,
	MOOD_DOWN,        /* the listener is closed, connections are reset */
	MOOD_FROZEN,      /* accepts connections and says nothing more, the open ones included */
	MOOD_BUSY,        /* 421 instead of a greeting */
	MOOD_GREYLISTING, /* 450 to RCPT until the same (from, to) comes again a minute later */
	MOOD_DEFERRING,   /* 451 to RCPT or after the final dot, by chance */
	MOOD_THROTTLING,  /* 421 after one to three messages of a connection */
	MOOD_DROPPING, /* takes the message, then closes or resets before its reply to the final dot */
	MOOD_CUTTING, /* closes or resets in mid DATA: nothing is taken */
	MOOD_SLOW,    /* seconds before every reply */
};
#define MOODS (MOOD_SLOW + 1)

enum dns_mood {
	DNS_HONEST,
	DNS_SILENT, /* no answer until the resolver's time-out */
	DNS_SERVFAIL,
	DNS_NXDOMAIN,
	DNS_EMPTY,       /* NOERROR, no records of any type */
	DNS_WE_ARE_BEST, /* all nodes at preference 5, before the primary */
	DNS_NULL_MX,
	DNS_WRONG_ADDRESS, /* the primary's name leads to an address where nobody listens */
	DNS_ALIAS,         /* the MX name is a CNAME of the primary's */
};
#define DNS_MOODS (DNS_ALIAS + 1)

/* --- the plan --- */
enum fault_kind {
	FAULT_KILL,
	FAULT_KILL_ALL,
	FAULT_KILL_AT_CALL,
	FAULT_POWER_CUT,
	FAULT_CUT_AT_SYNC,
	FAULT_DISK,
	FAULT_DISK_FULL,
	FAULT_WALL_JUMP,
	FAULT_RESTART,
	FAULT_LINK,
	FAULT_PRIMARY,
	FAULT_DNS,
	FAULT_MOVED,  /* for ever: a domain's mail goes to another primary */
	FAULT_RELOAD, /* of a node's configuration; detail 1: to the second, 0: back to the first */
};

enum move { MOVE_MX /* of domain `node` */, MOVE_ADDRESS /* of the name of primary `node` */ };

struct fault {
	bool enabled;
	nsec at;    /* after the start */
	nsec lasts; /* where it ends by itself */
	enum fault_kind kind;
	uint32_t node; /* or primary, or domain */
	uint32_t
		detail; /* enum node_part, sync_moment, disk_fault, sim_link, primary_mood, dns_mood, move */
	uint64_t count; /* FAULT_MOVED: the primary it moves to */
};

enum client_kind {
	CLIENT_PLAIN,      /* one message, waits for every reply */
	CLIENT_PIPELINING, /* several messages, RFC 2920 groups */
	CLIENT_SLOW,       /* pauses between and within lines */
	CLIENT_HANGS_UP, /* closes or resets at a point chosen by chance, also between the final dot and its reply */
	CLIENT_CONFUSED, /* wrong order, unknown commands, garbage, bare LF in the body; then a good message */
	CLIENT_SILENT, /* connects and says nothing, or stops in mid DATA, until it is thrown out */
};
#define CLIENT_KINDS (CLIENT_SILENT + 1)

/* How large its first message is, measured by the node's message_size. */
enum client_size {
	SIZE_ANY,
	SIZE_AT_LIMIT, /* and says so in MAIL */
	SIZE_OVER,     /* by one octet, which nobody was told */
	SIZE_FAR_OVER, /* more than smtpin reads to its end */
	SIZE_ANNOUNCED /* too large, says MAIL already */
};
#define CLIENT_SIZES (SIZE_ANNOUNCED + 1)

struct client_plan {
	bool enabled;
	nsec at;
	enum client_kind kind;
	enum client_size size;
	uint32_t node;
	uint32_t messages;   /* 1 to 4 */
	uint32_t body_bytes; /* about; 0 to 40,000 */
	uint64_t seed;       /* for its own small choices */
};

/* What a reload may change. */
struct settings_of_nodes {
	uint64_t reserve_bytes, message_bytes;
	nsec hold[DOMAINS_MAX];
	bool by_name[DOMAINS_MAX]; /* primary = {"host:25"} in the configuration, not MX */
};

struct plan {
	uint64_t seed;
	uint32_t nodes, domains, primaries, smtpins;
	uint64_t segment_bytes, disk_bytes;
	bool calm; /* no fault at all: then nothing is ever delivered twice */
	struct settings_of_nodes set, then; /* before a reload, after it */
	uint32_t primary_of[DOMAINS_MAX];
	bool live
		[DOMAINS_MAX]; /* acceptance = "live": while the primary is up its words are the client's */
	bool any_live;
	struct fault fault[FAULTS_MAX + 1]; /* and one that was added */
	uint32_t faults;
	struct client_plan client[CLIENTS_MAX];
	uint32_t clients;
	nsec healed_at; /* all faults are over */
	enum {
		END_AT_ONCE,
		END_RESTARTS,
		END_CUTS
	} end; /* what the nodes go through before the account */
};

/* The bounds of what a node may hold for right at some time. */
static inline uint64_t plan_message_least(const struct plan *p)
{
	return MIN(p->set.message_bytes, p->then.message_bytes);
}

/* What every node takes, for a primary that is another node too: our headers come on top. */
static inline uint64_t plan_message_sure(const struct plan *p)
{
	return plan_message_least(p) - (p->nodes > 1 ? OFFER_HEADERS_BYTES : 0);
}

static inline uint64_t plan_message_most(const struct plan *p)
{
	return MAX(p->set.message_bytes, p->then.message_bytes);
}

static inline nsec plan_hold_least(const struct plan *p, uint32_t domain)
{
	return MIN(p->set.hold[domain], p->then.hold[domain]);
}

static inline nsec plan_hold_most(const struct plan *p, uint32_t domain)
{
	return MAX(p->set.hold[domain], p->then.hold[domain]);
}

void plan_make(uint64_t seed, struct plan *ret_plan);
/* One numbered line each: first the faults, then the clients (numbers go on). */
void plan_describe(const struct plan *p, FILE *to);
/* One fault more, from the start on and for half a minute; the last one, it shifts the numbers of the clients. Once. */
void plan_add(struct plan *p, const struct fault *f);
/* Leaves out the fault or client of that number. */
void plan_leave_out(struct plan *p, uint32_t number);

/* --- names and addresses, the same in every file --- */
/* Domain d is "dD.test"; node n is "mxN.backup.test" at 192.0.2.(10 + n), port 25; primary p is "pP.primary.test" at
 * 203.0.113.(10 + p), port 25. Domain d: MX 10 its primary, MX 20, 30, 40 the nodes 0, 1, 2. */
void domain_name(uint32_t d, char ret_text[static 64]);
struct addr node_addr(uint32_t n);
struct addr primary_addr(uint32_t p);

/* --- zone.c --- */
void zone_init(const struct plan *p);
void zone_mood(uint32_t domain, enum dns_mood mood);
/* From now on; what was answered before holds until its TTL ends. */
void zone_move(enum move what, uint32_t of, uint32_t primary);
#define ZONE_TTL_MAX 300 /* seconds, of every record */

/* --- primary.c: call within the world's process --- */
void primaries_start(struct loop *loop, const struct plan *p);
void primary_mood(uint32_t primary, enum primary_mood mood);

/* --- client.c --- */
/* Starts the task; it ends by itself within its own deadline of 30 minutes (CLIENT_SILENT and CLIENT_SLOW too: a node whose
 * link is up must have thrown it out or answered by then, else sim_fail("no task stuck", …)). */
void client_start(struct loop *loop, const struct plan *p, const struct client_plan *c);
uint32_t clients_running(void);

/* --- body.c --- */
/* The message of that number: headers ("X-Sim: NUMBER" first) and body, as octets with CRLF, before dot-stuffing, made from the
 * number, body_bytes and nothing else. Appended to *to. With BODY_EXACT in body_bytes it has exactly so many octets
 * (8,000 at least). */
struct buf;
#define BODY_EXACT ((uint32_t)1 << 31)
void body_make(uint32_t number, uint32_t body_bytes, struct buf *to);
/* Does it ask its primary to refuse it for good ("X-Refuse: yes")? */
bool body_to_be_refused(uint32_t number);

/* --- ledger.c --- */
/* A transaction whose body is about to be sent to that node. Returns its number. sender is what stood in MAIL, without <> and
 * route; recipient texts are "local@dD.test". */
uint32_t ledger_begin(uint32_t node, uint32_t body_bytes, const char *sender,
		      const char *const *recipients, uint32_t count);
/* How many octets it has on the wire, dots not doubled; the final dot has not left yet. */
void ledger_sized(uint32_t number, uint64_t octets);
/* What the client saw last. reply: the whole text of the reply to the final dot; NULL: the connection ended before one came. A 250
 * is checked against the node's disk. */
void ledger_answer(uint32_t number, const char *reply);
/* The client ended the data without the final dot: never to be delivered at all. */
void ledger_aborted(uint32_t number);

struct receipt {
	uint32_t primary;
	const char *client;            /* the node's address, textual */
	nsec began;                    /* when MAIL came */
	const char *from;              /* what stood in it, without <> */
	str bytes;                     /* after dot-unstuffing, all of it */
	const char *const *recipients; /* those that got 250 in this transaction */
	uint32_t recipient_count;
	bool replied; /* the 250 is sent now; false: the connection is dropped instead */
};
/* The primary took a message, or would have when its reply had come through. Checks everything that can be checked now. */
void ledger_receipt(const struct receipt *r);
/* The primary refused for good (5xx) at RCPT or the final dot. */
struct refusal {
	uint32_t primary;
	const char *from, *recipient;
	str bytes; /* as far as known: empty at RCPT */
	const char
		*text; /* its words, of which no two are the same; several lines joined by spaces */
};
void ledger_refused(const struct refusal *r);

struct world_counts {
	uint64_t messages, acknowledged, passed, refused, too_large, at_limit, unanswered,
		deliveries, duplicates, held, parked, faults, outages;
};
/* Has everything that was acknowledged been delivered or refused by its primary for good? (To end early.) */
bool ledger_quiet(void);
/* After all nodes lost power: reads what is left on their disks and checks the whole account. Fails with sim_fail(). */
void ledger_settle(const struct plan *p, struct sim_node *const *nodes,
		   struct world_counts *ret_counts);

/* --- world.c --- */
/* Runs the plan to its end and checks everything. Does not return when something does not hold. */
void world_run(const struct plan *p, struct world_counts *ret_counts);
struct sim_node *world_node(uint32_t n);
const struct plan *world_plan(void);
/* When the plan began: its times count from here. */
nsec world_start(void);
/* When all nodes went off for the last start; NEVER: they did not, or not yet. */
nsec world_last_off(void);
