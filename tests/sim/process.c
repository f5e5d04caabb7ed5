/* Virtual time, and the turns of the processes. */
#include "sim/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define STACK_SIZE ((size_t)1 << 20)
#define TURN_TIME (2 * NSEC_US) /* what a turn takes, so that time passes even where nobody waits */
#define TURNS_A_SECOND_MAX 200000
#define PAUSE_PERMILLE 4 /* turns after which the kernel lets a process wait */

struct sim_process *running;

static nsec now = NSEC_DAY;
static struct side kernel;
static struct list processes = { &processes, &processes };
static struct heap alarms;

struct alarm {
	struct heap_node node;
	uint64_t number;
	void (*f)(void *);
	void *arg;
};

nsec sim_now(void)
{
	return now;
}

void sim_at(nsec at, void (*f)(void *arg), void *arg)
{
	struct alarm *a = calloc(1, sizeof(*a));

	must(a);
	a->f = f;
	a->arg = arg;
	must(heap_push(&alarms, &a->node, MAX(at, now)) == 0);
}

static void fire_alarms(void)
{
	struct heap_node *first;

	while ((first = heap_first(&alarms)) && first->at <= now) {
		struct alarm *a = CONTAINER(first, struct alarm, node);

		heap_remove(&alarms, first);
		a->f(a->arg);
		free(a);
	}
}

/* --- life and death --- */

struct sim_process *process_new(const char *name, struct sim_node *node, void (*main)(void *),
				void *arg)
{
	struct sim_process *p = calloc(1, sizeof(*p));

	must(p);
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->node = node;
	p->main = main;
	p->arg = arg;
	p->status = -1;
	list_append(&processes, &p->link);
	return p;
}

struct sim_process *sim_process_start(const char *name, void (*main)(void *arg), void *arg)
{
	return process_new(name, NULL, main, arg);
}

void process_kill(struct sim_process *p, int status)
{
	if (p->state == PROCESS_DEAD)
		return;
	p->state = PROCESS_DEAD;
	p->status = status;
	list_remove(&p->link);
	fd_close_all(p);
	if (p->died)
		p->died(p);
	if (p == running)
		switch_to(&p->side, &kernel); /* for ever */
}

static void process_body(void *arg)
{
	struct sim_process *p = arg;

	p->main(p->arg);
	process_kill(p, 0);
}

void process_poll(void)
{
	switch_to(&running->side, &kernel);
}

void process_wait(nsec at)
{
	running->state = PROCESS_WAITING;
	running->wake_at = at;
	process_poll();
}

bool sys_begin(void)
{
	struct sim_process *p = running;
	bool was_in_kernel = p && p->in_kernel;

	if (p && ++p->calls == p->dies_at) {
		sim_counts.kills++;
		sim_trace("%s dies in call %llu", p->name, (unsigned long long)p->calls);
		process_kill(p, -1);
	}
	if (p)
		p->in_kernel = true;
	return was_in_kernel;
}

void sys_leave(const bool *was_in_kernel)
{
	if (running)
		running->in_kernel = *was_in_kernel;
}

/* --- turns --- */

/* When it can run; NEVER: not before something happens. */
static nsec ready_at(struct sim_process *p)
{
	nsec at = NEVER;

	switch (p->state) {
	case PROCESS_RUNNABLE:
		at = now;
		break;
	case PROCESS_POLLING:
		at = poller_has_event(p->polling) ? now : p->wake_at;
		break;
	case PROCESS_WAITING:
		at = p->wake_at;
		break;
	case PROCESS_DEAD:
		break;
	}
	return at == NEVER ? NEVER : MAX(at, p->not_before);
}

/* One of those that can run now, each with the same chance; else when the first can. */
static struct sim_process *choose(nsec *ret_at)
{
	struct sim_process *chosen = NULL;
	unsigned candidates = 0;

	*ret_at = NEVER;
	LIST_EACH (&processes, struct sim_process, link, p) {
		nsec at = ready_at(p);

		*ret_at = MIN(*ret_at, at);
		if (at <= now && sim_below(DICE_TURN, ++candidates) == 0)
			chosen = p;
	}
	return chosen;
}

static void guard_against_busy_loop(struct sim_process *p)
{
	if (now - p->turns_since >= NSEC_S) {
		p->turns_since = now;
		p->turns = 0;
	}
	if (++p->turns > TURNS_A_SECOND_MAX)
		sim_fail("no busy work", "%s ran %u turns within a second", p->name, p->turns);
}

static void turn(struct sim_process *p)
{
	guard_against_busy_loop(p);
	sim_counts.turns++;
	now += TURN_TIME;
	running = p;
	account_turn_begins(p);
	p->state = PROCESS_RUNNABLE;
	if (!p->started) {
		p->started = true;
		p->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		must(p->stack != MAP_FAILED);
		switch_start(&kernel, &p->side, p->stack, p->stack + STACK_SIZE, process_body, p);
	} else {
		switch_to(&kernel, &p->side);
	}
	running = NULL;
	account_turn_ends(p);
	if (p->state == PROCESS_DEAD)
		munmap(p->stack, STACK_SIZE);
	else if (p->node && sim_below(DICE_TURN, 1000) < PAUSE_PERMILLE)
		p->not_before = now + sim_between(DICE_TURN, 0, 50 * NSEC_MS);
}

bool sim_run(nsec at, bool (*done)(void *arg), void *arg)
{
	must(!running);
	for (;;) {
		struct heap_node *alarm;
		struct sim_process *p;
		nsec next;

		fire_alarms();
		if (done && done(arg))
			return true;
		p = choose(&next);
		if (p) {
			turn(p);
			continue;
		}
		alarm = heap_first(&alarms);
		if (alarm)
			next = MIN(next, alarm->at);
		if (next > at) {
			now = MAX(now, at);
			return false;
		}
		now = MAX(now, next);
	}
}
