/* Life of the process's state, and who talks to it. */
#include "proc/spoold/spoold.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#include <stdio.h>

#define SEGMENT_BYTES ((uint64_t)64 << 20)
#define BIG_BODY_BYTES ((uint64_t)1 << 20)
#define WINDOW_MAX 32
#define DELIVERIES_MAX 500
#define PROBES_MAX 500
#define LIVE_MAX 2000
#define STOP_WAIT (30 * NSEC_S)
#define SENDERS_WAIT (2 * NSEC_S)

static void destination_changed(void *arg, const struct sched_domain *domain)
{
	known_changed(arg, str_of(domain->name));
}

static int scheduler_new(struct spoold *sp)
{
	struct sched_options options = {
		.window_max = WINDOW_MAX,
		.in_flight_max = DELIVERIES_MAX,
		.probes_max = PROBES_MAX,
		.live_max = LIVE_MAX,
		.notice = house_notice,
		.changed = destination_changed,
		.notice_arg = sp,
	};

	sys_random(options.seed, sizeof(options.seed));
	return sched_new(&options, &sp->sched);
}

static struct spool_options spool_options_of(const struct spoold *sp)
{
	struct spool_options options = {
		.segment_bytes = sp->conf->spool.segment_bytes,
		.reserve_bytes = sp->conf->spool.reserve_bytes,
	};

	if (options.segment_bytes == 0)
		options.segment_bytes = SEGMENT_BYTES;
	/* Several fit into a segment, however small it is configured. */
	options.big_body_bytes = MIN(BIG_BODY_BYTES, options.segment_bytes / 4);
	return options;
}

static int open_spool(struct spoold *sp, const char *dir)
{
	struct spool_options options = spool_options_of(sp);

	return spool_open(dir, &options, &sp->spool);
}

/* --- configuration --- */

/* "a:25,b:25" where the hosts are named; empty where DNS names them. */
static void destination_hint(const struct conf_domain *d, struct buf *to)
{
	for (size_t i = 0; i < d->primary_count; i++) {
		const struct conf_hop *hop = &d->primary[i];

		if (hop->mx || buf_addf(to, "%s%.*s:%u", i ? "," : "", STR_ARG(hop->host),
					(unsigned)hop->port) < 0) {
			buf_reset(to);
			return;
		}
	}
}

static int configure_domain(struct spoold *sp, const struct conf_domain *d)
{
	_cleanup_(buf_done) struct buf hint = { 0 };
	struct sched_domain *domain;
	int r = sched_domain_get(sp->sched, d->name, sys_now(), &domain);

	if (r < 0)
		return r;
	buf_init(&hint, 512);
	destination_hint(d, &hint);
	sched_domain_configure(sp->sched, domain, true, d->hold, sys_now());
	sched_domain_hint(sp->sched, domain, buf_str(&hint), sys_now());
	sched_domain_watch(sp->sched, domain, d->acceptance != ACCEPT_QUEUE, sys_now());
	return 0;
}

static int configure(struct spoold *sp)
{
	struct sched_domain *domain, *next;
	int r;

	for (domain = sched_domain_walk(sp->sched, NULL); domain; domain = next) {
		next = sched_domain_walk(sp->sched, domain);
		if (conf_domain(sp->conf, str_of(domain->name)))
			continue;
		if (domain->configured && !list_empty(&domain->entries))
			log_warn("domain.not_configured", K_Z("domain", domain->name),
				 K_INT("queued", domain->queued), K_INT("held", domain->held));
		sched_domain_watch(sp->sched, domain, false, sys_now());
		sched_domain_configure(sp->sched, domain, false, NEVER, sys_now());
	}
	for (size_t i = 0; i < sp->conf->domain_count; i++) {
		r = configure_domain(sp, &sp->conf->domains[i]);
		if (r < 0)
			return r;
	}
	signal_raise(&sp->work);
	return known_configure(sp);
}

void spoold_reconfigure(struct spoold *sp, struct conf *conf)
{
	struct spool_options options;
	int r;

	conf_unref(sp->conf);
	sp->conf = conf_ref(conf);
	options = spool_options_of(sp);
	spool_set_options(sp->spool, &options);
	r = configure(sp);
	if (r < 0)
		log_error("spoold.reconfigure", K_ERR(r));
}

/* --- life --- */

static void init(struct spoold *sp, struct loop *loop, struct conf *conf)
{
	sp->loop = loop;
	sp->conf = conf_ref(conf);
	sp->started_wall = sys_now_wall();
	sp->smtpout_gone_at = sys_now();
	sp->accepting = true;
	map_init(&sp->messages);
	places_init(sp);
	known_init(&sp->known);
	tls_reports_init(&sp->tls_reports);
	finished_init(&sp->finished);
	list_init(&sp->committing);
	list_init(&sp->unsaved);
	list_init(&sp->smtpins);
	list_init(&sp->clients);
	signal_init(&sp->batch_changed);
	signal_init(&sp->work);
	group_init(&sp->senders, loop);
	group_init(&sp->deliveries, loop);
	group_init(&sp->probes, loop);
	group_init(&sp->commands, loop);
	group_init(&sp->house, loop);
}

