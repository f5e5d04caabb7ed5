/*
 * One node: its disk, its clock, and a small locumd: it starts the real processes, hands each its configuration,
 * peers and listeners as locumd does, and starts again those that die.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "proc/locumd/locumd.h"
#include "proc/netd/netd.h"
#include "proc/smtpin/server.h"
#include "proc/smtpout/smtpout.h"
#include "proc/worker.h"
#include "sim/engine.h"
#include "spool/spool.h"

#include <stdio.h>
#include <stdlib.h>

#define STOP_TIME (40 * NSEC_S)
#define MEMORY_ROWS 1024 /* of clients; fewer than locumd makes, for a simulator has many lives */

extern const struct worker_hooks spoold_hooks; /* of spoold.h, which has names of ours */

struct part {
	struct sim_node *node;
	enum node_part number;
	struct sim_process *process; /* NULL: none runs */
	struct channel *control;     /* locumd's end */
	bool ready;
	unsigned lives;
	uint64_t calls; /* of earlier lives */
};

struct sim_node {
	struct node_options options;
	struct addr address;
	struct disk *disk;
	struct records *records;
	struct part part[NODE_PARTS];
	bool on;
	nsec wall_offset;
	uint64_t syncs, cut_at;
	enum sync_moment cut_moment;
	nsec cut_off;

	/* locumd's; made anew with each of its lives */
	struct sim_process *locumd;
	struct loop *loop;
	struct conf *conf;
	int snapshot, snapshot_with_keys, clients_file, memory_file, bell, bell_rope;
	struct client_table *clients;
	int listener[LISTENERS_MAX];
	struct signal changed;
	bool serving, stopping;
};

static const struct {
	const char *name;
	Locum__Process process;
	uint32_t index;
	const struct worker_hooks *hooks;
	size_t state_bytes;
} kinds[NODE_PARTS] = {
	[PART_SMTPIN_0] = { "smtpin-0", LOCUM__PROCESS__SMTPIN, 0, &smtpin_hooks,
			    sizeof(struct server) },
	[PART_SMTPIN_1] = { "smtpin-1", LOCUM__PROCESS__SMTPIN, 1, &smtpin_hooks,
			    sizeof(struct server) },
	[PART_NETD] = { "netd", LOCUM__PROCESS__NETD, 0, &netd_hooks, sizeof(struct netd) },
	[PART_SPOOLD] = { "spoold", LOCUM__PROCESS__SPOOLD, 0, &spoold_hooks, 0 },
	[PART_SMTPOUT] = { "smtpout", LOCUM__PROCESS__SMTPOUT, 0, &smtpout_hooks,
			   sizeof(struct smtpout) },
};

static bool part_exists(const struct part *part)
{
	unsigned smtpins = part->node->conf ? part->node->conf->smtpin_processes : 1;

	return part->number != PART_SMTPIN_1 || smtpins > 1;
}

/* --- what is asked of it --- */

struct sim_node *node_new(const struct node_options *options)
{
	struct sim_node *n = calloc(1, sizeof(*n));

	must(n);
	n->options = *options;
	n->options.config = strdup(options->config);
	n->options.name = strdup(options->name);
	n->address = options->address;
	n->disk = disk_new(options->name, options->disk_bytes);
	n->records = records_new();
	for (unsigned i = 0; i < NODE_PARTS; i++)
		n->part[i] = (struct part){ .node = n, .number = (enum node_part)i };
	sim_link(&n->address, LINK_SILENT);
	return n;
}

const char *node_name(const struct sim_node *n)
{
	return n->options.name;
}

struct disk *node_disk(struct sim_node *n)
{
	return n->disk;
}

nsec node_wall_offset(const struct sim_node *n)
{
	return n->wall_offset;
}

nsec node_wall(const struct sim_node *n)
{
	return sys_now_wall() + (running && running->node ? 0 : n->wall_offset);
}

const struct addr *node_address(const struct sim_node *n)
{
	return &n->address;
}

void node_wall_jump(struct sim_node *n, nsec by)
{
	sim_trace("%s: the clock jumps by %lld s", node_name(n), (long long)(by / NSEC_S));
	n->wall_offset += by;
}

