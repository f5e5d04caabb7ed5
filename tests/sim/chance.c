/* Chance, the trace, and how a run fails. */
#include "sim/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEPT_LINES 400
#define LINE_BYTES 320

struct sim_counts sim_counts;
bool sim_tracing;
char sim_rule[SIM_RULE_BYTES];
void (*sim_failed)(void);

static uint64_t seed_told;
static uint64_t state[DICE_COUNT];
static char kept[KEPT_LINES][LINE_BYTES];
static size_t kept_count;

/* splitmix64: a counter, mixed. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

void sim_seed(uint64_t seed)
{
	seed_told = seed;
	for (size_t i = 0; i < DICE_COUNT; i++)
		state[i] = mix(seed * DICE_COUNT + i + 1);
}

uint64_t sim_next(uint64_t *random)
{
	*random += 0x9e3779b97f4a7c15u;
	return mix(*random);
}

uint64_t sim_dice(enum sim_dice dice)
{
	return sim_next(&state[dice]);
}

uint64_t sim_below(enum sim_dice dice, uint64_t bound)
{
	must(bound > 0);
	return sim_dice(dice) % bound;
}

bool sim_percent(enum sim_dice dice, unsigned percent)
{
	return sim_below(dice, 100) < percent;
}

nsec sim_between(enum sim_dice dice, nsec low, nsec high)
{
	return low + (nsec)sim_below(dice, (uint64_t)(high - low) + 1);
}

void sim_trace(const char *format, ...)
{
	char *line = kept[kept_count++ % KEPT_LINES];
	nsec now = sim_now() - NSEC_DAY;
	va_list args;
	int n;

	n = snprintf(line, LINE_BYTES, "%5lld.%06lld ", (long long)(now / NSEC_S),
		     (long long)(now % NSEC_S / 1000));
	va_start(args, format);
	vsnprintf(line + n, LINE_BYTES - (size_t)n, format, args);
	va_end(args);
	if (sim_tracing)
		printf("%s\n", line);
}

_Noreturn void sim_fail(const char *rule, const char *format, ...)
{
	size_t first = kept_count > KEPT_LINES ? kept_count - KEPT_LINES : 0;
	char what[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	for (size_t i = first; !sim_tracing && i < kept_count; i++)
		printf("%s\n", kept[i % KEPT_LINES]);
	printf("VIOLATION %s: %s (seed %llu, at %.6f s)\n", rule, what,
	       (unsigned long long)seed_told, (double)(sim_now() - NSEC_DAY) / 1e9);
	fflush(stdout);
	snprintf(sim_rule, sizeof(sim_rule), "%s", rule);
	if (sim_failed)
		sim_failed();
	_Exit(1);
}
