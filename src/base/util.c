#include "base/util.h"

#include "base/wrong.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef LOCUM_WRONG_ORDERS
enum wrong_order wrong_order;
#endif

void must_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
	abort();
}
