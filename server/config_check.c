/* SPDX-License-Identifier: Apache-2.0 */
/* Contradictions. Each message names both places. */
#include "config_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config_suggest.h"
#include "config_value.h"

enum { WHERE_BYTES = 256 };

/* --- one value bounds another --- */

static int64_t get_number(const struct config *config, const struct config_key *key)
{
	int64_t value;

	memcpy(&value, (const char *)config + key->offset, sizeof(value));
	return value;
}

/* Point at the one that was written; both, if both were. */
static void check_order(
	struct config_decoder *decoder, const struct config *config, const char *less, const char *more)
{
	const struct config_key *less_key = config_keys_find(&config_server_keys, less);
	const struct config_key *more_key = config_keys_find(&config_server_keys, more);
	const struct node *less_node = node_get_path(config->tree, less);
	const struct node *more_node = node_get_path(config->tree, more);
	char less_text[32];
	char more_text[32];
	char where[WHERE_BYTES];
	int64_t a;
	int64_t b;

	if (!less_node || !more_node || less_node->is_reported || more_node->is_reported)
		return;
	a = get_number(config, less_key);
	b = get_number(config, more_key);
	if (a < 0 || b < 0 || a <= b)
		return;
	(void)config_value_print(less_key->type, a, less_text, sizeof(less_text));
	(void)config_value_print(more_key->type, b, more_text, sizeof(more_text));
	if (more_node->place.origin != CONFIG_FROM_DEFAULT)
		config_report_error(decoder->report, &more_node->place, more,
			"%s is less than %s, which is %s (%s); raise this or lower that", more_text, less,
			less_text, config_place_print(&less_node->place, where, sizeof(where)));
	else
		config_report_error(decoder->report, &less_node->place, less,
			"%s is more than %s, which is %s (%s); lower this or raise that", less_text, more,
			more_text, config_place_print(&more_node->place, where, sizeof(where)));
}

static void check_orders(struct config_decoder *decoder, const struct config *config)
{
	static const struct {
		const char *less;
		const char *more;
	} orders[] = {
		{ "timeouts.connect", "timeouts.total" },
		{ "timeouts.first_byte", "timeouts.total" },
		{ "timeouts.idle", "timeouts.total" },
		{ "limits.body", "limits.queue.bytes" },
		{ "residency.min_resident", "residency.max_wait" },
		{ "residency.idle_ttl.sleep", "residency.idle_ttl.stop" },
	};

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		check_order(decoder, config, orders[i].less, orders[i].more);
}

/* --- things that may be there once --- */

struct claim {
	const char *text;
	const char *path; /* who claims it */
	const struct config_place *place;
};

static int by_text(const void *a, const void *b)
{
	const struct claim *left = a;
	const struct claim *right = b;
	int order = strcmp(left->text, right->text);

	if (order != 0)
		return order;
	if (left->place->line != right->place->line)
		return left->place->line < right->place->line ? -1 : 1;
	return left->place->column < right->place->column ? -1 : left->place->column > right->place->column;
}

/* Sorting keeps a large file from costing the square of its size. */
static void report_twice(struct config_decoder *decoder, struct claim *claims, size_t count, const char *what)
{
	char where[WHERE_BYTES];

	qsort(claims, count, sizeof(*claims), by_text);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(claims[i - 1].text, claims[i].text) == 0)
			config_report_error(decoder->report, claims[i].place, claims[i].path,
				"'%s' is already %s %s (%s)", claims[i].text, what, claims[i - 1].path,
				config_place_print(claims[i - 1].place, where, sizeof(where)));
	}
}

static size_t add_claims(struct config_decoder *decoder, struct claim *claims, size_t count,
	const struct node *node, const char *path)
{
	const struct node *item = node->kind == NODE_LIST ? node->first : node;
	size_t index = 0;

	if (node->kind == NODE_MAP || node_is_null(node) || node->is_reported)
		return count;
	for (; item; item = node->kind == NODE_LIST ? item->next : NULL) {
		const char *item_path = path;

		if (node->kind == NODE_LIST)
			item_path = config_arena_printf(decoder->arena, "%s[%zu]", path, index++);
		if (item_path && item->kind == NODE_SCALAR && !item->is_reported)
			claims[count++] = (struct claim){ item->text, item_path, &item->place };
	}
	return count;
}

