#include "proc/spoold/stored.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	const char *requirement;
	str text;
	size_t max;
	const char *clean;
} texts[] = {
	{ "plain words stay", STR("550 no"), 100, "550 no" },
	{ "controls become spaces", STR("a\r\nb\x1b[2Jc"), 100, "a  b [2Jc" },
	{ "DEL is no text", STR("a\x7f"), 100, "a?" },
	{ "UTF-8 stays", STR("p\xc5\x99\xc3\xadli\xc5\xa1"), 100, "p\xc5\x99\xc3\xadli\xc5\xa1" },
	{ "an overlong form is replaced", STR("\xc0\xaf"), 100, "??" },
	{ "a surrogate is replaced", STR("\xed\xa0\x80"), 100, "???" },
	{ "past Unicode is replaced", STR("\xf4\x90\x80\x80"), 100, "????" },
	{ "a cut sequence is replaced", STR("a\xe2\x82"), 100, "a??" },
	{ "cut at the bound", STR("abcdef"), 3, "abc" },
	{ "never in the middle of a character", STR("ab\xc5\x99"), 3, "ab" },
	{ "NUL does not end it", STR("a\0b"), 100, "a b" },
};

static void a_peers_words_are_made_fit_to_show(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(texts); i++) {
		_cleanup_(freep) char *clean = text_clean(texts[i].text, texts[i].max);

		assert_non_null(clean);
		if (strcmp(clean, texts[i].clean) != 0)
			fail_msg("%s: %s", texts[i].requirement, clean);
	}
}

struct envelope {
	Locum__Envelope e;
	Locum__Recipient r[5], *rs[5];
};

static void envelope_make(struct envelope *x, const char *const *domains, size_t count)
{
	locum__envelope__init(&x->e);
	x->e.recipients = x->rs;
	x->e.n_recipients = count;
	for (size_t i = 0; i < count; i++) {
		x->rs[i] = &x->r[i];
		locum__recipient__init(&x->r[i]);
		x->r[i].domain = (char *)domains[i];
		x->r[i].address = (ProtobufCBinaryData){ 3, (uint8_t *)"u@d" };
	}
}

static void parts_are_numbered_by_first_appearance(void **state)
{
	static const char *const domains[] = { "b", "a", "b", "c", "a" };
	static const uint16_t expected[] = { 0, 1, 0, 2, 1 };
	struct envelope x;
	uint16_t part[5];

	(void)state;
	envelope_make(&x, domains, 5);
	assert_int_equal(envelope_parts(&x.e, part), 3);
	assert_memory_equal(part, expected, sizeof(part));
}

static const char *const two_domains[] = { "a", "b", "a" };

static void set(Locum__StoredState *s, uint32_t i, Locum__Outcome o, const char *reply)
{
	Locum__RecipientOutcome outcome = LOCUM__RECIPIENT_OUTCOME__INIT;

	outcome.recipient = i;
	outcome.outcome = o;
	outcome.reply = (char *)reply;
	stored_outcome(s, &outcome, STR("mx"), 7);
}

static void a_part_is_queued_while_one_recipient_is(void **state)
{
	_cleanup_(stored_freep) Locum__StoredState *s = NULL;
	struct envelope x;

	(void)state;
	envelope_make(&x, two_domains, 3);
	s = stored_new(&x.e);
	assert_non_null(s);
	assert_int_equal(stored_part(s, 0), LOCUM__MESSAGE_STATE__MESSAGE_QUEUED);
	set(s, 0, LOCUM__OUTCOME__OUTCOME_REFUSED, "550 no");
	assert_int_equal(stored_part(s, 0), LOCUM__MESSAGE_STATE__MESSAGE_QUEUED);
	set(s, 2, LOCUM__OUTCOME__OUTCOME_DELIVERED, "250 ok");
	assert_int_equal(stored_part(s, 0), LOCUM__MESSAGE_STATE__MESSAGE_HELD);
	assert_int_equal(stored_part(s, 1), LOCUM__MESSAGE_STATE__MESSAGE_QUEUED);
	assert_int_equal(stored_park(s, 1, STR("too old")), 1);
	assert_int_equal(stored_part(s, 1), LOCUM__MESSAGE_STATE__MESSAGE_PARKED);
	assert_int_equal(stored_part(s, PART_ALL), LOCUM__MESSAGE_STATE__MESSAGE_HELD);
	assert_int_equal(stored_release(s, PART_ALL, 99), 2);
	assert_int_equal(s->hold_from_wall, 99);
	assert_int_equal(stored_drop(s, PART_ALL), 2);
	assert_int_equal(stored_part(s, PART_ALL), LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED);
	assert_int_equal(stored_drop(s, PART_ALL), 0);
}

