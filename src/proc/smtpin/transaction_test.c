#include "proc/smtpin/transaction.h"

#include "conf/conf.h"
#include "smtp/attributes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>

/* As the parser would give them. */
static struct smtp_command mail_from(str reverse_path)
{
	return (struct smtp_command){ .verb = SMTP_MAIL, .path.mailbox = reverse_path };
}

/* Named, and taken where that is possible. */
static int add_with(struct transaction *t, const struct smtp_command *rcpt, str address, str domain,
		    size_t recipients_max)
{
	int r = transaction_name_recipient(t, rcpt, address, domain, recipients_max);

	if (r == 0)
		transaction_take_named(t);
	assert_null(transaction_named(t));
	return r;
}

static int add(struct transaction *t, str address, str domain, size_t recipients_max)
{
	const struct smtp_command rcpt = { .verb = SMTP_RCPT };

	return add_with(t, &rcpt, address, domain, recipients_max);
}

static void test_the_envelope_has_what_mail_and_rcpt_said(void **state)
{
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	char sender[] = "a@b", address[] = "c@d", envid[] = "QQ314", orcpt[] = "rfc822;x@y";
	struct smtp_command mail = mail_from(str_of(sender));
	struct smtp_command rcpt = { .verb = SMTP_RCPT };
	struct transaction *t;

	(void)state;
	mail.body = SMTP_BODY_8BITMIME;
	mail.smtputf8 = mail.requiretls = true;
	mail.ret = SMTP_RET_HDRS;
	mail.envid = str_of(envid);
	rcpt.notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY;
	rcpt.orcpt = str_of(orcpt);
	assert_int_equal(transaction_new(&mail, &t), 0);
	assert_int_equal(add_with(t, &rcpt, str_of(address), STR("d"), 10), 0);
	sender[0] = address[0] = envid[0] = orcpt[0] = '#'; /* the line is gone by now */
	transaction_fill_envelope(t, &e);
	assert_int_equal(e.n_recipients, 1);
	assert_true(e.body_8bitmime && !e.body_binarymime && e.smtputf8 && e.requiretls);
	assert_string_equal(e.dsn_ret, "HDRS");
	assert_string_equal(e.dsn_envid, "QQ314");
	assert_string_equal(e.recipients[0]->notify, "SUCCESS,DELAY");
	assert_string_equal(e.recipients[0]->orcpt, "rfc822;x@y");
	assert_memory_equal(e.reverse_path.data, "a@b", 3);
	assert_memory_equal(e.recipients[0]->address.data, "c@d", 3);
	assert_string_equal(e.recipients[0]->domain, "d");
	transaction_free(t);
}

static void test_a_recipient_said_twice_counts_once(void **state)
{
	struct smtp_command mail = mail_from(STR(""));
	struct transaction *t;

	(void)state;
	assert_int_equal(transaction_new(&mail, &t), 0);
	assert_int_equal(add(t, STR("c@d"), STR("d"), 1), 0);
	assert_int_equal(add(t, STR("c@d"), STR("d"), 1), -EALREADY);
	assert_int_equal(add(t, STR("C@d"), STR("d"), 1), -EUSERS);
	assert_int_equal(transaction_recipient_count(t), 1);
	transaction_free(t);
}

/* 64 symbols, those of HELO with a long name, and every attribute that XFORWARD knows at its longest. */
static void fill_evidence(Locum__Envelope *e)
{
	static char name[33], helo[256], code[16], forward[9 + ATTRIBUTE_VALUE_MAX + 1];
	static Locum__Symbol symbol[CONF_SYMBOLS_MAX], *symbols[CONF_SYMBOLS_MAX];
	static char *forwarded[ATTRIBUTE_COUNT];

	memset(name, 'n', sizeof(name) - 1);
	memset(helo, 'h', sizeof(helo) - 1);
	memset(code, '2', sizeof(code) - 1);
	memset(forward, 'f', sizeof(forward) - 1);
	for (size_t i = 0; i < ELEMENTS(symbol); i++) {
		locum__symbol__init(&symbol[i]);
		symbol[i].name = name;
		symbol[i].score = -99.5;
		symbol[i].text = i >= CHECK_HELO_OURS && i <= CHECK_HELO_UNKNOWN ? helo : code;
		symbols[i] = &symbol[i];
	}
	for (size_t i = 0; i < ELEMENTS(forwarded); i++)
		forwarded[i] = forward;
	e->symbols = symbols;
	e->n_symbols = ELEMENTS(symbols);
	e->forwarded = forwarded;
	e->n_forwarded = ELEMENTS(forwarded);
}

