/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of the machine on the way out: drain, stop or sleep, settle, vgw__cell_crash, stuck. */
#include "core/machine_internal.h"

/* --- failures --- */

static int64_t backoff_delay_ms(struct vgw__planner *p, const struct vgw__replica *r)
{
	int64_t delay_ms = p->config.backoff_ms;

	if (r->failures >= p->config.breaker_failures)
		return p->config.breaker_ms;
	for (int32_t i = 1; i < r->failures && delay_ms < p->config.backoff_max_ms; i++)
		delay_ms *= 2;
	if (delay_ms > p->config.backoff_max_ms)
		delay_ms = p->config.backoff_max_ms;
	/* +-20 %, so that many gateways do not retry in step */
	return delay_ms - delay_ms / 5 + (int64_t)(vgw__planner_random(p) % (uint64_t)(2 * delay_ms / 5 + 1));
}

void vgw__machine_note_failure(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__failure failure, uint32_t ref)
{
	struct vgw__decision *decision;
	int64_t delay_ms;

	r->failures++;
	r->failure = failure;
	r->ref = ref;
	r->verdict = VGW__VERDICT_BACKOFF;
	r->is_wanted_admin = false;
	r->is_wanted_preload = false;
	if (failure == VGW__FAILURE_USER) {
		r->until_ms = VGW__NEVER;
		vgw__journal_add(p, VGW__DECISION_BACKOFF, r,
			"user error: not tried again before a reset or a new configuration");
		return;
	}
	delay_ms = backoff_delay_ms(p, r);
	r->until_ms = p->now_ms + delay_ms;
	decision = vgw__journal_add(p, VGW__DECISION_BACKOFF, r,
		r->failures >= p->config.breaker_failures ? "breaker opened"
							  : "failed: waits before the next try");
	decision->eta_ms = delay_ms;
}

/* --- leaving --- */

/* The order of the operations on a device: a victim goes in its beneficiary's turn. */
uint64_t vgw__machine_turn_of(struct vgw__planner *p, int32_t beneficiary)
{
	if (beneficiary != VGW__NOBODY && p->replicas[beneficiary].is_claimed)
		return p->replicas[beneficiary].claim_seq;
	return ++p->seq;
}

void vgw__machine_queue_to_leave(struct vgw__planner *p, struct vgw__replica *r, enum vgw__cause cause)
{
	r->pending = VGW__PENDING_NONE;
	r->has_drained = true;
	r->phase = VGW__PHASE_QUEUED;
	r->op_depth = r->depth;
	vgw__machine_set_state(p, r, VGW__STATE_LEAVING, cause, VGW__NEVER);
}

void vgw__machine_deactivate(struct vgw__planner *p, struct vgw__replica *r)
{
	int64_t timeout_ms;
	struct vgw__action *action;

	r->op_depth = r->depth;
	r->phase = VGW__PHASE_STOPPING;
	if (r->op_depth == VGW__DEPTH_SLEEP)
		r->holds |= VGW__HOLDS_ASLEEP; /* from now on both, until the one or the other is confirmed */
	timeout_ms = r->op_depth == VGW__DEPTH_SLEEP ? r->config.sleep_timeout_ms : r->config.stop_timeout_ms;
	action = vgw__machine_begin_operation(p, r, VGW__ACTION_DEACTIVATE, VGW__PENDING_DEACTIVATE);
	action->deadline_ms = p->now_ms + timeout_ms;
	r->deadline_ms = action->deadline_ms + p->config.cancel_grace_ms;
	vgw__budget_charge(p, r);
	p->has_changed = true;
}

void vgw__machine_become_stuck(struct vgw__planner *p, struct vgw__replica *r, enum vgw__cause cause)
{
	vgw__budget_unlock(p, r);
	vgw__waiters_refuse_all(p, r, VGW__REASON_STUCK, VGW__NEVER);
	r->is_retry_due = false;
	vgw__machine_set_state(p, r, VGW__STATE_STUCK, cause, p->now_ms + p->config.stuck_retry_ms);
}

