/* SPDX-License-Identifier: Apache-2.0 */
/* The planner in virtual time: one heap of things to come (releases, answers), the arrivals in order, its
 * timer. */
#include "core/simulate_internal.h"

#include "util/alloc.h"

enum coming_kind {
	COMING_RELEASE,
	COMING_ANSWER,
};

struct coming {
	int64_t at_ms;
	uint64_t order; /* first said, first done */
	enum coming_kind kind;
	enum vgw__event_kind event;
	int32_t model;
	uint32_t ticket;
};

struct engine {
	bool is_gate_open;
	bool is_idle_due;
	bool is_watched;
	uint32_t gate_ticket;
	uint32_t devices; /* of its last start */
	uint32_t in_flight;
	uint64_t arrivals;
	int64_t last_used_ms;
	int64_t awake_since_ms; /* VGW__NEVER: not awake */
	size_t next_arrival;    /* index of its first arrival still to come */
};

struct run {
	const struct vgw__simulation *s;
	struct vgw__simulated *out;
	struct vgw__planner *planner;
	struct engine *engines;
	struct coming *heap;
	size_t heap_count;
	size_t *arrival_of; /* per waiter */
	int32_t *free_waiters;
	int32_t free_count;
	int64_t *waits;
	int64_t now_ms;
	int64_t timer_ms;
	uint64_t order;
};

/* --- the heap --- */