static void check_listens(struct config_decoder *decoder, const struct config *config)
{
	static const char *const paths[] = { "listen", "admin.listen" };
	struct claim *claims;
	size_t room = 0;
	size_t count = 0;

	for (size_t i = 0; i < 2; i++) {
		const struct node *node = node_get_path(config->tree, paths[i]);

		room += node ? node->count + 1 : 0;
	}
	claims = config_arena_calloc(decoder->arena, room + 1, sizeof(*claims));
	for (size_t i = 0; i < 2 && claims; i++) {
		const struct node *node = node_get_path(config->tree, paths[i]);

		if (node)
			count = add_claims(decoder, claims, count, node, paths[i]);
	}
	for (size_t i = 0; i < count; i++)
		claims[i].text += strncmp(claims[i].text, "https://", 8) == 0  ? 8
				: strncmp(claims[i].text, "http://", 7) == 0 ? 7
									     : 0;
	if (claims)
		report_twice(decoder, claims, count, "listened on by");
}

static void check_alias(struct config_decoder *decoder, const struct node *item, const char *path)
{
	const char *star = strchr(item->text, '*');

	if (star && star[1])
		config_report_error(decoder->report, &item->place, path,
			"'%s' is no pattern: one * at the end matches every name that begins so", item->text);
	else if (star == item->text)
		config_report_error(decoder->report, &item->place, path,
			"'*' matches every name; set default_model instead");
}

/* One claim per model and alias, adapters and theirs too. */
static size_t count_names(const struct node *models)
{
	size_t count = 0;

	for (const struct node *model = models ? models->first : NULL; model; model = model->next) {
		const struct node *aliases = node_get(model, "aliases");

		count += 1 + (aliases ? aliases->count + 1 : 0) + count_names(node_get(model, "adapters"));
	}
	return count;
}

static size_t add_names(struct config_decoder *decoder, struct claim *claims, size_t count, const struct node *model,
	const char *section)
{
	const struct node *aliases = node_get(model, "aliases");
	const struct node *adapters = node_get(model, "adapters");
	const char *path = config_join(decoder, section, model->key);
	size_t first = count + 1;

	claims[count++] = (struct claim){ model->key, path, &model->key_place };
	if (aliases && aliases->kind == NODE_LIST)
		count = add_claims(decoder, claims, count, aliases, config_join(decoder, path, "aliases"));
	for (const struct node *item = aliases ? aliases->first : NULL; item; item = item->next) {
		if (item->kind == NODE_SCALAR && !item->is_reported && first < count)
			check_alias(decoder, item, claims[first++].path);
	}
	for (const struct node *adapter = adapters ? adapters->first : NULL; adapter; adapter = adapter->next) {
		if (adapter->kind == NODE_MAP)
			count = add_names(decoder, claims, count, adapter, config_join(decoder, path, "adapters"));
	}
	return count;
}

static void check_names(struct config_decoder *decoder, const struct node *models)
{
	struct claim *claims = config_arena_calloc(decoder->arena, count_names(models) + 1, sizeof(*claims));
	size_t count = 0;

	if (!claims)
		return;
	for (const struct node *model = models->first; model; model = model->next)
		count = add_names(decoder, claims, count, model, "models");
	report_twice(decoder, claims, count, "the name or an alias of");
}

static void check_urls(struct config_decoder *decoder, const struct node *model)
{
	const struct node *urls = node_get_path(model, "backend.urls");
	const char *path = config_join(decoder, "models", model->key);
	struct claim *claims;

	if (!urls || urls->kind != NODE_LIST)
		return;
	claims = config_arena_calloc(decoder->arena, urls->count + 1, sizeof(*claims));
	path = config_join(decoder, path, "backend.urls");
	if (claims)
		report_twice(decoder, claims, add_claims(decoder, claims, 0, urls, path), "the URL of");
}

