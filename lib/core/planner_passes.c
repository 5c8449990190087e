/* SPDX-License-Identifier: Apache-2.0 */
/* The other parts of the planning pass: deadlines of states, promises that lapse, drains that are revoked,
 * idle replicas that sink deeper, and the order of operations on each device. */
#include "core/planner_internal.h"

/* --- deadlines --- */

void vgw__passes_deadlines(struct vgw__planner *p)
{
	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *r = &p->replicas[i];

		if (!r->exists || r->deadline_ms > p->now_ms)
			continue;
		vgw__machine_feed(p, r, VGW__INPUT_DEADLINE, NULL);
	}
}

/* --- promises --- */

static bool still_fits(const struct vgw__planner *p, const struct vgw__replica *r)
{
	struct vgw__projection projection;
	struct vgw__shortage shortage;

	vgw__budget_project(p, NULL, r, &projection);
	return !vgw__budget_lacks(p, r, r->devices, &projection, &shortage);
}

static struct vgw__replica *newest_claim_before(struct vgw__planner *p, uint64_t seq)
{
	struct vgw__replica *newest = NULL;

	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *r = &p->replicas[i];

		if (r->is_claimed && r->claim_seq < seq && (!newest || r->claim_seq > newest->claim_seq))
			newest = r;
	}
	return newest;
}

void vgw__passes_unclaim(struct vgw__planner *p)
{
	uint64_t seq = UINT64_MAX;
	struct vgw__replica *r;

	/* the newest promise lapses first when the room has become smaller (a victim is stuck, limits shrank)
	 */
	while ((r = newest_claim_before(p, seq)) != NULL) {
		seq = r->claim_seq;
		if (vgw__swap_is_wanted(r) && still_fits(p, r))
			continue;
		vgw__journal_add(p, VGW__DECISION_CANCEL, r,
			vgw__swap_is_wanted(r) ? "the room it counted on is gone" : "nobody waits any more");
		r->is_claimed = false;
		p->has_changed = true;
	}
	for (int32_t i = 0; i < p->limits.models; i++) {
		r = &p->replicas[i];
		if (r->state == VGW__STATE_STARTING && !vgw__swap_is_wanted(r) && !r->is_cancelling &&
			p->config.cancel_unwanted_load) {
			vgw__journal_add(p, VGW__DECISION_CANCEL, r, "nobody waits any more");
			vgw__machine_feed(p, r, VGW__INPUT_CANCEL, NULL);
		}
	}
}

/* --- revoking --- */

static bool is_still_needed_to_leave(const struct vgw__planner *p, const struct vgw__replica *r)
{
	if (r->cause == VGW__CAUSE_IDLE_TTL)
		return !vgw__swap_is_wanted(r);
	if (r->beneficiary == VGW__NOBODY)
		return !vgw__swap_is_wanted(r);
	return p->replicas[r->beneficiary].is_claimed;
}

void vgw__passes_revoke(struct vgw__planner *p)
{
	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *r = &p->replicas[i];

		if (r->state != VGW__STATE_DRAINING || r->is_final || is_still_needed_to_leave(p, r))
			continue;
		if (!still_fits(p, r)) {
			r->beneficiary = VGW__NOBODY; /* its room is promised to somebody else by now */
			r->is_final = true;
			continue;
		}
		vgw__journal_add(p, VGW__DECISION_REVOKE, r, "the reason to leave is gone");
		vgw__machine_feed(p, r, VGW__INPUT_REVOKE, NULL);
	}
}

/* --- idle replicas sink --- */

int64_t vgw__passes_next_ttl(const struct vgw__planner *p, const struct vgw__replica *r)
{
	int64_t next_ms = VGW__NEVER;
	bool is_idle = r->state == VGW__STATE_READY && !r->in_flight;

	if (r->is_pinned || r->is_claimed || (!is_idle && r->state != VGW__STATE_ASLEEP))
		return VGW__NEVER;
	if (is_idle && r->config.ttl_sleep_ms && r->config.can_sleep && r->sleep_failures < 2 &&
		vgw__budget_may_sleep_now(p, r))
		next_ms = r->last_used_ms + r->config.ttl_sleep_ms;
	if (r->config.ttl_stop_ms && r->last_used_ms + r->config.ttl_stop_ms < next_ms)
		next_ms = r->last_used_ms + r->config.ttl_stop_ms;
	return next_ms;
}

void vgw__passes_idle_ttl(struct vgw__planner *p)
{
	struct vgw__feed feed = {.cause = VGW__CAUSE_IDLE_TTL, .beneficiary = VGW__NOBODY};

	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *r = &p->replicas[i];

		if (!r->exists || vgw__passes_next_ttl(p, r) > p->now_ms)
			continue;
		feed.depth = r->config.ttl_stop_ms && r->last_used_ms + r->config.ttl_stop_ms <= p->now_ms
				     ? VGW__DEPTH_STOP
				     : VGW__DEPTH_SLEEP;
		vgw__journal_add(p, VGW__DECISION_DEMOTE, r,
			feed.depth == VGW__DEPTH_STOP ? "idle_ttl.stop" : "idle_ttl.sleep");
		vgw__machine_feed(p, r, VGW__INPUT_EVICT, &feed);
	}
}

/* --- operations, one at a time per device --- */

