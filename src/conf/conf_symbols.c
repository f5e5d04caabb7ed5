/*
 * Symbols: the built-in ones, one for each DNS list, and what each does for each domain. The effect of a
 * symbol for a domain is the domain's own, else that of the top level, else the list's, else the built-in one.
 */
#include "conf/reader.h"

#include "base/cleanup.h"

#define LIST_NAME_MAX 32 /* it stands in replies */
#define CODES_MAX 64
/* A reversed IPv6 address takes 64 of the 253 characters of a name. */
#define ZONE_MAX (253 - 64)
#define SCORE_MAX 100
#define LIST_SCORE 3.0

/* Refused by default is what no mail server does; the weights are in the proportions of content filters. */
static const struct conf_symbol built_in[CHECK_COUNT] = {
	[CHECK_EARLY_TALKER] = { STR("early-talker"), 5, EFFECT_REFUSE },
	[CHECK_FOREIGN_PROTOCOL] = { STR("foreign-protocol"), 5, EFFECT_REFUSE },
	[CHECK_PIPELINING] = { STR("pipelining"), 2, EFFECT_SCORE },
	[CHECK_UNKNOWN_COMMANDS] = { STR("unknown-commands"), 2, EFFECT_SCORE },
	[CHECK_NO_REVERSE_NAME] = { STR("no-reverse-name"), 1, EFFECT_SCORE },
	[CHECK_REVERSE_UNCONFIRMED] = { STR("reverse-unconfirmed"), 0.5, EFFECT_SCORE },
	[CHECK_HELO_OURS] = { STR("helo-ours"), 5, EFFECT_REFUSE },
	[CHECK_HELO_BARE_WORD] = { STR("helo-bare-word"), 1, EFFECT_SCORE },
	[CHECK_HELO_LITERAL] = { STR("helo-literal"), 0.5, EFFECT_SCORE },
	[CHECK_HELO_UNKNOWN] = { STR("helo-unknown"), 1, EFFECT_SCORE },
};

static const char *const effect_words[] = { "off", "score", "refuse", NULL };

int conf_start_symbols(struct conf_reader *r)
{
	struct conf *c = r->conf;
	size_t lists = 0;

	for (size_t i = 0; i < r->block_count; i++)
		lists += r->blocks[i].section == SECTION_LIST;
	c->lists = ARENA_ARRAY(&c->arena, struct conf_list, lists);
	c->symbols = ARENA_ARRAY(&c->arena, struct conf_symbol, CHECK_COUNT + lists);
	if (!c->lists || !c->symbols)
		return conf_fail_memory(r);
	memcpy(c->symbols, built_in, sizeof(built_in));
	c->symbol_count = CHECK_COUNT;
	return 0;
}

/* --- lists --- */

static struct conf_symbol *symbol_of(const struct conf *c, const struct conf_list *l)
{
	return &c->symbols[CHECK_COUNT + (size_t)(l - c->lists)];
}

static bool is_symbol_name(str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9') &&
		    !(s.p[i] == '-' && i > 0))
			return false;
	return s.n > 0 && s.n <= LIST_NAME_MAX;
}

int conf_start_list(struct conf_reader *r, struct conf_block *b)
{
	struct conf *c = r->conf;
	struct conf_list *l = &c->lists[c->list_count];

	if (c->symbol_count == CONF_SYMBOLS_MAX)
		return conf_fail(r, b->line,
				 "list \"%.*s\" is one too many; there is room for %u, remove some",
				 SHOW(b->title), CONF_SYMBOLS_MAX - CHECK_COUNT);
	if (!is_symbol_name(b->title))
		return conf_fail(r, b->line,
				 "list \"%.*s\": a name has 1 to %d letters (a to z), digits and "
				 "hyphens; rename it",
				 SHOW(b->title), LIST_NAME_MAX);
	if (conf_symbol(c, b->title) >= 0)
		return conf_fail(r, b->line,
				 "list \"%.*s\" has the name of a check or of another list; "
				 "rename it",
				 SHOW(b->title));
	c->symbols[c->symbol_count++] = (struct conf_symbol){
		.name = b->title,
		.score = LIST_SCORE,
		.effect = EFFECT_SCORE,
	};
	l->name = b->title;
	c->list_count++;
	b->target = l;
	return 0;
}

int conf_take_zone(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_list *l = target;
	int result = conf_take_name(r, e->line, "zone", e->value, &l->zone);

	if (result == 0 && l->zone.n > ZONE_MAX)
		return conf_fail(r, e->line,
				 "zone \"%.*s\" has more than %d characters; a reversed IPv6 "
				 "address must fit in front of it",
				 SHOW(e->value), ZONE_MAX);
	return result;
}

static int parse_code(struct conf_reader *r, const struct conf_entry *e, str text, uint32_t *ret)
{
	struct addr a;
	uint32_t code;

	if (addr_parse_ip(text, 0, &a) < 0 || a.family != AF_INET)
		return conf_fail(r, e->line,
				 "codes: \"%.*s\" is not an answer or a range; write "
				 "\"127.0.0.2\" or \"127.0.0.2-127.0.0.11\"",
				 SHOW(e->value));
	memcpy(&code, a.ip, sizeof(code));
	*ret = ntohl(code);
	if (*ret >> 24 != 127)
		return conf_fail(r, e->line,
				 "codes: \"%.*s\" is outside of 127.0.0.0/8, where lists answer; "
				 "see what the list documents",
				 SHOW(e->value));
	return 0;
}

