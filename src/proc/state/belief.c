#include "proc/state/belief.h"

void belief_answered(struct belief *b, nsec now_wall)
{
	nsec gap = b->answered_wall ? now_wall - b->answered_wall : 0;

	/* The wall clock may be set back. */
	if (gap > 0)
		b->clock += MIN(gap, BELIEF_GAP_MAX);
	b->answered_wall = now_wall;
}

int32_t belief_day(nsec clock)
{
	return (int32_t)(clock / NSEC_DAY);
}

static struct belief_day *today(struct belief *b)
{
	int32_t day = belief_day(b->clock);
	struct belief_day *d = &b->days[(uint32_t)day % BELIEF_DAYS];

	if (d->day != day)
		*d = (struct belief_day){ .day = day };
	return d;
}

void belief_accepted(struct belief *b, bool was_known)
{
	struct belief_day *d = today(b);

	d->accepted++;
	d->known += was_known;
	b->accepted_new += !was_known;
}

void belief_refused(struct belief *b)
{
	b->refused++;
	b->accepted_new = 0;
}

void belief_absent(struct belief *b, enum belief_absent what, nsec now_wall)
{
	if (what == ABSENT_UNKNOWN)
		return;
	b->absent = what;
	b->absent_wall = now_wall;
}

bool belief_is_known(const struct belief *b, nsec seen)
{
	return b->clock - seen <= BELIEF_KNOWN_TIME;
}

bool belief_is_refused(nsec refused_wall, nsec now_wall)
{
	return now_wall >= refused_wall && now_wall - refused_wall <= BELIEF_REFUSED_TIME;
}

unsigned belief_coverage(const struct belief *b, uint32_t *ret_accepted)
{
	int32_t oldest = belief_day(b->clock) - (BELIEF_DAYS - 1);
	uint64_t accepted = 0, known = 0;

	for (size_t i = 0; i < BELIEF_DAYS; i++) {
		if (b->days[i].day < oldest)
			continue;
		accepted += b->days[i].accepted;
		known += b->days[i].known;
	}
	*ret_accepted = (uint32_t)MIN(accepted, (uint64_t)UINT32_MAX);
	return accepted ? (unsigned)(known * 100 / accepted) : 0;
}

bool belief_covers(const struct belief *b)
{
	uint32_t accepted;
	unsigned percent = belief_coverage(b, &accepted);

	return b->whole || (accepted >= BELIEF_COVERS_LEAST && percent >= BELIEF_COVERS_PERCENT);
}

bool belief_takes_all(const struct belief *b)
{
	if (b->absent != ABSENT_UNKNOWN)
		return b->absent == ABSENT_TAKEN;
	return b->refused == 0 && b->accepted_new >= BELIEF_NEVER_REFUSED;
}

bool belief_wants_absent(struct belief *b, nsec now_wall)
{
	bool due = !b->absent_wall || now_wall - b->absent_wall >= BELIEF_ABSENT_TIME;

	if (!due || (b->asked_wall && now_wall >= b->asked_wall &&
		     now_wall - b->asked_wall < BELIEF_ABSENT_AGAIN))
		return false;
	b->asked_wall = now_wall;
	return true;
}
