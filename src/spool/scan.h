/*
 * scan: reads one segment file from front to back, record by record, and steps over damage. The bytes may
 * be anything: every length is bounded before it is used. Reads in big chunks; memory is one chunk, or
 * one record if that is larger (20 MiB at most).
 *
 * A record whose header is whole but whose contents are not is stepped over by its length; behind a bad
 * header the next good one is looked for at every multiple of 8. Each such stretch is told as a hole.
 */
#pragma once

#include "spool/fault.h"

#define SCAN_CHUNK ((size_t)1 << 20)
#define SCAN_SKIP ((uint64_t)256 << 10) /* larger bodies are not read unless verify_all */

struct scan_hole {
	uint64_t from, to;
	bool zero;  /* nothing but zeros up to the limit: what allocated space looks like */
	bool named; /* the header was whole: id, type and sequence say what was lost */
	msg_id id;
	uint8_t type;
	uint64_t sequence;
	enum fault_kind kind; /* FAULT_PADDING: no record was lost */
};

/* 0, or a negative errno that ends the scan. */
typedef int scan_hole_fn(void *arg, const struct scan_hole *hole);

struct scan {
	int fd;
	uint64_t salt;
	uint64_t at;    /* the next record is looked for here */
	uint64_t limit; /* nothing at or behind it is looked at */
	bool verify_all;
	scan_hole_fn *hole;
	void *arg;

	uint64_t end;         /* behind the last whole record */
	uint64_t batch_at;    /* where the batch of the last whole record begins */
	uint64_t nonzero_end; /* behind the last byte that is not zero, as far as seen */

	char *window; /* the file from window_at on */
	size_t window_n, window_cap;
	uint64_t window_at;
};

struct scan_record {
	struct record_header header;
	uint64_t at, bytes;
	str payload; /* valid until the next call */
};

void scan_init(struct scan *c, int fd, uint64_t salt, uint64_t limit, bool verify_all);
void scan_done(struct scan *c);
/* 1: a whole record; 0: the end; or -ENOMEM, or what `hole` returned. */
int scan_next(struct scan *c, struct scan_record *ret_record);
