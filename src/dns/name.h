/*
 * name: domain names on the wire and as text (RFC 1035 §3.1, §4.1.4). As text a name is lower case,
 * without the final dot, "." for the root; 253 characters at most. Pure; every read is bounded and
 * follows compression pointers backwards only.
 */
#pragma once

#include "base/addr.h"

#define DNS_NAME_SIZE 254        /* 253 characters and a NUL */
#define DNS_REVERSE_NAME_SIZE 80 /* 32 nibbles, their dots, "ip6.arpa" */

/* Reads the name at `at` in a whole message. *ret_end is the offset behind it. 0; -EINVAL for a
 * name that text cannot hold (a dot, a backslash, a space or a non-ASCII byte within a label):
 * *ret_end is valid then, ret_name is empty; -EBADMSG for anything malformed. */
int dns_name_read(str message, size_t at, char ret_name[static DNS_NAME_SIZE], size_t *ret_end);

/* Letters, digits, hyphens and underscores between single dots, not an IP address: what may be
 * shown, logged and passed on as the name of a host. */
bool dns_name_is_host(str name);

/* Equal, case and a final dot ignored. */
bool dns_name_same(str a, str b);

/* "7.2.0.192.in-addr.arpa", or the nibbles of RFC 3596 §2.5. */
void dns_reverse_name(const struct addr *a, char ret_name[static DNS_REVERSE_NAME_SIZE]);
