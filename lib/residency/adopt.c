/* SPDX-License-Identifier: Apache-2.0 */
/* Engines of an earlier life. The state file says how their controllers called them; the controllers decide whether
 * they are still there, still ours, and still what the configuration asks for. */
#include "residency/internal.h"

#include "residency/store.h"
#include "util/log.h"

#include <string.h>

enum { ADOPT_MS = 10000, STOP_MS = 30000 };

static const char *identity_of(const json_t *record, const struct vgw__instance *instance)
{
	const char *kind = json_string_value(json_object_get(record, "kind"));
	const char *identity = json_string_value(json_object_get(record, "identity"));

	if (kind && strcmp(kind, instance->kind->ops.kind) == 0 && identity && identity[0])
		return identity;
	return instance->kind->ops.flags & VGW_CONTROLLER_SELF_RUNNING ? "" : NULL;
}

/* The set it was started on. False: no memory. */
static bool recall_devices(vgw_residency *residency, struct vgw__engine *engine)
{
	const json_t *record = vgw__store_find(residency->store, engine->resident->name);
	const struct vgw__instance *instance = engine->instance;
	char devices[VGW__DEVICES_MAX * VGW__NAME_SIZE];

	engine->adopted_devices = vgw__placement_read(residency, json_object_get(record, "devices"));
	if (!engine->adopted_devices)
		return true;
	return vgw__placement_print(residency, instance->model, engine->adopted_devices, devices, sizeof(devices)) &&
		vgw__host_place(instance->host, devices, 0);
}

bool vgw__adopt_engine(vgw_residency *residency, struct vgw__engine *engine)
{
	const struct vgw__instance *instance = engine->instance;
	const char *identity = identity_of(vgw__store_find(residency->store, engine->resident->name), instance);
	struct vgw__host_report report;
	vgw_error why = VGW_ERROR_INIT;

	if (!identity || !instance->kind->ops.adopt || !recall_devices(residency, engine))
		return false;
	vgw__host_begin(instance->host);
	if (instance->kind->ops.adopt(instance->self, identity, vgw_now_ms() + ADOPT_MS, &why) != VGW_OK) {
		vgw__log(&residency->options.logger, identity[0] ? VGW_LOG_INFO : VGW_LOG_DEBUG, "residency",
			engine->resident->name, "its engine of an earlier run was not taken over: %s", why.text);
		return false;
	}
	vgw__host_get_report(instance->host, &report);
	engine->is_adopted_asleep = report.has_depth && report.depth == VGW_DEPTH_SLEEP;
	return true;
}

/* --- models that are no more ---------------------------------------------------------------------------------- */

/* Enough of a configuration to make an instance that can find and stop; nothing is ever started with it. */
static const struct stub {
	const char *kind;
	const char *backend_json;
} stubs[] = {
	{ "process", "{\"kind\":\"process\",\"command\":[\"true\",\"${PORT}\"]}" },
	{ "docker", "{\"kind\":\"docker\",\"image\":\"none\"}" },
};

static const char *stub_of(const char *kind)
{
	for (size_t i = 0; kind && i < sizeof(stubs) / sizeof(stubs[0]); i++) {
		if (strcmp(stubs[i].kind, kind) == 0)
			return stubs[i].backend_json;
	}
	return NULL;
}

static vgw_status make_stub(vgw_residency *residency, const char *name, const char *kind, struct vgw__engine **out,
	vgw_error *err)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry = NULL;
	vgw_status status = vgw__engine_new(out, residency, name, err);

	options.name = name;
	options.kind = kind;
	options.backend_json = stub_of(kind);
	if (status == VGW_OK && !options.backend_json)
		status = vgw_error_set(err, VGW_INVALID, 0, "kind '%.32s' cannot stop what it does not know", kind);
	if (status == VGW_OK)
		status = vgw_registry_new(&registry, err);
	if (status == VGW_OK)
		status = vgw_registry_add(registry, &options, err);
	if (status == VGW_OK)
		status = vgw__instance_new(&(*out)->instance, residency, *out, registry,
			vgw_registry_get_model(registry, 0), err);
	vgw_registry_unref(registry);
	return status;
}

