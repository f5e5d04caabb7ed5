/*
 * heap: what comes first? A binary heap of intrusive nodes ordered by `at`, with removal from the
 * middle. O(log n) each; a node is in one heap or in none.
 */
#pragma once

#include "base/util.h"

struct heap_node {
	nsec at;
	size_t place; /* index + 1; 0 = in no heap */
};

struct heap {
	struct heap_node **node;
	size_t count, cap;
};

void heap_init(struct heap *h);
void heap_done(struct heap *h);
/* Puts the node in at node->at. 0 or -ENOMEM. */
int heap_push(struct heap *h, struct heap_node *node, nsec at);
/* Takes the node out; nothing happens when it is in no heap. */
void heap_remove(struct heap *h, struct heap_node *node);

static inline struct heap_node *heap_first(const struct heap *h)
{
	return h->count ? h->node[0] : NULL;
}

static inline bool heap_has(const struct heap_node *node)
{
	return node->place != 0;
}
