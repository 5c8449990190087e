/* SPDX-License-Identifier: Apache-2.0 */
/* Two questions a policy answers, as pure arithmetic: when may a resident go so that another can come, and
 * which goes first?
 *
 * When. The one who waits has a pressure: the sum over its waiters of weight x time waited. A busy resident
 * has a price: how much waiting its absence will cause. It goes when the pressure reaches the price (the
 * ski-rental rule: wait as long as waiting is cheaper, and not longer), or when it is idle past `hold`, not
 * before `min_resident`, but at the latest when max_wait is up. `cost` keeps an idle resident for hold and
 * min_resident only when it expects to be used within them.
 *
 * Which. `lru`: least recently used. `cost`: the least of P(used again within the horizon) x reload time /
 * GiB freed. `oracle` knows the next use of each (only the simulator can): the one used furthest in the
 * future goes.
 */
#ifndef VGW_CORE_POLICY_H
#define VGW_CORE_POLICY_H

#include "core/planner.h"

/* A resident that might go. */
struct vgw__candidate {
	int64_t last_used_ms;
	int64_t ready_since_ms;
	int64_t next_use_ms; /* oracle; VGW__NEVER: not again */
	uint32_t in_flight;
	bool is_asleep;
	double rate;          /* arrivals per ms; 0: no data */
	int64_t reload_ms;    /* to bring it back from the depth it would go to */
	int64_t departure_ms; /* drain and stop, or sleep */
	int64_t freed_bytes;
};

/* Who wants its room. */
struct vgw__demand {
	double weight;           /* sum of the waiters' weights */
	double weighted_arrival; /* sum of weight x arrival */
	int64_t due_ms;          /* from then on everything that is not pinned may go */
	int64_t urgent_ms;       /* from then on its deadline would be missed; VGW__NEVER */
	int64_t load_ms;         /* its own start or wake */
};

/* The first moment at which the candidate may go for this demand if nothing else changes. */
int64_t vgw__policy_may_go_ms(const struct vgw__residency_config *config,
	const struct vgw__candidate *candidate, const struct vgw__demand *demand, int64_t now_ms);

/* Smaller goes first; equal ones by least recent use. */
double vgw__policy_cost(
	const struct vgw__residency_config *config, const struct vgw__candidate *candidate, int64_t now_ms);

#endif
