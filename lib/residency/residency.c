/* SPDX-License-Identifier: Apache-2.0 */
/* The residency's beginning and end. In the end the planner says that everything has stopped (or is to be left),
 * operations under way are called back, then the threads end in the order in which they need each other. */
#include "residency/residency.h"

#include "residency/internal.h"
#include "residency/store.h"
#include "util/alloc.h"
#include "util/error.h"
#include "util/opts.h"

#include <string.h>

enum { DEFAULT_WAITERS = 1000, DEFAULT_MODELS = 128, DEFAULT_OPERATIONS = 16, MAX_WAITERS = 1000000 };
enum { MAX_MODELS = 4096, MAX_OPERATIONS = 256, SWEEP_MS = 30000 };

/* --- options -------------------------------------------------------------------------------------------------- */

static vgw_status check_options(const vgw_residency_options *options, vgw_error *err)
{
	const int64_t durations[] = {
		options->max_wait_ms, options->min_resident_ms, options->hold_ms, options->idle_sleep_ms,
		options->idle_stop_ms, options->start_timeout_ms, options->stop_timeout_ms, options->drain_timeout_ms,
		options->settle_ms, options->backoff_ms,
	};

	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		if (durations[i] < 0)
			return vgw_error_set(err, VGW_INVALID, 0, "vgw_residency_options: a duration is negative");
	}
	if ((unsigned)options->policy > VGW_POLICY_COST || (unsigned)options->on_exit > VGW_ON_EXIT_LEAVE)
		return vgw_error_set(err, VGW_INVALID, 0, "vgw_residency_options: no such policy or on_exit");
	if (options->max_waiters > MAX_WAITERS || options->max_models > MAX_MODELS ||
		options->max_operations > MAX_OPERATIONS)
		return vgw_error_set(err, VGW_INVALID, 0,
			"vgw_residency_options: at most %d waiters, %d models, %d operations", MAX_WAITERS, MAX_MODELS,
			MAX_OPERATIONS);
	return VGW_OK;
}

static vgw_status take_options(vgw_residency *residency, const vgw_residency_options *given, vgw_error *err)
{
	vgw_residency_options *options = &residency->options;
	vgw_status status = vgw__opts_copy(options, sizeof(*options), given, "vgw_residency_options", err);

	if (status == VGW_OK)
		status = check_options(options, err);
	if (status == VGW_OK)
		status = vgw__configure_devices(residency, options, err);
	if (status == VGW_OK)
		status = vgw__deny_init(&residency->deny, options->deny, options->deny_count, options->allow_link_local != 0,
			err);
	if (status != VGW_OK)
		return status;
	if (options->state_dir && !(residency->state_dir = vgw__strdup(options->state_dir)))
		return VGW_NOMEM;
	for (size_t i = 0; i < options->preload_count; i++) {
		if (!vgw__strings_add(&residency->preload, options->preload[i]))
			return VGW_NOMEM;
	}
	for (size_t i = 0; i < options->memory_command_count; i++) {
		if (!vgw__strings_add(&residency->memory_command, options->memory_command[i]))
			return VGW_NOMEM;
	}
	options->deny = NULL;
	options->deny_count = 0;
	options->memory_command = NULL;
	options->memory_command_count = 0;
	options->devices = NULL;
	options->preload = NULL;
	options->state_dir = residency->state_dir;
	residency->limits = (struct vgw__planner_limits){
		.models = (int32_t)(options->max_models ? options->max_models : DEFAULT_MODELS),
		.devices = VGW__DEVICES_MAX,
		.waiters = (int32_t)(options->max_waiters ? options->max_waiters : DEFAULT_WAITERS),
	};
	vgw__configure_planner(&residency->config, options);
	residency->given = *options;
	return VGW_OK;
}

/* --- the beginning -------------------------------------------------------------------------------------------- */

static vgw_status make_planner(vgw_residency *residency)
{
	struct vgw__device_config devices[VGW__DEVICES_MAX] = { { 0 } };

	for (int32_t i = 0; i < VGW__DEVICES_MAX; i++) {
		devices[i].budget_bytes = residency->device_budgets[i];
		devices[i].is_host = i == VGW__DEVICES_MAX - 1;
	}
	residency->planner = vgw__planner_new(&residency->limits, devices, &residency->config);
	residency->slots = vgw__calloc((size_t)residency->limits.models, sizeof(struct vgw__engine *));
	residency->waiters = vgw__calloc((size_t)residency->limits.waiters, sizeof(struct vgw__waiter *));
	residency->free_waiters = vgw__calloc((size_t)residency->limits.waiters, sizeof(int32_t));
	if (!residency->planner || !residency->slots || !residency->waiters || !residency->free_waiters)
		return VGW_NOMEM;
	while (residency->free_waiter_count < residency->limits.waiters) {
		residency->free_waiters[residency->free_waiter_count] =
			residency->limits.waiters - 1 - residency->free_waiter_count;
		residency->free_waiter_count++;
	}
	return VGW_OK;
}