static bool is_before(const struct coming *a, const struct coming *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void push(struct run *run, struct coming coming)
{
	size_t at = run->heap_count++;

	coming.order = run->order++;
	while (at > 0 && is_before(&coming, &run->heap[(at - 1) / 2])) {
		run->heap[at] = run->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	run->heap[at] = coming;
}

static struct coming pop(struct run *run)
{
	struct coming top = run->heap[0];
	struct coming last = run->heap[--run->heap_count];
	size_t at = 0;
	size_t child;

	while ((child = 2 * at + 1) < run->heap_count) {
		if (child + 1 < run->heap_count && is_before(&run->heap[child + 1], &run->heap[child]))
			child++;
		if (!is_before(&run->heap[child], &last))
			break;
		run->heap[at] = run->heap[child];
		at = child;
	}
	run->heap[at] = last;
	return top;
}

/* --- what the planner says --- */

static void answer_later(
	struct run *run, const struct vgw__action *action, enum vgw__event_kind event, int64_t ms)
{
	push(run, (struct coming){.at_ms = run->now_ms + ms,
			  .kind = COMING_ANSWER,
			  .event = event,
			  .model = action->model,
			  .ticket = action->ticket});
}

static void lease(struct run *run, int32_t model, size_t arrival)
{
	struct engine *engine = &run->engines[model];

	run->waits[arrival] = run->now_ms - run->s->arrivals[arrival].at_ms;
	engine->in_flight++;
	engine->last_used_ms = run->now_ms;
	push(run, (struct coming){.at_ms = run->now_ms + run->s->arrivals[arrival].service_ms,
			  .kind = COMING_RELEASE,
			  .model = model});
}

static void note_transition(struct run *run, const struct vgw__action *action)
{
	struct engine *engine = &run->engines[action->model];
	bool is_gone = action->to == VGW__STATE_ABSENT || action->to == VGW__STATE_ASLEEP ||
		       action->to == VGW__STATE_BACKOFF;

	if (action->to == VGW__STATE_STARTING || action->to == VGW__STATE_WAKING)
		engine->awake_since_ms = run->now_ms;
	if (!is_gone || engine->awake_since_ms == VGW__NEVER)
		return;
	for (int32_t d = 0; d < run->s->device_count; d++) {
		if (((engine->devices >> d) & 1u) && !run->s->devices[d].is_host)
			run->out->device_hours += (double)(run->now_ms - engine->awake_since_ms) / 3600000.0;
	}
	engine->awake_since_ms = VGW__NEVER;
}

static void perform(struct run *run, const struct vgw__action *action)
{
	const struct vgw__engine_times *times =
		action->model == VGW__NOBODY ? NULL : &run->s->times[action->model];
	struct engine *engine = action->model == VGW__NOBODY ? NULL : &run->engines[action->model];

	switch (action->kind) {
	case VGW__ACTION_ACTIVATE:
		engine->devices = action->devices;
		run->out->cold_starts += !action->is_wake;
		run->out->wakes += action->is_wake;
		answer_later(run, action, VGW__EVENT_ACTIVATED,
			action->is_wake ? times->wake_ms : times->start_ms);
		break;
	case VGW__ACTION_DEACTIVATE:
		answer_later(run, action, VGW__EVENT_DEACTIVATED,
			action->depth == VGW__DEPTH_SLEEP ? times->sleep_ms : times->stop_ms);
		break;
	case VGW__ACTION_WAIT_SETTLE:
		answer_later(run, action, VGW__EVENT_SETTLED, 0);
		break;
	case VGW__ACTION_OPEN_GATE:
		engine->is_gate_open = true;
		engine->is_idle_due = false;
		break;
	case VGW__ACTION_CLOSE_GATE:
		engine->is_gate_open = false;
		engine->is_watched = false;
		engine->gate_ticket = action->ticket;
		engine->is_idle_due = engine->in_flight > 0;
		if (!engine->in_flight)
			answer_later(run, action, VGW__EVENT_IDLE, 0);
		break;
	case VGW__ACTION_WATCH_IDLE:
		engine->is_watched = true;
		break;
	case VGW__ACTION_GRANT:
		lease(run, action->model, run->arrival_of[action->waiter]);
		run->free_waiters[run->free_count++] = action->waiter;
		break;
	case VGW__ACTION_REFUSE:
		run->waits[run->arrival_of[action->waiter]] = -1;
		run->free_waiters[run->free_count++] = action->waiter;
		break;
	case VGW__ACTION_SET_TIMER:
		run->timer_ms = action->deadline_ms;
		break;
	case VGW__ACTION_TRANSITION:
		note_transition(run, action);
		break;
	default:
		break;
	}
}

static int64_t next_use_ms(const struct run *run, struct engine *engine, int32_t model)
{
	while (engine->next_arrival < run->s->arrival_count &&
		(run->s->arrivals[engine->next_arrival].model != model ||
			run->s->arrivals[engine->next_arrival].at_ms <= run->now_ms))
		engine->next_arrival++;
	return engine->next_arrival < run->s->arrival_count ? run->s->arrivals[engine->next_arrival].at_ms
							    : VGW__NEVER;
}

static void step(struct run *run, const struct vgw__event *event)
{
	const struct vgw__action *actions;
	struct vgw__usage usage;
	size_t count;

	for (int32_t m = 0; m < run->s->model_count; m++) {
		struct engine *engine = &run->engines[m];

		if (!engine->is_gate_open)
			continue;
		usage = (struct vgw__usage){engine->last_used_ms, engine->in_flight, engine->arrivals, 0};
		if (run->s->config.policy == VGW__POLICY_ORACLE)
			usage.next_use_ms = next_use_ms(run, engine, m);
		vgw__planner_observe(run->planner, m, &usage);
	}
	vgw__planner_step(run->planner, event, run->now_ms);
	actions = vgw__planner_get_actions(run->planner, &count);
	for (size_t i = 0; i < count; i++)
		perform(run, &actions[i]);
}

/* --- what happens --- */

static void arrive(struct run *run, size_t index)
{
	const struct vgw__arrival *arrival = &run->s->arrivals[index];
	struct vgw__event event = {
		.kind = VGW__EVENT_REQUEST,
		.model = arrival->model,
		.priority = VGW__PRIORITY_NORMAL,
		.deadline_ms = VGW__NEVER - 1,
	};

	if (run->engines[arrival->model].is_gate_open) {
		run->engines[arrival->model].arrivals++;
		lease(run, arrival->model, index);
		return;
	}
	event.waiter = run->free_waiters[--run->free_count];
	run->arrival_of[event.waiter] = index;
	step(run, &event);
}

static void happen(struct run *run, const struct coming *coming)
{
	struct engine *engine = &run->engines[coming->model];
	struct vgw__event event = {.kind = coming->event, .model = coming->model, .ticket = coming->ticket};

	if (coming->kind == COMING_RELEASE) {
		engine->in_flight--;
		engine->last_used_ms = run->now_ms;
		if (engine->in_flight || (!engine->is_idle_due && !engine->is_watched))
			return;
		event.kind = engine->is_idle_due ? VGW__EVENT_IDLE : VGW__EVENT_QUIET;
		event.ticket = engine->gate_ticket;
		engine->is_idle_due = false;
		engine->is_watched = false;
	}
	step(run, &event);
}

static void play(struct run *run)
{
	static const struct vgw__event timer = {.kind = VGW__EVENT_TIMER};
	size_t next = 0;
	size_t open = 0;
	int64_t arrival_ms;
	int64_t coming_ms;
	struct coming coming;

	for (;;) {
		open = run->s->arrival_count - next;
		arrival_ms = open ? run->s->arrivals[next].at_ms : VGW__NEVER;
		coming_ms = run->heap_count ? run->heap[0].at_ms : VGW__NEVER;
		if (!open && !run->heap_count && run->free_count == (int32_t)run->s->arrival_count + 1)
			return;
		if (coming_ms <= arrival_ms && coming_ms <= run->timer_ms && run->heap_count) {
			coming = pop(run);
			run->now_ms = coming.at_ms;
			happen(run, &coming);
		} else if (arrival_ms <= run->timer_ms && open) {
			run->now_ms = arrival_ms;
			arrive(run, next++);
		} else if (run->timer_ms != VGW__NEVER) {
			run->now_ms = run->timer_ms > run->now_ms ? run->timer_ms : run->now_ms;
			run->timer_ms = VGW__NEVER;
			step(run, &timer);
		} else {
			return;
		}
	}
}

static bool begin(struct run *run)
{
	const struct vgw__simulation *s = run->s;
	struct vgw__planner_limits limits = {s->model_count, s->device_count, (int32_t)s->arrival_count + 1};
	struct vgw__event add = {.kind = VGW__EVENT_MODEL_ADDED};
	struct vgw__model_config model;

	run->planner = vgw__planner_new(&limits, s->devices, &s->config);
	run->engines = vgw__calloc((size_t)s->model_count, sizeof(*run->engines));
	run->heap = vgw__calloc(s->arrival_count + 4 * (size_t)s->model_count, sizeof(*run->heap));
	run->arrival_of = vgw__calloc((size_t)limits.waiters, sizeof(*run->arrival_of));
	run->free_waiters = vgw__calloc((size_t)limits.waiters, sizeof(*run->free_waiters));
	if (!run->planner || !run->engines || !run->heap || !run->arrival_of || !run->free_waiters)
		return false;
	run->timer_ms = VGW__NEVER;
	for (int32_t w = limits.waiters; w > 0; w--)
		run->free_waiters[run->free_count++] = w - 1;
	for (int32_t m = 0; m < s->model_count; m++) {
		model = s->models[m];
		model.drain_timeout_ms =
			VGW__NEVER / 4; /* nothing is cut in a simulation: service times are given */
		run->engines[m].awake_since_ms = VGW__NEVER;
		add.model = m;
		add.config = &model;
		step(run, &add);
	}
	return true;
}

bool vgw__simulate_planner(
	struct vgw__simulated *out, const struct vgw__simulation *simulation, int64_t *waits)
{
	struct run run = {.s = simulation, .out = out, .waits = waits};
	bool is_ready = begin(&run);
	struct vgw__action gone = {.kind = VGW__ACTION_TRANSITION, .to = VGW__STATE_ABSENT};

	if (is_ready) {
		play(&run);
		for (gone.model = 0; gone.model < simulation->model_count; gone.model++)
			note_transition(&run, &gone); /* what is still awake counts until the end */
		out->span_ms = simulation->arrival_count ? run.now_ms - simulation->arrivals[0].at_ms : 0;
	}
	vgw__planner_free(run.planner);
	vgw__free(run.engines);
	vgw__free(run.heap);
	vgw__free(run.arrival_of);
	vgw__free(run.free_waiters);
	return is_ready;
}
