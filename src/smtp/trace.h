/*
 * trace: where an arriving message has been: a streaming look at its header section for Received fields
 * (RFC 5321 §6.3). Counts them, and reads back those that received.c wrote under one of our names: id
 * and recipient, or domain in the comment form. A message whose own trace names us and the same
 * recipient is in a loop.
 *
 * Pure, one pass, one fixed buffer. Looks at the first TRACE_BYTES_MAX bytes at most and at TRACE_FIELD_MAX
 * bytes of a field (ours are shorter). The input may be cut anywhere.
 */
#pragma once

#include "base/id.h"
#include "base/str.h"

#define TRACE_BYTES_MAX (256 * 1024)
#define TRACE_FIELD_MAX 2048

/* A Received field of ours. Exactly one of recipient and domain is set, or neither. */
struct trace_own {
	msg_id id;
	str recipient; /* without <> */
	str domain;
};

struct trace_hooks {
	bool (*is_our_name)(void *arg, str name);
	/* Called for every Received field of ours; its slices are valid during the call. */
	void (*found)(void *arg, const struct trace_own *own);
	void *arg;
};

struct trace {
	const struct trace_hooks *hooks;
	uint32_t hops; /* Received fields seen */
	uint32_t seen; /* bytes looked at */
	bool done;     /* the header section's end, or the bound, was reached */
	bool line_start;
	size_t n;
	char field[TRACE_FIELD_MAX]; /* the field so far, line ends removed */
};

void trace_init(struct trace *t, const struct trace_hooks *hooks);
void trace_feed(struct trace *t, str bytes);
/* The message ended: looks at a last, unfinished field too. */
void trace_end(struct trace *t);
