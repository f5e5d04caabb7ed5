/* locum spool …, on spools with real envelopes. */
#include "cli/cli.h"

#include "spool/testing.h"

static const struct spool_options small = { .segment_bytes = 32 << 10, .big_body_bytes = 8 << 10 };

static char *root, dir[300], other[300];
static char *out_text;

static int make_root(void **state)
{
	(void)state;
	root = scratch_make();
	snprintf(dir, sizeof(dir), "%s/spool", root);
	snprintf(other, sizeof(other), "%s/other", root);
	return 0;
}

static int drop_root(void **state)
{
	(void)state;
	tree_remove(root);
	free(root);
	free(out_text);
	out_text = NULL;
	return 0;
}

/* Runs `locum …`; output and errors are in out_text. */
static int run(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	const char *words[] = { "locum", "spool", a, b, c, d, e };
	char *argv[ELEMENTS(words)];
	size_t bytes;
	int argc = 0, r;
	struct cli cli;
	FILE *f;

	free(out_text);
	f = open_memstream(&out_text, &bytes);
	for (size_t i = 0; i < ELEMENTS(words); i++)
		if (words[i])
			argv[argc++] = (char *)words[i];
	cli_init(&cli, f, f);
	r = cli_main(&cli, argc, argv);
	cli_done(&cli);
	fclose(f);
	return r;
}

#define SAYS(text) assert_non_null(strstr(out_text, text))

static void append(struct spool *s, unsigned n, const char *to, size_t bytes)
{
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Recipient r = LOCUM__RECIPIENT__INIT, *all[] = { &r };
	msg_id id = number_id(n);
	uint8_t packed[500];
	int fd = body_make(n, bytes);

	e.id = (ProtobufCBinaryData){ sizeof(id.byte), id.byte };
	e.reverse_path = (ProtobufCBinaryData){ 3, (uint8_t *)"a@b" };
	r.address = (ProtobufCBinaryData){ strlen(to), (uint8_t *)to };
	r.domain = (char *)"example.cz";
	e.recipients = all;
	e.n_recipients = 1;
	e.arrived_wall = 1700000000 * NSEC_S;
	e.body_bytes = bytes;
	assert_int_equal(spool_append(NULL, s, id,
				      str_mem(packed, locum__envelope__pack(&e, packed)), fd,
				      bytes),
			 0);
	close(fd);
}

static void hold(struct spool *s, unsigned n)
{
	Locum__StoredState state = LOCUM__STORED_STATE__INIT;
	Locum__StoredRecipient r = LOCUM__STORED_RECIPIENT__INIT, *all[] = { &r };
	uint8_t packed[100];

	r.state = LOCUM__MESSAGE_STATE__MESSAGE_HELD;
	state.recipients = all;
	state.n_recipients = 1;
	assert_int_equal(spool_mark(s, SPOOL_STATE, number_id(n),
				    str_mem(packed, locum__stored_state__pack(&state, packed))),
			 0);
	assert_int_equal(spool_move_held(NULL, s, number_id(n), true), 0);
}

/* 1 and 2 wait, 3 is large, 4 is held, 5 is done, 6 is in a segment of its own. */
static void make_spool(void)
{
	struct spool *s = NULL;

	assert_int_equal(spool_open(dir, &small, &s), 0);
	assert_int_equal(spool_replay(s, NULL, NULL, NULL), 0);
	append(s, 1, "one@example.cz", 100);
	append(s, 2, "two@example.cz", 200);
	append(s, 3, "large@example.cz", 20000);
	append(s, 4, "held@example.cz", 300);
	append(s, 5, "done@example.cz", 50);
	assert_int_equal(spool_sync(s), 0);
	hold(s, 4);
	assert_int_equal(spool_mark(s, SPOOL_DONE, number_id(5), STR_NONE), 0);
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
	s = NULL;
	assert_int_equal(spool_open(dir, &small, &s), 0);
	assert_int_equal(spool_replay(s, NULL, NULL, NULL), 0);
	append(s, 6, "six@example.cz", 60);
	assert_int_equal(spool_sync(s), 0);
	spool_close(s);
}

