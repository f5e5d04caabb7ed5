#include "smtp/meaning.h"

#define ANY 0xffff

/* A row fits when the class, the enhanced code and the words do. Words are lower case and begin where a word begins;
 * what follows them may go on ("block" fits "blocked"). */
static const struct row {
	int class; /* 4, 5; 0: both */
	uint16_t subject, detail;
	const char *words; /* NULL: any */
	enum meaning meaning;
} rows[] = {
#define WORDS(class, words, meaning)                                                               \
	{                                                                                          \
		class, ANY, ANY, words, MEANING_##meaning                                          \
	}
#define CODE(class, subject, detail, meaning)                                                      \
	{                                                                                          \
		class, subject, detail, NULL, MEANING_##meaning                                    \
	}
#define BOTH(class, subject, detail, words, meaning)                                               \
	{                                                                                          \
		class, subject, detail, words, MEANING_##meaning                                   \
	}
	/* Strangers wait. Before what names our address: a greylist does. */
	WORDS(4, "greylist", GREYLISTED),
	WORDS(4, "graylist", GREYLISTED),
	WORDS(4, "grey-list", GREYLISTED),
	WORDS(4, "grey list", GREYLISTED),
	WORDS(4, "postgrey", GREYLISTED),
	WORDS(4, "you are being tested", GREYLISTED),
	WORDS(4, "please come back later", GREYLISTED),
	WORDS(4, "first time sender", GREYLISTED),

	/* The mailbox is full. */
	CODE(0, 2, 2, FULL),
	WORDS(0, "quota", FULL),
	WORDS(0, "mailbox full", FULL),
	WORDS(0, "mailbox is full", FULL),
	WORDS(0, "inbox is full", FULL),
	WORDS(0, "mailfolder is full", FULL),
	WORDS(0, "account is full", FULL),
	WORDS(0, "out of storage space", FULL),
	WORDS(0, "storage limit", FULL),

	/* What the words further down would take for something else. */
	WORDS(0, "may not exist, they may be blacklisted", POLICY),
	WORDS(5, "in relay recipient table", NO_USER),
	WORDS(5, "not listed in domino", NO_USER),
	WORDS(5, "not listed in public", NO_USER),
	WORDS(0, "message size", POLICY),
	WORDS(0, "size limit", POLICY),
	WORDS(0, "hop", POLICY),

	/* Too much at once. */
	WORDS(0, "too many connection", THROTTLED),
	WORDS(0, "too many concurrent", THROTTLED),
	WORDS(0, "too many open connection", THROTTLED),
	WORDS(0, "too many simultaneous", THROTTLED),
	WORDS(0, "too many session", THROTTLED),
	WORDS(0, "too many messages", THROTTLED),
	WORDS(0, "too much mail", THROTTLED),
	WORDS(0, "too many new recipients", THROTTLED),
	WORDS(0, "too many recipients received", THROTTLED),
	WORDS(0, "too many errors", THROTTLED),
	WORDS(0, "maximum number of concurrent", THROTTLED),
	WORDS(0, "concurrency", THROTTLED),
	WORDS(0, "throttl", THROTTLED),
	WORDS(0, "rate limit", THROTTLED),
	WORDS(0, "rate-limit", THROTTLED),
	WORDS(0, "ratelimit", THROTTLED),
	WORDS(0, "rate exceed", THROTTLED),
	WORDS(0, "limit exceeded", THROTTLED),
	WORDS(0, "at a rate that prevents", THROTTLED),
	WORDS(0, "receiving mail too quickly", THROTTLED),
	WORDS(0, "unusual rate", THROTTLED),
	WORDS(0, "unexpected volume", THROTTLED),
	WORDS(0, "connection limit", THROTTLED),
	WORDS(0, "connection rate", THROTTLED),
	WORDS(0, "slow down", THROTTLED),
	WORDS(4, "server busy", THROTTLED),
	WORDS(4, "server is busy", THROTTLED),
	WORDS(4, "too busy", THROTTLED),

	/* The sender, or what we pass on for it. Before the user: "No such user. Sender verify failed." */
	WORDS(0, "sender verif", POLICY),
	WORDS(0, "sender address", POLICY),
	WORDS(0, "sender rejected", POLICY),
	WORDS(0, "sender domain", POLICY),
	WORDS(0, "sender denied", POLICY),
	WORDS(0, "sender is unauthenticated", POLICY),
	WORDS(0, "domain of sender", POLICY),
	WORDS(0, "envelope sender", POLICY),
	WORDS(0, "banned sender", POLICY),
	WORDS(0, "invalid sender", POLICY),
	WORDS(0, "unknown sender", POLICY),
	WORDS(0, "return path", POLICY),
	WORDS(0, "return-path", POLICY),

	/* Us: by address, name or reputation. */
	WORDS(0, "block", BLOCKED),
	WORDS(0, "blacklist", BLOCKED),
	WORDS(0, "black list", BLOCKED),
	WORDS(0, "black-list", BLOCKED),
	WORDS(0, "denylist", BLOCKED),
	WORDS(0, "blackhole", BLOCKED),
	WORDS(0, "dnsbl", BLOCKED),
	WORDS(0, "rbl", BLOCKED),
	WORDS(0, "listed in", BLOCKED),
	WORDS(0, "listed at", BLOCKED),
	WORDS(0, "listed by", BLOCKED),
	WORDS(0, "listed on", BLOCKED),
	WORDS(0, "spamhaus", BLOCKED),
	WORDS(0, "spamcop", BLOCKED),
	WORDS(0, "barracuda", BLOCKED),
	WORDS(0, "reputation", BLOCKED),
	WORDS(0, "banned", BLOCKED),
	WORDS(0, "client host", BLOCKED),
	WORDS(0, "client address", BLOCKED),
	WORDS(0, "helo", BLOCKED),
	WORDS(0, "ehlo", BLOCKED),
	WORDS(0, "reverse dns", BLOCKED),
	WORDS(0, "rdns", BLOCKED),
	WORDS(0, "ptr record", BLOCKED),
	WORDS(0, "reverse hostname", BLOCKED),
	WORDS(0, "your ip", BLOCKED),
	WORDS(0, "your host", BLOCKED),
	WORDS(0, "your server", BLOCKED),
	WORDS(0, "your mail server", BLOCKED),
	WORDS(0, "your network", BLOCKED),
	WORDS(0, "ip address", BLOCKED),
	WORDS(0, "sending ip", BLOCKED),
	WORDS(0, "the ip you", BLOCKED),
	WORDS(0, "connection refused", BLOCKED),
	WORDS(0, "connection rejected", BLOCKED),
	WORDS(0, "not authorized to send", BLOCKED),

	/* More of what we pass on. */
	WORDS(0, "mail from", POLICY),
	WORDS(0, "spf", POLICY),
	WORDS(0, "dmarc", POLICY),
	WORDS(0, "dkim", POLICY),

	/* Not its domain. */
	WORDS(0, "relay", RELAYING),
	WORDS(0, "rcpthosts", RELAYING),
	WORDS(0, "not a local domain", RELAYING),
	WORDS(0, "no such domain", RELAYING),
	WORDS(0, "not accepted domain", RELAYING),
	WORDS(0, "non-accepted domain", RELAYING),
	WORDS(0, "domain isn't", RELAYING),
	WORDS(0, "domain not found", RELAYING),
	WORDS(0, "domain does not exist", RELAYING),

	/* Permission, content, verification that failed for another reason. */
	WORDS(5, "policy", POLICY),
	WORDS(5, "policies", POLICY),
	WORDS(5, "spam", POLICY),
	WORDS(5, "virus", POLICY),
	WORDS(5, "prohibit", POLICY),
	WORDS(5, "authenticat", POLICY),
	WORDS(5, "permission", POLICY),
	WORDS(5, "starttls", POLICY),
	WORDS(5, "too large", POLICY),
	WORDS(5, "too big", POLICY),
	WORDS(5, "exceeds", POLICY),
	WORDS(5, "loop", POLICY),
	WORDS(5, "too many", POLICY),

	/* Codes about the sender's side, whatever the words: 5.1.7 and 5.1.8, 5.1.9. And the domain's: 5.1.2. */
	CODE(5, 1, 7, POLICY),
	CODE(5, 1, 8, POLICY),
	CODE(5, 1, 9, POLICY),
	CODE(5, 1, 2, RELAYING),

	/* No such user. Words before codes: some say it with 5.7.1, 5.5.0 or no code at all. */
	BOTH(5, 4, 1, "recipient address rejected",
	     NO_USER), /* Exchange Online, from its directory */
	WORDS(5, "no such user", NO_USER),
	WORDS(5, "no such recipient", NO_USER),
	WORDS(5, "no such mailbox", NO_USER),
	WORDS(5, "no such account", NO_USER),
	WORDS(5, "no such address", NO_USER),
	WORDS(5, "no such person", NO_USER),
	WORDS(5, "no such local user", NO_USER),
	WORDS(5, "no mailbox", NO_USER),
	WORDS(5, "no account", NO_USER),
	WORDS(5, "no user", NO_USER),
	WORDS(5, "unknown user", NO_USER),
	WORDS(5, "unknown recipient", NO_USER),
	WORDS(5, "unknown local", NO_USER),
	WORDS(5, "unknown address", NO_USER),
	WORDS(5, "unknown mailbox", NO_USER),
	WORDS(5, "unknown account", NO_USER),
	WORDS(5, "user unknown", NO_USER),
	WORDS(5, "recipient unknown", NO_USER),
	WORDS(5, "mailbox unknown", NO_USER),
	WORDS(5, "address unknown", NO_USER),
	WORDS(5, "- unknown", NO_USER), /* the address */
	WORDS(5, "- is unknown", NO_USER),
	WORDS(5, "is not known", NO_USER),
	WORDS(5, "user not found", NO_USER),
	WORDS(5, "recipient not found", NO_USER),
	WORDS(5, "recipnotfound", NO_USER),
	WORDS(5, "recipientnotfound", NO_USER),
	WORDS(5, "resolver.adr.recip", NO_USER),
	WORDS(5, "mailbox not found", NO_USER),
	WORDS(5, "account not found", NO_USER),
	WORDS(5, "address not found", NO_USER),
	WORDS(5, "invalid recipient", NO_USER),
	WORDS(5, "invalid mailbox", NO_USER),
	WORDS(5, "invalid user", NO_USER),
	WORDS(5, "invalid address", NO_USER),
	WORDS(5, "recipient invalid", NO_USER),
	WORDS(5, "recipient is invalid", NO_USER),
	WORDS(5, "destination address invalid", NO_USER),
	WORDS(5, "does not exist", NO_USER),
	WORDS(5, "doesn't exist", NO_USER),
	WORDS(5, "not exist", NO_USER),
	WORDS(5, "does not have an account", NO_USER),
	WORDS(5, "doesn't have a", NO_USER),
	WORDS(5, "unrouteable address", NO_USER),
	WORDS(5, "unroutable address", NO_USER),
	WORDS(5, "undeliverable address", NO_USER),
	WORDS(5, "not a valid mailbox", NO_USER),
	WORDS(5, "not a valid recipient", NO_USER),
	WORDS(5, "not a valid user", NO_USER),
	WORDS(5, "not a known user", NO_USER),
	WORDS(5, "account is disabled", NO_USER),
	WORDS(5, "account has been disabled", NO_USER),
	WORDS(5, "account disabled", NO_USER),
	WORDS(5, "mailbox disabled", NO_USER),
	WORDS(5, "is disabled", NO_USER),
	WORDS(5, "is inactive", NO_USER),
	WORDS(5, "account inactive", NO_USER),
	WORDS(5, "mailbox unavailable", NO_USER),
	CODE(5, 1, 0, NO_USER),
	CODE(5, 1, 1, NO_USER),
	CODE(5, 1, 3, NO_USER),
	CODE(5, 1, 6, NO_USER),
	CODE(5, 1, 10, NO_USER),
	CODE(5, 2, 1, NO_USER),

	/* Codes alone. RFC 7372: 7.25 no reverse name; 7.24, 7.23 and 7.20 to 22 are about the sender. */
	CODE(0, 7, 25, BLOCKED),
	CODE(4, 7, 1, GREYLISTED),
	CODE(4, 7, ANY, THROTTLED),
#undef WORDS
#undef CODE
#undef BOTH
};

