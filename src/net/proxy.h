/*
 * proxy: the header that a load balancer puts in front of a connection to say whose it is: the PROXY
 * protocol, versions 1 (a line) and 2 (binary), as HAProxy's doc/proxy-protocol.txt describes them. Pure.
 *
 * Strict: what the text calls invalid is refused, whatever it could have meant, for whoever may say this may
 * say any address. Only for listeners that expect it, and only from the addresses that may say it.
 */
#pragma once

#include "base/addr.h"

#define PROXY_V1_BYTES_MAX 107        /* with CRLF */
#define PROXY_V2_BYTES_MAX (16 + 512) /* addresses and additions; the largest address is 216 */

struct proxy_header {
	bool local; /* the proxy speaks for itself, or of nobody with an IP address: the connection's own
		     * addresses count; client and server are then AF_UNSPEC */
	struct addr client, server;
};

/* Reads the header at the beginning of what was received. >0: the bytes it takes, *ret set; 0: so far so good,
 * more input is needed (never when the maximum is there already); -EPROTO: this is none. */
int proxy_parse(str input, struct proxy_header *ret);
