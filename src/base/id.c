#include "base/id.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

msg_id id_make(nsec now_wall, const uint8_t random[10])
{
	uint64_t ms = (uint64_t)(now_wall / NSEC_MS);
	msg_id id;

	for (int i = 0; i < 6; i++)
		id.byte[i] = (uint8_t)(ms >> (8 * (5 - i)));
	memcpy(id.byte + 6, random, 10);
	return id;
}

bool id_eq(msg_id a, msg_id b)
{
	return memcmp(a.byte, b.byte, sizeof(a.byte)) == 0;
}

/* 128 bits in 26 characters of 5 bits: the first carries only three. */
void id_text(msg_id id, char ret_text[static ID_TEXT_LENGTH + 1])
{
	unsigned __int128 bits = 0;

	for (size_t i = 0; i < sizeof(id.byte); i++)
		bits = bits << 8 | id.byte[i];
	for (int i = ID_TEXT_LENGTH - 1; i >= 0; i--) {
		ret_text[i] = alphabet[(unsigned)bits & 31];
		bits >>= 5;
	}
	ret_text[ID_TEXT_LENGTH] = '\0';
}

static int digit(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

int id_parse(str text, msg_id *ret_id)
{
	unsigned __int128 bits = 0;

	if (text.n != ID_TEXT_LENGTH || digit(text.p[0]) > 7)
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		int d = digit(text.p[i]);

		if (d < 0)
			return -EINVAL;
		bits = bits << 5 | (unsigned)d;
	}
	for (int i = 15; i >= 0; i--) {
		ret_id->byte[i] = (uint8_t)bits;
		bits >>= 8;
	}
	return 0;
}

nsec id_made_wall(msg_id id)
{
	uint64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id.byte[i];
	return (nsec)ms * NSEC_MS;
}
