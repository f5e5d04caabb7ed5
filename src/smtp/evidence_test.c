#include "smtp/evidence.h"

#include "base/cleanup.h"
#include "smtp/xtext.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint8_t key[EVIDENCE_KEY_BYTES] = { 1, 2, 3 };
static const uint8_t other_key[EVIDENCE_KEY_BYTES] = { 1, 2, 4 };

static struct evidence_content content_of(str message, size_t step, uint64_t head_max)
{
	struct evidence_content c;
	struct evidence_digest d;

	assert_int_equal(evidence_digest_init(&d, head_max), 0);
	for (size_t at = 0; at < message.n; at += step)
		evidence_digest_feed(&d, str_first(str_from(message, at), step));
	assert_int_equal(evidence_digest_end(&d, &c), 0);
	evidence_digest_done(&d);
	return c;
}

static bool same(const struct evidence_content *a, const struct evidence_content *b)
{
	return memcmp(a->head, b->head, sizeof(a->head)) == 0 &&
	       memcmp(a->body, b->body, sizeof(a->body)) == 0;
}

static const struct digest_case {
	const char *requirement, *one, *two;
	bool same;
	uint64_t head_bytes; /* of the first */
} digests[] = {
	{ "LF at the end of lines is CRLF", "A: b\r\n\r\nx\r\ny\r\n", "A: b\n\nx\ny\n", true, 6 },
	{ "a last line without an end has one", "A: b\r\n\r\nx", "A: b\r\n\r\nx\r\n", true, 6 },
	{ "also in the header section", "A: b", "A: b\r\n", true, 6 },
	{ "a body of nothing is no header", "A: b\r\n\r\n", "A: b\r\n", true, 6 },
	{ "a message without headers", "\r\nx\r\n", "\nx\n", true, 0 },
	{ "a CR within a line counts", "A: b\r\n\r\nx\ry\r\n", "A: b\r\n\r\nxy\r\n", false, 6 },
	{ "two CRs are not one", "A: b\r\n\r\nx\r\r\n", "A: b\r\n\r\nx\r\n", false, 6 },
	{ "a lone CR at the end counts", "A: b\r\n\r\nx\r", "A: b\r\n\r\nx", false, 6 },
	{ "another body", "A: b\r\n\r\nx\r\n", "A: b\r\n\r\nX\r\n", false, 6 },
	{ "another header", "A: b\r\n\r\nx\r\n", "A: c\r\n\r\nx\r\n", false, 6 },
	{ "an empty line more", "A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n\r\n", false, 6 },
	{ "what was header is not body", "A: b\r\n\r\nC: d\r\n\r\n", "A: b\r\nC: d\r\n\r\n\r\n",
	  false, 6 },
	{ "nothing", "", "", true, 0 },
};

static void a_digest_is_of_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(digests); i++) {
		const struct digest_case *k = &digests[i];

		for (size_t step = 1; step < 20; step++) {
			struct evidence_content one = content_of(str_of(k->one), step, UINT64_MAX);
			struct evidence_content two = content_of(str_of(k->two), 100, UINT64_MAX);

			if (same(&one, &two) != k->same || one.head_bytes != k->head_bytes)
				fail_msg("%s, in pieces of %zu: %ju", k->requirement, step,
					 (uintmax_t)one.head_bytes);
		}
	}
}

static void headers_added_behind_the_original_do_not_count(void **state)
{
	struct evidence_content was = content_of(STR("A: b\r\nC: d\r\n\r\nx\r\n"), 9, UINT64_MAX);
	struct evidence_content more =
		content_of(STR("A: b\nC: d\nX-Spam: no\n\nx\n"), 4, was.head_bytes);
	struct evidence_content before =
		content_of(STR("X-Spam: no\nA: b\nC: d\n\nx\n"), 4, was.head_bytes);

	(void)state;
	assert_true(same(&was, &more));
	assert_int_equal(more.head_bytes, was.head_bytes + 12);
	assert_false(same(&was, &before));
}

/* --- writing and reading --- */

static struct evidence plain(void)
{
	static const struct evidence_symbol symbols[] = { { { "helo-bare-word", 14 }, 1 },
							  { { "listed", 6 }, -2.5 } };

