/*
 * meaning: any line has a meaning, its class agrees with the code's, and what stands in <> (the asker's own
 * words) does not change it.
 */
#include "smtp/meaning.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int class_of(str line)
{
	return line.n > 0 ? line.p[0] - '0' : 0;
}

static void check_class(str line, enum meaning m)
{
	switch (m) {
	case MEANING_NONE:
		break;
	case MEANING_TAKEN:
		must(class_of(line) == 2);
		break;
	case MEANING_NO_USER:
	case MEANING_POLICY:
		must(class_of(line) == 5);
		break;
	case MEANING_GREYLISTED:
	case MEANING_TROUBLE:
		must(class_of(line) == 4);
		break;
	case MEANING_FULL:
	case MEANING_THROTTLED:
	case MEANING_BLOCKED:
	case MEANING_RELAYING:
		must(class_of(line) == 4 || class_of(line) == 5);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char plain[300], addressed[600];
	str line = str_mem(data, size);
	int n;

	check_class(line, meaning_of(line));
	if (size > 100 || memchr(data, '>', size) || memchr(data, '\0', size))
		return 0;
	snprintf(plain, sizeof(plain), "550 <x> refused");
	n = snprintf(addressed, sizeof(addressed), "550 <%.*s> refused", STR_ARG(line));
	must(meaning_of(str_mem(addressed, (size_t)n)) == meaning_of(str_of(plain)));
	return 0;
}
