#include "proc/netd/netd.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/netd/anchor.h"
#include "proc/netd/client.h"
#include "proc/netd/dial.h"
#include "proc/netd/sts_dial.h"

#define REPLY_WAIT (10 * NSEC_S)
#define SHUTDOWN_WAIT (5 * NSEC_S)
#define FORGET_EVERY (100 * NSEC_MS) /* a new resolver costs; a cache younger than this may stay */

/* --- the resolvers --- */

static str anchors_for(const struct netd *n, const struct conf *conf)
{
	if (conf->dns.trust_anchor.n)
		return buf_str(&n->anchors);
	/* Forwarding to named servers, perhaps of a private tree: the root's key may not fit. */
	return conf->dns.server_count ? STR_NONE : buf_str(&n->system_anchors);
}

/* The configuration that a resolver was, or would have been, made from; an earlier one is not kept for it. */
static void use_conf(struct netd *n, struct conf *conf)
{
	conf_ref(conf); /* it may be the same */
	conf_unref(n->resolver_conf);
	n->resolver_conf = conf;
}

static int start_resolvers(struct task *tk, struct netd *n, struct conf *conf)
{
	_cleanup_(resolver_unrefp) struct resolver *routes = NULL, *clients = NULL;
	struct resolver_options options = {
		.servers = conf->dns.servers,
		.server_count = conf->dns.server_count,
		.anchors = anchors_for(n, conf),
	};
	int error;

	error = resolver_new(tk, &options, &routes);
	if (error == 0)
		error = resolver_new(tk, &options, &clients);
	if (error < 0) {
		log_error("resolver.failed", K_ERR(error),
			  K("trust_anchor", conf->dns.trust_anchor));
		return error;
	}
	resolver_unref(n->resolver);
	resolver_unref(n->client_resolver);
	n->resolver = TAKE(routes);
	n->client_resolver = TAKE(clients);
	use_conf(n, conf);
	log_info("resolver.ready", K_INT("servers", options.server_count),
		 K_Z("dnssec", options.anchors.n ? "yes" : "no"));
	return 0;
}

static int read_anchors(struct netd *n, const struct conf *conf)
{
	_cleanup_(freep) char *path = NULL;
	int r;

	buf_init(&n->anchors, ANCHOR_BYTES_MAX);
	buf_init(&n->system_anchors, ANCHOR_BYTES_MAX);
	r = anchor_read(ANCHOR_SYSTEM_PATH, &n->system_anchors);
	if (r < 0 && r != -ENOENT)
		log_warn("anchor.unreadable", K_Z("path", ANCHOR_SYSTEM_PATH), K_ERR(r));
	if (!conf->dns.trust_anchor.n)
		return 0;
	path = strndup(conf->dns.trust_anchor.p, conf->dns.trust_anchor.n);
	r = path ? anchor_read(path, &n->anchors) : -ENOMEM;
	/* Asked for and not to be had: running without validation would be weaker than what was
	 * asked. */
	if (r < 0)
		log_error("anchor.unreadable", K("path", conf->dns.trust_anchor), K_ERR(r));
	return r < 0 ? r : 0;
}

static int acquire(struct task *tk, struct worker *w, struct sandbox_request *request)
{
	struct netd *n = w->arg;
	int r;

	(void)request; /* nothing stays readable: anchors are kept in memory */
	n->worker = w;
	list_init(&n->requests);
	group_init(&n->tasks, w->loop);
	r = read_anchors(n, w->conf);
	if (r < 0)
		return r;
	routes_init(&n->routes, w->loop, &w->conf, &n->resolver, &n->tasks);
	return start_resolvers(tk, n, w->conf);
}

static bool same_servers(const struct conf *a, const struct conf *b)
{
	if (a->dns.server_count != b->dns.server_count)
		return false;
	for (size_t i = 0; i < a->dns.server_count; i++)
		if (!addr_same_ip(&a->dns.servers[i], &b->dns.servers[i]) ||
		    a->dns.servers[i].port != b->dns.servers[i].port)
			return false;
	return true;
}

static void reconfigured(struct task *tk, struct worker *w)
{
	struct netd *n = w->arg;
	const struct conf *old = n->resolver_conf;

	routes_expire(&n->routes);
	if (!str_eq(old->dns.trust_anchor, w->conf->dns.trust_anchor)) {
		/* The sandbox is closed: another file can be read by another life only. locumd
		 * starts it. */
		log_info("resolver.restart", K("trust_anchor", w->conf->dns.trust_anchor));
		exit(EXIT_SUCCESS);
	}
	if (!same_servers(old, w->conf))
		start_resolvers(tk, n, w->conf);
	else
		use_conf(n, w->conf);
	zones_renew(&n->zones);
}

