/* SPDX-License-Identifier: Apache-2.0 */
/* A model as the data path sees it: a gate that counts leases, and the endpoints behind it.
 *
 *   workers                                residency
 *     enter: gate + 1, closed? ── no ──► lease
 *                         └──── yes ──► take it back, wait in the queue
 *     leave: gate - 1, last, and closed or watched? ──► on_idle ──► drained, or a good moment to swap
 *
 * Entering an open gate is one atomic addition and takes no lock. The endpoints are kept by each worker in a copy of
 * its own, renewed under the lock when `version` says that they have changed. */
#ifndef VGW_RESIDENCY_RESIDENT_H
#define VGW_RESIDENCY_RESIDENT_H

#include "backend/targets.h"

#include "util/list.h"

#include <vllmgw/loop.h>

#include <pthread.h>

#define VGW__GATE_CLOSED (UINT64_C(1) << 63)
#define VGW__GATE_WATCHED (UINT64_C(1) << 62) /* somebody wants to hear when the last lease of the open gate goes */
#define VGW__GATE_FLAGS (VGW__GATE_CLOSED | VGW__GATE_WATCHED)

/* Where a model stands, in the words of GET /v1/models. XX(NAME, text) */
#define VGW__STANDING_MAP(XX)      \
	XX(UNLOADED, "unloaded")   \
	XX(LOADING, "loading")     \
	XX(LOADED, "loaded")       \
	XX(ASLEEP, "asleep")       \
	XX(FAILED, "failed")

enum vgw__standing {
#define XX(name, text) VGW__STANDING_##name,
	VGW__STANDING_MAP(XX)
#undef XX
};

struct vgw__resident {
	atomic_uint_fast64_t gate;     /* flags | leases */
	atomic_uint_fast64_t arrivals; /* leases the open gate ever gave */
	atomic_int_fast64_t last_used_ms;
	atomic_uint_fast64_t version;  /* of the targets; even a first reader sees a change from 0 */
	atomic_uint_fast64_t cuts;     /* how often its leases were cut; a lease remembers the number it began with */
	atomic_uint_fast64_t lives;    /* how often it came up or woke: what was loaded into its engine before may be lost */
	atomic_uint refs;
	atomic_int standing;           /* enum vgw__standing */
	atomic_uint waiting;           /* requests that wait for it */
	atomic_int_fast64_t expected_ms; /* when it could serve those that wait, by what was measured; 0: unknown */
	struct vgw__list queue;        /* of them, oldest first; guarded by the residency's lock */
	char *name;
	void (*on_idle)(struct vgw__resident *resident); /* any thread, may be spurious. NULL: nobody cares */
	void *user;                    /* of on_idle */
	void *owner;                   /* the residency's; its thread only */
	vgw_message idle;              /* the residency's, in flight while is_idle_posted */
	atomic_bool is_idle_posted;
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
/* "loaded", "loading", ...: for lists of models. Any thread. */
const char *vgw__resident_get_standing(const struct vgw__resident *resident);

void vgw__gate_open(struct vgw__resident *resident);
void vgw__gate_close(struct vgw__resident *resident); /* calls on_idle itself when no lease is out */
void vgw__gate_watch(struct vgw__resident *resident); /* so does this */
void vgw__gate_unwatch(struct vgw__resident *resident);
uint64_t vgw__gate_count(const struct vgw__resident *resident);
bool vgw__gate_is_open(const struct vgw__resident *resident);

void vgw__gate_leave_last(struct vgw__resident *resident);

static inline void vgw__gate_leave(struct vgw__resident *resident)
{
	uint64_t before = atomic_fetch_sub_explicit(&resident->gate, 1, memory_order_acq_rel);

	if ((before & VGW__GATE_FLAGS) && (before & ~VGW__GATE_FLAGS) == 1)
		vgw__gate_leave_last(resident);
}

/* The fast path: true and one lease more, or false and nothing changed. */
static inline bool vgw__gate_enter(struct vgw__resident *resident)
{
	uint64_t before = atomic_fetch_add_explicit(&resident->gate, 1, memory_order_acq_rel);

	if (!(before & VGW__GATE_CLOSED)) {
		atomic_fetch_add_explicit(&resident->arrivals, 1, memory_order_relaxed);
		return true;
	}
	vgw__gate_leave(resident);
	return false;
}

/* A lease given out by the residency itself, whatever the gate says. */
static inline void vgw__gate_force(struct vgw__resident *resident)
{
	atomic_fetch_add_explicit(&resident->gate, 1, memory_order_acq_rel);
}

#endif
