#include "proc/worker.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "proc/memory_file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define SEND_TIME (10 * NSEC_S)

struct peer {
	struct list link;
	struct channel *ch;
};

/* What a worker has that its hooks need not see. */
struct life {
	struct worker w;
	struct list peers;
	struct sandbox_request request;
	char empty_dir[1024];
	char missing[512];
	int sandbox_result;
	bool serving, ending;
	int status;
};

static struct life *life_of(struct worker *w)
{
	return CONTAINER(w, struct life, w);
}

static void end(struct life *l, int status)
{
	l->ending = true;
	l->status = status;
	loop_stop(l->w.loop);
}

enum log_level worker_log_level(void)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {
		{ "debug", LOG_DEBUG },
		{ "info", LOG_INFO },
		{ "warning", LOG_WARN },
		{ "error", LOG_ERROR },
	};
	const char *asked = getenv("LOCUM_LOG");

	for (size_t i = 0; asked && i < ELEMENTS(levels); i++)
		if (strcmp(levels[i].name, asked) == 0)
			return levels[i].level;
	return LOG_INFO;
}

static const struct {
	Locum__Process self;
	enum sandbox_profile profile;
	bool several;
} kinds[] = {
	{ LOCUM__PROCESS__SMTPIN, SANDBOX_SMTPIN, true },
	{ LOCUM__PROCESS__NETD, SANDBOX_NETD, false },
	{ LOCUM__PROCESS__SPOOLD, SANDBOX_SPOOLD, false },
	{ LOCUM__PROCESS__SMTPOUT, SANDBOX_SMTPOUT, false },
	{ LOCUM__PROCESS__STATE, SANDBOX_STATE, false },
};

static size_t kind_of(Locum__Process self)
{
	for (size_t i = 0; i < ELEMENTS(kinds); i++)
		if (kinds[i].self == self)
			return i;
	must(false && "a worker that the table does not know");
}

static void open_log(struct life *l)
{
	size_t kind = kind_of(l->w.self);
	char name[32];

	if (kinds[kind].several)
		snprintf(name, sizeof(name), "%s-%u", sandbox_name(kinds[kind].profile),
			 l->w.index);
	else
		snprintf(name, sizeof(name), "%s", sandbox_name(kinds[kind].profile));
	log_open(name, worker_log_level(), l->w.conf && l->w.conf->log_json ? LOG_JSON : LOG_TEXT);
}

/* --- the snapshot --- */

static int read_snapshot(struct ipc_message *m, struct conf **ret_conf)
{
	_cleanup_(buf_done) struct buf packed = { 0 };
	_cleanup_(closep) int fd = ipc_take_fd(m, 0);
	int r;

	if (fd < 0)
		return -EPROTO;
	r = memory_file_read(fd, CONF_PACKED_MAX, &packed);
	if (r < 0)
		return r;
	r = conf_unpack(buf_str(&packed), ret_conf);
	explicit_bzero(packed.p, packed.n); /* there may be keys in it */
	return r;
}

/* --- from birth to Ready --- */

/* libseccomp wants a deeper stack than a task has. */
static void close_on_main_stack(void *arg)
{
	struct life *l = arg;

	l->sandbox_result = sandbox_close(&l->request, l->missing, sizeof(l->missing));
}

static int acquire(struct task *tk, struct life *l, const Locum__Start *start)
{
	struct worker *w = &l->w;
	int r;

	snprintf(l->empty_dir, sizeof(l->empty_dir), "%.*s/empty", STR_ARG(w->conf->state_dir));
	l->request = (struct sandbox_request){
		.profile = kinds[kind_of(w->self)].profile,
		.uid = start->uid,
		.gid = start->gid,
		.empty_dir = l->empty_dir,
		.file_bytes_max = w->conf->limits.message_bytes,
	};
	r = sandbox_act_as(start->uid, start->gid);
	if (r < 0) {
		log_error("user.failed", K_INT("uid", start->uid), K_ERR(r));
		return r;
	}
	r = w->hooks->acquire ? w->hooks->acquire(tk, w, &l->request) : 0;
	if (r < 0) {
		log_error("start.failed", K_ERR(r));
		return r;
	}
	task_on_main_stack(tk, close_on_main_stack, l);
	if (l->sandbox_result < 0)
		log_error("sandbox.failed", K_Z("step", l->missing));
	return l->sandbox_result;
}

static void serve_main(struct task *tk, void *arg)
{
	struct life *l = arg;
	int r = l->w.hooks->serve(tk, &l->w);

	if (r >= 0 || l->ending)
		return;
	log_error("serve.failed", K_ERR(r));
	end(l, EXIT_FAILURE);
}

static int become_ready(struct task *tk, struct life *l, const Locum__Start *start)
{
	Locum__Ready ready = LOCUM__READY__INIT;
	IPC_PACKET(packet, READY, ready, &ready);
	int r;

	r = acquire(tk, l, start);
	if (r < 0)
		return r;
	ready.sandbox_missing = l->missing;
	r = ipc_send(tk, l->w.control, &packet, -1, task_in(tk, SEND_TIME));
	if (r < 0)
		return r;
	r = task_start(l->w.loop, NULL, "serve", serve_main, l);
	if (r < 0)
		return r;
	l->serving = true;
	/* Peers and listeners may be waiting in the socket: serve() comes first. */
	return task_yield(tk);
}

static int on_start(struct task *tk, struct life *l, struct ipc_message *m)
{
	const Locum__Start *start = m->packet->start;
	struct conf *fresh, *old = l->w.conf;
	int r;

	r = read_snapshot(m, &fresh);
	if (r < 0) {
		log_error("snapshot.failed", K_ERR(r));
		return r;
	}
	l->w.conf = fresh;
	conf_unref(old);
	if (!l->serving) {
		l->w.index = start->index;
		open_log(l);
		return become_ready(tk, l, start);
	}
	open_log(l);
	if (l->w.hooks->reconfigured)
		l->w.hooks->reconfigured(tk, &l->w);
	return 0;
}

