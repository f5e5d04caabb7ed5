/* What primaries offer, from the delivery that saw it to every smtpin, and ETRN. */
#include "proc/spoold/testing.h"

#include "smtp/ehlo.h"

#define SOME (EHLO_DSN | EHLO_SMTPUTF8)

static void greet(struct world *w, uint32_t offers, uint64_t size)
{
	w->greets = true;
	w->its_offers = offers;
	w->its_size = size;
}

static void deliver(struct world *w, unsigned n, const char *const *to, size_t count)
{
	assert_int_equal(append(w, n, to, count, 100), LOCUM__APPEND_RESULT__APPENDED);
	UNTIL(w, is_done(w, n));
}

static const char *const to_b[] = { "b.example" };

WORLD_TEST(a_new_smtpin_hears_first_that_nothing_is_known)
{
	UNTIL(w, w->offers_begun == 1 && w->states_of_domains == 2);
	assert_int_equal(w->offers_told, 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(w->state[i], LOCUM__PRIMARY_STATE__PRIMARY_UNKNOWN);
		assert_int_equal(w->destination[i], 0);
	}
}

WORLD_TEST(what_a_delivery_sees_is_told_to_smtpin)
{
	connect_smtpout(w);
	greet(w, SOME, 5000);
	deliver(w, 1, to_a, 1);
	UNTIL(w, w->offers_told == 1);
	assert_int_equal(w->offers[0], SOME);
	assert_int_equal(w->offers_size[0], 5000);
	assert_non_null(known_find(w->sp, STR("A.example")));
	assert_true(known_find(w->sp, STR("a.example"))->seen_wall > 0);
	assert_false(known_find(w->sp, STR("b.example"))->seen_wall);
}

WORLD_TEST(a_host_that_did_not_greet_says_nothing)
{
	connect_smtpout(w);
	w->its_offers = SOME;
	deliver(w, 1, to_a, 1);
	task_sleep(w->tk, 20 * NSEC_MS);
	assert_int_equal(w->offers_told, 0);
}

WORLD_TEST(only_changes_are_told)
{
	connect_smtpout(w);
	greet(w, SOME, 0);
	deliver(w, 1, to_a, 1);
	UNTIL(w, w->offers_told == 1);
	deliver(w, 2, to_a, 1);
	task_sleep(w->tk, 20 * NSEC_MS);
	assert_int_equal(w->offers_told, 1);
	w->its_offers = 0;
	deliver(w, 3, to_a, 1);
	UNTIL(w, w->offers_told == 2);
	assert_int_equal(w->offers[0], 0);
	assert_int_equal(w->offers_begun, 1);
}

WORLD_TEST(domains_of_the_same_hosts_learn_from_each_other)
{
	connect_smtpout(w);
	deliver(w, 1, to_a, 1);
	deliver(w, 2, to_b, 1);
	greet(w, SOME, 7);
	deliver(w, 3, to_b, 1);
	UNTIL(w, w->offers_told == 2);
	assert_int_equal(w->offers[0], SOME);
	assert_int_equal(w->offers[1], SOME);
}

WORLD_TEST(what_was_seen_outlives_a_restart)
{
	connect_smtpout(w);
	greet(w, SOME, 9);
	deliver(w, 1, to_a, 1);
	world_restart(w);
	UNTIL(w, w->offers_begun == 2 && w->offers_told == 1);
	assert_int_equal(w->offers[0], SOME);
	assert_int_equal(w->offers_size[0], 9);
	assert_true(known_find(w->sp, STR("a.example"))->seen_wall > 0);
	/* Not of this life: to be asked again. */
	assert_false(known_find(w->sp, STR("a.example"))->seen_at);
}

static void damage(const struct world *w, long at)
{
	char path[100], byte = '?';
	int fd;

	snprintf(path, sizeof(path), "%s/offers", w->dir);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	if (at >= 0)
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	else
		assert_int_equal(ftruncate(fd, -at), 0);
	close(fd);
}

WORLD_TEST(a_damaged_file_counts_as_nothing)
{
	static const long places[] = { 0, 16, 25, -3, -17, -24 };

	for (size_t i = 0; i < ELEMENTS(places); i++) {
		connect_smtpout(w);
		greet(w, SOME, 9);
		deliver(w, (unsigned)i, to_a, 1);
		world_stop(w);
		damage(w, places[i]);
		world_start(w);
		assert_false(known_find(w->sp, STR("a.example"))->seen_wall);
	}
}

WORLD_TEST(a_new_configuration_begins_anew)
{
	static const struct domain_given fewer[] = { { "b.example", NSEC_DAY } };
	struct conf *conf = conf_of(fewer, 1, 1);

	connect_smtpout(w);
	greet(w, SOME, 0);
	deliver(w, 1, to_a, 1);
	deliver(w, 2, to_b, 1);
	UNTIL(w, w->offers_told == 2);
	spoold_reconfigure(w->sp, conf);
	UNTIL(w, w->offers_begun == 2 && w->offers_told == 1);
	assert_null(known_find(w->sp, STR("a.example")));
	assert_int_equal(w->offers[1], SOME);
	conf_unref(conf);
}

WORLD_TEST(a_primary_never_seen_is_probed_once_and_its_health_left_alone)
{
	connect_smtpout(w);
	greet(w, SOME, 0);
	UNTIL(w, w->offers_told == 2);
	assert_int_equal(w->probes, 2);
	assert_int_equal(sched_domain_find(w->sp->sched, STR("a.example"))->destination->health,
			 HEALTH_UNKNOWN);
	task_sleep(w->tk, 600 * NSEC_MS);
	assert_int_equal(w->probes, 2);
}

