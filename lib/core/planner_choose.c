/* SPDX-License-Identifier: Apache-2.0 */
/* Who must leave so that `wanted` can come. A load is planned against the projection (what will be held when
 * everything under way is done):
 *   1. while something is short (a place, bytes on a device, a group), take the candidate that helps and that
 * the policy lets go first: a sleeper, then a sleeping victim that must go deeper, then a READY replica;
 *   2. give back those that turned out not to be needed.
 * It only chooses, for one set of devices; planner_place.c compares sets, planner_swap.c claims. */
#include "core/planner_internal.h"

#include <string.h>

/* --- when --- */

static struct vgw__demand demand_of(const struct vgw__planner *p, const struct vgw__replica *r)
{
	struct vgw__demand demand = {
		.weight = r->weight,
		.weighted_arrival = r->weighted_arrival,
		.due_ms = vgw__swap_due_ms(p, r),
		.urgent_ms = VGW__NEVER,
		.load_ms = vgw__eta_activation_ms(r, 50),
	};
	const struct vgw__waiter *oldest;

	if (r->first_waiter != VGW__NOBODY) {
		oldest = &p->waiters[r->first_waiter];
		if (oldest->deadline_ms - oldest->arrived_ms < p->config.max_wait_ms)
			demand.urgent_ms = oldest->deadline_ms - vgw__eta_activation_ms(r, 95) - 5000;
	}
	return demand;
}

static struct vgw__candidate candidate_of(
	const struct vgw__planner *p, const struct vgw__replica *r, enum vgw__depth depth)
{
	struct vgw__candidate candidate = {
		.last_used_ms = r->last_used_ms,
		.ready_since_ms = r->ready_since_ms,
		.next_use_ms = r->next_use_ms,
		.in_flight = r->in_flight,
		.is_asleep = r->state == VGW__STATE_ASLEEP,
		.rate = vgw__rate_get(&r->rate, p->now_ms, p->config.rate_half_life_ms),
		.departure_ms = vgw__eta_departure_ms(r, depth, 50),
	};

	candidate.reload_ms = depth == VGW__DEPTH_SLEEP
				      ? vgw__times_get(&r->wake, 50, r->config.expected_wake_ms)
				      : vgw__times_get(&r->start, 50, r->config.expected_start_ms);
	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (!p->devices[d].is_host)
			candidate.freed_bytes += r->held[d];
	}
	return candidate;
}

double vgw__choose_cost(const struct vgw__planner *p, const struct vgw__replica *r, enum vgw__depth depth)
{
	struct vgw__candidate candidate = candidate_of(p, r, depth);

	return vgw__policy_cost(&p->config, &candidate, p->now_ms);
}

/* --- who helps --- */

/* Would something that `wanted` lacks get better if r went from `from` to `to`? */
static bool frees_bytes(
	const struct vgw__replica *r, const struct vgw__shortage *shortage, bool is_awake, enum vgw__mark to)
{
	int64_t before;
	int64_t after;

	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		if (!((shortage->devices >> d) & 1u))
			continue;
		before = is_awake ? r->awake[d] : r->asleep[d];
		after = to == VGW__MARK_SLEEP ? r->asleep[d] : 0;
		if (after < before)
			return true;
	}
	return false;
}

static bool helps(const struct vgw__replica *r, const struct vgw__shortage *shortage, enum vgw__mark to)
{
	bool is_awake = r->state != VGW__STATE_ASLEEP;

	if (is_awake && (shortage->residents || (r->config.groups & shortage->groups)))
		return true;
	return frees_bytes(r, shortage, is_awake, to);
}

/* Is it on its way to being a candidate? Then waiting for it is worth something. */
static bool may_help_later(const struct vgw__replica *r, const struct vgw__shortage *shortage)
{
	switch (r->state) {
	case VGW__STATE_STARTING:
	case VGW__STATE_WAKING:
		return !r->is_pinned && helps(r, shortage, VGW__MARK_STOP);
	case VGW__STATE_ABSENT:
		return r->is_claimed && !r->is_pinned && helps(r, shortage, VGW__MARK_STOP);
	case VGW__STATE_ASLEEP:
		return r->is_claimed && (!r->is_pinned || frees_bytes(r, shortage, true, VGW__MARK_STOP));
	case VGW__STATE_DRAINING:
	case VGW__STATE_LEAVING:
		return r->depth == VGW__DEPTH_SLEEP && frees_bytes(r, shortage, false, VGW__MARK_STOP);
	case VGW__STATE_STUCK:
		return false;
	default:
		return false;
	}
}

