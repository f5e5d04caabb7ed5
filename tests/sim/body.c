/* The message of a number: everybody can make it again, to send it or to compare. */
#include "sim/world.h"

#include "base/buf.h"

#define LINE_MAX_OCTETS 998

static uint32_t below(uint64_t *random, uint32_t bound)
{
	return (uint32_t)(sim_next(random) % bound);
}

bool body_to_be_refused(uint32_t number)
{
	return number % 23 == 7;
}

static void add(struct buf *to, str bytes)
{
	must(buf_add(to, bytes) == 0);
}

static void add_bytes(struct buf *to, uint64_t *random, size_t n, bool eight_bit)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t c = eight_bit ? 0x80 + below(random, 0x80) : 0x20 + below(random, 0x5f);

		must(buf_add_byte(to, (char)c) == 0);
	}
}

static void add_line(struct buf *to, uint64_t *random)
{
	static const str fixed[] = { STR("."),
				     STR(".."),
				     STR(""),
				     STR("..."),
				     STR(".QUIT"),
				     STR("From here"),
				     STR("Received: not a header"),
				     STR(" "),
				     STR("\t.") };
	uint32_t kind = below(random, 20);

	if (kind < ELEMENTS(fixed)) {
		add(to, fixed[kind]);
	} else if (kind == 9) {
		add(to, STR("."));
		add_bytes(to, random, below(random, 70), false);
	} else if (kind == 10) {
		add_bytes(to, random, LINE_MAX_OCTETS, below(random, 2) == 0);
	} else if (kind == 11) {
		add(to, STR("."));
		add_bytes(to, random, LINE_MAX_OCTETS - 1, false);
	} else {
		add_bytes(to, random, 1 + below(random, 76), kind < 14);
	}
	add(to, STR("\r\n"));
}

static void add_headers(uint32_t number, struct buf *to, uint64_t *random)
{
	must(buf_addf(to, "From: sender@client.test\r\nSubject: message %u\r\n", number) == 0);
	if (below(random, 2) == 0)
		add(to, STR("X-Folded: one\r\n\ttwo\r\n three\r\n"));
	if (below(random, 4) == 0)
		add(to, STR("Received: from elsewhere.test by client.test with SMTP id 1;\r\n"
			    "\tTue, 24 Nov 2026 06:24:00 +0000\r\n"));
	if (below(random, 4) == 0) {
		add(to, STR("X-Long: "));
		add_bytes(to, random, LINE_MAX_OCTETS - 8, false);
		add(to, STR("\r\n"));
	}
}

/* Up to exactly that length. */
static void fill(struct buf *to, uint64_t *random, size_t end)
{
	while (to->n + 2 * LINE_MAX_OCTETS < end)
		add_line(to, random);
	while (to->n < end) {
		size_t left = end - to->n;

		add_bytes(to, random, (left > 80 ? 70 : left) - 2, false);
		add(to, STR("\r\n"));
	}
}

void body_make(uint32_t number, uint32_t body_bytes, struct buf *to)
{
	uint64_t random = (uint64_t)number << 32 | body_bytes;
	size_t start = to->n;
	uint32_t shape = below(&random, 12);
	bool exact = body_bytes & BODY_EXACT;

	if (exact)
		shape = UINT32_MAX;

	must(buf_addf(to, "X-Sim: %u\r\n", number) == 0);
	if (body_to_be_refused(number))
		add(to, STR("X-Refuse: yes\r\n"));
	if (shape == 0)
		return; /* no body, not even the empty line before it */
	add_headers(number, to, &random);
	add(to, STR("\r\n"));
	if (shape == 1)
		return;
	if (exact) {
		fill(to, &random, start + (body_bytes & ~BODY_EXACT));
		return;
	}
	while (to->n - start < body_bytes)
		add_line(to, &random);
}