bool node_is_on(const struct sim_node *n)
{
	return n->on;
}

uint64_t node_syncs(const struct sim_node *n)
{
	return n->syncs;
}

uint64_t node_calls(const struct sim_node *n, enum node_part part)
{
	const struct sim_process *p = n->part[part].process;

	return n->part[part].calls + (p ? p->calls : 0);
}

void node_disk_fault(struct sim_node *n, enum disk_fault fault, uint64_t count)
{
	disk_fault(n->disk, fault, count);
}

void node_disk_free(struct sim_node *n, uint64_t bytes)
{
	disk_set_free(n->disk, bytes);
}

struct node_load node_load(const struct sim_node *n)
{
	struct node_load load = { .domains = n->conf ? n->conf->domain_count : 0 };

	records_count(n->records, &load.messages, &load.done);
	return load;
}

bool node_message_durable(const struct sim_node *n, msg_id id)
{
	return records_message(n->records, id);
}

bool node_done_durable(const struct sim_node *n, msg_id id, nsec *ret_since)
{
	return records_done(n->records, id, ret_since);
}

bool node_serves(const struct sim_node *n)
{
	return n->on && n->locumd && n->serving;
}

/* --- locumd: starting a part --- */

static void part_main(void *arg)
{
	struct part *part = arg;
	void *state = NULL;

	if (kinds[part->number].state_bytes)
		state = calloc(1, kinds[part->number].state_bytes);
	worker_live(kinds[part->number].hooks, state, running->control);
}

static void part_died(struct sim_process *p)
{
	struct part *part = &p->node->part[p->part];

	sim_trace("%s ended (%d)", p->name, p->status);
	part->calls += p->calls;
	if (part->process == p)
		part->process = NULL;
}

static int send_to(struct task *tk, struct part *part, Locum__Packet *packet, int fd)
{
	return ipc_send(tk, part->control, packet, fd, task_in(tk, SEND_TIME));
}

static void send_peer(struct task *tk, struct part *to, const struct part *other, int fd)
{
	Locum__Peer peer = LOCUM__PEER__INIT;
	IPC_PACKET(packet, PEER, peer, &peer);

	peer.process = kinds[other->number].process;
	peer.index = kinds[other->number].index;
	send_to(tk, to, &packet, fd);
	sys_close(fd);
}

static void connect_peers(struct task *tk, struct part *part)
{
	for (unsigned i = 0; i < NODE_PARTS; i++) {
		struct part *other = &part->node->part[i];
		int a, b;

		if (!other->ready ||
		    !peers_are_pair(kinds[part->number].process, kinds[other->number].process))
			continue;
		channel_pair(running, running, &a, &b);
		send_peer(tk, part, other, a);
		send_peer(tk, other, part, b);
	}
}

static bool takes_listeners(const struct part *part)
{
	return kinds[part->number].process == LOCUM__PROCESS__SMTPIN && part->ready;
}

static void send_client_table(struct task *tk, struct part *part)
{
	Locum__ClientTable table = LOCUM__CLIENT_TABLE__INIT;
	IPC_PACKET(packet, CLIENT_TABLE, client_table, &table);

	Locum__ClientMemory memory = LOCUM__CLIENT_MEMORY__INIT;
	IPC_PACKET(memory_packet, CLIENT_MEMORY, client_memory, &memory);

	if (!takes_listeners(part))
		return;
	send_to(tk, part, &packet, part->node->clients_file);
	send_to(tk, part, &memory_packet, part->node->memory_file);
}

static void send_listeners(struct task *tk, struct part *part)
{
	struct sim_node *n = part->node;

	if (!takes_listeners(part))
		return;
	for (size_t i = 0; i < n->conf->listen_count; i++) {
		Locum__Listener listener = LOCUM__LISTENER__INIT;
		IPC_PACKET(with, LISTENER, listener, &listener);
		char name[64];

		str_copy(n->conf->listen[i].name, name, sizeof(name));
		listener.name = name;
		listener.last = i + 1 == n->conf->listen_count;
		send_to(tk, part, &with, n->listener[i]);
	}
}

