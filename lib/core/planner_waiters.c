/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for what: a list per replica, oldest first, and one heap of deadlines over all. */
#include "core/planner_internal.h"

static const double weights[VGW__PRIORITY_COUNT] = {
	[VGW__PRIORITY_BATCH] = 1,
	[VGW__PRIORITY_NORMAL] = 2,
	[VGW__PRIORITY_INTERACTIVE] = 4,
};

/* --- the heap --- */

static void put(struct vgw__planner *p, int32_t place, int32_t waiter)
{
	p->heap[place] = waiter;
	p->waiters[waiter].place = place;
}

static bool is_before(const struct vgw__planner *p, int32_t a, int32_t b)
{
	return p->waiters[a].deadline_ms < p->waiters[b].deadline_ms;
}

static void sift_up(struct vgw__planner *p, int32_t place)
{
	int32_t waiter = p->heap[place];

	while (place > 0 && is_before(p, waiter, p->heap[(place - 1) / 2])) {
		put(p, place, p->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	put(p, place, waiter);
}

static void sift_down(struct vgw__planner *p, int32_t place)
{
	int32_t waiter = p->heap[place];
	int32_t child;

	for (;;) {
		child = 2 * place + 1;
		if (child >= p->waiting)
			break;
		if (child + 1 < p->waiting && is_before(p, p->heap[child + 1], p->heap[child]))
			child++;
		if (!is_before(p, p->heap[child], waiter))
			break;
		put(p, place, p->heap[child]);
		place = child;
	}
	put(p, place, waiter);
}

static void heap_remove(struct vgw__planner *p, int32_t place)
{
	int32_t last = p->heap[--p->waiting];

	if (place == p->waiting)
		return;
	put(p, place, last);
	sift_up(p, place);
	sift_down(p, p->waiters[last].place);
}

/* --- the lists --- */

void vgw__waiters_add(struct vgw__planner *p, const struct vgw__event *event)
{
	struct vgw__replica *r = &p->replicas[event->model];
	struct vgw__waiter *w = &p->waiters[event->waiter];
	double weight = weights[event->priority];

	VGW__MUST(p, !w->is_waiting, "a waiter waits twice");
	w->is_waiting = true;
	w->may_not_swap = event->may_not_swap;
	w->priority = event->priority;
	w->model = event->model;
	w->arrived_ms = p->now_ms;
	w->deadline_ms = event->deadline_ms;
	w->previous = r->last_waiter;
	w->next = VGW__NOBODY;
	if (r->last_waiter == VGW__NOBODY)
		r->first_waiter = event->waiter;
	else
		p->waiters[r->last_waiter].next = event->waiter;
	r->last_waiter = event->waiter;
	r->waiting++;
	r->weight += weight;
	r->weighted_arrival += weight * (double)w->arrived_ms;
	p->heap[p->waiting] = event->waiter;
	p->waiting++;
	sift_up(p, p->waiting - 1);
	p->has_changed = true;
}

void vgw__waiters_remove(struct vgw__planner *p, int32_t waiter)
{
	struct vgw__waiter *w = &p->waiters[waiter];
	struct vgw__replica *r = &p->replicas[w->model];
	double weight = weights[w->priority];

	VGW__MUST(p, w->is_waiting, "a waiter leaves a list it is not on");
	heap_remove(p, w->place);
	if (w->previous == VGW__NOBODY)
		r->first_waiter = w->next;
	else
		p->waiters[w->previous].next = w->next;
	if (w->next == VGW__NOBODY)
		r->last_waiter = w->previous;
	else
		p->waiters[w->next].previous = w->previous;
	r->waiting--;
	r->weight -= weight;
	r->weighted_arrival -= weight * (double)w->arrived_ms;
	if (!r->waiting) {
		r->weight = 0; /* no rounding is carried over */
		r->weighted_arrival = 0;
	}
	w->is_waiting = false;
	p->has_changed = true;
}

void vgw__waiters_grant(struct vgw__planner *p, struct vgw__replica *r, int32_t waiter)
{
	struct vgw__action *action;

	VGW__MUST(p, r->state == VGW__STATE_READY, "a grant on a replica that is not READY");
	action = vgw__planner_act(p, VGW__ACTION_GRANT, r);
	action->waiter = waiter;
	r->in_flight++;
	r->last_used_ms = p->now_ms;
}

void vgw__waiters_grant_all(struct vgw__planner *p, struct vgw__replica *r)
{
	int32_t waiter;

	while (r->first_waiter != VGW__NOBODY) {
		waiter = r->first_waiter;
		vgw__waiters_remove(p, waiter);
		vgw__waiters_grant(p, r, waiter);
	}
}

void vgw__waiters_refuse(struct vgw__planner *p, int32_t model, int32_t waiter, enum vgw__reason reason)
{
	struct vgw__replica *r = model == VGW__NOBODY ? NULL : &p->replicas[model];
	struct vgw__action *action = vgw__planner_act(p, VGW__ACTION_REFUSE, r);

	action->model = model;
	action->waiter = waiter;
	action->reason = reason;
	action->eta_ms = -1;
	if (!r)
		return;
	action->eta_ms = vgw__eta_ms(p, r, 50);
	if (r->failures || reason == VGW__REASON_START_FAILED || reason == VGW__REASON_START_TIMEOUT) {
		action->failure = r->failure;
		action->ref = r->ref;
	}
}

int32_t vgw__waiters_refuse_all(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__reason reason, int64_t before_ms)
{
	int32_t count = 0;
	int32_t waiter;

	while (r->first_waiter != VGW__NOBODY && p->waiters[r->first_waiter].arrived_ms < before_ms) {
		waiter = r->first_waiter;
		vgw__waiters_remove(p, waiter);
		vgw__waiters_refuse(p, vgw__replica_index(p, r), waiter, reason);
		count++;
	}
	return count;
}

void vgw__waiters_expire(struct vgw__planner *p)
{
	int32_t waiter;

	while (p->waiting && p->waiters[p->heap[0]].deadline_ms <= p->now_ms) {
		waiter = p->heap[0];
		vgw__waiters_remove(p, waiter);
		vgw__waiters_refuse(p, p->waiters[waiter].model, waiter, VGW__REASON_TIMEOUT);
	}
}

int64_t vgw__waiters_next_deadline(const struct vgw__planner *p)
{
	return p->waiting ? p->waiters[p->heap[0]].deadline_ms : VGW__NEVER;
}
