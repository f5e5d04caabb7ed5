#include "dns/name.h"

#include <stdio.h>

#define JUMPS_MAX 64

static char lower(uint8_t c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Printable, and free of what would need escaping in text. */
static bool label_byte_is_plain(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != '.' && c != '\\' && c != '"';
}

/* Appends one label; returns false when the text cannot hold it. */
static bool add_label(str label, char *name, size_t *length)
{
	for (size_t i = 0; i < label.n; i++) {
		if (!label_byte_is_plain((uint8_t)label.p[i]))
			return false;
		name[*length + i] = lower((uint8_t)label.p[i]);
	}
	*length += label.n;
	name[(*length)++] = '.';
	return true;
}

int dns_name_read(str message, size_t at, char ret_name[static DNS_NAME_SIZE], size_t *ret_end)
{
	const uint8_t *m = (const uint8_t *)message.p;
	size_t wire = 0, text = 0, jumps = 0, to;
	char name[DNS_NAME_SIZE + 2];
	bool plain = true;

	*ret_end = 0;
	for (;;) {
		if (at >= message.n)
			return -EBADMSG;
		if ((m[at] & 0xc0) == 0xc0) {
			if (at + 2 > message.n)
				return -EBADMSG;
			to = (size_t)(m[at] & 0x3f) << 8 | m[at + 1];
			if (!*ret_end)
				*ret_end = at + 2;
			/* Backwards only, so no loop; few jumps, so no slow crawl either. */
			if (to >= at || ++jumps > JUMPS_MAX)
				return -EBADMSG;
			at = to;
			continue;
		}
		if (m[at] > 63 || at + 1 + m[at] > message.n)
			return -EBADMSG;
		if (m[at] == 0)
			break;
		wire += 1 + (size_t)m[at];
		if (wire > 254)
			return -EBADMSG;
		if (plain)
			plain = add_label(str_mem(m + at + 1, m[at]), name, &text);
		at += 1 + (size_t)m[at];
	}
	if (!*ret_end)
		*ret_end = at + 1;
	if (!plain) {
		ret_name[0] = '\0';
		return -EINVAL;
	}
	/* The root stays a dot, every other name loses its last one. */
	str_copy(text ? str_mem(name, text - 1) : STR("."), ret_name, DNS_NAME_SIZE);
	return 0;
}

bool dns_name_is_host(str name)
{
	struct addr ignored;
	size_t label = 0;

	if (name.n == 0 || name.n >= DNS_NAME_SIZE || addr_parse_ip(name, 0, &ignored) == 0)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_'))
			return false;
		if (++label > 63)
			return false;
	}
	return label > 0;
}

static str without_final_dot(str name)
{
	return name.n > 1 && name.p[name.n - 1] == '.' ? str_first(name, name.n - 1) : name;
}

bool dns_name_same(str a, str b)
{
	return str_case_eq(without_final_dot(a), without_final_dot(b));
}

void dns_reverse_name(const struct addr *a, char ret_name[static DNS_REVERSE_NAME_SIZE])
{
	static const char digit[] = "0123456789abcdef";
	size_t n = 0;

	if (a->family == AF_INET) {
		snprintf(ret_name, DNS_REVERSE_NAME_SIZE, "%u.%u.%u.%u.in-addr.arpa", a->ip[3],
			 a->ip[2], a->ip[1], a->ip[0]);
		return;
	}
	for (size_t i = 16; i-- > 0;) {
		ret_name[n++] = digit[a->ip[i] & 15];
		ret_name[n++] = '.';
		ret_name[n++] = digit[a->ip[i] >> 4];
		ret_name[n++] = '.';
	}
	snprintf(ret_name + n, DNS_REVERSE_NAME_SIZE - n, "ip6.arpa");
}
