/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulator's two runners share. */
#ifndef VGW_CORE_SIMULATE_INTERNAL_H
#define VGW_CORE_SIMULATE_INTERNAL_H

#include "core/simulate.h"

/* simulate_planner.c: the planner with config->policy, config->hold_ms as given; waits has one place per
 * arrival. */
bool vgw__simulate_planner(
	struct vgw__simulated *out, const struct vgw__simulation *simulation, int64_t *waits);
/* simulate_fifo.c */
bool vgw__simulate_fifo(struct vgw__simulated *out, const struct vgw__simulation *simulation, int64_t *waits);

#endif
