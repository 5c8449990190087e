/* SPDX-License-Identifier: Apache-2.0 */
/* What the planner tells about itself: estimates, the decision journal, views. Changes nothing but the
 * journal. */
#include "core/planner_internal.h"

#include <string.h>

/* --- estimates --- */

int64_t vgw__eta_activation_ms(const struct vgw__replica *r, int percent)
{
	if (r->state == VGW__STATE_ASLEEP || r->state == VGW__STATE_WAKING)
		return vgw__times_get(&r->wake, percent, r->config.expected_wake_ms);
	return vgw__times_get(&r->start, percent, r->config.expected_start_ms);
}

int64_t vgw__eta_departure_ms(const struct vgw__replica *r, enum vgw__depth depth, int percent)
{
	int64_t drain_ms = r->in_flight ? vgw__times_get(&r->drain, percent, 1000) : 0;

	return drain_ms + (depth == VGW__DEPTH_SLEEP ? vgw__times_get(&r->sleep, percent, 2000)
						     : vgw__times_get(&r->stop, percent, 5000));
}

static int64_t remaining_ms(int64_t expected_ms, int64_t elapsed_ms)
{
	/* an operation that overran its estimate is expected to take a tenth more */
	return expected_ms > elapsed_ms ? expected_ms - elapsed_ms : elapsed_ms / 10;
}

/* How long what another has under way keeps the devices it is on. */
static int64_t occupied_ms(const struct vgw__planner *p, const struct vgw__replica *r,
	const struct vgw__replica *other, int percent)
{
	if (other == r || !other->exists)
		return 0;
	if (other->is_claimed)
		return r->is_claimed && other->claim_seq > r->claim_seq ? 0 : vgw__eta_activation_ms(other, percent);
	if (other->state == VGW__STATE_STARTING || other->state == VGW__STATE_WAKING)
		return remaining_ms(vgw__eta_activation_ms(other, percent), p->now_ms - other->since_ms);
	if (other->state == VGW__STATE_LEAVING || other->state == VGW__STATE_DRAINING)
		return remaining_ms(vgw__eta_departure_ms(other, other->depth, percent), p->now_ms - other->since_ms);
	return 0;
}

/* Operations that share a device with `r` and come before it; of one that may still choose, those on the least busy
 * devices. */
static int64_t ahead_ms(const struct vgw__planner *p, const struct vgw__replica *r, int percent)
{
	int64_t sums[VGW__DEVICES_MAX] = {0};
	int64_t sum_ms = 0;
	bool is_open = vgw__place_is_open(r);
	int32_t sorted = 0;

	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *other = &p->replicas[i];
		uint32_t shared = other->devices & (is_open ? r->config.devices : r->devices);
		int64_t ms = shared ? occupied_ms(p, r, other, percent) : 0;

		sum_ms += ms;
		for (int32_t d = 0; is_open && ms && d < VGW__DEVICES_MAX; d++)
			sums[d] += ((shared >> d) & 1u) ? ms : 0;
	}
	if (!is_open)
		return sum_ms;
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		int64_t ms = sums[d];
		int32_t at = sorted;

		if (!((r->config.devices >> d) & 1u))
			continue;
		for (; at > 0 && sums[at - 1] > ms; at--)
			sums[at] = sums[at - 1];
		sums[at] = ms;
		sorted++;
	}
	return sums[r->config.devices_needed - 1];
}

int64_t vgw__eta_ms(const struct vgw__planner *p, const struct vgw__replica *r, int percent)
{
	int64_t start_ms = vgw__eta_activation_ms(r, percent);
	int64_t eta_ms;

	switch (r->state) {
	case VGW__STATE_READY:
		return 0;
	case VGW__STATE_STARTING:
	case VGW__STATE_WAKING:
		if (r->progress_eta_ms)
			return r->progress_eta_ms > p->now_ms ? r->progress_eta_ms - p->now_ms : 0;
		return remaining_ms(start_ms, p->now_ms - r->since_ms);
	case VGW__STATE_BACKOFF:
		return r->until_ms == VGW__NEVER ? -1 : r->until_ms - p->now_ms + start_ms;
	case VGW__STATE_STUCK:
		return -1;
	default:
		break;
	}
	eta_ms = ahead_ms(p, r, percent) + start_ms;
	if (r->state == VGW__STATE_DRAINING || r->state == VGW__STATE_LEAVING)
		eta_ms += remaining_ms(vgw__eta_departure_ms(r, r->depth, percent), p->now_ms - r->since_ms);
	if (r->again_ms > p->now_ms && r->again_ms != VGW__NEVER && r->waiting && !r->is_claimed)
		eta_ms += r->again_ms - p->now_ms;
	return eta_ms;
}

/* --- journal --- */

struct vgw__decision *vgw__journal_add(
	struct vgw__planner *p, enum vgw__decision_kind kind, const struct vgw__replica *r, const char *why)
{
	struct vgw__decision *decision = &p->journal[p->decisions % VGW__DECISIONS_KEPT];
	struct vgw__action *action = vgw__planner_act(p, VGW__ACTION_DECISION, NULL);