static void enter_absent(struct vgw__planner *p, struct vgw__replica *r, enum vgw__cause cause)
{
	r->is_surplus = false;
	r->is_retry_due = false;
	r->pending = VGW__PENDING_NONE;
	r->in_flight = 0;
	if (r->has_next_config) {
		r->failures = 0;
		r->sleep_failures = 0;
		r->is_retried = false;
		r->is_shedding = false;
		r->verdict = VGW__VERDICT_ABSENT;
	}
	if (r->verdict == VGW__VERDICT_BACKOFF && !r->is_removed && r->until_ms > p->now_ms) {
		r->verdict = VGW__VERDICT_ABSENT;
		vgw__machine_set_state(p, r, VGW__STATE_BACKOFF, VGW__CAUSE_FAILED, r->until_ms);
		/* who came while it was swept is told what those who come now are told */
		if (r->until_ms == VGW__NEVER || r->failures > 1)
			vgw__waiters_refuse_all(p, r, r->until_ms == VGW__NEVER ? VGW__REASON_BROKEN
				: VGW__REASON_BACKOFF, VGW__NEVER);
	} else {
		r->verdict = VGW__VERDICT_ABSENT;
		vgw__machine_set_state(p, r, VGW__STATE_ABSENT, cause, VGW__NEVER);
	}
	vgw__planner_apply_config(p, r);
}

void vgw__cell_crash(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	if (r->state == VGW__STATE_READY) {
		vgw__machine_begin_operation(p, r, VGW__ACTION_CLOSE_GATE, VGW__PENDING_NONE);
		r->evict_seq = ++p->seq;
		r->beneficiary = VGW__NOBODY;
	}
	if (r->state == VGW__STATE_ASLEEP) {
		r->evict_seq = ++p->seq;
		r->beneficiary = VGW__NOBODY;
	}
	vgw__machine_note_failure(
		p, r, feed->failure == VGW__FAILURE_NONE ? VGW__FAILURE_UNKNOWN : feed->failure, feed->ref);
	r->is_claimed = false;
	r->depth = VGW__DEPTH_STOP; /* sweep what it left behind */
	vgw__machine_queue_to_leave(p, r, VGW__CAUSE_CRASHED);
}

/* A failed activation is always stopped, whatever it left behind; the lock stays with it. */
void vgw__machine_sweep(struct vgw__planner *p, struct vgw__replica *r, enum vgw__cause cause)
{
	r->has_drained = true;
	r->depth = VGW__DEPTH_STOP;
	r->beneficiary = VGW__NOBODY;
	r->phase = VGW__PHASE_STOPPING;
	r->op_depth = VGW__DEPTH_STOP;
	vgw__machine_set_state(p, r, VGW__STATE_LEAVING, cause, VGW__NEVER);
	vgw__machine_deactivate(p, r);
}

/* --- READY, DRAINING --- */

void vgw__cell_cut(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	vgw__planner_act(p, VGW__ACTION_CUT_LEASES, r);
	vgw__machine_queue_to_leave(p, r, feed->is_force ? VGW__CAUSE_FORCED : VGW__CAUSE_DRAIN_DEADLINE);
}

void vgw__cell_begin_drain(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	r->depth = feed->depth;
	r->is_final = feed->is_final;
	r->beneficiary = feed->beneficiary;
	r->evict_seq = vgw__machine_turn_of(p, feed->beneficiary);
	r->is_watched = false;
	vgw__machine_begin_operation(p, r, VGW__ACTION_CLOSE_GATE, VGW__PENDING_DRAIN);
	vgw__machine_set_state(
		p, r, VGW__STATE_DRAINING, feed->cause, p->now_ms + r->config.drain_timeout_ms);
	if (feed->is_force)
		vgw__cell_cut(p, r, feed);
}

void vgw__cell_deepen(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	if (feed->depth == VGW__DEPTH_STOP && r->depth != VGW__DEPTH_STOP) {
		r->depth = VGW__DEPTH_STOP;
		p->has_changed = true;
	}
	r->is_final = r->is_final || feed->is_final;
	if (feed->is_force && r->state == VGW__STATE_DRAINING)
		vgw__cell_cut(p, r, feed);
}

void vgw__cell_begin_leaving(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	vgw__times_add(&r->drain, p->now_ms - r->since_ms);
	vgw__machine_queue_to_leave(p, r, VGW__CAUSE_LAST_LEASE);
}

void vgw__cell_reopen(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	VGW__MUST(p, !r->is_final, "a final drain was revoked");
	r->pending = VGW__PENDING_NONE; /* an IDLE still on its way is stale */
	r->is_wanted_admin = false;
	r->is_wanted_preload = false;
	r->beneficiary = VGW__NOBODY;
	vgw__machine_set_state(p, r, VGW__STATE_READY, VGW__CAUSE_REVOKED,
		r->failures ? p->now_ms + p->config.stable_ms : VGW__NEVER);
	vgw__waiters_grant_all(p, r);
	vgw__planner_act(p, VGW__ACTION_OPEN_GATE, r);
}

