/* SPDX-License-Identifier: Apache-2.0 */
/* The residency's thread: every event becomes one step of the planner, every action of the planner is performed
 * here or ordered from an executor. It never blocks; what may block is done by executors and by callers. */
#include "residency/internal.h"

#include "residency/store.h"
#include "util/log.h"

#include <stdio.h>
#include <string.h>

enum { RESOLVE_EVERY_MS = 30000, RESOLVE_LIMIT_MS = 10000 };

static const enum vgw__standing standings[VGW__STATE_COUNT] = {
	[VGW__STATE_ABSENT] = VGW__STANDING_UNLOADED,
	[VGW__STATE_STARTING] = VGW__STANDING_LOADING,
	[VGW__STATE_READY] = VGW__STANDING_LOADED,
	[VGW__STATE_DRAINING] = VGW__STANDING_LOADED,
	[VGW__STATE_LEAVING] = VGW__STANDING_UNLOADED,
	[VGW__STATE_ASLEEP] = VGW__STANDING_ASLEEP,
	[VGW__STATE_WAKING] = VGW__STANDING_LOADING,
	[VGW__STATE_BACKOFF] = VGW__STANDING_FAILED,
	[VGW__STATE_STUCK] = VGW__STANDING_FAILED,
};

/* --- what actions say to the world ---------------------------------------------------------------------------- */

static bool is_bad_news(const struct vgw__action *action)
{
	return action->to == VGW__STATE_BACKOFF || action->to == VGW__STATE_STUCK ||
		action->cause == VGW__CAUSE_CRASHED || action->cause == VGW__CAUSE_DRAIN_DEADLINE;
}

static void tell_transition(vgw_residency *residency, struct vgw__engine *engine, const struct vgw__action *action)
{
	bool is_bad = is_bad_news(action);
	const char *text = is_bad ? engine->failure : "";
	char replica[VGW__NAME_SIZE * 2 + 4];

	(void)snprintf(replica, sizeof(replica), "%s/0", engine->resident->name);
	vgw__log(&residency->options.logger, is_bad ? VGW_LOG_WARN : VGW_LOG_INFO, "residency", engine->resident->name,
		"%s -> %s (%s)%s%s", vgw__state_name(action->from), vgw__state_name(action->to),
		vgw__cause_name(action->cause), text[0] ? ": " : "", text);
	vgw__events_post(residency->events, &(const vgw_event){
		.kind = VGW_EVENT_TRANSITION, .percent = -1, .at_ms = vgw_now_ms(),
		.model = engine->resident->name, .replica = replica, .from = vgw__state_name(action->from),
		.to = vgw__state_name(action->to), .cause = vgw__cause_name(action->cause), .text = text,
		.fault = text[0] ? engine->failure_fault : VGW_FAULT_NONE,
	});
}

static void on_transition(vgw_residency *residency, struct vgw__engine *engine, const struct vgw__action *action)
{
	atomic_store_explicit(&engine->resident->standing, (int)standings[action->to], memory_order_relaxed);
	if (action->to == VGW__STATE_STARTING || action->to == VGW__STATE_WAKING) {
		(void)pthread_mutex_lock(&engine->words);
		engine->progress_percent = -1;
		engine->progress_text[0] = '\0';
		(void)pthread_mutex_unlock(&engine->words);
	}
	if (action->to == VGW__STATE_READY)
		engine->failure[0] = '\0';
	tell_transition(residency, engine, action);
	if (action->to == VGW__STATE_ABSENT || action->to == VGW__STATE_BACKOFF)
		vgw__reload_swap(engine);
	vgw__store_touch(residency);
}

static void tell_decision(vgw_residency *residency, const struct vgw__action *action)
{
	const struct vgw__engine *engine = residency->slots[action->model];

	if (!engine)
		return;
	vgw__events_post(residency->events, &(const vgw_event){
		.kind = VGW_EVENT_DECISION, .percent = -1, .at_ms = action->decision->at_ms,
		.model = engine->resident->name, .cause = vgw__decision_name(action->decision->kind),
		.text = action->decision->why,
	});
}

/* --- actions -------------------------------------------------------------------------------------------------- */

static void give_order(struct vgw__engine *engine, const struct vgw__action *action, enum vgw__operation_kind kind)
{
	const struct vgw__order order = {
		.kind = kind, .depth = action->depth, .ticket = action->ticket, .devices = action->devices,
		.deadline_ms = action->deadline_ms, .settle_ms = engine->residency->given.settle_ms,
		.is_wake = action->is_wake,
	};

	if (kind == VGW__OPERATION_ACTIVATE)
		atomic_store(&engine->generation, action->generation);
	vgw__engine_order(engine, &order);
}

static void close_gate(struct vgw__engine *engine, const struct vgw__action *action)
{
	engine->is_idle_wanted = true;
	engine->idle_ticket = action->ticket;
	engine->is_quiet_wanted = false;
	vgw__gate_unwatch(engine->resident);
	vgw__gate_close(engine->resident);
}

