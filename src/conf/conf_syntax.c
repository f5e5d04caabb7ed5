/*
 * The syntax, by libconfuse: it tells names, titles, values and lines; what they mean is decided later.
 * Every value comes through on_value(), so libconfuse's own types and defaults are not used. Its
 * error callback has no argument of ours: the reader of the moment is a static variable.
 */
#include "conf/reader.h"

#include "base/cleanup.h"

#include <confuse.h>
#include <stdarg.h>

#define NO_BLOCK ((size_t)-1)
#define OPTIONS_MAX 12 /* in one section, the end mark included */

static struct {
	struct conf_reader *r;
	cfg_t *top;
	size_t open; /* the block that is being read, or NO_BLOCK at the top level */
} now;

static enum conf_section section_of(const char *name)
{
	for (unsigned i = SECTION_TOP + 1; i < SECTION_COUNT; i++)
		if (strcmp(conf_sections[i].name, name) == 0)
			return i;
	return SECTION_TOP;
}

static const struct conf_option *option_of(enum conf_section section, const char *name)
{
	for (size_t i = 0; i < conf_option_count; i++)
		if (conf_options[i].section == section && strcmp(conf_options[i].name, name) == 0)
			return &conf_options[i];
	return NULL;
}

/* --- "did you mean" --- */

/* Levenshtein's distance, with names longer than 31 characters cut. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[33];
	size_t a_n = MIN(strlen(a), (size_t)31), b_n = MIN(strlen(b), (size_t)31);

	for (size_t j = 0; j <= b_n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_n; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_n];
}

struct nearest {
	const char *word;
	const char *name;
	unsigned distance;
};

static void nearest_try(struct nearest *n, const char *name)
{
	unsigned d = distance(n->word, name);

	if (d < n->distance) {
		n->name = name;
		n->distance = d;
	}
}

static const struct conf_option *option_elsewhere(const char *name)
{
	for (size_t i = 0; i < conf_option_count; i++)
		if (strcmp(conf_options[i].name, name) == 0)
			return &conf_options[i];
	return NULL;
}

static void list_names(enum conf_section section, struct buf *to)
{
	const char *comma = "";

	for (size_t i = 0; i < conf_option_count; i++) {
		if (conf_options[i].section != section)
			continue;
		buf_addf(to, "%s%s", comma, conf_options[i].name);
		comma = ", ";
	}
	for (unsigned i = SECTION_TOP + 1; section == SECTION_TOP && i < SECTION_COUNT; i++)
		buf_addf(to, ", %s", conf_sections[i].name);
}

static int fail_unknown(struct conf_reader *r, unsigned line, enum conf_section section,
			const char *word)
{
	/* A third of the letters may differ: "lisen", not "foo". */
	struct nearest n = { .word = word, .distance = (unsigned)strlen(word) / 3 + 2 };
	const struct conf_option *elsewhere = option_elsewhere(word);
	_cleanup_(buf_done) struct buf names = { 0 };

	if (elsewhere && elsewhere->section == SECTION_TOP)
		return conf_fail(r, line,
				 "\"%.40s\" is not an option of %s; move it out of the block", word,
				 conf_sections[section].name);
	if (elsewhere)
		return conf_fail(r, line,
				 "unknown option \"%.40s\"; did you mean the one in %s { }?", word,
				 conf_sections[elsewhere->section].name);
	for (size_t i = 0; i < conf_option_count; i++)
		if (conf_options[i].section == section)
			nearest_try(&n, conf_options[i].name);
	for (unsigned i = SECTION_TOP + 1; section == SECTION_TOP && i < SECTION_COUNT; i++)
		nearest_try(&n, conf_sections[i].name);
	if (n.name && n.distance == 0)
		return conf_fail(r, line, "%s is a block; write %s { NAME = VALUE }", word, word);
	if (n.name)
		return conf_fail(r, line, "unknown option \"%.40s\"; did you mean \"%s\"?", word,
				 n.name);
	buf_init(&names, 1024);
	list_names(section, &names);
	return conf_fail(r, line, "unknown option \"%.40s\"; known here: %.*s", word,
			 STR_ARG(buf_str(&names)));
}