int spoold_new(struct loop *loop, struct conf *conf, const char *dir, struct spoold **ret_spoold)
{
	_cleanup_(spoold_freep) struct spoold *sp = calloc(1, sizeof(*sp));
	int r;

	if (!sp)
		return -ENOMEM;
	init(sp, loop, conf);
	str_copy(str_of(dir), sp->dir, sizeof(sp->dir));
	r = scheduler_new(sp);
	if (r == 0)
		r = configure(sp);
	if (r == 0)
		r = open_spool(sp, dir);
	if (r == 0)
		r = replay(sp);
	if (r == 0)
		r = spool_usage(sp->spool, &sp->usage);
	if (r < 0)
		return r;
	known_load(sp);
	*ret_spoold = TAKE(sp);
	return 0;
}

int spoold_start(struct spoold *sp)
{
	int r = task_start(sp->loop, &sp->house, "committer", committer, sp);

	if (r == 0)
		r = task_start(sp->loop, &sp->house, "dispatcher", dispatcher, sp);
	if (r == 0)
		r = task_start(sp->loop, &sp->house, "housekeeping", housekeeping, sp);
	if (r == 0)
		r = task_start(sp->loop, &sp->house, "offers", known_keeper, sp);
	if (r == 0)
		r = task_start(sp->loop, &sp->house, "tls reports", tls_reports_keeper, sp);
	return r;
}

void spoold_stop(struct task *tk, struct spoold *sp)
{
	nsec until = MAX(task_in(tk, STOP_WAIT), sp->finish_by);

	sp->stopping = true;
	sched_stop(sp->sched, true);
	group_cancel(&sp->probes);
	if (group_wait(tk, &sp->deliveries, until) == -ETIMEDOUT) {
		log_warn("spoold.deliveries_cut", K_INT("count", group_count(&sp->deliveries)));
		group_cancel(&sp->deliveries);
		group_wait(tk, &sp->deliveries, task_in(tk, NSEC_S));
	}
	commit_unsaved(sp);
	commit_sync(sp);
	command_done(sp);
	append_done(sp);
	group_wait(tk, &sp->senders, task_in(tk, SENDERS_WAIT));
	group_cancel(&sp->senders);
	group_cancel(&sp->house);
	group_wait(tk, &sp->senders, task_in(tk, NSEC_S));
	group_wait(tk, &sp->house, task_in(tk, NSEC_S));
	group_wait(tk, &sp->probes, task_in(tk, NSEC_S));
	group_wait(tk, &sp->commands, task_in(tk, NSEC_S));
	commit_sync(sp);
	known_save(sp);
	tls_reports_save(sp, NEVER);
}

void spoold_free(struct spoold *sp)
{
	struct map_link *link, *next;

	if (!sp)
		return;
	for (link = map_walk(&sp->messages, NULL); link; link = next) {
		next = map_walk(&sp->messages, link);
		message_free(sp, CONTAINER(link, struct message, link));
	}
	map_done(&sp->messages);
	known_done(&sp->known);
	tls_reports_done(&sp->tls_reports);
	places_done(sp);
	finished_done(&sp->finished);
	sched_free(sp->sched);
	if (sp->spool)
		spool_close(sp->spool);
	conf_unref(sp->conf);
	free(sp);
}

void spoold_freep(struct spoold **sp)
{
	spoold_free(*sp);
}

/* --- who talks to it --- */

void spoold_peer(struct spoold *sp, struct channel *ch)
{
	if (channel_peer(ch) == LOCUM__PROCESS__SMTPIN)
		append_peer(sp, ch);
	else if (channel_peer(ch) == LOCUM__PROCESS__SMTPOUT)
		deliver_peer(sp, ch);
	else if (channel_peer(ch) == LOCUM__PROCESS__STATE)
		sp->state = ch;
}

void spoold_peer_gone(struct spoold *sp, struct channel *ch)
{
	if (channel_peer(ch) == LOCUM__PROCESS__SMTPIN)
		append_peer_gone(sp, ch);
	else if (channel_peer(ch) == LOCUM__PROCESS__SMTPOUT)
		deliver_peer_gone(sp, ch);
	else if (sp->state == ch)
		sp->state = NULL;
}

void spoold_message(struct task *tk, struct channel *ch, struct ipc_message *m, void *arg)
{
	struct spoold *sp = arg;

	if (channel_peer(ch) == LOCUM__PROCESS__SMTPIN)
		append_message(tk, sp, ch, m);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_TLS_SESSION)
		tls_reports_count(sp, m->packet->tls_session, sys_now_wall());
	else if (channel_peer(ch) == LOCUM__PROCESS__SMTPOUT)
		places_message(tk, sp, ch, m);
	else if (m->packet->body_case == LOCUM__PACKET__BODY_COMMAND_CLIENT)
		command_client(sp, m->packet->command_client->uid, ipc_take_fd(m, 0));
}
