/* A plan from a seed: what kind of run, which faults when, which clients. */
#include "sim/world.h"

#include <string.h>

enum temper { CALM, KILLS, CUTS, NETWORK, DISK, CLOCK, MIXED, STORM };

static const char *const part_names[] = { "smtpin-0", "smtpin-1", "netd", "spoold", "smtpout" };
static const char *const link_names[] = { "up", "silent", "reset" };
static const char *const moment_names[] = { "before", "during", "after" };
static const char *const disk_names[] = { "writes fail", "syncs fail", "reads fail",
					  "syncs are slow" };
static const char *const mood_names[] = { "well",        "down",      "frozen",     "busy",
					  "greylisting", "deferring", "throttling", "dropping",
					  "cutting",     "slow" };
static const char *const dns_names[] = { "honest",   "silent",          "SERVFAIL",
					 "NXDOMAIN", "empty",           "we are best",
					 "null MX",  "a wrong address", "an alias" };
static const char *const client_names[] = { "plain",    "pipelining", "slow",
					    "hangs up", "confused",   "silent" };

static const char *const size_names[] = { "", ", the first as large as may be",
					  ", the first one octet too large",
					  ", the first much too large",
					  ", the first announced as too large" };

static uint64_t later;

/* For what plans learnt later: it draws from dice of its own, so that a seed keeps the rest of its plan. */
static uint32_t pick_later(uint32_t bound)
{
	return (uint32_t)(sim_next(&later) % bound);
}

static uint32_t pick(uint32_t bound)
{
	return (uint32_t)sim_below(DICE_PLAN, bound);
}

static enum temper choose_temper(void)
{
	static const enum temper table[] = { CALM, KILLS, KILLS, CUTS,  CUTS,  NETWORK, NETWORK,
					     DISK, CLOCK, MIXED, MIXED, MIXED, STORM };

	return table[pick(ELEMENTS(table))];
}

static enum fault_kind choose_kind(enum temper t)
{
	static const enum fault_kind kills[] = { FAULT_KILL, FAULT_KILL_ALL, FAULT_KILL_AT_CALL,
						 FAULT_RESTART };
	static const enum fault_kind cuts[] = { FAULT_POWER_CUT, FAULT_CUT_AT_SYNC,
						FAULT_CUT_AT_SYNC };
	static const enum fault_kind network[] = { FAULT_LINK, FAULT_PRIMARY, FAULT_PRIMARY,
						   FAULT_DNS };
	static const enum fault_kind disk[] = { FAULT_DISK, FAULT_DISK, FAULT_DISK_FULL,
						FAULT_CUT_AT_SYNC };

	switch (t) {
	case KILLS:
		return pick(3) ? kills[pick(4)] : FAULT_PRIMARY;
	case CUTS:
		return pick(3) ? cuts[pick(3)] : FAULT_PRIMARY;
	case NETWORK:
		return network[pick(4)];
	case DISK:
		return pick(3) ? disk[pick(4)] : FAULT_PRIMARY;
	case CLOCK:
		return pick(2) ? FAULT_WALL_JUMP : FAULT_PRIMARY;
	case CALM:
	case MIXED:
	case STORM:
		break;
	}
	return (enum fault_kind)pick(FAULT_DNS + 1);
}

