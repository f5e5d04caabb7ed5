/*
 * powercut every [OPTIONS [FEATURES]]         at every sync of the script, in every place
 * powercut quick [OPTIONS [FEATURES]]         the three places in turn
 * powercut twice [OPTIONS [FEATURES]]         and each time once more, soon after the next start
 * powercut random CUTS [OPTIONS [FEATURES]]   the same disk again and again, the process frozen at random moments
 * powercut wrong NAME                         a mistake on purpose (README.md): must be seen at some sync
 *
 * OPTIONS are those of mounting an ext4, FEATURES those of making it; "": the defaults. One line PASS or FAIL, its
 * reason below it. Status 0 or 1.
 */
#include "powercut/powercut.h"

#include "task/sys.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define SYNCS_MIN 100 /* a script that does less is broken */
#define WAIT_MAX 60   /* seconds a child may take */

struct totals {
	unsigned cuts, syncs;
	unsigned long acknowledged, done;
	unsigned long verdict[VERDICTS];
	char first[400];
};

static struct totals totals;
static const char *features;
static struct cut wrong_cut; /* the mistakes in it go along with every cut */

/* --- children --- */

static pid_t begin(void (*work)(uint64_t), uint64_t argument)
{
	pid_t child = fork();

	must(child >= 0);
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(WAIT_MAX);
	work(argument);
	_exit(0);
}

static void end(pid_t child, const char *what)
{
	int status;

	must(waitpid(child, &status, 0) == child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && ledger->off)
		return;
	if (WIFSIGNALED(status) || ledger_is_good())
		ledger_say(BROKEN, "%s ended with status %x", what, (unsigned)status);
}

static void work_script(uint64_t unused)
{
	(void)unused;
	script_run();
}

static void work_random(uint64_t seed)
{
	script_random(seed);
}

static void work_check(uint64_t unused)
{
	(void)unused;
	/* What reads is not at fault, and nothing is cut now. */
	cut = (struct cut){ 0 };
	wrong_choose(NULL);
	ledger->off = false;
	ledger_check();
}

/* --- one cut --- */

static void count(void)
{
	for (unsigned n = 0; n < ledger->next; n++) {
		totals.acknowledged += ledger->of[n].taken;
		totals.done += ledger->of[n].ended;
	}
}

static void recover(const char *options, const char *where)
{
	ledger_forget_pending();
	disk_unmount();
	disk_mount(options);
	end(begin(work_check, 0), "the reader");
	disk_unmount();
	for (size_t i = 0; i < VERDICTS; i++)
		totals.verdict[i] += ledger->verdict[i];
	if (!ledger_is_good() && !totals.first[0])
		snprintf(totals.first, sizeof(totals.first), "%s: %s", where, ledger->worst_text);
}

/* One life on the disk as it is. False: it came to its end before that sync. */
static bool live_until(unsigned at, enum cut_place place, const char *options)
{
	ledger->working = ledger->off = false;
	ledger->syncs = 0;
	disk_mount(options);
	cut = wrong_cut;
	cut.at = at;
	cut.place = place;
	end(begin(work_script, 0), "the script");
	if (ledger->finished && !ledger->off)
		return false;
	totals.cuts++;
	if (!ledger->off)
		disk_power_off(); /* a mistake has ended it earlier */
	return true;
}

/* The power goes again while the next start clears up, or soon after. What the first cut left open stays so. */
static void live_again(unsigned at, const char *options)
{
	ledger_forget_pending();
	disk_unmount();
	live_until(1 + at % 8, (enum cut_place)(at / 8 % CUT_PLACES), options);
}

static bool cut_at(unsigned at, enum cut_place place, bool twice, const char *options)
{
	static const char *const words[CUT_PLACES] = { "before", "written, but before", "after" };
	char where[64];

	snprintf(where, sizeof(where), "%s sync %u", words[place], at);
	disk_fresh();
	ledger_clear();
	if (!live_until(at, place, options)) {
		totals.syncs = ledger->syncs;
		disk_unmount();
		return false;
	}
	if (twice)
		live_again(at, options);
	count();
	recover(options, where);
	return true;
}

/* --- what can be asked for --- */

static bool totals_good(void)
{
	for (size_t i = 0; i < VERDICTS; i++)
		if (totals.verdict[i])
			return false;
	return totals.cuts > 0 && totals.acknowledged > 0 && totals.done > 0;
}

static int report(const char *what)
{
	bool good = totals_good();

	printf("%s powercut: %s (%u cuts, %lu acknowledged, %lu of them done; %lu lost, %lu "
	       "changed, "
	       "%lu revived, %lu damaged, %lu broken)\n",
	       good ? "PASS" : "FAIL", what, totals.cuts, totals.acknowledged, totals.done,
	       totals.verdict[LOST], totals.verdict[CHANGED], totals.verdict[REVIVED],
	       totals.verdict[DAMAGED], totals.verdict[BROKEN]);
	if (!good)
		printf("    %s\n", totals.first);
	return good ? 0 : 1;
}

/* How often the power goes for each sync of the script. */
enum thoroughness {
	QUICK, /* at one place, by turns */
	EVERY, /* at each */
	TWICE, /* and a second time in the next life */
};

