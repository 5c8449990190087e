/* SPDX-License-Identifier: Apache-2.0 */
/* What each event means. Answers that come too late are dropped here, so that the machine never sees them. */
#include "core/planner_internal.h"

/* --- requests --- */

/* Why the request is refused at once, or NONE. */
static enum vgw__reason refusal_of(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	int64_t eta_ms;
	bool is_coming = r->state == VGW__STATE_STARTING || r->state == VGW__STATE_WAKING || r->is_claimed;
	enum vgw__reason reason;

	if (p->is_shutdown)
		return VGW__REASON_SHUTDOWN;
	if (event->deadline_ms <= p->now_ms)
		return VGW__REASON_TIMEOUT;
	if (r->state == VGW__STATE_STUCK)
		return VGW__REASON_STUCK;
	if (r->state == VGW__STATE_BACKOFF) {
		if (r->until_ms == VGW__NEVER)
			return VGW__REASON_BROKEN;
		/* the first failure is worth waiting for, a row of them is not */
		if (r->failures > 1 || r->until_ms >= event->deadline_ms)
			return VGW__REASON_BACKOFF;
	}
	if (is_coming && !r->is_unload)
		return VGW__REASON_NONE;
	if (event->may_not_swap &&
		!(r->state == VGW__STATE_DRAINING && !r->is_final && r->beneficiary == VGW__NOBODY))
		return VGW__REASON_SWAP_DENIED;
	reason = vgw__swap_admit(p, r);
	if (reason != VGW__REASON_NONE)
		return reason;
	eta_ms = vgw__eta_ms(p, r, 50);
	if (r->start.count >= 3 && eta_ms > event->deadline_ms - p->now_ms)
		return VGW__REASON_TOO_LATE;
	return VGW__REASON_NONE;
}

static enum vgw__reason on_request(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	enum vgw__reason reason;

	if (event->waiter < 0 || event->waiter >= p->limits.waiters || p->waiters[event->waiter].is_waiting)
		return VGW__REASON_FULL;
	if (!r || r->is_removed) {
		vgw__waiters_refuse(p, VGW__NOBODY, event->waiter, VGW__REASON_NO_SUCH_MODEL);
		return VGW__REASON_NONE;
	}
	vgw__rate_add(&r->rate, p->now_ms, 1, p->config.rate_half_life_ms);
	if (r->state == VGW__STATE_READY && !p->is_shutdown && event->deadline_ms > p->now_ms) {
		vgw__waiters_grant(p, r, event->waiter);
		return VGW__REASON_NONE;
	}
	reason = refusal_of(p, r, event);
	if (reason != VGW__REASON_NONE)
		vgw__waiters_refuse(p, vgw__replica_index(p, r), event->waiter, reason);
	else
		vgw__waiters_add(p, event);
	return VGW__REASON_NONE;
}

static enum vgw__reason on_cancelled(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	(void)r;
	if (event->waiter >= 0 && event->waiter < p->limits.waiters && p->waiters[event->waiter].is_waiting)
		vgw__waiters_remove(p, event->waiter);
	return VGW__REASON_NONE;
}

/* --- answers of operations --- */

struct answer {
	enum vgw__pending awaited;
	enum vgw__input input;
};

static const struct answer answers[VGW__EVENT_COUNT] = {
	[VGW__EVENT_IDLE] = {VGW__PENDING_DRAIN, VGW__INPUT_IDLE},
	[VGW__EVENT_ACTIVATED] = {VGW__PENDING_ACTIVATE, VGW__INPUT_ACTIVATED},
	[VGW__EVENT_FAILED] = {VGW__PENDING_ACTIVATE, VGW__INPUT_FAILED},
	[VGW__EVENT_DEACTIVATED] = {VGW__PENDING_DEACTIVATE, VGW__INPUT_DEACTIVATED},
	[VGW__EVENT_KEPT] = {VGW__PENDING_DEACTIVATE, VGW__INPUT_KEPT},
	[VGW__EVENT_SETTLED] = {VGW__PENDING_SETTLE, VGW__INPUT_SETTLED},
	[VGW__EVENT_UNSETTLED] = {VGW__PENDING_SETTLE, VGW__INPUT_UNSETTLED},
};

static enum vgw__reason on_answer(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	const struct answer *answer = &answers[event->kind];
	struct vgw__feed feed = {.failure = event->failure, .ref = event->ref, .beneficiary = VGW__NOBODY};

	if (!r || r->pending != answer->awaited || r->ticket != event->ticket) {
		p->stale++;
		return VGW__REASON_NONE;
	}
	vgw__machine_feed(p, r, answer->input, &feed);
	return VGW__REASON_NONE;
}

static enum vgw__reason on_progress(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	if (!r || r->pending != VGW__PENDING_ACTIVATE || r->ticket != event->ticket || r->is_cancelling ||
		r->state == VGW__STATE_STUCK) {
		p->stale++;
		return VGW__REASON_NONE;
	}
	r->deadline_ms = p->now_ms + (r->state == VGW__STATE_WAKING ? r->config.wake_timeout_ms
								    : r->config.start_timeout_ms);
	if (event->eta_ms >= 0)
		r->progress_eta_ms = p->now_ms + event->eta_ms;
	return VGW__REASON_NONE;
}

