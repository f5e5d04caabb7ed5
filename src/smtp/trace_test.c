#include "smtp/trace.h"

#include "smtp/received.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ULID "01JDF5Z8P0ABCDEFGHJKMNPQRS"

struct finds {
	unsigned count;
	char recipient[80], domain[80], id[ID_TEXT_LENGTH + 1];
};

static bool is_our_name(void *arg, str name)
{
	(void)arg;
	return str_case_eq(name, STR("mx2.example.net")) ||
	       str_case_eq(name, STR("old.example.net"));
}

static void found(void *arg, const struct trace_own *own)
{
	struct finds *f = arg;

	f->count++;
	id_text(own->id, f->id);
	str_copy(own->recipient, f->recipient, sizeof f->recipient);
	str_copy(own->domain, f->domain, sizeof f->domain);
}

static void scan(str message, size_t step, struct trace *t, struct finds *f)
{
	const struct trace_hooks hooks = { is_our_name, found, f };

	*f = (struct finds){ 0 };
	trace_init(t, &hooks);
	for (size_t at = 0; at < message.n; at += step)
		trace_feed(t, str_first(str_from(message, at), step));
	trace_end(t);
}

#define OURS                                                                                       \
	"Received: from x (y [192.0.2.1])\r\n\tby mx2.example.net (Locum) with ESMTPS id " ULID    \
	"\r\n"

static const struct {
	const char *name, *message;
	uint32_t hops;
	unsigned own;
	const char *recipient, *domain;
} cases[] = {
	{ "no header at all", "\r\nbody", 0, 0, "", "" },
	{ "nothing", "", 0, 0, "", "" },
	{ "others' fields are counted", "Received: by a\r\nX: b\r\nreceived : from c\r\n\r\n", 2, 0,
	  "", "" },
	{ "the body is not looked at", "Received: a\r\n\r\nReceived: b\r\n", 1, 0, "", "" },
	{ "a folded line is no field", "Subject: x\r\n Received: b\r\n\r\n", 0, 0, "", "" },
	{ "another name is another field", "Received-SPF: pass\r\nReceivedX: y\r\n\r\n", 0, 0, "",
	  "" },
	{ "ours names its recipient", OURS "\tfor <a@b.example>; Tue\r\n\r\n", 1, 1, "a@b.example",
	  "" },
	{ "ours names its domain", OURS "\t(for b.example); Tue\r\n\r\n", 1, 1, "", "b.example" },
	{ "ours with TLS", OURS "\t(TLSv1.3 X)\r\n\tfor <a@b>; Tue\r\n\r\n", 1, 1, "a@b", "" },
	{ "ours without either", OURS "\t; Tue\r\n\r\n", 1, 1, "", "" },
	{ "ours as the last line, unended", OURS "\tfor <a@b>; Tue", 1, 1, "a@b", "" },
	{ "an alias is ours too",
	  "Received: from x\r\n by OLD.example.net (Locum) with SMTP id " ULID
	  "\r\n for <a@b>; x\r\n\r\n",
	  1, 1, "a@b", "" },
	{ "a client may call itself by",
	  "Received: from by (x) by mx2.example.net (Locum) id " ULID " (for d); x\r\n\r\n", 1, 1,
	  "", "d" },
	{ "another host's is not ours",
	  "Received: from x by mx9.example.net (Locum) with SMTP id " ULID " for <a@b>; x\r\n\r\n",
	  1, 0, "", "" },
	{ "another program's is not ours",
	  "Received: from x by mx2.example.net (Postfix) with SMTP id " ULID
	  " for <a@b>; x\r\n\r\n",
	  1, 0, "", "" },
	{ "an id of another kind is not ours",
	  "Received: from x by mx2.example.net (Locum) with SMTP id 4Abc for <a@b>; x\r\n\r\n", 1,
	  0, "", "" },
	{ "a comment hides nothing and shows nothing",
	  "Received: from (by mx2.example.net (Locum) id " ULID ") by z; x\r\n\r\n", 1, 0, "", "" },
	{ "a quoted string is one word",
	  "Received: from \"a by mx2.example.net (Locum) id " ULID " \" by z; x\r\n\r\n", 1, 0, "",
	  "" },
	{ "nothing counts behind the semicolon",
	  "Received: from x; by mx2.example.net (Locum) id " ULID "\r\n\r\n", 1, 0, "", "" },
	{ "several of ours are all found", OURS "\tfor <a@b>; T\r\n" OURS "\tfor <c@d>; T\r\n\r\n",
	  2, 2, "c@d", "" },
};

