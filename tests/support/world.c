/* SPDX-License-Identifier: Apache-2.0 */
/* The shell of the planner as a naive, checking reference; see world.h. */
#include "world.h"

#include <string.h>

static void expect(struct world *world, bool is_true, const char *sentence)
{
	if (!is_true && !world->broken)
		world->broken = sentence;
}

/* --- the naive account --- */

static int64_t bytes_of(const struct world *world, int32_t m, int32_t d)
{
	const struct world_model *model = &world->model[m];
	const struct vgw__model_config *config = &world->models[m];
	int64_t bytes = 0;

	if (((config->devices & ~model->devices) >> d) & 1u)
		return 0;
	if (model->holds_awake)
		bytes = config->awake_bytes[d];
	if (model->holds_asleep && config->asleep_bytes[d] > bytes)
		bytes = config->asleep_bytes[d];
	return bytes;
}

static void recount(struct world *world)
{
	int32_t residents = 0;
	int64_t bytes;
	uint32_t busy = 0;
	uint32_t mask;

	for (int32_t d = 0; d < world->limits.devices && !world->has_footprints_moved; d++) {
		bytes = 0;
		for (int32_t m = 0; m < world->limits.models; m++)
			bytes += bytes_of(world, m, d);
		expect(world, !world->devices[d].budget_bytes || bytes <= world->devices[d].budget_bytes,
			"I1: by the naive account a device is over its budget");
	}
	for (int32_t m = 0; m < world->limits.models; m++) {
		const struct world_model *model = &world->model[m];

		residents += model->holds_awake;
		for (int32_t other = 0; other < m; other++)
			expect(world,
				!model->holds_awake || !world->model[other].holds_awake ||
					!(world->models[m].groups & world->models[other].groups),
				"I6: by the naive account two of a group are resident");
		if (model->op == WORLD_OP_NONE || model->op_is_orphan || model->state == VGW__STATE_STUCK)
			continue;
		mask = 0;
		for (int32_t d = 0; d < world->limits.devices; d++)
			mask |= !world->devices[d].is_host && ((model->devices >> d) & 1u) ? 1u << d
												     : 0;
		expect(world, !(busy & mask), "two operations at a time on one device");
		busy |= mask;
	}
	expect(world, !world->config.max_resident || residents <= world->config.max_resident,
		"I1: by the naive account too many are resident");
}

/* --- actions --- */

static bool is_whole(const struct vgw__model_config *config, uint32_t devices)
{
	int32_t chosen = 0;
	int32_t possible = 0;

	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		chosen += (devices >> d) & 1u;
		possible += (config->devices >> d) & 1u;
	}
	if (devices & ~config->devices)
		return false;
	return chosen == (config->devices_needed ? config->devices_needed : possible);
}

static void activate(struct world *world, const struct vgw__action *action)
{
	struct world_model *model = &world->model[action->model];

	expect(world, model->op == WORLD_OP_NONE || model->op_is_orphan,
		"I4: two operations at a time on a replica");
	if (action->is_wake) {
		expect(world, model->has_engine && !model->is_awake, "I4: a wake of what does not sleep");
		expect(world, model->generation == action->generation, "a wake began a new generation");
		expect(world, model->devices == action->devices, "I1: it wakes elsewhere than it went to sleep");
	} else {
		expect(world, !model->holds_awake && !model->holds_asleep,
			"I4: a start while the last engine holds memory");
		expect(world, action->generation > model->generation,
			"a cold start without a new generation");
		expect(world, is_whole(&world->models[action->model], action->devices),
			"I1: a start on half a set of devices, or on strange ones");
		model->devices = action->devices;
	}
	model->has_engine = true;
	model->is_dead = model->is_dead && action->is_wake;
	model->generation = action->generation;
	model->holds_awake = true;
	model->was_cut = false;
	model->op = WORLD_OP_ACTIVATE;
	model->op_ticket = action->ticket;
	model->op_is_wake = action->is_wake;
	model->op_is_cancelled = false;
	model->op_is_orphan = false;
	model->activations++;
}

static void deactivate(struct world *world, const struct vgw__action *action)
{
	struct world_model *model = &world->model[action->model];

	expect(world, model->op == WORLD_OP_NONE, "I4: two operations at a time on a replica");
	expect(world, !model->is_gate_open, "I3: stopped with an open gate");
	expect(world, model->leases == 0 || model->was_cut, "I3: stopped while leases are out");
	expect(world, !model->is_idle_due || model->was_cut || model->leases == 0,
		"I3: stopped before IDLE was said");
	model->is_idle_due = false;
	model->leases = 0;
	if (action->depth == VGW__DEPTH_SLEEP)
		model->holds_asleep = true;
	model->op = WORLD_OP_DEACTIVATE;
	model->op_ticket = action->ticket;
	model->op_depth = action->depth;
}

