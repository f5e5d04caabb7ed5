#include "sched/timing.h"

struct step {
	nsec outage_below;
	nsec interval;
};

/* 2 s, then × 1.5. The first five rows keep the promise of ten seconds, connecting included. */
static const struct step probe_steps[] = {
	{ 10 * NSEC_S, 2 * NSEC_S },         { 30 * NSEC_S, 3 * NSEC_S },
	{ 2 * NSEC_MINUTE, 4500 * NSEC_MS }, { 10 * NSEC_MINUTE, 6 * NSEC_S },
	{ 30 * NSEC_MINUTE, 8 * NSEC_S },    { 45 * NSEC_MINUTE, 12 * NSEC_S },
	{ NSEC_HOUR, 18 * NSEC_S },          { 2 * NSEC_HOUR, 27 * NSEC_S },
	{ 4 * NSEC_HOUR, 40 * NSEC_S },      { NEVER, 60 * NSEC_S },
};

/* A question to the resolver, which caches: cheap enough to notice a mended zone as fast as a
 * primary. */
static const struct step no_route_steps[] = {
	{ 2 * NSEC_MINUTE, 5 * NSEC_S },
	{ 30 * NSEC_MINUTE, 8 * NSEC_S },
	{ NSEC_HOUR, 30 * NSEC_S },
	{ NEVER, 60 * NSEC_S },
};

#define DEFERRAL_FIRST (30 * NSEC_S)
#define LOST_FIRST (5 * NSEC_S)
#define GREYLISTED_FIRST (390 * NSEC_S) /* five minutes and a bit when it is shortened */
#define PUT_OFF_FIRST NSEC_S
#define BACKOFF_MAX (15 * NSEC_MINUTE)
#define CHECK_MAX (60 * NSEC_S)

/* 80 to 100 percent of d, so that what failed together does not come back together. */
static nsec shortened(nsec d, uint64_t random)
{
	return d - (nsec)((double)d * 0.2 * ((double)(random >> 11) / (double)(1ULL << 53)));
}

static nsec step_at(const struct step *step, nsec outage)
{
	while (step->outage_below != NEVER && outage >= step->outage_below)
		step++;
	return step->interval;
}

static nsec doubled(nsec first, unsigned times, nsec max)
{
	nsec d = first;

	while (times-- && d < max)
		d *= 2;
	return MIN(d, max);
}

nsec timing_probe(nsec outage, uint64_t random)
{
	return shortened(step_at(probe_steps, outage), random);
}

nsec timing_no_route(nsec outage, uint64_t random)
{
	return shortened(step_at(no_route_steps, outage), random);
}

nsec timing_deferral(unsigned failures, uint64_t random)
{
	return shortened(doubled(DEFERRAL_FIRST, failures ? failures - 1 : 0, BACKOFF_MAX), random);
}

nsec timing_greylisted(unsigned failures, uint64_t random)
{
	return shortened(doubled(GREYLISTED_FIRST, failures ? failures - 1 : 0, BACKOFF_MAX),
			 random);
}

nsec timing_lost(unsigned failures, uint64_t random)
{
	return shortened(doubled(LOST_FIRST, failures ? failures - 1 : 0, BACKOFF_MAX), random);
}

/* A greylist lets each message in after its own wait, so all must be tried once; where we are blocked
 * each try may cost a message that is held then. */
nsec timing_put_off(enum sched_said said, unsigned times, uint64_t random)
{
	static const nsec max[] = {
		[SAID_NOTHING] = 5 * NSEC_S,      [SAID_RECIPIENT] = 0,
		[SAID_OTHER] = 5 * NSEC_S,        [SAID_GREYLISTED] = 2 * NSEC_S,
		[SAID_THROTTLED] = 30 * NSEC_S,   [SAID_BLOCKED] = 15 * NSEC_S,
		[SAID_NOT_ITS_OWN] = 15 * NSEC_S,
	};

	return shortened(doubled(PUT_OFF_FIRST, times ? times - 1 : 0, max[said]), random);
}

nsec timing_check(unsigned streak, uint64_t random)
{
	if (streak <= 1)
		return 0; /* one broken connection may be chance: look at once */
	return shortened(doubled(2 * NSEC_S, streak - 2, CHECK_MAX), random);
}
