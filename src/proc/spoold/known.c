#include "proc/spoold/known.h"

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "proc/spoold/command.h"
#include "proc/spoold/spoold.h"
#include "task/sys.h"

#include <fcntl.h>

#define START_WAIT (3 * NSEC_S)     /* the others get up as well, and mail may come first */
#define PROBE_PAUSE (250 * NSEC_MS) /* four a second */
#define LOOK_PAUSE (10 * NSEC_S)    /* while there is nothing to probe */
#define PROBE_AGAIN NSEC_HOUR       /* who did not answer */
#define SEEN_AGAIN NSEC_DAY         /* who did, and was not heard of since */
#define PROBES_AT_ONCE 100          /* beside those of the scheduler */
#define PROBE_DEADLINE (2 * NSEC_MINUTE)
#define SAVE_EVERY (10 * NSEC_S)
#define FILE_NAME "offers"
#define FILE_NEW "offers.new"
#define FILE_BYTES_MAX ((size_t)64 << 20)
#define MAGIC "locum offers 1\n"
#define HEAD_BYTES (sizeof(MAGIC) - 1 + sizeof(uint32_t))
/* Of domains in one packet, with room for what stands around them. */
#define PACKET_BYTES ((size_t)IPC_PACKET_MAX - 4096)
#define DOMAIN_OVERHEAD 8

/* Names come from the configuration, not from strangers. */
static const uint64_t seed[2] = { 0x73656e6f66666572, 1 };

static uint64_t hash(str name)
{
	return str_hash(name, seed, true);
}

void known_init(struct known *o)
{
	*o = (struct known){ .dir = -1 };
	map_init(&o->by_domain);
	list_init(&o->changed);
	sys_random(o->seed, sizeof(o->seed));
}

static void forget(struct known *o, struct domain_offer *d)
{
	map_remove(&o->by_domain, &d->link);
	list_remove(&d->changed);
	free(d);
}

void known_done(struct known *o)
{
	struct map_link *link;

	while ((link = map_walk(&o->by_domain, NULL)))
		forget(o, CONTAINER(link, struct domain_offer, link));
	map_done(&o->by_domain);
	if (o->dir >= 0)
		sys_close(o->dir);
	o->dir = -1;
}

struct domain_offer *known_find(const struct spoold *sp, str domain)
{
	MAP_FIND (&sp->known.by_domain, hash(domain), struct domain_offer, link, d)
		if (str_case_eq(str_of(d->name), domain))
			return d;
	return NULL;
}

/* To every smtpin, when its turn comes. */
static void tell(struct spoold *sp, struct domain_offer *d)
{
	d->serial = ++sp->known.serial;
	list_remove(&d->changed);
	list_append(&sp->known.changed, &d->changed);
	append_tell_offers(sp);
}

void known_changed(struct spoold *sp, str domain)
{
	struct domain_offer *d = known_find(sp, domain);

	if (d)
		tell(sp, d);
}

/* --- the configuration --- */

static int add(struct spoold *sp, str name)
{
	struct domain_offer *d = known_find(sp, name);
	int r;

	if (!d) {
		d = calloc(1, sizeof(*d) + name.n + 1);
		if (!d)
			return -ENOMEM;
		memcpy(d->name, name.p, name.n);
		list_init(&d->changed);
		r = map_insert(&sp->known.by_domain, &d->link, hash(name));
		if (r < 0) {
			free(d);
			return r;
		}
		tell(sp, d);
	}
	d->configured = true;
	return 0;
}

int known_configure(struct spoold *sp)
{
	struct map *map = &sp->known.by_domain;
	struct map_link *link, *next;
	int r = 0;

	for (link = map_walk(map, NULL); link; link = map_walk(map, link))
		CONTAINER(link, struct domain_offer, link)->configured = false;
	for (size_t i = 0; r == 0 && i < sp->conf->domain_count; i++)
		r = add(sp, sp->conf->domains[i].name);
	for (link = map_walk(map, NULL); r == 0 && link; link = next) {
		struct domain_offer *d = CONTAINER(link, struct domain_offer, link);

		next = map_walk(map, link);
		if (!d->configured)
			forget(&sp->known, d);
	}
	append_offers_anew(sp);
	return r;
}

