/*
 * words: enum values as people and programs read them, and the colour they are shown in. The words are part
 * of the JSON contract.
 */
#pragma once

#include "cli/table.h"
#include "ipc/locum.pb-c.h"
#include "smtp/ehlo.h"

const char *word_primary(Locum__PrimaryState state);
enum colour colour_primary(Locum__PrimaryState state);
const char *word_message(Locum__MessageState state);
enum colour colour_message(Locum__MessageState state);
/* Of smtpin: "none", "busy", "full". */
const char *word_stress(uint32_t stress);

/* What a primary offers, one by one in the order in which it is shown; NULL past the last. */
struct offer_word {
	enum ehlo_extension extension;
	bool shown; /* also to a person, who wants to know what mail it can take */
};

const struct offer_word *word_offer(size_t number);
