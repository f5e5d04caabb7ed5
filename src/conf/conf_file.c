#include "conf/reader.h"

#include "base/cleanup.h"
#include "task/sys.h"

#include <fcntl.h>
#include <stdarg.h>

/* --- errors and notes --- */

/* A value may contain anything: control characters must not reach a terminal or split a line. */
static void add_escaped(struct buf *to, const char *text)
{
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (c < ' ' || c == 0x7f)
			buf_addf(to, "\\x%02x", c);
		else
			buf_add_byte(to, *text);
	}
}

__attribute__((format(printf, 4, 0))) static int fail(struct conf_reader *r, const char *file,
						      unsigned line, const char *format,
						      va_list args)
{
	char text[768];

	/* The first error is the cause, what follows may be its consequence. */
	if (r->error->n > 0)
		return -EINVAL;
	vsnprintf(text, sizeof(text), format, args);
	add_escaped(r->error, file);
	if (line > 0)
		buf_addf(r->error, ":%u", line);
	buf_add(r->error, STR(": "));
	add_escaped(r->error, text);
	return -EINVAL;
}

int conf_fail(struct conf_reader *r, unsigned line, const char *format, ...)
{
	va_list args;
	int result;

	va_start(args, format);
	result = fail(r, r->name, line, format, args);
	va_end(args);
	return result;
}

int conf_fail_in(struct conf_reader *r, const char *file, unsigned line, const char *format, ...)
{
	va_list args;
	int result;

	va_start(args, format);
	result = fail(r, file, line, format, args);
	va_end(args);
	return result;
}

int conf_fail_memory(struct conf_reader *r)
{
	conf_fail(r, 0, "out of memory; the configuration is too large for this machine");
	return -ENOMEM;
}

int conf_note(struct conf_reader *r, const char *format, ...)
{
	struct conf *c = r->conf;
	char text[512];
	va_list args;
	str copy;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	copy = arena_str(&c->arena, str_of(text));
	if (!copy.p || conf_grow(c, &c->notes, c->note_count, sizeof(*c->notes)) < 0)
		return conf_fail_memory(r);
	c->notes[c->note_count++] = copy;
	return 0;
}

/* --- lines --- */

const struct conf_entry *conf_entry_of(const struct conf_reader *r, const void *target,
				       const char *option)
{
	for (size_t i = 0; i < r->entry_count; i++)
		if (r->blocks[r->entries[i].block].target == target &&
		    strcmp(r->entries[i].option->name, option) == 0)
			return &r->entries[i];
	return NULL;
}

unsigned conf_line_of(const struct conf_reader *r, const void *target, const char *option)
{
	const struct conf_entry *e = conf_entry_of(r, target, option);

	if (e)
		return e->line;
	for (size_t i = 0; i < r->block_count; i++)
		if (r->blocks[i].target == target)
			return r->blocks[i].line;
	return r->line_last;
}

unsigned conf_line_of_nth(const struct conf_reader *r, const void *target, const char *option,
			  size_t index)
{
	const struct conf_entry *e = conf_entry_of(r, target, option);

	for (; e && e < r->entries + r->entry_count; e++)
		if (r->blocks[e->block].target == target && strcmp(e->option->name, option) == 0 &&
		    index-- == 0)
			return e->line;
	return conf_line_of(r, target, option);
}

const struct conf_entry *conf_entry_before(const struct conf_reader *r, const struct conf_entry *e)
{
	for (const struct conf_entry *i = e; i-- > r->entries;) {
		/* Blocks do not nest: only the top level's entries have others between them. */
		if (i->block != e->block && e->block != 0)
			return NULL;
		if (i->block == e->block && i->option == e->option)
			return i;
	}
	return NULL;
}

size_t conf_entry_index(const struct conf_reader *r, const struct conf_entry *e)
{
	size_t index = 0;

	while ((e = conf_entry_before(r, e)) != NULL)
		index++;
	return index;
}

/* --- files --- */

