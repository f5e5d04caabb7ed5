#include "proc/smtpin/stress.h"

#define CALM_TIME (10 * NSEC_S)
#define BUSY_SHARE 5

/* In percent. */
static const struct {
	const char *name;
	unsigned from, below; /* the load that makes it, and the load that ends it */
	nsec command_time;
} state_table[] = {
	/* RFC 5321 §4.5.3.2.7 while there is no need to hurry */
	[STRESS_NONE] = { "none", 0, 0, 5 * NSEC_MINUTE },
	[STRESS_BUSY] = { "busy", 80, 65, NSEC_MINUTE },
	[STRESS_FULL] = { "full", 95, 85, 10 * NSEC_S },
};

static bool reaches(uint64_t used, uint64_t max, unsigned percent)
{
	return max > 0 && used * 100 >= max * percent;
}

static bool load_reaches(const struct stress_load *l, unsigned percent)
{
	return reaches(l->sessions, l->sessions_max, percent) ||
	       reaches(l->body_bytes, l->body_bytes_max, percent);
}

static bool rise(struct stress_gauge *g, const struct stress_load *load)
{
	enum stress before = g->state;

	while (g->state < STRESS_FULL && load_reaches(load, state_table[g->state + 1].from))
		g->state++;
	return g->state != before;
}

static bool fall(struct stress_gauge *g, const struct stress_load *load, nsec now)
{
	if (g->state == STRESS_NONE || load_reaches(load, state_table[g->state].below)) {
		g->calm_since = 0;
		return false;
	}
	if (!g->calm_since)
		g->calm_since = now;
	if (now - g->calm_since < CALM_TIME)
		return false;
	g->state--;
	g->calm_since = now;
	return true;
}

bool stress_update(struct stress_gauge *g, const struct stress_load *load, nsec now)
{
	if (rise(g, load)) {
		g->calm_since = 0;
		return true;
	}
	return fall(g, load, now);
}

const char *stress_name(enum stress s)
{
	return state_table[s].name;
}

nsec stress_command_time(enum stress s, bool favoured)
{
	return state_table[favoured && s > STRESS_NONE ? s - 1 : s].command_time;
}

uint32_t stress_share(enum stress s, bool favoured, uint32_t limit)
{
	if (favoured)
		return limit;
	switch (s) {
	case STRESS_NONE:
		return limit;
	case STRESS_BUSY:
		return MAX(limit / BUSY_SHARE, 1U);
	case STRESS_FULL:
		return 0;
	}
	return 0;
}
