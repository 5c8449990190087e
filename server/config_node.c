/* SPDX-License-Identifier: Apache-2.0 */
/* The tree itself: children in a list, maps searched from the front (they are small). */
#include "config_yaml.h"

#include <string.h>

struct node *node_new(struct config_arena *arena, enum node_kind kind, const struct config_place *place)
{
	struct node *node = config_arena_alloc(arena, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->text = "";
	node->place = *place;
	node->key_place = *place;
	return node;
}

void node_append(struct node *parent, struct node *child)
{
	if (parent->last)
		parent->last->next = child;
	else
		parent->first = child;
	parent->last = child;
	parent->count++;
}

static struct node *get_n(const struct node *map, const char *key, size_t len)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (struct node *child = map->first; child; child = child->next) {
		if (strncmp(child->key, key, len) == 0 && child->key[len] == '\0')
			return child;
	}
	return NULL;
}

struct node *node_get(const struct node *map, const char *key)
{
	return get_n(map, key, strlen(key));
}

struct node *node_get_path(const struct node *map, const char *path)
{
	const struct node *node = map;

	while (node) {
		size_t len = strcspn(path, ".");

		node = get_n(node, path, len);
		if (path[len] == '\0')
			return (struct node *)node;
		path += len + 1;
	}
	return NULL;
}

/* The new child takes the old one's seat. */
static void replace(struct node *map, struct node *old, struct node *child)
{
	struct node **link = &map->first;

	while (*link != old)
		link = &(*link)->next;
	*link = child;
	child->next = old->next;
	if (map->last == old)
		map->last = child;
}

static bool put_n(struct config_arena *arena, struct node *map, const char *key, size_t len, struct node *child)
{
	struct node *old = get_n(map, key, len);

	if (map->kind != NODE_MAP)
		return false;
	child->key = config_arena_strndup(arena, key, len);
	child->key_place = child->place;
	if (!child->key)
		return false;
	if (old)
		replace(map, old, child);
	else
		node_append(map, child);
	return true;
}

bool node_put(struct config_arena *arena, struct node *map, const char *key, struct node *child)
{
	return put_n(arena, map, key, strlen(key), child);
}

bool node_put_path(struct config_arena *arena, struct node *map, const char *path, struct node *child)
{
	size_t len = strcspn(path, ".");
	struct node *old = get_n(map, path, len);
	struct node *below;

	if (path[len] == '.' && old && old->kind == NODE_MAP)
		return node_put_path(arena, old, path + len + 1, child);
	if (path[len] == '.' && old && !node_is_null(old))
		return false;
	below = path[len] == '.' ? node_new(arena, NODE_MAP, &child->place) : child;
	if (!below || !put_n(arena, map, path, len, below))
		return false;
	return below == child || node_put_path(arena, below, path + len + 1, child);
}

bool node_is_null(const struct node *node)
{
	if (node->kind != NODE_SCALAR || node->is_quoted)
		return false;
	return node->text[0] == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0;
}
