/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of endpoints. */
#include "backend/targets.h"

#include "util/alloc.h"

struct vgw__targets *vgw__targets_new(struct vgw__endpoint *const *endpoints, size_t count)
{
	struct vgw__targets *targets = vgw__alloc(sizeof(*targets) + count * sizeof(targets->items[0]));

	if (!targets)
		return NULL;
	atomic_init(&targets->refs, 1);
	targets->count = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		targets->items[i].endpoint = vgw__endpoint_ref(endpoints[i]);
	return targets;
}

struct vgw__targets *vgw__targets_ref(struct vgw__targets *targets)
{
	atomic_fetch_add_explicit(&targets->refs, 1, memory_order_relaxed);
	return targets;
}

void vgw__targets_unref(struct vgw__targets *targets)
{
	if (!targets || atomic_fetch_sub_explicit(&targets->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < targets->count; i++)
		vgw__endpoint_unref(targets->items[i].endpoint);
	vgw__free(targets);
}
