/* SPDX-License-Identifier: Apache-2.0 */
/* What executors do: a controller's operation, then the probe; and the way back to the residency's thread.
 *
 *   order ──► host_begin ──► executor: activate, probe until it serves ──► done ──► event for the planner
 *                     └── cancel: the host's flag and descriptor, from any thread
 */
#include "residency/internal.h"

#include "backend/probe.h"
#include "util/alloc.h"
#include "util/text.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
	PROBE_STEP_MS = 20,      /* first pause between two probes */
	PROBE_STEP_MAX_MS = 500, /* it doubles up to here */
	RESOLVE_MS = 10000,
};

/* --- the probe ------------------------------------------------------------------------------------------------ */

bool vgw__operation_pause(const struct vgw__operation *operation, int64_t ms)
{
	const vgw_host *host = operation->instance->host;
	struct pollfd cancel = { .fd = vgw_host_get_cancel_fd(host), .events = POLLIN };

	return poll(&cancel, 1, ms > INT32_MAX ? INT32_MAX : (int)ms) > 0 || vgw_host_is_cancelled(host);
}

static vgw_status probe_default(const struct vgw__operation *operation, vgw_error *err)
{
	const struct vgw__instance *instance = operation->instance;
	uint64_t version;
	struct vgw__targets *targets = vgw__resident_ref_targets(operation->engine->resident, &version);
	json_t *backend = json_loads(instance->model->backend_json ? instance->model->backend_json : "{}", 0, NULL);
	vgw_status status = VGW_OK;

	if (!targets || !targets->count)
		status = vgw_error_set(err, VGW_BACKEND, 0, "model '%.60s': its controller named no endpoint",
			instance->model->name);
	for (uint32_t i = 0; status == VGW_OK && i < targets->count; i++) {
		const struct vgw__probe probe = {
			.endpoint = targets->items[i]->endpoint,
			.served_name = instance->model->served_name,
			.api_key = json_string_value(json_object_get(backend, "api_key")),
			.deadline_ms = operation->order.deadline_ms,
			.cancel_fd = vgw_host_get_cancel_fd(instance->host),
		};

		if (vgw__probe_run(&probe, err) != VGW__PROBE_READY)
			status = VGW_BACKEND;
	}
	json_decref(backend);
	vgw__targets_unref(targets);
	return status;
}

/* Until it serves, the deadline, or a cancellation. */
static vgw_status probe(struct vgw__operation *operation, vgw_error *err)
{
	const struct vgw__instance *instance = operation->instance;
	int64_t step_ms = PROBE_STEP_MS;
	vgw_error why;
	vgw_status status;

	for (;;) {
		memset(&why, 0, sizeof(why));
		status = instance->kind->ops.probe
			? instance->kind->ops.probe(instance->self, operation->order.deadline_ms, &why)
			: probe_default(operation, &why);
		if (status == VGW_OK)
			return status;
		if (vgw__operation_pause(operation, step_ms))
			return vgw_error_set(err, VGW_CANCELLED, 0, "the start was given up");
		if (vgw_now_ms() + step_ms >= operation->order.deadline_ms)
			break;
		step_ms = step_ms * 2 < PROBE_STEP_MAX_MS ? step_ms * 2 : PROBE_STEP_MAX_MS;
	}
	return vgw_error_set(err, VGW_TIMEOUT, 0, "it does not serve: %.200s", why.text);
}

/* --- on an executor ------------------------------------------------------------------------------------------- */

static vgw_status perform(struct vgw__operation *operation, vgw_error *err)
{
	const struct vgw__instance *instance = operation->instance;
	const struct vgw__order *order = &operation->order;
	const vgw_controller_ops *ops = &instance->kind->ops;
	vgw_status status;

	if (order->is_cancelled)
		return vgw_error_set(err, VGW_CANCELLED, 0, "the start was given up before it began");
	switch (order->kind) {
	case VGW__OPERATION_ACTIVATE:
		vgw__memory_before(operation);
		status = vgw__placement_tell(operation, err);
		if (status == VGW_OK)
			status = ops->activate(instance->self, order->deadline_ms, err);
		if (status == VGW_OK)
			status = probe(operation, err);
		if (status == VGW_OK)
			vgw__memory_after(operation);
		return status;
	case VGW__OPERATION_DEACTIVATE:
		vgw__memory_leaving(operation);
		return ops->deactivate(instance->self,
			order->depth == VGW__DEPTH_SLEEP ? VGW_DEPTH_SLEEP : VGW_DEPTH_STOP, order->deadline_ms, err);
	case VGW__OPERATION_SETTLE:
		return vgw__memory_settle(operation, err);
	default:
		return ops->activate(instance->self, order->deadline_ms, err);
	}
}

/* --- the answer, on the residency's thread -------------------------------------------------------------------- */

static enum vgw__failure classify(const struct vgw__operation *operation)
{
	if (operation->status == VGW_CANCELLED)
		return VGW__FAILURE_CANCELLED;
	switch (operation->report.failure) {
	case VGW_FAILURE_MEMORY:
		return VGW__FAILURE_OOM;
	case VGW_FAILURE_USER:
		return VGW__FAILURE_USER;
	case VGW_FAILURE_DISTURBED:
		return VGW__FAILURE_DISTURBED;
	default:
		return operation->status == VGW_INVALID ? VGW__FAILURE_USER : VGW__FAILURE_UNKNOWN;
	}
}

