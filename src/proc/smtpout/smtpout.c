#include "proc/smtpout/smtpout.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "net/tls.h"
#include "proc/smtpout/learn.h"
#include "task/sys.h"

#include <fcntl.h>
#include <stdlib.h>

/* How long what is in progress may still take once we are told to stop. */
#define FINISH_TIME (30 * NSEC_S)
#define QUIT_TIME (3 * NSEC_S)
#define REPLY_TIME NSEC_MINUTE
#define DECLINE_TIME NSEC_S
#define REPORT_TIME NSEC_S
#define REPORT_BYTES_MAX ((size_t)8 * 1024)
#define AUTHORITY_BYTES_MAX ((size_t)4 << 20)

void smtpout_fill_host(Locum__Host *to, const struct contact *contact)
{
	const struct {
		char **field;
		str value;
	} fields[] = {
		{ &to->destination, contact->destination },
		{ &to->name, contact->host },
		{ &to->address, contact->address },
		{ &to->tls_version, contact->tls_version },
		{ &to->tls_cipher, contact->tls_cipher },
	};

	for (size_t i = 0; i < ELEMENTS(fields); i++) {
		if (fields[i].value.p)
			*fields[i].field = (char *)fields[i].value.p;
	}
	to->greeted = contact->greeted;
	to->offers = contact->offers;
	to->size_bytes = contact->size_bytes;
}

int smtpout_introduction(const struct smtpout *so, const Locum__Envelope *e, const char *domain,
			 struct arena *arena, struct introduction *who,
			 const struct introduction **ret_who)
{
	const struct conf_domain *d = conf_domain(so->worker->conf, str_of(domain));
	int r = introduction_make(e, arena, who);

	if (r < 0)
		return r;
	*ret_who = who;
	switch (d ? d->evidence : EVIDENCE_OFFERED) {
	case EVIDENCE_OFFERED:
		break;
	case EVIDENCE_XCLIENT:
		who->xforward = false;
		break;
	case EVIDENCE_XFORWARD:
		who->xclient = false;
		break;
	case EVIDENCE_HEADER:
	case EVIDENCE_NONE:
		*ret_who = NULL;
		break;
	}
	return 0;
}

const uint8_t *smtpout_evidence_key(const struct smtpout *so, const char *domain)
{
	const struct conf_domain *d = conf_domain(so->worker->conf, str_of(domain));

	return so->has_evidence_key && !(d && d->evidence == EVIDENCE_NONE) ? so->evidence_key
									    : NULL;
}

/* Locumd's, before the first peer. */
static void take_evidence_key(struct smtpout *so, const Locum__EvidenceKey *m)
{
	if (m->key.len != sizeof(so->evidence_key)) {
		log_error("evidence.no_key");
		return;
	}
	memcpy(so->evidence_key, m->key.data, sizeof(so->evidence_key));
	explicit_bzero(m->key.data, m->key.len);
	so->has_evidence_key = true;
}

void smtpout_reply(struct task *tk, struct smtpout *so, uint64_t life, uint64_t call,
		   Locum__Packet *packet)
{
	int r;

	/* A spoold that died meanwhile replays and delivers again: a duplicate, never a loss. */
	if (!so->spoold || so->spoold_life != life)
		return;
	r = ipc_reply(tk, so->spoold, call, packet, -1, task_in(tk, REPLY_TIME));
	if (r < 0 && r != -EPIPE)
		log_error("smtpout.reply_lost", K_ERR(r));
}

/* Says at once that nothing was tried. */
static void decline(struct task *tk, struct channel *ch, const Locum__Packet *question,
		    const char *why)
{
	Locum__Delivered delivered = LOCUM__DELIVERED__INIT;
	Locum__Probed probed = LOCUM__PROBED__INIT;
	IPC_PACKET(packet, DELIVERED, delivered, &delivered);

	delivered.text = probed.text = (char *)why;
	if (question->body_case == LOCUM__PACKET__BODY_PROBE) {
		packet.body_case = LOCUM__PACKET__BODY_PROBED;
		packet.probed = &probed;
	}
	ipc_reply(tk, ch, question->call, &packet, -1, task_in(tk, DECLINE_TIME));
}

/* On to netd, before the dials that come behind it. A netd that is away has nothing to forget. */
static void forget_dns(struct task *tk, struct smtpout *so)
{
	Locum__ForgetDns forget = LOCUM__FORGET_DNS__INIT;
	IPC_PACKET(packet, FORGET_DNS, forget_dns, &forget);

	ipc_send(tk, so->netd, &packet, -1, task_in(tk, NSEC_S));
}

