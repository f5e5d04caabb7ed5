/*
 * settings: one configuration as sessions use it: the snapshot and, for each of its listeners, the TLS
 * context made from its certificate. Immutable and counted: a reload makes new settings, sessions keep
 * theirs until they are between transactions. Nothing here parks.
 */
#pragma once

#include "conf/conf.h"

struct ssl_ctx_st;
struct tls_tickets;

struct settings {
	unsigned refs;
	struct conf *conf;
	struct ssl_ctx_st **tls; /* by index in conf->listen; NULL: no STARTTLS there */
};

/* 0, -ENOMEM, or -EINVAL with the reason. Takes its own reference to conf; tickets must outlive it. Wants the
 * main stack or one like it where a listener has certificates. */
int settings_new(struct conf *conf, struct tls_tickets *tickets, struct settings **ret_settings,
		 char *ret_error, size_t error_size);
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s);
void settings_unrefp(struct settings **s);
/* Index of the listener of that name, or -ENOENT. */
int settings_listen_index(const struct settings *s, str name);
