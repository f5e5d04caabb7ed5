#include "proc/netd/zones.h"

#include "base/cleanup.h"
#include "base/log.h"

enum zone_state { ZONE_UNTESTED, ZONE_ALIVE, ZONE_DEAD };

struct zone {
	char name[DNS_NAME_SIZE];
	enum zone_state state;
	bool v4, v6; /* alive: what it has addresses of */
	bool tried;  /* a test ended, whatever came out */
	nsec test_at;
};

/* --- the table --- */

static struct zone *find_in(struct zone *zone, size_t count, str name)
{
	for (size_t i = 0; i < count; i++)
		if (dns_name_same(str_of(zone[i].name), name))
			return &zone[i];
	return NULL;
}

static struct zone *find(const struct zones *zs, str name)
{
	return find_in(zs->zone, zs->zone_count, name);
}

static bool is_wanted(const struct conf *conf, size_t list)
{
	for (size_t i = 0; i < conf->domain_count; i++)
		if (conf->domains[i].effects[CHECK_COUNT + list] != EFFECT_OFF)
			return true;
	return false;
}

/* The zones of the newest configuration, with what is known of them. All are due. */
static int rebuild(struct zones *zs)
{
	const struct conf *conf = *zs->conf;
	_cleanup_(freep) struct zone *old = NULL;
	size_t old_count = zs->zone_count;
	struct zone *new = calloc(conf->list_count + 1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	old = zs->zone;
	zs->zone = new;
	zs->zone_count = 0;
	for (size_t i = 0; i < conf->list_count; i++) {
		const struct zone *known = find_in(old, old_count, conf->lists[i].zone);
		struct zone *z = &new[zs->zone_count];

		if (!is_wanted(conf, i) || find(zs, conf->lists[i].zone))
			continue;
		if (known)
			*z = *known;
		else
			str_copy(conf->lists[i].zone, z->name, sizeof(z->name));
		z->test_at = 0;
		zs->zone_count++;
	}
	return 0;
}

/* --- what a test says --- */

static bool is_bad(enum dns_list_health h)
{
	return h == DNS_LIST_EVERYTHING || h == DNS_LIST_CLOSED || h == DNS_LIST_NONE;
}

static void log_dead(const struct zone *z, enum dns_list_health why)
{
	char text[512];

	snprintf(text, sizeof(text), "%s %s; it is not asked until it passes its test", z->name,
		 dns_list_health_text(why));
	log_warn("list.dead", K_Z("zone", z->name), K_Z("text", text));
}

static void die(struct zone *z, enum dns_list_health why, nsec now)
{
	if (z->state != ZONE_DEAD)
		log_dead(z, why);
	z->state = ZONE_DEAD;
	z->test_at = now + ZONE_TEST_DEAD;
}

/* Trouble is not death: a half that did not answer is what it was, and tried again soon. */
static void live(struct zone *z, enum dns_list_health v4, enum dns_list_health v6, nsec now)
{
	bool silent = v4 == DNS_LIST_UNTESTED || v6 == DNS_LIST_UNTESTED;

	if (z->state == ZONE_DEAD)
		log_info("list.back", K_Z("zone", z->name));
	z->state = ZONE_ALIVE;
	if (v4 != DNS_LIST_UNTESTED)
		z->v4 = v4 == DNS_LIST_ALIVE;
	if (v6 != DNS_LIST_UNTESTED)
		z->v6 = v6 == DNS_LIST_ALIVE;
	z->test_at = now + (silent ? ZONE_TEST_SILENT : ZONE_TEST_EVERY);
}

/* Its two halves (dns/list.h) together. A list may have addresses of one family only. */
static void judge(struct zone *z, enum dns_list_health v4, enum dns_list_health v6, nsec now)
{
	z->tried = true;
	if (is_bad(v4) || is_bad(v6))
		die(z, is_bad(v4) ? v4 : v6, now);
	else if (v4 == DNS_LIST_ALIVE || v6 == DNS_LIST_ALIVE)
		live(z, v4, v6, now);
	else if (v4 == DNS_LIST_UNTESTED || v6 == DNS_LIST_UNTESTED)
		z->test_at = now + ZONE_TEST_SILENT;
	else
		die(z, DNS_LIST_EMPTY, now);
}

/* --- asking --- */

/* Of one zone: by family, then what must not and what must be listed. */
struct probe {
	char zone[DNS_NAME_SIZE];
	struct question *question[2][2];
};

static const int families[2] = { AF_INET, AF_INET6 };

static void probe_start(struct task *tk, struct resolver *resolver, const struct zone *z,
			struct probe *p)
{
	char name[DNS_NAME_SIZE];

	str_copy(str_of(z->name), p->zone, sizeof(p->zone));
	for (size_t f = 0; f < 2; f++) {
		for (size_t listed = 0; listed < 2; listed++) {
			struct addr a = dns_list_test_address(families[f], listed);

			if (dns_list_name(&a, str_of(z->name), name) == 0)
				resolver_ask(tk, resolver, str_of(name), DNS_A,
					     &p->question[f][listed]);
		}
	}
}

static enum dns_list_health probe_health(const struct probe *p, size_t family)
{
	struct dns_list_answer answer[2];

	for (size_t listed = 0; listed < 2; listed++)
		dns_list_read(question_message(p->question[family][listed]), &answer[listed]);
	return dns_list_test(&answer[1], &answer[0]);
}

/* 0; or -ECANCELED. What does not answer in time is silent. */
static int probe_wait(struct task *tk, struct probe *p, nsec deadline)
{
	for (size_t i = 0; i < 4; i++) {
		struct question *q = p->question[i / 2][i % 2];
		int r = q ? question_wait(tk, q, deadline) : 0;

		if (r == -ECANCELED)
			return r;
	}
	return 0;
}

static void probe_done(struct probe *p)
{
	for (size_t i = 0; i < 4; i++)
		question_free(p->question[i / 2][i % 2]);
}

struct round {
	struct resolver *resolver;
	size_t count;
	struct probe probe[];
};

static void round_freep(struct round **r)
{
	if (!*r)
		return;
	for (size_t i = 0; i < (*r)->count; i++)
		probe_done(&(*r)->probe[i]);
	resolver_unref((*r)->resolver);
	free(*r);
}

/* Tries all zones that are due, at once. */
static int try_due(struct task *tk, struct zones *zs)
{
	_cleanup_(round_freep) struct round *round =
		calloc(1, sizeof(*round) + zs->zone_count * sizeof(round->probe[0]));
	nsec deadline = task_in(tk, ZONE_TEST_WAIT);
	int r;

	if (!round)
		return -ENOMEM;
	round->resolver = resolver_ref(*zs->resolver);
	for (size_t i = 0; i < zs->zone_count; i++) {
		if (zs->zone[i].test_at > task_now(tk))
			continue;
		/* If it becomes due again meanwhile, this is overwritten. */
		zs->zone[i].test_at = task_in(tk, ZONE_TEST_SILENT);
		probe_start(tk, round->resolver, &zs->zone[i], &round->probe[round->count++]);
	}
	for (size_t i = 0; i < round->count; i++) {
		struct zone *z;

		r = probe_wait(tk, &round->probe[i], deadline);
		if (r < 0)
			return r;
		/* The table may be another one by now. */
		z = find(zs, str_of(round->probe[i].zone));
		if (z && z->test_at > task_now(tk))
			judge(z, probe_health(&round->probe[i], 0),
			      probe_health(&round->probe[i], 1), task_now(tk));
		signal_raise(&zs->changed);
	}
	return 0;
}

static nsec next_test(const struct zones *zs)
{
	nsec at = NEVER;

	for (size_t i = 0; i < zs->zone_count; i++)
		at = MIN(at, zs->zone[i].test_at);
	return at;
}

static void zones_main(struct task *tk, void *arg)
{
	struct zones *zs = arg;

	while (!task_cancelled(tk)) {
		if (next_test(zs) > task_now(tk))
			signal_wait(tk, &zs->changed, next_test(zs));
		else if (try_due(tk, zs) == -ENOMEM)
			task_sleep(tk, NSEC_S);
	}
}

/* --- the rest of the header --- */

int zones_init(struct zones *zs, struct loop *loop, struct conf *const *conf,
	       struct resolver *const *resolver)
{
	int r;

	*zs = (struct zones){ .conf = conf, .resolver = resolver };
	group_init(&zs->group, loop);
	signal_init(&zs->changed);
	r = rebuild(zs);
	if (r < 0)
		return r;
	return task_start(loop, &zs->group, "lists", zones_main, zs);
}

void zones_stop(struct task *tk, struct zones *zs)
{
	group_cancel(&zs->group);
	group_wait(tk, &zs->group, NEVER);
	free(zs->zone);
	zs->zone = NULL;
	zs->zone_count = 0;
	signal_raise(&zs->changed);
}

void zones_renew(struct zones *zs)
{
	if (rebuild(zs) < 0)
		log_warn("lists.unchanged", K_ERR(-ENOMEM));
	signal_raise(&zs->changed);
}

static bool has_family(const struct zone *z, int family)
{
	return family == AF_INET ? z->v4 : z->v6;
}

bool zones_ask(const struct zones *zs, str zone, int family)
{
	const struct zone *z = find(zs, zone);

	return z &&
	       (z->state == ZONE_UNTESTED || (z->state == ZONE_ALIVE && has_family(z, family)));
}

bool zones_count(struct task *tk, struct zones *zs, str zone, int family, nsec deadline)
{
	const struct zone *z = find(zs, zone);
	int r = 0;

	while (r == 0 && z && !z->tried) {
		r = signal_wait(tk, &zs->changed, deadline);
		z = find(zs, zone); /* the table may be another one */
	}
	return z && z->state == ZONE_ALIVE && has_family(z, family);
}

void zones_doubt(struct zones *zs, str zone, enum dns_list_state state, nsec now)
{
	struct zone *z = find(zs, zone);

	if (z && state == DNS_LIST_REFUSING)
		die(z, DNS_LIST_CLOSED, now);
	else if (z && state == DNS_LIST_FOREIGN)
		die(z, DNS_LIST_NONE, now);
}
