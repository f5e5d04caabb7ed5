#include "cli/table.h"

#include "base/cleanup.h"
#include "cli/format.h"

#include <stdarg.h>

#define TABLE_BYTES_MAX ((size_t)1 << 30)
#define CELL_BYTES_MAX 4096
#define GAP 2 /* spaces between columns */

static const char *const colour_code[] = {
	[COLOUR_NONE] = "",        [COLOUR_GOOD] = "\033[32m", [COLOUR_WARN] = "\033[33m",
	[COLOUR_BAD] = "\033[31m", [COLOUR_DIM] = "\033[2m",
};

void colour_print(FILE *to, str text, enum colour colour, bool coloured)
{
	if (coloured && colour != COLOUR_NONE)
		fprintf(to, "%s%.*s\033[0m", colour_code[colour], STR_ARG(text));
	else
		fprintf(to, "%.*s", STR_ARG(text));
}

void table_init(struct table *t, const struct table_column *columns, size_t column_count)
{
	must(column_count > 0 && column_count <= TABLE_COLUMNS_MAX);
	*t = (struct table){ .columns = columns, .column_count = column_count };
	arena_init(&t->arena, TABLE_BYTES_MAX);
}

void table_done(struct table *t)
{
	free(t->cells);
	arena_done(&t->arena);
}

void table_add_coloured(struct table *t, str text, enum colour colour)
{
	_cleanup_(buf_done) struct buf escaped;
	struct table_cell *more;
	str copy;

	buf_init(&escaped, 4 * (size_t)CELL_BYTES_MAX);
	/* What is cut here is longer than any terminal is wide. */
	format_escape(str_first(text, CELL_BYTES_MAX), &escaped);
	copy = arena_str(&t->arena, buf_str(&escaped));
	if (t->cell_count == t->cell_room) {
		size_t room = t->cell_room ? 2 * t->cell_room : 64;

		more = reallocarray(t->cells, room, sizeof(*more));
		if (more) {
			t->cells = more;
			t->cell_room = room;
		}
	}
	if (!copy.p || t->cell_count == t->cell_room) {
		t->failed = true;
		return;
	}
	t->cells[t->cell_count++] = (struct table_cell){ copy, colour };
}

void table_add(struct table *t, str text)
{
	table_add_coloured(t, text, COLOUR_NONE);
}

void table_addf(struct table *t, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	table_add(t, str_of(text));
}

static void print_spaces(FILE *to, size_t n)
{
	fprintf(to, "%*s", (int)n, "");
}

/* As much of text as fits into `columns`, with "..." where it was cut. */
static void print_cut(FILE *to, str text, size_t columns, enum colour colour, bool coloured)
{
	size_t n = 0;

	if (format_columns(text) <= columns) {
		colour_print(to, text, colour, coloured);
		return;
	}
	while (n < text.n) {
		uint32_t code;
		size_t bytes = 1;

		format_utf8(str_from(text, n), &code, &bytes);
		if (format_columns(str_first(text, n + bytes)) + 3 > columns)
			break;
		n += bytes;
	}
	colour_print(to, str_first(text, n), colour, coloured);
	fputs("...", to);
}

static void print_row(const struct table *t, FILE *to, const struct table_cell *cells,
		      const size_t *widths, size_t indent, size_t width, bool coloured)
{
	size_t at = indent,
	       spaces = indent; /* those before an empty end of the row stay unprinted */

	for (size_t i = 0; i < t->column_count; i++) {
		bool last = i + 1 == t->column_count;
		size_t pad = widths[i] - format_columns(cells[i].text);

		if (t->columns[i].right)
			spaces += pad;
		if (cells[i].text.n) {
			print_spaces(to, spaces);
			spaces = 0;
		}
		if (last && width > 0)
			print_cut(to, cells[i].text, MAX(width, at + 12) - at, cells[i].colour,
				  coloured);
		else
			colour_print(to, cells[i].text, cells[i].colour, coloured);
		spaces += GAP + (t->columns[i].right ? 0 : pad);
		at += widths[i] + GAP;
	}
	fputc('\n', to);
}

int table_print(const struct table *t, FILE *to, size_t indent, size_t width, bool coloured)
{
	struct table_cell titles[TABLE_COLUMNS_MAX];
	size_t widths[TABLE_COLUMNS_MAX];

	must(t->column_count > 0);
	if (t->cell_count < t->column_count)
		return t->failed ? -ENOMEM : 0;
	for (size_t i = 0; i < t->column_count; i++) {
		titles[i] = (struct table_cell){ str_of(t->columns[i].title), COLOUR_DIM };
		widths[i] = titles[i].text.n;
	}
	for (size_t i = 0; i < t->cell_count; i++)
		widths[i % t->column_count] =
			MAX(widths[i % t->column_count], format_columns(t->cells[i].text));
	print_row(t, to, titles, widths, indent, width, coloured);
	for (size_t i = 0; i + t->column_count <= t->cell_count; i += t->column_count)
		print_row(t, to, &t->cells[i], widths, indent, width, coloured);
	return t->failed ? -ENOMEM : 0;
}
