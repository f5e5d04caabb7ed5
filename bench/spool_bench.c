/*
 * How much of the disk does the spool leave? Each cell of the table compares two loops that write the same
 * bytes in the same batches (one message of every writer) and make each batch durable:
 *
 *	bare   one pwrite a batch from one buffer, then fdatasync; one file, allocated ahead in the
 *	       spool's steps of 8 MiB; no copying, no checksum, no index
 *	spool  spool_append for each message, its body in a sealed memory file, then spool_sync
 *
 * They alternate, short run by short run, and change places every round; the ratio is the median of the
 * rounds' ratios. So what else the machine does disturbs both alike. Ids and bodies are made beforehand:
 * in the product that is smtpin's work.
 *
 *	spool_bench DIR [ROUNDS [KIB WRITERS]]     one cell alone when named
 *	spool_bench DIR replay                     how fast a million small messages are read again
 *
 * DIR must be on a real disk; at most 300 MB lie there at a time.
 */
#include "base/cleanup.h"
#include "spool/spool.h"
#include "task/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>

#define WRITERS_MAX 512
#define BATCHES_MAX 400
#define RUN_BYTES ((size_t)128 << 20) /* of one run, unless that were too few or too many batches */
#define ENVELOPE_BYTES 400
#define RECORD_HEADER_BYTES 72
#define ALLOCATE_STEP ((uint64_t)8 << 20)
#define ROUNDS_MAX 51

static const size_t sizes_kib[] = { 4, 20, 100 };
static const size_t writers_of[] = { 1, 8, 64, 512 };

static char *directory;
static char envelope[ENVELOPE_BYTES];
static int bodies[WRITERS_MAX];

/* One cell of the table. */
struct cell {
	size_t body_bytes, writers, batches;
	msg_id *ids; /* of every message, in order */
};

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "spool_bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

