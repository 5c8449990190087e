/* SPDX-License-Identifier: Apache-2.0 */
/* llama-server's router mode: several models in one server, loaded on request, the least recently used put
 * out when there are more than --models-max. Its events go to whoever listens on /models/sse.
 *
 * A model that is being unloaded is listed as loaded until it is gone (--unload-time); requests for it wait, and load it
 * again. One that is unloaded while it loads is killed, which looks like a load that failed. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

enum state { UNLOADED, LOADING, LOADED };

static const char *const state_names[] = {"unloaded", "loading", "loaded"};

struct routed {
	char *name;
	char *alias; /* another name for it; NULL: none */
	enum state state;
	bool is_stopping; /* still LOADED */
	bool has_failed;
	int64_t used_us;
	struct timer timer;
	struct engine *engine;
};

struct router {
	struct routed *models;
	size_t count;
};

static struct routed *find(const struct engine *engine, const char *name)
{
	size_t i;

	for (i = 0; name && i < engine->router->count; i++) {
		struct routed *model = &engine->router->models[i];

		if (strcmp(model->name, name) == 0 || (model->alias && strcmp(model->alias, name) == 0))
			return model;
	}
	return NULL;
}

static bool is_listening(const struct conn *conn)
{
	return conn->is_busy && conn->x.route && conn->x.route->handle == router_events;
}

static void tell(struct routed *model, const char *what)
{
	struct conn *conn;
	struct conn *next;
	struct buf event = {0};

	buf_printf(&event, "data: {\"data\":{%s\"status\":\"%s\"},\"event\":\"%s\",\"model\":\"%s\"}\n\n",
		model->state != UNLOADED ? "" : model->has_failed ? "\"exit_code\":1," : "\"exit_code\":0,",
		state_names[model->state], what, model->name);
	for (conn = model->engine->conns; conn; conn = next) {
		next = conn->next;
		if (!is_listening(conn))
			continue;
		wire_events(conn, &event);
		conn_pump(conn);
	}
	buf_free(&event);
}

static void set_state(struct routed *model, enum state state)
{
	model->state = state;
	tell(model, state == LOADING ? "model_status" : "status_change");
}

static void release_held(struct engine *engine)
{
	struct conn *conn;

	for (conn = engine->conns; conn; conn = conn->next) {
		if (!conn->is_busy || !conn->x.is_held)
			continue;
		conn->x.is_held = false;
		timer_arm(&engine->loop, &conn->x.timer, now_us());
	}
}

static void become_unloaded(struct routed *model, bool has_failed)
{
	timer_cancel(&model->engine->loop, &model->timer);
	model->is_stopping = false;
	model->has_failed = has_failed;
	set_state(model, UNLOADED);
	release_held(model->engine);
}

/* The end of a load, or of an unload. */
static void end_change(void *arg)
{
	struct routed *model = arg;

	if (model->is_stopping) {
		become_unloaded(model, false);
	} else if (engine_has_fault(model->engine, FAULT_START_EXIT) || strstr(model->name, "broken")) {
		become_unloaded(model, true);
	} else {
		set_state(model, LOADED);
		release_held(model->engine);
	}
}

static void begin_unload(struct routed *model)
{
	int64_t takes_us = model->engine->options.unload_time;

	if (model->state == LOADING || takes_us == 0) {
		become_unloaded(model, model->state == LOADING);
	} else if (!model->is_stopping) {
		model->is_stopping = true;
		timer_arm(&model->engine->loop, &model->timer, now_us() + takes_us);
	}
}

static void make_room(struct engine *engine)
{
	struct router *router = engine->router;
	struct routed *oldest = NULL;
	size_t up = 0;
	size_t i;

	for (i = 0; i < router->count; i++) {
		struct routed *model = &router->models[i];

		up += model->state != UNLOADED;
		if (model->state == LOADED && (!oldest || model->used_us < oldest->used_us))
			oldest = model;
	}
	if (oldest && (int64_t)up >= engine->options.models_max)
		become_unloaded(oldest, false);
}

static void start_load(struct routed *model)
{
	make_room(model->engine);
	model->has_failed = false;
	set_state(model, LOADING);
	timer_arm(&model->engine->loop, &model->timer, now_us() + model->engine->options.load_time);
}

static void error(struct conn *conn, int status, const char *type, const char *message)
{
	exchange_json(conn, status,
		json_pack("{s:{s:i, s:s, s:s}}", "error", "code", status, "message", message, "type", type));
}

