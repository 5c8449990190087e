/* SPDX-License-Identifier: Apache-2.0 */
/* Cells of the machine on the way to READY: start, wake, vgw__cell_adopt, and all that can go wrong before.
 */
#include "core/machine_internal.h"

/* --- ABSENT, ASLEEP, BACKOFF --- */

static void activate(struct vgw__planner *p, struct vgw__replica *r, bool is_wake)
{
	struct vgw__action *action;

	vgw__budget_lock(p, r);
	r->is_claimed = false;
	r->is_cancelling = false;
	r->is_overdue = false;
	r->is_unload = false;
	r->doomed = VGW__FAILURE_NONE;
	r->has_drained = false;
	r->progress_eta_ms = 0;
	action = vgw__machine_begin_operation(p, r, VGW__ACTION_ACTIVATE, VGW__PENDING_ACTIVATE);
	action->is_wake = is_wake;
	action->deadline_ms = p->now_ms + (is_wake ? r->config.wake_timeout_ms : r->config.start_timeout_ms);
	vgw__machine_set_state(p, r, is_wake ? VGW__STATE_WAKING : VGW__STATE_STARTING,
		r->waiting           ? VGW__CAUSE_REQUEST
		: r->is_wanted_admin ? VGW__CAUSE_ADMIN
				     : VGW__CAUSE_PRELOAD,
		action->deadline_ms);
}

void vgw__cell_begin_start(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->generation++;
	r->cold_starts++;
	activate(p, r, false);
}

void vgw__cell_begin_wake(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->wakes++;
	activate(p, r, true);
}

void vgw__cell_stop_sleeper(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	if (feed->depth == VGW__DEPTH_SLEEP)
		return;
	r->is_claimed = false;
	r->depth = VGW__DEPTH_STOP;
	r->beneficiary = feed->beneficiary;
	r->evict_seq = vgw__machine_turn_of(p, feed->beneficiary);
	vgw__machine_queue_to_leave(p, r, feed->cause);
}

void vgw__cell_adopt(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	r->generation++;
	r->has_drained = false;
	r->ready_since_ms = p->now_ms;
	r->last_used_ms = p->now_ms;
	if (feed->is_force) { /* no room for it: it goes, and its bytes count until it has gone */
		r->is_surplus = true;
		if (!r->holds)
			r->holds = VGW__HOLDS_AWAKE;
		r->depth = VGW__DEPTH_STOP;
		r->evict_seq = ++p->seq;
		r->beneficiary = VGW__NOBODY;
		vgw__machine_queue_to_leave(p, r, VGW__CAUSE_ADOPTED);
		return;
	}
	r->is_wanted_preload = false;
	r->is_wanted_admin = false;
	vgw__machine_set_state(p, r, VGW__STATE_READY, VGW__CAUSE_ADOPTED, VGW__NEVER);
	vgw__waiters_grant_all(p, r);
	vgw__planner_act(p, VGW__ACTION_OPEN_GATE, r);
}

void vgw__cell_adopt_asleep(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	if (feed->is_force) {
		r->holds = VGW__HOLDS_ASLEEP;
		vgw__cell_adopt(p, r, feed);
		return;
	}
	r->generation++;
	r->has_drained = true;
	r->last_used_ms = p->now_ms;
	vgw__machine_set_state(p, r, VGW__STATE_ASLEEP, VGW__CAUSE_ADOPTED, VGW__NEVER);
}

void vgw__cell_end_backoff(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	vgw__machine_set_state(p, r, VGW__STATE_ABSENT, VGW__CAUSE_BACKOFF_OVER, VGW__NEVER);
}

void vgw__cell_forgive(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	r->failures = 0;
	r->sleep_failures = 0;
	r->verdict = VGW__VERDICT_ABSENT;
	if (r->state == VGW__STATE_READY)
		r->deadline_ms = VGW__NEVER;
	if (r->state == VGW__STATE_BACKOFF)
		vgw__machine_set_state(p, r, VGW__STATE_ABSENT, VGW__CAUSE_ADMIN, VGW__NEVER);
}

/* --- STARTING, WAKING --- */

void vgw__cell_cancel(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)feed;
	if (r->is_cancelling)
		return;
	r->is_cancelling = true;
	r->deadline_ms = p->now_ms + p->config.cancel_grace_ms;
	vgw__planner_act(p, VGW__ACTION_CANCEL_ACTIVATION, r);
	p->has_changed = true;
}

