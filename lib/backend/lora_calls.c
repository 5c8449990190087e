/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine's answers about adapters mean. Its routes exist only with --enable-lora and
 * VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; a route that is not there and an adapter that is not there are both 404. */
#include "backend/lora_calls.h"

#include "backend/engine_call.h"
#include "util/error.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { EXCERPT_SIZE = 130 };

/* --- one call ----------------------------------------------------------------------------------------------------- */

static vgw_status call(const struct vgw__lora_engine *engine, const char *path, json_t *json, int64_t deadline_ms,
	struct vgw__control_answer *answer, vgw_error *err)
{
	char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
	const struct vgw__engine_call request = {
		.endpoint = engine->endpoint, .path = path, .method = json ? "POST" : "GET", .body = body,
		.api_key = engine->api_key, .deadline_ms = deadline_ms, .cancel_fd = engine->cancel_fd,
	};
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status = VGW_NOMEM;

	memset(answer, 0, sizeof(*answer));
	if (body || !json)
		status = vgw__engine_call(&request, answer, &why);
	free(body);
	switch (status) {
	case VGW_OK:
		return VGW_OK;
	case VGW_TIMEOUT:
		return vgw_error_set_fault(err, status, VGW_FAULT_UPSTREAM_TIMEOUT, "%s: %.160s", path, why.text);
	case VGW_BACKEND:
		return vgw_error_set_fault(err, status, VGW_FAULT_UPSTREAM_UNAVAILABLE, "%s: %.160s", path, why.text);
	default:
		return vgw_error_set(err, status, 0, "%s: %.160s", path, why.text);
	}
}

/* --- what it says ------------------------------------------------------------------------------------------------- */

static bool says(const struct vgw__control_answer *answer, const char *words)
{
	return answer->body && strstr(answer->body, words);
}

/* Newer engines say it in {"error":{"message"}}, older ones in {"message"}. */
static const char *read_message(const struct vgw__control_answer *answer, json_t **root, char *room)
{
	const char *text;

	*root = json_loadb(answer->body ? answer->body : "", answer->body_len, 0, NULL);
	text = json_string_value(json_object_get(json_object_get(*root, "error"), "message"));
	if (!text)
		text = json_string_value(json_object_get(*root, "message"));
	return text ? text : vgw__engine_call_excerpt(answer, room, EXCERPT_SIZE);
}

/* No such route: FastAPI's own 404 and 405 know nothing of adapters. */
static bool has_no_route(const struct vgw__control_answer *answer)
{
	return answer->status == 405 || (answer->status == 404 && !says(answer, "lora") && !says(answer, "LoRA") &&
		!says(answer, "adapter") && !says(answer, "NotFoundError"));
}

static vgw_status refuse(const struct vgw__control_answer *answer, const char *path, vgw_error *err)
{
	char room[EXCERPT_SIZE];
	const char *message;
	json_t *root;

	if (has_no_route(answer))
		return vgw_error_set_fault(err, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
			"the engine has no routes for adapters: start it with --enable-lora and "
			"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True");
	message = read_message(answer, &root, room);
	if (answer->status == 404)
		(void)vgw_error_set_fault(err, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
			"the engine finds no adapter at '%.60s' (the path is the engine's own): %.*s", path,
			EXCERPT_SIZE, message);
	else
		(void)vgw_error_set_fault(err, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
			"the engine refuses the adapter '%.60s' with %u: %.*s", path, (unsigned)answer->status,
			EXCERPT_SIZE, message);
	json_decref(root);
	return VGW_BACKEND;
}

/* --- the calls ---------------------------------------------------------------------------------------------------- */

/* A model that completes nothing (an embedding model) says so with 4xx, and that it answers is what counts. */
static vgw_status try_it(const struct vgw__lora_engine *engine, const char *name, const char *path, int64_t deadline_ms,
	vgw_error *err)
{
	json_t *json = json_pack("{s:s, s:s, s:i, s:i}", "model", name, "prompt", "1", "max_tokens", 1, "temperature", 0);
	struct vgw__control_answer answer;
	vgw_status status = json ? call(engine, "/v1/completions", json, deadline_ms, &answer, err) : VGW_NOMEM;

	json_decref(json);
	if (status != VGW_OK)
		return vgw_error_set(err, status, 0, "an adapter was not tried");
	if (answer.status >= 500 || (answer.status == 404 && says(&answer, "does not exist")))
		status = refuse(&answer, path, err);
	vgw__control_answer_fini(&answer);
	return status;
}

vgw_status vgw__lora_load(const struct vgw__lora_engine *engine, const char *name, const char *path, int64_t deadline_ms,
	vgw_error *err)
{
	json_t *json = json_pack("{s:s, s:s}", "lora_name", name, "lora_path", path);
	struct vgw__control_answer answer;
	vgw_status status = json ? call(engine, "/v1/load_lora_adapter", json, deadline_ms, &answer, err) : VGW_NOMEM;
	bool is_there;

	json_decref(json);
	if (status != VGW_OK)
		return vgw_error_set(err, status, 0, "an adapter was not loaded");
	is_there = answer.status == 400 && (says(&answer, "already been loaded") || says(&answer, "already loaded"));
	if (answer.status != 200 && !is_there)
		status = refuse(&answer, path, err);
	vgw__control_answer_fini(&answer);
	if (status == VGW_OK)
		status = try_it(engine, name, path, deadline_ms, err);
	if (status == VGW_BACKEND && vgw_error_get_fault(err) == VGW_FAULT_MODEL_START_FAILED)
		(void)vgw__lora_unload(engine, name, deadline_ms, NULL); /* whatever of it is there */
	return status;
}

vgw_status vgw__lora_unload(const struct vgw__lora_engine *engine, const char *name, int64_t deadline_ms,
	vgw_error *err)
{
	json_t *json = json_pack("{s:s}", "lora_name", name);
	struct vgw__control_answer answer;
	vgw_status status = json ? call(engine, "/v1/unload_lora_adapter", json, deadline_ms, &answer, err) : VGW_NOMEM;

	json_decref(json);
	if (status != VGW_OK)
		return vgw_error_set(err, status, 0, "an adapter was not unloaded");
	if (answer.status != 200 && (answer.status != 404 || has_no_route(&answer)))
		status = refuse(&answer, name, err);
	vgw__control_answer_fini(&answer);
	return status;
}

vgw_status vgw__lora_list(const struct vgw__lora_engine *engine, bool (*fits)(void *user, const char *name), void *user,
	struct vgw__strings *names, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__control_answer answer;
	vgw_status status = call(engine, "/v1/models", NULL, deadline_ms, &answer, err);
	json_t *root, *item;
	size_t i;

	if (status != VGW_OK)
		return status;
	root = json_loadb(answer.body, answer.body_len, 0, NULL);
	if (answer.status != 200 || !json_is_array(json_object_get(root, "data")))
		status = vgw_error_set_fault(err, VGW_BACKEND, VGW_FAULT_UPSTREAM_UNAVAILABLE,
			"/v1/models answers %u and no list", (unsigned)answer.status);
	json_array_foreach(json_object_get(root, "data"), i, item) {
		const char *name = json_string_value(json_object_get(item, "id"));

		if (status == VGW_OK && name && fits(user, name) && !vgw__strings_add(names, name))
			status = vgw_error_set(err, VGW_NOMEM, 0, "no memory for a list of adapters");
	}
	json_decref(root);
	vgw__control_answer_fini(&answer);
	return status;
}