static void serve_when_all_are_ready(struct task *tk, struct sim_node *n)
{
	for (unsigned i = 0; i < NODE_PARTS; i++)
		if (part_exists(&n->part[i]) && !n->part[i].ready)
			return;
	n->serving = true;
	sim_trace("%s serves", node_name(n));
	for (unsigned i = 0; i < NODE_PARTS; i++) {
		send_client_table(tk, &n->part[i]);
		send_listeners(tk, &n->part[i]);
	}
}

static void on_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct part *part = arg;

	(void)ch;
	if (m->packet->body_case != LOCUM__PACKET__BODY_READY)
		return;
	part->ready = true;
	if (part->process)
		account_is_ready(part->process);
	connect_peers(tk, part);
	if (!part->node->serving) {
		serve_when_all_are_ready(tk, part->node);
		return;
	}
	send_client_table(tk, part);
	send_listeners(tk, part);
}

static void on_closed(struct channel *ch, int r, void *arg)
{
	struct part *part = arg;

	(void)r;
	if (part->control != ch)
		return;
	part->control = NULL;
	part->ready = false;
	channel_free(ch);
	signal_raise(&part->node->changed);
}

static int start_part(struct task *tk, struct part *part)
{
	struct sim_node *n = part->node;
	Locum__Start start = LOCUM__START__INIT;
	IPC_PACKET(packet, START, start, &start);
	struct sim_process *p;
	char name[64];
	int ours, r;

	snprintf(name, sizeof(name), "%s/%s", node_name(n), kinds[part->number].name);
	p = process_new(name, n, part_main, part);
	p->part = part->number;
	p->died = part_died;
	account_life_begins(p);
	part->process = p;
	part->lives++;
	channel_pair(running, p, &ours, &p->control);
	r = channel_new(n->loop, ours, LOCUM__PROCESS__LOCUMD, kinds[part->number].process,
			kinds[part->number].index, on_message, on_closed, part, &part->control);
	must(r == 0);
	start.index = kinds[part->number].index;
	return send_to(tk, part, &packet,
		       kinds[part->number].process == LOCUM__PROCESS__SMTPIN ? n->snapshot_with_keys
									     : n->snapshot);
}

static void part_task(struct task *tk, void *arg)
{
	struct part *part = arg;
	struct sim_node *n = part->node;

	while (!n->stopping) {
		start_part(tk, part);
		while (part->control)
			signal_wait(tk, &n->changed, NEVER);
		if (kinds[part->number].process == LOCUM__PROCESS__SMTPIN)
			client_table_forget(n->clients, kinds[part->number].index);
		task_sleep(tk, sim_between(DICE_NET, NSEC_MS, NSEC_S));
	}
}

/* --- locumd: its own life --- */

static void read_config(struct sim_node *n)
{
	_cleanup_(buf_done) struct buf error = { 0 };

	buf_init(&error, 8192);
	if (conf_read_text("sim", str_of(n->options.config), &n->conf, &error) < 0) {
		fprintf(stderr, "%.*s\n%s\n", STR_ARG(buf_str(&error)), n->options.config);
		abort();
	}
	n->conf->spool.segment_bytes = n->options.segment_bytes;
	n->conf->spool.reserve_bytes = n->options.reserve_bytes;
	n->conf->limits.message_bytes = n->options.message_bytes;
}

static const Locum__Process stages[] = {
	LOCUM__PROCESS__SMTPIN,
	LOCUM__PROCESS__SMTPOUT,
	LOCUM__PROCESS__SPOOLD,
	LOCUM__PROCESS__NETD,
};

