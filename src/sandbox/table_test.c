#include "sandbox/steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
	const char *name;
	unsigned group;
	unsigned owners; /* a bit a profile */
} rights[] = {
	{ "only netd connects", CALLS_DIAL, 1 << SANDBOX_NETD },
	{ "only spoold writes files", CALLS_FILES, 1 << SANDBOX_SPOOLD },
	{ "only state keeps a file that it had open before", CALLS_STORE, 1 << SANDBOX_STATE },
	{ "only smtpin accepts", CALLS_ACCEPT, 1 << SANDBOX_SMTPIN },
	{ "only smtpin makes memory files", CALLS_MEMFD, 1 << SANDBOX_SMTPIN },
	{ "nobody opens files for reading unless it named them", CALLS_READ, 0 },
};

static const enum sandbox_profile profiles[] = { SANDBOX_SMTPIN, SANDBOX_NETD, SANDBOX_SPOOLD,
						 SANDBOX_SMTPOUT, SANDBOX_STATE };

static void each_right_has_its_owners(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(rights); i++) {
		unsigned owners = 0;

		for (size_t p = 0; p < ELEMENTS(profiles); p++)
			if (sandbox_row(profiles[p])->calls & rights[i].group)
				owners |= 1U << profiles[p];
		if (owners != rights[i].owners)
			fail_msg("%s: owners %x", rights[i].name, owners);
	}
}

static void landlock_and_seccomp_agree(void **state)
{
	(void)state;
	for (size_t p = 0; p < ELEMENTS(profiles); p++) {
		const struct sandbox_row *row = sandbox_row(profiles[p]);

		assert_int_equal(row->connects, (row->calls & CALLS_DIAL) != 0);
		assert_int_equal(row->writes_dir, (row->calls & CALLS_FILES) != 0);
		/* What may make memory files must be able to fill them. */
		if (row->calls & (CALLS_MEMFD | CALLS_FILES))
			assert_true(row->file_bytes > 0);
	}
}

static void what_is_missing_is_cut_not_overrun(void **state)
{
	char text[24] = "";
	struct missing m = { text, sizeof(text) };

	(void)state;
	missing_add(&m, "%s", "own root");
	assert_string_equal(text, "own root");
	missing_add(&m, "%s", "own user, and much more");
	assert_int_equal(strlen(text), sizeof(text) - 1);
	missing_add(&m, "%s", "and on");
	assert_string_equal(text, "own root, own user, and");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_right_has_its_owners),
		cmocka_unit_test(landlock_and_seccomp_agree),
		cmocka_unit_test(what_is_missing_is_cut_not_overrun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
