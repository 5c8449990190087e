/* SPDX-License-Identifier: Apache-2.0 */
/* New, step, the planning pass and the timer.
 *
 *   event -> digest -> [ expire, deadlines, promises, revoke, idle, swap, operations ] until nothing changes
 *                                                                                     -> timer -> actions
 */
#include "core/planner_internal.h"

#include "util/alloc.h"

#include <string.h>

/* --- configuration --- */

static void fill(int64_t *value, int64_t otherwise)
{
	if (*value <= 0)
		*value = otherwise;
}

void vgw__planner_fill_defaults(struct vgw__residency_config *config)
{
	fill(&config->max_wait_ms, 1200000);
	fill(&config->settle_timeout_ms, 30000);
	fill(&config->cancel_grace_ms, 30000);
	fill(&config->backoff_ms, 1000);
	fill(&config->backoff_max_ms, 300000);
	fill(&config->breaker_ms, 600000);
	fill(&config->stable_ms, 60000);
	fill(&config->stuck_retry_ms, 30000);
	fill(&config->rate_half_life_ms, 300000);
	if (config->breaker_failures <= 0)
		config->breaker_failures = 5;
}

void vgw__planner_set_config(struct vgw__replica *r, const struct vgw__model_config *config)
{
	r->config = *config;
	fill(&r->config.start_timeout_ms, 1200000);
	fill(&r->config.wake_timeout_ms, 300000);
	fill(&r->config.sleep_timeout_ms, 120000);
	fill(&r->config.stop_timeout_ms, 60000);
	fill(&r->config.drain_timeout_ms, 30000);
	fill(&r->config.expected_start_ms, 60000);
	fill(&r->config.expected_wake_ms, 5000);
	r->is_pinned = config->is_pinned;
}

static void free_slot(struct vgw__planner *p, struct vgw__replica *r)
{
	struct vgw__replica empty = {
		.generation = r->generation, /* answers from its former life stay stale */
		.ticket = r->ticket + 1,
		.deadline_ms = VGW__NEVER,
		.again_ms = VGW__NEVER,
		.beneficiary = VGW__NOBODY,
		.first_waiter = VGW__NOBODY,
		.last_waiter = VGW__NOBODY,
	};

	*r = empty;
	vgw__planner_act(p, VGW__ACTION_MODEL_GONE, r);
}

/* Nothing of it runs: a removed model goes, a changed one gets its new configuration, footprints take force.
 */
void vgw__planner_apply_config(struct vgw__planner *p, struct vgw__replica *r)
{
	if (r->is_removed) {
		free_slot(p, r);
		return;
	}
	if (r->has_next_config) {
		r->has_next_config = false;
		vgw__planner_set_config(r, &r->next_config);
		for (int32_t d = 0; d < VGW__DEVICES_MAX; d++)
			r->learned[d] = VGW__UNKNOWN_BYTES;
	}
	vgw__place_believe(p, r);
}

/* --- new --- */

static size_t aligned(size_t size)
{
	return (size + 15) & ~(size_t)15;
}

/* The header, then everything that a copy takes along, then the rest. Returns the size of the whole. */
static size_t lay_out(struct vgw__planner *p, const struct vgw__planner_limits *limits)
{
	char *block = (char *)p;
	size_t waiters_at =
		aligned(sizeof(*p)) + aligned((size_t)limits->models * sizeof(struct vgw__replica));
	size_t heap_at = waiters_at + aligned((size_t)limits->waiters * sizeof(struct vgw__waiter));
	size_t journal_at = heap_at + aligned((size_t)limits->waiters * sizeof(int32_t));
	size_t actions_at = journal_at + aligned(VGW__DECISIONS_KEPT * sizeof(struct vgw__decision));
	/* a waiter is answered at most once in a step; a replica passes through a few states */
	size_t action_room = (size_t)limits->waiters + 64 * (size_t)limits->models + 64;
	size_t marks_at = actions_at + aligned(action_room * sizeof(struct vgw__action));

	if (p) {
		p->replicas = (struct vgw__replica *)(void *)(block + aligned(sizeof(*p)));
		p->waiters = (struct vgw__waiter *)(void *)(block + waiters_at);
		p->heap = (int32_t *)(void *)(block + heap_at);
		p->journal = (struct vgw__decision *)(void *)(block + journal_at);
		p->actions = (struct vgw__action *)(void *)(block + actions_at);
		p->marks = (int8_t *)(block + marks_at);
		p->state_bytes = journal_at;
		p->action_room = action_room;
	}
	return marks_at + (size_t)limits->models;
}

struct vgw__planner *vgw__planner_new(const struct vgw__planner_limits *limits,
	const struct vgw__device_config *devices, const struct vgw__residency_config *config)
{
	struct vgw__planner *p;
	if (limits->models < 1 || limits->models > 65536 || limits->waiters < 1 ||
		limits->waiters > 16777216 || limits->devices < 0 || limits->devices > VGW__DEVICES_MAX)
		return NULL;
	p = vgw__alloc(lay_out(NULL, limits));
	if (!p)
		return NULL;
	p->limits = *limits;
	p->config = *config;
	p->timer_ms = VGW__NEVER;
	p->random = config->seed * 2 + 1;
	vgw__planner_fill_defaults(&p->config);
	(void)lay_out(p, limits);
	for (int32_t d = 0; d < limits->devices; d++) {
		p->devices[d].budget_bytes = devices[d].budget_bytes;
		p->devices[d].is_host = devices[d].is_host;
		p->devices[d].holder = VGW__NOBODY;
	}
	for (int32_t i = 0; i < limits->models; i++)
		free_slot(p, &p->replicas[i]);
	p->action_count = 0;
	return p;
}

