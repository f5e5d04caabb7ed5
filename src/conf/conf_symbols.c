/*
 * What the checks are named, what they weigh, and what they do when the file says nothing.
 */
#include "conf/reader.h"

/* Refused by default is what no mail server does; the weights follow what content filters give. */
static const struct {
	const char *name;
	double score;
	enum conf_effect effect;
} built_in[CHECK_COUNT] = {
	[CHECK_EARLY_TALKER] = { "early-talker", 5, EFFECT_REFUSE },
	[CHECK_FOREIGN_PROTOCOL] = { "foreign-protocol", 5, EFFECT_REFUSE },
	[CHECK_PIPELINING] = { "pipelining", 2, EFFECT_SCORE },
	[CHECK_UNKNOWN_COMMANDS] = { "unknown-commands", 2, EFFECT_SCORE },
	[CHECK_NO_REVERSE_NAME] = { "no-reverse-name", 1, EFFECT_SCORE },
	[CHECK_REVERSE_UNCONFIRMED] = { "reverse-unconfirmed", 0.5, EFFECT_SCORE },
	[CHECK_HELO_OURS] = { "helo-ours", 5, EFFECT_REFUSE },
	[CHECK_HELO_BARE_WORD] = { "helo-bare-word", 1, EFFECT_SCORE },
	[CHECK_HELO_LITERAL] = { "helo-literal", 0.5, EFFECT_SCORE },
	[CHECK_HELO_UNKNOWN] = { "helo-unknown", 1, EFFECT_SCORE },
};

int conf_start_symbols(struct conf_reader *r)
{
	struct conf *c = r->conf;

	c->symbols = ARENA_ARRAY(&c->arena, struct conf_symbol, CHECK_COUNT + c->list_count);
	if (!c->symbols)
		return conf_fail_memory(r);
	for (size_t i = 0; i < CHECK_COUNT; i++)
		c->symbols[i] = (struct conf_symbol){
			.name = str_of(built_in[i].name),
			.score = built_in[i].score,
			.effect = built_in[i].effect,
		};
	c->symbol_count = CHECK_COUNT;
	return 0;
}

int conf_take_effects(struct conf_reader *r)
{
	struct conf *c = r->conf;

	for (size_t i = 0; i < c->domain_count; i++) {
		struct conf_domain *d = &c->domains[i];

		d->effects = ARENA_ARRAY(&c->arena, enum conf_effect, c->symbol_count);
		if (!d->effects)
			return conf_fail_memory(r);
		for (size_t k = 0; k < c->symbol_count; k++)
			d->effects[k] = c->symbols[k].effect;
	}
	return 0;
}