static void end_stage(struct task *tk, struct sim_node *n, Locum__Process process)
{
	Locum__Shutdown shutdown = LOCUM__SHUTDOWN__INIT;
	IPC_PACKET(packet, SHUTDOWN, shutdown, &shutdown);
	nsec until = task_in(tk, STOP_TIME);

	for (unsigned i = 0; i < NODE_PARTS; i++) {
		struct part *part = &n->part[i];

		if (kinds[i].process == process && part->process &&
		    (!part->ready || send_to(tk, part, &packet, -1) < 0))
			process_kill(part->process, -1);
	}
	for (unsigned i = 0; i < NODE_PARTS; i++) {
		struct part *part = &n->part[i];

		while (kinds[i].process == process && part->control && task_now(tk) < until)
			signal_wait(tk, &n->changed, until);
		if (kinds[i].process == process && part->process)
			sim_fail("an orderly end ends", "%s did not within 40 s",
				 part->process->name);
	}
}

/* --- locumd: another configuration --- */

static void read_config_again(void *arg)
{
	struct sim_node *n = arg;

	conf_unref(n->conf);
	read_config(n);
	sys_close(n->snapshot);
	sys_close(n->snapshot_with_keys);
	must(snapshots_make(n->conf, &n->snapshot, &n->snapshot_with_keys) == 0);
}

/* To all that live, as reload.c does it: whoever is not ready yet takes the second snapshot after the first. */
static void reload_node(struct task *tk, struct sim_node *n)
{
	sim_trace("%s: SIGHUP", node_name(n));
	task_on_main_stack(tk, read_config_again, n);
	for (unsigned i = 0; i < NODE_PARTS; i++) {
		struct part *part = &n->part[i];
		Locum__Start start = LOCUM__START__INIT;
		IPC_PACKET(packet, START, start, &start);

		if (!part->control)
			continue;
		start.index = kinds[i].index;
		start.again = true;
		send_to(tk, part, &packet,
			kinds[i].process == LOCUM__PROCESS__SMTPIN ? n->snapshot_with_keys
								   : n->snapshot);
		if (n->serving)
			send_listeners(tk, part);
	}
}

static void stop_node(struct sim_node *n);

/* Waits for the bell: the world wants it to read its configuration again, or to end. */
static void bell_task(struct task *tk, void *arg)
{
	struct sim_node *n = arg;
	char word[8];
	int none[SYS_FDS_MAX];
	size_t none_count;
	struct io io;

	must(io_init(&io, n->loop, n->bell) == 0);
	for (;;) {
		ssize_t got = sys_recv_fds(n->bell, word, sizeof(word), none, &none_count);

		if (got > 0 && word[0] == 's')
			break;
		if (got > 0)
			reload_node(tk, n);
		else
			io_wait(tk, &io, IO_READ, NEVER);
	}
	n->stopping = true;
	signal_raise(&n->changed);
	for (size_t i = 0; i < ELEMENTS(stages); i++)
		end_stage(tk, n, stages[i]);
	sim_trace("%s has ended", node_name(n));
	stop_node(n);
}

static void locumd_main(void *arg)
{
	struct sim_node *n = arg;

	must(loop_new(&n->loop) == 0);
	signal_init(&n->changed);
	conf_unref(n->conf);
	read_config(n);
	must(snapshots_make(n->conf, &n->snapshot, &n->snapshot_with_keys) == 0);
	must(client_memory_make(2, MEMORY_ROWS, &n->memory_file) == 0);
	must(client_table_make(2, n->conf->limits.sessions, &n->clients_file) == 0);
	must(client_table_open(n->clients_file, 0, &n->clients) == 0);
	must(n->conf->listen_count <= LISTENERS_MAX);
	for (size_t i = 0; i < n->conf->listen_count; i++)
		n->listener[i] = sim_listen(&n->conf->listen[i].address);
	channel_pair(running, running, &n->bell, &n->bell_rope);
	must(task_start(n->loop, NULL, "bell", bell_task, n) == 0);
	for (unsigned i = 0; i < NODE_PARTS; i++)
		if (part_exists(&n->part[i]))
			must(task_start(n->loop, NULL, "part", part_task, &n->part[i]) == 0);
	loop_run(n->loop);
}

/* --- power --- */

static void start_locumd(struct sim_node *n)
{
	char name[64];

	snprintf(name, sizeof(name), "%s/locumd", node_name(n));
	n->serving = n->stopping = false;
	n->locumd = process_new(name, n, locumd_main, n);
}

