#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES ((size_t)5000) /* several times what is taken at once */

static void noise(char *to, size_t n)
{
	uint64_t x = 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		to[i] = (char)(x >> 56);
	}
}

/* Both must know the standard's vector; that they agree would not prove it. */
static void the_table_says_what_the_standard_says(void **state)
{
	(void)state;
	assert_int_equal(crc32c_portable(0, STR("123456789")), 0xe3069283);
	assert_int_equal(crc32c(0, STR("123456789")), 0xe3069283);
}

static void the_instruction_and_the_table_agree_on_every_length(void **state)
{
	static char data[BYTES + 8];

	(void)state;
	noise(data, sizeof(data));
	for (size_t n = 0; n <= BYTES; n++) {
		str part = str_mem(data + n % 8, n); /* at every alignment */

		assert_int_equal(crc32c((uint32_t)n, part), crc32c_portable((uint32_t)n, part));
	}
}

static void pieces_in_order_give_the_whole(void **state)
{
	static char data[BYTES];
	uint32_t whole;

	(void)state;
	noise(data, sizeof(data));
	whole = crc32c(0, str_mem(data, BYTES));
	for (size_t n = 0; n <= BYTES; n++)
		assert_int_equal(crc32c(crc32c(0, str_mem(data, n)), str_mem(data + n, BYTES - n)),
				 whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_says_what_the_standard_says),
		cmocka_unit_test(the_instruction_and_the_table_agree_on_every_length),
		cmocka_unit_test(pieces_in_order_give_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
