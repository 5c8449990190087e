/* SPDX-License-Identifier: Apache-2.0 */
/* Engines and instances: made, counted, and listened to. A controller speaks on any thread; what it says is kept
 * under a mutex, and a message tells the residency's thread, at most one of a kind at a time. */
#include "residency/internal.h"

#include "util/alloc.h"
#include "util/log.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* --- endpoints ------------------------------------------------------------------------------------------------ */

static bool is_name(const struct vgw__endpoint *endpoint)
{
	unsigned char address[16];

	return !endpoint->unix_path && inet_pton(AF_INET, endpoint->host, address) != 1 &&
		inet_pton(AF_INET6, endpoint->host, address) != 1;
}

/* Told again what is known already, nothing changes: connections, counts and circuits are kept. */
static void on_endpoints(void *user, struct vgw__endpoint *const *endpoints, size_t count)
{
	struct vgw__engine *engine = ((struct vgw__instance *)user)->engine;
	struct vgw__targets *present, *targets;
	bool has_names = false, is_same;
	uint64_t version;

	for (size_t i = 0; i < count; i++)
		has_names = has_names || is_name(endpoints[i]);
	(void)pthread_mutex_lock(&engine->words);
	engine->has_names = has_names;
	(void)pthread_mutex_unlock(&engine->words);
	present = vgw__resident_ref_targets(engine->resident, &version);
	targets = vgw__targets_new(endpoints, count, present, &is_same);
	if (!targets)
		vgw__log(&engine->residency->options.logger, VGW_LOG_ERROR, "residency", engine->resident->name,
			"no memory for its endpoints");
	else if (is_same)
		vgw__targets_unref(targets);
	else
		vgw__resident_take_targets(engine->resident, targets);
	if (targets && !is_same && present)
		vgw__log(&engine->residency->options.logger, VGW_LOG_INFO, "residency", engine->resident->name,
			"its replicas have changed: %u now, %u before", targets->count, present->count);
	vgw__targets_unref(present);
}

/* --- words of the controller ---------------------------------------------------------------------------------- */

static void heard_progress(vgw_message *message)
{
	struct vgw__engine *engine = message->user;
	struct vgw__event event = { .kind = VGW__EVENT_PROGRESS, .model = engine->slot, .eta_ms = -1 };
	char text[sizeof(engine->progress_text)];
	char replica[VGW__NAME_SIZE * 2 + 4];
	int percent;

	(void)atomic_exchange(&engine->is_progress_posted, false);
	vgw__engine_get_progress(engine, &percent, text, sizeof(text));
	if (engine->slot != VGW__NOBODY && engine->is_busy &&
		engine->operation.order.kind == VGW__OPERATION_ACTIVATE) {
		event.ticket = engine->operation.order.ticket;
		(void)vgw__manager_step(engine->residency, &event);
		(void)snprintf(replica, sizeof(replica), "%s/0", engine->resident->name);
		vgw__events_post(engine->residency->events, &(const vgw_event){ .kind = VGW_EVENT_PROGRESS,
			.percent = percent, .at_ms = vgw_now_ms(), .model = engine->resident->name,
			.replica = replica, .text = text });
	}
	vgw__engine_unref(engine);
}

static void on_progress(void *user, int percent, const char *text)
{
	struct vgw__engine *engine = ((struct vgw__instance *)user)->engine;

	(void)pthread_mutex_lock(&engine->words);
	engine->progress_percent = percent;
	(void)snprintf(engine->progress_text, sizeof(engine->progress_text), "%s", text);
	vgw__text_mend(engine->progress_text);
	(void)pthread_mutex_unlock(&engine->words);
	if (atomic_exchange(&engine->is_progress_posted, true))
		return;
	engine->progress.user = vgw__engine_ref(engine);
	vgw_loop_post(engine->residency->loop, &engine->progress, heard_progress);
}