static void make_fault(const struct plan *p, enum temper t, struct fault *f)
{
	*f = (struct fault){
		.enabled = true,
		.at = sim_between(DICE_PLAN, NSEC_S, 90 * NSEC_MINUTE),
		.lasts = sim_between(DICE_PLAN, NSEC_S,
				     pick(4) ? 10 * NSEC_MINUTE : 60 * NSEC_MINUTE),
		.kind = choose_kind(t),
		.node = pick(p->nodes),
	};
	switch (f->kind) {
	case FAULT_KILL:
		f->detail = pick(NODE_PARTS);
		break;
	case FAULT_KILL_AT_CALL:
		f->detail = pick(NODE_PARTS);
		f->count = 1 + pick(pick(2) ? 30 : 2000);
		break;
	case FAULT_CUT_AT_SYNC:
		f->detail = pick(SYNC_AFTER + 1);
		f->count = 1 + pick(20);
		f->lasts = sim_between(DICE_PLAN, NSEC_S, 2 * NSEC_MINUTE);
		break;
	case FAULT_DISK:
		f->detail = pick(DISK_SLOW + 1);
		f->count = f->detail == DISK_SLOW ? 1 + pick(30) : 1;
		break;
	case FAULT_DISK_FULL:
		f->count = pick(3) ? pick(40000) : 0;
		break;
	case FAULT_WALL_JUMP:
		f->count = pick(2);
		break;
	case FAULT_LINK:
		f->detail = 1 + pick(2);
		f->count = pick(2); /* 0: a primary's, 1: a node's */
		if (!f->count)
			f->node = pick(p->primaries);
		break;
	case FAULT_PRIMARY:
		f->node = pick(p->primaries);
		f->detail = 1 + pick(MOODS - 1);
		break;
	case FAULT_DNS:
		f->node = pick(p->domains);
		f->detail = 1 + pick(DNS_MOODS - 1);
		break;
	case FAULT_KILL_ALL:
	case FAULT_POWER_CUT:
	case FAULT_RESTART:
	case FAULT_MOVED:
	case FAULT_RELOAD:
		break;
	}
}

static void make_client(const struct plan *p, struct client_plan *c)
{
	static const enum client_kind kinds[] = { CLIENT_PLAIN,      CLIENT_PLAIN,
						  CLIENT_PIPELINING, CLIENT_PIPELINING,
						  CLIENT_SLOW,       CLIENT_HANGS_UP,
						  CLIENT_CONFUSED,   CLIENT_SILENT };
	uint32_t kind = pick(40);

	*c = (struct client_plan){
		.enabled = true,
		.at = sim_between(DICE_PLAN, 0, 100 * NSEC_MINUTE),
		.kind = kind < 24 ? (enum client_kind)(kind % 2) : kinds[kind % ELEMENTS(kinds)],
		.node = pick(p->nodes),
		.messages = 1 + pick(pick(2) ? 1 : 4),
		.body_bytes = pick(10) ? pick(3000) : pick(40000),
		.seed = sim_dice(DICE_PLAN),
	};
}

static void make_options(struct plan *p)
{
	p->nodes = 1 + pick(NODES_MAX);
	p->domains = 1 + pick(DOMAINS_MAX);
	p->primaries = 1 + pick(PRIMARIES_MAX);
	p->smtpins = 1 + pick(2);
	p->segment_bytes = (uint64_t)16384 << (pick(2) ? 0 : pick(3));
	p->disk_bytes = (uint64_t)4 << 20;
	p->set.reserve_bytes = (uint64_t)64 << 10;
	for (uint32_t d = 0; d < p->domains; d++) {
		p->primary_of[d] = pick(p->primaries);
		p->set.by_name[d] = pick(4) == 0;
		p->set.hold[d] =
			pick(5) ? 30 * NSEC_DAY : sim_between(DICE_PLAN, 30, 120) * NSEC_MINUTE;
	}
}

/* In some plans a message may not be large, and some clients try what that means. */
static void make_sizes(struct plan *p)
{
	p->set.message_bytes = (uint64_t)1 << 20;
	if (pick_later(3))
		return;
	p->set.message_bytes = (uint64_t)(24 + 8 * pick_later(3)) << 10;
	for (uint32_t i = 0; i < p->clients; i++)
		if (pick_later(5) == 0)
			p->client[i].size = (enum client_size)pick_later(CLIENT_SIZES);
}

/* Cuts are what the order of writes is there for: many of them, each soon over. */
static uint32_t most_faults(enum temper t)
{
	return t == STORM || t == CUTS ? 48 : 12;
}

static struct fault *add_fault(struct plan *p, enum fault_kind kind, nsec at, nsec lasts)
{
	struct fault *f = &p->fault[p->faults++];

	must(p->faults <= FAULTS_MAX);
	*f = (struct fault){ .enabled = true, .at = at, .lasts = lasts, .kind = kind };
	p->healed_at = MAX(p->healed_at, at + lasts + 11 * NSEC_MINUTE);
	return f;
}

