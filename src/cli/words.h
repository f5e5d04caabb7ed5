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
