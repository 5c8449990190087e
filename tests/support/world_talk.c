/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs with which a test talks to the world: ask, use, release, answer, fail, die, command, advance. */
#include "world.h"

int32_t world_ask(struct world *world, int32_t model, int64_t patience_ms)
{
	struct vgw__event event = {
		.kind = VGW__EVENT_REQUEST,
		.model = model,
		.priority = VGW__PRIORITY_NORMAL,
		.deadline_ms = world->now_ms + patience_ms,
	};

	while (event.waiter < world->limits.waiters && world->waiter[event.waiter].is_waiting)
		event.waiter++;
	if (event.waiter == world->limits.waiters)
		return VGW__NOBODY;
	world->waiter[event.waiter] = (struct world_waiter){
		.is_waiting = true,
		.model = model,
		.arrived_ms = world->now_ms,
		.deadline_ms = event.deadline_ms,
	};
	world_step(world, &event);
	return event.waiter;
}

void world_cancel(struct world *world, int32_t waiter)
{
	struct vgw__event event = {.kind = VGW__EVENT_CANCELLED, .model = VGW__NOBODY, .waiter = waiter};

	world->waiter[waiter].is_waiting = false;
	world_step(world, &event);
}

bool world_use(struct world *world, int32_t model)
{
	if (!world->model[model].is_gate_open)
		return false;
	world->model[model].leases++;
	world->model[model].arrivals++;
	world->model[model].last_used_ms = world->now_ms;
	return true;
}

static void say_if_idle(struct world *world, int32_t m)
{
	struct world_model *model = &world->model[m];
	struct vgw__event idle = {.kind = VGW__EVENT_IDLE, .model = m, .ticket = model->gate_ticket};
	struct vgw__event quiet = {.kind = VGW__EVENT_QUIET, .model = m};

	if (model->leases)
		return;
	if (model->is_idle_due) {
		model->is_idle_due = false;
		world_step(world, &idle);
	} else if (model->is_watched && model->is_gate_open) {
		model->is_watched = false;
		world_step(world, &quiet);
	}
}

void world_release(struct world *world, int32_t model)
{
	if (world->model[model].leases) {
		world->model[model].leases--;
		world->model[model].last_used_ms = world->now_ms;
	}
	say_if_idle(world, model);
}

void world_fail(struct world *world, int32_t m, enum vgw__failure failure)
{
	struct world_model *model = &world->model[m];
	struct vgw__event event = {.kind = VGW__EVENT_FAILED,
		.model = m,
		.ticket = model->op_ticket,
		.failure = failure,
		.ref = 77};

	if (model->op != WORLD_OP_ACTIVATE)
		return;
	model->op = WORLD_OP_NONE;
	if (model->op_is_orphan) {
		model->op_is_orphan = false;
		event.ticket--;
	}
	world_step(world, &event);
}

void world_answer(struct world *world, int32_t m, bool is_success)
{
	struct world_model *model = &world->model[m];
	struct vgw__event event = {.model = m, .ticket = model->op_ticket};
	enum world_op op = model->op;

	if (model->op_is_orphan) {
		model->op_is_orphan = false;
		model->op = WORLD_OP_NONE;
		return;
	}
	switch (op) {
	case WORLD_OP_NONE:
		return;
	case WORLD_OP_ACTIVATE:
		if (!is_success) {
			world_fail(world, m,
				model->op_is_cancelled ? VGW__FAILURE_CANCELLED : VGW__FAILURE_UNKNOWN);
			return;
		}
		event.kind = VGW__EVENT_ACTIVATED;
		model->is_awake = true;
		break;
	case WORLD_OP_DEACTIVATE:
		event.kind = is_success ? VGW__EVENT_DEACTIVATED : VGW__EVENT_KEPT;
		if (is_success) {
			model->is_awake = false;
			model->has_engine = model->op_depth == VGW__DEPTH_SLEEP;
		}
		break;
	case WORLD_OP_SETTLE:
		event.kind = is_success ? VGW__EVENT_SETTLED : VGW__EVENT_UNSETTLED;
		if (is_success) {
			model->holds_awake = false;
			model->holds_asleep = model->op_depth == VGW__DEPTH_SLEEP;
		}
		break;
	}
	model->op = WORLD_OP_NONE;
	world_step(world, &event);
}

void world_die(struct world *world, int32_t m, enum vgw__failure failure)
{
	struct vgw__event event = {.kind = VGW__EVENT_DIED,
		.model = m,
		.generation = world->model[m].generation,
		.failure = failure,
		.ref = 78};

	if (!world->model[m].has_engine)
		return;
	world->model[m].is_dead = true;
	world->model[m].was_cut = true; /* its leases are worth nothing */
	world_step(world, &event);
}

enum vgw__reason world_command(struct world *world, enum vgw__event_kind kind, int32_t model, bool force)
{
	struct vgw__event event = {.kind = kind, .model = model, .force = force};

	if (model != VGW__NOBODY)
		event.config = &world->models[model];
	event.residency = &world->config;
	return world_step(world, &event);
}

void world_advance(struct world *world, int64_t ms)
{
	struct vgw__event event = {.kind = VGW__EVENT_TIMER};
	int64_t until_ms = world->now_ms + ms;

	while (world->timer_ms <= until_ms && !world->broken) {
		if (world->timer_ms > world->now_ms)
			world->now_ms = world->timer_ms;
		world->timer_ms = VGW__NEVER;
		world_step(world, &event);
	}
	world->now_ms = until_ms;
}

void world_settle(struct world *world)
{
	bool has_run = true;

	while (has_run && !world->broken) {
		has_run = false;
		for (int32_t m = 0; m < world->limits.models; m++) {
			if (world->model[m].is_idle_due && !world->model[m].leases) {
				say_if_idle(world, m);
				has_run = true;
			}
			if (world->model[m].op != WORLD_OP_NONE) {
				world_answer(world, m,
					!world->model[m].op_is_cancelled ||
						world->model[m].op != WORLD_OP_ACTIVATE);
				has_run = true;
			}
		}
	}
}

enum vgw__state world_state(const struct world *world, int32_t model)
{
	return world->model[model].state;
}