WORLD_TEST(one_that_does_not_answer_is_not_asked_again_soon)
{
	w->script = it_is_down;
	connect_smtpout(w);
	UNTIL(w, w->probes == 2);
	task_sleep(w->tk, 600 * NSEC_MS);
	assert_int_equal(w->probes, 2);
	assert_int_equal(sched_domain_find(w->sp->sched, STR("a.example"))->destination->health,
			 HEALTH_UNKNOWN);
}

/* Many smtpin, many domains: what does not fit one packet goes in several. */
WORLD_TEST(offers_go_in_packets_that_fit)
{
	_cleanup_(arena_done) struct arena a;
	struct spoold *sp = w->sp;
	uint64_t at = 0, before;
	size_t domains = 0, packets = 0;

	for (unsigned i = 0; i < 3000; i++) {
		struct domain_offer *d = calloc(1, sizeof(*d) + 251);

		assert_non_null(d);
		memset(d->name, 'x', 240);
		snprintf(d->name + 200, 20, "%u", i);
		d->serial = ++sp->known.serial;
		list_init(&d->changed);
		list_append(&sp->known.changed, &d->changed);
		assert_int_equal(map_insert(&sp->known.by_domain, &d->link, i), 0);
	}
	arena_init(&a, (size_t)16 << 20);
	do {
		Locum__PrimaryOffers said = LOCUM__PRIMARY_OFFERS__INIT;
		IPC_PACKET(packet, PRIMARY_OFFERS, primary_offers, &said);

		before = at;
		at = known_fill(sp, at, &a, &said);
		assert_true(locum__packet__get_packed_size(&packet) <= IPC_PACKET_MAX);
		domains += said.n_domains;
		packets += said.n_domains > 0;
	} while (at != before);
	assert_int_equal(domains, 3002);
	assert_true(packets >= 3);
	assert_int_equal(at, sp->known.serial);
}

/* --- ETRN --- */

static bool etrn(struct world *w, const char *domain, uint64_t *ret_messages)
{
	_cleanup_(ipc_message_done) struct ipc_message reply = { 0 };
	Locum__Etrn question = LOCUM__ETRN__INIT;
	IPC_PACKET(p, ETRN, etrn, &question);

	question.domain = (char *)domain;
	assert_int_equal(ipc_call(w->tk, w->smtpin, &p, -1, &reply, task_in(w->tk, WAIT)), 0);
	*ret_messages = reply.packet->etrn_answered->messages;
	return reply.packet->etrn_answered->started;
}

WORLD_TEST(etrn_starts_a_drain_at_most_once_a_minute_a_domain)
{
	uint64_t messages;

	connect_smtpout(w);
	w->script = it_defers;
	append_one(w, 1);
	append_one(w, 2);
	UNTIL(w, w->deliveries == 2);
	UNTIL(w, entry(w, 1, 0)->place == PLACE_WAITING && entry(w, 2, 0)->place == PLACE_WAITING);
	w->script = it_works;
	assert_true(etrn(w, "a.example", &messages));
	assert_int_equal(messages, 2);
	UNTIL(w, is_done(w, 1) && is_done(w, 2));
	assert_false(etrn(w, "A.EXAMPLE", &messages));
	assert_int_equal(messages, 0);
	assert_true(etrn(w, "b.example", &messages));
	assert_false(etrn(w, "unknown.example", &messages));
	assert_int_equal(w->dns_forgotten, 0);
}

/* --- the story --- */

WORLD_TEST(what_the_primary_did_not_get_as_it_came_is_told)
{
	bool told = false;

	connect_smtpout(w);
	w->note = "DSN parameters dropped: the host does not offer DSN";
	deliver(w, 1, to_a, 1);
	ask_id(w, LOCUM__VERB__TRACE, 1);
	for (size_t i = 0; i < w->answers; i++) {
		const Locum__EventRow *e = w->answer[i]->answer->event;

		told = told ||
		       (e && strcmp(e->event, "note") == 0 && strcmp(e->text, w->note) == 0);
	}
	assert_true(told);
}

WORLD_TEST(status_shows_what_a_destination_offers)
{
	bool shown = false;

	connect_smtpout(w);
	greet(w, SOME, 77);
	deliver(w, 1, to_a, 1);
	ask_verb(w, LOCUM__VERB__STATUS, "");
	for (size_t i = 0; i < w->answers; i++) {
		const Locum__DestinationRow *d = w->answer[i]->answer->destination;

		shown = shown ||
			(d && d->offers == SOME && d->size_bytes == 77 && d->seen_wall > 0);
	}
	assert_true(shown);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_smtpin_hears_first_that_nothing_is_known),
		cmocka_unit_test(what_a_delivery_sees_is_told_to_smtpin),
		cmocka_unit_test(a_host_that_did_not_greet_says_nothing),
		cmocka_unit_test(only_changes_are_told),
		cmocka_unit_test(domains_of_the_same_hosts_learn_from_each_other),
		cmocka_unit_test(what_was_seen_outlives_a_restart),
		cmocka_unit_test(a_damaged_file_counts_as_nothing),
		cmocka_unit_test(a_new_configuration_begins_anew),
		cmocka_unit_test(a_primary_never_seen_is_probed_once_and_its_health_left_alone),
		cmocka_unit_test(one_that_does_not_answer_is_not_asked_again_soon),
		cmocka_unit_test(offers_go_in_packets_that_fit),
		cmocka_unit_test(etrn_starts_a_drain_at_most_once_a_minute_a_domain),
		cmocka_unit_test(what_the_primary_did_not_get_as_it_came_is_told),
		cmocka_unit_test(status_shows_what_a_destination_offers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
