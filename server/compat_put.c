/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that come from a variable: its name is their place, their text is taken literally. */
#include "compat_put.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --- building ------------------------------------------------------------------------------------------------- */

struct config_place compat_place_of(const char *variable)
{
	return (struct config_place){ CONFIG_FROM_VARIABLE, variable, 0, 0 };
}

const char *compat_get(const struct compat *compat, const char *variable)
{
	const char *value = env_find(compat->env, variable);

	return value && *value ? value : NULL;
}

struct node *compat_scalar(struct compat *compat, const char *variable, const char *text)
{
	struct config_place place = compat_place_of(variable);
	struct node *node = text ? node_new(compat->arena, NODE_SCALAR, &place) : NULL;

	if (!node)
		return NULL;
	node->is_literal = true;
	node->text = config_arena_strdup(compat->arena, text);
	return node->text ? node : NULL;
}

struct node *compat_list(struct compat *compat, const char *variable, const char *const *items)
{
	struct config_place place = compat_place_of(variable);
	struct node *node = node_new(compat->arena, NODE_LIST, &place);

	for (size_t i = 0; node && items[i]; i++) {
		struct node *item = compat_scalar(compat, variable, items[i]);

		if (!item)
			return NULL;
		node_append(node, item);
	}
	return node;
}

void compat_put_node(struct compat *compat, struct node *map, const char *path, struct node *node)
{
	if (map && node && !node_put_path(compat->arena, map, path, node) && !compat->arena->is_exhausted)
		config_report_error(compat->report, &node->place, path, "the file holds something else in its place");
}

void compat_put(struct compat *compat, struct node *map, const char *path, const char *variable, const char *text)
{
	compat_put_node(compat, map, path, compat_scalar(compat, variable, text));
}

void compat_put_default(struct compat *compat, struct node *map, const char *path, const char *variable,
	const char *text)
{
	if (map && !node_get_path(map, path))
		compat_put(compat, map, path, variable, text);
}

struct node *compat_get_models(struct compat *compat, const char *variable)
{
	struct config_place place = compat_place_of(variable);
	struct node *models = node_get(compat->root, "models");

	if (models && models->kind == NODE_MAP)
		return models;
	models = node_new(compat->arena, NODE_MAP, &place);
	compat_put_node(compat, compat->root, "models", models);
	return models;
}

struct node *compat_get_model(struct compat *compat, const char *variable, const char *name)
{
	struct config_place place = compat_place_of(variable);
	struct node *models = compat_get_models(compat, variable), *model = node_get(models, name);

	if (model && model->kind == NODE_MAP)
		return model;
	model = node_new(compat->arena, NODE_MAP, &place);
	return models && model && node_put(compat->arena, models, name, model) ? model : NULL;
}

/* --- values --------------------------------------------------------------------------------------------------- */

void compat_wrong(struct compat *compat, const char *variable, const char *expected)
{
	struct config_place place = compat_place_of(variable);

	config_report_error(compat->report, &place, NULL, "'%.60s' is not %s", compat_get(compat, variable), expected);
}

void compat_warn(struct compat *compat, const char *variable, const char *text)
{
	struct config_place place = compat_place_of(variable);

	if (compat_get(compat, variable))
		config_report_warning(compat->report, &place, NULL, "%s", text);
}

/* As Python programs read them. */
bool compat_get_flag(struct compat *compat, const char *variable, bool otherwise)
{
	static const char *const yes[] = { "true", "True", "TRUE", "1", "yes", "on" };
	static const char *const no[] = { "false", "False", "FALSE", "0", "no", "off" };
	const char *value = compat_get(compat, variable);

	for (size_t i = 0; value && i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcmp(value, yes[i]) == 0)
			return true;
		if (strcmp(value, no[i]) == 0)
			return false;
	}
	if (value)
		compat_wrong(compat, variable, "true or false");
	return otherwise;
}

void compat_put_seconds(struct compat *compat, const char *path, const char *variable)
{
	const char *value = compat_get(compat, variable);
	char *end;
	double seconds = value ? strtod(value, &end) : 0;

	if (!value)
		return;
	if (*end || !isdigit((unsigned char)*value) || seconds <= 0 || seconds > 30.0 * 24 * 3600)
		compat_wrong(compat, variable, "a number of seconds, such as 5 or 0.5");
	else
		compat_put(compat, compat->root, path, variable,
			config_arena_printf(compat->arena, "%lldms", (long long)(seconds * 1000 + 0.5)));
}

/* These listen on every address; the first variable that is set counts. */
void compat_put_port(struct compat *compat, const char *const *variables, const char *otherwise, const char *signature)
{
	for (size_t i = 0; variables[i]; i++) {
		const char *value = compat_get(compat, variables[i]);

		if (!value)
			continue;
		if (strlen(value) > 5 || strspn(value, "0123456789") != strlen(value)) {
			compat_wrong(compat, variables[i], "a port");
			return;
		}
		compat_put(compat, compat->root, "listen", variables[i],
			config_arena_printf(compat->arena, "0.0.0.0:%s", value));
		return;
	}
	compat_put_default(compat, compat->root, "listen", signature, config_arena_printf(compat->arena, "0.0.0.0:%s", otherwise));
}

/* "a, b" */
void compat_put_list(struct compat *compat, const char *path, const char *variable)
{
	const char *at = compat_get(compat, variable);
	const char *const none[] = { NULL };
	struct node *items = at ? compat_list(compat, variable, none) : NULL;

	for (size_t len; items && *at; at += len + (at[len] == ',')) {
		size_t skip = strspn(at, " "), end;

		len = strcspn(at, ",");
		for (end = len; end > skip && at[end - 1] == ' ';)
			end--;
		if (end > skip) {
			struct node *item = compat_scalar(compat, variable,
				config_arena_strndup(compat->arena, at + skip, end - skip));

			if (!item)
				return;
			node_append(items, item);
		}
	}
	compat_put_node(compat, compat->root, path, items);
}