void node_power_on(struct sim_node *n)
{
	if (n->on)
		return;
	sim_trace("%s: power on", node_name(n));
	n->on = true;
	sim_link(&n->address, LINK_UP);
	start_locumd(n);
}

static void power_on_alarm(void *arg)
{
	node_power_on(arg);
}

/* The one that runs goes last, since it does not come back. */
static void kill_processes(struct sim_node *n)
{
	struct sim_process *last = NULL, *all[NODE_PARTS + 1];
	size_t count = 0;

	for (unsigned i = 0; i < NODE_PARTS; i++) {
		all[count++] = n->part[i].process;
		n->part[i].process = NULL;
		n->part[i].control = NULL;
		n->part[i].ready = false;
	}
	all[count++] = n->locumd;
	n->locumd = NULL;
	n->serving = false;
	for (size_t i = 0; i < count; i++) {
		if (all[i] && all[i] == running)
			last = all[i];
		else if (all[i])
			process_kill(all[i], -1);
	}
	if (last)
		process_kill(last, -1);
}

static void stop_node(struct sim_node *n)
{
	n->on = false;
	kill_processes(n);
}

void node_power_cut(struct sim_node *n)
{
	if (!n->on)
		return;
	sim_trace("%s: power cut", node_name(n));
	sim_counts.power_cuts++;
	n->on = false;
	n->cut_at = 0;
	network_power_cut(&n->address, 1);
	sim_link(&n->address, LINK_SILENT);
	disk_power_cut(n->disk);
	kill_processes(n);
}

void node_kill(struct sim_node *n, enum node_part part)
{
	struct sim_process *p = n->part[part].process;

	if (!p)
		return;
	sim_trace("%s: kill -9", p->name);
	sim_counts.kills++;
	process_kill(p, -1);
}

static void restart_alarm(void *arg)
{
	struct sim_node *n = arg;

	if (n->on && !n->locumd)
		start_locumd(n);
}

void node_kill_all(struct sim_node *n)
{
	if (!n->on)
		return;
	sim_trace("%s: kill -9 of all", node_name(n));
	sim_counts.kills++;
	sim_at(sim_now() + sim_between(DICE_NET, NSEC_MS, 5 * NSEC_S), restart_alarm, n);
	kill_processes(n);
}

void node_kill_at_call(struct sim_node *n, enum node_part part, uint64_t nth)
{
	struct sim_process *p = n->part[part].process;

	if (p)
		p->dies_at = p->calls + MAX(nth, 1);
}

void node_cut_at_sync(struct sim_node *n, uint64_t nth, enum sync_moment moment, nsec off)
{
	n->cut_at = n->syncs + MAX(nth, 1);
	n->cut_moment = moment;
	n->cut_off = off;
}

static void cut_if(struct sim_node *n, enum sync_moment moment)
{
	if (n->syncs != n->cut_at || n->cut_moment != moment || !n->on)
		return;
	sim_at(sim_now() + n->cut_off, power_on_alarm, n);
	node_power_cut(n);
}

void node_sync_begins(struct sim_node *n)
{
	n->syncs++;
	cut_if(n, SYNC_BEFORE);
}

void node_sync_works(struct sim_node *n)
{
	cut_if(n, SYNC_DURING);
}

void node_sync_ended(struct sim_node *n)
{
	records_scan(n->records, n->disk);
	cut_if(n, SYNC_AFTER);
}

static void ring(struct sim_node *n, const char *word)
{
	struct sim_process *caller = running;

	running = n->locumd;
	sys_send_fds(n->bell_rope, str_of(word), NULL, 0);
	running = caller;
}

void node_reload(struct sim_node *n, const struct node_options *options)
{
	free((char *)n->options.config);
	n->options.config = strdup(options->config);
	n->options.reserve_bytes = options->reserve_bytes;
	n->options.message_bytes = options->message_bytes;
	must(n->options.config);
	if (n->on && n->locumd && n->locumd->started && n->serving)
		ring(n, "reload");
}

