/* SPDX-License-Identifier: Apache-2.0 */
/* NULL-terminated list of owned texts. */
#include "util/strings.h"

#include "util/alloc.h"

#include <string.h>

bool vgw__strings_take(struct vgw__strings *list, char *text)
{
	char **items;

	if (!text)
		return false;
	if (list->count + 2 > list->capacity) {
		items = vgw__grow(list->items, &list->capacity, list->count + 2, sizeof(*items));
		if (!items) {
			vgw__free(text);
			return false;
		}
		list->items = items;
	}
	list->items[list->count++] = text;
	list->items[list->count] = NULL;
	return true;
}

bool vgw__strings_add(struct vgw__strings *list, const char *text)
{
	return vgw__strings_take(list, vgw__strdup(text));
}

void vgw__strings_fini(struct vgw__strings *list)
{
	for (size_t i = 0; i < list->count; i++)
		vgw__free(list->items[i]);
	vgw__free(list->items);
	memset(list, 0, sizeof(*list));
}

const char *vgw__strings_get_value(const struct vgw__strings *list, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < list->count; i++)
		if (strncmp(list->items[i], name, len) == 0 && list->items[i][len] == '=')
			return list->items[i] + len + 1;
	return NULL;
}
