#include "proc/smtpin/rates.h"

#define PATIENCE 5 /* mistakes and unknown recipients without any wait */
#define TARPIT_STEP (250 * NSEC_MS)
#define TARPIT_MAX (5 * NSEC_S)

static uint32_t limit_of(const struct conf *c, enum client_count what)
{
	switch (what) {
	case CLIENT_MESSAGES:
		return c->rates.messages;
	case CLIENT_RECIPIENTS:
		return c->rates.recipients;
	case CLIENT_UNKNOWN_RECIPIENTS:
		return c->rates.unknown_recipients;
	case CLIENT_ERRORS:
		return c->rates.errors;
	case CLIENT_COUNTS:
		break;
	}
	return 0;
}

/* Half a one less: the first of n has faded a little when the n-th comes. */
int rates_check(const struct conf *conf, const double rates[static CLIENT_COUNTS])
{
	for (int i = 0; i < CLIENT_COUNTS; i++) {
		uint32_t limit = limit_of(conf, (enum client_count)i);

		if (limit && rates[i] >= limit - 0.5)
			return i;
	}
	return RATES_NONE;
}

const char *rates_name(enum client_count what)
{
	static const char *const name[] = {
		[CLIENT_MESSAGES] = "messages",
		[CLIENT_RECIPIENTS] = "recipients",
		[CLIENT_UNKNOWN_RECIPIENTS] = "unknown_recipients",
		[CLIENT_ERRORS] = "errors",
	};

	must(what < CLIENT_COUNTS);
	return name[what];
}

nsec tarpit_delay(unsigned mistakes, unsigned unknown_recipients, bool favoured)
{
	uint64_t bad = (uint64_t)mistakes + unknown_recipients;

	if (favoured || bad < PATIENCE)
		return 0;
	bad -= PATIENCE - 1;
	return bad < TARPIT_MAX / TARPIT_STEP ? (nsec)bad * TARPIT_STEP : TARPIT_MAX;
}
