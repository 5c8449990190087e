/* SPDX-License-Identifier: Apache-2.0 */
/* Leases for programs: the gate's count with an owner, and an endpoint that stays the same as long as it is held. */
#include "residency/internal.h"

#include "util/alloc.h"
#include "util/error.h"

struct vgw_lease {
	struct vgw__resident *resident;
	struct vgw__targets *targets; /* NULL: the controller named no endpoint */
	uint32_t target;
	uint64_t cuts;                /* of the resident, when the lease began */
};

/* The next one in turn that is well; if none is, the next one. */
static uint32_t find_target(struct vgw__targets *targets)
{
	uint32_t first = atomic_fetch_add_explicit(&targets->next, 1, memory_order_relaxed) % targets->count;

	for (uint32_t i = 0; i < targets->count; i++) {
		uint32_t place = (first + i) % targets->count;

		if (vgw__target_is_well(targets->items[place]))
			return place;
	}
	return first;
}

/* The gate has been entered already. */
static void settle_down(vgw_lease *lease, struct vgw__resident *resident, uint64_t cuts)
{
	uint64_t version;

	lease->resident = vgw__resident_ref(resident);
	lease->cuts = cuts;
	lease->targets = vgw__resident_ref_targets(resident, &version);
	if (lease->targets && lease->targets->count)
		lease->target = find_target(lease->targets);
}

vgw_status vgw_residency_try_acquire(vgw_lease **out, vgw_residency *residency, const char *model, vgw_error *err)
{
	struct vgw__engine *engine;
	vgw_lease *lease = vgw__alloc(sizeof(*lease));
	vgw_status status = VGW_OK;
	uint64_t cuts;

	*out = NULL;
	vgw__error_reset(err);
	if (!lease)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a lease");
	engine = vgw__manager_find(residency, model, err);
	if (!engine) {
		vgw__free(lease);
		return VGW_NOT_FOUND;
	}
	cuts = vgw__resident_cuts(engine->resident);
	if (vgw__gate_enter(engine->resident)) {
		settle_down(lease, engine->resident, cuts);
		*out = lease;
	} else {
		status = vgw_error_set_fault(err, VGW_BUSY, VGW_FAULT_MODEL_LOADING,
			"model '%.60s' does not serve at this moment", engine->resident->name);
		vgw__free(lease);
	}
	vgw__engine_unref(engine);
	return status;
}

vgw_status vgw_residency_acquire(vgw_lease **out, vgw_residency *residency, const char *model, int64_t deadline_ms,
	vgw_error *err)
{
	struct vgw__engine *engine;
	vgw_lease *lease = vgw__alloc(sizeof(*lease));
	vgw_status status = VGW_OK;
	uint64_t cuts;

	*out = NULL;
	vgw__error_reset(err);
	if (!lease)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a lease");
	engine = vgw__manager_find(residency, model, err);
	if (!engine) {
		vgw__free(lease);
		return VGW_NOT_FOUND;
	}
	cuts = vgw__resident_cuts(engine->resident);
	if (!vgw__gate_enter(engine->resident))
		status = vgw__waiters_block(residency, engine, deadline_ms, &cuts, err);
	if (status == VGW_OK) {
		settle_down(lease, engine->resident, cuts);
		*out = lease;
	} else {
		vgw__free(lease);
	}
	vgw__engine_unref(engine);
	return status;
}

void vgw_lease_release(vgw_lease *lease)
{
	if (!lease)
		return;
	atomic_store_explicit(&lease->resident->last_used_ms, vgw_now_ms(), memory_order_relaxed);
	vgw__gate_leave(lease->resident);
	vgw__targets_unref(lease->targets);
	vgw__resident_unref(lease->resident);
	vgw__free(lease);
}

const char *vgw_lease_get_endpoint(const vgw_lease *lease)
{
	if (!lease->targets || !lease->targets->count)
		return "";
	return lease->targets->items[lease->target]->endpoint->url;
}

bool vgw_lease_is_cut(const vgw_lease *lease)
{
	return vgw__resident_cuts(lease->resident) != lease->cuts;
}
