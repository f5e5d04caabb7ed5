/*
 * msg_id: the name of a message, from the session that took it to the Received header the primary sees.
 * A ULID: 48 bits of wall-clock milliseconds, 80 random bits, written as 26 characters of
 * Crockford's base 32, so ids sort by arrival and never collide between nodes.
 */
#pragma once

#include "base/str.h"

typedef struct msg_id {
	uint8_t byte[16];
} msg_id;

#define ID_TEXT_LENGTH 26

msg_id id_make(nsec now_wall, const uint8_t random[10]);
bool id_eq(msg_id a, msg_id b);
/* Writes 26 characters and a NUL. */
void id_text(msg_id id, char ret_text[static ID_TEXT_LENGTH + 1]);
/* Accepts lower case. 0 or -EINVAL. */
int id_parse(str text, msg_id *ret_id);
/* When the id was made, from its first 48 bits. */
nsec id_made_wall(msg_id id);

static inline uint64_t id_hash(msg_id id)
{
	uint64_t random;

	memcpy(&random, id.byte + 8, sizeof random); /* already random: no mixing needed */
	return random;
}
