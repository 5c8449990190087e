/* SPDX-License-Identifier: Apache-2.0 */
/* AIC vLLM Proxy's control of its one model.
 *
 *   POST /switch {"model_spec"} ─┬─ the same, and it serves ──► 200 already running
 *                                └─ else: published, loaded; a vigil waits
 *                                      ├─ ready ──────────────► 200 ready
 *                                      ├─ its engine failed ──► 500, or 504 where its time was over; there is no model
 *                                      └─ another /switch ────► 409
 *
 * On the desk's thread, so one switch is begun after the other. */
#include "routes/admin.h"

#include "adhoc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct switching {
	struct vigil vigil;
	uint64_t generation;
	int64_t until_ms;
	char *model; /* behind this struct */
};

/* --- looking ---------------------------------------------------------------------------------------------------- */

/* The model's first replica, or NULL; *state keeps it. */
static json_t *get_replica(struct errand *errand, const char *name, json_t **state)
{
	char *text = vgw_residency_dup_state(admin_get_residency(errand));
	json_t *replica = NULL, *model;
	size_t i;

	*state = text ? json_loads(text, 0, NULL) : NULL;
	vgw_free(text);
	json_array_foreach(json_object_get(*state, "models"), i, model) {
		const char *other = json_string_value(json_object_get(model, "name"));

		if (name && other && strcmp(other, name) == 0)
			replica = json_array_get(json_object_get(model, "replicas"), 0);
	}
	return replica;
}

static json_t *member(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	return value ? json_incref(value) : json_null();
}

static bool is_ready(const json_t *replica)
{
	const char *state = json_string_value(json_object_get(replica, "state"));

	return state && strcmp(state, "ready") == 0;
}

/* The engine's own output; of the last one when there is no model. From malloc(), or NULL. */
static char *get_log_path(struct errand *errand)
{
	return adhoc_dup_log_path(desk_get_adhoc(errand_get_desk(errand)));
}

static void note_log_path(struct errand *errand, const char *name)
{
	vgw_error err = VGW_ERROR_INIT;
	char *path = vgw_residency_dup_log_path(admin_get_residency(errand), name, &err);

	if (path)
		adhoc_note_log_path(desk_get_adhoc(errand_get_desk(errand)), path);
	vgw_free(path);
}

void aic_status(struct errand *errand)
{
	struct adhoc_view view;
	json_t *state, *replica, *pid;
	char *log_path;

	if (!adhoc_get(desk_get_adhoc(errand_get_desk(errand)), &view)) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	replica = get_replica(errand, view.name, &state);
	pid = json_object_get(replica, "pid");
	if (view.name)
		note_log_path(errand, view.name);
	log_path = get_log_path(errand);
	admin_answer_json(errand, 200, json_pack("{s:b, s:o, s:s?, s:o, s:s?}", "running",
		json_integer_value(pid) > 0, "pid", member(replica, "pid"), "model_spec", view.text, "vllm_base",
		member(replica, "endpoint"), "log_path", log_path));
	free(log_path);
	json_decref(state);
	adhoc_view_fini(&view);
}

/* --- the end of a switch ---------------------------------------------------------------------------------------- */

static void answer_switched(struct errand *errand, const char *name, const char *word)
{
	struct adhoc_view view;
	json_t *state, *replica;

	if (!adhoc_get(desk_get_adhoc(errand_get_desk(errand)), &view)) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	note_log_path(errand, name);
	replica = get_replica(errand, name, &state);
	admin_answer_json(errand, 200, json_pack("{s:s, s:o, s:s?, s:o}", "status", word, "pid", member(replica, "pid"),
		"model_spec", view.text, "log_path", member(replica, "log_path")));
	json_decref(state);
	adhoc_view_fini(&view);
}

/* What failed is no model any more: nothing starts it again until it is asked for. */
static void drop_model(struct errand *errand, const char *name)
{
	struct desk *desk = errand_get_desk(errand);
	char why[256];

	note_log_path(errand, name);
	adhoc_spec_free(adhoc_swap(desk_get_adhoc(desk), NULL));
	(void)desk_publish(desk, why, sizeof(why));
	(void)adhoc_keep(desk_get_adhoc(desk));
}

