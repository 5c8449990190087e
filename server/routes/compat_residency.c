/* SPDX-License-Identifier: Apache-2.0 */
/* How clients of other systems load and unload: vLLM-like POST and DELETE of /v1/models, llama-swap's /running and
 * /unload, Ollama's /api/ps, llama-server's /models/load and /models/unload. The same commands, other words. */
#include "routes/admin.h"

#include <stdlib.h>
#include <string.h>

/* --- /v1/models ----------------------------------------------------------------------------------------------- */

static json_t *print_openai(const char *model, const char *state)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "id", model, "object", "model", "owned_by", "vllmgw", "state", state);
}

static json_t *print_openai_deleted(const char *model, const char *state)
{
	return json_pack("{s:s, s:s, s:b, s:s}", "id", model, "object", "model", "deleted", 1, "state", state);
}

static bool wants_wait(struct errand *errand, bool otherwise)
{
	const char *wait = errand_get_request(errand)->query[ROUTE_QUERY_WAIT];

	return wait ? strcmp(wait, "0") != 0 : otherwise;
}

static void act_on_body(struct errand *errand, enum admin_action action, bool is_waiting, admin_print_fn print)
{
	json_t *body;
	const char *model = admin_read_model(errand, &body);

	if (!model)
		return;
	admin_act(errand, action, model, is_waiting, print);
	json_decref(body);
}

void openai_load(struct errand *errand)
{
	act_on_body(errand, ADMIN_LOAD, wants_wait(errand, true), print_openai);
}

void openai_unload(struct errand *errand)
{
	admin_act(errand, ADMIN_UNLOAD, errand_get_request(errand)->name, wants_wait(errand, true),
		print_openai_deleted);
}

/* --- llama-server --------------------------------------------------------------------------------------------- */

static json_t *print_success(const char *model, const char *state)
{
	(void)model;
	(void)state;
	return json_pack("{s:b}", "success", 1);
}

void llama_load(struct errand *errand)
{
	act_on_body(errand, ADMIN_LOAD, wants_wait(errand, false), print_success);
}

void llama_unload(struct errand *errand)
{
	act_on_body(errand, ADMIN_UNLOAD, wants_wait(errand, false), print_success);
}

/* --- lists ---------------------------------------------------------------------------------------------------- */

static json_t *get_models(struct errand *errand, json_t **state)
{
	char *text = vgw_residency_dup_state(admin_get_residency(errand));

	*state = text ? json_loads(text, 0, NULL) : NULL;
	vgw_free(text);
	return json_object_get(*state, "models");
}

static const char *text_of(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

static bool is_managed(const json_t *model)
{
	return json_is_true(json_object_get(model, "managed"));
}

/* llama-swap's words for a process. */
static const char *swap_state(const char *state)
{
	if (strcmp(state, "starting") == 0 || strcmp(state, "waking") == 0)
		return "starting";
	if (strcmp(state, "ready") == 0)
		return "ready";
	if (strcmp(state, "draining") == 0 || strcmp(state, "leaving") == 0)
		return "stopping";
	return NULL;
}

static const char *endpoint_of(const json_t *model)
{
	return text_of(json_array_get(json_object_get(model, "replicas"), 0), "endpoint");
}

void swap_running(struct errand *errand)
{
	json_t *state, *models = get_models(errand, &state), *list = json_array(), *model;
	size_t i;

	json_array_foreach(models, i, model) {
		const char *word = swap_state(text_of(model, "state"));

		if (word && is_managed(model))
			(void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i}", "model", text_of(model, "name"),
				"state", word, "proxy", endpoint_of(model), "ttl", 0));
	}
	admin_answer_json(errand, 200, json_pack("{s:o}", "running", list));
	json_decref(state);
}

static int64_t memory_of(const json_t *model, bool is_host)
{
	const json_t *replica = json_array_get(json_object_get(model, "replicas"), 0);
	json_t *bytes = json_object_get(replica, "memory_bytes"), *value;
	const char *device;
	int64_t sum = 0;

	json_object_foreach(bytes, device, value) {
		if ((strcmp(device, "host") == 0) == is_host)
			sum += json_integer_value(value);
	}
	return sum;
}

/* Ollama's client prints the first twelve characters of a digest, and "Stopping..." for a time that is over. */
void ollama_ps(struct errand *errand)
{
	static const char no_digest[] = "0000000000000000000000000000000000000000000000000000000000000000";
	static const char never[] = "2318-01-01T00:00:00Z";
	json_t *state, *models = get_models(errand, &state), *list = json_array(), *model;
	size_t i;

	json_array_foreach(models, i, model) {
		const char *name = text_of(model, "name");

		if (strcmp(text_of(model, "state"), "ready") == 0)
			(void)json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s, s:{}, s:s, s:I}", "name",
				name, "model", name, "size",
				(json_int_t)(memory_of(model, false) + memory_of(model, true)), "digest", no_digest,
				"details", "expires_at", never, "size_vram", (json_int_t)memory_of(model, false)));
	}
	admin_answer_json(errand, 200, json_pack("{s:o}", "models", list));
	json_decref(state);
}

/* --- llama-swap's unload -------------------------------------------------------------------------------------- */

static json_t *print_ok(const char *model, const char *state)
{
	return json_pack("{s:s, s:s, s:s}", "msg", "ok", "model", model, "state", state);
}

void swap_unload(struct errand *errand)
{
	admin_act(errand, ADMIN_UNLOAD, errand_get_request(errand)->name, wants_wait(errand, false), print_ok);
}

void swap_unload_all(struct errand *errand)
{
	vgw_residency *residency = admin_get_residency(errand);
	json_t *state, *models = get_models(errand, &state), *model;
	size_t i;

	json_array_foreach(models, i, model) {
		vgw_error err = VGW_ERROR_INIT;

		if (is_managed(model) && vgw_residency_unload(residency, text_of(model, "name"), 0, 0, &err) != VGW_OK) {
			admin_answer_error(errand, &err);
			json_decref(state);
			return;
		}
	}
	json_decref(state);
	admin_answer_json(errand, 200, json_pack("{s:s}", "msg", "ok"));
}