bool router_admits(struct conn *conn, const char *name, void (*again)(struct conn *conn))
{
	struct routed *model = find(conn->engine, name);
	bool has_waited = conn->x.resume == again;

	if (!model) {
		error(conn, 400, "invalid_request_error",
			name ? "model not found" : "model name is missing from the request");
		return false;
	}
	model->used_us = now_us();
	if (model->state == LOADED && !model->is_stopping)
		return true;
	if (model->state == UNLOADED && model->has_failed && has_waited) {
		error(conn, 500, "server_error", "the model failed to load");
		return false;
	}
	conn->x.is_held = true;
	conn->x.resume = again;
	if (model->state == UNLOADED)
		start_load(model);
	return false;
}

bool router_has(const struct engine *engine, const char *model)
{
	return find(engine, model) != NULL;
}

static json_t *status_of(const struct routed *model)
{
	json_t *status = json_pack(
		"{s:s, s:[s, s]}", "value", state_names[model->state], "args", "--model", model->name);

	if (model->has_failed) {
		json_object_set_new(status, "failed", json_true());
		json_object_set_new(status, "exit_code", json_integer(1));
	}
	return status;
}

json_t *router_openai_list(const struct engine *engine)
{
	json_t *data = json_array();
	size_t i;

	for (i = 0; i < engine->router->count; i++) {
		const struct routed *model = &engine->router->models[i];

		json_array_append_new(data,
			json_pack("{s:s, s:o, s:[], s:s, s:s, s:i, s:o}", "id", model->name, "aliases",
				model->alias ? json_pack("[s]", model->alias) : json_array(), "tags", "object", "model",
				"owned_by", "llamacpp", "created", 1767225600, "status", status_of(model)));
	}
	return data;
}

void router_list(struct conn *conn)
{
	exchange_json(conn, 200,
		json_pack("{s:o, s:s}", "data", router_openai_list(conn->engine), "object", "list"));
}

static struct routed *named(struct conn *conn, int status, const char *type)
{
	struct routed *model = find(conn->engine, json_string_value(json_object_get(conn->x.json, "model")));

	if (!model)
		error(conn, status, type, "model is not found");
	return model;
}

void router_load(struct conn *conn)
{
	struct routed *model = named(conn, 404, "not_found_error");

	if (!model)
		return;
	if (model->state != UNLOADED) {
		error(conn, 400, "invalid_request_error", "model is already running");
		return;
	}
	start_load(model);
	exchange_json(conn, 200, json_pack("{s:b}", "success", 1));
}

void router_unload(struct conn *conn)
{
	struct routed *model = named(conn, 400, "invalid_request_error");

	if (!model)
		return;
	if (model->state == UNLOADED) {
		error(conn, 400, "invalid_request_error", "model is not running");
		return;
	}
	begin_unload(model);
	exchange_json(conn, 200, json_pack("{s:b}", "success", 1));
}

void router_events(struct conn *conn)
{
	wire_stream_begin(conn);
}

void router_props(struct conn *conn)
{
	char *name = http_query(&conn->x.request, "model", 0);
	struct routed *model = find(conn->engine, name);

	free(name);
	if (!model)
		error(conn, 404, "not_found_error", "model not found");
	else
		exchange_json(conn, 200, json_pack("{s:s, s:s}", "model_path", model->name, "state",
			state_names[model->state]));
}

void router_init(struct engine *engine)
{
	const char *p = engine->options.router;
	struct router *router;

	if (!p)
		return;
	router = xalloc(sizeof(*router));
	router->models = xalloc((strlen(p) + 1) * sizeof(*router->models));
	while (*p) {
		size_t len = strcspn(p, ",");
		struct routed *model = &router->models[router->count];

		if (len) {
			*model = (struct routed){.name = xstrndup(p, len), .engine = engine};
			model->alias = strchr(model->name, '=');
			if (model->alias)
				*model->alias++ = '\0';
			model->timer = (struct timer){.fire = end_change, .arg = model};
			router->count++;
		}
		p += len;
		p += *p == ',';
	}
	engine->router = router;
}

void router_free(struct engine *engine)
{
	size_t i;

	if (!engine->router)
		return;
	for (i = 0; i < engine->router->count; i++)
		free(engine->router->models[i].name);
	free(engine->router->models);
	free(engine->router);
	engine->router = NULL;
}