static enum vgw__reason on_died(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	struct vgw__feed feed = {.failure = event->failure, .ref = event->ref, .beneficiary = VGW__NOBODY};

	if (!r || r->generation != event->generation || !vgw__machine_accepts(r->state, VGW__INPUT_DIED)) {
		p->stale++;
		return VGW__REASON_NONE;
	}
	vgw__machine_feed(p, r, VGW__INPUT_DIED, &feed);
	return VGW__REASON_NONE;
}

static enum vgw__reason on_quiet(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	(void)p;
	(void)event;
	if (r)
		r->is_watched = false;
	return VGW__REASON_NONE;
}

/* What is measured replaces what was believed; while it holds memory never by more than there is. */
static int64_t in_force(const struct vgw__planner *p, const struct vgw__replica *r, int32_t d, int64_t bytes)
{
	int64_t room = p->devices[d].budget_bytes - p->devices[d].used_bytes + r->held[d];

	return p->devices[d].budget_bytes && bytes > room ? room : bytes;
}

static enum vgw__reason on_footprint(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	if (!r)
		return VGW__REASON_NO_SUCH_MODEL;
	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (event->bytes[d] < 0)
			continue;
		if (event->depth == VGW__DEPTH_SLEEP) {
			r->config.asleep_bytes[d] = event->bytes[d];
			r->rest[d] = in_force(p, r, d, event->bytes[d]);
		} else {
			r->learned[d] = event->bytes[d];
			r->need[d] = in_force(p, r, d, event->bytes[d]);
		}
	}
	/* one engine takes about as much on any device of its kind */
	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (((r->config.devices & ~r->devices) >> d) & 1u)
			r->need[d] = vgw__place_expect(p, r, d);
	}
	vgw__place_put(r, r->devices);
	vgw__budget_charge(p, r);
	vgw__journal_add(p, VGW__DECISION_LEARN, r,
		event->depth == VGW__DEPTH_SLEEP ? "measured asleep" : "measured awake");
	return VGW__REASON_NONE;
}

static enum vgw__reason on_timer(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event)
{
	(void)p;
	(void)r;
	(void)event;
	return VGW__REASON_NONE;
}

/* --- the table --- */

static vgw__handler_fn *const handlers[VGW__EVENT_COUNT] = {
	[VGW__EVENT_REQUEST] = on_request,
	[VGW__EVENT_CANCELLED] = on_cancelled,
	[VGW__EVENT_IDLE] = on_answer,
	[VGW__EVENT_QUIET] = on_quiet,
	[VGW__EVENT_ACTIVATED] = on_answer,
	[VGW__EVENT_FAILED] = on_answer,
	[VGW__EVENT_PROGRESS] = on_progress,
	[VGW__EVENT_DEACTIVATED] = on_answer,
	[VGW__EVENT_KEPT] = on_answer,
	[VGW__EVENT_SETTLED] = on_answer,
	[VGW__EVENT_UNSETTLED] = on_answer,
	[VGW__EVENT_DIED] = on_died,
	[VGW__EVENT_FOOTPRINT] = on_footprint,
	[VGW__EVENT_TIMER] = on_timer,
	[VGW__EVENT_LOAD] = vgw__commands_load,
	[VGW__EVENT_PRELOAD] = vgw__commands_preload,
	[VGW__EVENT_UNLOAD] = vgw__commands_unload,
	[VGW__EVENT_SLEEP] = vgw__commands_sleep,
	[VGW__EVENT_PIN] = vgw__commands_pin,
	[VGW__EVENT_UNPIN] = vgw__commands_pin,
	[VGW__EVENT_RESET] = vgw__commands_reset,
	[VGW__EVENT_ADOPT] = vgw__commands_adopt,
	[VGW__EVENT_MODEL_ADDED] = vgw__commands_add,
	[VGW__EVENT_MODEL_CHANGED] = vgw__commands_change,
	[VGW__EVENT_MODEL_REMOVED] = vgw__commands_remove,
	[VGW__EVENT_CONFIGURED] = vgw__commands_configure,
	[VGW__EVENT_SHUTDOWN] = vgw__commands_shutdown,
};

/* Events that name no model. */
static bool names_no_model(enum vgw__event_kind kind)
{
	return kind == VGW__EVENT_CANCELLED || kind == VGW__EVENT_TIMER || kind == VGW__EVENT_CONFIGURED ||
	       kind == VGW__EVENT_SHUTDOWN;
}

enum vgw__reason vgw__events_digest(struct vgw__planner *p, const struct vgw__event *event)
{
	struct vgw__replica *r = NULL;

	if (!names_no_model(event->kind) && event->model >= 0 && event->model < p->limits.models &&
		(p->replicas[event->model].exists || event->kind == VGW__EVENT_MODEL_ADDED))
		r = &p->replicas[event->model];
	if (!r && event->kind >= VGW__EVENT_LOAD && !names_no_model(event->kind))
		return VGW__REASON_NO_SUCH_MODEL;
	return handlers[event->kind](p, r, event);
}
