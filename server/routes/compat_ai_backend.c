/* SPDX-License-Identifier: Apache-2.0 */
/* AI Backend Gateway's simple API: a message instead of a conversation, and a modelKey that picks the engine.
 *
 *   POST /api/chat {"message", "system", "model", "modelKey"} ─► choose ─► {"model", "messages"} for that engine
 *
 *   modelKey given      that route; 409 if there is none, or its engine does not list the model
 *   only model given    the one engine that lists it; none or several: 409
 *   neither             the default route, and the default model, or the first its engine lists */
#include "routes/routes.h"

#include "catalogue.h"

#include <stdlib.h>
#include <string.h>

struct choice {
	const json_t *source;
	const char *model;
};

/* --- looking -------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool holds(const json_t *texts, const char *text)
{
	json_t *item;
	size_t i;

	json_array_foreach(texts, i, item) {
		if (strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return false;
}

static bool is_allowed(const json_t *snapshot, const char *model)
{
	const json_t *allowed = json_object_get(snapshot, "allowed");

	return json_array_size(allowed) == 0 || holds(allowed, model);
}

static const json_t *find_source(const json_t *snapshot, const char *key)
{
	json_t *source;
	size_t i;

	json_array_foreach(json_object_get(snapshot, "sources"), i, source) {
		if (key && strcmp(text_of(source, "source"), key) == 0)
			return source;
	}
	return NULL;
}

/* The default route, else the first. */
static const json_t *default_source(const json_t *snapshot)
{
	const json_t *source = find_source(snapshot, text_of(snapshot, "default_source"));

	return source ? source : json_array_get(json_object_get(snapshot, "sources"), 0);
}

const char *simple_get_state(const json_t *snapshot)
{
	const json_t *source = default_source(snapshot);

	return source ? text_of(source, "state") : snapshot ? "unconfigured" : "unknown";
}

/* --- choosing ------------------------------------------------------------------------------------------------- */

static vgw_fault conflict(struct route_rewrite *out, const char *format, const char *what)
{
	(void)snprintf(out->why, sizeof(out->why), "%s '%.120s'", format, what);
	return VGW_FAULT_MODEL_CONFLICT;
}

/* The first it lists of those that are allowed. */
static vgw_fault choose_first(struct choice *choice, const json_t *snapshot, struct route_rewrite *out)
{
	json_t *id;
	size_t i;

	json_array_foreach(json_object_get(choice->source, "ids"), i, id) {
		if (is_allowed(snapshot, json_string_value(id))) {
			choice->model = json_string_value(id);
			return VGW_FAULT_NONE;
		}
	}
	(void)snprintf(out->why, sizeof(out->why), "the engine of '%.120s' lists no model to use",
		text_of(choice->source, "source"));
	return VGW_FAULT_UPSTREAM_UNAVAILABLE;
}

static vgw_fault infer_source(struct choice *choice, const json_t *snapshot, struct route_rewrite *out)
{
	json_t *source;
	size_t i, count = 0;

	json_array_foreach(json_object_get(snapshot, "sources"), i, source) {
		if (holds(json_object_get(source, "ids"), choice->model)) {
			choice->source = source;
			count++;
		}
	}
	if (count == 0)
		return conflict(out, "no engine lists the model; send modelKey with", choice->model);
	return count == 1 ? VGW_FAULT_NONE : conflict(out, "several engines serve the model; send modelKey with",
						     choice->model);
}

static vgw_fault choose(struct choice *choice, const json_t *snapshot, const json_t *asked, struct route_rewrite *out)
{
	const char *key = text_of(asked, "modelKey"), *named = text_of(asked, "model");
	const json_t *ids;

	choice->model = named && *named ? named : text_of(snapshot, "default_model");
	choice->source = key && *key ? find_source(snapshot, key) : NULL;
	if (choice->model && !is_allowed(snapshot, choice->model)) {
		(void)snprintf(out->why, sizeof(out->why), "the model '%.120s' is not allowed here", choice->model);
		return VGW_FAULT_MODEL_NOT_ALLOWED;
	}
	if (key && *key && !choice->source)
		return conflict(out, "there is no modelKey", key);
	if (!choice->source && named && *named)
		return infer_source(choice, snapshot, out);
	if (!choice->source)
		choice->source = default_source(snapshot);
	if (!choice->source)
		return conflict(out, "no engine is configured for", "the simple API");
	ids = json_object_get(choice->source, "ids");
	if (!choice->model)
		return choose_first(choice, snapshot, out);
	if (json_array_size(ids) && !holds(ids, choice->model))
		return conflict(out, "the engine of this modelKey does not serve the model", choice->model);
	return VGW_FAULT_NONE;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static json_t *make_chat(const json_t *asked, const char *model, bool is_stream)
{
	static const char *const kept[] = { "temperature", "max_tokens" };
	const char *system = text_of(asked, "system");
	json_t *messages = json_array();
	json_t *chat = json_pack("{s:s, s:O}", "model", model, "messages", messages);

	json_decref(messages);
	if (chat && system && *system)
		(void)json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
	if (!chat || json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content",
			     text_of(asked, "message"))) != 0) {
		json_decref(chat);
		return NULL;
	}
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		json_t *value = json_object_get(asked, kept[i]);

		if (value && !json_is_null(value))
			(void)json_object_set(chat, kept[i], value);
	}
	if (is_stream)
		(void)json_object_set_new(chat, "stream", json_true());
	return chat;
}

