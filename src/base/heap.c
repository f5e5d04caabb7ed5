#include "base/heap.h"

#include <stdlib.h>

void heap_init(struct heap *h)
{
	*h = (struct heap){ 0 };
}

void heap_done(struct heap *h)
{
	free(h->node);
	*h = (struct heap){ 0 };
}

static void put(struct heap *h, size_t i, struct heap_node *node)
{
	h->node[i] = node;
	node->place = i + 1;
}

/* Moves the node that belongs at i towards the root while it comes before its parent. */
static void rise(struct heap *h, size_t i, struct heap_node *node)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (h->node[parent]->at <= node->at)
			break;
		put(h, i, h->node[parent]);
		i = parent;
	}
	put(h, i, node);
}

/* Moves it towards the leaves while a child comes before it. */
static void sink(struct heap *h, size_t i, struct heap_node *node)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count && h->node[child + 1]->at < h->node[child]->at)
			child++;
		if (node->at <= h->node[child]->at)
			break;
		put(h, i, h->node[child]);
		i = child;
	}
	put(h, i, node);
}

int heap_push(struct heap *h, struct heap_node *node, nsec at)
{
	must(!heap_has(node));
	if (h->count == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : 16;
		struct heap_node **grown = reallocarray(h->node, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		h->node = grown;
		h->cap = cap;
	}
	node->at = at;
	rise(h, h->count++, node);
	return 0;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
	struct heap_node *last;
	size_t i;

	if (!heap_has(node))
		return;
	i = node->place - 1;
	must(i < h->count && h->node[i] == node);
	node->place = 0;
	last = h->node[--h->count];
	if (last == node)
		return;
	if (i > 0 && last->at < h->node[(i - 1) / 2]->at)
		rise(h, i, last);
	else
		sink(h, i, last);
}
