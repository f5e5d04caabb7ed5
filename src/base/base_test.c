#include "base/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/heap.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void a_number_is_digits_only_and_bounded(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int r;
		uint64_t value;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "10", 10, 0, 10 },
		{ "11", 10, -ERANGE, 0 },
		{ "", 10, -EINVAL, 0 },
		{ "+1", 10, -EINVAL, 0 },
		{ "1 ", 10, -EINVAL, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		uint64_t value = 0;

		assert_int_equal(str_u64(str_of(cases[i].text), cases[i].max, &value), cases[i].r);
		assert_int_equal(value, cases[i].value);
	}
}

static void octets_above_127_are_seen_anywhere(void **state)
{
	char text[20];

	(void)state;
	assert_true(str_is_ascii(STR("a\x7f")) && str_is_ascii(STR_NONE));
	for (size_t n = 0; n <= sizeof text; n++) {
		memset(text, 'a', sizeof text);
		assert_true(str_is_ascii(str_mem(text, n)));
		for (size_t at = 0; at < n; at++) {
			text[at] = (char)0x80;
			assert_false(str_is_ascii(str_mem(text, n)));
			assert_true(str_is_ascii(str_mem(text, at)));
			text[at] = 'a';
		}
	}
}

static void slices_compare_cut_and_trim(void **state)
{
	str head, tail;

	(void)state;
	assert_true(str_case_eq(STR("MaIl"), STR("mail")));
	assert_false(str_case_eq(STR("mail"), STR("mail ")));
	assert_true(str_case_starts(STR("RCPT TO:<a>"), STR("rcpt to:")));
	assert_true(str_case_ends(STR("a.EXAMPLE"), STR(".example")));
	assert_true(str_cut(STR("a=b=c"), '=', &head, &tail));
	assert_true(str_eq(head, STR("a")) && str_eq(tail, STR("b=c")));
	assert_false(str_cut(STR("abc"), '=', &head, &tail));
	assert_int_equal(tail.n, 0);
	assert_true(str_eq(str_trim(STR(" \ta b\r\n")), STR("a b")));
	assert_int_equal(str_find(STR("abcabd"), STR("abd")), 3);
	assert_int_equal(str_last_index(STR("a:b:c"), ':'), 3);
	assert_true(str_cmp(STR("a"), STR("ab")) < 0);
}

static void a_hash_depends_on_every_byte_and_on_the_seed(void **state)
{
	const uint64_t seed[2] = { 1, 2 }, other[2] = { 1, 3 };

	(void)state;
	assert_true(str_hash(STR("abc"), seed, false) != str_hash(STR("abd"), seed, false));
	assert_true(str_hash(STR("abc"), seed, false) != str_hash(STR("abc"), other, false));
	assert_true(str_hash(STR("ABC"), seed, true) == str_hash(STR("abc"), seed, true));
	assert_true(str_hash(STR("a\0"), seed, false) != str_hash(STR("a"), seed, false));
}

static void a_buffer_never_passes_its_maximum(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_add(&b, STR("12345")), 0);
	assert_int_equal(buf_add(&b, STR("678901")), -ENOBUFS);
	assert_true(str_eq(buf_str(&b), STR("12345")));
	assert_int_equal(buf_addf(&b, "%d", 67890), 0);
	assert_int_equal(buf_addf(&b, "%d", 1), -ENOBUFS);
	assert_true(str_eq(buf_str(&b), STR("1234567890")));
	buf_consume(&b, 4);
	assert_true(str_eq(buf_str(&b), STR("567890")));
	buf_done(&b);
}

static void an_arena_never_passes_its_maximum(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	assert_non_null(arena_alloc(&a, 3000));
	assert_null(arena_alloc(&a, 2000));
	arena_reset(&a);
	assert_non_null(arena_alloc(&a, 4000));
	assert_null(arena_alloc(&a, SIZE_MAX));
	arena_done(&a);
}

struct number {
	struct map_link link;
	struct heap_node node;
	uint64_t value;
};

static void a_map_finds_what_was_put_in_and_not_what_was_removed(void **state)
{
	struct number n[1000];
	struct map m;

	(void)state;
	map_init(&m);
	for (uint64_t i = 0; i < ELEMENTS(n); i++) {
		n[i].value = i;
		/* Every hash twice, so chains have equal hashes too. */
		assert_int_equal(map_insert(&m, &n[i].link, (i / 2) * 0x9e3779b97f4a7c15), 0);
	}
	for (uint64_t i = 0; i < ELEMENTS(n); i += 3)
		map_remove(&m, &n[i].link);
	for (uint64_t i = 0; i < ELEMENTS(n); i++) {
		bool found = false;

		MAP_FIND (&m, (i / 2) * 0x9e3779b97f4a7c15, struct number, link, e)
			found |= e->value == i;
		assert_int_equal(found, i % 3 != 0);
	}
	size_t walked = 0;

	for (struct map_link *l = map_walk(&m, NULL); l; l = map_walk(&m, l))
		walked++;
	assert_int_equal(walked, m.count);
	map_done(&m);
}

