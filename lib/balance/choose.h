/* SPDX-License-Identifier: Apache-2.0 */
/* Which target gets the next request. */
#ifndef VGW_BALANCE_CHOOSE_H
#define VGW_BALANCE_CHOOSE_H

#include "backend/targets.h"

/* The target with the fewest requests under way, ties in rotation; those whose bit is set in `tried` are left out.
 * NULL when none is left. At most 64 targets take part in retries. */
struct vgw__target *vgw__balance_choose(struct vgw__targets *targets, uint64_t tried);

/* Place of a target in its set. */
uint32_t vgw__balance_place(const struct vgw__targets *targets, const struct vgw__target *target);

#endif
