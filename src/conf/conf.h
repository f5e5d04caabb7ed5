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
/* A recipient that nobody knows, while the primary is away. AUTO: DEFER where the directory covers the domain, else ACCEPT. */
enum conf_unknown { UNKNOWN_AUTO, UNKNOWN_DEFER, UNKNOWN_ACCEPT, UNKNOWN_REFUSE };
enum conf_filter { FILTER_STANDARD, FILTER_AUTH_ONLY, FILTER_OFF };
/* What a primary is told of a client: what it offers to hear (XCLIENT, else XFORWARD) and a header; only the one
 * of them and the header; the header alone; nothing. */
enum conf_evidence {
	EVIDENCE_OFFERED,
	EVIDENCE_XCLIENT,
	EVIDENCE_XFORWARD,
	EVIDENCE_HEADER,
	EVIDENCE_NONE
};

/* What TLS to a domain's primaries must be at least; see smtpout/tls_policy.h. */
enum conf_primary_tls { PRIMARY_TLS_MAY, PRIMARY_TLS_ENCRYPT, PRIMARY_TLS_VERIFY };

enum conf_tls { CONF_TLS_OFF, CONF_TLS_STARTTLS, CONF_TLS_IMPLICIT };

/* IPv4 or IPv6, with its port 0; the bits of the host are 0. IPv4: 0 to 32 bits, IPv6: 0 to 128. */
struct conf_network {
	struct addr address;
	uint8_t bits;
};

/* A chain and the key that belongs to its first certificate. */
struct conf_certificate {
	str certificate, key;         /* paths */
	str certificate_pem, key_pem; /* their contents, read by locumd; packed for smtpin only */
};

struct conf_listen {
	str name;
	struct addr address;
	enum conf_tls tls;
	struct conf_certificate
		*certificates;    /* [0] is the default, the others are chosen by SNI */
	size_t certificate_count; /* at least 1 unless tls is off */
	str client_ca;            /* path; a client whose certificate it signed is a trusted one */
	str client_ca_pem;        /* its content; packed for smtpin only */
	bool proxy_protocol;
	struct conf_network *proxy_from; /* who may say PROXY */
	size_t proxy_from_count;         /* at least 1 with proxy_protocol */
};

/* What a symbol does for a domain: nothing, its score is noted, or RCPT is answered 550. */
enum conf_effect { EFFECT_OFF, EFFECT_SCORE, EFFECT_REFUSE };

/* The built-in symbols: their index in conf->symbols. Lists follow, in the order of the file. */
enum conf_check {
	CHECK_EARLY_TALKER,
	CHECK_FOREIGN_PROTOCOL,
	CHECK_PIPELINING,
	CHECK_UNKNOWN_COMMANDS,
	CHECK_NO_REVERSE_NAME,
	CHECK_REVERSE_UNCONFIRMED,
	CHECK_HELO_OURS,
	CHECK_HELO_BARE_WORD,
	CHECK_HELO_LITERAL,
	CHECK_HELO_UNKNOWN,
	CHECK_COUNT,
};

#define CONF_SYMBOLS_MAX 64 /* a set of them is a uint64_t */

struct conf_symbol {
	str name;                /* lower case */
	double score;            /* negative: speaks for the client */
	enum conf_effect effect; /* default of all domains */
};

/* Answers first to last of a list, in host order, within 127.0.0.0/8. */
struct conf_code {
	uint32_t first, last;
};

/* A DNS list. Its symbol is conf->symbols[CHECK_COUNT + its index]. */
struct conf_list {
	str name, zone; /* the zone as a domain name: lower case, no final dot */
	struct conf_code *codes;
	size_t code_count; /* at least 1 */
	bool allow;        /* being listed speaks for the client */
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
	enum conf_unknown unknown; /* recipients = learn */
	nsec hold;
	enum conf_primary_tls primary_tls;
	enum conf_filter filter;
	enum conf_evidence evidence;
	enum conf_effect *effects; /* one a symbol */
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
	str tls_ca; /* path: who may sign the certificates of primaries */
	str user;
	unsigned smtpin_processes; /* 0: one per core */
	bool log_json;

	struct conf_listen *listen;
	size_t listen_count;
	struct conf_network
		*trusted; /* may use XCLIENT and XFORWARD; no checks, no rates, no tarpit */
	size_t trusted_count;

	nsec greet_delay; /* 0: none */
	struct conf_symbol *symbols;
	size_t symbol_count; /* CHECK_COUNT + list_count, at most CONF_SYMBOLS_MAX */
	struct conf_list *lists;
	size_t list_count;

	struct {
		struct addr *servers; /* none: resolve from the root */
		size_t server_count;
		str trust_anchor; /* path; empty: the system's when resolving from the root */
	} dns;

	struct {
		uint64_t message_bytes;
		uint32_t sessions;
		uint32_t sessions_per_client;
		uint32_t sessions_per_network; /* IPv4 /24, IPv6 /48 */
		uint32_t recipients;
		uint32_t hops; /* Received headers at most */
	} limits;

	/* Of one client (IPv4 address, IPv6 /64) in an hour; 0: no limit. */
	struct {
		uint32_t messages;
		uint32_t recipients;
		uint32_t unknown_recipients;
		uint32_t errors;
	} rates;

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
/* The same without what only locumd may read: keys and recipient lists stay empty. For the command line. */
int conf_read_public(const char *path, struct conf **ret_conf, struct buf *ret_error);
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
/* Is the address in one of the networks? The port does not matter. */
bool conf_network_has(const struct conf_network *networks, size_t count, const struct addr *a);
/* The index of the symbol of that name, case ignored, or -1. */
int conf_symbol(const struct conf *c, str name);
/* recipients = file:PATH: does the file name this mailbox, case ignored? Postmaster always exists. */
bool conf_recipient_listed(const struct conf_domain *d, str address);

#define CONF_PACKED_MAX ((size_t)64 << 20) /* recipient lists included */
/* The snapshot, at most so large, appended to *to. with_keys: certificates and keys included (for smtpin only). */
int conf_pack(const struct conf *c, bool with_keys, struct buf *to);
int conf_unpack(str packed, struct conf **ret_conf);
