/*
 * known: the file that keeps what primaries offer. Whatever stands in it, it speaks of configured domains only, and what
 * was taken over is what is written and told. The first byte says whether the rest is the file, or what stands behind a
 * head that is right.
 */
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "proc/spoold/spoold.h"

#define MAGIC "locum offers 1\n"
#define FILE_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf_domain domains[] = { { .name = STR("a.example") },
					{ .name = STR("b.example") },
					{ .name = STR("xn--bcher-kva.example") } };
static struct conf conf = { .domains = domains, .domain_count = ELEMENTS(domains) };

/* Static: beside what is used here one has a queue of 100 KiB. */
static struct spoold reader, again;

/* Nothing is queued, so that nothing is known of the primaries' state. */
static struct sched *empty_sched(void)
{
	const struct sched_options options = {
		.window_max = 1, .in_flight_max = 1, .live_max = 1, .probes_max = 1
	};
	static struct sched *sched;

	must(sched || sched_new(&options, &sched) == 0);
	return sched;
}

static void begin(struct spoold *sp)
{
	sp->conf = &conf;
	sp->sched = empty_sched();
	list_init(&sp->smtpins);
	known_init(&sp->known);
	must(known_configure(sp) == 0);
}

static void add_head(str rest, struct buf *file)
{
	uint32_t crc = crc32c(0, rest);

	must(buf_add(file, STR(MAGIC)) == 0 && buf_add(file, str_mem(&crc, sizeof(crc))) == 0 &&
	     buf_add(file, rest) == 0);
}

static void check_same(const struct spoold *one, const struct spoold *other)
{
	for (size_t i = 0; i < ELEMENTS(domains); i++) {
		const struct domain_offer *a = known_find(one, domains[i].name);
		const struct domain_offer *b = known_find(other, domains[i].name);

		must(a->offers == b->offers && a->size_bytes == b->size_bytes &&
		     a->seen_wall == b->seen_wall);
	}
}

static void check_written(const struct spoold *sp)
{
	struct buf file;

	begin(&again);
	buf_init(&file, FILE_MAX);
	must(known_pack(sp, &file) == 0 && known_restore(&again, buf_str(&file)));
	check_same(sp, &again);
	buf_done(&file);
	known_done(&again.known);
}

/* Each configured domain once, by what is known of it. */
static void check_told(const struct spoold *sp)
{
	_cleanup_(arena_done) struct arena a;
	Locum__PrimaryOffers said = LOCUM__PRIMARY_OFFERS__INIT;

	arena_init(&a, FILE_MAX);
	must(known_fill(sp, 0, &a, &said) == sp->known.serial);
	must(said.n_domains == ELEMENTS(domains));
	for (size_t i = 0; i < said.n_domains; i++) {
		const struct domain_offer *d = known_find(sp, str_of(said.domains[i]->domain));

		must(d && !d->seen_at && d->offers == said.domains[i]->offers);
		must(d->seen_wall == said.domains[i]->seen_wall);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spoold *sp = &reader;
	str rest = str_from(str_mem(data, size), 1);
	struct buf file;
	uint64_t before;

	begin(sp);
	before = sp->known.serial;
	buf_init(&file, FILE_MAX);
	if (size && data[0] & 1)
		add_head(rest, &file);
	else
		must(buf_add(&file, rest) == 0);
	if (!known_restore(sp, buf_str(&file)))
		must(sp->known.serial == before);
	must(sp->known.by_domain.count == ELEMENTS(domains) && !sp->known.unsaved);
	check_told(sp);
	check_written(sp);
	buf_done(&file);
	known_done(&sp->known);
	return 0;
}
