/* What a spool goes through, in small segments, so that everything happens often. */
#include "powercut/powercut.h"

#include "base/cleanup.h"
#include "task/sys.h"

#define BIG (6 << 10)
#define LIVE_MAX 200
#define FREE_MIN ((uint64_t)16 << 20)

const struct spool_options script_options = { .segment_bytes = 16 << 10, .big_body_bytes = BIG };

/* The process stops, as spoold does. Without power nobody expected otherwise. */
static _Noreturn void stop(const char *call, int r)
{
	if (!ledger->off)
		ledger_say(BROKEN, "%s: %s", call, spool_error_text(r));
	_exit(ledger->off ? 0 : 1);
}

/* --- calls, written down --- */

static int replay_each(void *arg, enum spool_event event, msg_id id, nsec written_wall, str payload)
{
	(void)arg, (void)event, (void)id, (void)written_wall, (void)payload;
	return 0;
}

static void replay_damage(void *arg, const char *file, uint64_t offset, const char *what)
{
	(void)arg, (void)file, (void)offset, (void)what; /* inspection has told it */
}

struct spool *script_open(void)
{
	struct spool *s = NULL;
	int r = spool_open(SPOOL_DIR, &script_options, &s);

	if (r == 0)
		r = spool_replay(s, replay_each, replay_damage, NULL);
	if (r < 0)
		stop("start", r);
	return s;
}

/* Other calls than spool_sync sync too; spool.h says by what to know it. */
static void acknowledge_if_durable(struct spool *s)
{
	if (spool_batch_bytes(s) == 0)
		ledger_acknowledge();
}

static int body_make(unsigned n, uint32_t bytes)
{
	_cleanup_(freep) char *body = malloc(bytes + 1);
	int fd = sys_memfd("body");

	must(body && fd >= 0);
	number_body(n, body, bytes);
	must(sys_write(fd, str_mem(body, bytes)) == 0);
	return fd;
}

unsigned script_append(struct spool *s, uint32_t bytes)
{
	unsigned n = ledger->next;
	struct promise *p = &ledger->of[n];
	_cleanup_(closep) int body = body_make(n, bytes);
	char text[128];
	int r;

	must(n + 1 < NUMBERS);
	*p = (struct promise){ .bytes = bytes, .put = true };
	ledger->next++;
	r = spool_append(NULL, s, number_id(n), number_envelope(n, text), body, bytes);
	if (r < 0)
		stop("append", r);
	p->pending_put = true;
	return n;
}

void script_sync(struct spool *s)
{
	int r;

	if (WRONG(ACK_BEFORE_SYNC))
		ledger_acknowledge();
	r = spool_sync(s);
	if (r < 0)
		stop("sync", r);
	acknowledge_if_durable(s);
}

static void state(struct spool *s, unsigned n)
{
	struct promise *p = &ledger->of[n];
	char text[16];
	int r;

	p->wanted++;
	snprintf(text, sizeof(text), "%u", p->wanted);
	r = spool_mark(s, SPOOL_STATE, number_id(n), str_of(text));
	if (r < 0)
		stop("state", r);
	p->pending_state = true;
}

static void done(struct spool *s, unsigned n)
{
	int r;

	ledger->of[n].ending = true;
	r = spool_mark(s, SPOOL_DONE, number_id(n), STR("delivered"));
	if (r < 0)
		stop("done", r);
	ledger->of[n].pending_end = true;
}

static void move(struct spool *s, unsigned n, bool held)
{
	struct promise *p = &ledger->of[n];
	int r;

	p->held_wanted = held;
	r = spool_move_held(NULL, s, number_id(n), held);
	if (r < 0)
		stop("move", r);
	p->held = held;
	acknowledge_if_durable(s);
}

void script_compact(struct spool *s, unsigned steps_max)
{
	for (unsigned i = 0; i < steps_max; i++) {
		int r = spool_compact(NULL, s);

		if (r < 0)
			stop("compact", r);
		acknowledge_if_durable(s);
		if (r == 0)
			return;
	}
}

