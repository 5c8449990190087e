/* SPDX-License-Identifier: Apache-2.0 */
/* The gate and the endpoints of one model. */
#include "residency/resident.h"

#include "util/alloc.h"

struct vgw__resident *vgw__resident_new(const char *name)
{
	struct vgw__resident *resident = vgw__alloc(sizeof(*resident));

	if (!resident)
		return NULL;
	atomic_init(&resident->refs, 1);
	atomic_init(&resident->gate, VGW__GATE_CLOSED);
	vgw__list_init(&resident->queue);
	resident->name = vgw__strdup(name);
	if (!resident->name || pthread_mutex_init(&resident->lock, NULL) != 0) {
		vgw__free(resident->name);
		vgw__free(resident);
		return NULL;
	}
	return resident;
}

struct vgw__resident *vgw__resident_ref(struct vgw__resident *resident)
{
	atomic_fetch_add_explicit(&resident->refs, 1, memory_order_relaxed);
	return resident;
}

void vgw__resident_unref(struct vgw__resident *resident)
{
	if (!resident || atomic_fetch_sub_explicit(&resident->refs, 1, memory_order_acq_rel) != 1)
		return;
	vgw__targets_unref(resident->targets);
	(void)pthread_mutex_destroy(&resident->lock);
	vgw__free(resident->name);
	vgw__free(resident);
}

void vgw__resident_take_targets(struct vgw__resident *resident, struct vgw__targets *targets)
{
	struct vgw__targets *old;

	(void)pthread_mutex_lock(&resident->lock);
	old = resident->targets;
	resident->targets = targets;
	atomic_fetch_add_explicit(&resident->version, 1, memory_order_release);
	(void)pthread_mutex_unlock(&resident->lock);
	vgw__targets_unref(old);
}

struct vgw__targets *vgw__resident_ref_targets(struct vgw__resident *resident, uint64_t *version)
{
	struct vgw__targets *targets;

	(void)pthread_mutex_lock(&resident->lock);
	targets = resident->targets ? vgw__targets_ref(resident->targets) : NULL;
	*version = atomic_load_explicit(&resident->version, memory_order_relaxed);
	(void)pthread_mutex_unlock(&resident->lock);
	return targets;
}

const char *vgw__resident_get_standing(const struct vgw__resident *resident)
{
	static const char *const names[] = {
#define XX(name, text) [VGW__STANDING_##name] = text,
		VGW__STANDING_MAP(XX)
#undef XX
	};

	return names[atomic_load_explicit(&resident->standing, memory_order_relaxed)];
}

void vgw__gate_open(struct vgw__resident *resident)
{
	atomic_fetch_and_explicit(&resident->gate, ~VGW__GATE_CLOSED, memory_order_acq_rel);
}

/* Set a flag; whoever sets it on a gate without leases is himself the one who reports it. */
static void set_flag(struct vgw__resident *resident, uint64_t flag)
{
	uint64_t before = atomic_fetch_or_explicit(&resident->gate, flag, memory_order_acq_rel);

	if ((before & ~VGW__GATE_FLAGS) == 0)
		vgw__gate_leave_last(resident);
}

void vgw__gate_close(struct vgw__resident *resident)
{
	set_flag(resident, VGW__GATE_CLOSED);
}

void vgw__gate_watch(struct vgw__resident *resident)
{
	set_flag(resident, VGW__GATE_WATCHED);
}

void vgw__gate_unwatch(struct vgw__resident *resident)
{
	atomic_fetch_and_explicit(&resident->gate, ~VGW__GATE_WATCHED, memory_order_acq_rel);
}

uint64_t vgw__gate_count(const struct vgw__resident *resident)
{
	return atomic_load_explicit(&resident->gate, memory_order_acquire) & ~VGW__GATE_FLAGS;
}

bool vgw__gate_is_open(const struct vgw__resident *resident)
{
	return !(atomic_load_explicit(&resident->gate, memory_order_acquire) & VGW__GATE_CLOSED);
}

/* Somebody who only looked in at a closed gate may be the last to leave as well: whoever hears of it counts again. */
void vgw__gate_leave_last(struct vgw__resident *resident)
{
	if (resident->on_idle)
		resident->on_idle(resident);
}
