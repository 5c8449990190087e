/* SPDX-License-Identifier: Apache-2.0 */
/* One replica's life: state x input, read aloud: "when DRAINING and the last lease is gone (IDLE),
 * begin_leaving". An empty cell cannot happen: whoever feeds it has a bug, and vgw__planner_check() says so.
 * vgw__machine_set_state() is the only writer of the state, of the charge on the budgets and of TRANSITION.
 * The cells are in machine_arrive.c (towards READY) and machine_leave.c (away from it). */
#include "core/machine_internal.h"

/* What a state charges to the budgets; LEAVING and STUCK go on charging what came before. */
static const uint8_t holds_in[VGW__STATE_COUNT] = {
	[VGW__STATE_ABSENT] = 0,
	[VGW__STATE_STARTING] = VGW__HOLDS_AWAKE,
	[VGW__STATE_READY] = VGW__HOLDS_AWAKE,
	[VGW__STATE_DRAINING] = VGW__HOLDS_AWAKE,
	[VGW__STATE_LEAVING] = VGW__HOLDS_UNCHANGED,
	[VGW__STATE_ASLEEP] = VGW__HOLDS_ASLEEP,
	[VGW__STATE_WAKING] = VGW__HOLDS_AWAKE | VGW__HOLDS_ASLEEP,
	[VGW__STATE_BACKOFF] = 0,
	[VGW__STATE_STUCK] = VGW__HOLDS_UNCHANGED,
};

void vgw__machine_set_state(struct vgw__planner *p, struct vgw__replica *r, enum vgw__state to,
	enum vgw__cause cause, int64_t deadline_ms)
{
	struct vgw__action *action = vgw__planner_act(p, VGW__ACTION_TRANSITION, r);

	VGW__MUST(p, to != VGW__STATE_LEAVING || r->has_drained,
		"it leaves although its gate was not seen idle");
	action->from = r->state;
	action->to = to;
	action->cause = cause;
	r->state = to;
	r->cause = cause;
	r->since_ms = p->now_ms;
	r->deadline_ms = deadline_ms;
	if (to != VGW__STATE_LEAVING)
		r->phase = VGW__PHASE_NONE;
	if (holds_in[to] != VGW__HOLDS_UNCHANGED)
		r->holds = holds_in[to];
	vgw__budget_charge(p, r);
	p->has_changed = true;
}

struct vgw__action *vgw__machine_begin_operation(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__action_kind kind, enum vgw__pending pending)
{
	struct vgw__action *action;

	r->pending = pending;
	r->ticket++;
	r->op_began_ms = p->now_ms;
	action = vgw__planner_act(p, kind, r);
	action->depth = r->op_depth;
	action->devices = r->devices;
	return action;
}

static void nop(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed)
{
	(void)p;
	(void)r;
	(void)feed;
}

/* --- the table --- */

static vgw__cell_fn *const table[VGW__STATE_COUNT][VGW__INPUT_COUNT] = {
	[VGW__STATE_ABSENT] =
		{
			[VGW__INPUT_START] = vgw__cell_begin_start,
			[VGW__INPUT_EVICT] = nop,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
			[VGW__INPUT_ADOPT] = vgw__cell_adopt,
			[VGW__INPUT_ADOPT_ASLEEP] = vgw__cell_adopt_asleep,
		},
	[VGW__STATE_STARTING] =
		{
			[VGW__INPUT_ACTIVATED] = vgw__cell_become_ready,
			[VGW__INPUT_FAILED] = vgw__cell_activation_failed,
			[VGW__INPUT_CANCEL] = vgw__cell_cancel,
			[VGW__INPUT_EVICT] = vgw__cell_unload_activation,
			[VGW__INPUT_DIED] = vgw__cell_doom,
			[VGW__INPUT_DEADLINE] = vgw__cell_overdue,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
		},
	[VGW__STATE_READY] =
		{
			[VGW__INPUT_EVICT] = vgw__cell_begin_drain,
			[VGW__INPUT_DIED] = vgw__cell_crash,
			[VGW__INPUT_DEADLINE] = vgw__cell_forgive,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
		},
	[VGW__STATE_DRAINING] =
		{
			[VGW__INPUT_IDLE] = vgw__cell_begin_leaving,
			[VGW__INPUT_REVOKE] = vgw__cell_reopen,
			[VGW__INPUT_EVICT] = vgw__cell_deepen,
			[VGW__INPUT_DIED] = vgw__cell_crash,
			[VGW__INPUT_DEADLINE] = vgw__cell_cut,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
		},
	[VGW__STATE_LEAVING] =
		{
			[VGW__INPUT_LEAVE] = vgw__cell_leave,
			[VGW__INPUT_DEACTIVATED] = vgw__cell_begin_settle,
			[VGW__INPUT_KEPT] = vgw__cell_not_deactivated,
			[VGW__INPUT_SETTLED] = vgw__cell_memory_is_back,
			[VGW__INPUT_UNSETTLED] = vgw__cell_not_deactivated,
			[VGW__INPUT_EVICT] = vgw__cell_deepen,
			[VGW__INPUT_DIED] = vgw__cell_died_leaving,
			[VGW__INPUT_DEADLINE] = vgw__cell_operation_hangs,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
		},
	[VGW__STATE_ASLEEP] =
		{
			[VGW__INPUT_WAKE] = vgw__cell_begin_wake,
			[VGW__INPUT_EVICT] = vgw__cell_stop_sleeper,
			[VGW__INPUT_DIED] = vgw__cell_crash,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
		},
	[VGW__STATE_WAKING] =
		{
			[VGW__INPUT_ACTIVATED] = vgw__cell_become_ready,
			[VGW__INPUT_FAILED] = vgw__cell_activation_failed,
			[VGW__INPUT_EVICT] = vgw__cell_unload_activation,
			[VGW__INPUT_DIED] = vgw__cell_doom,
			[VGW__INPUT_DEADLINE] = vgw__cell_overdue,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
		},
	[VGW__STATE_BACKOFF] =
		{
			[VGW__INPUT_EVICT] = nop,
			[VGW__INPUT_DEADLINE] = vgw__cell_end_backoff,
			[VGW__INPUT_RESET] = vgw__cell_forgive,
		},
	[VGW__STATE_STUCK] =
		{
			[VGW__INPUT_LEAVE] = vgw__cell_leave,
			[VGW__INPUT_ACTIVATED] = vgw__cell_late_answer,
			[VGW__INPUT_FAILED] = vgw__cell_late_answer,
			[VGW__INPUT_DEACTIVATED] = vgw__cell_late_answer,
			[VGW__INPUT_KEPT] = vgw__cell_late_answer,
			[VGW__INPUT_SETTLED] = vgw__cell_late_memory,
			[VGW__INPUT_UNSETTLED] = vgw__cell_still_unsettled,
			[VGW__INPUT_EVICT] = nop,
			[VGW__INPUT_DIED] = nop,
			[VGW__INPUT_DEADLINE] = vgw__cell_retry_stop,
			[VGW__INPUT_RESET] = vgw__cell_retry_stop,
			[VGW__INPUT_FORGET] = vgw__cell_forget,
		},
};

bool vgw__machine_accepts(enum vgw__state state, enum vgw__input input)
{
	return table[state][input] != NULL;
}

void vgw__machine_feed(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__input input, const struct vgw__feed *feed)
{
	static const struct vgw__feed nothing = {.beneficiary = VGW__NOBODY};
	vgw__cell_fn *cell = table[r->state][input];

	VGW__MUST(p, cell, "an input that cannot happen in this state");
	if (cell)
		cell(p, r, feed ? feed : &nothing);
}