static const char *path_of(const char *name)
{
	static char path[600];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *text_of(unsigned n)
{
	static char text[ID_TEXT_LENGTH + 1];

	id_text(number_id(n), text);
	return text;
}

static void a_whole_spool_is_whole_and_listed(void **state)
{
	(void)state;
	make_spool();
	assert_int_equal(run("verify", dir, NULL, NULL, NULL), CLI_OK);
	SAYS("5 messages are readable, 1 of them held");
	SAYS("the spool is whole");
	assert_int_equal(run("verify", dir, "--json", NULL, NULL), CLI_OK);
	SAYS("\"whole\": true");
	assert_int_equal(run("ls", dir, NULL, NULL, NULL), CLI_OK);
	SAYS("one@example.cz");
	SAYS("held@example.cz");
	SAYS("300 B");
	SAYS("2023-11-14T22:13:20Z");
	assert_null(strstr(out_text, "done@example.cz"));
	assert_int_equal(run("ls", dir, "--json", NULL, NULL), CLI_OK);
	SAYS("\"log\": \"held\"");
}

/* Where the body of message n begins: it is found by its first bytes. */
static uint64_t body_at(const char *file, unsigned n)
{
	char bytes[60000];
	int fd = open(path_of(file), O_RDONLY | O_CLOEXEC);
	ssize_t got = sys_read_at(fd, bytes, sizeof(bytes), 0);

	close(fd);
	for (ssize_t at = 8192; at + 40 < got; at++) {
		int k = 0;

		while (k < 40 && bytes[at + k] == body_byte(n, (size_t)k))
			k++;
		if (k == 40)
			return (uint64_t)at;
	}
	fail();
	return 0;
}

static void a_damaged_body_is_named_exported_as_damaged_and_not_rebuilt(void **state)
{
	char path[700];

	(void)state;
	make_spool();
	file_flip(path_of("queue/0000000001.seg"), body_at("queue/0000000001.seg", 2) + 5);
	assert_int_equal(run("verify", dir, NULL, NULL, NULL), CLI_NOTHING);
	SAYS("damaged body: ");
	SAYS(text_of(2));
	SAYS("the envelope is whole, the body is not");
	assert_int_equal(run("export", text_of(2), "--to", other, dir), CLI_NOTHING);
	SAYS("1 messages written, 1 of them damaged");
	snprintf(path, sizeof(path), "%s/%s.damaged.eml", other, text_of(2));
	assert_int_equal(file_bytes(path), 200);
	assert_int_equal(run("export", "--all", "--to", other, dir), CLI_NOTHING);
	SAYS("files of that name are there already");
	tree_remove(other);
	assert_int_equal(run("rebuild", dir, "--to", other, NULL), CLI_NOTHING);
	SAYS("4 messages are in");
	SAYS("1 could not be taken");
}

static void damage_of_what_was_done_costs_nothing(void **state)
{
	(void)state;
	make_spool();
	file_flip(path_of("queue/0000000001.seg"), body_at("queue/0000000001.seg", 5) + 5);
	assert_int_equal(run("verify", dir, NULL, NULL, NULL), CLI_NOTHING);
	SAYS("nothing is lost: the message was done");
}

static void a_rebuilt_spool_is_served_without_complaint(void **state)
{
	static struct tale tale;
	struct spool *s = NULL;

	(void)state;
	make_spool();
	assert_int_equal(run("rebuild", dir, "--to", other, NULL), CLI_OK);
	SAYS("5 messages are in");
	assert_int_equal(spool_open(other, &small, &s), 0);
	assert_int_equal(spool_replay(s, NULL, tale_damage, &tale), 0);
	assert_int_equal(tale.damages, 0);
	assert_true(spool_is_held(s, number_id(4)));
	assert_true(spool_has(s, number_id(3)) && !spool_has(s, number_id(5)));
	spool_close(s);
	assert_int_equal(run("rebuild", dir, "--to", other, NULL), CLI_USAGE);
	SAYS("it is there and not empty");
}

static void a_spool_in_use_is_verified_but_not_rebuilt(void **state)
{
	struct spool *s = NULL;

	(void)state;
	make_spool();
	assert_int_equal(spool_open(dir, &small, &s), 0);
	assert_int_equal(run("verify", dir, NULL, NULL, NULL), CLI_OK);
	SAYS("has the spool open");
	assert_int_equal(run("ls", dir, NULL, NULL, NULL), CLI_OK);
	assert_int_equal(run("rebuild", dir, "--to", other, NULL), CLI_REFUSED);
	SAYS("in use by process");
	assert_true(access(other, F_OK) < 0);
	spool_close(s);
}

static void damage_of_files_is_told(void **state)
{
	char big[64];

	(void)state;
	make_spool();
	snprintf(big, sizeof(big), "big/%s", text_of(3));
	file_flip(path_of(big), 777);
	assert_int_equal(run("verify", dir, NULL, NULL, NULL), CLI_NOTHING);
	SAYS("the body of a live message is damaged");
	assert_int_equal(truncate(path_of(big), 50), 0);
	assert_int_equal(run("export", text_of(3), "--to", other, dir), CLI_NOTHING);
	SAYS("1 of them damaged");
	assert_int_equal(unlink(path_of(big)), 0);
	assert_int_equal(run("verify", dir, NULL, NULL, NULL), CLI_NOTHING);
	SAYS("the body of a live message is missing");
	assert_int_equal(run("rebuild", dir, "--to", path_of("../new"), NULL), CLI_NOTHING);
	SAYS("not taken");
}

static void what_is_asked_wrongly_is_said(void **state)
{
	(void)state;
	assert_int_equal(run("verify", "/nonexistent", NULL, NULL, NULL), CLI_USAGE);
	SAYS("there is no spool");
	assert_int_equal(run("verify", root, NULL, NULL, NULL), CLI_USAGE);
	assert_int_equal(run("export", "x", NULL, NULL, NULL), CLI_USAGE);
	assert_int_equal(run("rebuild", dir, NULL, NULL, NULL), CLI_USAGE);
	assert_int_equal(run("frob", NULL, NULL, NULL, NULL), CLI_USAGE);
	assert_int_equal(run(NULL, NULL, NULL, NULL, NULL), CLI_USAGE);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_root, drop_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_whole_spool_is_whole_and_listed),
		CASE(a_damaged_body_is_named_exported_as_damaged_and_not_rebuilt),
		CASE(damage_of_what_was_done_costs_nothing),
		CASE(a_rebuilt_spool_is_served_without_complaint),
		CASE(a_spool_in_use_is_verified_but_not_rebuilt),
		CASE(damage_of_files_is_told),
		CASE(what_is_asked_wrongly_is_said),
	};

	return cmocka_run_group_tests_name("locum spool", tests, NULL, NULL);
}