/* --- peers --- */

static void peer_end(struct life *l, struct peer *p)
{
	list_remove(&p->link);
	if (l->w.hooks->peer_gone)
		l->w.hooks->peer_gone(&l->w, p->ch);
	channel_free(p->ch);
	free(p);
}

static void on_peer_closed(struct channel *ch, int r, void *arg)
{
	struct life *l = life_of(arg);

	if (r < 0 && r != -ECONNRESET && r != -ECANCELED)
		log_error("peer.broken", K_INT("peer", channel_peer(ch)), K_ERR(r));
	LIST_EACH (&l->peers, struct peer, link, p) {
		if (p->ch != ch)
			continue;
		peer_end(l, p);
		return;
	}
}

static int on_peer(struct task *tk, struct life *l, struct ipc_message *m)
{
	const Locum__Peer *of = m->packet->peer;
	_cleanup_(freep) struct peer *p = calloc(1, sizeof(*p));
	_cleanup_(closep) int fd = ipc_take_fd(m, 0);
	int r;

	if (!p || fd < 0)
		return -EPROTO;
	LIST_EACH (&l->peers, struct peer, link, old)
		if (channel_peer(old->ch) == of->process && channel_index(old->ch) == of->index)
			peer_end(l, old);
	r = channel_new(l->w.loop, fd, l->w.self, of->process, of->index, l->w.hooks->message,
			on_peer_closed, &l->w, &p->ch);
	if (r < 0)
		return r;
	(void)TAKE_FD(fd);
	list_append(&l->peers, &p->link);
	if (l->w.hooks->peer)
		l->w.hooks->peer(tk, &l->w, p->ch);
	(void)TAKE(p);
	return 0;
}

static int on_listener(struct task *tk, struct life *l, struct ipc_message *m)
{
	const Locum__Listener *of = m->packet->listener;
	int fd = ipc_take_fd(m, 0);

	if (fd < 0)
		return -EPROTO;
	if (l->w.hooks->listener)
		l->w.hooks->listener(tk, &l->w, str_of(of->name), fd, of->last);
	else
		sys_close(fd);
	return 0;
}

/* --- the end --- */

static void shutdown_main(struct task *tk, void *arg)
{
	struct life *l = arg;

	if (l->w.hooks->shutdown)
		l->w.hooks->shutdown(tk, &l->w);
	end(l, EXIT_SUCCESS);
}

static int on_shutdown(struct task *tk, struct life *l, const Locum__Shutdown *shutdown)
{
	bool patient = shutdown->patience_s > 0;

	if (!patient || !l->ending)
		l->w.finish_by = patient ? task_in(tk, shutdown->patience_s * NSEC_S) : 0;
	if (l->ending)
		return 0;
	l->ending = true;
	return task_start(l->w.loop, NULL, "shutdown", shutdown_main, l);
}

/* locumd is gone. Everything here survives a crash, and its successor wants our place. */
static void on_control_closed(struct channel *ch, int r, void *arg)
{
	(void)ch;
	(void)r;
	(void)arg;
	_exit(EXIT_FAILURE);
}

static void on_control(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct life *l = life_of(arg);
	Locum__Packet__BodyCase body = m->packet->body_case;
	int r = 0;

	if (body == LOCUM__PACKET__BODY_START)
		r = on_start(tk, l, m);
	else if (!l->serving)
		r = -EPROTO;
	else if (body == LOCUM__PACKET__BODY_PEER)
		r = on_peer(tk, l, m);
	else if (body == LOCUM__PACKET__BODY_LISTENER)
		r = on_listener(tk, l, m);
	else if (body == LOCUM__PACKET__BODY_SHUTDOWN)
		r = on_shutdown(tk, l, m->packet->shutdown);
	else
		l->w.hooks->message(tk, ch, m, arg);
	if (r < 0 && !l->ending)
		end(l, EXIT_FAILURE);
}

/* --- birth --- */

/* A terminal sends ^C to all of us: what it means is for locumd to decide. */
static void ignore_signals(void)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGXFSZ };

	for (size_t i = 0; i < ELEMENTS(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

static bool started_by_locumd(void)
{
	struct stat st;

	return fstat(WORKER_CONTROL_FD, &st) == 0 && S_ISSOCK(st.st_mode);
}

int worker_live(const struct worker_hooks *hooks, void *arg, int control)
{
	struct life *l = calloc(1, sizeof(*l)); /* as long as the process */
	struct worker *w = &l->w;
	int r;

	must(l);
	w->self = hooks->self;
	w->hooks = hooks;
	w->arg = arg;
	list_init(&l->peers);
	open_log(l);
	r = loop_new(&w->loop);
	if (r == 0)
		r = channel_new(w->loop, control, hooks->self, LOCUM__PROCESS__LOCUMD, 0,
				on_control, on_control_closed, w, &w->control);
	if (r == 0)
		r = loop_run(w->loop);
	if (r < 0) {
		log_error("loop.failed", K_ERR(r));
		return EXIT_FAILURE;
	}
	return l->status;
}

int worker_run(const struct worker_hooks *hooks, void *arg)
{
	if (!started_by_locumd()) {
		fprintf(stderr, "%s is started by locumd\n",
			sandbox_name(kinds[kind_of(hooks->self)].profile));
		return 2;
	}
	ignore_signals();
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	fcntl(WORKER_CONTROL_FD, F_SETFD, FD_CLOEXEC);
	return worker_live(hooks, arg, WORKER_CONTROL_FD);
}