static void test_traces(void **state)
{
	static struct trace t;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		for (size_t step = 1; step < 9; step++) {
			struct finds f;

			scan(str_of(cases[i].message), step == 8 ? 4096 : step, &t, &f);
			if (t.hops != cases[i].hops)
				fail_msg("%s: %u hops (%zu)", cases[i].name, t.hops, step);
			if (f.count != cases[i].own)
				fail_msg("%s: %u own (%zu)", cases[i].name, f.count, step);
			if (strcmp(f.recipient, cases[i].recipient) ||
			    strcmp(f.domain, cases[i].domain))
				fail_msg("%s: %s %s", cases[i].name, f.recipient, f.domain);
			if (f.count && strcmp(f.id, ULID))
				fail_msg("%s: id %s", cases[i].name, f.id);
		}
}

static void test_reads_back_what_received_writes(void **state)
{
	char helo[255], name[255], local[65];
	struct received r = { .helo = str_mem(helo, sizeof helo),
			      .name = str_mem(name, sizeof name),
			      .address = STR("192.0.2.1"),
			      .esmtp = true,
			      .tls_version = STR("TLSv1.3"),
			      .tls_cipher = STR("X"),
			      .hostname = STR("mx2.example.net"),
			      .domain = STR("b.example") };
	struct finds f;
	static struct trace t;
	struct buf b;

	(void)state;
	memset(helo, '(', sizeof helo);
	memset(name, 'n', sizeof name);
	memset(local, 'l', sizeof local);
	assert_int_equal(id_parse(STR(ULID), &r.id), 0);
	buf_init(&b, 2 * RECEIVED_MAX);
	assert_int_equal(received_format(&r, &b), 0);
	r.recipient = STR("\"a;( b>\"@b.example");
	assert_int_equal(received_format(&r, &b), 0);
	/* Its longer word puts the id on a line of its own. */
	r.smtputf8 = true;
	assert_int_equal(received_format(&r, &b), 0);
	assert_true(str_find(buf_str(&b), STR("with UTF8SMTPS id\r\n\t" ULID)) > 0);
	scan(buf_str(&b), 100, &t, &f);
	assert_int_equal(f.count, 3);
	assert_string_equal(f.recipient, "\"a;( b>\"@b.example");
	buf_done(&b);
}

static void test_a_huge_header_is_cut(void **state)
{
	static char big[TRACE_BYTES_MAX + 4096];
	const size_t n = sizeof "Received: x\r\n" - 1;
	size_t at = 0;
	struct finds f;
	static struct trace t;

	(void)state;
	for (; at + n <= sizeof big; at += n)
		memcpy(big + at, "Received: x\r\n", n);
	scan(str_mem(big, at), 60000, &t, &f);
	assert_true(t.done);
	assert_true(t.seen <= TRACE_BYTES_MAX);
	assert_true(t.hops > 20000 && t.hops <= TRACE_BYTES_MAX / n);
	memset(big, 'x', sizeof big);
	memcpy(big, "Received: by", 12);
	scan(str_mem(big, sizeof big), 60000, &t, &f);
	assert_int_equal(t.hops, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_traces),
		cmocka_unit_test(test_reads_back_what_received_writes),
		cmocka_unit_test(test_a_huge_header_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
