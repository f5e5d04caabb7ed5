#include "base/log.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* What was written to stderr while the event was logged, without its time stamp. */
static void logged(enum log_form form, str value, char *ret_line, size_t size)
{
	_cleanup_(closep) int saved = dup(STDERR_FILENO);
	int p[2];
	ssize_t n;

	assert_int_equal(pipe(p), 0);
	dup2(p[1], STDERR_FILENO);
	log_open("test", LOG_INFO, form);
	log_debug("dropped", K("value", value));
	log_info("event.name", K("value", value), K_INT("count", -3),
		 K_NSEC("took", 1500 * NSEC_MS));
	dup2(saved, STDERR_FILENO);
	close(p[1]);
	n = read(p[0], ret_line, size - 1);
	close(p[0]);
	assert_true(n > 0);
	ret_line[n] = '\0';
}

static void a_peer_cannot_forge_a_line(void **state)
{
	char line[4096];

	(void)state;
	logged(LOG_TEXT, STR("a\r\n2026 forged \x1b[31m\""), line, sizeof(line));
	assert_non_null(strstr(line, " test info event.name value=\"a\\u000d\\u000a2026 forged "
				     "\\u001b[31m\\\"\" count=-3 took=1.500\n"));
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void json_is_one_object_a_line(void **state)
{
	char line[4096];

	(void)state;
	logged(LOG_JSON, STR("x"), line, sizeof(line));
	assert_memory_equal(line, "{\"time\":\"", 9);
	assert_non_null(strstr(line,
			       "\"process\":\"test\",\"level\":\"info\",\"event\":"
			       "\"event.name\",\"value\":\"x\",\"count\":-3,\"took\":1.500}\n"));
}

static void an_endless_value_is_cut(void **state)
{
	static char huge[100000];
	char line[8192];

	(void)state;
	memset(huge, 'x', sizeof(huge));
	logged(LOG_TEXT, str_mem(huge, sizeof(huge)), line, sizeof(line));
	assert_true(strlen(line) < 1300);
	assert_non_null(strstr(line, "...\" count=-3"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_cannot_forge_a_line),
		cmocka_unit_test(json_is_one_object_a_line),
		cmocka_unit_test(an_endless_value_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
