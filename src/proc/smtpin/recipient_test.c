#include "proc/smtpin/recipient.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static struct conf *conf;

static int read_conf(void **state)
{
	static char list[] = "# users\nuser@listed.example\na%other@listed.example\n";
	char path[] = "recipients.XXXXXX", text[1024];
	int fd = mkstemp(path), r;
	struct buf error;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, list, sizeof(list) - 1), sizeof(list) - 1);
	close(fd);
	snprintf(text, sizeof(text),
		 "hostname = \"mx2.example.net\"\naliases = {\"old.example.net\"}\n"
		 "listen \"mx\" { address = \"127.0.0.1:2525\" }\n"
		 "domain \"first.example\" { }\n"
		 "domain \"listed.example\" { recipients = \"file:%s\" }\n"
		 "domain \"any.example\" { recipients = \"any\" }\n",
		 path);
	buf_init(&error, 4096);
	r = conf_read_text("test", str_of(text), &conf, &error);
	unlink(path);
	if (r < 0)
		print_error("%.*s\n", STR_ARG(buf_str(&error)));
	buf_done(&error);
	return r;
}

static int free_conf(void **state)
{
	(void)state;
	conf_unref(conf);
	return 0;
}

static const struct {
	const char *name, *path;
	enum recipient_verdict verdict;
	const char *address;
} cases[] = {
	{ "a domain of ours is taken", "<a@any.example>", RECIPIENT_TAKEN, "a@any.example" },
	{ "whatever its case", "<A@ANY.Example>", RECIPIENT_TAKEN, "A@ANY.Example" },
	{ "a learning domain takes all in this version", "<a@first.example>", RECIPIENT_TAKEN,
	  "a@first.example" },
	{ "another domain is not", "<a@other.example>", RECIPIENT_NOT_OURS, NULL },
	{ "nor one below ours", "<a@sub.any.example>", RECIPIENT_NOT_OURS, NULL },
	{ "nor our own host name", "<a@mx2.example.net>", RECIPIENT_NOT_OURS, NULL },
	{ "nor an address literal", "<a@[127.0.0.1]>", RECIPIENT_NOT_OURS, NULL },
	{ "a source route does not relay", "<@any.example:a@other.example>", RECIPIENT_NOT_OURS,
	  NULL },
	{ "a way on from the primary does not relay", "<a%other.example@any.example>",
	  RECIPIENT_ROUTED, NULL },
	{ "nor one by UUCP", "<other.example!a@any.example>", RECIPIENT_ROUTED, NULL },
	{ "nor in quotes", "<\"a@other.example\"@first.example>", RECIPIENT_ROUTED, NULL },
	{ "an address that is listed is no way", "<a%other@Listed.example>", RECIPIENT_TAKEN,
	  "a%other@Listed.example" },
	{ "a listed user is taken", "<User@Listed.example>", RECIPIENT_TAKEN,
	  "User@Listed.example" },
	{ "also in quotes", "<\"user\"@listed.example>", RECIPIENT_TAKEN,
	  "\"user\"@listed.example" },
	{ "an unlisted one is unknown", "<users@listed.example>", RECIPIENT_UNKNOWN, NULL },
	{ "postmaster needs no listing", "<PostMaster@listed.example>", RECIPIENT_TAKEN,
	  "PostMaster@listed.example" },
	{ "not even in quotes", "<\"postmaster\"@listed.example>", RECIPIENT_TAKEN,
	  "\"postmaster\"@listed.example" },
	{ "bare postmaster is the first domain's", "<postmaster>", RECIPIENT_TAKEN,
	  "postmaster@first.example" },
	{ "so is our host's", "<Postmaster@mx2.example.net>", RECIPIENT_TAKEN,
	  "postmaster@first.example" },
	{ "and our old name's", "<postmaster@OLD.example.net>", RECIPIENT_TAKEN,
	  "postmaster@first.example" },
	{ "another's postmaster is not ours", "<postmaster@other.example>", RECIPIENT_NOT_OURS,
	  NULL },
};

static void test_recipients(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		char text[SMTP_PLAIN_SIZE];
		struct smtp_path path;
		struct recipient r;
		str rest;

		assert_int_equal(
			smtp_path_parse(str_of(cases[i].path), SMTP_FORWARD_PATH, &path, &rest), 0);
		if (recipient_check(conf, &path, text, &r) != cases[i].verdict)
			fail_msg("%s", cases[i].name);
		if (cases[i].address && !str_eq(r.address, str_of(cases[i].address)))
			fail_msg("%s: %.*s", cases[i].name, STR_ARG(r.address));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_recipients) };

	return cmocka_run_group_tests(tests, read_conf, free_conf);
}
