/* SPDX-License-Identifier: Apache-2.0 */
/* The list of keys: objects with a table of their own. */
#include "config_decode.h"

#include <string.h>

static bool is_digest(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

static const char *find_problem(const struct config_auth_key *key)
{
	size_t len = key->name ? strlen(key->name) : 0;

	if (len == 0 || len > 64)
		return "the name must have 1 to 64 bytes";
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)key->name[i] <= 0x20 || key->name[i] == 0x7f || strchr(":\"\\", key->name[i]))
			return "the name has a space, colon, quote, backslash or control character in it";
	}
	if (!key->key == !key->sha256)
		return "give either 'key' or 'sha256'";
	if (key->sha256 && !is_digest(key->sha256))
		return "'sha256' is not 64 hexadecimal digits (printf %s KEY | sha256sum)";
	for (size_t i = 0; i < key->models.count; i++) {
		const char *star = strchr(key->models.items[i], '*');

		if (star && star[1])
			return "a * in 'models' can only be the last character";
	}
	return NULL;
}

bool config_decode_auth_keys(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	struct config_auth_key *items;
	size_t count = 0;
	bool is_good = true;

	out->keys = (struct config_auth_keys){ NULL, 0 };
	if (node->kind != NODE_LIST)
		return config_refuse(decoder, key, node, path, "is not a list; write [{name: alice, key: ...}]");
	items = config_arena_calloc(decoder->arena, node->count + 1, sizeof(*items));
	if (!items)
		return false;
	for (struct node *child = node->first; child; child = child->next) {
		const char *child_path = config_arena_printf(decoder->arena, "%s[%zu]", path, count);
		size_t errors = decoder->report->errors.total;
		const char *problem;

		if (!child_path)
			return false;
		if (child->kind != NODE_MAP) {
			is_good = config_refuse(decoder, key, child, child_path, "is not a key; write {name: ..., key: ...}");
			continue;
		}
		config_decode_keys(decoder, &config_auth_key_keys, child, child_path, 0, &items[count]);
		problem = decoder->report->errors.total == errors ? find_problem(&items[count]) : NULL;
		if (problem)
			config_report_error(decoder->report, &child->place, child_path, "%s", problem);
		is_good = is_good && decoder->report->errors.total == errors;
		count++;
	}
	out->keys = (struct config_auth_keys){ items, count };
	return is_good;
}