static vgw_status start_threads(vgw_residency *residency, vgw_error *err)
{
	uint32_t operations = residency->options.max_operations;
	vgw_status status = vgw_loop_new(&residency->loop, err);
	int failure;

	if (status == VGW_OK)
		status = vgw__executors_new(&residency->executors, operations ? operations : DEFAULT_OPERATIONS, err);
	if (status == VGW_OK)
		status = vgw__events_new(&residency->events, VGW__EVENTS_KEPT, err);
	if (status == VGW_OK)
		status = vgw__store_new(&residency->store, residency, err);
	if (status != VGW_OK)
		return status;
	failure = pthread_create(&residency->thread, NULL, vgw__manager_run, residency);
	if (failure)
		return vgw_error_set(err, VGW_INTERNAL, failure, "cannot start the residency's thread");
	residency->has_thread = true;
	return VGW_OK;
}

static vgw_residency *allocate(void)
{
	vgw_residency *residency = vgw__alloc(sizeof(*residency));

	if (!residency)
		return NULL;
	if (pthread_mutex_init(&residency->apply_lock, NULL) != 0) {
		vgw__free(residency);
		return NULL;
	}
	if (pthread_mutex_init(&residency->memory.lock, NULL) != 0) {
		(void)pthread_mutex_destroy(&residency->apply_lock);
		vgw__free(residency);
		return NULL;
	}
	if (pthread_mutex_init(&residency->lock, NULL) != 0) {
		(void)pthread_mutex_destroy(&residency->memory.lock);
		(void)pthread_mutex_destroy(&residency->apply_lock);
		vgw__free(residency);
		return NULL;
	}
	vgw__list_init(&residency->ports);
	vgw__list_init(&residency->unmanaged);
	vgw__list_init(&residency->asks);
	residency->started_ms = vgw_now_ms();
	return residency;
}

vgw_status vgw_residency_new(vgw_residency **out, const vgw_residency_options *options, vgw_error *err)
{
	vgw_residency *residency = allocate();
	vgw_status status;

	*out = NULL;
	vgw__error_reset(err);
	if (!residency)
		return vgw_error_set(err, VGW_NOMEM, 0, "residency");
	status = take_options(residency, options, err);
	if (status == VGW_OK)
		status = make_planner(residency);
	if (status == VGW_OK)
		status = vgw__controllers_new(&residency->controllers, err);
	if (status == VGW_OK)
		status = vgw__controllers_add_builtin(residency->controllers, err);
	if (status == VGW_OK)
		status = start_threads(residency, err);
	if (status != VGW_OK) {
		vgw_residency_free(residency);
		return vgw_error_set(err, status, 0, "residency");
	}
	*out = residency;
	return VGW_OK;
}

vgw_status vgw_residency_add_controller(vgw_residency *residency, const vgw_controller_ops *ops, void *user,
	vgw_error *err)
{
	vgw__error_reset(err);
	return vgw__controllers_add(residency->controllers, ops, user, err);
}

vgw_status vgw_residency_subscribe(vgw_subscription **out, vgw_residency *residency, vgw_event_fn fn, void *user,
	vgw_error *err)
{
	vgw__error_reset(err);
	return vgw__events_subscribe(residency->events, out, fn, user, err);
}

void vgw__residency_tell(vgw_residency *residency, const vgw_event *event)
{
	vgw__events_post(residency->events, event);
}

/* --- other limits --------------------------------------------------------------------------------------------- */

struct configure {
	struct vgw__ask ask;
	vgw_residency_options options;
};

static void run_configure(struct vgw__ask *ask)
{
	struct configure *configure = VGW__CONTAINER(ask, struct configure, ask);
	vgw_residency *residency = ask->residency;
	struct vgw__residency_config config;
	struct vgw__event event = { .kind = VGW__EVENT_CONFIGURED, .model = VGW__NOBODY, .residency = &config };

	vgw__configure_planner(&config, &configure->options);
	residency->config = config;
	residency->given = configure->options;
	(void)vgw__manager_step(residency, &event);
	vgw__reload_refresh(residency);
	ask->is_over = true;
}

