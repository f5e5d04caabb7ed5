/*
 * plain: hosts that offer STARTTLS and then fail the handshake. For a while they are spoken to in
 * plain text at once, instead of failing first for every connection. Bounded: the oldest is
 * forgotten past PLAIN_HOSTS_MAX. introduce.h keeps those that refuse XCLIENT in the same way.
 */
#pragma once

#include "base/addr.h"

#define PLAIN_HOSTS_MAX 64
#define PLAIN_HOST_TIME (10 * NSEC_MINUTE)

struct plain_hosts {
	struct {
		char address[ADDR_TEXT_SIZE];
		nsec until;
	} host[PLAIN_HOSTS_MAX];
	size_t next; /* the oldest */
};

void plain_remember(struct plain_hosts *p, str address, nsec now);
void plain_remember_until(struct plain_hosts *p, str address, nsec until);
bool plain_known(const struct plain_hosts *p, str address, nsec now);
