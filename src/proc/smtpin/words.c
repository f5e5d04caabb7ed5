#include "proc/smtpin/words.h"

#include "smtp/meaning.h"

#include <stdio.h>

bool words_are_sound(const Locum__LiveAnswer *a)
{
	unsigned class = a->code / 100;

	return (class == 2 || class == 4 || class == 5) && a->code != 421;
}

size_t words_lines(const Locum__LiveAnswer *a)
{
	return a->n_lines ? MIN(a->n_lines, (size_t)WORDS_LINES_MAX) : 1;
}

static size_t add_clean(char *to, size_t at, size_t max, const char *from)
{
	for (; *from && at < max; from++)
		to[at++] = *from >= ' ' && *from < 0x7f ? *from : *from == '\t' ? ' ' : '?';
	return at;
}

str words_line(const Locum__LiveAnswer *a, size_t n, char text[static WORDS_LINE_BYTES])
{
	char code[16];
	size_t at;

	must(n < words_lines(a));
	snprintf(code, sizeof(code), "%03u%c", a->code, n + 1 < words_lines(a) ? '-' : ' ');
	at = add_clean(text, 0, WORDS_LINE_BYTES - 2, code);
	at = add_clean(text, at, WORDS_LINE_BYTES - 2, n < a->n_lines ? a->lines[n] : "");
	memcpy(text + at, "\r\n", 2);
	return str_mem(text, at + 2);
}

str words_for_log(const Locum__LiveAnswer *a, char text[static WORDS_LOG_SIZE])
{
	char code[16];
	size_t at;

	snprintf(code, sizeof(code), "%03u", a->code);
	at = add_clean(text, 0, WORDS_LOG_SIZE, code);
	for (size_t i = 0; i < a->n_lines; i++) {
		at = add_clean(text, at, WORDS_LOG_SIZE, " ");
		at = add_clean(text, at, WORDS_LOG_SIZE, a->lines[i]);
	}
	return str_mem(text, at);
}

bool words_mean_unknown(const Locum__LiveAnswer *a)
{
	char text[WORDS_LOG_SIZE];

	return a->code / 100 == 5 && meaning_of(words_for_log(a, text)) == MEANING_NO_USER;
}
