/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters loaded and unloaded at run time. A path with "missing" in it does not exist; one with "broken" in
 * it loads with success and then fails each request, as vLLM has done. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

static void add(struct engine *engine, const char *name, const char *path)
{
	struct adapter **end = &engine->adapters;
	struct adapter *adapter = xalloc(sizeof(*adapter));

	adapter->name = xstrdup(name);
	adapter->path = xstrdup(path);
	while (*end)
		end = &(*end)->next;
	*end = adapter;
}

static void free_adapter(struct adapter *adapter)
{
	free(adapter->name);
	free(adapter->path);
	free(adapter);
}

void lora_init(struct engine *engine)
{
	const struct words *modules = &engine->options.lora_modules;
	size_t i;

	for (i = 0; i < modules->count; i++) {
		const char *equals = strchr(modules->items[i], '=');
		char *name = xstrndup(modules->items[i],
			equals ? (size_t)(equals - modules->items[i]) : strlen(modules->items[i]));

		add(engine, name, equals ? equals + 1 : name);
		free(name);
	}
}

void lora_free(struct engine *engine)
{
	while (engine->adapters) {
		struct adapter *adapter = engine->adapters;

		engine->adapters = adapter->next;
		free_adapter(adapter);
	}
}

const struct adapter *lora_find(const struct engine *engine, const char *name)
{
	const struct adapter *adapter;

	for (adapter = engine->adapters; adapter; adapter = adapter->next) {
		if (strcmp(adapter->name, name) == 0)
			return adapter;
	}
	return NULL;
}

static const char *text_of(const struct conn *conn, const char *key)
{
	const char *text = json_string_value(json_object_get(conn->x.json, key));

	return text && *text ? text : NULL;
}

static size_t count(const struct engine *engine)
{
	const struct adapter *adapter;
	size_t n = 0;

	for (adapter = engine->adapters; adapter; adapter = adapter->next)
		n++;
	return n;
}

void lora_discard(struct engine *engine)
{
	struct adapter *adapter;

	for (adapter = engine->adapters; adapter; adapter = adapter->next)
		adapter->is_garbage = true;
}

/* The name may have been loaded by another request while this one took its time. */
static void finish_load(struct conn *conn)
{
	struct engine *engine = conn->engine;
	const char *name = text_of(conn, "lora_name");
	const char *path = text_of(conn, "lora_path");
	struct buf body = {0};

	conn->x.resume = NULL;
	if (lora_find(engine, name) && !json_is_true(json_object_get(conn->x.json, "load_inplace"))) {
		exchange_error(conn, 400, "InvalidUserInput", NULL,
			"The lora adapter '%s' has already been loaded. If you want to load the adapter in "
			"place, set "
			"'load_inplace' to True.",
			name);
		return;
	}
	if (strstr(path, "missing")) {
		exchange_error(conn, 404, "NotFoundError", NULL,
			"Loading lora %s failed: No adapter found for %s", name, path);
		return;
	}
	if (!lora_find(engine, name)) {
		if (count(engine) >= (size_t)engine->options.max_loras) {
			exchange_error(conn, 400, "BadRequestError", NULL,
				"No free slot for the adapter '%s'", name);
			return;
		}
		add(engine, name, path);
	}
	buf_printf(&body, "Success: LoRA adapter '%s' added successfully.", name);
	exchange_reply(conn, 200, "text/plain; charset=utf-8", &body);
}

void lora_load(struct conn *conn)
{
	if (!text_of(conn, "lora_name") || !text_of(conn, "lora_path"))
		exchange_error(conn, 400, "InvalidUserInput", NULL,
			"Both 'lora_name' and 'lora_path' must be provided.");
	else if (conn->engine->options.lora_time)
		exchange_after(conn, conn->engine->options.lora_time, finish_load);
	else
		finish_load(conn);
}

void lora_unload(struct conn *conn)
{
	struct engine *engine = conn->engine;
	const char *name = text_of(conn, "lora_name");
	struct adapter **link = &engine->adapters;
	struct adapter *adapter;
	struct buf body = {0};

	if (!name) {
		exchange_error(conn, 400, "InvalidUserInput", NULL,
			"'lora_name' needs to be provided to unload a LoRA adapter.");
		return;
	}
	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	adapter = *link;
	if (!adapter) {
		exchange_error(
			conn, 404, "NotFoundError", NULL, "The lora adapter '%s' cannot be found.", name);
		return;
	}
	*link = adapter->next;
	buf_printf(&body, "Success: LoRA adapter '%s' removed successfully.", name);
	free_adapter(adapter);
	exchange_reply(conn, 200, "text/plain; charset=utf-8", &body);
}
