/*
 * run: many seeds, each in a process of its own. A seed that fails is made smaller by leaving out whatever it does
 * not need to fail in the same way, and printed with the command that runs it again.
 *
 *	sim --seed N [--without A,B,C] [--fault KIND,DETAIL,COUNT] [--trace] [--plan]
 *	sim --first N --count N [--jobs N] [--wrong NAME]
 *	sim --every-sync --seed N [--jobs N]    the power goes before, during and after each sync of node 0
 *	sim --every-call N --seed N [--jobs N]  each process of node 0 dies in every Nth call of sys.h
 */
#include "base/wrong.h"
#include "sim/world.h"

#include <getopt.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 64
#define CPU_SECONDS_MAX 120
#define OUTPUT_SHOWN 12000 /* of a failing seed, the last bytes */
#define LEFT_OUT_MAX (FAULTS_MAX + CLIENTS_MAX)

struct result {
	bool finished;
	char rule[SIM_RULE_BYTES];
	struct world_counts world;
	struct sim_counts sim;
	nsec lasted;
	uint64_t syncs, calls[NODE_PARTS]; /* of node 0 */
};

static struct {
	uint64_t count;
	unsigned jobs;
	bool plan, many, every_sync;
	uint64_t every_call; /* 0: no; else the stride */
	const char *wrong;
} options = { .count = 1, .jobs = 1 };

/* What is to be run: a plan, less what is left out of it, and perhaps one fault more. */
static struct work {
	uint64_t seed;
	bool has_fault;
	struct fault fault;
	uint32_t left_out[LEFT_OUT_MAX];
	size_t left_out_n;
} asked;

/* --- one seed, in a process of its own --- */

static struct result *child_result;

static void tell_rule(void)
{
	memcpy(child_result->rule, sim_rule, sizeof(child_result->rule));
}

static void make_plan(const struct work *w, struct plan *ret_plan)
{
	sim_seed(w->seed);
	plan_make(w->seed, ret_plan);
	for (size_t i = 0; i < w->left_out_n; i++)
		plan_leave_out(ret_plan, w->left_out[i]);
	if (w->has_fault)
		plan_add(ret_plan, &w->fault);
}

static void run_work(const struct work *w)
{
	static struct plan plan;

	make_plan(w, &plan);
	if (options.plan)
		plan_describe(&plan, stdout);
	world_run(&plan, &child_result->world);
	child_result->sim = sim_counts;
	child_result->syncs = node_syncs(world_node(0));
	for (unsigned i = 0; i < NODE_PARTS; i++)
		child_result->calls[i] = node_calls(world_node(0), (enum node_part)i);
	child_result->lasted = sim_now() - NSEC_DAY;
	child_result->finished = true;
}

struct job {
	pid_t pid;
	struct work work;
	struct result *result;
	FILE *output;
};

static void job_start(struct job *j, const struct work *w, bool loud)
{
	struct rlimit cpu = { CPU_SECONDS_MAX, CPU_SECONDS_MAX + 1 };

	j->work = *w;
	memset(j->result, 0, sizeof(*j->result));
	j->output = loud ? NULL : tmpfile();
	fflush(stdout);
	j->pid = fork();
	must(j->pid >= 0);
	if (j->pid > 0)
		return;
	child_result = j->result;
	sim_failed = tell_rule;
	setrlimit(RLIMIT_CPU, &cpu);
	if (j->output) {
		dup2(fileno(j->output), STDOUT_FILENO);
		dup2(fileno(j->output), STDERR_FILENO);
	}
	run_work(w);
	fflush(stdout);
	_Exit(0);
}

/* True: everything held. */
static bool job_judge(struct job *j, int status)
{
	j->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && j->result->finished)
		return true;
	if (WIFSIGNALED(status))
		snprintf(j->result->rule, sizeof(j->result->rule), "ended by signal %d",
			 WTERMSIG(status));
	else if (!j->result->rule[0])
		snprintf(j->result->rule, sizeof(j->result->rule), "ended with status %d",
			 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return false;
}

static struct result *result_new(void)
{
	void *p = mmap(NULL, sizeof(struct result), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);
	return p;
}

/* --- making a failing seed smaller --- */

static bool still_fails(struct job *j, const struct work *w, const char *rule)
{
	int status;
	bool fails;

	job_start(j, w, false);
	must(waitpid(j->pid, &status, 0) >= 0);
	fails = !job_judge(j, status) && strcmp(j->result->rule, rule) == 0;
	fclose(j->output);
	return fails;
}

static bool is_left_out(const struct work *w, uint32_t number)
{
	for (size_t i = 0; i < w->left_out_n; i++)
		if (w->left_out[i] == number)
			return true;
	return false;
}

