/* SPDX-License-Identifier: Apache-2.0 */
/* A model's adapters: objects by name. To clients they are models, so their names are held to the same rules. */
#include "config_decode.h"

#include <string.h>

/* Names go into paths of URLs, metrics and state files. */
const char *config_find_name_problem(const char *name)
{
	if (strlen(name) > 200)
		return "is longer than 200 bytes";
	if (strchr(name, '*'))
		return "has a * in it; a pattern can be an alias, not a name";
	for (; *name; name++) {
		if ((unsigned char)*name <= 0x20 || *name == 0x7f || *name == '"' || *name == '\\')
			return "has a space, quote, backslash or control character in it";
	}
	return NULL;
}

static void decode_adapter(struct config_decoder *decoder, struct node *node, const char *path,
	struct config_adapter *adapter)
{
	const char *problem = config_find_name_problem(node->key);
	size_t errors = decoder->report->errors.total;

	adapter->name = node->key;
	adapter->place = node->key_place;
	if (problem)
		config_report_error(decoder->report, &node->key_place, path, "the name %s", problem);
	config_decode_keys(decoder, &config_adapter_keys, node, path, 0, adapter);
	if (decoder->report->errors.total == errors && !(adapter->path && adapter->path[0]))
		config_report_error(decoder->report, &node->place, config_join(decoder, path, "path"),
			"is empty; write where the engine finds the adapter");
}

bool config_decode_adapters(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	struct config_adapter *items;
	size_t count = 0;

	out->adapters = (struct config_adapters){ NULL, 0 };
	if (node->kind != NODE_MAP)
		return config_refuse(decoder, key, node, path, "is not a mapping from names to adapters");
	items = config_arena_calloc(decoder->arena, node->count + 1, sizeof(*items));
	if (!items)
		return false;
	for (struct node *child = node->first; child; child = child->next) {
		const char *child_path = config_join(decoder, path, child->key);

		if (child->is_reported)
			continue;
		if (child->kind == NODE_MAP)
			decode_adapter(decoder, child, child_path, &items[count++]);
		else
			config_report_error(decoder->report, &child->place, child_path,
				"expected a mapping with at least the key 'path'");
	}
	out->adapters = (struct config_adapters){ items, count };
	return true;
}
