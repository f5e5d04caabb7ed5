/*
 * How much of the disk does the spool leave? Each round writes the same bytes in the same batches twice:
 * once with a bare loop (pwrite and fdatasync from one buffer), once through spool_append and spool_sync
 * with the bodies in sealed memory files. The order alternates from round to round; the median of the
 * rounds' ratios is what counts, the digits belong to the machine. Then a million small messages are replayed.
 *
 *	spool_bench DIR [ROUNDS]     DIR must be on a real disk; about 2 GB are written and removed
 */
#include "base/cleanup.h"
#include "spool/spool.h"
#include "task/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>

#define WRITERS 64
#define ENVELOPE_BYTES 400
#define ROUNDS_MAX 31

static char *directory;
static char envelope[ENVELOPE_BYTES];
static int bodies[WRITERS];

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

static void bodies_make(size_t bytes)
{
	_cleanup_(freep) char *noise = malloc(bytes);

	sys_random(noise, bytes);
	for (size_t i = 0; i < WRITERS; i++) {
		if (bodies[i] > 0)
			close(bodies[i]);
		bodies[i] = sys_memfd("body");
		check(bodies[i], "memfd");
		memcpy(noise, &i, sizeof(i));
		check(sys_write(bodies[i], str_mem(noise, bytes)), "write body");
		check(sys_memfd_seal(bodies[i]), "seal");
	}
}

static msg_id new_id(void)
{
	uint8_t random[10];

	sys_random(random, sizeof(random));
	return id_make(sys_now_wall(), random);
}

static struct spool *spool_fresh(void)
{
	struct spool *s;

	check(spool_open(path_of("spool"), NULL, &s), "spool_open");
	check(spool_replay(s, NULL, NULL, NULL), "spool_replay");
	return s;
}

/* Seconds for `batches` batches of WRITERS messages. */
static double run_spool(size_t bytes, int batches)
{
	struct spool *s;
	nsec start;
	double took;

	remove_tree(path_of("spool"));
	s = spool_fresh();
	start = sys_now();
	for (int b = 0; b < batches; b++) {
		for (size_t i = 0; i < WRITERS; i++)
			check(spool_append(NULL, s, new_id(), str_mem(envelope, sizeof(envelope)),
					   bodies[i], bytes),
			      "spool_append");
		check(spool_sync(s), "spool_sync");
	}
	took = (double)(sys_now() - start) / NSEC_S;
	spool_close(s);
	remove_tree(path_of("spool"));
	return took;
}

static double run_bare(size_t bytes, int batches)
{
	size_t batch = WRITERS * ((72 + ENVELOPE_BYTES + bytes + 7) & ~(size_t)7);
	_cleanup_(freep) char *buffer = malloc(batch);
	int fd = open(path_of("bare"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	nsec start;
	double took;

	sys_random(buffer, batch);
	check(fd, "open");
	start = sys_now();
	for (int b = 0; b < batches; b++) {
		check(sys_write_at(fd, str_mem(buffer, batch), (uint64_t)b * batch), "pwrite");
		check(sys_sync_data(fd), "fdatasync");
	}
	took = (double)(sys_now() - start) / NSEC_S;
	close(fd);
	unlink(path_of("bare"));
	return took;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static void compare(size_t bytes, int batches, int rounds)
{
	double spool[ROUNDS_MAX], bare[ROUNDS_MAX], ratio[ROUNDS_MAX];
	double messages = (double)batches * WRITERS;
	double s, b;

	bodies_make(bytes);
	for (int i = 0; i < rounds; i++) {
		if (i & 1)
			spool[i] = run_spool(bytes, batches);
		bare[i] = run_bare(bytes, batches);
		if (!(i & 1))
			spool[i] = run_spool(bytes, batches);
		ratio[i] = bare[i] / spool[i];
	}
	s = median(spool, rounds);
	b = median(bare, rounds);
	printf("%4zu KiB x %d writers: bare %7.0f/s, spool %7.0f/s, %4.0f MiB/s, ratio %.2f\n",
	       bytes >> 10, WRITERS, messages / b, messages / s,
	       messages * (double)bytes / s / (1 << 20), median(ratio, rounds));
}

static void replay_million(void)
{
	struct spool *s;
	struct mallinfo2 before;
	nsec start;

	remove_tree(path_of("spool"));
	s = spool_fresh();
	bodies_make(300);
	for (int i = 0; i < 1000000; i++) {
		check(spool_append(NULL, s, new_id(), str_mem(envelope, 200), bodies[i % WRITERS],
				   300),
		      "spool_append");
		if (i % 10000 == 0)
			check(spool_sync(s), "spool_sync");
	}
	check(spool_sync(s), "spool_sync");
	spool_close(s);
	before = mallinfo2();
	start = sys_now();
	s = spool_fresh();
	printf("replay of 1,000,000 messages of 300 bytes: %.2f s, %.0f bytes of memory a "
	       "message\n",
	       (double)(sys_now() - start) / NSEC_S,
	       (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before.uordblks -
			before.hblkhd) /
		       1e6);
	spool_close(s);
	remove_tree(path_of("spool"));
}

int main(int argc, char **argv)
{
	uint64_t rounds = 7;

	if (argc < 2 || (argc > 2 && str_u64(str_of(argv[2]), ROUNDS_MAX, &rounds) < 0)) {
		fprintf(stderr, "usage: spool_bench DIR [ROUNDS]\n");
		return 2;
	}
	directory = argv[1];
	mkdir(directory, 0700);
	sys_random(envelope, sizeof(envelope));
	compare((size_t)20 << 10, 60, (int)rounds);
	compare((size_t)100 << 10, 16, (int)rounds);
	compare((size_t)4 << 10, 100, (int)rounds);
	replay_million();
	return 0;
}
