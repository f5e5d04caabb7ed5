#include "cli/words.h"

struct word {
	const char *text;
	enum colour colour;
};

static const struct word unknown_word = { "?", COLOUR_NONE };

static const struct word primary_words[] = {
	[LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN] = { "unknown", COLOUR_NONE },
	[LOCUM__PRIMARY_STATE__PRIMARY_UP] = { "up", COLOUR_GOOD },
	[LOCUM__PRIMARY_STATE__PRIMARY_REFUSING] = { "refusing", COLOUR_WARN },
	[LOCUM__PRIMARY_STATE__PRIMARY_UNREACHABLE] = { "unreachable", COLOUR_BAD },
	[LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE] = { "no-route", COLOUR_BAD },
};

static const struct word message_words[] = {
	[LOCUM__MESSAGE_STATE__MESSAGE_NONE] = { "none", COLOUR_NONE },
	[LOCUM__MESSAGE_STATE__MESSAGE_QUEUED] = { "queued", COLOUR_NONE },
	[LOCUM__MESSAGE_STATE__MESSAGE_DELIVERING] = { "delivering", COLOUR_GOOD },
	[LOCUM__MESSAGE_STATE__MESSAGE_HELD] = { "held", COLOUR_WARN },
	[LOCUM__MESSAGE_STATE__MESSAGE_PARKED] = { "parked", COLOUR_WARN },
	[LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED] = { "delivered", COLOUR_GOOD },
	[LOCUM__MESSAGE_STATE__MESSAGE_DROPPED] = { "dropped", COLOUR_DIM },
};

/* A newer locumd may know more values. */
static const struct word *find(const struct word *words, size_t count, unsigned value)
{
	return value < count ? &words[value] : &unknown_word;
}

const char *word_primary(Locum__PrimaryState state)
{
	return find(primary_words, ELEMENTS(primary_words), state)->text;
}

enum colour colour_primary(Locum__PrimaryState state)
{
	return find(primary_words, ELEMENTS(primary_words), state)->colour;
}

const char *word_message(Locum__MessageState state)
{
	return find(message_words, ELEMENTS(message_words), state)->text;
}

enum colour colour_message(Locum__MessageState state)
{
	return find(message_words, ELEMENTS(message_words), state)->colour;
}

const char *word_stress(uint32_t stress)
{
	static const char *const words[] = { "none", "busy", "full" };

	return stress < ELEMENTS(words) ? words[stress] : "?";
}

/* Those that decide what it can take; the others only make it quicker. */
static const struct offer_word offer_words[] = {
	{ EHLO_STARTTLS, true },    { EHLO_8BITMIME, true },
	{ EHLO_SMTPUTF8, true },    { EHLO_DSN, true },
	{ EHLO_CHUNKING, true },    { EHLO_BINARYMIME, true },
	{ EHLO_REQUIRETLS, true },  { EHLO_SIZE, false },
	{ EHLO_PIPELINING, false }, { EHLO_ENHANCEDSTATUSCODES, false },
	{ EHLO_XCLIENT, false },    { EHLO_XFORWARD, false },
	{ EHLO_ETRN, false },       { EHLO_AUTH, false },
};

const struct offer_word *word_offer(size_t number)
{
	return number < ELEMENTS(offer_words) ? &offer_words[number] : NULL;
}
