/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML document as a tree of nodes, each with its place. A plain subset on purpose: no anchors, aliases,
 * tags or second documents, bounded in size, depth and number. Scalars stay text: what they mean is the
 * schema's business. */
#ifndef VGW_SERVER_CONFIG_YAML_H
#define VGW_SERVER_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "config_arena.h"
#include "config_report.h"

enum { YAML_MAX_BYTES = 1024 * 1024, YAML_MAX_DEPTH = 16, YAML_MAX_NODES = 10000 };

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	bool is_quoted;   /* a scalar in quotes or a block scalar: text, whatever it looks like */
	bool is_literal;  /* ${NAME} is not looked for: it came from a variable or the program */
	bool is_expanded; /* ${NAME} was looked for */
	bool is_reported; /* already said to be wrong: say nothing more about it */
	struct config_place place;
	const char *key;               /* in a map; NULL otherwise */
	struct config_place key_place; /* in a map */
	const char *text;              /* scalar; never contains a NUL byte */
	const char *source; /* scalar: the text before ${NAME} was replaced; NULL when nothing was */
	struct node *first; /* list, map: children in their order */
	struct node *last;
	struct node *next;
	size_t count;
};

/* Parse one document; an empty one is an empty map. NULL: the report says why, or the arena is exhausted. A
 * tree may come with errors reported, as far as the reader could go on. `name` is borrowed for the tree's
 * life. */
struct node *yaml_parse(struct config_arena *arena, const char *name, const char *text, size_t len,
	struct config_report *report);

/* "0.2.5": the library's. */
const char *yaml_version(void);

struct node *node_new(struct config_arena *arena, enum node_kind kind, const struct config_place *place);
void node_append(struct node *parent, struct node *child);

/* The child of that key; NULL: none, or not a map. */
struct node *node_get(const struct node *map, const char *key);

/* The same by a dotted path of keys. */
struct node *node_get_path(const struct node *map, const char *path);

/* Put `child` under a key, replacing what is there. false: exhausted, or not a map. */
bool node_put(struct config_arena *arena, struct node *map, const char *key, struct node *child);

/* Put `child` at a dotted path, making the maps on the way and replacing what is there. false: exhausted, or
 * something on the way is not a map. */
bool node_put_path(struct config_arena *arena, struct node *map, const char *path, struct node *child);

/* A plain scalar that says "nothing": null, ~ or empty. */
bool node_is_null(const struct node *node);

#endif