/* "exit code 3 0.2 s after it was started: ..." */
static json_t *find_exit_code(const char *text)
{
	static const char words[] = "exit code ";

	if (strncmp(text, words, sizeof(words) - 1) != 0)
		return json_null();
	return json_integer(strtol(text + sizeof(words) - 1, NULL, 10));
}

static void answer_failed(struct errand *errand, vgw_fault fault, const char *text)
{
	char *log_path = get_log_path(errand), *body, message[768];
	bool is_late = fault == VGW_FAULT_MODEL_START_TIMEOUT;
	json_t *json;

	(void)snprintf(message, sizeof(message), "the model did not start: %s; its log: %s", text[0] ? text : "unknown",
		log_path ? log_path : "none");
	body = vgw_fault_dup_body(is_late ? fault : VGW_FAULT_MODEL_START_FAILED, message, NULL);
	json = body ? json_loads(body, 0, NULL) : NULL;
	if (json) {
		(void)json_object_set_new(json, "exit_code", find_exit_code(text));
		(void)json_object_set_new(json, "log_path", log_path ? json_string(log_path) : json_null());
	}
	vgw_free(body);
	free(log_path);
	admin_answer_json(errand, is_late ? 504 : 500, json);
}

enum standing { WANTED, DROPPED, REPLACED };

/* Two may wait for one model: the first that hears of its failure drops it. */
static enum standing get_standing(const struct switching *switching)
{
	struct adhoc_view view;
	enum standing standing = WANTED;

	if (!adhoc_get(desk_get_adhoc(errand_get_desk(switching->vigil.errand)), &view))
		return WANTED;
	if (view.generation != switching->generation)
		standing = view.name ? REPLACED : DROPPED;
	adhoc_view_fini(&view);
	return standing;
}

/* An event may be older than the switch, and be that of an engine before it of the same name. */
static bool is_ready_now(const struct switching *switching)
{
	json_t *state, *replica = get_replica(switching->vigil.errand, switching->model, &state);
	bool is_so = is_ready(replica);

	json_decref(state);
	return is_so;
}

static bool hear(struct vigil *vigil, const struct desk_event *told)
{
	struct switching *switching = (struct switching *)vigil;
	const vgw_event *event = told->event;
	enum standing standing = get_standing(switching);

	if (event->kind != VGW_EVENT_TRANSITION || strcmp(event->model, switching->model) != 0 || standing == REPLACED)
		return true;
	if (strcmp(event->to, "ready") == 0 && standing == WANTED && is_ready_now(switching)) {
		answer_switched(vigil->errand, switching->model, "ready");
		return false;
	}
	if (strcmp(event->to, "backoff") != 0 && strcmp(event->to, "stuck") != 0)
		return true;
	if (standing == WANTED)
		drop_model(vigil->errand, switching->model);
	answer_failed(vigil->errand, event->fault, event->text);
	return false;
}

static bool tick(struct vigil *vigil, int64_t now_ms)
{
	struct switching *switching = (struct switching *)vigil;
	enum standing standing = get_standing(switching);

	if (standing == REPLACED) {
		errand_answer_fault(vigil->errand, VGW_FAULT_MODEL_CONFLICT, "another model was asked for meanwhile");
		return false;
	}
	if (standing == WANTED && now_ms < switching->until_ms)
		return true;
	if (standing == WANTED)
		drop_model(vigil->errand, switching->model);
	answer_failed(vigil->errand, VGW_FAULT_MODEL_START_TIMEOUT, "it was given up");
	return false;
}

/* --- its beginning ---------------------------------------------------------------------------------------------- */