/* --- libconfuse's errors, in our words --- */

struct saying {
	const char *format; /* theirs */
	const char *hint;
};

static const struct saying sayings[] = {
	{ "missing equal sign after option '%s'", "write NAME = VALUE" },
	{ "attempt to append to non-list option '%s'", "use = instead of +=" },
	{ "missing opening brace for section '%s'", "write { behind it" },
	{ "missing title for section '%s'", "write its name in quotes before the {" },
	{ "found duplicate title '%s'", "merge the two blocks or rename one" },
	{ "premature end of file", "the last option has no value" },
	{ "unexpected token '%s'",
	  "one option is NAME = VALUE or NAME = {VALUE, VALUE}; quote values" },
};

__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format,
							   va_list args)
{
	unsigned line = cfg && cfg->line > 0 ? (unsigned)cfg->line : now.r->line_last;
	const char *hint = NULL;
	char text[256], word[64];
	va_list again;

	if (strcmp(format, "no such option '%s'") == 0) {
		va_copy(again, args);
		str_copy(str_of(va_arg(again, const char *)), word, sizeof(word));
		va_end(again);
		fail_unknown(now.r, line,
			     !cfg || cfg == now.top ? SECTION_TOP : section_of(cfg->name), word);
		return;
	}
	for (size_t i = 0; i < ELEMENTS(sayings) && !hint; i++)
		if (strcmp(format, sayings[i].format) == 0)
			hint = sayings[i].hint;
	vsnprintf(text, sizeof(text), format, args);
	conf_fail(now.r, line, "%s; %s", text, hint ? hint : "see locum.conf(5)");
}

/* --- collecting --- */

static int block_add(struct conf_reader *r, enum conf_section section, const char *title,
		     unsigned line)
{
	struct conf_block *more;

	for (size_t i = 0; i < r->block_count; i++)
		if (r->blocks[i].section == section && !conf_sections[section].titled)
			return conf_fail(r, line,
					 "%s is written twice, first in line %u; merge the two",
					 conf_sections[section].name, r->blocks[i].line);
	if ((r->block_count & (r->block_count - 1)) == 0) {
		size_t count = r->block_count ? 2 * r->block_count : 1;

		more = reallocarray(r->blocks, count, sizeof(*more));
		if (!more)
			return conf_fail_memory(r);
		r->blocks = more;
	}
	r->blocks[r->block_count] = (struct conf_block){
		.section = section,
		.line = line,
		.title = title ? arena_str(&r->conf->arena, str_of(title)) : STR_NONE,
	};
	if (title && !r->blocks[r->block_count].title.p)
		return conf_fail_memory(r);
	r->block_count++;
	return 0;
}

static int entry_add(struct conf_reader *r, const struct conf_option *option, size_t block,
		     const char *value, unsigned line)
{
	struct conf_entry *more;
	str copy = arena_str(&r->conf->arena, str_of(value));

	if (!copy.p)
		return conf_fail_memory(r);
	if ((r->entry_count & (r->entry_count - 1)) == 0) {
		size_t count = r->entry_count ? 2 * r->entry_count : 1;

		more = reallocarray(r->entries, count, sizeof(*more));
		if (!more)
			return conf_fail_memory(r);
		r->entries = more;
	}
	r->entries[r->entry_count++] = (struct conf_entry){
		.option = option,
		.block = block,
		.value = copy,
		.line = line,
	};
	return 0;
}

