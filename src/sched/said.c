#include "sched/inside.h"

#define SAID_DELIVERIES 20 /* in a row that end it */

/* Replies without a delivery between them from which on it is more than chance. */
static const uint32_t times[] = {
	[SAID_NOTHING] = 0,   [SAID_RECIPIENT] = 0, [SAID_OTHER] = 0,       [SAID_GREYLISTED] = 3,
	[SAID_THROTTLED] = 3, [SAID_BLOCKED] = 5,   [SAID_NOT_ITS_OWN] = 3,
};

static void end(struct sched *s, struct sched_destination *d, nsec now)
{
	if (d->said.told)
		sched_tell(s, NOTICE_SAID_NO_MORE, d, now - d->said.since);
	d->said.what = SAID_NOTHING;
	d->said.told = false;
	d->said.count = d->said.deliveries = 0;
}

void said_lapse(struct sched *s, struct sched_destination *d, nsec now)
{
	if (d->said.what != SAID_NOTHING && now - d->said.at >= NSEC_HOUR)
		end(s, d, now);
}

static void good(struct sched *s, struct sched_destination *d, nsec now)
{
	if (d->said.what == SAID_NOTHING)
		return;
	if (!d->said.told)
		d->said.count = 0;
	if (++d->said.deliveries >= SAID_DELIVERIES)
		end(s, d, now);
}

void said_note(struct sched *s, struct sched_destination *d, const struct sched_report *report,
	       nsec now)
{
	said_lapse(s, d, now);
	if (report->delivered) {
		good(s, d, now);
		return;
	}
	if (report->said < SAID_GREYLISTED)
		return;
	if (d->said.what != report->said) {
		end(s, d, now);
		d->said.what = report->said;
		d->said.since = now;
	}
	d->said.at = now;
	d->said.count++;
	d->said.deliveries = 0;
	if (d->said.told || d->said.count < times[d->said.what])
		return;
	d->said.told = true;
	sched_tell(s, NOTICE_SAID, d, d->said.count);
}

enum sched_said sched_said(const struct sched_destination *d, nsec now)
{
	return d->said.told && now - d->said.at < NSEC_HOUR ? d->said.what : SAID_NOTHING;
}
