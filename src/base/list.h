/*
 * list: an intrusive, circular, doubly linked list. A link is in one list or in none; removing a link
 * that is in none is allowed (list_link_init makes it so).
 */
#pragma once

#include "base/util.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *link)
{
	link->prev = at->prev;
	link->next = at;
	at->prev->next = link;
	at->prev = link;
}

static inline void list_append(struct list *l, struct list *link)
{
	list_insert_before(l, link);
}

static inline void list_prepend(struct list *l, struct list *link)
{
	list_insert_before(l->next, link);
}

static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* The first link, taken out; NULL when empty. */
static inline struct list *list_take(struct list *l)
{
	struct list *first = l->next;

	if (first == l)
		return NULL;
	list_remove(first);
	return first;
}

#define LIST_FIRST(l, type, member) (list_empty(l) ? NULL : CONTAINER((l)->next, type, member))
/* The body may remove the current link. */
#define LIST_EACH(l, type, member, it)                                                             \
	for (type *it = CONTAINER((l)->next, type, member),                                        \
		  *it##_next_ = CONTAINER(it->member.next, type, member);                          \
	     &it->member != (l);                                                                   \
	     it = it##_next_, it##_next_ = CONTAINER(it->member.next, type, member))
