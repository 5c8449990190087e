/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing and claiming is one step: once vgw__swap_pass() has claimed, the victims' gates are closed and the
 * room is promised; nobody else counts on it. The load starts when the room is really there
 * (planner_passes.c). */
#include "core/planner_internal.h"

#include <string.h>

bool vgw__swap_is_wanted(const struct vgw__replica *r)
{
	return r->waiting > 0 || r->is_wanted_admin || r->is_wanted_preload;
}

int64_t vgw__swap_due_ms(const struct vgw__planner *p, const struct vgw__replica *r)
{
	if (r->is_wanted_admin)
		return r->wanted_since_ms; /* the operator said so */
	if (r->first_waiter == VGW__NOBODY)
		return VGW__NEVER;
	return p->waiters[r->first_waiter].arrived_ms + p->config.max_wait_ms;
}

/* --- admission --- */

/* Could it come up if everything that is not pinned or stuck left? */
static bool is_possible(const struct vgw__planner *p, const struct vgw__replica *wanted, int8_t *marks)
{
	struct vgw__projection projection;
	struct vgw__shortage shortage;
	uint32_t devices;

	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		marks[i] = VGW__MARK_STOP;
		if (r->state == VGW__STATE_STUCK ||
			(r->is_pinned && r->state != VGW__STATE_DRAINING && r->state != VGW__STATE_LEAVING))
			marks[i] = VGW__MARK_NONE;
	}
	vgw__budget_project(p, marks, wanted, &projection);
	devices = vgw__place_fitting(p, wanted, &projection);
	if (!devices && vgw__place_is_open(wanted))
		return false;
	return !vgw__budget_lacks(p, wanted, devices, &projection, &shortage);
}

enum vgw__reason vgw__swap_admit(struct vgw__planner *p, struct vgw__replica *r)
{
	if (vgw__place_is_too_big(p, r))
		return VGW__REASON_TOO_BIG;
	if (r->is_claimed || r->state == VGW__STATE_STARTING || r->state == VGW__STATE_WAKING)
		return VGW__REASON_NONE;
	return is_possible(p, r, p->marks) ? VGW__REASON_NONE : VGW__REASON_NO_ROOM;
}

/* --- claiming --- */

static void claim(struct vgw__planner *p, struct vgw__replica *wanted, struct vgw__decision *decision)
{
	struct vgw__decision *entry;
	struct vgw__feed feed = {.cause = VGW__CAUSE_SWAP, .beneficiary = vgw__replica_index(p, wanted)};
	bool has_victims = false;

	vgw__place_put(wanted, decision->devices);
	wanted->is_claimed = true;
	wanted->claim_seq = ++p->seq;
	wanted->again_ms = VGW__NEVER;
	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *victim = &p->replicas[i];

		if (!p->marks[i])
			continue;
		has_victims = true;
		feed.depth = p->marks[i] == VGW__MARK_SLEEP ? VGW__DEPTH_SLEEP : VGW__DEPTH_STOP;
		feed.cause = victim->state == VGW__STATE_ASLEEP ? VGW__CAUSE_SLEEPER_LRU : VGW__CAUSE_SWAP;
		vgw__machine_feed(p, victim, VGW__INPUT_EVICT, &feed);
	}
	entry = vgw__journal_add(p, has_victims ? VGW__DECISION_EVICT : VGW__DECISION_LOAD, wanted,
		has_victims ? "others leave to make room" : "there is room");
	entry->chosen_count = decision->chosen_count;
	entry->rejected_count = decision->rejected_count;
	entry->devices = decision->devices;
	entry->devices_why = decision->devices_why;
	memcpy(entry->chosen, decision->chosen, sizeof(entry->chosen));
	memcpy(entry->rejected, decision->rejected, sizeof(entry->rejected));
	entry->eta_ms = vgw__eta_ms(p, wanted, 50);
	p->has_changed = true;
}

/* Whose turn is it to be planned? Due ones first, then the oldest (lru) or the most waiting per load time
 * (cost). */
static double urgency(const struct vgw__planner *p, const struct vgw__replica *r)
{
	int64_t due_ms = vgw__swap_due_ms(p, r);

	if (due_ms <= p->now_ms)
		return 1e18 + (double)(p->now_ms - due_ms);
	if (r->first_waiter == VGW__NOBODY)
		return -1;
	if (p->config.policy == VGW__POLICY_LRU)
		return (double)(p->now_ms - p->waiters[r->first_waiter].arrived_ms);
	return (r->weight * (double)p->now_ms - r->weighted_arrival + r->weight) /
	       (double)(1 + vgw__eta_activation_ms(r, 50));
}