/* In some plans a domain's mail may not wait long, and its primary is away for longer. */
static void make_impatience(struct plan *p)
{
	uint32_t d = pick_later(p->domains);
	struct fault *f;

	if (p->calm || pick_later(4))
		return;
	p->set.hold[d] = (5 + pick_later(16)) * NSEC_MINUTE;
	f = add_fault(p, FAULT_PRIMARY, (1 + pick_later(40)) * NSEC_MINUTE,
		      p->set.hold[d] + (5 + pick_later(26)) * NSEC_MINUTE);
	f->node = p->primary_of[d];
	f->detail = pick_later(3) ? MOOD_DOWN : MOOD_BUSY;
}

/* In some plans the mail of a domain moves to another primary. No fault, but it happens in the same way. */
static void make_move(struct plan *p)
{
	uint32_t d = pick_later(p->domains), from = p->primary_of[d];
	struct fault *f;

	if (p->primaries == 1 || pick_later(4))
		return;
	f = add_fault(p, FAULT_MOVED, (1 + pick_later(80)) * NSEC_MINUTE, 0);
	f->detail = p->set.by_name[d] || pick_later(3) == 0 ? MOVE_ADDRESS : MOVE_MX;
	f->node = f->detail == MOVE_MX ? d : from;
	f->count = (from + 1 + pick_later(p->primaries - 1)) % p->primaries;
}

static bool is_moved(const struct plan *p)
{
	return p->faults > 0 && p->fault[p->faults - 1].kind == FAULT_MOVED;
}

static void make_second_settings(struct plan *p)
{
	uint32_t d = pick_later(p->domains);

	if (pick_later(2))
		p->then.hold[d] = (10 + pick_later(50)) * NSEC_MINUTE;
	if (pick_later(2))
		p->then.reserve_bytes = (uint64_t)(16 + pick_later(512)) << 10;
	if (pick_later(2))
		p->then.message_bytes = (uint64_t)(24 + 8 * pick_later(3)) << 10;
	if (pick_later(2) && !is_moved(p))
		p->then.by_name[d] = !p->then.by_name[d];
}

/* In some plans nodes read another configuration, and perhaps the old one again. */
static void make_reloads(struct plan *p)
{
	uint32_t n = pick_later(5) ? 0 : 1 + pick_later(4);

	p->then = p->set;
	if (n > 0)
		make_second_settings(p);
	for (uint32_t i = 0; i < n; i++) {
		struct fault *f = add_fault(p, FAULT_RELOAD, (1 + pick_later(85)) * NSEC_MINUTE, 0);

		f->node = pick_later(p->nodes);
		f->detail = pick_later(4) > 0;
	}
}

/* In one plan of three mail passes through while the primary is there. */
static void make_live(struct plan *p)
{
	if (pick_later(3))
		return;
	for (uint32_t d = 0; d < p->domains; d++) {
		p->live[d] = pick_later(4) > 0;
		p->any_live = p->any_live || p->live[d];
	}
}

void plan_make(uint64_t seed, struct plan *p)
{
	enum temper t;

	memset(p, 0, sizeof(*p));
	p->seed = seed;
	t = choose_temper();
	make_options(p);
	p->calm = t == CALM;
	if (t != CALM)
		p->faults = 1 + pick(most_faults(t));
	p->healed_at = 90 * NSEC_MINUTE;
	for (uint32_t i = 0; i < p->faults; i++) {
		make_fault(p, t, &p->fault[i]);
		p->healed_at = MAX(p->healed_at, p->fault[i].at + p->fault[i].lasts);
	}
	p->healed_at += 11 * NSEC_MINUTE; /* the last clients have come */
	p->clients = 5 + pick(pick(3) ? 30 : CLIENTS_MAX - 5);
	for (uint32_t i = 0; i < p->clients; i++)
		make_client(p, &p->client[i]);
	later = ~seed;
	make_sizes(p);
	make_impatience(p);
	make_move(p);
	make_reloads(p);
	p->end = pick_later(4) ? END_AT_ONCE : pick_later(2) ? END_RESTARTS : END_CUTS;
	make_live(p);
}

void plan_add(struct plan *p, const struct fault *f)
{
	must(p->faults < FAULTS_MAX + 1);
	p->fault[p->faults] = *f;
	p->fault[p->faults].enabled = true;
	p->fault[p->faults].at = 1;
	p->fault[p->faults++].lasts = 30 * NSEC_S;
	p->calm = false;
}

