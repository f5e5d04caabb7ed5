#include "proc/smtpin/server.h"

#include "base/log.h"
#include "proc/smtpin/session.h"
#include "task/sys.h"

/* Bodies in flight, all sessions of a process together, and never less than a few whole messages. */
#define BUDGET_BYTES ((uint64_t)512 << 20)
#define BUDGET_MESSAGES 4
#define COUNTERS_EVERY (5 * NSEC_S)
#define LIMIT_LOGGED_EVERY (10 * NSEC_S)
#define SHUTDOWN_TIME (30 * NSEC_S)
#define DRAIN_STEP (500 * NSEC_MS)
#define ABORT_TIME (5 * NSEC_S)
#define OUT_OF_DESCRIPTORS_TIME (100 * NSEC_MS)
#define STOPPED_TIME (20 * NSEC_MS)

/* Owned by the task that accepts on it, or by the incoming list before that. */
struct listener {
	struct list link;
	struct server *srv;
	struct io io;
	int fd; /* until the io has it */
	char name[64];
};

void server_init(struct server *srv, struct worker *w)
{
	*srv = (struct server){ .loop = w->loop, .index = w->index, .spool_accepting = true };
	tls_tickets_init(&srv->tickets);
	group_init(&srv->accepting, w->loop);
	group_init(&srv->sessions, w->loop);
	group_init(&srv->background, w->loop);
	list_init(&srv->session_list);
	list_init(&srv->incoming);
	offers_init(&srv->offers);
	signal_init(&srv->spoold_came);
}

int server_configure(struct server *srv, struct conf *conf)
{
	struct settings *fresh = NULL;
	struct announced announced;
	char error[200];
	int r;

	r = settings_new(conf, &srv->tickets, &fresh, error, sizeof(error));
	if (r < 0) {
		log_error("config.failed", K_Z("reason", error));
		return r;
	}
	settings_unref(srv->settings);
	srv->settings = fresh;
	/* What was counted for the former configuration would keep it in memory. */
	offers_announced(&srv->offers, conf, &announced);
	srv->budget.max = MAX(BUDGET_BYTES, BUDGET_MESSAGES * conf->limits.message_bytes);
	return 0;
}

int server_share_clients(struct server *srv, int fd)
{
	int r;

	must(!srv->clients);
	r = client_table_open(fd, srv->index, &srv->clients);
	if (r < 0)
		log_error("clients.failed", K_ERR(r));
	return r;
}

int server_share_memory(struct server *srv, int fd)
{
	int r;

	must(!srv->memory);
	r = client_memory_open(fd, srv->index, &srv->memory);
	if (r < 0)
		log_error("memory.failed", K_ERR(r));
	return r;
}

void server_random(struct server *srv, uint8_t random[static 10])
{
	if (!srv->random.left) {
		sys_random(srv->random.byte, sizeof(srv->random.byte));
		srv->random.left = sizeof(srv->random.byte);
	}
	srv->random.left -= 10;
	memcpy(random, srv->random.byte + srv->random.left, 10);
}

/* --- what is remembered of clients --- */

static bool trusts(const struct server *srv, const struct addr *client)
{
	const struct conf *c = srv->settings->conf;

	return conf_network_has(c->trusted, c->trusted_count, client);
}

bool server_favours(const struct server *srv, const struct addr *client)
{
	return trusts(srv, client) || client_memory_is_good(srv->memory, client, sys_now_wall());
}

nsec server_command_time(const struct server *srv, const struct addr *client)
{
	enum stress s = srv->stress.state;

	return stress_command_time(s, s != STRESS_NONE && server_favours(srv, client));
}

void server_count(struct server *srv, const struct addr *client, enum client_count what, unsigned n)
{
	client_memory_add(srv->memory, client, what, n, sys_now_wall());
}

void server_remember_good(struct server *srv, const struct addr *client)
{
	client_memory_good(srv->memory, client, sys_now_wall());
}

bool server_is_patient(struct server *srv, const struct addr *client, str reverse_path,
		       str recipient)
{
	uint64_t seed[2];

	if (!srv->patience) {
		sys_random(seed, sizeof(seed));
		/* Without memory nobody can be told from anybody: all are taken. */
		if (patience_new(seed, &srv->patience) < 0)
			return true;
	}
	return patience_try(srv->patience, client, reverse_path, recipient, loop_now(srv->loop));
}

/* Lines of one kind: one in ten seconds, however many there are. */
static bool may_log(struct server *srv, struct rare_line *line)
{
	nsec now = loop_now(srv->loop);

	line->unlogged++;
	if (line->logged_at && now - line->logged_at < LIMIT_LOGGED_EVERY)
		return false;
	line->logged_at = now;
	line->times = line->unlogged;
	line->unlogged = 0;
	return true;
}

