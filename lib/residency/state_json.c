/* SPDX-License-Identifier: Apache-2.0 */
/* What the residency knows, as JSON for people and dashboards. Built on the residency's thread, where everything
 * holds still; jansson's calls accept the NULL of an earlier failure, so memory is checked once, at the end. */
#include "residency/internal.h"

#include "util/alloc.h"
#include "util/error.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct question {
	struct vgw__ask ask;
	struct vgw__engine *engine; /* of one model */
	int64_t asked_ms;
	char *text; /* the answer */
};

static struct question *question_of(struct vgw__ask *ask)
{
	return VGW__CONTAINER(ask, struct question, ask);
}

/* Takes the reference. */
static void answer(struct vgw__ask *ask, json_t *json)
{
	char *dumped = json ? json_dumps(json, JSON_COMPACT) : NULL;

	question_of(ask)->text = dumped ? vgw__strdup(dumped) : NULL;
	if (!question_of(ask)->text)
		ask->status = vgw_error_set(ask->err, VGW_NOMEM, 0, "no memory for the answer");
	free(dumped);
	json_decref(json);
	ask->is_over = true;
}

static json_t *integer_or_null(int64_t value)
{
	return value < 0 || value == VGW__NEVER ? json_null() : json_integer(value);
}

/* --- models --------------------------------------------------------------------------------------------------- */

static json_t *pack_times(const struct vgw__times *times)
{
	if (!times->kept)
		return json_object();
	return json_pack("{s:I, s:I, s:I}", "p50", (json_int_t)vgw__times_get(times, 50, 0), "p95",
		(json_int_t)vgw__times_get(times, 95, 0), "n", (json_int_t)times->count);
}

static json_t *pack_all_times(const struct vgw__replica_view *view)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "start_ms", pack_times(&view->start), "stop_ms",
		pack_times(&view->stop), "sleep_ms", pack_times(&view->sleep), "wake_ms", pack_times(&view->wake),
		"drain_ms", pack_times(&view->drain));
}

static json_t *pack_progress(struct vgw__engine *engine, const struct vgw__replica_view *view)
{
	char text[sizeof(engine->progress_text)];
	int percent;

	if (view->state != VGW__STATE_STARTING && view->state != VGW__STATE_WAKING)
		return json_null();
	vgw__engine_get_progress(engine, &percent, text, sizeof(text));
	return json_pack("{s:o, s:s}", "percent", integer_or_null(percent), "text", text);
}

static const char *depth_name(enum vgw__state at)
{
	if (at == VGW__STATE_ASLEEP || at == VGW__STATE_WAKING)
		return "asleep";
	return at == VGW__STATE_ABSENT || at == VGW__STATE_BACKOFF ? "stopped" : "awake";
}

static json_t *pack_aliases(const vgw_model *model)
{
	json_t *aliases = json_array();

	for (size_t i = 0; i < model->aliases.count; i++)
		(void)json_array_append_new(aliases, json_string(model->aliases.items[i]));
	return aliases;
}

/* Somebody else's engine is always up, as far as we know. */
static void view_engine(const vgw_residency *residency, const struct vgw__engine *engine,
	struct vgw__replica_view *view)
{
	if (engine->slot != VGW__NOBODY) {
		vgw__planner_view(residency->planner, engine->slot, vgw_now_ms(), view);
		return;
	}
	memset(view, 0, sizeof(*view));
	if (engine->is_unmanaged) {
		*view = (struct vgw__replica_view){ .state = VGW__STATE_READY, .since_ms = residency->started_ms };
		view->last_used_ms = atomic_load_explicit(&engine->resident->last_used_ms, memory_order_relaxed);
	}
}

static json_t *pack_model(vgw_residency *residency, size_t place)
{
	struct vgw__engine *engine = residency->table.engines[place];
	const vgw_model *model = vgw_registry_get_model(residency->table.registry, place);
	struct vgw__replica_view view;

	view_engine(residency, engine, &view);
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:i, s:o, s:o, s:b, s:b, s:s, s:o, s:o}", "name", model->name,
		"state", vgw__state_name(view.state), "depth", depth_name(view.state), "status",
		vgw__resident_get_standing(engine->resident), "replicas", vgw__replicas_pack(residency, engine, &view),
		"waiting", (int)view.waiting, "eta_ms",
		view.state == VGW__STATE_READY ? json_null() : integer_or_null(view.eta_ms), "progress",
		pack_progress(engine, &view), "pinned", (int)view.is_pinned, "managed", (int)!engine->is_unmanaged,
		"kind", model->kind, "aliases", pack_aliases(model), "times", pack_all_times(&view));
}

/* --- adapters ------------------------------------------------------------------------------------------------- */

/* In the words of models, so that who waits for one may wait for the other. */
static const char *state_of(const struct vgw__lora_view *view)
{
	static const enum vgw__state states[] = {
		[VGW__LORA_LOADING] = VGW__STATE_STARTING, [VGW__LORA_LOADED] = VGW__STATE_READY,
		[VGW__LORA_LEAVING] = VGW__STATE_LEAVING, [VGW__LORA_FAILED] = VGW__STATE_BACKOFF,
	};

	return vgw__state_name(states[view->state]);
}