static char *path_of(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void remove_tree(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		char below[1024];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		if (unlink(below) < 0)
			remove_tree(below);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

static void bodies_make(size_t bytes, size_t count)
{
	_cleanup_(freep) char *noise = malloc(bytes);

	sys_random(noise, bytes);
	for (size_t i = 0; i < count; i++) {
		if (bodies[i] > 0)
			close(bodies[i]);
		bodies[i] = sys_memfd("body");
		check(bodies[i], "memfd");
		memcpy(noise, &i, sizeof(i));
		check(sys_write(bodies[i], str_mem(noise, bytes)), "write body");
		check(sys_memfd_seal(bodies[i]), "seal");
	}
}

static msg_id *ids_make(size_t count)
{
	msg_id *ids = reallocarray(NULL, count, sizeof(*ids));
	uint8_t random[10];

	check(ids ? 0 : -ENOMEM, "ids");
	for (size_t i = 0; i < count; i++) {
		sys_random(random, sizeof(random));
		ids[i] = id_make(sys_now_wall(), random);
	}
	return ids;
}

static struct spool *spool_fresh(void)
{
	struct spool *s;

	check(spool_open(path_of("spool"), NULL, &s), "spool_open");
	check(spool_replay(s, NULL, NULL, NULL), "spool_replay");
	return s;
}

/* --- the two loops; both return seconds --- */

static double run_spool(const struct cell *c)
{
	const msg_id *id = c->ids;
	struct spool *s;
	double took;
	nsec start;

	remove_tree(path_of("spool"));
	s = spool_fresh();
	start = sys_now();
	for (size_t b = 0; b < c->batches; b++) {
		for (size_t i = 0; i < c->writers; i++)
			check(spool_append(NULL, s, *id++, str_mem(envelope, sizeof(envelope)),
					   bodies[i], c->body_bytes),
			      "spool_append");
		check(spool_sync(s), "spool_sync");
	}
	took = (double)(sys_now() - start) / NSEC_S;
	spool_close(s);
	remove_tree(path_of("spool"));
	return took;
}

static size_t batch_bytes(size_t body_bytes, size_t writers)
{
	return writers * ((RECORD_HEADER_BYTES + ENVELOPE_BYTES + body_bytes + 7) & ~(size_t)7);
}

static double run_bare(const struct cell *c)
{
	size_t batch = batch_bytes(c->body_bytes, c->writers);
	_cleanup_(freep) char *buffer = malloc(batch);
	int fd = open(path_of("bare"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t at = 0, allocated = 0;
	double took;
	nsec start;

	check(fd, "open");
	sys_random(buffer, batch);
	start = sys_now();
	for (size_t b = 0; b < c->batches; b++, at += batch) {
		for (; allocated < at + batch; allocated += ALLOCATE_STEP)
			check(sys_allocate(fd, allocated, ALLOCATE_STEP), "fallocate");
		check(sys_write_at(fd, str_mem(buffer, batch), at), "pwrite");
		check(sys_sync_data(fd), "fdatasync");
	}
	took = (double)(sys_now() - start) / NSEC_S;
	close(fd);
	unlink(path_of("bare"));
	return took;
}

/* --- the table --- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static void compare(struct cell *c, size_t rounds)
{
	double spool[ROUNDS_MAX], bare[ROUNDS_MAX], ratio[ROUNDS_MAX];
	double messages = (double)(c->batches * c->writers);
	double s, b, r;

	for (size_t i = 0; i < rounds; i++) {
		if (i & 1)
			spool[i] = run_spool(c);
		bare[i] = run_bare(c);
		if (!(i & 1))
			spool[i] = run_spool(c);
		ratio[i] = bare[i] / spool[i];
	}
	s = median(spool, rounds);
	b = median(bare, rounds);
	r = median(ratio, rounds);
	printf("%5zu KiB %5zu %12.0f %12.0f %8.0f %8.2f %6.2f-%.2f\n", c->body_bytes >> 10,
	       c->writers, messages / b, messages / s,
	       messages * (double)c->body_bytes / s / (1 << 20), r, ratio[rounds / 4],
	       ratio[rounds - 1 - rounds / 4]);
	fflush(stdout);
}

static void measure(size_t kib, size_t writers, size_t rounds)
{
	struct cell c = { .body_bytes = kib << 10, .writers = writers };

	c.batches = RUN_BYTES / batch_bytes(c.body_bytes, writers);
	c.batches = MIN(MAX(c.batches, (size_t)4), (size_t)BATCHES_MAX);
	c.ids = ids_make(c.batches * writers);
	bodies_make(c.body_bytes, writers);
	compare(&c, rounds);
	free(c.ids);
}

static void measure_all(size_t rounds)
{
	for (size_t i = 0; i < ELEMENTS(sizes_kib); i++)
		for (size_t j = 0; j < ELEMENTS(writers_of); j++)
			measure(sizes_kib[i], writers_of[j], rounds);
}

/* --- replay --- */

#define REPLAYED ((size_t)1000000)

static void replay_million(void)
{
	_cleanup_(freep) msg_id *ids = ids_make(REPLAYED);
	struct mallinfo2 before, after;
	struct spool *s;
	nsec start;

	remove_tree(path_of("spool"));
	s = spool_fresh();
	bodies_make(300, 1);
	for (size_t i = 0; i < REPLAYED; i++) {
		check(spool_append(NULL, s, ids[i], str_mem(envelope, 200), bodies[0], 300),
		      "spool_append");
		if (i % 10000 == 0)
			check(spool_sync(s), "spool_sync");
	}
	check(spool_sync(s), "spool_sync");
	spool_close(s);
	before = mallinfo2();
	start = sys_now();
	s = spool_fresh();
	after = mallinfo2();
	printf("replay of 1,000,000 messages of 300 bytes: %.2f s, %.0f bytes of memory a "
	       "message\n",
	       (double)(sys_now() - start) / NSEC_S,
	       (double)(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) /
		       REPLAYED);
	spool_close(s);
	remove_tree(path_of("spool"));
}

static _Noreturn void usage(void)
{
	fprintf(stderr, "usage: spool_bench DIR [ROUNDS [KIB WRITERS]]\n"
			"       spool_bench DIR replay\n");
	exit(2);
}

static size_t number(const char *text, size_t max)
{
	uint64_t n;

	if (str_u64(str_of(text), max, &n) < 0 || n == 0)
		usage();
	return n;
}

int main(int argc, char **argv)
{
	size_t rounds = 11;

	if (argc != 2 && argc != 3 && argc != 5)
		usage();
	directory = argv[1];
	mkdir(directory, 0700);
	sys_random(envelope, sizeof(envelope));
	if (argc == 3 && strcmp(argv[2], "replay") == 0) {
		replay_million();
		return 0;
	}
	if (argc > 2)
		rounds = number(argv[2], ROUNDS_MAX);
	printf("%9s %5s %12s %12s %8s %8s %s\n", "body", "at once", "bare/s", "spool/s", "MiB/s",
	       "ratio", "its middle half");
	if (argc == 5)
		measure(number(argv[3], 1024), number(argv[4], WRITERS_MAX), rounds);
	else
		measure_all(rounds);
	return 0;
}
