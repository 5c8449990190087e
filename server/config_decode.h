/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes to values, by the table of keys. */
#ifndef VGW_SERVER_CONFIG_DECODE_H
#define VGW_SERVER_CONFIG_DECODE_H

#include "config_keys.h"
#include "config_yaml.h"
#include "env.h"

struct config_secret {
	struct config_secret *next;
	const char *text;
};

struct config_decoder {
	struct config_arena *arena;
	struct config_report *report;
	struct env *env;
	struct config_secret *secrets;
	struct node *defaults;              /* what models take, or NULL */
	struct config_place literal_secret; /* a key written out in the file; line 0: none */
};

/* What a key's node means; the member is the one of the key's type. */
union config_value {
	const char *text; /* TEXT; OBJECT, BACKEND and GPUS: as JSON */
	bool flag;
	int64_t number; /* NUMBER, DURATION, SIZE */
	int word;
	struct config_strings strings; /* TEXTS, URLS; VARIABLES: name, text, name, text... */
	struct config_listens listens;
	struct config_memories memories; /* SIZES, DEVICES */
	struct config_auth_keys keys;
	struct config_adapters adapters;
	const struct config_model *model;
	struct config_models models;
};

typedef bool config_decode_fn(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out);

/* Decode one value of any type. false: reported, or exhausted. */
config_decode_fn config_decode_value;

/* config_scalars.c; number does DURATION and SIZE too */
config_decode_fn config_decode_text, config_decode_flag, config_decode_number, config_decode_word;

/* config_lists.c */
config_decode_fn config_decode_texts, config_decode_urls, config_decode_listens, config_decode_sizes,
	config_decode_variables, config_decode_gpus;

/* config_auth.c */
config_decode_fn config_decode_auth_keys;

/* config_json.c */
config_decode_fn config_decode_object;

/* config_adapters.c */
config_decode_fn config_decode_adapters;

/* What keeps a text from being the name of a model or an adapter; NULL: nothing. */
const char *config_find_name_problem(const char *name);

/* config_models.c: types that hold objects */
config_decode_fn config_decode_devices, config_decode_backend, config_decode_defaults, config_decode_models;

/* All keys of one object: unknown ones are reported, missing ones take their defaults (which are put into the
 * tree too), values go into the struct at `target`. Keys with a flag of `without` are unknown here. */
void config_decode_keys(struct config_decoder *decoder, const struct config_keys *keys, struct node *map,
	const char *path, unsigned without, void *target);

/* The node of a key, or that of its default, now in the tree; NULL: missing or exhausted, reported. */
struct node *config_get_node(
	struct config_decoder *decoder, const struct config_key *key, struct node *map, const char *path);

/* Report unknown keys and sections that are no mappings. */
void config_check_members(struct config_decoder *decoder, const struct config_keys *keys, struct node *map,
	const char *path, unsigned without);

/* "expected WHAT, found ..." at the node, unless it was reported already. Returns false. */
bool config_refuse(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, const char *why);

/* The text of a scalar with its variables put in; NULL: refused, or exhausted. */
const char *config_get_text(
	struct config_decoder *decoder, const struct config_key *key, struct node *node, const char *path);

/* "a.b" in the arena, or "" when exhausted. */
const char *config_join(struct config_decoder *decoder, const char *path, const char *key);

#endif