/* --- the script --- */

static bool is_waiting(unsigned n)
{
	const struct promise *p = &ledger->of[n];

	return p->taken && !p->ending;
}

static void arrivals(struct spool *s, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		script_append(s, 137 * (i % 9) + 20);
		if (i % 3 != 1)
			script_sync(s);
	}
	/* Alone, so that its record ends in a block that is there already: its sync commits no journal, and what
	 * the journal says of the body's name is durable by the directory's own sync or not at all. */
	for (unsigned i = 0; i < 3; i++) {
		script_append(s, 40);
		script_sync(s);
		script_append(s, BIG + 1 + 1000 * i);
		script_sync(s);
	}
}

static void hold_and_release(struct spool *s, unsigned first)
{
	for (unsigned n = first; n < first + 5; n++)
		state(s, n);
	move(s, first, true);
	move(s, first + 1, true);
	state(s, first + 1);
	script_append(s, 500);
	script_sync(s); /* both logs */
	state(s, first + 1);
	move(s, first + 1, false);
	move(s, ledger->next - 2, true); /* a large one */
}

/* All but every seventh: their segments are mostly dead. */
static void deliver(struct spool *s, unsigned first)
{
	for (unsigned n = first; n < ledger->next; n++) {
		if (n % 7 == 3 || !is_waiting(n))
			continue;
		done(s, n);
		if (n % 5 == 0)
			script_sync(s);
	}
	script_append(s, 10);
	script_sync(s);
}

static void day(struct spool *s, unsigned messages, uint32_t large)
{
	unsigned first = ledger->next;

	arrivals(s, messages);
	hold_and_release(s, first + 2);
	script_append(s, large);
	script_sync(s);
	deliver(s, first + messages / 3);
	script_compact(s, 50);
	script_append(s, 2000);
	state(s, first);
	script_compact(s, 50);
	script_sync(s);
}

void script_run(void)
{
	struct spool *s = script_open();

	ledger->working = true;
	day(s, 30, 9 << 19);
	spool_close(s);
	s = script_open();
	day(s, 24, 50000);
	deliver(s, 0);
	script_compact(s, 50);
	spool_close(s);
	ledger->finished = true;
}

/* --- by lot --- */

static uint64_t lot;

static unsigned draw(unsigned below)
{
	lot = lot * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((lot >> 33) % below);
}

/* A message to do something with: one of the newest, mostly. False: found none. */
static bool draw_waiting(unsigned *ret_n)
{
	for (unsigned tries = 0; ledger->next > 0 && tries < 50; tries++) {
		unsigned n = ledger->next - 1 - draw(MIN(ledger->next, 2 * LIVE_MAX));

		if (!is_waiting(n))
			continue;
		*ret_n = n;
		return true;
	}
	return false;
}

static uint32_t draw_bytes(void)
{
	switch (draw(40)) {
	case 0:
		return draw(5 << 20);
	case 1:
	case 2:
		return BIG + draw(50000);
	default:
		return draw(BIG);
	}
}

static void act(struct spool *s, const struct spool_usage *usage)
{
	unsigned what = draw(100), n;

	if (what < (usage->messages < LIVE_MAX ? 45 : 5) && usage->free_bytes > FREE_MIN)
		script_append(s, draw_bytes());
	else if (what < 65)
		script_sync(s);
	else if (what < 70)
		script_compact(s, 1 + draw(3));
	else if (!draw_waiting(&n))
		return;
	else if (what < 78)
		state(s, n);
	else if (what < 83)
		move(s, n, !spool_is_held(s, number_id(n)));
	else
		done(s, n);
}

void script_random(uint64_t seed)
{
	struct spool *s = script_open();
	struct spool_usage usage;

	lot = seed;
	ledger->working = true;
	for (;;) {
		int r = spool_usage(s, &usage);

		if (r < 0)
			stop("usage", r);
		for (unsigned i = 0; i < 20; i++)
			act(s, &usage);
	}
}
