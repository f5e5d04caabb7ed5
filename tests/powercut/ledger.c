/* What was promised, and whether the disk keeps it. */
#include "powercut/powercut.h"

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "spool/inspect.h"
#include "task/sys.h"

#include <stdarg.h>
#include <sys/mman.h>

#define BODY_MAX ((size_t)8 << 20)

struct ledger *ledger;

void ledger_new(void)
{
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	must(ledger != MAP_FAILED);
}

void ledger_clear(void)
{
	memset(ledger->of, 0, ledger->next * sizeof(ledger->of[0]));
	memset(ledger, 0, offsetof(struct ledger, of));
}

void ledger_say(enum verdict v, const char *format, ...)
{
	va_list ap;

	ledger->verdict[v]++;
	if (ledger->worst_text[0] && ledger->worst <= v)
		return;
	ledger->worst = v;
	va_start(ap, format);
	vsnprintf(ledger->worst_text, sizeof(ledger->worst_text), format, ap);
	va_end(ap);
}

bool ledger_is_good(void)
{
	for (size_t i = 0; i < VERDICTS; i++)
		if (ledger->verdict[i])
			return false;
	return true;
}

void ledger_acknowledge(void)
{
	for (unsigned n = 0; n < ledger->next; n++) {
		struct promise *p = &ledger->of[n];

		p->taken |= p->pending_put;
		p->ended |= p->pending_end;
		if (p->pending_state)
			p->state = p->wanted;
		p->pending_put = p->pending_end = p->pending_state = false;
	}
}

void ledger_forget_pending(void)
{
	for (unsigned n = 0; n < ledger->next; n++)
		ledger->of[n].pending_put = ledger->of[n].pending_end =
			ledger->of[n].pending_state = false;
}

/* --- numbers --- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

msg_id number_id(unsigned n)
{
	uint64_t random = mix(n + 1);
	msg_id id = { { 0x01, 0x8f, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } };

	memcpy(id.byte + 8, &random, sizeof(random));
	return id;
}

str number_envelope(unsigned n, char text[static 128])
{
	int length = snprintf(text, 128, "envelope of %u %.*s", n, (int)(n % 50),
			      "..................................................");

	return str_mem(text, (size_t)length);
}

void number_body(unsigned n, char *to, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
		uint64_t word = mix((uint64_t)n << 32 | at);

		memcpy(to + at, &word, MIN(sizeof(word), bytes - at));
	}
}

/* --- comparing --- */

static bool is_whole(struct spool *s, unsigned n)
{
	static char wanted[BODY_MAX], got[BODY_MAX];
	const struct promise *p = &ledger->of[n];
	struct spool_body body;
	char text[128];
	struct buf b;
	bool good;

	buf_init(&b, 1 << 10);
	good = spool_read(s, number_id(n), &b, &body) == 0 &&
	       str_eq(buf_str(&b), number_envelope(n, text)) && body.bytes == p->bytes;
	buf_done(&b);
	if (!good || sys_read_at(body.fd, got, p->bytes, body.offset) != (ssize_t)p->bytes)
		return false;
	number_body(n, wanted, p->bytes);
	return memcmp(wanted, got, p->bytes) == 0 &&
	       crc32c(0, str_mem(got, p->bytes)) == body.crc32c;
}

/* The number in the newest snapshot; -1: none of ours. */
static int state_of(struct spool *s, unsigned n)
{
	uint64_t state = 0;
	struct buf b;
	int r;

	buf_init(&b, 1 << 10);
	r = spool_read_state(s, number_id(n), &b);
	if (r == 0 && buf_str(&b).n > 0)
		r = str_u64(buf_str(&b), UINT16_MAX, &state);
	buf_done(&b);
	return r < 0 ? -1 : (int)state;
}

static void check_alive(struct spool *s, unsigned n)
{
	struct promise *p = &ledger->of[n];
	bool held = spool_is_held(s, number_id(n));
	int state = state_of(s, n);

	if (!p->put || p->ended)
		ledger_say(REVIVED, "message %u is there, %s", n,
			   p->put ? "and its done was durable" : "and was not put in");
	else if (!is_whole(s, n))
		ledger_say(CHANGED, "message %u (%u bytes) is not as it was put in", n, p->bytes);
	if (state < p->state || state > p->wanted)
		ledger_say(CHANGED, "message %u has state %d, not %u to %u", n, state, p->state,
			   p->wanted);
	if (held != p->held && held != p->held_wanted)
		ledger_say(CHANGED, "message %u is in the wrong log", n);
	p->put = p->taken = true;
	p->ending = p->ended = false;
	p->state = p->wanted = (uint16_t)MAX(state, 0);
	p->held = p->held_wanted = held;
}

static void check_absent(unsigned n)
{
	struct promise *p = &ledger->of[n];

	if (p->taken && !p->ending)
		ledger_say(LOST, "message %u (%u bytes) was acknowledged and is lost", n, p->bytes);
	p->ended = p->ending = p->taken;
	p->put = p->taken;
}

static void check_all(struct spool *s)
{
	for (unsigned n = 0; n < ledger->next; n++)
		if (spool_has(s, number_id(n)))
			check_alive(s, n);
		else
			check_absent(n);
}

/* Of a cut there may be traces, but no damage. */
static void check_faults(void)
{
	struct spool *s = NULL;
	const struct fault *f;
	size_t count;
	int r = inspect_open(SPOOL_DIR, false, &s);

	if (r == -ENOENT)
		return; /* cut in the very first start; or everything is lost, and will be missed */
	if (r < 0) {
		ledger_say(BROKEN, "inspect: %s", spool_error_text(r));
		return;
	}
	f = inspect_faults(s, &count);
	for (size_t i = 0; i < count; i++) {
		char text[FAULT_TEXT_SIZE];

		if (f[i].kind == FAULT_LOCK || f[i].kind == FAULT_DIRECTORY ||
		    f[i].kind == FAULT_HEADER_BLOCK)
			continue;
		if (f[i].nature == FAULT_DAMAGE || f[i].nature == FAULT_HARMLESS)
			ledger_say(DAMAGED, "%s at %llu: %s", f[i].file,
				   (unsigned long long)f[i].offset, fault_text(&f[i], text));
	}
	spool_close(s);
}

void ledger_check(void)
{
	struct spool *s;

	check_faults();
	s = script_open();
	check_all(s);
	script_append(s, 300);
	script_sync(s);
	script_compact(s, 1000);
	check_all(s);
	spool_close(s);
	s = script_open();
	check_all(s);
	spool_close(s);
}