/* Whatever is accepted fits in a packet, with the largest of everything else. */
static void test_envelopes_are_bounded(void **state)
{
	Locum__Envelope e = LOCUM__ENVELOPE__INIT;
	Locum__Client client = LOCUM__CLIENT__INIT;
	char local[65], domain[190], address[256], long_text[256], orcpt[SMTP_ORCPT_MAX];
	struct smtp_command mail = mail_from(str_mem(long_text, 254));
	struct smtp_command rcpt = { .verb = SMTP_RCPT };
	struct transaction *t;
	unsigned i = 0;
	int r;

	(void)state;
	memset(local, 'l', sizeof(local));
	memset(domain, 'd', sizeof(domain));
	memset(long_text, 'x', sizeof(long_text));
	domain[sizeof(domain) - 1] = long_text[sizeof(long_text) - 1] = '\0';
	mail.envid = str_mem(long_text, SMTP_ENVID_MAX);
	rcpt.notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
	rcpt.orcpt = str_mem(orcpt, sizeof(orcpt));
	memset(orcpt, 'o', sizeof(orcpt));
	assert_int_equal(transaction_new(&mail, &t), 0);
	do {
		snprintf(address, sizeof(address), "%06u%.*s@%s", i++, 58, local, domain);
		r = add_with(t, &rcpt, str_of(address), str_of(domain), 100000);
	} while (r == 0);
	assert_int_equal(r, -ENOBUFS);
	assert_true(i > 100);
	transaction_fill_envelope(t, &e);
	for (size_t n = 0; n < e.n_recipients; n++)
		e.recipients[n]->primary = LOCUM__PRIMARY_STATE__PRIMARY_NO_ROUTE;
	e.client = &client;
	client.address = client.name = client.tls_version = client.tls_cipher = client.listener =
		client.told_by = client.login = e.hostname = long_text;
	fill_evidence(&e);
	client.helo = (ProtobufCBinaryData){ 255, (uint8_t *)long_text };
	e.id = (ProtobufCBinaryData){ 16, (uint8_t *)long_text };
	assert_true(locum__envelope__get_packed_size(&e) <= IPC_ENVELOPE_MAX);
	transaction_free(t);
}

/* However small the recipients are: the packet is full before the arena, which has room for the hand-over. */
static void test_what_is_full_first_is_the_packet(void **state)
{
	struct smtp_command mail = mail_from(STR(""));
	struct transaction *t;
	char address[32];
	unsigned i = 0;
	int r;

	(void)state;
	assert_int_equal(transaction_new(&mail, &t), 0);
	do {
		snprintf(address, sizeof(address), "%u@d.e", i++);
		r = add(t, str_of(address), STR("d.e"), 10000);
	} while (r == 0);
	assert_int_equal(r, -ENOBUFS);
	assert_true(i > 1000);
	assert_non_null(arena_alloc(transaction_arena(t), 256 * 1024));
	transaction_free(t);
}

/* Whom the primary refused, one after the other: no recipient, and not more memory than the message can spare. */
static void test_those_that_are_not_taken_are_none(void **state)
{
	const struct smtp_command rcpt = { .verb = SMTP_RCPT };
	struct smtp_command mail = mail_from(STR(""));
	struct transaction *t;
	char address[32];
	unsigned i = 0;
	int r;

	(void)state;
	assert_int_equal(transaction_new(&mail, &t), 0);
	do {
		snprintf(address, sizeof(address), "%u@d.e", i++);
		r = transaction_name_recipient(t, &rcpt, str_of(address), STR("d.e"), 1);
		assert_int_equal(transaction_recipient_count(t), 0);
	} while (r == 0);
	assert_int_equal(r, -ENOBUFS);
	assert_null(transaction_named(t));
	assert_true(i > 1000);
	assert_non_null(arena_alloc(transaction_arena(t), 256 * 1024));
	transaction_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_envelope_has_what_mail_and_rcpt_said),
		cmocka_unit_test(test_a_recipient_said_twice_counts_once),
		cmocka_unit_test(test_envelopes_are_bounded),
		cmocka_unit_test(test_what_is_full_first_is_the_packet),
		cmocka_unit_test(test_those_that_are_not_taken_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
