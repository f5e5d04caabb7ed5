#include "net/proxy.h"

#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
/* What follows the signature is written apart, as the compiler would read on in a hexadecimal escape. */
#define V2(rest) SIGNATURE rest
#define IPV4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x12\x67\x00\x19"
#define IPV6                                                                                       \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                                               \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"                                               \
	"\x12\x67\x00\x19"
#define MAPPED                                                                                     \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"                                               \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x02"                                             \
	"\x12\x67\x00\x19"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define LONGEST "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

struct proxy_case {
	const char *requirement;
	str input;
	int r;            /* ALL: the whole input is the header */
	const char *want; /* "client server", or "local" */
};

#define ALL 100000
#define CASE(requirement, input, r, want)                                                          \
	{                                                                                          \
		requirement, { input, sizeof(input) - 1 }, r, want                                 \
	}
#define GOOD(requirement, input, want) CASE(requirement, input, ALL, want)
#define NONE(requirement, input) CASE(requirement, input, -EPROTO, NULL)
#define MORE(requirement, input) CASE(requirement, input, 0, NULL)

static const struct proxy_case cases[] = {
	/* The examples of the specification, §2.1. */
	GOOD("the longest TCP4 line", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
	     "255.255.255.255:65535 255.255.255.255:65535"),
	GOOD("the longest TCP6 line", "PROXY TCP6 " LONGEST " 65535 65535\r\n",
	     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 "
	     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
	GOOD("the short unknown line", "PROXY UNKNOWN\r\n", "local"),
	GOOD("the longest unknown line", "PROXY UNKNOWN " LONGEST " 65535 65535\r\n", "local"),
	CASE("what follows is not the header's",
	     "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n", 47,
	     "192.168.0.1:56324 192.168.0.11:443"),
	/* Lines. */
	GOOD("of an unknown line the rest is ignored", "PROXY UNKNOWN what ever\r\n", "local"),
	GOOD("IPv6 in any of its spellings", "PROXY TCP6 2001:DB8::1 ::1 0 25\r\n",
	     "[2001:db8::1]:0 [::1]:25"),
	GOOD("a mapped address is IPv4", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n",
	     "192.0.2.1:1 [::1]:25"),
	MORE("nothing yet", ""),
	MORE("its first letter", "P"),
	MORE("a part of the word", "PROXY"),
	MORE("a line without end", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2"),
	MORE("a CR whose LF is still to come", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r"),
	MORE("106 bytes without an end may still be one", "PROXY " HUNDRED),
	NONE("107 bytes without an end are none", "PROXY " HUNDRED "1"),
	NONE("CRLF after 108 bytes", "PROXY UNKNOWN " HUNDRED "\r\n"),
	NONE("another word", "EHLO x\r\n"),
	NONE("another word, not whole", "PROXX"),
	NONE("lower case", "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("no protocol", "PROXY \r\n"),
	NONE("an unknown protocol", "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("a protocol in lower case", "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("unknown and more in one word", "PROXY UNKNOWNS 192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("UDP in a line", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("IPv6 addresses as TCP4", "PROXY TCP4 ::1 ::1 1 2\r\n"),
	NONE("IPv4 addresses as TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("one of each", "PROXY TCP4 192.0.2.1 ::1 1 2\r\n"),
	NONE("a number above 255", "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"),
	NONE("a short form", "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n"),
	NONE("a leading zero in an address", "PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n"),
	NONE("brackets", "PROXY TCP6 [::1] [::1] 1 2\r\n"),
	NONE("a zone", "PROXY TCP6 fe80::1%lo fe80::1 1 2\r\n"),
	NONE("a NUL in an address", "PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"),
	NONE("a leading zero in a port", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"),
	NONE("a port above 65535", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"),
	NONE("a port of six digits", "PROXY TCP4 192.0.2.1 192.0.2.2 1 000025\r\n"),
	NONE("a sign", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"),
	NONE("a port in hexadecimal", "PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n"),
	NONE("no ports", "PROXY TCP4 192.0.2.1 192.0.2.2\r\n"),
	NONE("one port", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
	NONE("an empty port", "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n"),
	NONE("something behind the ports", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
	NONE("a space behind the ports", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"),
	NONE("two spaces", "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("a tab", "PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
	NONE("LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
	NONE("LF alone in an unknown line", "PROXY UNKNOWN\nx\r\n"),
	NONE("CR alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx"),
	NONE("CR CR LF", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n"),
	/* Version 2, §2.2. */
	GOOD("TCP over IPv4", V2("\x21\x11\0\x0c" IPV4), "192.0.2.1:4711 198.51.100.2:25"),
	GOOD("TCP over IPv6", V2("\x21\x21\0\x24" IPV6), "[2001:db8::1]:4711 [2001:db8::2]:25"),
	GOOD("mapped addresses are IPv4", V2("\x21\x21\0\x24" MAPPED),
	     "192.0.2.1:4711 198.51.100.2:25"),
	GOOD("LOCAL without addresses", V2("\x20\x00\0\0"), "local"),
	GOOD("LOCAL with addresses", V2("\x20\x11\0\x0c" IPV4), "local"),
	GOOD("of LOCAL the rest is ignored", V2("\x20\xff\0\x02\x01\xff"), "local"),
	GOOD("an unspecified family", V2("\x21\x00\0\0"), "local"),
	GOOD("an unspecified family with additions", V2("\x21\x00\0\x04\x04\0\x01x"), "local"),
	GOOD("UDP is valid, but no client of ours", V2("\x21\x12\0\x0c" IPV4), "local"),
	GOOD("a socket file likewise", V2("\x21\x31\0\xd8" HUNDRED HUNDRED "0123456789012345"),
	     "local"),
	GOOD("additions are skipped", V2("\x21\x11\0\x19" IPV4 "\x02\0\x07mx.test\x04\0\0"),
	     "192.0.2.1:4711 198.51.100.2:25"),
	CASE("what follows is not the header's", V2("\x21\x11\0\x0c" IPV4) "EHLO x\r\n", 28,
	     "192.0.2.1:4711 198.51.100.2:25"),
	MORE("a CR", "\r"),
	MORE("eleven bytes of the signature", "\r\n\r\n\0\r\nQUIT"),
	MORE("the signature alone", SIGNATURE),
	MORE("fifteen bytes", V2("\x21\x11\0")),
	MORE("addresses not whole", V2("\x21\x11\0\x0c\xc0\0\x02\x01")),
	MORE("528 bytes announced", V2("\x21\x11\x02\0")),
	NONE("529 bytes announced", V2("\x21\x11\x02\x01")),
	NONE("a line end alone", "\r\n\r\nEHLO"),
	NONE("a signature with one wrong byte", "\r\n\r\n\0\r\nQUIT\r"),
	NONE("version 1 in binary", V2("\x11\x11\0\x0c" IPV4)),
	NONE("version 3", V2("\x31\x11\0\x0c" IPV4)),
	NONE("a third command", V2("\x22\x11\0\x0c" IPV4)),
	NONE("an unknown family", V2("\x21\x41\0\x0c" IPV4)),
	NONE("an unknown transport", V2("\x21\x13\0\x0c" IPV4)),
	NONE("IPv4 without transport", V2("\x21\x10\0\x0c" IPV4)),
	NONE("too short for IPv4", V2("\x21\x11\0\x0b" IPV4)),
	NONE("too short for IPv6", V2("\x21\x21\0\x0c" IPV4)),
	NONE("too short for a socket file", V2("\x21\x31\0\x0c" IPV4)),
	NONE("an addition of two bytes", V2("\x21\x11\0\x0e" IPV4 "\x04\0")),
	NONE("an addition longer than the header", V2("\x21\x11\0\x10" IPV4 "\x04\0\x02x")),
	NONE("a checksum of three bytes", V2("\x21\x11\0\x12" IPV4 "\x03\0\x03xyz")),
	NONE("a wrong checksum", V2("\x21\x11\0\x13" IPV4 "\x03\0\x04\0\0\0\0")),
};

static void text_of(const struct proxy_header *h, char *to, size_t size)
{
	char client[ADDR_TEXT_SIZE], server[ADDR_TEXT_SIZE];

	if (h->local)
		snprintf(to, size, "local");
	else
		snprintf(to, size, "%s %s", addr_text(&h->client, client),
			 addr_text(&h->server, server));
}

static void headers_are_read_strictly(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		const struct proxy_case *c = &cases[i];
		int want = c->r == ALL ? (int)c->input.n : c->r;
		struct proxy_header h;
		char text[200];
		int r = proxy_parse(c->input, &h);

		if (r != want)
			fail_msg("%s: %d instead of %d", c->requirement, r, want);
		if (r <= 0)
			continue;
		text_of(&h, text, sizeof(text));
		if (strcmp(text, c->want) != 0)
			fail_msg("%s: %s", c->requirement, text);
	}
}

/* Every beginning of a good header asks for more, and none is taken before its end. */
static void a_header_may_come_in_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		int r = cases[i].r == ALL ? (int)cases[i].input.n : cases[i].r;
		struct proxy_header h;

		for (int n = 0; n < r; n++)
			if (proxy_parse(str_first(cases[i].input, (size_t)n), &h) != 0)
				fail_msg("%s: its first %d bytes", cases[i].requirement, n);
	}
}

static void a_checksum_that_fits_is_taken(void **state)
{
	char header[] = V2("\x21\x11\0\x17" IPV4 "\x03\0\x04\0\0\0\0\x04\0\x01x");
	str whole = { header, sizeof(header) - 1 };
	uint32_t crc = crc32c(0, whole);
	struct proxy_header h;

	(void)state;
	for (int i = 0; i < 4; i++)
		header[31 + i] = (char)(crc >> (24 - 8 * i));
	assert_int_equal(proxy_parse(whole, &h), whole.n);
	for (size_t i = 16; i < 28; i++) {
		header[i] ^= 1;
		assert_int_equal(proxy_parse(whole, &h), -EPROTO);
		header[i] ^= 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_read_strictly),
		cmocka_unit_test(a_header_may_come_in_pieces),
		cmocka_unit_test(a_checksum_that_fits_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