/* --- what is seen --- */

static void note(struct spoold *sp, struct domain_offer *d, unsigned offers, uint64_t size_bytes)
{
	bool known = d->seen_wall != 0;

	d->seen_wall = sys_now_wall();
	d->seen_at = sys_now();
	if (known && d->offers == offers && d->size_bytes == size_bytes)
		return;
	d->offers = offers;
	d->size_bytes = size_bytes;
	sp->known.unsaved = true;
	tell(sp, d);
}

static bool is_news(const struct domain_offer *d, const Locum__Host *host)
{
	return !d->seen_at || d->offers != host->offers || d->size_bytes != host->size_bytes;
}

void known_seen(struct spoold *sp, str domain, const Locum__Host *host)
{
	struct domain_offer *d = known_find(sp, domain);
	const struct sched_domain *s = sched_domain_find(sp->sched, domain);
	bool news;

	if (!d || !host || !host->greeted)
		return;
	news = is_news(d, host);
	note(sp, d, host->offers, host->size_bytes);
	/* What one domain's primary says holds for all that are delivered there. */
	if (!news || !s || !str_eq(str_of(s->destination->key), str_of(host->destination)))
		return;
	LIST_EACH (&s->destination->domains, struct sched_domain, in_destination, other) {
		d = known_find(sp, str_of(other->name));
		if (d)
			note(sp, d, host->offers, host->size_bytes);
	}
}

const struct domain_offer *known_of_destination(const struct spoold *sp,
						const struct sched_destination *destination)
{
	const struct domain_offer *newest = NULL;

	LIST_EACH (&destination->domains, struct sched_domain, in_destination, domain) {
		const struct domain_offer *d = known_find(sp, str_of(domain->name));

		if (d && d->seen_wall && (!newest || d->seen_wall > newest->seen_wall))
			newest = d;
	}
	return newest;
}

/* --- telling --- */

/* Equal numbers: one primary. 0 as long as nobody was there: a name alone is no primary. */
static uint64_t number_of(const struct spoold *sp, const struct sched_domain *d)
{
	str key = str_of(d->destination->key);
	uint64_t number;

	if (str_case_eq(key, str_of(d->name)))
		return 0;
	number = str_hash(key, sp->known.seed, true);
	return MAX(number, (uint64_t)1);
}

static void fill_state(const struct spoold *sp, Locum__DomainOffers *row)
{
	const struct sched_domain *d = sched_domain_find(sp->sched, str_of(row->domain));

	if (!d)
		return;
	row->state = row_state(d->destination->health);
	row->destination = number_of(sp, d);
}

/* The first of those that changed after that serial; NULL: none did. */
static struct domain_offer *first_after(const struct spoold *sp, uint64_t serial)
{
	struct domain_offer *first = NULL;
	const struct list *end = &sp->known.changed;

	for (struct list *at = end->prev; at != end; at = at->prev) {
		struct domain_offer *d = CONTAINER(at, struct domain_offer, changed);

		if (d->serial <= serial)
			break;
		first = d;
	}
	return first;
}

static Locum__DomainOffers *row_of(const struct domain_offer *d, struct arena *a)
{
	Locum__DomainOffers *row = ARENA_NEW(a, Locum__DomainOffers);
	str name = arena_str(a, str_of(d->name));

	if (!row || !name.p)
		return NULL;
	locum__domain_offers__init(row);
	row->domain = (char *)name.p;
	row->offers = d->offers;
	row->size_bytes = d->size_bytes;
	row->seen_wall = d->seen_wall;
	return row;
}

static struct domain_offer *next_of(const struct spoold *sp, const struct domain_offer *d)
{
	struct list *next = d->changed.next;

	return next == &sp->known.changed ? NULL : CONTAINER(next, struct domain_offer, changed);
}

