/* SPDX-License-Identifier: Apache-2.0 */
/* A model's replicas in the state: one of each engine we start, and of engines that somebody else runs one of each
 * place they listen. And the operator's word about a single one. */
#include "residency/internal.h"

#include "util/alloc.h"
#include "util/error.h"

#include <jansson.h>
#include <netdb.h>

static json_t *integer_or_null(int64_t value)
{
	return value ? json_integer(value) : json_null();
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *pack_memory(const vgw_residency *residency, const int64_t *bytes)
{
	json_t *memory = json_object();

	for (int32_t i = 0; i < VGW__DEVICES_MAX; i++) {
		if (residency->device_names[i][0] && bytes[i])
			(void)json_object_set_new(memory, residency->device_names[i], json_integer(bytes[i]));
	}
	return memory;
}

/* Where it is; nothing of one that is nowhere, or of which nobody ever said it. */
static json_t *pack_place(const vgw_residency *residency, const struct vgw__instance *instance,
	const struct vgw__replica_view *view)
{
	bool is_unsaid = residency->is_naming_devices && instance && !instance->model->devices.count;
	bool is_nowhere = is_unsaid || view->state == VGW__STATE_ABSENT || view->state == VGW__STATE_BACKOFF;

	return vgw__placement_pack(residency, is_nowhere ? 0 : view->devices);
}

/* The address of one that is one of several of its name. */
static json_t *pack_address(const struct vgw__endpoint *endpoint)
{
	char host[64];

	if (!endpoint->is_one_of_many || getnameinfo((const struct sockaddr *)&endpoint->addresses[0].addr,
		endpoint->addresses[0].len, host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
		return json_null();
	return json_string(host);
}

static json_t *pack_circuit(struct vgw__circuit *circuit, int64_t now_ms)
{
	int state = atomic_load(&circuit->state);
	int64_t left_ms = (int64_t)atomic_load(&circuit->until_ms) - now_ms;
	char reason[VGW__CIRCUIT_REASON_SIZE];

	vgw__circuit_get_reason(circuit, reason);
	return json_pack("{s:s, s:o, s:o, s:I, s:I, s:i}", "state", vgw__circuit_state_name((enum vgw__circuit_state)state),
		"retry_in_ms", state == VGW__CIRCUIT_OPEN ? json_integer(left_ms > 0 ? left_ms : 0) : json_null(), "reason",
		text_or_null(reason), "failures", (json_int_t)atomic_load(&circuit->failures), "openings",
		(json_int_t)atomic_load(&circuit->openings), "failures_in_a_row", (int)atomic_load(&circuit->in_a_row));
}

/* What only a place to send to has. */
static void add_target(json_t *replica, struct vgw__target *target, int64_t now_ms)
{
	(void)json_object_set_new(replica, "endpoint", json_string(target->endpoint->url));
	(void)json_object_set_new(replica, "address", pack_address(target->endpoint));
	(void)json_object_set_new(replica, "requests", json_integer((json_int_t)atomic_load(&target->total)));
	(void)json_object_set_new(replica, "drained", json_boolean(atomic_load(&target->is_drained)));
	(void)json_object_set_new(replica, "health",
		json_string(vgw__health_name((enum vgw__health_state)atomic_load(&target->health))));
	(void)json_object_set_new(replica, "adapters", vgw__lora_pack(atomic_load(&target->lora)));
	(void)json_object_set_new(replica, "circuit", pack_circuit(&target->circuit, now_ms));
}

static json_t *pack_replica(const vgw_residency *residency, struct vgw__engine *engine,
	const struct vgw__replica_view *view, uint32_t number, uint64_t in_flight)
{
	const struct vgw__instance *instance = engine->instance;
	vgw_replica_facts facts = { .size = sizeof(facts) };
	char *id = vgw__printf("%s/%u", engine->resident->name, number);
	int64_t now_ms = vgw_now_ms();
	json_t *replica;

	if (instance && instance->kind->ops.describe)
		instance->kind->ops.describe(instance->self, &facts);
	replica = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:i, s:o, s:o}", "id", id ? id : "",
		"state", vgw__state_name(view->state), "endpoint", json_null(), "pid", integer_or_null(facts.pid),
		"container", text_or_null(facts.container), "log_path", text_or_null(facts.log_path), "in_flight",
		(json_int_t)in_flight, "generation", (json_int_t)view->generation, "since_ms",
		(json_int_t)(now_ms - view->since_ms), "last_used_ms",
		view->last_used_ms ? json_integer(now_ms - view->last_used_ms) : json_null(), "last_error",
		text_or_null(engine->failure), "failures", (int)view->failures, "memory_bytes",
		pack_memory(residency, view->bytes), "devices", pack_place(residency, instance, view));
	vgw__free(id);
	return replica;
}

struct json_t *vgw__replicas_pack(const vgw_residency *residency, struct vgw__engine *engine,
	const struct vgw__replica_view *view)
{
	json_t *list = json_array(), *replica;
	uint64_t version, leases = vgw__gate_count(engine->resident);
	struct vgw__targets *targets = vgw__resident_ref_targets(engine->resident, &version);
	uint32_t count = targets ? targets->count : 0;

	if (!count)
		(void)json_array_append_new(list, pack_replica(residency, engine, view, 0, leases));
	for (uint32_t i = 0; i < count; i++) {
		struct vgw__target *target = targets->items[i];

		/* Leases of programs are not counted by target: of a single one they are all its own. */
		replica = pack_replica(residency, engine, view, target->number,
			count == 1 ? leases : atomic_load(&target->in_flight));
		add_target(replica, target, vgw_now_ms());
		(void)json_array_append_new(list, replica);
	}
	vgw__targets_unref(targets);
	return list;
}

vgw_status vgw_residency_drain_replica(vgw_residency *residency, const char *model, uint32_t replica, uint32_t drain,
	vgw_error *err)
{
	struct vgw__targets *targets;
	struct vgw__engine *engine;
	vgw_status status = VGW_NOT_FOUND;
	uint64_t version;

	vgw__error_reset(err);
	engine = vgw__manager_find(residency, model, err);
	if (!engine)
		return VGW_NOT_FOUND;
	targets = vgw__resident_ref_targets(engine->resident, &version);
	for (uint32_t i = 0; targets && i < targets->count; i++) {
		if (targets->items[i]->number != replica)
			continue;
		atomic_store(&targets->items[i]->is_drained, drain != 0);
		status = VGW_OK;
	}
	if (status != VGW_OK)
		(void)vgw_error_set(err, status, 0, "model '%.60s' has no replica %u", engine->resident->name, replica);
	vgw__targets_unref(targets);
	vgw__engine_unref(engine);
	return status;
}