/* It gives up: nobody can be told anything better. */
static void refuse_wanted(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__reason reason, int64_t before_ms)
{
	if (r->is_wanted_preload && !r->waiting && !r->is_wanted_admin) {
		r->is_wanted_preload = false;
		vgw__journal_add(p, VGW__DECISION_REFUSE, r, "preload: no room left");
		return;
	}
	if (reason != VGW__REASON_MAX_WAIT || r->is_wanted_admin)
		r->is_wanted_admin = false;
	vgw__waiters_refuse_all(p, r, reason, before_ms);
	vgw__journal_add(p, VGW__DECISION_REFUSE, r, vgw__reason_text(reason));
	p->has_changed = true;
}

static void plan(struct vgw__planner *p, struct vgw__replica *r)
{
	struct vgw__decision decision = {.chosen_count = 0};
	enum vgw__reason reason = vgw__place_choose(p, r, p->marks, &r->again_ms, &decision);

	if (reason == VGW__REASON_NONE)
		claim(p, r, &decision);
	else if (reason != VGW__REASON_BUSY)
		refuse_wanted(p, r, reason, VGW__NEVER);
}

/* Waiters of a replica that nobody could claim in time are told so. */
static void refuse_overdue(struct vgw__planner *p, struct vgw__replica *r)
{
	if (r->is_claimed || r->state == VGW__STATE_STARTING || r->state == VGW__STATE_WAKING)
		return;
	if (vgw__swap_due_ms(p, r) > p->now_ms)
		return;
	if (r->state == VGW__STATE_READY)
		return;
	if (r->is_wanted_admin && p->now_ms - r->wanted_since_ms < p->config.max_wait_ms)
		vgw__waiters_refuse_all(p, r, VGW__REASON_MAX_WAIT, p->now_ms - p->config.max_wait_ms + 1);
	else
		refuse_wanted(p, r, VGW__REASON_MAX_WAIT, p->now_ms - p->config.max_wait_ms + 1);
}

static bool overlaps(const struct vgw__planner *p, const struct vgw__replica *a, const struct vgw__replica *b)
{
	uint32_t mine = vgw__place_is_open(a) ? a->config.devices : a->devices;
	uint32_t theirs = vgw__place_is_open(b) ? b->config.devices : b->devices;

	return p->config.max_resident || (mine & theirs) ||
	       (a->config.groups & b->config.groups);
}

void vgw__swap_pass(struct vgw__planner *p)
{
	double previous = 2e18;
	int32_t previous_index = VGW__NOBODY;

	/* by falling urgency, ties by index, without sorting: few are wanted at once */
	for (;;) {
		struct vgw__replica *next = NULL;
		double most = -2;

		for (int32_t i = 0; i < p->limits.models; i++) {
			struct vgw__replica *r = &p->replicas[i];
			double u;

			if (!vgw__swap_is_wanted(r) || r->is_claimed)
				continue;
			if (r->state != VGW__STATE_ABSENT && r->state != VGW__STATE_ASLEEP)
				continue;
			u = urgency(p, r);
			if (u > previous || (u >= previous && i <= previous_index))
				continue;
			if (u > most) {
				most = u;
				next = r;
			}
		}
		if (!next)
			break;
		previous = most;
		previous_index = vgw__replica_index(p, next);
		next->again_ms = VGW__NEVER;
		/* a load that would still run when an earlier one falls due must not take its room */
		for (int32_t i = 0; i < p->limits.models && next; i++) {
			const struct vgw__replica *r = &p->replicas[i];

			if (r == next || !r->waiting || r->is_claimed || r->again_ms == VGW__NEVER ||
				!overlaps(p, r, next) ||
				(r->state != VGW__STATE_ABSENT && r->state != VGW__STATE_ASLEEP))
				continue;
			if (urgency(p, r) > most &&
				p->now_ms + vgw__eta_activation_ms(next, 95) > vgw__swap_due_ms(p, r))
				next = NULL;
		}
		if (next)
			plan(p, next);
	}
	for (int32_t i = 0; i < p->limits.models; i++) {
		if (p->replicas[i].exists && vgw__swap_is_wanted(&p->replicas[i]))
			refuse_overdue(p, &p->replicas[i]);
	}
}
