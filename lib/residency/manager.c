/* SPDX-License-Identifier: Apache-2.0 */
/* The residency of engines that are somebody else's: always up, gate open. */
#include "residency/residency.h"

#include "backend/host.h"
#include "backend/registry.h"
#include "util/alloc.h"
#include "util/error.h"
#include "util/opts.h"
#include "core/model.h"

#include <string.h>

struct engine {
	struct vgw__resident *resident;
	const vgw_model *model; /* of the registry held */
	const struct vgw__controller_kind *kind;
	vgw_host *host;
	void *self;
};

struct vgw_residency {
	vgw_residency_options options;
	struct vgw__controllers *controllers;
	pthread_mutex_t lock;
	vgw_registry *registry; /* guarded by lock, as the engines are */
	struct engine *engines;
	size_t count;
};

static void free_engine(struct engine *engine)
{
	if (engine->self)
		engine->kind->ops.destroy(engine->self);
	vgw__host_free(engine->host);
	vgw__resident_unref(engine->resident);
}

static void free_engines(struct engine *engines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free_engine(&engines[i]);
	vgw__free(engines);
}

static void on_endpoints(void *user, struct vgw__endpoint *const *endpoints, size_t count)
{
	struct vgw__targets *targets = vgw__targets_new(endpoints, count);

	if (targets)
		vgw__resident_take_targets(user, targets);
}

static vgw_status start_engine(vgw_residency *residency, struct engine *engine, const vgw_model *model, vgw_error *err)
{
	static const struct vgw__host_events events = { .on_endpoints = on_endpoints };
	vgw_replica_spec spec = {
		.size = sizeof(spec),
		.model = model->name,
		.served_name = model->served_name,
		.replica = model->name,
		.backend_json = model->backend_json,
		.state_dir = residency->options.state_dir,
		.devices = "",
	};
	vgw_status status = vgw__controllers_find(residency->controllers, &engine->kind, model->kind, err);

	if (status != VGW_OK)
		return status;
	engine->model = model;
	engine->resident = vgw__resident_new(model->name);
	if (!engine->resident)
		return VGW_NOMEM;
	status = vgw__host_new(&engine->host, &events, engine->resident, &residency->options.logger, err);
	if (status == VGW_OK)
		status = engine->kind->ops.create(&engine->self, &spec, engine->host, engine->kind->user, err);
	if (status == VGW_OK)
		status = engine->kind->ops.activate(engine->self, vgw_now_ms() + 10000, err);
	if (status == VGW_OK)
		vgw__gate_open(engine->resident);
	return status;
}

vgw_status vgw_residency_apply(vgw_residency *residency, vgw_registry *registry, vgw_error *err)
{
	size_t count = vgw_registry_get_count(registry), done = 0;
	struct engine *engines = vgw__calloc(count, sizeof(*engines)), *old;
	vgw_status status = engines ? VGW_OK : VGW_NOMEM;
	vgw_registry *old_registry;
	size_t old_count;

	vgw__error_reset(err);
	for (; status == VGW_OK && done < count; done++)
		status = start_engine(residency, &engines[done], vgw_registry_get_model(registry, done), err);
	if (status != VGW_OK) {
		free_engines(engines, done);
		return vgw_error_set(err, status, 0, "models");
	}
	(void)pthread_mutex_lock(&residency->lock);
	old = residency->engines;
	old_count = residency->count;
	old_registry = residency->registry;
	residency->engines = engines;
	residency->count = count;
	residency->registry = vgw_registry_ref(registry);
	(void)pthread_mutex_unlock(&residency->lock);
	free_engines(old, old_count);
	vgw_registry_unref(old_registry);
	return VGW_OK;
}

struct vgw__resident *vgw__residency_find(vgw_residency *residency, const char *model)
{
	struct vgw__resident *resident = NULL;

	(void)pthread_mutex_lock(&residency->lock);
	for (size_t i = 0; i < residency->count && !resident; i++) {
		if (strcmp(residency->engines[i].model->name, model) == 0)
			resident = vgw__resident_ref(residency->engines[i].resident);
	}
	(void)pthread_mutex_unlock(&residency->lock);
	return resident;
}

struct vgw__waiter *vgw__residency_wait(vgw_residency *residency, struct vgw__resident *resident, vgw_loop *loop,
	int64_t deadline_ms, vgw__granted_fn fn, void *user, vgw_error *err)
{
	(void)residency;
	(void)loop;
	(void)deadline_ms;
	(void)fn;
	(void)user;
	(void)vgw_error_set(err, VGW_NO_CAPACITY, 0, "model '%s' is not up", resident->name);
	return NULL;
}

void vgw__waiter_cancel(struct vgw__waiter *waiter)
{
	(void)waiter;
}

vgw_status vgw_residency_add_controller(vgw_residency *residency, const vgw_controller_ops *ops, void *user,
	vgw_error *err)
{
	vgw__error_reset(err);
	return vgw__controllers_add(residency->controllers, ops, user, err);
}

vgw_status vgw_residency_new(vgw_residency **out, const vgw_residency_options *options, vgw_error *err)
{
	vgw_residency *residency = vgw__alloc(sizeof(*residency));
	vgw_status status;

	*out = NULL;
	vgw__error_reset(err);
	if (!residency || pthread_mutex_init(&residency->lock, NULL) != 0) {
		vgw__free(residency);
		return vgw_error_set(err, VGW_NOMEM, 0, "residency");
	}
	status = vgw__opts_copy(&residency->options, sizeof(residency->options), options, "vgw_residency_options", err);
	if (status == VGW_OK)
		status = vgw__controllers_new(&residency->controllers, err);
	if (status == VGW_OK)
		status = vgw__controllers_add_builtin(residency->controllers, err);
	if (status != VGW_OK) {
		vgw_residency_free(residency);
		return status;
	}
	*out = residency;
	return VGW_OK;
}

void vgw_residency_free(vgw_residency *residency)
{
	if (!residency)
		return;
	free_engines(residency->engines, residency->count);
	vgw_registry_unref(residency->registry);
	vgw__controllers_free(residency->controllers);
	(void)pthread_mutex_destroy(&residency->lock);
	vgw__free(residency);
}