int server_check_rates(struct server *srv, const struct addr *client)
{
	double rates[CLIENT_COUNTS];
	char text[ADDR_TEXT_SIZE];
	int exceeded;

	if (trusts(srv, client))
		return RATES_NONE;
	client_memory_rates(srv->memory, client, sys_now_wall(), rates);
	exceeded = rates_check(srv->settings->conf, rates);
	if (exceeded != RATES_NONE && may_log(srv, &srv->rate_line))
		log_warn("rate.exceeded", K_Z("client", addr_ip_text(client, text)),
			 K_Z("rate", rates_name((enum client_count)exceeded)),
			 K_INT("an_hour", (int64_t)rates[exceeded]),
			 K_INT("times", srv->rate_line.times));
	return exceeded;
}

/* --- stress --- */

/* Whoever waits for nothing longer than the state allows, and whom we do not know. */
static void end_idle_strangers(struct server *srv)
{
	nsec now = loop_now(srv->loop);
	nsec patience = stress_command_time(srv->stress.state, false);

	LIST_EACH (&srv->session_list, struct session, link, s)
		if (s->waiting && !s->trusted && now - s->waiting_since >= patience &&
		    !server_favours(srv, &s->client))
			task_cancel(s->task);
}

static void update_stress(struct server *srv)
{
	const struct stress_load load = {
		.sessions = srv->clients ? client_table_sessions(srv->clients) : 0,
		.sessions_max = srv->settings->conf->limits.sessions,
		.body_bytes = srv->budget.used,
		.body_bytes_max = srv->budget.max,
	};

	if (!stress_update(&srv->stress, &load, loop_now(srv->loop)))
		return;
	log_warn("stress.changed", K_Z("state", stress_name(srv->stress.state)),
		 K_INT("sessions", load.sessions), K_INT("sessions_max", load.sessions_max),
		 K_INT("body_bytes", load.body_bytes),
		 K_INT("body_bytes_max", load.body_bytes_max));
	if (srv->stress.state != STRESS_NONE)
		end_idle_strangers(srv);
}

/* --- counters --- */

static void send_counters(struct task *tk, struct server *srv)
{
	Locum__SmtpinCounters c = LOCUM__SMTPIN_COUNTERS__INIT;
	IPC_PACKET(packet, SMTPIN_COUNTERS, smtpin_counters, &c);

	c.index = srv->index;
	c.sessions = srv->session_count;
	c.sessions_total = srv->counters.sessions_total;
	c.refused_total = srv->counters.refused_total;
	c.deferred_total = srv->counters.deferred_total;
	c.stress = srv->stress.state;
	/* A spoold that is away gets the next ones. */
	ipc_send(tk, srv->spoold, &packet, -1, task_in(tk, COUNTERS_EVERY));
}

static void counters_main(struct task *tk, void *arg)
{
	struct server *srv = arg;

	while (task_sleep(tk, COUNTERS_EVERY) == 0) {
		/* By the state that was, before it may fall: it allowed them no more. */
		if (srv->stress.state != STRESS_NONE)
			end_idle_strangers(srv);
		update_stress(srv);
		send_counters(tk, srv);
	}
}

void server_start_counters(struct server *srv)
{
	if (task_start(srv->loop, &srv->background, "counters", counters_main, srv) < 0)
		log_error("counters.failed");
}

/* --- accepting --- */

static void log_limit(struct server *srv, const struct addr *client, enum answer a)
{
	char text[ADDR_TEXT_SIZE];

	srv->counters.deferred_total++;
	if (!may_log(srv, &srv->limit_line))
		return;
	log_warn("session.refused", K_Z("client", addr_ip_text(client, text)),
		 K("reply", answer_line(a)), K_INT("times", srv->limit_line.times),
		 K_INT("sessions", client_table_sessions(srv->clients)));
}

static enum answer enter(struct server *srv, const struct addr *client, uint32_t sessions_max,
			 client_place *ret_place)
{
	const struct conf *c = srv->settings->conf;
	bool counted = sessions_max != UINT32_MAX;
	struct client_limits limits = { c->limits.sessions, UINT32_MAX, UINT32_MAX };
	enum stress s = srv->stress.state;

	if (counted) {
		bool favoured = s != STRESS_NONE && server_favours(srv, client);

		limits.per_client = stress_share(s, favoured, sessions_max);
		limits.per_network = stress_share(s, favoured, c->limits.sessions_per_network);
	}
	switch (client_table_enter(srv->clients, client, &limits, ret_place)) {
	case 0:
		return ANSWER_NONE;
	case -EUSERS:
		return limits.per_client < sessions_max ? ANSWER_STRANGERS_WAIT
							: ANSWER_CLIENT_FULL;
	case -EDQUOT:
		return ANSWER_NETWORK_FULL;
	default:
		return ANSWER_SESSIONS_FULL;
	}
}

enum answer server_admit(struct server *srv, const struct addr *client, uint32_t sessions_max,
			 client_place *ret_place)
{
	enum answer a;

	update_stress(srv);
	a = enter(srv, client, sessions_max, ret_place);
	if (a != ANSWER_NONE)
		log_limit(srv, client, a);
	return a;
}