static void heard_death(vgw_message *message)
{
	struct vgw__engine *engine = message->user;
	struct vgw__event event = { .kind = VGW__EVENT_DIED, .model = engine->slot,
		.failure = VGW__FAILURE_UNKNOWN };

	(void)atomic_exchange(&engine->is_death_posted, false);
	(void)pthread_mutex_lock(&engine->words);
	event.generation = engine->death_generation;
	(void)snprintf(engine->failure, sizeof(engine->failure), "%s", engine->death_reason);
	engine->failure_fault = VGW_FAULT_MODEL_START_FAILED;
	(void)pthread_mutex_unlock(&engine->words);
	engine->is_dead = !engine->is_busy;
	if (!event.generation) /* adopted, and dead before the planner gave it a number */
		event.generation = atomic_load(&engine->generation);
	if (engine->slot != VGW__NOBODY)
		(void)vgw__manager_step(engine->residency, &event);
	else
		engine->is_dead_early = true;
	vgw__engine_unref(engine);
}

static void on_death(void *user, const char *reason)
{
	struct vgw__engine *engine = ((struct vgw__instance *)user)->engine;

	(void)pthread_mutex_lock(&engine->words);
	engine->death_generation = atomic_load(&engine->generation);
	(void)snprintf(engine->death_reason, sizeof(engine->death_reason), "%s", reason);
	vgw__text_mend(engine->death_reason);
	(void)pthread_mutex_unlock(&engine->words);
	if (atomic_exchange(&engine->is_death_posted, true))
		return;
	engine->death.user = vgw__engine_ref(engine);
	vgw_loop_post(engine->residency->loop, &engine->death, heard_death);
}

/* Only what contradicts our picture counts, and only while nothing of ours is under way: the operation's own end says
 * what holds after it. */
static void heard_notice(vgw_message *message)
{
	struct vgw__engine *engine = message->user;
	vgw_residency *residency = engine->residency;
	struct vgw__event unload = { .kind = VGW__EVENT_UNLOAD, .model = engine->slot };
	struct vgw__replica_view now;
	char reason[sizeof(engine->death_reason)];
	bool is_presence;

	atomic_store(&engine->is_notice_posted, false);
	(void)pthread_mutex_lock(&engine->words);
	is_presence = engine->is_notice_of_presence;
	(void)snprintf(reason, sizeof(reason), "%s", engine->notice_reason);
	(void)pthread_mutex_unlock(&engine->words);
	if (engine->slot != VGW__NOBODY && !engine->is_busy) {
		vgw__planner_view(residency->planner, engine->slot, vgw_now_ms(), &now);
		if (now.state == (is_presence ? VGW__STATE_ABSENT : VGW__STATE_READY)) {
			vgw__log(&residency->options.logger, VGW_LOG_INFO, "residency", engine->resident->name, "%s",
				reason);
			if (is_presence)
				vgw__reload_adopt(engine, VGW__DEPTH_STOP);
			else
				(void)vgw__manager_step(residency, &unload);
		}
	}
	vgw__engine_unref(engine);
}

static void post_notice(struct vgw__engine *engine, bool is_presence, const char *reason)
{
	(void)pthread_mutex_lock(&engine->words);
	engine->is_notice_of_presence = is_presence;
	(void)snprintf(engine->notice_reason, sizeof(engine->notice_reason), "%s", reason);
	vgw__text_mend(engine->notice_reason);
	(void)pthread_mutex_unlock(&engine->words);
	if (atomic_exchange(&engine->is_notice_posted, true))
		return;
	engine->notice.user = vgw__engine_ref(engine);
	vgw_loop_post(engine->residency->loop, &engine->notice, heard_notice);
}

static void on_absence(void *user, const char *reason)
{
	post_notice(((struct vgw__instance *)user)->engine, false, reason);
}

static void on_presence(void *user, const char *reason)
{
	post_notice(((struct vgw__instance *)user)->engine, true, reason);
}

void vgw__engine_get_progress(struct vgw__engine *engine, int *percent, char *text, size_t size)
{
	(void)pthread_mutex_lock(&engine->words);
	*percent = engine->progress_percent;
	(void)snprintf(text, size, "%s", engine->progress_text);
	(void)pthread_mutex_unlock(&engine->words);
}

/* --- instances ------------------------------------------------------------------------------------------------ */

/* Sleep over the kind of its controller. */
static void wrap(struct vgw__instance *instance, vgw_residency *residency)
{
	instance->sleep = (struct vgw__sleep_kind){
		.inner = instance->kind, .level = instance->model->sleep_level, .mode = instance->model->sleep_mode,
		.canary = instance->model->sleep_canary, .settle = vgw__memory_get_source(residency),
	};
	vgw__sleep_wrap(&instance->sleep);
	instance->kind = &instance->sleep.kind;
}

