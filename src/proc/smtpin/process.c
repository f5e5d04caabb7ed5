/*
 * smtpin: the server that clients talk to. Accepts, holds the dialogue, keeps the body in a sealed memfd and
 * says 250 when spoold has it on stable storage. Connects to nobody, opens no file.
 */
#include "base/log.h"
#include "proc/smtpin/server.h"

/* What RLIMIT_FSIZE must let pass: the largest message_size that a reload could bring. */
#define BODY_BYTES_MAX (((uint64_t)1 << 30) + ((uint64_t)1 << 20))

struct configuring {
	struct server *srv;
	struct conf *conf;
	int result;
};

static void configure_on_main_stack(void *arg)
{
	struct configuring *c = arg;

	c->result = server_configure(c->srv, c->conf);
}

/* OpenSSL reads keys with a deep stack. */
static int configure(struct task *tk, struct worker *w)
{
	struct configuring c = { .srv = w->arg, .conf = w->conf };

	task_on_main_stack(tk, configure_on_main_stack, &c);
	return c.result;
}

static int acquire(struct task *tk, struct worker *w, struct sandbox_request *request)
{
	struct server *srv = w->arg;

	server_init(srv, w);
	request->descriptors_max =
		SMTPIN_DESCRIPTORS_A_SESSION * (uint64_t)w->conf->limits.sessions +
		SMTPIN_DESCRIPTORS_OTHER;
	request->file_bytes_max = BODY_BYTES_MAX;
	return configure(tk, w);
}

static int serve(struct task *tk, struct worker *w)
{
	(void)tk;
	server_start_counters(w->arg);
	return 0;
}

static void reconfigured(struct task *tk, struct worker *w)
{
	/* On failure, which is logged, everybody keeps the old settings. */
	configure(tk, w);
}

static struct channel **peer_place(struct server *srv, Locum__Process peer)
{
	if (peer == LOCUM__PROCESS__SPOOLD)
		return &srv->spoold;
	if (peer == LOCUM__PROCESS__SMTPOUT)
		return &srv->smtpout;
	if (peer == LOCUM__PROCESS__STATE)
		return &srv->state;
	return peer == LOCUM__PROCESS__NETD ? &srv->netd : NULL;
}

static void peer(struct task *tk, struct worker *w, struct channel *ch)
{
	struct channel **place = peer_place(w->arg, channel_peer(ch));
	struct server *srv = w->arg;

	(void)tk;
	if (!place)
		return;
	*place = ch;
	/* Until a new spoold says otherwise; its answer to the first message would. */
	if (channel_peer(ch) == LOCUM__PROCESS__SPOOLD) {
		srv->spool_accepting = true;
		signal_raise(&srv->spoold_came);
	}
}

static void peer_gone(struct worker *w, struct channel *ch)
{
	struct channel **place = peer_place(w->arg, channel_peer(ch));

	if (place && *place == ch)
		*place = NULL;
}

static void on_client_table(struct server *srv, struct ipc_message *m)
{
	_cleanup_(closep) int fd = ipc_take_fd(m, 0);

	/* Without it no client could be let in: locumd's fault, and ours to say by dying. */
	must(fd >= 0 && server_share_clients(srv, fd) == 0);
}

static void on_client_memory(struct server *srv, struct ipc_message *m)
{
	_cleanup_(closep) int fd = ipc_take_fd(m, 0);

	must(fd >= 0 && server_share_memory(srv, fd) == 0);
}

static void on_offers(struct server *srv, const Locum__PrimaryOffers *said)
{
	if (offers_update(&srv->offers, said) < 0)
		log_error("offers.failed", K_ERR(-ENOMEM));
}

static void on_ticket_keys(struct server *srv, const Locum__TicketKeys *m)
{
	str keys[TLS_TICKET_KEYS_MAX];

	for (size_t i = 0; i < m->n_key && i < ELEMENTS(keys); i++)
		keys[i] = str_mem(m->key[i].data, m->key[i].len);
	if (m->n_key > ELEMENTS(keys) || tls_tickets_set(&srv->tickets, keys, m->n_key) < 0)
		log_error("tickets.failed");
}

static void message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct worker *w = arg;
	struct server *srv = w->arg;

	(void)tk;
	(void)ch;
	if (m->packet->body_case == LOCUM__PACKET__BODY_SPOOL_STATE)
		srv->spool_accepting = m->packet->spool_state->accepting;
	else if (m->packet->body_case == LOCUM__PACKET__BODY_PRIMARY_OFFERS)
		on_offers(srv, m->packet->primary_offers);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_CLIENT_TABLE)
		on_client_table(srv, m);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_CLIENT_MEMORY)
		on_client_memory(srv, m);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_TICKET_KEYS)
		on_ticket_keys(srv, m->packet->ticket_keys);
}

static void listener(struct task *tk, struct worker *w, str name, int fd, bool last)
{
	(void)tk;
	server_add_listener(w->arg, name, fd, last);
}

static void finish(struct task *tk, struct worker *w)
{
	server_shutdown(tk, w->arg, &w->finish_by);
}

const struct worker_hooks smtpin_hooks = {
	.self = LOCUM__PROCESS__SMTPIN,
	.acquire = acquire,
	.serve = serve,
	.reconfigured = reconfigured,
	.peer = peer,
	.peer_gone = peer_gone,
	.message = message,
	.listener = listener,
	.shutdown = finish,
};
