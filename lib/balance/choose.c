/* SPDX-License-Identifier: Apache-2.0 */
/* Least outstanding requests. The search starts one further each time, so equal targets take turns; with no load
 * this is round robin. */
#include "balance/choose.h"

struct vgw__target *vgw__balance_choose(struct vgw__targets *targets, uint64_t tried)
{
	unsigned start = atomic_fetch_add_explicit(&targets->next, 1, memory_order_relaxed);
	struct vgw__target *best = NULL;
	unsigned best_load = 0;

	for (uint32_t i = 0; i < targets->count; i++) {
		uint32_t place = (start + i) % targets->count;
		struct vgw__target *target = &targets->items[place];
		unsigned load = atomic_load_explicit(&target->in_flight, memory_order_relaxed);

		if (place < 64 ? (tried >> place) & 1 : tried != 0)
			continue;
		if (!best || load < best_load) {
			best = target;
			best_load = load;
		}
	}
	return best;
}

uint32_t vgw__balance_place(const struct vgw__targets *targets, const struct vgw__target *target)
{
	return (uint32_t)(target - targets->items);
}
