/*
 * reader: what the files of src/conf share while a configuration file is read; nobody else includes it.
 *
 *	text -> conf_scan    strings, comments and braces are closed (libconfuse would not notice)
 *	     -> conf_parse   libconfuse: a flat list of blocks and entries, each with its line
 *	     -> conf_take    every entry by its row of conf_options[]: types, ranges, names
 *	     -> conf_check   what must hold between entries; certificates, recipient lists
 *	     -> conf_add_notes
 *
 * Each step returns 0, or an error after conf_fail() wrote "FILE:LINE: what; hint". Strings end up in
 * the arena of the conf under construction, NUL-terminated.
 */
#pragma once

#include "conf/conf.h"

#define CONF_FILE_MAX ((size_t)4 << 20)
#define CONF_RECIPIENTS_FILE_MAX ((size_t)16 << 20)
#define CONF_PEM_MAX ((size_t)1 << 20)
/* Of Debian's package ca-certificates. */
#define CONF_TLS_CA_DEFAULT STR("/etc/ssl/certs/ca-certificates.crt")
#define CONF_ARENA_MAX ((size_t)1 << 30)
#define CONF_MAILBOX_MAX 320 /* 64 + "@" + 255, RFC 5321 §4.5.3.1 */
/* sockaddr_un: what is left of 108 bytes before "/control.sock" */
#define CONF_STATE_DIR_MAX 94
#define CONF_STATE_DIR_DEFAULT STR("/var/lib/locum")

enum conf_section {
	SECTION_TOP,
	SECTION_PROCESSES,
	SECTION_LISTEN,
	SECTION_DNS,
	SECTION_CLAMD,
	SECTION_LIMITS,
	SECTION_SPOOL,
	SECTION_DOMAIN,
	SECTION_CONSOLE,
	SECTION_RATES,
	SECTION_LIST,
	SECTION_COUNT,
};

struct conf_section_row {
	const char *name;
	bool titled; /* as many as you like, each with its own title; the others once at most */
};

extern const struct conf_section_row conf_sections[SECTION_COUNT];

struct conf_reader;
struct conf_entry;

/* Stores one value. `target` is the block's: a struct conf_listen, conf_domain or conf_list, else the conf. */
typedef int conf_take_fn(struct conf_reader *r, void *target, const struct conf_entry *e);

struct conf_option {
	enum conf_section section;
	const char *name;
	bool list;
	conf_take_fn *take;
};

extern const struct conf_option conf_options[];
extern const size_t conf_option_count;

/* One value as written; a list of n is n entries. */
struct conf_entry {
	const struct conf_option *option;
	size_t block;
	str value;
	unsigned line;
};

struct conf_block {
	enum conf_section section;
	str title;
	unsigned line;
	void *target;
};

struct conf_reader {
	const char *name; /* of the file, for errors */
	unsigned line_last;
	struct buf *error;
	struct conf *conf;
	struct conf_block *blocks; /* [0] is the top level */
	size_t block_count;
	struct conf_entry *entries; /* in the order of the file */
	size_t entry_count;
	bool public_only;                /* neither keys nor lists of recipients are read */
	bool clamd_given, console_given; /* accepted, not kept: this version has neither */
};

/* Writes "FILE:LINE: text" unless an earlier error stands. Returns -EINVAL. Control characters are escaped. */
int conf_fail(struct conf_reader *r, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same about another file that this one names. line 0: none. */
int conf_fail_in(struct conf_reader *r, const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
int conf_fail_memory(struct conf_reader *r);
/* A value in a message: bounded. "%.*s", SHOW(v) */
#define SHOW(v) (int)MIN((v).n, (size_t)100), (v).p

int conf_scan(struct conf_reader *r, str text);
int conf_parse(struct conf_reader *r, str text);
int conf_take(struct conf_reader *r);
int conf_check(struct conf_reader *r);
int conf_add_notes(struct conf_reader *r);
/* --- conf_symbols.c: first the built-in symbols, and room for the lists; then these, then all entries; then
 * what each symbol does for each domain --- */
int conf_start_symbols(struct conf_reader *r);
int conf_start_list(struct conf_reader *r, struct conf_block *b);
conf_take_fn conf_take_check, conf_take_zone, conf_take_code, conf_take_score,
	conf_take_list_effect, conf_take_allow;
int conf_take_effects(struct conf_reader *r);
int conf_check_list(struct conf_reader *r, struct conf_list *l);

/* --- conf_network.c: one more network --- */
int conf_add_network(struct conf_reader *r, const struct conf_entry *e,
		     struct conf_network **networks, size_t *count);

/* --- conf_options.c --- */
/* A host or domain name, lower case and without the final dot. */
int conf_take_name(struct conf_reader *r, unsigned line, const char *what, str name, str *to);
int conf_take_bool(struct conf_reader *r, const struct conf_entry *e, bool *to);
/* One of the words, in the order of the enum. */
int conf_take_word(struct conf_reader *r, const struct conf_entry *e, const char *const *words,
		   const char *listed, unsigned *to);
/* All certificates, their keys and the CA of clients. */
int conf_load_certificates(struct conf_reader *r, struct conf_listen *listen);
int conf_load_recipients(struct conf_reader *r, struct conf_domain *d);

/* The first entry of that option for that target, or NULL; its line, or that of the block. */
const struct conf_entry *conf_entry_of(const struct conf_reader *r, const void *target,
				       const char *option);
unsigned conf_line_of(const struct conf_reader *r, const void *target, const char *option);
/* The same of the value with that index, from 0, in a list. */
unsigned conf_line_of_nth(const struct conf_reader *r, const void *target, const char *option,
			  size_t index);
/* The value in front of this one in the same list of the same block, or NULL. How many are there? */
const struct conf_entry *conf_entry_before(const struct conf_reader *r, const struct conf_entry *e);
size_t conf_entry_index(const struct conf_reader *r, const struct conf_entry *e);

/* A whole file of at most bytes_max. 0, -EFBIG, or another errno. *ret_text is malloc'ed, with a NUL
 * behind its end. */
int conf_read_whole(const char *path, size_t bytes_max, char **ret_text, size_t *ret_bytes);
int conf_note(struct conf_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* NULL when it is a domain name in A-labels without a final dot, else what is wrong; hint included. */
const char *conf_name_fault(str name);
void conf_lower(str s, char *to);

/* --- conf.c --- */
struct conf *conf_new(void);
int conf_index_domain(struct conf *c, struct conf_domain *d);
int conf_add_address(struct conf *c, const struct addr *a);
/* Room for one more element behind `count`; `array` is the address of the pointer. */
int conf_grow(struct conf *c, void *array, size_t count, size_t element_bytes);