/* --- workloads --- */

static bool is_given(const struct node *node)
{
	return node && node->kind == NODE_SCALAR && !node_is_null(node);
}

static void check_workload(struct config_decoder *decoder, const struct node *model)
{
	const struct node *backend = node_get(model, "backend");
	const struct node *kind = node_get(backend, "kind");
	const struct node *deployment = node_get(backend, "deployment");
	const struct node *set = node_get(backend, "statefulset");
	const char *path = config_join(decoder, config_join(decoder, "models", model->key), "backend");

	if (!kind || kind->kind != NODE_SCALAR || strcmp(kind->text, "kubernetes") != 0)
		return;
	if (is_given(deployment) && is_given(set))
		config_report_error(decoder->report, &set->place, path,
			"has a deployment and a statefulset; keep the one to be scaled");
	else if (!is_given(deployment) && !is_given(set))
		config_report_error(decoder->report, &kind->place, path,
			"names no workload to scale; give `deployment: NAME` or `statefulset: NAME`");
}

/* --- references to models --- */

static bool is_among(const struct config_strings *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->items[i], name) == 0)
			return true;
	}
	return false;
}

static bool is_model(const struct config *config, const struct node *models, const char *name)
{
	if (node_get(models, name))
		return true;
	for (size_t i = 0; i < config->models.count; i++) {
		if (is_among(&config->models.items[i].aliases, name))
			return true;
	}
	return false;
}

static bool is_adapter(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->models.count; i++) {
		const struct config_adapters *adapters = &config->models.items[i].adapters;

		for (size_t j = 0; j < adapters->count; j++) {
			if (strcmp(adapters->items[j].name, name) == 0 || is_among(&adapters->items[j].aliases, name))
				return true;
		}
	}
	return false;
}

static void check_reference(struct config_decoder *decoder, const struct config *config,
	const struct node *models, const struct node *node, const char *path)
{
	struct config_suggest suggest;
	char hint[160];

	if (!node || node->kind != NODE_SCALAR || node->is_reported || node_is_null(node) || !node->text[0])
		return;
	if (is_model(config, models, node->text))
		return;
	config_suggest_init(&suggest, node->text);
	for (const struct node *model = models->first; model; model = model->next)
		config_suggest_offer(&suggest, model->key);
	config_report_error(decoder->report, &node->place, path, "there is no model '%s'%s", node->text,
		config_suggest_print(&suggest, hint, sizeof(hint)));
}

static void check_references(
	struct config_decoder *decoder, const struct config *config, const struct node *models)
{
	const struct node *preload = node_get_path(config->tree, "residency.preload");
	size_t index = 0;

	if (!config->default_model || !is_adapter(config, config->default_model))
		check_reference(decoder, config, models, node_get(config->tree, "default_model"), "default_model");
	for (const struct node *item = preload ? preload->first : NULL; item; item = item->next) {
		const char *path = config_arena_printf(decoder->arena, "residency.preload[%zu]", index++);

		check_reference(decoder, config, models, item, path ? path : "");
	}
	for (const struct node *model = models->first; model; model = model->next) {
		const struct node *fallback = node_get_path(model, "fallback.model");
		const char *path = config_join(decoder, "models", model->key);

		path = config_join(decoder, path, "fallback.model");
		check_reference(decoder, config, models, fallback, path);
		config_check_fallback(decoder, config, models, model, path);
	}
}

/* --- devices --- */

/* "host" alone leaves the others to be discovered. */
static bool names_devices(const struct config *config)
{
	for (size_t i = 0; i < config->devices.count; i++) {
		if (strcmp(config->devices.items[i].device, "host") != 0)
			return true;
	}
	return false;
}

static int64_t get_budget(const struct config *config, const char *device, bool *is_known)
{
	for (size_t i = 0; i < config->devices.count; i++) {
		if (strcmp(config->devices.items[i].device, device) == 0)
			return config->devices.items[i].bytes;
	}
	*is_known = strcmp(device, "host") == 0 || strcmp(device, "each") == 0 || !names_devices(config);
	return -1;
}

