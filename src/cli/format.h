/*
 * format: how people see sizes, times and text that others wrote. Pure but for the locale, which decides
 * what a terminal can show. Fixed buffers; nothing is cut but by their size, which fits every value.
 */
#pragma once

#include "base/buf.h"

#define FORMAT_SIZE 40

/* "0 B", "999 B", "1.2 KiB", "45.0 MiB", "123 GiB". */
const char *format_bytes(uint64_t bytes, char text[static FORMAT_SIZE]);
/* "12,345". */
const char *format_count(uint64_t count, char text[static FORMAT_SIZE]);
/* Two units at most: "0s", "4s", "3m 12s", "2h 5m", "3d 4h". A negative span is "0s". */
const char *format_span(nsec span, char text[static FORMAT_SIZE]);
/* "3m 12s ago", "in 4s", "now"; "-" for 0, which means never. */
const char *format_when(nsec at_wall, nsec now_wall, char text[static FORMAT_SIZE]);
/* "2026-11-24T06:24:00Z"; "-" for 0. */
const char *format_time(nsec at_wall, char text[static FORMAT_SIZE]);
/* The same with milliseconds, for programs. */
const char *format_time_exact(nsec at_wall, char text[static FORMAT_SIZE]);

/* The code point at the front of s and its length, or false: not UTF-8 there. */
bool format_utf8(str s, uint32_t *ret_code, size_t *ret_bytes);
/* Appends what may be shown on a terminal: everything that could move the cursor, change colours or hide
 * becomes \xNN. */
int format_escape(str s, struct buf *to);
/* Columns that text takes, once escaped. */
size_t format_columns(str s);