/* --- LEAVING, STUCK --- */

void vgw__cell_leave(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	vgw__budget_lock(p, r);
	if (r->state == VGW__STATE_STUCK) {
		r->is_retry_due = false;
		r->depth = VGW__DEPTH_STOP;
		r->phase = VGW__PHASE_STOPPING;
		r->op_depth = VGW__DEPTH_STOP;
		vgw__machine_set_state(p, r, VGW__STATE_LEAVING, VGW__CAUSE_RETRY, VGW__NEVER);
	}
	vgw__machine_deactivate(p, r);
}

void vgw__cell_begin_settle(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	int64_t began_ms = r->op_began_ms;
	struct vgw__action *action;

	(void)feed;
	r->phase = VGW__PHASE_SETTLING;
	action = vgw__machine_begin_operation(p, r, VGW__ACTION_WAIT_SETTLE, VGW__PENDING_SETTLE);
	action->deadline_ms = p->now_ms + p->config.settle_timeout_ms;
	r->deadline_ms = action->deadline_ms + p->config.cancel_grace_ms;
	r->op_began_ms = began_ms; /* the measured time of a stop includes its settling */
	p->has_changed = true;
}

void vgw__cell_not_deactivated(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->pending = VGW__PENDING_NONE;
	if (r->op_depth == VGW__DEPTH_STOP) {
		vgw__machine_become_stuck(p, r, VGW__CAUSE_NO_MEMORY_BACK);
		return;
	}
	/* sleep failed, or freed less than promised: stop */
	r->sleep_failures++;
	r->depth = VGW__DEPTH_STOP;
	vgw__machine_deactivate(p, r);
}

void vgw__cell_memory_is_back(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->pending = VGW__PENDING_NONE;
	if (r->op_depth == VGW__DEPTH_SLEEP && r->depth == VGW__DEPTH_STOP) {
		vgw__machine_deactivate(p, r); /* it was asked to go deeper meanwhile */
		return;
	}
	if (r->state == VGW__STATE_LEAVING) {
		vgw__times_add(
			r->op_depth == VGW__DEPTH_SLEEP ? &r->sleep : &r->stop, p->now_ms - r->op_began_ms);
		vgw__budget_unlock(p, r);
	}
	r->beneficiary = VGW__NOBODY;
	if (r->op_depth == VGW__DEPTH_SLEEP) {
		r->sleep_failures = 0;
		vgw__machine_set_state(p, r, VGW__STATE_ASLEEP, VGW__CAUSE_COMPLETED, VGW__NEVER);
		return;
	}
	enter_absent(p, r, VGW__CAUSE_COMPLETED);
}

void vgw__cell_operation_hangs(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	vgw__machine_become_stuck(p, r, VGW__CAUSE_TIMED_OUT); /* its answer is still awaited */
}

void vgw__cell_died_leaving(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	if (r->phase != VGW__PHASE_QUEUED && r->op_depth == VGW__DEPTH_STOP)
		return; /* as asked */
	if (r->depth == VGW__DEPTH_SLEEP)
		vgw__machine_note_failure(p, r,
			feed->failure == VGW__FAILURE_NONE ? VGW__FAILURE_UNKNOWN : feed->failure, feed->ref);
	r->depth = VGW__DEPTH_STOP;
	p->has_changed = true;
}

void vgw__cell_late_answer(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->pending = VGW__PENDING_NONE;
	r->is_retry_due = true;
	p->has_changed = true;
}

void vgw__cell_late_memory(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	if (r->op_depth == VGW__DEPTH_SLEEP)
		vgw__cell_late_answer(p, r, feed); /* a sleep that hung is not trusted */
	else
		vgw__cell_memory_is_back(p, r, feed);
}

void vgw__cell_retry_stop(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->deadline_ms = VGW__NEVER;
	if (r->pending != VGW__PENDING_NONE)
		return; /* one operation at a time: the late answer brings the retry */
	r->is_retry_due = true;
	p->has_changed = true;
}

void vgw__cell_still_unsettled(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->pending = VGW__PENDING_NONE;
	r->deadline_ms = p->now_ms + p->config.stuck_retry_ms;
}

void vgw__cell_forget(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->ticket++; /* what is still running answers in vain */
	r->failures = 0;
	r->verdict = VGW__VERDICT_ABSENT;
	enter_absent(p, r, VGW__CAUSE_FORCED);
}
