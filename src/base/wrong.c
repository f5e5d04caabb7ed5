#include "base/wrong.h"

#include <stddef.h>
#include <string.h>

#ifdef LOCUM_WRONG_ORDERS
enum wrong_order wrong_order;

static const char *const names[] = {
	[WRONG_ACK_BEFORE_SYNC] = "ack-before-sync",
	[WRONG_INDEX_BEFORE_RECORD] = "index-before-record",
	[WRONG_DONE_BEFORE_REPLY] = "done-before-reply",
	[WRONG_NO_DIRECTORY_SYNC] = "no-directory-sync",
	[WRONG_SEGMENT_REUSED] = "segment-reused",
};

bool wrong_choose(const char *name)
{
	wrong_order = WRONG_NONE;
	for (size_t i = 1; name && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			wrong_order = (enum wrong_order)i;
	return wrong_order != WRONG_NONE;
}
#else
bool wrong_choose(const char *name)
{
	(void)name;
	return false;
}
#endif