/* With 127.0.0.1 and 127.255.255.0/24 lists say that they do not answer us, not that a client is listed. */
static bool is_no_listing(const struct conf_code *code)
{
	return code->first < 0x7f000002 || code->last >= 0x7fffff00;
}

int conf_take_code(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_list *l = target;
	struct conf_code code = { 0 };
	str first, last;
	bool range = str_cut(e->value, '-', &first, &last);
	int result = parse_code(r, e, str_trim(first), &code.first);

	if (result == 0)
		result = parse_code(r, e, str_trim(range ? last : first), &code.last);
	if (result < 0)
		return result;
	if (code.first > code.last)
		return conf_fail(r, e->line, "codes: \"%.*s\" ends before it begins; swap the two",
				 SHOW(e->value));
	if (is_no_listing(&code))
		return conf_fail(r, e->line,
				 "codes: \"%.*s\" takes in 127.0.0.1 or 127.255.255.x, with which "
				 "lists refuse to answer; leave them out",
				 SHOW(e->value));
	for (size_t i = 0; i < l->code_count; i++)
		if (code.first <= l->codes[i].last && l->codes[i].first <= code.last)
			return conf_fail(r, e->line,
					 "codes: \"%.*s\" overlaps another one; remove one",
					 SHOW(e->value));
	if (l->code_count == CODES_MAX)
		return conf_fail(r, e->line, "codes: more than %d; write ranges", CODES_MAX);
	if (conf_grow(r->conf, &l->codes, l->code_count, sizeof(code)) < 0)
		return conf_fail_memory(r);
	l->codes[l->code_count++] = code;
	return 0;
}

/* "4.5", "-2", ".25" in hundredths; strtod() would ask the locale. 0 or -EINVAL, -ERANGE. */
static int parse_hundredths(str text, int *ret)
{
	bool negative = str_starts(text, STR("-"));
	uint64_t whole = 0, part = 0;
	str whole_text, part_text;
	bool pointed = str_cut(str_from(text, negative), '.', &whole_text, &part_text);
	int result = 0;

	if (part_text.n > 2 || (pointed ? part_text.n : whole_text.n) == 0)
		return -EINVAL;
	if (whole_text.n)
		result = str_u64(whole_text, SCORE_MAX, &whole);
	if (result == 0 && part_text.n)
		result = str_u64(part_text, 99, &part);
	if (result < 0)
		return result;
	*ret = (int)(100 * whole + (part_text.n == 1 ? 10 * part : part));
	if (*ret > 100 * SCORE_MAX)
		return -ERANGE;
	*ret = negative ? -*ret : *ret;
	return 0;
}

int conf_take_score(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	int hundredths;
	int result = parse_hundredths(e->value, &hundredths);

	if (result == -EINVAL)
		return conf_fail(r, e->line,
				 "score = \"%.*s\" is not a number; write one with at most two "
				 "decimals, such as 4.5",
				 SHOW(e->value));
	if (result < 0 || hundredths == 0)
		return conf_fail(r, e->line,
				 "score = %.*s is out of range; allowed are 0.01 to %d, negative "
				 "for a list with allow = true",
				 SHOW(e->value), SCORE_MAX);
	symbol_of(r->conf, target)->score = hundredths / 100.0;
	return 0;
}

int conf_take_list_effect(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	unsigned effect = 0;
	int result = conf_take_word(r, e, effect_words, "off, score, refuse", &effect);

	symbol_of(r->conf, target)->effect = effect;
	return result;
}

int conf_take_allow(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	struct conf_list *l = target;

	return conf_take_bool(r, e, &l->allow);
}

static int check_score(struct conf_reader *r, const struct conf_list *l)
{
	struct conf_symbol *s = symbol_of(r->conf, l);

	if (!conf_entry_of(r, l, "score"))
		s->score = l->allow ? -LIST_SCORE : LIST_SCORE;
	if (l->allow && s->score > 0)
		return conf_fail(r, conf_line_of(r, l, "score"),
				 "the score of a list with allow = true is negative: it speaks for "
				 "the client; write -%g",
				 s->score);
	if (!l->allow && s->score < 0)
		return conf_fail(r, conf_line_of(r, l, "score"),
				 "a negative score speaks for the client; add allow = true, or "
				 "write %g",
				 -s->score);
	return 0;
}