	return (struct evidence){ .arrived_wall = 1795501440 * NSEC_S,
				  .client = STR("2001:db8::1"),
				  .port = 4711,
				  .name = STR("mail.example"),
				  .helo = STR("mail.example"),
				  .esmtp = true,
				  .tls_version = STR("TLSv1.3"),
				  .from = STR("a@src.example"),
				  .to = STR("r@example"),
				  .domain = STR("example"),
				  .recipients = 3,
				  .primary = STR("unreachable"),
				  .symbols = symbols,
				  .symbol_count = ELEMENTS(symbols),
				  .content =
					  content_of(STR("A: b\r\n\r\nx\r\n"), 100, UINT64_MAX) };
}

static void write_it(const struct evidence *e, struct buf *to)
{
	buf_init(to, EVIDENCE_MAX);
	assert_int_equal(evidence_write(e, key, to), 0);
}

static str value_of(const struct buf *header)
{
	return str_from(buf_str(header), strlen(EVIDENCE_NAME ":"));
}

static void what_is_written_is_read_back(void **state)
{
	struct evidence e = plain();
	struct evidence_content c;
	struct evidence_words w;
	struct buf b;

	(void)state;
	write_it(&e, &b);
	assert_true(str_starts(buf_str(&b),
			       STR("X-Locum-Evidence: v=1 id=00000000000000000000000000 "
				   "arrived=1795501440\r\n\tclient=2001:db8::1 port=4711 ")));
	assert_true(str_case_ends(buf_str(&b), STR("\r\n")));
	assert_int_equal(evidence_parse(value_of(&b), &w), 0);
	assert_true(evidence_signed(&w, key));
	assert_false(evidence_signed(&w, other_key));
	assert_true(str_eq(evidence_value(&w, "helo"), STR("mail.example")));
	assert_true(str_eq(evidence_value(&w, "recipients"), STR("3")));
	assert_true(str_eq(evidence_value(&w, "score"), STR("-1.5")));
	assert_true(str_eq(evidence_value(&w, "symbols"), STR("helo-bare-word:1,listed:-2.5")));
	assert_false(evidence_value(&w, "cipher").p);
	assert_true(evidence_content(&w, &c));
	assert_true(same(&c, &e.content));
	assert_int_equal(c.head_bytes, 6);
	buf_done(&b);
}

static void every_changed_octet_is_found(void **state)
{
	struct evidence e = plain();
	struct evidence_words w;
	struct buf b;

	(void)state;
	write_it(&e, &b);
	for (size_t i = strlen(EVIDENCE_NAME ":"); i + 2 < b.n; i++) {
		char was = b.p[i];

		if (strchr(" \t\r\n", was))
			continue;
		b.p[i] = was == 'x' ? 'y' : 'x';
		if (evidence_parse(value_of(&b), &w) == 0 && evidence_signed(&w, key))
			fail_msg("octet %zu", i);
		b.p[i] = was;
	}
	assert_int_equal(evidence_parse(value_of(&b), &w), 0);
	assert_true(evidence_signed(&w, key));
	buf_done(&b);
}

static void folding_does_not_matter(void **state)
{
	struct evidence e = plain();
	struct evidence_words w;
	struct buf b;

	(void)state;
	write_it(&e, &b);
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] == '\r' || b.p[i] == '\t')
			b.p[i] = ' ';
	assert_int_equal(evidence_parse(value_of(&b), &w), 0);
	assert_true(evidence_signed(&w, key));
	buf_done(&b);
}

/* Whatever a client says of itself stays one word of one line. */
static void no_value_is_more_than_a_word(void **state)
{
	static const char *const said[] = {
		"a\r\nX-Evil: 1", "a b=c",        "a=b hmac=00", "a+0D",
		"(a) <b>; \"c\"", "\xff\xfe\x80", "a\tb",
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(said); i++) {
		struct evidence e = plain();
		struct evidence_words w;
		char text[200];
		struct buf b;
		str got;

		e.helo = e.name = e.from = e.to = e.tls_cipher = str_of(said[i]);
		write_it(&e, &b);
		for (size_t k = 0; k + 2 < b.n; k++) {
			assert_in_range((unsigned char)b.p[k], '\t', '~');
			if (b.p[k] == '\n')
				assert_int_equal(b.p[k + 1], '\t');
		}
		assert_int_equal(evidence_parse(value_of(&b), &w), 0);
		assert_true(evidence_signed(&w, key));
		assert_int_equal(xtext_decode(evidence_value(&w, "helo"), text, sizeof(text), &got),
				 0);
		assert_true(str_eq(got, str_of(said[i])));
		buf_done(&b);
	}
}

