/* The dispatcher: asks the scheduler what to do, and has it done. */
#include "proc/spoold/spoold.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#include <stdio.h>

#define ACTIONS_A_TURN 64

/* --- smtpout --- */

static size_t smtpout_count(const struct spoold *sp)
{
	size_t n = 0;

	for (size_t i = 0; i < SMTPOUTS_MAX; i++)
		n += sp->smtpout[i] != NULL;
	return n;
}

struct channel *deliver_smtpout(struct spoold *sp)
{
	for (size_t i = 0; i < SMTPOUTS_MAX; i++) {
		sp->smtpout_last = (sp->smtpout_last + 1) % SMTPOUTS_MAX;
		if (sp->smtpout[sp->smtpout_last])
			return sp->smtpout[sp->smtpout_last];
	}
	return NULL;
}

static void may_start(struct spoold *sp)
{
	sched_stop(sp->sched, sp->stopping || smtpout_count(sp) == 0);
	signal_raise(&sp->work);
}

void deliver_peer(struct spoold *sp, struct channel *ch)
{
	if (channel_index(ch) >= SMTPOUTS_MAX)
		return;
	places_gone(sp, channel_index(ch)); /* of a predecessor whose end is not heard of yet */
	sp->smtpout[channel_index(ch)] = ch;
	may_start(sp);
}

void deliver_peer_gone(struct spoold *sp, struct channel *ch)
{
	for (size_t i = 0; i < SMTPOUTS_MAX; i++)
		if (sp->smtpout[i] == ch) {
			sp->smtpout[i] = NULL;
			places_gone(sp, i);
		}
	if (smtpout_count(sp) == 0)
		sp->smtpout_gone_at = loop_now(sp->loop);
	may_start(sp);
}

/* --- actions --- */

void deliver_unreadable(struct spoold *sp, struct message *m, int r)
{
	nsec now = loop_now(sp->loop);

	log_error("spool.damaged", K_ID("id", m->id), K_ERR(r), K_Z("then", "held"));
	sp->corrupt_count++;
	for (size_t i = 0; i < m->part_count; i++) {
		struct sched_entry *e = &m->part[i].entry;

		if (e->domain && e->place != PLACE_IN_FLIGHT && e->place != PLACE_NONE)
			sched_hold(sp->sched, e, PLACE_HELD, now);
	}
}

static void park(struct spoold *sp, struct part *p)
{
	_cleanup_(loaded_done) struct loaded l = { 0 };
	struct message *m = p->message;
	char why[96];
	int r = message_load(sp, m, &l);

	if (r < 0) {
		deliver_unreadable(sp, m, r);
		return;
	}
	snprintf(why, sizeof(why), "older than the hold time of its domain (%.1f days)",
		 (double)p->entry.domain->hold / (double)NSEC_DAY);
	stored_park(l.state, part_number(p), str_of(why));
	stored_event(l.state, sys_now_wall(), "parked", STR_NONE, str_of(why));
	log_warn("message.parked", K_ID("id", m->id), K_Z("domain", p->entry.domain->name),
		 K_NSEC("age", sys_now_wall() - m->arrived_wall));
	message_save(sp, m, &l);
}

static void act(struct spoold *sp, const struct sched_action *action)
{
	switch (action->what) {
	case SCHED_NONE:
		return;
	case SCHED_DELIVER:
		attempt_delivery(sp, CONTAINER(action->entry, struct part, entry));
		return;
	case SCHED_PROBE:
		attempt_probe(sp, action);
		return;
	case SCHED_PARK:
		park(sp, CONTAINER(action->entry, struct part, entry));
		return;
	}
}

void dispatcher(struct task *tk, void *arg)
{
	struct spoold *sp = arg;
	unsigned in_a_row = 0;
	int r = 0;

	may_start(sp);
	while (r != -ECANCELED) {
		struct sched_action action;

		sched_next(sp->sched, task_now(tk), &action);
		if (action.what == SCHED_NONE) {
			in_a_row = 0;
			r = signal_wait(tk, &sp->work, sched_wake_at(sp->sched));
			continue;
		}
		act(sp, &action);
		if (++in_a_row % ACTIONS_A_TURN == 0)
			r = task_yield(tk);
	}
}