/* The published model of this view is loaded, and waited for. */
static void load(struct errand *errand, const struct adhoc_view *view)
{
	size_t size = strlen(view->name) + 1;
	struct switching *switching = errand_alloc(errand, sizeof(*switching) + size);
	struct desk *desk = errand_get_desk(errand);
	vgw_error err = VGW_ERROR_INIT;
	json_t *state, *replica;

	if (!switching) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	switching->vigil = (struct vigil){ .errand = errand, .hear = hear, .tick = tick };
	switching->generation = view->generation;
	switching->until_ms = vgw_now_ms() + view->patience_ms;
	switching->model = memcpy(switching + 1, view->name, size);
	if (!desk_keep(desk, &switching->vigil))
		return;
	if (vgw_residency_load(admin_get_residency(errand), view->name, 0, &err) != VGW_OK) {
		desk_let_go(desk, &switching->vigil);
		drop_model(errand, view->name);
		admin_answer_error(errand, &err);
		return;
	}
	replica = get_replica(errand, view->name, &state);
	if (is_ready(replica)) {
		desk_let_go(desk, &switching->vigil);
		answer_switched(errand, view->name, "ready");
	}
	json_decref(state);
}

/* False: answered. Takes the spec. */
static bool publish(struct errand *errand, struct adhoc_spec *spec)
{
	struct desk *desk = errand_get_desk(errand);
	struct adhoc *adhoc = desk_get_adhoc(desk);
	struct adhoc_spec *old = adhoc_swap(adhoc, spec);
	char why[256] = "";

	if (desk_publish(desk, why, sizeof(why)) != 0) {
		adhoc_spec_free(adhoc_swap(adhoc, old));
		(void)desk_publish(desk, why + strlen(why), sizeof(why) - strlen(why));
		errand_answer_fault(errand, VGW_FAULT_BAD_REQUEST, why);
		return false;
	}
	adhoc_spec_free(old);
	(void)adhoc_keep(adhoc);
	return true;
}

static void switch_to(struct errand *errand, struct adhoc_spec *spec)
{
	struct adhoc *adhoc = desk_get_adhoc(errand_get_desk(errand));
	bool is_same = adhoc_is(adhoc, spec);
	struct adhoc_view view;
	json_t *state, *replica;

	if (is_same)
		adhoc_spec_free(spec);
	else if (!publish(errand, spec))
		return;
	if (!adhoc_get(adhoc, &view) || !view.name) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	replica = get_replica(errand, view.name, &state);
	if (is_same && is_ready(replica))
		answer_switched(errand, view.name, "already running");
	else
		load(errand, &view);
	json_decref(state);
	adhoc_view_fini(&view);
}

static bool is_allowed(struct errand *errand)
{
	struct adhoc_view view;
	bool is_allowed = adhoc_get(desk_get_adhoc(errand_get_desk(errand)), &view) && view.is_allowed;

	if (is_allowed)
		adhoc_view_fini(&view);
	else
		errand_answer_fault(errand, VGW_FAULT_PERMISSION_DENIED, "allow_adhoc_models is off");
	return is_allowed;
}

void aic_switch(struct errand *errand)
{
	const struct errand_request *request = errand_get_request(errand);
	json_t *body = json_loadb(request->body, request->body_len, JSON_REJECT_DUPLICATES, NULL);
	const char *text = json_string_value(json_object_get(body, "model_spec"));
	struct adhoc_spec *spec = NULL;
	char why[160] = "send {\"model_spec\": \"MODEL --option ...\"}";

	if (!is_allowed(errand)) {
		json_decref(body);
		return;
	}
	if (text)
		spec = adhoc_parse(text, why, sizeof(why));
	json_decref(body);
	if (spec)
		switch_to(errand, spec);
	else
		errand_answer_fault(errand, VGW_FAULT_BAD_REQUEST, why);
}

/* --- its log ---------------------------------------------------------------------------------------------------- */

static void answer_log(struct errand *errand, void (*answer)(struct errand *errand, const char *path))
{
	struct adhoc_view view;
	char *path;

	if (adhoc_get(desk_get_adhoc(errand_get_desk(errand)), &view) && view.name)
		note_log_path(errand, view.name);
	path = get_log_path(errand);
	if (path)
		answer(errand, path);
	else
		errand_answer_fault(errand, VGW_FAULT_NOT_FOUND, "no model was started yet");
	free(path);
	adhoc_view_fini(&view);
}

void aic_log(struct errand *errand)
{
	answer_log(errand, admin_send_log);
}

void aic_log_tail(struct errand *errand)
{
	answer_log(errand, admin_answer_log);
}
