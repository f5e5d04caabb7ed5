/* FLUSH, HOLD, RELEASE, DROP, RELOAD, UPGRADE: what the operator decides. */
#include "proc/spoold/command.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#include <stdio.h>

#define SLICE 64
#define RELOAD_DEADLINE (60 * NSEC_S)
#define UPGRADE_DEADLINE (55 * NSEC_S) /* the command line waits a little longer */

/* What HOLD, RELEASE and DROP do to the recipients of a message. */
struct change {
	const char *event, *logged, *nothing;
	size_t (*apply)(Locum__StoredState *state, uint32_t part, const char *by);
};

static size_t hold(Locum__StoredState *state, uint32_t part, const char *by)
{
	return stored_hold(state, part, true, str_of(by));
}

static size_t release(Locum__StoredState *state, uint32_t part, const char *by)
{
	(void)by;
	return stored_release(state, part, sys_now_wall());
}

static size_t drop(Locum__StoredState *state, uint32_t part, const char *by)
{
	(void)by;
	return stored_drop(state, part);
}

static const struct change changes[] = {
	{ "held", "operator.hold", "no recipient of it is queued", hold },
	{ "released", "operator.release", "no recipient of it is held", release },
	{ "dropped", "operator.drop", "nothing of it is left", drop },
};

enum { HOLD, RELEASE, DROP };

/* Its envelope cannot be read, but it can go. */
static bool drop_unreadable(struct spoold *sp, struct message *m)
{
	struct buf nothing = { 0 };

	if (message_in_flight(m))
		return false;
	commit_mark(sp, SPOOL_DONE, m->id, &nothing);
	message_free(sp, m);
	return true;
}

static uint32_t part_of(const struct message *m, const struct sched_domain *domain)
{
	for (uint32_t i = 0; i < m->part_count; i++)
		if (m->part[i].entry.domain == domain)
			return i;
	return PART_ALL - 1; /* of no recipient */
}

/* domain: only its recipients; NULL: all. 1: changed, 0: there was nothing to change. Does not
 * park. */
static int change_message(struct command *c, const struct change *change, struct message *m,
			  const struct sched_domain *domain)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	struct spoold *sp = c->client->sp;
	char by[64];
	int r = message_load(sp, m, &l);

	if (r < 0 && change == &changes[DROP])
		return drop_unreadable(sp, m) ? 1 : r;
	if (r < 0)
		return r;
	snprintf(by, sizeof(by), "%s by the operator (uid %u)", change->event, c->client->uid);
	if (change->apply(l.state, domain ? part_of(m, domain) : PART_ALL, by) == 0) {
		if (change == &changes[RELEASE])
			message_apply(sp, m, l.state); /* held in RAM alone, after a failed read */
		return 0;
	}
	stored_event(l.state, sys_now_wall(), change->event, STR_NONE, str_of(by));
	message_save(sp, m, &l);
	return 1;
}

static int change_one(struct command *c, const struct change *change)
{
	struct message *m = command_message(c);
	msg_id id;
	int r;

	if (!m)
		return 0;
	id = m->id;
	r = change_message(c, change, m, NULL);
	if (r < 0)
		return command_fail(c, "the message cannot be read: %s", strerror(-r));
	if (r == 0)
		return command_fail(c, "%s", change->nothing);
	log_info(change->logged, K_INT("uid", c->client->uid), K_ID("id", id));
	c->count = 1;
	return 0;
}

static int change_domain(struct task *tk, struct command *c, const struct change *change)
{
	_cleanup_(id_list_done) struct id_list ids = { 0 };
	struct spoold *sp = c->client->sp;
	struct sched_domain *domain = sched_domain_find(sp->sched, str_of(c->ask->domain));
	int r = 0;

	if (!domain)
		return command_fail(c, "%s is not a domain of ours", c->ask->domain);
	r = id_list_of(sp, domain, &ids);
	for (size_t i = 0; r == 0 && i < ids.count; i++) {
		struct message *m = message_find(sp, ids.id[i]);

		/* By name again: what was dropped may have been its last. */
		domain = sched_domain_find(sp->sched, str_of(c->ask->domain));
		if (m && domain)
			c->count += change_message(c, change, m, domain) == 1;
		if (i % SLICE == SLICE - 1)
			r = task_yield(tk);
	}
	log_info(change->logged, K_INT("uid", c->client->uid), K_Z("domain", c->ask->domain),
		 K_INT("messages", c->count));
	return r;
}

