/*
 * units: sizes and durations as the configuration writes them: "50M", "30d". One number, one unit.
 * Sizes: bytes, or K, M, G, T (powers of 1024). Durations always name a unit: s, m, h, d, w, so that
 * nobody has to guess what a bare number means. Letters in either case. Pure.
 */
#pragma once

#include "base/str.h"

#define UNITS_TEXT_SIZE 32

/* 0, -EINVAL (not a size) or -ERANGE (past 2^63). */
int units_bytes(str text, uint64_t *ret_bytes);
/* 0, -EINVAL (not a duration, or without a unit) or -ERANGE. */
int units_duration(str text, nsec *ret_duration);

/* The shortest exact form, which reads back as the same value: "50M", "1025", "90m", "36h". */
const char *units_bytes_text(uint64_t bytes, char text[static UNITS_TEXT_SIZE]);
/* Whole seconds at least; what is below a second is cut off. */
const char *units_duration_text(nsec duration, char text[static UNITS_TEXT_SIZE]);
