/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of texts that ends with NULL: what an argument vector and an environment are made of. */
#ifndef VGW_UTIL_STRINGS_H
#define VGW_UTIL_STRINGS_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed: an empty list, whose `items` may be NULL. */
struct vgw__strings {
	char **items; /* owned, each from util/alloc; items[count] is NULL once something was added */
	size_t count;
	size_t capacity;
};

bool vgw__strings_add(struct vgw__strings *list, const char *text);     /* copies; false: no memory */
bool vgw__strings_take(struct vgw__strings *list, char *text);          /* takes it, also on failure; NULL: false */
void vgw__strings_fini(struct vgw__strings *list);                      /* leaves an empty list */

/* The value of NAME in a list of NAME=value, NULL when it is not there. */
const char *vgw__strings_get_value(const struct vgw__strings *list, const char *name);

#endif