/* Halves, quarters, … single ones are left out for as long as the same rule fails. */
static void shrink(struct work *w, const char *rule)
{
	static struct plan plan;
	struct job j = { .result = result_new() };
	uint32_t total;

	make_plan(w, &plan);
	total = plan.faults - w->has_fault + plan.clients;
	for (uint32_t step = total / 2; step > 0; step /= 2) {
		for (uint32_t from = 0; from < total; from += step) {
			struct work less = *w;

			for (uint32_t i = from; i < MIN(from + step, total); i++)
				if (!is_left_out(w, i))
					less.left_out[less.left_out_n++] = i;
			if (less.left_out_n > w->left_out_n && still_fails(&j, &less, rule))
				*w = less;
		}
	}
}

static void print_command(const struct work *w)
{
	printf("  make sim SEED=%llu", (unsigned long long)w->seed);
	for (size_t i = 0; i < w->left_out_n; i++)
		printf("%s%u", i ? "," : " WITHOUT=", w->left_out[i]);
	if (w->has_fault)
		printf(" FAULT=%d,%u,%llu", (int)w->fault.kind, w->fault.detail,
		       (unsigned long long)w->fault.count);
	printf("%s%s\n", options.wrong ? " WRONG=" : "", options.wrong ? options.wrong : "");
}

static void show_output(FILE *output)
{
	char bytes[4096];
	size_t n;

	fseek(output, 0, SEEK_END);
	if (ftell(output) > OUTPUT_SHOWN)
		fseek(output, -OUTPUT_SHOWN, SEEK_END);
	else
		rewind(output);
	while ((n = fread(bytes, 1, sizeof(bytes), output)) > 0)
		fwrite(bytes, 1, n, stdout);
}

static void tell_failure(const struct job *j, bool whole)
{
	static struct plan plan;
	struct work w = j->work;

	printf("seed %llu: %s\n", (unsigned long long)w.seed, j->result->rule);
	if (!whole) {
		print_command(&w);
		return;
	}
	show_output(j->output);
	shrink(&w, j->result->rule);
	make_plan(&w, &plan);
	printf("what is left of it fails in the same way:\n");
	plan_describe(&plan, stdout);
	printf("again, the whole and what is left, with TRACE=1 for every event:\n");
	print_command(&j->work);
	print_command(&w);
}

/* --- many --- */

struct sums {
	uint64_t seeds, failed;
	struct world_counts world;
	struct sim_counts sim;
	double days;
};

static void add_counts(uint64_t *to, const uint64_t *from, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(*to); i++)
		to[i] += from[i];
}

static void add_result(struct sums *s, const struct result *r)
{
	s->seeds++;
	s->days += (double)r->lasted / (double)NSEC_DAY;
	add_counts((uint64_t *)&s->world, (const uint64_t *)&r->world, sizeof(r->world));
	add_counts((uint64_t *)&s->sim, (const uint64_t *)&r->sim, sizeof(r->sim));
}

static void print_sums(const struct sums *s, double seconds)
{
	const struct world_counts *w = &s->world;
	const struct sim_counts *c = &s->sim;

#define N(value) ((unsigned long long)(value))
	printf("%llu seeds, %llu failed; %.1f virtual days in %.1f s\n", N(s->seeds), N(s->failed),
	       s->days, seconds);
	printf("  messages    %llu sent, %llu acknowledged (%llu passed live), %llu refused, %llu "
	       "without an answer; %llu too large, %llu just not\n",
	       N(w->messages), N(w->acknowledged), N(w->passed), N(w->refused), N(w->unanswered),
	       N(w->too_large), N(w->at_limit));
	printf("  deliveries  %llu, of them %llu twice; %llu held, %llu parked\n", N(w->deliveries),
	       N(w->duplicates), N(w->held), N(w->parked));
	printf("  faults      %llu: %llu kills, %llu power cuts (%llu torn files, %llu names "
	       "lost), %llu disk errors, %llu outages\n",
	       N(w->faults), N(c->kills), N(c->power_cuts), N(c->torn_writes), N(c->lost_writes),
	       N(c->disk_faults), N(w->outages));
	printf("  %llu turns, %llu syncs\n", N(c->turns), N(c->syncs));
#undef N
}

static struct job *job_of(struct job *jobs, pid_t pid)
{
	for (unsigned i = 0; i < options.jobs; i++)
		if (jobs[i].pid == pid)
			return &jobs[i];
	return NULL;
}

/* `count` runs, as many at once as was asked for: of one seed after the other or, with a fault, of the fault at one place
 * after the other. */
static void run_series(struct work w, uint64_t count, uint64_t stride, struct sums *sums)
{
	struct job jobs[JOBS_MAX] = { 0 };
	unsigned running_jobs = 0;
	int status;

	for (unsigned i = 0; i < options.jobs; i++)
		jobs[i].result = result_new();
	while (count > 0 || running_jobs > 0) {
		struct job *j = count > 0 && running_jobs < options.jobs ? job_of(jobs, 0) : NULL;

		if (j) {
			job_start(j, &w, false);
			*(w.has_fault ? &w.fault.count : &w.seed) += stride;
			running_jobs++;
			count--;
			continue;
		}
		j = job_of(jobs, waitpid(-1, &status, 0));
		must(j);
		running_jobs--;
		if (!job_judge(j, status))
			tell_failure(j, sums->failed++ == 0);
		add_result(sums, j->result);
		fclose(j->output);
	}
}