void vgw__cell_unload_activation(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	r->is_unload = true;
	if (feed->cause != VGW__CAUSE_CONFIG) /* a changed model comes back with its new configuration */
		vgw__waiters_refuse_all(p, r, VGW__REASON_UNLOADED, VGW__NEVER);
	vgw__cell_cancel(p, r, feed);
}

void vgw__cell_doom(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	r->doomed = feed->failure == VGW__FAILURE_NONE ? VGW__FAILURE_UNKNOWN : feed->failure;
	r->doomed_ref = feed->ref;
	vgw__cell_cancel(p, r, feed);
}

void vgw__cell_overdue(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	if (r->is_cancelling) {
		vgw__machine_note_failure(p, r, VGW__FAILURE_UNKNOWN, r->ref);
		r->has_drained = true;
		vgw__machine_become_stuck(p, r, VGW__CAUSE_TIMED_OUT);
		return;
	}
	r->is_overdue = true;
	vgw__cell_cancel(p, r, feed);
}

void vgw__cell_activation_failed(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	enum vgw__failure failure = feed->failure;
	uint32_t ref = feed->ref;
	bool is_wake = r->state == VGW__STATE_WAKING;

	r->pending = VGW__PENDING_NONE;
	if (r->doomed != VGW__FAILURE_NONE &&
		(failure == VGW__FAILURE_NONE || failure == VGW__FAILURE_CANCELLED)) {
		failure = r->doomed;
		ref = r->doomed_ref;
	}
	if (failure == VGW__FAILURE_NONE || (failure == VGW__FAILURE_CANCELLED && !r->is_cancelling))
		failure = VGW__FAILURE_UNKNOWN;
	if (r->is_cancelling && !r->is_overdue && (r->is_unload || failure == VGW__FAILURE_CANCELLED)) {
		vgw__machine_sweep(p, r, VGW__CAUSE_UNWANTED);
		return;
	}
	if (is_wake && failure != VGW__FAILURE_USER) {
		/* the sleeper is lost; its waiters get a cold start */
		r->sleep_failures++;
		vgw__journal_add(p, VGW__DECISION_RETRY, r, "wake failed: stop and start cold");
		vgw__machine_sweep(p, r, VGW__CAUSE_RETRY);
		return;
	}
	if ((failure == VGW__FAILURE_OOM || failure == VGW__FAILURE_DISTURBED) && !r->is_retried) {
		r->is_retried = true;
		r->is_shedding = failure == VGW__FAILURE_OOM;
		r->failure = failure;
		r->ref = ref;
		vgw__journal_add(p, VGW__DECISION_RETRY, r,
			failure == VGW__FAILURE_OOM
				? "out of memory: once more after evicting what can be evicted"
				: "disturbed by a neighbour: once more, alone");
		vgw__machine_sweep(p, r, VGW__CAUSE_RETRY);
		return;
	}
	r->is_retried = false;
	r->is_shedding = false;
	vgw__machine_note_failure(
		p, r, failure == VGW__FAILURE_CANCELLED ? VGW__FAILURE_UNKNOWN : failure, ref);
	vgw__waiters_refuse_all(
		p, r, r->is_overdue ? VGW__REASON_START_TIMEOUT : VGW__REASON_START_FAILED, VGW__NEVER);
	vgw__machine_sweep(p, r, r->is_overdue ? VGW__CAUSE_TIMED_OUT : VGW__CAUSE_FAILED);
}

void vgw__cell_become_ready(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	bool is_wake = r->state == VGW__STATE_WAKING;
	struct vgw__feed died = {.failure = r->doomed, .ref = r->doomed_ref};

	(void)feed;
	if (r->doomed != VGW__FAILURE_NONE || r->is_unload) {
		vgw__cell_activation_failed(p, r, &died);
		return;
	}
	r->pending = VGW__PENDING_NONE;
	vgw__times_add(is_wake ? &r->wake : &r->start, p->now_ms - r->op_began_ms);
	vgw__budget_unlock(p, r);
	r->is_wanted_admin = false;
	r->is_wanted_preload = false;
	r->is_retried = false;
	r->is_shedding = false;
	r->is_cancelling = false;
	r->is_watched = false;
	r->in_flight = 0;
	r->ready_since_ms = p->now_ms;
	r->last_used_ms = p->now_ms;
	vgw__machine_set_state(p, r, VGW__STATE_READY, VGW__CAUSE_COMPLETED,
		r->failures ? p->now_ms + p->config.stable_ms : VGW__NEVER);
	/* the reservations first, then everybody */
	vgw__waiters_grant_all(p, r);
	vgw__planner_act(p, VGW__ACTION_OPEN_GATE, r);
}