int conf_check_list(struct conf_reader *r, struct conf_list *l)
{
	/* What RFC 5782 §2.1 says of a listing, without 127.0.0.255, which some answer to those they
	 * shut out. */
	static const struct conf_code usual = { 0x7f000002, 0x7f0000fe };

	if (!l->zone.n)
		return conf_fail(r, conf_line_of(r, l, ""),
				 "list \"%.*s\" has no zone; write zone = \"zen.example.org\"",
				 SHOW(l->name));
	if (l->allow && symbol_of(r->conf, l)->effect == EFFECT_REFUSE)
		return conf_fail(r, conf_line_of(r, l, "effect"),
				 "list \"%.*s\" has allow = true and cannot refuse; write effect = "
				 "\"score\"",
				 SHOW(l->name));
	if (!l->code_count) {
		l->codes = ARENA_NEW(&r->conf->arena, struct conf_code);
		if (!l->codes)
			return conf_fail_memory(r);
		l->codes[l->code_count++] = usual;
	}
	return check_score(r, l);
}

/* --- checks = {"SYMBOL=EFFECT"} --- */

static int fail_unknown_symbol(struct conf_reader *r, const struct conf_entry *e, str name)
{
	_cleanup_(buf_done) struct buf known;

	buf_init(&known, 512);
	for (size_t i = 0; i < r->conf->symbol_count; i++)
		buf_addf(&known, "%s%.*s", i ? ", " : "", SHOW(r->conf->symbols[i].name));
	return conf_fail(r, e->line,
			 "checks: \"%.*s\" is neither a check nor a list; known are %.*s",
			 SHOW(name), STR_ARG(buf_str(&known)));
}

static bool parse_effect(str word, enum conf_effect *ret)
{
	for (unsigned i = 0; effect_words[i]; i++) {
		if (!str_eq(word, str_of(effect_words[i])))
			continue;
		*ret = i;
		return true;
	}
	return false;
}

static int parse_check(struct conf_reader *r, const struct conf_entry *e, size_t *ret_symbol,
		       enum conf_effect *ret_effect)
{
	str name, effect;
	bool cut = str_cut(e->value, '=', &name, &effect);
	int symbol = conf_symbol(r->conf, str_trim(name));

	if (!cut || !parse_effect(str_trim(effect), ret_effect))
		return conf_fail(r, e->line,
				 "checks: \"%.*s\" is not NAME=EFFECT; write \"%.*s=off\", "
				 "\"=score\" or \"=refuse\"",
				 SHOW(e->value), SHOW(str_trim(name)));
	if (symbol < 0)
		return fail_unknown_symbol(r, e, str_trim(name));
	*ret_symbol = (size_t)symbol;
	return 0;
}

/* They are applied later, when the effects of all lists are known: here only their mistakes are found. */
int conf_take_check(struct conf_reader *r, void *target, const struct conf_entry *e)
{
	enum conf_effect effect = EFFECT_OFF;
	size_t symbol = 0, other = 0;
	int result = parse_check(r, e, &symbol, &effect);

	(void)target;
	for (const struct conf_entry *i = e;
	     result == 0 && (i = conf_entry_before(r, i)) != NULL;) {
		result = parse_check(r, i, &other, &effect);
		if (result == 0 && other == symbol)
			return conf_fail(r, e->line,
					 "checks: %.*s is there twice, first in line %u; remove "
					 "one",
					 SHOW(r->conf->symbols[symbol].name), i->line);
	}
	return result;
}

static int apply(struct conf_reader *r, const struct conf_entry *e, struct conf_domain *d)
{
	struct conf *c = r->conf;
	const struct conf_list *l;
	enum conf_effect effect = EFFECT_OFF;
	size_t symbol = 0;
	int result = parse_check(r, e, &symbol, &effect);

	if (result < 0)
		return result;
	l = symbol < CHECK_COUNT ? NULL : &c->lists[symbol - CHECK_COUNT];
	if (l && l->allow && effect == EFFECT_REFUSE)
		return conf_fail(r, e->line,
				 "checks: list \"%.*s\" has allow = true and cannot refuse; write "
				 "\"%.*s=score\"",
				 SHOW(l->name), SHOW(l->name));
	if (l && !d && conf_entry_of(r, l, "effect"))
		return conf_fail(r, e->line,
				 "checks: list \"%.*s\" has an effect of its own in line %u; "
				 "remove one",
				 SHOW(l->name), conf_line_of(r, l, "effect"));
	if (d)
		d->effects[symbol] = effect;
	else
		c->symbols[symbol].effect = effect;
	return 0;
}

static int apply_all(struct conf_reader *r, enum conf_section section)
{
	int result = 0;

	for (size_t i = 0; i < r->entry_count && result == 0; i++) {
		const struct conf_entry *e = &r->entries[i];

		if (e->option->section == section && e->option->take == conf_take_check)
			result = apply(r, e,
				       section == SECTION_TOP ? NULL : r->blocks[e->block].target);
	}
	return result;
}

int conf_take_effects(struct conf_reader *r)
{
	struct conf *c = r->conf;
	int result = apply_all(r, SECTION_TOP);

	for (size_t i = 0; i < c->domain_count && result == 0; i++) {
		struct conf_domain *d = &c->domains[i];

		d->effects = ARENA_ARRAY(&c->arena, enum conf_effect, c->symbol_count);
		if (!d->effects)
			return conf_fail_memory(r);
		for (size_t k = 0; k < c->symbol_count; k++)
			d->effects[k] = c->symbols[k].effect;
	}
	return result < 0 ? result : apply_all(r, SECTION_DOMAIN);
}