static void open_gate(struct vgw__engine *engine)
{
	engine->is_idle_wanted = false;
	vgw__gate_open(engine->resident);
}

static void on_timer(vgw_timer *timer)
{
	struct vgw__event event = { .kind = VGW__EVENT_TIMER, .model = VGW__NOBODY };

	(void)vgw__manager_step(timer->user, &event);
}

static void set_timer(vgw_residency *residency, int64_t at_ms)
{
	if (at_ms == VGW__NEVER) {
		vgw_timer_cancel(residency->loop, &residency->timer);
		return;
	}
	if (vgw_timer_start(residency->loop, &residency->timer, at_ms, on_timer) != VGW_OK)
		vgw__log(&residency->options.logger, VGW_LOG_ERROR, "residency", NULL, "no memory for a timer");
}

static void perform(vgw_residency *residency, const struct vgw__action *action)
{
	struct vgw__engine *engine = action->model == VGW__NOBODY ? NULL : residency->slots[action->model];

	switch (action->kind) {
	case VGW__ACTION_ACTIVATE:
		give_order(engine, action, VGW__OPERATION_ACTIVATE);
		break;
	case VGW__ACTION_CANCEL_ACTIVATION:
		vgw__engine_cancel_order(engine);
		break;
	case VGW__ACTION_DEACTIVATE:
		give_order(engine, action, VGW__OPERATION_DEACTIVATE);
		break;
	case VGW__ACTION_WAIT_SETTLE:
		give_order(engine, action, VGW__OPERATION_SETTLE);
		break;
	case VGW__ACTION_OPEN_GATE:
		open_gate(engine);
		break;
	case VGW__ACTION_CLOSE_GATE:
		close_gate(engine, action);
		break;
	case VGW__ACTION_CUT_LEASES:
		vgw__waiters_cut(residency, engine->resident);
		break;
	case VGW__ACTION_WATCH_IDLE:
		engine->is_quiet_wanted = true;
		vgw__gate_watch(engine->resident);
		break;
	case VGW__ACTION_GRANT:
	case VGW__ACTION_REFUSE:
		vgw__waiters_answer(residency, action->waiter, action);
		break;
	case VGW__ACTION_SET_TIMER:
		set_timer(residency, action->deadline_ms);
		break;
	case VGW__ACTION_TRANSITION:
		on_transition(residency, engine, action);
		break;
	case VGW__ACTION_DECISION:
		tell_decision(residency, action);
		break;
	case VGW__ACTION_MODEL_GONE:
		vgw__reload_forget(residency, action->model);
		break;
	case VGW__ACTION_SHUTDOWN_DONE:
		residency->is_shut_down = true;
		break;
	case VGW__ACTION_COUNT:
		break;
	}
}

/* --- steps ---------------------------------------------------------------------------------------------------- */

static void observe(vgw_residency *residency)
{
	for (int32_t i = 0; i < residency->limits.models; i++) {
		const struct vgw__engine *engine = residency->slots[i];
		struct vgw__usage usage = { 0 };

		if (!engine || !vgw__gate_is_open(engine->resident))
			continue;
		usage.in_flight = (uint32_t)vgw__gate_count(engine->resident);
		usage.arrivals = atomic_load_explicit(&engine->resident->arrivals, memory_order_relaxed);
		/* A lease taken moments ago has not set the time yet; one that is held is use now. */
		usage.last_used_ms = usage.in_flight ? vgw_now_ms()
			: atomic_load_explicit(&engine->resident->last_used_ms, memory_order_relaxed);
		vgw__planner_observe(residency->planner, i, &usage);
	}
}

/* For those who wait: by when, as far as earlier times tell. A default is no knowledge. */
static void tell_waiters(vgw_residency *residency)
{
	int64_t now_ms = vgw_now_ms();

	for (int32_t i = 0; i < residency->limits.models; i++) {
		const struct vgw__engine *engine = residency->slots[i];
		struct vgw__replica_view view;
		const struct vgw__times *times;
		int64_t expected_ms;

		if (!engine || !atomic_load_explicit(&engine->resident->waiting, memory_order_relaxed))
			continue;
		vgw__planner_view(residency->planner, i, now_ms, &view);
		times = view.state == VGW__STATE_ASLEEP || view.state == VGW__STATE_WAKING ? &view.wake : &view.start;
		expected_ms = times->kept && view.eta_ms >= 0 ? now_ms + view.eta_ms : 0;
		atomic_store_explicit(&engine->resident->expected_ms, expected_ms, memory_order_relaxed);
	}
}

enum vgw__reason vgw__manager_step(vgw_residency *residency, const struct vgw__event *event)
{
	const struct vgw__action *actions;
	enum vgw__reason reason;
	size_t count;