/* A proxy has as many sessions as it brings clients; from whom it may come is the first thing to see. */
static bool may_connect(const struct conf_listen *l, const struct addr *client)
{
	char text[ADDR_TEXT_SIZE];

	if (!l->proxy_protocol || conf_network_has(l->proxy_from, l->proxy_from_count, client))
		return true;
	log_warn("proxy.refused", K_Z("proxy", addr_ip_text(client, text)), K_ERR(-EACCES));
	return false;
}

static void welcome(struct server *srv, const struct listener *l, int fd, const struct sockaddr *sa)
{
	int index = settings_listen_index(srv->settings, str_of(l->name));
	const struct conf *c = srv->settings->conf;
	const struct conf_listen *listen;
	client_place place;
	struct addr client;
	enum answer a;

	if (index < 0 || addr_from_sockaddr(sa, &client) < 0 ||
	    !may_connect(&c->listen[index], &client)) {
		sys_close(fd);
		return;
	}
	listen = &c->listen[index];
	a = server_admit(srv, &client,
			 listen->proxy_protocol ? UINT32_MAX : c->limits.sessions_per_client,
			 &place);
	if (a == ANSWER_NONE) {
		session_start(srv, (size_t)index, fd, &client, place);
		return;
	}
	/* Into an empty socket buffer: it fits, or the client is gone. */
	if (listen->tls != CONF_TLS_IMPLICIT)
		sys_send(fd, answer_text(a));
	sys_close(fd);
}

static void accept_one(struct task *tk, struct listener *l)
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	int fd = sys_accept(l->io.fd, (struct sockaddr *)&sa, &length);

	if (fd >= 0)
		welcome(l->srv, l, fd, (struct sockaddr *)&sa);
	else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
		task_sleep(tk, OUT_OF_DESCRIPTORS_TIME);
	else if (fd == -EINVAL) /* locumd made it stop; its successor comes in a moment */
		task_sleep(tk, STOPPED_TIME);
}

/* One connection a wake-up: the other processes that watch this socket get their share. */
static void accept_main(struct task *tk, void *arg)
{
	struct listener *l = arg;

	while (!task_cancelled(tk) && io_wait(tk, &l->io, IO_READ, NEVER) == 0)
		accept_one(tk, l);
	io_done(&l->io);
	free(l);
}

static void start_listener(struct server *srv, struct listener *l)
{
	int r = io_init_listener(&l->io, srv->loop, l->fd);

	if (r == 0) {
		r = task_start(srv->loop, &srv->accepting, "accept", accept_main, l);
		if (r == 0)
			return;
		io_release(&l->io);
	}
	log_error("listener.failed", K_Z("listener", l->name), K_ERR(r));
	sys_close(l->fd);
	free(l);
}

static void replace_listeners(struct server *srv)
{
	struct list *link;

	group_cancel(&srv->accepting);
	while ((link = list_take(&srv->incoming)))
		start_listener(srv, CONTAINER(link, struct listener, link));
}

void server_add_listener(struct server *srv, str name, int fd, bool last)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l || srv->draining || !srv->clients) {
		sys_close(fd);
		free(l);
		return;
	}
	l->srv = srv;
	l->fd = fd;
	str_copy(name, l->name, sizeof(l->name));
	list_append(&srv->incoming, &l->link);
	if (last)
		replace_listeners(srv);
}

/* --- the end --- */

static void end_waiting_sessions(struct server *srv)
{
	LIST_EACH (&srv->session_list, struct session, link, s)
		if (s->waiting)
			task_cancel(s->task);
}

/* In small steps, for the end may become nearer. */
static void drain(struct task *tk, struct server *srv, const nsec *finish_by)
{
	while (group_count(&srv->sessions) > 0 && task_now(tk) < *finish_by)
		group_wait(tk, &srv->sessions, MIN(*finish_by, task_in(tk, DRAIN_STEP)));
}

void server_shutdown(struct task *tk, struct server *srv, const nsec *finish_by)
{
	srv->draining = true;
	group_cancel(&srv->accepting);
	drain(tk, srv, finish_by);
	srv->closing = true;
	end_waiting_sessions(srv);
	group_wait(tk, &srv->sessions, task_in(tk, SHUTDOWN_TIME));
	group_cancel(&srv->sessions);
	group_wait(tk, &srv->sessions, task_in(tk, ABORT_TIME));
	send_counters(tk, srv);
	group_cancel(&srv->background);
	group_wait(tk, &srv->background, task_in(tk, ABORT_TIME));
	group_wait(tk, &srv->accepting, task_in(tk, ABORT_TIME));
	settings_unref(srv->settings);
	srv->settings = NULL;
	offers_done(&srv->offers);
	patience_free(srv->patience);
	srv->patience = NULL;
}