static void a_heap_gives_the_earliest_after_any_removals(void **state)
{
	struct number n[500] = { 0 };
	struct heap h;
	nsec last = 0;
	size_t left = 0;

	(void)state;
	heap_init(&h);
	for (size_t i = 0; i < ELEMENTS(n); i++)
		assert_int_equal(heap_push(&h, &n[i].node, (nsec)(i * 7919 % 1009)), 0);
	for (size_t i = 0; i < ELEMENTS(n); i += 4)
		heap_remove(&h, &n[i].node);
	heap_remove(&h, &n[0].node);
	while (heap_first(&h)) {
		struct heap_node *first = heap_first(&h);

		assert_true(first->at >= last);
		last = first->at;
		heap_remove(&h, first);
		left++;
	}
	assert_int_equal(left, 375);
	heap_done(&h);
}

static void an_id_is_a_ulid(void **state)
{
	const uint8_t random[10] = { 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	msg_id id = id_make(1469918176385 * NSEC_MS, random), again;
	char text[ID_TEXT_LENGTH + 1];

	(void)state;
	id_text(id, text);
	/* The time part of the ULID specification's example. */
	assert_memory_equal(text, "01ARYZ6S41", 10);
	assert_int_equal(id_parse(str_of(text), &again), 0);
	assert_true(id_eq(id, again));
	assert_int_equal(id_made_wall(id), 1469918176385 * NSEC_MS);
	assert_int_equal(id_parse(STR("81ARYZ6S41TSV4RRFFQ69G5FAV"), &again), -EINVAL);
	assert_int_equal(id_parse(STR("01ARYZ6S41TSV4RRFFQ69G5FAU"), &again), -EINVAL);
	assert_int_equal(id_parse(STR("01ARYZ6S41TSV4RRFFQ69G5FA"), &again), -EINVAL);
}

/* RFC 3720 appendix B.4. */
static void a_checksum_matches_the_published_vectors(void **state)
{
	char zeros[32] = { 0 }, ones[32], up[32];

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++)
		up[i] = (char)i;
	assert_int_equal(crc32c(0, str_mem(zeros, 32)), 0x8a9136aa);
	assert_int_equal(crc32c(0, str_mem(ones, 32)), 0x62a8ab43);
	assert_int_equal(crc32c(0, str_mem(up, 32)), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, str_mem(up, 13)), str_mem(up + 13, 19)), 0x46dd794e);
}

static void an_address_is_read_and_written(void **state)
{
	static const struct {
		const char *text, *shown, *literal; /* shown NULL: refused */
	} cases[] = {
		{ "192.0.2.7", "192.0.2.7:25", "[192.0.2.7]" },
		{ "192.0.2.7:2525", "192.0.2.7:2525", "[192.0.2.7]" },
		{ "[2001:db8::1]:2525", "[2001:db8::1]:2525", "[IPv6:2001:db8::1]" },
		{ "2001:db8::1", "[2001:db8::1]:25", "[IPv6:2001:db8::1]" },
		{ "[::ffff:192.0.2.7]:1", "192.0.2.7:1", "[192.0.2.7]" },
		{ "192.0.2.7:0", NULL, NULL },
		{ "192.0.2.7:65536", NULL, NULL },
		{ "192.0.2", NULL, NULL },
		{ "[2001:db8::1", NULL, NULL },
		{ "[2001:db8::1]x", NULL, NULL },
		{ "mail.example", NULL, NULL },
		{ "", NULL, NULL },
	};
	char text[ADDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct addr a, again;
		int r = addr_parse(str_of(cases[i].text), 25, &a);
		struct sockaddr_storage sa;

		assert_int_equal(r, cases[i].shown ? 0 : -EINVAL);
		if (r < 0)
			continue;
		assert_string_equal(addr_text(&a, text), cases[i].shown);
		assert_string_equal(addr_literal(&a, text), cases[i].literal);
		addr_to_sockaddr(&a, &sa);
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &again), 0);
		assert_true(addr_same_ip(&a, &again) && a.port == again.port);
	}
}

struct item {
	struct list link;
	int n;
};

static void a_list_keeps_its_order_through_removals(void **state)
{
	struct item i[4] = { { .n = 0 }, { .n = 1 }, { .n = 2 }, { .n = 3 } };
	struct list l;
	int sum = 0;

	(void)state;
	list_init(&l);
	for (int k = 0; k < 4; k++)
		list_append(&l, &i[k].link);
	LIST_EACH (&l, struct item, link, it)
		if (it->n % 2)
			list_remove(&it->link);
	LIST_EACH (&l, struct item, link, it)
		sum = sum * 10 + it->n;
	assert_int_equal(sum, 2);
	assert_ptr_equal(list_take(&l), &i[0].link);
	assert_ptr_equal(list_take(&l), &i[2].link);
	assert_null(list_take(&l));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_is_digits_only_and_bounded),
		cmocka_unit_test(octets_above_127_are_seen_anywhere),
		cmocka_unit_test(slices_compare_cut_and_trim),
		cmocka_unit_test(a_hash_depends_on_every_byte_and_on_the_seed),
		cmocka_unit_test(a_buffer_never_passes_its_maximum),
		cmocka_unit_test(an_arena_never_passes_its_maximum),
		cmocka_unit_test(a_map_finds_what_was_put_in_and_not_what_was_removed),
		cmocka_unit_test(a_heap_gives_the_earliest_after_any_removals),
		cmocka_unit_test(an_id_is_a_ulid),
		cmocka_unit_test(a_checksum_matches_the_published_vectors),
		cmocka_unit_test(an_address_is_read_and_written),
		cmocka_unit_test(a_list_keeps_its_order_through_removals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
