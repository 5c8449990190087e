/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive ring: connections, exchanges and streams hang on their worker by it. */
#ifndef VGW_SERVER_FRONT_LINK_H
#define VGW_SERVER_FRONT_LINK_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next;
	struct link *prev;
};

#define LINK_OWNER(item, type, member) ((type *)(void *)((char *)(item) - offsetof(type, member)))

static inline void link_init(struct link *head)
{
	head->next = head;
	head->prev = head;
}

static inline void link_append(struct link *head, struct link *item)
{
	item->prev = head->prev;
	item->next = head;
	head->prev->next = item;
	head->prev = item;
}

/* Also of an initialised or removed one. */
static inline void link_remove(struct link *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	link_init(item);
}

static inline bool link_is_empty(const struct link *head)
{
	return head->next == head;
}

#endif
