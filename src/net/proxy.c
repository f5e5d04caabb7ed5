#include "net/proxy.h"

#include "base/crc32c.h"

#include <arpa/inet.h>

/* --- version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\r\n" --- */

/* Decimal, no leading zeros, 0 to 65535. */
static int port_parse(str text, uint16_t *ret_port)
{
	uint64_t number;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0') ||
	    str_u64(text, UINT16_MAX, &number) < 0)
		return -EPROTO;
	*ret_port = (uint16_t)number;
	return 0;
}

/* inet_pton takes what the text allows: no leading zeros, no short forms of IPv4. */
static int address_parse(str text, int family, struct sockaddr_storage *ret_sa)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sa;
	struct sockaddr_in *in = (struct sockaddr_in *)ret_sa;
	char z[INET6_ADDRSTRLEN];

	if (str_index(text, '\0') >= 0 || !str_copy(text, z, sizeof(z)))
		return -EPROTO;
	*ret_sa = (struct sockaddr_storage){ .ss_family = (sa_family_t)family };
	if (inet_pton(family, z,
		      family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr) != 1)
		return -EPROTO;
	return 0;
}

static int end_parse(str ip, str port, int family, struct addr *ret_addr)
{
	struct sockaddr_storage sa;
	uint16_t number;
	int r;

	r = address_parse(ip, family, &sa);
	if (r < 0)
		return r;
	r = port_parse(port, &number);
	if (r < 0)
		return r;
	r = addr_from_sockaddr((const struct sockaddr *)&sa, ret_addr);
	must(r == 0);
	ret_addr->port = number;
	return 0;
}

/* What is between "PROXY " and CRLF. */
static int line_parse(str rest, struct proxy_header *ret)
{
	str protocol, from, to, from_port;
	struct proxy_header h = { 0 };
	int family, r;

	if (str_eq(rest, STR("UNKNOWN")) || str_starts(rest, STR("UNKNOWN "))) {
		*ret = (struct proxy_header){ .local = true };
		return 0;
	}
	if (!str_cut(rest, ' ', &protocol, &rest) || !str_cut(rest, ' ', &from, &rest) ||
	    !str_cut(rest, ' ', &to, &rest) || !str_cut(rest, ' ', &from_port, &rest))
		return -EPROTO;
	if (str_eq(protocol, STR("TCP4")))
		family = AF_INET;
	else if (str_eq(protocol, STR("TCP6")))
		family = AF_INET6;
	else
		return -EPROTO;
	r = end_parse(from, from_port, family, &h.client);
	if (r == 0)
		r = end_parse(to, rest, family, &h.server);
	if (r == 0)
		*ret = h;
	return r;
}

static int v1_parse(str input, struct proxy_header *ret)
{
	str line = str_first(input, PROXY_V1_BYTES_MAX);
	ssize_t lf = str_index(line, '\n'), cr = str_index(line, '\r');
	int r;

	/* Whatever does not end as it must never will. */
	if ((lf >= 0 && (lf == 0 || cr != lf - 1)) || (lf < 0 && line.n == PROXY_V1_BYTES_MAX) ||
	    (lf < 0 && cr >= 0 && (size_t)cr + 1 < line.n))
		return -EPROTO;
	if (lf < 0)
		return 0;
	r = line_parse(str_from(str_first(line, (size_t)cr), STR("PROXY ").n), ret);
	return r < 0 ? r : (int)lf + 1;
}

/* --- version 2: signature, version and command, family, length, addresses, additions --- */

#define V2_FIXED 16
#define TLV_CRC32C 0x03

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };

struct v2_family {
	uint8_t byte;   /* family and transport */
	uint8_t length; /* of its addresses */
	int family;     /* AF_UNSPEC: valid, but none of an SMTP client */
};

static const struct v2_family families[] = {
	{ 0x00, 0, AF_UNSPEC },   { 0x11, 12, AF_INET },   { 0x12, 12, AF_UNSPEC },
	{ 0x21, 36, AF_INET6 },   { 0x22, 36, AF_UNSPEC }, { 0x31, 216, AF_UNSPEC },
	{ 0x32, 216, AF_UNSPEC },
};

