/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list: a head and links embedded in the items. No allocation, O(1) removal. */
#ifndef VGW_UTIL_LIST_H
#define VGW_UTIL_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct vgw__list {
	struct vgw__list *next;
	struct vgw__list *prev;
};

#define VGW__CONTAINER(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))
#define VGW__LIST_EACH(it, head) for (struct vgw__list *it = (head)->next; it != (head); it = it->next)

static inline void vgw__list_init(struct vgw__list *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool vgw__list_is_empty(const struct vgw__list *head)
{
	return head->next == head;
}

static inline void vgw__list_append(struct vgw__list *head, struct vgw__list *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

static inline void vgw__list_prepend(struct vgw__list *head, struct vgw__list *link)
{
	vgw__list_append(head->next, link);
}

/* A removed or initialised link may be removed again. */
static inline void vgw__list_remove(struct vgw__list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	vgw__list_init(link);
}

static inline struct vgw__list *vgw__list_first(struct vgw__list *head)
{
	return vgw__list_is_empty(head) ? NULL : head->next;
}

#endif
