#include "proc/state/directory.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define START ((nsec)1800000000 * NSEC_S)
#define OK "250 2.1.5 Ok"
#define NO_USER "550 5.1.1 <x@d.example>: Recipient address rejected: User unknown"

static const struct directory_limits small = {
	.file_bytes = 16 << 20, .entries = 60, .known = 40, .refused = 10
};

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/directory-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(void *arg, const char *name)
{
	return sys_unlink_at(*(int *)arg, name);
}

static int remove_dir(void **state)
{
	_cleanup_(closep) int fd = sys_open_dir(dir);

	(void)state;
	sys_list_dir(fd, remove_one, &fd);
	return rmdir(dir);
}

static struct directory *open_it(const struct directory_limits *limits)
{
	struct directory *d;
	const char *begun;

	assert_int_equal(directory_open(dir, limits, &d, &begun), 0);
	assert_null(begun);
	return d;
}

static void learn(struct directory *d, const char *address, const char *reply, nsec now)
{
	assert_int_equal(directory_learn(d, STR("d.example"), str_of(address), str_of(reply), now),
			 0);
}

static enum directory_word ask(struct directory *d, const char *address, nsec now)
{
	struct directory_facts f;

	assert_int_equal(directory_ask(d, STR("d.example"), str_of(address), now, &f), 0);
	return f.word;
}

/* --- what a reply teaches, and what is said then --- */

static const struct {
	const char *requirement;
	const char *learned, *reply;
	const char *asked;
	enum directory_word word;
} lessons[] = {
	{ "accepted is known", "bob@d.example", OK, "bob@d.example", WORD_KNOWN },
	{ "nobody else is", "bob@d.example", OK, "bo@d.example", WORD_NONE },
	{ "case does not matter", "Bob@D.example", OK, "bOB@d.EXAMPLE", WORD_KNOWN },
	{ "needless quotes do not matter", "\"bob\"@d.example", OK, "bob@d.example", WORD_KNOWN },
	{ "a tag is left out", "bob+shop@d.example", OK, "bob@d.example", WORD_KNOWN },
	{ "any tag of a known one is known", "bob@d.example", OK, "bob+x@d.example", WORD_KNOWN },
	{ "a plus in front is no tag", "+bob@d.example", OK, "+bob@d.example", WORD_KNOWN },
	{ "a full mailbox is known", "bob@d.example", "452 4.2.2 Mailbox full", "bob@d.example",
	  WORD_KNOWN },
	{ "no such user is refused", "bob@d.example", NO_USER, "Bob@d.example", WORD_REFUSED },
	{ "a tag of one who does not exist is refused", "bob@d.example", NO_USER, "bob+x@d.example",
	  WORD_REFUSED },
	{ "one whose tag was refused may exist", "bob+x@d.example", NO_USER, "bob@d.example",
	  WORD_NONE },
	{ "that tag is refused", "bob+x@d.example", NO_USER, "bob+X@d.example", WORD_REFUSED },
	{ "blocked is not unknown", "bob@d.example",
	  "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using bl.example",
	  "bob@d.example", WORD_NONE },
	{ "greylisted is not unknown", "bob@d.example", "450 4.2.0 Greylisted", "bob@d.example",
	  WORD_NONE },
	{ "relaying denied is not unknown", "bob@d.example", "554 5.7.1 Relay access denied",
	  "bob@d.example", WORD_NONE },
	{ "a refusal of the sender is not unknown", "bob@d.example",
	  "550 5.1.8 Sender address rejected: Domain not found", "bob@d.example", WORD_NONE },
	{ "no reply is nothing", "bob@d.example", "", "bob@d.example", WORD_NONE },
	{ "what is no address is nothing", "bob", OK, "bob", WORD_NONE },
};

static void replies_teach(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(lessons); i++) {
		_cleanup_(directory_closep) struct directory *d = open_it(&small);
		enum directory_word word;

		directory_forget(d, STR("d.example"), STR(""));
		learn(d, lessons[i].learned, lessons[i].reply, START);
		word = ask(d, lessons[i].asked, START);
		if (word != lessons[i].word)
			fail_msg("%s: %d", lessons[i].requirement, word);
	}
}

