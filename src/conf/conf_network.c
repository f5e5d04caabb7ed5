/*
 * Networks as the file writes them: "192.0.2.0/28", "2001:db8::/32", or one address. What does not mean exactly
 * what it says (bits of the host, IPv4 written as IPv6, everybody) is a mistake: these networks grant trust.
 */
#include "conf/reader.h"

#define NETWORKS_MAX 1000 /* of one option */

static void clear_host_bits(struct conf_network *n)
{
	uint8_t *ip = n->address.ip;

	for (unsigned bit = n->bits; bit < 8 * sizeof(n->address.ip); bit++)
		ip[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

static int parse(struct conf_reader *r, const struct conf_entry *e, struct conf_network *ret)
{
	const char *option = e->option->name;
	struct conf_network n = { 0 };
	str ip, bits_text;
	bool prefixed = str_cut(e->value, '/', &ip, &bits_text);
	uint64_t most, bits;

	if (addr_parse_ip(ip, 0, &n.address) < 0)
		return conf_fail(r, e->line,
				 "%s: \"%.*s\" is not a network; write \"192.0.2.0/24\", "
				 "\"2001:db8::/32\" or one address",
				 option, SHOW(e->value));
	if (n.address.family == AF_INET && str_index(ip, ':') >= 0)
		return conf_fail(r, e->line,
				 "%s: \"%.*s\" is IPv4 written as IPv6; write it as IPv4, as "
				 "\"192.0.2.0/24\"",
				 option, SHOW(e->value));
	bits = most = n.address.family == AF_INET ? 32 : 128;
	if (prefixed && str_u64(bits_text, most, &bits) < 0)
		return conf_fail(r, e->line, "%s: \"%.*s\" needs 1 to %u behind the slash", option,
				 SHOW(e->value), (unsigned)most);
	if (bits == 0)
		return conf_fail(r, e->line, "%s: \"%.*s\" means everybody; name the networks",
				 option, SHOW(e->value));
	n.bits = (uint8_t)bits;
	*ret = n;
	return 0;
}

static const struct conf_network *overlapping(const struct conf_network *networks, size_t count,
					      const struct conf_network *n)
{
	for (size_t i = 0; i < count; i++)
		if (conf_network_has(&networks[i], 1, &n->address) ||
		    conf_network_has(n, 1, &networks[i].address))
			return &networks[i];
	return NULL;
}

int conf_add_network(struct conf_reader *r, const struct conf_entry *e,
		     struct conf_network **networks, size_t *count)
{
	char text[ADDR_TEXT_SIZE];
	const struct conf_network *other;
	struct conf_network n = { 0 }, written;
	int result = parse(r, e, &n);

	if (result < 0)
		return result;
	written = n;
	clear_host_bits(&n);
	if (!addr_same_ip(&n.address, &written.address))
		return conf_fail(r, e->line,
				 "%s: \"%.*s\" has bits of a host behind its prefix; write "
				 "\"%s/%u\", or the host alone",
				 e->option->name, SHOW(e->value), addr_ip_text(&n.address, text),
				 n.bits);
	other = overlapping(*networks, *count, &n);
	if (other)
		return conf_fail(r, e->line,
				 "%s: \"%.*s\" and \"%s/%u\" overlap; remove the smaller one",
				 e->option->name, SHOW(e->value),
				 addr_ip_text(&other->address, text), other->bits);
	if (*count == NETWORKS_MAX)
		return conf_fail(r, e->line, "%s has more than %d networks; merge some",
				 e->option->name, NETWORKS_MAX);
	if (conf_grow(r->conf, networks, *count, sizeof(n)) < 0)
		return conf_fail_memory(r);
	(*networks)[(*count)++] = n;
	return 0;
}
