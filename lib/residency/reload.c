/* SPDX-License-Identifier: Apache-2.0 */
/* apply: from a set of models to engines.
 *
 *   caller's thread: compare ──► make instances (create), adopt, look up names ──► ask ──► give back what is old
 *   residency's thread:                       check devices and groups, tell the planner, publish the table
 *
 * Whatever may fail is done before anything is changed. The caller holds apply_lock throughout: the table changes
 * under nobody's feet but the residency's thread, which changes it on our behalf. */
#include "residency/internal.h"

#include "residency/store.h"
#include "util/alloc.h"
#include "util/error.h"

#include <string.h>

/* One model of the new set, and what becomes of its engine. */
struct change {
	const vgw_model *model;
	struct vgw__engine *engine;     /* one reference: the table's */
	struct vgw__instance *instance; /* of a changed engine, waiting for its turn */
	bool is_new;
	struct vgw__model_config config;
};

struct apply {
	struct vgw__ask ask;
	vgw_registry *registry;
	struct change *changes;
	size_t count;
	struct vgw__table old; /* to be given back */
};

/* --- on the residency's thread: engines ----------------------------------------------------------------------- */

void vgw__reload_swap(struct vgw__engine *engine)
{
	engine->is_swap_due = engine->next && engine->is_busy;
	if (!engine->next || engine->is_busy)
		return;
	vgw__instance_retire(engine->instance);
	engine->instance = engine->next;
	engine->next = NULL;
}

void vgw__reload_forget(vgw_residency *residency, int32_t slot)
{
	struct vgw__engine *engine = residency->slots[slot];

	if (!engine)
		return;
	residency->slots[slot] = NULL;
	engine->slot = VGW__NOBODY;
	engine->resident->owner = NULL;
	if (!engine->is_busy) {
		vgw__instance_retire(engine->instance);
		engine->instance = NULL;
	}
	vgw__engine_unref(engine);
}

static void on_idle(struct vgw__resident *resident)
{
	vgw_residency *residency = resident->user;

	if (atomic_exchange(&resident->is_idle_posted, true))
		return;
	resident->idle.user = vgw__resident_ref(resident);
	vgw_loop_post(residency->loop, &resident->idle, vgw__manager_heard_idle);
}

static int32_t find_slot(const vgw_residency *residency)
{
	for (int32_t i = 0; i < residency->limits.models; i++) {
		if (!residency->slots[i] && vgw__planner_is_free(residency->planner, i))
			return i;
	}
	return VGW__NOBODY;
}

static void tell(vgw_residency *residency, const struct vgw__engine *engine, enum vgw__event_kind kind, bool force,
	const struct vgw__model_config *config)
{
	const struct vgw__event event = { .kind = kind, .model = engine->slot, .force = force, .config = config };

	(void)vgw__manager_step(residency, &event);
}

void vgw__reload_adopt(struct vgw__engine *engine, enum vgw__depth depth)
{
	vgw_residency *residency = engine->residency;
	const struct vgw__event adopt = { .kind = VGW__EVENT_ADOPT, .model = engine->slot, .depth = depth,
		.devices = engine->adopted_devices };
	struct vgw__event died = { .kind = VGW__EVENT_DIED, .model = engine->slot, .failure = VGW__FAILURE_UNKNOWN };
	struct vgw__replica_view now;

	atomic_fetch_add_explicit(&engine->resident->lives, 1, memory_order_release);
	(void)vgw__manager_step(residency, &adopt);
	vgw__planner_view(residency->planner, engine->slot, vgw_now_ms(), &now);
	atomic_store(&engine->generation, now.generation);
	died.generation = now.generation;
	if (depth == VGW__DEPTH_STOP)
		vgw__memory_adopted(engine, now.devices);
	if (engine->is_dead_early)
		(void)vgw__manager_step(residency, &died);
	engine->is_dead_early = false; /* of that engine: the next one that is found lives */
}

static void add_engine(vgw_residency *residency, struct change *change)
{
	struct vgw__engine *engine = change->engine;

	if (engine->is_unmanaged) {
		vgw__list_append(&residency->unmanaged, &vgw__engine_ref(engine)->link);
		atomic_store(&engine->resident->standing, VGW__STANDING_LOADED);
		vgw__gate_open(engine->resident);
		return;
	}
	engine->slot = find_slot(residency);
	residency->slots[engine->slot] = vgw__engine_ref(engine);
	engine->resident->owner = engine;
	engine->resident->user = residency;
	engine->resident->on_idle = on_idle;
	tell(residency, engine, VGW__EVENT_MODEL_ADDED, false, &change->config);
	vgw__adopt_restore(residency, engine);
}