static void the_newest_reply_counts(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);

	(void)state;
	learn(d, "bob@d.example", OK, START);
	learn(d, "bob@d.example", NO_USER, START + 1);
	assert_int_equal(ask(d, "bob@d.example", START + 2), WORD_REFUSED);
	learn(d, "bob@d.example", OK, START + 3);
	assert_int_equal(ask(d, "bob@d.example", START + 4), WORD_KNOWN);
	/* Blocked: what was known stays known. */
	learn(d, "bob@d.example", "554 5.7.1 Client host blocked", START + 5);
	assert_int_equal(ask(d, "bob@d.example", START + 6), WORD_KNOWN);
}

static void the_primarys_words_are_kept(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	struct directory_facts f;

	(void)state;
	learn(d, "bob@d.example", NO_USER, START);
	assert_int_equal(directory_ask(d, STR("d.example"), STR("bob@d.example"), START, &f), 0);
	assert_string_equal(f.reply, NO_USER);
}

static void another_domains_recipients_are_others(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	struct directory_facts f;

	(void)state;
	learn(d, "bob@d.example", OK, START);
	assert_int_equal(directory_ask(d, STR("e.example"), STR("bob@e.example"), START, &f), 0);
	assert_int_equal(f.word, WORD_NONE);
}

/* --- time --- */

static void a_refusal_is_forgotten_after_hours(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);

	(void)state;
	learn(d, "bob@d.example", NO_USER, START);
	assert_int_equal(ask(d, "bob@d.example", START + 4 * NSEC_HOUR), WORD_REFUSED);
	assert_int_equal(ask(d, "bob@d.example", START + 5 * NSEC_HOUR), WORD_NONE);
}

static void known_through_an_outage_of_31_days_and_an_empty_one_before(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	nsec now = START;

	(void)state;
	learn(d, "old@d.example", OK, now);
	for (int day = 0; day < 25; day++)
		learn(d, "bob@d.example", OK, now += NSEC_DAY);
	/* 31 days without an answer, looked at every hour. */
	for (nsec end = now + 31 * NSEC_DAY; now < end; now += NSEC_HOUR) {
		assert_int_equal(ask(d, "old@d.example", now), WORD_KNOWN);
		assert_int_equal(ask(d, "bob@d.example", now), WORD_KNOWN);
		assert_int_equal(ask(d, "new@d.example", now), WORD_NONE);
	}
	/* It is back, and nobody is forgotten by that. */
	learn(d, "bob@d.example", OK, now);
	assert_int_equal(ask(d, "old@d.example", now), WORD_KNOWN);
	/* A week of answers later the one who was not seen for 31 of them is. */
	for (int day = 0; day < 7; day++)
		learn(d, "bob@d.example", OK, now += NSEC_DAY);
	assert_int_equal(ask(d, "old@d.example", now), WORD_NONE);
	assert_int_equal(ask(d, "bob@d.example", now), WORD_KNOWN);
}

static void use_keeps_a_recipient_known(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	nsec now = START;

	(void)state;
	for (int day = 0; day < 100; day++, now += NSEC_DAY) {
		learn(d, "daily@d.example", OK, now);
		if (day % 30 == 0)
			learn(d, "monthly@d.example", OK, now);
		assert_int_equal(ask(d, "monthly@d.example", now), WORD_KNOWN);
	}
}

/* --- coverage --- */

static void coverage_counts_each_recipient_once_a_day(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	struct directory_summary s;
	struct directory_facts f;
	uint32_t accepted;

	(void)state;
	for (int i = 0; i < 100; i++)
		learn(d, "bob@d.example", OK, START + i);
	assert_int_equal(directory_summary(d, STR("d.example"), &s), 0);
	assert_int_equal(belief_coverage(&s.belief, &accepted), 0);
	assert_int_equal(accepted, 1);
	for (int day = 1; day <= 30; day++) {
		learn(d, "bob@d.example", OK, START + day * NSEC_DAY);
		learn(d, "bob@d.example", OK, START + day * NSEC_DAY + 1);
	}
	assert_int_equal(directory_summary(d, STR("d.example"), &s), 0);
	belief_coverage(&s.belief, &accepted);
	assert_int_equal(accepted, 31);
	assert_int_equal(directory_ask(d, STR("d.example"), STR("x@d.example"), START, &f), 0);
	assert_true(f.covered);
}

