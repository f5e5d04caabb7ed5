#include "proc/spoold/said.h"

#include "smtp/ehlo.h"
#include "smtp/meaning.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool begins_with_code(str s)
{
	return s.n > 3 && (s.p[0] == '4' || s.p[0] == '5') && is_digit(s.p[1]) &&
	       is_digit(s.p[2]) && (s.p[3] == ' ' || s.p[3] == '-');
}

/* Without what stands before the reply. */
static str reply_in(str text)
{
	for (size_t i = 0; i + 3 < text.n; i++)
		if ((i == 0 || text.p[i - 1] == ' ') && begins_with_code(str_from(text, i)))
			return str_from(text, i);
	return STR_NONE;
}

enum sched_said said_of(str reply, const Locum__Host *host)
{
	static const enum sched_said said[] = {
		[MEANING_NONE] = SAID_NOTHING,          [MEANING_TAKEN] = SAID_NOTHING,
		[MEANING_FULL] = SAID_RECIPIENT,        [MEANING_NO_USER] = SAID_RECIPIENT,
		[MEANING_GREYLISTED] = SAID_GREYLISTED, [MEANING_THROTTLED] = SAID_THROTTLED,
		[MEANING_BLOCKED] = SAID_BLOCKED,       [MEANING_RELAYING] = SAID_NOT_ITS_OWN,
		[MEANING_POLICY] = SAID_RECIPIENT,      [MEANING_TROUBLE] = SAID_OTHER,
	};
	enum meaning m = meaning_of(reply_in(reply));

	/* A primary that is told the client's address blocks the client, not us. */
	if (m == MEANING_BLOCKED && host && host->offers & EHLO_XCLIENT)
		return SAID_RECIPIENT;
	return said[m];
}

const struct said_text *said_text(enum sched_said said)
{
	static const struct said_text texts[] = {
		[SAID_GREYLISTED] = { "primary.greylists", "primary.greylists_no_more",
				      "greylists this server, so that mail goes there slowly",
				      "except this server's addresses from greylisting there" },
		[SAID_THROTTLED] = { "primary.throttles", "primary.throttles_no_more",
				     "limits how much it takes from this server",
				     "allow this server's addresses more connections and "
				     "messages there" },
		[SAID_BLOCKED] = { "primary.blocks", "primary.blocks_no_more", "blocks this server",
				   "allow this server's addresses there; its last word may name "
				   "the list they are on; then `locum release`" },
		[SAID_NOT_ITS_OWN] = { "primary.disowns", "primary.disowns_no_more",
				       "takes a domain of ours for a stranger's",
				       "make it a local or relay domain there, or correct "
				       "`primary` "
				       "here; then `locum release`" },
	};

	return &texts[said];
}