vgw_status vgw__instance_new(struct vgw__instance **out, vgw_residency *residency, struct vgw__engine *engine,
	vgw_registry *registry, const vgw_model *model, vgw_error *err)
{
	static const struct vgw__host_events events = {
		.on_endpoints = on_endpoints, .on_progress = on_progress, .on_death = on_death,
		.on_absence = on_absence, .on_presence = on_presence,
	};
	struct vgw__instance *instance = vgw__alloc(sizeof(*instance));
	char *replica = vgw__printf("%s/0", model->name);
	char devices[VGW__DEVICES_MAX * VGW__NAME_SIZE];
	vgw_replica_spec spec = {
		.size = sizeof(spec), .model = model->name, .served_name = model->served_name, .replica = replica,
		.backend_json = model->backend_json, .state_dir = residency->state_dir, .devices = devices,
		.sleep_level = model->sleep_level,
	};
	bool is_made = instance && replica && vgw__placement_print(residency, model, ~0u, devices, sizeof(devices));
	vgw_status status = is_made ? VGW_OK : VGW_NOMEM;

	*out = NULL;
	if (status == VGW_OK) {
		instance->engine = engine;
		instance->model = model;
		instance->registry = vgw_registry_ref(registry);
		status = vgw__controllers_find(residency->controllers, &instance->kind, model->kind, err);
	}
	if (status == VGW_OK && vgw__sleep_is_needed(instance->kind, model->sleep_level))
		wrap(instance, residency);
	if (status == VGW_OK)
		status = vgw__host_new(&instance->host, &events, instance, &residency->options.logger, err);
	if (status == VGW_OK)
		vgw__host_set_deny(instance->host, &residency->deny);
	if (status == VGW_OK)
		status = instance->kind->ops.create(&instance->self, &spec, instance->host, instance->kind->user, err);
	vgw__free(replica);
	if (status != VGW_OK) {
		vgw__instance_free(instance);
		return vgw_error_set(err, status, 0, "model '%.60s': %s", model->name, vgw_status_get_text(status));
	}
	*out = instance;
	return VGW_OK;
}

void vgw__instance_free(struct vgw__instance *instance)
{
	if (!instance)
		return;
	if (instance->self)
		instance->kind->ops.destroy(instance->self);
	vgw__host_free(instance->host);
	vgw_registry_unref(instance->registry);
	vgw__free(instance);
}

static void destroy_instance(struct vgw__job *job)
{
	struct vgw__instance *instance = VGW__CONTAINER(job, struct vgw__instance, job);
	struct vgw__engine *engine = instance->engine;

	vgw__instance_free(instance);
	vgw__engine_unref(engine);
}

void vgw__instance_retire(struct vgw__instance *instance)
{
	if (!instance)
		return;
	(void)vgw__engine_ref(instance->engine); /* it may speak until it is destroyed */
	instance->job.run = destroy_instance;
	vgw__executors_post(instance->engine->residency->executors, &instance->job);
}

/* --- engines -------------------------------------------------------------------------------------------------- */

vgw_status vgw__engine_new(struct vgw__engine **out, vgw_residency *residency, const char *name, vgw_error *err)
{
	struct vgw__engine *engine = vgw__alloc(sizeof(*engine));

	*out = NULL;
	if (!engine || pthread_mutex_init(&engine->words, NULL) != 0) {
		vgw__free(engine);
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s'", name);
	}
	atomic_init(&engine->refs, 1);
	engine->residency = residency;
	engine->slot = VGW__NOBODY;
	vgw__list_init(&engine->link);
	engine->progress_percent = -1;
	engine->resident = vgw__resident_new(name);
	if (!engine->resident) {
		vgw__engine_unref(engine);
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s'", name);
	}
	*out = engine;
	return VGW_OK;
}

struct vgw__engine *vgw__engine_ref(struct vgw__engine *engine)
{
	atomic_fetch_add_explicit(&engine->refs, 1, memory_order_relaxed);
	return engine;
}

void vgw__engine_unref(struct vgw__engine *engine)
{
	if (!engine || atomic_fetch_sub_explicit(&engine->refs, 1, memory_order_acq_rel) != 1)
		return;
	vgw__instance_free(engine->next);
	vgw__instance_free(engine->instance);
	vgw__resident_unref(engine->resident);
	(void)pthread_mutex_destroy(&engine->words);
	vgw__free(engine);
}