static unsigned u16_at(const char *p)
{
	return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

static uint32_t u32_at(const char *p)
{
	return (uint32_t)u16_at(p) << 16 | u16_at(p + 2);
}

/* Of the whole header as if the checksum itself (four bytes at `at`) were zero. */
static bool checksum_fits(str header, size_t at)
{
	uint32_t crc = crc32c(0, str_first(header, at));

	crc = crc32c(crc, str_mem("\0\0\0\0", 4));
	crc = crc32c(crc, str_from(header, at + 4));
	return crc == u32_at(header.p + at);
}

/* Additions follow the addresses from `at` on: type, length of two bytes, value. All but the checksum are
 * skipped; they must end where the header ends. */
static int additions_check(str header, size_t at)
{
	while (at < header.n) {
		size_t length;

		if (header.n - at < 3)
			return -EPROTO;
		length = u16_at(header.p + at + 1);
		if (length > header.n - at - 3)
			return -EPROTO;
		if (header.p[at] == TLV_CRC32C && (length != 4 || !checksum_fits(header, at + 3)))
			return -EPROTO;
		at += 3 + length;
	}
	return 0;
}

static struct addr v2_address(int family, const char *ip, const char *port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct addr a = { 0 };
	int r;

	memcpy(&in.sin_addr, ip, sizeof(in.sin_addr));
	if (family == AF_INET6)
		memcpy(&in6.sin6_addr, ip, sizeof(in6.sin6_addr));
	r = addr_from_sockaddr(family == AF_INET ? (const struct sockaddr *)&in
						 : (const struct sockaddr *)&in6,
			       &a);
	must(r == 0);
	a.port = (uint16_t)u16_at(port);
	return a;
}

static const struct v2_family *family_find(uint8_t byte)
{
	for (size_t i = 0; i < ELEMENTS(families); i++)
		if (families[i].byte == byte)
			return &families[i];
	return NULL;
}

static int v2_addresses(str header, struct proxy_header *ret)
{
	const struct v2_family *f = family_find((uint8_t)header.p[13]);
	const char *at = header.p + V2_FIXED;
	size_t ip;
	int r;

	if (!f || header.n < V2_FIXED + (size_t)f->length)
		return -EPROTO;
	r = additions_check(header, V2_FIXED + f->length);
	if (r < 0)
		return r;
	*ret = (struct proxy_header){ .local = f->family == AF_UNSPEC };
	if (ret->local)
		return 0;
	ip = f->family == AF_INET ? 4 : 16;
	ret->client = v2_address(f->family, at, at + 2 * ip);
	ret->server = v2_address(f->family, at + ip, at + 2 * ip + 2);
	return 0;
}

static int v2_parse(str input, struct proxy_header *ret)
{
	uint8_t command;
	size_t bytes;
	int r = 0;

	if (input.n < V2_FIXED)
		return 0;
	command = (uint8_t)input.p[12];
	bytes = V2_FIXED + u16_at(input.p + 14);
	if ((command != COMMAND_LOCAL && command != COMMAND_PROXY) || bytes > PROXY_V2_BYTES_MAX)
		return -EPROTO;
	if (input.n < bytes)
		return 0;
	/* Of a LOCAL one everything else is to be ignored, its family included. */
	if (command == COMMAND_LOCAL)
		*ret = (struct proxy_header){ .local = true };
	else
		r = v2_addresses(str_first(input, bytes), ret);
	return r < 0 ? r : (int)bytes;
}

int proxy_parse(str input, struct proxy_header *ret)
{
	static const str v1 = { "PROXY ", 6 }, v2 = { "\r\n\r\n\0\r\nQUIT\n", 12 };

	if (str_starts(input, v1))
		return v1_parse(input, ret);
	if (str_starts(input, v2))
		return v2_parse(input, ret);
	return str_starts(v1, input) || str_starts(v2, input) ? 0 : -EPROTO;
}