static const char *const names[] = {
	[MEANING_NONE] = "no reply",
	[MEANING_TAKEN] = "taken",
	[MEANING_FULL] = "mailbox full",
	[MEANING_NO_USER] = "no such user",
	[MEANING_GREYLISTED] = "greylisted",
	[MEANING_THROTTLED] = "throttled",
	[MEANING_BLOCKED] = "we are blocked",
	[MEANING_RELAYING] = "not its domain",
	[MEANING_POLICY] = "refused by policy",
	[MEANING_TROUBLE] = "temporary trouble",
};

const char *meaning_name(enum meaning m)
{
	must((size_t)m < ELEMENTS(names));
	return names[m];
}

/* --- reading --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

/* "5.1.1" at the start of text, of that class; whatever is no digit may follow. */
static bool enhanced_at(str text, int class, struct enhanced_code *ret)
{
	uint16_t part[3] = { 0 };
	size_t at = 0;

	for (int i = 0; i < 3; i++) {
		size_t digits = 0;

		if (i > 0 && (at >= text.n || text.p[at++] != '.'))
			return false;
		while (at < text.n && is_digit(text.p[at])) {
			if (++digits > 3)
				return false;
			part[i] = (uint16_t)(part[i] * 10 + (text.p[at++] - '0'));
		}
		if (digits == 0)
			return false;
	}
	/* A fourth number: an address. */
	if ((at < text.n && text.p[at] == '.') || part[0] != class)
		return false;
	*ret = (struct enhanced_code){ (uint8_t)part[0], part[1], part[2] };
	return true;
}

