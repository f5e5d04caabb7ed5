/*
 * addr: an IP address with a port, by value. IPv4-mapped IPv6 addresses are folded to IPv4, so that a
 * client has one address however it came in. Pure; names are resolved elsewhere.
 */
#pragma once

#include "base/str.h"
#include <netinet/in.h>

struct addr {
	uint8_t family; /* AF_INET, AF_INET6, or AF_UNSPEC: no address */
	uint8_t ip[16]; /* network order; 4 bytes used for AF_INET */
	uint16_t port;  /* host order */
};

#define ADDR_TEXT_SIZE 64

/* "192.0.2.1", "2001:db8::1" or "[2001:db8::1]"; the port becomes `port`. 0 or -EINVAL. */
int addr_parse_ip(str text, uint16_t port, struct addr *ret_addr);
/* "192.0.2.1:25", "[2001:db8::1]:25"; a missing port becomes default_port (0: required). */
int addr_parse(str text, uint16_t default_port, struct addr *ret_addr);
bool addr_same_ip(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a);
int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret_addr);
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret_sa);
/* "192.0.2.1" or "2001:db8::1". */
const char *addr_ip_text(const struct addr *a, char text[static ADDR_TEXT_SIZE]);
/* "192.0.2.1:25" or "[2001:db8::1]:25". */
const char *addr_text(const struct addr *a, char text[static ADDR_TEXT_SIZE]);
/* As RFC 5321 §4.1.3 writes it: "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
const char *addr_literal(const struct addr *a, char text[static ADDR_TEXT_SIZE]);

/* Splits "host:port" or "[v6]:port" or "host"; the port defaults to default_port. The host may be a
 * name. 0 or -EINVAL (empty host, bad port). */
int host_port_split(str text, uint16_t default_port, str *ret_host, uint16_t *ret_port);