static void who_takes_the_absent_takes_all(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	struct directory_facts f;

	(void)state;
	learn(d, "bob@d.example", OK, START);
	assert_true(directory_wants_absent(d, STR("d.example"), START));
	assert_false(directory_wants_absent(d, STR("d.example"), START + 1));
	assert_int_equal(directory_learn_absent(d, STR("d.example"), STR(OK), START + 2), 0);
	assert_int_equal(directory_ask(d, STR("d.example"), STR("x@d.example"), START, &f), 0);
	assert_true(f.takes_all);
	assert_int_equal(f.word, WORD_NONE);
	assert_int_equal(directory_learn_absent(d, STR("d.example"), STR(NO_USER), START + 3), 0);
	assert_int_equal(directory_ask(d, STR("d.example"), STR("x@d.example"), START, &f), 0);
	assert_false(f.takes_all);
}

/* --- bounds --- */

static void the_oldest_go_first(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	struct directory_summary s;
	char address[40];

	(void)state;
	for (int i = 0; i < 50; i++) {
		snprintf(address, sizeof(address), "user%02d@d.example", i);
		learn(d, address, OK, START + i * NSEC_MINUTE);
	}
	assert_int_equal(directory_summary(d, STR("d.example"), &s), 0);
	assert_int_equal(s.known, 40);
	assert_int_equal(ask(d, "user09@d.example", START), WORD_NONE);
	assert_int_equal(ask(d, "user10@d.example", START), WORD_KNOWN);
}

static void guesses_do_not_push_out_the_known(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	struct directory_summary s;
	char address[40];

	(void)state;
	learn(d, "bob@d.example", OK, START);
	for (int i = 0; i < 1000; i++) {
		snprintf(address, sizeof(address), "guess%03d@d.example", i);
		learn(d, address, NO_USER, START + i);
	}
	assert_int_equal(directory_summary(d, STR("d.example"), &s), 0);
	assert_int_equal(s.refused, 10);
	assert_int_equal(ask(d, "bob@d.example", START), WORD_KNOWN);
	assert_int_equal(ask(d, "guess999@d.example", START + 1000), WORD_REFUSED);
}

static void past_the_whole_the_largest_domain_gives(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	char address[40], domain[20];
	struct directory_summary s;

	(void)state;
	for (int k = 0; k < 3; k++) {
		snprintf(domain, sizeof(domain), "%c.example", 'd' + k);
		for (int i = 0; i < (k == 0 ? 5 : 39); i++) {
			snprintf(address, sizeof(address), "user%02d@%s", i, domain);
			assert_int_equal(directory_learn(d, str_of(domain), str_of(address),
							 STR(OK), START + i),
					 0);
		}
	}
	assert_int_equal(directory_summary(d, STR("d.example"), &s), 0);
	assert_int_equal(s.known, 5);
	assert_int_equal(directory_summary(d, STR("e.example"), &s), 0);
	assert_in_range(s.known, 27, 28);
	assert_int_equal(directory_summary(d, STR("f.example"), &s), 0);
	assert_in_range(s.known, 27, 28);
}

