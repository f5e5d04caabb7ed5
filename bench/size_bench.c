/*
 * What a long queue costs, where no process needs to run for it; bench/size does the rest.
 *
 *	size_bench fill DIR MESSAGES KIB DOMAINS   a spool with so many messages, for d0.bench.test and so on
 *	size_bench dispatch                        the scheduler's time a delivery, by the length of the queue
 *	size_bench outage                          its work for 10,000 domains of which 9,000 are down
 *	size_bench stragglers DIR MB               disk and live bytes while so much mail a second passes through
 *
 * `dispatch` keeps the queue at its length: every message taken from it is replaced by a new one. `outage` runs
 * in virtual time: a probe fails at once. `stragglers` counts seconds without waiting for them: of what comes in
 * one second nine in ten are delivered in the next, the rest within two minutes, at random; then the spool is
 * compacted as spoold does it.
 */
#include "base/cleanup.h"
#include "ipc/locum.pb-c.h"
#include "sched/sched.h"
#include "spool/spool.h"
#include "task/sys.h"

#include <stdio.h>

#define BATCH 500
#define BODIES 16
#define DISPATCHES 1000000
#define DOMAINS 10000
#define NAME_SIZE 32

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "size_bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

static uint64_t number(const char *text, uint64_t max)
{
	uint64_t n;

	check(str_u64(str_of(text), max, &n), text);
	return n;
}

/* --- fill --- */

/* Lines of text: smtpout looks at what it sends. */
static int body_make(size_t bytes)
{
	_cleanup_(freep) char *text = malloc(bytes);
	int fd = sys_memfd("body");

	check(fd, "memfd");
	for (size_t i = 0; i < bytes; i++)
		text[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (char)('a' + i * 7 % 26);
	check(sys_write(fd, str_mem(text, bytes)), "write body");
	return fd;
}

/* What smtpin would have said of a message with one recipient. */
static size_t envelope_pack(uint64_t n, uint64_t domains, uint64_t body_bytes, msg_id id,
			    uint8_t *ret_packed)
{
	char domain[NAME_SIZE], address[NAME_SIZE + 16];
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Recipient recipient = LOCUM__RECIPIENT__INIT, *recipients = &recipient;
	Locum__Client client = LOCUM__CLIENT__INIT;

	snprintf(domain, sizeof(domain), "d%u.bench.test", (unsigned)(n % domains));
	snprintf(address, sizeof(address), "someone%u@%s", (unsigned)(n % 100), domain);
	recipient.domain = domain;
	recipient.address = (ProtobufCBinaryData){ strlen(address), (uint8_t *)address };
	client.address = (char *)"192.0.2.25";
	client.name = (char *)"mail.sender.example";
	client.tls_version = (char *)"TLSv1.3";
	client.tls_cipher = (char *)"TLS_AES_256_GCM_SHA384";
	client.listener = (char *)"mx";
	client.helo = (ProtobufCBinaryData){ 19, (uint8_t *)client.name };
	e.client = &client;
	e.id = (ProtobufCBinaryData){ sizeof(id), id.byte };
	e.recipients = &recipients;
	e.n_recipients = 1;
	e.hostname = (char *)"mx2.bench.test";
	e.arrived_wall = sys_now_wall();
	e.body_bytes = body_bytes;
	return locum__envelope__pack(&e, ret_packed);
}

static void fill(const char *dir, uint64_t messages, uint64_t body_bytes, uint64_t domains)
{
	uint8_t random[10], packed[1024];
	int body[BODIES];
	struct spool *s;

	check(spool_open(dir, NULL, &s), "spool_open");
	check(spool_replay(s, NULL, NULL, NULL), "spool_replay");
	for (size_t i = 0; i < BODIES; i++)
		body[i] = body_make(body_bytes);
	for (uint64_t i = 0; i < messages; i++) {
		msg_id id;
		size_t n;

		sys_random(random, sizeof(random));
		id = id_make(sys_now_wall(), random);
		n = envelope_pack(i, domains, body_bytes, id, packed);
		check(spool_append(NULL, s, id, str_mem(packed, n), body[i % BODIES], body_bytes),
		      "spool_append");
		if (i % BATCH == BATCH - 1 || i == messages - 1)
			check(spool_sync(s), "spool_sync");
	}
	spool_close(s);
}

/* --- the scheduler --- */

static struct sched *sched_fresh(void)
{
	static const struct sched_options o = { .seed = { 1, 2 },
						.window_max = 32,
						.in_flight_max = 500,
						.live_max = 1,
						.probes_max = 500 };
	struct sched *s;

	check(sched_new(&o, &s), "sched_new");
	return s;
}

static struct sched_domain *domain_new(struct sched *s, unsigned n, nsec now)
{
	char name[NAME_SIZE];
	struct sched_domain *d;

	snprintf(name, sizeof(name), "d%u.bench.test", n);
	check(sched_domain_get(s, str_of(name), now, &d), "sched_domain_get");
	sched_domain_configure(s, d, true, 30 * NSEC_DAY, now);
	return d;
}

static void put(struct sched *s, struct sched_domain *d, struct sched_entry *e, nsec now)
{
	*e = (struct sched_entry){ 0 };
	check(sched_add(s, d, e, PLACE_READY, now, 4096, now), "sched_add");
}

/* Nanoseconds a delivery: chosen, reported, and a new message put in its place. */
static double dispatch_time(size_t queued, unsigned domains)
{
	static const struct sched_report report = { .attempt = TRIED_ANSWERED, .delivered = true };
	struct sched_domain **domain = calloc(domains, sizeof(struct sched_domain *));
	struct sched_entry *entries = calloc(queued, sizeof(*entries));
	struct sched *s = sched_fresh();
	nsec now = NSEC_DAY, began;
	double took;

	check(domain && entries ? 0 : -ENOMEM, "memory");
	for (unsigned i = 0; i < domains; i++)
		domain[i] = domain_new(s, i, now);
	for (size_t i = 0; i < queued; i++)
		put(s, domain[i % domains], &entries[i], ++now);
	began = sys_now();
	for (int i = 0; i < DISPATCHES; i++) {
		struct sched_action a;

		sched_next(s, ++now, &a);
		must(a.what == SCHED_DELIVER);
		sched_attempted(s, a.entry, FATE_DONE, &report, now);
		put(s, a.domain, a.entry, now);
	}
	took = (double)(sys_now() - began) / DISPATCHES;
	sched_free(s);
	free(entries);
	free(domain);
	return took;
}

static void dispatch(void)
{
	static const size_t queued[] = { 1000, 100000, 1000000 };

	printf("%10s %14s %14s\n", "queued", "one domain", "1,000 domains");
	for (size_t i = 0; i < ELEMENTS(queued); i++)
		printf("%10zu %11.0f ns %11.0f ns\n", queued[i], dispatch_time(queued[i], 1),
		       dispatch_time(queued[i], 1000));
}

/* --- nine in ten are down --- */

struct outage {
	struct sched *s;
	nsec now;
	uint64_t wakes, probes, deliveries;
	nsec cpu;
};

static nsec cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (nsec)t.tv_sec * NSEC_S + t.tv_nsec;
}