static void message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct worker *w = arg;
	struct smtpout *so = w->arg;
	int r = -EINVAL;

	if (m->packet->body_case == LOCUM__PACKET__BODY_EVIDENCE_KEY) {
		take_evidence_key(so, m->packet->evidence_key);
		return;
	}
	if (m->packet->body_case == LOCUM__PACKET__BODY_FORGET_DNS) {
		forget_dns(tk, so);
		return;
	}
	if (channel_peer(ch) == LOCUM__PROCESS__SMTPIN) {
		lives_message(tk, so, ch, m);
		return;
	}
	if (m->packet->body_case == LOCUM__PACKET__BODY_ASK_ABSENT) {
		learn_ask_absent(so, str_of(m->packet->ask_absent->domain));
		return;
	}
	if (so->stopping) {
		decline(tk, ch, m->packet, "smtpout is shutting down");
		return;
	}
	if (m->packet->body_case == LOCUM__PACKET__BODY_DELIVER)
		r = deliver_start(so, m);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_PROBE)
		r = probe_start(so, m);
	else
		return;
	if (r < 0) {
		log_error("smtpout.no_room", K_ERR(r));
		if (m->packet)
			decline(tk, ch, m->packet, "smtpout has no room for another delivery");
	}
}

struct authorities {
	str pem;
	struct ssl_ctx_st *context;
	int result;
};

static void make_context(void *arg)
{
	struct authorities *a = arg;

	a->result = tls_client_new(a->pem, &a->context);
}

static int read_authorities(const char *path, char *to, size_t size)
{
	_cleanup_(closep) int fd = sys_open_at(AT_FDCWD, path, O_RDONLY, 0);
	ssize_t n = fd < 0 ? fd : sys_read_at(fd, to, size, 0);

	return n == (ssize_t)size ? -EFBIG : (int)n;
}

/* Without them only DANE can verify a host; what must be verified otherwise waits. */
static int load_authorities(struct task *tk, struct smtpout *so, const struct conf *conf)
{
	_cleanup_(freep) char *bytes = malloc(AUTHORITY_BYTES_MAX);
	struct authorities a = { 0 };
	int n;

	so->tls_ca = strndup(conf->tls_ca.n ? conf->tls_ca.p : "", conf->tls_ca.n);
	if (!bytes || !so->tls_ca)
		return -ENOMEM;
	n = read_authorities(so->tls_ca, bytes, AUTHORITY_BYTES_MAX);
	a.pem = str_mem(bytes, (size_t)MAX(n, 0));
	task_on_main_stack(tk, make_context, &a);
	if (n < 0 || a.result == -EINVAL) {
		log_warn("tls_ca.unusable", K_Z("tls_ca", so->tls_ca), K_ERR(n < 0 ? n : a.result));
		a.pem = STR_NONE;
		if (a.result == -EINVAL)
			task_on_main_stack(tk, make_context, &a);
	}
	so->tls = a.context;
	return a.result;
}

static int acquire(struct task *tk, struct worker *w, struct sandbox_request *request)
{
	struct smtpout *so = w->arg;

	(void)request;
	so->conf = &w->conf;
	return load_authorities(tk, so, w->conf);
}

static bool goes_by_mx(const struct conf_domain *d)
{
	for (size_t i = 0; i < d->primary_count; i++)
		if (d->primary[i].mx)
			return true;
	return false;
}

static void needs(struct task *tk, struct outbound *o, str domain, nsec deadline,
		  struct arena *arena, struct tls_needs *ret)
{
	static const enum tls_demand of[] = {
		[PRIMARY_TLS_MAY] = TLS_MAY,
		[PRIMARY_TLS_ENCRYPT] = TLS_ENCRYPT,
		[PRIMARY_TLS_VERIFY] = TLS_VERIFY,
	};
	struct smtpout *so = CONTAINER(o, struct smtpout, outbound);
	const struct conf_domain *d = conf_domain(*so->conf, domain);

	if (!d)
		return;
	ret->least = of[d->primary_tls];
	if (goes_by_mx(d)) /* d may be gone after this */
		ret->sts = sts_cache_get(tk, &so->sts, domain, deadline, arena, &ret->sts_problem);
}

static ProtobufCBinaryData bytes_of_one(str s)
{
	return (ProtobufCBinaryData){ .len = s.n, .data = (uint8_t *)s.p };
}

/* The octets stay the strings'; NULL: no memory. */
static ProtobufCBinaryData *bytes_of(struct arena *a, const str *from, size_t count)
{
	ProtobufCBinaryData *to = ARENA_ARRAY(a, ProtobufCBinaryData, count + 1);

	for (size_t i = 0; to && i < count; i++)
		to[i] = bytes_of_one(from[i]);
	return to;
}

