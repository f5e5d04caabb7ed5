/*
 * wrong: five mistakes in the order of things, each the kind that loses mail. A build with -Dwrong_orders=true can
 * make one of them on purpose, to show that the simulator sees it: a checker that cannot fail is worth
 * nothing. In every other build WRONG() is false and the compiler leaves nothing of it.
 */
#pragma once

#include <stdbool.h>

enum wrong_order {
	WRONG_NONE,
	WRONG_ACK_BEFORE_SYNC, /* smtpin is told before the batch is durable */
	WRONG_INDEX_BEFORE_RECORD, /* a segment goes because the index knows a copy, which is not durable yet */
	WRONG_DONE_BEFORE_REPLY, /* delivered, says smtpout, before the reply to the final dot came */
	WRONG_NO_DIRECTORY_SYNC, /* a large body has its name, and nobody made the name durable */
	WRONG_SEGMENT_REUSED,    /* a start writes into the newest segment instead of a new one */
};

/* From now on that mistake, by its name in wrong.c, and no other; NULL: none. False: none is made now, because there is no
 * such mistake, or this build makes none. */
bool wrong_choose(const char *name);

#ifdef LOCUM_WRONG_ORDERS
extern enum wrong_order wrong_order;
#define WRONG(name) (wrong_order == WRONG_##name)
#else
#define WRONG(name) false
#endif