/* What is somebody else's, and only slept at our word, is not ours to stop. */
static bool is_foreign(const vgw_residency *residency, const char *name)
{
	const struct vgw__controller_kind *kind;

	return vgw__controllers_find(residency->controllers, &kind, name, NULL) == VGW_OK &&
		(kind->ops.flags & VGW_CONTROLLER_UNMANAGED);
}

static void stop_stray(vgw_residency *residency, const char *name, const json_t *record)
{
	const char *kind = json_string_value(json_object_get(record, "kind"));
	const char *identity = json_string_value(json_object_get(record, "identity"));
	struct vgw__engine *engine = NULL;
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status;

	if (!kind || !identity || !identity[0] || is_foreign(residency, kind))
		return;
	status = make_stub(residency, name, kind, &engine, &err);
	if (status == VGW_OK) {
		const struct vgw__instance *instance = engine->instance;

		vgw__host_begin(instance->host);
		status = instance->kind->ops.adopt(instance->self, identity, vgw_now_ms() + ADOPT_MS, &err);
		if (status == VGW_OK)
			status = instance->kind->ops.deactivate(instance->self, VGW_DEPTH_STOP, vgw_now_ms() + STOP_MS,
				&err);
	}
	if (status != VGW_OK && status != VGW_NOT_FOUND)
		vgw__log(&residency->options.logger, VGW_LOG_WARN, "residency", name,
			"it is not configured any more, but its engine may still run: %s", err.text);
	vgw__engine_unref(engine);
}

static bool is_configured(const vgw_registry *registry, const char *name, const json_t *record)
{
	const char *kind = json_string_value(json_object_get(record, "kind"));
	const vgw_model *model = vgw_registry_find(registry, name, strlen(name));

	return model && !model->base && strcmp(model->name, name) == 0 && kind && strcmp(model->kind, kind) == 0;
}

void vgw__adopt_stop_strays(vgw_residency *residency, const vgw_registry *registry)
{
	json_t *record;
	const char *name;

	json_object_foreach(vgw__store_get_records(residency->store), name, record) {
		if (!is_configured(registry, name, record))
			stop_stray(residency, name, record);
	}
}

/* --- what was learned ----------------------------------------------------------------------------------------- */

static void restore_times(struct vgw__times *times, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list) && i < VGW__TIMES_KEPT; i++) {
		json_int_t ms = json_integer_value(json_array_get(list, i));

		if (ms >= 0 && ms <= INT32_MAX)
			vgw__times_add(times, ms);
	}
}

static void restore_footprint(vgw_residency *residency, struct vgw__engine *engine, const json_t *footprint)
{
	int64_t bytes[VGW__DEVICES_MAX];
	const struct vgw__event event = {
		.kind = VGW__EVENT_FOOTPRINT, .model = engine->slot, .depth = VGW__DEPTH_STOP, .bytes = bytes,
	};
	bool has_any = false;

	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		const char *name = residency->device_names[d];
		json_int_t taken = name[0] ? json_integer_value(json_object_get(footprint, name)) : 0;

		bytes[d] = VGW__UNKNOWN_BYTES;
		if (taken <= 0)
			continue;
		has_any = true;
		bytes[d] = taken;
		engine->memory[d].taken = taken;
		engine->memory[d].free_leaving = -1;
	}
	if (has_any)
		(void)vgw__manager_step(residency, &event);
}

void vgw__adopt_restore(vgw_residency *residency, struct vgw__engine *engine)
{
	const json_t *record = vgw__store_find(residency->store, engine->resident->name);
	const json_t *times = json_object_get(record, "times");
	struct vgw__replica_view learned = { 0 };
	int64_t used_ms;

	if (!record)
		return;
	used_ms = vgw_now_ms() - vgw__store_get_age_ms(record);
	learned.last_used_ms = used_ms > 0 ? used_ms : 0;
	restore_times(&learned.start, json_object_get(times, "start_ms"));
	restore_times(&learned.wake, json_object_get(times, "wake_ms"));
	restore_times(&learned.sleep, json_object_get(times, "sleep_ms"));
	restore_times(&learned.stop, json_object_get(times, "stop_ms"));
	restore_times(&learned.drain, json_object_get(times, "drain_ms"));
	vgw__planner_restore(residency->planner, engine->slot, &learned);
	restore_footprint(residency, engine, json_object_get(record, "footprint"));
}
