#include "proc/smtpin/transaction.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>

static void test_the_envelope_has_what_mail_and_rcpt_said(void **state)
{
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	char sender[] = "a@b", address[] = "c@d";
	struct transaction *t;

	(void)state;
	assert_int_equal(transaction_new(str_of(sender), true, &t), 0);
	assert_int_equal(transaction_add_recipient(t, str_of(address), STR("d"), 10), 0);
	sender[0] = address[0] = '#'; /* the line is gone by now */
	transaction_fill_envelope(t, &e);
	assert_int_equal(e.n_recipients, 1);
	assert_true(e.body_8bitmime);
	assert_memory_equal(e.reverse_path.data, "a@b", 3);
	assert_memory_equal(e.recipients[0]->address.data, "c@d", 3);
	assert_string_equal(e.recipients[0]->domain, "d");
	transaction_free(t);
}

static void test_a_recipient_said_twice_counts_once(void **state)
{
	struct transaction *t;

	(void)state;
	assert_int_equal(transaction_new(STR(""), false, &t), 0);
	assert_int_equal(transaction_add_recipient(t, STR("c@d"), STR("d"), 1), 0);
	assert_int_equal(transaction_add_recipient(t, STR("c@d"), STR("d"), 1), 0);
	assert_int_equal(transaction_add_recipient(t, STR("C@d"), STR("d"), 1), -EUSERS);
	assert_int_equal(transaction_recipient_count(t), 1);
	transaction_free(t);
}

/* Whatever is accepted fits in a packet, with the largest of everything else. */
static void test_envelopes_are_bounded(void **state)
{
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Client client = LOCUM__CLIENT__INIT;
	char local[65], domain[190], address[256], long_text[256];
	struct transaction *t;
	unsigned i = 0;
	int r;

	(void)state;
	memset(local, 'l', sizeof(local));
	memset(domain, 'd', sizeof(domain));
	memset(long_text, 'x', sizeof(long_text));
	domain[sizeof(domain) - 1] = long_text[sizeof(long_text) - 1] = '\0';
	assert_int_equal(transaction_new(str_mem(long_text, 254), false, &t), 0);
	do {
		snprintf(address, sizeof(address), "%06u%.*s@%s", i++, 58, local, domain);
		r = transaction_add_recipient(t, str_of(address), str_of(domain), 100000);
	} while (r == 0);
	assert_int_equal(r, -ENOBUFS);
	assert_true(i > 200);
	transaction_fill_envelope(t, &e);
	for (size_t n = 0; n < e.n_recipients; n++)
		e.recipients[n]->primary = LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE;
	e.client = &client;
	client.address = client.name = client.tls_version = client.tls_cipher = client.listener =
		e.hostname = long_text;
	client.helo = (ProtobufCBinaryData){ 255, (uint8_t *)long_text };
	e.id = (ProtobufCBinaryData){ 16, (uint8_t *)long_text };
	assert_true(locum__envelope__get_packed_size(&e) <= IPC_ENVELOPE_MAX);
	transaction_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_envelope_has_what_mail_and_rcpt_said),
		cmocka_unit_test(test_a_recipient_said_twice_counts_once),
		cmocka_unit_test(test_envelopes_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
