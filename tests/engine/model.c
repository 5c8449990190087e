/* SPDX-License-Identifier: Apache-2.0 */
/* Names: the served ones, the adapters; and their list. */
#include "model.h"

#include <string.h>

/* What a name is served as: itself, unless the simulator is told to have started another model. */
static const char *served(const struct engine *engine, size_t i)
{
	return engine_has_fault(engine, FAULT_WRONG_MODEL) ? "another-model" : engine->options.names.items[i];
}

static const char *find(const struct engine *engine, const char *name)
{
	const struct adapter *adapter;
	size_t i;

	for (i = 0; i < engine->options.names.count; i++) {
		if (strcmp(served(engine, i), name) == 0)
			return served(engine, i);
	}
	adapter = lora_find(engine, name);
	return adapter ? adapter->name : NULL;
}

bool model_is_served(const struct engine *engine, const char *name)
{
	return find(engine, name) != NULL;
}

const char *model_resolve(struct conn *conn)
{
	const struct engine *engine = conn->engine;
	const json_t *value = json_object_get(conn->x.json, "model");
	const struct adapter *adapter;
	const char *name;

	if (!value || json_is_null(value))
		return served(engine, 0);
	if (!json_is_string(value)) {
		exchange_error(conn, 400, "Bad Request", NULL,
			"[{'type': 'string_type', 'loc': ('body', 'model'), 'msg': 'Input should be a valid "
			"string'}]");
		return NULL;
	}
	name = find(engine, json_string_value(value));
	if (!name)
		exchange_error(conn, 404, "NotFoundError", "model", "The model `%s` does not exist.",
			json_string_value(value));
	adapter = name ? lora_find(engine, name) : NULL;
	if (adapter && strstr(adapter->path, "broken")) {
		exchange_error(conn, 500, "InternalServerError", NULL, "Loading lora %s failed", name);
		return NULL;
	}
	return name;
}

static json_t *card(const struct engine *engine, const char *id, const char *root, const char *parent)
{
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s?, s:o, s:[]}", "id", id, "object", "model", "created",
		1767225600, "owned_by", "vllm", "root", root, "parent", parent, "max_model_len",
		parent ? json_null() : json_integer(engine->options.context), "permission");
}

static json_t *all(const struct engine *engine)
{
	json_t *data = json_array();
	const struct adapter *adapter;
	size_t i;

	for (i = 0; i < engine->options.names.count; i++)
		json_array_append_new(data, card(engine, served(engine, i), engine->options.model, NULL));
	for (adapter = engine->adapters; adapter; adapter = adapter->next)
		json_array_append_new(data, card(engine, adapter->name, adapter->path, served(engine, 0)));
	return data;
}

void model_list(struct conn *conn)
{
	json_t *data = conn->engine->router ? router_openai_list(conn->engine) : all(conn->engine);

	exchange_json(conn, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

void model_get(struct conn *conn)
{
	const char *id = conn->x.request.path + strlen("/v1/models/");
	json_t *data = conn->engine->router ? router_openai_list(conn->engine) : all(conn->engine);
	json_t *item;
	json_t *found = NULL;
	size_t i;

	json_array_foreach(data, i, item) {
		const char *name = json_string_value(json_object_get(item, "id"));

		if (!found && name && strcmp(name, id) == 0)
			found = json_incref(item);
	}
	json_decref(data);
	if (found)
		exchange_json(conn, 200, found);
	else
		exchange_error(conn, 404, "NotFoundError", "model", "The model `%s` does not exist.", id);
}