/* New resolvers know nothing yet. Where they cannot be had, the old ones go on. */
static void forget(struct task *tk, struct netd *n)
{
	nsec now = task_now(tk);

	if (n->forgot_at && now - n->forgot_at < FORGET_EVERY)
		return;
	n->forgot_at = now;
	routes_expire(&n->routes);
	start_resolvers(tk, n, n->resolver_conf);
	zones_renew(&n->zones);
}

/* --- requests: one task each --- */

struct request {
	struct list link;
	struct netd *netd;
	struct channel *channel; /* NULL: the asker has gone */
	struct task *task;       /* NULL: not started yet */
	uint64_t call;
	bool is_dial, sts;
	char sts_id[STS_ID_SIZE];
	char name[DNS_NAME_SIZE]; /* a domain, or what a client says HELO with */
	struct addr address;      /* of a client; AF_UNSPEC: not asked about */
	uint32_t start;
	uint64_t route;
	nsec address_wait;
	union {
		struct {
			struct dialled dialled;
			Locum__Tlsa tlsa[DNS_TLSA_MAX], *tlsas[DNS_TLSA_MAX];
		};
		struct {
			struct client_facts facts;
			Locum__ListAnswer listing[CLIENT_LISTS_MAX], *listings[CLIENT_LISTS_MAX];
		};
	};
};

static void request_freep(struct request **q)
{
	struct netd *n = (*q)->netd;

	list_remove(&(*q)->link);
	if ((*q)->is_dial)
		n->dials--;
	else
		n->clients--;
	free(*q);
}

static void fill_tlsa(struct request *q, Locum__Dialed *answer)
{
	struct dns_tlsa_answer *from = &q->dialled.tlsa;

	for (size_t i = 0; i < from->count; i++) {
		const struct dns_tlsa *one = &from->record[i];

		locum__tlsa__init(&q->tlsa[i]);
		q->tlsa[i].usage = one->usage;
		q->tlsa[i].selector = one->selector;
		q->tlsa[i].matching = one->matching;
		q->tlsa[i].data = (ProtobufCBinaryData){ .len = one->length,
							 .data = from->bytes + one->from };
		q->tlsas[i] = &q->tlsa[i];
	}
	answer->tlsa = q->tlsas;
	answer->n_tlsa = from->count;
}

static void reply_dialled(struct task *tk, struct request *q)
{
	struct dialled *d = &q->dialled;
	Locum__Dialed answer = LOCUM__DIALED__INIT;
	IPC_PACKET(packet, DIALED, dialed, &answer);

	if (!q->channel)
		return;
	answer.attempt = d->attempt;
	answer.text = d->text;
	answer.destination = d->destination;
	answer.index = d->index;
	answer.count = d->count;
	answer.route = d->route;
	answer.host = d->host;
	answer.address = d->address;
	answer.secure = d->secure;
	answer.mx = d->mx;
	answer.dane = d->dane;
	answer.tlsa_base = d->base;
	answer.sts_id = d->sts_id;
	fill_tlsa(q, &answer);
	ipc_reply(tk, q->channel, q->call, &packet, d->fd, task_in(tk, REPLY_WAIT));
}

static void run_dial(struct task *tk, void *arg)
{
	_cleanup_(request_freep) struct request *q = arg;
	_cleanup_(conf_unrefp) struct conf *conf = conf_ref(q->netd->worker->conf);

	q->task = tk;
	if (q->sts)
		dial_policy(tk, q->netd->resolver, conf, str_of(q->name), str_of(q->sts_id),
			    &q->dialled);
	else
		dial(tk, &q->netd->routes, str_of(q->name), q->start, q->route, q->address_wait,
		     &q->dialled);
	reply_dialled(tk, q);
	closep(&q->dialled.fd);
}

static void reply_facts(struct task *tk, struct request *q)
{
	struct client_facts *f = &q->facts;
	Locum__ClientFacts answer = LOCUM__CLIENT_FACTS__INIT;
	IPC_PACKET(packet, CLIENT_FACTS, client_facts, &answer);

	for (size_t i = 0; i < f->listed; i++) {
		locum__list_answer__init(&q->listing[i]);
		q->listing[i].list = (char *)f->listing[i].list.p; /* a conf's strings end in NUL */
		q->listing[i].code = f->listing[i].code;
		q->listings[i] = &q->listing[i];
	}
	answer.name = f->name;
	answer.reverse = f->reverse;
	answer.confirmed = f->confirmed;
	answer.helo = f->helo;
	answer.lists = q->listings;
	answer.n_lists = f->listed;
	if (q->channel)
		ipc_reply(tk, q->channel, q->call, &packet, -1, task_in(tk, REPLY_WAIT));
}

