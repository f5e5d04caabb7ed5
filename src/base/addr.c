#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

static void fold_mapped(struct addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (a->family != AF_INET6 || memcmp(a->ip, mapped, sizeof(mapped)) != 0)
		return;
	a->family = AF_INET;
	memmove(a->ip, a->ip + 12, 4);
	memset(a->ip + 4, 0, 12);
}

int addr_parse_ip(str text, uint16_t port, struct addr *ret_addr)
{
	struct addr a = { .port = port };
	char z[INET6_ADDRSTRLEN];

	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = (str){ text.p + 1, text.n - 2 };
	if (text.n == 0 || memchr(text.p, '\0', text.n) || !str_copy(text, z, sizeof(z)))
		return -EINVAL;
	if (inet_pton(AF_INET, z, a.ip) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, z, a.ip) == 1)
		a.family = AF_INET6;
	else
		return -EINVAL;
	fold_mapped(&a);
	*ret_addr = a;
	return 0;
}

int host_port_split(str text, uint16_t default_port, str *ret_host, uint16_t *ret_port)
{
	str host = text, port = STR_NONE;
	uint64_t number = default_port;
	ssize_t at;

	if (text.n && text.p[0] == '[') {
		at = str_index(text, ']');
		if (at < 0)
			return -EINVAL;
		host = str_first(text, (size_t)at + 1);
		port = str_from(text, (size_t)at + 1);
		if (port.n && port.p[0] != ':')
			return -EINVAL;
	} else {
		at = str_index(text, ':');
		/* Two colons without brackets: an IPv6 address, whole. */
		if (at >= 0 && at == str_last_index(text, ':')) {
			host = str_first(text, (size_t)at);
			port = str_from(text, (size_t)at);
		}
	}
	if (port.n) {
		if (str_u64(str_from(port, 1), 65535, &number) < 0)
			return -EINVAL;
	}
	if (host.n == 0 || number == 0)
		return -EINVAL;
	*ret_host = host;
	*ret_port = (uint16_t)number;
	return 0;
}

int addr_parse(str text, uint16_t default_port, struct addr *ret_addr)
{
	uint16_t port;
	str host;
	int r;

	r = host_port_split(text, default_port, &host, &port);
	if (r < 0)
		return r;
	return addr_parse_ip(host, port, ret_addr);
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool addr_is_any(const struct addr *a)
{
	static const uint8_t any[16];

	return memcmp(a->ip, any, sizeof(any)) == 0;
}

int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret_addr)
{
	struct addr a = { .family = (uint8_t)sa->sa_family };

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		memcpy(a.ip, &in->sin_addr, 4);
		a.port = ntohs(in->sin_port);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		memcpy(a.ip, &in6->sin6_addr, 16);
		a.port = ntohs(in6->sin6_port);
		fold_mapped(&a);
	} else {
		return -EAFNOSUPPORT;
	}
	*ret_addr = a;
	return 0;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret_sa)
{
	memset(ret_sa, 0, sizeof(*ret_sa));
	if (a->family == AF_INET) {
		struct sockaddr_in *in = (void *)ret_sa;

		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->ip, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (void *)ret_sa;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(a->port);
	memcpy(&in6->sin6_addr, a->ip, 16);
	return sizeof(*in6);
}

const char *addr_ip_text(const struct addr *a, char text[static ADDR_TEXT_SIZE])
{
	if (a->family == AF_UNSPEC || !inet_ntop(a->family, a->ip, text, ADDR_TEXT_SIZE))
		snprintf(text, ADDR_TEXT_SIZE, "unknown");
	return text;
}

const char *addr_text(const struct addr *a, char text[static ADDR_TEXT_SIZE])
{
	char ip[ADDR_TEXT_SIZE];

	snprintf(text, ADDR_TEXT_SIZE, a->family == AF_INET6 ? "[%.46s]:%u" : "%.46s:%u",
		 addr_ip_text(a, ip), a->port);
	return text;
}

const char *addr_literal(const struct addr *a, char text[static ADDR_TEXT_SIZE])
{
	char ip[ADDR_TEXT_SIZE];

	snprintf(text, ADDR_TEXT_SIZE, a->family == AF_INET6 ? "[IPv6:%.46s]" : "[%.46s]",
		 addr_ip_text(a, ip));
	return text;
}
