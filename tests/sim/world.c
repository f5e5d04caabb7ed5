/* Runs a plan: the nodes, the world's process, faults when they are due; then heals everything and settles the account. */
#include "sim/world.h"

#include "base/addr.h"
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define START_TIME (10 * NSEC_S)    /* until all nodes serve */
#define QUIET_TIME (6 * NSEC_HOUR)  /* after which everything must be where it belongs */
#define OFF_TIME (3 * NSEC_MINUTE)  /* an orderly end is over by then */
#define LAST_TIME (2 * NSEC_MINUTE) /* after everything is delivered, for what would come twice */

static struct sim_node *nodes[NODES_MAX];
static struct loop *loop;
static const struct plan *plan;
static bool world_ready;
static uint64_t faults, outages;
static nsec start, last_off = NEVER;

struct sim_node *world_node(uint32_t n)
{
	return nodes[n];
}

const struct plan *world_plan(void)
{
	return plan;
}

nsec world_start(void)
{
	return start;
}

nsec world_last_off(void)
{
	return last_off;
}

/* --- configuration --- */

static void make_config(uint32_t n, const struct settings_of_nodes *set, struct buf *to)
{
	char address[ADDR_TEXT_SIZE], name[64];
	struct addr at = node_addr(n);

	buf_addf(to, "hostname = \"mx%u.backup.test\"\nstate_dir = \"/sim\"\n", n);
	buf_addf(to, "processes { smtpin = %u }\n", plan->smtpins);
	buf_addf(to, "listen \"mx\" { address = \"%s\" }\n", addr_text(&at, address));
	buf_addf(to, "dns { servers = {\"127.0.0.1:53\"} }\nlimits { sessions = 200 }\n");
	for (uint32_t d = 0; d < plan->domains; d++) {
		domain_name(d, name);
		buf_addf(to,
			 "domain \"%s\" { acceptance = \"%s\" recipients = \"any\" filter = "
			 "\"off\" hold = \"%lldm\"",
			 name, plan->live[d] ? "live" : "queue",
			 (long long)(set->hold[d] / NSEC_MINUTE));
		if (set->by_name[d])
			buf_addf(to, " primary = {\"p%u.primary.test:25\"}", plan->primary_of[d]);
		buf_addf(to, " }\n");
	}
}

/* Makes the node, or makes it read its configuration again. */
static void configure_node(uint32_t n, const struct settings_of_nodes *set)
{
	struct buf config = { 0 };
	char name[16];
	struct node_options options = {
		.name = name,
		.address = node_addr(n),
		.disk_bytes = plan->disk_bytes,
		.segment_bytes = plan->segment_bytes,
		.reserve_bytes = set->reserve_bytes,
		.message_bytes = set->message_bytes,
	};

	snprintf(name, sizeof(name), "n%u", n);
	buf_init(&config, 16384);
	make_config(n, set, &config);
	must(buf_add_byte(&config, '\0') == 0);
	options.config = config.p;
	if (nodes[n])
		node_reload(nodes[n], &options);
	else
		nodes[n] = node_new(&options);
	buf_done(&config);
}

/* --- the world's process --- */

static void start_client(struct task *tk, void *arg)
{
	const struct client_plan *c = arg;

	task_sleep(tk, c->at);
	client_start(loop, plan, c);
}

/* Moods change the world's own sockets, so its own tasks change them. */
static void change_mood(struct task *tk, void *arg)
{
	const struct fault *f = arg;

	task_sleep(tk, f->at);
	primary_mood(f->node, (enum primary_mood)f->detail);
	task_sleep(tk, f->lasts);
	primary_mood(f->node, MOOD_WELL);
}

static void heal_moods(struct task *tk, void *arg)
{
	(void)arg;
	task_sleep(tk, plan->healed_at);
	for (uint32_t p = 0; p < plan->primaries; p++)
		primary_mood(p, MOOD_WELL);
	task_park(tk, NEVER);
}

static void world_main(void *arg)
{
	(void)arg;
	must(loop_new(&loop) == 0);
	must(task_start(loop, NULL, "heal", heal_moods, NULL) == 0);
	primaries_start(loop, plan);
	for (uint32_t i = 0; i < plan->faults; i++)
		if (plan->fault[i].enabled && plan->fault[i].kind == FAULT_PRIMARY)
			must(task_start(loop, NULL, "mood", change_mood, (void *)&plan->fault[i]) ==
			     0);
	for (uint32_t i = 0; i < plan->clients; i++)
		if (plan->client[i].enabled)
			must(task_start(loop, NULL, "client", start_client,
					(void *)&plan->client[i]) == 0);
	world_ready = true;
	loop_run(loop);
}

/* --- faults: alarms of the kernel --- */

static struct addr link_address(const struct fault *f)
{
	return f->count ? node_addr(f->node) : primary_addr(f->node);
}