/* To spoold, which counts. What happens while it is away is not counted. */
static void report_tls(struct task *tk, struct outbound *o, str domain,
		       const struct tlsrpt_session *s)
{
	struct smtpout *so = CONTAINER(o, struct smtpout, outbound);
	_cleanup_(arena_done) struct arena a;
	Locum__TlsSession m = LOCUM__TLS_SESSION__INIT;
	IPC_PACKET(packet, TLS_SESSION, tls_session, &m);

	arena_init(&a, REPORT_BYTES_MAX);
	m.domain = (char *)arena_str(&a, domain).p;
	m.policy_domain = (char *)arena_str(&a, s->policy_domain).p;
	m.address = (char *)arena_str(&a, s->address).p;
	m.policy_text = bytes_of(&a, s->text, s->text_count);
	m.mx = bytes_of(&a, s->mx, s->mx_count);
	if (!m.domain || !m.policy_domain || !m.address || !m.policy_text || !m.mx)
		return;
	m.n_policy_text = s->text_count;
	m.n_mx = s->mx_count;
	m.policy_type = s->type;
	m.result = s->result;
	m.host = bytes_of_one(s->host);
	m.reason = bytes_of_one(s->reason);
	ipc_send(tk, so->spoold, &packet, -1, task_in(tk, REPORT_TIME));
}

static int serve(struct task *tk, struct worker *w)
{
	struct smtpout *so = w->arg;
	int r;

	(void)tk;
	so->loop = w->loop;
	so->worker = w;
	so->dialer.dial = dial_by_netd;
	group_init(&so->jobs, w->loop);
	signal_init(&so->netd_came);
	so->netd_wait = DIAL_NETD_WAIT;
	r = lives_init(so);
	if (r == 0)
		r = outbound_init(&so->outbound, w->loop, &so->dialer, so->tls, w->conf->hostname);
	so->outbound.needs = needs;
	so->outbound.report = report_tls;
	sts_cache_init(&so->sts, w->loop, &so->jobs, &so->dialer, so->tls);
	return r;
}

static void reconfigured(struct task *tk, struct worker *w)
{
	struct smtpout *so = w->arg;

	(void)tk;
	str_copy(w->conf->hostname, so->outbound.our_name, sizeof(so->outbound.our_name));
	if (!str_eq(w->conf->tls_ca, str_of(so->tls_ca)))
		/* The sandbox is closed: another file can be read by another life only. */
		log_warn("tls_ca.restart_needed", K("tls_ca", w->conf->tls_ca),
			 K_Z("in_use", so->tls_ca));
	pool_empty(&so->outbound.pool);
}

static void peer(struct task *tk, struct worker *w, struct channel *ch)
{
	struct smtpout *so = w->arg;

	(void)tk;
	if (channel_peer(ch) == LOCUM__PROCESS__NETD) {
		so->netd = ch;
		signal_raise(&so->netd_came);
	}
	if (channel_peer(ch) == LOCUM__PROCESS__SPOOLD) {
		so->spoold = ch;
		so->spoold_life++;
	}
	if (channel_peer(ch) == LOCUM__PROCESS__STATE)
		so->state = ch;
}

static void peer_gone(struct worker *w, struct channel *ch)
{
	struct smtpout *so = w->arg;

	if (so->netd == ch)
		so->netd = NULL;
	if (so->spoold == ch)
		so->spoold = NULL;
	if (channel_peer(ch) == LOCUM__PROCESS__SMTPIN)
		lives_forget(so, ch);
	if (so->state == ch)
		so->state = NULL;
}

static void finish(struct task *tk, struct worker *w)
{
	struct smtpout *so = w->arg;

	so->stopping = true;
	if (group_wait(tk, &so->jobs, task_in(tk, FINISH_TIME)) < 0) {
		group_cancel(&so->jobs);
		group_wait(tk, &so->jobs, NEVER);
	}
	lives_close(tk, so);
	outbound_close(tk, &so->outbound, task_in(tk, QUIT_TIME));
	outbound_done(&so->outbound);
	sts_cache_done(&so->sts);
	tls_context_freep(&so->tls);
	free(so->tls_ca);
}

const struct worker_hooks smtpout_hooks = {
	.self = LOCUM__PROCESS__SMTPOUT,
	.acquire = acquire,
	.serve = serve,
	.reconfigured = reconfigured,
	.peer = peer,
	.peer_gone = peer_gone,
	.message = message,
	.shutdown = finish,
};