static void the_largest_fits(void **state)
{
	static char huge[2000];
	static struct evidence_symbol symbols[64];
	struct evidence e = plain();
	struct evidence_words w;
	struct buf b;

	(void)state;
	memset(huge, '=', sizeof(huge)); /* three octets each */
	for (size_t i = 0; i < ELEMENTS(symbols); i++)
		symbols[i] = (struct evidence_symbol){ str_mem(huge, 7), -123456.789 };
	e.client = e.name = e.helo = e.tls_version = e.tls_cipher = e.from = e.to = e.domain =
		str_mem(huge, sizeof(huge));
	e.primary = STR("unreachable");
	e.port = 65535;
	e.recipients = 100000;
	e.symbols = symbols;
	e.symbol_count = ELEMENTS(symbols);
	e.content.head_bytes = UINT64_MAX / 2;
	e.arrived_wall = INT64_MAX;
	write_it(&e, &b);
	assert_int_equal(evidence_parse(value_of(&b), &w), 0);
	assert_true(evidence_signed(&w, key));
	assert_false(evidence_value(&w, "helo").p);
	assert_int_equal(evidence_value(&w, "helo-cut").n, EVIDENCE_VALUE_MAX / 3 * 3);
	assert_true(evidence_value(&w, "symbols-cut").p);
	buf_done(&b);
	buf_init(&b, 500);
	assert_int_equal(evidence_write(&e, key, &b), -ENOBUFS);
	assert_int_equal(b.n, 0);
	buf_done(&b);
}

static void other_forms_are_not_read(void **state)
{
	static const char *const wrong[] = {
		"",
		"v=1",
		"v=1 id=x",
		"v=2 id=x hmac=00",
		"id=x v=1 hmac=00",
		"v=1 hmac=00 id=x",
		"v=1 id=x id=y hmac=00",
		"v=1 id hmac=00",
		"v=1 =x hmac=00",
		"v=1 ID=x hmac=00",
		"v=1 id=x=y hmac=00",
		"v=1 id=+0 hmac=00",
		"v=1 a=\xc3\xa4 hmac=00",
	};
	static char longest[EVIDENCE_MAX + 100];
	struct evidence_words w;

	(void)state;
	for (size_t i = 0; i < ELEMENTS(wrong); i++)
		if (evidence_parse(str_of(wrong[i]), &w) != -EINVAL)
			fail_msg("%s", wrong[i]);
	assert_int_equal(evidence_parse(STR(" v=1 id=x\r\n hmac=00 \r\n"), &w), 0);
	assert_false(evidence_signed(&w, key));
	assert_false(evidence_content(&w, &(struct evidence_content){ 0 }));
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "v=1 a=", 6);
	assert_int_equal(evidence_parse(str_mem(longest, sizeof(longest)), &w), -EINVAL);
}

static void keys(void **state)
{
	uint8_t k[EVIDENCE_KEY_BYTES];

	(void)state;
#define HEX16 "0123456789abcdef"
	assert_int_equal(evidence_key_read(STR(HEX16 HEX16 HEX16 HEX16 "\n"), k), 0);
	assert_int_equal(k[31], 0xef);
	assert_int_equal(evidence_key_read(STR(HEX16 HEX16 HEX16), k), -EINVAL);
	assert_int_equal(evidence_key_read(STR(HEX16 HEX16 HEX16 "0123456789abcdeg"), k), -EINVAL);
	assert_int_equal(evidence_key_read(STR(""), k), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_digest_is_of_lines),
		cmocka_unit_test(headers_added_behind_the_original_do_not_count),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(every_changed_octet_is_found),
		cmocka_unit_test(folding_does_not_matter),
		cmocka_unit_test(no_value_is_more_than_a_word),
		cmocka_unit_test(the_largest_fits),
		cmocka_unit_test(other_forms_are_not_read),
		cmocka_unit_test(keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
