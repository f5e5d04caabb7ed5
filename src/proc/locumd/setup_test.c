#include "proc/locumd/locumd.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#define NOBODY 65534

static char dir[64], state_dir[512];
static struct conf conf;
static struct supervisor sup;
static struct buf error;

static const char *below(const char *name)
{
	static char text[600];

	snprintf(text, sizeof(text), "%s%s", state_dir, name);
	return text;
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/locum-setup-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(state_dir, sizeof(state_dir), "%s/state", dir);
	conf = (struct conf){ .state_dir = str_of(state_dir), .user = STR("nobody") };
	sup = (struct supervisor){ .conf = &conf };
	buf_init(&error, 1024);
	return user_find(&sup, &error);
}

static int teardown(void **state)
{
	static const char *const left[] = { "/control.sock", "/locumd.lock" };
	static const char *const left_dirs[] = { "/spool", "/state", "/empty", "" };

	(void)state;
	snprintf(state_dir, sizeof(state_dir), "%s/state", dir);
	for (size_t i = 0; i < ELEMENTS(left); i++)
		unlink(below(left[i]));
	for (size_t i = 0; i < ELEMENTS(left_dirs); i++)
		rmdir(below(left_dirs[i]));
	buf_done(&error);
	return rmdir(dir);
}

static void expect_directory(const char *name, mode_t mode, uid_t owner)
{
	struct stat st;

	assert_int_equal(stat(below(name), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_uid, owner);
}

static void expect_error(const char *words)
{
	if (str_find(buf_str(&error), str_of(words)) < 0)
		fail_msg("\"%.*s\" has no \"%s\"", STR_ARG(buf_str(&error)), words);
}

static void directories_have_their_owners_and_modes(void **state)
{
	mode_t before = umask(077);

	(void)state;
	assert_int_equal(directories_make(&sup, &error), 0);
	umask(before);
	expect_directory("", 0750, geteuid());
	expect_directory("/spool", 0700, geteuid() == 0 ? NOBODY : geteuid());
	expect_directory("/state", 0700, geteuid() == 0 ? NOBODY : geteuid());
	expect_directory("/empty", 0555, geteuid());
	/* And the second start finds them. */
	assert_int_equal(directories_make(&sup, &error), 0);
}

static void a_spool_of_somebody_else_is_refused_with_advice(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(directories_make(&sup, &error), 0);
	assert_int_equal(chown(below("/spool"), 12, 12), 0);
	assert_int_equal(directories_make(&sup, &error), -EPERM);
	expect_error("belongs to user 12, but must belong to user 65534: chown -R 65534:");
}

static void a_file_in_the_way_is_named(void **state)
{
	_cleanup_(closep) int fd = -1;

	(void)state;
	fd = open(below(""), O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(directories_make(&sup, &error), -ENOTDIR);
	expect_error("is in the way");
	unlink(below(""));
}

static void a_state_dir_without_room_for_its_socket_is_refused(void **state)
{
	(void)state;
	memset(state_dir + strlen(state_dir), 'x', 100);
	state_dir[sizeof(state_dir) - 1] = '\0';
	conf.state_dir = str_of(state_dir);
	assert_int_equal(directories_make(&sup, &error), -ENAMETOOLONG);
	expect_error("state_dir is too long");
}

static void a_second_locumd_is_told_who_is_there(void **state)
{
	char words[64];

	(void)state;
	assert_int_equal(directories_make(&sup, &error), 0);
	assert_int_equal(lock_take(&sup, &error), 0);
	assert_int_equal(lock_take(&sup, &error), -EWOULDBLOCK);
	snprintf(words, sizeof(words), "(process %d)", (int)getpid());
	expect_error(words);
}

static void the_control_socket_replaces_what_the_dead_left(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_(closep) int first = -1, second = -1, client = -1;
	struct stat st;

	(void)state;
	assert_int_equal(directories_make(&sup, &error), 0);
	assert_int_equal(control_open(&sup, &first, &error), 0);
	close(TAKE_FD(first));
	assert_int_equal(control_open(&sup, &second, &error), 0);
	assert_int_equal(stat(below("/control.sock"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", below("/control.sock"));
	client = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void an_unknown_user_is_an_error_unless_it_is_the_default(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	conf.user = STR("no-such-user-here");
	assert_int_equal(user_find(&sup, &error), -EINVAL);
	expect_error("there is no user \"no-such-user-here\"");
	conf.user = STR("locum");
	assert_int_equal(user_find(&sup, &error), 0);
	assert_int_not_equal(sup.uid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(directories_have_their_owners_and_modes),
		TEST(a_spool_of_somebody_else_is_refused_with_advice),
		TEST(a_file_in_the_way_is_named),
		TEST(a_state_dir_without_room_for_its_socket_is_refused),
		TEST(a_second_locumd_is_told_who_is_there),
		TEST(the_control_socket_replaces_what_the_dead_left),
		TEST(an_unknown_user_is_an_error_unless_it_is_the_default),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