/* Its state is that of the replica that has it, if any. */
static json_t *pack_adapter(const vgw_residency *residency, const vgw_model *adapter)
{
	struct vgw__resident *resident = residency->table.engines[adapter->base->place]->resident;
	uint64_t version;
	struct vgw__targets *targets = vgw__resident_ref_targets(resident, &version);
	const char *state = vgw__state_name(VGW__STATE_ABSENT);
	json_t *replicas = json_array();

	for (uint32_t i = 0; targets && i < targets->count; i++) {
		struct vgw__lora_view view;
		char id[VGW__NAME_SIZE * 4];

		if (!vgw__lora_view(atomic_load(&targets->items[i]->lora), adapter->name, &view))
			continue;
		if (strcmp(state, vgw__state_name(VGW__STATE_READY)) != 0)
			state = state_of(&view);
		(void)snprintf(id, sizeof(id), "%s/%u", resident->name, targets->items[i]->number);
		(void)json_array_append_new(replicas, json_pack("{s:s, s:s, s:i, s:s?}", "id", id, "state", state_of(&view),
			"in_flight", (int)view.pins, "last_error", view.state == VGW__LORA_FAILED ? view.why : NULL));
	}
	vgw__targets_unref(targets);
	return json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", adapter->name, "parent", resident->name, "state", state,
		"replicas", replicas, "aliases", pack_aliases(adapter));
}

static json_t *pack_adapters(const vgw_residency *residency)
{
	json_t *adapters = json_array();
	const vgw_model *adapter;

	for (size_t i = 0; residency->table.registry &&
		(adapter = vgw_registry_get_adapter(residency->table.registry, i)) != NULL; i++)
		(void)json_array_append_new(adapters, pack_adapter(residency, adapter));
	return adapters;
}

/* --- devices -------------------------------------------------------------------------------------------------- */

/* Who is on it, or is promised a place there: their names. */
static json_t *pack_occupants(const vgw_residency *residency, int32_t device)
{
	json_t *names = json_array();
	struct vgw__replica_view view;

	for (int32_t i = 0; i < residency->limits.models; i++) {
		const struct vgw__engine *engine = residency->slots[i];

		if (!engine)
			continue;
		vgw__planner_view(residency->planner, i, vgw_now_ms(), &view);
		if (view.bytes[device] || (((view.devices >> device) & 1u) && view.state != VGW__STATE_ABSENT &&
			view.state != VGW__STATE_BACKOFF))
			(void)json_array_append_new(names, json_string(engine->resident->name));
	}
	return names;
}

static json_t *pack_device(vgw_residency *residency, int32_t device)
{
	int64_t budget = residency->device_budgets[device];
	const char *uuid = residency->device_uuids[device];
	const char *source = !budget ? "unknown" : uuid[0] ? "discovered" : "configured";

	return json_pack("{s:s, s:o, s:I, s:s, s:o, s:o, s:o}", "name", residency->device_names[device], "budget_bytes",
		budget ? json_integer(budget) : json_null(), "used_bytes",
		(json_int_t)vgw__planner_used_bytes(residency->planner, device), "source", source, "models",
		pack_occupants(residency, device), "foreign_bytes",
		integer_or_null(vgw__memory_get_foreign(residency, device)), "uuid",
		uuid[0] ? json_string(uuid) : json_null());
}

static json_t *pack_devices(vgw_residency *residency)
{
	json_t *devices = json_array();

	for (int32_t i = 0; i < VGW__DEVICES_MAX; i++) {
		if (residency->device_names[i][0])
			(void)json_array_append_new(devices, pack_device(residency, i));
	}
	return devices;
}

static void run_state(struct vgw__ask *ask)
{
	vgw_residency *residency = ask->residency;
	int64_t now_ms = vgw_now_ms(), in_flight = 0;
	json_t *models = json_array();

	for (size_t i = 0; i < residency->table.count; i++) {
		in_flight += (int64_t)vgw__gate_count(residency->table.engines[i]->resident);
		(void)json_array_append_new(models, pack_model(residency, i));
	}
	answer(ask, json_pack("{s:s, s:f, s:I, s:o, s:o, s:o, s:{s:I, s:I}}", "version", vgw_version(), "uptime_s",
		(double)(now_ms - residency->started_ms) / 1000, "scheduler_heartbeat_ms",
		(json_int_t)(now_ms - question_of(ask)->asked_ms), "models", models, "adapters", pack_adapters(residency), "devices",
		pack_devices(residency), "requests", "in_flight", (json_int_t)in_flight, "queued",
		(json_int_t)(residency->limits.waiters - residency->free_waiter_count)));
}

/* --- decisions ------------------------------------------------------------------------------------------------ */