static bool has_turn(const struct vgw__replica *r, uint64_t *turn)
{
	if ((r->state == VGW__STATE_LEAVING && r->phase == VGW__PHASE_QUEUED) ||
		(r->state == VGW__STATE_STUCK && r->is_retry_due)) {
		*turn = r->evict_seq;
		return true;
	}
	*turn = r->claim_seq;
	return r->is_claimed && (r->state == VGW__STATE_ABSENT || r->state == VGW__STATE_ASLEEP);
}

static bool is_a_sleeper_leaving(const struct vgw__planner *p)
{
	for (int32_t i = 0; i < p->limits.models; i++) {
		if (p->replicas[i].state == VGW__STATE_LEAVING && !(p->replicas[i].holds & VGW__HOLDS_AWAKE))
			return true;
	}
	return false;
}

/* The retry after an out-of-memory failure starts only when those that shall go are gone. */
static bool waits_for_shedding(const struct vgw__planner *p, const struct vgw__replica *r)
{
	for (int32_t i = 0; i < p->limits.models && r->is_shedding; i++) {
		const struct vgw__replica *other = &p->replicas[i];

		if (other->beneficiary == vgw__replica_index(p, r) &&
			(other->state == VGW__STATE_DRAINING || other->state == VGW__STATE_LEAVING))
			return true;
	}
	return false;
}

/* Can its operation begin as far as memory goes? A sleep without room becomes a stop. */
static bool has_room(struct vgw__planner *p, struct vgw__replica *r)
{
	if (r->is_claimed)
		return vgw__budget_fits_now(p, r) && !waits_for_shedding(p, r);
	if (r->state == VGW__STATE_STUCK || r->depth == VGW__DEPTH_STOP || vgw__budget_may_sleep_now(p, r))
		return true;
	if (is_a_sleeper_leaving(p))
		return false;
	r->depth = VGW__DEPTH_STOP;
	return true;
}

static uint32_t lockable(const struct vgw__planner *p, const struct vgw__replica *r)
{
	uint32_t mask = 0;

	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (((r->devices >> d) & 1u) && !p->devices[d].is_host)
			mask |= 1u << d;
	}
	return mask;
}

void vgw__passes_operations(struct vgw__planner *p)
{
	uint32_t blocked = vgw__budget_locked(p);
	uint64_t last_turn = 0;
	int32_t last = VGW__NOBODY;

	for (;;) {
		struct vgw__replica *r = NULL;
		uint64_t best = UINT64_MAX;
		uint64_t turn;

		/* victims before their beneficiary (same turn): a claim is taken last among equals */
		for (int32_t i = 0; i < 2 * p->limits.models; i++) {
			struct vgw__replica *other = &p->replicas[i % p->limits.models];
			bool is_claim_round = i >= p->limits.models;

			if (!has_turn(other, &turn) || other->is_claimed != is_claim_round)
				continue;
			if (turn < last_turn || (turn == last_turn && i <= last))
				continue;
			if (turn < best) {
				best = turn;
				r = other;
			}
		}
		if (!r)
			return;
		last_turn = best;
		last = vgw__replica_index(p, r) + (r->is_claimed ? p->limits.models : 0);
		if (!has_room(p, r))
			continue;
		if (lockable(p, r) & blocked) {
			blocked |= lockable(
				p, r); /* nobody later overtakes on the devices that are free already */
			continue;
		}
		blocked |= lockable(p, r);
		if (r->is_claimed)
			vgw__machine_feed(p, r,
				r->state == VGW__STATE_ASLEEP ? VGW__INPUT_WAKE : VGW__INPUT_START, NULL);
		else
			vgw__machine_feed(p, r, VGW__INPUT_LEAVE, NULL);
	}
}

/* --- limits that shrank --- */

void vgw__passes_trim(struct vgw__planner *p)
{
	struct vgw__feed feed = {.cause = VGW__CAUSE_CONFIG,
		.depth = VGW__DEPTH_STOP,
		.is_final = true,
		.beneficiary = VGW__NOBODY};
	struct vgw__projection projection;
	struct vgw__replica *oldest;

	while (p->is_trimming) {
		vgw__budget_project(p, NULL, NULL, &projection);
		if (projection.residents_left >= 0) {
			p->is_trimming = false;
			return;
		}
		oldest = NULL;
		for (int32_t i = 0; i < p->limits.models; i++) {
			struct vgw__replica *r = &p->replicas[i];

			if (r->state == VGW__STATE_READY && !r->is_pinned &&
				(!oldest || r->last_used_ms < oldest->last_used_ms))
				oldest = r;
		}
		if (!oldest)
			return;
		vgw__journal_add(p, VGW__DECISION_EVICT, oldest, "max_resident became smaller");
		vgw__machine_feed(p, oldest, VGW__INPUT_EVICT, &feed);
	}
}

/* --- what the gates shall tell --- */

static bool has_impatient(const struct vgw__planner *p)
{
	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		if (r->exists && vgw__swap_is_wanted(r) && !r->is_claimed &&
			(r->state == VGW__STATE_ABSENT || r->state == VGW__STATE_ASLEEP))
			return true;
	}
	return false;
}

void vgw__passes_watch(struct vgw__planner *p)
{
	bool is_impatient = has_impatient(p);

	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *r = &p->replicas[i];

		if (r->state != VGW__STATE_READY || !r->in_flight || r->is_watched)
			continue;
		if (!is_impatient && !r->config.ttl_stop_ms && !r->config.ttl_sleep_ms)
			continue;
		r->is_watched = true;
		vgw__planner_act(p, VGW__ACTION_WATCH_IDLE, r);
	}
}
