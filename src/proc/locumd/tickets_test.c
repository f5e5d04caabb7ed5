#include "proc/locumd/locumd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_key_is_kept_for_a_day_after_it_was_the_first(void **state)
{
	static struct supervisor sup;
	uint8_t first[TICKET_KEY_BYTES];

	(void)state;
	tickets_make(&sup);
	assert_int_equal(sup.ticket_key_count, 1);
	memcpy(first, sup.ticket_key[0], sizeof(first));
	for (size_t turns = 1; turns <= 2; turns++) {
		tickets_turn(&sup);
		assert_int_equal(sup.ticket_key_count, turns + 1);
		assert_memory_equal(sup.ticket_key[turns], first, sizeof(first));
		assert_memory_not_equal(sup.ticket_key[0], first, sizeof(first));
	}
	tickets_turn(&sup);
	assert_int_equal(sup.ticket_key_count, TICKET_KEYS_KEPT);
	for (size_t i = 0; i < TICKET_KEYS_KEPT; i++)
		assert_memory_not_equal(sup.ticket_key[i], first, sizeof(first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_kept_for_a_day_after_it_was_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