void vgw__planner_free(struct vgw__planner *p)
{
	vgw__free(p);
}

void vgw__planner_copy(struct vgw__planner *to, const struct vgw__planner *from)
{
	size_t entries = from->decisions < VGW__DECISIONS_KEPT ? from->decisions : VGW__DECISIONS_KEPT;

	memcpy(to, from, from->state_bytes);
	(void)lay_out(to, &from->limits);
	memcpy(to->journal, from->journal, entries * sizeof(to->journal[0]));
	to->action_count = 0;
}

/* --- actions --- */

struct vgw__action *vgw__planner_act(
	struct vgw__planner *p, enum vgw__action_kind kind, struct vgw__replica *r)
{
	struct vgw__action *action;

	VGW__MUST(p, p->action_count < p->action_room, "more actions in a step than there can be");
	action = &p->actions[p->action_count < p->action_room ? p->action_count++ : p->action_room - 1];
	memset(action, 0, sizeof(*action));
	action->kind = kind;
	action->model = VGW__NOBODY;
	action->waiter = VGW__NOBODY;
	if (r) {
		action->model = vgw__replica_index(p, r);
		action->ticket = r->ticket;
		action->generation = r->generation;
	}
	return action;
}

const struct vgw__action *vgw__planner_get_actions(const struct vgw__planner *p, size_t *count)
{
	*count = p->action_count;
	return p->actions;
}

/* xorshift64*: jitter that a seed repeats */
uint64_t vgw__planner_random(struct vgw__planner *p)
{
	p->random ^= p->random >> 12;
	p->random ^= p->random << 25;
	p->random ^= p->random >> 27;
	return (p->random * 0x2545f4914f6cdd1dull) >> 16;
}

/* --- step --- */

#define ROUNDS_MAX 1000

void vgw__planner_observe(struct vgw__planner *p, int32_t model, const struct vgw__usage *usage)
{
	struct vgw__replica *r = &p->replicas[model];
	uint64_t fresh = usage->arrivals - r->arrivals;

	if (!r->exists)
		return;
	r->in_flight = usage->in_flight;
	r->next_use_ms = usage->next_use_ms;
	r->arrivals = usage->arrivals;
	if (usage->last_used_ms > r->last_used_ms)
		r->last_used_ms = usage->last_used_ms;
	if (fresh)
		vgw__rate_add(&r->rate, usage->last_used_ms, (double)fresh, p->config.rate_half_life_ms);
}

static int64_t next_moment_ms(const struct vgw__planner *p, const struct vgw__replica *r)
{
	int64_t next_ms = r->deadline_ms;
	int64_t at_ms = vgw__passes_next_ttl(p, r);

	if (at_ms < next_ms)
		next_ms = at_ms;
	if (!vgw__swap_is_wanted(r) || r->is_claimed || r->state == VGW__STATE_STARTING ||
		r->state == VGW__STATE_WAKING)
		return next_ms;
	if ((r->state == VGW__STATE_ABSENT || r->state == VGW__STATE_ASLEEP) && r->again_ms < next_ms)
		next_ms = r->again_ms;
	at_ms = VGW__NEVER;
	if (r->first_waiter != VGW__NOBODY)
		at_ms = p->waiters[r->first_waiter].arrived_ms + p->config.max_wait_ms;
	if (r->is_wanted_admin && r->wanted_since_ms + p->config.max_wait_ms < at_ms)
		at_ms = r->wanted_since_ms + p->config.max_wait_ms;
	return at_ms < next_ms ? at_ms : next_ms;
}

static void set_timer(struct vgw__planner *p)
{
	int64_t next_ms = vgw__waiters_next_deadline(p);
	int64_t at_ms;

	for (int32_t i = 0; i < p->limits.models; i++) {
		if (!p->replicas[i].exists)
			continue;
		at_ms = next_moment_ms(p, &p->replicas[i]);
		if (at_ms < next_ms)
			next_ms = at_ms;
	}
	if (next_ms == p->timer_ms)
		return;
	p->timer_ms = next_ms;
	vgw__planner_act(p, VGW__ACTION_SET_TIMER, NULL)->deadline_ms = next_ms;
}

static void finish_shutdown(struct vgw__planner *p)
{
	if (!p->is_shutdown || p->is_shutdown_done)
		return;
	for (int32_t i = 0; i < p->limits.models && !p->is_leaving_engines; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		if (r->exists && r->state != VGW__STATE_ABSENT && r->state != VGW__STATE_BACKOFF &&
			r->state != VGW__STATE_STUCK)
			return;
	}
	p->is_shutdown_done = true;
	vgw__planner_act(p, VGW__ACTION_SHUTDOWN_DONE, NULL);
}

enum vgw__reason vgw__planner_step(struct vgw__planner *p, const struct vgw__event *event, int64_t now_ms)
{
	enum vgw__reason reason;
	int rounds = 0;

	p->action_count = 0;
	if (now_ms > p->now_ms)
		p->now_ms = now_ms;
	if (p->timer_ms <= p->now_ms)
		p->timer_ms = VGW__NEVER; /* it has fired or is about to: a new one is said below */
	reason = vgw__events_digest(p, event);
	do {
		p->has_changed = false;
		vgw__waiters_expire(p);
		vgw__passes_deadlines(p);
		vgw__passes_unclaim(p);
		vgw__passes_revoke(p);
		vgw__passes_trim(p);
		vgw__passes_idle_ttl(p);
		vgw__swap_pass(p);
		vgw__passes_operations(p);
		VGW__MUST(p, ++rounds < ROUNDS_MAX, "the planning pass does not come to rest");
	} while (p->has_changed && rounds < ROUNDS_MAX);
	vgw__passes_watch(p);
	finish_shutdown(p);
	set_timer(p);
	return reason;
}