void node_shutdown(struct sim_node *n)
{
	if (!n->on || !n->locumd || !n->loop)
		return;
	if (!n->locumd->started) {
		stop_node(n);
		return;
	}
	sim_trace("%s: SIGTERM", node_name(n));
	ring(n, "stop");
}

void node_check_rest(struct sim_node *n)
{
	for (unsigned i = 0; i < NODE_PARTS; i++)
		if (n->part[i].process)
			account_at_rest(n->part[i].process);
}

/* --- inspection --- */

struct inspection {
	struct sim_node *node;
	void (*f)(void *arg, const struct node_remains *r);
	void *arg;
	msg_id *id;
	size_t n, cap;
	bool over;
};

static int inspect_event(void *arg, enum spool_event event, msg_id id, nsec written_wall,
			 str payload)
{
	struct inspection *in = arg;

	(void)written_wall;
	(void)payload;
	if (event == SPOOL_MESSAGE) {
		if (in->n == in->cap) {
			in->cap = in->cap ? 2 * in->cap : 64;
			in->id = realloc(in->id, in->cap * sizeof(*in->id));
			must(in->id);
		}
		in->id[in->n++] = id;
	}
	for (size_t i = 0; event == SPOOL_DONE && i < in->n; i++)
		if (id_eq(in->id[i], id))
			in->id[i] = in->id[--in->n];
	return 0;
}

static void inspect_damage(void *arg, const char *file, uint64_t offset, const char *what)
{
	struct inspection *in = arg;

	sim_trace("%s: %s at %llu: %s", node_name(in->node), file, (unsigned long long)offset,
		  what);
}

static void inspect_one(struct inspection *in, struct spool *s, msg_id id)
{
	_cleanup_(buf_done) struct buf envelope = { 0 }, state = { 0 };
	struct node_remains r = { .id = id, .held = spool_is_held(s, id) };
	struct spool_body body;
	char *bytes;
	int e;

	buf_init(&envelope, (size_t)4 << 20);
	buf_init(&state, (size_t)4 << 20);
	e = spool_read(s, id, &envelope, &body);
	if (e == 0)
		e = spool_read_state(s, id, &state);
	if (e < 0)
		sim_fail("what is in the spool can be read", "%s: %s", node_name(in->node),
			 strerror(-e));
	bytes = malloc(body.bytes + 1);
	must(bytes);
	must(sys_read_at(body.fd, bytes, body.bytes, body.offset) == (ssize_t)body.bytes);
	r.envelope = buf_str(&envelope);
	r.state = buf_str(&state);
	r.body = str_mem(bytes, body.bytes);
	in->f(in->arg, &r);
	free(bytes);
}

static void inspect_main(void *arg)
{
	struct inspection *in = arg;
	struct spool_options options = {
		.segment_bytes = in->node->options.segment_bytes,
		.big_body_bytes = in->node->options.segment_bytes / 4,
	};
	struct spool *s;
	int r;

	r = spool_open("spool", &options, &s);
	if (r == 0)
		r = spool_replay(s, inspect_event, inspect_damage, in);
	if (r < 0)
		sim_fail("the spool can be opened", "%s: %s", node_name(in->node),
			 spool_error_text(r));
	for (size_t i = 0; i < in->n; i++)
		inspect_one(in, s, in->id[i]);
	spool_close(s);
	in->over = true;
}

static bool is_over(void *arg)
{
	return ((struct inspection *)arg)->over;
}

size_t node_inspect(struct sim_node *n, void (*f)(void *arg, const struct node_remains *r),
		    void *arg)
{
	struct inspection in = { .node = n, .f = f, .arg = arg };

	must(!n->on && !running);
	disk_set_free(n->disk, UINT64_MAX);
	process_new("inspector", n, inspect_main, &in);
	must(sim_run(sim_now() + NSEC_HOUR, is_over, &in));
	free(in.id);
	return in.n;
}

void node_heal(struct sim_node *n)
{
	n->cut_at = 0;
	disk_heal(n->disk);
	for (unsigned i = 0; i < NODE_PARTS; i++)
		if (n->part[i].process)
			n->part[i].process->dies_at = 0;
}