	decision->number = ++p->decisions;
	decision->at_ms = p->now_ms;
	decision->kind = kind;
	decision->model = vgw__replica_index(p, r);
	decision->why = why;
	decision->eta_ms = -1;
	decision->chosen_count = 0;
	decision->rejected_count = 0;
	decision->devices = 0;
	decision->devices_why = NULL;
	action->model = decision->model;
	action->decision = decision;
	return decision;
}

void vgw__decision_choose(
	struct vgw__decision *decision, int32_t model, enum vgw__depth depth, const char *why, double cost)
{
	struct vgw__decision_row *row;

	if (!decision || decision->chosen_count == VGW__DECISION_ROWS)
		return;
	row = &decision->chosen[decision->chosen_count++];
	row->model = model;
	row->depth = depth;
	row->why = why;
	row->cost = cost;
}

void vgw__decision_reject(struct vgw__decision *decision, int32_t model, const char *why, double cost)
{
	struct vgw__decision_row *row;

	if (!decision || decision->rejected_count == VGW__DECISION_ROWS)
		return;
	row = &decision->rejected[decision->rejected_count++];
	row->model = model;
	row->depth = VGW__DEPTH_STOP;
	row->why = why;
	row->cost = cost;
}

const struct vgw__decision *vgw__planner_get_decision(const struct vgw__planner *p, size_t nth)
{
	if (nth >= p->decisions || nth >= VGW__DECISIONS_KEPT)
		return NULL;
	return &p->journal[(p->decisions - 1 - nth) % VGW__DECISIONS_KEPT];
}

/* --- views --- */

void vgw__planner_view(
	const struct vgw__planner *p, int32_t model, int64_t now_ms, struct vgw__replica_view *view)
{
	const struct vgw__replica *r = &p->replicas[model];

	(void)now_ms;
	memset(view, 0, sizeof(*view));
	view->state = r->state;
	view->cause = r->cause;
	view->generation = r->generation;
	view->since_ms = r->since_ms;
	view->last_used_ms = r->last_used_ms;
	view->until_ms = r->state == VGW__STATE_BACKOFF ? r->until_ms : 0;
	view->in_flight = r->in_flight;
	view->waiting = r->waiting;
	view->devices = r->devices;
	view->is_pinned = r->is_pinned;
	view->is_wanted = r->is_claimed || vgw__swap_is_wanted(r) || r->state == VGW__STATE_STARTING ||
			  r->state == VGW__STATE_WAKING;
	view->failures = r->failures;
	view->failure = r->failure;
	view->ref = r->ref;
	view->eta_ms = vgw__eta_ms(p, r, 50);
	memcpy(view->bytes, r->held, sizeof(view->bytes));
	memcpy(view->footprint_bytes, r->awake, sizeof(view->footprint_bytes));
	view->cold_starts = r->cold_starts;
	view->wakes = r->wakes;
	view->start = r->start;
	view->wake = r->wake;
	view->sleep = r->sleep;
	view->stop = r->stop;
	view->drain = r->drain;
}

void vgw__planner_restore(struct vgw__planner *p, int32_t model, const struct vgw__replica_view *learned)
{
	struct vgw__replica *r = &p->replicas[model];

	if (r->state != VGW__STATE_ABSENT)
		return;
	r->last_used_ms = learned->last_used_ms;
	r->start = learned->start;
	r->wake = learned->wake;
	r->sleep = learned->sleep;
	r->stop = learned->stop;
	r->drain = learned->drain;
}

bool vgw__planner_is_free(const struct vgw__planner *p, int32_t model)
{
	return model >= 0 && model < p->limits.models && !p->replicas[model].exists;
}

int64_t vgw__planner_used_bytes(const struct vgw__planner *p, int32_t device)
{
	return p->devices[device].used_bytes;
}

uint64_t vgw__planner_stale_count(const struct vgw__planner *p)
{
	return p->stale;
}

void vgw__planner_explain(
	const struct vgw__planner *p, int32_t model, int64_t now_ms, struct vgw__decision *decision)
{
	const struct vgw__replica *r = &p->replicas[model];
	int64_t again_ms = VGW__NEVER;
	enum vgw__reason reason;

	(void)now_ms;
	memset(decision, 0, sizeof(*decision));
	decision->at_ms = p->now_ms;
	decision->kind = VGW__DECISION_LOAD;
	decision->model = model;
	decision->eta_ms = vgw__eta_ms(p, r, 50);
	if (r->state != VGW__STATE_ABSENT && r->state != VGW__STATE_ASLEEP) {
		decision->why = vgw__state_name(r->state);
		return;
	}
	reason = vgw__place_choose(p, r, p->marks, &again_ms, decision);
	decision->why = vgw__reason_text(reason);
}