uint64_t known_fill(const struct spoold *sp, uint64_t after, struct arena *a,
		    Locum__PrimaryOffers *said)
{
	size_t max = sp->known.by_domain.count, bytes = 0;

	said->domains = ARENA_ARRAY(a, Locum__DomainOffers *, max + 1);
	if (!said->domains)
		return sp->known.serial; /* told with the next change */
	for (struct domain_offer *d = first_after(sp, after); d; d = next_of(sp, d)) {
		Locum__DomainOffers *row = row_of(d, a);

		if (!row)
			return sp->known.serial;
		fill_state(sp, row);
		bytes += locum__domain_offers__get_packed_size(row) + DOMAIN_OVERHEAD;
		if (bytes > PACKET_BYTES)
			return after;
		said->domains[said->n_domains++] = row;
		after = d->serial;
	}
	return sp->known.serial;
}

/* --- the file --- */

bool known_restore(struct spoold *sp, str file)
{
	Locum__PrimaryOffers *said;
	uint32_t crc;
	str packed = str_from(file, HEAD_BYTES);

	if (file.n < HEAD_BYTES || !str_starts(file, STR(MAGIC)))
		return false;
	memcpy(&crc, file.p + sizeof(MAGIC) - 1, sizeof(crc));
	if (crc != crc32c(0, packed))
		return false;
	said = locum__primary_offers__unpack(NULL, packed.n, (const uint8_t *)packed.p);
	if (!said)
		return false;
	for (size_t i = 0; i < said->n_domains; i++) {
		const Locum__DomainOffers *row = said->domains[i];
		struct domain_offer *d = known_find(sp, str_of(row->domain));

		if (!d || row->seen_wall <= 0)
			continue;
		note(sp, d, row->offers, row->size_bytes);
		d->seen_wall = row->seen_wall;
		d->seen_at = 0;
	}
	locum__primary_offers__free_unpacked(said, NULL);
	sp->known.unsaved = false;
	return true;
}

void known_load(struct spoold *sp)
{
	_cleanup_(closep) int fd = -1;
	_cleanup_(buf_done) struct buf file = { 0 };
	uint64_t bytes = 0;
	ssize_t got = 0;

	sp->known.dir = sys_open_dir(sp->dir);
	if (sp->known.dir < 0)
		return;
	fd = sys_open_at(sp->known.dir, FILE_NAME, O_RDONLY, 0);
	if (fd < 0)
		return;
	buf_init(&file, FILE_BYTES_MAX);
	if (sys_size(fd, &bytes) == 0 && bytes <= FILE_BYTES_MAX && buf_reserve(&file, bytes) == 0)
		got = sys_read_at(fd, file.p, bytes, 0);
	file.n = got > 0 ? (size_t)got : 0;
	if (!known_restore(sp, buf_str(&file)))
		log_warn("offers.unreadable", K_Z("then", "asked anew"));
}

int known_pack(const struct spoold *sp, struct buf *to)
{
	_cleanup_(arena_done) struct arena a;
	Locum__PrimaryOffers said = LOCUM__PRIMARY_OFFERS__INIT;
	uint32_t crc;
	size_t bytes;

	arena_init(&a, FILE_BYTES_MAX);
	said.domains = ARENA_ARRAY(&a, Locum__DomainOffers *, sp->known.by_domain.count + 1);
	LIST_EACH (&sp->known.changed, struct domain_offer, changed, d) {
		Locum__DomainOffers *row = said.domains ? row_of(d, &a) : NULL;

		if (row && d->seen_wall == 0)
			continue;
		if (!row)
			return -ENOMEM;
		said.domains[said.n_domains++] = row;
	}
	bytes = locum__primary_offers__get_packed_size(&said);
	if (buf_add(to, STR(MAGIC)) < 0 || buf_reserve(to, bytes + sizeof(crc)) < 0)
		return -ENOMEM;
	locum__primary_offers__pack(&said, (uint8_t *)to->p + to->n + sizeof(crc));
	crc = crc32c(0, str_mem(to->p + to->n + sizeof(crc), bytes));
	memcpy(to->p + to->n, &crc, sizeof(crc));
	to->n += sizeof(crc) + bytes;
	return 0;
}

