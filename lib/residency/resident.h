/* SPDX-License-Identifier: Apache-2.0 */
/* A model as the data path sees it: a gate that counts leases, and the endpoints behind it.
 *
 *   workers                                residency
 *     enter: gate + 1, closed? ── no ──► lease
 *                         └──── yes ──► take it back, wait in the queue
 *     leave: gate - 1, closed and last? ──► on_idle ──► drained
 *
 * Entering an open gate is one atomic addition and takes no lock. The endpoints are kept by each worker in a copy of
 * its own, renewed under the lock when `version` says that they have changed. */
#ifndef VGW_RESIDENCY_RESIDENT_H
#define VGW_RESIDENCY_RESIDENT_H

#include "backend/targets.h"

#include <pthread.h>

#define VGW__GATE_CLOSED (UINT64_C(1) << 63)

struct vgw__resident {
	atomic_uint refs;
	atomic_uint_fast64_t gate;     /* VGW__GATE_CLOSED | leases */
	atomic_uint_fast64_t version;  /* of the targets; even a first reader sees a change from 0 */
	atomic_int_fast64_t last_used_ms;
	atomic_uint_fast64_t arrivals; /* leases ever granted */
	char *name;
	void (*on_idle)(void *user);   /* any thread: the gate is closed and the last lease is gone. NULL: nobody cares */
	void *user;
	pthread_mutex_t lock;
	struct vgw__targets *targets;  /* guarded by lock; NULL: none */
};

/* The gate begins closed, without targets. */
struct vgw__resident *vgw__resident_new(const char *name);
struct vgw__resident *vgw__resident_ref(struct vgw__resident *resident);
void vgw__resident_unref(struct vgw__resident *resident); /* NULL is allowed */

/* A new set of endpoints; takes over the caller's reference. Any thread. */
void vgw__resident_take_targets(struct vgw__resident *resident, struct vgw__targets *targets);
/* A reference to the present set, or NULL, and its version. Any thread. */
struct vgw__targets *vgw__resident_ref_targets(struct vgw__resident *resident, uint64_t *version);

void vgw__gate_open(struct vgw__resident *resident);
void vgw__gate_close(struct vgw__resident *resident); /* calls on_idle itself when no lease is out */
uint64_t vgw__gate_count(const struct vgw__resident *resident);
bool vgw__gate_is_open(const struct vgw__resident *resident);

void vgw__gate_leave_closed(struct vgw__resident *resident, uint64_t before);

static inline void vgw__gate_leave(struct vgw__resident *resident)
{
	uint64_t before = atomic_fetch_sub_explicit(&resident->gate, 1, memory_order_acq_rel);

	if (before & VGW__GATE_CLOSED)
		vgw__gate_leave_closed(resident, before);
}

/* The fast path: true and one lease more, or false and nothing changed. */
static inline bool vgw__gate_enter(struct vgw__resident *resident)
{
	uint64_t before = atomic_fetch_add_explicit(&resident->gate, 1, memory_order_acq_rel);

	if (!(before & VGW__GATE_CLOSED))
		return true;
	vgw__gate_leave(resident);
	return false;
}

/* A lease given out by the residency itself, whatever the gate says. */
static inline void vgw__gate_force(struct vgw__resident *resident)
{
	atomic_fetch_add_explicit(&resident->gate, 1, memory_order_acq_rel);
}

#endif