/* Where it belongs, or behind a '#', as qmail and others write it. */
static struct enhanced_code find_enhanced(str text, int class)
{
	struct enhanced_code code = { 0 };

	if (enhanced_at(text, class, &code))
		return code;
	for (size_t i = 0; i + 1 < text.n; i++)
		if (text.p[i] == '#' && enhanced_at(str_from(text, i + 1), class, &code))
			return code;
	return code;
}

static str next_token(str *rest)
{
	str all = str_trim(*rest);
	size_t n = 0;
	/* An address may hold spaces, in quotes. */
	char close = all.n > 0 && all.p[0] == '<' ? '>' : ' ';

	while (n < all.n && all.p[n] != close)
		n++;
	if (n == all.n && close == '>')
		for (n = 0; n < all.n && all.p[n] != ' '; n++) {
		}
	else if (close == '>')
		n++;
	*rest = str_from(all, n);
	return str_first(all, n);
}

/* Lower case, one space between words, without addresses and URLs. */
static str read_words(str text, char *to, size_t size)
{
	size_t n = 0;

	text = str_first(text, MEANING_TEXT_MAX);
	while (text.n > 0) {
		str token = next_token(&text);

		if (token.n == 0)
			break;
		if (token.p[0] == '<' || str_index(token, '@') >= 0 ||
		    str_find(token, STR("://")) >= 0)
			token = STR("-");
		if (n + token.n + 1 > size)
			break;
		for (size_t i = 0; i < token.n; i++) {
			char c = token.p[i];

			to[n++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
		}
		to[n++] = ' ';
	}
	return str_mem(to, n);
}

static bool has_words(str text, str words)
{
	for (size_t from = 0; from < text.n;) {
		ssize_t at = str_find(str_from(text, from), words);

		if (at < 0)
			return false;
		from += (size_t)at;
		if (from == 0 || !is_word(text.p[from - 1]))
			return true;
		from++;
	}
	return false;
}

static bool fits(const struct row *row, int class, struct enhanced_code code, str words)
{
	if (row->class && row->class != class)
		return false;
	if (row->subject != ANY && (!code.class || row->subject != code.subject))
		return false;
	if (row->detail != ANY && row->detail != code.detail)
		return false;
	return !row->words || has_words(words, str_of(row->words));
}

enum meaning meaning_of(str line)
{
	char text[MEANING_TEXT_MAX + 1];
	struct enhanced_code code;
	int class;
	str words;
	size_t i;

	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) ||
	    !is_digit(line.p[2]) || (line.n > 3 && line.p[3] != ' '))
		return MEANING_NONE;
	class = line.p[0] - '0';
	if (class == 2)
		return MEANING_TAKEN;
	if (class == 3)
		return MEANING_NONE;
	line = str_trim(str_from(line, 3));
	words = read_words(line, text, sizeof(text));
	code = find_enhanced(words, class);
	for (i = 0; i < ELEMENTS(rows); i++)
		if (fits(&rows[i], class, code, words))
			break;
	if (i < ELEMENTS(rows) && (class == 5 || rows[i].meaning != MEANING_POLICY))
		return rows[i].meaning;
	return class == 5 ? MEANING_POLICY : MEANING_TROUBLE;
}

enum meaning meaning_of_reply(const struct reply *r)
{
	char line[MEANING_TEXT_MAX];

	return meaning_of(reply_one_line(r, line, sizeof(line)));
}