static void change_engine(vgw_residency *residency, struct change *change)
{
	struct vgw__engine *engine = change->engine;
	struct vgw__replica_view now;

	if (!change->instance) {
		if (!engine->is_unmanaged)
			tell(residency, engine, VGW__EVENT_MODEL_CHANGED, false, &change->config);
		return;
	}
	vgw__instance_retire(engine->next); /* its turn never came */
	engine->next = change->instance;
	change->instance = NULL;
	tell(residency, engine, VGW__EVENT_MODEL_CHANGED, true, &change->config);
	vgw__planner_view(residency->planner, engine->slot, vgw_now_ms(), &now);
	if (now.state == VGW__STATE_ABSENT || now.state == VGW__STATE_BACKOFF)
		vgw__reload_swap(engine);
}

static void remove_engine(vgw_residency *residency, struct vgw__engine *engine)
{
	if (!engine->is_unmanaged) {
		tell(residency, engine, VGW__EVENT_MODEL_REMOVED, false, NULL);
		return;
	}
	vgw__list_remove(&engine->link);
	vgw__engine_unref(engine);
}

/* --- on the residency's thread: the set ----------------------------------------------------------------------- */

static bool is_kept(const struct apply *apply, const struct vgw__engine *engine)
{
	for (size_t i = 0; i < apply->count; i++) {
		if (apply->changes[i].engine == engine)
			return true;
	}
	return false;
}

static uint32_t flags_of(const struct change *change)
{
	const struct vgw__engine *engine = change->engine;
	const struct vgw__instance *instance = change->instance ? change->instance : engine->next ? engine->next
		: engine->instance;

	return instance ? instance->kind->ops.flags : 0;
}

static vgw_status check(struct apply *apply)
{
	vgw_residency *residency = apply->ask.residency;
	int32_t room = 0;

	for (int32_t i = 0; i < residency->limits.models; i++)
		room += !residency->slots[i] && vgw__planner_is_free(residency->planner, i);
	for (size_t i = 0; i < apply->count; i++) {
		struct change *change = &apply->changes[i];
		vgw_status status;

		if (change->engine->is_unmanaged)
			continue;
		if (change->is_new && room-- == 0)
			return vgw_error_set(apply->ask.err, VGW_NO_CAPACITY, 0, "more than max_models (%d) models",
				residency->limits.models);
		status = vgw__configure_model(residency, change->model, flags_of(change), &change->config,
			apply->ask.err);
		if (status != VGW_OK)
			return status;
	}
	return VGW_OK;
}

static void publish(struct apply *apply, struct vgw__engine **engines)
{
	vgw_residency *residency = apply->ask.residency;

	for (size_t i = 0; i < apply->count; i++)
		engines[i] = apply->changes[i].engine;
	(void)pthread_mutex_lock(&residency->lock);
	apply->old = residency->table;
	residency->table.registry = vgw_registry_ref(apply->registry);
	residency->table.engines = engines;
	residency->table.count = apply->count;
	(void)pthread_mutex_unlock(&residency->lock);
}

static void preload(vgw_residency *residency)
{
	for (size_t i = 0; !residency->is_preloaded && i < residency->preload.count; i++) {
		struct vgw__engine *engine = vgw__manager_find(residency, residency->preload.items[i], NULL);

		if (engine && engine->slot != VGW__NOBODY)
			tell(residency, engine, VGW__EVENT_PRELOAD, false, NULL);
		vgw__engine_unref(engine);
	}
	residency->is_preloaded = true;
}

static void run_apply(struct vgw__ask *ask)
{
	struct apply *apply = VGW__CONTAINER(ask, struct apply, ask);
	vgw_residency *residency = ask->residency;
	struct vgw__engine **engines = vgw__calloc(apply->count + 1, sizeof(struct vgw__engine *));

	ask->is_over = true;
	ask->status = engines ? check(apply) : vgw_error_set(ask->err, VGW_NOMEM, 0, "the set of models");
	if (ask->status != VGW_OK) {
		vgw__free(engines);
		return;
	}
	for (size_t i = 0; i < residency->table.count; i++) {
		if (!is_kept(apply, residency->table.engines[i]))
			remove_engine(residency, residency->table.engines[i]);
	}
	for (size_t i = 0; i < apply->count; i++) {
		if (apply->changes[i].is_new)
			add_engine(residency, &apply->changes[i]);
		else
			change_engine(residency, &apply->changes[i]);
	}
	publish(apply, engines);
	for (size_t i = 0; i < apply->count; i++) {
		if (apply->changes[i].is_new && apply->changes[i].engine->is_adopted)
			vgw__reload_adopt(apply->changes[i].engine, apply->changes[i].engine->is_adopted_asleep
				? VGW__DEPTH_SLEEP : VGW__DEPTH_STOP);
	}
	preload(residency);
	vgw__store_touch(residency);
}

