/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants, recounted from scratch. Slow on purpose: it trusts no counter of the planner. */
#include "core/planner_internal.h"

#define INVARIANT(number, condition, sentence)                                                               \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			if (what)                                                                            \
				*what = sentence;                                                            \
			return number;                                                                       \
		}                                                                                            \
	} while (0)

enum { IMPOSSIBLE = 26 }; /* the number under which VGW__MUST is told */

static int64_t bytes_by_state(const struct vgw__replica *r, int32_t d)
{
	switch (r->state) {
	case VGW__STATE_ABSENT:
	case VGW__STATE_BACKOFF:
		return 0;
	case VGW__STATE_STARTING:
	case VGW__STATE_READY:
	case VGW__STATE_DRAINING:
		return r->awake[d];
	case VGW__STATE_ASLEEP:
		return r->asleep[d];
	case VGW__STATE_WAKING:
		return r->awake[d] > r->asleep[d] ? r->awake[d] : r->asleep[d];
	default:
		return r->held[d];
	}
}

/* I1: budgets, places, sleepers. */
static int check_budgets(const struct vgw__planner *p, const char **what)
{
	int64_t sum;
	int32_t residents = 0;
	int32_t sleepers = 0;

	for (int32_t d = 0; d < p->limits.devices; d++) {
		sum = 0;
		for (int32_t i = 0; i < p->limits.models; i++) {
			const struct vgw__replica *r = &p->replicas[i];

			INVARIANT(7, r->held[d] >= 0, "held bytes are negative");
			INVARIANT(1, !r->held[d] || !(((r->config.devices & ~r->devices) >> d) & 1u),
				"bytes are held on a device outside the set");
			INVARIANT(1, r->held[d] == bytes_by_state(r, d),
				"a state holds other bytes than it should");
			sum += r->held[d];
		}
		INVARIANT(7, sum == p->devices[d].used_bytes, "used bytes are not the sum of what is held");
		INVARIANT(1, !p->devices[d].budget_bytes || sum <= p->devices[d].budget_bytes,
			"a device holds more than its budget");
	}
	for (int32_t i = 0; i < p->limits.models; i++) {
		residents += vgw__budget_is_resident(&p->replicas[i]);
		sleepers += vgw__budget_is_sleeper(&p->replicas[i]);
	}
	INVARIANT(1, p->is_trimming || !p->config.max_resident || residents <= p->config.max_resident,
		"more are resident than max_resident");
	INVARIANT(1, p->is_trimming || sleepers <= p->config.max_asleep, "more sleep than max_asleep");
	return 0;
}

/* I1 of the promises: with everything under way done, all that will be awake has a place and its bytes. */
static int check_promises(const struct vgw__planner *p, const char **what)
{
	int64_t sum;
	int32_t promised = 0;
	int32_t claimed = 0;

	for (int32_t d = -1; d < p->limits.devices; d++) {
		sum = 0;
		for (int32_t i = 0; i < p->limits.models; i++) {
			const struct vgw__replica *r = &p->replicas[i];
			bool is_up = r->state == VGW__STATE_READY ||
				     ((r->state == VGW__STATE_STARTING || r->state == VGW__STATE_WAKING) &&
					     !r->is_unload);

			if (d < 0) {
				claimed += r->is_claimed;
				promised += r->is_claimed || is_up;
			} else if (r->is_claimed || is_up) {
				sum += r->awake[d];
			} else if (r->state == VGW__STATE_ASLEEP) {
				sum += r->asleep[d];
			}
		}
		INVARIANT(1,
			d < 0 || !claimed || !p->devices[d].budget_bytes || sum <= p->devices[d].budget_bytes,
			"more bytes are promised than a device has");
	}
	INVARIANT(1, !claimed || !p->config.max_resident || promised <= p->config.max_resident,
		"more places are promised than max_resident");
	return 0;
}

/* I2, I3, I4: what a state implies about its operation, its gate and its engine. */
static int check_machine(const struct vgw__planner *p, const struct vgw__replica *r, const char **what)
{
	enum vgw__state s = r->state;
	bool activates = s == VGW__STATE_STARTING || s == VGW__STATE_WAKING;

	INVARIANT(
		4, !activates || r->pending == VGW__PENDING_ACTIVATE, "an activation without its operation");
	INVARIANT(4, activates || s == VGW__STATE_STUCK || r->pending != VGW__PENDING_ACTIVATE,
		"an activation runs in a state that knows nothing of it");
	INVARIANT(3, s != VGW__STATE_DRAINING || r->pending == VGW__PENDING_DRAIN,
		"a drain without a closed gate");
	INVARIANT(3, s != VGW__STATE_LEAVING || r->has_drained,
		"it leaves although its gate was not seen idle");
	INVARIANT(2,
		s != VGW__STATE_LEAVING ||
			(r->phase == VGW__PHASE_QUEUED) == (r->pending == VGW__PENDING_NONE),
		"LEAVING neither waits for its device nor runs an operation");
	INVARIANT(2,
		(s != VGW__STATE_ABSENT && s != VGW__STATE_BACKOFF && s != VGW__STATE_READY &&
			s != VGW__STATE_ASLEEP) ||
			r->pending == VGW__PENDING_NONE,
		"a resting state with a running operation");
	INVARIANT(2, s != VGW__STATE_LEAVING || r->holds, "it leaves and holds nothing");
	INVARIANT(4, !r->is_claimed || s == VGW__STATE_ABSENT || s == VGW__STATE_ASLEEP,
		"a claim on something that runs already");
	INVARIANT(1, !r->exists || vgw__place_is_set(p, r, r->devices), "a set of devices is not whole");
	INVARIANT(7, r->exists || (s == VGW__STATE_ABSENT && !r->waiting), "an empty slot is not empty");
	for (int32_t d = 0; d < p->limits.devices; d++) {
		bool must_lock = r->exists && ((r->devices >> d) & 1u) && !p->devices[d].is_host &&
				 (activates || (s == VGW__STATE_LEAVING && r->phase != VGW__PHASE_QUEUED));

		INVARIANT(4, must_lock == (p->devices[d].holder == vgw__replica_index(p, r)),
			"the lock of a device is not with the operation that runs on it");
	}
	return 0;
}