static bool is_down(const struct sched_domain *d)
{
	unsigned n;

	return sscanf(d->name, "d%u.", &n) == 1 && n % 10 > 0;
}

static void outage_act(struct outage *o, const struct sched_action *a)
{
	struct sched_report report = { .attempt = TRIED_UNREACHABLE, .text = STR("refused") };

	if (a->what == SCHED_PROBE) {
		o->probes++;
		sched_probed(o->s, a->probe, str_of(a->domain->name), &report, o->now);
		return;
	}
	must(a->what == SCHED_DELIVER);
	o->deliveries++;
	if (!is_down(a->domain))
		report = (struct sched_report){ .attempt = TRIED_ANSWERED, .delivered = true };
	sched_attempted(o->s, a->entry, is_down(a->domain) ? FATE_UNTRIED : FATE_DONE, &report,
			o->now);
}

static void outage_run(struct outage *o, nsec until)
{
	struct sched_action a;
	nsec began = cpu_now();

	for (; o->now < until; o->now = MIN(sched_wake_at(o->s), until)) {
		o->wakes++;
		for (;;) {
			sched_next(o->s, o->now, &a);
			if (a.what == SCHED_NONE)
				break;
			outage_act(o, &a);
		}
	}
	o->cpu = cpu_now() - began;
}

static void outage(void)
{
	static const struct {
		const char *name;
		nsec at;
	} ages[] = {
		{ "half a minute", 30 * NSEC_S },   { "5 minutes", 5 * NSEC_MINUTE },
		{ "20 minutes", 20 * NSEC_MINUTE }, { "1 hour", NSEC_HOUR },
		{ "5 hours", 5 * NSEC_HOUR },
	};
	struct sched_entry *entries = calloc(DOMAINS, sizeof(*entries));
	struct outage o = { .s = sched_fresh(), .now = NSEC_DAY };

	check(entries ? 0 : -ENOMEM, "memory");
	for (unsigned i = 0; i < DOMAINS; i++)
		put(o.s, domain_new(o.s, i, o.now), &entries[i], o.now);
	printf("%14s %9s %9s %14s   (a second, the minute after)\n", "down for", "probes", "wakes",
	       "sched CPU");
	for (size_t i = 0; i < ELEMENTS(ages); i++) {
		outage_run(&o, NSEC_DAY + ages[i].at);
		o.wakes = o.probes = 0;
		outage_run(&o, o.now + NSEC_MINUTE);
		printf("%14s %9.1f %9.1f %11.0f us\n", ages[i].name, (double)o.probes / 60,
		       (double)o.wakes / 60, (double)o.cpu / 60 / NSEC_US);
	}
	sched_free(o.s);
	free(entries);
}