static void a_full_file_loses_what_is_new_and_goes_on(void **state)
{
	static const struct directory_limits tiny = {
		.file_bytes = 128 << 10, .entries = 100000, .known = 100000, .refused = 100000
	};
	_cleanup_(directory_closep) struct directory *d = open_it(&tiny);
	char address[40];
	int r = 0, i;

	(void)state;
	learn(d, "bob@d.example", OK, START);
	assert_int_equal(directory_commit(d), 0);
	for (i = 0; i < 10000 && r == 0; i++) {
		snprintf(address, sizeof(address), "user%05d@d.example", i);
		r = directory_learn(d, STR("d.example"), str_of(address), STR(OK), START);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(ask(d, "bob@d.example", START), WORD_KNOWN);
	assert_int_equal(ask(d, "user00000@d.example", START), WORD_NONE);
	learn(d, "eve@d.example", OK, START);
	assert_int_equal(directory_commit(d), 0);
	assert_int_equal(ask(d, "eve@d.example", START), WORD_KNOWN);
}

/* --- imports --- */

static int import(struct directory *d, const char *address)
{
	return directory_import(d, STR("d.example"), str_of(address));
}

static void imported_ones_do_not_grow_old_nor_go(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	char address[40];
	nsec now = START;

	(void)state;
	assert_int_equal(import(d, "Bob@D.example"), 1);
	assert_int_equal(import(d, "bob@d.example"), 0);
	assert_int_equal(import(d, "bob@other.example"), -EINVAL);
	assert_int_equal(import(d, "bob"), -EINVAL);
	for (int i = 0; i < 200; i++) {
		snprintf(address, sizeof(address), "user%d@d.example", i);
		learn(d, address, OK, now += NSEC_DAY);
	}
	assert_int_equal(ask(d, "bob@d.example", now), WORD_KNOWN);
	/* The primary knows better, for a while. */
	learn(d, "bob@d.example", NO_USER, now);
	assert_int_equal(ask(d, "bob@d.example", now), WORD_REFUSED);
	assert_int_equal(ask(d, "bob@d.example", now + NSEC_DAY), WORD_KNOWN);
	learn(d, "bob@d.example", OK, now + NSEC_DAY);
	assert_int_equal(directory_forget(d, STR("d.example"), STR("BOB@d.example")), 1);
	assert_int_equal(ask(d, "bob@d.example", now), WORD_NONE);
}

static void an_import_that_replaces_forgets_the_rest(void **state)
{
	struct directory *d = open_it(&small);
	struct directory_facts f;

	(void)state;
	learn(d, "learned@d.example", OK, START);
	assert_int_equal(import(d, "old@d.example"), 1);
	assert_int_equal(import(d, "both@d.example"), 1);
	directory_close(d);
	d = open_it(&small); /* which import an entry is of is kept */
	assert_int_equal(directory_import_begin(d, STR("d.example")), 0);
	assert_int_equal(import(d, "both@d.example"), 0);
	assert_int_equal(import(d, "new@d.example"), 1);
	assert_int_equal(directory_import_end(d, STR("d.example")), 1);
	assert_int_equal(ask(d, "old@d.example", START), WORD_NONE);
	assert_int_equal(ask(d, "both@d.example", START), WORD_KNOWN);
	assert_int_equal(ask(d, "new@d.example", START), WORD_KNOWN);
	assert_int_equal(ask(d, "learned@d.example", START), WORD_KNOWN);
	assert_int_equal(directory_ask(d, STR("d.example"), STR("x@d.example"), START, &f), 0);
	assert_true(f.covered);
	directory_close(d);
}

static void too_many_are_not_imported(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	char address[40];
	int r = 1;

	(void)state;
	for (int i = 0; i < 50 && r == 1; i++) {
		snprintf(address, sizeof(address), "user%d@d.example", i);
		r = import(d, address);
	}
	assert_int_equal(r, -EDQUOT);
	assert_int_equal(ask(d, "user39@d.example", START), WORD_KNOWN);
	assert_int_equal(ask(d, "user40@d.example", START), WORD_NONE);
}

static void listed_in_order_with_their_age(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	static const char *const order[] = { "alice", "bob", "eve" };
	struct directory_entry e;
	char after[40] = "";
	size_t n = 0;

	(void)state;
	learn(d, "eve@d.example", NO_USER, START);
	learn(d, "alice@d.example", OK, START);
	learn(d, "bob@d.example", OK, START + NSEC_HOUR);
	assert_int_equal(
		directory_learn(d, STR("dd.example"), STR("zed@dd.example"), STR(OK), START), 0);
	while (directory_next(d, STR("d.example"), str_of(after), START + 5 * NSEC_HOUR, &e) == 1) {
		assert_true(n < ELEMENTS(order) && str_eq(e.local, str_of(order[n])));
		assert_int_equal(e.word, n == 2 ? WORD_REFUSED : WORD_KNOWN);
		assert_int_equal(e.old, n == 2);
		assert_int_equal(e.age, n == 2 ? 5 * NSEC_HOUR : n == 0 ? NSEC_HOUR : 0);
		str_copy(e.local, after, sizeof(after));
		n++;
	}
	assert_int_equal(n, 3);
	assert_int_equal(directory_forget(d, STR("d.example"), STR("")), 3);
	assert_int_equal(directory_next(d, STR("d.example"), STR(""), START, &e), 0);
	assert_int_equal(directory_next(d, STR("dd.example"), STR(""), START, &e), 1);
}

/* --- the file --- */

static void kept_across_lives(void **state)
{
	struct directory *d = open_it(&small);
	struct directory_summary before, after;

	(void)state;
	learn(d, "bob@d.example", OK, START);
	learn(d, "eve@d.example", NO_USER, START);
	assert_int_equal(directory_summary(d, STR("d.example"), &before), 0);
	directory_close(d);
	d = open_it(&small);
	assert_int_equal(ask(d, "bob@d.example", START), WORD_KNOWN);
	assert_int_equal(ask(d, "eve@d.example", START), WORD_REFUSED);
	assert_int_equal(directory_summary(d, STR("d.example"), &after), 0);
	assert_memory_equal(&before.belief, &after.belief, sizeof(before.belief));
	assert_int_equal(after.known, 1);
	assert_int_equal(after.refused, 1);
	directory_close(d);
}

static void another_process_is_kept_out(void **state)
{
	_cleanup_(directory_closep) struct directory *d = open_it(&small);
	struct directory *other;
	const char *begun;

	(void)state;
	(void)d;
	assert_int_equal(directory_open(dir, &small, &other, &begun), -EWOULDBLOCK);
}

/* A child that is killed in the middle of its writes. */
static void killed_it_keeps_what_was_committed(void **state)
{
	struct directory *d;
	char address[40];

	(void)state;
	for (int round = 0; round < 10; round++) {
		int status, ends[2];
		pid_t pid;
		char c;

		assert_int_equal(pipe(ends), 0);
		pid = fork();
		if (pid == 0) {
			d = open_it(&directory_limits);
			for (int i = 0;; i++) {
				snprintf(address, sizeof(address), "r%du%d@d.example", round, i);
				learn(d, address, OK, START);
				if (i % 50 == 49 && directory_commit(d) < 0)
					_exit(1);
				if (i == 99 && write(ends[1], "x", 1) != 1)
					_exit(1);
			}
		}
		close(ends[1]);
		assert_int_equal(read(ends[0], &c, 1), 1);
		close(ends[0]);
		usleep(3000 * (useconds_t)round);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		d = open_it(&directory_limits);
		for (int i = 0; i < 100; i++) {
			snprintf(address, sizeof(address), "r%du%d@d.example", round, i);
			assert_int_equal(ask(d, address, START), WORD_KNOWN);
		}
		directory_close(d);
	}
}

static void damage_file(uint64_t at, size_t n)
{
	_cleanup_(closep) int fd = sys_open_dir(dir);
	_cleanup_(closep) int file = sys_open_at(fd, "data.mdb", O_RDWR, 0);
	char bytes[4096];

	memset(bytes, 'Z', sizeof(bytes));
	for (; n > 0; n -= MIN(n, sizeof(bytes)), at += sizeof(bytes))
		assert_int_equal(sys_write_at(file, str_mem(bytes, MIN(n, sizeof(bytes))), at), 0);
}

static void cut_file(uint64_t bytes)
{
	_cleanup_(closep) int fd = sys_open_dir(dir);
	_cleanup_(closep) int file = sys_open_at(fd, "data.mdb", O_RDWR, 0);

	assert_int_equal(sys_truncate(file, bytes), 0);
}

static uint64_t fill(void)
{
	struct directory *d = open_it(&directory_limits);
	_cleanup_(closep) int fd = sys_open_dir(dir);
	_cleanup_(closep) int file = -1;
	uint64_t bytes;
	char address[40];

	for (int i = 0; i < 3000; i++) {
		snprintf(address, sizeof(address), "user%d@d.example", i);
		learn(d, address, i % 3 ? OK : NO_USER, START);
	}
	directory_close(d);
	file = sys_open_at(fd, "data.mdb", O_RDONLY, 0);
	assert_int_equal(sys_size(file, &bytes), 0);
	return bytes;
}

/* In a process of its own: what is damaged may end it. Then the next one begins anew. */
static bool opens_anew(void)
{
	for (int life = 0; life < 2; life++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE };
			struct directory *d;
			const char *begun;

			for (size_t i = 0; i < ELEMENTS(fatal); i++)
				signal(fatal[i], SIG_DFL);
			if (directory_open(dir, &directory_limits, &d, &begun) < 0)
				_exit(3);
			if (ask(d, "user1@d.example", START) == WORD_KNOWN)
				_exit(begun ? 4 : 2);
			learn(d, "bob@d.example", OK, START);
			directory_close(d);
			_exit(begun ? 0 : 5);
		}
		waitpid(pid, &status, 0);
		if (WIFEXITED(status))
			return WEXITSTATUS(status) == 0;
	}
	return false;
}

