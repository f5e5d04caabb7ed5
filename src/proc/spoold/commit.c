/* Group commit: the batch is whatever came while the disk was busy. */
#include "proc/spoold/spoold.h"

#include "base/log.h"
#include "base/wrong.h"

#include <unistd.h>

#define MARKS_WAIT (50 * NSEC_MS) /* marks alone wait this long for company */

/* What the disk refused once it may pretend to have written the second time: never retry.
 * Everything acknowledged is on it; locumd starts us again and we replay. */
static _Noreturn void die(const char *event, int r)
{
	log_error(event, K_ERR(r), K_Z("then", "restart and replay"));
	_exit(1);
}

static void answer(struct spoold *sp)
{
	struct list *link;

	while ((link = list_take(&sp->committing)))
		append_committed(sp, append_of(link));
}

void commit_sync(struct spoold *sp)
{
	int r = spool_sync(sp->spool);

	if (r < 0)
		die("spool.sync_failed", r);
	sp->marked_at = 0;
	answer(sp);
	signal_raise(&sp->work);
}

void commit_check(const struct spoold *sp)
{
	int r = spool_failure(sp->spool);

	if (r < 0)
		die("spool.sync_failed", r);
}

static int mark(struct spoold *sp, enum spool_event event, msg_id id, str state)
{
	int r = spool_mark(sp->spool, event, id, state);

	if (r == 0) {
		if (sp->marked_at == 0)
			sp->marked_at = loop_now(sp->loop);
		signal_raise(&sp->batch_changed);
		return 0;
	}
	if (r != -ENOSPC && r != -EDQUOT && r != -ENOMEM)
		die("spool.write_failed", r);
	return r;
}

void commit_mark(struct spoold *sp, enum spool_event event, msg_id id, struct buf *state)
{
	struct unsaved *u;
	int r = 0;

	/* Behind an unsaved mark of the same message only in its order. */
	if (list_empty(&sp->unsaved))
		r = mark(sp, event, id, buf_str(state));
	else
		r = -ENOSPC;
	if (r == 0)
		return;
	u = calloc(1, sizeof(*u));
	if (!u)
		die("spool.mark_failed", -ENOMEM);
	u->event = event;
	u->id = id;
	u->state = *state;
	*state = (struct buf){ 0 };
	list_append(&sp->unsaved, &u->link);
}

void commit_unsaved(struct spoold *sp)
{
	struct unsaved *u;

	while ((u = LIST_FIRST(&sp->unsaved, struct unsaved, link))) {
		if (mark(sp, u->event, u->id, buf_str(&u->state)) < 0)
			return;
		list_remove(&u->link);
		buf_done(&u->state);
		free(u);
	}
}

int commit_newest_state(struct spoold *sp, msg_id id, struct buf *to)
{
	const struct unsaved *newest = NULL;

	LIST_EACH (&sp->unsaved, struct unsaved, link, u)
		if (id_eq(u->id, id))
			newest = u;
	return newest ? buf_add(to, buf_str(&newest->state)) : spool_read_state(sp->spool, id, to);
}

static bool something_to_do(const struct spoold *sp)
{
	return !list_empty(&sp->committing) || spool_batch_bytes(sp->spool) > 0;
}

/* Appends are waited for by somebody: at once. Marks are not. */
static nsec due_at(const struct spoold *sp)
{
	if (!something_to_do(sp))
		return NEVER;
	return list_empty(&sp->committing) && sp->marked_at ? sp->marked_at + MARKS_WAIT : 0;
}

void committer(struct task *tk, void *arg)
{
	struct spoold *sp = arg;

	for (;;) {
		if (due_at(sp) > task_now(tk)) {
			if (signal_wait(tk, &sp->batch_changed, due_at(sp)) == -ECANCELED)
				return;
			continue;
		}
		if (WRONG(ACK_BEFORE_SYNC))
			answer(sp);
		/* What is ready now joins the batch; what comes during the sync makes the next. */
		if (task_yield(tk) == -ECANCELED)
			return;
		commit_sync(sp);
	}
}