static void run_client(struct task *tk, void *arg)
{
	_cleanup_(request_freep) struct request *q = arg;
	_cleanup_(conf_unrefp) struct conf *conf = conf_ref(q->netd->worker->conf);
	const struct addr *address = q->address.family == AF_UNSPEC ? NULL : &q->address;

	q->task = tk;
	client_ask(tk, q->netd->client_resolver, &q->netd->zones, conf, address, str_of(q->name),
		   &q->facts);
	reply_facts(tk, q);
}

/* The counters bound what is under way; at the bound the asker is told at once. */
static int start_request(struct netd *n, struct channel *ch, const Locum__Packet *p)
{
	bool is_dial = p->body_case == LOCUM__PACKET__BODY_DIAL;
	struct request *q;
	int r;

	if (is_dial ? n->dials >= NETD_DIALS_MAX : n->clients >= NETD_CLIENTS_MAX)
		return -EAGAIN;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct request){ .netd = n, .channel = ch, .call = p->call, .is_dial = is_dial };
	if (is_dial) {
		str_copy(str_of(p->dial->domain), q->name, sizeof(q->name));
		q->start = p->dial->start;
		q->route = p->dial->route;
		q->sts = p->dial->sts;
		str_copy(str_of(p->dial->sts_id), q->sts_id, sizeof(q->sts_id));
		q->address_wait = p->dial->address_ms * NSEC_MS;
		n->dials++;
	} else {
		/* A longer name is none, and a cut one another. */
		if (!str_copy(str_of(p->ask_client->helo), q->name, sizeof(q->name)))
			q->name[0] = '\0';
		addr_parse_ip(str_of(p->ask_client->address), 0, &q->address);
		n->clients++;
	}
	list_append(&n->requests, &q->link);
	r = task_start(n->worker->loop, &n->tasks, is_dial ? "dial" : "client",
		       is_dial ? run_dial : run_client, q);
	if (r < 0)
		request_freep(&q);
	return r;
}

static void refuse(struct task *tk, struct channel *ch, const Locum__Packet *p)
{
	Locum__Dialed dialled = LOCUM__DIALED__INIT;
	Locum__ClientFacts facts = LOCUM__CLIENT_FACTS__INIT;
	Locum__Packet packet = LOCUM__PACKET__INIT;

	if (p->body_case == LOCUM__PACKET__BODY_DIAL) {
		dialled.text = (char[]){ "too many dials at once" };
		packet.body_case = LOCUM__PACKET__BODY_DIALED;
		packet.dialed = &dialled;
	} else {
		packet.body_case = LOCUM__PACKET__BODY_CLIENT_FACTS;
		packet.client_facts = &facts;
	}
	ipc_reply(tk, ch, p->call, &packet, -1, task_in(tk, REPLY_WAIT));
}

static void message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct worker *w = arg;
	int r;

	if (m->packet->body_case == LOCUM__PACKET__BODY_FORGET_DNS)
		forget(tk, w->arg);
	if (m->packet->body_case != LOCUM__PACKET__BODY_DIAL &&
	    m->packet->body_case != LOCUM__PACKET__BODY_ASK_CLIENT)
		return;
	r = start_request(w->arg, ch, m->packet);
	if (r < 0)
		refuse(tk, ch, m->packet);
}

/* --- the rest of the life --- */

static int serve(struct task *tk, struct worker *w)
{
	struct netd *n = w->arg;

	(void)tk;
	return zones_init(&n->zones, w->loop, &w->conf, &n->client_resolver);
}

static void peer(struct task *tk, struct worker *w, struct channel *ch)
{
	(void)tk;
	(void)w;
	(void)ch;
}

static void peer_gone(struct worker *w, struct channel *ch)
{
	struct netd *n = w->arg;

	LIST_EACH (&n->requests, struct request, link, q) {
		if (q->channel != ch)
			continue;
		q->channel = NULL;
		if (q->task)
			task_cancel(q->task);
	}
}

static void finish(struct task *tk, struct worker *w)
{
	struct netd *n = w->arg;

	zones_stop(tk, &n->zones);
	/* Who dials is ending too: what cannot be connected soon will not be used. */
	if (group_wait(tk, &n->tasks, task_in(tk, SHUTDOWN_WAIT)) < 0) {
		group_cancel(&n->tasks);
		group_wait(tk, &n->tasks, task_in(tk, SHUTDOWN_WAIT));
	}
}

const struct worker_hooks netd_hooks = {
	.self = LOCUM__PROCESS__NETD,
	.acquire = acquire,
	.serve = serve,
	.reconfigured = reconfigured,
	.peer = peer,
	.peer_gone = peer_gone,
	.message = message,
	.shutdown = finish,
};