int conf_read_whole(const char *path, size_t bytes_max, char **ret_text, size_t *ret_bytes)
{
	_cleanup_(closep) int fd = sys_open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
	_cleanup_(freep) char *text = NULL;
	size_t size = 0, n = 0;
	ssize_t got;

	*ret_text = NULL;
	if (fd < 0)
		return fd;
	do {
		/* One byte more than allowed tells a full file from a too large one. */
		size_t want = MIN(size ? 2 * size : (size_t)16384, bytes_max + 1);
		char *more = realloc(text, want + 1);

		if (!more)
			return -ENOMEM;
		text = more;
		size = want;
		got = sys_read_at(fd, text + n, size - n, n);
		if (got < 0)
			return (int)got;
		n += (size_t)got;
	} while (n == size && size <= bytes_max);
	if (n > bytes_max)
		return -EFBIG;
	text[n] = '\0';
	*ret_text = TAKE(text);
	*ret_bytes = n;
	return 0;
}

/* --- reading --- */

static void reader_done(struct conf_reader *r)
{
	free(r->blocks);
	free(r->entries);
	conf_unref(r->conf);
}

static int parse(struct conf_reader *r, str text)
{
	int result;

	r->conf = conf_new();
	if (!r->conf)
		return conf_fail_memory(r);
	if (text.n > CONF_FILE_MAX)
		return conf_fail(r, 1,
				 "the file is larger than 4 MiB; it should be a configuration");
	result = conf_scan(r, text);
	if (result < 0)
		return result;
	/* libconfuse wants a string that ends in NUL. */
	text = arena_str(&r->conf->arena, text);
	return text.p ? conf_parse(r, text) : conf_fail_memory(r);
}

static int read_text(const char *name, str text, bool public_only, struct conf **ret_conf,
		     struct buf *ret_error)
{
	_cleanup_(reader_done) struct conf_reader r = { .name = name,
							.error = ret_error,
							.public_only = public_only };
	int result = parse(&r, text);

	if (result == 0)
		result = conf_take(&r);
	if (result == 0)
		result = conf_check(&r);
	if (result == 0)
		result = conf_add_notes(&r);
	if (result == 0)
		*ret_conf = TAKE(r.conf);
	return result;
}

int conf_read_text(const char *name, str text, struct conf **ret_conf, struct buf *ret_error)
{
	return read_text(name, text, false, ret_conf, ret_error);
}

static int read_file(const char *path, struct buf *ret_error, char **ret_text, size_t *ret_bytes)
{
	struct conf_reader r = { .name = path, .error = ret_error };
	int result = conf_read_whole(path, CONF_FILE_MAX, ret_text, ret_bytes);

	if (result == -EFBIG)
		conf_fail(&r, 0, "the file is larger than 4 MiB; it should be a configuration");
	else if (result < 0)
		conf_fail(&r, 0, "cannot be read: %s; --config FILE names another",
			  strerror(-result));
	return result;
}

static int read_conf(const char *path, bool public_only, struct conf **ret_conf,
		     struct buf *ret_error)
{
	_cleanup_(freep) char *text = NULL;
	size_t bytes;
	int result = read_file(path, ret_error, &text, &bytes);

	if (result < 0)
		return result;
	return read_text(path, str_mem(text, bytes), public_only, ret_conf, ret_error);
}

int conf_read(const char *path, struct conf **ret_conf, struct buf *ret_error)
{
	return read_conf(path, false, ret_conf, ret_error);
}

int conf_read_public(const char *path, struct conf **ret_conf, struct buf *ret_error)
{
	return read_conf(path, true, ret_conf, ret_error);
}

int conf_read_state_dir(const char *path, struct buf *ret_dir, struct buf *ret_error)
{
	_cleanup_(reader_done) struct conf_reader r = { .name = path, .error = ret_error };
	_cleanup_(freep) char *text = NULL;
	const struct conf_entry *e;
	size_t bytes;
	int result = read_file(path, ret_error, &text, &bytes);

	if (result < 0)
		return result;
	result = parse(&r, str_mem(text, bytes));
	if (r.block_count)
		r.blocks[0].target = r.conf;
	e = r.conf ? conf_entry_of(&r, r.conf, "state_dir") : NULL;
	/* A mistake behind it, or in a file that does not name it, does not matter. */
	if (result < 0 && !e && str_find(str_mem(text, bytes), STR("state_dir")) >= 0)
		return result;
	if (!e)
		result = buf_add(ret_dir, CONF_STATE_DIR_DEFAULT);
	else
		result = e->option->take(&r, r.conf, e);
	if (result == 0 && e)
		result = buf_add(ret_dir, r.conf->state_dir);
	if (result == 0)
		buf_reset(ret_error);
	return result;
}