static void keep_failure(struct vgw__engine *engine, const struct vgw__operation *operation)
{
	const char *text = operation->report.failure_text[0] ? operation->report.failure_text : operation->error.text;

	(void)snprintf(engine->failure, sizeof(engine->failure), "%s", text[0] ? text
		: vgw_status_get_text(operation->status));
	vgw__text_mend(engine->failure);
	engine->failure_fault = vgw_error_get_fault(&operation->error);
	engine->is_runtime_failure = operation->report.failure == VGW_FAILURE_RUNTIME;
}

static enum vgw__event_kind answer_of(struct vgw__engine *engine, const struct vgw__operation *operation)
{
	bool is_ok = operation->status == VGW_OK;

	if (!is_ok && operation->status != VGW_CANCELLED)
		keep_failure(engine, operation);
	switch (operation->order.kind) {
	case VGW__OPERATION_ACTIVATE:
		return is_ok ? VGW__EVENT_ACTIVATED : VGW__EVENT_FAILED;
	case VGW__OPERATION_DEACTIVATE:
		/* Asked to sleep, it had to stop: no sleeper is there, so the sleep has failed. */
		if (is_ok && operation->order.depth == VGW__DEPTH_SLEEP && operation->report.has_depth &&
			operation->report.depth == VGW_DEPTH_STOP)
			is_ok = false;
		return is_ok ? VGW__EVENT_DEACTIVATED : VGW__EVENT_KEPT;
	default:
		return is_ok ? VGW__EVENT_SETTLED : VGW__EVENT_UNSETTLED;
	}
}

static void begin(struct vgw__engine *engine, const struct vgw__order *order)
{
	struct vgw__operation *operation = &engine->operation;

	if (engine->residency->is_closed)
		return;
	engine->is_busy = true;
	operation->engine = vgw__engine_ref(engine);
	operation->instance = engine->instance;
	operation->order = *order;
	operation->has_footprint = false;
	if (!vgw__placement_print(engine->residency, engine->instance->model, order->devices, engine->placement,
		sizeof(engine->placement)))
		engine->placement[0] = '\0'; /* cannot be: each name has its room */
	if (order->kind == VGW__OPERATION_ACTIVATE)
		engine->is_dead = false;
	operation->job.run = vgw__operation_run;
	vgw__host_begin(engine->instance->host);
	vgw__executors_post(engine->residency->executors, &operation->job);
}

static void heard_done(vgw_message *message)
{
	struct vgw__operation *operation = message->user;
	struct vgw__engine *engine = operation->engine;
	struct vgw__event event = {
		.kind = answer_of(engine, operation),
		.model = engine->slot,
		.ticket = operation->order.ticket,
		.failure = classify(operation),
	};
	struct vgw__event measured = { .kind = VGW__EVENT_FOOTPRINT, .model = engine->slot };
	bool is_asked_for = operation->order.kind != VGW__OPERATION_RESOLVE;
	bool has_footprint = operation->has_footprint;
	int64_t footprint[VGW__DEVICES_MAX];

	memcpy(footprint, operation->footprint, sizeof(footprint));
	measured.bytes = footprint;
	measured.depth = operation->order.kind == VGW__OPERATION_ACTIVATE ? VGW__DEPTH_STOP : VGW__DEPTH_SLEEP;
	engine->is_busy = false;
	if (operation->order.kind == VGW__OPERATION_ACTIVATE)
		atomic_fetch_add_explicit(&engine->resident->lives, 1, memory_order_release); /* before its gate opens */
	if (engine->residency->is_closed && operation->order.kind == VGW__OPERATION_ACTIVATE)
		engine->is_sweep_due = operation->status != VGW_OK;
	if (engine->is_swap_due && !engine->residency->is_closed) /* at the very end no executor is left to retire it */
		vgw__reload_swap(engine);
	if (engine->has_waiting_order) {
		engine->has_waiting_order = false;
		begin(engine, &engine->waiting_order);
	}
	if (is_asked_for && engine->slot != VGW__NOBODY)
		(void)vgw__manager_step(engine->residency, &event);
	if (has_footprint && engine->slot != VGW__NOBODY)
		(void)vgw__manager_step(engine->residency, &measured);
	vgw__engine_unref(engine);
}

void vgw__operation_run(struct vgw__job *job)
{
	struct vgw__operation *operation = VGW__CONTAINER(job, struct vgw__operation, job);

	memset(&operation->error, 0, sizeof(operation->error));
	operation->status = perform(operation, &operation->error);
	vgw__host_get_report(operation->instance->host, &operation->report);
	operation->done.user = operation;
	vgw_loop_post(operation->engine->residency->loop, &operation->done, heard_done);
}

void vgw__engine_order(struct vgw__engine *engine, const struct vgw__order *order)
{
	if (!engine->is_busy) {
		begin(engine, order);
		return;
	}
	/* Only after the operator said that nothing is left of it: what still runs is hurried up. */
	engine->waiting_order = *order;
	engine->has_waiting_order = true;
	vgw__host_cancel(engine->operation.instance->host);
}

void vgw__engine_cancel_order(struct vgw__engine *engine)
{
	if (engine->has_waiting_order)
		engine->waiting_order.is_cancelled = true;
	else if (engine->is_busy)
		vgw__host_cancel(engine->operation.instance->host);
}

vgw_status vgw__operation_activate_unmanaged(struct vgw__engine *engine, vgw_error *err)
{
	const struct vgw__instance *instance = engine->instance;
	vgw_status status = instance->kind->ops.activate(instance->self, vgw_now_ms() + RESOLVE_MS, err);

	return status == VGW_OK ? status : vgw_error_set(err, status, 0, "model '%.60s'", engine->resident->name);
}