/* --- stragglers --- */

#define COMPACT_STEPS 64 /* a second, as in spoold's house.c */
#define STRAGGLER_SECONDS 120
#define RUN_SECONDS 240
#define STRAGGLER_KIB 20

/* What is to be delivered in each second to come. */
struct due {
	msg_id *id;
	size_t n, cap;
};

static void due_add(struct due *d, msg_id id)
{
	if (d->n == d->cap) {
		d->cap = d->cap ? 2 * d->cap : 1024;
		d->id = reallocarray(d->id, d->cap, sizeof(*d->id));
		check(d->id ? 0 : -ENOMEM, "memory");
	}
	d->id[d->n++] = id;
}

static void stragglers_second(struct spool *s, unsigned second, uint64_t messages, int body,
			      struct due due[static STRAGGLER_SECONDS + 1])
{
	struct due *now = &due[second % (STRAGGLER_SECONDS + 1)];
	uint8_t random[16], packed[1024];

	for (; now->n > 0; now->n--)
		check(spool_mark(s, SPOOL_DONE, now->id[now->n - 1], STR("delivered")), "mark");
	for (uint64_t i = 0; i < messages; i++) {
		msg_id id;
		size_t n;
		unsigned in;

		sys_random(random, sizeof(random));
		id = id_make(sys_now_wall(), random);
		n = envelope_pack(i, 100, STRAGGLER_KIB << 10, id, packed);
		check(spool_append(NULL, s, id, str_mem(packed, n), body, STRAGGLER_KIB << 10),
		      "spool_append");
		in = random[10] % 10 ? 1 : 1 + (random[11] << 8 | random[12]) % STRAGGLER_SECONDS;
		due_add(&due[(second + in) % (STRAGGLER_SECONDS + 1)], id);
		if (i % 64 == 63)
			check(spool_sync(s), "spool_sync");
	}
	check(spool_sync(s), "spool_sync");
	for (int step = 0; step < COMPACT_STEPS && spool_compact(NULL, s) == 1; step++)
		;
}

static void stragglers(const char *dir, uint64_t mb)
{
	static struct due due[STRAGGLER_SECONDS + 1];
	int body = body_make(STRAGGLER_KIB << 10);
	double most = 0;
	struct spool *s;

	check(spool_open(dir, NULL, &s), "spool_open");
	check(spool_replay(s, NULL, NULL, NULL), "spool_replay");
	for (unsigned second = 0; second < RUN_SECONDS; second++) {
		struct spool_usage u;
		double ratio;

		stragglers_second(s, second, mb * 1000000 / (STRAGGLER_KIB << 10), body, due);
		check(spool_usage(s, &u), "spool_usage");
		ratio = (double)u.disk_bytes / (double)u.live_bytes;
		if (second >= STRAGGLER_SECONDS)
			most = MAX(most, ratio);
		if (second % 60 == 59)
			printf("%4u s at %u MB/s: live %6.0f MB, disk %6.0f MB: %.2f times\n",
			       second + 1, (unsigned)mb, (double)u.live_bytes / 1e6,
			       (double)u.disk_bytes / 1e6, ratio);
		fflush(stdout);
	}
	printf("the most, from %u s on: %.2f times\n", STRAGGLER_SECONDS, most);
	spool_close(s);
	for (size_t i = 0; i < ELEMENTS(due); i++)
		free(due[i].id);
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "fill") == 0)
		fill(argv[2], number(argv[3], 100000000), number(argv[4], 1024) << 10,
		     number(argv[5], 1000000));
	else if (argc == 2 && strcmp(argv[1], "dispatch") == 0)
		dispatch();
	else if (argc == 2 && strcmp(argv[1], "outage") == 0)
		outage();
	else if (argc == 4 && strcmp(argv[1], "stragglers") == 0)
		stragglers(argv[2], number(argv[3], 1000));
	else {
		fprintf(stderr, "usage: size_bench fill DIR MESSAGES KIB DOMAINS\n"
				"       size_bench dispatch | outage\n"
				"       size_bench stragglers DIR MB\n");
		return 2;
	}
	return 0;
}
