/*
 * conf: the configuration as every process sees it: one immutable struct, its strings in one arena.
 * conf_file.c reads libconfuse syntax (locumd and locum only); conf_wire.c packs it into the snapshot
 * that locumd hands to its children, and unpacks it there. A reload makes a new struct; holders
 * of the old one keep it until they are done (conf_ref/conf_unref).
 *
 * Errors carry file, line and a hint. Nothing here logs or parks. Reading needs a deep stack (OpenSSL,
 * libconfuse) and is not reentrant; packing, unpacking and the questions run anywhere.
 */
#pragma once

#include "base/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"

enum conf_acceptance { ACCEPT_LIVE, ACCEPT_DEFER, ACCEPT_QUEUE };
enum conf_recipients { RECIPIENTS_LEARN, RECIPIENTS_ANY, RECIPIENTS_FILE };
enum conf_filter { FILTER_STANDARD, FILTER_AUTH_ONLY, FILTER_OFF };

struct conf_listen {
	str name;
	struct addr address;
	str tls_certificate, tls_key; /* paths; empty: no STARTTLS */
	str certificate_pem, key_pem; /* their contents, read by locumd; packed for smtpin only */
	bool proxy_protocol;
};

/* Where a domain's mail goes: the better MX records, or named hosts in order. */
struct conf_hop {
	bool mx;  /* "mx" or "mx:PORT" */
	str host; /* name or IP literal, when not mx */
	uint16_t port;
};

struct conf_domain {
	struct map_link link;
	str name; /* lower case, A-labels, no final dot */
	struct conf_hop *primary;
	size_t primary_count; /* at least 1 */
	enum conf_acceptance acceptance;
	enum conf_recipients recipients;
	str recipients_path;
	str *addresses; /* recipients = file:PATH: sorted, lower case */
	size_t address_count;
	nsec hold;
	enum conf_filter filter;
};

struct conf {
	unsigned refs;
	struct arena arena;
	str hostname;
	str *aliases;
	size_t alias_count;
	struct addr *addresses; /* `addresses` and, filled in by locumd, those of our interfaces */
	size_t address_count;
	str state_dir;
	str user;
	unsigned smtpin_processes; /* 0: one per core */
	bool log_json;

	struct conf_listen *listen;
	size_t listen_count;

	struct {
		struct addr *servers; /* none: resolve from the root */
		size_t server_count;
		str trust_anchor; /* path; empty: the system's when resolving from the root */
	} dns;

	struct {
		uint64_t message_bytes;
		uint32_t sessions;
		uint32_t sessions_per_client;
		uint32_t recipients;
		uint32_t hops; /* Received headers at most */
	} limits;

	struct {
		uint64_t segment_bytes;
		uint64_t reserve_bytes; /* free space below which nothing is accepted */
	} spool;

	str *notes; /* what the operator should know: accepted options that this version does not act on */
	size_t note_count;

	struct map domains_by_name;
	struct conf_domain *domains;
	size_t domain_count;
};

/* Reads and checks a file, certificates and recipient lists included. On -EINVAL (or another errno)
 * ret_error holds "FILE:LINE: what is wrong; hint". */
int conf_read(const char *path, struct conf **ret_conf, struct buf *ret_error);
/* A string in libconfuse syntax, for tests and fuzzing; `name` stands for the file in errors. */
int conf_read_text(const char *name, str text, struct conf **ret_conf, struct buf *ret_error);
/* The state directory alone, appended to *ret_dir: for the command line, which must reach a running locumd
 * whatever else is wrong in the file, and may not read its keys. */
int conf_read_state_dir(const char *path, struct buf *ret_dir, struct buf *ret_error);
/* A wildcard listener makes every address of this machine ours: adds those of the same family. For
 * locumd, before packing. 0 or a negative errno. */
int conf_add_interface_addresses(struct conf *c);

struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf *c);
void conf_unrefp(struct conf **c);

/* The domain, case ignored, or NULL. */
const struct conf_domain *conf_domain(const struct conf *c, str name);
/* hostname or one of the aliases? */
bool conf_is_our_name(const struct conf *c, str name);
/* One of `addresses` or of the listeners' own? The port does not matter. */
bool conf_is_our_address(const struct conf *c, const struct addr *a);
/* recipients = file:PATH: does the file name this mailbox, case ignored? Postmaster always exists. */
bool conf_recipient_listed(const struct conf_domain *d, str address);

/* The snapshot, appended to *to. with_keys: certificates and keys included (for smtpin only). */
int conf_pack(const struct conf *c, bool with_keys, struct buf *to);
int conf_unpack(str packed, struct conf **ret_conf);