	if (residency->is_closed)
		return VGW__REASON_SHUTDOWN;
	observe(residency);
	reason = vgw__planner_step(residency->planner, event, vgw_now_ms());
	actions = vgw__planner_get_actions(residency->planner, &count);
	for (size_t i = 0; i < count; i++)
		perform(residency, &actions[i]);
	tell_waiters(residency);
	vgw__asks_look(residency);
	return reason;
}

/* The gate's last lease may have gone; or nobody's, for the word comes without looking. Counted here, where the
 * gate is opened and closed: what changes later is reported anew. */
void vgw__manager_heard_idle(vgw_message *message)
{
	struct vgw__resident *resident = message->user;
	struct vgw__engine *engine = resident->owner;
	struct vgw__event event = { .kind = VGW__EVENT_QUIET };

	/* An exchange, not a store: whoever found the word posted has given his lease back before this reads it. */
	(void)atomic_exchange(&resident->is_idle_posted, false);
	if (!engine || engine->slot == VGW__NOBODY || vgw__gate_count(resident)) {
		vgw__resident_unref(resident);
		return;
	}
	event.model = engine->slot;
	if (engine->is_idle_wanted) {
		engine->is_idle_wanted = false;
		event.kind = VGW__EVENT_IDLE;
		event.ticket = engine->idle_ticket;
		(void)vgw__manager_step(engine->residency, &event);
	} else if (engine->is_quiet_wanted) {
		engine->is_quiet_wanted = false;
		vgw__gate_unwatch(resident);
		(void)vgw__manager_step(engine->residency, &event);
	}
	vgw__resident_unref(resident);
}

static int64_t resolve_every_ms(const vgw_residency *residency)
{
	return residency->given.resolve_ms > 0 ? residency->given.resolve_ms : RESOLVE_EVERY_MS;
}

static void on_resolve(vgw_timer *timer)
{
	vgw_residency *residency = timer->user;
	const struct vgw__order order = {
		.kind = VGW__OPERATION_RESOLVE, .deadline_ms = vgw_now_ms() + RESOLVE_LIMIT_MS,
	};

	VGW__LIST_EACH(it, &residency->unmanaged) {
		struct vgw__engine *engine = VGW__CONTAINER(it, struct vgw__engine, link);
		bool has_names;

		(void)pthread_mutex_lock(&engine->words);
		has_names = engine->has_names;
		(void)pthread_mutex_unlock(&engine->words);
		if (has_names && !engine->is_busy)
			vgw__engine_order(engine, &order);
	}
	if (vgw_timer_start(residency->loop, timer, vgw_now_ms() + resolve_every_ms(residency), on_resolve) != VGW_OK)
		vgw__log(&residency->options.logger, VGW_LOG_ERROR, "residency", NULL, "no memory for a timer");
}

/* --- finding -------------------------------------------------------------------------------------------------- */

/* The router also knows a default for names nobody gave; an operator who mistypes does not mean that. */
static bool is_called(const vgw_model *model, const char *name)
{
	if (strcmp(model->name, name) == 0)
		return true;
	for (size_t i = 0; i < model->aliases.count; i++) {
		if (strcmp(model->aliases.items[i], name) == 0)
			return true;
	}
	return false;
}

struct vgw__engine *vgw__manager_find(vgw_residency *residency, const char *name, vgw_error *err)
{
	struct vgw__engine *engine = NULL;
	const vgw_model *model;

	(void)pthread_mutex_lock(&residency->lock);
	model = residency->table.registry && name
		? vgw_registry_find(residency->table.registry, name, strlen(name)) : NULL;
	if (model && is_called(model, name) && model->base)
		(void)vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND,
			"'%.60s' is an adapter of '%.60s': say that", name, model->base->name);
	else if (model && is_called(model, name))
		engine = vgw__engine_ref(residency->table.engines[model->place]);
	(void)pthread_mutex_unlock(&residency->lock);
	if (!engine)
		(void)vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND,
			"the model '%.100s' does not exist", name ? name : "");
	return engine;
}

struct vgw__resident *vgw__residency_find(vgw_residency *residency, const char *model)
{
	struct vgw__engine *engine = vgw__manager_find(residency, model, NULL);
	struct vgw__resident *resident = engine ? vgw__resident_ref(engine->resident) : NULL;

	vgw__engine_unref(engine);
	return resident;
}

/* --- the thread ----------------------------------------------------------------------------------------------- */

void *vgw__manager_run(void *user)
{
	vgw_residency *residency = user;
	vgw_error err = VGW_ERROR_INIT;

	(void)pthread_setname_np(pthread_self(), "vgw-residency");
	residency->resolve.user = residency;
	residency->timer.user = residency;
	if (vgw_timer_start(residency->loop, &residency->resolve, vgw_now_ms() + resolve_every_ms(residency), on_resolve) != VGW_OK
		|| vgw_loop_run(residency->loop, &err) != VGW_OK)
		vgw__log(&residency->options.logger, VGW_LOG_ERROR, "residency", NULL, "its thread ends: %s", err.text);
	return NULL;
}