/* --- how deep --- */

/* The least recently used sleeper that is not taken yet and was used before `r`. */
static int32_t oldest_sleeper(const struct vgw__planner *p, const int8_t *marks, const struct vgw__replica *r)
{
	int32_t oldest = VGW__NOBODY;

	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *other = &p->replicas[i];

		if (other->state != VGW__STATE_ASLEEP || other->is_claimed || marks[i] || other->is_pinned)
			continue;
		if (other->last_used_ms > r->last_used_ms)
			continue;
		if (oldest == VGW__NOBODY || other->last_used_ms < p->replicas[oldest].last_used_ms)
			oldest = i;
	}
	return oldest;
}

static bool has_sleeping_room(const struct vgw__planner *p, const int8_t *marks, const struct vgw__replica *r)
{
	struct vgw__projection projection;

	vgw__budget_project(p, marks, r, &projection);
	if (projection.sleepers_left < 1)
		return false;
	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (p->devices[d].is_host && r->asleep[d] > projection.free[d])
			return false;
	}
	return true;
}

/* Marks r SLEEP where it can sleep, with the least recently used sleepers stopped to make room; else STOP. */
static void mark_departure(const struct vgw__planner *p, int8_t *marks, const struct vgw__replica *r)
{
	int32_t index = vgw__replica_index(p, r);
	int32_t sleeper;
	int32_t taken[VGW__DEVICES_MAX];
	int32_t count = 0;

	if (r->config.can_sleep && r->sleep_failures < 2 && p->config.max_asleep > 0 && !r->has_next_config) {
		while (!has_sleeping_room(p, marks, r) && count < VGW__DEVICES_MAX) {
			sleeper = oldest_sleeper(p, marks, r);
			if (sleeper == VGW__NOBODY)
				break;
			marks[sleeper] = VGW__MARK_STOP;
			taken[count++] = sleeper;
		}
		if (has_sleeping_room(p, marks, r)) {
			marks[index] = VGW__MARK_SLEEP;
			return;
		}
		while (count > 0)
			marks[taken[--count]] = VGW__MARK_NONE;
	}
	marks[index] = VGW__MARK_STOP;
}

/* --- which --- */

struct pick {
	int32_t index;
	int rank; /* 0 sleeper, 1 deeper, 2 READY */
	double cost;
	int64_t last_used_ms;
};

static bool is_better(const struct pick *a, const struct pick *b)
{
	if (b->index == VGW__NOBODY)
		return true;
	if (a->rank != b->rank)
		return a->rank < b->rank;
	if (a->cost < b->cost || b->cost < a->cost)
		return a->cost < b->cost;
	return a->last_used_ms < b->last_used_ms;
}

/* May READY r go for the demand now? If not, why; *again_ms is lowered to when it may. */
static const char *obstacle(const struct vgw__planner *p, const struct vgw__replica *r,
	const struct vgw__candidate *candidate, const struct vgw__demand *demand, int64_t *again_ms)
{
	int64_t at_ms = vgw__policy_may_go_ms(&p->config, candidate, demand, p->now_ms);

	if (at_ms <= p->now_ms)
		return NULL;
	if (at_ms < *again_ms)
		*again_ms = at_ms;
	if (r->in_flight)
		return "in use";
	return p->now_ms - r->ready_since_ms < p->config.min_resident_ms ? "min_resident"
									 : "worth more than the wait";
}