static int change_any(struct task *tk, struct command *c, const struct change *change)
{
	int r = *c->ask->domain ? change_domain(tk, c, change) : change_one(c, change);

	commit_sync(c->client->sp); /* told only once it is durable */
	return r;
}

int command_hold(struct task *tk, struct command *c)
{
	return change_any(tk, c, &changes[HOLD]);
}

int command_release(struct task *tk, struct command *c)
{
	return change_any(tk, c, &changes[RELEASE]);
}

int command_drop(struct task *tk, struct command *c)
{
	return change_any(tk, c, &changes[DROP]);
}

/* Who flushes has often just corrected DNS: what it said before is not to be tried again. Channels keep the order, so
 * the probes that follow come after it. */
static void forget_dns(struct task *tk, struct spoold *sp)
{
	Locum__ForgetDns forget = LOCUM__FORGET_DNS__INIT;
	IPC_PACKET(packet, FORGET_DNS, forget_dns, &forget);

	if (ipc_send(tk, deliver_smtpout(sp), &packet, -1, task_in(tk, NSEC_S)) < 0)
		log_warn("flush.untold", K_Z("reason", "smtpout is away"));
}

int command_flush(struct task *tk, struct command *c)
{
	struct spoold *sp = c->client->sp;
	struct sched_domain *domain = NULL;

	forget_dns(tk, sp);
	if (*c->ask->domain) {
		domain = sched_domain_find(sp->sched, str_of(c->ask->domain));
		if (!domain)
			return command_fail(c, "%s is not a domain of ours", c->ask->domain);
	}
	c->count = sched_flush(sp->sched, domain, task_now(tk));
	log_info("operator.flush", K_INT("uid", c->client->uid),
		 K_Z("domain", *c->ask->domain ? c->ask->domain : "*"),
		 K_INT("messages", c->count));
	signal_raise(&sp->work);
	return 0;
}

int command_reload(struct task *tk, struct command *c)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__Reload reload = LOCUM__RELOAD__INIT;
	IPC_PACKET(packet, RELOAD, reload, &reload);
	Locum__EventRow event = LOCUM__EVENT_ROW__INIT;
	Locum__Answer answer = LOCUM__ANSWER__INIT;
	int r;

	log_info("operator.reload", K_INT("uid", c->client->uid));
	r = ipc_call(tk, c->client->sp->control, &packet, -1, &reply, task_in(tk, RELOAD_DEADLINE));
	if (r < 0)
		return command_fail(c, "locumd did not answer: %s", strerror(-r));
	if (reply.packet->body_case != LOCUM__PACKET__BODY_RELOADED)
		return command_fail(c, "locumd answered something else");
	if (!reply.packet->reloaded->ok)
		return command_fail(c, "%s", reply.packet->reloaded->text);
	if (!*reply.packet->reloaded->text)
		return 0;
	/* It worked, but not all of it takes effect at once. */
	event.event = (char *)"restart_needed";
	event.text = reply.packet->reloaded->text;
	answer.event = &event;
	return command_send(tk, c, &answer, -1);
}

/* The answer comes from the locumd that then runs; after it we are told to end. */
int command_upgrade(struct task *tk, struct command *c)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__Upgrade upgrade = LOCUM__UPGRADE__INIT;
	IPC_PACKET(packet, UPGRADE, upgrade, &upgrade);
	Locum__EventRow event = LOCUM__EVENT_ROW__INIT;
	Locum__Answer answer = LOCUM__ANSWER__INIT;
	int r;

	log_info("operator.upgrade", K_INT("uid", c->client->uid));
	r = ipc_call(tk, c->client->sp->control, &packet, -1, &reply,
		     task_in(tk, UPGRADE_DEADLINE));
	if (r < 0)
		return command_fail(c, "locumd did not answer: %s", strerror(-r));
	if (reply.packet->body_case != LOCUM__PACKET__BODY_UPGRADED)
		return command_fail(c, "locumd answered something else");
	if (!reply.packet->upgraded->ok)
		return command_fail(c, "%s", reply.packet->upgraded->text);
	event.event = (char *)"upgraded";
	event.text = reply.packet->upgraded->text;
	answer.event = &event;
	return command_send(tk, c, &answer, -1);
}