static void what_the_operator_decides_during_an_attempt_stands_unless_it_was_delivered(void **state)
{
	_cleanup_(stored_freep) Locum__StoredState *s = NULL;
	struct envelope x;

	(void)state;
	envelope_make(&x, two_domains, 3);
	s = stored_new(&x.e);
	assert_int_equal(stored_hold(s, 0, true, STR("by the operator")), 2);
	set(s, 0, LOCUM__OUTCOME__OUTCOME_DEFERRED, "451 later");
	set(s, 2, LOCUM__OUTCOME__OUTCOME_DELIVERED, "250 ok");
	assert_int_equal(s->recipients[0]->state, LOCUM__MESSAGE_STATE__MESSAGE_HELD);
	assert_string_equal(s->recipients[0]->reply, "by the operator");
	assert_int_equal(s->recipients[2]->state, LOCUM__MESSAGE_STATE__MESSAGE_DELIVERED);
}

static void a_state_survives_the_spool(void **state)
{
	_cleanup_(stored_freep) Locum__StoredState *s = NULL, *again = NULL;
	_cleanup_(buf_done) struct buf packed = { 0 };
	Locum__Symbol zen = LOCUM__SYMBOL__INIT, nameless = LOCUM__SYMBOL__INIT;
	Locum__Symbol *noticed[] = { &zen, &nameless };
	struct envelope x, other;

	(void)state;
	zen.name = (char[]){ "zen" };
	zen.score = 4.5;
	zen.text = (char[]){ "127.0.0.4" };
	nameless.name = (char[]){ "no-reverse-name" };
	nameless.score = 1;
	envelope_make(&x, two_domains, 3);
	envelope_make(&other, two_domains, 2);
	assert_int_equal(stored_unpack(STR_NONE, &x.e, &s), 0);
	set(s, 1, LOCUM__OUTCOME__OUTCOME_AMBIGUOUS, "lost");
	for (int i = 0; i < 40; i++) {
		char text[32];

		snprintf(text, sizeof(text), "event %d", i);
		stored_event(s, i, "deferred", STR("u@d"), str_of(text));
	}
	buf_init(&packed, STORED_BYTES_MAX);
	assert_int_equal(stored_pack(s, &packed), 0);
	assert_int_equal(stored_unpack(buf_str(&packed), &x.e, &again), 0);
	assert_true(again->recipients[1]->ambiguous);
	assert_int_equal(again->recipients[1]->attempts, 1);
	assert_int_equal(again->recipients[2]->part, 0);
	assert_int_equal(again->n_events, STORED_EVENTS_MAX);
	assert_string_equal(again->events[0]->text, "event 24");
	stored_event(again, 41, "held", STR_NONE, STR("one more"));
	assert_int_equal(again->n_events, STORED_EVENTS_MAX);
	assert_string_equal(again->events[STORED_EVENTS_MAX - 1]->text, "one more");
	x.e.symbols = noticed;
	x.e.n_symbols = 2;
	stored_finish(again, &x.e);
	assert_string_equal(again->symbols, "zen 4.5 (127.0.0.4), no-reverse-name 1");
	x.e.n_symbols = 0;
	stored_finish(again, &x.e);
	assert_string_equal(again->symbols, "");
	assert_memory_equal(again->recipients[0]->address.data, "u@d", 3);
	stored_freep(&again);
	again = NULL;
	assert_int_equal(stored_unpack(buf_str(&packed), &other.e, &again), -EBADMSG);
	assert_int_equal(stored_unpack(STR("\xff\xff"), &x.e, &again), -EBADMSG);
}

static void the_largest_message_has_a_state_that_fits(void **state)
{
	_cleanup_(stored_freep) Locum__StoredState *s = NULL;
	_cleanup_(buf_done) struct buf packed = { 0 };
	Locum__Recipient r = LOCUM__RECIPIENT__INIT;
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	static Locum__Recipient *rs[STORED_RECIPIENTS_MAX];
	static char reply[2000];

	(void)state;
	memset(reply, 'x', sizeof(reply) - 1);
	reply[sizeof(reply) - 1] = '\0';
	for (size_t i = 0; i < STORED_RECIPIENTS_MAX; i++)
		rs[i] = &r;
	e.recipients = rs;
	e.n_recipients = STORED_RECIPIENTS_MAX;
	s = stored_new(&e);
	for (uint32_t i = 0; i < STORED_RECIPIENTS_MAX; i++)
		set(s, i, LOCUM__OUTCOME__OUTCOME_REFUSED, reply);
	for (int i = 0; i < STORED_EVENTS_MAX; i++)
		stored_event(s, i, reply, str_of(reply), str_of(reply));
	buf_init(&packed, STORED_BYTES_MAX);
	assert_int_equal(stored_pack(s, &packed), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peers_words_are_made_fit_to_show),
		cmocka_unit_test(parts_are_numbered_by_first_appearance),
		cmocka_unit_test(a_part_is_queued_while_one_recipient_is),
		cmocka_unit_test(
			what_the_operator_decides_during_an_attempt_stands_unless_it_was_delivered),
		cmocka_unit_test(a_state_survives_the_spool),
		cmocka_unit_test(the_largest_message_has_a_state_that_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
