/*
 * words: enum values as people and programs read them, and the colour they are shown in. The words are part
 * of the JSON contract.
 */
#pragma once

#include "cli/table.h"
#include "ipc/locum.pb-c.h"

const char *word_primary(Locum__PrimaryState state);
enum colour colour_primary(Locum__PrimaryState state);
const char *word_message(Locum__MessageState state);
enum colour colour_message(Locum__MessageState state);
/* Of smtpin: "none", "busy", "full". */
const char *word_stress(uint32_t stress);

/* What a primary offers (enum ehlo_extension, smtp/ehlo.h), one by one: the keyword of RFC or NULL past the last, and
 * whether a person who looks for what mail it can take wants to know. */
struct offer_word {
	const char *keyword;
	uint32_t bit;
	bool shown;
};

const struct offer_word *word_offer(size_t number);