static void a_damaged_file_is_moved_aside(void **state)
{
	static const struct {
		const char *what;
		double at; /* of the file */
		size_t bytes;
	} damages[] = {
		{ "its head", 0, 8192 },
		{ "everything", 0, 100 * 4096 },
		{ "the second half", 0.5, 200 * 4096 },
		{ "cut in the middle", 0.5, 0 },
		{ "cut to nothing but its head", 0.01, 0 },
	};
	struct stat st;
	char path[100];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(damages); i++) {
		uint64_t bytes = fill();
		uint64_t at = (uint64_t)(damages[i].at * (double)bytes) / 4096 * 4096;

		if (damages[i].bytes)
			damage_file(at, MIN(damages[i].bytes, (size_t)(bytes - at)));
		else
			cut_file(MAX(at, (uint64_t)8192));
		if (!opens_anew())
			fail_msg("%s", damages[i].what);
		snprintf(path, sizeof(path), "%s/damaged", dir);
		assert_int_equal(stat(path, &st), 0);
	}
}

static void a_flipped_bit_is_found(void **state)
{
	unsigned found = 0;

	(void)state;
	for (int round = 0; round < 12; round++) {
		uint64_t bytes = fill();

		/* Where a page has its records. */
		damage_file(bytes / 16 * (uint64_t)(round % 12 + 2) / 4096 * 4096 + 3500, 3);
		found += opens_anew(); /* else: a page that nothing refers to */
	}
	assert_true(found >= 6);
}