void vgw__reload_refresh(vgw_residency *residency)
{
	for (size_t i = 0; i < residency->table.count; i++) {
		struct vgw__engine *engine = residency->table.engines[i];
		const struct vgw__instance *instance = engine->next ? engine->next : engine->instance;
		struct vgw__model_config config;

		if (engine->slot == VGW__NOBODY || !instance)
			continue;
		if (vgw__configure_model(residency, vgw_registry_get_model(residency->table.registry, i),
			instance->kind->ops.flags, &config, NULL) == VGW_OK)
			tell(residency, engine, VGW__EVENT_MODEL_CHANGED, false, &config);
	}
}

void vgw__table_fini(struct vgw__table *table)
{
	for (size_t i = 0; i < table->count; i++)
		vgw__engine_unref(table->engines[i]);
	vgw__free(table->engines);
	vgw_registry_unref(table->registry);
	memset(table, 0, sizeof(*table));
}

/* --- on the caller's thread ----------------------------------------------------------------------------------- */

static vgw_status make_engine(vgw_residency *residency, struct apply *apply, struct change *change, bool is_unmanaged,
	vgw_error *err)
{
	vgw_status status = vgw__engine_new(&change->engine, residency, change->model->name, err);

	if (status != VGW_OK)
		return status;
	change->is_new = true;
	change->engine->is_unmanaged = is_unmanaged;
	status = vgw__instance_new(&change->engine->instance, residency, change->engine, apply->registry,
		change->model, err);
	if (status == VGW_OK && is_unmanaged)
		status = vgw__operation_activate_unmanaged(change->engine, err);
	return status;
}

static vgw_status prepare(vgw_residency *residency, struct apply *apply, size_t place, vgw_error *err)
{
	struct change *change = &apply->changes[place];
	const struct vgw__controller_kind *kind;
	struct vgw__engine *engine = NULL;
	const vgw_model *model, *old = NULL;
	vgw_status status;
	bool is_unmanaged;

	change->model = model = vgw_registry_get_model(apply->registry, place);
	status = vgw__controllers_find(residency->controllers, &kind, model->kind, err);
	if (status != VGW_OK)
		return vgw_error_set(err, status, 0, "model '%.60s'", model->name);
	is_unmanaged = (kind->ops.flags & VGW_CONTROLLER_UNMANAGED) && !vgw__sleep_is_needed(kind, model->sleep_level);
	if (!is_unmanaged)
		status = vgw__store_check(residency->store, err);
	if (status != VGW_OK)
		return status;
	for (size_t i = 0; i < residency->table.count && !engine; i++) {
		old = vgw_registry_get_model(residency->table.registry, i);
		if (strcmp(old->name, model->name) == 0)
			engine = residency->table.engines[i];
	}
	if (engine && vgw__model_is_same_engine(old, model)) {
		change->engine = vgw__engine_ref(engine);
		return VGW_OK;
	}
	if (!engine || engine->is_unmanaged || is_unmanaged)
		return make_engine(residency, apply, change, is_unmanaged, err);
	change->engine = vgw__engine_ref(engine);
	return vgw__instance_new(&change->instance, residency, engine, apply->registry, model, err);
}

/* Last used first: when there is not room for all, the others are the ones that go. */
static void adopt(vgw_residency *residency, struct apply *apply)
{
	if (vgw__store_get_records(residency->store))
		vgw__adopt_stop_strays(residency, apply->registry);
	for (size_t i = 0; i < apply->count; i++) {
		struct change *change = &apply->changes[i];

		if (change->is_new && !change->engine->is_unmanaged)
			change->engine->is_adopted = vgw__adopt_engine(residency, change->engine);
	}
}

vgw_status vgw_residency_apply(vgw_residency *residency, vgw_registry *registry, vgw_error *err)
{
	struct apply apply = { .ask = { .run = run_apply, .err = err }, .registry = registry };
	vgw_status status = VGW_OK;

	vgw__error_reset(err);
	apply.count = vgw_registry_get_count(registry);
	apply.changes = vgw__calloc(apply.count + 1, sizeof(*apply.changes));
	if (!apply.changes)
		return vgw_error_set(err, VGW_NOMEM, 0, "the set of models");
	(void)pthread_mutex_lock(&residency->apply_lock);
	for (size_t i = 0; status == VGW_OK && i < apply.count; i++)
		status = prepare(residency, &apply, i, err);
	if (status == VGW_OK) {
		adopt(residency, &apply);
		status = vgw__ask(residency, &apply.ask);
	}
	if (status == VGW_OK)
		vgw__store_forget(residency->store);
	(void)pthread_mutex_unlock(&residency->apply_lock);
	for (size_t i = 0; status != VGW_OK && i < apply.count; i++) {
		vgw__instance_free(apply.changes[i].instance);
		vgw__engine_unref(apply.changes[i].engine);
	}
	vgw__table_fini(&apply.old);
	vgw__free(apply.changes);
	return status;
}