/* Under another name first: who reads it sees the old file or the new one. */
static int replace(int dir, str bytes)
{
	int fd, r;

	sys_unlink_at(dir, FILE_NEW);
	fd = sys_open_at(dir, FILE_NEW, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	r = sys_write_at(fd, bytes, 0);
	sys_close(fd);
	return r < 0 ? r : sys_rename_at(dir, FILE_NEW, FILE_NAME);
}

void known_save(struct spoold *sp)
{
	_cleanup_(buf_done) struct buf file = { 0 };
	int r;

	if (!sp->known.unsaved || sp->known.dir < 0)
		return;
	buf_init(&file, FILE_BYTES_MAX);
	r = known_pack(sp, &file);
	if (r == 0)
		r = replace(sp->known.dir, buf_str(&file));
	if (r < 0)
		log_warn("offers.not_saved", K_ERR(r));
	/* On a failure not at once again: it is the next change's. */
	sp->known.unsaved = false;
	sp->known.saved_at = sys_now();
}

/* --- probes --- */

struct asking {
	struct spoold *sp;
	char domain[]; /* by name: it may go away meanwhile */
};

static void asking_freep(struct asking **a)
{
	free(*a);
}

static void ask(struct task *tk, void *arg)
{
	_cleanup_(asking_freep) struct asking *a = arg;
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__Probe question = LOCUM__PROBE__INIT;
	IPC_PACKET(packet, PROBE, probe, &question);
	struct sched_domain *domain;
	const Locum__Host *host;
	int r;

	question.domain = a->domain;
	r = ipc_call(tk, deliver_smtpout(a->sp), &packet, -1, &reply, task_in(tk, PROBE_DEADLINE));
	if (r < 0 || reply.packet->body_case != LOCUM__PACKET__BODY_PROBED)
		return;
	host = reply.packet->probed->host;
	domain = sched_domain_find(a->sp->sched, str_of(a->domain));
	/* Where it is the scheduler may know; how it does it finds out itself. */
	if (domain && host && *host->destination)
		sched_domain_hint(a->sp->sched, domain, str_of(host->destination), task_now(tk));
	known_seen(a->sp, str_of(a->domain), host);
}

static bool is_due(const struct domain_offer *d, nsec now)
{
	if (d->tried_at && now - d->tried_at < PROBE_AGAIN)
		return false;
	return !d->seen_at || now - d->seen_at > SEEN_AGAIN;
}

static struct domain_offer *next_due(const struct spoold *sp, nsec now)
{
	const struct map *map = &sp->known.by_domain;

	for (struct map_link *link = map_walk(map, NULL); link; link = map_walk(map, link)) {
		struct domain_offer *d = CONTAINER(link, struct domain_offer, link);

		if (is_due(d, now))
			return d;
	}
	return NULL;
}

/* One for all domains that are delivered to the same hosts. */
static void mark_tried(struct spoold *sp, struct domain_offer *d, nsec now)
{
	const struct sched_domain *s = sched_domain_find(sp->sched, str_of(d->name));

	d->tried_at = now;
	if (!s)
		return;
	LIST_EACH (&s->destination->domains, struct sched_domain, in_destination, other) {
		d = known_find(sp, str_of(other->name));
		if (d)
			d->tried_at = now;
	}
}

static void probe(struct spoold *sp, struct domain_offer *d, nsec now)
{
	size_t size = strlen(d->name) + 1;
	struct asking *a = malloc(sizeof(*a) + size);

	mark_tried(sp, d, now);
	if (!a)
		return;
	a->sp = sp;
	memcpy(a->domain, d->name, size);
	if (task_start(sp->loop, &sp->probes, "offers probe", ask, a) < 0)
		free(a);
}

static bool may_probe(struct spoold *sp)
{
	return !sp->stopping && deliver_smtpout(sp) && group_count(&sp->probes) < PROBES_AT_ONCE;
}

void known_keeper(struct task *tk, void *arg)
{
	struct spoold *sp = arg;
	nsec pause = START_WAIT;

	while (task_sleep(tk, pause) == 0) {
		nsec now = task_now(tk);
		struct domain_offer *d = may_probe(sp) ? next_due(sp, now) : NULL;

		if (d)
			probe(sp, d, now);
		if (now - sp->known.saved_at >= SAVE_EVERY)
			known_save(sp);
		pause = d ? PROBE_PAUSE : LOOK_PAUSE;
	}
}