static int every(const char *options, enum thoroughness how)
{
	static const char *const words[] = {
		"before or after", "before and after",
		"before and after, and again soon after the next start,"
	};
	char what[200];

	for (unsigned at = 1; totals.syncs == 0; at++)
		for (unsigned place = 0; place < CUT_PLACES && totals.syncs == 0; place++)
			if (how != QUICK || place == at % CUT_PLACES)
				cut_at(at, (enum cut_place)place, how == TWICE, options);
	if (totals.syncs < SYNCS_MIN) {
		printf("FAIL powercut: the script has only %u syncs\n", totals.syncs);
		return 1;
	}
	snprintf(what, sizeof(what), "%s each of %u syncs, %s%s%s", words[how], totals.syncs,
		 options[0] ? options : "data=ordered", features[0] ? ", " : "", features);
	return report(what);
}

/* Some time of work; or, every fourth time, of the start. */
static void let_work(pid_t child, unsigned chance)
{
	bool in_start = chance % 4 == 0;

	for (unsigned i = 0; !in_start && !*(volatile bool *)&ledger->working && i < 10000; i++)
		usleep(1000);
	usleep(in_start ? chance % 100 * 100 : chance % 150 * 1000);
	kill(child, SIGSTOP);
}

/* Only the process dies: the next one sees what the cache has, durable or not. */
static void kill_only(uint64_t seed)
{
	pid_t child = begin(work_random, ~seed);

	let_work(child, (unsigned)(~seed * 0x9e3779b97f4a7c15 >> 40));
	ledger->off = true;
	kill(child, SIGKILL);
	end(child, "the work");
	ledger->working = ledger->off = false;
	ledger_forget_pending();
}

static void freeze_and_cut(uint64_t seed)
{
	pid_t child = begin(work_random, seed);
	int status;

	let_work(child, (unsigned)(seed * 0x9e3779b97f4a7c15 >> 40));
	/* It is stopped when the system call under way has returned: nothing is in flight. */
	must(waitpid(child, &status, WUNTRACED) == child);
	if (WIFSTOPPED(status)) {
		disk_power_off();
		ledger->off = true;
		kill(child, SIGKILL);
		end(child, "the work");
		return;
	}
	disk_power_off();
	if (ledger_is_good())
		ledger_say(BROKEN, "the work ended with status %x", (unsigned)status);
}

static int random_moments(unsigned cuts, const char *options)
{
	uint64_t seed = (uint64_t)sys_now_wall();
	char what[200];

	disk_fresh();
	ledger_clear();
	for (unsigned i = 0; i < cuts && ledger_is_good() && ledger->next < NUMBERS - 5000; i++) {
		char where[64];

		snprintf(where, sizeof(where), "random cut %u", i + 1);
		ledger->working = ledger->off = false;
		disk_mount(options);
		if (i % 2)
			kill_only(seed + i);
		freeze_and_cut(seed + i);
		totals.cuts++;
		recover(options, where);
	}
	count();
	snprintf(what, sizeof(what), "frozen at random moments, one disk, %s%s%s",
		 options[0] ? options : "data=ordered", features[0] ? ", " : "", features);
	return report(what);
}

static bool choose_mistake(const char *name)
{
	wrong_cut.lie_data = strcmp(name, "no-data-sync") == 0;
	wrong_cut.lie_directory = strcmp(name, "no-sync-of-directories") == 0;
	return wrong_cut.lie_data || wrong_cut.lie_directory || wrong_choose(name);
}

static int wrong(const char *name)
{
	bool seen;

	if (!choose_mistake(name)) {
		printf("FAIL powercut: no mistake called %s in this build\n", name);
		return 1;
	}
	for (unsigned at = 1; totals.syncs == 0 && !totals.first[0]; at++)
		cut_at(at, (enum cut_place)(at % CUT_PLACES), false, "");
	seen = totals.first[0];
	printf("%s powercut: %s is seen (%u cuts; %s)\n", seen ? "PASS" : "FAIL", name, totals.cuts,
	       seen ? totals.first : "nothing was lost");
	return seen ? 0 : 1;
}

static const char *argument(int argc, char **argv, int at)
{
	return argc > at ? argv[at] : "";
}

int main(int argc, char **argv)
{
	const char *verb = argument(argc, argv, 1), *first = argument(argc, argv, 2);
	bool at_random = strcmp(verb, "random") == 0;
	const char *options = argument(argc, argv, at_random ? 3 : 2), *why;
	uint64_t cuts = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ledger_new();
	features = argument(argc, argv, at_random ? 4 : 3);
	why = disk_new(strcmp(verb, "wrong") == 0 ? "" : features);
	if (why) {
		printf("FAIL powercut: %s\n", why);
		return 1;
	}
	if (strcmp(verb, "every") == 0)
		return every(options, EVERY);
	if (strcmp(verb, "quick") == 0)
		return every(options, QUICK);
	if (strcmp(verb, "twice") == 0)
		return every(options, TWICE);
	if (strcmp(verb, "wrong") == 0)
		return wrong(first);
	if (at_random && str_u64(str_of(first), 100000, &cuts) == 0)
		return random_moments((unsigned)cuts, options);
	fprintf(stderr, "usage: see the top of tests/powercut/main.c\n");
	return 2;
}
