/*
 * table: rows of text in aligned columns, for people. Cells are escaped when they are added, so a table can
 * never carry a terminal sequence that somebody else wrote. Column widths follow the content; the last
 * column is not padded, and cut where the terminal ends.
 */
#pragma once

#include "base/arena.h"
#include <stdio.h>

#define TABLE_COLUMNS_MAX 10

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WARN, COLOUR_BAD, COLOUR_DIM };

struct table_column {
	const char *title;
	bool right; /* numbers */
};

struct table_cell {
	str text;
	enum colour colour;
};

struct table {
	struct arena arena;
	const struct table_column *columns;
	size_t column_count;
	struct table_cell *cells; /* row by row */
	size_t cell_count, cell_room;
	bool failed; /* out of memory: printing says so */
};

void table_init(struct table *t, const struct table_column *columns, size_t column_count);
void table_done(struct table *t);
/* Cells are added from left to right, row by row. */
void table_add(struct table *t, str text);
void table_add_coloured(struct table *t, str text, enum colour colour);
void table_addf(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* width: columns of the terminal, 0: unlimited. Nothing is printed for a table without rows. 0, or -ENOMEM
 * when a cell was lost. */
int table_print(const struct table *t, FILE *to, size_t indent, size_t width, bool coloured);

/* Text in a colour, when coloured. The text must be escaped already. */
void colour_print(FILE *to, str text, enum colour colour, bool coloured);
