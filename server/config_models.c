/* SPDX-License-Identifier: Apache-2.0 */
/* Devices, models, and what models share: objects with tables of their own. */
#include <string.h>

#include "config_decode.h"
#include "config_json.h"
#include "config_suggest.h"

static struct node *clone(struct config_arena *arena, const struct node *node)
{
	struct node *copy = config_arena_alloc(arena, sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *node;
	copy->first = NULL;
	copy->last = NULL;
	copy->next = NULL;
	copy->count = 0;
	for (const struct node *child = node->first; child; child = child->next) {
		struct node *twin = clone(arena, child);

		if (!twin)
			return NULL;
		node_append(copy, twin);
	}
	return copy;
}

/* --- devices --- */

bool config_decode_devices(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	struct config_memory *items;
	size_t count = 0;

	out->memories = (struct config_memories){ NULL, 0 };
	if (node->kind != NODE_MAP)
		return config_refuse(
			decoder, key, node, path, "is not a mapping such as {gpu0: {memory: 24GiB}}");
	items = config_arena_calloc(decoder->arena, node->count + 1, sizeof(*items));
	if (!items)
		return false;
	for (struct node *child = node->first; child; child = child->next) {
		const char *child_path = config_join(decoder, path, child->key);

		if (child->kind != NODE_MAP) {
			(void)config_refuse(
				decoder, key, child, child_path, "is not a device; write {memory: 24GiB}");
			continue;
		}
		items[count] = (struct config_memory){ child->key, -1 };
		config_decode_keys(decoder, &config_device_keys, child, child_path, 0, &items[count]);
		count++;
	}
	out->memories = (struct config_memories){ items, count };
	return true;
}

/* --- backends --- */

static const struct config_backend *get_backend(
	struct config_decoder *decoder, struct node *map, const char *path)
{
	static const struct config_key key = { .path = "kind", .type = CONFIG_TEXT };
	struct node *node = node_get(map, "kind");
	const struct config_backend *backend;
	struct config_suggest suggest;
	union config_value kind;
	char kinds[128] = "";
	char hint[64];

	for (size_t i = 0; i < config_backend_count; i++) {
		size_t len = strlen(kinds);

		(void)snprintf(
			kinds + len, sizeof(kinds) - len, "%s%s", i ? ", " : "", config_backends[i].kind);
	}
	if (!node) {
		config_report_error(decoder->report, &map->key_place, path,
			"key 'kind' is missing; it is one of %s", kinds);
		return NULL;
	}
	path = config_join(decoder, path, "kind");
	if (!config_decode_text(decoder, &key, node, path, &kind))
		return NULL;
	backend = config_backend_find(kind.text);
	if (backend)
		return backend;
	config_suggest_init(&suggest, kind.text);
	for (size_t i = 0; i < config_backend_count; i++)
		config_suggest_offer(&suggest, config_backends[i].kind);
	node->is_reported = true;
	config_report_error(decoder->report, &node->place, path,
		"'%s' is no kind of backend (there are %s)%s", kind.text, kinds,
		config_suggest_print(&suggest, hint, sizeof(hint)));
	return NULL;
}

/* What is null is left out. */
static bool has_value(const struct config_key *key, const union config_value *value)
{
	switch (key->type) {
	case CONFIG_TEXT:
		return value->text != NULL;
	case CONFIG_DURATION:
	case CONFIG_SIZE:
	case CONFIG_NUMBER:
		return !(key->flags & CONFIG_NULLABLE) || value->number >= 0;
	default:
		return true;
	}
}

static bool print_backend(struct config_decoder *decoder, const struct config_backend *backend,
	struct node *map, const char *path, FILE *out)
{
	bool is_first = true;
	bool is_good = true;