void plan_leave_out(struct plan *p, uint32_t number)
{
	if (number < p->faults)
		p->fault[number].enabled = false;
	else if (number < p->faults + p->clients)
		p->client[number - p->faults].enabled = false;
}

static void describe_fault(const struct fault *f, FILE *to)
{
	switch (f->kind) {
	case FAULT_KILL:
		fprintf(to, "node %u: kill -9 of %s", f->node, part_names[f->detail]);
		break;
	case FAULT_KILL_ALL:
		fprintf(to, "node %u: kill -9 of all", f->node);
		break;
	case FAULT_KILL_AT_CALL:
		fprintf(to, "node %u: %s dies in its call %llu from then", f->node,
			part_names[f->detail], (unsigned long long)f->count);
		break;
	case FAULT_POWER_CUT:
		fprintf(to, "node %u: power cut", f->node);
		break;
	case FAULT_CUT_AT_SYNC:
		fprintf(to, "node %u: power cut %s its sync %llu from then", f->node,
			moment_names[f->detail], (unsigned long long)f->count);
		break;
	case FAULT_DISK:
		fprintf(to, "node %u: %llu times %s", f->node, (unsigned long long)f->count,
			disk_names[f->detail]);
		break;
	case FAULT_DISK_FULL:
		fprintf(to, "node %u: disk has %llu bytes left", f->node,
			(unsigned long long)f->count);
		break;
	case FAULT_WALL_JUMP:
		fprintf(to, "node %u: the clock jumps %s an hour", f->node,
			f->count ? "forward" : "back");
		break;
	case FAULT_RESTART:
		fprintf(to, "node %u: orderly end, and start later", f->node);
		break;
	case FAULT_LINK:
		fprintf(to, "link of %s %u: %s", f->count ? "node" : "primary", f->node,
			link_names[f->detail]);
		break;
	case FAULT_PRIMARY:
		fprintf(to, "primary %u: %s", f->node, mood_names[f->detail]);
		break;
	case FAULT_DNS:
		fprintf(to, "names of domain %u: %s", f->node, dns_names[f->detail]);
		break;
	case FAULT_MOVED:
		fprintf(to, "%s %u moves to primary %llu, and stays",
			f->detail == MOVE_MX ? "domain" : "name of primary", f->node,
			(unsigned long long)f->count);
		break;
	case FAULT_RELOAD:
		fprintf(to, "node %u: reload, %s configuration", f->node,
			f->detail ? "the second" : "the first");
		break;
	}
}

void plan_describe(const struct plan *p, FILE *to)
{
	fprintf(to,
		"%u nodes with %u smtpin, %u domains on %u primaries, segments of %llu KiB, "
		"messages of %llu KiB at most%s%s\n",
		p->nodes, p->smtpins, p->domains, p->primaries,
		(unsigned long long)p->segment_bytes >> 10,
		(unsigned long long)p->set.message_bytes >> 10, p->calm ? ", calm" : "",
		p->end == END_RESTARTS ? ", all start once more at the end"
		: p->end == END_CUTS   ? ", all lose power once more at the end"
				       : "");
	for (uint32_t d = 0; d < p->domains; d++)
		fprintf(to, "domain %u: primary %u%s%s, held %lld minutes\n", d, p->primary_of[d],
			p->set.by_name[d] ? " by name" : "", p->live[d] ? ", live" : "",
			(long long)(p->set.hold[d] / NSEC_MINUTE));
	for (uint32_t i = 0; i < p->faults; i++) {
		const struct fault *f = &p->fault[i];

		if (!f->enabled)
			continue;
		fprintf(to, "%3u  at %5lld s, for %4lld s  ", i, (long long)(f->at / NSEC_S),
			(long long)(f->lasts / NSEC_S));
		describe_fault(f, to);
		fprintf(to, "\n");
	}
	for (uint32_t i = 0; i < p->clients; i++) {
		const struct client_plan *c = &p->client[i];

		if (c->enabled)
			fprintf(to,
				"%3u  at %5lld s, client to node %u: %s, %u messages of %u "
				"bytes%s\n",
				p->faults + i, (long long)(c->at / NSEC_S), c->node,
				client_names[c->kind], c->messages, c->body_bytes,
				size_names[c->size]);
	}
}
