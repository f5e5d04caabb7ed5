/* Housekeeping, once a second: free space, dead segments, held messages out of the way. */
#include "proc/spoold/said.h"
#include "proc/spoold/spoold.h"

#include "base/log.h"
#include "task/sys.h"

#define COMPACT_STEPS 64                /* a second, 1 MiB each at most: see bench/size_bench.c */
#define COMPACT_REST (30 * NSEC_S)      /* where there was no space to copy into */
#define HELD_REST (60 * NSEC_S)         /* who is held briefly need not move */
#define ROOM_WANTED ((uint64_t)2 << 20) /* above the reserve, before mail is accepted again */
#define MOVES_A_SECOND 5                /* each costs two syncs */

/* --- what the scheduler decided about destinations --- */

static void notice_said(const struct sched_destination *d, bool begins, int64_t value)
{
	const struct said_text *text = said_text(d->said.what);

	if (begins)
		log_warn(text->begins, K_Z("destination", d->key), K_Z("does", text->does),
			 K_Z("then", text->then));
	else
		log_info(text->ends, K_Z("destination", d->key), K_NSEC("duration", value));
}

void house_notice(void *arg, enum sched_notice notice, const struct sched_destination *d,
		  int64_t value)
{
	(void)arg;
	switch (notice) {
	case NOTICE_UP:
		log_info("destination.up", K_Z("destination", d->key), K_NSEC("down_for", value),
			 K_INT("queued", d->queued));
		return;
	case NOTICE_DOWN:
		log_warn("destination.down", K_Z("destination", d->key),
			 K_Z("state", sched_health_text(d->health)),
			 K_Z("reason", d->text ? d->text : ""),
			 K_NSEC("down_for", d->since - d->down_since), K_INT("queued", d->queued));
		return;
	case NOTICE_DRAIN_STARTED:
		log_info("drain.started", K_Z("destination", d->key), K_INT("queued", value));
		return;
	case NOTICE_DRAIN_FINISHED:
	case NOTICE_DRAIN_BROKEN:
		log_info(notice == NOTICE_DRAIN_FINISHED ? "drain.finished" : "drain.broken_off",
			 K_Z("destination", d->key), K_INT("count", d->drain_count),
			 K_NSEC("duration", value), K_INT("left", d->queued));
		return;
	case NOTICE_SAID:
	case NOTICE_SAID_NO_MORE:
		notice_said(d, notice == NOTICE_SAID, value);
		return;
	}
}

/* --- space --- */

static void set_accepting(struct spoold *sp, bool accepting, uint64_t room_wanted)
{
	if (accepting == sp->accepting)
		return;
	sp->accepting = accepting;
	sp->room_wanted = room_wanted;
	LOG_AT_(accepting ? LOG_INFO : LOG_ERROR, accepting ? "spool.ok" : "spool.full",
		K_INT("bytes_free", sp->usage.free_bytes),
		K_INT("bytes_reserve", sp->conf->spool.reserve_bytes));
	append_tell_state(sp);
}

static void watch_space(struct spoold *sp)
{
	uint64_t step = sp->told_bytes_free / 16, free_bytes;
	int r = spool_usage(sp->spool, &sp->usage);

	if (r < 0) {
		log_error("spool.usage", K_ERR(r));
		return;
	}
	free_bytes = sp->usage.free_bytes;
	if (sp->usage.below_reserve)
		set_accepting(sp, false, ROOM_WANTED);
	else if (free_bytes >= sp->conf->spool.reserve_bytes + sp->room_wanted)
		set_accepting(sp, true, 0);
	if (free_bytes + step < sp->told_bytes_free || free_bytes > sp->told_bytes_free + step)
		append_tell_state(sp);
}

void house_no_space(struct spoold *sp, uint64_t bytes)
{
	watch_space(sp);
	/* Where an ordinary message does not fit, nothing is accepted; a large one fails alone. */
	if (bytes <= ROOM_WANTED)
		set_accepting(sp, false, ROOM_WANTED);
}

static void compact(struct task *tk, struct spoold *sp)
{
	int r = task_now(tk) >= sp->compact_at;

	for (int i = 0; i < COMPACT_STEPS && r == 1; i++) {
		r = spool_compact(tk, sp->spool);
		commit_check(sp);
		if (r == -ENOSPC)
			sp->compact_at = task_now(tk) + COMPACT_REST;
		else if (r < 0 && r != -ECANCELED)
			log_error("spool.damaged", K_ERR(r), K_Z("found", "while compacting"));
		if (r == 1 && task_yield(tk) < 0)
			return;
	}
}

/* --- held messages --- */

void house_held(struct spoold *sp, const struct message *m)
{
	size_t at = (sp->held_first + sp->held_count) % HELD_QUEUE_MAX;

	/* When the queue is full the message stays among the others: less tidy, no harm. */
	if (sp->held_count == HELD_QUEUE_MAX || spool_is_held(sp->spool, m->id))
		return;
	sp->held_queue[at].id = m->id;
	sp->held_queue[at].at = loop_now(sp->loop) + HELD_REST;
	sp->held_count++;
}

static bool is_wholly_held(const struct message *m)
{
	for (size_t i = 0; i < m->part_count; i++) {
		const struct sched_entry *e = &m->part[i].entry;

		if (e->domain && e->place != PLACE_HELD && e->place != PLACE_PARKED)
			return false;
	}
	return true;
}

static void move_held(struct task *tk, struct spoold *sp)
{
	for (int moved = 0; moved < MOVES_A_SECOND && sp->held_count > 0;) {
		msg_id id = sp->held_queue[sp->held_first].id;
		struct message *m = message_find(sp, id);
		int r;

		if (sp->held_queue[sp->held_first].at > loop_now(sp->loop))
			return;
		sp->held_first = (sp->held_first + 1) % HELD_QUEUE_MAX;
		sp->held_count--;
		if (!m || !is_wholly_held(m))
			continue;
		r = spool_move_held(tk, sp->spool, id, true);
		commit_check(sp);
		if (r < 0 && r != -ENOENT && r != -ENOSPC)
			log_error("spool.damaged", K_ID("id", id), K_ERR(r),
				  K_Z("found", "while moving it to the held"));
		moved++;
	}
}

void housekeeping(struct task *tk, void *arg)
{
	struct spoold *sp = arg;

	do {
		watch_space(sp);
		commit_unsaved(sp);
		move_held(tk, sp);
		compact(tk, sp);
		signal_raise(&sp->batch_changed); /* the spool may have put copies into the batch */
	} while (task_sleep(tk, NSEC_S) == 0);
}