static const char *name_of(const vgw_residency *residency, int32_t slot)
{
	if (slot < 0 || slot >= residency->limits.models || !residency->slots[slot])
		return "";
	return residency->slots[slot]->resident->name;
}

static json_t *pack_rows(const vgw_residency *residency, const struct vgw__decision_row *rows, int32_t count)
{
	json_t *list = json_array();

	for (int32_t i = 0; i < count; i++)
		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:s}", "model",
			name_of(residency, rows[i].model), "why", rows[i].why, "cost", rows[i].cost, "depth",
			rows[i].depth == VGW__DEPTH_SLEEP ? "sleep" : "stop"));
	return list;
}

static json_t *pack_decision(const vgw_residency *residency, const struct vgw__decision *decision)
{
	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s?}", "number",
		(json_int_t)decision->number, "at_ms", (json_int_t)decision->at_ms, "kind", vgw__decision_name(decision->kind), "model",
		name_of(residency, decision->model), "why", decision->why ? decision->why : "", "eta_ms",
		integer_or_null(decision->eta_ms), "chosen",
		pack_rows(residency, decision->chosen, decision->chosen_count), "rejected",
		pack_rows(residency, decision->rejected, decision->rejected_count), "devices",
		vgw__placement_pack(residency, decision->devices_why ? decision->devices : 0), "devices_why",
		decision->devices_why);
}

static void run_decisions(struct vgw__ask *ask)
{
	const struct vgw__decision *decision;
	json_t *list = json_array();

	for (size_t i = 0; (decision = vgw__planner_get_decision(ask->residency->planner, i)) != NULL; i++)
		(void)json_array_append_new(list, pack_decision(ask->residency, decision));
	answer(ask, list);
}

static void run_explanation(struct vgw__ask *ask)
{
	const struct vgw__engine *engine = question_of(ask)->engine;
	struct vgw__replica_view view;
	struct vgw__decision decision;
	json_t *json;

	ask->is_over = true;
	if (engine->slot == VGW__NOBODY) {
		ask->status = vgw_error_set(ask->err, VGW_INVALID, 0,
			"model '%.60s' is run by somebody else: there is nothing to decide", engine->resident->name);
		return;
	}
	vgw__planner_view(ask->residency->planner, engine->slot, vgw_now_ms(), &view);
	vgw__planner_explain(ask->residency->planner, engine->slot, vgw_now_ms(), &decision);
	json = pack_decision(ask->residency, &decision);
	(void)json_object_set_new(json, "state", json_string(vgw__state_name(view.state)));
	answer(ask, json);
}

static void run_log_path(struct vgw__ask *ask)
{
	const struct vgw__instance *instance = question_of(ask)->engine->instance;
	vgw_replica_facts facts = { .size = sizeof(facts) };

	ask->is_over = true;
	if (instance && instance->kind->ops.describe)
		instance->kind->ops.describe(instance->self, &facts);
	if (!facts.log_path[0])
		ask->status = vgw_error_set(ask->err, VGW_NOT_FOUND, 0, "model '%.60s' has no log file",
			question_of(ask)->engine->resident->name);
	else if (!(question_of(ask)->text = vgw__strdup(facts.log_path)))
		ask->status = vgw_error_set(ask->err, VGW_NOMEM, 0, "no memory for the answer");
}

/* --- public --------------------------------------------------------------------------------------------------- */

static char *ask_about(vgw_residency *residency, void (*run)(struct vgw__ask *ask), struct vgw__engine *engine,
	vgw_error *err)
{
	struct question question = {
		.ask = { .run = run, .err = err }, .engine = engine, .asked_ms = vgw_now_ms(),
	};

	(void)vgw__ask(residency, &question.ask);
	return question.text;
}

char *vgw_residency_dup_state(vgw_residency *residency)
{
	return ask_about(residency, run_state, NULL, NULL);
}

char *vgw_residency_dup_decisions(vgw_residency *residency)
{
	return ask_about(residency, run_decisions, NULL, NULL);
}

static char *ask_about_model(vgw_residency *residency, const char *model, void (*run)(struct vgw__ask *ask),
	vgw_error *err)
{
	struct vgw__engine *engine;
	char *text;

	vgw__error_reset(err);
	engine = vgw__manager_find(residency, model, err);
	text = engine ? ask_about(residency, run, engine, err) : NULL;
	vgw__engine_unref(engine);
	return text;
}

char *vgw_residency_dup_explanation(vgw_residency *residency, const char *model, vgw_error *err)
{
	return ask_about_model(residency, model, run_explanation, err);
}

char *vgw_residency_dup_log_path(vgw_residency *residency, const char *model, vgw_error *err)
{
	return ask_about_model(residency, model, run_log_path, err);
}

const char *vgw_residency_get_standing(vgw_residency *residency, const char *model)
{
	struct vgw__engine *engine = vgw__manager_find(residency, model, NULL);
	const char *standing = engine ? vgw__resident_get_standing(engine->resident) : NULL;

	vgw__engine_unref(engine);
	return standing;
}