static json_t *make_embeddings(const json_t *asked, const char *model)
{
	return json_pack("{s:s, s:O}", "model", model, "input", json_object_get(asked, "input"));
}

static vgw_fault check(const json_t *asked, vgw_operation operation, struct route_rewrite *out)
{
	static const char *const texts[] = { "message", "system", "model", "modelKey" };
	const char *message = text_of(asked, "message");

	if (!json_is_object(asked))
		return VGW_FAULT_INVALID_JSON;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const json_t *value = json_object_get(asked, texts[i]);

		if (value && !json_is_null(value) && !json_is_string(value)) {
			(void)snprintf(out->why, sizeof(out->why), "%s must be a text", texts[i]);
			return VGW_FAULT_BAD_REQUEST;
		}
	}
	if (operation == VGW_OPERATION_CHAT_COMPLETIONS && (!message || !*message)) {
		(void)snprintf(out->why, sizeof(out->why), "send {\"message\": \"...\"}");
		return VGW_FAULT_BAD_REQUEST;
	}
	if (operation == VGW_OPERATION_EMBEDDINGS && !json_object_get(asked, "input")) {
		(void)snprintf(out->why, sizeof(out->why), "send {\"input\": \"...\"}");
		return VGW_FAULT_BAD_REQUEST;
	}
	return VGW_FAULT_NONE;
}

static vgw_fault rewrite(struct catalogue *catalogue, const struct route *route, const json_t *asked, bool is_stream,
	struct route_rewrite *out)
{
	json_t *snapshot = catalogue_dup(catalogue), *json = NULL;
	struct choice choice;
	vgw_fault fault = check(asked, route->operation, out);

	if (fault == VGW_FAULT_NONE)
		fault = choose(&choice, snapshot, asked, out);
	if (fault == VGW_FAULT_NONE) {
		json = route->operation == VGW_OPERATION_EMBEDDINGS ? make_embeddings(asked, choice.model)
								   : make_chat(asked, choice.model, is_stream);
		out->body = json ? json_dumps(json, JSON_COMPACT) : NULL;
		(void)snprintf(out->model, sizeof(out->model), "%s", text_of(choice.source, "source"));
		fault = out->body ? VGW_FAULT_NONE : VGW_FAULT_OUT_OF_MEMORY;
	}
	json_decref(json);
	json_decref(snapshot);
	return fault;
}

static vgw_fault rewrite_body(struct catalogue *catalogue, const struct route *route, const char *body, size_t len,
	bool is_stream, struct route_rewrite *out)
{
	json_error_t error;
	json_t *asked = json_loadb(body ? body : "", len, JSON_REJECT_DUPLICATES, &error);
	vgw_fault fault;

	if (!asked) {
		(void)snprintf(out->why, sizeof(out->why), "the body is not valid JSON: %.100s", error.text);
		return VGW_FAULT_INVALID_JSON;
	}
	fault = rewrite(catalogue, route, asked, is_stream, out);
	json_decref(asked);
	return fault;
}

vgw_fault simple_rewrite(struct catalogue *catalogue, const struct route *route, const char *body, size_t len,
	struct route_rewrite *out)
{
	return rewrite_body(catalogue, route, body, len, false, out);
}

vgw_fault simple_rewrite_stream(struct catalogue *catalogue, const struct route *route, const char *body, size_t len,
	struct route_rewrite *out)
{
	return rewrite_body(catalogue, route, body, len, true, out);
}

/* --- GET /api/models ------------------------------------------------------------------------------------------ */

/* One entry per id, whoever serves it. */
static int add_models(json_t *by_id, json_t *data, const json_t *snapshot, const json_t *source)
{
	json_t *id;
	size_t i;
	int result = 0;

	json_array_foreach(json_object_get(source, "ids"), i, id) {
		const char *name = json_string_value(id);
		json_t *entry = json_object_get(by_id, name);

		if (!is_allowed(snapshot, name))
			continue;
		if (!entry) {
			entry = json_pack("{s:O, s:s, s:[]}", "id", id, "object", "model", "sources");
			result |= json_object_set_new(by_id, name, entry) | json_array_append(data, entry);
		}
		result |= json_array_append_new(json_object_get(entry, "sources"), json_pack("{s:O, s:O}", "source",
			json_object_get(source, "source"), "latency_ms", json_object_get(source, "latency_ms")));
	}
	return result;
}

void simple_models(const struct route_view *view, struct route_answer *answer)
{
	json_t *snapshot = catalogue_dup(view->catalogue), *by_id = json_object(), *data = json_array(), *source, *list;
	int result = by_id && data ? 0 : -1;
	size_t i;

	json_array_foreach(json_object_get(snapshot, "sources"), i, source) {
		if (vgw_principal_may_use(view->principal, text_of(source, "source")))
			result |= add_models(by_id, data, snapshot, source);
	}
	list = result == 0 ? json_pack("{s:s, s:O}", "object", "list", "data", data) : NULL;
	answer->status = 200;
	answer->type = "application/json";
	answer->free_fn = free;
	answer->body = list ? json_dumps(list, JSON_COMPACT) : NULL;
	json_decref(list);
	json_decref(data);
	json_decref(by_id);
	json_decref(snapshot);
}
