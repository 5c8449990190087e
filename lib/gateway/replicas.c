/* SPDX-License-Identifier: Apache-2.0 */
/* What replicas need of the gateway as a whole: the table of prompts, the checking thread, and their rows in the
 * metrics. */
#include "gateway/worker.h"

#include "observe/key_stats.h"
#include "util/alloc.h"

#include <inttypes.h>

static void ask_all(void *user, struct vgw__health *health)
{
	struct vgw__snapshot *snapshot = vgw__gateway_ref_snapshot(user);
	uint64_t version;

	for (size_t i = 0; snapshot && i < snapshot->count; i++) {
		const vgw_model *model = vgw_registry_get_model(snapshot->registry, i);
		struct vgw__targets *targets = vgw__resident_ref_targets(snapshot->residents[i], &version);

		if (targets)
			vgw__health_ask(health, targets, model->name, model->upstream_auth);
		vgw__targets_unref(targets);
	}
	vgw__snapshot_unref(snapshot);
}

/* Models that have an endpoint before anybody asked for them are somebody else's: those may have several replicas,
 * today or with the next look at their name. */
static bool may_have_several(const struct vgw__snapshot *snapshot)
{
	bool has_targets = false;
	uint64_t version;

	for (size_t i = 0; i < snapshot->count && !has_targets; i++) {
		struct vgw__targets *targets = vgw__resident_ref_targets(snapshot->residents[i], &version);

		has_targets = targets != NULL;
		vgw__targets_unref(targets);
	}
	return has_targets;
}

vgw_status vgw__replicas_prepare(vgw_gateway *gateway, const struct vgw__snapshot *snapshot, vgw_error *err)
{
	struct vgw__prefix_table *table;

	for (size_t i = 0; i < snapshot->count && !atomic_load(&gateway->prefixes); i++) {
		if (vgw_registry_get_model(snapshot->registry, i)->balance != VGW_BALANCE_PREFIX)
			continue;
		table = vgw__prefix_table_new(VGW__PREFIX_ENTRIES);
		if (!table)
			return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the table of prompts");
		atomic_store(&gateway->prefixes, table);
	}
	if (gateway->health || gateway->options.health_interval_ms < 0 || !may_have_several(snapshot))
		return VGW_OK;
	return vgw__health_new(&gateway->health, gateway->options.health_interval_ms, &gateway->options.logger, ask_all,
		gateway, err);
}

void vgw__replicas_fini(vgw_gateway *gateway)
{
	vgw__health_free(gateway->health);
	vgw__prefix_table_free(atomic_load(&gateway->prefixes));
}

/* --- metrics -------------------------------------------------------------------------------------------------- */

/* XX(metric name, type, value of `target`, help). The label is the replica's id, as in the state. */
#define REPLICA_METRICS(XX)                                                                                     \
	XX("vllmgw_replica_in_flight", "gauge", atomic_load(&target->in_flight), "Requests under way.")         \
	XX("vllmgw_replica_requests_total", "counter", atomic_load(&target->total), "Requests sent to it.")     \
	XX("vllmgw_replica_failures_total", "counter", atomic_load(&target->circuit.failures),                  \
		"Connections refused or lost, answers 5xx, 408 and 429, and answers that came too late.")       \
	XX("vllmgw_replica_circuit_open", "gauge", atomic_load(&target->circuit.state) != VGW__CIRCUIT_CLOSED,  \
		"1 while its circuit is open or tried.")                                                        \
	XX("vllmgw_replica_circuit_openings_total", "counter", atomic_load(&target->circuit.openings),          \
		"How often its circuit has opened.")                                                            \
	XX("vllmgw_replica_up", "gauge", atomic_load(&target->health) <= VGW__HEALTH_UP,                        \
		"0 while GET /health says that it is down or loading.")                                         \
	XX("vllmgw_replica_adapter_loads_total", "counter", lora ? atomic_load(&lora->loads) : 0,                \
		"Adapters loaded into it.")                                                                     \
	XX("vllmgw_replica_adapter_unloads_total", "counter", lora ? atomic_load(&lora->unloads) : 0,            \
		"Adapters unloaded from it, to make room or by an operator.")                                   \
	XX("vllmgw_replica_adapter_failures_total", "counter", lora ? atomic_load(&lora->failures) : 0,          \
		"Loads of adapters that failed.")                                                               \
	XX("vllmgw_replica_drained", "gauge", atomic_load(&target->is_drained), "1 while it is being drained.")

struct row {
	char *label; /* "model/N", escaped */
	struct vgw__targets *targets;
	struct vgw__target *target;
};

struct table {
	struct row *rows;
	size_t count;
	size_t capacity;
};

static bool add_rows(struct table *table, const char *model, struct vgw__targets *targets)
{
	char *name = vgw__metrics_escape(model);
	struct row *rows = vgw__grow(table->rows, &table->capacity, table->count + targets->count, sizeof(*rows));
	bool is_ok = name && rows;

	table->rows = rows ? rows : table->rows;
	for (uint32_t i = 0; is_ok && i < targets->count; i++) {
		struct row *row = &table->rows[table->count];

		row->label = vgw__printf("model=\"%s\",replica=\"%s/%u\"", name, name, targets->items[i]->number);
		is_ok = row->label != NULL;
		if (!is_ok)
			break;
		row->targets = vgw__targets_ref(targets);
		row->target = targets->items[i];
		table->count++;
	}
	vgw__free(name);
	return is_ok;
}

static bool print_rows(struct vgw__buf *out, const struct table *table)
{
	bool is_ok = true;

#define XX(name, type, value, help)                                                                              \
	is_ok = is_ok && vgw__buf_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);          \
	for (size_t i = 0; is_ok && i < table->count; i++) {                                                     \
		struct vgw__target *target = table->rows[i].target;                                              \
		struct vgw__lora *lora = atomic_load(&target->lora);                                             \
                                                                                                                 \
		(void)lora;                                                                                      \
		is_ok = vgw__buf_print(out, "%s{%s} %" PRIu64 "\n", name, table->rows[i].label, (uint64_t)(value)); \
	}
	REPLICA_METRICS(XX)
#undef XX
	return is_ok;
}

/* A model that was taken down keeps its endpoints until it is up again. */
static bool is_there(const struct vgw__resident *resident)
{
	return atomic_load_explicit(&resident->standing, memory_order_relaxed) == VGW__STANDING_LOADED ||
		vgw__gate_count(resident);
}

bool vgw__replicas_print(vgw_gateway *gateway, struct vgw__buf *out)
{
	struct vgw__snapshot *snapshot = vgw__gateway_ref_snapshot(gateway);
	struct table table = { NULL, 0, 0 };
	bool is_ok = true;
	uint64_t version;

	for (size_t i = 0; snapshot && is_ok && i < snapshot->count; i++) {
		struct vgw__resident *resident = snapshot->residents[i];
		struct vgw__targets *targets = vgw__resident_ref_targets(resident, &version);

		if (targets && is_there(resident))
			is_ok = add_rows(&table, vgw_registry_get_model(snapshot->registry, i)->name, targets);
		vgw__targets_unref(targets);
	}
	is_ok = is_ok && print_rows(out, &table);
	for (size_t i = 0; i < table.count; i++) {
		vgw__free(table.rows[i].label);
		vgw__targets_unref(table.rows[i].targets);
	}
	vgw__free(table.rows);
	vgw__snapshot_unref(snapshot);
	return is_ok;
}