static int run_many(void)
{
	struct sums sums = { 0 };
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	run_series(asked, options.count, 1, &sums);
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_sums(&sums,
		   (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
	printf("%s simulator: %llu seeds from %llu on\n", sums.failed ? "FAIL" : "PASS",
	       (unsigned long long)options.count, (unsigned long long)asked.seed);
	return sums.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Loudly, here; what came of it in *ret. */
static bool run_alone(struct result *ret, bool loud)
{
	struct job j = { .result = result_new() };
	int status;

	job_start(&j, &asked, loud);
	must(waitpid(j.pid, &status, 0) >= 0);
	if (!job_judge(&j, status)) {
		printf("seed %llu fails: %s\n", (unsigned long long)asked.seed, j.result->rule);
		return false;
	}
	*ret = *j.result;
	return true;
}

static int run_one(void)
{
	struct sums sums = { 0 };
	struct result r;

	if (!run_alone(&r, true))
		return EXIT_FAILURE;
	add_result(&sums, &r);
	print_sums(&sums, 0);
	return EXIT_SUCCESS;
}

/* --- one seed, the same fault at every place --- */

static void fault_at_places(enum fault_kind kind, uint32_t detail, uint64_t places, uint64_t stride,
			    struct sums *sums)
{
	struct work w = asked;

	w.has_fault = true;
	w.fault = (struct fault){ .kind = kind, .detail = detail, .count = 1 };
	run_series(w, (places + stride - 1) / stride, stride, sums);
}

static int run_places(void)
{
	struct sums sums = { 0 };
	struct result r;

	if (!run_alone(&r, false))
		return EXIT_FAILURE;
	for (unsigned m = SYNC_BEFORE; options.every_sync && m <= SYNC_AFTER; m++)
		fault_at_places(FAULT_CUT_AT_SYNC, m, r.syncs, 1, &sums);
	for (unsigned part = 0; options.every_call && part < NODE_PARTS; part++)
		fault_at_places(FAULT_KILL_AT_CALL, part, r.calls[part], options.every_call, &sums);
	print_sums(&sums, 0);
	printf("%s simulator: seed %llu, a %s at each of %llu places\n",
	       sums.failed ? "FAIL" : "PASS", (unsigned long long)asked.seed,
	       options.every_sync ? "power cut" : "death", (unsigned long long)sums.seeds);
	return sums.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* KIND,DETAIL,COUNT: of node 0, from the start on. */
static void read_fault(const char *text)
{
	unsigned kind;
	unsigned long long count;

	if (sscanf(text, "%u,%u,%llu", &kind, &asked.fault.detail, &count) != 3 ||
	    kind > FAULT_DNS) {
		fprintf(stderr, "sim: a fault is KIND,DETAIL,COUNT\n");
		exit(2);
	}
	asked.fault.kind = (enum fault_kind)kind;
	asked.fault.count = count;
	asked.has_fault = true;
}

static void read_left_out(char *text)
{
	while (*text && asked.left_out_n < LEFT_OUT_MAX) {
		asked.left_out[asked.left_out_n++] = (uint32_t)strtoul(text, &text, 10);
		text += strspn(text, ",");
	}
}

static void read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "first", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "without", required_argument, NULL, 'w' },
		{ "fault", required_argument, NULL, 'a' },
		{ "trace", no_argument, NULL, 't' },
		{ "plan", no_argument, NULL, 'p' },
		{ "every-sync", no_argument, NULL, 'y' },
		{ "every-call", required_argument, NULL, 'c' },
		{ "wrong", required_argument, NULL, 'x' },
		{ 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (o) {
		case 's':
		case 'f':
			asked.seed = strtoull(optarg, NULL, 10);
			options.many |= o == 'f';
			break;
		case 'n':
			options.count = strtoull(optarg, NULL, 10);
			options.many = true;
			break;
		case 'j':
			options.jobs = (unsigned)MIN(MAX(strtoul(optarg, NULL, 10), 1ul), JOBS_MAX);
			break;
		case 'w':
			read_left_out(optarg);
			break;
		case 'a':
			read_fault(optarg);
			break;
		case 't':
			sim_tracing = true;
			break;
		case 'p':
			options.plan = true;
			break;
		case 'y':
			options.every_sync = true;
			break;
		case 'c':
			options.every_call = MAX(strtoull(optarg, NULL, 10), 1);
			break;
		case 'x':
			options.wrong = optarg;
			if (wrong_choose(optarg))
				break;
			fprintf(stderr, "sim: %s is no mistake that this build makes\n", optarg);
			exit(2);
		default:
			fprintf(stderr, "usage: sim --seed N [--without A,B] [--trace] [--plan] | "
					"--first N --count N [--jobs N]\n");
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	setenv("LOCUM_LOG", "debug", 0);
	setenv("TZ", "UTC", 1);
	OPENSSL_init_ssl(0, NULL); /* once, not in every child */
	if (options.every_sync || options.every_call)
		return run_places();
	return options.many ? run_many() : run_one();
}
