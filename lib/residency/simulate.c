/* SPDX-License-Identifier: Apache-2.0 */
/* The public door to core/simulate: a registry and a residency's options become the planner's words exactly as they do
 * for a residency that runs, so that the answer is about that configuration. */
#include <vllmgw/simulate.h>

#include "core/simulate.h"
#include "residency/internal.h"
#include "util/alloc.h"
#include "util/error.h"

#include <string.h>

enum { START_MS = 60000, STOP_MS = 5000, SLEEP_MS = 5000, WAKE_MS = 3000 };

#define XX(name, value, text, what) \
	_Static_assert((int)VGW_CONTENDER_##name == (int)VGW__CONTENDER_##name, "contenders in one order");
VGW_CONTENDER_MAP(XX)
#undef XX

/* What the question is made into. */
struct stage {
	vgw_residency *names; /* never runs: it only knows devices and groups by their names */
	struct vgw__device_config devices[VGW__DEVICES_MAX];
	struct vgw__model_config *models;
	struct vgw__engine_times *times;
	struct vgw__arrival *arrivals;
};

static int64_t or_default(int64_t ms, int64_t otherwise)
{
	return ms > 0 ? ms : otherwise;
}

static struct vgw__engine_times find_times(const vgw_simulation *simulation, const vgw_model *model)
{
	vgw_engine_times found = { .model = NULL };

	for (size_t i = 0; i < simulation->time_count; i++) {
		if (strcmp(simulation->times[i].model, model->name) == 0)
			found = simulation->times[i];
	}
	return (struct vgw__engine_times){
		.start_ms = or_default(found.start_ms, START_MS), .stop_ms = or_default(found.stop_ms, STOP_MS),
		.sleep_ms = or_default(found.sleep_ms, SLEEP_MS), .wake_ms = or_default(found.wake_ms, WAKE_MS),
	};
}

static vgw_status set_models(struct stage *stage, const vgw_simulation *simulation, vgw_error *err)
{
	size_t count = vgw_registry_get_count(simulation->registry);
	vgw_status status = VGW_OK;

	stage->models = vgw__calloc(count + 1, sizeof(*stage->models));
	stage->times = vgw__calloc(count + 1, sizeof(*stage->times));
	if (!stage->models || !stage->times)
		return vgw_error_set(err, VGW_NOMEM, 0, "simulation");
	for (size_t i = 0; status == VGW_OK && i < count; i++) {
		const vgw_model *model = vgw_registry_get_model(simulation->registry, i);

		status = vgw__configure_model(stage->names, model, VGW_CONTROLLER_CAN_SLEEP | VGW_CONTROLLER_PLACEABLE,
			&stage->models[i], err);
		stage->times[i] = find_times(simulation, model);
		stage->models[i].expected_start_ms = stage->times[i].start_ms;
		stage->models[i].expected_wake_ms = stage->times[i].wake_ms;
	}
	/* after the models, which may have named devices */
	for (int32_t i = 0; i < VGW__DEVICES_MAX; i++) {
		stage->devices[i].budget_bytes = stage->names->device_budgets[i];
		stage->devices[i].is_host = i == VGW__DEVICES_MAX - 1;
	}
	return status;
}

static vgw_status set_arrivals(struct stage *stage, const vgw_simulation *simulation, vgw_error *err)
{
	stage->arrivals = vgw__calloc(simulation->arrival_count + 1, sizeof(*stage->arrivals));
	if (!stage->arrivals)
		return vgw_error_set(err, VGW_NOMEM, 0, "simulation");
	for (size_t i = 0; i < simulation->arrival_count; i++) {
		const vgw_arrival *given = &simulation->arrivals[i];
		const vgw_model *model = vgw_registry_find(simulation->registry, given->model, strlen(given->model));

		if (!model)
			return vgw_error_set(err, VGW_INVALID, 0, "arrival %zu: there is no model '%.100s'", i + 1,
				given->model);
		if (given->service_ms < 0 || given->at_ms < (i ? given[-1].at_ms : 0))
			return vgw_error_set(err, VGW_INVALID, 0,
				"arrival %zu: at_ms must not be before the last one's, service_ms not negative", i + 1);
		stage->arrivals[i] = (struct vgw__arrival){ .at_ms = given->at_ms, .service_ms = given->service_ms,
			.model = (int32_t)vgw__model_get_host(model)->place };
	}
	return VGW_OK;
}

static vgw_status set_stage(struct stage *stage, const vgw_simulation *simulation, vgw_error *err)
{
	vgw_status status;

	stage->names = vgw__alloc(sizeof(*stage->names));
	if (!stage->names)
		return vgw_error_set(err, VGW_NOMEM, 0, "simulation");
	stage->names->given = *simulation->options;
	status = vgw__configure_devices(stage->names, simulation->options, err);
	if (status == VGW_OK)
		status = set_models(stage, simulation, err);
	return status == VGW_OK ? set_arrivals(stage, simulation, err) : status;
}

static void strike(struct stage *stage)
{
	for (int i = 0; stage->names && i < VGW__GROUPS_MAX; i++)
		vgw__free(stage->names->group_names[i]);
	vgw__free(stage->names);
	vgw__free(stage->models);
	vgw__free(stage->times);
	vgw__free(stage->arrivals);
}

static vgw_status play(vgw_simulated *out, const struct stage *stage, const vgw_simulation *simulation,
	vgw_contender contender, vgw_error *err)
{
	struct vgw__simulation play = {
		.device_count = VGW__DEVICES_MAX, .devices = stage->devices,
		.model_count = (int32_t)vgw_registry_get_count(simulation->registry), .models = stage->models,
		.times = stage->times, .arrival_count = simulation->arrival_count, .arrivals = stage->arrivals,
	};
	struct vgw__simulated found;
	vgw_status status;

	vgw__configure_planner(&play.config, simulation->options);
	play.config.seed = 1;
	status = vgw__simulate(&found, &play, (enum vgw__contender)contender, err);
	*out = (vgw_simulated){
		.size = sizeof(*out), .cold_starts = found.cold_starts, .wakes = found.wakes, .served = found.served,
		.refused = found.refused, .wait_p50_ms = found.wait_p50_ms, .wait_p95_ms = found.wait_p95_ms,
		.wait_p99_ms = found.wait_p99_ms, .wait_max_ms = found.wait_max_ms, .span_ms = found.span_ms,
		.wait_mean_ms = found.wait_mean_ms, .goodput = found.goodput, .device_hours = found.device_hours,
	};
	return status;
}

vgw_status vgw_simulate(vgw_simulated *out, const vgw_simulation *simulation, vgw_contender contender, vgw_error *err)
{
	struct stage stage = { .names = NULL };
	vgw_status status;

	vgw__error_reset(err);
	*out = (vgw_simulated){ .size = sizeof(*out) };
	if (simulation->size != sizeof(*simulation) || !simulation->registry || !simulation->options ||
		contender < 0 || contender >= VGW_CONTENDER_COUNT)
		return vgw_error_set(err, VGW_INVALID, 0, "a simulation needs a registry, options and a known contender");
	status = set_stage(&stage, simulation, err);
	if (status == VGW_OK)
		status = play(out, &stage, simulation, contender, err);
	strike(&stage);
	return status;
}

const char *vgw_contender_get_name(vgw_contender contender)
{
	return vgw__contender_name((enum vgw__contender)contender);
}