vgw_status vgw_residency_configure(vgw_residency *residency, const vgw_residency_options *options, vgw_error *err)
{
	struct configure configure = { .ask = { .run = run_configure, .err = err } };
	vgw_status status;

	vgw__error_reset(err);
	status = vgw__opts_copy(&configure.options, sizeof(configure.options), options, "vgw_residency_options", err);
	if (status == VGW_OK)
		status = check_options(&configure.options, err);
	return status == VGW_OK ? vgw__ask(residency, &configure.ask) : status;
}

/* --- the end -------------------------------------------------------------------------------------------------- */

static bool is_shut_down(struct vgw__ask *ask)
{
	return ask->residency->is_shut_down;
}

static void run_shutdown(struct vgw__ask *ask)
{
	vgw_residency *residency = ask->residency;
	bool is_leaving = residency->options.on_exit == VGW_ON_EXIT_LEAVE;
	struct vgw__event event = { .kind = VGW__EVENT_SHUTDOWN, .model = VGW__NOBODY, .force = is_leaving };

	vgw__asks_refuse(residency);
	(void)vgw__manager_step(residency, &event);
	ask->is_over = residency->is_shut_down;
	if (!ask->is_over)
		vgw__ask_watch(ask, is_shut_down, VGW__NEVER);
}

/* Nothing begins any more; what still runs is called back. */
static void run_close(struct vgw__ask *ask)
{
	vgw_residency *residency = ask->residency;

	residency->is_closed = true;
	for (int32_t i = 0; i < residency->limits.models; i++) {
		struct vgw__engine *engine = residency->slots[i];

		if (engine && engine->is_busy && engine->operation.order.kind == VGW__OPERATION_ACTIVATE)
			vgw__engine_cancel_order(engine);
	}
	vgw_timer_cancel(residency->loop, &residency->timer);
	vgw_timer_cancel(residency->loop, &residency->resolve);
	vgw__store_stop(residency);
	ask->is_over = true;
}

static void stop_threads(vgw_residency *residency)
{
	struct vgw__ask shutdown = { .run = run_shutdown };
	struct vgw__ask close = { .run = run_close };

	if (!residency->has_thread)
		return;
	(void)vgw__ask(residency, &shutdown);
	(void)vgw__ask(residency, &close);
	vgw_loop_stop(residency->loop);
	(void)pthread_join(residency->thread, NULL);
}

/* A start that was given up half way, when engines are left alone otherwise: this one is not. */
static void sweep(struct vgw__engine *engine)
{
	const struct vgw__instance *instance = engine->instance;

	if (!engine->is_sweep_due)
		return;
	vgw__host_begin(instance->host);
	(void)instance->kind->ops.deactivate(instance->self, VGW_DEPTH_STOP, vgw_now_ms() + SWEEP_MS, NULL);
}

static void free_engines(vgw_residency *residency)
{
	struct vgw__list *link;

	for (int32_t i = 0; residency->slots && i < residency->limits.models; i++) {
		if (!residency->slots[i])
			continue;
		residency->slots[i]->resident->owner = NULL;
		vgw__engine_unref(residency->slots[i]);
	}
	while ((link = vgw__list_first(&residency->unmanaged)) != NULL) {
		vgw__list_remove(link);
		vgw__engine_unref(VGW__CONTAINER(link, struct vgw__engine, link));
	}
	vgw__table_fini(&residency->table);
}

void vgw_residency_free(vgw_residency *residency)
{
	if (!residency)
		return;
	stop_threads(residency);
	vgw__executors_free(residency->executors);
	/* What the executors and the last leases said meanwhile. */
	for (int i = 0; i < 2 && residency->loop; i++)
		(void)!vgw_loop_run_once(residency->loop, 0, NULL);
	for (int32_t i = 0; residency->slots && i < residency->limits.models; i++) {
		if (residency->slots[i])
			sweep(residency->slots[i]);
	}
	vgw__events_free(residency->events);
	vgw__store_write_last(residency);
	vgw__store_free(residency->store);
	free_engines(residency);
	vgw_loop_free(residency->loop);
	vgw__controllers_free(residency->controllers);
	vgw__planner_free(residency->planner);
	vgw__free(residency->slots);
	vgw__free(residency->waiters);
	vgw__free(residency->free_waiters);
	for (size_t i = 0; i < VGW__GROUPS_MAX; i++)
		vgw__free(residency->group_names[i]);
	vgw__strings_fini(&residency->memory_command);
	vgw__strings_fini(&residency->preload);
	vgw__free(residency->state_dir);
	vgw__memory_fini(&residency->memory);
	(void)pthread_mutex_destroy(&residency->lock);
	(void)pthread_mutex_destroy(&residency->apply_lock);
	vgw__free(residency);
}
