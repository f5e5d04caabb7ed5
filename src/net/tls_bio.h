/*
 * tls_bio: lets OpenSSL read and write through task/sys.h, so that TLS meets the same network as
 * everything else. Private to src/net.
 */
#pragma once

#include "base/str.h"

struct ssl_st;

/* Both directions of ssl over fd, which stays the caller's. `early` was received from it already: it is read
 * first (a copy is kept until then). 0 or -ENOMEM. */
int tls_bio_attach(struct ssl_st *ssl, int fd, str early);