static int open_block(cfg_t *section)
{
	if (now.open != NO_BLOCK)
		return 0;
	/* The enclosing level's line stays at the opening brace until the block is closed. */
	if (block_add(now.r, section_of(section->name), section->title, (unsigned)now.top->line) <
	    0)
		return -1;
	now.open = now.r->block_count - 1;
	return 0;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	enum conf_section section = cfg == now.top ? SECTION_TOP : section_of(cfg->name);
	const struct conf_option *option = option_of(section, opt->name);
	struct conf_reader *r = now.r;
	unsigned line = (unsigned)cfg->line;
	size_t block = 0;

	/* libconfuse takes "limits|hops = 1" for an option of another section. */
	if (!option) {
		fail_unknown(r, line, section, opt->name);
		return -1;
	}
	if (section != SECTION_TOP) {
		if (open_block(cfg) < 0)
			return -1;
		block = now.open;
	}
	/* The first value of an assignment; those of a list follow with higher counts. */
	for (size_t i = r->entry_count; opt->nvalues == 1 && i-- > 0;) {
		if (r->entries[i].block == block && r->entries[i].option == option) {
			conf_fail(r, line, "%s is set twice, first in line %u; remove one",
				  opt->name, r->entries[i].line);
			return -1;
		}
	}
	if (entry_add(r, option, block, value, line) < 0)
		return -1;
	*(const char **)result = value;
	return 0;
}

static int check_no_empty_list(cfg_t *cfg)
{
	for (const cfg_opt_t *opt = cfg->opts; opt->name; opt++) {
		if (opt->type != CFGT_STR || !(opt->flags & CFGF_MODIFIED) || opt->nvalues > 0)
			continue;
		conf_fail(now.r, (unsigned)cfg->line,
			  "%s is an empty list; leave it out for the default", opt->name);
		return -1;
	}
	return 0;
}

static int on_block_end(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *section = opt->nvalues ? opt->values[opt->nvalues - 1]->section : NULL;

	(void)cfg;
	if (!section || open_block(section) < 0 || check_no_empty_list(section) < 0)
		return -1;
	now.open = NO_BLOCK;
	return 0;
}

static void add_option(cfg_opt_t *to, const struct conf_option *option)
{
	cfg_opt_t text = CFG_STR_CB("", NULL, CFGF_NODEFAULT, on_value);
	cfg_opt_t list = CFG_STR_LIST_CB("", NULL, CFGF_NODEFAULT, on_value);

	*to = option->list ? list : text;
	to->name = option->name;
}

static size_t fill_options(cfg_opt_t to[static OPTIONS_MAX], enum conf_section section)
{
	size_t n = 0;

	for (size_t i = 0; i < conf_option_count; i++) {
		if (conf_options[i].section != section)
			continue;
		must(n < OPTIONS_MAX - 1);
		add_option(&to[n++], &conf_options[i]);
	}
	to[n] = (cfg_opt_t)CFG_END();
	return n;
}

/* Built once; cfg_init() copies them. */
static cfg_opt_t *all_options(void)
{
	static cfg_opt_t section_options[SECTION_COUNT][OPTIONS_MAX];
	static cfg_opt_t top[OPTIONS_MAX + SECTION_COUNT];
	size_t n = fill_options(top, SECTION_TOP);

	for (unsigned i = SECTION_TOP + 1; i < SECTION_COUNT; i++) {
		cfg_opt_t one = CFG_SEC("", section_options[i], CFGF_NODEFAULT);
		cfg_opt_t many =
			CFG_SEC("", section_options[i],
				CFGF_NODEFAULT | CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);

		fill_options(section_options[i], i);
		top[n] = conf_sections[i].titled ? many : one;
		top[n].name = conf_sections[i].name;
		top[n++].validcb = on_block_end;
	}
	top[n] = (cfg_opt_t)CFG_END();
	return top;
}

static void cfg_freep(cfg_t **cfg)
{
	if (*cfg)
		cfg_free(*cfg);
}

int conf_parse(struct conf_reader *r, str text)
{
	_cleanup_(cfg_freep) cfg_t *cfg = cfg_init(all_options(), CFGF_NONE);
	int result;

	if (!cfg || block_add(r, SECTION_TOP, NULL, 1) < 0)
		return conf_fail_memory(r);
	now.r = r;
	now.top = cfg;
	now.open = NO_BLOCK;
	cfg_set_error_function(cfg, on_error);
	result = cfg_parse_buf(cfg, text.p);
	if (result != CFG_SUCCESS)
		return conf_fail(r, cfg->line > 0 ? (unsigned)cfg->line : 1,
				 "syntax error; see locum.conf(5)");
	return check_no_empty_list(cfg) < 0 ? -EINVAL : 0;
}