	(void)fputc('{', out);
	for (size_t i = 0; i < backend->keys.count; i++) {
		const struct config_key *key = &backend->keys.items[i];
		struct node *node = config_get_node(decoder, key, map, path);
		union config_value value;

		if (!node || !config_decode_value(
				     decoder, key, node, config_join(decoder, path, key->path), &value)) {
			is_good = false;
			continue;
		}
		if (!has_value(key, &value))
			continue;
		config_json_print_member(out, key, &value, is_first);
		is_first = false;
	}
	(void)fputc('}', out);
	return is_good;
}

bool config_decode_backend(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	const struct config_backend *backend;
	struct config_stream stream;
	bool is_good;

	out->text = NULL;
	if (node->kind != NODE_MAP)
		return config_refuse(
			decoder, key, node, path, "is not a backend; write {kind: static, urls: [...]}");
	backend = get_backend(decoder, node, path);
	if (!backend)
		return false;
	config_check_members(decoder, &backend->keys, node, path, 0);
	config_stream_open(&stream, decoder->arena);
	if (!stream.file)
		return false;
	is_good = print_backend(decoder, backend, node, path, stream.file);
	out->text = config_stream_close(&stream, decoder->arena);
	return is_good && out->text;
}

/* --- models --- */

bool config_decode_defaults(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	struct config_model *model;

	out->model = NULL;
	if (node->kind != NODE_MAP)
		return config_refuse(decoder, key, node, path, "is not a mapping of keys that models have");
	model = config_arena_alloc(decoder->arena, sizeof(*model));
	if (!model)
		return false;
	config_decode_keys(decoder, &config_model_keys, node, path, CONFIG_OWN, model);
	decoder->defaults = node;
	out->model = model;
	return true;
}

/* Keys of `defaults` that the model does not set. They were decoded once, so they are wrong only once. */
static bool take_defaults(struct config_decoder *decoder, struct node *map)
{
	for (size_t i = 0; i < config_model_keys.count; i++) {
		const struct config_key *key = &config_model_keys.items[i];
		struct node *node = node_get_path(decoder->defaults, key->path);

		if (!node || (key->flags & CONFIG_OWN) || node->place.origin == CONFIG_FROM_DEFAULT)
			continue;
		if (node_get_path(map, key->path))
			continue;
		node = clone(decoder->arena, node);
		if (!node || (!node_put_path(decoder->arena, map, key->path, node) &&
				     decoder->arena->is_exhausted))
			return false;
	}
	return true;
}

/* A default of the program's; it goes into the tree, so that it is shown. */
static void take_name(struct config_decoder *decoder, struct node *map, struct config_model *model)
{
	static const struct config_place place = { CONFIG_FROM_DEFAULT, NULL, 0, 0 };
	struct node *node = node_new(decoder->arena, NODE_SCALAR, &place);

	model->served_name = model->name;
	if (!node)
		return;
	node->is_literal = true;
	node->text = model->name;
	(void)node_put_path(decoder->arena, map, "served_name", node);
}

static void decode_model(
	struct config_decoder *decoder, struct node *node, const char *path, struct config_model *model)
{
	const struct config_backend *backend;
	const struct node *kind;
	const char *problem = config_find_name_problem(node->key);

	model->name = node->key;
	model->place = node->key_place;
	model->fallback_after_ms = 0;
	if (problem)
		config_report_error(decoder->report, &node->key_place, path, "the name %s", problem);
	if (!take_defaults(decoder, node))
		return;
	config_decode_keys(decoder, &config_model_keys, node, path, 0, model);
	if (!model->served_name)
		take_name(decoder, node, model);
	kind = node_get_path(node, "backend.kind");
	backend = kind ? config_backend_find(kind->text) : NULL;
	model->backend_kind = backend ? backend->kind : "";
	model->is_managed = backend && backend->is_managed;
}

bool config_decode_models(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	struct config_model *items;
	size_t count = 0;

	out->models = (struct config_models){ NULL, 0 };
	if (node->kind != NODE_MAP)
		return config_refuse(decoder, key, node, path, "is not a mapping from names to models");
	items = config_arena_calloc(decoder->arena, node->count + 1, sizeof(*items));
	if (!items)
		return false;
	for (struct node *child = node->first; child; child = child->next) {
		const char *child_path = config_join(decoder, path, child->key);

		if (child->is_reported)
			continue;
		if (child->kind == NODE_MAP)
			decode_model(decoder, child, child_path, &items[count++]);
		else
			config_report_error(decoder->report, &child->place, child_path,
				"expected a mapping with at least the key 'backend'");
	}
	out->models = (struct config_models){ items, count };
	return true;
}