static void condemned_it_begins_anew(void **state)
{
	struct directory *d = open_it(&small);
	const char *begun;

	(void)state;
	learn(d, "bob@d.example", OK, START);
	directory_condemn(d);
	directory_close(d);
	assert_int_equal(directory_open(dir, &small, &d, &begun), 0);
	assert_non_null(begun);
	assert_int_equal(ask(d, "bob@d.example", START), WORD_NONE);
	directory_close(d);
	d = open_it(&small);
	directory_close(d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(replies_teach),
		TEST(the_newest_reply_counts),
		TEST(the_primarys_words_are_kept),
		TEST(another_domains_recipients_are_others),
		TEST(a_refusal_is_forgotten_after_hours),
		TEST(known_through_an_outage_of_31_days_and_an_empty_one_before),
		TEST(use_keeps_a_recipient_known),
		TEST(coverage_counts_each_recipient_once_a_day),
		TEST(who_takes_the_absent_takes_all),
		TEST(the_oldest_go_first),
		TEST(guesses_do_not_push_out_the_known),
		TEST(past_the_whole_the_largest_domain_gives),
		TEST(a_full_file_loses_what_is_new_and_goes_on),
		TEST(imported_ones_do_not_grow_old_nor_go),
		TEST(an_import_that_replaces_forgets_the_rest),
		TEST(too_many_are_not_imported),
		TEST(listed_in_order_with_their_age),
		TEST(kept_across_lives),
		TEST(another_process_is_kept_out),
		TEST(killed_it_keeps_what_was_committed),
		TEST(a_damaged_file_is_moved_aside),
		TEST(a_flipped_bit_is_found),
		TEST(condemned_it_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