static void answer_waiter(struct world *world, const struct vgw__action *action)
{
	struct world_waiter *waiter = &world->waiter[action->waiter];
	int64_t waited_ms = world->now_ms - waiter->arrived_ms;

	expect(world, waiter->is_waiting, "I8: a second answer for one waiter");
	waiter->is_waiting = false;
	waiter->was_granted = action->kind == VGW__ACTION_GRANT;
	waiter->refused = action->reason;
	waiter->answered_ms = world->now_ms;
	if (waited_ms > world->longest_wait_ms)
		world->longest_wait_ms = waited_ms;
	if (action->kind == VGW__ACTION_REFUSE) {
		world->refusals++;
		expect(world, action->reason != VGW__REASON_NONE, "a refusal without a reason");
		return;
	}
	world->grants++;
	expect(world, waiter->model == action->model, "I5: a lease on another model");
	expect(world, waiter->deadline_ms > world->now_ms, "I16: a grant after the deadline");
	expect(world, world->model[action->model].state == VGW__STATE_READY,
		"I5: a lease on what is not READY");
	expect(world, world->model[action->model].generation == action->generation,
		"I5: a lease on a former engine");
	expect(world, world->model[action->model].has_engine && world->model[action->model].is_awake,
		"I5: a lease on an engine that does not run");
	expect(world, !world->model[action->model].is_dead, "I5: a lease on an engine that died");
	world->model[action->model].leases++;
	world->model[action->model].last_used_ms = world->now_ms;
}

static void note_transition(struct world *world, const struct vgw__action *action)
{
	struct world_model *model = &world->model[action->model];
	struct vgw__replica_view view;

	expect(world, model->state == action->from, "a transition begins where the last one did not end");
	world->transitions++;
	model->state = action->to;
	if (action->to == VGW__STATE_READY)
		model->holds_asleep = false;
	if (action->cause == VGW__CAUSE_ADOPTED && action->to == VGW__STATE_READY) {
		model->has_engine = true;
		model->is_awake = true;
		model->holds_awake = true;
		model->was_cut = false;
		model->generation = action->generation;
		vgw__planner_view(world->planner, action->model, world->now_ms, &view);
		model->devices = view.devices;
	}
	if (action->to == VGW__STATE_ABSENT && action->cause == VGW__CAUSE_FORCED) {
		model->op_is_orphan = model->op != WORLD_OP_NONE;
		model->holds_awake = false;
		model->holds_asleep = false;
	}
	if (action->to == VGW__STATE_ABSENT || action->to == VGW__STATE_BACKOFF)
		expect(world, !model->holds_awake && !model->holds_asleep,
			"I2: gone before its memory was back");
}

static void perform(struct world *world, const struct vgw__action *action)
{
	struct world_model *model = action->model == VGW__NOBODY ? NULL : &world->model[action->model];

	switch (action->kind) {
	case VGW__ACTION_ACTIVATE:
		activate(world, action);
		break;
	case VGW__ACTION_CANCEL_ACTIVATION:
		expect(world, model->op == WORLD_OP_ACTIVATE && model->op_ticket == action->ticket,
			"a cancel of what does not run");
		model->op_is_cancelled = true;
		break;
	case VGW__ACTION_DEACTIVATE:
		deactivate(world, action);
		break;
	case VGW__ACTION_WAIT_SETTLE:
		expect(world, model->op == WORLD_OP_NONE, "I4: two operations at a time on a replica");
		model->op = WORLD_OP_SETTLE;
		model->op_ticket = action->ticket;
		break;
	case VGW__ACTION_OPEN_GATE:
		expect(world, !model->is_gate_open, "an open gate was opened");
		model->is_gate_open = true;
		model->is_idle_due = false;
		break;
	case VGW__ACTION_CLOSE_GATE:
		expect(world, model->is_gate_open, "a closed gate was closed");
		model->is_gate_open = false;
		model->is_watched = false;
		model->is_idle_due = true;
		model->gate_ticket = action->ticket;
		break;
	case VGW__ACTION_CUT_LEASES:
		model->was_cut = true;
		break;
	case VGW__ACTION_WATCH_IDLE:
		model->is_watched = true;
		break;
	case VGW__ACTION_GRANT:
	case VGW__ACTION_REFUSE:
		answer_waiter(world, action);
		break;
	case VGW__ACTION_SET_TIMER:
		world->timer_ms = action->deadline_ms;
		break;
	case VGW__ACTION_TRANSITION:
		note_transition(world, action);
		break;
	case VGW__ACTION_SHUTDOWN_DONE:
		expect(world, !world->is_shutdown_done, "shutdown was done twice");
		world->is_shutdown_done = true;
		break;
	default:
		break;
	}
}

enum vgw__reason world_step(struct world *world, const struct vgw__event *event)
{
	const struct vgw__action *actions;
	struct vgw__usage usage;
	size_t count;
	const char *what = NULL;
	enum vgw__reason reason;

	for (int32_t m = 0; m < world->limits.models; m++) {
		const struct world_model *model = &world->model[m];

		if (!model->is_gate_open)
			continue;
		usage = (struct vgw__usage){model->last_used_ms, model->leases, model->arrivals, VGW__NEVER};
		vgw__planner_observe(world->planner, m, &usage);
	}
	reason = vgw__planner_step(world->planner, event, world->now_ms);
	world->steps++;
	actions = vgw__planner_get_actions(world->planner, &count);
	for (size_t i = 0; i < count; i++)
		perform(world, &actions[i]);
	if (world->is_unchecked)
		return reason;
	recount(world);
	if (vgw__planner_check(world->planner, world->now_ms, &what) && !world->broken)
		world->broken = what;
	return reason;
}

/* --- begin and end --- */

bool world_begin(struct world *world)
{
	world->planner = vgw__planner_new(&world->limits, world->devices, &world->config);
	if (!world->planner)
		return false;
	world->timer_ms = VGW__NEVER;
	for (int32_t m = 0; m < world->limits.models; m++) {
		struct vgw__event event = {
			.kind = VGW__EVENT_MODEL_ADDED, .model = m, .config = &world->models[m]};

		world_step(world, &event);
	}
	return true;
}

void world_end(struct world *world)
{
	vgw__planner_free(world->planner);
	world->planner = NULL;
}