/* I6 */
static int check_groups(const struct vgw__planner *p, const char **what)
{
	for (int32_t i = 0; i < p->limits.models; i++) {
		for (int32_t k = 0; k < i; k++) {
			const struct vgw__replica *a = &p->replicas[i];
			const struct vgw__replica *b = &p->replicas[k];

			INVARIANT(6,
				!(a->config.groups & b->config.groups) || !vgw__budget_is_resident(a) ||
					!vgw__budget_is_resident(b),
				"two of a group are resident together");
		}
	}
	return 0;
}

/* I7: lists, heap and counters agree with the waiters. */
static int check_waiters(const struct vgw__planner *p, const char **what)
{
	int32_t waiting = 0;
	int32_t listed = 0;
	int32_t length;

	for (int32_t w = 0; w < p->limits.waiters; w++) {
		const struct vgw__waiter *waiter = &p->waiters[w];

		if (!waiter->is_waiting)
			continue;
		waiting++;
		INVARIANT(7, waiter->place < p->waiting && p->heap[waiter->place] == w,
			"the heap lost a waiter");
		INVARIANT(7,
			waiter->place == 0 || p->waiters[p->heap[(waiter->place - 1) / 2]].deadline_ms <=
						      waiter->deadline_ms,
			"the heap is out of order");
		INVARIANT(16, waiter->deadline_ms > p->now_ms, "a waiter outlived its deadline");
	}
	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		length = 0;
		for (int32_t w = r->first_waiter; w != VGW__NOBODY && length <= p->limits.waiters;
			w = p->waiters[w].next) {
			INVARIANT(7, p->waiters[w].is_waiting && p->waiters[w].model == i,
				"a stranger in a list of waiters");
			length++;
		}
		INVARIANT(7, length == r->waiting, "a list of waiters has another length than its count");
		listed += length;
	}
	INVARIANT(7, waiting == listed && waiting == p->waiting, "waiters were lost or counted twice");
	return 0;
}

/* I17 and the bound of I16: whoever waits has something or some moment that will move it on. */
static int check_wake_ups(const struct vgw__planner *p, const struct vgw__replica *r, const char **what)
{
	int64_t arrived_ms;

	INVARIANT(17, r->state != VGW__STATE_READY || !vgw__swap_is_wanted(r), "READY and somebody waits");
	if (r->deadline_ms != VGW__NEVER)
		INVARIANT(17, r->deadline_ms > p->now_ms && p->timer_ms <= r->deadline_ms,
			"a state's deadline passed or no timer is set for it");
	INVARIANT(17,
		r->state != VGW__STATE_BACKOFF || r->until_ms == VGW__NEVER || r->deadline_ms != VGW__NEVER,
		"BACKOFF without an end");
	INVARIANT(17,
		r->state != VGW__STATE_STUCK || r->is_retry_due || r->pending != VGW__PENDING_NONE ||
			r->deadline_ms != VGW__NEVER,
		"STUCK for ever");
	if (!r->waiting)
		return 0;
	INVARIANT(17, p->timer_ms != VGW__NEVER, "somebody waits and no timer is set");
	arrived_ms = p->waiters[r->first_waiter].arrived_ms;
	INVARIANT(16,
		r->is_claimed || r->state == VGW__STATE_STARTING || r->state == VGW__STATE_WAKING ||
			(p->now_ms < arrived_ms + p->config.max_wait_ms &&
				p->timer_ms <= arrived_ms + p->config.max_wait_ms),
		"max_wait is up and nothing is under way");
	return 0;
}

int vgw__planner_check(const struct vgw__planner *p, int64_t now_ms, const char **what)
{
	int broken = check_budgets(p, what);

	(void)now_ms;
	INVARIANT(IMPOSSIBLE, !p->broken, p->broken);
	INVARIANT(17, p->timer_ms > p->now_ms, "the timer is set to the past");
	for (int32_t i = 0; i < p->limits.models && !broken; i++) {
		broken = check_machine(p, &p->replicas[i], what);
		if (!broken)
			broken = check_wake_ups(p, &p->replicas[i], what);
	}
	if (!broken)
		broken = check_promises(p, what);
	if (!broken)
		broken = check_groups(p, what);
	if (!broken)
		broken = check_waiters(p, what);
	return broken;
}
