/* The start: what the spool holds becomes messages and entries again. */
#include "proc/spoold/spoold.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "task/sys.h"

#define DAMAGE_LOGGED_MAX 100 /* of a wrecked disk the first hundred places are enough to read */

static int replay_message(struct spoold *sp, msg_id id, str envelope_bytes)
{
	Locum__Envelope *envelope;
	struct message *m;
	int r;

	envelope =
		locum__envelope__unpack(NULL, envelope_bytes.n, (const uint8_t *)envelope_bytes.p);
	if (!envelope || envelope->n_recipients == 0 ||
	    envelope->n_recipients > STORED_RECIPIENTS_MAX) {
		log_error("spool.damaged", K_ID("id", id), K_Z("what", "envelope"),
			  K_Z("then", "kept, not delivered"));
		sp->damage_count++;
		if (envelope)
			locum__envelope__free_unpacked(envelope, NULL);
		return 0;
	}
	r = message_new(sp, id, envelope, &m);
	locum__envelope__free_unpacked(envelope, NULL);
	if (r == -EEXIST)
		return 0; /* a copy that compaction made */
	if (r < 0)
		return r;
	message_queue(sp, m);
	return 0;
}

static void replay_state(struct spoold *sp, msg_id id, str packed)
{
	_cleanup_(stored_freep) Locum__StoredState *state = NULL;
	struct message *m = message_find(sp, id);

	if (!m)
		return;
	state = locum__stored_state__unpack(NULL, packed.n, (const uint8_t *)packed.p);
	if (state) {
		message_apply(sp, m, state);
		return;
	}
	log_error("spool.damaged", K_ID("id", id), K_Z("what", "state"),
		  K_Z("then", "begins anew"));
	sp->damage_count++;
}

static int each(void *arg, enum spool_event event, msg_id id, nsec written_wall, str payload)
{
	struct spoold *sp = arg;
	struct message *m;

	switch (event) {
	case SPOOL_MESSAGE:
		return replay_message(sp, id, payload);
	case SPOOL_STATE:
		replay_state(sp, id, payload);
		return 0;
	case SPOOL_DONE:
		m = message_find(sp, id);
		if (m)
			message_free(sp, m);
		/* A tombstone that compaction copied tells no story. */
		if (payload.n > 0)
			finished_add(&sp->finished, id, written_wall, payload);
		return 0;
	}
	return 0;
}

static void damage(void *arg, const char *file, uint64_t offset, const char *what)
{
	struct spoold *sp = arg;

	if (sp->damage_count++ < DAMAGE_LOGGED_MAX)
		log_error("spool.damaged", K_Z("file", file), K_INT("offset", offset),
			  K_Z("what", what));
}

int replay(struct spoold *sp)
{
	nsec began = sys_now();
	int r = spool_replay(sp->spool, each, damage, sp);

	if (r < 0)
		return r;
	for (struct sched_domain *d = sched_domain_walk(sp->sched, NULL); d;
	     d = sched_domain_walk(sp->sched, d))
		if (!d->configured)
			log_warn("domain.not_configured", K_Z("domain", d->name),
				 K_INT("queued", d->queued), K_INT("held", d->held));
	log_info("spool.replayed", K_INT("messages", sp->messages.count),
		 K_INT("damaged", sp->damage_count), K_NSEC("duration", sys_now() - began));
	return 0;
}