static void fault_begins(void *arg)
{
	const struct fault *f = arg;
	struct sim_node *n = f->node < plan->nodes ? nodes[f->node] : NULL;
	struct addr host;

	faults++;
	switch (f->kind) {
	case FAULT_KILL:
		node_kill(n, (enum node_part)f->detail);
		break;
	case FAULT_KILL_ALL:
		node_kill_all(n);
		break;
	case FAULT_KILL_AT_CALL:
		node_kill_at_call(n, (enum node_part)f->detail, f->count);
		break;
	case FAULT_POWER_CUT:
		node_power_cut(n);
		break;
	case FAULT_CUT_AT_SYNC:
		node_cut_at_sync(n, f->count, (enum sync_moment)f->detail, f->lasts);
		break;
	case FAULT_DISK:
		node_disk_fault(n, (enum disk_fault)f->detail, f->count);
		break;
	case FAULT_DISK_FULL:
		node_disk_free(n, f->count);
		break;
	case FAULT_WALL_JUMP:
		node_wall_jump(n, f->count ? NSEC_HOUR : -NSEC_HOUR);
		break;
	case FAULT_RESTART:
		node_shutdown(n);
		break;
	case FAULT_LINK:
		host = link_address(f);
		outages++;
		if (!f->count || node_is_on(n))
			sim_link(&host, (enum sim_link)f->detail);
		break;
	case FAULT_PRIMARY:
		outages++; /* see change_mood */
		break;
	case FAULT_DNS:
		outages++;
		zone_mood(f->node, (enum dns_mood)f->detail);
		break;
	case FAULT_MOVED:
		zone_move((enum move)f->detail, f->node, (uint32_t)f->count);
		break;
	case FAULT_RELOAD:
		configure_node(f->node, f->detail ? &plan->then : &plan->set);
		break;
	}
}

static void fault_ends(void *arg)
{
	const struct fault *f = arg;
	struct sim_node *n = f->node < plan->nodes ? nodes[f->node] : NULL;
	struct addr host;

	switch (f->kind) {
	case FAULT_POWER_CUT:
	case FAULT_RESTART:
		node_power_on(n);
		break;
	case FAULT_DISK_FULL:
		node_disk_free(n, UINT64_MAX);
		break;
	case FAULT_LINK:
		host = link_address(f);
		if (!f->count || node_is_on(n))
			sim_link(&host, LINK_UP);
		break;
	case FAULT_DNS:
		zone_mood(f->node, DNS_HONEST);
		break;
	case FAULT_PRIMARY:
	case FAULT_KILL:
	case FAULT_KILL_ALL:
	case FAULT_KILL_AT_CALL:
	case FAULT_CUT_AT_SYNC:
	case FAULT_DISK:
	case FAULT_WALL_JUMP:
	case FAULT_MOVED:
	case FAULT_RELOAD:
		break;
	}
}

static void plan_faults(void)
{
	for (uint32_t i = 0; i < plan->faults; i++) {
		const struct fault *f = &plan->fault[i];

		if (!f->enabled)
			continue;
		sim_at(start + f->at, fault_begins, (void *)f);
		sim_at(start + f->at + f->lasts, fault_ends, (void *)f);
	}
}

static void heal(void)
{
	for (uint32_t p = 0; p < plan->primaries; p++) {
		struct addr at = primary_addr(p);

		sim_link(&at, LINK_UP);
	}
	for (uint32_t d = 0; d < plan->domains; d++)
		zone_mood(d, DNS_HONEST);
	for (uint32_t n = 0; n < plan->nodes; n++) {
		struct addr at = node_addr(n);

		node_disk_free(nodes[n], UINT64_MAX);
		node_heal(nodes[n]);
		node_power_on(nodes[n]);
		sim_link(&at, LINK_UP);
	}
	sim_trace("healed");
}

/* --- the run --- */

static bool all_serve(void *arg)
{
	(void)arg;
	for (uint32_t n = 0; n < plan->nodes; n++)
		if (!node_serves(nodes[n]))
			return false;
	return world_ready;
}

static bool all_quiet(void *arg)
{
	(void)arg;
	return clients_running() == 0 && ledger_quiet();
}

/* What is settled stays so: held is held, and nothing comes again. */
static void start_all_again(void)
{
	last_off = sim_now();
	for (uint32_t n = 0; n < plan->nodes; n++)
		if (plan->end == END_RESTARTS)
			node_shutdown(nodes[n]);
		else
			node_power_cut(nodes[n]);
	sim_run(sim_now() + OFF_TIME, NULL, NULL);
	for (uint32_t n = 0; n < plan->nodes; n++)
		node_power_on(nodes[n]);
	sim_run(sim_now() + LAST_TIME, NULL, NULL);
}

void world_run(const struct plan *p, struct world_counts *ret_counts)
{
	plan = p;
	memset(ret_counts, 0, sizeof(*ret_counts));
	zone_init(p);
	for (uint32_t n = 0; n < p->nodes; n++) {
		configure_node(n, &p->set);
		node_power_on(nodes[n]);
	}
	sim_process_start("world", world_main, NULL);
	if (!sim_run(sim_now() + START_TIME, all_serve, NULL))
		sim_fail("nodes start", "not all serve within 10 s");
	start = sim_now();
	plan_faults();
	sim_run(start + p->healed_at, NULL, NULL);
	heal();
	sim_run(sim_now() + NSEC_MINUTE, NULL, NULL);
	sim_run(sim_now() + QUIET_TIME, all_quiet, NULL);
	sim_run(sim_now() + LAST_TIME, NULL, NULL);
	if (clients_running() > 0)
		sim_fail("no task stuck", "%u clients still wait", clients_running());
	for (uint32_t n = 0; n < p->nodes; n++)
		node_check_rest(nodes[n]);
	if (p->end != END_AT_ONCE)
		start_all_again();
	for (uint32_t n = 0; n < p->nodes; n++)
		node_power_cut(nodes[n]);
	ledger_settle(p, nodes, ret_counts);
	ret_counts->faults = faults;
	ret_counts->outages = outages;
}
