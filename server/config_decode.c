/* SPDX-License-Identifier: Apache-2.0 */
/* One object: which keys it may have, where their values are, which of them are defaults. */
#include "config_decode.h"

#include <string.h>

#include "config_suggest.h"

const char *config_join(struct config_decoder *decoder, const char *path, const char *key)
{
	const char *joined = *path ? config_arena_printf(decoder->arena, "%s.%s", path, key) : key;

	return joined ? joined : "";
}

bool config_decode_value(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	static config_decode_fn *const decoders[CONFIG_TYPE_COUNT] = {
		[CONFIG_TEXT] = config_decode_text,
		[CONFIG_FLAG] = config_decode_flag,
		[CONFIG_NUMBER] = config_decode_number,
		[CONFIG_DURATION] = config_decode_number,
		[CONFIG_SIZE] = config_decode_number,
		[CONFIG_WORD] = config_decode_word,
		[CONFIG_TEXTS] = config_decode_texts,
		[CONFIG_URLS] = config_decode_urls,
		[CONFIG_LISTENS] = config_decode_listens,
		[CONFIG_SIZES] = config_decode_sizes,
		[CONFIG_VARIABLES] = config_decode_variables,
		[CONFIG_GPUS] = config_decode_gpus,
		[CONFIG_OBJECT] = config_decode_object,
		[CONFIG_KEYS] = config_decode_auth_keys,
		[CONFIG_DEVICES] = config_decode_devices,
		[CONFIG_ADAPTERS] = config_decode_adapters,
		[CONFIG_BACKEND] = config_decode_backend,
		[CONFIG_DEFAULTS] = config_decode_defaults,
		[CONFIG_MODELS] = config_decode_models,
	};

	return decoders[key->type](decoder, key, node, path, out);
}

/* --- which keys there may be --- */

/* "limits" for "limits.body": does `path` name a section of the table? */
static bool is_section(const struct config_keys *keys, const char *path, unsigned without)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < keys->count; i++) {
		const struct config_key *key = &keys->items[i];

		if (!(key->flags & without) && strncmp(key->path, path, len) == 0 && key->path[len] == '.')
			return true;
	}
	return false;
}

static const char *get_last_part(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot ? dot + 1 : path;
}

/* The nearest key of the same section, or a key of that very name elsewhere. */
static void report_unknown(struct config_decoder *decoder, const struct config_keys *keys, struct node *child,
	const char *section, const char *path, unsigned without)
{
	size_t len = strlen(section);
	struct config_suggest suggest;
	char hint[160];

	config_suggest_init(&suggest, child->key);
	for (size_t i = 0; i < keys->count; i++) {
		const char *rest = keys->items[i].path + len;
		const char *name;

		if ((keys->items[i].flags & without) || strncmp(keys->items[i].path, section, len) != 0)
			continue;
		name = config_arena_strndup(decoder->arena, rest, strcspn(rest, "."));
		if (name)
			config_suggest_offer(&suggest, name);
	}
	for (size_t i = 0; i < keys->count && !suggest.best; i++) {
		if (!(keys->items[i].flags & without) &&
			strcmp(get_last_part(keys->items[i].path), child->key) == 0)
			suggest.best = keys->items[i].path;
	}
	child->is_reported = true;
	config_report_error(decoder->report, &child->key_place, path, "unknown key%s",
		config_suggest_print(&suggest, hint, sizeof(hint)));
}

/* `section` is where `map` is within the object: "" or "limits." */
static void check_section(struct config_decoder *decoder, const struct config_keys *keys, struct node *map,
	const char *section, const char *path, unsigned without)
{
	for (struct node *child = map->first; child; child = child->next) {
		const char *child_path = config_join(decoder, path, child->key);
		const char *name = config_arena_printf(decoder->arena, "%s%s", section, child->key);
		const struct config_key *key = name ? config_keys_find(keys, name) : NULL;

		if (!name || (key && !(key->flags & without)))
			continue;
		if (!is_section(keys, name, without)) {
			report_unknown(decoder, keys, child, section, child_path, without);
			continue;
		}
		if (child->kind == NODE_MAP) {
			name = config_arena_printf(decoder->arena, "%s.", name);
			if (name)
				check_section(decoder, keys, child, name, child_path, without);
		} else if (!node_is_null(child) && !child->is_reported) {
			child->is_reported = true;
			config_report_error(decoder->report, &child->place, child_path,
				"expected a mapping: this is a section with keys of its own");
		}
	}
}

void config_check_members(struct config_decoder *decoder, const struct config_keys *keys, struct node *map,
	const char *path, unsigned without)
{
	check_section(decoder, keys, map, "", path, without);
}

/* --- their values --- */

/* "[a, \"b\"]" */
static bool fill_list(struct config_arena *arena, struct node *list, const char *text)
{
	for (text++; *text && *text != ']'; text += strspn(text, ", ")) {
		bool is_quoted = *text == '"';
		size_t len = is_quoted ? strcspn(++text, "\"") : strcspn(text, ",]");
		struct node *item = node_new(arena, NODE_SCALAR, &list->place);

		if (!item)
			return false;
		item->is_literal = !memchr(text, '$', len); /* else one of the slots */
		item->text = config_arena_strndup(arena, text, len);
		node_append(list, item);
		text += len + is_quoted;
	}
	return true;
}

static struct node *make_default(struct config_decoder *decoder, const struct config_key *key)
{
	static const struct config_place place = { CONFIG_FROM_DEFAULT, NULL, 0, 0 };
	enum node_kind kind = key->text[0] == '[' ? NODE_LIST : key->text[0] == '{' ? NODE_MAP : NODE_SCALAR;
	struct node *node = node_new(decoder->arena, kind, &place);

	if (!node)
		return NULL;
	node->is_literal = true;
	if (kind == NODE_SCALAR)
		node->text = key->text;
	if (kind == NODE_LIST && !fill_list(decoder->arena, node, key->text))
		return NULL;
	return node;
}

/* A mapping whose members are all commented out reads as null. */
static bool is_absent(const struct config_key *key, const struct node *node)
{
	return !node || (key->text && key->text[0] == '{' && node_is_null(node) && !node->is_reported);
}

struct node *config_get_node(
	struct config_decoder *decoder, const struct config_key *key, struct node *map, const char *path)
{
	struct node *node = node_get_path(map, key->path);

	if (!is_absent(key, node))
		return node;
	if (!key->text) {
		config_report_error(decoder->report, &map->key_place, path, "key '%s' is missing; it is %s",
			key->path, config_type_get_text(key->type));
		return NULL;
	}
	node = make_default(decoder, key);
	return node && node_put_path(decoder->arena, map, key->path, node) ? node : NULL;
}

void config_decode_keys(struct config_decoder *decoder, const struct config_keys *keys, struct node *map,
	const char *path, unsigned without, void *target)
{
	config_check_members(decoder, keys, map, path, without);
	for (size_t i = 0; i < keys->count && !decoder->arena->is_exhausted; i++) {
		const struct config_key *key = &keys->items[i];
		union config_value value;
		struct node *node;

		if (key->flags & without)
			continue;
		node = config_get_node(decoder, key, map, path);
		if (node && config_decode_value(
				    decoder, key, node, config_join(decoder, path, key->path), &value))
			memcpy((char *)target + key->offset, &value, config_type_get_size(key->type));
	}
}