static void check_device(struct config_decoder *decoder, const struct config *config, const char *device,
	int64_t bytes, const struct config_place *place, const char *path)
{
	bool is_known = true;
	int64_t budget = get_budget(config, device, &is_known);
	const struct node *node = node_get(node_get(config->tree, "devices"), device);
	char need[32];
	char have[32];
	char where[WHERE_BYTES];

	if (!is_known)
		config_report_error(
			decoder->report, place, path, "there is no device '%s' under 'devices'", device);
	else if (budget >= 0 && bytes > budget && node)
		config_report_error(decoder->report, place, path, "%s do not fit on %s, which has %s (%s)",
			config_value_print(CONFIG_SIZE, bytes, need, sizeof(need)), device,
			config_value_print(CONFIG_SIZE, budget, have, sizeof(have)),
			config_place_print(&node->place, where, sizeof(where)));
}

/* As many devices as it takes, where they are named. */
static void check_width(struct config_decoder *decoder, const struct config *config,
	const struct config_model *model, const struct node *node, const char *path)
{
	const struct node *width = node_get(node, "tensor_parallel");
	size_t count = model->devices.count;

	for (size_t i = 0; !model->devices.count && i < config->devices.count; i++)
		count += strcmp(config->devices.items[i].device, "host") != 0;
	if (!width || width->is_reported || !count || model->tensor_parallel <= (int64_t)count)
		return;
	config_report_error(decoder->report, &width->place, config_join(decoder, path, "tensor_parallel"),
		"takes %" PRId64 " devices, but there %s only %zu it may run on", model->tensor_parallel,
		count == 1 ? "is" : "are", count);
}

static void check_devices(struct config_decoder *decoder, const struct config *config,
	const struct config_model *model, const struct node *node)
{
	const struct node *memory = node_get(node, "memory");
	const struct node *devices = node_get(node, "devices");
	const char *path = config_join(decoder, "models", model->name);

	for (size_t i = 0; i < model->memory.count; i++) {
		const struct config_memory *item = &model->memory.items[i];
		const struct node *child = node_get(memory, item->device);

		if (child)
			check_device(decoder, config, item->device, item->bytes, &child->place,
				config_join(decoder, path, "memory"));
	}
	for (const struct node *item = devices ? devices->first : NULL; item; item = item->next) {
		if (item->kind == NODE_SCALAR && !item->is_reported)
			check_device(decoder, config, item->text, 0, &item->place,
				config_join(decoder, path, "devices"));
	}
	check_width(decoder, config, model, node, path);
}

void config_check(struct config_decoder *decoder, const struct config *config)
{
	const struct node *models = node_get(config->tree, "models");
	int64_t pinned = 0;

	check_orders(decoder, config);
	config_check_proxies(decoder, config);
	check_listens(decoder, config);
	config_check_tls(decoder, config);
	config_check_cors(decoder, config);
	if (!models || models->kind != NODE_MAP)
		return;
	check_names(decoder, models);
	check_references(decoder, config, models);
	for (const struct node *model = models->first; model; model = model->next) {
		check_urls(decoder, model);
		check_workload(decoder, model);
	}
	for (size_t i = 0; i < config->models.count; i++) {
		const struct config_model *model = &config->models.items[i];

		check_devices(decoder, config, model, node_get(models, model->name));
		pinned += model->is_pinned && model->is_managed;
	}
	if (config->models.count == 0 && models->count == 0 && !config->allow_adhoc_models)
		config_report_warning(
			decoder->report, NULL, "models", "there are none: every request will be refused");
	if (pinned > config->residency.max_resident && config->residency.max_resident > 0)
		config_report_warning(decoder->report, &models->key_place, "models",
			"%" PRId64 " are pinned, but only %" PRId64
			" may be resident (residency.max_resident)",
			pinned, config->residency.max_resident);
}
