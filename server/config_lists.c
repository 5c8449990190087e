/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of scalars, and mappings whose keys are free. */
#include "config_decode.h"

#include <string.h>

#include "config_json.h"
#include "config_value.h"

/* Number, name and check the items of a list. A lone scalar is a list of one where `takes_one`. */
static bool open_list(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, bool takes_one, struct node **first, size_t *count)
{
	*first = NULL;
	*count = 0;
	if (node->kind == NODE_SCALAR && !config_get_text(decoder, key, node, path))
		return false;
	if (node->kind == NODE_SCALAR && (key->flags & CONFIG_NULLABLE) && node_is_null(node))
		return true;
	if (node->kind == NODE_LIST && node->count == 0 && (key->flags & CONFIG_NOT_EMPTY)) {
		node->is_reported = true;
		config_report_error(
			decoder->report, &node->place, path, "is empty; it needs at least one item");
		return false;
	}
	*first = node->kind == NODE_LIST ? node->first : node;
	*count = node->kind == NODE_LIST ? node->count : 1;
	if (node->kind == NODE_LIST || (takes_one && node->kind == NODE_SCALAR && !node_is_null(node)))
		return true;
	return config_refuse(decoder, key, node, path, "is not a list; write it as [item, item]");
}

static const char *get_item_path(
	struct config_decoder *decoder, const struct node *list, const char *path, size_t i)
{
	const char *text;

	if (list->kind != NODE_LIST)
		return path;
	text = config_arena_printf(decoder->arena, "%s[%zu]", path, i);
	return text ? text : "";
}

static bool decode_strings(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, bool are_urls, union config_value *out)
{
	static const struct config_key item_key = { .path = "", .type = CONFIG_TEXT };
	struct config_key text_key = item_key;
	const char **items;
	struct node *item;
	size_t count;
	bool is_good = true;

	out->strings = (struct config_strings){ NULL, 0 };
	text_key.flags = key->flags & CONFIG_SLOTS;
	if (!open_list(decoder, key, node, path, are_urls, &item, &count))
		return false;
	items = config_arena_calloc(decoder->arena, count + 1, sizeof(*items));
	if (!items)
		return false;
	for (size_t i = 0; i < count; i++, item = item->next) {
		const char *item_path = get_item_path(decoder, node, path, i);
		union config_value text;
		const char *problem = NULL;

		if (!config_decode_text(decoder, &text_key, item, item_path, &text)) {
			is_good = false;
			continue;
		}
		items[i] = text.text;
		if (are_urls)
			problem = config_value_check_url(text.text);
		else if (!text.text[0] && !(key->flags & CONFIG_SLOTS))
			problem = "is empty";
		if (problem && strstr(problem, "credentials"))
			config_report_error(decoder->report, &item->place, item_path, "this URL %s", problem);
		else if (problem)
			(void)config_refuse(decoder, &text_key, item, item_path, problem);
		is_good = is_good && !problem;
	}
	out->strings = (struct config_strings){ items, count };
	return is_good;
}

bool config_decode_texts(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	return decode_strings(decoder, key, node, path, false, out);
}

bool config_decode_urls(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	return decode_strings(decoder, key, node, path, true, out);
}

bool config_decode_listens(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	static const struct config_key item_key = { .path = "", .type = CONFIG_TEXT };
	struct config_listen *items;
	struct node *item;
	size_t count;
	bool is_good = true;

	out->listens = (struct config_listens){ NULL, 0 };
	if (!open_list(decoder, key, node, path, true, &item, &count))
		return false;
	items = config_arena_calloc(decoder->arena, count + 1, sizeof(*items));
	if (!items)
		return false;
	for (size_t i = 0; i < count; i++, item = item->next) {
		const char *item_path = get_item_path(decoder, node, path, i);
		union config_value text;
		const char *problem;

		if (!config_decode_text(decoder, &item_key, item, item_path, &text)) {
			is_good = false;
			continue;
		}
		problem = config_value_parse_listen(text.text, &items[i], decoder->arena);
		if (problem)
			is_good = config_refuse(decoder, &item_key, item, item_path, problem);
	}
	out->listens = (struct config_listens){ items, count };
	return is_good;
}

/* --- mappings with free keys --- */

bool config_decode_sizes(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	const struct config_key size_key = {
		.path = "", .type = CONFIG_SIZE, .min = key->min, .max = key->max
	};
	struct config_memory *items;
	size_t count = 0;
	bool is_good = true;

	out->memories = (struct config_memories){ NULL, 0 };
	if (node->kind != NODE_MAP)
		return config_refuse(decoder, key, node, path, "is not a mapping such as {gpu0: 18GiB}");
	items = config_arena_calloc(decoder->arena, node->count + 1, sizeof(*items));
	if (!items)
		return false;
	for (struct node *child = node->first; child; child = child->next) {
		union config_value size;

		if (!config_decode_number(
			    decoder, &size_key, child, config_join(decoder, path, child->key), &size)) {
			is_good = false;
			continue;
		}
		items[count++] = (struct config_memory){ child->key, size.number };
	}
	out->memories = (struct config_memories){ items, count };
	return is_good;
}

static bool is_variable_name(const char *name)
{
	return *name &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
		       strlen(name) &&
	       !(*name >= '0' && *name <= '9');
}

bool config_decode_variables(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	const struct config_key text_key = { .path = "", .type = CONFIG_TEXT, .flags = key->flags };
	const char **items;
	size_t count = 0;
	bool is_good = true;

	out->strings = (struct config_strings){ NULL, 0 };
	if (node->kind != NODE_MAP)
		return config_refuse(decoder, key, node, path, "is not a mapping such as {NAME: text}");
	items = config_arena_calloc(decoder->arena, 2 * node->count + 1, sizeof(*items));
	if (!items)
		return false;
	for (struct node *child = node->first; child; child = child->next) {
		const char *child_path = config_join(decoder, path, child->key);
		union config_value text;

		if (!is_variable_name(child->key)) {
			config_report_error(decoder->report, &child->key_place, child_path,
				"is not a variable's name: letters, digits and _");
			is_good = false;
		} else if (config_decode_text(decoder, &text_key, child, child_path, &text)) {
			items[count++] = child->key;
			items[count++] = text.text;
		} else {
			is_good = false;
		}
	}
	out->strings = (struct config_strings){ items, count };
	return is_good;
}

/* --- all, none, a number or a list --- */

bool config_decode_gpus(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	union config_value value;
	struct config_stream stream;
	const char *text;

	out->text = NULL;
	if (node->kind == NODE_SCALAR) {
		text = config_get_text(decoder, key, node, path);
		if (!text)
			return false;
		if (strcmp(text, "auto") == 0 || strcmp(text, "all") == 0 || strcmp(text, "none") == 0)
			out->text = config_arena_printf(decoder->arena, "\"%s\"", text);
		else if (!config_value_parse_number(text, &value.number) && value.number >= 0 && value.number <= 1024)
			out->text = config_arena_printf(decoder->arena, "%lld", (long long)value.number);
		else
			return config_refuse(decoder, key, node, path,
				"is neither auto, all, none, a number nor a list such as [0, 1]");
		return out->text != NULL;
	}
	if (node->kind == NODE_MAP)
		return config_refuse(decoder, key, node, path, "");
	if (!config_decode_texts(decoder, key, node, path, &value))
		return false;
	config_stream_open(&stream, decoder->arena);
	if (!stream.file)
		return false;
	config_json_print_list(stream.file, &value.strings);
	out->text = config_stream_close(&stream, decoder->arena);
	return out->text != NULL;
}