static struct pick best_pick(const struct vgw__planner *p, const struct vgw__replica *wanted,
	const int8_t *marks, const struct vgw__shortage *shortage, const struct vgw__demand *demand,
	int64_t *again_ms, bool *is_hopeless, struct vgw__decision *decision)
{
	struct pick best = {.index = VGW__NOBODY};
	struct pick pick;
	struct vgw__candidate candidate;
	const char *why;

	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		if (!r->exists || r == wanted || marks[i] == VGW__MARK_STOP)
			continue;
		if (may_help_later(r, shortage))
			*is_hopeless = false;
		if (r->is_claimed || (r->state != VGW__STATE_READY && r->state != VGW__STATE_ASLEEP))
			continue;
		if (marks[i] == VGW__MARK_SLEEP ? !frees_bytes(r, shortage, false, VGW__MARK_STOP)
						: !helps(r, shortage, VGW__MARK_STOP))
			continue;
		candidate = candidate_of(p, r, r->config.can_sleep ? VGW__DEPTH_SLEEP : VGW__DEPTH_STOP);
		pick.index = i;
		pick.rank = r->state == VGW__STATE_ASLEEP ? 0 : marks[i] == VGW__MARK_SLEEP ? 1 : 2;
		pick.cost = vgw__policy_cost(&p->config, &candidate, p->now_ms);
		pick.last_used_ms = r->last_used_ms;
		if (r->is_pinned) {
			vgw__decision_reject(decision, i, "pinned", pick.cost);
			continue;
		}
		*is_hopeless = false;
		why = marks[i] == VGW__MARK_SLEEP ? NULL : obstacle(p, r, &candidate, demand, again_ms);
		if (why)
			vgw__decision_reject(decision, i, why, pick.cost);
		else if (is_better(&pick, &best))
			best = pick;
	}
	return best;
}

/* A victim is given back when the load fits without its going (as it would be with its mark removed). */
static void give_back_unneeded(
	const struct vgw__planner *p, const struct vgw__replica *wanted, uint32_t devices, int8_t *marks)
{
	struct vgw__projection projection;
	struct vgw__shortage shortage;
	int8_t mark;

	for (int32_t i = 0; i < p->limits.models; i++) {
		if (!marks[i] || p->replicas[i].state != VGW__STATE_READY)
			continue;
		mark = marks[i];
		marks[i] = VGW__MARK_NONE;
		vgw__budget_project(p, marks, wanted, &projection);
		if (vgw__budget_lacks(p, wanted, devices, &projection, &shortage))
			marks[i] = mark;
	}
}

/* The retry after an out-of-memory failure: whatever may leave its devices does. */
static void shed(const struct vgw__planner *p, const struct vgw__replica *wanted, uint32_t devices, int8_t *marks)
{
	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		if (r == wanted || r->is_pinned || r->is_claimed ||
			!(r->devices & devices))
			continue;
		if (r->state == VGW__STATE_READY || r->state == VGW__STATE_ASLEEP)
			marks[i] = VGW__MARK_STOP;
	}
}

enum vgw__reason vgw__choose_victims(const struct vgw__planner *p, const struct vgw__replica *wanted,
	uint32_t devices, int8_t *marks, int64_t *again_ms, struct vgw__decision *decision)
{
	struct vgw__demand demand = demand_of(p, wanted);
	struct vgw__projection projection;
	struct vgw__shortage shortage;
	struct pick pick;
	bool is_hopeless;
	bool has_victims = false;

	*again_ms = VGW__NEVER;
	memset(marks, 0, (size_t)p->limits.models);
	for (;;) {
		vgw__budget_project(p, marks, wanted, &projection);
		if (!vgw__budget_lacks(p, wanted, devices, &projection, &shortage))
			break;
		if (wanted->is_wanted_preload && !wanted->waiting && !wanted->is_wanted_admin)
			return VGW__REASON_NO_ROOM; /* a preload evicts nobody */
		is_hopeless = true;
		pick = best_pick(p, wanted, marks, &shortage, &demand, again_ms, &is_hopeless, decision);
		if (pick.index == VGW__NOBODY)
			return is_hopeless ? VGW__REASON_NO_ROOM : VGW__REASON_BUSY;
		has_victims = true;
		if (pick.rank == 2)
			mark_departure(p, marks, &p->replicas[pick.index]);
		else
			marks[pick.index] = VGW__MARK_STOP;
		vgw__decision_choose(decision, pick.index,
			marks[pick.index] == VGW__MARK_SLEEP ? VGW__DEPTH_SLEEP : VGW__DEPTH_STOP,
			pick.rank == 0   ? "sleeper"
			: pick.rank == 1 ? "deeper"
					 : "least cost",
			pick.cost);
	}
	if (has_victims)
		give_back_unneeded(p, wanted, devices, marks);
	if (wanted->is_shedding)
		shed(p, wanted, devices, marks);
	return VGW__REASON_NONE;
}
